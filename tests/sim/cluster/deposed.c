/* See deposed.h. */
#include "tests/sim/cluster/deposed.h"

#include "base/invariant.h"
#include "tests/sim/cluster/disk.h"

enum { CONNECTIONS = 3, BREAKS_PER_MILLE = 10 };

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
    w->deposed_until_ns = w->now_ns + ns;
    for (struct run *run = w->runs; run != NULL; run = run->next)
        run->misled = (uint8_t)((dice_throw(&w->dice) | dice_throw(&w->dice)) & 7);
    world_trace(w, "the server before lives on, for %.3f s", (double)ns / 1e9);
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

bool deposed_gets(struct run *run, enum store_op op)
{
    struct world *w = run->node->w;
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
