/* Gossip's transport against peers that lie, hang, vanish, or were never there; and being closed in
 * the middle of it. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gossip_link_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

static struct node a, b;

/* ---- what comes in ---- */

struct bad_input {
    const char *bytes;
    size_t len;
    bool then_end; /* nothing is wrong until the connection ends */
    uint32_t malformed, oversized;
    uint32_t frames; /* that arrive before */
};

#define HELLO      "\0SP\0\0\x50\0\0"
#define GOOD_FRAME "\0\0\0\0\0\0\0\4\1\0\0\0"
#define INPUT(s)   .bytes = (s), .len = sizeof(s) - 1

static void test_bad_input_costs_its_connection(void **state)
{
    (void)state;
    static const struct bad_input inputs[] = {
        {INPUT("GET / HTTP/1.1\r\n\r\n"), .malformed = 1},
        {INPUT("\0SP\0\0\x30\0\0"), .malformed = 1}, /* a REQ socket */
        {INPUT("\0SQ"), .malformed = 1},
        {INPUT("\0SP\0"), .then_end = true, .malformed = 1},
        {INPUT(""), .then_end = true},
        {INPUT(HELLO), .then_end = true},
        {INPUT(HELLO "\0\0\0"), .then_end = true, .malformed = 1},
        {INPUT(HELLO "\0\0\0\0\0\0\0\x0a"
                     "12345"),
         .then_end = true, .malformed = 1},
        {INPUT(HELLO GOOD_FRAME "\0\0\0\0\0\0\0\x0a"
                                "12345"),
         .then_end = true, .malformed = 1, .frames = 1},
        {INPUT(HELLO "\0\0\0\0\0\0\x40\1"), .oversized = 1},
        {INPUT(HELLO "\xff\xff\xff\xff\xff\xff\xff\xff"), .oversized = 1},
        {INPUT(HELLO GOOD_FRAME "\xff\xff\xff\xff\xff\xff\xff\xf8"), .oversized = 1, .frames = 1},
        {INPUT(HELLO GOOD_FRAME GOOD_FRAME "\1\0\0\0\0\0\0\4abcd"), .oversized = 1, .frames = 2},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        const struct bad_input *in = &inputs[i];
        link_open(&a, (struct gossip_options){0});
        link_open(&b, (struct gossip_options){0});
        int fd = raw_connect(a.address);
        raw_write(fd, in->bytes, in->len);
        if (in->then_end)
            shutdown(fd, SHUT_WR);
        raw_wait_closed(fd);
        close(fd);
        assert_int_equal(link_stats(&a).malformed, in->malformed);
        assert_int_equal(link_stats(&a).oversized, in->oversized);
        assert_int_equal(a.frames, in->frames);
        assert_int_equal(link_stats(&a).connections_in, 0);
        link_send(&b, a.address, 9, 4); /* others are served as ever */
        LINK_WAIT(a.frames == in->frames + 1);
        link_close(&a);
        link_close(&b);
    }
}

static void test_bytes_may_come_one_by_one(void **state)
{
    (void)state;
    static const char bytes[] = HELLO GOOD_FRAME "\0\0\0\0\0\0\0\0" GOOD_FRAME;
    link_open(&a, (struct gossip_options){0});
    int fd = raw_connect(a.address);
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        raw_write(fd, bytes + i, 1);
        link_run_once();
    }
    LINK_WAIT(a.frames == 3);
    assert_int_equal(link_stats(&a).malformed, 0);
    link_close(&a);
    close(fd);
}

static void test_who_stops_halfway_is_closed(void **state)
{
    (void)state;
    link_open(&a, (struct gossip_options){.stalled_ms = 100});
    int silent = raw_connect(a.address), half_hello = raw_connect(a.address);
    int half_frame = raw_connect(a.address), idle = raw_connect(a.address);
    raw_write(half_hello, HELLO, 4);
    raw_write(half_frame, HELLO "\0\0\0\0\0\0\0\4ab", 18);
    raw_hello(idle, LINK_PUSH);
    raw_wait_closed(silent);
    raw_wait_closed(half_hello);
    raw_wait_closed(half_frame);
    assert_int_equal(link_stats(&a).malformed, 2);
    assert_int_equal(link_stats(&a).connections_in, 1);
    raw_frame(idle, 5, 4);
    LINK_WAIT(a.frames == 1);
    link_close(&a);
    close(silent);
    close(half_hello);
    close(half_frame);
    close(idle);
}

enum { FLOOD = 40000 };

