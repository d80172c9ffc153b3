/* Gossip's transport among itself and with real nng sockets: frames arrive whole and in order,
 * peers come, go and come back. */
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gossip_link_fixture.h"
#include "node/shell/clock.h"
#include "troupe/error.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { MS = 1000000 };

static struct node a, b, c;

static void test_two_exchange(void **state)
{
    (void)state;
    static const size_t sizes[] = {4, 5, 100, 1400, 8191, 16383, GOSSIP_FRAME_BYTES_MAX};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    size_t bytes = 0;
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    for (uint32_t i = 0; i < SIZES; i++) {
        link_send(&a, b.address, i, sizes[i]);
        link_send(&b, a.address, 100 + i, sizes[i]);
        bytes += sizes[i];
    }
    LINK_WAIT(a.frames == SIZES && b.frames == SIZES);
    assert_int_equal(a.bytes, bytes);
    for (uint32_t i = 0; i < SIZES; i++) {
        assert_int_equal(b.numbers[i], i);
        assert_int_equal(a.numbers[i], 100 + i);
    }
    LINK_WAIT(link_stats(&a).frames_out == SIZES);
    struct gossip_stats s = link_stats(&a);
    assert_int_equal(s.bytes_out, bytes);
    assert_int_equal(s.bytes_in, bytes);
    assert_int_equal(s.frames_in, SIZES);
    assert_int_equal(s.dials, 1);
    assert_int_equal(s.peers, 1);
    assert_int_equal(s.connections_out, 1);
    assert_int_equal(s.connections_in, 1);
    assert_int_equal(s.dropped + s.lost + s.expired + s.malformed + s.oversized, 0);
    link_close(&a);
    link_close(&b);
}

static void test_an_empty_frame_is_one(void **state)
{
    (void)state;
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    gossip_send(a.g, b.address, troupe_bytes(NULL, 0), 0);
    link_send(&a, b.address, 7, 4);
    LINK_WAIT(b.frames == 2);
    assert_int_equal(b.bytes, 4);
    link_close(&b);
    link_close(&a);
}

static void test_three_exchange(void **state)
{
    (void)state;
    struct node *nodes[] = {&a, &b, &c};
    for (int i = 0; i < 3; i++)
        link_open(nodes[i], (struct gossip_options){0});
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < 3; i++)
            for (uint32_t j = 0; j < 3; j++)
                if (i != j)
                    link_send(nodes[i], nodes[j]->address, round, 50 + round);
        LINK_WAIT(a.frames == 2 * (round + 1) && b.frames == 2 * (round + 1) &&
                  c.frames == 2 * (round + 1));
    }
    for (int i = 0; i < 3; i++)
        link_close(nodes[i]);
}

/* A host name, here one that needs no server; it may have an IPv6 address that nobody listens on.
 */
static void test_names_are_resolved(void **state)
{
    (void)state;
    char name[GOSSIP_ADDRESS_BYTES];
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    snprintf(name, sizeof name, "localhost%s", strrchr(b.address, ':'));
    link_send(&a, name, 1, 4);
    LINK_WAIT(b.frames == 1);
    link_close(&a);
    link_close(&b);
}

/* ---- real nng sockets ---- */

static void test_an_nng_push_socket_feeds_it(void **state)
{
    (void)state;
    char url[GOSSIP_ADDRESS_BYTES + 8];
    uint32_t number = 0x01020304;
    nng_socket push;
    link_open(&a, (struct gossip_options){0});
    snprintf(url, sizeof url, "tcp://%s", a.address);
    assert_int_equal(nng_push0_open(&push), 0);
    assert_int_equal(nng_dial(push, url, NULL, NNG_FLAG_NONBLOCK), 0);
    for (uint32_t i = 1; i <= 100; i++) {
        LINK_WAIT(nng_send(push, &number, sizeof number, NNG_FLAG_NONBLOCK) == 0);
        LINK_WAIT(a.frames == i);
        assert_int_equal(a.numbers[i - 1], number);
    }
    nng_close(push);
    LINK_WAIT(link_stats(&a).connections_in == 0);
    assert_int_equal(link_stats(&a).malformed, 0);
    link_close(&a);
}

