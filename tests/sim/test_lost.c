/* What may still be said when something was lost: replies of a partition that was another node's in
 * between, rows that the store has not written, saves that it cannot do in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/name.h"
#include "proto/rpc.h"
#include "tests/sim/bag.h"
#include "tests/sim/runtime_world.h"

enum { ASKS = 512, CALLS = 2 };

struct ask {
    struct runtime_request request;
    struct rpc_request rpc;
    struct rpc_call calls[CALLS];
    struct arena arena;
    uint64_t token;
    char id[16];
    bool answered;
};

static struct {
    struct world w;
    struct ask asks[ASKS];
    size_t n;
    struct arena arena;
} stage;

static void on_reply(void *data, struct runtime_request *request)
{
    (void)data;
    struct ask *a = request->data;
    assert_false(a->answered);
    a->answered = true;
}

static int set_up(void **state)
{
    static const struct troupe_kind *const kinds[] = {&bag_kind};
    (void)state;
    memset(&stage, 0, sizeof stage);
    arena_init(&stage.arena, 0, 0);
    world_open(&stage.w, 1, kinds, 1);
    stage.w.reply = on_reply;
    world_start(&stage.w);
    return world_serve(&stage.w, 5000) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    world_close(&stage.w);
    for (size_t i = 0; i < stage.n; i++)
        arena_close(&stage.asks[i].arena);
    arena_close(&stage.arena);
    return 0;
}

static void pass_ms(uint64_t ms)
{
    world_run(&stage.w, stage.w.now.mono_ns + ms * WORLD_MS);
}

static struct ask *prepare(const char *id, const char *method, uint64_t token)
{
    assert_true(stage.n < ASKS);
    struct ask *a = &stage.asks[stage.n++];
    arena_init(&a->arena, 1024, 0);
    snprintf(a->id, sizeof a->id, "%s", id);
    a->token = token;
    a->calls[0] = (struct rpc_call){.kind = troupe_bytes_of("bag"),
                                    .id = troupe_bytes_of(a->id),
                                    .method = troupe_bytes_of(method),
                                    .payload = troupe_bytes(&a->token, sizeof a->token)};
    a->rpc = (struct rpc_request){.timeout_ms = 60000, .calls = a->calls, .calls_n = 1};
    a->request.data = a;
    int rc = runtime_request_init(&a->request, &a->arena, &a->rpc);
    assert_int_equal(rc, 0);
    return a;
}

static struct runtime_event event_of(struct ask *a)
{
    return (struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &a->request};
}

static struct ask *call(const char *id, const char *method, uint64_t token)
{
    struct ask *a = prepare(id, method, token);
    struct runtime_event event = event_of(a);
    world_step(&stage.w, &event);
    return a;
}

static enum troupe_status status(const struct ask *a, size_t i)
{
    assert_true(a->answered);
    return (enum troupe_status)a->request.reply.results[i].status;
}

/* The tokens in a bag. */
static size_t look(const char *id)
{
    struct ask *a = call(id, "list", 0);
    pass_ms(100);
    assert_int_equal(status(a, 0), TROUPE_OK);
    return a->request.reply.results[0].payload.len / 8;
}

static uint64_t generation(void)
{
    struct runtime_stats s;
    runtime_stats(stage.w.rt, stage.w.now, &s);
    return s.generation;
}

/* ---- another node ---- */

static void ignore(struct store_request *request)
{
    (void)request;
}

static void ask_store(enum store_op op, struct store_request *request)
{
    request->op = op;
    request->arena = &stage.arena;
    request->done = ignore;
    store_submit(stage.w.store, request);
    assert_int_equal(store_memory_poll(stage.w.store, SIZE_MAX), 1);
    assert_int_equal(request->error, 0);
}

static uint32_t partition_of(const char *bag)
{
    return name_partition(name_hash(troupe_bytes_of("bag"), troupe_bytes_of(bag)), 8);
}

static uint64_t register_other(void)
{
    struct store_request request = {
        .u.reg = {.name = "n2", .incarnation = 1, .addr = "sim:2", .ttl_ms = 5000}};
    ask_store(STORE_REGISTER, &request);
    return request.u.reg.generation;
}

/* It has the partitions of these bags by a transfer, of which this node has not heard. */
static void give_away(const char *const *bags, size_t n)
{
    struct store_request request = {0};
    uint64_t to = register_other();
    for (size_t i = 0; i < n; i++) {
        struct store_move move = {.pid = partition_of(bags[i]), .epoch = 1};
        request.u.transfer = (struct store_transfer){.name = "n1",
                                                     .generation = generation(),
                                                     .to = "n2",
                                                     .to_generation = to,
                                                     .cause = STORE_CAUSE_JOIN,
                                                     .moves = &move,
                                                     .moves_n = 1};
        ask_store(STORE_TRANSFER, &request);
        assert_int_equal(request.u.transfer.moved_n, 1);
    }
}

