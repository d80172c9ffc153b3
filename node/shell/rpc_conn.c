/* A connection's life: accepted, greeted, closed by either side, done with its last reference; then
 * rpc_reaper.c frees it. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/log.h"
#include "node/shell/rpc_impl.h"

enum { PEER_BYTES = 80 };

/* SP: a zero, "SP", a zero, the protocol (REP), two zeros. */
static const uint8_t HELLO[RPC_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};

static struct rpc_conn *conn_new(struct rpc_server *s, nng_stream *stream)
{
    struct rpc_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->server = s;
    c->stream = stream;
    atomic_init(&c->refs, 1);
    list_init(&c->link);
    list_init(&c->pause_link);
    list_init(&c->place.by_host); /* it has no place yet */
    if (nng_aio_alloc(&c->recv_aio, rpc__recv_done, c) != 0 ||
        nng_aio_alloc(&c->send_aio, rpc__send_done, c) != 0) {
        nng_aio_free(c->recv_aio);
        free(c);
        return NULL;
    }
    c->opened_ms = nng_clock();
    nng_aio_set_timeout(c->send_aio, (nng_duration)s->options.stalled_ms);
    pthread_mutex_init(&c->gate, NULL);
    pthread_mutex_init(&c->mu, NULL);
    return c;
}

void rpc__conn_free(struct rpc_conn *c)
{
    nng_aio_free(c->recv_aio); /* the operations first: see rpc_reaper.c */
    nng_aio_free(c->send_aio);
    nng_stream_free(c->stream);
    for (int i = 0; i < 2; i++) {
        rpc__large_give(c->server, c->out[i].large);
        free(c->out[i].data);
    }
    if (c->in.capacity > RPC_IN_BYTES)
        rpc__large_give(c->server, c->in.capacity);
    free(c->in.data);
    pthread_mutex_destroy(&c->gate);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

void rpc__conn_open(struct rpc_server *s, nng_stream *stream)
{
    struct rpc_conn *c = conn_new(s, stream);
    if (c == NULL) {
        nng_stream_free(stream);
        return;
    }
    if (!rpc__place_take(c)) {
        rpc__conn_free(c);
        return;
    }
    uint8_t *p = rpc__out_begin(c, RPC_HELLO_BYTES, false);
    if (p != NULL) {
        memcpy(p, HELLO, RPC_HELLO_BYTES);
        rpc__out_end(c, RPC_HELLO_BYTES);
        rpc__out_flush(c);
    }
    rpc__recv_go_on(c, false);
}

void rpc__conn_ref(struct rpc_conn *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

bool rpc__conn_try_ref(struct rpc_conn *c)
{
    unsigned refs = atomic_load(&c->refs);
    while (refs > 0 && !atomic_compare_exchange_weak(&c->refs, &refs, refs + 1)) {
    }
    return refs > 0;
}

void rpc__conn_unref(struct rpc_conn *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    INVARIANT(atomic_load(&c->closed) && !c->paused && c->in_flight == 0);
    rpc__reaper_take(c);
}

/* "127.0.0.1:4711". */
static void peer_name(struct rpc_conn *c, char name[PEER_BYTES])
{
    nng_sockaddr sa;
    char host[INET6_ADDRSTRLEN] = "";
    name[0] = '\0';
    if (nng_stream_get_addr(c->stream, NNG_OPT_REMADDR, &sa) != 0)
        return;
    if (sa.s_family == NNG_AF_INET &&
        inet_ntop(AF_INET, &sa.s_in.sa_addr, host, sizeof host) != NULL)
        snprintf(name, PEER_BYTES, "%s:%u", host, ntohs(sa.s_in.sa_port));
    else if (sa.s_family == NNG_AF_INET6 &&
             inet_ntop(AF_INET6, sa.s_in6.sa_addr, host, sizeof host) != NULL)
        snprintf(name, PEER_BYTES, "[%s]:%u", host, ntohs(sa.s_in6.sa_port));
}

void rpc__conn_close(struct rpc_conn *c, const char *why)
{
    struct rpc_server *s = c->server;
    char peer[PEER_BYTES] = "";
    pthread_mutex_lock(&c->gate);
    bool first = !atomic_exchange(&c->closed, true);
    if (first) {
        if (why != NULL)
            peer_name(c, peer);
        nng_stream_close(c->stream);
    }
    pthread_mutex_unlock(&c->gate);
    if (!first)
        return;
    if (why != NULL)
        log_line(LOG_LEVEL_WARN, "closed a client's connection", "peer", peer, "why", why, NULL);
    pthread_mutex_lock(&s->lock);
    places_leave(&s->places, &c->place);
    bool paused = c->paused; /* nobody receives who could see that it is closed */
    c->paused = false;
    if (paused)
        list_remove(&c->pause_link);
    pthread_mutex_unlock(&s->lock);
    if (paused)
        rpc__conn_unref(c);
}

/* A client that has gone is no news. */
void rpc__conn_close_nng(struct rpc_conn *c, const char *doing, int rc)
{
    char why[128];
    bool news = rc == NNG_ETIMEDOUT || rc == NNG_ENOMEM;
    snprintf(why, sizeof why, "%s: %s", doing, nng_strerror(rc));
    rpc__conn_close(c, news ? why : NULL);
}

bool rpc__conn_is_over(const struct rpc_conn *c)
{
    return c->ended && c->in_flight == 0 && atomic_load(&c->out_bytes) == 0;
}

void rpc__conn_ended(struct rpc_conn *c)
{
    struct rpc_server *s = c->server;
    pthread_mutex_lock(&s->lock);
    c->ended = true;
    bool over = rpc__conn_is_over(c);
    pthread_mutex_unlock(&s->lock);
    if (over)
        rpc__conn_close(c, NULL);
}

nng_duration rpc__time_left(const struct rpc_conn *c, nng_time since_ms, size_t bytes)
{
    uint64_t all_ms = c->server->options.stalled_ms + (uint64_t)bytes * 1000 / RPC_RATE_MIN;
    uint64_t spent_ms = nng_clock() - since_ms;
    return spent_ms < all_ms ? (nng_duration)(all_ms - spent_ms) : 0;
}
