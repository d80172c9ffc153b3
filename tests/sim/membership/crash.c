/* A node is gone: how soon do the others know? */
#include "tests/sim/membership/experiments.h"

#define WARM_UP    (5 * SIM_SECOND)
#define CONNECTING (30 * SIM_SECOND) /* till most nodes have had to do with each other */
#define LIMIT      (120 * SIM_SECOND)
#define COUNTED    (30 * SIM_SECOND) /* messages and errors, at least */
#define EVERY      (2 * SIM_MS)

static void follow(struct sim *sim, struct figures *figures)
{
    sim_await(sim, sim_watch_done, EVERY, LIMIT);
    figures_take_watch(figures, sim);
    if (sim->now_ns < sim->counts.since_ns + COUNTED)
        sim_run_for(sim, sim->counts.since_ns + COUNTED - sim->now_ns);
    figures_take(figures, sim);
    sim_close(sim);
}

static void crash(const struct trial *trial, bool reset, uint32_t loss_per_mille,
                  struct figures *figures)
{
    struct sim sim;
    sim_open(&sim, trial->nodes, trial->seed, &trial->config);
    sim.network.loss_per_mille = loss_per_mille;
    sim_run_for(&sim, (reset ? CONNECTING : WARM_UP) + dice_below(&sim.dice, SIM_SECOND));
    sim_count_anew(&sim);
    uint32_t victim = (uint32_t)dice_below(&sim.dice, trial->nodes);
    sim_watch(&sim, victim, false);
    sim_crash(&sim, victim, reset);
    follow(&sim, figures);
}

void experiment_crash(const struct trial *trial, struct figures *figures)
{
    crash(trial, false, 0, figures);
}

void experiment_crash_reset(const struct trial *trial, struct figures *figures)
{
    crash(trial, true, 0, figures);
}

void experiment_crash_loss(const struct trial *trial, struct figures *figures)
{
    crash(trial, false, trial->variant, figures);
}

void experiment_leave(const struct trial *trial, struct figures *figures)
{
    struct sim sim;
    sim_open(&sim, trial->nodes, trial->seed, &trial->config);
    sim_run_for(&sim, WARM_UP + dice_below(&sim.dice, SIM_SECOND));
    sim_count_anew(&sim);
    uint32_t leaver = (uint32_t)dice_below(&sim.dice, trial->nodes);
    sim_watch(&sim, leaver, false);
    sim_leave(&sim, leaver);
    follow(&sim, figures);
}
