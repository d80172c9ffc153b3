/* Nothing happens: what does that cost? And is nobody taken for dead meanwhile? */
#include "tests/sim/membership/experiments.h"

#define WARM_UP (5 * SIM_SECOND)
#define IDLE    (300 * SIM_SECOND)
#define MINUTE  (60 * SIM_SECOND)

enum { BIG = 2000, BIG_SUSPICIONS = 256, LOSS_PER_MILLE = 10, BIG_MINUTES = 10 };

/* Healthy, on a network that loses a hundredth. */
void experiment_idle(const struct trial *trial, struct figures *figures)
{
    struct sim sim;
    sim_open(&sim, trial->nodes, trial->seed, &trial->config);
    sim.network.loss_per_mille = LOSS_PER_MILLE;
    sim_run_for(&sim, IDLE);
    figures_take(figures, &sim);
    sim_close(&sim);
}

void experiment_load(const struct trial *trial, struct figures *figures)
{
    struct sim sim;
    struct swim_config config = trial->config;
    bool big = trial->nodes >= BIG;
    if (big)
        config.suspicions_max = BIG_SUSPICIONS; /* or the tables would not fit the memory */
    sim_open(&sim, trial->nodes, trial->seed, &config);
    sim_run_for(&sim, WARM_UP);
    sim_count_anew(&sim);
    sim_run_for(&sim, big ? BIG_MINUTES * MINUTE - WARM_UP : MINUTE);
    figures_take(figures, &sim);
    sim_close(&sim);
}
