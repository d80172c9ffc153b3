/* Stories of a few nodes: they find each other, share the partitions, hand them over, and take over
 * from one that dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/invariant.h"
#include "base/name.h"
#include "peer.pb-c.h"
#include "tests/sim/bag.h"
#include "tests/sim/troop.h"

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

static bool is_down(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt == NULL;
}

static bool has_some(struct troop *t, uint32_t n)
{
    return owned(t, n) > 0;
}

/* All that run serve, and each has its share, give or take what the cap allows. */
static bool is_balanced(struct troop *t, uint32_t n)
{
    uint32_t up = 0, all = 0;
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (t->nodes[i].rt == NULL)
            continue;
        up++;
        if (!serves(t, i))
            return false;
        all += owned(t, i);
    }
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (t->nodes[i].rt != NULL && owned(t, i) * up > 256 + 13 * up)
            return false;
    }
    return all == 256 && up == n;
}

static uint64_t token_of(uint32_t bag, uint32_t k)
{
    return (uint64_t)bag << 32 | k;
}

static enum troupe_status add(struct troop *t, uint32_t n, uint32_t bag, uint64_t token)
{
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    return troop_call(t, n, "bag", id, "add", troupe_bytes(&token, sizeof token), token + 1, 5000)
        .status;
}

static size_t list(struct troop *t, uint32_t n, uint32_t bag, struct troop_answer *answer)
{
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    *answer = troop_call(t, n, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
    assert_int_equal(answer->status, TROUPE_OK);
    return answer->payload.len / 8;
}

static void start(struct troop *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        troop_start(t, i);
        assert_true(troop_until(t, serves, i, 10000));
    }
    assert_true(troop_until(t, is_balanced, n, 20000));
}

static void three_nodes_share_the_partitions(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t i = 0; i < 3; i++)
        print_message("%s owns %u of 256\n", t.nodes[i].name, owned(&t, i));
    troop_close(&t);
}

/* Whoever is asked, the one that owns the entity answers, and says so. */
static void a_call_finds_its_entity(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    uint32_t elsewhere = 0;
    for (uint32_t bag = 0; bag < 60; bag++) {
        struct troop_answer answer;
        assert_int_equal(add(&t, bag % 3, bag, token_of(bag, 1)), TROUPE_OK);
        assert_int_equal(list(&t, (bag + 1) % 3, bag, &answer), 1);
        elsewhere += answer.owner[0] != '\0';
        assert_true(answer.took_ns < 20 * TROOP_MS);
    }
    assert_true(elsewhere > 20 && elsewhere < 60);
    troop_close(&t);
}

/* What is in memory only moves along; nothing is read from the store. */
static void entities_move_alive(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 1);
    for (uint32_t bag = 0; bag < 500; bag++)
        assert_int_equal(add(&t, 0, bag, token_of(bag, 1)), TROUPE_OK);
    troop_start(&t, 1);
    assert_true(troop_until(&t, is_balanced, 2, 20000));
    struct runtime_stats s[2];
    troop_stats(&t, 0, &s[0]);
    troop_stats(&t, 1, &s[1]);
    assert_int_equal(s[0].entities_resident + s[1].entities_resident, 500);
    assert_true(s[1].entities_resident > 150);
    assert_int_equal(s[1].rows_loaded, 0);
    for (uint32_t bag = 0; bag < 500; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 0, bag, &answer), 1);
        /* the window of request ids has moved, too */
        assert_int_equal(add(&t, 1, bag, token_of(bag, 1)), TROUPE_OK);
        assert_int_equal(list(&t, 1, bag, &answer), 1);
    }
    troop_stats(&t, 1, &s[1]);
    assert_int_equal(s[1].rows_loaded, 0);
    troop_close(&t);
}

/* A timer that was set before the move fires after it. */
static void timers_move_along(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 1);
    for (uint32_t bag = 0; bag < 60; bag++) {
        uint64_t words[2] = {token_of(bag, 1), 8000};
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        assert_int_equal(troop_call(&t, 0, "bag", id, "tick", troupe_bytes(words, sizeof words),
                                    words[0] + 1, 5000)
                             .status,
                         TROUPE_OK);
    }
    troop_start(&t, 1);
    assert_true(troop_until(&t, is_balanced, 2, 20000));
    assert_true(owned(&t, 1) > 80);
    struct troop_answer before;
    assert_int_equal(list(&t, 0, 0, &before), 0);
    troop_run(&t, 8000);
    for (uint32_t bag = 0; bag < 60; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 0, bag, &answer), 1);
    }
    troop_close(&t);
}

static uint64_t ms_to_balance(uint64_t bytes_per_s)
{
    enum { BAGS = 9000 };
    struct troop t;
    open_troop(&t);
    t.handoff_bytes_per_s = bytes_per_s;
    start(&t, 1);
    for (uint32_t bag = 0; bag < BAGS; bag++)
        assert_int_equal(add(&t, 0, bag, token_of(bag, 1)), TROUPE_OK);
    uint64_t begun_ns = t.now.mono_ns;
    troop_start(&t, 1);
    assert_true(troop_until(&t, is_balanced, 2, 60000));
    uint64_t took_ms = (t.now.mono_ns - begun_ns) / TROOP_MS;
    struct runtime_stats s;
    troop_stats(&t, 1, &s);
    assert_true(s.entities_resident > BAGS / 3);
    assert_int_equal(s.rows_loaded, 0);
    for (uint32_t bag = 0; bag < 20; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 1, bag, &answer), 1);
    }
    troop_close(&t);
    return took_ms;
}

