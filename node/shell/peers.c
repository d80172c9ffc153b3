/* See peers.h. One lock guards all of it; it is taken before a link's, never after, and not held
 * while callbacks run. */
#include "node/shell/peers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/list.h"
#include "client/address.h"
#include "client/link.h"
#include "node/shell/clock.h"
#include "node/shell/log.h"
#include "troupe/error.h"

#define NS_PER_MS UINT64_C(1000000)

/* A request on its way. */
struct flight {
    struct list link; /* in its peer's queue or flight */
    struct runtime_peer_request *request;
    uint32_t id;
    uint64_t position; /* in the connection's stream */
};

struct peer {
    struct list link; /* in peers.all */
    struct peers *owner;
    char address[RUNTIME_ADDRESS_BYTES];
    struct address_list addresses; /* of a name: IPv4 and IPv6 */
    size_t address_next;           /* of this round of dials */
    struct link *connection;
    bool was_up;
    struct list queue, flight;
    uint32_t queue_n, flight_n, last_id;
    uint32_t failures;  /* rounds of dials */
    uint64_t redial_ns; /* not before */
    uint64_t used_ns;
    struct runtime_peer_request *finished; /* of this burst: the link's thread only */
};

struct peers {
    struct peers_options options;
    uv_loop_t *loop;
    uv_async_t async;
    uv_timer_t timer;
    pthread_mutex_t mu;
    struct list all;
    uint32_t all_n;
    struct runtime_peer_request *failed; /* to be handed over by the loop */
    struct peers_stats stats;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    unsigned handles;
};

static uint64_t now_ns(void)
{
    return clock_now().mono_ns;
}

/* ---- requests ---- */

/* With mu held: the loop tells it. */
static void fail(struct peers *p, struct flight *f, int error)
{
    list_remove(&f->link);
    f->request->error = error;
    f->request->next = p->failed;
    p->failed = f->request;
    p->stats.lost += error == TROUPE_EOUTCOME;
    p->stats.refused += error == TROUPE_EUNAVAILABLE;
    free(f);
}

static void fail_queue(struct peer *peer, int error)
{
    while (!list_is_empty(&peer->queue))
        fail(peer->owner, LIST_ENTRY(peer->queue.next, struct flight, link), error);
    peer->queue_n = 0;
}

/* What has left may have been executed; what has not goes back to the head of the queue. */
static void settle_flights(struct peer *peer)
{
    uint64_t sent = link_sent_bytes(peer->connection);
    while (!list_is_empty(&peer->flight)) {
        struct flight *f = LIST_ENTRY(peer->flight.prev, struct flight, link);
        if (f->position < sent) {
            fail(peer->owner, f, TROUPE_EOUTCOME);
            continue;
        }
        list_remove(&f->link);
        list_push(peer->queue.next, &f->link); /* before the first: the last one comes first here */
        peer->queue_n++;
    }
    peer->flight_n = 0;
}

/* Encodes what waits into the connection; true: something is to be flushed. */
static bool pump(struct peer *peer)
{
    bool any = false;
    while (!list_is_empty(&peer->queue) && peer->flight_n < PEERS_IN_FLIGHT_MAX) {
        struct flight *f = LIST_ENTRY(peer->queue.next, struct flight, link);
        size_t size = rpc_request_size(&f->request->rpc);
        uint32_t id = ++peer->last_id & UINT32_C(0x7fffffff);
        uint8_t *body = link_frame_begin(peer->connection, id, size, &f->position);
        if (body == NULL)
            break;
        rpc_request_encode(&f->request->rpc, body);
        link_frame_end(peer->connection);
        f->id = id;
        list_remove(&f->link);
        list_push(&peer->flight, &f->link);
        peer->queue_n--;
        peer->flight_n++;
        peer->owner->stats.sent++;
        any = true;
    }
    if (any)
        link_flush(peer->connection);
    return any;
}

/* ---- events of a connection, on nng's threads ---- */

