/* Stories of nodes that have lost something and do not know it yet: partitions, their lease, time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/invariant.h"
#include "tests/sim/bag.h"
#include "tests/sim/troop.h"

static struct troop t;

/* A bag that is said to take a mebibyte: so much is a whole batch when partitions move. */
static size_t a_lot(const void *bag)
{
    (void)bag;
    return 1 << 20;
}

static int set_up(void **state)
{
    static struct troupe_kind heavy;
    static const struct troupe_kind *const kinds[] = {&bag_kind, &heavy};
    (void)state;
    heavy = bag_kind;
    heavy.name = "heavy";
    heavy.memory = a_lot;
    troop_open(&t, kinds, 2);
    t.trace = getenv("TROUPE_SIM_LOG") != NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    troop_close(&t);
    return 0;
}

static struct runtime_stats stats(uint32_t n)
{
    struct runtime_stats s;
    troop_stats(&t, n, &s);
    return s;
}

static bool serves(struct troop *troop, uint32_t n)
{
    return troop->nodes[n].rt != NULL && troop->nodes[n].phase == RUNTIME_SERVING;
}

static bool serves_not(struct troop *troop, uint32_t n)
{
    return !serves(troop, n);
}

static bool has_half(struct troop *troop, uint32_t n)
{
    struct runtime_stats s;
    troop_stats(troop, n, &s);
    return s.partitions_owned >= 100;
}

static struct troop_answer call(uint32_t n, uint32_t bag, const char *method, uint64_t token,
                                uint32_t timeout_ms)
{
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    return troop_call(&t, n, "bag", id, method, troupe_bytes(&token, sizeof token), 0, timeout_ms);
}

/* ---- loads ---- */

enum { BAGS = 40 };

struct late {
    char id[16];
    struct troop_peer *sent;
    bool theirs; /* the other node has it, and has put something in */
};

static void look_into(struct late *late, uint32_t n)
{
    struct rpc_call list = {.kind = troupe_bytes_of("bag"),
                            .id = troupe_bytes_of(late->id),
                            .method = troupe_bytes_of("list")};
    late->sent = troop_begin(&t, n, &list, 1, 60000);
}

/* A node asks for rows, is evicted, and registers anew. Some of its partitions are another's then,
 * of which it does not hear, for the network is cut. When the rows come, their entities must not
 * start, and the calls that wait for them must not run: they go to whoever has the partitions. */
static void a_load_from_before_an_eviction_starts_nothing(void **state)
{
    (void)state;
    struct late bags[BAGS] = {0};
    t.handoff_bytes_per_s = 1; /* after two batches the rest of what is proposed for n1 stays */
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 10000));
    for (uint32_t i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        troop_send(&t, 0, "heavy", id, "list", 0, 1000);
    }
    troop_start(&t, 1);
    assert_true(troop_until(&t, serves, 1, 10000));
    troop_run(&t, 3000);
    uint32_t moved = stats(1).partitions_owned;
    assert_true(moved < 30);

    t.load_ns = 2800 * TROOP_MS;
    for (uint32_t i = 0; i < BAGS; i++) {
        snprintf(bags[i].id, sizeof bags[i].id, "b%u", i);
        look_into(&bags[i], 0);
    }
    troop_run(&t, 1);
    t.load_ns = 0;
    t.nodes[1].store_cut = true; /* it hears of the eviction later */
    t.owners_ns = 10 * TROOP_MS; /* n0 hears of n1 before it claims anything */
    assert_true(store_memory_evict(t.store, "n0"));
    assert_true(troop_until(&t, serves_not, 0, 2000));
    assert_true(troop_until(&t, serves, 0, 2000));
    t.nodes[1].cut = true;
    t.nodes[1].store_cut = false;
    troop_run(&t, 200); /* it sees that the run is gone, and claims */
    assert_true(stats(1).partitions_owned > moved + 30);
    uint32_t theirs = 0;
    for (uint32_t i = 0; i < BAGS; i++) {
        bags[i].theirs = call(1, i, "put", 7, 20).status == TROUPE_OK;
        theirs += bags[i].theirs;
        assert_true(!bags[i].theirs || troop_answered(bags[i].sent) == NULL);
    }
    assert_true(theirs > 5);

    troop_run(&t, 1500); /* the rows have come by then … */
    t.nodes[1].cut = false;
    troop_run(&t, 10000); /* … and what waited has found its way */
    for (uint32_t i = 0; i < BAGS; i++) {
        const struct rpc_reply *reply = troop_answered(bags[i].sent);
        assert_non_null(reply);
        assert_int_equal(reply->results[0].status, TROUPE_OK);
        assert_int_equal(reply->results[0].payload.len, bags[i].theirs ? 8 : 0);
        troop_end(bags[i].sent);
    }
}

