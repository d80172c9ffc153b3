/* The contract: transfers. A run gives partitions away; from then on its own saves are fenced, and
 * whatever happens at the same moment (a save, an eviction of either side, another transfer, a
 * claim) comes before or after, never in between. */
#include <string.h>

#include "tests/unit/random.h"
#include "tests/unit/store_contract_parts.h"

enum { ROUNDS = 60, BATCH = 64, SHORT_TTL_MS = 2 };

/* Who owns a partition by the map, NULL = nobody, and its epoch. */
static const char *owner_of(struct contract_store *s, store_pid pid, uint64_t *epoch)
{
    static const char *const known[] = {"a", "b", "c"};
    struct contract_request q;
    const char *name = NULL;
    assert_int_equal(contract_owners(s, &q), 0);
    const struct store_owner *owner = &q.r.u.owners.owners[pid];
    for (size_t i = 0; i < 3 && owner->node != UINT32_MAX; i++) {
        if (strcmp(q.r.u.owners.nodes[owner->node].name, known[i]) == 0)
            name = known[i];
    }
    *epoch = owner->epoch;
    contract_free(&q);
    return name;
}

/* Owned by whom it should be, at that epoch. */
static void assert_owner(struct contract_store *s, store_pid pid, const char *name, uint64_t epoch)
{
    uint64_t is;
    assert_string_equal(owner_of(s, pid, &is), name);
    assert_true(is == epoch);
}

/* One partition from one first run to another: its new epoch, 0 when it was left out. */
static uint64_t transfer_one(struct contract_store *s, const char *name, const char *to,
                             store_pid pid, uint64_t epoch)
{
    struct contract_request q;
    struct store_move move = {.pid = pid, .epoch = epoch};
    assert_int_equal(contract_transfer(s, &q, name, 1, to, 1, &move, 1), 0);
    const struct store_transfer *t = &q.r.u.transfer;
    assert_true(t->moved_n <= 1);
    uint64_t now = t->moved_n == 0 ? 0 : t->moved[0].epoch;
    assert_true(now == 0 || t->moved[0].pid == pid);
    contract_free(&q);
    return now;
}

/* a and b are there, and a owns partition 5. */
static uint64_t a_owns_5(struct contract_store *s)
{
    contract_must_register(s, "a", 7);
    contract_must_register(s, "b", 8);
    return contract_must_claim(s, "a", 1, 5);
}

static void transferred_partitions_change_owner(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    store_pid pids[] = {3, 5, 9};
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&t, "b", 8);
    assert_int_equal(contract_claim(&s, &q, "a", 1, pids, 3), 0);
    uint64_t epoch = q.r.u.claim.claimed[0].epoch;
    contract_free(&q);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(3, "x", epoch, 1, "last")), 1);

    struct store_move moves[] = {{3, epoch}, {9, epoch}};
    assert_int_equal(contract_transfer(&s, &q, "a", 1, "b", 1, moves, 2), 0);
    assert_int_equal(q.r.u.transfer.moved_n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(q.r.u.transfer.moved[i].pid, moves[i].pid);
        assert_true(q.r.u.transfer.moved[i].epoch == epoch + 1);
    }
    contract_free(&q);
    assert_owner(&t, 3, "b", epoch + 1);
    assert_owner(&t, 5, "a", epoch);
    assert_owner(&t, 9, "b", epoch + 1);

    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(3, "x", epoch, 2, "late")), -1);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(3, "x", epoch + 1, 2, "lie")), -1);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 1, "kept")), 1);
    assert_true(contract_must_load(&t, &q, 3, "x"));
    assert_memory_equal(q.r.u.load.rows[0].state.data, "last", 4);
    contract_free(&q);
    assert_int_equal(contract_must_save(&t, "b", 1, contract_row(3, "x", epoch + 1, 0, "mine")), 1);

    assert_int_equal(contract_claim(&s, &q, "a", 1, pids, 3), 0); /* b lives */
    assert_int_equal(q.r.u.claim.claimed_n, 1);
    contract_free(&q);
    assert_true(contract_must_claim(&t, "b", 1, 3) == epoch + 1); /* its own already */
    contract_close(&s);
    contract_close(&t);
}

