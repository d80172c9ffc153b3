/* See peers.h. Here: opening, the loop's turns, closing. */
#include "node/shell/peers.h"

#include <stdlib.h>

#include "node/shell/clock.h"
#include "node/shell/peers_impl.h"
#include "troupe/error.h"

/* ---- waking the loop ---- */

void peers__attend(struct peer *peer)
{
    if (!peer->dropped && list_is_empty(&peer->attention))
        list_push(&peer->owner->attention, &peer->attention);
}

void peers__unlock(struct peers *p)
{
    bool wake =
        p->failed.first != NULL || !list_is_empty(&p->attention) || !list_is_empty(&p->dropped);
    pthread_mutex_unlock(&p->mu);
    if (wake)
        uv_async_send(&p->async);
}

/* ---- the loop's turns ---- */

static void tell_failed(struct peers *p)
{
    pthread_mutex_lock(&p->mu);
    struct runtime_peer_request *failed = p->failed.first;
    peers__finished_init(&p->failed);
    pthread_mutex_unlock(&p->mu);
    if (failed != NULL)
        p->options.done(p->options.data, failed);
}

static struct peer *next_attention(struct peers *p)
{
    pthread_mutex_lock(&p->mu);
    struct list *l = list_pop(&p->attention);
    pthread_mutex_unlock(&p->mu);
    return l == NULL ? NULL : LIST_ENTRY(l, struct peer, attention);
}

static struct peer *next_dropped(struct peers *p)
{
    pthread_mutex_lock(&p->mu);
    struct list *l = list_pop(&p->dropped);
    pthread_mutex_unlock(&p->mu);
    return l == NULL ? NULL : LIST_ENTRY(l, struct peer, link);
}

static void on_timer(uv_timer_t *timer);

/* Each peer at most once: one that breaks as fast as it is dialled must not keep the loop here. */
static void turn(struct peers *p)
{
    struct peer *peer;
    uint64_t now = clock_now().mono_ns;
    pthread_mutex_lock(&p->mu);
    uint32_t n = p->all_n;
    pthread_mutex_unlock(&p->mu);
    for (uint32_t i = 0; i < n && (peer = next_attention(p)) != NULL; i++)
        peers__tend(peer, now);
    while ((peer = next_dropped(p)) != NULL)
        peers__free(peer);
    if (n > 0 && !uv_is_active((uv_handle_t *)&p->timer)) {
        p->ticked_ns = now;
        uv_timer_start(&p->timer, on_timer, PEERS_TICK_MS, PEERS_TICK_MS);
    }
    tell_failed(p);
    pthread_mutex_lock(&p->mu);
    peers__unlock(p);
}

static void on_async(uv_async_t *async)
{
    struct peers *p = async->data;
    if (!p->closing)
        turn(p);
}

/* With the lock. */
static void tick(struct peer *peer, uint64_t now)
{
    peers__expire(peer, now);
    peers__ping_tick(peer, now);
    peers__pump(peer, now); /* what had no room, or no memory */
    if (!list_is_empty(&peer->queue) && peer->down)
        peers__attend(peer);
    bool idle = list_is_empty(&peer->queue) && list_is_empty(&peer->flight);
    if (idle && now > peer->used_ns + peer->owner->options.idle_ms * PEERS_NS_PER_MS)
        peers__drop(peer);
}

static void on_timer(uv_timer_t *timer)
{
    struct peers *p = timer->data;
    uint64_t now = clock_now().mono_ns;
    pthread_mutex_lock(&p->mu);
    if (now > p->ticked_ns + PEERS_LATE_MS * PEERS_NS_PER_MS)
        p->awake_ns = now;
    p->ticked_ns = now;
    for (struct list *l = p->all.next, *next; l != &p->all; l = next) {
        next = l->next;
        tick(LIST_ENTRY(l, struct peer, link), now);
    }
    if (p->all_n == 0)
        uv_timer_stop(timer);
    pthread_mutex_unlock(&p->mu);
    turn(p);
}

/* ---- opening ---- */

static void set_defaults(struct peers_options *o)
{
    if (o->in_flight_max == 0)
        o->in_flight_max = PEERS_IN_FLIGHT_MAX;
    if (o->queue_max == 0)
        o->queue_max = PEERS_QUEUE_MAX;
    if (o->queue_bytes_max == 0)
        o->queue_bytes_max = PEERS_QUEUE_BYTES_MAX;
    if (o->peers_max == 0)
        o->peers_max = PEERS_MAX;
    if (o->idle_ms == 0)
        o->idle_ms = PEERS_IDLE_MS;
    if (o->ping_ms == 0)
        o->ping_ms = PEERS_PING_MS;
    if (o->silence_ms == 0)
        o->silence_ms = PEERS_SILENCE_MS;
}

int peers_open(struct peers **peers, uv_loop_t *loop, const struct peers_options *options)
{
    struct peers *p = calloc(1, sizeof *p);
    if (p == NULL)
        return TROUPE_ENOMEM;
    p->options = *options;
    set_defaults(&p->options);
    list_init(&p->all);
    list_init(&p->dropped);
    list_init(&p->attention);
    peers__finished_init(&p->failed);
    if (uv_async_init(loop, &p->async, on_async) != 0) {
        free(p);
        return TROUPE_ENOMEM;
    }
    pthread_mutex_init(&p->mu, NULL);
    uv_timer_init(loop, &p->timer);
    p->async.data = p->timer.data = p;
    *peers = p;
    return 0;
}

void peers_stats(struct peers *p, struct peers_stats *stats)
{
    pthread_mutex_lock(&p->mu);
    *stats = p->stats;
    pthread_mutex_unlock(&p->mu);
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct peers *p = handle->data;
    if (--p->handles > 0)
        return;
    void (*closed)(void *data) = p->closed;
    void *data = p->closed_data;
    pthread_mutex_destroy(&p->mu);
    free(p);
    closed(data);
}

static struct peer *next_open(struct peers *p)
{
    pthread_mutex_lock(&p->mu);
    struct peer *peer = list_is_empty(&p->all) ? NULL : LIST_ENTRY(p->all.next, struct peer, link);
    pthread_mutex_unlock(&p->mu);
    return peer;
}

void peers_close(struct peers *p, void (*closed)(void *data), void *data)
{
    struct peer *peer;
    pthread_mutex_lock(&p->mu);
    p->closing = true;
    pthread_mutex_unlock(&p->mu);
    while ((peer = next_open(p)) != NULL) {
        peers__break(peer);
        pthread_mutex_lock(&p->mu);
        peers__drop(peer);
        pthread_mutex_unlock(&p->mu);
    }
    while ((peer = next_dropped(p)) != NULL)
        peers__free(peer);
    tell_failed(p);
    p->closed = closed;
    p->closed_data = data;
    p->handles = 2;
    uv_close((uv_handle_t *)&p->async, on_handle_closed);
    uv_close((uv_handle_t *)&p->timer, on_handle_closed);
}
