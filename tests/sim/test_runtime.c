/* The runtime's rules one by one, in virtual time: what a call gets, when, and what is in the store
 * afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/name.h"
#include "node/runtime/dedup.h"
#include "proto/rpc.h"
#include "runtime_world.h"
#include "status.pb-c.h"
#include "tests/sim/bag.h"

enum { SLOTS = 64 };

/* A call and, later, its answer. */
struct ask {
    struct runtime_request request;
    struct rpc_request rpc;
    struct rpc_call call;
    struct arena arena;
    uint64_t payload[2];
    bool answered;
};

struct stage {
    struct world w;
    struct ask asks[SLOTS];
    size_t n;
};

static struct stage stage;

static void on_reply(void *data, struct runtime_request *request)
{
    (void)data;
    struct ask *a = request->data;
    assert_false(a->answered);
    a->answered = true;
}

static void open_with(void (*tune)(struct runtime_config *config))
{
    static const struct troupe_kind *const kinds[] = {&bag_kind};
    memset(&stage, 0, sizeof stage);
    world_open(&stage.w, 1, kinds, 1);
    stage.w.reply = on_reply;
    if (tune != NULL)
        tune(&stage.w.config);
    world_start(&stage.w);
}

static int set_up(void **state)
{
    (void)state;
    open_with(NULL);
    return world_serve(&stage.w, 5000) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    world_close(&stage.w);
    for (size_t i = 0; i < stage.n; i++)
        arena_close(&stage.asks[i].arena);
    return 0;
}

static struct ask *prepare(const char *kind, const char *id, const char *method, uint64_t token)
{
    assert_true(stage.n < SLOTS);
    struct ask *a = &stage.asks[stage.n++];
    arena_init(&a->arena, 1024, 0);
    a->payload[0] = token;
    a->call = (struct rpc_call){.kind = troupe_bytes_of(kind),
                                .id = troupe_bytes_of(id),
                                .method = troupe_bytes_of(method),
                                .payload = troupe_bytes(a->payload, sizeof a->payload)};
    a->rpc = (struct rpc_request){.timeout_ms = 2000, .calls = &a->call, .calls_n = 1};
    a->request.data = a;
    return a;
}

static struct ask *send_off(struct ask *a)
{
    assert_int_equal(runtime_request_init(&a->request, &a->arena, &a->rpc), 0);
    world_step(&stage.w,
               &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &a->request});
    return a;
}

static struct ask *call(const char *id, const char *method, uint64_t token)
{
    return send_off(prepare("bag", id, method, token));
}

static void pass_ms(uint64_t ms)
{
    world_run(&stage.w, stage.w.now.mono_ns + ms * WORLD_MS);
}

static const struct rpc_result *result(const struct ask *a)
{
    assert_true(a->answered);
    assert_int_equal(a->request.reply.results_n, 1);
    return &a->request.reply.results[0];
}

static void assert_status(const struct ask *a, enum troupe_status status)
{
    const struct rpc_result *r = result(a);
    if (r->status != status)
        fail_msg("%s instead of %s: %.*s", troupe_status_name(r->status),
                 troupe_status_name(status), (int)r->message.len, (const char *)r->message.data);
    assert_true((status == TROUPE_OK) == (r->message.len == 0)); /* errors say what to do */
}

static bool says(const struct ask *a, const char *part)
{
    const struct rpc_result *r = result(a);
    return memmem(r->message.data, r->message.len, part, strlen(part)) != NULL;
}

static size_t tokens(const char *id)
{
    struct ask *a = call(id, "list", 0);
    pass_ms(50);
    assert_status(a, TROUPE_OK);
    return result(a)->payload.len / 8;
}

static struct runtime_stats stats(void)
{
    struct runtime_stats s;
    runtime_stats(stage.w.rt, stage.w.now, &s);
    return s;
}

/* ---- calls ---- */

static void starts_on_first_use_and_answers_from_memory(void **state)
{
    (void)state;
    struct ask *a = call("1", "add", 11);
    assert_false(a->answered); /* it has to be loaded first */
    pass_ms(20);
    assert_status(a, TROUPE_OK);
    assert_int_equal(result(a)->version, 1);
    assert_int_equal(result(a)->ack, TROUPE_ACK_MEMORY);
    a = call("1", "add", 12);
    assert_status(a, TROUPE_OK); /* at once */
    assert_int_equal(tokens("1"), 2);
    assert_int_equal(stats().entities_resident, 1);
    assert_int_equal(stats().rows_saved, 0);
}

static void refuses_what_it_does_not_know(void **state)
{
    (void)state;
    struct ask *a = send_off(prepare("bga", "1", "add", 1));
    assert_status(a, TROUPE_NOT_FOUND);
    assert_true(says(a, "bag"));
    a = call("1", "ad", 1);
    assert_status(a, TROUPE_UNIMPLEMENTED);
    assert_true(says(a, "add"));
    a = call("", "add", 1);
    assert_status(a, TROUPE_INVALID_ARGUMENT);
    a = call("\xFF\xFE", "add", 1);
    assert_status(a, TROUPE_INVALID_ARGUMENT);
    a = prepare("bag", "1", "add", 1);
    a->call.ack = 7;
    assert_status(send_off(a), TROUPE_INVALID_ARGUMENT);
    a = prepare("bag", "1", "", 1);
    assert_status(send_off(a), TROUPE_UNIMPLEMENTED);
    assert_int_equal(stats().entities_resident, 0);
}

