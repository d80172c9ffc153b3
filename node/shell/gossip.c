/* See gossip.h. Here: opening, what wakes the loop up, the end. */
#include "node/shell/gossip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/gossip_impl.h"
#include "node/shell/log.h"
#include "troupe/error.h"

/* ---- the loop's side of nng ---- */

/* On one of nng's threads. The wake-up is sent under the lock, so that who has seen the operation
 * finished can free everything. */
static void op_finished(void *arg)
{
    struct gossip_op *op = arg;
    struct gossip *g = op->g;
    pthread_mutex_lock(&g->lock);
    list_push(&g->inbox, &op->link);
    uv_async_send(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

int gossip__op_init(struct gossip_op *op, struct gossip *g, void (*done)(struct gossip_op *))
{
    list_init(&op->link);
    op->g = g;
    op->done = done;
    return nng_aio_alloc(&op->aio, op_finished, op) == 0 ? 0 : TROUPE_ENOMEM;
}

static void on_wake(uv_async_t *handle)
{
    struct gossip *g = handle->data;
    struct list *node;
    pthread_mutex_lock(&g->lock);
    list_splice(&g->arrived, &g->inbox);
    pthread_mutex_unlock(&g->lock);
    for (int i = 0; i < GOSSIP_TURN_OPS_MAX && (node = list_pop(&g->arrived)) != NULL; i++) {
        struct gossip_op *op = LIST_ENTRY(node, struct gossip_op, link);
        op->done(op);
    }
    if (!list_is_empty(&g->arrived)) /* others have a right to the loop, too */
        uv_async_send(&g->wake);
}

uint64_t gossip__now_ms(const struct gossip *g)
{
    return uv_now(g->loop);
}

static void on_timer(uv_timer_t *handle)
{
    struct gossip *g = handle->data;
    g->timer_ms = 0;
    if (g->accept_ms != 0 && g->accept_ms <= gossip__now_ms(g))
        gossip__accept_next(g);
    else if (g->accept_ms != 0)
        gossip__wake_at(g, g->accept_ms);
    gossip__peers_due(g);
}

void gossip__wake_at(struct gossip *g, uint64_t at_ms)
{
    uint64_t now = gossip__now_ms(g);
    if (g->closing || (g->timer_ms != 0 && g->timer_ms <= at_ms))
        return;
    g->timer_ms = at_ms > now ? at_ms : now + 1;
    uv_timer_start(&g->timer, on_timer, g->timer_ms - now, 0);
}

/* ---- opening ---- */

static int open_failed(int rc, const char *address, char errmsg[GOSSIP_ERRMSG_BYTES])
{
    if (rc == NNG_EADDRINUSE) {
        snprintf(errmsg, GOSSIP_ERRMSG_BYTES,
                 "cannot listen for gossip on %s: the address is in use. Is another node running? "
                 "Choose another one, or port 0 for a free one",
                 address);
        return TROUPE_EBUSY;
    }
    snprintf(errmsg, GOSSIP_ERRMSG_BYTES,
             "cannot listen for gossip on %s: %s. Is it an address of this machine, and may you "
             "use it?",
             address, nng_strerror(rc));
    if (rc == NNG_ENOMEM)
        return TROUPE_ENOMEM;
    return rc == NNG_EADDRINVAL || rc == NNG_EINVAL ? TROUPE_EINVAL : TROUPE_EIO;
}

static uint32_t either(uint32_t given, uint32_t otherwise)
{
    return given == 0 ? otherwise : given;
}

static void take_options(struct gossip *g, const struct gossip_options *o)
{
    g->options = *o;
    g->options.address = NULL; /* the caller's */
    g->options.queue_frames_max = either(o->queue_frames_max, GOSSIP_QUEUE_FRAMES_MAX);
    g->options.connect_timeout_ms = either(o->connect_timeout_ms, GOSSIP_CONNECT_MS);
    g->options.backoff_min_ms = either(o->backoff_min_ms, GOSSIP_BACKOFF_MIN_MS);
    g->options.backoff_max_ms = either(o->backoff_max_ms, GOSSIP_BACKOFF_MAX_MS);
    g->options.stalled_ms = either(o->stalled_ms, GOSSIP_STALLED_MS);
    g->options.idle_ms = either(o->idle_ms, GOSSIP_IDLE_MS);
    g->options.peers_max = either(o->peers_max, GOSSIP_PEERS_MAX);
    g->options.incoming_max = either(o->incoming_max, GOSSIP_INCOMING_MAX);
    g->options.first_frame_ms = either(o->first_frame_ms, GOSSIP_FIRST_FRAME_MS);
    g->options.strangers_max = either(o->strangers_max, GOSSIP_STRANGERS_MAX);
    g->options.host_max = either(o->host_max, GOSSIP_HOST_MAX);
    g->options.known_host_max = either(o->known_host_max, g->options.incoming_max / 2);
}

static struct gossip *gossip_new(uv_loop_t *loop, const struct gossip_options *o)
{
    struct gossip *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    take_options(g, o);
    gossip__places_init(g);
    g->loop = loop;
    g->dice = uv_hrtime() | 1;
    list_init(&g->in);
    list_init(&g->out);
    list_init(&g->dying);
    list_init(&g->peers);
    for (int i = 0; i < GOSSIP_HASH_BUCKETS; i++)
        list_init(&g->hash[i]);
    list_init(&g->arrived);
    list_init(&g->inbox);
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

static void gossip_free(struct gossip *g)
{
    nng_aio_free(g->accept.aio);
    if (g->listener != NULL)
        nng_stream_listener_free(g->listener);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static int start_listening(struct gossip *g, const char *address)
{
    char url[GOSSIP_URL_BYTES];
    if (strlen(address) >= GOSSIP_ADDRESS_BYTES)
        return NNG_EADDRINVAL;
    snprintf(url, sizeof url, "tcp://%s", address);
    int rc = nng_stream_listener_alloc(&g->listener, url);
    if (rc == 0 && gossip__op_init(&g->accept, g, gossip__accepted) != 0)
        rc = NNG_ENOMEM;
    if (rc == 0)
        rc = nng_stream_listener_set_bool(g->listener, NNG_OPT_TCP_NODELAY, true);
    if (rc == 0)
        rc = nng_stream_listener_set_bool(g->listener, NNG_OPT_TCP_KEEPALIVE, true);
    return rc == 0 ? nng_stream_listener_listen(g->listener) : rc;
}

/* "127.0.0.1:0" with the port that was taken. */
static void tell_bound(struct gossip *g, const char *address, char bound[GOSSIP_ADDRESS_BYTES])
{
    int port = 0;
    const char *colon = strrchr(address, ':');
    if (colon != NULL &&
        nng_stream_listener_get_int(g->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        snprintf(bound, GOSSIP_ADDRESS_BYTES, "%.*s:%d", (int)(colon - address), address, port);
    else
        snprintf(bound, GOSSIP_ADDRESS_BYTES, "%s", address);
}

int gossip_open(struct gossip **out, uv_loop_t *loop, const struct gossip_options *o,
                char bound[GOSSIP_ADDRESS_BYTES], char errmsg[GOSSIP_ERRMSG_BYTES])
{
    struct gossip *g = gossip_new(loop, o);
    snprintf(errmsg, GOSSIP_ERRMSG_BYTES, "out of memory");
    if (g == NULL)
        return TROUPE_ENOMEM;
    int rc = start_listening(g, o->address);
    if (rc != 0) {
        gossip_free(g);
        return open_failed(rc, o->address, errmsg);
    }
    rc = uv_async_init(loop, &g->wake, on_wake); /* last: only the loop can take it back */
    if (rc != 0) {
        gossip_free(g);
        snprintf(errmsg, GOSSIP_ERRMSG_BYTES, "cannot wake the loop up: %s", uv_strerror(rc));
        return TROUPE_EIO;
    }
    uv_timer_init(loop, &g->timer);
    g->wake.data = g->timer.data = g;
    g->handles_n = 2;
    tell_bound(g, o->address, bound);
    gossip__accept_next(g);
    errmsg[0] = '\0';
    *out = g;
    return 0;
}

void gossip_stats(const struct gossip *g, struct gossip_stats *stats)
{
    *stats = g->stats;
}

/* ---- the log ---- */

/* "127.0.0.1:4711", or "". */
static void name_of(struct gossip_conn *c, char *name, size_t size)
{
    nng_sockaddr sa;
    char host[INET6_ADDRSTRLEN] = "";
    name[0] = '\0';
    if (c == NULL || c->stream == NULL || nng_stream_get_addr(c->stream, NNG_OPT_REMADDR, &sa) != 0)
        return;
    if (sa.s_family == NNG_AF_INET &&
        inet_ntop(AF_INET, &sa.s_in.sa_addr, host, sizeof host) != NULL)
        snprintf(name, size, "%s:%u", host, ntohs(sa.s_in.sa_port));
    else if (sa.s_family == NNG_AF_INET6 &&
             inet_ntop(AF_INET6, sa.s_in6.sa_addr, host, sizeof host) != NULL)
        snprintf(name, size, "[%s]:%u", host, ntohs(sa.s_in6.sa_port));
}

void gossip__complain(struct gossip *g, struct gossip_conn *c, const char *why)
{
    char name[INET6_ADDRSTRLEN + 10];
    uint64_t now = gossip__now_ms(g);
    if (g->complained_ms != 0 && now - g->complained_ms < GOSSIP_COMPLAIN_MS)
        return;
    g->complained_ms = now + (now == 0);
    name_of(c, name, sizeof name);
    log_line(LOG_LEVEL_WARN, "gossip", "peer", name, "why", why, NULL);
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct gossip *g = handle->data;
    void (*closed)(void *) = g->closed;
    void *data = g->closed_data;
    if (--g->handles_n > 0)
        return;
    gossip_free(g);
    if (closed != NULL)
        closed(data);
}

void gossip__ended(struct gossip *g)
{
    if (!g->closing || g->ended || g->conns_n > 0 || g->accept.busy)
        return;
    INVARIANT(list_is_empty(&g->arrived) && g->stats.peers == 0);
    g->ended = true;
    /* Its callback has put the operation into the inbox, and may not have returned yet. */
    nng_aio_stop(g->accept.aio);
    uv_close((uv_handle_t *)&g->wake, on_handle_closed);
    uv_close((uv_handle_t *)&g->timer, on_handle_closed);
}

static void close_all(struct list *conns)
{
    struct list *node;
    while ((node = conns->next) != conns)
        gossip__conn_close(LIST_ENTRY(node, struct gossip_conn, link));
}

void gossip_close(struct gossip *g, void (*closed)(void *data), void *data)
{
    INVARIANT(!g->closing);
    g->closing = true;
    g->closed = closed;
    g->closed_data = data;
    uv_timer_stop(&g->timer);
    nng_stream_listener_close(g->listener);
    gossip__peers_free(g);
    INVARIANT(list_is_empty(&g->out));
    close_all(&g->in);
    gossip__ended(g);
}
