/* Stories of words that come too late: replies that are ready after their partition has been lost,
 * batches that arrive after they have been given up, moves that only a deposed server of the store
 * knows of, claims of which nobody tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/bag.h"
#include "tests/sim/troop.h"

enum { BAGS = 200 };

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
    troop_add_deposed(&t);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    troop_close(&t);
    return 0;
}

/* ---- nodes ---- */

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

static bool serves_not(struct troop *troop, uint32_t n)
{
    return !serves(troop, n);
}

static bool has_half(struct troop *troop, uint32_t n)
{
    (void)troop;
    return owned(n) >= 100;
}

static bool has_resident(struct troop *troop, uint32_t n)
{
    struct runtime_stats s;
    troop_stats(troop, n, &s);
    return s.entities_resident > 0;
}

static bool is_down(struct troop *troop, uint32_t n)
{
    return troop->nodes[n].rt == NULL;
}

static void start(uint32_t n)
{
    troop_start(&t, n);
    assert_true(troop_until(&t, serves, n, 10000));
}

/* ---- bags ---- */

static struct troop_answer call(uint32_t n, uint32_t bag, const char *method, uint64_t token,
                                uint32_t timeout_ms)
{
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    return troop_call(&t, n, "bag", id, method, troupe_bytes(&token, sizeof token), 0, timeout_ms);
}

static void all(uint32_t n, const char *method, uint64_t token)
{
    for (uint32_t bag = 0; bag < BAGS; bag++)
        assert_int_equal(call(n, bag, method, token, 5000).status, TROUPE_OK);
}

static void assert_tokens(uint32_t n, size_t tokens)
{
    for (uint32_t bag = 0; bag < BAGS; bag++) {
        struct troop_answer a = call(n, bag, "list", 0, 20000);
        assert_int_equal(a.status, TROUPE_OK);
        assert_int_equal(a.payload.len, tokens * 8);
    }
}

/* ---- replies ---- */

/* Two calls: the first one is executed at once, the other one waits for a row. */
struct pair {
    struct troop_peer *sent;
    char id[16], other[16];
    uint64_t token;
};

static void send_pair(struct pair *pair, uint32_t n, uint32_t bag, uint32_t timeout_ms)
{
    snprintf(pair->id, sizeof pair->id, "b%u", bag);
    snprintf(pair->other, sizeof pair->other, "c%u", bag);
    pair->token = 7;
    struct rpc_call calls[] = {
        {.kind = troupe_bytes_of("bag"),
         .id = troupe_bytes_of(pair->id),
         .method = troupe_bytes_of("add"),
         .payload = troupe_bytes(&pair->token, sizeof pair->token)},
        {.kind = troupe_bytes_of("bag"),
         .id = troupe_bytes_of(pair->other),
         .method = troupe_bytes_of("list")},
    };
    pair->sent = troop_begin(&t, n, calls, 2, timeout_ms);
}

/* A node executes calls, is evicted, and registers anew, before their replies are complete. Some of
 * its partitions are another's then, of which it has not heard: it has in memory what they were. */
static void a_reply_waits_for_no_lost_partition(void **state)
{
    (void)state;
    struct pair pairs[BAGS];
    uint32_t theirs = 0;
    t.handoff_bytes_per_s = 1; /* after two batches the rest of what is proposed for n1 stays */
    start(0);
    all(0, "put", 1);
    for (uint32_t i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        troop_send(&t, 0, "heavy", id, "list", 0, 1000);
    }
    start(1);
    troop_run(&t, 3000);
    t.load_ns = 20000 * TROOP_MS;
    uint32_t mine = 0;
    for (uint32_t bag = 0; bag < BAGS; bag++) {
        pairs[bag].sent = NULL;
        if (strcmp(call(0, bag, "list", 0, 1000).owner, "n1") != 0)
            send_pair(&pairs[bag], 0, bag, 2000);
        mine += pairs[bag].sent != NULL;
    }
    assert_true(mine > 50);
    t.nodes[1].store_cut = true; /* it hears of the eviction later */
    t.owners_ns = 10 * TROOP_MS; /* n0 hears of n1 before it claims anything */
    assert_true(store_memory_evict(t.store, "n0"));
    assert_true(troop_until(&t, serves_not, 0, 2000));
    assert_true(troop_until(&t, serves, 0, 2000));
    t.nodes[1].cut = true;
    t.nodes[1].store_cut = false;
    uint32_t had = owned(1);
    t.owners_ns = 60000 * TROOP_MS;
    troop_run(&t, 200); /* it sees that the run is gone, and claims */
    assert_true(owned(1) > had);
    troop_run(&t, 2000); /* the deadline has come */
    t.load_ns = t.owners_ns = 0;
    t.nodes[1].cut = false;
    troop_run(&t, 20000);
    for (uint32_t bag = 0; bag < BAGS; bag++) {
        if (pairs[bag].sent == NULL)
            continue;
        const struct rpc_reply *reply = troop_answered(pairs[bag].sent);
        assert_non_null(reply);
        struct troop_answer a = call(0, bag, "list", 0, 5000);
        assert_int_equal(a.status, TROUPE_OK);
        bool lost = a.payload.len == 8;
        theirs += lost;
        assert_int_equal(reply->results[0].status, lost ? TROUPE_UNKNOWN : TROUPE_OK);
        troop_end(pairs[bag].sent);
    }
    assert_true(theirs > 10);
    assert_true(theirs < mine);
}

