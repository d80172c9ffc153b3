/* Batches that take long, and questions that cost much: a step that has gone on for long enough
 * leaves the rest for the next one, and what cannot wait comes in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "node/runtime/internal.h"
#include "proto/rpc.h"
#include "runtime_world.h"
#include "status.pb-c.h"
#include "tests/sim/bag.h"
#include "troupe/status.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { CALLS = 200, GROUP = 16, WAITS = 3000, RACE_N = 4 };

struct batch {
    struct runtime_request request;
    struct rpc_request rpc;
    struct rpc_call calls[WAITS];
    uint64_t payloads[WAITS][2];
    struct arena arena;
    unsigned place; /* among those that were answered; 0: none yet */
};

static struct world w;
static struct batch batches[RACE_N];
static unsigned answered_n, asked_n;
static bool is_late; /* what the driver says */
static bool halts;   /* the world, when it serves and the driver is asked */

static bool yield(void *data)
{
    (void)data;
    asked_n++;
    w.halt |= halts && w.rt->phase == RUNTIME_SERVING;
    return is_late;
}

static void on_reply(void *data, struct runtime_request *request)
{
    (void)data;
    struct batch *b = request->data;
    assert_int_equal(b->place, 0);
    b->place = ++answered_n;
}

static int set_up(void **state)
{
    static const struct troupe_kind *const kinds[] = {&bag_kind};
    (void)state;
    memset(batches, 0, sizeof batches);
    answered_n = asked_n = 0;
    is_late = halts = false;
    world_open(&w, 1, kinds, 1);
    w.reply = on_reply;
    w.config.yield = yield;
    world_start(&w);
    return world_serve(&w, 5000) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    world_close(&w);
    for (size_t i = 0; i < RACE_N; i++)
        arena_close(&batches[i].arena);
    return 0;
}

/* n calls to one entity, or to $node. */
static struct batch *prepare(size_t at, const char *kind, const char *id, const char *method,
                             size_t n)
{
    struct batch *b = &batches[at];
    arena_init(&b->arena, 0, 0);
    for (size_t i = 0; i < n; i++) {
        b->payloads[i][0] = i + 1;
        b->calls[i] = (struct rpc_call){.kind = troupe_bytes_of(kind),
                                        .id = troupe_bytes_of(id),
                                        .method = troupe_bytes_of(method),
                                        .payload = troupe_bytes(b->payloads[i], 16)};
    }
    b->rpc = (struct rpc_request){.timeout_ms = 2000, .calls = b->calls, .calls_n = n};
    b->request.data = b;
    return b;
}

static void send(struct batch *b)
{
    assert_int_equal(runtime_request_init(&b->request, &b->arena, &b->rpc), 0);
    world_step(&w, &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &b->request});
}

static void wake(void)
{
    world_step(&w, &(struct runtime_event){.type = RUNTIME_WAKE});
}

static void pass_ms(uint64_t ms)
{
    world_run(&w, w.now.mono_ns + ms * WORLD_MS);
}

static void warm_up(const char *id)
{
    send(prepare(RACE_N - 1, "bag", id, "add", 1));
    pass_ms(50);
    assert_int_equal(batches[RACE_N - 1].place, 1);
}

static const struct rpc_result *results(const struct batch *b)
{
    assert_int_not_equal(b->place, 0);
    return b->request.reply.results;
}

/* The bag's tokens, in the order in which they were put in. */
static void expect_order(const struct batch *b, const struct rpc_result *list)
{
    size_t n = list->payload.len / 8, from = n - b->rpc.calls_n;
    for (size_t i = 0; i < b->rpc.calls_n; i++) {
        uint64_t token;
        memcpy(&token, list->payload.data + 8 * (from + i), 8);
        assert_int_equal(token, i + 1);
    }
}

static void a_long_batch_goes_on_in_the_next_step(void **state)
{
    (void)state;
    warm_up("1");
    is_late = true;
    struct batch *b = prepare(0, "bag", "1", "add", CALLS),
                 *next = prepare(1, "bag", "1", "list", 1);
    send(b);
    send(next);
    for (size_t steps = 2; b->place == 0; steps++) {
        assert_true(steps < CALLS / GROUP + 2);
        assert_true(w.fx.wake_at_ns <= w.now.mono_ns); /* it wants to go on at once */
        assert_int_equal(next->place, 0);
        wake();
    }
    while (next->place == 0)
        wake();
    assert_int_equal(next->place, b->place + 1);
    for (size_t i = 0; i < CALLS; i++)
        assert_int_equal(results(b)[i].status, TROUPE_OK);
    expect_order(b, &results(next)[0]);
}

