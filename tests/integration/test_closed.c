/* Programs that are started without standard input, output or error. What they open then must not
 * get those numbers: lines for the log would go into it, and libuv aborts as it closes it. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/node_proc.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { COMMAND_BYTES = 64, LINK_BYTES = 64 };

static const char *const ways[] = {"<&-", ">&-", "2>&-", "<&- >&- 2>&-"};

static char dir[64], text[NODE_REPLY_BYTES];
static struct proc proc;

static int set_up(void **state)
{
    (void)state;
    proc_temp_dir(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proc_close(&proc);
    proc_remove_dir(dir);
    return 0;
}

/* The program is the command's $0, its arguments follow. */
static void start_closed(const char *way, const char *const *program)
{
    char command[COMMAND_BYTES];
    const char *argv[24] = {"sh", "-c", command};
    snprintf(command, sizeof command, "exec \"$0\" \"$@\" %s", way);
    for (size_t n = 3; *program != NULL && n < 23; n++)
        argv[n] = *program++;
    proc_start(&proc, &(struct proc_options){.argv = argv, .dir = dir});
}

/* Where one of its descriptors leads. */
static void read_descriptor(int fd, char link[LINK_BYTES])
{
    char path[LINK_BYTES];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)proc.pid, fd);
    ssize_t n = readlink(path, link, LINK_BYTES - 1);
    link[n < 0 ? 0 : n] = '\0';
}

/* Those that were closed lead to /dev/null, and the others to where they led: our pipe. */
static void assert_filled(const char *way)
{
    static const char *const closes[] = {"<&-", " >&-", "2>&-"};
    char link[LINK_BYTES], padded[COMMAND_BYTES];
    snprintf(padded, sizeof padded, " %s", way);
    for (int fd = 0; fd <= 2; fd++) {
        read_descriptor(fd, link);
        if (strstr(padded, closes[fd]) != NULL && strcmp(link, "/dev/null") != 0)
            fail_msg("%s: descriptor %d is %s", way, fd, link);
        if (fd > 0 && strstr(padded, closes[fd]) == NULL && strncmp(link, "pipe:", 5) != 0)
            fail_msg("%s: descriptor %d is %s", way, fd, link);
    }
}

static void a_node_serves_and_stops(const char *way, const char *guardian)
{
    char ready[96], address[NODE_ADDRESS_BYTES];
    snprintf(ready, sizeof ready, "%s/ready", dir);
    start_closed(way, (const char *const[]){NODE_PROGRAM, "--name", "a", "--kinds", NODE_COUNTER,
                                            "--listen", "127.0.0.1:0", "--guardian", guardian,
                                            "--ready-file", ready, NULL});
    if (!proc_wait_file(ready, PROC_TIMEOUT_MS) || !proc_read_file(ready, address, sizeof address))
        fail_msg("%s: does not get ready", way);
    assert_filled(way);
    int status = node_call_once(address, "counter/a", "incr_durable", "{\"by\": 1}", text);
    if (status != TROUPE_OK)
        fail_msg("%s: status %d: %s", way, status, text);
    proc_signal(&proc, SIGTERM);
    int code = proc_wait_exit(&proc, PROC_TIMEOUT_MS);
    if (code != 0)
        fail_msg("%s, guardian %s: exit code %d", way, guardian, code);
    proc_close(&proc);
}

static void nodes_serve_and_stop(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        a_node_serves_and_stops(ways[i], "on");
        a_node_serves_and_stops(ways[i], "off");
    }
}

/* Somebody who never answers, so that a command waits. */
static int open_mute(char address[NODE_ADDRESS_BYTES])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(address, NODE_ADDRESS_BYTES, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static void commands_open_nothing_there(void **state)
{
    (void)state;
    char address[NODE_ADDRESS_BYTES];
    int mute = open_mute(address);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        start_closed(ways[i], (const char *const[]){TEST_CLI, "status", "--node", address,
                                                    "--timeout", "60s", NULL});
        int peer = accept(mute, NULL, NULL); /* by then it has opened what it opens */
        assert_true(peer >= 0);
        assert_filled(ways[i]);
        proc_close(&proc);
        close(peer);
    }
    close(mute);
}

/* Filling the gap must not make the loss of output a success. */
static void output_that_has_nowhere_to_go_is_an_error(void **state)
{
    (void)state;
    start_closed(">&-", (const char *const[]){TEST_CLI, "--version", NULL});
    assert_int_not_equal(proc_wait_exit(&proc, PROC_TIMEOUT_MS), 0);
    assert_true(proc_has_line(&proc, "standard output"));
    proc_close(&proc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nodes_serve_and_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commands_open_nothing_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(output_that_has_nowhere_to_go_is_an_error, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
