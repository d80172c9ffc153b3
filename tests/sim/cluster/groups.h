/* Groups of faults and of work that a story may have or not, beside what faults.c always draws
 * from. Each can be switched off for all stories: troupe-sim --NAME off. */
#ifndef TROUPE_SIM_CLUSTER_GROUPS_H
#define TROUPE_SIM_CLUSTER_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

enum group {
    GROUP_SLOW_LOADS,   /* reads of the store are answered after seconds */
    GROUP_STORE_DOUBTS, /* some kinds of the store's requests end as unknown, or come to nothing */
    GROUP_LINK_BREAKS,  /* links between nodes break under requests, which may arrive later */
    GROUP_EVICTIONS,    /* nodes keep few entities in memory */
    GROUP_LETTERS,      /* entities write to each other */
    GROUP_BATCHES,      /* requests with many calls, some of them twice */
    GROUP_STOPS,        /* entities that stop after a call */
    GROUP_KINDS,        /* nodes that lack a kind */
    GROUP_DEPOSED,      /* a store that has failed over lives on where it was … */
    GROUP_UNTOLD,       /* … and to some nodes nothing tells it but other nodes */
    GROUP_WIPES,        /* entities that are deleted, and handlers that crash */
    GROUPS,
};

struct group_info {
    const char *name, *what;
};

#define GROUP_BIT(group) (UINT64_C(1) << (group))

extern const struct group_info group_infos[GROUPS];

struct world;
/* Which of them this story has. Bits of those that every story has, and that none has. */
void groups_draw(struct world *w, uint64_t on, uint64_t off);
bool group_is_on(const struct world *w, enum group group);

#endif
