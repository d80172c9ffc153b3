/* Warming: what was saved lately is in memory again soon after its node has died, before anybody
 * asks for it, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/name.h"
#include "tests/sim/bag.h"
#include "tests/sim/troop.h"

enum { NODES = 3, BAGS = 300, IDLE_MS = 60000 /* of a bag */, PARTITION_BITS = 8 };

static const struct troupe_kind *const kinds[] = {&bag_kind};

static struct runtime_stats stats(struct troop *t, uint32_t n)
{
    struct runtime_stats s;
    troop_stats(t, n, &s);
    return s;
}

static bool serves(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt != NULL && t->nodes[n].phase == RUNTIME_SERVING;
}

/* All partitions are served by n nodes, and nobody has any left to look at. */
static bool is_warm(struct troop *t, uint32_t n)
{
    uint32_t up = 0, owned = 0;
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (t->nodes[i].rt == NULL)
            continue;
        if (!serves(t, i) || stats(t, i).partitions_to_warm > 0 || stats(t, i).entities_loading > 0)
            return false;
        up++;
        owned += stats(t, i).partitions_owned;
    }
    return up == n && owned == 256;
}

static uint64_t sum(struct troop *t, size_t offset)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (t->nodes[i].rt == NULL)
            continue;
        struct runtime_stats s = stats(t, i);
        all += *(const uint64_t *)(const void *)((const char *)&s + offset);
    }
    return all;
}

#define SUM(t, field) sum(t, offsetof(struct runtime_stats, field))

static void open_troop(struct troop *t)
{
    troop_open(t, kinds, 1);
    t->trace = getenv("TROUPE_SIM_LOG") != NULL;
}

static void start(struct troop *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        troop_start(t, i);
        assert_true(troop_until(t, serves, i, 10000));
    }
    assert_true(troop_until(t, is_warm, n, 20000));
    troop_run(t, 5000); /* moves are over, and all know each other */
}

static void use(struct troop *t, uint32_t n, const char *method, uint32_t from, uint32_t to)
{
    for (uint32_t bag = from; bag < to; bag++) {
        char id[16];
        uint64_t token = bag;
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a =
            troop_call(t, n, "bag", id, method, troupe_bytes(&token, sizeof token), 0, 5000);
        assert_int_equal(a.status, TROUPE_OK);
    }
}

/* Node 0 dies; its partitions are owned by the others. */
static void lose_node_0(struct troop *t)
{
    troop_crash(t, 0);
    assert_true(troop_until(t, is_warm, NODES - 1, 20000));
    troop_run(t, 1000);
    assert_true(troop_until(t, is_warm, NODES - 1, 20000));
}

static void what_was_in_use_is_loaded(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, NODES);
    use(&t, 0, "put", 1000, 1100); /* these will be old */
    troop_run(&t, IDLE_MS + 1000);
    use(&t, 0, "put", 0, BAGS);
    uint64_t died_with = stats(&t, 0).entities_resident;
    assert_int_equal(SUM(&t, entities_resident), BAGS);
    assert_int_equal(SUM(&t, rows_loaded), 0);

    lose_node_0(&t);
    assert_int_equal(SUM(&t, entities_warmed), died_with);
    assert_int_equal(SUM(&t, entities_resident), BAGS);
    assert_int_equal(SUM(&t, rows_loaded), died_with);
    use(&t, 1, "list", 0, BAGS);
    assert_int_equal(SUM(&t, rows_loaded), died_with); /* nothing had to be loaded for a call */
    use(&t, 1, "list", 1000, 1100);
    assert_true(SUM(&t, rows_loaded) > died_with);
    troop_close(&t);
}

/* Warmed is not used: without calls it stops when it would have stopped without the failover. */
static void what_is_warmed_ages(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, NODES);
    use(&t, 0, "put", 0, BAGS);
    uint64_t used_ns = t.now.mono_ns;
    troop_run(&t, IDLE_MS / 2);
    lose_node_0(&t);
    assert_int_equal(SUM(&t, entities_resident), BAGS);
    troop_run(&t, IDLE_MS + 1000 - (t.now.mono_ns - used_ns) / TROOP_MS);
    assert_int_equal(SUM(&t, entities_resident), 0);
    troop_close(&t);
}

static void it_can_be_switched_off(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.warm_off = true;
    start(&t, NODES);
    use(&t, 0, "put", 0, BAGS);
    lose_node_0(&t);
    assert_int_equal(SUM(&t, entities_warmed), 0);
    assert_int_equal(SUM(&t, rows_loaded), 0);
    troop_close(&t);
}

