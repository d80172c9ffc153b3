/* The store in memory: for tests, the simulator, and nodes that shall forget.
 *
 * "memory:" is a database of its own; "memory:NAME" is one that all handles opened by that name in
 * this process share, until the last of them is closed. Handles may live on different threads.
 *
 * With a loop, requests run in a later turn of it. Without one they queue until store_memory_poll
 * runs them, in order; store_close then calls back from the poll that finds the queue empty, and
 * the handle is gone after that poll. */
#ifndef TROUPE_STORAGE_MEMORY_H
#define TROUPE_STORAGE_MEMORY_H

#include "storage/store.h"

/* The store's clock in milliseconds, of the whole database; wall time until it is set. It also
 * makes everything else that the store would draw at random (the cluster's uid) a function of the
 * names, so that a simulation can be repeated. Set it before the first request. */
typedef uint64_t (*store_memory_clock_cb)(void *data);
void store_memory_set_clock(struct store *store, store_memory_clock_cb clock, void *data);

/* What shall go wrong with a request. */
struct store_memory_fault {
    int error;  /* 0: nothing. Otherwise what the request ends with … */
    bool apply; /* … and whether it takes effect all the same (error is TROUPE_EOUTCOME then) */
};

/* Asked for every request of this handle before it runs; NULL: nothing goes wrong. */
typedef struct store_memory_fault (*store_memory_fault_cb)(void *data,
                                                           const struct store_request *request);
void store_memory_set_fault(struct store *store, store_memory_fault_cb fault, void *data);

/* A copy of the cluster's data as they are now, kept until fail_over or the next keep; false: out
 * of memory. It is a standby that has come so far. */
bool store_memory_keep(struct store *store);
/* The standby takes over: what was committed since the last keep, which there must have been, is
 * lost, and the timeline grows: to 2 the first time, as the first one is 1 (and reported as 0). */
void store_memory_fail_over(struct store *store);

/* The same, but the server that is succeeded lives on, as `old`: a handle to another database on
 * which nothing has been done. What that one is asked bears its number. */
void store_memory_depose(struct store *store, struct store *old);

/* A broken store, to see that it is noticed: epochs and generations that a failover has lost are
 * handed out again. */
void store_memory_forget_timeline(struct store *store);

/* Marks a node of the handle's cluster as dead, as the eviction by another node would. False when
 * there is no such active node. */
bool store_memory_evict(struct store *store, const char *name);

#endif
