/* What the surroundings do to a node: a log that nobody reads, a file that may not grow. It goes
 * on, says so, and stops as it always does. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/node_proc.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { PIPE_BYTES = 4096, STRANGERS = 200, CROWD = 300 };

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

static void count_one(const char *method, enum troupe_status wanted)
{
    int status = node_call_once(address, "counter/a", method, "{\"by\": 1}", text);
    if (status != (int)wanted)
        fail_msg("status %d instead of %d: %s", status, (int)wanted, text);
}

/* Each leaves a line in the log. */
static void come_with_something_else(void)
{
    for (int i = 0; i < STRANGERS; i++) {
        nng_socket s = node_dial(address);
        assert_int_not_equal(node_send_raw(s, "\xff", 1, text), TROUPE_OK);
        nng_close(s);
    }
}

/* Whether it has ended, without a look at what it writes. */
static bool has_ended(void)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)node.pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == node.pid;
}

static void a_log_that_nobody_reads_holds_up_nothing(void **state)
{
    (void)state;
    start();
    assert_true(fcntl(node.out, F_SETPIPE_SZ, PIPE_BYTES) > 0);
    come_with_something_else(); /* more than the pipe has room for */
    count_one("incr_durable", TROUPE_OK);
    proc_signal(&node, SIGTERM);
    long deadline_ms = proc_now_ms() + PROC_TIMEOUT_MS;
    while (!has_ended())
        assert_true(proc_now_ms() < deadline_ms);
    assert_int_equal(proc_wait_exit(&node, PROC_TIMEOUT_MS), 0);
}

/* ---- files that may not grow ---- */

static pid_t child_of_guardian(void)
{
    char path[64], child[32];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)node.pid, (int)node.pid);
    assert_true(proc_read_file(path, child, sizeof child));
    return (pid_t)strtol(child, NULL, 10);
}

static void limit_files(pid_t pid, rlim_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static unsigned long number_in(const char *key)
{
    const char *at = strstr(text, key);
    assert_non_null(at);
    return strtoul(at + strlen(key) + 1, NULL, 10); /* behind a quotation mark, if there is one */
}

/* A node that is alone asks for a long lease with its first renewal: it outlasts what follows. */
static void wait_for_the_long_lease(void)
{
    long deadline_ms = proc_now_ms() + PROC_TIMEOUT_MS;
    do {
        assert_true(proc_now_ms() < deadline_ms);
        assert_int_equal(node_call_once(address, "$node/self", "status", "", text), TROUPE_OK);
    } while (strstr(text, "\"lease_age_ms\":") == NULL ||
             number_in("\"uptime_ms\":") < number_in("\"lease_age_ms\":") + 500);
}

static void a_file_size_limit_is_like_a_full_disk(void **state)
{
    (void)state;
    char wal[96];
    struct stat st;
    start();
    pid_t child = child_of_guardian();
    wait_for_the_long_lease();
    count_one("incr_durable", TROUPE_OK);
    snprintf(wal, sizeof wal, "%s/troupe.db-wal", dir);
    assert_int_equal(stat(wal, &st), 0);
    limit_files(child, (rlim_t)st.st_size);
    count_one("incr_durable", TROUPE_UNAVAILABLE);
    if (strstr(text, "may not grow") == NULL)
        fail_msg("%s", text);
    limit_files(child, RLIM_INFINITY);
    int status;
    long deadline_ms = proc_now_ms() + PROC_TIMEOUT_MS;
    do {
        assert_true(proc_now_ms() < deadline_ms);
        status = node_call_once(address, "counter/a", "incr_durable", "{\"by\": 1}", text);
    } while (status != TROUPE_OK);
    assert_int_equal(child_of_guardian(), child);
    assert_false(proc_has_line(&node, "died"));
    node_stop(&node);
}

/* ---- questions that cost much ---- */

enum {
    QUESTIONS = 4096,
    QUESTION_BATCHES = 40,
    KIB_MAX = 600 << 10 /* sanitizers take their part */
};

static long peak_kib(pid_t pid)
{
    char path[32], status[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    assert_true(proc_read_file(path, status, sizeof status));
    const char *at = strstr(status, "VmHWM:");
    assert_non_null(at);
    return strtol(at + strlen("VmHWM:"), NULL, 10);
}

static uint8_t *question_frame(size_t *len)
{
    static struct rpc_call calls[QUESTIONS];
    for (size_t i = 0; i < QUESTIONS; i++)
        calls[i] = (struct rpc_call){.kind = troupe_bytes_of("$node"),
                                     .id = troupe_bytes_of("self"),
                                     .method = troupe_bytes_of("ring")};
    struct rpc_request request = {.timeout_ms = 20000, .calls = calls, .calls_n = QUESTIONS};
    size_t size = rpc_request_size(&request);
    uint8_t *frame = calloc(1, 12 + size);
    assert_non_null(frame);
    for (int i = 0; i < 8; i++)
        frame[i] = (uint8_t)((size + 4) >> 8 * (7 - i));
    frame[8] = 0x80;
    assert_int_equal(rpc_request_encode(&request, frame + 12), size);
    *len = 12 + size;
    return frame;
}

static void questions_take_neither_memory_nor_time_from_others(void **state)
{
    (void)state;
    size_t len;
    uint8_t *frame = question_frame(&len);
    int fds[4];
    start();
    for (size_t i = 0; i < 4; i++)
        fds[i] = node_connect_plain(address);
    for (size_t i = 0; i < QUESTION_BATCHES; i++) {
        for (size_t at = 0; at < len;) { /* its receive buffers may be full: nobody reads replies */
            ssize_t n = send(fds[i % 4], frame + at, len - at, MSG_NOSIGNAL);
            assert_true(n > 0);
            at += (size_t)n;
        }
        count_one("incr", TROUPE_OK);
    }
    assert_in_range(peak_kib(child_of_guardian()), 1, KIB_MAX);
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
    assert_false(proc_has_line(&node, "lease ran out"));
    free(frame);
    node_stop(&node);
}

/* ---- crowds ---- */

static int connect_and_say_nothing(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static unsigned lines_with(const char *words)
{
    unsigned n = 0;
    for (const char *at = node.log; (at = strstr(at, words)) != NULL; at++)
        n++;
    return n;
}

/* More than there are places, and then more than there are descriptors. */
static void a_silent_crowd_keeps_nobody_out(void **state)
{
    (void)state;
    static int fds[CROWD];
    node_start(&node, dir,
               (const char *const[]){"--kinds", NODE_COUNTER, "--name", "alone",
                                     "--rpc-connections-max", "100", NULL});
    node_wait_ready(&node, address);
    for (int i = 0; i < CROWD; i++)
        fds[i] = connect_and_say_nothing();
    count_one("incr", TROUPE_OK);
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    assert_int_equal(prlimit(child_of_guardian(), RLIMIT_NOFILE, &limit, NULL), 0);
    for (int i = 0; i < CROWD; i++) {
        close(fds[i]);
        fds[i] = connect_and_say_nothing();
    }
    count_one("incr", TROUPE_OK);
    assert_true(proc_has_line(&node, "LimitNOFILE"));
    assert_int_equal(lines_with("LimitNOFILE"), 1);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    node_stop(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_log_that_nobody_reads_holds_up_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_size_limit_is_like_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_crowd_keeps_nobody_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(questions_take_neither_memory_nor_time_from_others, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
