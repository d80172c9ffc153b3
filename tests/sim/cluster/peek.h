/* What a run has in memory. The judge knows most of it from what a run asks the store for; that an
 * entity has been stopped is not among it. */
#ifndef TROUPE_SIM_CLUSTER_PEEK_H
#define TROUPE_SIM_CLUSTER_PEEK_H

#include "node/runtime/runtime.h"

/* The version that it has of an entity; 0: none. rt may be NULL. */
uint64_t peek_version(const struct runtime *rt, const struct store_key *key);
/* Its handler ran here: the answer is not another node's. */
bool peek_executed(const struct runtime_request *request, size_t call);
/* It serves the partition. */
bool peek_owns(const struct runtime *rt, uint32_t pid);
/* Breaks it: whatever the clocks have done, they are taken to have done it before the renewal that
 * is on its way was sent. */
void peek_forget_jump(struct runtime *rt, struct runtime_time now);
/* A frame of gossip from a node, by which all partitions with an epoch are that owner's; 0: the run
 * takes none. */
size_t peek_wrong_owners(const struct runtime *rt, const char *from, const char *owner,
                         const uint64_t *epochs, uint8_t *out, size_t size);
/* The highest epoch of a partition that the run has heard of. */
uint64_t peek_epoch(const struct runtime *rt, uint32_t pid);

#endif