/* handoff_bytes_per_s: batches wait for their turn, and calls for no batch. */
static void moves_keep_their_rate(void **state)
{
    (void)state;
    uint64_t free_ms = ms_to_balance(0), paced_ms = ms_to_balance(64 << 10);
    print_message("balanced after %u ms, at 64 KiB/s after %u ms\n", (unsigned)free_ms,
                  (unsigned)paced_ms);
    assert_true(paced_ms > free_ms + 2000);
    assert_true(paced_ms < free_ms + 30000);
}

/* SIGTERM: everything moves to the others before the node goes. */
static void a_node_drains(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t bag = 0; bag < 300; bag++)
        assert_int_equal(add(&t, 0, bag, token_of(bag, 1)), TROUPE_OK);
    troop_stop(&t, 0);
    assert_true(troop_until(&t, is_down, 0, 20000));
    assert_true(troop_until(&t, is_balanced, 2, 1000));
    struct runtime_stats s[2];
    troop_stats(&t, 1, &s[0]);
    troop_stats(&t, 2, &s[1]);
    assert_int_equal(s[0].entities_resident + s[1].entities_resident, 300);
    assert_int_equal(s[0].rows_loaded + s[1].rows_loaded, 0);
    for (uint32_t bag = 0; bag < 300; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 1 + bag % 2, bag, &answer), 1);
    }
    troop_close(&t);
}

static bool is_alone(struct troop *t, uint32_t n)
{
    return owned(t, n) == 256;
}

/* kill -9: the others evict it when its lease is over, and take its partitions. */
static void a_dead_node_is_succeeded(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    troop_run(&t, 3000);
    for (uint32_t bag = 0; bag < 100; bag++) {
        uint64_t token = token_of(bag, 1);
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a = troop_call(&t, 0, "bag", id, "put",
                                           troupe_bytes(&token, sizeof token), token + 1, 5000);
        assert_int_equal(a.status, TROUPE_OK);
        assert_int_equal(a.ack, TROUPE_ACK_DURABLE);
    }
    uint64_t killed_ns = t.now.mono_ns;
    troop_crash(&t, 0);
    assert_true(troop_until(&t, is_balanced, 2, 20000));
    print_message("taken over after %u ms\n", (unsigned)((t.now.mono_ns - killed_ns) / TROOP_MS));
    for (uint32_t bag = 0; bag < 100; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 1 + bag % 2, bag, &answer), 1);
    }
    troop_close(&t);
}

/* Nodes that have just begun are evicted as soon as others: they renew often at first, which shows
 * that they know each other, and cannot be serving on promises of others only. */
static void a_young_node_is_succeeded(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    troop_run(&t, 1000);
    troop_crash(&t, 1);
    troop_start(&t, 1); /* it has seen nothing of the others' earlier renewals */
    assert_true(troop_until(&t, serves, 1, 20000));
    troop_run(&t, 1000);
    uint64_t killed_ns = t.now.mono_ns;
    troop_crash(&t, 0);
    troop_crash(&t, 2);
    assert_true(troop_until(&t, is_alone, 1, 7500));
    print_message("taken over after %u ms\n", (unsigned)((t.now.mono_ns - killed_ns) / TROOP_MS));
    troop_close(&t);
}

/* So are those that die as soon as they own something, before they have renewed at all: they
 * registered after the others, and so know them. */
static void a_node_that_dies_young_is_succeeded(void **state)
{
    (void)state;
    for (uint32_t ms = 0; ms < 1000; ms += 20) {
        struct troop t;
        open_troop(&t);
        start(&t, 2);
        troop_run(&t, 3000 + ms * 7 % 1000);
        troop_start(&t, 2);
        troop_run(&t, ms);
        troop_crash(&t, 2);
        assert_true(troop_until(&t, is_balanced, 2, 7500));
        troop_close(&t);
    }
}

/* A node that comes back under its name takes its place again at once. */
static void a_restart_takes_its_place(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    troop_stop(&t, 2);
    assert_true(troop_until(&t, is_down, 2, 20000));
    troop_start(&t, 2);
    assert_true(troop_until(&t, is_balanced, 3, 20000));
    troop_close(&t);
}

/* SIGSTOP for longer than the lease: the others have taken over by the time it goes on; it notices,
 * begins anew, and gets its part back. */
static void a_long_pause_costs_the_lease(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t bag = 0; bag < 90; bag++)
        assert_int_equal(add(&t, 0, bag, token_of(bag, 1)), TROUPE_OK);
    troop_run(&t, 2000);
    t.nodes[1].paused = true;
    troop_run(&t, 12000);
    assert_int_equal(owned(&t, 0) + owned(&t, 2), 256);
    t.nodes[1].paused = false;
    assert_true(troop_until(&t, is_balanced, 3, 20000));
    for (uint32_t bag = 0; bag < 90; bag++)
        assert_int_equal(add(&t, 1, bag, token_of(bag, 2)), TROUPE_OK);
    troop_close(&t);
}

static struct troop_answer ask_node(struct troop *t, uint32_t n, const char *method)
{
    struct troop_answer a =
        troop_call(t, n, "$node", "self", method, troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_OK);
    return a;
}

static void hashes_of(struct troop *t, uint32_t n, uint64_t hashes[3])
{
    struct troop_answer a = ask_node(t, n, "members");
    Troupe__Rpc__Members *m = troupe__rpc__members__unpack(NULL, a.payload.len, a.payload.data);
    assert_non_null(m);
    hashes[0] = m->members_hash;
    hashes[1] = m->ring_hash;
    hashes[2] = m->owners_hash;
    troupe__rpc__members__free_unpacked(m, NULL);
}

static bool all_agree(struct troop *t, uint32_t n)
{
    uint64_t first[3], other[3];
    hashes_of(t, 0, first);
    for (uint32_t i = 1; i < n; i++) {
        hashes_of(t, i, other);
        if (memcmp(first, other, sizeof first) != 0)
            return false;
    }
    return true;
}