/* This node is evicted without knowing; the other one claims the bag's partition, and leaves. */
static void have_it_for_a_moment(const char *bag)
{
    store_pid pid = partition_of(bag);
    struct store_request request = {0};
    assert_true(store_memory_evict(stage.w.store, "n1"));
    uint64_t other = register_other();
    request.u.claim =
        (struct store_claim){.name = "n2", .generation = other, .pids = &pid, .pids_n = 1};
    ask_store(STORE_CLAIM, &request);
    assert_int_equal(request.u.claim.claimed_n, 1);
    request.u.leave = (struct store_leave){.name = "n2", .generation = other};
    ask_store(STORE_LEAVE, &request);
}

/* ---- replies ---- */

/* Two calls in one request: one is executed at once, the other waits for a load. Meanwhile the
 * first one's partition is lost and won again; what it did is gone. That the partition is ours when
 * the reply leaves does not make it true. */
static void a_reply_does_not_outlive_its_partition(void **state)
{
    (void)state;
    struct ask *a = call("1", "put", 1);
    pass_ms(100);
    assert_int_equal(status(a, 0), TROUPE_OK);
    a = prepare("1", "add", 2);
    a->calls[1] = a->calls[0];
    a->calls[1].id = troupe_bytes_of("2");
    a->rpc.calls_n = 2;
    assert_int_equal(runtime_request_init(&a->request, &a->arena, &a->rpc), 0);
    assert_int_not_equal(partition_of("1"), partition_of("2"));
    struct runtime_event event = event_of(a);
    world_step(&stage.w, &event);
    assert_true(stage.w.flights_n > 0);
    struct world_flight *f = &stage.w.flights[stage.w.flights_n - 1];
    assert_int_equal(f->request->op, STORE_LOAD);
    f->answer_ns = stage.w.now.mono_ns + 5000 * WORLD_MS;

    uint64_t before = generation();
    have_it_for_a_moment("1");
    pass_ms(4000);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SERVING);
    assert_true(generation() > before);
    assert_false(a->answered);
    pass_ms(2000);
    assert_int_equal(status(a, 0), TROUPE_UNKNOWN);
    assert_int_equal(status(a, 1), TROUPE_OK);
    assert_int_equal(look("1"), 1);
}

/* The same call when nobody has had the partition in between: what is in memory stands. */
static void a_reply_outlives_an_eviction(void **state)
{
    (void)state;
    look("1");
    struct ask *a = prepare("1", "add", 2);
    a->calls[1] = a->calls[0];
    a->calls[1].id = troupe_bytes_of("2");
    a->rpc.calls_n = 2;
    assert_int_equal(runtime_request_init(&a->request, &a->arena, &a->rpc), 0);
    struct runtime_event event = event_of(a);
    world_step(&stage.w, &event);
    stage.w.flights[stage.w.flights_n - 1].answer_ns = stage.w.now.mono_ns + 5000 * WORLD_MS;
    assert_true(store_memory_evict(stage.w.store, "n1"));
    pass_ms(6000);
    assert_int_equal(status(a, 0), TROUPE_OK);
    assert_int_equal(status(a, 1), TROUPE_OK);
    assert_int_equal(look("1"), 1);
}

/* Also what another node has forwarded: it is frozen between its handler and its reply. */
static void forwarded_replies_are_held_too(void **state)
{
    (void)state;
    look("1");
    struct store_request reg = {
        .u.reg = {.name = "n2", .incarnation = 1, .addr = "sim:2", .ttl_ms = 5000}};
    ask_store(STORE_REGISTER, &reg); /* for the cluster's uid */
    pass_ms(3000);
    stage.w.outage_until_ns = UINT64_MAX;
    pass_ms(1000);
    struct ask *a = prepare("1", "add", 2);
    a->rpc.cluster_uid = troupe_bytes_of(reg.u.reg.cluster_uid);
    a->request.from_peer = true;
    struct runtime_event event = event_of(a);
    runtime_step(stage.w.rt, stage.w.now, &event);
    stage.w.now.mono_ns += 20000 * WORLD_MS;
    stage.w.now.wall_ms += 20000;
    event = (struct runtime_event){.type = RUNTIME_WAKE};
    world_step(&stage.w, &event);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SUSPENDED);
    assert_false(a->answered);
    stage.w.outage_until_ns = 0;
    pass_ms(4000);
    assert_int_equal(status(a, 0), TROUPE_OK);
}

/* ---- commits ---- */

/* One commit with rows of many partitions, of which several are not ours any more. */
static void every_fenced_partition_is_noticed(void **state)
{
    enum { BAGS = 8, LOST = 5 };
    static const char *const all[] = {"1", "2", "3", "5", "7", "8", "9", "10"};
    struct ask *asks[BAGS];
    (void)state;
    for (size_t i = 0; i < BAGS; i++) {
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(partition_of(all[i]), partition_of(all[k]));
        look(all[i]);
    }
    give_away(all, LOST);
    for (size_t i = 0; i < BAGS; i++) { /* all in one commit */
        asks[i] = prepare(all[i], "put", 9);
        struct runtime_event event = event_of(asks[i]);
        runtime_step(stage.w.rt, stage.w.now, &event);
    }
    pass_ms(500);
    for (size_t i = 0; i < BAGS; i++)
        assert_int_equal(status(asks[i], 0), i < LOST ? TROUPE_ABORTED : TROUPE_OK);
}

