/* See groups.h. */
#include "tests/sim/cluster/groups.h"

#include "tests/sim/cluster/world.h"

const struct group_info group_infos[GROUPS] = {
    [GROUP_SLOW_LOADS] = {"slow-loads", "answers to loads and map reads that take seconds"},
    [GROUP_STORE_DOUBTS] = {"store-doubts", "one kind of requests whose outcome is unknown"},
    [GROUP_LINK_BREAKS] = {"link-breaks", "links that break under forwarded calls"},
    [GROUP_EVICTIONS] = {"entities-max", "nodes that keep a few entities in memory"},
    [GROUP_LETTERS] = {"letters", "entities that write to each other"},
    [GROUP_BATCHES] = {"batches", "requests with many calls, some of them twice"},
    [GROUP_KINDS] = {"kinds-differ", "nodes that lack a kind"},
    [GROUP_STOPS] = {"stops", "entities that stop after a call"},
    [GROUP_WIPES] = {"wipes", "entities that are deleted, and handlers that crash"},
    [GROUP_DEPOSED] = {"deposed-servers", "old servers that live on after a failover of the store"},
    [GROUP_UNTOLD] = {"untold-nodes", "nodes none of whose connections to such a server breaks"},
};

/* Three in four, so that many stories have several together, and many lack each. */
void groups_draw(struct world *w, uint64_t on, uint64_t off)
{
    w->groups = (dice_throw(&w->dice) | dice_throw(&w->dice) | on) & ~off;
}

bool group_is_on(const struct world *w, enum group group)
{
    return (w->groups & GROUP_BIT(group)) != 0;
}