static void a_batch_is_answered_when_all_of_it_is(void **state)
{
    (void)state;
    struct ask *a = prepare("bag", "1", "add", 1);
    struct rpc_call calls[3] = {a->call, a->call, a->call};
    calls[1].method = troupe_bytes_of("nonsense");
    calls[2].id = troupe_bytes_of("2");
    a->rpc.calls = calls;
    a->rpc.calls_n = 3;
    send_off(a);
    assert_false(a->answered);
    pass_ms(30);
    assert_true(a->answered);
    const struct rpc_result *r = a->request.reply.results;
    assert_int_equal(r[0].status, TROUPE_OK);
    assert_int_equal(r[1].status, TROUPE_UNIMPLEMENTED);
    assert_int_equal(r[2].status, TROUPE_OK);
    a = prepare("bag", "1", "add", 1);
    a->rpc.calls_n = 0;
    send_off(a);
    assert_true(a->answered);
}

static void get_shows_the_state_of_what_exists(void **state)
{
    (void)state;
    struct ask *a = call("1", "$get", 0);
    pass_ms(20);
    assert_status(a, TROUPE_NOT_FOUND);
    call("1", "add", 5);
    a = call("1", "$get", 0);
    assert_status(a, TROUPE_OK);
    assert_int_equal(result(a)->payload.len, 8);
}

static void the_node_tells_about_itself(void **state)
{
    (void)state;
    struct ask *a = send_off(prepare("$node", "self", "status", 0));
    assert_status(a, TROUPE_OK);
    const struct rpc_result *r = result(a);
    Troupe__Rpc__NodeStatus *s =
        troupe__rpc__node_status__unpack(NULL, r->payload.len, r->payload.data);
    assert_non_null(s);
    assert_string_equal(s->name, "n1");
    assert_string_equal(s->state, "serving");
    assert_int_equal(s->partitions_owned, 256);
    assert_int_equal(s->n_kinds, 1);
    troupe__rpc__node_status__free_unpacked(s, NULL);
    assert_status(send_off(prepare("$node", "self", "statsu", 0)), TROUPE_UNIMPLEMENTED);
}

/* ---- persistence ---- */

static void durable_replies_wait_for_the_commit(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(20);
    struct ask *put = call("1", "put", 2), *read = call("1", "list", 0),
               *other = call("2", "list", 0);
    assert_false(put->answered);
    assert_false(read->answered); /* it has seen the put */
    assert_int_equal(stats().calls_gated, 2);
    pass_ms(40);
    assert_status(put, TROUPE_OK);
    assert_int_equal(result(put)->ack, TROUPE_ACK_DURABLE);
    assert_status(read, TROUPE_OK);
    assert_status(other, TROUPE_OK);
    assert_int_equal(stats().rows_saved, 1);
    assert_int_equal(stats().entities_dirty, 0);
}

static void a_caller_can_ask_for_durable(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(20);
    struct ask *read = prepare("bag", "1", "list", 0);
    read->call.ack = TROUPE_ACK_DURABLE;
    send_off(read);
    assert_false(read->answered); /* what it shows is not committed yet */
    pass_ms(40);
    assert_status(read, TROUPE_OK);
    assert_int_equal(result(read)->ack, TROUPE_ACK_DURABLE);
    struct ask *add = prepare("bag", "1", "add", 2);
    add->call.ack = TROUPE_ACK_DURABLE;
    send_off(add);
    assert_false(add->answered);
    pass_ms(40);
    assert_int_equal(result(add)->ack, TROUPE_ACK_DURABLE);
}

static void durable_calls_share_commits(void **state)
{
    (void)state;
    struct ask *asks[20];
    call("1", "put", 1);
    pass_ms(50);
    for (size_t i = 0; i < 20; i++)
        asks[i] = call("1", "put", 10 + i);
    pass_ms(60);
    for (size_t i = 0; i < 20; i++)
        assert_status(asks[i], TROUPE_OK);
    assert_true(stats().rows_saved <= 4); /* the first, then all that came meanwhile */
}

static void changes_are_persisted_within_the_interval(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(10000);
    assert_int_equal(stats().rows_saved, 0);
    assert_true(stats().persist_lag_ms >= 9000);
    call("1", "add", 2); /* does not put it off */
    pass_ms(20000);
    assert_int_equal(stats().rows_saved, 1);
    assert_int_equal(stats().persist_lag_ms, 0);
    world_crash(&stage.w);
    world_start(&stage.w);
    assert_true(world_serve(&stage.w, 20000));
    assert_int_equal(tokens("1"), 2);
}

static void a_restart_warms_what_was_in_use(void **state)
{
    (void)state;
    char id[8];
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "%d", i);
        call(id, "put", 1);
    }
    pass_ms(100);
    world_crash(&stage.w);
    world_start(&stage.w);
    assert_true(world_serve(&stage.w, 20000));
    pass_ms(1000);
    assert_int_equal(stats().entities_warmed, 20);
    assert_int_equal(stats().entities_resident, 20);
    assert_int_equal(stats().partitions_to_warm, 0);
    assert_true(world_stop(&stage.w, 5000)); /* nor is a planned one cold afterwards */
    world_start(&stage.w);
    assert_true(world_serve(&stage.w, 20000));
    pass_ms(1000);
    assert_int_equal(stats().entities_warmed, 20);
}

