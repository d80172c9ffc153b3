/* For programs with the real membership. */
#include "tests/sim/membership/mutants.h"

int swim_mutant;
const struct swim_mutant_name swim_mutants[] = {{"none", "as it should be"}};
const int swim_mutants_n = 1;
