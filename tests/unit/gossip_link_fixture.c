/* See gossip_link_fixture.h. */
#include "gossip_link_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pipeline0/push.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/shell/log.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { TURN_MS = 5 };

uv_loop_t link_loop;
static uv_timer_t ticker;
static int descriptors_before;

/* ---- the loop ---- */

static void on_tick(uv_timer_t *handle)
{
    (void)handle;
}

void link_run_once(void)
{
    uv_run(&link_loop, UV_RUN_ONCE);
}

void link_run_for(uint64_t ms)
{
    uint64_t until = uv_hrtime() + ms * 1000000;
    while (uv_hrtime() < until)
        link_run_once();
}

int open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

int link_setup(void **state)
{
    (void)state;
    nng_socket warm; /* nng opens descriptors of its own with the first socket */
    log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_ERROR);
    assert_int_equal(nng_push0_open(&warm), 0);
    nng_close(warm);
    assert_int_equal(uv_loop_init(&link_loop), 0);
    uv_timer_init(&link_loop, &ticker);
    uv_timer_start(&ticker, on_tick, TURN_MS, TURN_MS);
    link_run_once();
    descriptors_before = open_descriptors();
    return 0;
}

int link_teardown(void **state)
{
    (void)state;
    LINK_WAIT(open_descriptors() <= descriptors_before); /* nng closes them in the background */
    uv_close((uv_handle_t *)&ticker, NULL);
    uv_run(&link_loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&link_loop), 0);
    return 0;
}

/* ---- links ---- */

static void on_frame(void *data, struct troupe_bytes frame)
{
    struct node *n = data;
    uint32_t number = 0;
    memcpy(&number, frame.data, frame.len < sizeof number ? frame.len : sizeof number);
    for (size_t i = sizeof number; i < frame.len; i++)
        assert_int_equal(frame.data[i], (uint8_t)(number + i));
    assert_true(n->frames < LINK_NUMBERS_MAX);
    n->numbers[n->frames++] = number;
    n->bytes += frame.len;
    if (n->on_frame != NULL)
        n->on_frame(n);
}

static void on_evidence(void *data, const char *address, enum gossip_evidence what)
{
    struct node *n = data;
    n->evidence[what]++;
    n->evidence_ms = uv_hrtime() / 1000000;
    snprintf(n->evidence_of, sizeof n->evidence_of, "%s", address);
    if (n->on_evidence != NULL)
        n->on_evidence(n);
}

void link_open(struct node *n, struct gossip_options options)
{
    char errmsg[GOSSIP_ERRMSG_BYTES];
    n->frames = 0;
    n->bytes = 0;
    memset(n->evidence, 0, sizeof n->evidence);
    if (options.address == NULL)
        options.address = "127.0.0.1:0";
    options.data = n;
    options.on_frame = on_frame;
    options.on_evidence = on_evidence;
    int rc = gossip_open(&n->g, &link_loop, &options, n->address, errmsg);
    if (rc != 0)
        fail_msg("%s", errmsg);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

void link_close(struct node *n)
{
    bool closed = false;
    gossip_close(n->g, on_closed, &closed);
    n->g = NULL;
    LINK_WAIT(closed);
}

struct gossip_stats link_stats(const struct node *n)
{
    struct gossip_stats stats;
    gossip_stats(n->g, &stats);
    return stats;
}

/* The number, then bytes that follow from it. */
static void fill(uint8_t *out, uint32_t number, size_t len)
{
    memcpy(out, &number, sizeof number);
    for (size_t i = sizeof number; i < len; i++)
        out[i] = (uint8_t)(number + i);
}

void link_send(struct node *n, const char *address, uint32_t number, size_t len)
{
    uint8_t frame[GOSSIP_FRAME_BYTES_MAX];
    assert_in_range(len, sizeof number, sizeof frame);
    fill(frame, number, len);
    gossip_send(n->g, address, troupe_bytes(frame, len), 0);
}

void link_send_until(struct node *n, const char *address, uint32_t number, uint64_t expires_ns)
{
    gossip_send(n->g, address, troupe_bytes(&number, sizeof number), expires_ns);
}

/* ---- plain sockets ---- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
}

int raw_bind(char address[GOSSIP_ADDRESS_BYTES])
{
    struct sockaddr_in sa = loopback(0);
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(address, GOSSIP_ADDRESS_BYTES, "127.0.0.1:%u", ntohs(sa.sin_port));
    return fd;
}

int raw_accept(int listener)
{
    int fd;
    LINK_WAIT((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return fd;
}

int raw_connect(const char *address)
{
    struct sockaddr_in sa = loopback((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

void raw_write(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            link_run_once();
            continue;
        }
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void raw_hello(int fd, int protocol)
{
    uint8_t hello[8] = {0, 'S', 'P', 0, 0, (uint8_t)protocol, 0, 0};
    raw_write(fd, hello, sizeof hello);
}

void raw_frame(int fd, uint32_t number, size_t len)
{
    uint8_t frame[8 + GOSSIP_FRAME_BYTES_MAX] = {0};
    assert_in_range(len, sizeof number, GOSSIP_FRAME_BYTES_MAX);
    frame[6] = (uint8_t)(len >> 8);
    frame[7] = (uint8_t)len;
    fill(frame + 8, number, len);
    raw_write(fd, frame, 8 + len);
}

void raw_read(int fd, void *bytes, size_t len)
{
    uint8_t *at = bytes;
    ssize_t n;
    while (len > 0) {
        LINK_WAIT((n = recv(fd, at, len, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void raw_wait_closed(int fd)
{
    uint8_t bytes[4096];
    ssize_t n;
    do {
        LINK_WAIT((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
    } while (n > 0);
}
