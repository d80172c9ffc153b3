/* What an experiment has found out, summed over its trials. */
#ifndef TROUPE_SIM_MEMBERSHIP_FIGURES_H
#define TROUPE_SIM_MEMBERSHIP_FIGURES_H

#include "tests/sim/membership/samples.h"
#include "tests/sim/membership/sim.h"

struct figures {
    struct samples first; /* until the first node knew */
    struct samples all;   /* until all did */
    uint64_t trials;
    uint64_t missed; /* what some never came to know, in the time that the experiment gives */
    uint64_t false_afflicted, false_healthy, false_by_healthy; /* see struct sim_counts */
    uint64_t resurrected;
    uint64_t ghosts; /* runs that are over and seemed alive at the end: pairs */
    uint64_t flaps;  /* one-way loss: removals after the first, at the node with most of them */
    uint64_t messages, bytes;
    double node_seconds;
    uint64_t trace; /* a hash of all that has happened in all trials */
    uint64_t events;
};

/* What the simulation has counted since sim_count_anew, over so many nodes. */
void figures_take(struct figures *f, const struct sim *sim);
/* What sim->watch says. */
void figures_take_watch(struct figures *f, const struct sim *sim);
void figures_add(struct figures *f, const struct figures *more);
void figures_close(struct figures *f);

#endif
