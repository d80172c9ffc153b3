/* Stories of what nodes tell each other by their rows in the store, and of what they promise while
 * it is away: nodes with different settings, promises to the second, machines that are copies of
 * each other, drains at the same moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/runtime/internal.h"
#include "peer.pb-c.h"
#include "proto/gossip.h"
#include "tests/sim/bag.h"
#include "tests/sim/troop.h"

enum { TTL_MS = 5000, MARGIN_MS = 500 };

static const struct troupe_kind *const kinds[] = {&bag_kind};

static void open_troop(struct troop *t)
{
    troop_open(t, kinds, 1);
    t->trace = getenv("TROUPE_SIM_LOG") != NULL;
}

static uint32_t owned(struct troop *t, uint32_t n)
{
    struct runtime_stats s;
    troop_stats(t, n, &s);
    return s.partitions_owned;
}

static bool serves(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt != NULL && t->nodes[n].phase == RUNTIME_SERVING;
}

static bool is_suspended(struct troop *t, uint32_t n)
{
    return t->nodes[n].phase == RUNTIME_SUSPENDED;
}

static bool is_down(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt == NULL;
}

static bool all_serve(struct troop *t, uint32_t n)
{
    bool all = true;
    for (uint32_t i = 0; i < n; i++)
        all &= serves(t, i);
    return all;
}

static void start(struct troop *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        troop_start(t, i);
        assert_true(troop_until(t, serves, i, 10000));
    }
    troop_run(t, 3000);
}

/* ---- settings that differ ---- */

/* Two nodes serve without the store, on each other's promises. A third one begins, which reaches
 * the store and knows nothing of that. Its own setting does not tell for how long they may. */
static void a_new_node_heeds_what_others_may(bool fence)
{
    struct troop t;
    open_troop(&t);
    for (uint32_t i = 0; i < 2; i++)
        t.nodes[i].outage_grace_ms = 60000;
    t.nodes[2].outage_grace_ms = 10000;
    t.nodes[2].outage_fence = fence;
    start(&t, 2);
    t.nodes[0].store_cut = t.nodes[1].store_cut = t.nodes[2].cut = true;
    uint64_t cut_ns = t.now.mono_ns;
    troop_run(&t, 1000);
    troop_start(&t, 2);
    while (t.now.mono_ns < cut_ns + 57000 * TROOP_MS) {
        troop_run(&t, 500);
        assert_true(all_serve(&t, 2));
        assert_int_equal(owned(&t, 2), 0);
    }
    assert_true(troop_until(&t, is_suspended, 0, 5000) && troop_until(&t, is_suspended, 1, 5000));
    while (owned(&t, 2) < 256 && t.now.mono_ns < cut_ns + 90000 * TROOP_MS)
        troop_run(&t, 500);
    assert_int_equal(owned(&t, 2), 256);
    troop_close(&t);
}

static void settings_may_differ(void **state)
{
    (void)state;
    a_new_node_heeds_what_others_may(false);
    a_new_node_heeds_what_others_may(true);
}

/* Those that fence serve no longer than their lease: nobody waits for them. */
static void who_fences_is_not_waited_for(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.nodes[0].outage_fence = true;
    start(&t, 1);
    troop_crash(&t, 0);
    troop_start(&t, 1);
    uint64_t begun_ns = t.now.mono_ns;
    while (owned(&t, 1) < 256 && t.now.mono_ns < begun_ns + 20000 * TROOP_MS)
        troop_run(&t, 100);
    assert_int_equal(owned(&t, 1), 256);
    troop_close(&t);
}

static enum troupe_status ask_promise(struct troop *t, uint32_t n, const char *from,
                                      uint32_t ttl_ms)
{
    Troupe__Peer__Promise p = TROUPE__PEER__PROMISE__INIT;
    uint8_t packed[128];
    p.from = (ProtobufCBinaryData){.len = strlen(from), .data = (uint8_t *)(uintptr_t)from};
    p.from_generation = 1;
    p.ttl_ms = ttl_ms;
    size_t len = troupe__peer__promise__pack(&p, packed);
    t->as_node = true;
    struct troop_answer a =
        troop_call(t, n, "$peer", "self", "promise", troupe_bytes(packed, len), 0, 1000);
    t->as_node = false;
    return a.status;
}

