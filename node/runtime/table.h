/* A hash table of entities, one per partition: so that growing one never moves more than a
 * partition's share (a few microseconds even with millions of entities), and a partition can be
 * walked, moved and dropped by itself. Open addressing with linear probing and backward-shift
 * deletion (Knuth 6.4 R); at most 3/4 full. Holds pointers only; keys are the entities' hash, kind
 * and id. */
#ifndef TROUPE_RUNTIME_TABLE_H
#define TROUPE_RUNTIME_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "troupe/bytes.h"

struct entity;

struct table {
    struct entity **slots; /* NULL while empty */
    uint32_t mask;         /* slots - 1 */
    uint32_t count;
};

/* The entity, or NULL. */
struct entity *table_find(const struct table *t, uint64_t hash, uint8_t kind,
                          struct troupe_bytes id);
/* A batch of calls touches as many entities at random, and what costs is waiting for memory, one
 * line after the other. So a batch first asks for all the slots, then for all the entities, then
 * for all their states (group prefetching; Chen et al., "Improving Hash Join Performance through
 * Prefetching", ICDE 2004). */
static inline void table_prefetch_slot(const struct table *t, uint64_t hash)
{
    if (t->slots != NULL)
        __builtin_prefetch(&t->slots[(uint32_t)hash & t->mask]);
}
/* What probably is the entity; NULL when there is none. */
static inline struct entity *table_guess(const struct table *t, uint64_t hash)
{
    return t->slots == NULL ? NULL : t->slots[(uint32_t)hash & t->mask];
}
/* 0, or TROUPE_ENOMEM. The entity must not be in the table yet. */
int table_insert(struct table *t, struct entity *e);
/* The entity must be in the table. */
void table_remove(struct table *t, struct entity *e);
/* Walking: the entity in slot i or NULL, for i in [0, table_slots). Removing while walking
 * backwards from the last slot visits every entity at least once, if the slot is looked at again
 * after each removal: one from behind it, or from the beginning, may have moved there. */
static inline uint32_t table_slots(const struct table *t)
{
    return t->slots == NULL ? 0 : t->mask + 1;
}
void table_close(struct table *t);

#endif