/* Members, ring and owners are known to all alike, soon after everything has moved. */
static void all_nodes_know_the_same(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 4);
    assert_true(troop_until(&t, all_agree, 4, 3000));
    troop_close(&t);
}

/* The store is away for a minute, for all: nobody could take over, and calls that need no commit
 * are answered all the time. */
static void an_outage_stops_nobody(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t bag = 0; bag < 30; bag++)
        assert_int_equal(add(&t, bag % 3, bag, token_of(bag, 1)), TROUPE_OK);
    troop_run(&t, 2000);
    t.store_down = true;
    for (uint32_t round = 2; round < 62; round++) {
        for (uint32_t bag = 0; bag < 30; bag++)
            assert_int_equal(add(&t, (bag + round) % 3, bag, token_of(bag, round)), TROUPE_OK);
        troop_run(&t, 1000);
    }
    t.store_down = false;
    troop_run(&t, 10000);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(serves(&t, i));
    for (uint32_t bag = 0; bag < 30; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 0, bag, &answer), 61);
    }
    troop_close(&t);
}

static bool is_suspended(struct troop *t, uint32_t n)
{
    return t->nodes[n].phase == RUNTIME_SUSPENDED;
}

/* The store is away for one node only: the others reach it, promise nothing, and take over. */
static void a_node_without_the_store_is_succeeded(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    troop_run(&t, 2000);
    t.nodes[0].store_cut = true;
    assert_true(troop_until(&t, is_suspended, 0, 6000));
    troop_run(&t, 4000);
    assert_int_equal(owned(&t, 1) + owned(&t, 2), 256);
    t.nodes[0].store_cut = false;
    assert_true(troop_until(&t, is_balanced, 3, 20000));
    troop_close(&t);
}

/* All serve on each other's promises, and a second run of a name, on a machine that reaches the
 * store, has promised nothing: it waits until the promises have ended. */
static void a_twin_waits_for_promises_to_end(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 3);
    troop_run(&t, 2000);
    for (uint32_t i = 0; i < 3; i++)
        t.nodes[i].store_cut = true;
    memcpy(t.nodes[3].name, t.nodes[0].name, sizeof t.nodes[3].name);
    t.nodes[3].cut = true;
    troop_start(&t, 3);
    for (uint32_t s = 0; s < 500; s++) {
        troop_run(&t, 1000);
        assert_int_equal(t.nodes[3].phase, RUNTIME_STARTING);
        assert_true(serves(&t, 0) && serves(&t, 1) && serves(&t, 2));
    }
    assert_true(troop_until(&t, serves, 3, 120000));
    for (uint32_t i = 0; i < 3; i++)
        assert_true(is_suspended(&t, i));
    troop_close(&t);
}

/* ---- what operators ask for ---- */

static Troupe__Rpc__Drain *ask_drain(struct troop *t, uint32_t n, const char *method)
{
    struct troop_answer a = ask_node(t, n, method);
    Troupe__Rpc__Drain *d = troupe__rpc__drain__unpack(NULL, a.payload.len, a.payload.data);
    assert_non_null(d);
    return d;
}

static bool is_empty(struct troop *t, uint32_t n)
{
    return owned(t, n) == 0;
}

static void assert_state(struct troop *t, uint32_t asked, uint32_t of, const char *state)
{
    struct troop_answer a = ask_node(t, asked, "members");
    Troupe__Rpc__Members *m = troupe__rpc__members__unpack(NULL, a.payload.len, a.payload.data);
    bool found = false;
    for (size_t i = 0; i < m->n_members; i++) {
        if (strcmp(m->members[i]->name, t->nodes[of].name) != 0)
            continue;
        assert_string_equal(m->members[i]->state, state);
        found = true;
    }
    assert_true(found);
    troupe__rpc__members__free_unpacked(m, NULL);
}

/* The cause of the latest change of the partition's owner, and who that is. */
static void assert_latest(struct troop *t, uint32_t pid, uint32_t owner, const char *cause)
{
    uint8_t payload[8] = {0x08, (uint8_t)(pid & 0x7f)};
    size_t len = 2;
    if (pid > 0x7f) {
        payload[1] |= 0x80;
        payload[len++] = (uint8_t)(pid >> 7);
    }
    struct troop_answer a =
        troop_call(t, 1, "$node", "self", "history", troupe_bytes(payload, len), 0, 1000);
    assert_int_equal(a.status, TROUPE_OK);
    Troupe__Rpc__History *h = troupe__rpc__history__unpack(NULL, a.payload.len, a.payload.data);
    assert_non_null(h);
    assert_int_equal(h->partition, pid);
    assert_true(h->n_changes > 0);
    assert_string_equal(h->changes[0]->cause, cause);
    assert_string_equal(h->changes[0]->owner, t->nodes[owner].name);
    troupe__rpc__history__free_unpacked(h, NULL);
}

/* Whose partition 0 is, as the store says. */
static uint32_t stored_owner(struct troop *t, uint32_t asked, uint32_t pid)
{
    struct troop_answer a = ask_node(t, asked, "owners");
    Troupe__Rpc__Owners *o = troupe__rpc__owners__unpack(NULL, a.payload.len, a.payload.data);
    uint32_t found = TROOP_NODES_MAX;
    assert_non_null(o);
    assert_int_equal(o->n_owner, 256);
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (o->owner[pid] != 0 && strcmp(o->nodes[o->owner[pid] - 1]->name, t->nodes[i].name) == 0)
            found = i;
    }
    troupe__rpc__owners__free_unpacked(o, NULL);
    return found;
}

