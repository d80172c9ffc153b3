/* See shell_fixture.h. */
#include "shell_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "node/shell/clock.h"
#include "proto/rpc.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { POLL_MS = 2, CLOSE_MS = 5000 };

static const uint8_t HELLO[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const uint8_t PEER_HELLO[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};

/* ---- the kind ---- */

static int blob_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    (void)ctx;
    (void)saved;
    (void)is_new;
    *state = NULL;
    return 0;
}

static enum troupe_outcome blob_call(struct troupe_ctx *ctx, void *state, size_t method,
                                     struct troupe_bytes payload)
{
    (void)state;
    if (method == 0) {
        troupe_reply(ctx, payload);
        return TROUPE_UNCHANGED;
    }
    char number[24] = "";
    memcpy(number, payload.data, payload.len < sizeof number ? payload.len : sizeof number - 1);
    size_t len = strtoul(number, NULL, 10);
    uint8_t *bytes = malloc(len);
    if (bytes == NULL)
        return TROUPE_CRASH;
    memset(bytes, 'x', len);
    troupe_reply(ctx, troupe_bytes(bytes, len));
    free(bytes);
    return TROUPE_UNCHANGED;
}

static int blob_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    (void)state;
    (void)out;
    return 0;
}

static void blob_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    (void)ctx;
    (void)state;
    (void)reason;
}

static const struct troupe_method METHODS[] = {
    {.name = "echo", .flags = TROUPE_METHOD_READ},
    {.name = "make", .flags = TROUPE_METHOD_READ},
};

static const struct troupe_kind BLOB = {
    .name = "blob",
    .methods = METHODS,
    .methods_n = 2,
    .start = blob_start,
    .call = blob_call,
    .save = blob_save,
    .stop = blob_stop,
};

/* ---- the parts ---- */

static void on_store_closed(void *data)
{
    struct shell_fixture *f = data;
    core_close(&f->core);
    uv_close((uv_handle_t *)&f->poll, NULL);
}

static void on_poll(uv_timer_t *timer)
{
    struct shell_fixture *f = timer->data;
    if (!rpc_is_quiet(f->rpc))
        return;
    uv_timer_stop(&f->poll);
    f->closed_cleanly = rpc_close(f->rpc, CLOSE_MS);
    store_close(f->store, on_store_closed, f);
}

static void on_phase(void *data, enum runtime_phase phase, int failure_code, const char *failure)
{
    struct shell_fixture *f = data;
    (void)failure_code;
    (void)failure;
    pthread_mutex_lock(&f->lock);
    f->phase = phase;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (phase == RUNTIME_STOPPED)
        uv_timer_start(&f->poll, on_poll, 0, POLL_MS);
}

static void on_replies(void *data, struct runtime_request *finished)
{
    rpc_replies(((struct shell_fixture *)data)->rpc, finished);
}

static void run_loop(void *data)
{
    struct shell_fixture *f = data;
    f->core.loop_thread = uv_thread_self();
    core_run(&f->core);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void open_runtime(struct shell_fixture *f)
{
    char errmsg[STORE_ERRMSG_BYTES];
    const struct troupe_kind *kinds[] = {&BLOB};
    struct store_options store = {.url = "memory:", .cluster = "test", .loop = &f->loop};
    struct runtime_config config = {
        .name = "n", .incarnation = clock_now().wall_ms, .kinds = kinds, .kinds_n = 1};
    assert_int_equal(store_open(&f->store, &store, errmsg), 0);
    assert_int_equal(runtime_open(&f->rt, &config, errmsg), 0);
}

static void wait_for_serving(struct shell_fixture *f)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += SHELL_WAIT_MS / 1000;
    pthread_mutex_lock(&f->lock);
    int rc = 0;
    while (f->phase != RUNTIME_SERVING && rc == 0)
        rc = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(rc, 0);
}

void shell_start(struct shell_fixture *f, struct rpc_options options)
{
    char errmsg[RPC_ERRMSG_BYTES];
    *f = (struct shell_fixture){0};
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->poll), 0);
    f->poll.data = f;
    open_runtime(f);
    assert_int_equal(core_init(&f->core, &f->loop, f->rt, f->store), 0);
    f->core.data = f;
    f->core.on_phase = on_phase;
    f->core.on_replies = on_replies;
    options.address = options.address != NULL ? options.address : "127.0.0.1:0";
    options.inflight_max = options.inflight_max != 0 ? options.inflight_max : 4096;
    options.connections_max = options.connections_max != 0 ? options.connections_max : 4096;
    options.memory_max = options.memory_max != 0 ? options.memory_max : 1 << 30;
    assert_int_equal(rpc_listen(&f->rpc, &options, f->address, errmsg), 0);
    rpc_start(f->rpc, &f->core);
    assert_int_equal(uv_thread_create(&f->thread, run_loop, f), 0);
    wait_for_serving(f);
}

