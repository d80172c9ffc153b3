/* The listener and the core, in this process: framing, limits, clients that misbehave or vanish. */
#include <dirent.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/shell/log.h"
#include "shell_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    REQUESTS_MAX = 2000, /* whose replies are awaited together */
    HELD_UP_MS = 500,    /* a connection that takes nothing for so long is not read */
};

static struct shell_fixture node;

static void start(struct rpc_options options)
{
    shell_start(&node, options);
}

/* Whether the next reply is OK and has that many bytes; its request id. */
static bool recv_ok(int fd, size_t len, uint32_t *id)
{
    struct shell_frame frame;
    if (!shell_recv(fd, &frame))
        return false;
    struct rpc_reply *r = &frame.reply;
    bool ok =
        r->results_n == 1 && r->results[0].status == TROUPE_OK && r->results[0].payload.len == len;
    *id = shell_frame_id(&frame);
    shell_frame_free(&frame);
    return ok;
}

static void expect_ok(int fd, uint32_t id, size_t len)
{
    uint32_t got;
    assert_true(recv_ok(fd, len, &got));
    assert_int_equal(got, id);
}

/* One reply for each of n requests, whose ids begin at first. They come in any order: two turns of
 * the core may answer on two threads. */
static bool all_ok(int fd, uint32_t first, uint32_t n, size_t len)
{
    bool seen[REQUESTS_MAX] = {false};
    uint32_t id;
    for (uint32_t i = 0; i < n; i++) {
        if (!recv_ok(fd, len, &id) || id - first >= n || seen[id - first])
            return false;
        seen[id - first] = true;
    }
    return true;
}

static void expect_refused(int fd, int status, const char *text)
{
    struct shell_frame frame;
    assert_true(shell_recv(fd, &frame));
    struct rpc_reply *r = &frame.reply;
    assert_int_equal(r->results_n > 0 ? r->results[0].status : r->status, status);
    struct troupe_bytes message = r->results_n > 0 ? r->results[0].message : r->message;
    assert_non_null(memmem(message.data, message.len, text, strlen(text)));
    shell_frame_free(&frame);
}

/* ---- framing ---- */

static void nng_s_own_req_socket_can_call(void **state)
{
    (void)state;
    char url[RPC_ADDRESS_BYTES + 8];
    uint8_t frame[256];
    nng_socket socket;
    nng_msg *msg;
    start((struct rpc_options){0});
    snprintf(url, sizeof url, "tcp://%s", node.address);
    assert_int_equal(nng_req0_open(&socket), 0);
    assert_int_equal(nng_dial(socket, url, NULL, 0), 0);
    for (int i = 0; i < 3; i++) {
        size_t len = shell_frame(frame, sizeof frame, 0, "echo", "hello", 5);
        assert_int_equal(nng_send(socket, frame + 12, len - 12, 0), 0);
        assert_int_equal(nng_recvmsg(socket, &msg, 0), 0);
        assert_non_null(memmem(nng_msg_body(msg), nng_msg_len(msg), "hello", 5));
        nng_msg_free(msg);
    }
    nng_close(socket);
    shell_stop(&node);
}

static void frames_may_come_in_any_pieces(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    size_t len = 0;
    start((struct rpc_options){0});
    int fd = shell_dial(&node);
    for (uint32_t id = 1; id <= 20; id++) /* many at once */
        len += shell_frame(bytes + len, sizeof bytes - len, id, "echo", "abc", 3);
    shell_write(fd, bytes, len);
    assert_true(all_ok(fd, 1, 20, 3));
    for (size_t i = 0; i < len / 20 * 2; i++) /* two, byte by byte */
        shell_write(fd, bytes + i, 1);
    assert_true(all_ok(fd, 1, 2, 3));
    close(fd);
    shell_stop(&node);
}

static void large_and_small_frames_take_turns(void **state)
{
    (void)state;
    static char payload[3 << 20];
    start((struct rpc_options){0});
    int fd = shell_dial(&node);
    static const size_t sizes[] = {10, 3 << 20, 10, 70000, 64 << 10, 0, 1 << 20, 5};
    for (uint32_t i = 0; i < 8; i++) {
        shell_send(fd, i, "echo", payload, sizes[i]);
        expect_ok(fd, i, sizes[i]);
    }
    close(fd);
    shell_stop(&node);
}

