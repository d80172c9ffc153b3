/* Requests of the store that go wrong by their kind, while all others do well: loads that are
 * answered after seconds, transfers whose outcome is unknown. What strikes all of them alike
 * (disk.c) soon costs a node its lease, and hides what comes after. */
#ifndef TROUPE_SIM_CLUSTER_DOUBTS_H
#define TROUPE_SIM_CLUSTER_DOUBTS_H

#include "tests/sim/cluster/world.h"

/* A fault begins: some kinds of requests are in doubt for a while. */
void doubts_begin(struct world *w);
void doubts_end(struct world *w, void *data);
/* Whether this one is to be given up by its caller before its answer comes. */
bool doubts_about(struct world *w, enum store_op op);
/* How much longer than usual its answer takes. */
uint64_t doubts_delay_ns(struct world *w, enum store_op op);

#endif
