/* What this node owns, and what it knows of who owns the rest, partition by partition (DESIGN §4,
 * §6.4, §6.7). Pure bookkeeping: which partitions to ask the store for, what it answered, which
 * epoch stands.
 *
 *   FOREIGN ⇄ WANTED ──ask──▶ CLAIMING ──won──▶ OWNED ⇄ FROZEN ──given away──▶ FOREIGN
 *      ▲                          └──not won──▶ FOREIGN   │         │
 *      └─────────────── lost (fenced, evicted) ◀──────────┴─────────┘
 *
 * FROZEN: still ours for the store, but nothing runs in it, for it is being given away. */
#ifndef TROUPE_CLUSTER_OWNERSHIP_H
#define TROUPE_CLUSTER_OWNERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ownership_state {
    OWNERSHIP_FOREIGN,  /* somebody else's, or nobody's, as far as we know */
    OWNERSHIP_WANTED,   /* to be asked for */
    OWNERSHIP_CLAIMING, /* in a claim that is on its way */
    OWNERSHIP_OWNED,
    OWNERSHIP_FROZEN,
    OWNERSHIP_STATES,
};

enum { OWNERSHIP_NOBODY = UINT32_MAX };
enum {
    OWNERSHIP_EPOCH_BITS = 40, /* of an epoch; above them is the store's timeline when it was new */
};

struct ownership_entry {
    uint64_t epoch; /* of its owner, as last heard; ours while it is ours */
    uint64_t sure;  /* the latest epoch that the store itself has told, not others */
    uint64_t kept; /* what we have of it in memory is right if this is still its epoch in the store;
                      0 = we have nothing */
    uint64_t
        lost; /* the driver's: when what we had of it was lost last, by its own count; 0 = never
               */
    uint32_t node; /* its owner: index into the driver's nodes, or OWNERSHIP_NOBODY: nobody, or not
                      known. While it is ours: NOBODY */
    uint8_t state; /* enum ownership_state */
    bool coming;   /* FOREIGN: another node is handing it to us; the driver's */
    bool going;    /* FROZEN: what was in it is on its way; the driver's, reset with the state */
};

struct ownership {
    struct ownership_entry *entries; /* one per partition */
    uint32_t partitions;
    uint32_t in[OWNERSHIP_STATES]; /* how many are in each state */
};

/* All are FOREIGN at first, with no owner known. TROUPE_ENOMEM. */
int ownership_init(struct ownership *o, uint32_t partitions);
void ownership_close(struct ownership *o);

/* It may be served. */
static inline bool ownership_is_owned(const struct ownership *o, uint32_t pid)
{
    return o->entries[pid].state == OWNERSHIP_OWNED;
}

/* The store has it as ours. */
static inline bool ownership_is_held(const struct ownership *o, uint32_t pid)
{
    return o->entries[pid].state >= OWNERSHIP_OWNED;
}

static inline uint32_t ownership_held(const struct ownership *o)
{
    return o->in[OWNERSHIP_OWNED] + o->in[OWNERSHIP_FROZEN];
}

/* FOREIGN to WANTED and back; nothing happens in other states. */
void ownership_want(struct ownership *o, uint32_t pid);
void ownership_unwant(struct ownership *o, uint32_t pid);
/* Takes up to max wanted partitions into CLAIMING and writes their numbers, ascending; how many. */
size_t ownership_ask(struct ownership *o, uint32_t *pids, size_t max);
/* The answer to a claim of pid: won with this epoch … */
void ownership_win(struct ownership *o, uint32_t pid, uint64_t epoch);
/* … or somebody else's … */
void ownership_miss(struct ownership *o, uint32_t pid);
/* … or nobody knows: the claim failed, ask again. */
void ownership_retry(struct ownership *o, uint32_t pid);
/* The store has it at this epoch, by whatever has asked it. */
void ownership_sure(struct ownership *o, uint32_t pid, uint64_t epoch);
/* Somebody has it at this epoch. Taken when that is news, and when it is not ours; true: taken. */
bool ownership_learn(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node);
/* The store has gone back to an older copy, which has this owner, at a lower epoch. Not ours. */
void ownership_go_back(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node);
/* Ours no longer, by the store's word; what is in memory is kept, see kept. */
void ownership_lose(struct ownership *o, uint32_t pid);
/* What was in memory of a partition is gone. */
void ownership_forget(struct ownership *o, uint32_t pid);
/* OWNED to FROZEN and back. */
void ownership_freeze(struct ownership *o, uint32_t pid);
void ownership_thaw(struct ownership *o, uint32_t pid);
/* FROZEN: another node has it now, by our own transfer. */
void ownership_give(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node);
/* FOREIGN, WANTED: it has been given to us. */
void ownership_take(struct ownership *o, uint32_t pid, uint64_t epoch);
/* Whether any partition is known to belong to this node. O(partitions). */
bool ownership_mentions(const struct ownership *o, uint32_t node);

#endif