static void a_clean_stop_loses_nothing(void **state)
{
    (void)state;
    call("1", "add", 1);
    call("2", "put", 2);
    pass_ms(20);
    struct ask *late = call("3", "add", 3);
    assert_true(world_stop(&stage.w, 5000));
    assert_true(late->answered); /* refused or done, but told */
    size_t expected = result(late)->status == TROUPE_OK;
    world_start(&stage.w);
    assert_true(world_serve(&stage.w, 5000)); /* at once: the lease was given back */
    assert_int_equal(tokens("1"), 1);
    assert_int_equal(tokens("2"), 1);
    assert_int_equal(tokens("3"), expected);
}

static void idle_entities_stop_persisted_and_come_back(void **state)
{
    (void)state;
    call("1", "add", 1);
    call("nobody", "list", 0);
    pass_ms(100);
    assert_int_equal(stats().entities_resident, 2);
    pass_ms(11000); /* one that was never written to goes soon */
    assert_int_equal(stats().entities_resident, 1);
    pass_ms(62000);
    assert_int_equal(stats().entities_resident, 0);
    assert_int_equal(stats().memory_bytes, 0);
    assert_int_equal(tokens("1"), 1);
}

static void stop_and_delete_persist_first(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(20);
    struct ask *stop = call("1", "stop", 0), *after = call("1", "list", 0);
    pass_ms(100);
    assert_status(stop, TROUPE_OK);
    assert_status(after, TROUPE_OK); /* by its next life */
    assert_int_equal(result(after)->payload.len, 8);
    assert_int_equal(stats().rows_loaded, 1);
    struct ask *erase = call("1", "erase", 0), *again = call("1", "add", 9);
    assert_false(erase->answered);
    pass_ms(100);
    assert_status(erase, TROUPE_OK);
    assert_int_equal(result(erase)->ack, TROUPE_ACK_DURABLE);
    assert_status(again, TROUPE_OK);
    assert_true(result(again)->version > result(erase)->version);
    assert_int_equal(tokens("1"), 1);
}

/* ---- exactly once ---- */

static void a_retry_gets_the_first_reply(void **state)
{
    (void)state;
    struct ask *asks[3];
    for (size_t i = 0; i < 3; i++) {
        asks[i] = prepare("bag", "1", "put", 7);
        asks[i]->rpc.client = 5;
        asks[i]->call.sequence = 100;
        send_off(asks[i]);
        if (i == 1)
            pass_ms(100);
    }
    pass_ms(100);
    for (size_t i = 0; i < 3; i++) {
        assert_status(asks[i], TROUPE_OK);
        assert_int_equal(result(asks[i])->payload.len, 8);
        assert_int_equal(result(asks[i])->ack, TROUPE_ACK_DURABLE);
    }
    assert_int_equal(tokens("1"), 1);
    world_crash(&stage.w); /* the window is in the row */
    world_start(&stage.w);
    assert_true(world_serve(&stage.w, 20000));
    struct ask *a = prepare("bag", "1", "put", 7);
    a->rpc.client = 5;
    a->call.sequence = 100;
    send_off(a);
    pass_ms(50);
    assert_status(a, TROUPE_OK);
    assert_int_equal(tokens("1"), 1);
}

static struct ask *swap(const char *method, uint64_t sequence, uint64_t tokens_expected)
{
    struct ask *a = prepare("bag", "1", method, 7);
    a->payload[1] = tokens_expected;
    a->rpc.client = 5;
    a->call.sequence = sequence;
    send_off(a);
    pass_ms(50);
    return a;
}

/* A refusal that changes nothing is not remembered, so its id may be executed yet; the handler that
 * wants it remembered makes it a change. See docs/protocol.md. */
static void a_refusal_is_remembered_if_it_is_a_change(void **state)
{
    (void)state;
    assert_status(swap("swap", 100, 1), TROUPE_FAILED_PRECONDITION);
    assert_status(swap("swap_kept", 101, 1), TROUPE_FAILED_PRECONDITION);
    call("1", "put", 1);
    pass_ms(50);
    struct ask *again = swap("swap_kept", 101, 1);
    assert_status(again, TROUPE_FAILED_PRECONDITION);
    assert_true(says(again, "there are 0 tokens"));
    assert_status(swap("swap", 100, 1), TROUPE_OK);
    assert_status(swap("swap", 100, 1), TROUPE_OK);
    assert_int_equal(tokens("1"), 2);
}

static uint64_t drawn_now(uint64_t counter)
{
    return stage.w.now.wall_ms << RPC_SEQUENCE_COUNTER_BITS | counter;
}

static struct ask *ask_with_id(const char *method, uint64_t sequence)
{
    struct ask *a = swap(method, sequence, 0);
    pass_ms(100);
    return a;
}

static void a_retry_after_a_delete_is_not_executed_again(void **state)
{
    (void)state;
    uint64_t put = drawn_now(1), erase = drawn_now(2);
    assert_status(ask_with_id("put", put), TROUPE_OK);
    assert_status(ask_with_id("erase", erase), TROUPE_OK);
    world_crash(&stage.w); /* only the row knows */
    world_start(&stage.w);
    assert_true(world_serve(&stage.w, 20000));
    assert_status(ask_with_id("put", put), TROUPE_OK);
    assert_status(ask_with_id("erase", erase), TROUPE_OK);
    assert_int_equal(tokens("1"), 0);
    assert_status(ask_with_id("put", drawn_now(3)), TROUPE_OK); /* there is another one now */
    assert_status(ask_with_id("erase", erase), TROUPE_OK);
    assert_int_equal(tokens("1"), 1);
    assert_status(ask_with_id("erase", drawn_now(4)), TROUPE_OK);
    pass_ms(DEDUP_TOMBSTONE_MS * 3 / 4);
    assert_status(ask_with_id("put", put), TROUPE_OK);
    pass_ms(DEDUP_TOMBSTONE_MS);
    struct ask *late = ask_with_id("put", put);
    assert_status(late, TROUPE_OUT_OF_RANGE);
    assert_true(says(late, "may have been executed"));
    assert_int_equal(tokens("1"), 0);
}