static void *flood(void *address)
{
    static const uint8_t hello[8] = {0, 'S', 'P', 0, 0, LINK_PUSH, 0, 0};
    uint8_t theirs[8];
    int fd = raw_connect(address);
    bool whole = send(fd, hello, sizeof hello, MSG_NOSIGNAL) == sizeof hello;
    for (uint32_t i = 0; i < FLOOD && whole; i++) {
        uint8_t frame[12] = {0, 0, 0, 0, 0, 0, 0, 4};
        memcpy(frame + 8, &i, sizeof i);
        whole = send(fd, frame, sizeof frame, MSG_NOSIGNAL) == sizeof frame;
    }
    /* A socket closed with something unread takes back what has not arrived. */
    whole = whole && recv(fd, theirs, sizeof theirs, MSG_WAITALL) == sizeof theirs;
    close(fd);
    return whole ? address : NULL;
}

/* Faster than they are taken: nothing is lost, and somebody else gets through meanwhile. */
static void test_a_flood(void **state)
{
    (void)state;
    pthread_t thread;
    void *whole;
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    pthread_create(&thread, NULL, flood, a.address);
    LINK_WAIT(a.frames > 100);
    link_send(&b, a.address, FLOOD, 4);
    LINK_WAIT(a.frames == FLOOD + 1);
    pthread_join(thread, &whole);
    assert_non_null(whole);
    for (uint32_t i = 0, want = 0; i < a.frames; i++)
        if (a.numbers[i] != FLOOD)
            assert_int_equal(a.numbers[i], want++);
    link_close(&a);
    link_close(&b);
}

/* ---- who is dialled ---- */

static void test_a_refused_peer_is_dialled_ever_less(void **state)
{
    (void)state;
    enum { MIN_MS = 20, MAX_MS = 80, DIALS = 8 };
    char address[GOSSIP_ADDRESS_BYTES];
    uint64_t before = 0, backoff = MIN_MS;
    int fd = raw_bind(address);
    link_open(&a, (struct gossip_options){.backoff_min_ms = MIN_MS, .backoff_max_ms = MAX_MS});
    for (uint32_t i = 1; i <= DIALS; i++) {
        while (a.evidence[GOSSIP_REFUSED] < i) {
            link_send(&a, address, i, 4);
            link_run_once();
        }
        assert_string_equal(a.evidence_of, address);
        if (i > 1) { /* half of it is chance */
            assert_true(a.evidence_ms - before + 3 >= backoff / 2);
            backoff = backoff * 2 < MAX_MS ? backoff * 2 : MAX_MS;
        }
        before = a.evidence_ms;
    }
    struct gossip_stats s = link_stats(&a);
    assert_int_equal(s.dials, DIALS);
    assert_int_equal(s.dial_failures, DIALS);
    assert_int_equal(s.frames_out, 0);
    link_run_for(2 * MAX_MS); /* the queue is full: it goes on by itself */
    assert_true(link_stats(&a).dials > DIALS);
    link_close(&a);
    close(fd);
}

/* Six failures; then one connection that lasts, and the backoff is forgotten. */
static void test_a_good_connection_ends_the_backoff(void **state)
{
    (void)state;
    enum { FAILURES = 6, MIN_MS = 20, NEXT_MS = MIN_MS << FAILURES };
    char address[GOSSIP_ADDRESS_BYTES];
    int listener = raw_bind(address);
    listen(listener, 10);
    link_open(&a, (struct gossip_options){.backoff_min_ms = MIN_MS, .backoff_max_ms = 60000});
    link_send(&a, address, 1, 4);
    for (uint32_t i = 0; i < FAILURES; i++) {
        close(raw_accept(listener));
        LINK_WAIT(a.evidence[GOSSIP_RESET] == i + 1);
    }
    int fd = raw_accept(listener);
    raw_hello(fd, LINK_PULL);
    LINK_WAIT(link_stats(&a).frames_out == 1);
    link_run_for(1100);
    close(fd);
    LINK_WAIT(a.evidence[GOSSIP_RESET] == FAILURES + 1);
    uint64_t since = uv_hrtime();
    link_send(&a, address, 2, 4);
    close(raw_accept(listener));
    assert_true(uv_hrtime() - since < NEXT_MS / 2 * UINT64_C(1000000));
    link_close(&a);
    close(listener);
}

