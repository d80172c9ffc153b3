/* Requests to other nodes: one connection for each, to its peer port, kept as long as it is used.
 * See struct runtime_peer_request for what is promised about the outcome.
 *
 * Happy path: peers_send encodes the requests into the connection of their peer, and what belongs
 * together leaves in one piece; replies are decoded on one of nng's threads and handed over as they
 * came. The loop's thread dials, reaps what broke, and looks after deadlines.
 *
 * Failure modes. Nobody answers the dial: what waits fails as not sent, and the peer is left alone
 * for a moment that grows (a request in that time fails at once). So does a peer that takes the
 * connection and drops it without ever answering. The connection breaks: what has left, even in
 * part, may have been executed; what has not goes on with the next connection. No reply by the
 * deadline: likewise unknown. A reply that cannot be read, or with another number of results than
 * there were calls: unknown, and counted. Too much waiting: not sent. Too many peers: the one
 * unused longest goes. Silence: a peer that owes answers and sends nothing is pinged (a request
 * without calls, which every node answers at once, however long its calls take), and if not even
 * that is answered its connection breaks: a link that lost one of its directions, or a process that
 * stands still, is not waited for until each deadline.
 *
 * Files: peers.c is the loop's side of it, from open to close; peers_peer.c a peer's life;
 * peers_flight.c its requests; peers_ping.c its silence; peers_send.c their way out and the
 * replies' way back. */
#ifndef TROUPE_SHELL_PEERS_H
#define TROUPE_SHELL_PEERS_H

#include <uv.h>

#include "node/runtime/runtime.h"

enum {
    PEERS_MAX = 1024,
    PEERS_IN_FLIGHT_MAX = 4096,       /* with one peer; more wait in its queue … */
    PEERS_QUEUE_MAX = 65536,          /* … up to so many … */
    PEERS_QUEUE_BYTES_MAX = 64 << 20, /* … and so much */
    PEERS_BACKOFF_MIN_MS = 50,
    PEERS_BACKOFF_MAX_MS = 1000,
    PEERS_IDLE_MS = 300000,  /* then the connection is dropped */
    PEERS_TICK_MS = 20,      /* how late a deadline may be noticed */
    PEERS_PING_MS = 1000,    /* an answer is owed, and nothing was heard for so long */
    PEERS_SILENCE_MS = 2000, /* nothing was heard for so long after a ping has left */
    PEERS_STUCK_MS = 10000,  /* the ping has not left, and nothing else has, for so long */
    PEERS_LATE_MS = 500,     /* a tick later than that: it is we who stood still */
};

struct peers;

struct peers_options {
    void *data;
    /* Linked by next; on any thread, but never from within peers_send. It may call peers_send. */
    void (*done)(void *data, struct runtime_peer_request *finished);
    /* Of one peer; 0 = the value above. */
    uint32_t in_flight_max, queue_max;
    uint64_t queue_bytes_max;
    uint32_t peers_max, idle_ms, ping_ms, silence_ms; /* likewise */
};

struct peers_stats {
    uint64_t sent, replies;
    uint64_t lost, refused;         /* with TROUPE_EOUTCOME; with TROUPE_EUNAVAILABLE */
    uint64_t malformed, unexpected; /* replies: unreadable; too late, or never asked for */
    uint64_t pings, silent;         /* sent; connections given up for silence */
};

/* On the loop's thread. TROUPE_ENOMEM. */
int peers_open(struct peers **peers, uv_loop_t *loop, const struct peers_options *options);
/* Any thread, whatever locks it holds, as long as `done` is not waiting for them. Requests linked
 * by next; those to one peer leave in their order. */
void peers_send(struct peers *peers, struct runtime_peer_request *requests);
/* Any thread. */
void peers_stats(struct peers *peers, struct peers_stats *stats);
/* On the loop's thread, when nobody sends any more: everything that is out is done with an error,
 * then closed(data) comes from the loop. */
void peers_close(struct peers *peers, void (*closed)(void *data), void *data);

#endif
