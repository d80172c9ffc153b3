/* See rpc.h. Here: listening, accepting, the end. */
#include "node/shell/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/invariant.h"
#include "node/shell/log.h"
#include "node/shell/rpc_impl.h"

enum { ACCEPT_REST_MS = 100 /* after an error */ };

/* ---- accepting ---- */

static void accept_next(struct rpc_server *s)
{
    s->accept_rests = false;
    nng_stream_listener_accept(s->listener, s->accept_aio);
}

static void accept_failed(struct rpc_server *s, int rc)
{
    nng_duration rest_ms = ACCEPT_REST_MS;
    if (rc == NNG_ENOFILES)
        rest_ms = rpc__no_descriptor(s);
    else
        log_line(LOG_LEVEL_WARN, "cannot accept a client", "why", nng_strerror(rc), NULL);
    if (rest_ms == 0) {
        accept_next(s);
        return;
    }
    s->accept_rests = true;
    nng_sleep_aio(rest_ms, s->accept_aio);
}

static void take_in(struct rpc_server *s, nng_stream *stream)
{
    if (rpc__may_have_spare(s, stream))
        rpc__conn_open(s, stream);
    else
        nng_stream_free(stream);
}

static void on_accept(void *server)
{
    struct rpc_server *s = server;
    int rc = nng_aio_result(s->accept_aio);
    if (atomic_load(&s->closing) || rc == NNG_ECLOSED) {
        if (rc == 0 && !s->accept_rests)
            nng_stream_free(nng_aio_get_output(s->accept_aio, 0));
        return;
    }
    if (rc != 0 && !s->accept_rests) {
        accept_failed(s, rc);
        return;
    }
    if (!s->accept_rests)
        take_in(s, nng_aio_get_output(s->accept_aio, 0));
    accept_next(s);
}

void rpc_start(struct rpc_server *s, struct core *core)
{
    s->core = core;
    rpc__places_start(s);
    accept_next(s);
}

/* ---- listening ---- */

static int listen_failed(int rc, const char *address, char errmsg[RPC_ERRMSG_BYTES])
{
    if (rc == NNG_EADDRINUSE) {
        snprintf(errmsg, RPC_ERRMSG_BYTES,
                 "cannot listen on %s: the address is in use. Is another node running? Choose "
                 "another --listen, or port 0 for a free one",
                 address);
        return TROUPE_EBUSY;
    }
    snprintf(errmsg, RPC_ERRMSG_BYTES,
             "cannot listen on %s: %s. Is it an address of this machine, and may you use it?",
             address, nng_strerror(rc));
    return rc == NNG_ENOMEM ? TROUPE_ENOMEM : TROUPE_EIO;
}

static int start_listening(struct rpc_server *s, const char *url)
{
    int rc = nng_stream_listener_alloc(&s->listener, url);
    if (rc == 0)
        rc = nng_aio_alloc(&s->accept_aio, on_accept, s);
    if (rc == 0)
        rc = nng_aio_alloc(&s->tick_aio, rpc__places_tick, s);
    if (rc == 0 && !s->ipc)
        rc = nng_stream_listener_set_bool(s->listener, NNG_OPT_TCP_NODELAY, true);
    if (rc == 0 && !s->ipc)
        rc = nng_stream_listener_set_bool(s->listener, NNG_OPT_TCP_KEEPALIVE, true);
    return rc == 0 ? nng_stream_listener_listen(s->listener) : rc;
}

