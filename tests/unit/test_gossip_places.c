/* For whom there is room on the gossip port: a crowd of others costs no node its place. On real
 * sockets of this machine. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gossip_link_fixture.h"
#include "node/shell/gossip_impl.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { CROWD = 1100, BARRAGE = 10, DRIP_MS = 20 };

static struct node a, b, c;
static int fds[CROWD];

/* From 127.0.0.<host>. */
static int connect_from(uint8_t host, const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    from.sin_addr.s_addr = htonl(0x7F000000U | host);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void allow_descriptors(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur > 3 * CROWD);
}

static void close_all(int n)
{
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

/* Connections that a has looked at. */
static uint64_t taken_in(void)
{
    struct gossip_stats s = link_stats(&a);
    return s.connections_in + s.crowded_out + s.turned_away;
}

/* They say hello, and then nothing. */
static void test_a_silent_crowd_takes_nobodys_place(void **state)
{
    (void)state;
    allow_descriptors();
    link_open(&a, (struct gossip_options){0});
    link_open(&b, (struct gossip_options){0});
    link_open(&c, (struct gossip_options){0});
    link_send(&b, a.address, 1, 4);
    LINK_WAIT(a.frames == 1);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = raw_connect(a.address);
        raw_hello(fds[i], LINK_PUSH);
        LINK_WAIT(taken_in() == (uint64_t)i + 2); /* else the system's own queue would overflow */
    }
    LINK_WAIT(link_stats(&a).crowded_out + link_stats(&a).turned_away > CROWD / 2);
    link_send(&b, a.address, 2, 4); /* it was there before them */
    link_send(&c, a.address, 3, 4); /* it comes after them */
    LINK_WAIT(a.frames == 3);
    assert_int_equal(link_stats(&b).dials + link_stats(&c).dials, 2);
    assert_int_equal(b.evidence[GOSSIP_RESET] + c.evidence[GOSSIP_RESET], 0);
    assert_int_equal(link_stats(&a).turned_away, 0);
    assert_true(link_stats(&a).connections_in <= GOSSIP_STRANGERS_MAX + 2);
    link_close(&a);
    link_close(&b);
    link_close(&c);
    close_all(CROWD);
}

/* They bring whole frames, but all from one address. */
static void test_one_address_has_a_part_of_the_places(void **state)
{
    (void)state;
    link_open(&a, (struct gossip_options){.known_host_max = 4});
    int other = connect_from(1, a.address);
    raw_hello(other, LINK_PUSH);
    raw_frame(other, 1, 4);
    LINK_WAIT(a.frames == 1);
    for (int i = 0; i < BARRAGE; i++) {
        fds[i] = connect_from(2, a.address);
        raw_hello(fds[i], LINK_PUSH);
        if (i < 4)
            raw_frame(fds[i], 2, 4);
        LINK_WAIT(i >= 4 || a.frames == (uint32_t)i + 2);
    }
    LINK_WAIT(link_stats(&a).turned_away == BARRAGE - 4); /* the others have just spoken */
    assert_int_equal(link_stats(&a).connections_in, 5);
    raw_frame(other, 3, 4);
    LINK_WAIT(a.frames == 6);
    link_close(&a);
    close(other);
    close_all(BARRAGE);
}

static void test_who_brings_no_frame_goes(void **state)
{
    (void)state;
    link_open(&a, (struct gossip_options){.first_frame_ms = 100});
    int silent = raw_connect(a.address), spoke = raw_connect(a.address);
    raw_hello(silent, LINK_PUSH);
    raw_hello(spoke, LINK_PUSH);
    raw_frame(spoke, 1, 4);
    raw_wait_closed(silent);
    link_run_for(150);
    assert_int_equal(link_stats(&a).connections_in, 1);
    link_close(&a);
    close(silent);
    close(spoke);
}

