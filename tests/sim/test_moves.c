/* Stories of moves that go wrong: a node that cannot take what it is given, words that get lost,
 * answers that come late. Nobody dies in them, so nothing may be lost, and all is served again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/bag.h"
#include "tests/sim/troop.h"

static const struct troupe_kind *const kinds[] = {&bag_kind};

static struct troop t;

static int set_up(void **state)
{
    (void)state;
    troop_open(&t, kinds, 1);
    t.trace = getenv("TROUPE_SIM_LOG") != NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    troop_close(&t);
    return 0;
}

static uint32_t owned(uint32_t n)
{
    struct runtime_stats s;
    troop_stats(&t, n, &s);
    return s.partitions_owned;
}

static bool serves(struct troop *troop, uint32_t n)
{
    return troop->nodes[n].rt != NULL && troop->nodes[n].phase == RUNTIME_SERVING;
}

static bool has_some(struct troop *troop, uint32_t n)
{
    (void)troop;
    return owned(n) > 0;
}

static bool has_resident(struct troop *troop, uint32_t n)
{
    struct runtime_stats s;
    troop_stats(troop, n, &s);
    return s.entities_resident > 0;
}

/* Nodes 0 to n - 1 have all partitions among them, each about as many. */
static bool is_balanced(struct troop *troop, uint32_t n)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!serves(troop, i) || owned(i) * n > 256 + 13 * n)
            return false;
        all += owned(i);
    }
    return all == 256;
}

static void start(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        troop_start(&t, i);
        assert_true(troop_until(&t, serves, i, 10000));
    }
    assert_true(troop_until(&t, is_balanced, n, 20000));
}

static void add_all(uint32_t bags)
{
    for (uint32_t bag = 0; bag < bags; bag++) {
        char id[16];
        uint64_t token = bag + 1;
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a =
            troop_call(&t, 0, "bag", id, "add", troupe_bytes(&token, sizeof token), token, 5000);
        assert_int_equal(a.status, TROUPE_OK);
    }
}

/* Each by way of a node, and of the other. */
static void assert_all(uint32_t bags)
{
    for (uint32_t bag = 0; bag < bags; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        for (uint32_t n = 0; n < 2; n++) {
            struct troop_answer a =
                troop_call(&t, n, "bag", id, "list", troupe_bytes(NULL, 0), 0, 2000);
            assert_int_equal(a.status, TROUPE_OK);
            assert_int_equal(a.payload.len, 8);
        }
    }
}

static void ask(uint32_t n, const char *method)
{
    struct troop_answer a =
        troop_call(&t, n, "$node", "self", method, troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_OK);
}

/* What it has no room for stays where it is until it is persisted: then it may be read over there.
 */
static void a_full_node_takes_nothing_that_is_not_saved(void **state)
{
    (void)state;
    start(1);
    add_all(4000);
    t.entities_max = 1;
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_some, 1, 60000));
    assert_true(troop_until(&t, is_balanced, 2, 60000));
    for (uint32_t bag = 0; bag < 4000; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a =
            troop_call(&t, bag % 2, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
        if (a.status == TROUPE_OK) /* or the node is too full to start it */
            assert_int_equal(a.payload.len, 8);
        else
            assert_int_equal(a.status, TROUPE_RESOURCE_EXHAUSTED);
    }
}

/* A batch is given up, and the word of it does not arrive; by the time it could, the ring has
 * changed, and it will not be sent again. */
static void a_lost_keep_is_said_again(void **state)
{
    (void)state;
    start(1);
    add_all(500);
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_resident, 1, 20000)); /* a batch is coming */
    t.nodes[0].store_cut = true;                          /* the commit fails … */
    t.nodes[1].refuses = TROUPE_RESOURCE_EXHAUSTED;       /* … and so does Keep */
    troop_run(&t, 20);
    t.nodes[0].store_cut = false;
    ask(1, "drain");
    troop_run(&t, 200);
    t.nodes[1].refuses = TROUPE_OK;
    troop_run(&t, 10000);
    assert_int_equal(owned(0), 256);
    assert_all(500);
}

/* The giver dies with it: its partitions are somebody's. */
static void a_lost_keep_leaves_nothing_unserved(void **state)
{
    (void)state;
    start(1);
    add_all(500);
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_resident, 1, 20000));
    t.nodes[0].store_cut = true;
    t.nodes[1].refuses = TROUPE_RESOURCE_EXHAUSTED;
    troop_run(&t, 20);
    t.nodes[0].store_cut = false;
    troop_run(&t, 1000);
    troop_crash(&t, 0);
    t.nodes[1].refuses = TROUPE_OK;
    assert_true(troop_until(&t, serves, 1, 20000));
    troop_run(&t, 12000);
    assert_int_equal(owned(1), 256);
}