void shell_stop(struct shell_fixture *f)
{
    core_push_stop(&f->core);
    core_run(&f->core);
    uv_thread_join(&f->thread);
    assert_true(f->closed_cleanly);
    runtime_close(f->rt);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
}

/* ---- clients ---- */

static int connect_ipc(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

int shell_connect(const struct shell_fixture *f)
{
    if (strncmp(f->address, "ipc://", 6) == 0)
        return connect_ipc(f->address + 6);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    to.sin_port = htons((uint16_t)atoi(strrchr(f->address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

void shell_write(int fd, const void *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        bytes = (const char *)bytes + n;
        len -= (size_t)n;
    }
}

/* Exactly len bytes, or false at the end of the connection. */
static bool read_all(int fd, void *bytes, size_t len)
{
    while (len > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, SHELL_WAIT_MS), 1);
        ssize_t n = recv(fd, bytes, len, 0);
        if (n <= 0)
            return false;
        bytes = (char *)bytes + n;
        len -= (size_t)n;
    }
    return true;
}

int shell_dial(const struct shell_fixture *f)
{
    uint8_t got[8];
    int fd = shell_connect(f);
    shell_write(fd, HELLO, sizeof HELLO);
    assert_true(read_all(fd, got, sizeof got));
    assert_memory_equal(got, PEER_HELLO, sizeof got);
    return fd;
}

size_t shell_frame(uint8_t *out, size_t size, uint32_t id, const char *method, const void *payload,
                   size_t len)
{
    struct rpc_call call = {.kind = troupe_bytes_of("blob"),
                            .id = troupe_bytes_of("a"),
                            .method = troupe_bytes_of(method),
                            .payload = troupe_bytes(payload, len)};
    struct rpc_request request = {.timeout_ms = SHELL_WAIT_MS, .calls = &call, .calls_n = 1};
    size_t body = rpc_request_size(&request) + 4;
    assert_true(size >= 8 + body);
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(body >> (8 * (7 - i)));
    id |= UINT32_C(0x80000000);
    for (int i = 0; i < 4; i++)
        out[8 + i] = (uint8_t)(id >> (8 * (3 - i)));
    rpc_request_encode(&request, out + 12);
    return 8 + body;
}

void shell_send(int fd, uint32_t id, const char *method, const void *payload, size_t len)
{
    uint8_t *frame = malloc(len + 256);
    assert_non_null(frame);
    shell_write(fd, frame, shell_frame(frame, len + 256, id, method, payload, len));
    free(frame);
}

bool shell_recv(int fd, struct shell_frame *frame)
{
    uint8_t head[8];
    const char *why;
    uint64_t len = 0;
    if (!read_all(fd, head, sizeof head))
        return false;
    for (int i = 0; i < 8; i++)
        len = len << 8 | head[i];
    assert_true(len <= RPC_FRAME_BYTES_MAX + 32);
    uint8_t *body = malloc(len);
    assert_non_null(body);
    bool whole = read_all(fd, body, len);
    if (whole) {
        *frame = (struct shell_frame){.route_bytes = 4};
        while ((body[frame->route_bytes - 4] & 0x80) == 0)
            frame->route_bytes += 4;
        memcpy(frame->route, body, frame->route_bytes);
        arena_init(&frame->arena, 0, 0);
        struct troupe_bytes bytes = {body + frame->route_bytes, len - frame->route_bytes};
        assert_int_equal(rpc_reply_decode(&frame->arena, bytes, &frame->reply, &why), 0);
    }
    free(body);
    return whole;
}

void shell_frame_free(struct shell_frame *frame)
{
    arena_close(&frame->arena);
}

uint32_t shell_frame_id(const struct shell_frame *frame)
{
    uint32_t id = 0;
    assert_int_equal(frame->route_bytes, 4);
    for (int i = 0; i < 4; i++)
        id = id << 8 | frame->route[i];
    return id & UINT32_C(0x7fffffff);
}

bool shell_hangs_up(int fd)
{
    uint8_t buf[4096];
    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        if (poll(&pfd, 1, SHELL_WAIT_MS) != 1)
            return false;
        if (recv(fd, buf, sizeof buf, 0) <= 0)
            return true;
    }
}