static void a_transfer_again_tells_what_happened(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    uint64_t epoch = a_owns_5(&s);
    contract_must_register(&s, "c", 9);
    for (int i = 0; i < 3; i++)
        assert_true(transfer_one(&s, "a", "b", 5, epoch) == epoch + 1);
    assert_owner(&s, 5, "b", epoch + 1);
    assert_true(transfer_one(&s, "a", "b", 5, epoch + 1) == 0); /* not of that time */
    assert_true(transfer_one(&s, "a", "c", 5, epoch) == 0);

    assert_int_equal(contract_leave(&s, &q, "b", 1), 0); /* it happened all the same */
    contract_free(&q);
    assert_true(transfer_one(&s, "a", "b", 5, epoch) == epoch + 1);
    assert_true(contract_must_claim(&s, "c", 1, 5) == epoch + 2);
    assert_true(transfer_one(&s, "a", "b", 5, epoch) == 0); /* it has gone on */
    assert_owner(&s, 5, "c", epoch + 2);
    contract_close(&s);
}

static void what_is_not_ours_is_left_out(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    uint64_t epoch = a_owns_5(&s);
    uint64_t of_b = contract_must_claim(&s, "b", 1, 6);
    contract_must_register(&s, "c", 9);
    struct store_move moves[] = {{4, 0},
                                 {5, epoch},
                                 {6, of_b},
                                 {CONTRACT_PARTITIONS - 1, epoch},
                                 {CONTRACT_PARTITIONS, epoch},
                                 {UINT32_MAX, epoch}};
    assert_int_equal(contract_transfer(&s, &q, "a", 1, "c", 1, moves, 6), 0);
    assert_int_equal(q.r.u.transfer.moved_n, 1);
    assert_int_equal(q.r.u.transfer.moved[0].pid, 5);
    contract_free(&q);
    assert_owner(&s, 6, "b", of_b);
    assert_null(owner_of(&s, 4, &of_b));
    assert_true(of_b == 0);
    assert_int_equal(contract_transfer(&s, &q, "a", 1, "c", 1, NULL, 0), 0);
    assert_int_equal(q.r.u.transfer.moved_n, 0);
    contract_free(&q);

    epoch = contract_must_claim(&s, "a", 1, 7);
    assert_true(transfer_one(&s, "a", "b", 7, epoch + 1) == 0);
    assert_true(transfer_one(&s, "a", "b", 7, epoch - 1) == 0);
    assert_owner(&s, 7, "a", epoch);
    contract_close(&s);
}

