/* Stores that lack a safety check. See mutants.h; what each check is for, DESIGN's ownership. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/disk.h"
#include "tests/sim/cluster/mutant_product.h"
#include "tests/sim/cluster/peek.h"

enum {
    PASSED_MAX = 64,
    JOURNAL_MAX = 4096,
    LOCK_MS_MAX = 1500, /* statements take their time: that is when checks and effects come apart */
    LOADS_MS = 3000,    /* a claim's snapshot is what is loaded for so long after it */
    TTL_MS = 5000,
    LATE_S = 20, /* an answer of a load may come so late */
};

/* What a row was before a save, or what a run has loaded. */
struct before {
    uint64_t at_ns, run_number, epoch; /* the latter two: of a load */
    bool found;
    char id[16];
    struct store_row row;
    struct arena arena;
};

struct mutant_state {
    const struct store_request
        *passed[PASSED_MAX]; /* saves whose fence was fine at their arrival */
    struct before journal[JOURNAL_MAX];
    size_t journal_n;
    struct {
        uint64_t run_number, from_ns, until_ns; /* the claim arrived, and was executed */
    } claims[PARTITIONS];
};

void mutant_open(struct world *w)
{
    mutant_product_open(w->mutant);
    if (w->mutant == MUTANT_NONE)
        return;
    if (w->mutant == MUTANT_EPOCH)
        store_memory_forget_timeline(w->store);
    w->mutant_state = calloc(1, sizeof *w->mutant_state);
    INVARIANT(w->mutant_state != NULL);
}

void mutant_close(struct world *w)
{
    struct mutant_state *m = w->mutant_state;
    for (size_t i = 0; m != NULL && i < m->journal_n; i++)
        arena_close(&m->journal[i].arena);
    free(m);
}

uint64_t mutant_delay_ns(struct world *w, const struct store_request *request)
{
    bool slow = (w->mutant == MUTANT_KEY_SHARE && request->op == STORE_SAVE) ||
                (w->mutant == MUTANT_ONE_SNAPSHOT && request->op == STORE_CLAIM);
    return slow ? 1 + dice_below(&w->dice, LOCK_MS_MAX * WORLD_MS) : 0;
}

/* ---- saves ---- */

static bool fence_holds(const struct world *w, const struct run *run, const struct store_save *save)
{
    for (size_t i = 0; i < save->rows_n; i++) {
        const struct owner *owner = &w->owners[save->rows[i].key.pid];
        if (owner->run_number != run->number || owner->epoch != save->rows[i].epoch)
            return false;
    }
    return true;
}

/* Writes one row as its partition's owner would, unless a newer one is there. */
static bool save_row(struct world *w, const struct store_row *row)
{
    const struct owner *owner = &w->owners[row->key.pid];
    struct arena a;
    struct store_row stored, mine = *row;
    arena_init(&a, 0, 0);
    bool newer =
        disk_load(w, &row->key, &a, &stored) &&
        (stored.epoch != row->epoch ? stored.epoch > row->epoch : stored.version > row->version);
    if (!newer && owner->run_number != 0) {
        mine.epoch = owner->epoch;
        struct store_request save = {.op = STORE_SAVE, .arena = &a};
        save.u.save.name = w->nodes[owner->node].name;
        save.u.save.generation = owner->generation;
        save.u.save.rows = &mine;
        save.u.save.rows_n = 1;
        disk_run(w, &save);
    }
    arena_close(&a);
    return !newer;
}

static void save_unfenced(struct world *w, struct store_request *r)
{
    struct store_save *save = &r->u.save;
    save->applied = save->skipped = save->fenced_n = 0;
    r->error = 0;
    for (size_t i = 0; i < save->rows_n; i++) {
        if (save_row(w, &save->rows[i]))
            save->applied++;
        else
            save->skipped++;
    }
}

static bool take_passed(struct mutant_state *m, const struct store_request *r)
{
    for (size_t i = 0; i < PASSED_MAX; i++) {
        if (m->passed[i] == r) {
            m->passed[i] = NULL;
            return true;
        }
    }
    return false;
}