/* It would be counted as the one that was asked for. */
static void no_promise_is_shorter_than_asked_for(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.nodes[0].outage_grace_ms = 20000;
    t.nodes[1].outage_grace_ms = 10000;
    start(&t, 2);
    troop_run(&t, 1000);
    t.store_down = true;
    troop_run(&t, 7000); /* they ask each other, which tells the cluster's uid */
    assert_int_equal(ask_promise(&t, 1, "n0", 15000), TROUPE_OK);
    assert_int_equal(ask_promise(&t, 1, "n0", 21000), TROUPE_FAILED_PRECONDITION);
    assert_int_equal(ask_promise(&t, 0, "n1", 15000), TROUPE_FAILED_PRECONDITION);
    troop_close(&t);
}

/* ---- promises ---- */

/* The other one reaches the store again, and promises no more. What it has promised lasts from when
 * it was asked, not from when its answer came. */
static void a_promise_counts_from_the_question(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    t.answer_ns = 1500 * TROOP_MS;
    t.nodes[0].store_cut = t.nodes[1].store_cut = true;
    troop_run(&t, 20000);
    assert_true(all_serve(&t, 2));
    t.nodes[1].store_cut = false;
    uint64_t back_ns = t.now.mono_ns;
    assert_true(troop_until(&t, is_suspended, 0, 20000));
    /* It may have been asked once more before it noticed: it tries again each second. */
    uint64_t served_ms = (t.now.mono_ns - back_ns) / TROOP_MS;
    print_message("served for %u ms more\n", (unsigned)served_ms);
    assert_true(served_ms <= TTL_MS - MARGIN_MS + 1100);
    troop_close(&t);
}

/* n1 is without the store for a moment only, in which it promises n0 not to evict it: n0's row is
 * old by then, and nothing else keeps n1 from it. */
static void a_promise_is_kept(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    t.nodes[0].store_cut = true;
    uint64_t cut_ns = t.now.mono_ns;
    troop_run(&t, 3300);
    t.nodes[1].store_cut = true;
    troop_run(&t, 1200);
    t.nodes[1].store_cut = false;
    uint32_t own = owned(&t, 1);
    while (t.now.mono_ns < cut_ns + 7200 * TROOP_MS) {
        troop_run(&t, 50);
        assert_true(serves(&t, 0));
        assert_int_equal(owned(&t, 1), own);
    }
    assert_true(troop_until(&t, is_suspended, 0, 5000));
    troop_close(&t);
}

/* The last renewal has returned one more node than n0 has places for: it cannot be asked, and so
 * has promised nothing. */
static void who_has_no_place_has_not_promised(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t i = 0; i < 3; i++)
        t.nodes[i].store_cut = true;
    t.nodes[0].rt->members.others++;
    assert_true(troop_until(&t, is_suspended, 0, TTL_MS + MARGIN_MS));
    assert_true(serves(&t, 1) && serves(&t, 2));
    troop_close(&t);
}

/* ---- copies of one machine ---- */

/* Each takes the other for an earlier boot of its own machine. The first one lives, and keeps its
 * name. */
static void a_wrong_proof_costs_no_name(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    memcpy(t.nodes[3].name, t.nodes[0].name, sizeof t.nodes[3].name);
    t.nodes[3].believes = t.nodes[0].believes = STORE_FATE_GONE;
    for (uint32_t round = 0; round < 3; round++) {
        troop_start(&t, 3);
        assert_true(troop_until(&t, is_down, 3, 20000));
        assert_true(all_serve(&t, 2));
    }
    troop_close(&t);
}

/* A proof that may be wrong costs a restart the time of a renewal that does not come; a guardian
 * that has seen the end costs it nothing. */
