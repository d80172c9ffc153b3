/* What the gossip files share. */
#ifndef TROUPE_SHELL_GOSSIP_IMPL_H
#define TROUPE_SHELL_GOSSIP_IMPL_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "node/shell/gossip.h"
#include "node/shell/places.h"

enum {
    GOSSIP_HELLO_BYTES = 8,
    GOSSIP_HEAD_BYTES = 8, /* a frame's length */
    GOSSIP_BUFFER_BYTES = GOSSIP_HEAD_BYTES + GOSSIP_FRAME_BYTES_MAX,
    GOSSIP_TURN_OPS_MAX = 64,    /* finished operations taken per turn of the loop */
    GOSSIP_ACCEPT_REST_MS = 100, /* after an error: no descriptors left, say */
    GOSSIP_STEADY_MS = 1000,     /* a connection that lasted so long ends the backoff */
    GOSSIP_COMPLAIN_MS = 60000,  /* between two log lines */
    GOSSIP_HASH_BUCKETS = 256,
    GOSSIP_URL_BYTES = GOSSIP_ADDRESS_BYTES + 8,
};
/* A frame that is alone in its queue must fit into it. */
_Static_assert((int)GOSSIP_FRAME_BYTES_MAX <= (int)GOSSIP_QUEUE_BYTES_MAX,
               "a frame fits into a queue");
/* Who dials us has gone when it has been silent for longer than its own limit. */
enum { GOSSIP_IN_IDLE_FACTOR = 2 };

/* An operation that nng does for us, one at a time. */
struct gossip_op {
    struct list link; /* inbox or arrived, when it is done and not handled */
    struct gossip *g;
    nng_aio *aio;
    bool busy; /* from its beginning until it is handled */
    void (*done)(struct gossip_op *op);
};

struct gossip_conn;
typedef void (*gossip_conn_cb)(struct gossip_conn *c, int rc);

/* One connection, either way. It exists until it is closed and the last operation is handled. */
struct gossip_conn {
    struct gossip *g;
    struct list link;         /* g->in, g->out or g->dying */
    struct gossip_peer *peer; /* of an outgoing one, until either lets go */
    bool incoming, closing, up;
    nng_stream_dialer *dialer;
    nng_stream *stream;
    struct gossip_op recv, send; /* dialling is send's as well */
    gossip_conn_cb recv_then, send_then;
    unsigned holds;   /* operations under way or being handled */
    uint8_t *send_at; /* what remains of what is being sent */
    size_t send_left;
    uint32_t send_timeout_ms;
    uint64_t since_ms;              /* incoming: last heard; outgoing: dialled, then up */
    uint64_t accepted_ms, frame_ms; /* incoming: when the frame in the buffer began */
    struct place place;             /* incoming; of an outgoing one only the host counts */
    uint8_t hello_ours[GOSSIP_HELLO_BYTES];
    uint8_t hello[GOSSIP_HELLO_BYTES]; /* theirs, of an outgoing one; later: what never comes */
    size_t hello_bytes;
    bool hello_sent;
    uint32_t frames;   /* in the buffer: being sent */
    size_t body_bytes; /* of those frames */
    size_t begin, end; /* received and not taken */
    uint8_t buffer[GOSSIP_BUFFER_BYTES];
};

struct gossip_queued {
    struct list link;
    uint64_t expires_ns;
    size_t len;
    uint8_t bytes[];
};

struct gossip_peer {
    struct list by_use; /* g->peers, unused for longest first */
    struct list by_hash;
    struct gossip_conn *conn;
    struct list queue;
    uint32_t queued_n;
    size_t queued_bytes;
    uint32_t failures; /* in a row */
    uint64_t due_ms;   /* not dialled before */
    uint64_t used_ms;
    char address[GOSSIP_ADDRESS_BYTES];
};

struct gossip {
    uv_loop_t *loop;
    struct gossip_options options;
    struct gossip_stats stats;
    uv_async_t wake;
    uv_timer_t timer;
    uint64_t timer_ms; /* when it fires; 0 = it does not */
    uint64_t dice, complained_ms;
    bool closing, ended;
    int handles_n;
    void (*closed)(void *data);
    void *closed_data;

