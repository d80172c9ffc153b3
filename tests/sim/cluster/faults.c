/* What goes wrong, and when it is over. */
#include "tests/sim/cluster/doubts.h"
#include "tests/sim/cluster/poison.h"
#include "tests/sim/cluster/world.h"

#include <stdlib.h>

enum {
    EVERY_MS_MIN = 500, /* from one fault to the next at most, in the worst of stories */
    DOWN_MS_MAX = 8000,
    PAUSE_SHORT_MS_MAX = 3000,
    PAUSE_LONG_MS_MAX = 14000, /* beyond the lease */
    BREAK_MS_MAX = 300,
    BEYOND_LEASE_MS = 7000,
    ALONE_MS_MIN = 1500,
    ALONE_MS_MAX = 8000,
    CUT_MS_MAX = 15000,
    OUTAGE_MS_MAX = 7000,
    SLOW_MS_MAX = 4000,
    LAG_MS_MAX = 2000, /* of a standby */
    FAILOVER_EVERY_MS_MIN = 15000,
    FAILOVER_EVERY_MS_MAX = 60000,
    QUALITY_MS_MAX = 8000,
};

static const uint64_t GOOD_JITTER_NS = WORLD_MS;

static uint64_t draw_ms(struct world *w, uint64_t max)
{
    return world_while(w, max * WORLD_MS);
}

/* A node that is up, or NULL. */
static struct node *draw_node(struct world *w)
{
    struct node *n = &w->nodes[dice_below(&w->dice, w->nodes_n)];
    return n->run == NULL ? NULL : n;
}

/* ---- processes ---- */

static void start_again(struct world *w, void *data)
{
    struct node *n = data;
    (void)w;
    if (n->run == NULL && !n->is_twin)
        node_start(n);
}

static void watch(struct world *w, void *data)
{
    struct node *n = data;
    if (w->quiet)
        return;
    if (n->run == NULL) {
        world_at(w, w->now_ns + draw_ms(w, DOWN_MS_MAX), start_again, n);
        world_at(w, w->now_ns + (DOWN_MS_MAX + 500) * WORLD_MS, watch, n);
        return;
    }
    world_at(w, w->now_ns + 500 * WORLD_MS, watch, n);
}

static void kill_one(struct world *w)
{
    struct node *n = draw_node(w);
    if (n == NULL)
        return;
    if (dice_below(&w->dice, 2) == 0)
        node_kill(n);
    else
        node_interrupt(n, (enum stage)dice_below(&w->dice, STAGES), UINT64_MAX);
}

static void pause_one(struct world *w)
{
    struct node *n = draw_node(w);
    bool is_long = dice_below(&w->dice, 2) == 0;
    uint64_t ns =
        is_long ? PAUSE_SHORT_MS_MAX * WORLD_MS +
                      dice_below(&w->dice, (PAUSE_LONG_MS_MAX - PAUSE_SHORT_MS_MAX) * WORLD_MS)
                : draw_ms(w, PAUSE_SHORT_MS_MAX);
    if (n != NULL)
        node_interrupt(n, (enum stage)dice_below(&w->dice, STAGES), ns + 1);
}

/* A virtual machine is stopped, and goes on. The moment that counts is while a renewal is on its
 * way: its answer waits. */
static void stand_still(struct world *w)
{
    struct node *n = draw_node(w);
    bool renewing = dice_below(&w->dice, 2) == 0;
    enum stage stage = renewing ? STAGE_AFTER_RENEWAL : (enum stage)dice_below(&w->dice, STAGES);
    uint64_t ns = draw_ms(w, PAUSE_LONG_MS_MAX);
    if (n != NULL)
        node_stand_still(n, stage, ns + 1);
}

static void stop(struct node *n)
{
    if (n != NULL && n->run != NULL && !node_is_paused(n) && !n->run->stopping &&
        !n->run->uncollected && !n->run->unperformed)
        node_stop(n);
}

static void stop_one(struct world *w)
{
    stop(draw_node(w));
}

