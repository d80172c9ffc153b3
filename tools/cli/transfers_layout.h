/* What moves from node to node, and what is to move, as people and as programs read it. */
#ifndef TROUPE_CLI_TRANSFERS_LAYOUT_H
#define TROUPE_CLI_TRANSFERS_LAYOUT_H

#include <jansson.h>
#include <stdio.h>

#include "status.pb-c.h"

struct transfers_view {
    const Troupe__Rpc__NodeStatus *asked;
    const Troupe__Rpc__Transfers *const *all; /* of the nodes that answered */
    size_t all_n;
    const char *const *silent; /* names of those that did not */
    size_t silent_n;
    double per_s;           /* partitions, of late; 0: not known, or none */
    const double *per_s_of; /* of each of `all`; NULL: not known */
};

struct transfers_sum {
    uint64_t pending, entities, bytes; /* to be given away */
    uint64_t moved, moved_entities, moved_bytes, aborted, freeze_max_us;
};

struct transfers_sum transfers_sum(const Troupe__Rpc__Transfers *const *all, size_t n);
void transfers_layout(FILE *out, const struct transfers_view *view);
json_t *transfers_json(const struct transfers_view *view);

/* `troupe rebalance --plan`: by pairs of nodes, from the ring of one of them; how many entities
 * move along is known of those that answered. */
void plan_layout(FILE *out, const struct transfers_view *view, const Troupe__Rpc__Ring *ring);
json_t *plan_json(const struct transfers_view *view, const Troupe__Rpc__Ring *ring);

#endif
