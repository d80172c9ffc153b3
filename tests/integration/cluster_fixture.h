/* Clusters of real nodes under test: started on one store, watched through what each of them says
 * of itself ($node/self), stopped or killed by pid. What is waited for has a deadline; when it is
 * over, all that the nodes see and have logged is shown. */
#ifndef TROUPE_TESTS_CLUSTER_FIXTURE_H
#define TROUPE_TESTS_CLUSTER_FIXTURE_H

#include "pg_fixture.h"
#include "proc.h"
#include "status.pb-c.h"
#include "troupe/client.h"

enum {
    CLUSTER_NODES_MAX = 8,
    CLUSTER_ARGS_MAX = 8,
    CLUSTER_AGREE_MS = 30000, /* what should take less than 10 s, on a machine that does more */
    CLUSTER_TAKEOVER_MS = 30000,
    CLUSTER_POLL_MS = 20,
    CLUSTER_PARTITIONS = 4096,
};

struct cluster_node {
    char name[32];
    struct proc proc; /* the process that was started: the guardian, if there is one */
    bool runs;        /* as far as the test wants it */
    int port;         /* for clients; + 1 for peers, + 2 for gossip */
    char address[64];
    const char *host;  /* where it listens; 127.0.0.1 */
    const char *kinds; /* the plug-in that it loads; NULL: counter */
    const char *netns; /* a network namespace by the name that ip knows, or NULL */
    const char *args[CLUSTER_ARGS_MAX + 1]; /* its own, after the cluster's; up to NULL */
    struct troupe_client *client;           /* of questions to it; knows no other node */
    struct troupe_batch *batch;
};

struct cluster {
    char dir[64];
    char store[320];
    bool guardian;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    size_t n;
};

/* pg: a server that runs, of which a new database is taken; NULL: a SQLite file. Nothing is started
 * yet; the nodes are called n1, n2 … */
void cluster_open(struct cluster *c, struct pg_fixture *pg, size_t n, bool guardian);
/* SIGKILL for what still runs. Safe to call twice. */
void cluster_close(struct cluster *c);

/* Starts node i, on the ports that it had or, the first time, on free ones. Does not wait. */
void cluster_start(struct cluster *c, size_t i);
void cluster_start_all(struct cluster *c);
/* New ports at its next start. */
void cluster_new_ports(struct cluster *c, size_t i);
/* SIGTERM, and its exit code. */
int cluster_stop(struct cluster *c, size_t i);
/* SIGKILL for the node's process (with a guardian: its parent, and so both), waited for. */
void cluster_kill(struct cluster *c, size_t i);
/* The process that does the node's work: the guardian's child, or the process itself. Waits for it
 * to be there. */
pid_t cluster_worker(struct cluster *c, size_t i);
/* All nodes' client addresses, beginning with node first; those that were never started are left
 * out. */
void cluster_addresses(const struct cluster *c, size_t first, char *text, size_t bytes);
/* Reads what the nodes have logged, so that none of them waits for a reader. */
void cluster_drain_logs(struct cluster *c);

/* ---- what a node sees; NULL: no answer within timeout_ms ---- */

Troupe__Rpc__NodeStatus *cluster_status(struct cluster *c, size_t i, uint32_t timeout_ms);
Troupe__Rpc__Members *cluster_members(struct cluster *c, size_t i, uint32_t timeout_ms);
Troupe__Rpc__Ring *cluster_ring(struct cluster *c, size_t i, uint32_t timeout_ms);
void cluster_free_message(void *message); /* of the above; NULL is fine */
/* The state of member `of` as node i sees it: "active", "dead", "suspect" for one that is alive but
 * suspected, "unknown", or "no answer". Static text, or valid until the next call. */
const char *cluster_state(struct cluster *c, size_t i, size_t of);

/* ---- waiting ---- */

/* Asks every CLUSTER_POLL_MS until true; false when the time is over. Drains the logs. */
bool cluster_wait(struct cluster *c, bool (*is_so)(struct cluster *c, void *data), void *data,
                  int timeout_ms);
/* All that run serve, have one view of `runs` active members, of the ring and of the owners; every
 * partition is with the member that the ring proposes. Fails the test when the time is over. */
void cluster_wait_agreed(struct cluster *c, int timeout_ms);
/* No member has more than its share and 5 %. */
void cluster_assert_balanced(struct cluster *c);
/* What every node sees, and the end of its log, to stderr. */
void cluster_show(struct cluster *c);

/* ---- figures ---- */

enum { FIGURES_MAX = 4096 };

struct figures {
    long values_ms[FIGURES_MAX];
    size_t n;
};

void figures_add(struct figures *f, long ms);
/* percent 0 to 100; 0 without values. */
long figures_percentile(struct figures *f, unsigned percent);
/* One line: what, count, p50, p99, max. */
void figures_print(struct figures *f, const char *what);

#endif
