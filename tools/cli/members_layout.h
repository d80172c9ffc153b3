/* The members of a cluster as people and as programs read them. */
#ifndef TROUPE_CLI_MEMBERS_LAYOUT_H
#define TROUPE_CLI_MEMBERS_LAYOUT_H

#include <jansson.h>
#include <stdio.h>

#include "status.pb-c.h"

/* `asked` is what the node that answered told of itself; members in the order to be shown. */
void members_layout(FILE *out, const Troupe__Rpc__NodeStatus *asked,
                    const Troupe__Rpc__Members *members);
json_t *members_json(const Troupe__Rpc__NodeStatus *asked, const Troupe__Rpc__Members *members);

/* "up", "suspect" or "down": whether it is there, as far as the one who was asked knows. */
const char *members_presence(const Troupe__Rpc__Member *member);
/* "cluster troupe (6f0c…), as node-1 sees it" and a newline: the head of every table. */
void members_headline(FILE *out, const Troupe__Rpc__NodeStatus *asked);

#endif
