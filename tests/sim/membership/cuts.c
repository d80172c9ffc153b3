/* The network does not carry everything everywhere. */
#include "tests/sim/membership/experiments.h"

#define WARM_UP      (5 * SIM_SECOND)
#define ONE_WAY      (300 * SIM_SECOND)
#define PARTED       (60 * SIM_SECOND)
#define HEALED_LIMIT (120 * SIM_SECOND)
#define EVERY        (10 * SIM_MS)

enum { AFFLICTED_MAX = 128, PERCENT_ONE_WAY = 1, DEAF = 0 };

/* Among the healthy, the one that has removed an afflicted one most often, beyond the first time.
 */
static uint64_t count_flaps(const struct sim *sim, const uint32_t *afflicted, uint32_t n)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < sim->nodes_n && sim->pairs != NULL; i++) {
        for (uint32_t j = 0; j < n && !sim->nodes[i].afflicted; j++) {
            const struct sim_pair *pair = sim_pair(sim, i, afflicted[j]);
            uint64_t flaps = pair->removals > 0 ? pair->removals - 1U : 0;
            most = flaps > most ? flaps : most;
        }
    }
    return most;
}

/* A hundredth of the nodes hear nobody, or are heard by nobody. They must go, once: a node that
 * comes and goes makes the ring turn each time. */
void experiment_one_way(const struct trial *trial, struct figures *figures)
{
    struct sim sim;
    uint32_t afflicted[AFFLICTED_MAX];
    uint32_t n = (trial->nodes * PERCENT_ONE_WAY + 99) / 100;
    n = n < AFFLICTED_MAX ? n : AFFLICTED_MAX;
    sim_open(&sim, trial->nodes, trial->seed, &trial->config);
    sim_run_for(&sim, WARM_UP);
    sim_afflict(&sim, n, afflicted);
    sim_count_anew(&sim);
    for (uint32_t i = 0; i < n; i++)
        sim.nodes[afflicted[i]].group = 1;
    for (uint32_t g = 0; g < SIM_GROUPS_MAX; g++) {
        sim.network.cut[g][1] |= trial->variant == DEAF;
        sim.network.cut[1][g] |= trial->variant != DEAF;
    }
    sim_watch(&sim, afflicted[0], false);
    uint64_t ends_ns = sim.now_ns + ONE_WAY;
    sim.watch.ignores_afflicted = true;
    sim_await(&sim, sim_watch_done, EVERY, ONE_WAY);
    figures_take_watch(figures, &sim);
    sim_run_for(&sim, ends_ns - sim.now_ns);
    figures->flaps += count_flaps(&sim, afflicted, n);
    figures_take(figures, &sim);
    sim_close(&sim);
}

void experiment_partition(const struct trial *trial, struct figures *figures)
{
    struct sim sim;
    uint32_t half[SIM_PAIRS_NODES_MAX];
    uint32_t n = trial->nodes / 2 < SIM_PAIRS_NODES_MAX ? trial->nodes / 2 : SIM_PAIRS_NODES_MAX;
    sim_open(&sim, trial->nodes, trial->seed, &trial->config);
    sim_run_for(&sim, WARM_UP);
    sim_afflict(&sim, n, half);
    for (uint32_t i = 0; i < trial->nodes; i++) {
        sim.nodes[i].group = sim.nodes[i].afflicted;
        sim.nodes[i].afflicted = true; /* each half takes the other for dead: it is meant to */
    }
    sim_count_anew(&sim);
    sim_network_part(&sim.network, 0, 1, true);
    sim_run_for(&sim, PARTED);
    sim_network_part(&sim.network, 0, 1, false);
    uint64_t healed_ns = sim.now_ns;
    if (sim_await(&sim, sim_agrees, EVERY, HEALED_LIMIT))
        samples_add(&figures->all, sim.now_ns - healed_ns);
    else
        figures->missed++;
    figures_take(figures, &sim);
    figures->false_afflicted = 0;
    sim_close(&sim);
}