static void a_dead_holder_is_succeeded_by_proof(void **state)
{
    static const struct {
        enum store_fate fate;
        uint32_t ms;
    } fates[] = {{STORE_FATE_BURIED, 100}, {STORE_FATE_GONE, 2100}};
    (void)state;
    for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++) {
        struct troop t;
        open_troop(&t);
        start(&t, 2);
        t.nodes[0].believes = fates[i].fate;
        troop_crash(&t, 0);
        troop_start(&t, 0);
        assert_true(troop_until(&t, serves, 0, fates[i].ms + 1100)); /* it looks for others, too */
        troop_crash(&t, 0);
        troop_run(&t, 5000); /* silent for a TTL already, by the store's clock */
        t.nodes[0].believes = STORE_FATE_GONE;
        troop_start(&t, 0);
        assert_true(troop_until(&t, serves, 0, 1200));
        troop_close(&t);
    }
}

/* All die, and a node of a name that nobody knew begins on the same machine: it waits neither for
 * leases nor for what the others might serve without the store. */
static void proof_counts_for_whoever_asks(void **state)
{
    static const struct {
        enum store_fate fate;
        uint32_t ms;
    } fates[] = {{STORE_FATE_BURIED, 1500}, {STORE_FATE_GONE, 4500}};
    (void)state;
    for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++) {
        struct troop t;
        open_troop(&t);
        start(&t, 3);
        for (uint32_t n = 0; n < 3; n++)
            troop_crash(&t, n);
        t.nodes[5].believes = fates[i].fate;
        troop_start(&t, 5);
        uint64_t begun_ns = t.now.mono_ns;
        while (owned(&t, 5) < 256 && t.now.mono_ns < begun_ns + 60000 * TROOP_MS)
            troop_run(&t, 50);
        print_message("all owned after %u ms\n", (unsigned)((t.now.mono_ns - begun_ns) / TROOP_MS));
        assert_true(t.now.mono_ns - begun_ns <= fates[i].ms * TROOP_MS);
        troop_close(&t);
    }
}

static bool is_owned_otherwise(struct troop *t, uint32_t n)
{
    return owned(t, 0) != n;
}

/* n1 takes n0 for an earlier boot of its own machine, and n0 lives: it renews, and once it has done
 * so it may pause for longer than a proof waits. */
static void a_wrong_proof_costs_nobody_its_lease(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.nodes[1].believes = STORE_FATE_GONE;
    t.nodes[1].misjudges = true;
    start(&t, 2);
    uint32_t own = owned(&t, 0);
    assert_true(own > 0 && own < 256);
    for (uint32_t round = 0; round < 3; round++) {
        t.nodes[0].store_cut = true;
        troop_run(&t, 3000);
        t.nodes[0].store_cut = false;
        assert_false(troop_until(&t, is_owned_otherwise, own, 5000));
        assert_true(all_serve(&t, 2));
    }
    troop_close(&t);
}

static bool has_looked(struct troop *t, uint32_t n)
{
    const struct runtime *rt = t->nodes[n].rt;
    return rt->rows_ns != 0;
}

/* n1 has seen n0's row once when the store goes away for everybody: that nobody renews then makes
 * no proof right. */
static void an_outage_makes_no_proof_right(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.nodes[1].believes = STORE_FATE_GONE;
    t.nodes[1].misjudges = true;
    start(&t, 1);
    uint64_t generation = t.nodes[0].rt->generation;
    t.nodes[0].cut = true; /* it does not hear of n1, and does not renew more often for that */
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_looked, 1, 5000));
    t.store_down = true;
    troop_run(&t, 1900);
    t.nodes[0].store_cut = true; /* n1 is the first to reach it again */
    t.store_down = false;
    troop_run(&t, 500);
    t.nodes[0].store_cut = false;
    troop_run(&t, 3000);
    assert_int_equal(t.nodes[0].rt->generation, generation);
    t.nodes[0].cut = false;
    troop_run(&t, 3000);
    assert_true(all_serve(&t, 2));
    troop_close(&t);
}

/* ---- who knows of whom ---- */

/* When all of node n's part and the others' is its own, after its start. */
static uint64_t takes_all_ms(struct troop *t, uint32_t n, uint64_t most_ms)
{
    uint64_t begun_ns = t->now.mono_ns;
    troop_start(t, n);
    while (owned(t, n) < 256 && t->now.mono_ns < begun_ns + most_ms * TROOP_MS)
        troop_run(t, 100);
    uint64_t ms = (t->now.mono_ns - begun_ns) / TROOP_MS;
    print_message("n%u has all after %u ms\n", (unsigned)n, (unsigned)ms);
    return ms;
}

