/* Whether what the clients of one entity saw can be explained by one entity: linearizability, by
 * the search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's
 * memory of what has been tried already (2017).
 *
 * The specification has one thing more than a register with a counter: losses. When a partition is
 * claimed anew (not: handed over), what its former owner had acknowledged from memory alone may be
 * gone. So at the instant of each claim the newest changes may vanish, down to the newest that was
 * acknowledged as durable, or seen by somebody who was told that it is; or that was to be durable,
 * and was seen by anybody. A vanished change whose
 * caller has not been answered yet may happen again: it is retried. So may one whose caller sent it
 * more than once, and got an answer to the first: the second arrives after the loss. And a CAS that
 * was sent more than once may succeed after it was answered that it has not, as an answer to
 * something that changed nothing is not remembered.
 *
 * When the store has failed over to an older copy, and nobody has what the copy lacks in memory
 * (failover.c knows), commits may vanish as well: at the instant at which the entity is loaded,
 * down to what is loaded. */
#ifndef TROUPE_SIM_CLUSTER_HISTORY_H
#define TROUPE_SIM_CLUSTER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    HISTORY_OPS_MAX = 40,
    HISTORY_LOSSES_MAX = 23,
};

enum history_outcome {
    HISTORY_OPEN,    /* not answered yet, or never: it may happen later, or never */
    HISTORY_DONE,    /* answered */
    HISTORY_REFUSED, /* answered that it has not happened and will not */
};

struct history_op {
    uint64_t begin_ns, end_ns; /* end: when the node let the answer out; UINT64_MAX: open */
    uint64_t token, expected;
    uint64_t count, value; /* as answered */
    uint8_t method;        /* enum ledger_method */
    uint8_t outcome;       /* enum history_outcome */
    bool done;             /* CAS: as answered */
    bool durable;          /* as answered */
    bool binds;            /* if it changes something, nobody may see that before it is durable */
    bool again;            /* sent more than once, by its caller or by a node */
    uint64_t run;          /* that answered; not the judge's business */
};

struct history_loss {
    uint64_t at_ns;
    bool of_commits; /* too, but for the oldest ones: so many changes are kept */
    uint32_t kept;
};

struct history {
    struct history_op ops[HISTORY_OPS_MAX];
    uint32_t ops_n;
    struct history_loss losses[HISTORY_LOSSES_MAX]; /* ascending */
    uint32_t losses_n;
};

enum history_verdict {
    HISTORY_EXPLAINED,
    HISTORY_IMPOSSIBLE,
    HISTORY_UNDECIDED, /* the search was given up */
};

enum history_verdict history_judge(const struct history *h);
void history_print(const struct history *h, FILE *out);

#endif
