/* Who owns the partitions, who should, and what is to move, as people and as programs read it. */
#ifndef TROUPE_CLI_RING_LAYOUT_H
#define TROUPE_CLI_RING_LAYOUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "status.pb-c.h"

struct ring_counts {
    uint32_t unowned; /* or with an owner that is dead or has left: nobody serves them */
    uint32_t moving;  /* that have an owner, but not the one that the ring proposes */
};

/* Without members (NULL), owners that are gone are not known as such. */
struct ring_counts ring_count(const Troupe__Rpc__Ring *ring, const Troupe__Rpc__Members *members);

/* `members` (may be NULL) says which nodes are gone: these are left out unless they own something.
 * The ring must be sound (view.h). `partitions`: with a line for each. */
void ring_layout(FILE *out, const Troupe__Rpc__NodeStatus *asked,
                 const Troupe__Rpc__Members *members, const Troupe__Rpc__Ring *ring,
                 bool partitions);
json_t *ring_json(const Troupe__Rpc__NodeStatus *asked, const Troupe__Rpc__Members *members,
                  const Troupe__Rpc__Ring *ring, bool partitions);

#endif
