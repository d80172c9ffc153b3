/* The contract against a dumb oracle: thousands of random operations on two handles, each answer
 * compared with that of a model that is a few arrays and no more than store.h says. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/random.h"
#include "tests/unit/store_contract_parts.h"

enum {
    NODES = 3,
    PIDS = 6,
    IDS = 4,
    STATES = 5,
    OPERATIONS = 4000,
    HISTORY_MAX = OPERATIONS,
    BATCH_MAX = PIDS * IDS,
};

static const char *const node_names[NODES] = {"a", "b'", "c\\"};
static const char *const id_names[IDS] = {"1", "1'", "\\", "\xC3\xA9"};
static const char *const states[STATES] = {"", "one", "two\\'", "three", "fourfourfour"};

struct oracle {
    struct {
        uint64_t generation, incarnation, renew_seq; /* generation 0: no row */
        enum store_node_state state;
    } nodes[NODES];
    struct {
        uint64_t epoch, generation;
        int owner; /* -1: none */
        struct {
            uint64_t epoch;
            int owner, previous;
            enum store_cause cause;
        } history[HISTORY_MAX]; /* all of it */
        size_t history_n;
    } parts[PIDS];
    struct {
        uint64_t epoch, version;
        int state;
        bool there, deleted;
    } rows[PIDS][IDS];
    uint64_t timeline, next_incarnation;
    struct dice dice;
    struct contract_store *stores[2];
};

static uint64_t roll(struct oracle *o, uint64_t n)
{
    return dice_below(&o->dice, n);
}

static struct contract_store *some_store(struct oracle *o)
{
    return o->stores[roll(o, 2)];
}

/* Usually the run that there is, now and then another. */
static uint64_t some_generation(struct oracle *o, size_t n)
{
    uint64_t g = o->nodes[n].generation;
    return roll(o, 8) == 0 ? roll(o, g + 2) : g;
}

static bool is_active(const struct oracle *o, size_t n, uint64_t generation)
{
    return o->nodes[n].generation == generation && generation != 0 &&
           o->nodes[n].state == STORE_NODE_ACTIVE;
}

/* renew_seq is the store's to choose, the oracle only knows that it must grow. */
static void learn_seq(struct oracle *o, size_t n)
{
    struct contract_request q;
    assert_int_equal(contract_owners(some_store(o), &q), 0);
    for (size_t i = 0; i < q.r.u.owners.nodes_n; i++) {
        if (strcmp(q.r.u.owners.nodes[i].name, node_names[n]) == 0)
            o->nodes[n].renew_seq = q.r.u.owners.nodes[i].renew_seq;
    }
    contract_free(&q);
}

static void try_register(struct oracle *o)
{
    struct contract_request q;
    size_t n = roll(o, NODES);
    bool held = o->nodes[n].generation != 0 && o->nodes[n].state == STORE_NODE_ACTIVE;
    bool same = held && roll(o, 4) == 0;
    bool supersede = roll(o, 2) == 0;
    uint64_t seq = roll(o, 4) == 0 ? o->nodes[n].renew_seq - 1 : o->nodes[n].renew_seq;
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){.name = node_names[n],
                                        .incarnation =
                                            same ? o->nodes[n].incarnation : ++o->next_incarnation,
                                        .addr = "x:1",
                                        .ttl_ms = CONTRACT_TTL_MS,
                                        .supersede = supersede,
                                        .supersede_generation = o->nodes[n].generation,
                                        .supersede_renew_seq = seq};
    bool taken_over = supersede && seq == o->nodes[n].renew_seq;
    int rc = contract_do(some_store(o), &q);
    if (held && !same && !taken_over) {
        assert_int_equal(rc, TROUPE_EBUSY);
        assert_true(q.r.u.reg.holder.generation == o->nodes[n].generation);
        assert_true(q.r.u.reg.holder.incarnation == o->nodes[n].incarnation);
        assert_true(q.r.u.reg.holder.renew_seq == o->nodes[n].renew_seq);
    } else {
        assert_int_equal(rc, 0);
        o->nodes[n].generation += !same;
        o->nodes[n].incarnation = q.r.u.reg.incarnation;
        o->nodes[n].state = STORE_NODE_ACTIVE;
        assert_true(q.r.u.reg.generation == o->nodes[n].generation);
    }
    contract_free(&q);
    learn_seq(o, n);
}