static struct flight *take_flight(struct peer *peer, uint32_t id)
{
    for (struct list *l = peer->flight.next; l != &peer->flight; l = l->next) {
        struct flight *f = LIST_ENTRY(l, struct flight, link);
        if (f->id != id)
            continue;
        list_remove(&f->link);
        peer->flight_n--;
        return f;
    }
    return NULL;
}

static void on_frame(void *data, uint32_t id, struct troupe_bytes body)
{
    struct peer *peer = data;
    struct peers *p = peer->owner;
    const char *why;
    pthread_mutex_lock(&p->mu);
    struct flight *f = take_flight(peer, id & UINT32_C(0x7fffffff));
    p->stats.unexpected += f == NULL;
    pthread_mutex_unlock(&p->mu);
    if (f == NULL) /* too late, or never asked for */
        return;
    struct runtime_peer_request *r = f->request;
    free(f);
    bool read = rpc_reply_decode(r->arena, body, &r->reply, &why) == 0;
    r->error = read ? 0 : TROUPE_EOUTCOME;
    r->next = peer->finished;
    peer->finished = r;
    pthread_mutex_lock(&p->mu);
    p->stats.replies += read;
    p->stats.malformed += !read;
    pthread_mutex_unlock(&p->mu);
}

static struct runtime_peer_request *reversed(struct runtime_peer_request *list)
{
    struct runtime_peer_request *out = NULL;
    while (list != NULL) {
        struct runtime_peer_request *next = list->next;
        list->next = out;
        out = list;
        list = next;
    }
    return out;
}

static void on_burst(void *data)
{
    struct peer *peer = data;
    struct peers *p = peer->owner;
    struct runtime_peer_request *finished = reversed(peer->finished);
    peer->finished = NULL;
    pthread_mutex_lock(&p->mu);
    if (!p->closing)
        pump(peer); /* there is room again */
    pthread_mutex_unlock(&p->mu);
    if (finished != NULL)
        p->options.done(p->options.data, finished);
}

static void on_changed(void *data, enum link_state state)
{
    struct peer *peer = data;
    struct peers *p = peer->owner;
    if (state == LINK_UP) {
        pthread_mutex_lock(&p->mu);
        if (!p->closing)
            pump(peer);
        pthread_mutex_unlock(&p->mu);
    }
    uv_async_send(&p->async);
}

/* ---- peers ---- */

static void peer_free(struct peer *peer)
{
    INVARIANT(list_is_empty(&peer->queue) && list_is_empty(&peer->flight));
    link_free(peer->connection);
    address_list_close(&peer->addresses);
    list_remove(&peer->link);
    peer->owner->all_n--;
    free(peer);
}

static struct peer *peer_new(struct peers *p, const char *address)
{
    char errmsg[256];
    struct peer *peer = p->all_n < PEERS_MAX ? calloc(1, sizeof *peer) : NULL;
    if (peer == NULL)
        return NULL;
    struct link_events events = {
        .frame = on_frame, .burst = on_burst, .changed = on_changed, .data = peer};
    peer->owner = p;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    list_init(&peer->queue);
    list_init(&peer->flight);
    if (address_list_parse(&peer->addresses, address, errmsg, sizeof errmsg) != 0) {
        free(peer);
        return NULL;
    }
    if (peer->addresses.count == 0 || link_new(&peer->connection, &events) != 0) {
        address_list_close(&peer->addresses);
        free(peer);
        return NULL;
    }
    list_init(&peer->link);
    list_push(&p->all, &peer->link);
    p->all_n++;
    return peer;
}

static struct peer *peer_of(struct peers *p, const char *address)
{
    for (struct list *l = p->all.next; l != &p->all; l = l->next) {
        struct peer *peer = LIST_ENTRY(l, struct peer, link);
        if (strcmp(peer->address, address) == 0)
            return peer;
    }
    return peer_new(p, address);
}

/* ---- sending ---- */