/* All die, on machines of their own, and one is back on its own: what the others may serve without
 * the store, they may by its promise only. */
static void one_of_a_dead_cluster_is_enough(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t i = 0; i < 3; i++)
        troop_crash(&t, i);
    t.nodes[1].believes = STORE_FATE_BURIED;
    t.nodes[1].believes_own = true;
    uint64_t first_ms = takes_all_ms(&t, 1, 700000);
    assert_in_range(first_ms, TTL_MS, TTL_MS + 5000);
    /* And so for a run after the next. */
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 700000));
    troop_run(&t, 3000);
    for (uint32_t round = 0; round < 2; round++) {
        troop_crash(&t, 1);
        troop_start(&t, 1);
        assert_true(troop_until(&t, serves, 1, 10000));
        troop_run(&t, 1000);
    }
    troop_crash(&t, 0);
    troop_crash(&t, 1);
    assert_in_range(takes_all_ms(&t, 1, 700000), TTL_MS, TTL_MS + 5000);
    troop_close(&t);
}

/* n0 has renewed for the last time before n1 became what it is: it needs no promise of it. The same
 * if an earlier run of n1 may live, and promise. */
static void who_cannot_know_is_waited_for(void **state)
{
    (void)state;
    for (int story = 0; story < 3; story++) {
        struct troop t;
        open_troop(&t);
        for (uint32_t i = 0; i < 3; i++)
            t.nodes[i].outage_grace_ms = 60000;
        start(&t, story == 0 ? 1 : 2);
        t.nodes[1].believes_own = true;
        if (story == 1) { /* it leaves, and is back after n0 has died */
            troop_stop(&t, 1);
            assert_true(troop_until(&t, is_down, 1, 20000));
            troop_run(&t, 2000);
        }
        troop_crash(&t, 0);
        if (story == 2) /* its end is not known */
            troop_crash(&t, 1);
        else
            t.nodes[1].believes = STORE_FATE_BURIED;
        assert_in_range(takes_all_ms(&t, 1, 700000), 55000, 130000);
        troop_close(&t);
    }
}

/* ---- waiting ---- */

static Troupe__Rpc__NodeStatus *status_of(struct troop *t, uint32_t n)
{
    struct troop_answer a =
        troop_call(t, n, "$node", "self", "status", troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_OK);
    return troupe__rpc__node_status__unpack(NULL, a.payload.len, a.payload.data);
}

static bool refuses_evict(struct troop *t, uint32_t n, const char *name, char state[16])
{
    Troupe__Rpc__EvictRequest r = TROUPE__RPC__EVICT_REQUEST__INIT;
    uint8_t packed[64];
    r.node = (char *)(uintptr_t)name;
    size_t len = troupe__rpc__evict_request__pack(&r, packed);
    struct troop_answer a =
        troop_call(t, n, "$node", "self", "evict", troupe_bytes(packed, len), 0, 1000);
    if (a.status != TROUPE_OK)
        return true;
    Troupe__Rpc__Evict *e = troupe__rpc__evict__unpack(NULL, a.payload.len, a.payload.data);
    snprintf(state, 16, "%s", e->state);
    troupe__rpc__evict__free_unpacked(e, NULL);
    return false;
}

/* n1 begins where nobody knows it, and n0, which has everything, is dead: for whom it waits, and
 * what can be done, is said to whoever asks or calls; until an operator does it. */
