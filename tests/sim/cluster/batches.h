/* Clients that send many calls at once. */
#ifndef TROUPE_SIM_CLUSTER_BATCHES_H
#define TROUPE_SIM_CLUSTER_BATCHES_H

#include "storage/store.h"

struct world;

void batches_open(struct world *w);
void batches_close(struct world *w);
/* See clients_told and clients_overlap. */
void batches_told(struct world *w, uint64_t client, const struct store_key *key, uint64_t run);
void batches_overlap(struct world *w, uint64_t client);

#endif