static struct peer *enqueue(struct peers *p, struct runtime_peer_request *r, uint64_t now)
{
    struct flight *f = malloc(sizeof *f);
    struct peer *peer = f == NULL ? NULL : peer_of(p, r->address);
    bool shut =
        peer == NULL || p->closing || peer->queue_n >= PEERS_QUEUE_MAX || now < peer->redial_ns;
    if (f == NULL) {
        r->error = TROUPE_EUNAVAILABLE;
        r->next = p->failed;
        p->failed = r;
        return NULL;
    }
    f->request = r;
    list_init(&f->link);
    if (shut) {
        fail(p, f, TROUPE_EUNAVAILABLE);
        return NULL;
    }
    list_push(&peer->queue, &f->link);
    peer->queue_n++;
    peer->used_ns = now;
    return peer;
}

void peers_send(struct peers *p, struct runtime_peer_request *requests)
{
    uint64_t now = now_ns();
    struct peer *last = NULL;
    bool wake = false;
    pthread_mutex_lock(&p->mu);
    while (requests != NULL) {
        struct runtime_peer_request *r = requests;
        requests = r->next;
        struct peer *peer = enqueue(p, r, now);
        if (last != NULL && peer != last)
            wake |= !pump(last);
        wake |= peer == NULL;
        last = peer;
    }
    if (last != NULL)
        wake |= !pump(last);
    pthread_mutex_unlock(&p->mu);
    if (wake) /* to dial, or to tell what failed */
        uv_async_send(&p->async);
}

/* ---- the loop's thread ---- */

static void log_change(const struct peer *peer, const char *what, const char *why)
{
    log_line(LOG_LEVEL_INFO, what, "address", peer->address, "why", why, NULL);
}

/* With mu held. The round of dials is over, and nobody was there. */
static void nobody_there(struct peer *peer, uint64_t now)
{
    uint64_t ms = (uint64_t)PEERS_BACKOFF_MIN_MS << (peer->failures < 5 ? peer->failures : 5);
    ms = ms < PEERS_BACKOFF_MAX_MS ? ms : PEERS_BACKOFF_MAX_MS;
    peer->failures++;
    peer->redial_ns = now + ms * NS_PER_MS;
    peer->address_next = 0;
    fail_queue(peer, TROUPE_EUNAVAILABLE);
}

static void tend_broken(struct peer *peer, uint64_t now)
{
    struct peers *p = peer->owner;
    char why[LINK_WHY_BYTES];
    link_why(peer->connection, why);
    link_reap(peer->connection); /* waits for callbacks: without mu */
    pthread_mutex_lock(&p->mu);
    settle_flights(peer);
    bool lost = peer->was_up;
    peer->was_up = false;
    if (lost)
        peer->address_next = 0;
    else if (peer->address_next >= peer->addresses.count)
        nobody_there(peer, now);
    bool first = !lost && peer->failures == 1;
    pthread_mutex_unlock(&p->mu);
    if (lost)
        log_change(peer, "the connection to a peer is lost", why);
    else if (first)
        log_change(peer, "a peer cannot be reached", why);
}

static void tend(struct peer *peer, uint64_t now)
{
    enum link_state state = link_state(peer->connection);
    if (state == LINK_UP && !peer->was_up) {
        peer->was_up = true;
        peer->failures = 0;
        log_change(peer, "connected to a peer", "");
    }
    if (state == LINK_BROKEN) {
        tend_broken(peer, now);
        state = LINK_DOWN;
    }
    pthread_mutex_lock(&peer->owner->mu);
    bool wanted = !list_is_empty(&peer->queue) && now >= peer->redial_ns;
    pthread_mutex_unlock(&peer->owner->mu);
    if (state != LINK_DOWN || !wanted)
        return;
    const struct address *to = &peer->addresses.items[peer->address_next++];
    if (link_dial(peer->connection, to) != 0) {
        pthread_mutex_lock(&peer->owner->mu);
        nobody_there(peer, now);
        pthread_mutex_unlock(&peer->owner->mu);
    }
}