static void a_clock_that_is_ahead_is_refused(void **state)
{
    (void)state;
    uint64_t day = UINT64_C(86400000) << RPC_SEQUENCE_COUNTER_BITS;
    struct ask *ahead = ask_with_id("put", drawn_now(1) + day);
    assert_status(ahead, TROUPE_OUT_OF_RANGE);
    assert_true(says(ahead, "not executed: by this request id the client's clock is 86399.9") ||
                says(ahead, "not executed: by this request id the client's clock is 86400.0"));
    assert_status(ask_with_id("put", result(ahead)->sequence_from + 1), TROUPE_OK);
    assert_status(ask_with_id("put", drawn_now(2)), TROUPE_OK);
    assert_int_equal(tokens("1"), 2);
}

/* ---- crashes ---- */

static void a_crash_goes_back_to_what_is_persisted(void **state)
{
    (void)state;
    call("1", "put", 1);
    pass_ms(50);
    call("1", "add", 2);
    struct ask *crash = call("1", "crash", 0), *after = call("1", "list", 0);
    assert_status(crash, TROUPE_INTERNAL);
    assert_true(says(crash, "told to"));
    pass_ms(50);
    assert_status(after, TROUPE_OK);
    assert_int_equal(result(after)->payload.len,
                     8); /* the add is lost, and no wrong token is there */
    assert_int_equal(stats().crashes, 1);
}

static void a_crash_aborts_what_was_not_yet_sent_to_the_store(void **state)
{
    (void)state;
    call("1", "put", 1);
    pass_ms(50);
    struct ask *sent = call("1", "put", 2), *unsent = call("1", "put", 3);
    call("1", "crash", 0);
    assert_status(unsent, TROUPE_ABORTED);
    assert_false(sent->answered);
    pass_ms(100);
    assert_status(sent, TROUPE_OK);
    assert_int_equal(tokens("1"), 2);
}

static void crashing_too_often_is_quarantined(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        call("1", "crash", 0);
        pass_ms(50);
    }
    struct ask *a = call("1", "list", 0);
    assert_status(a, TROUPE_UNAVAILABLE);
    assert_true(says(a, "too often"));
    assert_true(says(a, "told to"));
    assert_int_equal(stats().entities_quarantined, 1);
    assert_int_equal(tokens("2"), 0); /* others do not suffer */
    pass_ms(1100);
    assert_int_equal(tokens("1"), 0);
    assert_int_equal(stats().entities_quarantined, 0);
    pass_ms(6000); /* past the window of 5 s */
    call("1", "crash", 0);
    pass_ms(50);
    assert_int_equal(tokens("1"), 0);
}

/* ---- between entities ---- */

static void casts_leave_with_the_commit(void **state)
{
    (void)state;
    struct ask *a = prepare("bag", "1", "pass", 3);
    a->payload[1] = 2;
    send_off(a);
    pass_ms(12);
    pass_ms(100);
    assert_status(a, TROUPE_OK);
    assert_int_equal(tokens("1"), 1);
    assert_int_equal(tokens("2"), 1);
}

static void an_aborted_change_sends_nothing(void **state)
{
    (void)state;
    call("1", "put", 1);
    pass_ms(50);
    call("1", "put", 2); /* on its way, so the next one is not */
    struct ask *a = prepare("bag", "1", "pass", 3);
    a->payload[1] = 2;
    send_off(a);
    call("1", "crash", 0);
    pass_ms(100);
    assert_status(a, TROUPE_ABORTED);
    assert_int_equal(tokens("2"), 0);
}

static void calls_between_entities_are_answered(void **state)
{
    (void)state;
    struct ask *a = prepare("bag", "1", "ask", 3);
    a->payload[1] = 2;
    send_off(a);
    pass_ms(100);
    assert_status(a, TROUPE_OK);
    assert_int_equal(tokens("2"), 1);
    assert_int_equal(tokens("1"), 1); /* added when the answer came */
    pass_ms(3000);
    stage.w.outage_until_ns = UINT64_MAX;
    a = prepare("bag", "1", "ask", 4);
    a->payload[1] = 3;
    send_off(a);
    pass_ms(6000); /* no answer within 5 s: told so */
    stage.w.outage_until_ns = 0;
    pass_ms(3000);
    assert_int_equal(tokens("1"), 1);
}

static void timers_fire_once(void **state)
{
    (void)state;
    call("1", "tick", 8);
    pass_ms(900);
    assert_int_equal(tokens("1"), 0);
    pass_ms(300);
    assert_int_equal(tokens("1"), 1);
    pass_ms(3000);
    assert_int_equal(tokens("1"), 1);
}

/* ---- limits ---- */