/* The store fails over while a node is being stopped: it does not look at the map again, and tells
 * nobody what its handlers did. */
static void a_node_that_stops_in_doubt_tells_nothing(void **state)
{
    (void)state;
    struct pair pair;
    start(0);
    start(1);
    assert_true(troop_until(&t, has_half, 1, 20000));
    all(0, "put", 1);
    uint32_t bag = 0;
    while (strcmp(call(0, bag, "list", 0, 1000).owner, "n1") != 0)
        bag++;
    t.load_ns = 60000 * TROOP_MS;
    send_pair(&pair, 1, bag, 60000);
    assert_null(troop_answered(pair.sent));
    t.transfer_ns = 60000 * TROOP_MS; /* it drains until … */
    troop_stop(&t, 1);
    troop_run(&t, 100);
    assert_true(serves(&t, 1));
    assert_true(store_memory_keep(t.store));
    store_memory_fail_over(t.store); /* … it hears of this */
    assert_true(troop_until(&t, serves_not, 1, 5000));
    troop_run(&t, 100);
    t.load_ns = t.transfer_ns = 0;
    assert_true(troop_until(&t, is_down, 1, 80000));
    const struct rpc_reply *reply = troop_answered(pair.sent);
    assert_non_null(reply);
    assert_int_equal(reply->results[0].status, TROUPE_UNKNOWN);
    troop_end(pair.sent);
}

/* … nor when that happens while it stops already, and waits for a commit. */
static void a_failover_during_a_stop_voids_its_answers(void **state)
{
    (void)state;
    uint64_t token = 2;
    start(0);
    all(0, "put", 1);
    t.nodes[0].saves_cut = true;
    struct rpc_call calls[] = {
        {.kind = troupe_bytes_of("bag"),
         .id = troupe_bytes_of("b1"),
         .method = troupe_bytes_of("list")},
        {.kind = troupe_bytes_of("bag"),
         .id = troupe_bytes_of("b2"),
         .method = troupe_bytes_of("put"),
         .payload = troupe_bytes(&token, sizeof token)},
    };
    struct troop_peer *sent = troop_begin(&t, 0, calls, 2, 60000);
    troop_run(&t, 100);
    troop_stop(&t, 0);
    troop_run(&t, 100);
    assert_int_equal(t.nodes[0].phase, RUNTIME_STOPPING);
    assert_true(store_memory_keep(t.store));
    store_memory_fail_over(t.store);
    troop_run(&t, 3000); /* it has renewed its lease since */
    assert_null(troop_answered(sent));
    t.nodes[0].saves_cut = false;
    assert_true(troop_until(&t, is_down, 0, 60000));
    assert_non_null(troop_answered(sent));
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(troop_answered(sent)->results[i].status, TROUPE_UNKNOWN);
    troop_end(sent);
}

/* ---- batches ---- */

static uint32_t transfers;

static void count_transfers(uint32_t n, const struct store_request *r)
{
    transfers += n == 0 && r->op == STORE_TRANSFER;
}

static bool is_committing(struct troop *troop, uint32_t n)
{
    (void)troop;
    (void)n;
    return transfers > 0;
}

/* A batch is given up, for the connection broke under it; it comes all the same, while a later one
 * with the same partitions is being committed. What it brings is old. */
static void a_batch_that_was_given_up_is_not_taken(void **state)
{
    (void)state;
    start(0);
    all(0, "add", 1);
    t.nodes[0].loses_takes = true;
    t.on_store = count_transfers;
    transfers = 0;
    start(1);
    troop_run(&t, 3000);
    assert_int_equal(transfers, 0);
    all(0, "add", 2); /* nothing of it is in the store */
    t.nodes[0].loses_takes = false;
    t.transfer_ns = 300 * TROOP_MS;
    assert_true(troop_until(&t, is_committing, 0, 20000));
    troop_run(&t, 10);
    troop_late_takes(&t);
    assert_true(troop_until(&t, has_half, 1, 20000));
    assert_tokens(1, 2);
}

/* … or after its giver has said that it keeps it, and before the next one. Its giver dies then: the
 * store has more of it. */