static void a_batch_that_is_quick_is_one_step(void **state)
{
    (void)state;
    warm_up("1");
    struct batch *b = prepare(0, "bag", "1", "add", CALLS);
    send(b);
    assert_int_not_equal(b->place, 0);
    assert_in_range(asked_n, CALLS / GROUP / 2, 2 * CALLS / GROUP); /* not for each call */
}

/* Only the time of the world passes, nobody steps: the rest has not been executed. */
static void what_was_left_over_ends_at_its_deadline(void **state)
{
    (void)state;
    warm_up("1");
    is_late = true;
    struct batch *b = prepare(0, "bag", "1", "add", CALLS);
    send(b);
    assert_int_equal(b->place, 0);
    w.now.mono_ns += 2001 * WORLD_MS;
    w.now.wall_ms += 2001;
    wake();
    size_t done = 0;
    for (size_t i = 0; i < CALLS; i++) {
        bool in_time = results(b)[i].status == TROUPE_OK;
        assert_true(in_time || results(b)[i].status == TROUPE_DEADLINE_EXCEEDED);
        assert_true(!in_time || done == i); /* the first ones */
        done += in_time;
    }
    assert_in_range(done, GROUP, 2 * GROUP);
    is_late = false;
    struct batch *list = prepare(1, "bag", "1", "list", 1);
    send(list);
    assert_int_equal(results(list)[0].payload.len / 8, done + 1);
}

static void a_stop_waits_for_what_is_left_over(void **state)
{
    (void)state;
    warm_up("1");
    is_late = true;
    struct batch *b = prepare(0, "bag", "1", "add", CALLS);
    send(b);
    assert_true(world_stop(&w, 60000));
    assert_int_not_equal(b->place, 0);
    for (size_t i = 0; i < CALLS; i++)
        assert_true(results(b)[i].status == TROUPE_OK ||
                    results(b)[i].status == TROUPE_UNAVAILABLE);
}

/* Thousands wait for the lease to be confirmed. */
static struct batch *wait_for_the_lease(void)
{
    warm_up("1");
    w.outage_until_ns = w.now.mono_ns + 700000 * WORLD_MS; /* a node that is alone: grace */
    pass_ms(601000);
    assert_int_equal(w.fx.phase, RUNTIME_SUSPENDED);
    struct batch *b = prepare(0, "bag", "1", "add", WAITS);
    b->rpc.timeout_ms = 300000;
    send(b);
    assert_int_equal(b->place, 0);
    return b;
}

/* They go on a few at a time, in their order, and before what comes meanwhile. */
static void those_that_waited_go_on_a_few_at_a_time(void **state)
{
    (void)state;
    struct batch *b = wait_for_the_lease(), *list = prepare(1, "bag", "1", "list", 1);
    w.outage_until_ns = 0;
    is_late = halts = true;
    pass_ms(10000);
    assert_true(w.halt); /* the first few have been executed */
    assert_int_equal(b->place, 0);
    send(list);
    for (size_t steps = 0; list->place == 0; steps++) {
        assert_true(steps < WAITS / GROUP + 4);
        wake();
    }
    assert_int_equal(list->place, b->place + 1);
    expect_order(b, &results(list)[0]);
}

/* To look at all of them takes several steps, and is over then. */
static void those_that_wait_on_are_looked_at_once(void **state)
{
    (void)state;
    struct batch *b = wait_for_the_lease();
    is_late = true;
    w.rt->unpark_ns = w.now.mono_ns; /* as when owners change */
    size_t steps = 0;
    do {
        wake();
        assert_true(++steps < WAITS / GROUP + 4);
    } while (w.fx.wake_at_ns <= w.now.mono_ns);
    assert_true(steps > WAITS / GROUP - 4);
    assert_int_equal(b->place, 0);
    is_late = false;
    w.outage_until_ns = 0;
    pass_ms(10000);
    struct batch *list = prepare(1, "bag", "1", "list", 1);
    send(list);
    expect_order(b, &results(list)[0]);
}