static void full_mailboxes_refuse(void **state)
{
    (void)state;
    stage.w.outage_until_ns = UINT64_MAX; /* nothing loads */
    struct rpc_call calls[1200];
    struct ask *a = prepare("bag", "1", "add", 1);
    for (size_t i = 0; i < 1200; i++)
        calls[i] = a->call;
    a->rpc.calls = calls;
    a->rpc.calls_n = 1200;
    send_off(a);
    stage.w.outage_until_ns = 0;
    pass_ms(3000);
    assert_true(a->answered);
    size_t ok = 0, full = 0;
    for (size_t i = 0; i < 1200; i++) {
        ok += a->request.reply.results[i].status == TROUPE_OK;
        full += a->request.reply.results[i].status == TROUPE_RESOURCE_EXHAUSTED;
    }
    assert_int_equal(ok, 1000);
    assert_int_equal(full, 200);
}

static void few_entities(struct runtime_config *config)
{
    config->entities_max = 10;
}

static void the_coldest_go_when_there_are_too_many(void **state)
{
    (void)state;
    open_with(few_entities);
    assert_true(world_serve(&stage.w, 5000));
    char id[16];
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "%d", i);
        call(id, "add", 1);
        pass_ms(50);
    }
    pass_ms(500);
    assert_true(stats().entities_resident <= 10);
    assert_int_equal(tokens("0"), 1); /* persisted before it went */
}

/* ---- a partition is lost ---- */

static void ignore(struct store_request *request)
{
    (void)request;
}

static void ask_store(enum store_op op, struct store_request *request, struct arena *arena)
{
    request->op = op;
    request->arena = arena;
    request->done = ignore;
    store_submit(stage.w.store, request);
    assert_int_equal(store_memory_poll(stage.w.store, SIZE_MAX), 1);
    assert_int_equal(request->error, 0);
}

static uint32_t partition_of(const char *bag)
{
    return name_partition(name_hash(troupe_bytes_of("bag"), troupe_bytes_of(bag)), 8);
}

/* Another node has the partition of bag 1, and this one has not been told. */
static void give_away_the_partition_of_1(void)
{
    struct arena arena;
    struct store_request request = {
        .u.reg = {.name = "n2", .incarnation = 1, .addr = "sim:2", .ttl_ms = 5000}};
    struct store_move move = {.pid = partition_of("1"), .epoch = 1};
    arena_init(&arena, 0, 0);
    ask_store(STORE_REGISTER, &request, &arena);
    uint64_t generation = request.u.reg.generation;
    request.u.transfer = (struct store_transfer){.name = "n1",
                                                 .generation = stats().generation,
                                                 .to = "n2",
                                                 .to_generation = generation,
                                                 .cause = STORE_CAUSE_JOIN,
                                                 .moves = &move,
                                                 .moves_n = 1};
    ask_store(STORE_TRANSFER, &request, &arena);
    assert_int_equal(request.u.transfer.moved_n, 1);
    arena_close(&arena);
}

/* Another bag of that partition, "100", "101" … */
static const char *neighbour_of_1(void)
{
    static char id[16];
    uint32_t n = 100;
    do
        snprintf(id, sizeof id, "%u", n++);
    while (partition_of(id) != partition_of("1"));
    return id;
}

/* What has left for the store last takes effect, and nobody hears of it. */
static void lose_the_last_answer(enum store_op op)
{
    struct world_flight *f = &stage.w.flights[stage.w.flights_n - 1];
    assert_true(stage.w.flights_n > 0 && f->request->op == op);
    f->answer_ns = UINT64_MAX;
}

/* ---- other clusters ---- */

static void send_as_peer(struct ask *a, const char *cluster_uid)
{
    a->rpc.cluster_uid = troupe_bytes_of(cluster_uid);
    assert_int_equal(runtime_request_init(&a->request, &a->arena, &a->rpc), 0);
    a->request.from_peer = true;
    world_step(&stage.w,
               &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &a->request});
    pass_ms(50);
}

/* An address is used again: a node of another cluster forwards to us what is not ours. */
static void strangers_have_nothing_executed(void **state)
{
    static const char *const uids[] = {"", "6f0c1d2e-0000-4000-8000-000000000001", "x"};
    struct store_request request = {
        .u.reg = {.name = "n2", .incarnation = 1, .addr = "sim:2", .ttl_ms = 5000}};
    struct arena arena;
    (void)state;
    for (size_t i = 0; i < sizeof uids / sizeof uids[0]; i++) {
        struct ask *a = prepare("bag", "1", "add", 1);
        send_as_peer(a, uids[i]);
        assert_true(a->answered);
        assert_int_equal(a->request.reply.status, TROUPE_FAILED_PRECONDITION);
        assert_int_equal(a->request.reply.results_n, 0);
        const char *text = (const char *)a->request.reply.message.data;
        assert_non_null(strstr(text, uids[i][0] == '\0' ? "clients ask this node at sim:1"
                                                        : "of another cluster"));
    }
    assert_int_equal(tokens("1"), 0);
    arena_init(&arena, 0, 0);
    ask_store(STORE_REGISTER, &request, &arena); /* it tells our own */
    struct ask *a = prepare("bag", "1", "add", 1);
    send_as_peer(a, request.u.reg.cluster_uid);
    assert_status(a, TROUPE_OK);
    assert_int_equal(tokens("1"), 1);
    arena_close(&arena);
}

static void nothing_more(void *data)
{
    (void)data;
}

