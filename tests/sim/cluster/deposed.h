/* A server of the store that has been succeeded, and lives on for a while: connections for data
 * that were open stay with it, each for itself, while the lease's lead to the new one. What it
 * commits is lost. The store's driver of the product closes such connections when it knows; here
 * they stay, so that the runtime has to tell by the answers.
 *
 * Of some nodes the lease's connection stays, too, and none of them breaks: nothing tells such a
 * node but the others. If these could (somebody has moved over, and there was nothing wrong between
 * them), only its looking where a new connection leads ends that; else its lease's connection
 * breaks before the others evict it. */
#ifndef TROUPE_SIM_CLUSTER_DEPOSED_H
#define TROUPE_SIM_CLUSTER_DEPOSED_H

#include "tests/sim/cluster/world.h"

/* In the place of store_memory_fail_over: the server before lives on, until the faults end, or so
 * long. */
void deposed_begin(struct world *w, uint64_t ns);
/* It dies. */
void deposed_end(struct world *w);
bool deposed_lives(const struct world *w);
/* Whether a request of this run goes there now. */
bool deposed_gets(struct run *run, enum store_op op);
/* It looks where a new connection leads (store_redial). */
void deposed_redial(struct run *run);
/* A request that was under way when it was succeeded stays with it. */
bool deposed_keeps(const struct run *run, enum store_op op);
/* Runs a request there, at once. */
void deposed_run(struct world *w, struct store_request *request);

#endif