/* ---- memory ---- */

static void read_with_little_memory(const char *method)
{
    struct arena_budget budget = {.max = 300 << 10};
    warm_up("1");
    send(prepare(0, "bag", "1", "add", 499));
    struct batch *b = prepare(1, "bag", "1", method, CALLS); /* 4,000 bytes each */
    arena_set_budget(&b->arena, &budget, 0);
    send(b);
    size_t good = 0;
    for (size_t i = 0; i < CALLS; i++) {
        const struct rpc_result *r = &results(b)[i];
        assert_true(r->status == TROUPE_OK || r->status == TROUPE_RESOURCE_EXHAUSTED);
        assert_true(r->status == TROUPE_OK ? r->payload.len == 4000 : r->message.len > 0);
        good += r->status == TROUPE_OK;
    }
    assert_in_range(good, 20, (300 << 10) / 4000);
    assert_true(atomic_load(&budget.used) <= budget.max);
    arena_close(&b->arena);
    assert_int_equal(atomic_load(&budget.used), 0);
    struct runtime_stats stats;
    runtime_stats(w.rt, w.now, &stats);
    assert_int_equal(stats.crashes, 0);
}

static void results_take_no_more_than_there_is(void **state)
{
    (void)state;
    read_with_little_memory("list");
}

static void nor_does_reading_a_state(void **state)
{
    (void)state;
    read_with_little_memory("$get");
}

/* What is remembered, and cannot be told for want of memory, is no empty answer. */
static void nor_is_a_remembered_reply_cut(void **state)
{
    (void)state;
    warm_up("1");
    for (size_t i = 0; i < 2; i++) {
        struct batch *b = prepare(i, "bag", "1", "put", 1);
        b->rpc.client = 7;
        b->calls[0].sequence = 1;
        assert_int_equal(runtime_request_init(&b->request, &b->arena, &b->rpc), 0);
        b->arena.max_bytes = b->arena.used_bytes;
        while (i == 1 && arena_alloc(&b->arena, 16) != NULL)
            continue;
        world_step(&w, &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &b->request});
        pass_ms(50);
        assert_int_equal(results(b)[0].status, i == 0 ? TROUPE_OK : TROUPE_RESOURCE_EXHAUSTED);
    }
}

/* ---- $node ---- */

static void few_questions_to_the_node_in_a_batch(void **state)
{
    (void)state;
    struct batch *b = prepare(0, "$node", "self", "ring", 40);
    send(b);
    pass_ms(50);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(results(b)[i].status, i < 16 ? TROUPE_OK : TROUPE_RESOURCE_EXHAUSTED);
    assert_non_null(
        memmem(results(b)[16].message.data, results(b)[16].message.len, "at most 16", 10));
}

static uint64_t calls_told(size_t at)
{
    struct batch *b = prepare(at, "$node", "self", "status", 1);
    send(b);
    pass_ms(1);
    const struct rpc_result *r = &results(b)[0];
    Troupe__Rpc__NodeStatus *s =
        troupe__rpc__node_status__unpack(NULL, r->payload.len, r->payload.data);
    assert_non_null(s);
    uint64_t calls = s->calls;
    troupe__rpc__node_status__free_unpacked(s, NULL);
    return calls;
}

static void an_answer_of_the_node_is_given_again_for_a_moment(void **state)
{
    (void)state;
    uint64_t first = calls_told(0);
    assert_int_equal(calls_told(1), first);
    pass_ms(100);
    assert_int_equal(calls_told(2), first + 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_long_batch_goes_on_in_the_next_step),
        TEST(a_batch_that_is_quick_is_one_step),
        TEST(what_was_left_over_ends_at_its_deadline),
        TEST(a_stop_waits_for_what_is_left_over),
        TEST(those_that_waited_go_on_a_few_at_a_time),
        TEST(those_that_wait_on_are_looked_at_once),
        TEST(results_take_no_more_than_there_is),
        TEST(nor_does_reading_a_state),
        TEST(nor_is_a_remembered_reply_cut),
        TEST(few_questions_to_the_node_in_a_batch),
        TEST(an_answer_of_the_node_is_given_again_for_a_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