/* Its own row, as from an answer that a store has given twice, or an old copy that was read. */
static void write_row(const char *bag, uint64_t version, uint64_t token)
{
    struct store_row row = {
        .key = {.pid = partition_of(bag),
                .kind = troupe_bytes_of("bag"),
                .id = troupe_bytes_of(bag)},
        .epoch = 1,
        .version = version,
        .state = troupe_bytes(&token, sizeof token),
    };
    struct store_request request = {
        .u.save = {.name = "n1", .generation = generation(), .rows = &row, .rows_n = 1}};
    ask_store(STORE_SAVE, &request);
    assert_int_equal(request.u.save.applied, 1);
}

/* The store does not write a row of which it has a newer one. That change is not durable, whatever
 * else of its commit is; and what is in memory is not what comes after the stored row. */
static void a_row_that_is_not_written_is_not_acknowledged(void **state)
{
    (void)state;
    struct ask *asks[40];
    char id[8];
    for (uint64_t i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "%u", (unsigned)i);
        look(id);
    }
    write_row("7", 100, 77);
    write_row("22", 100, 77);
    for (uint64_t i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "%u", (unsigned)i);
        asks[i] = call(id, "put", i);
    }
    pass_ms(1000);
    for (uint64_t i = 0; i < 40; i++)
        assert_int_equal(status(asks[i], 0), i == 7 || i == 22 ? TROUPE_UNKNOWN : TROUPE_OK);
    struct ask *a = call("7", "put", 5);
    pass_ms(100);
    assert_int_equal(status(a, 0), TROUPE_OK);
    assert_int_equal(look("7"), 2); /* 77 and 5 */
    assert_int_equal(look("8"), 1);
}

/* A commit with such a row is sent again in parts. What the first sending has written may stand,
 * also if its partition is lost before the second one. */
static void what_a_commit_has_written_is_not_denied(void **state)
{
    static const char *const bags[] = {"7", "8"};
    struct ask *asks[2];
    (void)state;
    look("7");
    look("8");
    write_row("7", 100, 77);
    for (size_t i = 0; i < 2; i++) {
        asks[i] = prepare(bags[i], "put", 1);
        struct runtime_event event = event_of(asks[i]);
        runtime_step(stage.w.rt, stage.w.now, &event);
    }
    unsigned before = stage.w.saves_n;
    for (int ms = 0; ms < 1000 && stage.w.saves_n < before + 2; ms++)
        pass_ms(1);
    assert_int_equal(stage.w.saves_n, before + 2);
    give_away(&bags[1], 1);
    pass_ms(500);
    assert_int_equal(status(asks[0], 0), TROUPE_UNKNOWN);
    assert_int_equal(status(asks[1], 0), TROUPE_UNKNOWN);
}

enum { MANY = 100 };

/* A durable call for each of many bags, at once. */
static void put_many(struct ask *asks[MANY])
{
    char id[8];
    for (uint64_t i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "%u", (unsigned)i);
        asks[i] = prepare(id, "put", i);
        struct runtime_event event = event_of(asks[i]);
        runtime_step(stage.w.rt, stage.w.now, &event);
    }
    world_step(&stage.w, &(struct runtime_event){.type = RUNTIME_WAKE});
}

static void assert_all_ok(struct ask *asks[MANY])
{
    for (uint64_t i = 0; i < MANY; i++)
        assert_int_equal(status(asks[i], 0), TROUPE_OK);
}

/* A store that does some rows in the time that a statement has, and not as many as a commit may
 * have. It gets what it can do; and more again when it can. */
static void a_slow_store_gets_smaller_commits(void **state)
{
    struct ask *asks[MANY];
    (void)state;
    put_many(asks);
    pass_ms(1000);
    assert_all_ok(asks);
    stage.w.row_ms = 400; /* 12 rows in 5 s; a commit may have 16 */
    put_many(asks);
    pass_ms(50000);
    assert_all_ok(asks);
    stage.w.row_ms = 1;
    put_many(asks);
    pass_ms(2000);
    assert_all_ok(asks);
    unsigned before = stage.w.saves_n;
    put_many(asks);
    pass_ms(2000);
    assert_all_ok(asks);
    assert_int_equal(stage.w.saves_n, before + (MANY + 15) / 16);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(a_reply_does_not_outlive_its_partition),
        STORY(a_reply_outlives_an_eviction),
        STORY(forwarded_replies_are_held_too),
        STORY(every_fenced_partition_is_noticed),
        STORY(a_row_that_is_not_written_is_not_acknowledged),
        STORY(what_a_commit_has_written_is_not_denied),
        STORY(a_slow_store_gets_smaller_commits),
    };
    return cmocka_run_group_tests_name("lost", tests, NULL, NULL);
}
