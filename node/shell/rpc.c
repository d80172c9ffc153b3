/* See rpc.h. Each context has one aio that is in one of two states: receiving or sending. While a
 * request is with the core, the aio rests. */
#include "node/shell/rpc.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/invariant.h"
#include "node/shell/json_calls.h"
#include "node/shell/log.h"

enum {
    CONTEXTS_GROW = 64,
    ARENA_CHUNK_BYTES = 32 << 10,
    ARENA_BYTES_MAX = 4 * RPC_FRAME_BYTES_MAX, /* of one request: decoded, results, replies */
};

struct rpc_context {
    struct runtime_request request; /* .data = this */
    struct rpc_server *server;
    nng_ctx ctx;
    nng_aio *aio;
    struct arena arena;
    struct rpc_request rpc;
    bool sending;
};

struct rpc_server {
    struct core *core;
    nng_socket socket;
    nng_listener listener;
    uint32_t max;
    pthread_mutex_t lock; /* of the list of contexts */
    struct rpc_context **contexts;
    uint32_t contexts_n;
    atomic_uint idle; /* contexts that wait for a request */
    atomic_size_t sending;
    atomic_bool closing;
    atomic_size_t malformed;
};

static void grow(struct rpc_server *s);

/* ---- receiving ---- */

static void receive(struct rpc_context *c)
{
    c->sending = false;
    atomic_fetch_add(&c->server->idle, 1);
    nng_ctx_recv(c->ctx, c->aio);
}

static void send_reply(struct rpc_context *c, const struct rpc_reply *reply)
{
    nng_msg *msg;
    size_t size = rpc_reply_size(reply);
    if (nng_msg_alloc(&msg, size) != 0) { /* the client's deadline will tell it */
        arena_reset(&c->arena);
        receive(c);
        return;
    }
    size_t written = rpc_reply_encode(reply, nng_msg_body(msg));
    INVARIANT(written == size);
    arena_reset(&c->arena);
    c->sending = true;
    atomic_fetch_add(&c->server->sending, 1);
    nng_aio_set_msg(c->aio, msg);
    nng_ctx_send(c->ctx, c->aio);
}

static void refuse(struct rpc_context *c, enum troupe_status status, const char *why)
{
    if (atomic_fetch_add(&c->server->malformed, 1) < LOG_BURST)
        log_line(LOG_LEVEL_WARN, "a client sent what is no request", "why", why, NULL);
    send_reply(c, &(struct rpc_reply){.status = (uint8_t)status, .message = troupe_bytes_of(why)});
}

static void on_request(struct rpc_context *c, nng_msg *msg)
{
    const char *why = "";
    struct troupe_bytes frame = {nng_msg_body(msg), nng_msg_len(msg)};
    int rc = rpc_request_decode(&c->arena, frame, &c->rpc, &why);
    nng_msg_free(msg);
    if (rc != 0) {
        refuse(c, rc == TROUPE_ELIMIT ? TROUPE_RESOURCE_EXHAUSTED : TROUPE_INVALID_ARGUMENT, why);
        return;
    }
    if (runtime_request_init(&c->request, &c->arena, &c->rpc) != 0) {
        refuse(c, TROUPE_RESOURCE_EXHAUSTED,
               "the request needs too much memory: send smaller batches");
        return;
    }
    json_calls_in(c->server->core->rt, &c->request, &c->rpc);
    core_push_request(c->server->core, &c->request);
    core_run(c->server->core);
}

static void on_aio(void *data)
{
    struct rpc_context *c = data;
    struct rpc_server *s = c->server;
    int rc = nng_aio_result(c->aio);
    if (c->sending) {
        atomic_fetch_sub(&s->sending, 1);
        if (rc != 0) /* the peer is gone: nobody to tell */
            nng_msg_free(nng_aio_get_msg(c->aio));
        if (!atomic_load(&s->closing))
            receive(c);
        return;
    }
    unsigned idle = atomic_fetch_sub(&s->idle, 1);
    if (rc != 0) {
        if (rc != NNG_ECLOSED && rc != NNG_ECANCELED && !atomic_load(&s->closing))
            receive(c);
        return;
    }
    if (idle == 1)
        grow(s);
    on_request(c, nng_aio_get_msg(c->aio));
}

/* ---- replying ---- */

/* A reply that cannot be sent whole: every call is told. */
static void cut_down(struct runtime_request *request)
{
    for (size_t i = 0; i < request->reply.results_n; i++) {
        struct rpc_result *r = &request->reply.results[i];
        *r = (struct rpc_result){
            .status = TROUPE_RESOURCE_EXHAUSTED, .version = r->version, .ack = r->ack};
        r->message = troupe_bytes_of(
            "executed, but the replies of this batch are larger than 32 MiB together: "
            "ask for less at once");
    }
}

void rpc_reply(void *server, struct runtime_request *request)
{
    struct rpc_server *s = server;
    struct rpc_context *c = request->data;
    json_calls_out(s->core->rt, request);
    if (rpc_reply_size(&request->reply) > RPC_FRAME_BYTES_MAX)
        cut_down(request);
    send_reply(c, &request->reply);
}

