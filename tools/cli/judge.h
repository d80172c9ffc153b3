/* Whether a cluster is well, by what its nodes say: healthy, or degraded and why. Pure. */
#ifndef TROUPE_CLI_JUDGE_H
#define TROUPE_CLI_JUDGE_H

#include <stdbool.h>

#include "base/arena.h"
#include "status.pb-c.h"
#include "tools/cli/cli.h"

/* A live member, and what it says of itself. */
struct cluster_node {
    const char *name, *address;
    const char *state; /* as a member: joining, active, draining */
    bool suspect, self;
    const Troupe__Rpc__NodeStatus *status; /* NULL: it did not answer, and why */
    const char *why;
};

struct cluster_view {
    const Troupe__Rpc__NodeStatus *asked; /* the node that was asked first */
    const Troupe__Rpc__Members *members;  /* its view; NULL: too old to tell */
    const Troupe__Rpc__Ring *ring;        /* likewise */
    const Troupe__Rpc__Owners *store;     /* what the store says; NULL: it could not be asked */
    const struct cluster_node *nodes;
    size_t nodes_n;
};

enum { VERDICT_LINES_MAX = 64 };

struct verdict {
    enum exit_code code; /* EXIT_OK, EXIT_ANSWERED (degraded) or EXIT_DISAGREED */
    bool members_agree, ring_agrees;
    const char *reasons[VERDICT_LINES_MAX]; /* why it is not healthy, the worst first */
    const char *notes[VERDICT_LINES_MAX];   /* worth knowing, and no reason */
    size_t reasons_n, notes_n;
    size_t reasons_left_out;
};

/* The texts are in the arena. */
void judge(const struct cluster_view *view, struct arena *arena, struct verdict *verdict);
/* The nodes that answered have the same members and the same ring. When they do not, that may just
 * be news on its way: look again after a moment. */
bool judge_agreement(const struct cluster_view *view);

#endif
