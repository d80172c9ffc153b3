/* Between the nodes and the store: what disk.c shares with mutant_store.c. */
#ifndef TROUPE_SIM_CLUSTER_DISK_H
#define TROUPE_SIM_CLUSTER_DISK_H

#include "storage/memory/memory.h"
#include "tests/sim/cluster/world.h"

/* Runs a request in the store, at once. */
void disk_run(struct world *w, struct store_request *request);
void disk_break_strays(struct run *run);
/* The same in another one, such as one that was deposed. */
void disk_run_on(struct store *store, struct store_request *request);
/* It tells the time by the store's clock. */
void disk_set_clock(struct world *w, struct store *store);
/* Reads one row, into the arena; false: there is none. */
bool disk_load(struct world *w, const struct store_key *key, struct arena *a,
               struct store_row *row);
/* Copies everything a request points to, into the arena; outputs are not copied. */
void disk_copy_request(struct arena *a, struct store_request *to, const struct store_request *from);

/* What a store without that check does with a request: */
void mutant_open(struct world *w);
void mutant_close(struct world *w);
/* A request reaches the store, and will be executed a moment later. */
void mutant_arrives(struct world *w, struct run *run, struct store_request *request);
/* Executes it; true: done instead of the ordinary. */
bool mutant_executes(struct world *w, struct run *run, struct store_request *request);
/* What a careless run makes of an answer, before it has it. */
void mutant_believes(const struct run *run, struct store_request *request);
/* How long after its arrival it is executed. */
uint64_t mutant_delay_ns(struct world *w, const struct store_request *request);

#endif