size_t rpc_sending(struct rpc_server *server)
{
    return atomic_load(&server->sending);
}

/* ---- contexts ---- */

static struct rpc_context *context_new(struct rpc_server *s)
{
    struct rpc_context *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->server = s;
    c->request.data = c;
    arena_init(&c->arena, ARENA_CHUNK_BYTES, ARENA_BYTES_MAX);
    if (nng_ctx_open(&c->ctx, s->socket) != 0) {
        free(c);
        return NULL;
    }
    if (nng_aio_alloc(&c->aio, on_aio, c) != 0) {
        nng_ctx_close(c->ctx);
        free(c);
        return NULL;
    }
    return c;
}

/* The last idle context has got work: more of them, so that the next request is heard. */
static void grow(struct rpc_server *s)
{
    struct rpc_context *fresh[CONTEXTS_GROW];
    uint32_t n = 0;
    pthread_mutex_lock(&s->lock);
    while (n < CONTEXTS_GROW && s->contexts_n < s->max) {
        struct rpc_context *c = context_new(s);
        if (c == NULL)
            break;
        s->contexts[s->contexts_n++] = fresh[n++] = c;
    }
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < n; i++)
        receive(fresh[i]);
}

/* ---- listening ---- */

static int listen_failed(struct rpc_server *s, int rc, const char *url,
                         char errmsg[RPC_ERRMSG_BYTES])
{
    nng_close(s->socket);
    pthread_mutex_destroy(&s->lock);
    free(s->contexts);
    free(s);
    if (rc == NNG_EADDRINUSE) {
        snprintf(errmsg, RPC_ERRMSG_BYTES,
                 "cannot listen on %s: the address is in use. Is another node running? Choose "
                 "another --listen, "
                 "or port 0 for a free one",
                 url);
        return TROUPE_EBUSY;
    }
    snprintf(errmsg, RPC_ERRMSG_BYTES, "cannot listen on %s: %s. --listen takes HOST:PORT", url,
             nng_strerror(rc));
    return rc == NNG_EADDRINVAL || rc == NNG_ENOTSUP ? TROUPE_EINVAL : TROUPE_EIO;
}

/* "tcp://127.0.0.1:0" with the port that was taken. */
static void tell_bound(struct rpc_server *s, const char *url, char bound[RPC_ADDRESS_BYTES])
{
    int port = 0;
    const char *host = strncmp(url, "tcp://", 6) == 0 ? url + 6 : url;
    const char *colon = strrchr(host, ':');
    if (host != url && colon != NULL &&
        nng_listener_get_int(s->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        snprintf(bound, RPC_ADDRESS_BYTES, "%.*s:%d", (int)(colon - host), host, port);
    else
        snprintf(bound, RPC_ADDRESS_BYTES, "%s", host);
}

int rpc_listen(struct rpc_server **server, struct core *core, const char *address,
               uint32_t inflight_max, char bound[RPC_ADDRESS_BYTES], char errmsg[RPC_ERRMSG_BYTES])
{
    char url[RPC_ADDRESS_BYTES];
    struct rpc_server *s = calloc(1, sizeof *s);
    snprintf(errmsg, RPC_ERRMSG_BYTES, "out of memory");
    snprintf(url, sizeof url, "%s%s", strstr(address, "://") == NULL ? "tcp://" : "", address);
    if (s == NULL)
        return TROUPE_ENOMEM;
    s->core = core;
    s->max = inflight_max;
    s->contexts = calloc(inflight_max, sizeof *s->contexts);
    if (s->contexts == NULL || pthread_mutex_init(&s->lock, NULL) != 0 ||
        nng_rep0_open(&s->socket) != 0) {
        free(s->contexts);
        free(s);
        return TROUPE_ENOMEM;
    }
    int rc = nng_listener_create(&s->listener, s->socket, url);
    if (rc == 0)
        rc = nng_listener_set_size(s->listener, NNG_OPT_RECVMAXSZ, RPC_FRAME_BYTES_MAX);
    if (rc == 0 && strncmp(url, "tcp", 3) == 0) {
        nng_listener_set_bool(s->listener, NNG_OPT_TCP_NODELAY, true);
        nng_listener_set_bool(s->listener, NNG_OPT_TCP_KEEPALIVE, true);
    }
    if (rc == 0)
        rc = nng_listener_start(s->listener, 0);
    if (rc != 0)
        return listen_failed(s, rc, url, errmsg);
    tell_bound(s, url, bound);
    errmsg[0] = '\0';
    *server = s;
    return 0;
}

void rpc_start(struct rpc_server *server)
{
    grow(server);
}

void rpc_close(struct rpc_server *server)
{
    if (server == NULL)
        return;
    atomic_store(&server->closing, true);
    nng_close(server->socket);
    for (uint32_t i = 0; i < server->contexts_n; i++) {
        struct rpc_context *c = server->contexts[i];
        nng_aio_stop(c->aio);
        nng_aio_free(c->aio);
        arena_close(&c->arena);
        free(c);
    }
    pthread_mutex_destroy(&server->lock);
    free(server->contexts);
    free(server);
}
