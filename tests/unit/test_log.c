/* Log lines: their form, what is held back, and that nobody waits for the reader. Standard error is
 * a pipe here while a test runs; what went wrong is told on the true one. */
#include <fcntl.h>
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

#include "node/shell/log.h"
#include "node/shell/log_sink.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { MANY = 20000, MESSAGES = 40, HANG_S = 60 };

static int true_stderr = -1, reader = -1;
static char *text; /* what was read */
static size_t text_len;

/* fds: the reader's end, the writer's. */
static void watch(const int fds[2])
{
    true_stderr = dup(STDERR_FILENO);
    reader = fds[0];
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
    log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    alarm(HANG_S); /* who waits for the reader waits for ever */
}

static void watch_pipe(void)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    watch(fds);
}

/* All that is there. */
static void read_on(void)
{
    char bytes[65536];
    ssize_t n;
    while ((n = read(reader, bytes, sizeof bytes)) > 0) {
        text = realloc(text, text_len + (size_t)n + 1);
        assert_non_null(text);
        memcpy(text + text_len, bytes, (size_t)n);
        text_len += (size_t)n;
        text[text_len] = '\0';
    }
}

static int look_away(void **state)
{
    (void)state;
    if (true_stderr < 0)
        return 0;
    log_flush(true);
    dup2(true_stderr, STDERR_FILENO);
    close(true_stderr);
    close(reader);
    true_stderr = reader = -1;
    log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    alarm(0);
    free(text);
    text = NULL;
    text_len = 0;
    return 0;
}

static size_t lines_with(const char *what)
{
    size_t n = 0;
    for (const char *at = text; at != NULL && (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

/* Messages that are each another, so that none is held back as a repetition. */
static const char *message(size_t i)
{
    static char messages[MANY][8];
    snprintf(messages[i], sizeof messages[i], "m%zu", i);
    return messages[i];
}

static void a_line_is_logfmt_or_json(void **state)
{
    (void)state;
    char out[LOG_LINE_BYTES_MAX];
    const struct log_field fields[] = {{"plain", "a-b"}, {"quoted", "a \"b\"\n"}, {"empty", ""}};
    log_format_line(out, LOG_FORMAT_LOGFMT, "T", LOG_LEVEL_WARN, "x y", fields, 3);
    assert_string_equal(out, "ts=T level=warn msg=\"x y\" plain=a-b quoted=\"a \\\"b\\\"\\n\"\n");
    log_format_line(out, LOG_FORMAT_JSON, "T", LOG_LEVEL_INFO, "x\xff", fields, 1);
    assert_string_equal(
        out, "{\"ts\":\"T\",\"level\":\"info\",\"msg\":\"x\\\\xff\",\"plain\":\"a-b\"}\n");
}

static void repetitions_are_held_back_and_counted(void **state)
{
    (void)state;
    watch_pipe();
    for (int i = 0; i < LOG_BURST + 7; i++)
        log_line(LOG_LEVEL_WARN, "again", NULL);
    log_flush(true);
    read_on();
    assert_int_equal(lines_with("msg=again"), LOG_BURST);
    assert_int_equal(lines_with("msg=\"held back\" lines=7 like=again"), 1);
}

static void what_finds_no_room_waits_for_it(void **state)
{
    (void)state;
    watch_pipe();
    assert_true(fcntl(reader, F_SETPIPE_SZ, 4096) > 0);
    for (size_t i = 0; i < MESSAGES; i++)
        log_line(LOG_LEVEL_WARN, message(i), "filler",
                 "0123456789012345678901234567890123456789"
                 "0123456789012345678901234567890123456789",
                 NULL);
    read_on();
    assert_true(lines_with("\n") < MESSAGES);
    for (size_t i = 0; i < MESSAGES; i++) {
        log_flush(false);
        read_on();
    }
    assert_int_equal(lines_with("\n"), MESSAGES);
    assert_int_equal(lines_with("lost"), 0);
}

static void expect_all_or_told(void)
{
    char *told;
    for (size_t i = 0; i < MANY && lines_with("nobody read them") == 0; i++) {
        log_flush(false);
        read_on();
    }
    assert_int_equal(lines_with("nobody read them\" lines="), 1);
    told = strstr(text, "nobody read them\" lines=");
    size_t lost = strtoul(told + strlen("nobody read them\" lines="), NULL, 10);
    assert_true(lost > 0);
    assert_int_equal(lines_with("msg=m") + lost, MANY);
}

static void nobody_waits_for_a_reader_who_has_stopped(void **state)
{
    (void)state;
    watch_pipe();
    for (size_t i = 0; i < MANY; i++)
        log_line(LOG_LEVEL_WARN, message(i), NULL);
    expect_all_or_told();
}

static void nor_at_a_socket(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    watch(fds);
    for (size_t i = 0; i < MANY; i++)
        log_line(LOG_LEVEL_WARN, message(i), NULL);
    expect_all_or_told();
}

/* Standard error is others', too: they find it as they knew it. */
static void the_descriptor_stays_as_it_was(void **state)
{
    (void)state;
    watch_pipe();
    log_line(LOG_LEVEL_WARN, "one", NULL);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

static void a_reader_that_has_gone_is_no_loss(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* as the node does */
    watch_pipe();
    close(reader);
    reader = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < MANY; i++)
        log_line(LOG_LEVEL_WARN, message(i), NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, look_away)
    const struct CMUnitTest tests[] = {
        TEST(a_line_is_logfmt_or_json),
        TEST(repetitions_are_held_back_and_counted),
        TEST(what_finds_no_room_waits_for_it),
        TEST(nobody_waits_for_a_reader_who_has_stopped),
        TEST(nor_at_a_socket),
        TEST(the_descriptor_stays_as_it_was),
        TEST(a_reader_that_has_gone_is_no_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