static void who_waits_says_for_whom(void **state)
{
    (void)state;
    struct troop t;
    char what[16] = "";
    open_troop(&t);
    start(&t, 1);
    troop_crash(&t, 0);
    troop_start(&t, 1);
    assert_true(troop_until(&t, serves, 1, 10000));
    assert_false(t.fx.serves);
    troop_run(&t, 1000);
    struct troop_answer a = troop_call(&t, 1, "bag", "x", "$get", troupe_bytes(NULL, 0), 0, 3000);
    assert_int_equal(a.status, TROUPE_UNAVAILABLE);
    assert_non_null(strstr(a.message, "the entity is with node n0, at "));
    assert_non_null(strstr(a.message, " 9 min "));
    assert_non_null(strstr(a.message, "`troupe evict n0`"));
    Troupe__Rpc__NodeStatus *s = status_of(&t, 1);
    assert_int_equal(s->n_waits, 1);
    assert_string_equal(s->waits[0]->node, "n0");
    assert_int_equal(s->waits[0]->partitions, 256);
    assert_in_range(s->waits[0]->left_ms, 500000, 600000);
    troupe__rpc__node_status__free_unpacked(s, NULL);
    troop_run(&t, 3000);
    assert_false(refuses_evict(&t, 1, "n0", what));
    assert_string_equal(what, "evicted");
    troop_run(&t, 500);
    assert_int_equal(owned(&t, 1), 256);
    s = status_of(&t, 1);
    assert_int_equal(s->n_waits, 0);
    troupe__rpc__node_status__free_unpacked(s, NULL);
    assert_true(t.fx.serves);
    troop_close(&t);
}

/* n3 bears the name of n0, whose machine is lost. */
static void a_lost_run_of_the_own_name_is_evicted(void **state)
{
    (void)state;
    struct troop t;
    char what[16] = "";
    open_troop(&t);
    start(&t, 1);
    memcpy(t.nodes[3].name, t.nodes[0].name, sizeof t.nodes[3].name);
    assert_true(refuses_evict(&t, 0, "n0", what)); /* it lives */
    troop_crash(&t, 0);
    troop_start(&t, 3);
    troop_run(&t, 2000);
    struct troop_answer a = troop_call(&t, 3, "bag", "x", "$get", troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_UNAVAILABLE);
    assert_non_null(strstr(a.message, "waits for an earlier run of its name"));
    assert_false(refuses_evict(&t, 3, "n0", what));
    assert_string_equal(what, "watched");
    troop_run(&t, 4000);
    assert_false(refuses_evict(&t, 3, "n0", what));
    assert_string_equal(what, "evicted");
    assert_true(troop_until(&t, serves, 3, 4000));
    assert_int_equal(owned(&t, 3), 256);
    troop_close(&t);
}

/* Its row tells that it is gone, its answers that it is not: it takes its name again in a moment.
 */
static void who_was_evicted_and_lives_is_not_called_gone(void **state)
{
    (void)state;
    struct troop t;
    char what[16] = "";
    open_troop(&t);
    start(&t, 2);
    assert_true(store_memory_evict(t.store, "n0"));
    for (uint64_t end = t.now.mono_ns + 3000 * TROOP_MS; t.now.mono_ns < end;) {
        bool refused = refuses_evict(&t, 1, "n0", what);
        if (!refused) /* it has a row again, and is watched */
            assert_string_equal(what, "watched");
        troop_run(&t, 10);
    }
    troop_close(&t);
}

/* It neither renews nor is dead: it serves on. Somebody may have mistaken its name. */
static void who_lives_is_not_evicted(void **state)
{
    (void)state;
    struct troop t;
    char what[16] = "";
    open_troop(&t);
    start(&t, 3);
    for (uint32_t round = 0; round < 20; round++) {
        assert_false(refuses_evict(&t, 0, "n1", what));
        assert_string_equal(what, "watched");
        troop_run(&t, 500);
    }
    t.nodes[1].store_cut = true;
    for (uint32_t round = 0; round < 9; round++) {
        assert_false(refuses_evict(&t, 0, "n1", what));
        assert_string_equal(what, "watched");
        troop_run(&t, 500);
    }
    assert_true(refuses_evict(&t, 0, "n9", what));
    troop_close(&t);
}

/* ---- drains ---- */

static uint32_t drained(struct troop *t, uint32_t n)
{
    uint32_t drained_n = 0;
    for (uint32_t i = 0; i < n; i++) {
        Troupe__Rpc__NodeStatus *s = status_of(t, i);
        drained_n += s->drain_asked;
        troupe__rpc__node_status__free_unpacked(s, NULL);
    }
    return drained_n;
}

