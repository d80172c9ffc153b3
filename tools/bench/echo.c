/* See echo.h. */
#include "tools/bench/echo.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/bench.h"

enum {
    SERVER_CONTEXTS = 128,
    MESSAGE_BYTES_MAX = 1 << 20,
    START_TIMEOUT_MS = 5000,
    ANSWER_TIMEOUT_MS = 10000,
};

/* ---- the server ---- */

struct server_context {
    nng_aio *aio;
    nng_ctx ctx;
    bool sending;
};

/* A message that came in goes out again as it is. */
static void serve(void *data)
{
    struct server_context *c = data;
    if (nng_aio_result(c->aio) != 0) {
        if (c->sending)
            nng_msg_free(nng_aio_get_msg(c->aio));
        c->sending = true; /* so that we receive */
    }
    c->sending = !c->sending;
    if (c->sending)
        nng_ctx_send(c->ctx, c->aio); /* the aio holds the message already */
    else
        nng_ctx_recv(c->ctx, c->aio);
}

int echo_main(const char *url)
{
    static struct server_context contexts[SERVER_CONTEXTS];
    nng_socket socket;
    nng_listener listener;
    int rc = nng_rep0_open(&socket);
    if (rc == 0)
        rc = nng_listener_create(&listener, socket, url);
    if (rc == 0)
        rc = nng_listener_set_size(listener, NNG_OPT_RECVMAXSZ, MESSAGE_BYTES_MAX);
    if (rc == 0)
        rc = nng_listener_set_bool(listener, NNG_OPT_TCP_NODELAY, true);
    if (rc == 0)
        rc = nng_listener_start(listener, 0);
    for (size_t i = 0; i < SERVER_CONTEXTS && rc == 0; i++) {
        struct server_context *c = &contexts[i];
        rc = nng_ctx_open(&c->ctx, socket);
        if (rc == 0)
            rc = nng_aio_alloc(&c->aio, serve, c);
        if (rc == 0)
            nng_ctx_recv(c->ctx, c->aio);
    }
    if (rc != 0) {
        fprintf(stderr, "troupe-bench: echo server: %s\n", nng_strerror(rc));
        return 1;
    }
    for (;;)
        pause(); /* until we are killed */
}

int echo_server_start(struct bench *b, struct echo_server *server)
{
    snprintf(server->url, sizeof server->url, "tcp://127.0.0.1:%u", sandbox_free_port());
    const char *argv[] = {"/proc/self/exe", "--echo-server", server->url, NULL};
    server->pid = sandbox_spawn(
        &b->sandbox, &(struct sandbox_child){.argv = argv, .stdout_fd = -1, .end_signal = SIGKILL});
    return server->pid > 0 ? 0 : bench_fail(b, "the echo server could not be started");
}

void echo_server_stop(struct bench *b, struct echo_server *server)
{
    if (server->pid > 0)
        sandbox_end(&b->sandbox, server->pid, SIGKILL, 1000);
    server->pid = 0;
}

/* ---- the client ---- */

struct echo_slot {
    struct echo *echo;
    nng_ctx ctx;
    nng_aio *aio;
    bool sending;
    double sent_s;
};

struct echo {
    nng_socket socket;
    _Atomic uint64_t done;
    atomic_uint lost, under_way;
    atomic_bool stopping;
    struct latencies *latencies;
    unsigned slots_n;
    struct echo_slot slots[];
};

static void send_next(struct echo_slot *slot, nng_msg *msg)
{
    slot->sending = true;
    slot->sent_s = slot->echo->latencies != NULL ? now_s() : 0;
    nng_aio_set_msg(slot->aio, msg);
    nng_ctx_send(slot->ctx, slot->aio);
}