static void test_a_full_queue_drops_the_oldest(void **state)
{
    (void)state;
    enum { LIMIT = 8, SENT = 100 };
    char address[GOSSIP_ADDRESS_BYTES];
    int fd = raw_bind(address);
    link_open(&a, (struct gossip_options){.queue_frames_max = LIMIT});
    for (uint32_t i = 0; i < SENT; i++)
        link_send(&a, address, i, 1000);
    assert_int_equal(link_stats(&a).dropped, SENT - LIMIT);
    LINK_WAIT(a.evidence[GOSSIP_REFUSED] > 0);
    close(fd);
    link_open(&b, (struct gossip_options){.address = address});
    LINK_WAIT(b.frames == LIMIT);
    for (uint32_t i = 0; i < LIMIT; i++)
        assert_int_equal(b.numbers[i], SENT - LIMIT + i);
    link_close(&a);
    link_close(&b);
}

static void test_a_queue_is_limited_in_bytes(void **state)
{
    (void)state;
    enum { FIT = GOSSIP_QUEUE_BYTES_MAX / GOSSIP_FRAME_BYTES_MAX, SENT = FIT + 5 };
    char address[GOSSIP_ADDRESS_BYTES];
    int fd = raw_bind(address);
    link_open(&a, (struct gossip_options){.queue_frames_max = 1000});
    for (uint32_t i = 0; i < SENT; i++)
        link_send(&a, address, i, GOSSIP_FRAME_BYTES_MAX);
    assert_int_equal(link_stats(&a).dropped, SENT - FIT);
    close(fd);
    link_close(&a);
}

/* The kernel accepts for it, and nobody ever says hello. */
static void test_a_peer_that_never_answers(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    int listener = raw_bind(address);
    listen(listener, 10);
    link_open(&a, (struct gossip_options){.connect_timeout_ms = 200, .queue_frames_max = 4});
    link_open(&b, (struct gossip_options){0});
    for (uint32_t i = 0; i < 20; i++) {
        link_send(&a, address, i, 4);
        link_send(&a, b.address, i, 4);
        LINK_WAIT(b.frames == i + 1);
    }
    assert_int_equal(link_stats(&a).dropped, 16);
    LINK_WAIT(a.evidence[GOSSIP_TIMEOUT] == 2);
    assert_string_equal(a.evidence_of, address);
    assert_int_equal(link_stats(&a).frames_out, 20);
    link_close(&a);
    link_close(&b);
    close(listener);
}

/* It says hello and takes nothing: the sockets' buffers fill up, then the queue. */
static void test_a_peer_that_never_reads(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    uint32_t sent = 0;
    int listener = raw_bind(address);
    listen(listener, 10);
    link_open(&a, (struct gossip_options){.stalled_ms = 300, .queue_frames_max = 4});
    link_open(&b, (struct gossip_options){0});
    link_send(&a, address, 0, 4);
    int fd = raw_accept(listener);
    raw_hello(fd, LINK_PULL);
    while (a.evidence[GOSSIP_TIMEOUT] == 0) {
        link_send(&a, address, sent, GOSSIP_FRAME_BYTES_MAX);
        link_send(&a, b.address, sent++, 4);
        LINK_WAIT(b.frames == sent);
    }
    assert_string_equal(a.evidence_of, address);
    assert_true(link_stats(&a).dropped > 0);
    assert_int_equal(link_stats(&a).lost, 1);
    link_close(&a);
    link_close(&b);
    close(fd);
    close(listener);
}

/* It reads little by little: what comes is whole frames in order, less those dropped. */
static void test_a_peer_that_reads_slowly(void **state)
{
    (void)state;
    enum { FRAMES = 1000, WHOLE = 8 + GOSSIP_FRAME_BYTES_MAX };
    static uint8_t bytes[WHOLE];
    char address[GOSSIP_ADDRESS_BYTES];
    uint32_t sent = 0, number, last = 0;
    int small = 4096, listener = raw_bind(address);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    listen(listener, 10);
    link_open(&a, (struct gossip_options){.queue_frames_max = 4});
    link_send(&a, address, ++sent, GOSSIP_FRAME_BYTES_MAX);
    int fd = raw_accept(listener);
    raw_hello(fd, LINK_PULL);
    raw_read(fd, bytes, 8);
    while (last < FRAMES) {
        while (sent < FRAMES && sent < last + 500) {
            link_send(&a, address, ++sent, GOSSIP_FRAME_BYTES_MAX);
            link_run_once();
        }
        raw_read(fd, bytes, WHOLE);
        assert_memory_equal(bytes, "\0\0\0\0\0\0\x40\0", 8);
        memcpy(&number, bytes + 8, sizeof number);
        assert_in_range(number, last + 1, sent);
        for (size_t i = 12; i < WHOLE; i++)
            assert_true(bytes[i] == (uint8_t)(number + i - 8));
        last = number;
    }
    assert_true(link_stats(&a).dropped > 0);
    LINK_WAIT(link_stats(&a).dropped + link_stats(&a).frames_out == FRAMES);
    link_close(&a);
    close(fd);
    close(listener);
}