static void it_has_a_limit(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.warm_entities_max = 10;
    start(&t, NODES);
    use(&t, 0, "put", 0, BAGS);
    lose_node_0(&t);
    for (uint32_t i = 1; i < NODES; i++)
        assert_int_equal(stats(&t, i).entities_warmed, 10);
    troop_close(&t);
}

/* Nothing goes for what nobody has asked for. */
static void nothing_is_evicted_for_it(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.entities_max = 150; /* a node has about 100, and would get 50 */
    start(&t, NODES);
    use(&t, 0, "put", 0, BAGS);
    uint64_t had = stats(&t, 1).entities_resident + stats(&t, 2).entities_resident;
    lose_node_0(&t);
    print_message("%u warmed\n", (unsigned)SUM(&t, entities_warmed));
    assert_int_equal(SUM(&t, entities_resident), had + SUM(&t, entities_warmed));
    for (uint32_t i = 1; i < NODES; i++)
        assert_true(stats(&t, i).entities_resident <= 150 - 150 / 8);
    assert_true(SUM(&t, entities_warmed) > 0);
    troop_close(&t);
}

/* ---- calls go first ---- */

static struct {
    uint32_t loads, looks, loads_before_look;
} seen;

static void note(uint32_t n, const struct store_request *request)
{
    if (n != 1)
        return;
    seen.loads += request->op == STORE_LOAD;
    if (request->op == STORE_RECENT && seen.looks++ == 0)
        seen.loads_before_look = seen.loads;
}

/* Calls that wait for a partition of the dead node have their loads before the first look is taken,
 * however many batches they need. */
static void loads_of_calls_go_first(void **state)
{
    (void)state;
    enum { COLD = 60, KEYS = 4 };
    struct troop t;
    open_troop(&t);
    t.load_keys_max = KEYS;
    t.loads_in_flight_max = 2;
    start(&t, NODES);
    use(&t, 0, "put", 0, BAGS);
    uint32_t bags[COLD], n = 0;
    for (uint32_t bag = 1000; n < COLD; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a =
            troop_call(&t, 1, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
        if (strcmp(a.owner, "n0") == 0)
            bags[n++] = bag;
    }
    troop_crash(&t, 0);
    t.on_store = note;
    for (uint32_t i = 0; i < COLD; i++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bags[i]);
        troop_send(&t, 1, "bag", id, "list", 0, 60000);
        troop_send(&t, 2, "bag", id, "list", 0, 60000);
    }
    assert_true(troop_until(&t, is_warm, NODES - 1, 20000));
    troop_run(&t, 1000);
    print_message("%u loads before the first look\n", seen.loads_before_look);
    assert_true(seen.looks > 0);
    assert_true(seen.loads_before_look >= COLD / 4 / KEYS); /* about half of them are its own now */
    assert_true(stats(&t, 1).entities_warmed > 0);
    troop_close(&t);
}

/* ---- what is lost meanwhile ---- */

/* In small batches: some are there, and more are to come. */
static bool is_warming(struct troop *t, uint32_t n)
{
    return stats(t, n).entities_warmed > 0;
}

static void begin_to_warm(struct troop *t)
{
    open_troop(t);
    t->load_keys_max = 4;
    start(t, NODES);
    use(t, 0, "put", 0, BAGS);
}

/* A node that loses what it is about to warm keeps nothing of it: it is suspended, forgets what it
 * was about to do, and in the end each bag is in one memory. */
static void what_is_lost_meanwhile_is_not_kept(void **state)
{
    (void)state;
    struct troop t;
    begin_to_warm(&t);
    troop_crash(&t, 0);
    assert_true(troop_until(&t, is_warming, 1, 20000));
    t.nodes[1].cut = t.nodes[1].store_cut = true;
    troop_run(&t, 6000);
    assert_int_equal(t.nodes[1].phase, RUNTIME_SUSPENDED);
    assert_true(stats(&t, 1).entities_warmed < 20);
    troop_run(&t, 10000);
    assert_int_equal(stats(&t, 2).partitions_owned, 256);
    assert_int_equal(stats(&t, 2).entities_resident, BAGS);
    t.nodes[1].cut = t.nodes[1].store_cut = false;
    troop_run(&t, 5000);
    assert_true(troop_until(&t, is_warm, NODES - 1, 20000));
    assert_true(stats(&t, 1).partitions_owned > 0);
    assert_int_equal(SUM(&t, entities_resident), BAGS);
    troop_close(&t);
}

