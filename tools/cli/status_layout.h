/* A node's status as people read it. */
#ifndef TROUPE_CLI_STATUS_LAYOUT_H
#define TROUPE_CLI_STATUS_LAYOUT_H

#include <stdio.h>

#include "status.pb-c.h"

void status_layout(FILE *out, const Troupe__Rpc__NodeStatus *status);

#endif
