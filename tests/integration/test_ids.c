/* Request ids against a real node: clients whose clocks are wrong, many clients, attempts that come
 * late, and what is deleted. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/name.h"
#include "tests/integration/node_proc.h"
#include "troupe/status.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { CLI_TIMEOUT_MS = 60000, FRAME_BYTES = 512 };

static char dir[64], address[NODE_ADDRESS_BYTES], listen_on[NODE_ADDRESS_BYTES];
static struct proc node = {.out = -1}, cli = {.out = -1};
static nng_socket socket_;
static char text[NODE_REPLY_BYTES];

static void start_node(void)
{
    proc_close(&node);
    node_start(&node, dir,
               (const char *const[]){"--kinds", TEST_SLATE, "--kinds", NODE_COUNTER, "--listen",
                                     listen_on, NULL});
    node_wait_ready(&node, address);
    socket_ = node_dial(address);
}

static void restart_node(void)
{
    nng_close(socket_);
    node_stop(&node);
    start_node();
}

static int set_up(void **state)
{
    (void)state;
    proc_temp_dir(dir);
    snprintf(listen_on, sizeof listen_on, "127.0.0.1:%d", proc_free_port());
    start_node();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    nng_close(socket_);
    proc_close(&cli);
    proc_close(&node);
    proc_remove_dir(dir);
    return 0;
}

static void run_cli(const char *program)
{
    char variable[NODE_ADDRESS_BYTES + 16];
    snprintf(variable, sizeof variable, "TROUPE_NODE=%s", listen_on);
    proc_close(&cli);
    proc_start(&cli,
               &(struct proc_options){
                   .argv = (const char *const[]){program, "call", "counter/hot", "incr", NULL},
                   .env = (const char *const[]){variable, NULL},
                   .dir = dir});
    int code = proc_wait_exit(&cli, CLI_TIMEOUT_MS);
    proc_has_line(&cli, "");
    if (code != 0)
        fail_msg("exit code %d: %s", code, cli.log);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t drawn(uint64_t ms, uint64_t counter)
{
    return ms << RPC_SEQUENCE_COUNTER_BITS | counter;
}

struct id {
    uint64_t client, sequence, acked;
};

/* Its status; the reply is in text. */
static int call(const char *entity, const char *method, struct id id)
{
    uint8_t frame[FRAME_BYTES];
    struct rpc_call call = {.method = troupe_bytes_of(method), .sequence = id.sequence};
    struct rpc_request request = {
        .timeout_ms = 5000, .client = id.client, .acked = id.acked, .calls = &call, .calls_n = 1};
    const char *why;
    assert_int_equal(name_parse(troupe_bytes_of(entity), &call.kind, &call.id, &why), 0);
    size_t len = rpc_request_size(&request);
    assert_true(len <= sizeof frame);
    rpc_request_encode(&request, frame);
    return node_send_raw(socket_, frame, len, text);
}

static void must(const char *entity, const char *method, struct id id)
{
    int status = call(entity, method, id);
    if (status != TROUPE_OK)
        fail_msg("%s: %s", troupe_status_name(status), text);
}

static uint64_t count(void)
{
    assert_int_equal(node_call(socket_, "counter/hot", "read", "", text), TROUPE_OK);
    const char *digits = strpbrk(text, "0123456789");
    return digits == NULL ? 0 : strtoull(digits, NULL, 10);
}

/* As many others as the entity used to remember, and more. */
static void a_clock_a_day_ahead_closes_nothing_to_others(void **state)
{
    (void)state;
    run_cli(TEST_CLI_TOMORROW);
    for (uint64_t client = 1; client <= 400; client++)
        must("counter/hot", "incr", (struct id){client, drawn(now_ms(), 1), 0});
    assert_int_equal(
        call("counter/hot", "incr", (struct id){500, drawn(now_ms() + 86400000, 1), 0}),
        TROUPE_OUT_OF_RANGE);
    assert_non_null(strstr(text, "not executed: by this request id the client's clock is 86"));
    run_cli(TEST_CLI_TOMORROW);
    restart_node();
    for (uint64_t client = 1001; client <= 1010; client++)
        must("counter/hot", "incr", (struct id){client, drawn(now_ms(), 1), 0});
    for (int i = 0; i < 5; i++)
        run_cli(TEST_CLI);
    assert_int_equal(count(), 1 + 400 + 1 + 10 + 5);
}

/* Clocks within 100 ms, as fast as one connection goes. */
static void busy_clients_are_not_refused(void **state)
{
    (void)state;
    enum { CLIENTS = 500, CALLS = 8000 };
    static uint64_t last[CLIENTS];
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t c = i * 271 % CLIENTS, id = drawn(now_ms() + c * 73 % 201 - 100, 1);
        last[c] = id > last[c] ? id : last[c] + 1;
        must("counter/hot", "incr", (struct id){c + 1, last[c], last[c]});
    }
    assert_int_equal(count(), CALLS);
}

/* A first attempt that is slower than its own retry, and than the client's next call. */
static void a_late_first_attempt_is_not_executed(void **state)
{
    (void)state;
    struct id slow = {7, drawn(now_ms(), 1), 0}, next = {7, slow.sequence + 1, slow.sequence + 1};
    must("counter/hot", "incr", slow);
    must("counter/hot", "incr", slow);
    assert_int_equal(count(), 1);
    must("counter/hot", "incr", next);
    assert_int_equal(call("counter/hot", "incr", slow), TROUPE_OUT_OF_RANGE);
    restart_node();
    assert_int_equal(call("counter/hot", "incr", slow), TROUPE_OUT_OF_RANGE);
    must("counter/hot", "incr", next);
    assert_int_equal(count(), 2);
}

static void expect_strokes(const char *method, struct id id, const char *strokes)
{
    must("slate/1", method, id);
    assert_string_equal(text, strokes);
}

static void a_retry_after_a_delete_is_not_executed(void **state)
{
    (void)state;
    uint64_t at = now_ms();
    struct id write = {7, drawn(at, 1), 0}, again = {7, drawn(at, 2), 0};
    struct id erase = {8, drawn(at, 3), 0}, anew = {9, drawn(at, 4), 0};
    expect_strokes("write", write, "1");
    expect_strokes("write", again, "2");
    expect_strokes("erase", erase, "2");
    expect_strokes("write", again, "2");
    expect_strokes("erase", erase, "2");
    restart_node();
    expect_strokes("write", again, "2");
    expect_strokes("erase", erase, "2");
    expect_strokes("write", anew, "1");
    expect_strokes("write", write, "1");
    expect_strokes("erase", erase, "2");
    expect_strokes("write", (struct id){7, drawn(at, 9), 0}, "2");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_clock_a_day_ahead_closes_nothing_to_others),
        TEST(busy_clients_are_not_refused),
        TEST(a_late_first_attempt_is_not_executed),
        TEST(a_retry_after_a_delete_is_not_executed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
