/* Messages between nodes, as nodes without a safety check would take them; see mutants.h. */
#ifndef TROUPE_SIM_CLUSTER_MUTANT_WIRE_H
#define TROUPE_SIM_CLUSTER_MUTANT_WIRE_H

#include "tests/sim/cluster/world.h"

/* A request has come to a node. a: for what it becomes. */
void mutant_arrived(struct world *w, struct arena *a, struct rpc_request *rpc);
/* What the asker makes of the outcome of its request. */
int mutant_outcome(const struct world *w, const struct runtime_peer_request *peer, int error);

#endif
