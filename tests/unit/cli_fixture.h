/* Clusters to be shown: views of made-up nodes that share the partitions evenly. */
#ifndef TROUPE_TESTS_CLI_FIXTURE_H
#define TROUPE_TESTS_CLI_FIXTURE_H

#include <stdio.h>

#include "status.pb-c.h"

enum { CLI_NODES_MAX = 16, CLI_PARTITIONS = 48, CLI_TEXT_BYTES = 32 };

/* Everything it points to is within. Not to be copied. */
struct cli_cluster {
    unsigned n;
    char names[CLI_NODES_MAX][CLI_TEXT_BYTES], addresses[CLI_NODES_MAX][CLI_TEXT_BYTES];
    Troupe__Rpc__Member member[CLI_NODES_MAX], *member_at[CLI_NODES_MAX];
    Troupe__Rpc__NodeStatus status[CLI_NODES_MAX];
    Troupe__Rpc__Members members;
    Troupe__Rpc__Ring ring;
    char *ring_nodes[CLI_NODES_MAX];
    uint32_t owner[CLI_PARTITIONS], proposed[CLI_PARTITIONS], backup[CLI_PARTITIONS];
    uint64_t epoch[CLI_PARTITIONS];
};

/* node-1 to node-n, all well; node-1 is the one that answers. */
void cli_cluster_make(struct cli_cluster *cluster, unsigned n);
/* The counts of the members and the statuses, after a change of the ring. */
void cli_cluster_count(struct cli_cluster *cluster);
/* What `show` prints; the caller frees it. */
#define CLI_TEXT(text, show)                                                                       \
    do {                                                                                           \
        size_t len_;                                                                               \
        FILE *out = open_memstream(&(text), &len_);                                                \
        assert_non_null(out);                                                                      \
        show;                                                                                      \
        assert_int_equal(fclose(out), 0);                                                          \
    } while (0)

/* protobuf-c's structs want char *, and do not write to it. */
char *cli_text(const char *text);

#endif