/* What a failover has lost is said to be written again, and is not. */
static void save_not_again(struct world *w, struct store_request *r)
{
    struct store_save *save = &r->u.save;
    struct store_request rest = *r;
    struct store_row *rows = arena_alloc(r->arena, save->rows_n * sizeof *rows);
    INVARIANT(rows != NULL);
    rest.u.save.rows = rows;
    rest.u.save.rows_n = 0;
    for (size_t i = 0; i < save->rows_n; i++) {
        const struct watch *watch = failover_watch(w, &save->rows[i].key);
        bool again = watch != NULL && watch->behind && save->rows[i].version == watch->lost_version;
        if (!again)
            rows[rest.u.save.rows_n++] = save->rows[i];
    }
    r->error = 0;
    save->applied = save->rows_n - rest.u.save.rows_n;
    save->skipped = save->fenced_n = 0;
    if (rest.u.save.rows_n == 0)
        return;
    disk_run(w, &rest);
    r->error = rest.error;
    save->applied += rest.u.save.applied;
    save->skipped = rest.u.save.skipped;
    save->fenced = rest.u.save.fenced;
    save->fenced_n = rest.u.save.fenced_n;
}

/* ---- claims and loads in one snapshot ---- */

static void write_down(struct world *w, const struct store_save *save)
{
    struct mutant_state *m = w->mutant_state;
    for (size_t i = 0; i < save->rows_n && m->journal_n < JOURNAL_MAX; i++) {
        const struct store_key *key = &save->rows[i].key;
        if (key->id.len >= sizeof m->journal[0].id)
            continue;
        struct before *b = &m->journal[m->journal_n++];
        arena_init(&b->arena, 512, 0);
        b->at_ns = w->now_ns;
        memcpy(b->id, key->id.data, key->id.len);
        b->found = disk_load(w, key, &b->arena, &b->row);
        b->row.key.pid = key->pid;
    }
}

static void load_old(struct world *w, const struct run *run, struct store_request *r)
{
    struct mutant_state *m = w->mutant_state;
    disk_run(w, r);
    for (size_t i = 0; r->error == 0 && i < r->u.load.keys_n; i++) {
        const struct store_key *key = &r->u.load.keys[i];
        uint64_t from = m->claims[key->pid].from_ns, until = m->claims[key->pid].until_ns;
        if (m->claims[key->pid].run_number != run->number ||
            w->now_ns > until + LOADS_MS * WORLD_MS)
            continue;
        for (size_t k = 0; k < m->journal_n; k++) {
            const struct before *b = &m->journal[k];
            if (b->row.key.pid != key->pid || b->at_ns <= from || b->at_ns > until ||
                !troupe_bytes_equal(key->id, troupe_bytes_of(b->id)))
                continue;
            r->u.load.found[i] = b->found;
            r->u.load.rows[i] = b->row;
            r->u.load.rows[i].state = arena_copy(r->arena, b->row.state);
            r->u.load.rows[i].dedup = arena_copy(r->arena, b->row.dedup);
            break;
        }
    }
}

static struct before *loaded_before(struct world *w, const struct run *run,
                                    const struct store_key *key)
{
    struct mutant_state *m = w->mutant_state;
    for (size_t k = m->journal_n; k-- > 0;) {
        struct before *b = &m->journal[k];
        if (b->run_number == run->number && b->row.key.pid == key->pid &&
            troupe_bytes_equal(key->id, troupe_bytes_of(b->id)))
            return b;
    }
    return NULL;
}

static void note_load(struct world *w, const struct run *run, const struct store_key *key)
{
    struct mutant_state *m = w->mutant_state;
    if (m->journal_n == JOURNAL_MAX || key->id.len >= sizeof m->journal[0].id)
        return;
    struct before *b = &m->journal[m->journal_n++];
    arena_init(&b->arena, 512, 0);
    b->at_ns = w->now_ns;
    b->run_number = run->number;
    b->epoch = w->owners[key->pid].epoch;
    memcpy(b->id, key->id.data, key->id.len);
    b->found = disk_load(w, key, &b->arena, &b->row);
    b->row.key.pid = key->pid;
}

/* A run that asks again for what it has asked for under an earlier epoch of the partition gets that
 * answer, as if it had come only now and been believed. */
static void load_late(struct world *w, const struct run *run, struct store_request *r)
{
    disk_run(w, r);
    for (size_t i = 0; r->error == 0 && i < r->u.load.keys_n; i++) {
        const struct store_key *key = &r->u.load.keys[i];
        const struct before *b = loaded_before(w, run, key);
        bool late = b != NULL && b->epoch != w->owners[key->pid].epoch &&
                    w->now_ns - b->at_ns < LATE_S * WORLD_S;
        if (late) {
            r->u.load.found[i] = b->found;
            r->u.load.rows[i] = b->row;
            r->u.load.rows[i].state = arena_copy(r->arena, b->row.state);
            r->u.load.rows[i].dedup = arena_copy(r->arena, b->row.dedup);
        }
        note_load(w, run, key);
    }
}

