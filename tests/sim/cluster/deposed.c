/* See deposed.h. */
#include "tests/sim/cluster/deposed.h"

#include "base/invariant.h"
#include "tests/sim/cluster/disk.h"

enum {
    CONNECTIONS = 3,
    ALL = (1 << CONNECTIONS) - 1,
    BREAKS_PER_MILLE = 10,
    LIVES_MS = 20000,
    SCOUT_MS = 4000,  /* for one look, as the product's store takes */
    TOLD_MS = 1500,   /* after so long, all should have been told, and have looked … */
    BEFORE_MS = 2000, /* … or its lease's connection breaks, so long before it may be evicted */
};

bool deposed_lives(const struct world *w)
{
    return w->deposed != NULL && w->now_ns < w->deposed_until_ns;
}

static void closed(void *data)
{
    (void)data;
}

void deposed_end(struct world *w)
{
    if (w->deposed == NULL)
        return;
    store_close(w->deposed, closed, NULL);
    store_memory_poll(w->deposed, SIZE_MAX);
    w->deposed = NULL;
}

/* Not all of them, or there is nobody who could tell. */
static void leave_untold(struct world *w)
{
    bool told = false;
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        bool all = told && !run->dead && dice_below(&w->dice, 3) == 0;
        told |= !run->dead;
        if (!all)
            continue;
        run->all_misled = true;
        run->misled = ALL;
        run->scout_until_ns = 0;
        w->deposed_until_ns = w->now_ns + LIVES_MS * WORLD_MS; /* others evict it meanwhile */
        world_trace(w, "nothing tells %s of it", run->node->client);
    }
}

/* Most connections stay; now and then all of a run, or none. */
void deposed_begin(struct world *w, uint64_t ns)
{
    char errmsg[STORE_ERRMSG_BYTES];
    struct store_options options = {.url = "memory:", .cluster = "sim", .partitions = PARTITIONS};
    deposed_end(w);
    int rc = store_open(&w->deposed, &options, errmsg);
    INVARIANT(rc == 0);
    disk_set_clock(w, w->deposed);
    store_memory_depose(w->store, w->deposed);
    w->deposed_since_ns = w->now_ns;
    w->deposed_until_ns = w->now_ns + ns;
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        run->misled = (uint8_t)((dice_throw(&w->dice) | dice_throw(&w->dice)) & ALL);
        run->all_misled = false;
    }
    if (group_is_on(w, GROUP_UNTOLD))
        leave_untold(w);
    world_trace(w, "the server before lives on, for %.3f s",
                (double)(w->deposed_until_ns - w->now_ns) / 1e9);
}

static bool is_lease(enum store_op op)
{
    return op == STORE_REGISTER || op == STORE_RENEW || op == STORE_LEAVE;
}

bool deposed_keeps(const struct run *run, enum store_op op)
{
    (void)run;
    return !is_lease(op);
}

/* ---- nodes that nothing tells ---- */

static void lead_over(struct run *run)
{
    run->all_misled = false;
    run->misled = 0;
    world_trace(run->node->w, "%s has found the server", run->node->client);
    disk_break_strays(run);
}

/* A new connection can be made. */
static bool finds_it(const struct run *run)
{
    const struct world *w = run->node->w;
    return w->now_ns >= w->outage_until_ns && !run->node->cut_to_store &&
           !run->node->cut_from_store;
}

void deposed_redial(struct run *run)
{
    struct world *w = run->node->w;
    if (!run->all_misled)
        return;
    run->scout_until_ns = w->now_ns + SCOUT_MS * WORLD_MS;
    if (finds_it(run))
        lead_over(run);
}

/* Somebody was in a position to tell it. */
static bool is_told(const struct run *run)
{
    const struct world *w = run->node->w;
    if (w->network_is_bad || w->network_bad_ns >= w->deposed_since_ns ||
        run->node->paused_until_ns >= w->deposed_since_ns)
        return false;
    for (const struct run *other = w->runs; other != NULL; other = other->next) {
        if (!other->dead && other->timeline == w->timeline && !node_is_paused(other->node) &&
            other->heard_ns + TOLD_MS * WORLD_MS <= w->now_ns)
            return true;
    }
    return false;
}

/* Whether the request goes astray like all of its requests. */
static bool goes_with_all(struct run *run, enum store_op op)
{
    const struct world *w = run->node->w;
    bool late = w->now_ns + BEFORE_MS * WORLD_MS >= w->strays_until_ns;
    if (op == STORE_REGISTER || op == STORE_LEAVE ||
        (w->now_ns < run->scout_until_ns && finds_it(run)))
        lead_over(run);
    else if (late && !is_told(run))
        run->all_misled = false; /* the lease's breaks */
    return run->all_misled;
}

bool deposed_gets(struct run *run, enum store_op op)
{
    struct world *w = run->node->w;
    if (deposed_lives(w) && run->all_misled && goes_with_all(run, op))
        return true;
    if (!deposed_lives(w) || run->misled == 0 || is_lease(op))
        return false;
    uint8_t connection = (uint8_t)(1u << dice_below(&w->dice, CONNECTIONS));
    if (world_chance(w, BREAKS_PER_MILLE))
        run->misled &= (uint8_t)~connection;
    return (run->misled & connection) != 0;
}

void deposed_run(struct world *w, struct store_request *request)
{
    disk_run_on(w->deposed, request);
}