static void both_runs_must_be_active(void **state)
{
    struct contract_store s;
    struct contract_request q;
    struct store_move move = {.pid = 5, .epoch = 1};
    bed_open(&s, *state);
    assert_int_equal(contract_transfer(&s, &q, "a", 1, "b", 1, &move, 1), TROUPE_EFENCED);
    contract_free(&q);
    uint64_t epoch = move.epoch = a_owns_5(&s);
    const struct {
        const char *name, *to;
        uint64_t generation, to_generation;
        int error;
    } cases[] = {
        {"a", "b", 1, 2, 0},
        {"a", "b", 1, 0, 0},
        {"a", "nobody", 1, 1, 0},
        {"a", "a", 1, 2, 0},
        {"a", "nobody", 1, 0, 0},
        {"a", "b", 2, 1, TROUPE_EFENCED},
        {"nobody", "b", 1, 1, TROUPE_EFENCED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(contract_transfer(&s, &q, cases[i].name, cases[i].generation, cases[i].to,
                                           cases[i].to_generation, &move, 1),
                         cases[i].error);
        if (cases[i].error == 0)
            assert_int_equal(q.r.u.transfer.moved_n, 0);
        contract_free(&q);
    }
    assert_int_equal(contract_leave(&s, &q, "b", 1), 0);
    contract_free(&q);
    assert_true(transfer_one(&s, "a", "b", 5, epoch) == 0);
    assert_owner(&s, 5, "a", epoch);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    contract_must_register(&s, "c", 9);
    assert_int_equal(contract_transfer(&s, &q, "a", 1, "c", 1, &move, 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_owner(&s, 5, "a", epoch);
    contract_close(&s);
}

static int transfer_of(struct contract_store *s, struct store_transfer t)
{
    struct contract_request q;
    contract_init(&q, STORE_TRANSFER);
    q.r.u.transfer = t;
    int rc = contract_do(s, &q);
    contract_free(&q);
    return rc;
}

static void bad_transfers_are_invalid(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    uint64_t epoch = a_owns_5(&s);
    struct store_move good[] = {{5, epoch}}, unsorted[] = {{5, epoch}, {4, 0}};
    struct store_move twice[] = {{5, epoch}, {5, epoch}}, late[] = {{5, UINT64_MAX}};
    struct store_transfer ok = {.name = "a",
                                .generation = 1,
                                .to = "b",
                                .to_generation = 1,
                                .cause = STORE_CAUSE_DRAIN,
                                .moves = good,
                                .moves_n = 1},
                          bad[10];
    size_t n = 0;
    bad[n] = ok;
    bad[n].moves_n = 2;
    bad[n++].moves = unsorted;
    bad[n] = bad[0];
    bad[n++].moves = twice;
    bad[n] = ok;
    bad[n++].moves = late;
    bad[n] = ok;
    bad[n++].cause = STORE_CAUSE_RESTART;
    bad[n] = ok;
    bad[n++].cause = (enum store_cause)0;
    bad[n] = ok;
    bad[n++].cause = (enum store_cause)7;
    bad[n] = ok;
    bad[n++].to = "";
    bad[n] = ok;
    bad[n++].to = "a"; /* to itself */
    bad[n] = ok;
    bad[n++].to_generation = UINT64_MAX;
    bad[n] = ok;
    bad[n++].moves_n = STORE_PIDS_MAX + 1;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(transfer_of(&s, bad[i]), TROUPE_EINVAL);

    contract_init(&q, STORE_TRANSFER); /* no room for the answer: nothing is changed */
    arena_init(&q.arena, 16, 16);
    static struct store_move many[BATCH];
    for (store_pid pid = 0; pid < BATCH; pid++)
        many[pid] = (struct store_move){.pid = pid, .epoch = epoch};
    q.r.u.transfer = ok;
    q.r.u.transfer.moves = many;
    q.r.u.transfer.moves_n = BATCH;
    assert_int_equal(contract_do(&s, &q), TROUPE_ENOMEM);
    contract_free(&q);
    assert_owner(&s, 5, "a", epoch);
    assert_int_equal(transfer_of(&s, ok), 0);
    assert_owner(&s, 5, "b", epoch + 1);
    contract_close(&s);
}

/* ---- at the same moment ---- */

static void begin_transfer(struct contract_store *s, struct contract_request *q, const char *name,
                           const char *to, uint64_t to_generation, const struct store_move *moves,
                           size_t moves_n)
{
    contract_init(q, STORE_TRANSFER);
    q->r.u.transfer = (struct store_transfer){.name = name,
                                              .generation = 1,
                                              .to = to,
                                              .to_generation = to_generation,
                                              .cause = STORE_CAUSE_JOIN,
                                              .moves = moves,
                                              .moves_n = moves_n};
    contract_submit(s, q);
}

/* Waits for both, in an order by chance: in memory a handle works when it is waited for. A deadlock
 * would show as TROUPE_EUNAVAILABLE. */
static void settle(struct dice *dice, struct contract_store *s, struct contract_request *one,
                   struct contract_store *t, struct contract_request *two)
{
    if (dice_below(dice, 2) == 0)
        contract_wait(t, two);
    contract_wait(s, one);
    contract_wait(t, two);
    assert_true(one->r.error == 0 || one->r.error == TROUPE_EFENCED);
    assert_true(two->r.error == 0 || two->r.error == TROUPE_EFENCED);
}

/* The last save of the old owner: either it is applied, then the new owner loads it, or the old
 * owner is told that it is fenced. */
static void saves_and_transfers(void **state)
{
    static const char *const names[] = {"a", "b"};
    struct contract_store s[2];
    struct contract_request save, transfer, load;
    struct dice dice = dice_new(0x5A7E);
    unsigned applied = 0;
    for (size_t i = 0; i < 2; i++)
        bed_open(&s[i], *state);
    uint64_t epoch = a_owns_5(&s[0]);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        size_t from = i % 2, to = 1 - from;
        struct store_row row = contract_row(5, "x", epoch, 1, "before");
        struct store_move move = {.pid = 5, .epoch = epoch};
        assert_int_equal(contract_must_save(&s[from], names[from], 1, row), 1);
        row.version = 2;
        contract_init(&save, STORE_SAVE);
        save.r.u.save =
            (struct store_save){.name = names[from], .generation = 1, .rows = &row, .rows_n = 1};
        bool save_first = dice_below(&dice, 2) == 0;
        if (save_first)
            contract_submit(&s[from], &save);
        begin_transfer(&s[from], &transfer, names[from], names[to], 1, &move, 1);
        if (!save_first)
            contract_submit(&s[from], &save);
        settle(&dice, &s[from], &transfer, &s[from], &save);
        assert_int_equal(transfer.r.error, 0);
        assert_int_equal(transfer.r.u.transfer.moved_n, 1);
        assert_int_equal(save.r.error, 0);
        bool was_applied = save.r.u.save.applied == 1;
        assert_int_equal(save.r.u.save.fenced_n, !was_applied);
        assert_true(contract_must_load(&s[to], &load, 5, "x"));
        assert_int_equal(load.r.u.load.rows[0].version, was_applied ? 2 : 1);
        contract_free(&load);
        row.version = 3;
        assert_int_equal(contract_must_save(&s[from], names[from], 1, row), -1);
        epoch = transfer.r.u.transfer.moved[0].epoch;
        applied += was_applied;
        contract_free(&save);
        contract_free(&transfer);
    }
    print_message("the save came first in %u of %d\n", applied, ROUNDS);
    contract_close(&s[0]);
    contract_close(&s[1]);
}

/* c evicts the receiver, or the giver, of a transfer: it is moved to one who was alive, or not at
 * all; and what the map says then is what the answers said. */
static void eviction_of_a_side(void **state, bool of_giver)
{
    struct contract_store s, t;
    struct contract_request evict, transfer;
    struct dice dice = dice_new(0xE71C);
    unsigned moved = 0;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&t, "c", 9);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct contract_request q;
        store_pid pid = (store_pid)i;
        uint64_t a = contract_must_register(&s, "a", 100 + i);
        uint64_t b = contract_must_register(&s, "b", 100 + i);
        uint64_t epoch = contract_must_claim(&s, "a", a, pid);
        struct store_move move = {.pid = pid, .epoch = epoch};
        contract_must_renew(&s, of_giver ? "a" : "b", of_giver ? a : b, SHORT_TTL_MS);
        struct store_node target = contract_wait_expired(&t, of_giver ? "a" : "b");
        contract_init(&evict, STORE_EVICT);
        evict.r.u.evict = (struct store_evict){.name = "c",
                                               .generation = 1,
                                               .target = target.name,
                                               .target_generation = target.generation,
                                               .target_renew_seq = target.renew_seq};
        bool evict_first = dice_below(&dice, 2) == 0;
        if (evict_first)
            contract_submit(&t, &evict);
        contract_init(&transfer, STORE_TRANSFER);
        transfer.r.u.transfer = (struct store_transfer){.name = "a",
                                                        .generation = a,
                                                        .to = "b",
                                                        .to_generation = b,
                                                        .cause = STORE_CAUSE_DRAIN,
                                                        .moves = &move,
                                                        .moves_n = 1};
        contract_submit(&s, &transfer);
        if (!evict_first)
            contract_submit(&t, &evict);
        settle(&dice, &s, &transfer, &t, &evict);
        assert_int_equal(evict.r.error, 0);
        assert_true(evict.r.u.evict.evicted);
        bool was_moved = transfer.r.error == 0 && transfer.r.u.transfer.moved_n == 1;
        assert_int_equal(transfer.r.error, of_giver && !was_moved ? TROUPE_EFENCED : 0);
        assert_owner(&t, pid, was_moved ? "b" : "a", epoch + was_moved);
        assert_int_equal(contract_claim(&t, &q, "c", 1, &pid, 1), 0);
        assert_int_equal(q.r.u.claim.claimed_n,
                         of_giver != was_moved); /* free: its owner is dead */
        contract_free(&q);
        moved += was_moved;
        contract_free(&evict);
        contract_free(&transfer);
        assert_int_equal(contract_leave(&s, &q, of_giver ? "b" : "a", of_giver ? b : a), 0);
        contract_free(&q);
    }
    print_message("moved %u times of %d\n", moved, ROUNDS);
    contract_close(&s);
    contract_close(&t);
}

