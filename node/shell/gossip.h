/* How gossip travels: frames of at most GOSSIP_FRAME_BYTES_MAX from node to node, opaque here.
 *
 * A connection is a one-way stream: whoever dials it writes, as nng's PUSH protocol, and the other
 * side reads, as PULL. So each node has a listener, and one outgoing connection for each peer it
 * writes to, kept as long as it is used. It is spoken over nng's streams, as the clients' RPC is
 * (see rpc.h for why not its sockets); docs/protocol.md has the bytes.
 *
 * Gossip is datagrams: a frame may be lost, what is late is worthless, and nobody may be waited
 * for. Happy path: gossip_send copies the frame into its peer's queue; if there is no connection it
 * is dialled; what has gathered leaves together, less what has expired; the other side's on_frame
 * gets it.
 *
 * Failure modes. A peer that cannot be reached, answers nothing, takes nothing, or speaks something
 * else: its connection is given up after a time limit of ours (nng has none for dialling), its
 * queue drops the oldest, and it is dialled again, for as long as there are frames for it, after a
 * backoff that doubles. on_evidence tells what happened; nothing is concluded from it here. Bytes
 * that are no gossip: counted, logged once a minute, the connection closed. Too many peers:
 * those unused for longest go first. Too many connections: gossip_places.c says whose place is
 * kept.
 *
 * Threads: all of this belongs to the loop's thread. nng's threads only say which operation is
 * done; since a connection has at most one of each kind under way, and its next read begins after
 * the last one's frames were taken, what they can pile up is bounded, and a flood stays in the
 * sender's socket.
 *
 * Files: gossip.c opens, wakes up, closes; gossip_conn.c is one connection's operations;
 * gossip_in.c those accepted, gossip_places.c for whom there is room; gossip_out.c those dialled;
 * gossip_peer.c peers and their queues. */
#ifndef TROUPE_SHELL_GOSSIP_H
#define TROUPE_SHELL_GOSSIP_H

#include <stdint.h>
#include <uv.h>

#include "proto/gossip.h"
#include "troupe/bytes.h"

enum {
    GOSSIP_ERRMSG_BYTES = 512,
    GOSSIP_ADDRESS_BYTES = 300,
    GOSSIP_QUEUE_FRAMES_MAX = 64, /* the defaults */
    GOSSIP_CONNECT_MS = 1000,
    GOSSIP_BACKOFF_MIN_MS = 100,
    GOSSIP_BACKOFF_MAX_MS = 2000,
    GOSSIP_STALLED_MS = 10000,
    GOSSIP_IDLE_MS = 300000,
    GOSSIP_PEERS_MAX = 1024,
    GOSSIP_INCOMING_MAX = 1024,
    GOSSIP_STRANGERS_MAX = 128, /* of them: who has not brought a whole frame yet */
    GOSSIP_HOST_MAX = 64,       /* … from one address; where nodes are known to be, half of all */
    GOSSIP_FIRST_FRAME_MS = 10000,
    GOSSIP_QUEUE_BYTES_MAX = 256 << 10, /* of one peer */
};

struct gossip;

/* What was seen of a peer, once for each attempt to dial it and each connection lost. */
enum gossip_evidence {
    GOSSIP_REFUSED = 1, /* its host is there, and nobody listens */
    GOSSIP_RESET,       /* it closed the connection, or its kernel did */
    GOSSIP_TIMEOUT,     /* no connection or no handshake in time, or it does not read */
    GOSSIP_UNREACHABLE, /* no way to its host */
};

/* 0 = the default, where there is one. */
struct gossip_options {
    const char *address; /* HOST:PORT or [HOST]:PORT to listen on; port 0 = a free one */
    uint32_t queue_frames_max;
    uint32_t connect_timeout_ms; /* for the dial and the handshake together */
    uint32_t backoff_min_ms, backoff_max_ms;
    uint32_t
        stalled_ms;   /* without progress in the middle of a frame, or of an incoming handshake */
    uint32_t idle_ms; /* a peer that nothing is sent to for so long is forgotten */
    uint32_t first_frame_ms; /* an incoming connection has so long for a whole frame */
    uint32_t peers_max, incoming_max;
    uint32_t strangers_max, host_max, known_host_max; /* see places.h */
    void *data;
    /* The frame is valid until it returns. May call anything here. */
    void (*on_frame)(void *data, struct troupe_bytes frame);
    /* May call anything here; never called from within gossip_send. */
    void (*on_evidence)(void *data, const char *address, enum gossip_evidence what);
    /* A node of ours has taken a connection at that address (places.h); may be NULL. */
    void (*on_met)(void *data, const uint8_t *host);
};

struct gossip_stats {
    uint64_t frames_in, frames_out; /* out: handed to the system whole */
    uint64_t bytes_in, bytes_out;   /* of their bodies */
    uint64_t dropped;               /* the queue was full, or the peer was forgotten */
    uint64_t expired;
    uint64_t lost;      /* under way when the connection broke */
    uint64_t oversized; /* frames over the limit: each cost its connection */
    uint64_t malformed; /* no SP handshake, no whole frame: likewise */
    uint64_t bad_addresses;
    uint64_t dials, dial_failures; /* a handshake that fails is one */
    uint64_t turned_away;          /* there was no place, and nobody who could go */
    uint64_t crowded_out;          /* … who went for another */
    uint32_t peers, connections_out, connections_in;
};

/* Takes the address and begins to take frames. bound gets HOST:PORT with the port in use. A host
 * name in o->address is resolved before it returns. Errors: TROUPE_EBUSY (address in use),
 * TROUPE_EINVAL, TROUPE_EIO, TROUPE_ENOMEM; errmsg says what to do. */
int gossip_open(struct gossip **g, uv_loop_t *loop, const struct gossip_options *o,
                char bound[GOSSIP_ADDRESS_BYTES], char errmsg[GOSSIP_ERRMSG_BYTES]);

/* Queues a copy of the frame (at most GOSSIP_FRAME_BYTES_MAX) for whoever listens at HOST:PORT or
 * [HOST]:PORT, where names are resolved in the background. Never blocks, never fails: what cannot
 * be sent is counted. expires_ns: CLOCK_BOOTTIME, later than that it is not sent; 0 = never. */
void gossip_send(struct gossip *g, const char *address, struct troupe_bytes frame,
                 uint64_t expires_ns);
/* To be called when a peer does not answer what it was sent. TCP would go on for minutes on a
 * connection whose other end is cut off, and be slow to notice when it is back: the connection is
 * given up, and the next frame dials anew. One that has only just been made is left alone. */
void gossip_redial(struct gossip *g, const char *address);
/* Drops what is queued for the peer and closes its connection; no evidence follows. */
void gossip_forget(struct gossip *g, const char *address);

void gossip_stats(const struct gossip *g, struct gossip_stats *stats);

/* Nothing is sent or handed over from here on. g is freed when closed(data) is called, later and
 * from the loop; closed may be NULL. */
void gossip_close(struct gossip *g, void (*closed)(void *data), void *data);

#endif
