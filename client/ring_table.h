/* What a client knows of the ring: for each partition the node that was last named as its owner,
 * and since which epoch. A small copy of what nodes keep (the owner map), learned from replies
 * alone. An entry is a guess: one that is wrong costs a hop, since the node that is asked forwards.
 *
 * Nodes are numbers of the caller's; 0 is "nobody in particular: ask anyone". Not thread safe. */
#ifndef TROUPE_CLIENT_RING_TABLE_H
#define TROUPE_CLIENT_RING_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/name.h"

/* Where an entity is on the hash circle, as fine as any cluster cuts it: its partition is the top
 * bits of that. */
typedef uint16_t ring_spot;

static inline ring_spot ring_spot_of(struct troupe_bytes kind, struct troupe_bytes id)
{
    return (ring_spot)(name_hash(kind, id) >> 48);
}

struct ring_table {
    unsigned bits;    /* log2 of the partitions; 0 = nothing is known yet */
    uint64_t *epochs; /* per partition */
    uint8_t *nodes;
};

/* Makes it one of so many partitions; if it is of another number, it forgets everything. 0, or
 * TROUPE_EINVAL (no number of partitions a cluster can have) and TROUPE_ENOMEM: nothing changed. */
int ring_table_fit(struct ring_table *t, uint32_t partitions);
void ring_table_close(struct ring_table *t);

/* Owner of the partition at spot, as far as known; 0 = unknown. */
static inline uint8_t ring_table_node(const struct ring_table *t, ring_spot spot)
{
    return t->bits == 0 ? 0 : t->nodes[spot >> (16 - t->bits)];
}

/* Somebody says that `node` has owned the partition since `epoch`; it was told by node `asked`.
 * What is newer counts; and from the one that we took for the owner any word that it is another.
 * True when the entry has changed. */
bool ring_table_learn(struct ring_table *t, ring_spot spot, uint8_t node, uint64_t epoch,
                      uint8_t asked);
/* Nothing is with this node any more. */
void ring_table_forget(struct ring_table *t, uint8_t node);

#endif
