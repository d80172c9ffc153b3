/* How a partition came to its owner, as people and as programs read it. */
#ifndef TROUPE_CLI_WHY_LAYOUT_H
#define TROUPE_CLI_WHY_LAYOUT_H

#include <jansson.h>
#include <stdio.h>

#include "status.pb-c.h"

struct why {
    const char *entity; /* "venue/42", or NULL: asked for by its number */
    uint32_t partition; /* one that the ring has */
    const char *asked;  /* the node that answered */
    const Troupe__Rpc__Ring *ring;
    const Troupe__Rpc__History *history;
    const Troupe__Rpc__Owners *owners; /* the store's, sound; NULL: the history has to do */
    uint64_t now_ms;                   /* since 1970 */
};

void why_layout(FILE *out, const struct why *why);
json_t *why_json(const struct why *why);

#endif