static void test_it_feeds_an_nng_pull_socket(void **state)
{
    (void)state;
    char url[GOSSIP_ADDRESS_BYTES + 8], address[GOSSIP_ADDRESS_BYTES];
    uint32_t number;
    size_t len;
    nng_socket pull;
    close(raw_bind(address)); /* a free port */
    snprintf(url, sizeof url, "tcp://%s", address);
    assert_int_equal(nng_pull0_open(&pull), 0);
    assert_int_equal(nng_listen(pull, url, NULL, 0), 0);
    link_open(&a, (struct gossip_options){0});
    for (uint32_t i = 0; i < 100; i++) {
        link_send(&a, address, i, 4);
        LINK_WAIT((len = sizeof number, nng_recv(pull, &number, &len, NNG_FLAG_NONBLOCK)) == 0);
        assert_int_equal(len, 4);
        assert_int_equal(number, i);
    }
    nng_close(pull);
    LINK_WAIT(a.evidence[GOSSIP_RESET] == 1);
    link_close(&a);
}

/* ---- coming and going ---- */

/* Down for so long that the backoff has reached its end. */
static void test_a_restarted_peer_is_heard_again(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    link_send(&a, b.address, 0, 4);
    LINK_WAIT(b.frames == 1);
    memcpy(address, b.address, sizeof address);
    link_close(&b);
    LINK_WAIT(a.evidence[GOSSIP_RESET] == 1);
    assert_string_equal(a.evidence_of, address);
    while (a.evidence[GOSSIP_REFUSED] < 5) {
        link_send(&a, address, 1, 4);
        link_run_once();
    }
    link_open(&b, (struct gossip_options){.address = address});
    uint64_t since = uv_hrtime();
    while (b.frames == 0) {
        link_send(&a, address, 2, 4);
        link_run_once();
    }
    assert_true(uv_hrtime() - since < (GOSSIP_BACKOFF_MAX_MS + 500) * UINT64_C(1000000));
    link_close(&a);
    link_close(&b);
}

static void test_fifty_peers(void **state)
{
    (void)state;
    enum { PEERS = 50, FRAMES = 20 };
    static struct node peers[PEERS];
    link_open(&a, (struct gossip_options){0});
    for (int i = 0; i < PEERS; i++)
        link_open(&peers[i], (struct gossip_options){0});
    for (uint32_t n = 0; n < FRAMES; n++) {
        for (int i = 0; i < PEERS; i++) {
            link_send(&a, peers[i].address, n, 200);
            link_send(&peers[i], a.address, n, 200);
        }
    }
    LINK_WAIT(a.frames == PEERS * FRAMES);
    for (int i = 0; i < PEERS; i++) {
        LINK_WAIT(peers[i].frames == FRAMES);
        for (uint32_t n = 0; n < FRAMES; n++)
            assert_int_equal(peers[i].numbers[n], n);
    }
    assert_int_equal(link_stats(&a).connections_out, PEERS);
    assert_int_equal(link_stats(&a).dials, PEERS);
    for (int i = 0; i < PEERS; i++)
        link_close(&peers[i]);
    link_close(&a);
}

/* Not sent since it is late: nobody is even dialled. Or late by the time its turn comes. */
static void test_expired_frames_are_not_sent(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    uint64_t now = clock_now().mono_ns;
    int fd = raw_bind(address);
    link_open(&a, (struct gossip_options){.backoff_min_ms = 100, .backoff_max_ms = 100});
    link_send_until(&a, address, 1, now - 1);
    assert_int_equal(link_stats(&a).expired, 1);
    assert_int_equal(link_stats(&a).dials, 0);
    link_send_until(&a, address, 2, now + 50 * MS);
    link_send_until(&a, address, 3, now + 3600000 * (uint64_t)MS);
    link_send_until(&a, address, 4, 0);
    LINK_WAIT(a.evidence[GOSSIP_REFUSED] == 1 && clock_now().mono_ns > now + 50 * MS);
    close(fd);
    link_open(&b, (struct gossip_options){.address = address});
    LINK_WAIT(b.frames == 2);
    assert_int_equal(b.numbers[0], 3);
    assert_int_equal(b.numbers[1], 4);
    assert_int_equal(link_stats(&a).expired, 2);
    link_close(&a);
    link_close(&b);
}