static void start_twin(struct world *w)
{
    struct node *twin = &w->nodes[w->nodes_n - 1];
    if (twin->run == NULL)
        node_start(twin);
    else if (dice_below(&w->dice, 2) == 0)
        node_kill(twin);
}

static void kill_many(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        if (w->nodes[i].run != NULL && dice_below(&w->dice, 4) != 0)
            node_kill(&w->nodes[i]);
    }
}

/* ---- the network ---- */

static void heal_network(struct world *w, void *data)
{
    (void)data;
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        for (uint32_t k = 0; k < w->nodes_n; k++)
            w->cut[i][k] = false;
    }
    w->network_is_bad = w->jitter_ns != GOOD_JITTER_NS;
    w->network_bad_ns = w->now_ns;
    world_trace(w, "the network is whole again");
}

static void cut_one_way(struct world *w)
{
    uint32_t from = (uint32_t)dice_below(&w->dice, w->nodes_n);
    uint32_t to = (uint32_t)dice_below(&w->dice, w->nodes_n);
    bool all = dice_below(&w->dice, 2) == 0;
    w->network_is_bad = true;
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        if (i != from && (all || i == to))
            w->cut[from][i] = true;
    }
    world_trace(w, "n%u: nothing from it reaches %s", from, all ? "anybody" : "one node");
    world_at(w, w->now_ns + draw_ms(w, CUT_MS_MAX), heal_network, w);
}

static void cut_in_two(struct world *w)
{
    uint64_t side = dice_throw(&w->dice);
    w->network_is_bad = true;
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        for (uint32_t k = 0; k < w->nodes_n; k++)
            w->cut[i][k] |= (side >> i & 1) != (side >> k & 1);
    }
    world_trace(w, "the network is in two parts: %#llx",
                (unsigned long long)(side & ((1u << w->nodes_n) - 1)));
    world_at(w, w->now_ns + draw_ms(w, CUT_MS_MAX), heal_network, w);
}

static void good_quality(struct world *w, void *data)
{
    (void)data;
    w->loss_per_mille = w->twice_per_mille = w->late_per_mille = 0;
    w->latency_ns = WORLD_MS / 5;
    w->jitter_ns = GOOD_JITTER_NS;
    w->network_bad_ns = w->now_ns; /* cuts may go on */
}

static void sound_links(struct world *w, void *data)
{
    (void)data;
    w->network_bad_ns = w->break_per_mille > 0 ? w->now_ns : w->network_bad_ns;
    w->break_per_mille = 0;
}

static void break_links(struct world *w)
{
    if (!group_is_on(w, GROUP_LINK_BREAKS))
        return;
    w->network_bad_ns = w->now_ns;
    w->break_per_mille = 20 + (uint32_t)dice_below(&w->dice, 400);
    world_trace(w, "links between nodes break, under %u per mille of the requests",
                w->break_per_mille);
    world_at(w, w->now_ns + draw_ms(w, QUALITY_MS_MAX), sound_links, w);
}

static void bad_quality(struct world *w)
{
    w->network_is_bad = true;
    w->loss_per_mille = (uint32_t)dice_below(&w->dice, 200);
    w->twice_per_mille = (uint32_t)dice_below(&w->dice, 100);
    w->late_per_mille = (uint32_t)dice_below(&w->dice, 100);
    w->jitter_ns = GOOD_JITTER_NS + 1 + dice_below(&w->dice, 200 * WORLD_MS);
    world_trace(w, "the network is bad: %u per mille lost", w->loss_per_mille);
    world_at(w, w->now_ns + draw_ms(w, QUALITY_MS_MAX), good_quality, w);
}

/* ---- the store ---- */

static void heal_store(struct world *w, void *data)
{
    (void)data;
    for (uint32_t i = 0; i < w->nodes_n; i++)
        w->nodes[i].cut_to_store = w->nodes[i].cut_from_store = false;
    w->store_fault_percent = 0;
}

