/* A node's life: it starts, serves, stops cleanly, is killed, comes back. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "node/shell/guardian.h"
#include "storage/store.h"
#include "tests/integration/node_proc.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

static char dir[64], address[NODE_ADDRESS_BYTES], text[NODE_REPLY_BYTES];
static struct proc node;

static int set_up(void **state)
{
    (void)state;
    proc_temp_dir(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proc_close(&node);
    proc_remove_dir(dir);
    return 0;
}

static void start(void)
{
    node_start(&node, dir, (const char *const[]){"--kinds", NODE_COUNTER, "--name", "alone", NULL});
    node_wait_ready(&node, address);
}

static void answers_calls_and_stops_with_0(void **state)
{
    (void)state;
    start();
    assert_int_equal(node_call_once(address, "counter/a", "incr", "{\"by\": 5}", text), TROUPE_OK);
    assert_string_equal(text, "{\"value\":\"5\"}");
    assert_int_equal(node_call_once(address, "$node/self", "status", "", text), TROUPE_OK);
    assert_non_null(strstr(text, "\"state\":\"serving\""));
    node_stop(&node);
}

static void keeps_state_over_a_clean_stop(void **state)
{
    (void)state;
    start();
    assert_int_equal(node_call_once(address, "counter/a", "incr", "{\"by\": 7}", text), TROUPE_OK);
    node_stop(&node);
    start();
    assert_int_equal(node_call_once(address, "counter/a", "read", "", text), TROUPE_OK);
    assert_string_equal(text, "{\"value\":\"7\"}");
    node_stop(&node);
}

/* ---- signals ---- */

/* Whether main has begun: it ignores SIGHUP, and by then holds SIGTERM back. The dynamic linker's
 * time before that is not ours. */
static bool has_begun(pid_t pid)
{
    static const char key[] = "SigIgn:";
    char path[64], status[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    assert_true(proc_read_file(path, status, sizeof status));
    const char *at = strstr(status, key);
    assert_non_null(at);
    return (strtoull(at + strlen(key), NULL, 16) >> (SIGHUP - 1) & 1) != 0;
}

static void stop_after(const char *guardian, int signum, int wait_ms)
{
    long deadline_ms = proc_now_ms() + PROC_TIMEOUT_MS;
    node_start(&node, dir,
               (const char *const[]){"--kinds", NODE_COUNTER, "--name", "alone", "--guardian",
                                     guardian, NULL});
    while (!has_begun(node.pid))
        assert_true(proc_now_ms() < deadline_ms);
    poll(NULL, 0, wait_ms); /* to another moment of its start */
    proc_signal(&node, signum);
    int code = proc_wait_exit(&node, PROC_TIMEOUT_MS);
    if (code != 0)
        fail_msg("signal %d after %d ms, guardian %s: exit code %d\n%s", signum, wait_ms, guardian,
                 code, node.log);
    assert_false(proc_has_line(&node, "died"));
    proc_close(&node);
}

static void a_stop_right_after_the_start_is_clean(void **state)
{
    (void)state;
    signal(SIGHUP, SIG_DFL);
    for (int i = 0; i < 24; i++)
        stop_after(i % 3 == 2 ? "off" : "on", i % 4 == 3 ? SIGINT : SIGTERM, i * i / 6);
}

static pid_t child_of_guardian(void)
{
    char path[64], child[32];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)node.pid, (int)node.pid);
    assert_true(proc_read_file(path, child, sizeof child));
    return (pid_t)strtol(child, NULL, 10);
}

/* With a guardian both of its processes get the signal when a terminal closes. */
static void a_closed_terminal_does_not_stop_it(void **state)
{
    (void)state;
    start();
    proc_signal(&node, SIGHUP);
    assert_int_equal(kill(child_of_guardian(), SIGHUP), 0);
    assert_int_equal(node_call_once(address, "counter/a", "incr", "{\"by\": 5}", text), TROUPE_OK);
    assert_false(proc_has_line(&node, "died"));
    node_stop(&node);
}

/* ---- the guardian buries its dead ---- */

static sqlite3 *open_store(void)
{
    char path[96];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/troupe.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, PROC_TIMEOUT_MS);
    return db;
}

static int read_number(void *number, int columns, char **values, char **names)
{
    (void)columns, (void)names;
    *(long *)number = strtol(values[0], NULL, 10);
    return 0;
}