/* All at the same moment: each sees the others active. One of them refuses, and has everything. */
static void all_drain_and_one_stays(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t i = 0; i < 3; i++)
        troop_send(&t, i, "$node", "self", "drain", 0, 5000);
    troop_run(&t, 10000);
    assert_int_equal(drained(&t, 3), 2);
    uint32_t most = 0;
    for (uint32_t i = 0; i < 3; i++)
        most = owned(&t, i) > most ? owned(&t, i) : most;
    assert_int_equal(most, 256);
    for (uint32_t i = 0; i < 3; i++)
        troop_send(&t, i, "$node", "self", "undrain", 0, 5000);
    troop_run(&t, 10000);
    assert_int_equal(drained(&t, 3), 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(owned(&t, i) > 0 && owned(&t, i) < 128);
    troop_close(&t);
}

/* The store cannot say whether others drain: then nobody may. */
static void no_drain_without_the_store(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    t.store_down = true;
    struct troop_answer a =
        troop_call(&t, 0, "$node", "self", "drain", troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_UNAVAILABLE);
    t.store_down = false;
    assert_int_equal(drained(&t, 2), 0);
    troop_close(&t);
}

/* A drain outlives the loss of the lease: the row says so again. */
static void a_drain_outlives_an_eviction(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    troop_send(&t, 0, "$node", "self", "drain", 0, 5000);
    troop_run(&t, 3000);
    assert_int_equal(owned(&t, 0), 0);
    assert_true(store_memory_evict(t.store, "n0"));
    troop_run(&t, 3000);
    assert_true(serves(&t, 0));
    assert_int_equal(owned(&t, 0), 0);
    struct troop_answer a =
        troop_call(&t, 1, "$node", "self", "drain", troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_FAILED_PRECONDITION);
    troop_close(&t);
}

/* ---- the map of owners ---- */

/* n hears from another one that all partitions are a third one's, at epochs that no store has given
 * out. */
static void poison(struct troop *t, uint32_t n, const char *from, const char *owner, uint64_t more)
{
    static uint8_t payload[OWNER_MAP_PAYLOAD_BYTES_MAX], bytes[GOSSIP_FRAME_BYTES_MAX];
    struct owner_map wrong;
    assert_int_equal(owner_map_init(&wrong, 256, 4), 0);
    owner_map_set_audience(&wrong, 3, 1);
    for (uint32_t pid = 0; pid < 256; pid++)
        owner_map_set(&wrong, pid, troupe_bytes_of(owner), more + pid);
    size_t len = owner_map_put_news(&wrong, payload, sizeof payload);
    struct gossip_frame frame = {.type = GOSSIP_OWNERS,
                                 .from = troupe_bytes_of(from),
                                 .from_generation = 1,
                                 .owners = troupe_bytes(payload, len)};
    memcpy(frame.uid, t->nodes[n].rt->members.uid, sizeof frame.uid);
    len = gossip_encode_header(&frame, bytes, sizeof bytes);
    assert_true(len > 0);
    runtime_step(
        t->nodes[n].rt, t->now,
        &(struct runtime_event){.type = RUNTIME_FRAME, .u.frame = troupe_bytes(bytes, len)});
    owner_map_close(&wrong);
}

/* How many entries of the map of n are not as their owner has them. */
static uint32_t wrong_entries(struct troop *t, uint32_t n, uint32_t nodes)
{
    uint32_t wrong = 0;
    for (uint32_t pid = 0; pid < 256; pid++) {
        struct runtime *rt = t->nodes[n].rt;
        struct owner owner = owner_map_get(&rt->owner_map, pid);
        uint32_t held = TROOP_NODES_MAX;
        for (uint32_t i = 0; i < nodes; i++) {
            if (ownership_is_held(&t->nodes[i].rt->ownership, pid))
                held = i;
        }
        assert_true(held < nodes);
        const struct node_info *believed = node__at(rt, rt->ownership.entries[pid].node);
        bool right = owner.epoch == t->nodes[held].rt->ownership.entries[pid].epoch &&
                     troupe_bytes_equal(owner.name, troupe_bytes_of(t->nodes[held].name));
        if (held != n)
            right &= believed != NULL && strcmp(believed->name, t->nodes[held].name) == 0 &&
                     rt->ownership.entries[pid].epoch == owner.epoch;
        wrong += !right;
    }
    return wrong;
}