static void transfers_and_evictions_of_the_receiver(void **state)
{
    eviction_of_a_side(state, false);
}

static void transfers_and_evictions_of_the_giver(void **state)
{
    eviction_of_a_side(state, true);
}

/* A batch of moves with the epochs that the map shows now. */
static size_t moves_of(struct contract_store *s, const char *name, struct store_move *moves)
{
    struct contract_request q;
    size_t n = 0;
    assert_int_equal(contract_owners(s, &q), 0);
    const struct store_owners *map = &q.r.u.owners;
    for (store_pid pid = 0; pid < BATCH; pid++) {
        const struct store_owner *o = &map->owners[pid];
        if (o->node != UINT32_MAX && strcmp(map->nodes[o->node].name, name) == 0)
            moves[n++] = (struct store_move){.pid = pid, .epoch = o->epoch};
    }
    contract_free(&q);
    return n;
}

static void claim_batch(struct contract_store *s, const char *name, store_pid first, store_pid step)
{
    struct contract_request q;
    store_pid pids[BATCH];
    size_t n = 0;
    for (store_pid pid = first; pid < BATCH; pid += step)
        pids[n++] = pid;
    assert_int_equal(contract_claim(s, &q, name, 1, pids, n), 0);
    assert_int_equal(q.r.u.claim.claimed_n, n);
    contract_free(&q);
}

