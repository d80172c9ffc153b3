/* A cluster of membership machines in one process: virtual time, a network with latency, loss, cuts
 * and partitions, nodes that are stopped, crash and come back. One seed, one story. */
#ifndef TROUPE_TESTS_SWIM_WORLD_H
#define TROUPE_TESTS_SWIM_WORLD_H

#include "../unit/random.h"
#include "cluster/swim.h"

enum { WORLD_NODES_MAX = 256, WORLD_INBOX_MAX = 4096 };

#define WORLD_MS UINT64_C(1000000)
#define WORLD_S  (1000 * WORLD_MS)

enum world_stall {
    WORLD_RUNS,
    WORLD_PAUSED, /* SIGSTOP: neither timers nor frames; afterwards timers come first */
    WORLD_DEAF,   /* Lifeguard §V: timers run, frames wait in both directions */
};

struct world_frame {
    struct world_frame *next;
    uint32_t to, len;
    uint8_t bytes[];
};

struct world_node {
    struct swim *swim; /* NULL: crashed */
    uint64_t run;      /* generation */
    uint64_t timer_ns; /* of the event that stands for its deadline */
    enum world_stall stall;
    uint64_t stall_ends_ns;
    struct world_frame *inbox, **inbox_tail; /* while it is stalled */
    struct world_frame *outbox, **outbox_tail;
    uint32_t side; /* of a partition */
    bool mute;     /* nothing it sends arrives */
};

struct world_event {
    uint64_t at_ns, order;
    struct world_frame *frame; /* NULL: a timer, or the end of a stall */
    uint32_t node;
};

struct world {
    struct swim_config config;
    struct world_node nodes[WORLD_NODES_MAX];
    uint32_t n;
    uint64_t now_ns, order;
    struct world_event *heap;
    size_t heap_n, heap_size;
    struct dice dice;
    struct intern names, metas;
    struct swim_effects fx;
    uint32_t loss_percent;
    /* Counted as they happen. */
    uint64_t false_deaths;         /* a running node's present run, called dead by its suspecter */
    uint64_t false_deaths_healthy; /* … neither of the two being stalled */
    uint64_t frames, bytes;
    uint64_t trace; /* hash of all that has been delivered */
    /* The last death of node `watched` that a member has heard of. */
    uint32_t watched;
    uint64_t known_ns[WORLD_NODES_MAX]; /* when each first held it for dead; 0 = not yet */
};

/* n nodes that all know each other. */
void world_init(struct world *w, const struct swim_config *config, uint32_t n, uint64_t seed);
void world_close(struct world *w);
void world_run(struct world *w, uint64_t ns);
/* Runs until done says so, at most so long; how long it took, UINT64_MAX when it did not. */
uint64_t world_until(struct world *w, bool (*done)(struct world *w), uint64_t max_ns);
void world_crash(struct world *w, uint32_t i);
/* The same name, a new generation and address, an empty table, and two others to ask. */
void world_restart(struct world *w, uint32_t i);
void world_stall(struct world *w, uint32_t i, enum world_stall how, uint64_t ns);
void world_leave(struct world *w, uint32_t i);
/* The connections of all others to it are reset. */
void world_reset_connections(struct world *w, uint32_t i);

/* Every running node shows the same live members, and these are the running nodes' present runs. */
bool world_agrees(struct world *w);
/* How member i's present run stands in the table of `at`; 0 = that run is not known there. */
enum gossip_state world_state(struct world *w, uint32_t at, uint32_t i);

#endif
