/* The listener for clients: nng's REP protocol, spoken over nng streams.
 *
 * Why not nng's REP socket: in 1.5.2 a client that goes away with requests under way can leave the
 * thread that cleans up after connections waiting for ever; from then on every connection that
 * closes leaves its descriptor behind, until none is left. (A receive that is begun on a stream
 * that has just been closed is never completed; tcp.c of nng's transport does that, and we do not.)
 * And a stream lets requests and replies travel many per system call. On the wire it is the same:
 * any REQ socket can call. docs/protocol.md has the bytes.
 *
 * Happy path: bytes arrive on one of nng's threads; whole frames are decoded there, pushed into
 * the core, stepped (as a rule by the same thread), and the replies of one turn leave together.
 *
 * Failure modes. Bytes that are no SP handshake, a frame over the limit or without a request id:
 * the connection is closed, and a line is logged. A frame that is no request: the answer is a
 * status for the request as a whole. One that too many devices have passed on: dropped. Too many
 * requests under way, in all or on one connection, or a client that does not read its replies: its
 * connection is not read on until there is room. A handshake that is not done in RPC_HELLO_MS, a
 * frame or replies that are not through in RPC_STALLED_MS and come slower than RPC_RATE_MIN:
 * closed; a byte now and then holds nothing. A client that sends no more, but takes: it gets its
 * replies.
 *
 * A crowd takes nobody's place: see places.h. Idle connections end. Out of descriptors: who is
 * silent goes, and one is spare for who comes from this machine.
 *
 * Files: rpc.c listens and accepts, rpc_places.c says who gets in, rpc_conn.c is a connection's
 * life, rpc_in.c what arrives, rpc_out.c what leaves, rpc_exchange.c a request from frame to frame,
 * rpc_reaper.c the end. */
#ifndef TROUPE_SHELL_RPC_H
#define TROUPE_SHELL_RPC_H

#include "node/shell/core.h"

enum {
    RPC_ERRMSG_BYTES = 512,
    RPC_ADDRESS_BYTES = 300,
    RPC_HELLO_MS = 5000,     /* for the whole handshake */
    RPC_STALLED_MS = 60000,  /* for a frame, or what is to be sent; longer only for more than … */
    RPC_RATE_MIN = 16 << 10, /* … so many bytes in a second */
};

struct rpc_server;

struct rpc_options {
    const char *address;   /* HOST:PORT, [HOST]:PORT or an ipc:// URL */
    uint32_t inflight_max; /* requests with the core at once; one connection gets half of them */
    uint32_t connections_max;
    bool from_peer;      /* whoever calls is another node, see struct runtime_request */
    uint64_t memory_max; /* bytes of large requests and replies under way, and of unread replies */
    uint32_t host_max;   /* connections from one address, this machine excepted; 0 = a quarter */
    uint32_t idle_ms; /* a connection on which nothing happens for so long is closed; 0 = never */
    uint32_t hello_ms, stalled_ms; /* 0 = the above */
};

/* Takes the address; accepts nobody yet, so that connections wait. bound gets HOST:PORT with the
 * port in use. Errors: TROUPE_EBUSY (address in use), TROUPE_EINVAL, TROUPE_EIO, TROUPE_ENOMEM;
 * errmsg says what to do. */
int rpc_listen(struct rpc_server **server, const struct rpc_options *options,
               char bound[RPC_ADDRESS_BYTES], char errmsg[RPC_ERRMSG_BYTES]);
/* Begins to take requests, for a core that has been initialised. */
void rpc_start(struct rpc_server *server, struct core *core);
/* A node of ours is at that address (places.h): it may take the places that are kept. */
void rpc_met(struct rpc_server *server, const uint8_t *host);
/* From the core: requests that are finished, linked by next. Any thread. */
void rpc_replies(void *server, struct runtime_request *finished);
/* No request is with the core, and every reply has been handed to the system. */
bool rpc_is_quiet(struct rpc_server *server);
/* Closes the connections and waits until nng is done with them. Frees the server and returns true;
 * or false after timeout_ms: somebody still uses it. NULL is fine. */
bool rpc_close(struct rpc_server *server, uint32_t timeout_ms);

#endif