static void claim_begins(struct world *w, const struct run *run, const struct store_claim *claim)
{
    struct mutant_state *m = w->mutant_state;
    for (size_t i = 0; i < claim->pids_n; i++) {
        m->claims[claim->pids[i]].run_number = run->number;
        m->claims[claim->pids[i]].from_ns = w->now_ns;
        m->claims[claim->pids[i]].until_ns = w->now_ns;
    }
}

static void claim_ends(struct world *w, const struct run *run, const struct store_claim *claim)
{
    struct mutant_state *m = w->mutant_state;
    for (size_t i = 0; i < claim->pids_n; i++) {
        if (m->claims[claim->pids[i]].run_number == run->number)
            m->claims[claim->pids[i]].until_ns = w->now_ns;
    }
}

/* ---- evictions ---- */

/* Whether it has been watched for a TTL, the short one, whatever it was granted. */
static bool is_silent(const struct world *w, const struct store_node *node)
{
    const struct run *run = judge_find_run(w, node->name, node->generation);
    return run != NULL && node->ttl_ms > TTL_MS &&
           w->now_ns - run->renewed_ns > (uint64_t)TTL_MS * WORLD_MS;
}

/* Whoever renews also evicts whom the store's clock calls expired; or, who promises nothing, one
 * whose long lease is none to him. */
static void renew_and_evict(struct world *w, struct store_request *r)
{
    disk_run(w, r);
    for (size_t i = 0; r->error == 0 && i < r->u.renew.others_n; i++) {
        const struct store_node *other = &r->u.renew.others[i];
        bool over = w->mutant == MUTANT_PROMISE ? is_silent(w, other) : other->expired;
        if (over && store_memory_evict(w->store, other->name)) {
            world_trace(w, "the mutant evicts %s", other->name);
            judge_ended(w, other->name, other->generation);
        }
    }
}

/* ---- answers ---- */

void mutant_believes(const struct run *run, struct store_request *r)
{
    if (r->op == STORE_RENEW)
        peek_forget_jump(run->rt, node_time(run->node));
    for (size_t i = 0; r->op == STORE_OWNERS && i < r->u.owners.nodes_n; i++) {
        struct store_node *row = &r->u.owners.nodes[i];
        if (row->generation == run->generation && strcmp(row->name, run->node->name) == 0)
            row->state = STORE_NODE_ACTIVE;
    }
}

/* ---- */

void mutant_arrives(struct world *w, struct run *run, struct store_request *r)
{
    struct mutant_state *m = w->mutant_state;
    if (w->mutant == MUTANT_KEY_SHARE && r->op == STORE_SAVE && fence_holds(w, run, &r->u.save)) {
        for (size_t i = 0; i < PASSED_MAX; i++) {
            if (m->passed[i] == NULL) {
                m->passed[i] = r;
                return;
            }
        }
    }
    if (w->mutant == MUTANT_ONE_SNAPSHOT && r->op == STORE_CLAIM)
        claim_begins(w, run, &r->u.claim);
}

bool mutant_executes(struct world *w, struct run *run, struct store_request *r)
{
    switch (w->mutant) {
    case MUTANT_WIPED_WINDOW:
        for (size_t i = 0; r->op == STORE_SAVE && i < r->u.save.rows_n; i++) {
            if (r->u.save.rows[i].deleted)
                r->u.save.rows[i].dedup = troupe_bytes(NULL, 0);
        }
        return false;
    case MUTANT_NO_FENCE:
        if (r->op == STORE_SAVE)
            save_unfenced(w, r);
        return r->op == STORE_SAVE;
    case MUTANT_NOT_AGAIN:
        if (r->op == STORE_SAVE)
            save_not_again(w, r);
        return r->op == STORE_SAVE;
    case MUTANT_KEY_SHARE:
        if (r->op != STORE_SAVE || !take_passed(w->mutant_state, r))
            return false;
        save_unfenced(w, r);
        return true;
    case MUTANT_ONE_SNAPSHOT:
        if (r->op == STORE_CLAIM)
            claim_ends(w, run, &r->u.claim);
        if (r->op == STORE_SAVE)
            write_down(w, &r->u.save);
        if (r->op == STORE_LOAD)
            load_old(w, run, r);
        return r->op == STORE_LOAD;
    case MUTANT_LATE_LOAD:
        if (r->op == STORE_LOAD)
            load_late(w, run, r);
        return r->op == STORE_LOAD;
    case MUTANT_STORE_CLOCK:
    case MUTANT_PROMISE:
        if (r->op == STORE_RENEW)
            renew_and_evict(w, r);
        return r->op == STORE_RENEW;
    default:
        return false;
    }
}