/* An operator's drain: the node keeps running, has nothing, and still answers for everybody; taken
 * back, it gets its part again. Nothing is read from the store for any of that. */
static void an_operator_drains_a_node(void **state)
{
    (void)state;
    struct troop t;
    uint32_t moved = 0;
    open_troop(&t);
    start(&t, 3);
    for (uint32_t bag = 0; bag < 300; bag++)
        assert_int_equal(add(&t, bag % 3, bag, token_of(bag, 1)), TROUPE_OK);
    while (stored_owner(&t, 2, moved) != 0)
        moved++;
    Troupe__Rpc__Drain *d = ask_drain(&t, 0, "drain");
    assert_string_equal(d->state, "draining");
    assert_true(d->partitions > 60);
    troupe__rpc__drain__free_unpacked(d, NULL);
    assert_true(troop_until(&t, is_empty, 0, 20000));
    troop_run(&t, 3000);
    d = ask_drain(&t, 0, "drain");
    assert_string_equal(d->state, "drained");
    assert_int_equal(d->partitions + d->entities, 0);
    troupe__rpc__drain__free_unpacked(d, NULL);
    assert_true(serves(&t, 0));
    assert_state(&t, 0, 0, "draining");
    assert_state(&t, 1, 0, "draining");
    assert_int_equal(owned(&t, 1) + owned(&t, 2), 256);
    assert_latest(&t, moved, stored_owner(&t, 1, moved), "drain");
    for (uint32_t bag = 0; bag < 300; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 0, bag, &answer), 1);
    }
    d = ask_drain(&t, 0, "undrain");
    assert_string_equal(d->state, "active");
    troupe__rpc__drain__free_unpacked(d, NULL);
    assert_true(troop_until(&t, is_balanced, 3, 20000));
    assert_state(&t, 1, 0, "active");
    assert_latest(&t, moved, 0, "join");
    for (uint32_t i = 0; i < 3; i++) {
        struct runtime_stats s;
        troop_stats(&t, i, &s);
        assert_int_equal(s.rows_loaded, 0);
    }
    troop_close(&t);
}

/* Somebody must be left who can take the partitions. */
static void the_last_node_is_not_drained(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    Troupe__Rpc__Drain *d = ask_drain(&t, 0, "drain");
    troupe__rpc__drain__free_unpacked(d, NULL);
    assert_true(troop_until(&t, is_empty, 0, 20000));
    troop_run(&t, 1000);
    struct troop_answer a =
        troop_call(&t, 1, "$node", "self", "drain", troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_FAILED_PRECONDITION);
    troop_stop(&t, 0); /* and a drained one stops like any other */
    assert_true(troop_until(&t, is_down, 0, 20000));
    assert_int_equal(owned(&t, 1), 256);
    troop_close(&t);
}

static bool has_all(struct troop *t, uint32_t n)
{
    return owned(t, n) == 256;
}

/* Partitions that have moved to it, and with *received those that have come whole and are to be its
 * own. */
static uint64_t taken(struct troop *t, uint32_t n, uint64_t *received)
{
    struct troop_answer a = ask_node(t, n, "transfers");
    Troupe__Rpc__Transfers *x = troupe__rpc__transfers__unpack(NULL, a.payload.len, a.payload.data);
    assert_non_null(x);
    uint64_t partitions = x->partitions_in;
    *received = 0;
    for (size_t i = 0; i < x->n_batches; i++) {
        if (strcmp(x->batches[i]->phase, "received") == 0)
            *received += x->batches[i]->partitions;
    }
    troupe__rpc__transfers__free_unpacked(x, NULL);
    return partitions;
}

/* It is drained while it is being given its share: what is on its way to it is refused, and not
 * taken only to be given back. */
static void a_drained_node_takes_nothing(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    t.handoff_bytes_per_s = 400000; /* the drain is written into the store first */
    start(&t, 1);
    for (uint32_t bag = 0; bag < 9000; bag++)
        assert_int_equal(add(&t, 0, bag, token_of(bag, 1)), TROUPE_OK);
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_some, 1, 20000));
    uint64_t received, none;
    Troupe__Rpc__Drain *d = ask_drain(&t, 1, "drain");
    uint64_t before = taken(&t, 1, &received);
    assert_true(d->partitions > 0 && d->partitions < 100);
    troupe__rpc__drain__free_unpacked(d, NULL);
    assert_true(troop_until(&t, is_empty, 1, 20000));
    troop_run(&t, 1000);
    assert_int_equal(taken(&t, 1, &none), before + received);
    assert_int_equal(owned(&t, 0), 256);
    for (uint32_t bag = 0; bag < 9000; bag += 90) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 1, bag, &answer), 1);
    }
    troop_close(&t);
}

static bool all_are_down(struct troop *t, uint32_t n)
{
    bool down = true;
    for (uint32_t i = 0; i < n; i++)
        down &= t->nodes[i].rt == NULL;
    return down;
}

/* Two nodes give to a third when all are stopped, shortly after one another, at some moment of it.
 * What was answered from memory is in the store afterwards, whoever had it last. */
static void stop_amid_handoffs(uint32_t moment)
{
    enum { BAGS = 600 };
    static const uint32_t order[3][3] = {{2, 0, 1}, {0, 2, 1}, {1, 0, 2}};
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    for (uint32_t bag = 0; bag < BAGS; bag++)
        assert_int_equal(add(&t, 0, bag, token_of(bag, 1)), TROUPE_OK);
    troop_start(&t, 2);
    assert_true(troop_until(&t, has_some, 2, 20000));
    troop_run(&t, moment % 20);
    for (uint32_t i = 0; i < 3; i++) {
        if (t.nodes[order[moment % 3][i]].rt != NULL)
            troop_stop(&t, order[moment % 3][i]);
        troop_run(&t, moment / 20);
    }
    assert_true(troop_until(&t, all_are_down, 3, 40000));
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 20000));
    for (uint32_t bag = 0; bag < BAGS; bag++) {
        struct troop_answer answer;
        assert_int_equal(list(&t, 0, bag, &answer), 1);
    }
    troop_close(&t);
}