static void try_renew(struct oracle *o)
{
    struct contract_request q;
    size_t n = roll(o, NODES), others = 0;
    uint64_t generation = some_generation(o, n);
    int rc = contract_renew(some_store(o), &q, node_names[n], generation);
    if (is_active(o, n, generation)) {
        for (size_t i = 0; i < NODES; i++)
            others += i != n && is_active(o, i, o->nodes[i].generation);
        assert_int_equal(rc, 0);
        assert_true(q.r.u.renew.renew_seq > o->nodes[n].renew_seq);
        assert_true(q.r.timeline == o->timeline);
        assert_int_equal(q.r.u.renew.others_n, others);
        o->nodes[n].renew_seq = q.r.u.renew.renew_seq;
    } else {
        assert_int_equal(rc, TROUPE_EFENCED);
    }
    contract_free(&q);
}

static void try_leave(struct oracle *o)
{
    struct contract_request q;
    size_t n = roll(o, NODES);
    uint64_t generation = some_generation(o, n);
    bool dead = roll(o, 2) == 0;
    contract_init(&q, STORE_LEAVE);
    q.r.u.leave =
        (struct store_leave){.name = node_names[n], .generation = generation, .dead = dead};
    assert_int_equal(contract_do(some_store(o), &q), 0);
    if (is_active(o, n, generation))
        o->nodes[n].state = dead ? STORE_NODE_DEAD : STORE_NODE_LEFT;
    contract_free(&q);
    learn_seq(o, n);
}

/* Nobody expires here: whoever is dead already is evicted, nobody else. */
static void try_evict(struct oracle *o)
{
    struct contract_request q;
    size_t n = roll(o, NODES), target = roll(o, NODES);
    uint64_t generation = some_generation(o, n);
    struct store_node node = {.name = node_names[target],
                              .generation = some_generation(o, target),
                              .renew_seq = o->nodes[target].renew_seq};
    int rc = contract_evict(some_store(o), &q, node_names[n], generation, &node);
    if (n == target && generation == node.generation) {
        assert_int_equal(rc, TROUPE_EINVAL);
    } else if (!is_active(o, n, generation)) {
        assert_int_equal(rc, TROUPE_EFENCED);
    } else {
        assert_int_equal(rc, 0);
        assert_int_equal(q.r.u.evict.evicted, node.generation != 0 &&
                                                  node.generation == o->nodes[target].generation &&
                                                  o->nodes[target].state == STORE_NODE_DEAD);
    }
    contract_free(&q);
}

static void change_owner(struct oracle *o, store_pid pid, size_t to, enum store_cause cause)
{
    uint64_t epoch = o->parts[pid].epoch, floor = o->timeline << 40;
    epoch = (epoch > floor ? epoch : floor) + 1;
    size_t at = o->parts[pid].history_n++;
    o->parts[pid].history[at].epoch = epoch;
    o->parts[pid].history[at].owner = (int)to;
    o->parts[pid].history[at].previous = o->parts[pid].owner;
    o->parts[pid].history[at].cause = cause;
    o->parts[pid].epoch = epoch;
    o->parts[pid].owner = (int)to;
    o->parts[pid].generation = o->nodes[to].generation;
}

static enum store_cause cause_of(const struct oracle *o, store_pid pid)
{
    int owner = o->parts[pid].owner;
    if (owner < 0)
        return STORE_CAUSE_FIRST;
    if (o->nodes[owner].generation != o->parts[pid].generation)
        return STORE_CAUSE_RESTART;
    return o->nodes[owner].state == STORE_NODE_LEFT ? STORE_CAUSE_LEFT : STORE_CAUSE_DEAD;
}