/* Sent, then receive: a context forgets its request when a receive comes before that. */
static void on_aio(void *data)
{
    struct echo_slot *slot = data;
    struct echo *e = slot->echo;
    if (nng_aio_result(slot->aio) != 0) {
        if (slot->sending)
            nng_msg_free(nng_aio_get_msg(slot->aio));
        atomic_fetch_add(&e->lost, 1);
        atomic_fetch_sub(&e->under_way, 1);
        return;
    }
    if (slot->sending) {
        slot->sending = false;
        nng_ctx_recv(slot->ctx, slot->aio);
        return;
    }
    if (e->latencies != NULL)
        latencies_add(e->latencies, now_s() - slot->sent_s);
    nng_msg *msg = nng_aio_get_msg(slot->aio);
    atomic_fetch_add_explicit(&e->done, 1, memory_order_relaxed);
    if (atomic_load(&e->stopping)) {
        nng_msg_free(msg);
        atomic_fetch_sub(&e->under_way, 1);
        return;
    }
    send_next(slot, msg); /* the answer is the next question */
}

static int open_slot(struct echo *e, struct echo_slot *slot)
{
    slot->echo = e;
    int rc = nng_ctx_open(&slot->ctx, e->socket);
    if (rc != 0)
        return rc;
    rc = nng_aio_alloc(&slot->aio, on_aio, slot);
    if (rc == 0)
        nng_aio_set_timeout(slot->aio, ANSWER_TIMEOUT_MS);
    if (rc == 0)
        rc = nng_ctx_set_ms(slot->ctx, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    return rc;
}

static void echo_free(struct echo *e)
{
    nng_close(e->socket);
    for (unsigned i = 0; i < e->slots_n; i++) {
        if (e->slots[i].aio == NULL)
            continue;
        nng_aio_stop(e->slots[i].aio);
        nng_aio_free(e->slots[i].aio);
    }
    free(e);
}

/* Until somebody listens there. */
static int dial(nng_socket socket, const char *url)
{
    double until_s = now_s() + START_TIMEOUT_MS / 1000.0;
    int rc;
    while ((rc = nng_dial(socket, url, NULL, 0)) == NNG_ECONNREFUSED && now_s() < until_s)
        sleep_s(0.01);
    return rc;
}

struct echo *echo_start(struct bench *b, const struct echo_server *server, unsigned in_flight,
                        size_t bytes, struct latencies *latencies)
{
    struct echo *e = calloc(1, sizeof *e + in_flight * sizeof e->slots[0]);
    if (e == NULL || nng_req0_open(&e->socket) != 0) {
        free(e);
        bench_fail(b, "out of memory");
        return NULL;
    }
    e->latencies = latencies;
    e->slots_n = in_flight;
    nng_socket_set_bool(e->socket, NNG_OPT_TCP_NODELAY, true);
    nng_socket_set_size(e->socket, NNG_OPT_RECVMAXSZ, MESSAGE_BYTES_MAX);
    int rc = dial(e->socket, server->url);
    for (unsigned i = 0; i < in_flight && rc == 0; i++)
        rc = open_slot(e, &e->slots[i]);
    for (unsigned i = 0; i < in_flight && rc == 0; i++) {
        nng_msg *msg;
        rc = nng_msg_alloc(&msg, bytes);
        if (rc != 0)
            break;
        memset(nng_msg_body(msg), 'e', bytes);
        atomic_fetch_add(&e->under_way, 1);
        send_next(&e->slots[i], msg);
    }
    if (rc == 0)
        return e;
    echo_free(e);
    bench_fail(b, "echo client: %s", nng_strerror(rc));
    return NULL;
}

uint64_t echo_done(void *echo)
{
    return atomic_load_explicit(&((struct echo *)echo)->done, memory_order_relaxed);
}

int echo_stop(struct bench *b, struct echo *e)
{
    atomic_store(&e->stopping, true);
    double until_s = now_s() + 2 * ANSWER_TIMEOUT_MS / 1000.0;
    while (atomic_load(&e->under_way) > 0 && now_s() < until_s)
        sleep_s(0.002);
    unsigned lost = atomic_load(&e->lost) + atomic_load(&e->under_way);
    echo_free(e);
    return lost == 0 ? 0 : bench_fail(b, "echo client: %u messages were lost", lost);
}
