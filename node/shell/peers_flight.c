/* The requests of a peer: those that wait in its queue, and those in flight, whose replies are
 * found by their id. All with the lock. */
#include <stdlib.h>

#include "base/invariant.h"
#include "node/shell/peers_impl.h"
#include "troupe/error.h"

enum { FLIGHTS_SIZE_MIN = 64 };

/* ---- requests in flight, by id ---- */

/* Buckets for one more. Ids are given in sequence, so they spread evenly. */
bool peers__flight_reserve(struct peer *peer)
{
    if (peer->flight_n < peer->flights_size)
        return true;
    uint32_t size = peer->flights_size == 0 ? FLIGHTS_SIZE_MIN : peer->flights_size * 2;
    struct flight **flights = calloc(size, sizeof(struct flight *));
    if (flights == NULL)
        return false;
    for (struct list *l = peer->flight.next; l != &peer->flight; l = l->next) {
        struct flight *f = LIST_ENTRY(l, struct flight, link);
        f->chain = flights[f->id % size];
        flights[f->id % size] = f;
    }
    free(peer->flights);
    peer->flights = flights;
    peer->flights_size = size;
    return true;
}

void peers__flight_begin(struct peer *peer, struct flight *f)
{
    struct flight **bucket = &peer->flights[f->id % peer->flights_size];
    f->chain = *bucket;
    *bucket = f;
    list_push(&peer->flight, &f->link);
    peer->flight_n++;
}

void peers__flight_end(struct peer *peer, struct flight *f)
{
    struct flight **at = &peer->flights[f->id % peer->flights_size];
    while (*at != f)
        at = &(*at)->chain;
    *at = f->chain;
    list_remove(&f->link);
    peer->flight_n--;
}

struct flight *peers__flight_find(struct peer *peer, uint32_t id)
{
    if (peer->flights_size == 0)
        return NULL;
    struct flight *f = peer->flights[id % peer->flights_size];
    while (f != NULL && f->id != id)
        f = f->chain;
    return f;
}

/* ---- requests that wait ---- */

void peers__queue_push(struct peer *peer, struct list *before, struct flight *f)
{
    list_push(before, &f->link);
    peer->queue_n++;
    peer->queue_bytes += f->bytes;
}

void peers__queue_remove(struct peer *peer, struct flight *f)
{
    INVARIANT(peer->queue_n > 0 && peer->queue_bytes >= f->bytes);
    list_remove(&f->link);
    peer->queue_n--;
    peer->queue_bytes -= f->bytes;
}

void peers__fail(struct peers *p, struct runtime_peer_request *request, int error)
{
    request->error = error;
    p->stats.lost += error == TROUPE_EOUTCOME;
    p->stats.refused += error == TROUPE_EUNAVAILABLE;
    peers__finished_push(&p->failed, request);
}

void peers__fail_flight(struct peer *peer, struct flight *f, int error)
{
    peers__fail(peer->owner, f->request, error);
    free(f);
}

void peers__fail_queue(struct peer *peer)
{
    struct list *link;
    while ((link = list_pop(&peer->queue)) != NULL)
        peers__fail_flight(peer, LIST_ENTRY(link, struct flight, link), TROUPE_EUNAVAILABLE);
    peer->queue_n = 0;
    peer->queue_bytes = 0;
}

void peers__settle(struct peer *peer)
{
    uint64_t sent = link_sent_bytes(peer->connection);
    struct list *first_waiting = peer->queue.next;
    while (!list_is_empty(&peer->flight)) {
        struct flight *f = LIST_ENTRY(peer->flight.next, struct flight, link);
        peers__flight_end(peer, f);
        if (f->position < sent)
            peers__fail_flight(peer, f, TROUPE_EOUTCOME);
        else
            peers__queue_push(peer, first_waiting, f);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is in flight has left, or is in the connection's buffer and will. */
void peers__expire(struct peer *peer, uint64_t now)
{
    if (now < peer->expire_ns)
        return;
    peer->expire_ns = UINT64_MAX;
    struct list *next;
    for (struct list *l = peer->queue.next; l != &peer->queue; l = next) {
        struct flight *f = LIST_ENTRY(l, struct flight, link);
        next = l->next;
        if (f->request->deadline_ns > now) {
            peer->expire_ns = earlier(peer->expire_ns, f->request->deadline_ns);
        } else {
            peers__queue_remove(peer, f);
            peers__fail_flight(peer, f, TROUPE_EUNAVAILABLE);
        }
    }
    for (struct list *l = peer->flight.next; l != &peer->flight; l = next) {
        struct flight *f = LIST_ENTRY(l, struct flight, link);
        next = l->next;
        if (f->request->deadline_ns > now) {
            peer->expire_ns = earlier(peer->expire_ns, f->request->deadline_ns);
        } else {
            peers__flight_end(peer, f);
            peers__fail_flight(peer, f, TROUPE_EOUTCOME);
        }
    }
}
