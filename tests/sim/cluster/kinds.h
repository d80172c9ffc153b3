/* The kinds that simulated nodes run. */
#ifndef TROUPE_SIM_CLUSTER_KINDS_H
#define TROUPE_SIM_CLUSTER_KINDS_H

#include "troupe/entity.h"

enum { SIM_KINDS = 4 };

extern const struct troupe_kind *const sim_kinds[SIM_KINDS];

#endif