static void a_route_goes_back_as_it_came(void **state)
{
    (void)state;
    uint8_t frame[256], routed[256] = {0};
    static const uint8_t hops[8] = {0, 0, 0, 7, 0x12, 0x34, 0x56, 0x78};
    start((struct rpc_options){0});
    int fd = shell_dial(&node);
    size_t len = shell_frame(frame, sizeof frame, 9, "echo", "x", 1);
    routed[7] = (uint8_t)(len - 8 + sizeof hops);
    memcpy(routed + 8, hops, sizeof hops);
    memcpy(routed + 16, frame + 8, len - 8);
    shell_write(fd, routed, len + sizeof hops);
    struct shell_frame got;
    assert_true(shell_recv(fd, &got));
    assert_int_equal(got.route_bytes, 12);
    assert_memory_equal(got.route, routed + 8, 12);
    shell_frame_free(&got);
    close(fd);
    shell_stop(&node);
}

static void it_listens_on_unix_sockets(void **state)
{
    (void)state;
    char dir[] = "/tmp/troupe-test-XXXXXX", address[80], path[64];
    uint8_t frame[256] = {1};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(address, sizeof address, "ipc://%s", path);
    start((struct rpc_options){.address = address});
    int fd = shell_dial(&node);
    size_t len = shell_frame(frame + 1, sizeof frame - 1, 5, "echo", "x", 1);
    shell_write(fd, frame, len + 1);
    uint8_t kind;
    assert_int_equal(recv(fd, &kind, 1, MSG_WAITALL), 1);
    assert_int_equal(kind, 1);
    expect_ok(fd, 5, 1);
    frame[0] = 2; /* no such kind of frame */
    shell_write(fd, frame, len + 1);
    assert_true(shell_hangs_up(fd));
    close(fd);
    shell_stop(&node);
    unlink(path);
    rmdir(dir);
}

/* ---- clients that misbehave ---- */