static void all_stop_amid_handoffs(void **state)
{
    (void)state;
    for (uint32_t moment = 0; moment < 120; moment++)
        stop_amid_handoffs(moment);
}

/* ---- what does not fit ---- */

/* A bag of that node, as whoever is asked says; its id is only the number. */
static uint32_t bag_of(struct troop *t, uint32_t owner)
{
    char id[16];
    for (uint32_t bag = 0;; bag++) {
        snprintf(id, sizeof id, "%u", bag);
        struct troop_answer a =
            troop_call(t, 1 - owner, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
        assert_int_equal(a.status, TROUPE_OK);
        if (a.owner[0] != '\0')
            return bag;
    }
}

/* A batch of one partition with one entity, as its owner would send it: "" is an empty state. */
static void offer(struct troop *t, uint32_t to, const char *id, uint64_t number, uint64_t version)
{
    struct runtime_stats from, receiver;
    uint8_t packed[512];
    troop_stats(t, 1 - to, &from);
    troop_stats(t, to, &receiver);
    struct troupe_bytes name = troupe_bytes_of(t->nodes[1 - to].name);
    struct troupe_bytes kind = troupe_bytes_of("bag"), of = troupe_bytes_of(id);
    Troupe__Peer__Transfer transfer = TROUPE__PEER__TRANSFER__INIT;
    Troupe__Peer__Partition partition = TROUPE__PEER__PARTITION__INIT, *partitions = &partition;
    Troupe__Peer__Entity entity = TROUPE__PEER__ENTITY__INIT, *entities = &entity;
    Troupe__Peer__Take take = TROUPE__PEER__TAKE__INIT;
    transfer.from = (ProtobufCBinaryData){name.len, (uint8_t *)(uintptr_t)name.data};
    transfer.from_generation = from.generation;
    transfer.to_generation = receiver.generation;
    transfer.number = number;
    partition.pid = name_partition(name_hash(kind, of), 8);
    entity.kind = (ProtobufCBinaryData){kind.len, (uint8_t *)(uintptr_t)kind.data};
    entity.id = (ProtobufCBinaryData){of.len, (uint8_t *)(uintptr_t)of.data};
    entity.version = entity.saved = version;
    take.transfer = &transfer;
    take.partitions = &partitions;
    take.entities = &entities;
    take.n_partitions = take.n_entities = take.parts = 1;
    INVARIANT(troupe__peer__take__get_packed_size(&take) <= sizeof packed);
    size_t len = troupe__peer__take__pack(&take, packed);
    t->as_node = true;
    struct troop_answer a =
        troop_call(t, to, "$peer", "x", "take", troupe_bytes(packed, len), 0, 5000);
    t->as_node = false;
    assert_int_equal(a.status, TROUPE_OK);
}

static uint64_t resident(struct troop *t, uint32_t n)
{
    struct runtime_stats s;
    troop_stats(t, n, &s);
    return s.entities_resident;
}

/* The version after it would be none that the store can hold. */
static void a_last_version_is_not_taken(void **state)
{
    (void)state;
    struct troop t;
    char id[16];
    open_troop(&t);
    start(&t, 2);
    snprintf(id, sizeof id, "%u", bag_of(&t, 1));
    uint64_t before = resident(&t, 0);
    offer(&t, 0, id, 1000, INT64_MAX - 1);
    assert_int_equal(resident(&t, 0), before + 1);
    offer(&t, 0, id, 1001, INT64_MAX); /* instead of the first */
    assert_int_equal(resident(&t, 0), before);
    offer(&t, 0, id, 1002, UINT64_MAX);
    assert_int_equal(resident(&t, 0), before);
    troop_close(&t);
}

/* The largest request that a client can send has no room for what forwarding adds. */
static void too_large_to_be_forwarded(void **state)
{
    (void)state;
    struct troop t;
    char id[16];
    uint8_t *payload = calloc(1, RPC_FRAME_BYTES_MAX);
    open_troop(&t);
    start(&t, 2);
    snprintf(id, sizeof id, "%u", bag_of(&t, 1));
    struct rpc_call call = {.kind = troupe_bytes_of("bag"),
                            .id = troupe_bytes_of(id),
                            .method = troupe_bytes_of("add"),
                            .payload = troupe_bytes(payload, RPC_FRAME_BYTES_MAX - 128),
                            .sequence = 1};
    struct rpc_request rpc = {.timeout_ms = 5000, .client = 77, .calls = &call, .calls_n = 1};
    size_t room = RPC_FRAME_BYTES_MAX - rpc_request_size(&rpc);
    struct troupe_bytes fits = troupe_bytes(payload, call.payload.len + room);
    struct troop_answer a = troop_call(&t, 1, "bag", id, "add", fits, 1, 5000);
    assert_int_equal(a.status, TROUPE_OK); /* by its owner itself */
    a = troop_call(&t, 0, "bag", id, "add", fits, 2, 5000);
    assert_int_equal(a.status, TROUPE_RESOURCE_EXHAUSTED);
    assert_true(a.took_ns < TROOP_MS);
    fits.len -= RPC_REQUEST_HEAD_BYTES_MAX;
    a = troop_call(&t, 0, "bag", id, "add", fits, 3, 5000);
    assert_int_equal(a.status, TROUPE_OK);
    troop_close(&t);
    free(payload);
}

/* The owner has no room for the request: its client hears that at once, and may try later. */
static void a_refused_request_is_answered_at_once(void **state)
{
    (void)state;
    struct troop t;
    char id[16];
    open_troop(&t);
    start(&t, 2);
    uint64_t token = 1;
    snprintf(id, sizeof id, "%u", bag_of(&t, 1));
    t.nodes[1].refuses = TROUPE_RESOURCE_EXHAUSTED;
    struct troop_answer a =
        troop_call(&t, 0, "bag", id, "add", troupe_bytes(&token, sizeof token), 1, 5000);
    assert_int_equal(a.status, TROUPE_RESOURCE_EXHAUSTED);
    assert_true(a.took_ns < 5 * TROOP_MS);
    t.nodes[1].refuses = TROUPE_OK;
    a = troop_call(&t, 0, "bag", id, "add", troupe_bytes(&token, sizeof token), 1, 5000);
    assert_int_equal(a.status, TROUPE_OK);
    troop_close(&t);
}

/* Of two words about a partition the one with the higher epoch counts: one that no store has given
 * out would have the last word for ever. */
static void an_absurd_epoch_is_not_believed(void **state)
{
    (void)state;
    struct troop t;
    char id[16];
    open_troop(&t);
    start(&t, 1);
    t.nodes[0].lies_of_epochs = true;
    troop_start(&t, 1);
    assert_true(troop_until(&t, is_balanced, 2, 30000));
    assert_false(t.nodes[0].lies_of_epochs);
    for (uint32_t bag = 0; bag < 200; bag++)
        assert_int_equal(add(&t, bag % 2, bag, token_of(bag, 0)), TROUPE_OK);
    troop_start(&t, 2);
    assert_true(troop_until(&t, is_balanced, 3, 30000));
    snprintf(id, sizeof id, "%u", bag_of(&t, 1));
    t.nodes[1].lies_of_owner = true;
    for (int i = 0; i < 2; i++) {
        struct troop_answer a =
            troop_call(&t, 0, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
        assert_int_equal(a.status, TROUPE_OK);
        assert_string_equal(a.owner, "n1");
    }
    assert_false(t.nodes[1].lies_of_owner);
    troop_close(&t);
}

/* A forwarded call may wait for as long as its caller does: a node that stops does not. */
static void a_stop_does_not_wait_for_others(void **state)
{
    (void)state;
    struct troop t;
    char id[16];
    open_troop(&t);
    start(&t, 2);
    troop_run(&t, 2000);
    snprintf(id, sizeof id, "%u", bag_of(&t, 1));
    t.nodes[1].paused = true;
    troop_send(&t, 0, "bag", id, "list", 1, 120000);
    troop_run(&t, 100);
    troop_stop(&t, 0);
    uint64_t began_ns = t.now.mono_ns;
    assert_true(troop_until(&t, is_down, 0, 60000));
    print_message("stopped after %u ms\n", (unsigned)((t.now.mono_ns - began_ns) / TROOP_MS));
    assert_true(t.now.mono_ns - began_ns < 45000 * TROOP_MS);
    t.nodes[1].paused = false;
    troop_close(&t);
}

/* Casts that have waited for a node leave together; three of them are more than a frame holds. */
static void large_casts_leave_in_several_frames(void **state)
{
    (void)state;
    enum { CAST_BYTES = 12 << 20 };
    struct troop t;
    char id[16];
    uint64_t *payload = calloc(1, CAST_BYTES);
    open_troop(&t);
    start(&t, 2);
    uint32_t here = bag_of(&t, 0), there = bag_of(&t, 1);
    t.nodes[1].cut = true;
    for (uint64_t token = 1; token <= 3; token++) {
        payload[0] = token;
        payload[1] = there;
        snprintf(id, sizeof id, "%u", here);
        struct troop_answer a =
            troop_call(&t, 0, "bag", id, "pass", troupe_bytes(payload, CAST_BYTES), token, 5000);
        assert_int_equal(a.status, TROUPE_OK);
    }
    troop_run(&t, 200);
    t.nodes[1].cut = false;
    troop_run(&t, 500);
    snprintf(id, sizeof id, "%u", there);
    struct troop_answer a = troop_call(&t, 1, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
    assert_int_equal(a.status, TROUPE_OK);
    assert_int_equal(a.payload.len, 3 * 8);
    troop_close(&t);
    free(payload);
}

static enum troupe_status put(struct troop *t, uint32_t bag, uint64_t token)
{
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    struct troop_answer a =
        troop_call(t, 0, "bag", id, "put", troupe_bytes(&token, sizeof token), token + 1, 5000);
    assert_true(a.status != TROUPE_OK || a.ack == TROUPE_ACK_DURABLE);
    return a.status;
}

/* The store fails over to a standby that lacks the last commits. Those who made them have them in
 * memory, and write them again before they answer: then their machines may die. */
static void lost_commits_are_written_again(void **state)
{
    (void)state;
    struct troop t;
    struct troop_answer answer;
    open_troop(&t);
    start(&t, 3);
    troop_run(&t, 3000);
    for (uint32_t bag = 0; bag < 100; bag++)
        assert_int_equal(put(&t, bag, token_of(bag, 1)), TROUPE_OK);
    assert_true(store_memory_keep(t.store));
    for (uint32_t bag = 0; bag < 200; bag++)
        assert_int_equal(put(&t, bag, token_of(bag, 2)), TROUPE_OK);
    store_memory_fail_over(t.store);
    troop_run(&t, 1500); /* longer than from one renewal to the next */
    assert_true(serves(&t, 0) && serves(&t, 1) && serves(&t, 2));
    for (uint32_t bag = 0; bag < 200; bag++)
        assert_int_equal(list(&t, 0, bag, &answer), bag < 100 ? 2 : 1);
    troop_crash(&t, 0);
    troop_crash(&t, 1);
    assert_true(troop_until(&t, has_all, 2, 60000));
    for (uint32_t bag = 0; bag < 200; bag++)
        assert_int_equal(list(&t, 2, bag, &answer), bag < 100 ? 2 : 1);
    troop_close(&t);
}

static bool is_registered(struct troop *t, uint32_t n)
{
    struct runtime_stats stats;
    troop_stats(t, n, &stats);
    return stats.generation != 0;
}

/* The standby does not even know that the partitions were claimed. They are claimed again, at
 * epochs that were never used, and what is in memory is what counts. */
static void lost_claims_are_made_again(void **state)
{
    (void)state;
    struct troop t;
    struct troop_answer answer;
    open_troop(&t);
    troop_start(&t, 0);
    assert_true(troop_until(&t, is_registered, 0, 1000));
    assert_int_equal(owned(&t, 0), 0);
    assert_true(store_memory_keep(t.store));
    assert_true(troop_until(&t, has_all, 0, 10000));
    assert_true(troop_until(&t, serves, 0, 10000));
    for (uint32_t bag = 0; bag < 100; bag++)
        assert_int_equal(put(&t, bag, token_of(bag, 1)), TROUPE_OK);
    store_memory_fail_over(t.store);
    troop_run(&t, 2000);
    assert_true(serves(&t, 0) && has_all(&t, 0));
    for (uint32_t bag = 0; bag < 100; bag++) {
        assert_int_equal(list(&t, 0, bag, &answer), 1);
        assert_int_equal(put(&t, bag, token_of(bag, 2)), TROUPE_OK);
    }
    troop_stop(&t, 0);
    assert_true(troop_until(&t, is_down, 0, 10000));
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 20000));
    for (uint32_t bag = 0; bag < 100; bag++)
        assert_int_equal(list(&t, 0, bag, &answer), 2);
    troop_close(&t);
}

/* So are they if nothing can be written meanwhile, and what was never committed is kept as well. */
static void lost_claims_keep_the_memory(void **state)
{
    (void)state;
    struct troop t;
    struct troop_answer answer;
    open_troop(&t);
    troop_start(&t, 0);
    assert_true(troop_until(&t, is_registered, 0, 1000));
    assert_true(store_memory_keep(t.store));
    assert_true(troop_until(&t, has_all, 0, 10000));
    assert_true(troop_until(&t, serves, 0, 10000));
    for (uint32_t bag = 0; bag < 100; bag++)
        assert_int_equal(add(&t, 0, bag, token_of(bag, 1)), TROUPE_OK);
    t.nodes[0].saves_cut = true;
    store_memory_fail_over(t.store);
    troop_run(&t, 2000);
    t.nodes[0].saves_cut = false;
    assert_true(troop_until(&t, serves, 0, 20000));
    assert_true(has_all(&t, 0));
    for (uint32_t bag = 0; bag < 100; bag++)
        assert_int_equal(list(&t, 0, bag, &answer), 1);
    troop_close(&t);
}

static bool has_nothing(struct troop *t, uint32_t n)
{
    return owned(t, n) == 0;
}

/* The standby does not know that a node has been drained: what it gave away is its again, and it
 * gives it away once more. */
static void lost_moves_are_made_again(void **state)
{
    (void)state;
    struct troop t;
    struct troop_answer answer;
    open_troop(&t);
    start(&t, 3);
    troop_run(&t, 3000);
    for (uint32_t bag = 0; bag < 200; bag++)
        assert_int_equal(put(&t, bag, token_of(bag, 1)), TROUPE_OK);
    assert_true(store_memory_keep(t.store));
    troupe__rpc__drain__free_unpacked(ask_drain(&t, 0, "drain"), NULL);
    assert_true(troop_until(&t, has_nothing, 0, 5000));
    store_memory_fail_over(t.store);
    troop_run(&t, 3000);
    for (uint32_t bag = 0; bag < 200; bag++) {
        assert_int_equal(list(&t, bag % 3, bag, &answer), 1);
        assert_true(answer.took_ns < 20 * TROOP_MS);
    }
    assert_int_equal(owned(&t, 0), 0);
    assert_int_equal(owned(&t, 1) + owned(&t, 2), 256);
    troop_close(&t);
}

/* A node that comes after the failover gets entities from some who have not noticed it yet, and
 * take what they have committed for safe. */
static void what_is_lost_moves_along(void **state)
{
    (void)state;
    struct troop t;
    struct troop_answer answer;
    open_troop(&t);
    start(&t, 2);
    troop_run(&t, 3000);
    assert_true(store_memory_keep(t.store));
    for (uint32_t bag = 0; bag < 200; bag++)
        assert_int_equal(put(&t, bag, token_of(bag, 1)), TROUPE_OK);
    store_memory_fail_over(t.store);
    t.nodes[0].unaware = t.nodes[1].unaware = true;
    troop_start(&t, 2);
    assert_true(troop_until(&t, is_balanced, 3, 20000));
    t.nodes[0].unaware = t.nodes[1].unaware = false;
    troop_run(&t, 2000); /* until the others know it well enough to evict it soon */
    troop_crash(&t, 2);
    assert_true(troop_until(&t, is_balanced, 2, 30000));
    for (uint32_t bag = 0; bag < 200; bag++)
        assert_int_equal(list(&t, 0, bag, &answer), 1);
    troop_close(&t);
}

/* Those who took over from a node do not notice that a failover has given it its own back; it
 * writes, at its old epoch, and is gone when they do. What they have in memory is not what counts.
 */
static void who_comes_back_may_have_written(void **state)
{
    (void)state;
    struct troop t;
    struct troop_answer answer;
    open_troop(&t);
    start(&t, 3);
    troop_run(&t, 3000);
    uint32_t bag = 0;
    for (;; bag++) {
        assert_int_equal(put(&t, bag, token_of(bag, 1)), TROUPE_OK);
        list(&t, 0, bag, &answer);
        if (strcmp(answer.owner, t.nodes[2].name) == 0)
            break;
    }
    assert_true(store_memory_keep(t.store));
    t.nodes[2].paused = true;
    troop_run(&t, 15000);
    assert_int_equal(owned(&t, 0) + owned(&t, 1), 256);
    assert_int_equal(list(&t, 0, bag, &answer), 1);
    store_memory_fail_over(t.store);
    t.nodes[0].unaware = t.nodes[1].unaware = true;
    t.nodes[2].paused = false;
    assert_true(troop_until(&t, serves, 2, 5000));
    char id[16];
    uint64_t token = token_of(bag, 2);
    snprintf(id, sizeof id, "b%u", bag);
    answer =
        troop_call(&t, 2, "bag", id, "put", troupe_bytes(&token, sizeof token), token + 1, 1000);
    assert_int_equal(answer.status, TROUPE_OK);
    assert_string_equal(answer.owner, "");
    troop_crash(&t, 2);
    assert_true(store_memory_evict(t.store, t.nodes[2].name));
    t.nodes[0].unaware = t.nodes[1].unaware = false;
    troop_run(&t, 3000);
    assert_int_equal(list(&t, 0, bag, &answer), 2);
    troop_close(&t);
}

/* The standby knows the node's earlier run only: it has to register anew, and to claim everything
 * anew, and still has all that it had in memory. */
static void a_lost_registration_costs_no_memory(void **state)
{
    (void)state;
    struct troop t;
    struct troop_answer answer;
    struct runtime_stats before, after;
    open_troop(&t);
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 1000));
    assert_true(store_memory_keep(t.store));
    troop_crash(&t, 0);
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 700000)); /* alone, it had a long lease */
    troop_stats(&t, 0, &before);
    for (uint32_t bag = 0; bag < 100; bag++)
        assert_int_equal(put(&t, bag, token_of(bag, 1)), TROUPE_OK);
    store_memory_fail_over(t.store);
    troop_run(&t, 2000);
    assert_true(troop_until(&t, serves, 0, 700000));
    for (uint32_t bag = 0; bag < 100; bag++)
        assert_int_equal(list(&t, 0, bag, &answer), 1);
    troop_stats(&t, 0, &after);
    assert_true(after.generation > before.generation);
    troop_close(&t);
}

