/* The experiments: each sets up a cluster, lets something go wrong, and sees what becomes of it.
 * One call is one trial, of one seed. */
#ifndef TROUPE_SIM_MEMBERSHIP_EXPERIMENTS_H
#define TROUPE_SIM_MEMBERSHIP_EXPERIMENTS_H

#include "tests/sim/membership/figures.h"

enum { EXPERIMENT_VARIANTS_MAX = 6, EXPERIMENT_SIZES_MAX = 3 };

struct trial {
    struct swim_config config;
    uint32_t nodes;
    uint64_t seed;
    uint32_t variant; /* variants[…].value */
};

struct variant {
    const char *label;
    uint32_t value;
};

struct experiment {
    const char *name, *about;
    void (*run)(const struct trial *trial, struct figures *figures);
    uint32_t sizes[EXPERIMENT_SIZES_MAX]; /* nodes; until 0 */
    uint32_t seeds;
    struct variant variants[EXPERIMENT_VARIANTS_MAX]; /* until NULL; none: one of value 0 */
    bool with_plain;                                  /* compared with plain SWIM, too */
    bool summed;                                      /* a row for all variants together */
};

extern const struct experiment experiments[];
extern const size_t experiments_n;
const struct experiment *experiment_find(const char *name); /* NULL */

/* crash.c */
void experiment_crash(const struct trial *trial, struct figures *figures);
void experiment_crash_reset(const struct trial *trial, struct figures *figures);
void experiment_crash_loss(const struct trial *trial, struct figures *figures);
void experiment_leave(const struct trial *trial, struct figures *figures);
/* stalls.c */
void experiment_lifeguard_io(const struct trial *trial, struct figures *figures);
void experiment_lifeguard_paused(const struct trial *trial, struct figures *figures);
void experiment_short_io(const struct trial *trial, struct figures *figures);
void experiment_short_paused(const struct trial *trial, struct figures *figures);
/* cuts.c */
void experiment_one_way(const struct trial *trial, struct figures *figures);
void experiment_partition(const struct trial *trial, struct figures *figures);
/* restarts.c */
void experiment_mass_restart(const struct trial *trial, struct figures *figures);
void experiment_rolling_restart(const struct trial *trial, struct figures *figures);
/* load.c */
void experiment_idle(const struct trial *trial, struct figures *figures);
void experiment_load(const struct trial *trial, struct figures *figures);

#endif