static void nonsense_is_cut_off(void **state)
{
    (void)state;
    static const struct {
        bool hello;
        const char *bytes;
        size_t len;
    } cases[] = {
        {false, "GET / HTTP/1.1\r\n\r\n", 18},
        {false, "\0SP\0\0\x31\0\0", 8}, /* a REP */
        {true, "\0\0\0\0\0\0\0\0", 8},  /* no request id */
        {true, "\0\0\0\0\0\0\0\3\x80\0\0", 11},
        {true, "\0\0\0\0\0\0\0\4\x7f\0\0\1", 12},
        {true, "\0\0\0\0\2\1\0\0", 8}, /* more than 32 MiB */
        {true, "\xff\xff\xff\xff\xff\xff\xff\xff", 8},
    };
    start((struct rpc_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = cases[i].hello ? shell_dial(&node) : shell_connect(&node);
        shell_write(fd, cases[i].bytes, cases[i].len);
        assert_true(shell_hangs_up(fd));
        close(fd);
    }
    int fd = shell_dial(&node);
    shell_write(fd, "\0\0\0\0\0\0\0\6\x80\0\0\1\xff\xff", 14); /* no protobuf: answered */
    expect_refused(fd, TROUPE_INVALID_ARGUMENT, "");
    shell_send(fd, 2, "echo", "x", 1);
    expect_ok(fd, 2, 1);
    close(fd);
    shell_stop(&node);
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* What wedged nng's REP socket: it must cost nothing, however often. */
static void clients_that_vanish_leave_nothing_behind(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    size_t len = 0;
    start((struct rpc_options){0});
    for (uint32_t id = 0; id < 64; id++)
        len += shell_frame(bytes + len, sizeof bytes - len, id, "echo", "some bytes", 10);
    size_t before = open_descriptors();
    for (int round = 0; round < 300; round++) {
        int fd[2] = {shell_dial(&node), shell_dial(&node)};
        for (int i = 0; i < 2; i++)
            shell_write(fd[i], bytes, len - (size_t)round % 40);
        struct linger hard = {.l_onoff = round % 2, .l_linger = 0}; /* FIN, or RST */
        for (int i = 0; i < 2; i++) {
            setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            close(fd[i]);
        }
    }
    for (int i = 0; open_descriptors() > before && i < SHELL_WAIT_MS / 5; i++)
        poll(NULL, 0, 5);
    assert_true(open_descriptors() <= before); /* of the test before some may close later */
    int fd = shell_dial(&node);
    shell_send(fd, 1, "echo", "x", 1);
    expect_ok(fd, 1, 1);
    close(fd);
    shell_stop(&node);
}

/* ---- limits ---- */

static void too_many_requests_wait_their_turn(void **state)
{
    (void)state;
    enum { CLIENTS = 5, REQUESTS = 200 };
    uint8_t bytes[64 << 10];
    size_t len = 0;
    int fd[CLIENTS];
    start((struct rpc_options){.inflight_max = 2});
    for (uint32_t id = 0; id < REQUESTS; id++)
        len += shell_frame(bytes + len, sizeof bytes - len, id, "echo", "x", 1);
    for (int i = 0; i < CLIENTS; i++) {
        fd[i] = shell_dial(&node);
        shell_write(fd[i], bytes, len);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(all_ok(fd[i], 0, REQUESTS, 1));
        close(fd[i]);
    }
    shell_stop(&node);
}

/* Sends requests until the connection takes no more, and says how many bytes of the last one it
 * took. */
static uint32_t send_until_held_up(int fd, const void *payload, size_t len, uint8_t *frame,
                                   size_t size, size_t *part)
{
    for (uint32_t id = 0; id < REQUESTS_MAX; id++) {
        size_t bytes = shell_frame(frame, size, id, "echo", payload, len);
        for (*part = 0; *part < bytes;) {
            struct pollfd pfd = {.fd = fd, .events = POLLOUT};
            if (poll(&pfd, 1, HELD_UP_MS) == 0)
                return id;
            ssize_t n = send(fd, frame + *part, bytes - *part, MSG_DONTWAIT | MSG_NOSIGNAL);
            assert_true(n > 0);
            *part += (size_t)n;
        }
    }
    return REQUESTS_MAX;
}

/* Asks for far more than fits into buffers and reads nothing: must not be read on, nor hurt others,
 * nor lose a reply. */
static void a_client_that_does_not_read_is_held_up(void **state)
{
    (void)state;
    static char payload[20000]; /* few of them fit into one receive buffer */
    static uint8_t frame[sizeof payload + 256];
    size_t part;
    start((struct rpc_options){0});
    int slow = shell_dial(&node), fd = shell_dial(&node);
    uint32_t sent = send_until_held_up(slow, payload, sizeof payload, frame, sizeof frame, &part);
    assert_in_range(sent, 50, REQUESTS_MAX - 1);
    for (uint32_t id = 0; id < 50; id++) {
        shell_send(fd, id, "echo", "x", 1);
        expect_ok(fd, id, 1);
    }
    assert_true(all_ok(slow, 0, sent, sizeof payload));
    size_t whole = shell_frame(frame, sizeof frame, sent, "echo", payload, sizeof payload);
    shell_write(slow, frame + part, whole - part);
    expect_ok(slow, sent, sizeof payload);
    close(slow);
    close(fd);
    shell_stop(&node);
}

static size_t requests_waiting(void)
{
    size_t n = 0;
    for (struct runtime_request *r = atomic_load(&node.core.requests); r != NULL; r = r->next)
        n++;
    return n;
}

static uint64_t calls_done(void)
{
    struct runtime_stats stats;
    core_stats(&node.core, &stats);
    return stats.calls;
}

/* Small requests with large answers: all of them are with the core before it gives the first. */
static void unsent_replies_count_as_memory(void **state)
{
    (void)state;
    enum { REQUESTS = 1000, BYTES = 50000 }; /* more than any socket's buffers */
    static uint8_t bytes[REQUESTS * 64];
    size_t len = 0, refused = 0;
    start((struct rpc_options){.memory_max = 4 << 20});
    int fd = shell_dial(&node);
    for (uint32_t id = 0; id < REQUESTS; id++)
        len += shell_frame(bytes + len, sizeof bytes - len, id, "make", "50000", 5);
    uint64_t before = calls_done();
    while (atomic_exchange(&node.core.busy, true)) /* as if a long turn were under way */
        poll(NULL, 0, 1);
    shell_write(fd, bytes, len);
    for (int i = 0; requests_waiting() < REQUESTS && i < SHELL_WAIT_MS; i++)
        poll(NULL, 0, 1);
    assert_int_equal(requests_waiting(), REQUESTS);
    atomic_store(&node.core.busy, false);
    core_run(&node.core);
    for (int i = 0; calls_done() < before + REQUESTS && i < SHELL_WAIT_MS; i++)
        poll(NULL, 0, 1);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        struct shell_frame got;
        assert_true(shell_recv(fd, &got));
        struct rpc_result *r = &got.reply.results[0];
        assert_true(r->status == TROUPE_OK || r->status == TROUPE_RESOURCE_EXHAUSTED);
        refused += r->status != TROUPE_OK;
        shell_frame_free(&got);
    }
    assert_in_range(refused, 1, REQUESTS - (1 << 20) / BYTES);
    shell_send(fd, 1, "make", "50000", 5);
    expect_ok(fd, 1, BYTES);
    close(fd);
    shell_stop(&node);
}

static void memory_for_large_requests_is_limited(void **state)
{
    (void)state;
    static char payload[6 << 20];
    start((struct rpc_options){.memory_max = 8 << 20});
    int fd = shell_dial(&node);
    shell_send(fd, 1, "echo", payload, 1 << 20);
    expect_ok(fd, 1, 1 << 20);
    shell_send(fd, 2, "echo", payload, sizeof payload); /* twice 6 MiB: frame and request */
    expect_refused(fd, TROUPE_RESOURCE_EXHAUSTED, "rpc-memory-max");
    shell_send(fd, 3, "make", "9000000", 7);
    expect_refused(fd, TROUPE_RESOURCE_EXHAUSTED, "rpc-memory-max");
    shell_send(fd, 4, "echo", payload, 1 << 20);
    expect_ok(fd, 4, 1 << 20);
    uint8_t head[12] = {0, 0, 0, 0, 1, 0, 0, 4, 0x80}; /* 16 MiB are said to come, and do */
    shell_write(fd, head, sizeof head);
    while (send(fd, payload, sizeof payload, MSG_NOSIGNAL) > 0)
        ;
    assert_true(shell_hangs_up(fd));
    close(fd);
    shell_stop(&node);
}

static void replies_over_the_frame_limit_are_told(void **state)
{
    (void)state;
    struct rpc_call calls[3];
    for (int i = 0; i < 3; i++)
        calls[i] = (struct rpc_call){.kind = troupe_bytes_of("blob"),
                                     .id = troupe_bytes_of("a"),
                                     .method = troupe_bytes_of(i == 1 ? "nothing" : "make"),
                                     .payload = troupe_bytes_of("17000000")};
    struct rpc_request request = {.timeout_ms = SHELL_WAIT_MS, .calls = calls, .calls_n = 3};
    uint8_t frame[256] = {[8] = 0x80};
    start((struct rpc_options){0});
    frame[7] = (uint8_t)(rpc_request_size(&request) + 4);
    rpc_request_encode(&request, frame + 12);
    int fd = shell_dial(&node);
    shell_write(fd, frame, 8 + (size_t)frame[7]);
    struct shell_frame got;
    assert_true(shell_recv(fd, &got));
    assert_int_equal(got.reply.results_n, 3);
    assert_int_equal(got.reply.results[0].status, TROUPE_RESOURCE_EXHAUSTED);
    assert_int_equal(got.reply.results[1].status, TROUPE_UNIMPLEMENTED); /* as it was */
    assert_int_equal(got.reply.results[2].status, TROUPE_RESOURCE_EXHAUSTED);
    shell_frame_free(&got);
    close(fd);
    shell_stop(&node);
}

/* ---- many threads ---- */

enum { THREADS = 6, ROUNDS = 300, BURST = 16 };

/* NULL when all went well: an assertion that fails off the main thread ends the program. */
static void *hammer(void *data)
{
    uint8_t bytes[4096];
    bool ok = true;
    int fd = shell_dial(&node);
    for (uint32_t round = 0; ok && round < ROUNDS; round++) {
        size_t len = 0;
        for (uint32_t i = 0; i < BURST; i++)
            len += shell_frame(bytes + len, sizeof bytes - len, round * BURST + i, "echo", "x", 1);
        shell_write(fd, bytes, len);
        ok = all_ok(fd, round * BURST, BURST, 1);
    }
    close(fd);
    return ok ? NULL : data;
}

static void many_connections_share_one_core(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    start((struct rpc_options){.inflight_max = 40});
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &node), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    struct runtime_stats stats;
    core_stats(&node.core, &stats);
    assert_int_equal(stats.calls, THREADS * ROUNDS * BURST);
    shell_stop(&node);
}

