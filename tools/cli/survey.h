/* Asks a node, then every live member that it lists, how they are. */
#ifndef TROUPE_CLI_SURVEY_H
#define TROUPE_CLI_SURVEY_H

#include "tools/cli/judge.h"
#include "tools/cli/view.h"

struct survey {
    struct view first;
    struct view *others; /* by node; unused for the one that was asked first */
    struct cluster_node *nodes;
    struct cluster_view view;
};

/* `address` is what the first node is called when it does not say; every node has timeout_ms. While
 * the nodes do not agree it asks again, for up to agree_ms, since news take a moment. False: the
 * first node did not answer, see survey->first. survey_close it whatever it says. */
bool survey_make(struct survey *survey, struct troupe_client *client, const char *address,
                 uint32_t timeout_ms, uint32_t agree_ms);
/* Only the node itself, and no word about the others. */
bool survey_make_one(struct survey *survey, struct troupe_client *client, const char *address,
                     uint32_t timeout_ms);
void survey_close(struct survey *survey);

#endif