static void cut_from_store(struct world *w)
{
    struct node *n = &w->nodes[dice_below(&w->dice, w->nodes_n)];
    uint64_t how = dice_below(&w->dice, 3);
    n->cut_to_store = how != 1;
    n->cut_from_store = how != 0;
    world_trace(w, "n%u is cut off from the store%s", n->index,
                how == 0   ? ", one way"
                : how == 1 ? ", the way back"
                           : "");
    world_at(w, w->now_ns + draw_ms(w, CUT_MS_MAX), heal_store, w);
}

static void lose_requests(struct world *w, void *data)
{
    struct node *n = data;
    n->cut_to_store = !w->quiet;
}

/* A connection that breaks for long: first the answers do not come any more. */
static void break_store_link(struct world *w)
{
    struct node *n = &w->nodes[dice_below(&w->dice, w->nodes_n)];
    n->cut_from_store = true;
    world_trace(w, "n%u loses its connection to the store", n->index);
    world_at(w, w->now_ns + 1 + dice_below(&w->dice, BREAK_MS_MAX * WORLD_MS), lose_requests, n);
    world_at(w, w->now_ns + (BEYOND_LEASE_MS + dice_below(&w->dice, BEYOND_LEASE_MS)) * WORLD_MS,
             heal_store, w);
}

static void cut_off(struct world *w, void *data)
{
    struct node *n = data;
    if (w->quiet)
        return;
    n->cut_to_store = true;
    world_trace(w, "n%u, which was alone, is cut off from the store", n->index);
    world_at(w, w->now_ns + (BEYOND_LEASE_MS + dice_below(&w->dice, BEYOND_LEASE_MS)) * WORLD_MS,
             heal_store, w);
}

/* All others leave, so that one has a long lease; it loses the store, and the others come back. */
static void leave_alone(struct world *w)
{
    struct node *n = draw_node(w);
    if (n == NULL)
        return;
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        if (&w->nodes[i] != n)
            stop(&w->nodes[i]);
    }
    world_at(w, w->now_ns + ALONE_MS_MIN * WORLD_MS + draw_ms(w, ALONE_MS_MAX), cut_off, n);
}

static void cut_off_others(struct world *w, void *data)
{
    struct node *n = data;
    if (w->quiet || n->run != NULL || n->is_twin)
        return;
    for (uint32_t i = 0; i < w->nodes_n; i++)
        w->nodes[i].cut_to_store = &w->nodes[i] != n;
    world_trace(w, "all but n%u, which has left and is back, are cut off from the store", n->index);
    node_start(n);
    world_at(w,
             w->now_ns + (2 * BEYOND_LEASE_MS + dice_below(&w->dice, BEYOND_LEASE_MS)) * WORLD_MS,
             heal_store, w);
}

/* A node leaves, and is back when the others have lost the store: they serve on each other's
 * promises, of which it knows nothing. */
static void leave_and_be_back(struct world *w)
{
    struct node *n = draw_node(w);
    if (n == NULL)
        return;
    stop(n);
    world_at(w, w->now_ns + ALONE_MS_MIN * WORLD_MS + draw_ms(w, ALONE_MS_MAX), cut_off_others, n);
}

static void bad_store(struct world *w)
{
    if (!w->store_faults) {
        cut_from_store(w);
        return;
    }
    switch (dice_below(&w->dice, 3)) {
    case 0:
        disk_crash(w, draw_ms(w, OUTAGE_MS_MAX));
        break;
    case 1:
        w->slow_until_ns = w->now_ns + draw_ms(w, SLOW_MS_MAX);
        world_trace(w, "the store is slow");
        break;
    default:
        w->store_fault_percent = (uint32_t)dice_below(&w->dice, 50);
        world_trace(w, "the store loses %u%% of its requests", w->store_fault_percent);
        world_at(w, w->now_ns + draw_ms(w, QUALITY_MS_MAX), heal_store, w);
    }
}

static void standby_comes(struct world *w, void *data);