/* One has heard it, or several, from before or after others have been healed; it is a living
 * node's, or one's that there never was. */
static void wrong_epochs_are_forgotten(void **state)
{
    (void)state;
    static const char *const owners[] = {"n1", "nobody-there"};
    for (size_t k = 0; k < sizeof owners / sizeof owners[0]; k++) {
        struct troop t;
        open_troop(&t);
        start(&t, 3);
        poison(&t, 0, "n2", owners[k], 1000);
        assert_true(wrong_entries(&t, 0, 3) > 150);
        troop_run(&t, 4000);
        for (uint32_t i = 0; i < 3; i++)
            poison(&t, i, i == 2 ? "n0" : "n2", owners[k], 2000 + i);
        troop_run(&t, 30000);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(wrong_entries(&t, i, 3), 0);
        troop_run(&t, 10000);
        uint64_t reads[3];
        for (uint32_t i = 0; i < 3; i++)
            reads[i] = t.nodes[i].rt->owners_doubts_n;
        troop_run(&t, 60000); /* and there is peace */
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(t.nodes[i].rt->owners_doubts_n, reads[i]);
        troop_start(&t, 3); /* partitions move on, at epochs that were called wrong before */
        troop_run(&t, 20000);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(wrong_entries(&t, i, 4), 0);
        troop_close(&t);
    }
}

/* What a node has heard of is being handed to it when it looks at the store: what comes is not
 * thrown away because of that. The batch is given up then, and what was wrong is not forgotten with
 * it. */
static void a_wrong_epoch_is_forgotten_after_a_batch(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    t.owners_ns = 1000 * TROOP_MS;
    poison(&t, 1, "n0", "n0", 1000);
    t.answer_ns = 7000 * TROOP_MS; /* that n1 has taken it, n0 hears so late */
    troop_send(&t, 0, "$node", "self", "drain", 0, 5000);
    troop_run(&t, 6200);
    troop_send(&t, 0, "$node", "self", "undrain", 0, 5000);
    troop_run(&t, 300);
    t.nodes[0].store_cut = true; /* the commit fails */
    t.answer_ns = t.owners_ns = 0;
    troop_run(&t, 1500);
    t.nodes[0].store_cut = false;
    troop_run(&t, 12000);
    assert_int_equal(owned(&t, 0) + owned(&t, 1), 256);
    assert_int_equal(wrong_entries(&t, 1, 2), 0);
    troop_close(&t);
}

static bool serves_not(struct troop *t, uint32_t n)
{
    return !serves(t, n);
}

/* A node is evicted, hears nonsense about who owns what, and has its partitions again before
 * anybody else had them. What it has in memory is right, whatever was said meanwhile. */
static void hearsay_costs_no_memory(void **state)
{
    (void)state;
    struct troop t;
    uint64_t token = 7;
    open_troop(&t);
    start(&t, 2);
    for (uint32_t bag = 0; bag < 40; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a =
            troop_call(&t, 0, "bag", id, "add", troupe_bytes(&token, sizeof token), 0, 1000);
        assert_int_equal(a.status, TROUPE_OK);
    }
    t.nodes[1].store_cut = true; /* it does not see the eviction, and claims nothing */
    t.owners_ns = 50 * TROOP_MS;
    assert_true(store_memory_evict(t.store, "n0"));
    assert_true(troop_until(&t, serves_not, 0, 3000));
    poison(&t, 0, "n1", "nobody-there", 1000);
    t.nodes[1].store_cut = false;
    assert_true(troop_until(&t, serves, 0, 3000));
    t.owners_ns = 0;
    troop_run(&t, 3000);
    for (uint32_t bag = 0; bag < 40; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a =
            troop_call(&t, 0, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
        assert_int_equal(a.status, TROUPE_OK);
        assert_int_equal(a.payload.len, 8);
    }
    troop_close(&t);
}

static bool asks_for_map(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt->owners.out;
}

/* A node asks for the map, hears that the store has failed over and lacks its registration, and
 * registers anew; then the map comes. It was asked for before the node knew: what the failover has
 * lost is looked for once more, and claims do not wait for ever. */
static void a_map_from_before_the_news_is_not_the_last(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 1);
    assert_true(store_memory_keep(t.store));
    troop_start(&t, 1);
    assert_true(troop_until(&t, serves, 1, 10000));
    troop_run(&t, 3000);
    t.owners_ns = 2500 * TROOP_MS;
    t.nodes[1].rt->want_map = true;
    store_memory_fail_over(t.store);
    assert_true(troop_until(&t, asks_for_map, 1, 1000));
    t.owners_ns = 0;
    troop_run(&t, 2000);
    assert_true(troop_until(&t, serves, 1, 5000));
    troop_run(&t, 20);
    assert_false(t.nodes[1].rt->failed_over); /* while it is so, nothing is claimed */
    troop_crash(&t, 0);
    troop_run(&t, 15000);
    assert_true(serves(&t, 1));
    assert_int_equal(owned(&t, 1), 256);
    troop_close(&t);
}