/* A question to a store that is away ends with its deadline; what comes late finds nobody. */
static void questions_to_the_store_end(void **state)
{
    (void)state;
    struct troop t;
    open_troop(&t);
    start(&t, 2);
    t.store_down = true;
    struct troop_answer a =
        troop_call(&t, 0, "$node", "self", "owners", troupe_bytes(NULL, 0), 0, 500);
    assert_int_not_equal(a.status, TROUPE_OK);
    assert_true(a.took_ns < 600 * TROOP_MS);
    t.store_down = false;
    troop_run(&t, 8000);
    assert_true(stored_owner(&t, 0, 0) < 2);
    a = troop_call(&t, 0, "$node", "self", "history", troupe_bytes("\x08\x80\x02", 3), 0, 500);
    assert_int_equal(a.status, TROUPE_INVALID_ARGUMENT); /* 256 */
    a = troop_call(&t, 0, "$node", "self", "history", troupe_bytes("\xff", 1), 0, 500);
    assert_int_equal(a.status, TROUPE_INVALID_ARGUMENT);
    troop_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes_share_the_partitions),
        cmocka_unit_test(a_call_finds_its_entity),
        cmocka_unit_test(entities_move_alive),
        cmocka_unit_test(timers_move_along),
        cmocka_unit_test(moves_keep_their_rate),
        cmocka_unit_test(a_node_drains),
        cmocka_unit_test(a_dead_node_is_succeeded),
        cmocka_unit_test(a_young_node_is_succeeded),
        cmocka_unit_test(a_stop_does_not_wait_for_others),
        cmocka_unit_test(a_node_that_dies_young_is_succeeded),
        cmocka_unit_test(a_restart_takes_its_place),
        cmocka_unit_test(a_long_pause_costs_the_lease),
        cmocka_unit_test(all_nodes_know_the_same),
        cmocka_unit_test(an_outage_stops_nobody),
        cmocka_unit_test(a_twin_waits_for_promises_to_end),
        cmocka_unit_test(a_node_without_the_store_is_succeeded),
        cmocka_unit_test(an_operator_drains_a_node),
        cmocka_unit_test(the_last_node_is_not_drained),
        cmocka_unit_test(a_drained_node_takes_nothing),
        cmocka_unit_test(all_stop_amid_handoffs),
        cmocka_unit_test(a_last_version_is_not_taken),
        cmocka_unit_test(too_large_to_be_forwarded),
        cmocka_unit_test(a_refused_request_is_answered_at_once),
        cmocka_unit_test(an_absurd_epoch_is_not_believed),
        cmocka_unit_test(large_casts_leave_in_several_frames),
        cmocka_unit_test(lost_commits_are_written_again),
        cmocka_unit_test(lost_claims_are_made_again),
        cmocka_unit_test(lost_claims_keep_the_memory),
        cmocka_unit_test(lost_moves_are_made_again),
        cmocka_unit_test(what_is_lost_moves_along),
        cmocka_unit_test(who_comes_back_may_have_written),
        cmocka_unit_test(a_lost_registration_costs_no_memory),
        cmocka_unit_test(questions_to_the_store_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