static void open_connections_do_not_keep_it_from_closing(void **state)
{
    (void)state;
    int fd[4];
    start((struct rpc_options){.inflight_max = 1});
    for (int i = 0; i < 4; i++)
        fd[i] = i < 2 ? shell_dial(&node) : shell_connect(&node);
    shell_write(fd[0], "\0\0\0", 3); /* the beginning of a frame */
    shell_stop(&node);
    for (int i = 0; i < 4; i++) {
        assert_true(shell_hangs_up(fd[i]));
        close(fd[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nng_s_own_req_socket_can_call),
        cmocka_unit_test(frames_may_come_in_any_pieces),
        cmocka_unit_test(large_and_small_frames_take_turns),
        cmocka_unit_test(a_route_goes_back_as_it_came),
        cmocka_unit_test(it_listens_on_unix_sockets),
        cmocka_unit_test(nonsense_is_cut_off),
        cmocka_unit_test(clients_that_vanish_leave_nothing_behind),
        cmocka_unit_test(too_many_requests_wait_their_turn),
        cmocka_unit_test(a_client_that_does_not_read_is_held_up),
        cmocka_unit_test(unsent_replies_count_as_memory),
        cmocka_unit_test(memory_for_large_requests_is_limited),
        cmocka_unit_test(replies_over_the_frame_limit_are_told),
        cmocka_unit_test(many_connections_share_one_core),
        cmocka_unit_test(open_connections_do_not_keep_it_from_closing),
    };
    log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_ERROR); /* what it says to misuse is not our subject */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
