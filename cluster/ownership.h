/* What this node owns, and the map of what the others own, partition by partition (DESIGN §4,
 * §6.4). Pure bookkeeping: which partitions to ask the store for, what it answered, which epoch
 * stands.
 *
 *   NONE ──ask──▶ CLAIMING ──won──▶ OWNED
 *    ▲               └──not won──▶ FOREIGN ──asked again later──▶ CLAIMING
 *    └──────────────── lost (fenced, evicted) ◀── OWNED */
#ifndef TROUPE_CLUSTER_OWNERSHIP_H
#define TROUPE_CLUSTER_OWNERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ownership_state {
    OWNERSHIP_NONE,     /* not asked for yet, or lost */
    OWNERSHIP_CLAIMING, /* in a claim that is on its way */
    OWNERSHIP_OWNED,
    OWNERSHIP_FOREIGN, /* the store says it is somebody else's */
};

struct ownership_entry {
    uint64_t epoch; /* OWNED: ours; FOREIGN: theirs as last heard; NONE: the last one that was ours,
                       or 0 */
    uint32_t node;  /* FOREIGN: index into the driver's list of nodes, or UINT32_MAX */
    uint8_t state;  /* enum ownership_state */
};

struct ownership {
    struct ownership_entry *entries; /* one per partition */
    uint32_t partitions;
    uint32_t owned;
    uint32_t wanted; /* in state NONE: to be asked for */
};

/* Everything is wanted at first. TROUPE_ENOMEM. */
int ownership_init(struct ownership *o, uint32_t partitions);
void ownership_close(struct ownership *o);

static inline bool ownership_is_owned(const struct ownership *o, uint32_t pid)
{
    return o->entries[pid].state == OWNERSHIP_OWNED;
}

/* Takes up to max wanted partitions into CLAIMING and writes their numbers, ascending; how many. */
size_t ownership_ask(struct ownership *o, uint32_t *pids, size_t max);
/* The answer to a claim of pid: won with this epoch … */
void ownership_win(struct ownership *o, uint32_t pid, uint64_t epoch);
/* … or somebody else's … */
void ownership_miss(struct ownership *o, uint32_t pid);
/* … or nobody knows: the claim failed, ask again. */
void ownership_retry(struct ownership *o, uint32_t pid);
/* What the store's map says of a partition that is not ours. */
void ownership_learn(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node);
/* Foreign partitions are wanted again (their owner may have gone). How many. */
size_t ownership_want_foreign(struct ownership *o);
/* Ours no longer; wanted again. */
void ownership_lose(struct ownership *o, uint32_t pid);

#endif
