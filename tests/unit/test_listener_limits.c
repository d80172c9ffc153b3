/* What a careless or hostile sender may take of the listener: time for a handshake and for a frame,
 * memory. And what it need not fear: that it loses replies since it has nothing more to say. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shell_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { DRIP_MS = 50, DRIPS = 100, STALLED_MS = 400, ANNOUNCERS = 31 };

static struct shell_fixture node;

/* Waits a moment; whether the node has closed the connection by then. What comes is dropped. */
static bool closed_in(int fd, int ms)
{
    char bytes[64];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, ms) > 0) {
        if (recv(fd, bytes, sizeof bytes, 0) <= 0)
            return true;
        ms = DRIP_MS;
    }
    return false;
}

/* A byte now and then, up to len; whether it is cut off before the last one. */
static bool cut_off_while_dripping(int fd, const uint8_t *bytes, size_t len, int pause_ms)
{
    for (size_t i = 0; i < len; i++) {
        if (send(fd, bytes + i, 1, MSG_NOSIGNAL) != 1 || closed_in(fd, pause_ms))
            return true;
    }
    return false;
}

static void expect_echo(int fd, uint32_t id, size_t len)
{
    struct shell_frame frame;
    assert_true(shell_recv(fd, &frame));
    assert_int_equal(shell_frame_id(&frame), id);
    assert_int_equal(frame.reply.results_n, 1);
    assert_int_equal(frame.reply.results[0].status, TROUPE_OK);
    assert_int_equal(frame.reply.results[0].payload.len, len);
    shell_frame_free(&frame);
}

/* ---- time ---- */

static void a_whole_handshake_has_one_deadline(void **state)
{
    (void)state;
    static const uint8_t hello[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    shell_start(&node, (struct rpc_options){.hello_ms = STALLED_MS});
    int fd = shell_connect(&node);
    assert_true(cut_off_while_dripping(fd, hello, sizeof hello, 3 * DRIP_MS));
    close(fd);
    shell_stop(&node);
}

static void a_whole_frame_has_one_deadline(void **state)
{
    (void)state;
    uint8_t bytes[DRIPS] = {0, 0, 0, 0, 0, 0, 8, 0};
    shell_start(&node, (struct rpc_options){.stalled_ms = STALLED_MS});
    int fd = shell_dial(&node), other = shell_dial(&node);
    assert_true(cut_off_while_dripping(fd, bytes, sizeof bytes, DRIP_MS));
    close(fd);
    shell_send(other, 1, "echo", "x", 1); /* between frames there is no hurry */
    expect_echo(other, 1, 1);
    close(other);
    shell_stop(&node);
}

static void a_large_frame_has_as_long_as_it_takes_at_a_fair_rate(void **state)
{
    (void)state;
    static uint8_t frame[(64 << 10) + 256];
    static char payload[64 << 10];
    shell_start(&node, (struct rpc_options){.stalled_ms = STALLED_MS});
    int fd = shell_dial(&node);
    size_t len = shell_frame(frame, sizeof frame, 5, "echo", payload, sizeof payload);
    for (size_t at = 0; at < len; at += 4096) {
        shell_write(fd, frame + at, len - at < 4096 ? len - at : 4096);
        assert_false(closed_in(fd, at + 4096 < len ? DRIP_MS : 0));
    }
    expect_echo(fd, 5, sizeof payload);
    close(fd);
    shell_stop(&node);
}

/* ---- memory ---- */

static void memory_is_taken_by_what_has_come(void **state)
{
    (void)state;
    static const uint8_t head[12] = {0, 0, 0, 0, 2, 0, 0, 0, 0x80}; /* 32 MiB are said to come */
    static char payload[1 << 20];
    int fds[ANNOUNCERS];
    shell_start(&node, (struct rpc_options){.memory_max = 8 << 20});
    for (int i = 0; i < ANNOUNCERS; i++) {
        fds[i] = shell_dial(&node);
        shell_write(fds[i], head, sizeof head);
    }
    int fd = shell_dial(&node);
    shell_send(fd, 1, "echo", payload, sizeof payload);
    expect_echo(fd, 1, sizeof payload);
    for (int i = 0; i < ANNOUNCERS; i++) {
        assert_false(closed_in(fds[i], 0));
        close(fds[i]);
    }
    close(fd);
    shell_stop(&node);
}

/* ---- the end of what a client says ---- */

static void replies_come_after_a_half_close(void **state)
{
    (void)state;
    enum { REPLIES = 6, BYTES = 4 << 20 }; /* more than the sockets hold */
    shell_start(&node, (struct rpc_options){0});
    int fd = shell_dial(&node);
    for (uint32_t i = 0; i < REPLIES; i++)
        shell_send(fd, i, "make", "4194304", 7);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    bool seen[REPLIES] = {false};
    for (uint32_t i = 0; i < REPLIES; i++) {
        struct shell_frame frame;
        assert_true(shell_recv(fd, &frame));
        assert_int_equal(frame.reply.results[0].payload.len, BYTES);
        uint32_t id = shell_frame_id(&frame);
        assert_true(id < REPLIES && !seen[id]);
        seen[id] = true;
        shell_frame_free(&frame);
    }
    assert_true(shell_hangs_up(fd)); /* there is nothing more to say */
    close(fd);

    fd = shell_dial(&node); /* nothing was asked */
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(shell_hangs_up(fd));
    close(fd);
    shell_stop(&node);
}

/* words of others before the request id */
static void send_through(int fd, uint32_t id, size_t words)
{
    uint8_t frame[256], routed[512] = {0};
    size_t len = shell_frame(frame, sizeof frame, id, "echo", "x", 1);
    size_t body = len - 8 + 4 * words;
    routed[6] = (uint8_t)(body >> 8);
    routed[7] = (uint8_t)body;
    for (size_t i = 0; i < words; i++)
        routed[8 + 4 * i + 3] = (uint8_t)i;
    memcpy(routed + 8 + 4 * words, frame + 8, len - 8);
    shell_write(fd, routed, 8 + body);
}

static void too_many_devices_cost_the_message_alone(void **state)
{
    (void)state;
    shell_start(&node, (struct rpc_options){0});
    int fd = shell_dial(&node);
    send_through(fd, 1, 8);
    send_through(fd, 2, 40);
    send_through(fd, 3, 7);
    struct shell_frame frame;
    assert_true(shell_recv(fd, &frame));
    assert_int_equal(frame.route_bytes, 32);
    assert_int_equal(frame.route[31], 3);
    shell_frame_free(&frame);
    shell_send(fd, 4, "echo", "x", 1);
    expect_echo(fd, 4, 1);
    close(fd);
    shell_stop(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_handshake_has_one_deadline),
        cmocka_unit_test(a_whole_frame_has_one_deadline),
        cmocka_unit_test(a_large_frame_has_as_long_as_it_takes_at_a_fair_rate),
        cmocka_unit_test(memory_is_taken_by_what_has_come),
        cmocka_unit_test(replies_come_after_a_half_close),
        cmocka_unit_test(too_many_devices_cost_the_message_alone),
    };
    return cmocka_run_group_tests_name("listener limits", tests, NULL, NULL);
}
