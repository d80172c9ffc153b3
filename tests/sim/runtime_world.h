/* One node in virtual time: the real runtime, the memory store, and everything between them that
 * can go wrong, all decided by dice. The same seed gives the same story.
 *
 * A store request takes effect at some moment after it was sent, and its answer arrives at some
 * later one; either may be lost. A crash abandons the runtime as it is: what it had on its way to
 * the store may still take effect, even after its successor has registered (a zombie). */
#ifndef TROUPE_SIM_RUNTIME_WORLD_H
#define TROUPE_SIM_RUNTIME_WORLD_H

#include "node/runtime/runtime.h"
#include "storage/memory/memory.h"
#include "tests/unit/random.h"

#define WORLD_MS UINT64_C(1000000)

enum { WORLD_FLIGHTS_MAX = 64, WORLD_ZOMBIES_MAX = 8 };

/* A store request between the runtime and the store. */
struct world_flight {
    struct store_request *request;
    struct runtime *owner;
    uint64_t execute_ns, answer_ns; /* UINT64_MAX: never */
    bool executed;
    int fault; /* error to answer with, whatever happened; 0 = the truth */
};

/* When an answer comes that does not come until something is done about it. */
#define WORLD_SOME_DAY (UINT64_MAX - 1)

struct world {
    struct dice dice;
    struct runtime_time now;
    struct store *store;
    struct runtime *rt; /* NULL while the node is down */
    struct runtime_config config;
    struct runtime_effects fx;
    uint64_t outage_until_ns; /* the store cannot be reached until then */
    enum store_op broken_op;  /* with broken_error: what the store refuses to do, always */
    int broken_error;         /* 0 = nothing */
    bool broken_silent;       /* nor does it say so: there is no answer at all */
    unsigned fault_percent;   /* of store requests: lost on the way there or back */
    uint64_t row_ms;          /* what a save takes longer for each of its rows; one that would take
                                 more than 5 s is given up then, and not done */
    struct world_flight flights[WORLD_FLIGHTS_MAX];
    size_t flights_n;
    struct runtime *zombies[WORLD_ZOMBIES_MAX];
    size_t zombies_n;
    unsigned warns_n, saves_n;
    bool halt;     /* set from a callback: world_run returns, whatever is due */
    uint64_t hash; /* of everything that happened: two runs of one seed must agree */
    void (*reply)(void *data, struct runtime_request *request);
    void *data;
    uint64_t incarnation;
};

void world_open(struct world *w, uint64_t seed, const struct troupe_kind *const *kinds,
                size_t kinds_n);
void world_close(struct world *w);
void world_start(struct world *w);
/* kill -9, at an effect boundary. */
void world_crash(struct world *w);
/* SIGTERM: runs until the node has stopped. Whether it did within max_ms. */
bool world_stop(struct world *w, uint64_t max_ms);
void world_step(struct world *w, const struct runtime_event *event);
/* Runs everything that is due until then. */
void world_run(struct world *w, uint64_t until_ns);
/* Runs until the node serves; whether it does within max_ms. */
bool world_serve(struct world *w, uint64_t max_ms);
void world_note(struct world *w, uint64_t what);

#endif
