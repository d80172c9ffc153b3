/* The kinds that simulated nodes run. */
#ifndef TROUPE_SIM_CLUSTER_KINDS_H
#define TROUPE_SIM_CLUSTER_KINDS_H

#include "troupe/entity.h"

enum { SIM_KINDS = 5, SIM_KINDS_FEW = 4 };

extern const struct troupe_kind *const sim_kinds[SIM_KINDS];
/* Without one: for each of the two that most calls are for. */
extern const struct troupe_kind *const sim_kinds_few[2][SIM_KINDS_FEW];

#endif