static void a_batch_that_comes_after_its_end_is_not_taken(void **state)
{
    (void)state;
    start(0);
    all(0, "put", 1);
    t.nodes[0].loses_takes = true;
    start(1);
    troop_run(&t, 3000);
    all(0, "put", 2);
    troop_late_takes(&t);
    troop_run(&t, 100);
    assert_false(has_resident(&t, 1));
}

/* A batch is given up, its receiver does not hear of that, and its giver goes on and dies. The
 * claim that follows is made twice, for nobody told that it had been executed: that the partitions
 * are the receiver's own already tells nothing of what it has got of them. */
static void an_unsure_claim_does_not_make_a_batch_right(void **state)
{
    (void)state;
    start(0);
    all(0, "put", 1);
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_resident, 1, 20000)); /* a batch is coming */
    t.nodes[0].store_cut = true;                          /* the commit fails … */
    t.nodes[1].refuses = TROUPE_RESOURCE_EXHAUSTED;       /* … and so does Keep */
    troop_run(&t, 20);
    t.nodes[0].store_cut = false;
    troop_run(&t, 1000);
    all(0, "put", 2);
    t.nodes[1].doubtful = 1u << STORE_CLAIM;
    troop_crash(&t, 0);
    t.nodes[1].refuses = TROUPE_OK;
    troop_run(&t, 12000);
    t.nodes[1].doubtful = 0;
    troop_run(&t, 20000);
    assert_int_equal(owned(1), 256);
    assert_tokens(1, 2);
}

/* ---- servers of the store ---- */

/* A node gives its partitions away, and the commit is made by a server that has been succeeded:
 * only the giver knows nothing of it. The receiver asks the store. */
static void what_a_deposed_server_has_moved_is_not_believed(void **state)
{
    (void)state;
    start(0);
    start(1);
    assert_true(troop_until(&t, has_half, 1, 20000));
    all(0, "put", 1);
    assert_true(store_memory_keep(t.store));
    store_memory_depose(t.store, t.deposed);
    t.nodes[1].misled = ~(uint32_t)0;
    assert_true(troop_until(&t, serves_not, 0, 3000));
    assert_true(troop_until(&t, serves, 0, 3000));
    uint32_t had = owned(0);
    assert_true(had < 156);
    struct troop_answer a =
        troop_call(&t, 1, "$node", "self", "drain", troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_OK);
    troop_run(&t, 300); /* it has given all away, as it believes */
    assert_int_equal(owned(1), 0);
    assert_int_equal(owned(0), had);
    t.nodes[1].misled = 0;
    troop_run(&t, 20000);
    assert_tokens(0, 1);
    assert_tokens(1, 1);
}

/* Giver and receiver are both with the deposed server, and hear of the other one before a reply is
 * complete that tells what a handler did before the move: nobody knows what has become of that. */
static void a_reply_vouches_for_nothing_given_away(void **state)
{
    (void)state;
    struct pair pair;
    start(0);
    start(1);
    assert_true(troop_until(&t, has_half, 1, 20000));
    all(0, "put", 1);
    uint32_t bag = 0;
    while (strcmp(call(0, bag, "list", 0, 1000).owner, "n1") != 0)
        bag++;
    assert_true(store_memory_keep(t.store));
    store_memory_depose(t.store, t.deposed);
    t.nodes[0].misled = t.nodes[1].misled = ~(uint32_t)0;
    t.load_ns = 60000 * TROOP_MS;
    send_pair(&pair, 1, bag, 6000);
    struct troop_answer a =
        troop_call(&t, 1, "$node", "self", "drain", troupe_bytes(NULL, 0), 0, 1000);
    assert_int_equal(a.status, TROUPE_OK);
    troop_run(&t, 500);
    assert_int_equal(owned(1), 0);
    assert_null(troop_answered(pair.sent));
    t.nodes[0].misled = t.nodes[1].misled = 0;
    assert_true(troop_until(&t, serves_not, 1, 3000));
    assert_null(troop_answered(pair.sent));
    troop_run(&t, 7000);
    assert_non_null(troop_answered(pair.sent));
    assert_int_equal(troop_answered(pair.sent)->results[0].status, TROUPE_UNKNOWN);
    troop_end(pair.sent);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_reply_waits_for_no_lost_partition),
        STORY(a_node_that_stops_in_doubt_tells_nothing),
        STORY(a_failover_during_a_stop_voids_its_answers),
        STORY(a_batch_that_was_given_up_is_not_taken),
        STORY(a_batch_that_comes_after_its_end_is_not_taken),
        STORY(an_unsure_claim_does_not_make_a_batch_right),
        STORY(what_a_deposed_server_has_moved_is_not_believed),
        STORY(a_reply_vouches_for_nothing_given_away),
    };
    return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}