/* Each byte is progress, but the whole of it has a limit. */
static void drip(const char *first, size_t first_len, uint8_t byte)
{
    link_open(&a, (struct gossip_options){.stalled_ms = 300});
    int fd = raw_connect(a.address);
    raw_write(fd, first, first_len);
    uint64_t limit_ns = uv_hrtime() + LINK_WAIT_MS * UINT64_C(1000000);
    do {
        link_run_for(DRIP_MS);
        assert_true(uv_hrtime() < limit_ns);
    } while (link_stats(&a).malformed == 0 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1);
    LINK_WAIT(link_stats(&a).connections_in == 0);
    link_close(&a);
    close(fd);
}

static void test_bytes_now_and_then_hold_no_place(void **state)
{
    (void)state;
    static const char head[] = "\0SP\0\0\x50\0\0\0\0\0\0\0\0\x40\0"; /* 16 KiB are to come */
    drip(head, sizeof head - 1, 'x');
}

/* The limit is the frame's: how long the connection was silent before it does not count. */
static void test_a_frame_in_pieces_after_a_silence(void **state)
{
    (void)state;
    uint8_t frame[8 + 64] = {[7] = 64};
    for (uint8_t i = 4; i < 64; i++)
        frame[8 + i] = i; /* as the fixture wants it of number 0 */
    link_open(&a, (struct gossip_options){.stalled_ms = 1000});
    int fd = raw_connect(a.address);
    raw_hello(fd, LINK_PUSH);
    raw_frame(fd, 1, 4);
    LINK_WAIT(a.frames == 1);
    link_run_for(1100);
    raw_write(fd, frame, sizeof frame / 2);
    link_run_for(100);
    raw_write(fd, frame + sizeof frame / 2, sizeof frame / 2);
    LINK_WAIT(a.frames == 2);
    assert_int_equal(link_stats(&a).malformed, 0);
    link_close(&a);
    close(fd);
}

static void test_whose_address_is_known(void **state)
{
    (void)state;
    static struct gossip g;
    static struct gossip_conn out, in, other;
    static const uint8_t peer[PLACES_HOST_BYTES] = {[10] = 0xFF, [11] = 0xFF, 10, 0, 0, 7};
    static const uint8_t stranger[PLACES_HOST_BYTES] = {[10] = 0xFF, [11] = 0xFF, 10, 0, 0, 8};
    static const uint8_t here[PLACES_HOST_BYTES] = {[10] = 0xFF, [11] = 0xFF, 127, 3, 2, 1};
    static const uint8_t here6[PLACES_HOST_BYTES] = {[15] = 1};
    g.options = (struct gossip_options){
        .incoming_max = 8, .strangers_max = 4, .host_max = 4, .known_host_max = 4};
    gossip__places_init(&g);
    list_init(&g.out);
    list_init(&out.link);
    out.g = other.g = &g;
    memcpy(out.place.host, peer, sizeof peer);
    memcpy(in.place.host, peer, sizeof peer);
    memcpy(other.place.host, stranger, sizeof stranger);
    list_push(&g.out, &out.link);
    places_take(&g.places, &in.place, 0);
    assert_false(gossip__host_is_known(&g, peer)); /* it has been dialled, no more */
    out.up = true;
    assert_true(gossip__host_is_known(&g, peer));
    assert_true(gossip__host_is_known(&g, here) && gossip__host_is_known(&g, here6));
    assert_false(gossip__host_is_known(&g, stranger));
    gossip__host_met(&other);
    assert_false(in.place.known);
    gossip__host_met(&out);
    assert_true(in.place.known);
}

int main(void)
{
#define ON_LINKS(test) cmocka_unit_test_setup_teardown(test, link_setup, link_teardown)
    const struct CMUnitTest tests[] = {
        ON_LINKS(test_a_silent_crowd_takes_nobodys_place),
        ON_LINKS(test_one_address_has_a_part_of_the_places),
        ON_LINKS(test_who_brings_no_frame_goes),
        ON_LINKS(test_bytes_now_and_then_hold_no_place),
        ON_LINKS(test_a_frame_in_pieces_after_a_silence),
        cmocka_unit_test(test_whose_address_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