/* "127.0.0.1:0" with the port that was taken. */
static void tell_bound(struct rpc_server *s, const char *address, char bound[RPC_ADDRESS_BYTES])
{
    int port = 0;
    const char *colon = strrchr(address, ':');
    if (!s->ipc && colon != NULL &&
        nng_stream_listener_get_int(s->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        snprintf(bound, RPC_ADDRESS_BYTES, "%.*s:%d", (int)(colon - address), address, port);
    else
        snprintf(bound, RPC_ADDRESS_BYTES, "%s", address);
}

static void server_free(struct rpc_server *s)
{
    if (s->accept_aio != NULL)
        nng_aio_free(s->accept_aio);
    if (s->tick_aio != NULL)
        nng_aio_free(s->tick_aio);
    rpc__places_close(s);
    if (s->listener != NULL)
        nng_stream_listener_free(s->listener);
    rpc__reaper_stop(s);
    rpc__exchange_pool_free(s);
    pthread_cond_destroy(&s->gone);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct rpc_server *server_new(const struct rpc_options *options)
{
    pthread_condattr_t attr;
    struct rpc_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->options = *options;
    s->ipc = strncmp(options->address, "ipc://", 6) == 0;
    s->options.address = NULL; /* the caller's */
    if (s->options.hello_ms == 0)
        s->options.hello_ms = RPC_HELLO_MS;
    if (s->options.stalled_ms == 0)
        s->options.stalled_ms = RPC_STALLED_MS;
    rpc__places_init(s);
    s->memory.max = options->memory_max;
    list_init(&s->conns);
    list_init(&s->paused);
    list_init(&s->doomed);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->gone, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    if (rpc__reaper_start(s))
        return s;
    server_free(s);
    return NULL;
}

int rpc_listen(struct rpc_server **server, const struct rpc_options *options,
               char bound[RPC_ADDRESS_BYTES], char errmsg[RPC_ERRMSG_BYTES])
{
    char url[RPC_ADDRESS_BYTES];
    struct rpc_server *s = server_new(options);
    snprintf(errmsg, RPC_ERRMSG_BYTES, "out of memory");
    if (s == NULL)
        return TROUPE_ENOMEM;
    snprintf(url, sizeof url, "%s%s", s->ipc ? "" : "tcp://", options->address);
    int rc = start_listening(s, url);
    if (rc != 0) {
        server_free(s);
        return listen_failed(rc, options->address, errmsg);
    }
    tell_bound(s, options->address, bound);
    errmsg[0] = '\0';
    *server = s;
    return 0;
}

/* ---- the end ---- */

bool rpc_is_quiet(struct rpc_server *s)
{
    pthread_mutex_lock(&s->lock);
    bool quiet = s->exchanges_n == s->pool_n;
    for (struct list *node = s->conns.next; quiet && node != &s->conns; node = node->next) {
        struct rpc_conn *c = LIST_ENTRY(node, struct rpc_conn, link);
        quiet = atomic_load(&c->closed) || atomic_load(&c->out_bytes) == 0;
    }
    pthread_mutex_unlock(&s->lock);
    return quiet;
}

static void close_conns(struct rpc_server *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct list *node = list_pop(&s->conns);
        struct rpc_conn *c = node == NULL ? NULL : LIST_ENTRY(node, struct rpc_conn, link);
        bool kept = c != NULL && rpc__conn_try_ref(c);
        if (kept)
            list_push(&s->doomed, &c->link);
        pthread_mutex_unlock(&s->lock);
        if (c == NULL)
            return;
        if (kept) {
            rpc__conn_close(c, NULL);
            rpc__conn_unref(c);
        }
    }
}

static bool wait_for_conns(struct rpc_server *s, uint32_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    while (s->conns_n > 0 && rc == 0)
        rc = pthread_cond_timedwait(&s->gone, &s->lock, &until);
    bool gone = s->conns_n == 0;
    pthread_mutex_unlock(&s->lock);
    return gone;
}

bool rpc_close(struct rpc_server *s, uint32_t timeout_ms)
{
    if (s == NULL)
        return true;
    atomic_store(&s->closing, true);
    nng_stream_listener_close(s->listener);
    nng_aio_stop(s->accept_aio);
    nng_aio_stop(s->tick_aio);
    close_conns(s);
    if (!wait_for_conns(s, timeout_ms))
        return false;
    INVARIANT(s->exchanges_n == s->pool_n && atomic_load(&s->memory.used) == 0);
    server_free(s);
    return true;
}
