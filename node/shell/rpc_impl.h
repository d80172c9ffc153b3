/* What the listener's files share.
 *
 * A connection is kept by references: one is the receiver's (the chain of receive callbacks, also
 * while it is paused), one the sender's while a send is under way, one each exchange's. With the
 * last one it goes to the reaper, which frees it.
 *
 * Locks, never held together: server.lock (connections, the pool, pauses), conn.mu (what is to be
 * sent), conn.gate. The gate makes "not closed, so begin an operation" one step against closing,
 * for nng 1.5.2 never completes what is begun on a closed stream; it is held over the system call
 * of a send or receive, which is why it is not mu. */
#ifndef TROUPE_SHELL_RPC_IMPL_H
#define TROUPE_SHELL_RPC_IMPL_H

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "node/shell/places.h"
#include "node/shell/rpc.h"

enum {
    RPC_HELLO_BYTES = 8,
    RPC_HEAD_BYTES = 8,          /* a frame's length */
    RPC_ROUTE_WORDS_MAX = 8,     /* of four bytes: request id, and who passed the request on */
    RPC_IN_BYTES = 64 << 10,     /* of a receive buffer; grows as more comes, shrinks again */
    RPC_OUT_BYTES_MAX = 1 << 20, /* unsent: beyond that the connection is not read on */
    RPC_ARENA_CHUNK_BYTES = 32 << 10,
    RPC_ARENA_BYTES_MAX = 4 * RPC_FRAME_BYTES_MAX, /* of one request: decoded, results, replies */
    RPC_MET_MAX = 512,
    RPC_POOL_WARM = 128, /* idle exchanges that keep their memory */
};

struct rpc_server;

struct rpc_buffer {
    uint8_t *data;
    size_t len, capacity;
    size_t large; /* of it counted in server.memory */
};

struct rpc_conn {
    struct rpc_server *server;
    atomic_uint refs;
    nng_stream *stream;
    nng_aio *recv_aio, *send_aio;
    pthread_mutex_t gate;
    atomic_bool closed; /* written under gate */

    /* The receiver's. */
    struct {
        uint8_t *data;
        size_t begin, end, capacity;
        nng_time since_ms; /* when the frame began that is not whole yet; 0 = not looked at */
    } in;
    bool greeted;
    nng_time opened_ms;

    struct place place; /* under server.lock */

    /* Under server.lock. */
    struct list link;       /* server.conns */
    struct list pause_link; /* server.paused, when it waits for an exchange of somebody else */
    bool paused;            /* frames wait in the buffer, and nobody receives */
    bool ended;             /* the client sends no more: close it after the last reply */
    uint32_t in_flight;

    /* Under mu. */
    pthread_mutex_t mu;
    struct rpc_buffer out[2]; /* one gathers while the other is being sent */
    int filling;
    bool sending;
    size_t send_from;        /* the sender's */
    nng_time send_since_ms;  /* likewise: when the first part had left; 0 = not yet */
    atomic_size_t out_bytes; /* in both */
};

/* A request from the frame it came in to the frame that answers it. */
struct rpc_exchange {
    struct runtime_request request; /* .data = this */
    struct rpc_exchange *next;      /* in the pool */
    struct rpc_conn *conn;
    struct arena arena;
    struct rpc_request rpc;
    size_t route_bytes;
    uint8_t route[4 * RPC_ROUTE_WORDS_MAX]; /* goes back as it came */
};

struct rpc_server {
    struct core *core;
    struct rpc_options options;
    bool ipc; /* frames have a byte more */
    nng_stream_listener *listener;
    nng_aio *accept_aio;
    bool accept_rests;
    int spare_fd; /* the accepting thread's; -1: it is in use */
    nng_aio *tick_aio;
    uint64_t sweep_ms;            /* when idle connections are looked for */
    atomic_uint_least64_t now_ms; /* as of the last tick */
    atomic_bool closing;
    struct arena_budget memory; /* of large requests, their results, and replies */