static void a_stop_does_not_wait_for_it(void **state)
{
    (void)state;
    struct troop t;
    begin_to_warm(&t);
    troop_crash(&t, 0);
    assert_true(troop_until(&t, is_warming, 1, 20000));
    uint64_t began_ns = t.now.mono_ns;
    troop_stop(&t, 1);
    while (t.nodes[1].rt != NULL && t.now.mono_ns - began_ns < 5000 * TROOP_MS)
        troop_run(&t, 10);
    assert_null(t.nodes[1].rt);
    troop_run(&t, 1000);
    assert_int_equal(stats(&t, 2).partitions_owned, 256);
    troop_close(&t);
}

/* The store is away for a moment: the look is taken again. */
static void an_outage_is_sat_out(void **state)
{
    (void)state;
    struct troop t;
    begin_to_warm(&t);
    uint64_t died_with = stats(&t, 0).entities_resident;
    troop_crash(&t, 0);
    assert_true(troop_until(&t, is_warming, 1, 20000));
    t.store_down = true;
    troop_run(&t, 500);
    t.store_down = false;
    assert_true(troop_until(&t, is_warm, NODES - 1, 20000));
    troop_run(&t, 5000);
    assert_int_equal(SUM(&t, entities_warmed), died_with);
    troop_close(&t);
}

/* ---- rows that are no good ---- */

static void done(struct store_request *request)
{
    (void)request;
}

static void ask_store(struct troop *t, struct store_request *request)
{
    request->done = done;
    store_submit(t->store, request);
    store_memory_poll(t->store, SIZE_MAX);
    assert_int_equal(request->error, 0);
}

/* Writes a state that a bag cannot be made of, as node 0; false when that does not own it. */
static bool spoil(struct troop *t, uint32_t bag)
{
    char id[16];
    struct arena arena;
    struct store_request owners = {.op = STORE_OWNERS, .arena = &arena};
    snprintf(id, sizeof id, "b%u", bag);
    uint64_t hash = name_hash(troupe_bytes_of("bag"), troupe_bytes_of(id));
    uint32_t pid = name_partition(hash, PARTITION_BITS);
    arena_init(&arena, 0, 0);
    ask_store(t, &owners);
    const struct store_owners *map = &owners.u.owners;
    struct store_row row = {
        .key = {.pid = pid, .kind = troupe_bytes_of("bag"), .id = troupe_bytes_of(id)},
        .epoch = map->owners[pid].epoch,
        .version = 1,
        .state = troupe_bytes_of("xyz"),
    };
    struct store_request save = {.op = STORE_SAVE, .arena = &arena};
    save.u.save = (struct store_save){.name = "n0",
                                      .generation = map->nodes[map->owners[pid].node].generation,
                                      .rows = &row,
                                      .rows_n = 1};
    ask_store(t, &save);
    bool applied = save.u.save.applied == 1;
    arena_close(&arena);
    return applied;
}

/* What does not start is no crash as long as nobody has asked for it. */
static void what_does_not_start_is_left_alone(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, NODES);
    use(&t, 0, "put", 0, BAGS);
    uint64_t died_with = stats(&t, 0).entities_resident;
    uint32_t bad = 1000;
    while (!spoil(&t, bad))
        bad++;
    lose_node_0(&t);
    assert_int_equal(SUM(&t, entities_warmed), died_with);
    assert_int_equal(SUM(&t, crashes), 0);
    assert_int_equal(SUM(&t, entities_resident), BAGS);
    char id[16];
    snprintf(id, sizeof id, "b%u", bad);
    struct troop_answer a = troop_call(&t, 1, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
    assert_int_not_equal(a.status, TROUPE_OK);
    assert_true(SUM(&t, crashes) > 0);
    troop_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_in_use_is_loaded),
        cmocka_unit_test(what_is_warmed_ages),
        cmocka_unit_test(it_can_be_switched_off),
        cmocka_unit_test(it_has_a_limit),
        cmocka_unit_test(nothing_is_evicted_for_it),
        cmocka_unit_test(loads_of_calls_go_first),
        cmocka_unit_test(what_is_lost_meanwhile_is_not_kept),
        cmocka_unit_test(a_stop_does_not_wait_for_it),
        cmocka_unit_test(an_outage_is_sat_out),
        cmocka_unit_test(what_does_not_start_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
