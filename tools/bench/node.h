/* A troupe-node as a child process, and a client that is connected to it. */
#ifndef TROUPE_BENCH_NODE_H
#define TROUPE_BENCH_NODE_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "troupe/client.h"

struct bench;

struct node {
    pid_t pid;
    char address[64], log[PATH_MAX];
    struct troupe_client *client;
};

struct node_figures {
    uint64_t resident, dirty, loading, saves_in_flight, rows_saved, memory_bytes;
    uint64_t calls, partitions, partitions_owned, partitions_proposed, members, rows_loaded;
    uint64_t warmed, to_warm;
    bool serving;
};

/* A url for a new store in the sandbox, or the one that the command line names. */
void node_store_url(const struct bench *b, char url[PATH_MAX]);
/* Starts it with the plug-in (counter or gigbook) and waits until it serves. */
int node_start(struct bench *b, struct node *n, const char *store_url, const char *kinds);
/* Asks $node/self. */
int node_look(struct bench *b, struct node *n, struct node_figures *figures);
/* Waits until everything is persisted and nothing is on its way to the store. */
int node_wait_persisted(struct bench *b, struct node *n, double timeout_s);
/* Calls `set` on every counter from 0 on, so that all are resident. flags: as troupe_batch_add. */
int node_populate(struct bench *b, struct node *n, uint32_t entities, unsigned flags);
/* At once, since nothing of it is wanted any more. A zeroed node is fine. */
void node_stop(struct bench *b, struct node *n);
/* Runs `troupe-node migrate`. */
int node_migrate(struct bench *b, const char *store_url);
/* Measures on the store that the command line names, or on SQLite (url NULL: one for each round)
 * and on a Postgres of our own, where there is one. */
int node_each_database(struct bench *b,
                       int (*measure)(struct bench *b, const char *database, const char *url));

#endif