static long number_of(const char *sql)
{
    long number = -1;
    sqlite3 *db = open_store();
    assert_int_equal(sqlite3_exec(db, sql, read_number, &number, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

static void refuse_claims(void)
{
    sqlite3 *db = open_store();
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TRIGGER refuses BEFORE UPDATE ON partition"
                                  " BEGIN SELECT RAISE(ABORT, 'of the test'); END",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* It registers, but never comes to serve; its guardian gives it up. */
static void who_dies_while_it_starts_is_buried(void **state)
{
    (void)state;
    start();
    node_stop(&node);
    refuse_claims();
    node_start(&node, dir,
               (const char *const[]){"--kinds", NODE_COUNTER, "--name", "alone", "--store-wait",
                                     "300s", NULL});
    for (int i = 0; i <= GUARDIAN_RESTARTS_MAX; i++) {
        assert_non_null(proc_wait_line(&node, "\"msg\":\"starting\"", PROC_TIMEOUT_MS));
        assert_non_null(proc_wait_line(&node, "of the test", PROC_TIMEOUT_MS));
        assert_int_equal(kill(child_of_guardian(), SIGKILL), 0);
    }
    assert_int_equal(proc_wait_exit(&node, PROC_TIMEOUT_MS), NODE_EXIT_FAULT);
    assert_false(proc_has_line(&node, "\"msg\":\"ready\""));
    assert_true(number_of("SELECT generation FROM node_lease") > 1);
    assert_int_equal(number_of("SELECT state FROM node_lease"), STORE_NODE_DEAD);
}

/* The file is there while the node serves: not what an earlier run has left, nor after a crash. */
static void a_ready_file_tells_the_truth(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/ready", dir);
    const char *const options[] = {"--kinds",      NODE_COUNTER, "--name", "alone",
                                   "--ready-file", path,         NULL};
    node_start(&node, dir, options);
    node_wait_ready(&node, address);
    assert_true(proc_wait_file(path, PROC_TIMEOUT_MS));
    refuse_claims();
    assert_int_equal(kill(child_of_guardian(), SIGKILL), 0);
    assert_non_null(proc_wait_line(&node, "of the test", PROC_TIMEOUT_MS)); /* of the next run */
    assert_int_not_equal(access(path, F_OK), 0);
    FILE *f = fopen(path, "w"); /* as if its guardian had been killed, too */
    assert_non_null(f);
    fclose(f);
    assert_int_equal(kill(child_of_guardian(), SIGKILL), 0);
    assert_non_null(proc_wait_line(&node, "\"msg\":\"starting\"", PROC_TIMEOUT_MS));
    assert_non_null(proc_wait_line(&node, "of the test", PROC_TIMEOUT_MS));
    assert_int_not_equal(access(path, F_OK), 0);
    proc_signal(&node, SIGTERM);
    proc_wait_exit(&node, PROC_TIMEOUT_MS);
}

/* It can neither persist nor leave for as long as it is given. */
static void who_ends_with_a_fault_is_buried(void **state)
{
    (void)state;
    sqlite3 *db;
    node_start(&node, dir,
               (const char *const[]){"--kinds", NODE_COUNTER, "--name", "alone", "--stop-timeout",
                                     "500ms", "--drain-timeout", "100ms", NULL});
    node_wait_ready(&node, address);
    db = open_store();
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(node_call_once(address, "counter/a", "incr", "{\"by\": 5}", text), TROUPE_OK);
    proc_signal(&node, SIGTERM);
    assert_non_null(proc_wait_line(&node, "stop-timeout is over", PROC_TIMEOUT_MS));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(proc_wait_exit(&node, PROC_TIMEOUT_MS), NODE_EXIT_FAULT);
    assert_int_equal(number_of("SELECT state FROM node_lease"), STORE_NODE_DEAD);
}

/* Nothing to persist: all that a store that does not answer keeps it from is leaving. */
static void who_has_nothing_to_lose_ends_with_0(void **state)
{
    (void)state;
    sqlite3 *db;
    node_start(&node, dir,
               (const char *const[]){"--kinds", NODE_COUNTER, "--name", "alone", "--stop-timeout",
                                     "500ms", "--drain-timeout", "100ms", NULL});
    node_wait_ready(&node, address);
    db = open_store();
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    proc_signal(&node, SIGTERM);
    int code = proc_wait_exit(&node, PROC_TIMEOUT_MS);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(code, NODE_EXIT_OK);
    assert_true(proc_has_line(&node, "the lease could not be given back"));
    assert_false(proc_has_line(&node, "not everything could be persisted"));
}

/* Too few descriptors even for a loop. */
static void who_cannot_begin_says_why(void **state)
{
    (void)state;
    static const char *const guardians[] = {"on", "off"};
    for (int i = 0; i < 2; i++) {
        for (int limit = 4; limit <= 24; limit++) {
            char command[64];
            snprintf(command, sizeof command, "ulimit -n %d; exec \"$0\" \"$@\"", limit);
            proc_start(&node, &(struct proc_options){
                                  .argv = (const char *const[]){"sh", "-c", command, NODE_PROGRAM,
                                                                "--name", "a", "--guardian",
                                                                guardians[i], "--store", "memory:",
                                                                "--listen", "127.0.0.1:0", NULL},
                                  .env = (const char *const[]){"ASAN_OPTIONS=detect_leaks=0", NULL},
                                  .dir = dir});
            int code = proc_wait_exit(&node, PROC_TIMEOUT_MS);
            bool says = proc_has_line(&node, "ulimit -n") || proc_has_line(&node, "open files");
            if (code != 127 && (!says || code <= 0 || code > 70))
                fail_msg("ulimit -n %d: exit code %d: %s", limit, code, node.log);
            proc_close(&node);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_has_nothing_to_lose_ends_with_0, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_cannot_begin_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_calls_and_stops_with_0, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_state_over_a_clean_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_right_after_the_start_is_clean, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_closed_terminal_does_not_stop_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_dies_while_it_starts_is_buried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ready_file_tells_the_truth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_ends_with_a_fault_is_buried, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