/* What was hearsay is the store's word later, and no news then: what was kept in memory of the
 * partitions goes all the same. It stayed, and after a failover was to be written again for ever.
 */
static void hearsay_that_is_true_costs_what_was_kept(void **state)
{
    (void)state;
    struct troop t;
    struct runtime_stats stats;
    uint64_t token = 7;
    open_troop(&t);
    start(&t, 2);
    for (uint32_t bag = 0; bag < 40; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        troop_call(&t, 0, "bag", id, "add", troupe_bytes(&token, sizeof token), 0, 1000);
    }
    assert_true(store_memory_evict(t.store, "n0"));
    assert_true(troop_until(&t, serves_not, 0, 3000));
    t.nodes[0].store_cut = true; /* n1 claims them all, and tells it */
    troop_run(&t, 5000);
    assert_int_equal(owned(&t, 1), 256);
    t.nodes[0].store_cut = false;
    assert_true(troop_until(&t, serves, 0, 10000));
    troop_stats(&t, 0, &stats);
    assert_int_equal(stats.partitions_owned, 0);
    assert_int_equal(stats.entities_resident, 0);
    troop_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_was_evicted_and_lives_is_not_called_gone),
        cmocka_unit_test(settings_may_differ),
        cmocka_unit_test(who_fences_is_not_waited_for),
        cmocka_unit_test(no_promise_is_shorter_than_asked_for),
        cmocka_unit_test(a_promise_counts_from_the_question),
        cmocka_unit_test(a_promise_is_kept),
        cmocka_unit_test(who_has_no_place_has_not_promised),
        cmocka_unit_test(a_wrong_proof_costs_no_name),
        cmocka_unit_test(a_dead_holder_is_succeeded_by_proof),
        cmocka_unit_test(proof_counts_for_whoever_asks),
        cmocka_unit_test(a_wrong_proof_costs_nobody_its_lease),
        cmocka_unit_test(one_of_a_dead_cluster_is_enough),
        cmocka_unit_test(who_cannot_know_is_waited_for),
        cmocka_unit_test(who_waits_says_for_whom),
        cmocka_unit_test(a_lost_run_of_the_own_name_is_evicted),
        cmocka_unit_test(who_lives_is_not_evicted),
        cmocka_unit_test(an_outage_makes_no_proof_right),
        cmocka_unit_test(all_drain_and_one_stays),
        cmocka_unit_test(no_drain_without_the_store),
        cmocka_unit_test(a_drain_outlives_an_eviction),
        cmocka_unit_test(wrong_epochs_are_forgotten),
        cmocka_unit_test(a_wrong_epoch_is_forgotten_after_a_batch),
        cmocka_unit_test(a_map_from_before_the_news_is_not_the_last),
        cmocka_unit_test(hearsay_costs_no_memory),
        cmocka_unit_test(hearsay_that_is_true_costs_what_was_kept),
    };
    return cmocka_run_group_tests_name("outages", tests, NULL, NULL);
}
