/* What the node's files share: node_open.c makes its parts, node.c runs and ends it. */
#ifndef TROUPE_SHELL_NODE_IMPL_H
#define TROUPE_SHELL_NODE_IMPL_H

#include "node/shell/cluster.h"
#include "node/shell/core.h"
#include "node/shell/kinds.h"
#include "node/shell/node.h"
#include "node/shell/rpc.h"

struct node {
    const struct config *config;
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    uv_timer_t
        watch; /* store-wait, then stop-timeout, then the last replies, then the store's end */
    uv_timer_t tick; /* housekeeping */
    struct kinds kinds;
    struct store *store;
    struct runtime *rt;
    struct core core;
    struct rpc_server *rpc;
    struct rpc_server *peer_rpc; /* for other nodes; NULL: a cluster by itself */
    struct cluster cluster;
    char peer_bound[RPC_ADDRESS_BYTES];
    char gossip_advertised[CONFIG_TEXT_BYTES], peer_advertised[CONFIG_TEXT_BYTES];
    char bound[RPC_ADDRESS_BYTES];      /* HOST:PORT that we listen on */
    char advertised[CONFIG_TEXT_BYTES]; /* … that others are told */
    char store_masked[CONFIG_TEXT_BYTES + 8];
    uint64_t ended_ns;
    unsigned ticks;
    int report_fd;   /* see node_run … */
    uint64_t buried; /* … as well */
    bool ready, stopping, ended, closing;
    enum node_exit code;
};

/* Kinds, the listener's address, runtime, store, in that order; logs what is wrong. What has been
 * made stays for node_run to close. */
enum node_exit node__open(struct node *n);

#endif
