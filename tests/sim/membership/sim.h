/* A whole cluster of members in one process and in virtual time: the very code that a node runs,
 * and between the members a network in which everything that can go wrong is decided by dice. The
 * same seed gives the same story, event by event (sim.trace).
 *
 * A node is a row of runs: a crash ends one, a restart begins the next, with the same name, a
 * higher generation and a new address. Nodes are known by their index; it stands in the name, and
 * with the number of the run (the address) in the metadata. A frame for an address that nobody has
 * any more goes nowhere. */
#ifndef TROUPE_SIM_MEMBERSHIP_SIM_H
#define TROUPE_SIM_MEMBERSHIP_SIM_H

#include "cluster/swim.h"
#include "tests/sim/membership/network.h"
#include "tests/sim/membership/queue.h"

#define SIM_MS     UINT64_C(1000000)
#define SIM_SECOND (1000 * SIM_MS)
#define SIM_NEVER  UINT64_MAX

enum {
    SIM_META_BYTES = 64, /* about what a real node says of itself */
    SIM_NAME_BYTES = 16,
    SIM_SEEDS = 3, /* whom a starting node asks */
    SIM_PAIRS_NODES_MAX = 1024,
    SIM_TICKS_MAX = 1000, /* in a ms: more, and a deadline does not move on */
};

/* How a node is kept from running. */
enum sim_stall {
    SIM_RUNS,
    SIM_PAUSED,     /* the process is stopped; then late timers come before the frames that wait,
                       as in an event loop */
    SIM_IO_STALLED, /* timers run, but frames neither come in nor leave (Lifeguard §V) */
};

/* Stalls again and again: duration, interval, duration … */
struct sim_stall_plan {
    enum sim_stall how; /* SIM_RUNS: none */
    uint64_t duration_ns, interval_ns;
};

struct sim_node {
    struct swim *swim; /* NULL: not running */
    uint32_t run;
    uint64_t ended_ns;       /* the last run */
    uint64_t timer_ns;       /* when the timer that counts will fire */
    uint64_t ticks_since_ns; /* … and how often since then: must not be often */
    uint32_t ticks;
    enum sim_stall stall;
    struct sim_stall_plan plan;
    struct sim_waiting inbox, outbox;
    uint8_t group;
    bool refuses;   /* the process is gone, the machine resets whatever comes */
    bool afflicted; /* by the experiment: what is said of it, or by it, is another matter */
    bool joining, leaving;
};

/* What one node has last seen of another. */
enum sim_view { SIM_UNKNOWN, SIM_LIVE, SIM_GONE };

struct sim_pair {
    uint8_t view; /* enum sim_view */
    uint8_t removals;
    uint8_t returns;
    bool met; /* have exchanged frames: there is a connection */
};

/* Something that all shall know: that a run is over, or that it has begun. */
struct sim_watch {
    uint32_t node, run;                  /* run 0: nothing is watched */
    bool begun, ignores_afflicted;       /* they need not know */
    uint64_t since_ns, first_ns, all_ns; /* SIM_NEVER: not yet */
    uint32_t cursor;                     /* those before it know */
};

/* What has been counted since sim_count_anew. */
struct sim_counts {
    uint64_t since_ns, messages, bytes;
    /* Runs declared dead while they were running, once per node that came to think so by itself:
     * afflicted ones; healthy ones; healthy ones, by a healthy node. */
    uint64_t false_afflicted, false_healthy, false_by_healthy;
    uint64_t resurrected; /* ended runs, known dead to somebody, and alive to it again */
};

struct sim {
    struct swim_config config;
    uint32_t nodes_n;
    struct sim_node *nodes;
    struct sim_pair *pairs; /* nodes_n x nodes_n, observer first; NULL in big clusters */
    struct intern names, metas;
    struct swim_effects *fx;
    struct sim_queue queue;
    struct sim_network network;
    struct dice dice;
    uint64_t now_ns, events;
    uint64_t trace; /* a hash of all that has happened */
    struct sim_watch watch;
    struct sim_counts counts;
};

/* All nodes run, and know each other. */
void sim_open(struct sim *sim, uint32_t nodes_n, uint64_t seed, const struct swim_config *config);
void sim_close(struct sim *sim);
void sim_run_for(struct sim *sim, uint64_t ns);
/* Looks every so often whether it is true; whether it became so in time. */
bool sim_await(struct sim *sim, bool (*is_true)(struct sim *), uint64_t every_ns,
               uint64_t limit_ns);

void sim_crash(struct sim *sim, uint32_t node, bool reset);
void sim_restart(struct sim *sim, uint32_t node);
/* Says good-bye, and ends when that has been told. */
void sim_leave(struct sim *sim, uint32_t node);
void sim_stall(struct sim *sim, uint32_t node, enum sim_stall how, uint64_t ns);
/* The first stall begins at a random moment of the first cycle. */
void sim_stall_often(struct sim *sim, uint32_t node, struct sim_stall_plan plan);
/* n different nodes at random, afflicted from now on. */
void sim_afflict(struct sim *sim, uint32_t n, uint32_t *nodes);

/* ---- observe.c ---- */

void sim_count_anew(struct sim *sim);
void sim_watch(struct sim *sim, uint32_t node, bool begun);
bool sim_watch_done(struct sim *sim); /* all running nodes know */
bool sim_agrees(struct sim *sim);     /* all running nodes have one view, and it is right */
/* Pairs of a running node and a run that is over and seems alive to it. */
uint64_t sim_ghosts(struct sim *sim);
bool sim_is_free_of_ghosts(struct sim *sim);
/* By which number a member knows a node; SWIM_NOBODY. */
swim_id sim_find(const struct swim *swim, uint32_t node);
struct sim_pair *sim_pair(const struct sim *sim, uint32_t observer, uint32_t subject);

/* ---- inside ---- */

void sim__note(struct sim *sim, uint64_t what);
struct troupe_bytes sim__name(uint32_t node, char out[SIM_NAME_BYTES]);
void sim__handle(struct sim *sim, const struct sim_event *event); /* step.c */
void sim__start(struct sim *sim, uint32_t node);
/* Sends what effects ask for, looks at what has changed, sets the timer. */
void sim__after(struct sim *sim, uint32_t node, bool ticked);
void sim__observe(struct sim *sim, uint32_t node, bool ticked); /* observe.c */
extern bool sim_verbose;                                        /* tell on stderr what happens */
void sim__say(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