/* ---- time ---- */

static uint32_t renewals_of_1;

static void count_renewals(uint32_t n, const struct store_request *request)
{
    renewals_of_1 += n == 1 && request->op == STORE_RENEW;
}

static bool has_renewed(struct troop *troop, uint32_t n)
{
    (void)troop;
    (void)n;
    return renewals_of_1 > 0;
}

/* A machine stands still, CLOCK_BOOTTIME with it, just when a renewal is on its way; the node is
 * evicted meanwhile. When it goes on, it sees the clocks jump, and then gets the answer to that
 * renewal: it was the right one, long ago. */
static void a_renewal_from_before_a_standstill_confirms_nothing(void **state)
{
    (void)state;
    troop_start(&t, 1);
    assert_true(troop_until(&t, serves, 1, 10000));
    troop_run(&t, 3000);
    uint64_t generation = stats(1).generation;

    renewals_of_1 = 0;
    t.on_store = count_renewals;
    assert_true(troop_until(&t, has_renewed, 1, 2000));
    t.nodes[1].paused = true;
    troop_run(&t, 12000);
    assert_true(store_memory_evict(t.store, "n1")); /* nobody has claimed anything yet */
    t.nodes[1].behind_ns += 12000 * TROOP_MS;
    t.nodes[1].paused = false;
    assert_true(troop_until(&t, serves_not, 1, 10));
    assert_true(troop_until(&t, serves, 1, 5000));
    assert_true(stats(1).generation > generation);
}

static void evict_before_the_map(uint32_t n, const struct store_request *request)
{
    if (request->op != STORE_OWNERS)
        return;
    INVARIANT(n == 1);
    store_memory_evict(t.store, "n1");
    t.on_store = NULL;
}

/* A renewal comes back well after it, and the node is evicted before the map of owners is read:
 * that the partitions are still the run's own in it confirms nothing, since it may own nothing. */
static void an_evicted_run_is_not_confirmed(void **state)
{
    (void)state;
    troop_start(&t, 1);
    assert_true(troop_until(&t, serves, 1, 10000));
    troop_run(&t, 3000);
    uint64_t generation = stats(1).generation;
    t.nodes[1].behind_ns += 900 * TROOP_MS; /* a jump */
    t.on_store = evict_before_the_map;
    assert_true(troop_until(&t, serves_not, 1, 2000));
    assert_true(troop_until(&t, serves, 1, 5000));
    assert_true(stats(1).generation > generation);
}

/* ---- calls that were forwarded ---- */

/* The node that a call without an id was forwarded to dies with it. Whether it was executed nobody
 * knows, and so it is not sent again. One with an id is, when the partition has an owner. */
static void a_forwarded_call_of_unknown_outcome_is_not_repeated(void **state)
{
    (void)state;
    uint64_t token = 5;
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 10000));
    troop_start(&t, 1);
    assert_true(troop_until(&t, serves, 1, 10000));
    assert_true(troop_until(&t, has_half, 1, 20000));
    uint32_t bag = 0;
    while (strcmp(call(0, bag, "list", 0, 1000).owner, "n1") != 0)
        bag++;
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    troop_run(&t, 3000);
    struct rpc_call put = {.kind = troupe_bytes_of("bag"),
                           .id = troupe_bytes_of(id),
                           .method = troupe_bytes_of("put"),
                           .payload = troupe_bytes(&token, sizeof token)};
    struct troop_peer *without = troop_begin(&t, 0, &put, 1, 60000);
    put.sequence = 1;
    struct troop_peer *with = troop_begin(&t, 0, &put, 1, 60000);
    while (t.nodes[1].wake_ns != 0 && stats(1).calls_gated < 2) /* executed, to be committed */
        troop_run(&t, 1);
    troop_crash(&t, 1);
    troop_run(&t, 1000);
    assert_non_null(troop_answered(without));
    assert_int_equal(troop_answered(without)->results[0].status, TROUPE_UNKNOWN);
    assert_null(troop_answered(with));
    troop_run(&t, 20000);
    assert_non_null(troop_answered(with));
    assert_int_equal(troop_answered(with)->results[0].status, TROUPE_OK);
    troop_end(without);
    troop_end(with);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(a_load_from_before_an_eviction_starts_nothing),
        STORY(a_renewal_from_before_a_standstill_confirms_nothing),
        STORY(an_evicted_run_is_not_confirmed),
        STORY(a_forwarded_call_of_unknown_outcome_is_not_repeated),
    };
    return cmocka_run_group_tests_name("lost_troop", tests, NULL, NULL);
}