/* ---- limits ---- */

static void test_idle_peers_are_closed(void **state)
{
    (void)state;
    link_open(&a, (struct gossip_options){.idle_ms = 100});
    link_open(&b, (struct gossip_options){0});
    link_send(&a, b.address, 1, 4);
    LINK_WAIT(b.frames == 1);
    LINK_WAIT(link_stats(&a).peers == 0);
    LINK_WAIT(link_stats(&b).connections_in == 0);
    assert_int_equal(link_stats(&b).malformed, 0);
    assert_int_equal(a.evidence[GOSSIP_RESET], 0);
    link_send(&a, b.address, 2, 4);
    LINK_WAIT(b.frames == 2);
    link_close(&a);
    link_close(&b);
}

static void test_the_peer_unused_for_longest_makes_room(void **state)
{
    (void)state;
    enum { PEERS = 5, LIMIT = 3 };
    static struct node peers[PEERS];
    link_open(&a, (struct gossip_options){.peers_max = LIMIT});
    for (uint32_t i = 0; i < PEERS; i++) {
        link_open(&peers[i], (struct gossip_options){0});
        link_send(&a, peers[i].address, i, 4);
        LINK_WAIT(peers[i].frames == 1);
        link_send(&a, peers[0].address, i, 4); /* stays in use */
        LINK_WAIT(peers[0].frames == i + 2);
        LINK_WAIT(link_stats(&a).frames_out == 2 * (i + 1));
    }
    assert_int_equal(link_stats(&a).peers, LIMIT);
    assert_int_equal(link_stats(&a).connections_out, LIMIT);
    LINK_WAIT(link_stats(&peers[1]).connections_in == 0);
    LINK_WAIT(link_stats(&peers[2]).connections_in == 0);
    assert_int_equal(link_stats(&peers[0]).connections_in, 1);
    assert_int_equal(link_stats(&a).dials, PEERS);
    for (int i = 0; i < PEERS; i++)
        link_close(&peers[i]);
    link_close(&a);
}

/* One with something to send stays, though it is unused for longer; unless all have. */
static void test_an_idle_peer_makes_room_first(void **state)
{
    (void)state;
    char busy[GOSSIP_ADDRESS_BYTES], busy_too[GOSSIP_ADDRESS_BYTES];
    int fd = raw_bind(busy), fd_too = raw_bind(busy_too);
    link_open(&a, (struct gossip_options){.peers_max = 2});
    link_open(&b, (struct gossip_options){0});
    link_send(&a, busy, 1, 4);
    link_send(&a, b.address, 2, 4);
    LINK_WAIT(b.frames == 1 && link_stats(&a).frames_out == 1);
    link_send(&a, busy_too, 3, 4);
    LINK_WAIT(link_stats(&b).connections_in == 0);
    assert_int_equal(link_stats(&a).dropped, 0);
    link_send(&a, b.address, 4, 4);
    LINK_WAIT(b.frames == 2);
    assert_int_equal(link_stats(&a).dropped, 1);
    assert_int_equal(link_stats(&a).peers, 2);
    link_close(&a);
    link_close(&b);
    close(fd);
    close(fd_too);
}