/* What a claim of one partition has to answer; false: it is left out. */
static bool expect_claim(struct oracle *o, size_t n, store_pid pid, struct store_claimed *want)
{
    *want = (struct store_claimed){
        .pid = pid, .epoch = o->parts[pid].epoch, .epoch_prev = o->parts[pid].epoch};
    int owner = o->parts[pid].owner;
    if (owner == (int)n && o->parts[pid].generation == o->nodes[n].generation)
        return true;
    if (owner >= 0 && is_active(o, (size_t)owner, o->parts[pid].generation))
        return false;
    change_owner(o, pid, n, cause_of(o, pid));
    want->epoch = o->parts[pid].epoch;
    return true;
}

static bool is_owner(const struct oracle *o, store_pid pid, size_t n, uint64_t generation)
{
    return o->parts[pid].owner == (int)n && o->parts[pid].generation == generation;
}

/* What a transfer of one partition has to answer; false: it is left out. */
static bool expect_move(struct oracle *o, const struct store_transfer *t, size_t n, size_t to,
                        const struct store_move *move)
{
    store_pid pid = move->pid;
    if (is_owner(o, pid, to, t->to_generation) && o->parts[pid].epoch > move->epoch)
        return true;
    if (!is_active(o, to, t->to_generation) || !is_owner(o, pid, n, t->generation) ||
        o->parts[pid].epoch != move->epoch)
        return false;
    change_owner(o, pid, to, t->cause);
    return true;
}

static void try_transfer(struct oracle *o)
{
    struct contract_request q;
    struct store_move moves[PIDS];
    size_t n = roll(o, NODES), to = roll(o, NODES), at = 0;
    struct store_transfer t = {.name = node_names[n],
                               .generation = some_generation(o, n),
                               .to = node_names[to],
                               .to_generation = some_generation(o, to),
                               .cause = roll(o, 2) == 0 ? STORE_CAUSE_JOIN : STORE_CAUSE_DRAIN,
                               .moves = moves};
    for (store_pid pid = 0; pid < PIDS; pid++) {
        uint64_t epoch = o->parts[pid].epoch;
        if (roll(o, 2) == 0)
            moves[t.moves_n++] = (struct store_move){pid, epoch - (roll(o, 4) == 0 && epoch > 0)};
    }
    contract_init(&q, STORE_TRANSFER);
    q.r.u.transfer = t;
    int rc = contract_do(some_store(o), &q);
    if (n == to && t.generation == t.to_generation) {
        assert_int_equal(rc, TROUPE_EINVAL);
    } else if (!is_active(o, n, t.generation)) {
        assert_int_equal(rc, TROUPE_EFENCED);
    } else {
        assert_int_equal(rc, 0);
        for (size_t i = 0; i < t.moves_n; i++) {
            if (!expect_move(o, &t, n, to, &moves[i]))
                continue;
            assert_true(at < q.r.u.transfer.moved_n);
            assert_int_equal(q.r.u.transfer.moved[at].pid, moves[i].pid);
            assert_true(q.r.u.transfer.moved[at].epoch == o->parts[moves[i].pid].epoch);
            at++;
        }
        assert_int_equal(at, q.r.u.transfer.moved_n);
    }
    contract_free(&q);
}

static void check_history(struct oracle *o)
{
    struct contract_request q;
    store_pid pid = (store_pid)roll(o, PIDS);
    size_t all = o->parts[pid].history_n;
    assert_int_equal(contract_history(some_store(o), &q, pid), 0);
    const struct store_history *h = &q.r.u.history;
    assert_int_equal(h->changes_n, all < STORE_HISTORY_MAX ? all : STORE_HISTORY_MAX);
    for (size_t i = 0; i < h->changes_n; i++) {
        size_t at = all - 1 - i;
        int previous = o->parts[pid].history[at].previous;
        assert_true(h->changes[i].epoch == o->parts[pid].history[at].epoch);
        assert_string_equal(h->changes[i].owner, node_names[o->parts[pid].history[at].owner]);
        assert_string_equal(h->changes[i].previous, previous < 0 ? "" : node_names[previous]);
        assert_int_equal(h->changes[i].cause, o->parts[pid].history[at].cause);
    }
    contract_free(&q);
}