    nng_stream_listener *listener;
    struct gossip_op accept;
    uint64_t accept_ms; /* when it is tried again; 0 = it is under way */

    struct list in, out, dying;
    struct places places; /* of g->in */
    uint32_t conns_n;     /* on all three */
    struct list peers, hash[GOSSIP_HASH_BUCKETS];

    struct list arrived;  /* done, to be handled */
    pthread_mutex_t lock; /* for the inbox, nothing else */
    struct list inbox;    /* done: nng's threads put them here */
};

/* ---- gossip.c ---- */

uint64_t gossip__now_ms(const struct gossip *g);
/* Calls gossip__peers_due and the like at that time or earlier. */
void gossip__wake_at(struct gossip *g, uint64_t at_ms);
/* An operation for `done`; TROUPE_ENOMEM. */
int gossip__op_init(struct gossip_op *op, struct gossip *g, void (*done)(struct gossip_op *));
/* Begins the end when all that belongs to nng has gone. */
void gossip__ended(struct gossip *g);
/* A log line, unless there was one a short time ago. c may be NULL. */
void gossip__complain(struct gossip *g, struct gossip_conn *c, const char *why);

/* ---- gossip_conn.c ---- */

/* NULL: no memory. */
struct gossip_conn *gossip__conn_new(struct gossip *g, bool incoming);
/* From here on none of its callbacks is called. It frees itself. */
void gossip__conn_close(struct gossip_conn *c);
/* Each ends in then(c, 0 or nng's error). A dial that does not begin: an error, and no callback. */
int gossip__conn_dial(struct gossip_conn *c, const char *url, uint32_t timeout_ms,
                      gossip_conn_cb then);
/* All of it; the time limit is for each bit of progress. */
void gossip__conn_send(struct gossip_conn *c, uint8_t *bytes, size_t len, uint32_t timeout_ms,
                       gossip_conn_cb then);
/* As much as there is; see gossip__conn_received. timeout_ms 0: no limit. */
void gossip__conn_recv(struct gossip_conn *c, void *bytes, size_t room, uint32_t timeout_ms,
                       gossip_conn_cb then);
size_t gossip__conn_received(const struct gossip_conn *c);

/* ---- gossip_in.c ---- */

void gossip__accept_next(struct gossip *g);
void gossip__accepted(struct gossip_op *op);

/* ---- gossip_places.c ---- */

void gossip__places_init(struct gossip *g);
/* A place for one that has come, at another's expense if need be. False: it has to go. */
bool gossip__place_take(struct gossip_conn *c);
bool gossip__host_is_known(struct gossip *g, const uint8_t host[PLACES_HOST_BYTES]);
/* A node of ours is there, at the other end of a connection of ours. */
void gossip__host_met(struct gossip_conn *c);

/* ---- gossip_out.c ---- */

/* The peer, which has one, is without its connection. */
void gossip__peer_disconnect(struct gossip *g, struct gossip_peer *p);
/* Sends, dials or waits, whatever the peer's queue needs. Calls nobody back. */
void gossip__peer_go_on(struct gossip *g, struct gossip_peer *p);

/* ---- gossip_peer.c ---- */

/* NULL: there is none. */
struct gossip_peer *gossip__peer_find(struct gossip *g, const char *address);
/* The next frame that has not expired, taken off; NULL: none. It is the caller's to free. */
struct gossip_queued *gossip__peer_next(struct gossip *g, struct gossip_peer *p);
/* Puts it back where it came from. */
void gossip__peer_unget(struct gossip_peer *p, struct gossip_queued *f);
/* Closes what is idle, and goes on with those whose time has come. */
void gossip__peers_due(struct gossip *g);
void gossip__peers_free(struct gossip *g);

/* ---- gossip_address.c ---- */

/* The URL to dial for HOST:PORT; false: it is none. Names are tried as IPv4 and IPv6 by turns. */
bool gossip__address_url(const char *address, uint32_t attempt, char url[GOSSIP_URL_BYTES]);

static inline void gossip__put_be64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline uint64_t gossip__get_be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

#endif