/* Whatever was answered as moved is what the map says. */
static void assert_moved(struct contract_store *s, const struct contract_request *q)
{
    struct contract_request map;
    const struct store_transfer *t = &q->r.u.transfer;
    assert_int_equal(contract_owners(s, &map), 0);
    for (size_t i = 0; i < t->moved_n; i++) {
        const struct store_owner *o = &map.r.u.owners.owners[t->moved[i].pid];
        assert_string_equal(map.r.u.owners.nodes[o->node].name, t->to);
        assert_true(o->epoch == t->moved[i].epoch);
    }
    contract_free(&map);
}

/* a has two minds: each partition goes to one of the two that it was promised to. Then they all
 * give to each other crosswise, which nobody may wait for in a circle. */
static void two_transfers(void **state)
{
    static const char *const names[] = {"b", "c"};
    struct contract_store s[2];
    struct contract_request q[2];
    struct store_move moves[2][BATCH];
    size_t n[2];
    struct dice dice = dice_new(0x7E0);
    bed_open(&s[0], *state);
    bed_open(&s[1], *state);
    contract_must_register(&s[0], "a", 7);
    contract_must_register(&s[0], "b", 8);
    contract_must_register(&s[1], "c", 9);
    claim_batch(&s[0], "a", 0, 1);
    for (uint64_t i = 0; i < ROUNDS / 2; i++) {
        n[0] = moves_of(&s[0], "a", moves[0]);
        assert_int_equal(n[0], BATCH);
        for (size_t k = 0; k < 2; k++)
            begin_transfer(&s[k], &q[k], "a", names[k], 1, moves[0], BATCH);
        settle(&dice, &s[0], &q[0], &s[1], &q[1]);
        assert_int_equal(q[0].r.u.transfer.moved_n + q[1].r.u.transfer.moved_n, BATCH);
        for (size_t k = 0; k < 2; k++) {
            assert_moved(&s[k], &q[k]);
            contract_free(&q[k]);
        }
        /* Whoever came first has got everything: it gives the other one a part. */
        size_t rich = moves_of(&s[0], "b", moves[0]) > 0 ? 0 : 1, part = 0;
        moves_of(&s[0], names[rich], moves[0]);
        for (size_t k = 0; k < BATCH; k += 1 + dice_below(&dice, 3))
            moves[1][part++] = moves[0][k];
        assert_int_equal(
            contract_transfer(&s[0], &q[0], names[rich], 1, names[1 - rich], 1, moves[1], part), 0);
        assert_int_equal(q[0].r.u.transfer.moved_n, part);
        contract_free(&q[0]);

        for (size_t k = 0; k < 2; k++)
            n[k] = moves_of(&s[k], names[k], moves[k]);
        assert_int_equal(n[0] + n[1], BATCH);
        for (size_t k = 0; k < 2; k++)
            begin_transfer(&s[k], &q[k], names[k], names[1 - k], 1, moves[k], n[k]);
        settle(&dice, &s[0], &q[0], &s[1], &q[1]);
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(q[k].r.u.transfer.moved_n, n[k]);
            assert_moved(&s[k], &q[k]);
            contract_free(&q[k]);
        }
        for (size_t k = 0; k < 2; k++) { /* all back to a */
            n[k] = moves_of(&s[k], names[k], moves[k]);
            assert_int_equal(contract_transfer(&s[k], &q[k], names[k], 1, "a", 1, moves[k], n[k]),
                             0);
            assert_int_equal(q[k].r.u.transfer.moved_n, n[k]);
            contract_free(&q[k]);
        }
    }
    contract_close(&s[0]);
    contract_close(&s[1]);
}

