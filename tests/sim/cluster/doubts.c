/* See doubts.h. */
#include "tests/sim/cluster/doubts.h"

#include "tests/sim/cluster/groups.h"

enum {
    DOUBTS_MS_MAX = 10000,
    LATE_MS_MAX = 15000, /* the lease, an eviction, and the next claim fit in */
    LATE_PER_MILLE = 40,
};

/* Renewals and registrations are rare among what is in doubt: without a lease nothing goes on. */
static const enum store_op ops[] = {
    STORE_SAVE, STORE_SAVE,   STORE_TRANSFER, STORE_TRANSFER, STORE_CLAIM,  STORE_CLAIM,
    STORE_LOAD, STORE_OWNERS, STORE_EVICT,    STORE_REGISTER, STORE_RECENT, STORE_LEAVE,
};

void doubts_end(struct world *w, void *data)
{
    (void)data;
    w->doubts = 0;
    w->doubt_per_mille = 0;
}

void doubts_begin(struct world *w)
{
    if (!group_is_on(w, GROUP_STORE_DOUBTS))
        return;
    uint64_t n = 1 + dice_below(&w->dice, 3);
    for (w->doubts = 0; n > 0; n--)
        w->doubts |= 1u << ops[dice_below(&w->dice, sizeof ops / sizeof ops[0])];
    w->doubt_per_mille = 100 + (uint32_t)dice_below(&w->dice, 850);
    world_trace(w, "the store's requests %#x are in doubt, %u per mille of them", w->doubts,
                w->doubt_per_mille);
    world_at(w, w->now_ns + world_while(w, DOUBTS_MS_MAX * WORLD_MS), doubts_end, NULL);
}

bool doubts_about(struct world *w, enum store_op op)
{
    return (w->doubts >> op & 1) != 0 && world_chance(w, w->doubt_per_mille);
}

uint64_t doubts_delay_ns(struct world *w, enum store_op op)
{
    bool reads = op == STORE_LOAD || op == STORE_OWNERS || op == STORE_RECENT;
    if (!reads || w->quiet || !group_is_on(w, GROUP_SLOW_LOADS) || !world_chance(w, LATE_PER_MILLE))
        return 0;
    return world_while(w, LATE_MS_MAX * WORLD_MS);
}
