/* The troupe command against a real node: what it prints, its exit codes, and a load that goes on
 * through the death of the node. */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/node_proc.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { WORDS_MAX = 16, CLI_TIMEOUT_MS = 120000 };

static char dir[64], address[NODE_ADDRESS_BYTES], listen_on[NODE_ADDRESS_BYTES];
static struct proc node = {.out = -1}, cli = {.out = -1};

static void start_node(void)
{
    proc_close(&node); /* of the run before, if it was killed */
    node_start(&node, dir,
               (const char *const[]){"--kinds", NODE_GIGBOOK, "--kinds", NODE_COUNTER, "--name",
                                     "alone", "--listen", listen_on, NULL});
    node_wait_ready(&node, address);
    assert_string_equal(address, listen_on);
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
    proc_close(&cli);
    proc_close(&node);
    proc_remove_dir(dir);
    return 0;
}

static void start_cli(const char *const *words)
{
    char node_variable[NODE_ADDRESS_BYTES + 16];
    const char *argv[WORDS_MAX] = {TEST_CLI};
    int n = 1;
    for (; words[n - 1] != NULL; n++) {
        assert_true(n < WORDS_MAX - 1);
        argv[n] = words[n - 1];
    }
    argv[n] = NULL;
    snprintf(node_variable, sizeof node_variable, "TROUPE_NODE=%s", listen_on);
    proc_close(&cli);
    proc_start(&cli, &(struct proc_options){.argv = argv,
                                            .env = (const char *const[]){node_variable, NULL},
                                            .dir = dir});
}

/* Runs the command to its end; what it printed is in cli.log. */
static int run_cli(const char *const *words)
{
    start_cli(words);
    int code = proc_wait_exit(&cli, CLI_TIMEOUT_MS);
    proc_has_line(&cli, "");
    return code;
}

#define RUN(...) run_cli((const char *const[]){__VA_ARGS__, NULL})

static void expect_output(const char *text)
{
    if (!proc_has_line(&cli, text))
        fail_msg("no line with \"%s\" in:\n%s", text, cli.log);
}

static void a_gig_is_booked(void **state)
{
    (void)state;
    const char *booking = "{\"slot\": \"2026-12-31T20:00Z\", \"user\": \"7\"}";
    assert_int_equal(RUN("get", "venue/42"), 1);
    expect_output("NOT_FOUND: ");
    assert_int_equal(RUN("call", "venue/42", "create", "{\"name\": \"Hall\"}"), 0);
    expect_output("\"created\":true");
    assert_int_equal(RUN("call", "venue/42", "book", booking, "--ack", "durable", "--json"), 0);
    expect_output("{\"status\":\"OK\",\"ack\":\"durable\",");
    assert_int_equal(
        RUN("call", "venue/42", "book", "{\"slot\": \"2026-12-31T20:00Z\", \"user\": \"8\"}"), 1);
    expect_output("ALREADY_EXISTS: ");
    assert_int_equal(RUN("get", "venue/42"), 0);
    expect_output("\"name\":\"Hall\"");
    expect_output("\"user\":\"7\"");
}

static void mistakes_are_explained(void **state)
{
    (void)state;
    assert_int_equal(RUN("call", "venue/42", "bok", "{}"), 1);
    expect_output("UNIMPLEMENTED: ");
    assert_int_equal(RUN("call", "veneu/42", "book", "{}"), 1);
    expect_output("NOT_FOUND: ");
    assert_int_equal(RUN("call", "venue/42", "create", "{\"nmae\": \"Hall\"}"), 1);
    expect_output("INVALID_ARGUMENT: ");
    assert_int_equal(RUN("call", "venue/42", "create", "{\"name\": "), 2);
    expect_output("the payload is not JSON");
    assert_int_equal(RUN("statsu"), 2);
    expect_output("did you mean \"status\"?");
}

static void options_may_come_before_the_command(void **state)
{
    (void)state;
    char node_is[NODE_ADDRESS_BYTES + 16];
    snprintf(node_is, sizeof node_is, "--node=%s", listen_on);
    assert_int_equal(RUN("--node", listen_on, "call", "counter/1", "incr"), 0);
    assert_int_equal(RUN(node_is, "--json", "--timeout", "5s", "get", "counter/1"), 0);
    expect_output("{\"status\":\"OK\"");
    assert_int_equal(RUN("--node", "127.0.0.1:1", "--timeout=100ms", "get", "counter/1"), 3);
    assert_int_equal(RUN("--node", "get"), 2); /* its value; no command */
    assert_int_equal(RUN("--node"), 2);
    assert_int_equal(RUN("--json"), 2);
    assert_int_equal(RUN("--ack", "durable", "call", "counter/1", "incr"), 2);
    expect_output("options follow it");
}

