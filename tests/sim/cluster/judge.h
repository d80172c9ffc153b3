/* What judge.c remembers from before a request's effect to after it. */
#ifndef TROUPE_SIM_CLUSTER_JUDGE_H
#define TROUPE_SIM_CLUSTER_JUDGE_H

#include "tests/sim/cluster/world.h"

struct judge_rows {
    struct arena arena;
    struct store_request load;
};

struct judge {
    struct judge_rows before, after;
};

#endif
