/* See mutants.h. */
#include "tests/sim/cluster/mutants.h"

const char *const mutant_names[MUTANTS] = {
    [MUTANT_NONE] = "none",
    [MUTANT_NO_FENCE] = "no-fence",
    [MUTANT_KEY_SHARE] = "key-share",
    [MUTANT_ONE_SNAPSHOT] = "one-snapshot",
    [MUTANT_STORE_CLOCK] = "store-clock",
    [MUTANT_DEADLINE_BEFORE] = "deadline-before",
    [MUTANT_PROMISE] = "promise",
    [MUTANT_NO_RECHECK] = "no-recheck",
    [MUTANT_NOT_AGAIN] = "not-again",
    [MUTANT_EPOCH] = "epoch",
    [MUTANT_OUTCOME_FAILED] = "outcome-failed",
    [MUTANT_LATE_LOAD] = "late-load",
    [MUTANT_TRANSFER_FAILED] = "transfer-failed",
    [MUTANT_FORWARD_AGAIN] = "forward-again",
    [MUTANT_NO_DEDUP] = "no-dedup",
    [MUTANT_LETTERS_UNGATED] = "letters-ungated",
    [MUTANT_CAST_AGAIN] = "cast-again",
    [MUTANT_TIMERS_STAY] = "timers-stay",
    [MUTANT_BATCH_UNGATED] = "batch-ungated",
    [MUTANT_READ_UNGATED] = "read-ungated",
    [MUTANT_STOP_UNSAVED] = "stop-unsaved",
    [MUTANT_EVICT_UNSAVED] = "evict-unsaved",
    [MUTANT_KIND_LACKING] = "kind-lacking",
};
