/* What the files of peers share.
 *
 * One lock, peers.mu, guards all of it. It is taken before a link's, never after, and is not held
 * while `done` runs, nor over link_break, link_reap and link_free: they call back, or wait for
 * callbacks. Peers are freed by the loop's thread only. */
#ifndef TROUPE_SHELL_PEERS_IMPL_H
#define TROUPE_SHELL_PEERS_IMPL_H

#include <pthread.h>

#include "base/list.h"
#include "client/address.h"
#include "client/link.h"
#include "node/shell/peers.h"

#define PEERS_NS_PER_MS UINT64_C(1000000)

enum { PEERS_BUCKETS = 256 };

/* A request on its way. */
struct flight {
    struct list link; /* in its peer's queue or flight */
    struct flight *chain;
    struct runtime_peer_request *request;
    size_t bytes; /* encoded */
    uint32_t id;
    uint64_t position; /* in the connection's stream */
};

/* Requests that are finished, in their order. */
struct finished {
    struct runtime_peer_request *first, **end;
};

struct peer {
    struct list link;      /* in peers.all, the one unused longest first, or in peers.dropped */
    struct list attention; /* in peers.attention: the loop is to look at it */
    struct list touched;   /* of one peers_send */
    struct peer *chain;    /* of its bucket */
    struct peers *owner;
    char address[RUNTIME_ADDRESS_BYTES];
    struct link *connection;
    struct list queue, flight;
    uint32_t queue_n, flight_n, last_id;
    uint64_t queue_bytes;
    struct flight **flights; /* by id: buckets, a power of two, as many as flights or more */
    uint32_t flights_size;
    uint64_t used_ns;
    uint64_t expire_ns; /* no deadline is before */
    uint64_t redial_ns; /* not before */
    uint32_t failures;  /* since it answered last */
    /* Silence; see peers_ping.c. */
    uint64_t asked_ns;              /* the first request since a reply came; 0 = none */
    uint64_t ping_ns;               /* when we wanted to know; 0 = we do not */
    uint64_t ping_position;         /* in the connection's stream; UINT64_MAX: no room yet */
    uint64_t ping_left_ns;          /* 0 = it has not */
    uint64_t moved_ns, moved_bytes; /* when something left last, and how much had by then */
    uint32_t ping_id;
    bool ping_out; /* its answer may yet come */
    bool silent;   /* to be given up by the loop */
    bool down;     /* somebody has to dial when there is something to send */
    bool up;       /* it has been since the dial */
    bool answered; /* likewise */
    bool dropped;  /* out of sight, about to be freed */
    /* The loop's. */
    struct address_list addresses; /* of a name: IPv4 and IPv6 */
    size_t address_next;           /* of this round of dials */
    bool up_logged;
    /* Of the thread that receives. */
    struct finished burst;
};

struct peers {
    struct peers_options options;
    uv_async_t async;
    uv_timer_t timer;
    pthread_mutex_t mu;
    struct list all, dropped, attention;
    struct peer *buckets[PEERS_BUCKETS];
    uint32_t all_n;
    struct finished failed; /* to be handed over by the loop */
    struct peers_stats stats;
    uint64_t ticked_ns; /* the loop's: the last tick */
    uint64_t awake_ns;  /* since when we have not stood still */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    unsigned handles;
};

static inline void peers__finished_init(struct finished *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static inline void peers__finished_push(struct finished *list, struct runtime_peer_request *r)
{
    r->next = NULL;
    *list->end = r;
    list->end = &r->next;
}

/* Releases the lock, and wakes the loop if it has something to do. Not for the loop's thread. */
void peers__unlock(struct peers *p);
/* With the lock: the loop is to look at it. */
void peers__attend(struct peer *peer);

/* ---- peers_peer.c ---- */

/* With the lock: the peer, made when there is none; NULL when it cannot be. */
struct peer *peers__peer(struct peers *p, const char *address);
/* With the lock: out of sight, to be freed by the loop. Nothing of it is on its way. */
void peers__drop(struct peer *peer);
/* The loop's, without the lock. */
void peers__tend(struct peer *peer, uint64_t now);
void peers__free(struct peer *peer);
/* Ends the connection; everything on its way fails. */
void peers__break(struct peer *peer);

/* ---- peers_flight.c: all with the lock; whatever fails goes to peers.failed ---- */

void peers__fail(struct peers *p, struct runtime_peer_request *request, int error);
/* What is neither in the queue nor in flight any more. */
void peers__fail_flight(struct peer *peer, struct flight *f, int error);
void peers__fail_queue(struct peer *peer);
void peers__queue_push(struct peer *peer, struct list *before, struct flight *f);
void peers__queue_remove(struct peer *peer, struct flight *f);
/* Room for one more; false: no memory. */
bool peers__flight_reserve(struct peer *peer);
void peers__flight_begin(struct peer *peer, struct flight *f);
void peers__flight_end(struct peer *peer, struct flight *f);
struct flight *peers__flight_find(struct peer *peer, uint32_t id);
/* The connection is gone. What has left may have been executed; what has not goes back to the head
 * of the queue. */
void peers__settle(struct peer *peer);
/* What is past its deadline fails. */
void peers__expire(struct peer *peer, uint64_t now);

/* ---- peers_ping.c: with the lock ---- */

uint32_t peers__next_id(struct peer *peer);
/* A request is about to leave. */
void peers__ping_asked(struct peer *peer, uint64_t now);
/* Looks for silence. */
void peers__ping_tick(struct peer *peer, uint64_t now);
/* Whether the reply is that to a ping. */
bool peers__ping_is_answer(struct peer *peer, uint32_t id);
/* The connection is gone. */
void peers__ping_reset(struct peer *peer);

/* ---- peers_send.c ---- */

extern const struct link_events peers__events; /* but for data */

/* With the lock: moves what waits into the connection, as far as there is room, and flushes it. */
void peers__pump(struct peer *peer, uint64_t now);

#endif
