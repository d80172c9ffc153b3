/* Requests on their way into the connection, and replies on theirs back. */
#include <stdlib.h>

#include "base/invariant.h"
#include "node/shell/clock.h"
#include "node/shell/peers_impl.h"
#include "troupe/error.h"

enum { ID_MASK = 0x7fffffff };

/* ---- into the connection ---- */

/* False: there is no room just now. The connection, or the tick, will tell when to go on. */
static bool send_one(struct peer *peer, struct flight *f, uint64_t now)
{
    uint32_t id = peers__next_id(peer);
    if (!peers__flight_reserve(peer))
        return false;
    uint8_t *body = link_frame_begin(peer->connection, id, f->bytes, &f->position);
    if (body == NULL)
        return false;
    size_t written = rpc_request_encode(&f->request->rpc, body);
    INVARIANT(written == f->bytes);
    link_frame_end(peer->connection);
    peers__queue_remove(peer, f);
    f->id = id;
    peers__flight_begin(peer, f);
    peers__ping_asked(peer, now);
    peer->owner->stats.sent++;
    return true;
}

void peers__pump(struct peer *peer, uint64_t now)
{
    if (!peer->up)
        return;
    bool any = false;
    while (!list_is_empty(&peer->queue) && peer->flight_n < peer->owner->options.in_flight_max) {
        struct flight *f = LIST_ENTRY(peer->queue.next, struct flight, link);
        if (f->request->deadline_ns <= now) {
            peers__queue_remove(peer, f);
            peers__fail_flight(peer, f, TROUPE_EUNAVAILABLE);
        } else if (send_one(peer, f, now)) {
            any = true;
        } else {
            break;
        }
    }
    if (any)
        link_flush(peer->connection);
}

static bool has_room(const struct peer *peer, size_t bytes)
{
    const struct peers_options *o = &peer->owner->options;
    return peer->queue_n < o->queue_max && peer->queue_bytes + bytes <= o->queue_bytes_max;
}

/* The peer whose queue it is in now; NULL: it has failed. */
static struct peer *enqueue(struct peers *p, struct runtime_peer_request *r, uint64_t now)
{
    size_t bytes = rpc_request_size(&r->rpc);
    bool sane = !p->closing && r->deadline_ns > now && bytes <= RPC_FRAME_BYTES_MAX;
    struct peer *peer = sane ? peers__peer(p, r->address) : NULL;
    if (peer == NULL || now < peer->redial_ns)
        return NULL;
    if (!has_room(peer, bytes))
        peers__pump(peer, now); /* a long list: what came before may leave */
    struct flight *f = has_room(peer, bytes) ? malloc(sizeof *f) : NULL;
    if (f == NULL)
        return NULL;
    *f = (struct flight){.request = r, .bytes = bytes};
    list_init(&f->link);
    peers__queue_push(peer, &peer->queue, f);
    if (r->deadline_ns < peer->expire_ns)
        peer->expire_ns = r->deadline_ns;
    peer->used_ns = now;
    return peer;
}

void peers_send(struct peers *p, struct runtime_peer_request *requests)
{
    uint64_t now = clock_now().mono_ns;
    struct list touched, *l;
    list_init(&touched);
    pthread_mutex_lock(&p->mu);
    while (requests != NULL) {
        struct runtime_peer_request *r = requests;
        requests = r->next;
        struct peer *peer = enqueue(p, r, now);
        if (peer == NULL)
            peers__fail(p, r, TROUPE_EUNAVAILABLE);
        else if (list_is_empty(&peer->touched))
            list_push(&touched, &peer->touched);
    }
    while ((l = list_pop(&touched)) != NULL) {
        struct peer *peer = LIST_ENTRY(l, struct peer, touched);
        peers__pump(peer, now);
        list_remove(&peer->link); /* used last */
        list_push(&p->all, &peer->link);
        if (peer->down)
            peers__attend(peer);
    }
    peers__unlock(p);
}

/* ---- events of a connection, on nng's threads ---- */

static struct runtime_peer_request *take(struct peer *peer, uint32_t id)
{
    struct peers *p = peer->owner;
    struct runtime_peer_request *r = NULL;
    pthread_mutex_lock(&p->mu);
    struct flight *f = peers__flight_find(peer, id & ID_MASK);
    if (f != NULL) {
        r = f->request;
        peers__flight_end(peer, f);
        free(f);
        peer->answered = true;
        peer->failures = 0;
    }
    p->stats.unexpected += f == NULL && !peers__ping_is_answer(peer, id & ID_MASK);
    pthread_mutex_unlock(&p->mu);
    return r;
}

/* A result for each call, unless the request was refused as a whole. */
static bool read_reply(struct runtime_peer_request *r, struct troupe_bytes body)
{
    const char *why;
    return rpc_reply_decode(r->arena, body, &r->reply, &why) == 0 &&
           (r->reply.status != TROUPE_OK || r->reply.results_n == r->rpc.calls_n);
}

static void on_frame(void *data, uint32_t id, struct troupe_bytes body)
{
    struct peer *peer = data;
    struct runtime_peer_request *r = take(peer, id);
    if (r == NULL) /* too late, or never asked for */
        return;
    r->error = read_reply(r, body) ? 0 : TROUPE_EOUTCOME;
    peers__finished_push(&peer->burst, r);
}

static void on_burst(void *data)
{
    struct peer *peer = data;
    struct peers *p = peer->owner;
    struct runtime_peer_request *finished = peer->burst.first;
    uint64_t now = clock_now().mono_ns;
    peers__finished_init(&peer->burst);
    pthread_mutex_lock(&p->mu);
    peer->asked_ns = 0;
    for (struct runtime_peer_request *r = finished; r != NULL; r = r->next) {
        p->stats.replies += r->error == 0;
        p->stats.malformed += r->error != 0;
    }
    if (!p->closing)
        peers__pump(peer, now); /* there is room again */
    peers__unlock(p);
    if (finished != NULL)
        p->options.done(p->options.data, finished);
}

static void on_changed(void *data, enum link_state state)
{
    struct peer *peer = data;
    struct peers *p = peer->owner;
    uint64_t now = clock_now().mono_ns;
    pthread_mutex_lock(&p->mu);
    if (state != LINK_UP || !peer->up)
        peers__attend(peer);
    if (state == LINK_UP) { /* it is, or has room again */
        peer->up = true;
        if (!p->closing)
            peers__pump(peer, now);
    }
    peers__unlock(p);
}

const struct link_events peers__events = {
    .frame = on_frame, .burst = on_burst, .changed = on_changed};