static void test_the_connection_silent_for_longest_makes_room(void **state)
{
    (void)state;
    int fds[4];
    link_open(&a, (struct gossip_options){.incoming_max = 2, .known_host_max = 3});
    for (uint32_t i = 0; i < 3; i++) {
        fds[i] = raw_connect(a.address);
        raw_hello(fds[i], LINK_PUSH);
        if (i < 2) {
            raw_frame(fds[i], i, 4);
            LINK_WAIT(a.frames == i + 1);
        }
    }
    raw_wait_closed(fds[2]); /* the others have only just spoken */
    assert_int_equal(link_stats(&a).turned_away, 1);
    link_run_for(1100);
    raw_frame(fds[0], 2, 4);
    LINK_WAIT(a.frames == 3);
    fds[3] = raw_connect(a.address);
    raw_hello(fds[3], LINK_PUSH);
    raw_frame(fds[3], 3, 4);
    raw_wait_closed(fds[1]);
    LINK_WAIT(a.frames == 4);
    assert_int_equal(link_stats(&a).connections_in, 2);
    assert_int_equal(link_stats(&a).turned_away, 1);
    assert_int_equal(link_stats(&a).crowded_out, 1);
    link_close(&a);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void test_forgotten_peers_are_closed(void **state)
{
    (void)state;
    char address[GOSSIP_ADDRESS_BYTES];
    int fd = raw_bind(address);
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    link_send(&a, b.address, 1, 4);
    LINK_WAIT(b.frames == 1 && link_stats(&a).frames_out == 1);
    gossip_forget(a.g, b.address);
    gossip_forget(a.g, b.address); /* not there any more */
    LINK_WAIT(link_stats(&b).connections_in == 0);
    link_send(&a, address, 2, 4); /* dialled, perhaps refused, and queued */
    gossip_forget(a.g, address);
    assert_int_equal(link_stats(&a).peers, 0);
    assert_int_equal(link_stats(&a).connections_out, 0);
    assert_int_equal(link_stats(&a).dropped, 1);
    assert_int_equal(a.evidence[GOSSIP_RESET] + a.evidence[GOSSIP_REFUSED], 0);
    link_close(&a);
    link_close(&b);
    close(fd);
}

/* ---- opening ---- */

static void test_what_cannot_be_listened_on(void **state)
{
    (void)state;
    char errmsg[GOSSIP_ERRMSG_BYTES], bound[GOSSIP_ADDRESS_BYTES];
    static char endless[400];
    struct gossip *g;
    link_open(&a, (struct gossip_options){0});
    struct gossip_options o = {.address = a.address};
    assert_int_equal(gossip_open(&g, &link_loop, &o, bound, errmsg), TROUPE_EBUSY);
    assert_non_null(strstr(errmsg, "in use"));
    assert_non_null(strstr(errmsg, a.address));
    memset(endless, 'x', sizeof endless - 1);
    const char *bad[] = {"", "nonsense", "127.0.0.1:99999", "192.0.2.1:7702", endless};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o.address = bad[i];
        assert_int_not_equal(gossip_open(&g, &link_loop, &o, bound, errmsg), 0);
        assert_non_null(strstr(errmsg, "cannot listen for gossip"));
    }
    link_close(&a);
}

static void test_what_cannot_be_dialled(void **state)
{
    (void)state;
    char endless[GOSSIP_ADDRESS_BYTES + 20];
    memset(endless, 'x', sizeof endless);
    memcpy(endless + sizeof endless - 3, ":1", 3);
    const char *bad[] = {"",          ":1",           "host",          "host:",       "host:0",
                         "host:x",    "host:65536",   "host:1 ",       "ho st:1",     "host:-1",
                         "tcp://h:1", "h/../x:1",     "[::1",          "[::1]",       "[]:1",
                         "[::1]x:1",  "[fe80::1%]:1", "h:00000000001", "user@host:1", endless};
    link_open(&a, (struct gossip_options){0});
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        link_send(&a, bad[i], i, 4);
        assert_int_equal(link_stats(&a).bad_addresses, i + 1);
    }
    assert_int_equal(link_stats(&a).peers, 0);
    link_close(&a);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, link_setup, link_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_two_exchange),
        TEST(test_an_empty_frame_is_one),
        TEST(test_three_exchange),
        TEST(test_names_are_resolved),
        TEST(test_an_nng_push_socket_feeds_it),
        TEST(test_it_feeds_an_nng_pull_socket),
        TEST(test_a_restarted_peer_is_heard_again),
        TEST(test_fifty_peers),
        TEST(test_expired_frames_are_not_sent),
        TEST(test_idle_peers_are_closed),
        TEST(test_the_peer_unused_for_longest_makes_room),
        TEST(test_an_idle_peer_makes_room_first),
        TEST(test_the_connection_silent_for_longest_makes_room),
        TEST(test_forgotten_peers_are_closed),
        TEST(test_what_cannot_be_listened_on),
        TEST(test_what_cannot_be_dialled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