/* With mu held: what is past its deadline. */
static void expire(struct peer *peer, uint64_t now)
{
    struct list *lists[] = {&peer->queue, &peer->flight};
    for (size_t i = 0; i < 2; i++) {
        for (struct list *l = lists[i]->next, *next; l != lists[i]; l = next) {
            struct flight *f = LIST_ENTRY(l, struct flight, link);
            next = l->next;
            if (f->request->deadline_ns > now)
                continue;
            fail(peer->owner, f, i == 0 ? TROUPE_EUNAVAILABLE : TROUPE_EOUTCOME);
            peer->queue_n -= i == 0;
            peer->flight_n -= i == 1;
        }
    }
}

static void tell_failed(struct peers *p)
{
    pthread_mutex_lock(&p->mu);
    struct runtime_peer_request *failed = reversed(p->failed);
    p->failed = NULL;
    pthread_mutex_unlock(&p->mu);
    if (failed != NULL)
        p->options.done(p->options.data, failed);
}

static void tend_all(struct peers *p)
{
    uint64_t now = now_ns();
    pthread_mutex_lock(&p->mu); /* senders add to the list */
    struct list *next = p->all.next;
    pthread_mutex_unlock(&p->mu);
    for (struct list *l = next; l != &p->all; l = next) {
        struct peer *peer = LIST_ENTRY(l, struct peer, link);
        tend(peer, now);
        pthread_mutex_lock(&p->mu);
        next = l->next;
        expire(peer, now);
        if (list_is_empty(&peer->queue))
            pump(peer);
        bool idle = list_is_empty(&peer->queue) && list_is_empty(&peer->flight) &&
                    now - peer->used_ns > PEERS_IDLE_MS * NS_PER_MS;
        if (idle) { /* out of sight of senders first: freeing waits for callbacks */
            list_remove(&peer->link);
            p->all_n--;
        }
        pthread_mutex_unlock(&p->mu);
        if (idle) {
            p->all_n++;
            peer_free(peer);
        }
    }
    tell_failed(p);
}

static void on_async(uv_async_t *async)
{
    struct peers *p = async->data;
    if (!p->closing)
        tend_all(p);
}

static void on_timer(uv_timer_t *timer)
{
    tend_all(timer->data);
}

int peers_open(struct peers **peers, uv_loop_t *loop, const struct peers_options *options)
{
    struct peers *p = calloc(1, sizeof *p);
    if (p == NULL)
        return TROUPE_ENOMEM;
    p->options = *options;
    p->loop = loop;
    list_init(&p->all);
    pthread_mutex_init(&p->mu, NULL);
    if (uv_async_init(loop, &p->async, on_async) != 0) {
        free(p);
        return TROUPE_ENOMEM;
    }
    uv_timer_init(loop, &p->timer);
    p->async.data = p->timer.data = p;
    uv_timer_start(&p->timer, on_timer, PEERS_TICK_MS, PEERS_TICK_MS);
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

void peers_close(struct peers *p, void (*closed)(void *data), void *data)
{
    pthread_mutex_lock(&p->mu);
    p->closing = true;
    pthread_mutex_unlock(&p->mu);
    while (!list_is_empty(&p->all)) {
        struct peer *peer = LIST_ENTRY(p->all.next, struct peer, link);
        link_break(peer->connection, "closing");
        if (link_state(peer->connection) == LINK_BROKEN)
            link_reap(peer->connection);
        pthread_mutex_lock(&p->mu);
        settle_flights(peer);
        fail_queue(peer, TROUPE_EUNAVAILABLE);
        pthread_mutex_unlock(&p->mu);
        peer_free(peer);
    }
    tell_failed(p);
    p->closed = closed;
    p->closed_data = data;
    p->handles = 2;
    uv_close((uv_handle_t *)&p->async, on_handle_closed);
    uv_close((uv_handle_t *)&p->timer, on_handle_closed);
}