/* c claims what a is giving to b: as long as somebody alive owns it, before and after, c gets
 * nothing of it. */
static void transfers_and_claims(void **state)
{
    struct contract_store s, t;
    struct contract_request claim, transfer;
    struct store_move moves[BATCH];
    store_pid pids[BATCH];
    struct dice dice = dice_new(0xC1A1);
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    contract_must_register(&t, "c", 9);
    claim_batch(&s, "a", 0, 1);
    for (store_pid pid = 0; pid < BATCH; pid++)
        pids[pid] = pid;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        const char *from = i % 2 == 0 ? "a" : "b", *to = i % 2 == 0 ? "b" : "a";
        size_t n = moves_of(&s, from, moves);
        assert_int_equal(n, BATCH);
        contract_init(&claim, STORE_CLAIM);
        claim.r.u.claim =
            (struct store_claim){.name = "c", .generation = 1, .pids = pids, .pids_n = BATCH};
        bool claim_first = dice_below(&dice, 2) == 0;
        if (claim_first)
            contract_submit(&t, &claim);
        begin_transfer(&s, &transfer, from, to, 1, moves, n);
        if (!claim_first)
            contract_submit(&t, &claim);
        settle(&dice, &s, &transfer, &t, &claim);
        assert_int_equal(transfer.r.u.transfer.moved_n, BATCH);
        assert_int_equal(claim.r.error, 0);
        assert_int_equal(claim.r.u.claim.claimed_n, 0);
        contract_free(&transfer);
        contract_free(&claim);
    }
    contract_close(&s);
    contract_close(&t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(transferred_partitions_change_owner),
    cmocka_unit_test(a_transfer_again_tells_what_happened),
    cmocka_unit_test(what_is_not_ours_is_left_out),
    cmocka_unit_test(both_runs_must_be_active),
    cmocka_unit_test(bad_transfers_are_invalid),
    cmocka_unit_test(saves_and_transfers),
    cmocka_unit_test(transfers_and_evictions_of_the_receiver),
    cmocka_unit_test(transfers_and_evictions_of_the_giver),
    cmocka_unit_test(two_transfers),
    cmocka_unit_test(transfers_and_claims),
};

CONTRACT_PART(transfer, tests);