/* Another database is in the place of ours: nothing of it is served, and nothing written there. */
static void a_store_that_was_replaced_ends_the_node(void **state)
{
    struct store_options options = {.url = "memory:replaced", .cluster = "sim", .partitions = 256};
    struct store_request request = {
        .u.reg = {.name = "n2", .incarnation = 1, .addr = "sim:2", .ttl_ms = 5000}};
    char errmsg[STORE_ERRMSG_BYTES];
    struct arena arena;
    struct store *ours = stage.w.store;
    (void)state;
    call("1", "add", 1);
    pass_ms(50);
    assert_int_equal(store_open(&stage.w.store, &options, errmsg), 0);
    arena_init(&arena, 0, 0);
    ask_store(STORE_REGISTER, &request, &arena);
    pass_ms(5000);
    assert_int_equal(stage.w.fx.phase, RUNTIME_FAILED);
    assert_int_equal(stage.w.fx.failure_code, TROUPE_EVERSION);
    assert_non_null(strstr(stage.w.fx.failure, "the store has been replaced"));
    assert_non_null(strstr(stage.w.fx.failure, request.u.reg.cluster_uid));
    struct ask *late = call("1", "list", 0);
    pass_ms(50);
    assert_status(late, TROUPE_UNAVAILABLE);
    arena_close(&arena);
    store_close(ours, nothing_more, NULL);
    store_memory_poll(ours, SIZE_MAX);
}

/* Entities of a lost partition that the store is still to answer for are in no table; a node that
 * ends before it does frees them all the same. */
static void what_is_dropped_while_it_loads_is_freed(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(50);
    give_away_the_partition_of_1();
    call(neighbour_of_1(), "list", 0);
    lose_the_last_answer(STORE_LOAD);
    struct ask *fenced = call("1", "put", 2);
    pass_ms(50);
    assert_status(fenced, TROUPE_ABORTED);
    assert_int_equal(stats().entities_resident, 1); /* dropped, and waited for */
    assert_int_equal(stats().partitions_owned, 255);
}

static void what_is_dropped_while_it_is_saved_is_freed(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(3000);
    give_away_the_partition_of_1();
    struct ask *a = call("1", "put", 2);
    lose_the_last_answer(STORE_SAVE);
    stage.w.outage_until_ns = UINT64_MAX; /* until the lease is over, and all is looked at again */
    pass_ms(12500);
    stage.w.outage_until_ns = 0;
    pass_ms(4000);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SERVING);
    assert_status(a, TROUPE_UNAVAILABLE);
    assert_int_equal(stats().partitions_owned, 255);
    assert_int_equal(stats().entities_resident, 1);
}

/* ---- the store is away ---- */

static void memory_calls_go_on_without_the_store(void **state)
{
    (void)state;
    call("1", "add", 1);
    call("2", "add", 1);
    pass_ms(3000); /* long enough for the long lease of a node that is alone */
    stage.w.outage_until_ns = UINT64_MAX;
    pass_ms(8000);
    struct ask *memory = call("1", "add", 2), *durable = call("2", "put", 2),
               *cold = call("3", "list", 0);
    assert_status(memory, TROUPE_OK);
    pass_ms(2100);
    assert_status(durable, TROUPE_UNAVAILABLE);
    assert_true(says(durable, "same request id"));
    assert_status(cold, TROUPE_UNAVAILABLE);
    assert_false(stats().store_ok);
    stage.w.outage_until_ns = 0;
    pass_ms(4000);
    assert_int_equal(stats().entities_dirty, 1);
    assert_int_equal(tokens("2"), 2); /* it was kept and committed */
    assert_true(world_stop(&stage.w, 5000));
    world_start(&stage.w);
    assert_true(world_serve(&stage.w, 5000));
    assert_int_equal(tokens("1"), 2);
}

static void past_the_lease_calls_wait_and_nothing_is_lost(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(3000);
    stage.w.outage_until_ns = UINT64_MAX;
    pass_ms(12500);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SUSPENDED);
    struct ask *short_wait = call("1", "add", 2);
    pass_ms(2100);
    assert_status(short_wait, TROUPE_UNAVAILABLE);
    struct ask *longer = prepare("bag", "1", "add", 3);
    longer->rpc.timeout_ms = 30000;
    send_off(longer);
    stage.w.outage_until_ns = 0;
    pass_ms(4000);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SERVING);
    assert_status(longer, TROUPE_OK);
    assert_int_equal(tokens("1"), 2);
}

static void the_lease_is_checked_after_the_handler(void **state)
{
    (void)state;
    call("1", "add", 1);
    pass_ms(3000);
    stage.w.outage_until_ns = UINT64_MAX;
    pass_ms(2000);
    struct ask *a = prepare("bag", "1", "add", 2);
    a->rpc.timeout_ms = 60000;
    assert_int_equal(runtime_request_init(&a->request, &a->arena, &a->rpc), 0);
    runtime_step(stage.w.rt, stage.w.now,
                 &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &a->request});
    stage.w.now.mono_ns += 20000 * WORLD_MS; /* the process is frozen right after its handler */
    stage.w.now.wall_ms += 20000;
    world_step(&stage.w, &(struct runtime_event){.type = RUNTIME_WAKE});
    assert_false(a->answered);
    stage.w.outage_until_ns = 0;
    pass_ms(4000);
    assert_status(a, TROUPE_OK); /* the store has confirmed the epochs: it stands */
}

/* What only the store knows is refused at once, with the reason; or when no answer has come. */
static void questions_to_the_store_tell_that_it_is_away(void **state)
{
    (void)state;
    stage.w.outage_until_ns = UINT64_MAX;
    pass_ms(2000);
    struct ask *owners = send_off(prepare("$node", "self", "owners", 0));
    assert_status(owners, TROUPE_UNAVAILABLE);
    assert_true(says(owners, "the store cannot be reached: simulated"));
    stage.w.outage_until_ns = 0;
    pass_ms(2000);
    owners = send_off(prepare("$node", "self", "owners", 0));
    lose_the_last_answer(STORE_OWNERS);
    pass_ms(2100);
    assert_status(owners, TROUPE_UNAVAILABLE);
    assert_true(says(owners, "the store has not answered in time"));
}

