/* The client from the inside: where each batch is on its way from send to callback.
 *
 *   FILLING --send--> QUEUED --pump--> FLIGHT --reply--> READING --> DONE, callback
 *                       ^                |                  |
 *                       |                | lost             | some to be retried
 *                       +--- BACKOFF <---+------------------+
 *
 * Out of QUEUED, FLIGHT and BACKOFF the deadline leads to DONE as well, and so does close.
 *
 * Threads: users' threads send; nng's threads hand over replies (one at a time) and say that the
 * link has changed; the client's own thread, the clock, looks after deadlines, retries and the
 * connection. `mu` guards everything; decoding and callbacks run without it. It is taken before a
 * link's lock, never after. */
#ifndef TROUPE_CLIENT_ENGINE_H
#define TROUPE_CLIENT_ENGINE_H

#include <pthread.h>

#include "client/address.h"
#include "client/batch.h"
#include "client/link.h"

enum {
    ANSWER_MARGIN_MS = 100, /* a batch's deadline at the node is this much before ours */
    CLIENT_IN_FLIGHT_DEFAULT = 1024,
    CLIENT_IN_FLIGHT_MAX = 65536,
    CLIENT_QUEUE_DEFAULT = 65536,
    CLIENT_QUEUE_MAX = 1 << 24,
    CLIENT_RETRY_DELAY_MS = 20,
    CLIENT_RETRY_DOUBLINGS = 5,  /* up to 32 times the first delay */
    CLIENT_REDIAL_MIN_MS = 100,  /* after a whole round of addresses has failed, doubling … */
    CLIENT_REDIAL_MAX_MS = 2000, /* … up to this */
    CLIENT_SILENCE_MS = 10000,   /* a deadline passed and nothing heard for so long: dial anew */
};

struct troupe_client {
    struct address_list addresses;
    char *addresses_text; /* as given, for messages */
    uint32_t in_flight_max, queue_max, timeout_ms, retry_delay_ms;
    uint64_t id; /* of request ids */
    struct link *link;
    pthread_t clock;
    bool clock_started;

    pthread_mutex_t mu;
    pthread_cond_t clock_cond; /* on CLOCK_MONOTONIC */
    bool closing;
    bool clock_kicked;
    uint64_t clock_wakes_ms; /* when the clock will look next by itself */

    struct list queue;           /* QUEUED, next first */
    struct list flight;          /* FLIGHT */
    struct due_heap due;         /* of QUEUED, FLIGHT, BACKOFF */
    struct troupe_batch **by_id; /* FLIGHT, by request id; a power of two of places */
    uint32_t by_id_mask, last_id;
    uint32_t in_flight_n;
    size_t waiting_n; /* QUEUED and BACKOFF */
    uint64_t last_sequence;
    uint64_t jitter; /* state of a small generator */

    /* The clock's, about the connection. */
    size_t address_next, address_now;
    uint32_t redial_failures;
    uint64_t redial_ms;
    bool link_useful;         /* a reply has come over this connection */
    char why[LINK_WHY_BYTES]; /* no connection, as far as known */
};

/* Called with mu held. */
void engine_pump(struct troupe_client *client);
void engine_kick_clock(struct troupe_client *client);
void engine_watch(struct troupe_client *client, struct troupe_batch *batch, uint64_t at_ms);
void engine_enqueue(struct troupe_client *client, struct troupe_batch *batch, bool front);
/* Takes it out of wherever it is (QUEUED, FLIGHT or BACKOFF); the caller says where it goes. */
void engine_detach(struct troupe_client *client, struct troupe_batch *batch);
/* BACKOFF for todo, or false when the deadline would be over by then. */
bool engine_back_off(struct troupe_client *client, struct troupe_batch *batch, uint64_t now_ms);

/* Called without mu: DONE, and the callback. */
void engine_deliver(struct troupe_batch *batch);

/* For link_events. data is the client. */
void engine_on_frame(void *data, uint32_t id, struct troupe_bytes body);
void engine_on_burst(void *data);
void engine_on_change(void *data, enum link_state state);

/* The clock's thread; ends when closing is set and everything has been answered. */
void *clock_main(void *client);

#endif
