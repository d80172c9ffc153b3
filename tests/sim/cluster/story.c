/* One story: the nodes come up, for some minutes anything may go wrong, then nothing does any more,
 * and all must be well within 30 s. */
#include "tests/sim/cluster/accounts.h"
#include "tests/sim/cluster/peek.h"
#include "tests/sim/cluster/poison.h"
#include "tests/sim/cluster/world.h"

#include <inttypes.h>

enum {
    CALM_S = 30,
    LOOK_MS = 100,
    LOOK_SERVED_MS = 1000, /* in such a time each client gets an answer, on average */
};

static void start_node(struct world *w, void *data)
{
    struct node *n = data;
    (void)w;
    if (n->run == NULL)
        node_start(n);
}

/* Together, or one after the other: a node that was alone for a while has a long lease. */
static void start_all(struct world *w)
{
    uint64_t spread_ns = dice_below(&w->dice, 3) == 0 ? 20 * WORLD_S : WORLD_S;
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        struct node *n = &w->nodes[i];
        if (!n->is_twin)
            world_at(w, w->now_ns + dice_below(&w->dice, spread_ns), start_node, n);
    }
}

static uint64_t pauses_end_ns(const struct world *w)
{
    uint64_t end = w->now_ns;
    for (uint32_t i = 0; i < w->nodes_n; i++)
        end = w->nodes[i].paused_until_ns > end ? w->nodes[i].paused_until_ns : end;
    return end;
}

/* Every node serves, and every partition is served. */
static bool is_calm(struct world *w, char why[64])
{
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        const struct node *n = &w->nodes[i];
        if (n->is_twin || (n->run != NULL && n->run->fx.phase == RUNTIME_SERVING))
            continue;
        snprintf(why, 64, "%s does not serve (%s, phase %d)", n->client,
                 n->run == NULL ? "down" : "up", n->run == NULL ? -1 : (int)n->run->fx.phase);
        return false;
    }
    for (uint32_t pid = 0; pid < PARTITIONS; pid++) {
        const struct owner *owner = &w->owners[pid];
        const struct run *run = w->nodes[owner->node].run;
        if (run != NULL && run->number == owner->run_number && !run->ended &&
            peek_owns(run->rt, pid))
            continue;
        snprintf(why, 64, "partition %u is not served (%s, run %" PRIu64 ")", pid,
                 w->nodes[owner->node].client, owner->run_number);
        return false;
    }
    return failover_is_settled(w, why) && poison_is_healed(w, why);
}

static void calm_down(struct world *w)
{
    char why[64];
    uint64_t begun = w->now_ns, end = begun + CALM_S * WORLD_S;
    faults_restart(w);
    while (!w->failed && !is_calm(w, why)) {
        if (w->now_ns >= end) {
            world_fail(w, "%d s after the last fault: %s", CALM_S, why);
            return;
        }
        world_run(w, w->now_ns + LOOK_MS * WORLD_MS);
        faults_restart(w); /* one that could not have its name back yet */
    }
    clients_begin_anew(w);
    uint64_t acks;
    do {
        acks = w->stats.acks;
        world_run(w, w->now_ns + LOOK_SERVED_MS * WORLD_MS);
        faults_restart(w); /* one that was told to stop, and served until now */
    } while (!w->failed && w->stats.acks < acks + CLIENTS_N && w->now_ns < end);
    w->stats.calm_ms = (w->now_ns - begun) / WORLD_MS - LOOK_SERVED_MS;
    if (!w->failed && w->stats.acks < acks + CLIENTS_N)
        world_fail(w, "all is calm, but clients are not served: %" PRIu64 " answers in %d ms",
                   w->stats.acks - acks, LOOK_SERVED_MS);
}

bool story_tell(struct world *w, const struct world_options *options)
{
    world_open(w, options);
    start_all(w);
    faults_open(w);
    world_run(w, w->now_ns + options->minutes * 60 * WORLD_S);
    faults_end(w);
    world_run(w, pauses_end_ns(w) + 1);
    if (!w->failed)
        calm_down(w);
    accounts_settle(w);
    clients_judge(w);
    return !w->failed;
}