/* ---- the store answers, but does not do it ---- */

static void refuse(enum store_op op, int error)
{
    stage.w.broken_op = op;
    stage.w.broken_error = error;
    stage.w.warns_n = 0;
}

/* Renewals succeed all the while, and do not make it look well; one line tells. */
static void a_store_that_refuses_to_save_is_told_of(void **state)
{
    static const int errors[] = {TROUPE_EVERSION, TROUPE_ENOMEM, TROUPE_ECLOSED, TROUPE_ENOTFOUND};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        pass_ms(2000);
        assert_true(stats().store_ok);
        refuse(STORE_SAVE, errors[i]);
        call("1", "put", i + 1);
        for (int k = 0; k < 10; k++) {
            pass_ms(600);
            assert_false(stats().store_ok);
        }
        assert_int_equal(stage.w.warns_n, 1);
        assert_int_equal(stage.w.fx.phase, RUNTIME_SERVING);
        refuse(STORE_SAVE, 0);
        pass_ms(4000);
        assert_true(stats().store_ok);
        assert_int_equal(stats().entities_dirty, 0);
    }
}

static void a_store_that_refuses_renewals_is_told_of(void **state)
{
    (void)state;
    refuse(STORE_RENEW, TROUPE_EVERSION);
    pass_ms(4000);
    assert_false(stats().store_ok);
    assert_int_equal(stage.w.warns_n, 1);
    refuse(STORE_RENEW, 0);
    pass_ms(4000);
    assert_true(stats().store_ok);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SERVING);
}

/* A load that nobody waits for any more is not tried again: its refusal is forgotten. */
static void a_refusal_that_is_not_repeated_is_forgotten(void **state)
{
    (void)state;
    refuse(STORE_LOAD, TROUPE_EVERSION);
    struct ask *a = call("1", "list", 0);
    pass_ms(2100);
    assert_status(a, TROUPE_UNAVAILABLE);
    assert_true(says(a, "simulated"));
    assert_false(stats().store_ok);
    refuse(STORE_LOAD, 0);
    pass_ms(32000);
    assert_true(stats().store_ok);
}

static void the_start_tells_that_claims_are_refused(void **state)
{
    (void)state;
    open_with(NULL);
    refuse(STORE_CLAIM, TROUPE_EVERSION);
    pass_ms(5000);
    assert_int_equal(stage.w.fx.phase, RUNTIME_STARTING);
    assert_false(stats().store_ok);
    assert_int_equal(stage.w.warns_n, 1);
    refuse(STORE_CLAIM, 0);
    pass_ms(4000);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SERVING);
    assert_true(stats().store_ok);
}

/* What the status says of it: since when it does not work, in ms; 0: it does. */
static uint64_t trouble_ms(const char *doing)
{
    uint64_t ms = 0;
    struct ask *a = send_off(prepare("$node", "self", "status", 0));
    const struct rpc_result *r = result(a);
    Troupe__Rpc__NodeStatus *s =
        troupe__rpc__node_status__unpack(NULL, r->payload.len, r->payload.data);
    assert_non_null(s);
    assert_int_equal(s->store_ok, s->n_store_troubles == 0);
    assert_int_equal(s->store_ok, s->store_error[0] == '\0');
    for (size_t i = 0; i < s->n_store_troubles; i++) {
        assert_string_not_equal(s->store_troubles[i]->why, "");
        if (strcmp(s->store_troubles[i]->doing, doing) == 0)
            ms = s->store_troubles[i]->for_ms;
    }
    troupe__rpc__node_status__free_unpacked(s, NULL);
    return ms;
}

/* A full disk, a locked table: all else works meanwhile, and does not make it look well. */
static void saves_that_fail_show_while_all_else_works(void **state)
{
    static const int errors[] = {TROUPE_EIO, TROUPE_ETIMEOUT, TROUPE_EUNAVAILABLE, TROUPE_EOUTCOME};
    char id[16];
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        refuse(STORE_SAVE, errors[i]);
        call("1", "put", i + 1);
        pass_ms(100);
        for (uint64_t k = 1; k <= 4; k++) {
            snprintf(id, sizeof id, "cold%zu.%u", i, (unsigned)k);
            struct ask *cold = call(id, "list", 0);
            pass_ms(1200);
            assert_status(cold, TROUPE_OK);
            assert_false(stats().store_ok);
            assert_in_range(trouble_ms("saving entities"), k * 1200, k * 1250 + 100);
            assert_int_equal(trouble_ms("renewing the lease"), 0);
        }
        assert_int_equal(stage.w.warns_n, 1);
        refuse(STORE_SAVE, 0);
        pass_ms(4000);
        assert_true(stats().store_ok);
        assert_int_equal(trouble_ms("saving entities"), 0);
    }
}

/* And the other way round. */
static void renewals_that_fail_show_while_all_else_works(void **state)
{
    (void)state;
    pass_ms(2000);
    refuse(STORE_RENEW, TROUPE_EIO);
    pass_ms(1500);
    for (uint64_t k = 0; k < 4; k++) {
        call("1", "put", k + 1);
        pass_ms(300);
        assert_false(stats().store_ok);
        assert_in_range(trouble_ms("renewing the lease"), 100, 5000);
        assert_int_equal(trouble_ms("saving entities"), 0);
    }
    assert_int_equal(stage.w.warns_n, 1);
    refuse(STORE_RENEW, 0);
    pass_ms(2000);
    assert_true(stats().store_ok);
}