static void try_claim(struct oracle *o)
{
    struct contract_request q;
    store_pid pids[PIDS];
    size_t pids_n = 0, n = roll(o, NODES);
    uint64_t generation = some_generation(o, n);
    for (store_pid pid = 0; pid < PIDS; pid++) {
        if (roll(o, 2) == 0)
            pids[pids_n++] = pid;
    }
    int rc = contract_claim(some_store(o), &q, node_names[n], generation, pids, pids_n);
    if (!is_active(o, n, generation)) {
        assert_int_equal(rc, TROUPE_EFENCED);
        contract_free(&q);
        return;
    }
    assert_int_equal(rc, 0);
    size_t at = 0;
    for (size_t i = 0; i < pids_n; i++) {
        struct store_claimed want;
        if (!expect_claim(o, n, pids[i], &want))
            continue;
        assert_true(at < q.r.u.claim.claimed_n);
        const struct store_claimed *got = &q.r.u.claim.claimed[at++];
        assert_int_equal(got->pid, want.pid);
        assert_true(got->epoch == want.epoch);
        assert_true(got->epoch_prev == want.epoch_prev);
    }
    assert_int_equal(at, q.r.u.claim.claimed_n);
    contract_free(&q);
}

/* A save of random rows in random order; each partition's epoch is right most of the time. */
static size_t make_rows(struct oracle *o, struct store_row *rows)
{
    size_t rows_n = 0;
    for (store_pid pid = 0; pid < PIDS; pid++) {
        uint64_t epoch = o->parts[pid].epoch;
        epoch -= roll(o, 8) == 0 && epoch > 0;
        for (size_t i = 0; i < IDS; i++) {
            if (roll(o, 3) != 0)
                continue;
            uint64_t version = o->rows[pid][i].version + roll(o, 5);
            size_t state = roll(o, STATES);
            struct store_row row =
                contract_row(pid, id_names[i], epoch, version > 2 ? version - 2 : 0, states[state]);
            row.deleted = row.state.len == 0 && roll(o, 2) == 0;
            row.data = (void *)(uintptr_t)(pid * IDS * STATES + i * STATES + state);
            size_t at = roll(o, rows_n + 1);
            rows[rows_n++] = rows[at];
            rows[at] = row;
        }
    }
    return rows_n;
}

static bool may_save(const struct oracle *o, size_t n, uint64_t generation,
                     const struct store_row *row)
{
    store_pid pid = row->key.pid;
    return o->parts[pid].owner == (int)n && o->parts[pid].generation == generation &&
           o->parts[pid].epoch == row->epoch;
}

static void try_save(struct oracle *o)
{
    struct contract_request q;
    struct store_row rows[BATCH_MAX + 1];
    size_t n = roll(o, NODES), applied = 0, skipped = 0, fenced_n = 0;
    uint64_t generation = some_generation(o, n);
    bool fenced[PIDS] = {false};
    size_t rows_n = make_rows(o, rows);
    assert_int_equal(contract_save(some_store(o), &q, node_names[n], generation, rows, rows_n), 0);
    for (size_t i = 0; i < rows_n; i++) {
        size_t code = (size_t)(uintptr_t)rows[i].data;
        size_t pid = code / STATES / IDS, id = code / STATES % IDS;
        if (!may_save(o, n, generation, &rows[i])) {
            fenced_n += !fenced[pid];
            fenced[pid] = true;
        } else if (o->rows[pid][id].there && (o->rows[pid][id].epoch > rows[i].epoch ||
                                              (o->rows[pid][id].epoch == rows[i].epoch &&
                                               o->rows[pid][id].version > rows[i].version))) {
            skipped++;
        } else {
            applied++;
            o->rows[pid][id].there = true;
            o->rows[pid][id].epoch = rows[i].epoch;
            o->rows[pid][id].version = rows[i].version;
            o->rows[pid][id].state = (int)(code % STATES);
            o->rows[pid][id].deleted = rows[i].deleted;
        }
    }
    assert_int_equal(q.r.u.save.applied, applied);
    assert_int_equal(q.r.u.save.skipped, skipped);
    assert_int_equal(q.r.u.save.fenced_n, fenced_n);
    for (size_t i = 0; i < fenced_n; i++) {
        assert_true(fenced[q.r.u.save.fenced[i]]);
        assert_true(i == 0 || q.r.u.save.fenced[i] > q.r.u.save.fenced[i - 1]);
    }
    contract_free(&q);
}

