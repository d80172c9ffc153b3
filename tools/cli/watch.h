/* The same look at a cluster, once or again and again (--watch): from a node that answers, or from
 * another one when it is gone. */
#ifndef TROUPE_CLI_WATCH_H
#define TROUPE_CLI_WATCH_H

#include <stdio.h>

#include "tools/cli/connect.h"
#include "tools/cli/options.h"
#include "tools/cli/view.h"

struct watch {
    const char *command;
    struct common common;
    uint32_t every_ms; /* 0: one look, no more */
    /* Shows what `client` tells on out, or what went wrong on errors; the exit code. May leave what
     * it learned of the members in `learned`. */
    int (*look)(struct watch *watch, struct troupe_client *client, FILE *out, FILE *errors);
    void *data;
    /* Ctrl-C is how a watch is meant to end: exit code 0, unless the last look's is wanted. */
    bool last_code;

    char learned[VIEW_CLIENT_ADDRESSES_MAX * 80]; /* of the other members, separated by commas */
};

#define OPTION_WATCH(watch, every, every_text)                                                     \
    {                                                                                              \
        .name = "watch", .type = OPTION_PERIOD, .target = &(watch)->every_ms, .standard = (every), \
        .value = "[=TIME]", .help = "show it again and again, every " every_text ", until Ctrl-C"  \
    }

/* The exit code. */
int watch_run(struct watch *watch);
/* Keeps the addresses of the live members for the day when the node that tells them is gone. */
void watch_learn(struct watch *watch, const Troupe__Rpc__Members *members);

#endif