static void test_a_peer_that_hangs_up(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    struct linger abort = {.l_onoff = 1};
    uint8_t bytes[8 + 12];
    int listener = raw_bind(address);
    listen(listener, 10);
    link_open(&a, (struct gossip_options){.backoff_max_ms = 20});
    link_send(&a, address, 1, 4);
    close(raw_accept(listener)); /* during the handshake */
    LINK_WAIT(a.evidence[GOSSIP_RESET] == 1);
    int fd = raw_accept(listener); /* the frame has not left; it comes now */
    raw_hello(fd, LINK_PULL);
    raw_read(fd, bytes, sizeof bytes);
    assert_memory_equal(bytes, HELLO GOOD_FRAME, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    close(fd);
    LINK_WAIT(a.evidence[GOSSIP_RESET] == 2);
    assert_int_equal(link_stats(&a).dial_failures, 1);
    link_close(&a);
    close(listener);
}

static void test_a_peer_that_speaks_something_else(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    int listener = raw_bind(address);
    listen(listener, 10);
    link_open(&a, (struct gossip_options){.backoff_max_ms = 20});
    link_send(&a, address, 1, 4);
    int rpc = raw_accept(listener);
    raw_hello(rpc, LINK_REP);
    raw_wait_closed(rpc);
    assert_int_equal(link_stats(&a).malformed, 1);
    int talker = raw_accept(listener);
    raw_hello(talker, LINK_PULL);
    raw_write(talker, "hello?", 6); /* who is written to does not write */
    raw_wait_closed(talker);
    assert_int_equal(link_stats(&a).malformed, 2);
    for (int i = GOSSIP_REFUSED; i <= GOSSIP_UNREACHABLE; i++)
        assert_int_equal(a.evidence[i], 0);
    link_close(&a);
    close(rpc);
    close(talker);
    close(listener);
}

/* A connection that looks fine, and whose other end is not there any more. */
static void test_a_connection_given_up_by_hand(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    uint8_t bytes[8 + 12];
    int listener = raw_bind(address), fds[2];
    listen(listener, 10);
    link_open(&a, (struct gossip_options){0});
    for (int i = 0; i < 2; i++) {
        link_send(&a, address, 1, 4);
        gossip_redial(a.g, address); /* while it is dialled */
        fds[i] = raw_accept(listener);
        raw_hello(fds[i], LINK_PULL);
        raw_read(fds[i], bytes, sizeof bytes);
        gossip_redial(a.g, address); /* as good as new */
        assert_int_equal(link_stats(&a).dials, i + 1);
        assert_int_equal(link_stats(&a).connections_out, 1);
        link_run_for(1100);
        gossip_redial(a.g, address);
        assert_int_equal(link_stats(&a).connections_out, 0);
        raw_wait_closed(fds[i]);
    }
    gossip_redial(a.g, "127.0.0.1:1"); /* never heard of */
    assert_int_equal(link_stats(&a).dials, 2);
    assert_int_equal(link_stats(&a).dial_failures + a.evidence[GOSSIP_RESET], 0);
    link_close(&a);
    close(fds[0]);
    close(fds[1]);
    close(listener);
}

/* ---- from within ---- */

static void answer(struct node *n)
{
    link_send(n, n->other->address, n->numbers[n->frames - 1] + 1, 4);
    gossip_forget(n->g, "127.0.0.1:1");
}

static void forget(struct node *n)
{
    gossip_forget(n->g, n->evidence_of);
    link_send(n, n->evidence_of, 1, 4);
}

static bool closed_within;

static void on_closed_within(void *data)
{
    *(bool *)data = true;
}

static void close_within(struct node *n)
{
    gossip_close(n->g, on_closed_within, &closed_within);
    n->g = NULL;
}

static void test_everything_may_be_called_from_callbacks(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    int fd = raw_bind(address);
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    a.on_frame = b.on_frame = answer;
    a.other = &b;
    b.other = &a;
    a.on_evidence = forget;
    link_send(&a, address, 0, 4);
    link_send(&a, b.address, 0, 4);
    LINK_WAIT(a.frames > 100 && a.evidence[GOSSIP_REFUSED] > 10);
    a.on_frame = NULL;
    a.on_evidence = close_within;
    closed_within = false;
    LINK_WAIT(closed_within);
    a.on_evidence = NULL;
    b.on_frame = close_within;
    int feeder = raw_connect(b.address);
    raw_write(feeder, HELLO GOOD_FRAME GOOD_FRAME GOOD_FRAME, 8 + 3 * 12);
    closed_within = false;
    uint32_t before = b.frames;
    LINK_WAIT(closed_within);
    assert_true(b.frames >= before + 1 && b.frames <= before + 2); /* a's last one, at most */
    b.on_frame = NULL;
    close(feeder);
    close(fd);
}

/* ---- closing in the middle ---- */

/* A listener whose backlog is full: the kernel drops what else comes, so that a dial hangs. */
static int black_hole(char address[GOSSIP_ADDRESS_BYTES], int fillers[], int n)
{
    int listener = raw_bind(address);
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    listen(listener, 0);
    getsockname(listener, (struct sockaddr *)&sa, &len);
    for (int i = 0; i < n; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&sa, len);
    }
    return listener;
}