/* Renewals go on meanwhile, and do not make it worthless. */
static void a_slow_map_is_good_enough(void **state)
{
    (void)state;
    start(2);
    t.owners_ns = 1700 * TROOP_MS;
    assert_true(store_memory_keep(t.store));
    store_memory_fail_over(t.store);
    troop_run(&t, 1500);
    assert_false(serves(&t, 0));
    assert_true(troop_until(&t, serves, 0, 6000));
    assert_true(troop_until(&t, serves, 1, 6000));
}

/* Of what waits to be loaded nothing has to come to rest. */
static void what_loads_does_not_hold_a_move_up(void **state)
{
    (void)state;
    start(1);
    t.load_ns = 4000 * TROOP_MS;
    troop_start(&t, 1);
    for (uint32_t i = 0; i < 4000; i++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", i);
        troop_send(&t, 0, "bag", id, "list", 0, 30000);
    }
    assert_true(troop_until(&t, is_balanced, 2, 60000));
    struct troop_answer a =
        troop_call(&t, 0, "$node", "self", "transfers", troupe_bytes(NULL, 0), 0, 1000);
    Troupe__Rpc__Transfers *x = troupe__rpc__transfers__unpack(NULL, a.payload.len, a.payload.data);
    assert_non_null(x);
    assert_true(x->freeze_max_us < 50000);
    assert_int_equal(x->aborted, 0);
    troupe__rpc__transfers__free_unpacked(x, NULL);
}

/* Partitions with many entities, of which half are being loaded when they are to move: those that
 * have no state yet are let go, all of them, however they lie in their table. */
static void what_loads_is_not_captured(void **state)
{
    (void)state;
    start(1);
    for (uint32_t bag = 0; bag < 4000; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        troop_send(&t, 0, "bag", id, "list", 0, 5000);
    }
    troop_run(&t, 2000);
    for (uint32_t round = 0; round < 3; round++) {
        t.load_ns = 4000 * TROOP_MS;
        for (uint32_t bag = 0; bag < 4000; bag++) {
            char id[16];
            snprintf(id, sizeof id, "c%u-%u", round, bag);
            troop_send(&t, round % 2, "bag", id, "list", 0, 30000);
        }
        if (round == 0)
            troop_start(&t, 1);
        else
            ask(round % 2, round == 1 ? "drain" : "undrain");
        troop_run(&t, 8000);
        t.load_ns = 0;
    }
    troop_run(&t, 20000);
    assert_true(owned(0) + owned(1) == 256);
}

enum { MOVES_MAX = 4096 };

static uint64_t moved_at_ns[MOVES_MAX];
static uint32_t moved_n;

static void note_move(uint32_t n, const struct store_request *r)
{
    if (n == 0 && r->op == STORE_TRANSFER && moved_n < MOVES_MAX)
        moved_at_ns[moved_n++] = t.now.mono_ns;
}

/* Batches do not follow each other at once: calls have most of the time to themselves. */
static void moves_rest(void **state)
{
    (void)state;
    const uint64_t takes_ns = 20 * TROOP_MS;
    start(1);
    add_all(20000);
    moved_n = 0;
    t.on_store = note_move;
    t.transfer_ns = takes_ns;
    troop_start(&t, 1);
    assert_true(troop_until(&t, is_balanced, 2, 60000));
    assert_true(moved_n > 4 && moved_n < MOVES_MAX);
    uint64_t busy_ns = 0, until_ns = 0;
    for (uint32_t i = 0; i < moved_n; i++) { /* in their order */
        uint64_t from_ns = moved_at_ns[i] > until_ns ? moved_at_ns[i] : until_ns;
        until_ns = moved_at_ns[i] + takes_ns;
        busy_ns += until_ns - from_ns;
    }
    assert_true(busy_ns * 10 < (until_ns - moved_at_ns[0]) * 8);
}

static bool evict_at_transfer;

static void on_store(uint32_t n, const struct store_request *r)
{
    if (r->op != STORE_TRANSFER || !evict_at_transfer || n != 0)
        return;
    evict_at_transfer = false;
    store_memory_evict(t.store, t.nodes[0].name);
}

/* It is evicted, and registers anew; what its transfer of before is told then is about the run that
 * it was. */
static void a_late_fence_is_about_an_earlier_run(void **state)
{
    (void)state;
    start(1);
    evict_at_transfer = true;
    t.on_store = on_store;
    t.transfer_ns = 4000 * TROOP_MS;
    troop_start(&t, 1);
    troop_run(&t, 3000);
    assert_false(evict_at_transfer);
    assert_true(serves(&t, 0));
    for (uint32_t ms = 0; ms < 6000; ms += 5) {
        troop_run(&t, 5);
        assert_true(serves(&t, 0));
    }
    assert_true(troop_until(&t, is_balanced, 2, 20000));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_node_takes_nothing_that_is_not_saved),
        TEST(what_loads_is_not_captured),
        TEST(moves_rest),
        TEST(a_lost_keep_is_said_again),
        TEST(a_lost_keep_leaves_nothing_unserved),
        TEST(a_slow_map_is_good_enough),
        TEST(what_loads_does_not_hold_a_move_up),
        TEST(a_late_fence_is_about_an_earlier_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
