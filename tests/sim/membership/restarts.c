/* Nodes start again, under their old names and at new addresses. */
#include "tests/sim/membership/experiments.h"

#define WARM_UP       (5 * SIM_SECOND)
#define DOWN          (300 * SIM_MS)
#define MASS_SPREAD   (5 * SIM_SECOND)
#define MASS_LIMIT    (120 * SIM_SECOND)
#define MASS_AFTER    (60 * SIM_SECOND)
#define ROLL_LIMIT    (30 * SIM_SECOND)
#define ROLL_INTERVAL (2 * SIM_SECOND)
#define EVERY         (5 * SIM_MS)

enum { ROLLED_MAX = 32, NODES_MAX = 16384, GONE_PERCENT = 5 };

/* Some are gone for good, and known to be; then all the others restart within seconds. What is left
 * of the old times, rumours under way and the tables of those that restart last, must not bring
 * anybody back: neither a run that was known dead (resurrected) nor one that ended (ghosts). `all`
 * is the time from the last restart to one true view. */
void experiment_mass_restart(const struct trial *trial, struct figures *figures)
{
    struct sim sim;
    uint32_t gone[NODES_MAX * GONE_PERCENT / 100];
    uint32_t gone_n = trial->nodes * GONE_PERCENT / 100;
    sim_open(&sim, trial->nodes, trial->seed, &trial->config);
    sim_run_for(&sim, WARM_UP);
    sim_afflict(&sim, gone_n, gone);
    for (uint32_t i = 0; i < gone_n; i++)
        sim_crash(&sim, gone[i], false);
    sim_await(&sim, sim_agrees, EVERY, MASS_LIMIT);
    sim_count_anew(&sim);
    uint32_t order[NODES_MAX], n = 0;
    for (uint32_t i = 0; i < trial->nodes; i++) {
        if (!sim.nodes[i].afflicted)
            order[n++] = i;
    }
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = (uint32_t)dice_below(&sim.dice, i), moved = order[j];
        order[j] = order[i - 1];
        order[i - 1] = moved;
    }
    for (uint32_t i = 0; i < n; i++) {
        sim_crash(&sim, order[i], false);
        sim_run_for(&sim, MASS_SPREAD / n);
        sim_restart(&sim, order[i]);
    }
    uint64_t last_ns = sim.now_ns;
    if (sim_await(&sim, sim_agrees, EVERY, MASS_LIMIT))
        samples_add(&figures->all, sim.now_ns - last_ns);
    else
        figures->missed++;
    sim_run_for(&sim, MASS_AFTER);
    figures->ghosts += sim_ghosts(&sim);
    figures_take(figures, &sim);
    sim_close(&sim);
}

void experiment_rolling_restart(const struct trial *trial, struct figures *figures)
{
    struct sim sim;
    sim_open(&sim, trial->nodes, trial->seed, &trial->config);
    sim_run_for(&sim, WARM_UP);
    sim_count_anew(&sim);
    for (uint32_t i = 0; i < trial->nodes && i < ROLLED_MAX; i++) {
        uint64_t next_ns = sim.now_ns + DOWN + ROLL_INTERVAL;
        sim_crash(&sim, i, false);
        sim_run_for(&sim, DOWN);
        sim_restart(&sim, i);
        sim_watch(&sim, i, true);
        sim_await(&sim, sim_watch_done, EVERY, ROLL_LIMIT);
        figures_take_watch(figures, &sim);
        if (sim.now_ns < next_ns)
            sim_run_for(&sim, next_ns - sim.now_ns);
    }
    figures->ghosts += sim_ghosts(&sim);
    figures_take(figures, &sim);
    sim_close(&sim);
}