    pthread_mutex_t lock;
    pthread_cond_t gone;               /* a connection was freed */
    struct list conns, paused, doomed; /* doomed: rpc_close is at them */
    struct list dead;                  /* without references, to be freed */
    pthread_cond_t dies;               /* there is one, or the reaper is to end */
    pthread_t reaper;
    bool reaping, reaper_ends;
    uint32_t conns_n;                            /* that are not freed */
    struct places places;                        /* of those that are not closed */
    uint8_t met[RPC_MET_MAX][PLACES_HOST_BYTES]; /* where nodes of ours are; the last ones told */
    uint32_t met_n;
    uint64_t full_told_ms, files_told_ms; /* when such a line was last written */
    struct rpc_exchange *pool;
    uint32_t pool_n, exchanges_n;
};

/* ---- rpc_conn.c ---- */

/* Takes the stream over and begins to receive. */
void rpc__conn_open(struct rpc_server *server, nng_stream *stream);
void rpc__conn_ref(struct rpc_conn *c);
void rpc__conn_unref(struct rpc_conn *c);
/* A reference, unless the last one has just gone and the connection is about to leave the list. */
bool rpc__conn_try_ref(struct rpc_conn *c);
/* Not in a callback of its operations. */
void rpc__conn_free(struct rpc_conn *c);
/* Whatever is under way fails, and the references go one by one. why: for the log; NULL = as
 * expected. */
void rpc__conn_close(struct rpc_conn *c, const char *why);
void rpc__conn_close_nng(struct rpc_conn *c, const char *doing, int rc);
/* The client sends no more. */
void rpc__conn_ended(struct rpc_conn *c);
/* … and has all its replies. Under server.lock. */
bool rpc__conn_is_over(const struct rpc_conn *c);
/* Of the time for something of which `bytes` have gone through since then; 0: it is over. */
nng_duration rpc__time_left(const struct rpc_conn *c, nng_time since_ms, size_t bytes);

/* ---- rpc_places.c ---- */

void rpc__places_init(struct rpc_server *server);
/* Looks around from now on; tick is the timer's callback. */
void rpc__places_start(struct rpc_server *server);
void rpc__places_tick(void *server);
void rpc__places_close(struct rpc_server *server);
/* A place for the new connection, at another's expense if need be, and it is on the server's list.
 * False: it has to go. */
bool rpc__place_take(struct rpc_conn *c);
/* Accepting failed for want of a descriptor: when to try again; 0: at once. */
nng_duration rpc__no_descriptor(struct rpc_server *server);
/* Whether a new connection may keep its descriptor. */
bool rpc__may_have_spare(struct rpc_server *server, nng_stream *stream);

/* ---- rpc_reaper.c ---- */

/* False: no thread could be started. rpc__reaper_stop must follow in any case. */
bool rpc__reaper_start(struct rpc_server *server);
void rpc__reaper_stop(struct rpc_server *server);
/* The connection has no references any more. */
void rpc__reaper_take(struct rpc_conn *c);

/* ---- rpc_in.c ---- */

void rpc__recv_done(void *conn);
/* Takes the frames that are in the buffer, runs the core if wanted, reads on. The receiver's
 * reference is the caller's to give, and another one to keep if it runs the core. */
void rpc__recv_go_on(struct rpc_conn *c, bool run_core);

/* ---- rpc_out.c ---- */

void rpc__send_done(void *conn);
/* Room for a frame's bytes, to be filled at once; rpc__out_end must follow. NULL: the connection is
 * closed, or closes for want of memory. */
uint8_t *rpc__out_begin(struct rpc_conn *c, size_t bytes, bool large);
void rpc__out_end(struct rpc_conn *c, size_t bytes);
/* Sends what has gathered, unless a send is under way: then its end does. */
void rpc__out_flush(struct rpc_conn *c);

/* ---- rpc_exchange.c ---- */

enum rpc_taken {
    RPC_TAKEN,
    RPC_PAUSED, /* no exchange for it now: the receiver's reference waits with the connection */
    RPC_BROKEN,
};

/* A frame's body: route and request. RPC_BROKEN: why is set. What cannot be answered is taken, and
 * dropped. */
enum rpc_taken rpc__exchange_take(struct rpc_conn *c, struct troupe_bytes body, const char **why);
/* The connection has sent something: if it was paused for that, it goes on; if it is over, it is
 * closed. */
void rpc__exchange_resume(struct rpc_conn *c);
void rpc__exchange_pool_free(struct rpc_server *server);

/* Counts memory of large frames; false when that would be too much. */
bool rpc__large_take(struct rpc_server *server, size_t bytes);
void rpc__large_give(struct rpc_server *server, size_t bytes);

#endif
