/* Flat combining (Hendler, Incze, Shavit, Tzafrir, SPAA 2010): whoever brings an event runs the
 * step itself.
 *
 * The runtime is stepped by one thread at a time, but not always by the same. A thread pushes its
 * event into an inbox and calls core_run: if nobody is stepping, it takes everything that has
 * gathered, steps the runtime through it, collects the effects and performs them; if somebody is,
 * that one will see the event. So a call that came in on one of nng's threads is answered on it,
 * without waking another thread; the loop's thread is woken only for what it alone may do: the
 * store, the timer, the end. */
#ifndef TROUPE_SHELL_CORE_H
#define TROUPE_SHELL_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "node/runtime/runtime.h"

enum { CORE_CLOCK_EVERY = 32 /* steps between readings of the clock within one turn */ };

struct core {
    struct runtime *rt;
    struct store *store;
    void *data;
    /* A finished request; on any thread. */
    void (*on_reply)(void *data, struct runtime_request *request);
    /* The store has finished a request, before the runtime sees it; on the loop's thread. May be
     * NULL. */
    void (*on_store)(struct core *core, struct store_request *request);
    /* The phase has changed; on the loop's thread. */
    void (*on_phase)(void *data, enum runtime_phase phase, int failure_code, const char *failure);

    atomic_bool busy;                           /* somebody steps */
    _Atomic(struct runtime_request *) requests; /* inboxes: stacks, newest first */
    _Atomic(struct store_request *) dones;
    atomic_bool wake, stop;

    uv_loop_t *loop;
    uv_async_t async;
    uv_timer_t timer;
    uv_thread_t loop_thread;
    pthread_mutex_t lock; /* of what follows: from whoever steps to the loop's thread */
    struct store_request *to_store, **to_store_tail;
    uint64_t wake_at_ns, timer_at_ns;
    enum runtime_phase phase, phase_told;
    int failure_code;
    char failure[1024];
};

/* On the loop's thread. rt and store are the caller's until core_close has called back. */
int core_init(struct core *core, uv_loop_t *loop, struct runtime *rt, struct store *store);
/* Any thread. */
void core_push_request(struct core *core, struct runtime_request *request);
void core_push_stop(struct core *core);
void core_run(struct core *core);
/* The runtime's figures, read between two turns. Any thread but one that is stepping. */
void core_stats(struct core *core, struct runtime_stats *stats);
/* On the loop's thread, when no store request is out and nobody pushes any more: frees the handles.
 */
void core_close(struct core *core);

#endif