static void test_dialling_a_black_hole(void **state)
{
    (void)state;
    enum { FILLERS = 4 };
    char address[GOSSIP_ADDRESS_BYTES];
    int fillers[FILLERS], hole = black_hole(address, fillers, FILLERS);
    link_open(&a, (struct gossip_options){.connect_timeout_ms = 150});
    link_send(&a, address, 1, 4);
    LINK_WAIT(a.evidence[GOSSIP_TIMEOUT] == 1);
    LINK_WAIT(link_stats(&a).dials == 2);
    link_close(&a); /* while it dials */
    link_open(&a, (struct gossip_options){.connect_timeout_ms = 3600000});
    link_send(&a, address, 1, 4);
    link_run_for(20);
    assert_int_equal(link_stats(&a).connections_out, 1);
    gossip_forget(a.g, address);
    link_send(&a, address, 1, 4);
    link_close(&a);
    close(hole);
    for (int i = 0; i < FILLERS; i++)
        close(fillers[i]);
}

/* Whatever the resolver does, or for how long. */
static void test_closing_while_names_are_resolved(void **state)
{
    (void)state;
    char name[64];
    link_open(&a, (struct gossip_options){.connect_timeout_ms = 50});
    for (uint32_t i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "host-%u.invalid:7702", i);
        link_send(&a, name, i, 4);
    }
    LINK_WAIT(link_stats(&a).dial_failures > 0);
    link_close(&a);
}

/* At any moment of a connection's life. */
static void test_closing_at_any_time(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns++) {
        char address[GOSSIP_ADDRESS_BYTES];
        bool a_closed = false, b_closed = false;
        int fd = raw_bind(address);
        link_open(&a, (struct gossip_options){0});
        link_open(&b, (struct gossip_options){0});
        for (uint32_t i = 0; i < 10; i++) {
            link_send(&a, b.address, i, 1000);
            link_send(&b, a.address, i, GOSSIP_FRAME_BYTES_MAX);
            link_send(&a, address, i, 4);
        }
        for (int i = 0; i < turns / 2; i++)
            link_run_once();
        gossip_close(a.g, on_closed_within, &a_closed);
        if (turns % 2 == 0)
            LINK_WAIT(a_closed);
        gossip_close(b.g, on_closed_within, &b_closed);
        LINK_WAIT(a_closed && b_closed);
        close(fd);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, link_setup, link_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_bad_input_costs_its_connection),
        TEST(test_bytes_may_come_one_by_one),
        TEST(test_who_stops_halfway_is_closed),
        TEST(test_a_flood),
        TEST(test_a_refused_peer_is_dialled_ever_less),
        TEST(test_a_good_connection_ends_the_backoff),
        TEST(test_a_full_queue_drops_the_oldest),
        TEST(test_a_queue_is_limited_in_bytes),
        TEST(test_a_peer_that_never_answers),
        TEST(test_a_peer_that_never_reads),
        TEST(test_a_peer_that_reads_slowly),
        TEST(test_a_peer_that_hangs_up),
        TEST(test_a_peer_that_speaks_something_else),
        TEST(test_a_connection_given_up_by_hand),
        TEST(test_everything_may_be_called_from_callbacks),
        TEST(test_dialling_a_black_hole),
        TEST(test_closing_while_names_are_resolved),
        TEST(test_closing_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
