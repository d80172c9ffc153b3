/* A cluster and the verdict on it, as people and as programs read them. */
#ifndef TROUPE_CLI_CLUSTER_LAYOUT_H
#define TROUPE_CLI_CLUSTER_LAYOUT_H

#include <jansson.h>
#include <stdio.h>

#include "tools/cli/judge.h"

/* A table of the nodes; of a lone one everything there is to say (status_layout.h). */
void cluster_layout(FILE *out, const struct cluster_view *view, const struct verdict *verdict);
json_t *cluster_json(const struct cluster_view *view, const struct verdict *verdict);

#endif