/* The answers that did not come do, or their connections break. */
static void speak_again(void)
{
    stage.w.broken_silent = false;
    refuse(STORE_SAVE, 0);
    for (size_t i = 0; i < stage.w.flights_n; i++) {
        if (stage.w.flights[i].answer_ns == WORLD_SOME_DAY)
            stage.w.flights[i].answer_ns = stage.w.now.mono_ns + WORLD_MS;
    }
    pass_ms(4000);
}

/* There is no error either, nor ever an answer. */
static void what_hangs_shows(void **state)
{
    static const struct {
        enum store_op op;
        const char *doing, *method;
        uint64_t from_ms;
    } cases[] = {
        {STORE_SAVE, "saving entities", "put", 3000},
        {STORE_LOAD, "loading entities", "list", 3000},
        {STORE_RENEW, "renewing the lease", "list", 5000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        call("1", "add", 1);
        pass_ms(2000);
        assert_true(stats().store_ok);
        refuse(cases[i].op, TROUPE_EUNAVAILABLE);
        stage.w.broken_silent = true;
        call(cases[i].op == STORE_LOAD ? "cold" : "1", cases[i].method, 7);
        pass_ms(cases[i].from_ms - 1500);
        assert_true(stats().store_ok);
        pass_ms(3200);
        assert_false(stats().store_ok);
        assert_in_range(trouble_ms(cases[i].doing), cases[i].from_ms, 8000);
        speak_again();
        if (cases[i].op == STORE_LOAD) /* nobody waits for it any more, so it is not tried again */
            pass_ms(32000);
        assert_true(stats().store_ok);
        assert_int_equal(trouble_ms(cases[i].doing), 0);
    }
}

/* A row that it does not take is that entity's matter. */
static void a_row_that_is_rejected_is_no_fault_of_the_store(void **state)
{
    (void)state;
    refuse(STORE_SAVE, TROUPE_EREJECTED);
    call("1", "put", 1);
    for (int k = 0; k < 10; k++) {
        pass_ms(300);
        assert_true(stats().store_ok);
    }
}

/* Also when it is our store that refuses it, before it has asked a server: that is no word of one
 * that is deposed, which would be asked again for ever. */
static void nor_is_it_after_a_failover(void **state)
{
    (void)state;
    assert_true(store_memory_keep(stage.w.store));
    store_memory_fail_over(stage.w.store);
    pass_ms(5000);
    assert_int_equal(stage.w.fx.phase, RUNTIME_SERVING);
    refuse(STORE_SAVE, TROUPE_EREJECTED);
    struct ask *a = call("1", "put", 1);
    pass_ms(500);
    assert_status(a, TROUPE_ABORTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(starts_on_first_use_and_answers_from_memory),
        TEST(refuses_what_it_does_not_know),
        TEST(a_batch_is_answered_when_all_of_it_is),
        TEST(get_shows_the_state_of_what_exists),
        TEST(the_node_tells_about_itself),
        TEST(durable_replies_wait_for_the_commit),
        TEST(a_caller_can_ask_for_durable),
        TEST(durable_calls_share_commits),
        TEST(changes_are_persisted_within_the_interval),
        TEST(a_restart_warms_what_was_in_use),
        TEST(a_clean_stop_loses_nothing),
        TEST(idle_entities_stop_persisted_and_come_back),
        TEST(stop_and_delete_persist_first),
        TEST(a_retry_gets_the_first_reply),
        TEST(a_refusal_is_remembered_if_it_is_a_change),
        TEST(a_retry_after_a_delete_is_not_executed_again),
        TEST(a_clock_that_is_ahead_is_refused),
        TEST(strangers_have_nothing_executed),
        TEST(a_store_that_was_replaced_ends_the_node),
        TEST(a_crash_goes_back_to_what_is_persisted),
        TEST(a_crash_aborts_what_was_not_yet_sent_to_the_store),
        TEST(crashing_too_often_is_quarantined),
        TEST(casts_leave_with_the_commit),
        TEST(an_aborted_change_sends_nothing),
        TEST(calls_between_entities_are_answered),
        TEST(timers_fire_once),
        TEST(full_mailboxes_refuse),
        cmocka_unit_test_teardown(the_coldest_go_when_there_are_too_many, tear_down),
        TEST(what_is_dropped_while_it_loads_is_freed),
        TEST(what_is_dropped_while_it_is_saved_is_freed),
        TEST(memory_calls_go_on_without_the_store),
        TEST(past_the_lease_calls_wait_and_nothing_is_lost),
        TEST(the_lease_is_checked_after_the_handler),
        TEST(questions_to_the_store_tell_that_it_is_away),
        TEST(a_store_that_refuses_to_save_is_told_of),
        TEST(a_store_that_refuses_renewals_is_told_of),
        TEST(a_refusal_that_is_not_repeated_is_forgotten),
        cmocka_unit_test_teardown(the_start_tells_that_claims_are_refused, tear_down),
        TEST(saves_that_fail_show_while_all_else_works),
        TEST(renewals_that_fail_show_while_all_else_works),
        TEST(what_hangs_shows),
        TEST(a_row_that_is_rejected_is_no_fault_of_the_store),
        TEST(nor_is_it_after_a_failover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