static void fail_over(struct world *w, void *data)
{
    (void)data;
    if (w->quiet)
        return;
    disk_fail_over(w, draw_ms(w, OUTAGE_MS_MAX));
    uint64_t more_ms = dice_below(&w->dice, FAILOVER_EVERY_MS_MAX - FAILOVER_EVERY_MS_MIN);
    world_at(w, w->now_ns + (FAILOVER_EVERY_MS_MIN + more_ms) * WORLD_MS, standby_comes, NULL);
}

/* What is committed from now on, until the database dies, has not reached the standby then. */
static void standby_comes(struct world *w, void *data)
{
    (void)data;
    if (w->quiet)
        return;
    disk_keep(w);
    world_at(w, w->now_ns + draw_ms(w, LAG_MS_MAX), fail_over, NULL);
}

/* ---- clocks ---- */

static void step_clock(struct world *w)
{
    int64_t ms = (int64_t)dice_below(&w->dice, 20000) - 10000;
    if (dice_below(&w->dice, 3) == 0) {
        w->store_offset_ms += ms;
        w->store_doubt_ns = w->now_ns;
        world_trace(w, "the store's clock is set %+lld ms", (long long)ms);
        return;
    }
    struct node *n = &w->nodes[dice_below(&w->dice, w->nodes_n)];
    n->wall_offset_ms += ms;
    world_trace(w, "n%u's clock is set %+lld ms", n->index, (long long)ms);
}

/* ---- */

static void (*const kinds[])(struct world *) = {
    kill_one,       kill_many,   pause_one,      stop_one,          start_twin,  cut_one_way,
    cut_in_two,     bad_quality, bad_store,      step_clock,        pause_one,   break_store_link,
    kill_one,       pause_one,   cut_from_store, stop_one,          bad_store,   cut_in_two,
    cut_from_store, kill_one,    leave_alone,    doubts_begin,      break_links, doubts_begin,
    break_links,    stand_still, poison_one,     leave_and_be_back,
};

enum { KINDS_N = sizeof kinds / sizeof kinds[0] };

static void something_happens(struct world *w, void *data)
{
    if (w->quiet)
        return;
    size_t kind = dice_below(&w->dice, KINDS_N);
    if (w->fault_kinds >> kind & 1)
        kinds[kind](w);
    world_at(w, w->now_ns + 10 * WORLD_MS + draw_ms(w, w->fault_every_ms), something_happens, data);
}

/* Not all kinds of faults in every story, nor as many of them: what several together would hide
 * shows when there is one alone (Groce et al., "Swarm testing", ISSTA 2012). */
void faults_open(struct world *w)
{
    w->quiet = false;
    w->fault_kinds = dice_throw(&w->dice) | dice_throw(&w->dice);
    if (dice_below(&w->dice, 2) == 0)
        w->fault_kinds &= dice_throw(&w->dice);
    w->fault_every_ms = EVERY_MS_MIN << dice_below(&w->dice, 4);
    w->wrong_proofs = dice_below(&w->dice, 3) == 0;
    world_at(w, w->now_ns + 4 * WORLD_S, something_happens, NULL);
    if (w->store_failovers && dice_below(&w->dice, 3) == 0)
        world_at(w,
                 w->now_ns + FAILOVER_EVERY_MS_MIN * WORLD_MS + draw_ms(w, FAILOVER_EVERY_MS_MIN),
                 standby_comes, NULL);
    for (uint32_t i = 0; i < w->nodes_n; i++)
        world_at(w, w->now_ns, watch, &w->nodes[i]);
}

/* Pauses that have begun are lived through. */
void faults_end(struct world *w)
{
    w->quiet = true;
    good_quality(w, NULL);
    heal_network(w, NULL);
    heal_store(w, NULL);
    doubts_end(w, NULL);
    sound_links(w, NULL);
    w->outage_until_ns = w->slow_until_ns = w->deposed_until_ns = 0;
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        struct node *n = &w->nodes[i];
        n->interrupt_ns = 0;
        if (n->run != NULL && (n->is_twin || n->run->lacks_a_kind))
            node_kill(n);
    }
}

void faults_restart(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes_n; i++)
        start_again(w, &w->nodes[i]);
}
