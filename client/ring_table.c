/* See ring_table.h. */
#include "client/ring_table.h"

#include <stdlib.h>

#include "base/invariant.h"
#include "troupe/error.h"

_Static_assert(PARTITIONS_MAX == 1 << 16, "a spot is as fine as the finest cluster");

int ring_table_fit(struct ring_table *t, uint32_t partitions)
{
    int bits = name_partition_bits(partitions);
    if (bits < 0)
        return TROUPE_EINVAL;
    if (t->bits == (unsigned)bits)
        return 0;
    uint64_t *epochs = calloc(partitions, sizeof *epochs);
    uint8_t *nodes = calloc(partitions, sizeof *nodes);
    if (epochs == NULL || nodes == NULL) {
        free(epochs);
        free(nodes);
        return TROUPE_ENOMEM;
    }
    ring_table_close(t);
    *t = (struct ring_table){.bits = (unsigned)bits, .epochs = epochs, .nodes = nodes};
    return 0;
}

void ring_table_close(struct ring_table *t)
{
    free(t->epochs);
    free(t->nodes);
    *t = (struct ring_table){0};
}

bool ring_table_learn(struct ring_table *t, ring_spot spot, uint8_t node, uint64_t epoch,
                      uint8_t asked)
{
    INVARIANT(t->bits != 0);
    uint32_t pid = (uint32_t)spot >> (16 - t->bits);
    bool newer = epoch > t->epochs[pid];
    bool denied = t->nodes[pid] == asked && node != asked;
    if (!newer && !denied)
        return false;
    bool changed = t->nodes[pid] != node;
    t->nodes[pid] = node;
    t->epochs[pid] = epoch;
    return changed;
}

void ring_table_forget(struct ring_table *t, uint8_t node)
{
    uint32_t partitions = t->bits == 0 ? 0 : UINT32_C(1) << t->bits;
    for (uint32_t pid = 0; pid < partitions; pid++)
        if (t->nodes[pid] == node)
            t->nodes[pid] = 0;
}