static void the_status_is_shown(void **state)
{
    (void)state;
    assert_int_equal(RUN("call", "counter/1", "incr"), 0);
    assert_int_equal(RUN("status"), 0);
    expect_output("alone: serving");
    expect_output("counter");
    expect_output("4,096 of 4,096 owned");
    expect_output("1 resident");
    expect_output("HEALTHY");
    assert_int_equal(RUN("status", "--json"), 0);
    expect_output("\"entities_resident\":\"1\"");
    start_cli((const char *const[]){"status", "--watch=100ms", NULL});
    for (int i = 0; i < 3; i++)
        assert_non_null(proc_wait_line(&cli, "alone: serving", PROC_TIMEOUT_MS));
    proc_signal(&cli, SIGINT);
    assert_int_equal(proc_wait_exit(&cli, PROC_TIMEOUT_MS), 0); /* of the last look */
    node_stop(&node);
    assert_int_equal(RUN("status", "--timeout", "300ms"), 3);
    expect_output("is it running?");
}

/* A file of increments: round after round over so many counters. */
static void write_increments(const char *name, int rounds, int counters)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < counters; i++)
            fprintf(
                file,
                "{\"entity\": \"counter/%d\", \"method\": \"incr\", \"payload\": {\"by\": 1}}\n",
                i);
    assert_int_equal(fclose(file), 0);
}

static long counter_value(int counter)
{
    char entity[32], text[NODE_REPLY_BYTES];
    snprintf(entity, sizeof entity, "counter/%d", counter);
    assert_int_equal(node_call_once(address, entity, "read", "", text), TROUPE_OK);
    const char *at = strstr(text, "\"value\":\"");
    assert_non_null(at);
    return strtol(at + strlen("\"value\":\""), NULL, 10);
}

static void a_file_is_loaded(void **state)
{
    (void)state;
    write_increments("lines", 100, 200);
    assert_int_equal(RUN("load", "lines"), 0);
    expect_output("20,000 calls: 20,000 OK, 0 failed");
    for (int i = 0; i < 200; i += 37)
        assert_int_equal(counter_value(i), 100);
    assert_int_equal(RUN("load", "lines", "--json", "--batch", "1", "--in-flight", "100"), 0);
    expect_output("\"ok\":20000,\"failed\":0,\"malformed\":0");
    assert_int_equal(counter_value(0), 200);
}

/* The node is killed in the middle of a durable load and started again, three times over: the load
 * ends as if nothing had been, and every increment has happened exactly once. */
static void a_load_survives_the_node(void **state)
{
    (void)state;
    enum { ROUNDS = 300, COUNTERS = 20, KILLS = 3 };
    write_increments("lines", ROUNDS, COUNTERS);
    start_cli((const char *const[]){"load", "lines", "--ack", "durable", "--batch", "4",
                                    "--in-flight", "8", "--timeout", "60s", NULL});
    long seen = 0;
    for (int kill = 0; kill < KILLS; kill++) {
        long until = proc_now_ms() + PROC_TIMEOUT_MS, value;
        while ((value = counter_value(0)) < seen + ROUNDS / 6 && proc_now_ms() < until)
            continue;
        assert_true(value > seen);
        seen = value;
        proc_close(&node); /* SIGKILL */
        start_node();
        assert_true(counter_value(0) >= seen);
    }
    assert_int_equal(proc_wait_exit(&cli, CLI_TIMEOUT_MS), 0);
    expect_output("6,000 calls: 6,000 OK, 0 failed");
    for (int i = 0; i < COUNTERS; i++)
        assert_int_equal(counter_value(i), ROUNDS);
}

int main(void)
{
#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_NODE(a_gig_is_booked),
        WITH_NODE(mistakes_are_explained),
        WITH_NODE(options_may_come_before_the_command),
        WITH_NODE(the_status_is_shown),
        WITH_NODE(a_file_is_loaded),
        WITH_NODE(a_load_survives_the_node),
    };
    return cmocka_run_group_tests_name("cli and node", tests, NULL, NULL);
}
