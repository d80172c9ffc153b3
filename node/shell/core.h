/* Flat combining (Hendler, Incze, Shavit, Tzafrir, SPAA 2010): whoever brings an event runs the
 * step itself.
 *
 * The runtime is stepped by one thread at a time, but not always by the same. A thread pushes its
 * event into an inbox and calls core_run: if nobody is stepping, it takes what has gathered, steps
 * the runtime through it, collects the effects and performs them; if somebody is, that one will see
 * the event. So a call that came in on one of nng's threads is answered on it, without waking
 * another thread; the loop's thread is woken only for what it alone may do: the store, the timer,
 * the end. */
#ifndef TROUPE_SHELL_CORE_H
#define TROUPE_SHELL_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "node/runtime/runtime.h"

/* Something heard of another node, until it is stepped. */
struct core_news {
    struct core_news *next;
    enum runtime_event_type type; /* FRAME, CONTACT, EVIDENCE */
    uint32_t len;
    uint8_t bytes[]; /* a frame, or an address with its NUL */
};

enum {
    CORE_NEWS_MAX = 8192,  /* beyond that what is heard is dropped */
    CORE_CLOCK_EVERY = 32, /* events between readings of the clock within one turn */
    /* A turn ends, and its replies leave, after that many requests or that long. */
    CORE_TURN_REQUESTS_MAX = 1024,
    CORE_TURN_MS_MAX = 5,
    CORE_RUN_MS_MAX = 20, /* a thread that has stepped that long leaves the rest to the loop's */
    CORE_LAG_MS = 1000,   /* a timer as late as that is worth a line in the log */
};

struct core {
    struct runtime *rt;
    struct store *store;
    void *data;
    /* Finished requests, linked by next; on any thread. The events that it pushes are seen to. */
    void (*on_replies)(void *data, struct runtime_request *finished);
    /* Requests for other nodes, linked by next; on any thread, but in the order of the turns: what
     * one entity sends another must not be overtaken. The events that it pushes are seen to. May be
     * NULL when the runtime has no gossip address. */
    void (*on_peers)(void *data, struct runtime_peer_request *requests);
    /* Frames of gossip to be sent, linked by next, to be freed; on the loop's thread. Likewise. */
    void (*on_frames)(void *data, struct runtime_frame *frames);
    /* The store has finished a request, before the runtime sees it; on the loop's thread. May be
     * NULL. */
    void (*on_store)(void *data, struct store_request *request);
    /* The node serves for the first time, see runtime_effects; on the loop's thread. May be NULL.
     */
    void (*on_serves)(void *data);
    /* The phase has changed; on the loop's thread. failure is valid until core_close. */
    void (*on_phase)(void *data, enum runtime_phase phase, int failure_code, const char *failure);

    atomic_bool busy;                           /* somebody steps */
    _Atomic(struct runtime_request *) requests; /* inboxes: stacks, newest first */
    _Atomic(struct store_request *) dones;
    _Atomic(struct core_news *) news;
    _Atomic(struct runtime_peer_request *) peers_done;
    atomic_uint news_n;
    atomic_ullong news_dropped;
    atomic_bool wake, stop, left_over;
    uint64_t yield_at_ns;          /* the turn under way is to end then … */
    bool late;                     /* … which it is; both of whoever is busy */
    struct runtime_request *taken; /* out of the inbox, oldest first; of whoever is busy */

    uv_loop_t *loop;
    uv_async_t async;
    uv_timer_t timer;
    uv_thread_t loop_thread;
    pthread_mutex_t lock; /* of what follows: from whoever steps to the loop's thread */
    struct store_request *to_store, **to_store_tail;
    struct runtime_frame *to_gossip, **to_gossip_tail;
    uint64_t wake_at_ns, timer_at_ns;
    enum runtime_phase phase, phase_told;
    bool serves, serves_told, redial;
    int failure_code;
    const char *failure;
};

/* On the loop's thread. rt and store are the caller's until core_close. The callbacks are to be set
 * before the first core_run. Errors: TROUPE_ENOMEM. */
int core_init(struct core *core, uv_loop_t *loop, struct runtime *rt, struct store *store);
/* Any thread. What is pushed is not lost, and waits for the next core_run. */
void core_push_request(struct core *core, struct runtime_request *request);
void core_push_stop(struct core *core);
/* Copied; dropped, and counted, when too much waits already. */
void core_push_frame(struct core *core, struct troupe_bytes frame);
/* type: RUNTIME_CONTACT or RUNTIME_EVIDENCE. */
void core_push_address(struct core *core, enum runtime_event_type type, const char *address);
/* Finished, linked by next. */
void core_push_peers(struct core *core, struct runtime_peer_request *finished);
/* Any thread. All that has been pushed before has been stepped, or will be by another thread. */
void core_run(struct core *core);
/* runtime_config.yield of the runtime that the core is to get; core is the data, and may still be
 * uninitialised when the runtime is opened. */
bool core_yield(void *core);
/* The runtime's figures, read between two turns. Any thread but one that is stepping. */
void core_stats(struct core *core, struct runtime_stats *stats);
/* On the loop's thread, when no store request is out and nobody pushes any more: closes the
 * handles. */
void core_close(struct core *core);

#endif
