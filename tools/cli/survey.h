/* Asks a node, then every live member that it lists, how they are. */
#ifndef TROUPE_CLI_SURVEY_H
#define TROUPE_CLI_SURVEY_H

#include "tools/cli/judge.h"
#include "tools/cli/view.h"

struct survey {
    struct view first;
    Troupe__Rpc__Owners *store; /* of survey_make; or NULL */
    struct view *others;        /* by node; unused for the one that was asked first */
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
/* Any parts of VIEW_STATUS and so on, of the first and of the others; once. */
bool survey_make_parts(struct survey *survey, struct troupe_client *client, const char *address,
                       unsigned first_parts, unsigned other_parts, uint32_t timeout_ms);
/* What node i told. */
const struct view *survey_of(const struct survey *survey, size_t i);
void survey_close(struct survey *survey);

#endif
