/* Runs experiments with each set of rules, and fills the table. */
#ifndef TROUPE_SIM_MEMBERSHIP_RUNNER_H
#define TROUPE_SIM_MEMBERSHIP_RUNNER_H

#include "tests/sim/membership/experiments.h"
#include "tests/sim/membership/table.h"

enum rules { RULES_TROUPE, RULES_MEMBERLIST, RULES_PLAIN, RULES_N };

extern const char *const rules_names[RULES_N];

struct selection {
    bool rules[RULES_N]; /* plain only where an experiment asks for it, unless it is the only one */
    uint32_t nodes;      /* 0: the experiment's sizes */
    uint64_t seed_from, seed_to; /* 0 … 0: as many as the experiment wants, from 1 */
};

/* One cell: all seeds. */
void runner_run(const struct experiment *experiment, const struct selection *selection,
                enum rules rules, uint32_t nodes, uint32_t variant, struct figures *figures);
/* Adds the lines of one experiment to the table. Returns a hash of all that has happened. */
uint64_t runner_table(const struct experiment *experiment, const struct selection *selection,
                      struct table *table);

#endif
