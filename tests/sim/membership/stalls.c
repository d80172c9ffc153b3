/* Nodes that do not run for a while, again and again: who is taken for dead that is not? Lifeguard
 * §V: of 128 nodes, some are slow; it counts what is said of the others. */
#include <math.h>

#include "tests/sim/membership/experiments.h"

#define WARM_UP  (5 * SIM_SECOND)
#define DURATION (120 * SIM_SECOND)

static const uint64_t durations_ms[] = {128, 2048, 32768};
static const uint64_t intervals_ms[] = {1, 64, 4096};

enum { STALLED_MAX = 128, GRID = 3 };

static void stall(const struct trial *trial, uint32_t stalled, const struct sim_stall_plan *plan,
                  uint64_t salt, struct figures *figures)
{
    struct sim sim;
    uint32_t slow[STALLED_MAX];
    sim_open(&sim, trial->nodes, trial->seed * 1000 + salt, &trial->config);
    sim_afflict(&sim, stalled < trial->nodes ? stalled : trial->nodes, slow);
    sim_run_for(&sim, WARM_UP);
    sim_count_anew(&sim);
    for (uint32_t i = 0; i < stalled && i < trial->nodes; i++)
        sim_stall_often(&sim, slow[i], *plan);
    sim_run_for(&sim, DURATION);
    figures_take(figures, &sim);
    sim_close(&sim);
}

static void lifeguard(const struct trial *trial, enum sim_stall how, struct figures *figures)
{
    for (uint64_t i = 0; i < GRID * GRID; i++) {
        struct sim_stall_plan plan = {.how = how,
                                      .duration_ns = durations_ms[i / GRID] * SIM_MS,
                                      .interval_ns = intervals_ms[i % GRID] * SIM_MS};
        stall(trial, trial->variant, &plan, i, figures);
    }
}

void experiment_lifeguard_io(const struct trial *trial, struct figures *figures)
{
    lifeguard(trial, SIM_IO_STALLED, figures);
}

void experiment_lifeguard_paused(const struct trial *trial, struct figures *figures)
{
    lifeguard(trial, SIM_PAUSED, figures);
}

/* Just under the time that a suspicion has at least: nobody shall be taken for dead, those that
 * stall included. */
static void short_stalls(const struct trial *trial, enum sim_stall how, struct figures *figures)
{
    double grown = (double)trial->config.suspicion_log_ns * log10(trial->nodes);
    uint64_t suspicion_ns = trial->config.suspicion_min_ns;
    if (suspicion_ns < (uint64_t)grown)
        suspicion_ns = (uint64_t)grown;
    struct sim_stall_plan plan = {
        .how = how, .duration_ns = suspicion_ns * 95 / 100, .interval_ns = 10 * SIM_SECOND};
    stall(trial, trial->variant, &plan, 0, figures);
}

void experiment_short_io(const struct trial *trial, struct figures *figures)
{
    short_stalls(trial, SIM_IO_STALLED, figures);
}

void experiment_short_paused(const struct trial *trial, struct figures *figures)
{
    short_stalls(trial, SIM_PAUSED, figures);
}
