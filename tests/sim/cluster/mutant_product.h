/* Safety checks of the runtime itself that can be taken away: the linker lets calls of these
 * functions, from other files than their own, come here first (--wrap, see cluster.cmake), so that
 * the product is built as it is. If a function is renamed, its mutant is not caught any more, and
 * the test says so. */
#ifndef TROUPE_SIM_CLUSTER_MUTANT_PRODUCT_H
#define TROUPE_SIM_CLUSTER_MUTANT_PRODUCT_H

#include "tests/sim/cluster/mutants.h"

/* From now on all runtimes of this process lack that check. */
void mutant_product_open(enum mutant mutant);

struct runtime;
/* After each step of a runtime, before it is collected. */
void mutant_product_step(struct runtime *rt);

#endif