static void check_rows(struct oracle *o)
{
    struct contract_request q;
    struct store_key keys[BATCH_MAX];
    for (size_t k = 0; k < BATCH_MAX; k++)
        keys[k] = contract_row((store_pid)(k % PIDS), id_names[k / PIDS], 0, 0, "").key;
    assert_int_equal(contract_load(some_store(o), &q, keys, BATCH_MAX), 0);
    for (size_t k = 0; k < BATCH_MAX; k++) {
        const struct store_row *row = &q.r.u.load.rows[k];
        size_t pid = k % PIDS, id = k / PIDS;
        assert_int_equal(q.r.u.load.found[k], o->rows[pid][id].there);
        if (!q.r.u.load.found[k])
            continue;
        assert_true(row->epoch == o->rows[pid][id].epoch);
        assert_true(row->version == o->rows[pid][id].version);
        assert_int_equal(row->deleted, o->rows[pid][id].deleted);
        assert_true(
            troupe_bytes_equal(row->state, troupe_bytes_of(states[o->rows[pid][id].state])));
    }
    contract_free(&q);
}

static void check_owners(struct oracle *o)
{
    struct contract_request q;
    assert_int_equal(contract_owners(some_store(o), &q), 0);
    const struct store_owners *map = &q.r.u.owners;
    for (size_t pid = 0; pid < CONTRACT_PARTITIONS && map->owners_n != 0; pid++) {
        int owner = pid < PIDS ? o->parts[pid].owner : -1;
        const struct store_owner *got = &map->owners[pid];
        assert_true(got->epoch == (pid < PIDS ? o->parts[pid].epoch : 0));
        assert_int_equal(got->node == UINT32_MAX, owner < 0);
        if (owner < 0)
            continue;
        assert_true(got->generation == o->parts[pid].generation);
        assert_true(got->node < map->nodes_n);
        const struct store_node *node = &map->nodes[got->node];
        assert_string_equal(node->name, node_names[owner]);
        assert_true(node->generation == o->nodes[owner].generation);
        assert_int_equal(node->state, o->nodes[owner].state);
    }
    contract_free(&q);
}

static void random_operations_match_the_oracle(void **state)
{
    static struct oracle o;
    struct contract_store one, two;
    struct contract_request q;
    o = (struct oracle){.dice = dice_new(0x0C7AC1E)};
    bed_open(&one, *state);
    bed_open(&two, *state);
    o.stores[0] = &one;
    o.stores[1] = &two;
    for (size_t pid = 0; pid < PIDS; pid++)
        o.parts[pid].owner = -1;
    uint64_t scout = contract_must_register(&one, "scout", 1);
    assert_int_equal(contract_renew(&one, &q, "scout", scout), 0);
    o.timeline = q.r.timeline;
    contract_free(&q);
    assert_int_equal(contract_leave(&one, &q, "scout", scout), 0);
    contract_free(&q);

    static void (*const tries[])(struct oracle *) = {
        try_register, try_register, try_renew,    try_leave,    try_claim, try_claim,
        try_claim,    try_save,     try_save,     try_save,     try_save,  try_save,
        check_rows,   check_owners, try_transfer, try_transfer, try_evict, check_history,
    };
    for (int i = 0; i < OPERATIONS; i++)
        tries[roll(&o, sizeof tries / sizeof tries[0])](&o);
    check_rows(&o);
    check_owners(&o);
    contract_close(&one);
    contract_close(&two);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_operations_match_the_oracle),
};

CONTRACT_PART(oracle, tests);
