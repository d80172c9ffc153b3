/* The node's ties to other nodes: gossip, requests to peers, discovery. It carries between them and
 * the core, and knows nothing of what they say. All on the loop's thread, but for cluster_peers. */
#ifndef TROUPE_SHELL_CLUSTER_H
#define TROUPE_SHELL_CLUSTER_H

#include "node/shell/config.h"
#include "node/shell/core.h"
#include "node/shell/discover.h"
#include "node/shell/gossip.h"
#include "node/shell/peers.h"
#include "node/shell/rpc.h"

enum {
    CLUSTER_ERRMSG_BYTES = 512,
    CLUSTER_DRAIN_MS = 500, /* at the end: for the last frames to leave */
    CLUSTER_DRAIN_POLL_MS = 5,
};

struct cluster {
    struct core *core; /* NULL until cluster_start */
    uv_loop_t *loop;
    struct gossip *gossip;
    struct rpc_server *peer_rpc; /* the caller's: is told where nodes are; NULL = nobody is */
    _Atomic(struct peers *) peers;
    struct discover *discover;
    bool looks_up; /* discovery is there, if only a lookup that it cannot take back */
    char gossip_bound[GOSSIP_ADDRESS_BYTES];
    uint64_t frames; /* handed to gossip */
    uv_timer_t drain;
    uint64_t drain_until_ms;
    unsigned open; /* parts that have not closed yet */
    void (*closed)(void *data);
    void *data;
    struct gossip_stats logged; /* what of bad input has been told */
    uint64_t dropped_logged;
};

/* Takes the gossip address. errmsg says which setting to change. */
int cluster_open(struct cluster *c, uv_loop_t *loop, const char *listen,
                 char errmsg[CLUSTER_ERRMSG_BYTES]);
/* The core is there: what is heard goes to it. */
int cluster_start(struct cluster *c, uv_loop_t *loop, struct core *core, const char *join,
                  char errmsg[CLUSTER_ERRMSG_BYTES]);
void cluster_frames(struct cluster *c, struct runtime_frame *frames);
/* Any thread. */
void cluster_peers(struct cluster *c, struct runtime_peer_request *requests);
/* Logs what was heard and could not be used, if there was more of it since the last call; to be
 * called once a minute. */
void cluster_report(struct cluster *c);
/* The frames that wait leave first, as far as they do in CLUSTER_DRAIN_MS: a node that leaves says
 * so in its last ones. closed(data) comes from the loop, or at once when nothing was open. A lookup
 * is not waited for: looks_up tells whether the loop has to. */
void cluster_close(struct cluster *c, void (*closed)(void *data), void *data);

#endif
