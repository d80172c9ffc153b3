/* The client from the inside: where each leg of a batch (batch.h) is on its way from send to
 * callback.
 *
 *   send --> QUEUED --pump--> FLIGHT --reply--> READING --> DONE; after the last leg the callback
 *              ^                |                  |
 *              |                | lost             | some to be retried
 *              +--- BACKOFF <---+------------------+
 *
 * Out of QUEUED, FLIGHT and BACKOFF the deadline leads to DONE as well, and so does close.
 *
 * Threads: users' threads send; nng's threads hand over replies (one at a time for each route) and
 * say that a link has changed; the client's own thread, the clock, looks after deadlines, retries
 * and the connections. `mu` guards everything; decoding and callbacks run without it. It is taken
 * before a link's lock, never after. */
#ifndef TROUPE_CLIENT_ENGINE_H
#define TROUPE_CLIENT_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/batch.h"
#include "client/ids.h"
#include "client/route.h"

enum {
    ANSWER_MARGIN_MS = 100, /* a batch's deadline at the node is this much before ours */
    CLIENT_IN_FLIGHT_DEFAULT = 1024,
    CLIENT_IN_FLIGHT_MAX = 65536,
    CLIENT_QUEUE_DEFAULT = 65536,
    CLIENT_QUEUE_MAX = 1 << 24,
    CLIENT_LINKS_DEFAULT = 64,
    CLIENT_LINKS_MAX = 255, /* the table has a byte for each partition's */
    CLIENT_RETRY_DELAY_MS = 20,
    CLIENT_RETRY_DOUBLINGS = 5,  /* up to 32 times the first delay */
    CLIENT_REDIAL_MIN_MS = 100,  /* after a whole round of addresses has failed, doubling … */
    CLIENT_REDIAL_MAX_MS = 2000, /* … up to this */
    CLIENT_NODE_REDIAL_MAX_MS = 30000, /* or this, for a node that a reply has named */
    CLIENT_QUIET_MS = 1000, /* answers are owed and nothing heard for so long: ask who is there */
    CLIENT_SILENCE_MS = 10000, /* a deadline passed and nothing heard for so long: dial anew */
};

struct troupe_client {
    struct address_list addresses; /* until the seed has them */
    char *addresses_text;          /* as given, for messages */
    uint32_t in_flight_max, queue_max, timeout_ms, retry_delay_ms, links_max;
    struct ids ids;
    pthread_t clock;
    bool clock_started;
    atomic_bool ring_known; /* there may be something in the ring table */

    pthread_mutex_t mu;
    pthread_cond_t clock_cond; /* on CLOCK_MONOTONIC */
    bool closing;
    bool clock_kicked;
    uint64_t clock_wakes_ms; /* when the clock will look next by itself */

    struct route *routes; /* 1 + links_max of them; the seed first */
    size_t routes_n;      /* that have been used */
    struct ring_table ring;
    struct list queue;  /* QUEUED for whichever route is ready, next first */
    struct list unsent; /* routes with frames to flush */
    size_t pump_turn;   /* which queue begins */

    struct due_heap due; /* of QUEUED, FLIGHT, BACKOFF */
    struct leg **by_id;  /* FLIGHT, by request id; a power of two of places */
    uint32_t by_id_mask, last_id;
    uint32_t in_flight_n;
    size_t queued_n;  /* QUEUED */
    size_t waiting_n; /* QUEUED and BACKOFF */
    uint64_t jitter;  /* state of a small generator */
};

/* ---- with mu held ---- */

void engine_pump(struct troupe_client *client);
void engine_kick_clock(struct troupe_client *client);
/* The clock is to look again at that time at the latest. */
void engine_wake_clock(struct troupe_client *client, uint64_t at_ms);
void engine_enqueue(struct troupe_client *client, struct leg *leg, bool front);
/* Takes it out of wherever it is (QUEUED, FLIGHT or BACKOFF); the caller says where it goes. */
void engine_detach(struct troupe_client *client, struct leg *leg);
/* BACKOFF for todo, or false when the deadline would be over by then. */
bool engine_back_off(struct troupe_client *client, struct leg *leg, uint64_t now_ms);
/* New ids for all of todo, none of which anybody has executed: see leg.ids_from. */
void engine_draw_again(struct troupe_client *client, struct leg *leg);
/* Lets go of mu, and sends what has been put into links. What is put there while a burst of replies
 * is handed over on this thread leaves at the burst's end, except when it is much. */
void engine_unlock(struct troupe_client *client);

/* ---- without mu ---- */

/* The leg is DONE; if it is the last of its batch, so is that, and the callback comes. */
void engine_deliver(struct leg *leg);

/* For link_events. data is the route. */
void engine_on_frame(void *data, uint32_t id, struct troupe_bytes body);
void engine_on_burst(void *data);
void engine_on_change(void *data, enum link_state state);

/* ---- the clock ---- */

/* The clock's thread; ends when closing is set and everything has been answered. */
void *clock_main(void *client);
/* Looks after the routes: dials, reaps, gives up. With mu, which is let go of for the slow parts.
 * Legs that are lost for good go to `done`. */
void tend_routes(struct troupe_client *client, struct list *done);
/* When that is next necessary, as far as time alone tells; UINT64_MAX = not at all. */
uint64_t tend_next_ms(struct troupe_client *client);
/* Ends them all. Without mu. */
void tend_end(struct troupe_client *client);
/* The last word to a leg whose connection was lost. */
void tend_fail_lost(struct leg *leg);

#endif
