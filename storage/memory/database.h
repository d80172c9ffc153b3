/* The data behind the memory store, and the operations on it. Nothing here knows of handles, loops
 * or queues: database_run executes one checked request, atomically. */
#ifndef TROUPE_STORAGE_MEMORY_DATABASE_H
#define TROUPE_STORAGE_MEMORY_DATABASE_H

#include "storage/memory/memory.h"
#include "storage/memory/rows.h"

struct cluster_node {
    char name[STORE_NAME_BYTES_MAX + 1];
    char addr[STORE_ADDR_BYTES_MAX + 1];
    char gossip[STORE_ADDR_BYTES_MAX + 1];
    char proof[STORE_PROOF_BYTES_MAX + 1];
    char kinds[STORE_KINDS_BYTES_MAX + 1];
    uint64_t generation, incarnation, renew_seq, renewed_at_ms, joined, seen;
    uint32_t ttl_ms, outage_ms;
    bool draining;
    enum store_node_state state;
};

/* Nodes are indexes into cluster.nodes, from which nothing is ever removed; UINT32_MAX: none. */
struct cluster_change {
    uint64_t epoch, at_ms;
    uint32_t node, previous;
    enum store_cause cause;
};

struct cluster_partition {
    uint64_t epoch, generation;
    uint32_t node;
    uint32_t changes_n; /* that there have been; the last ones are kept, as a ring */
    struct cluster_change changes[STORE_HISTORY_MAX];
};

/* One cluster of a database. It exists once a node has registered: partitions_n is not 0 then. */
struct cluster {
    struct cluster *next;
    char name[STORE_NAME_BYTES_MAX + 1];
    char uid[STORE_UID_BYTES + 1];
    struct cluster_partition *partitions;
    uint32_t partitions_n;
    struct cluster_node *nodes;
    uint32_t nodes_n, nodes_max;
    struct rows rows;
    char kinds_open[STORE_KINDS_BYTES_MAX + 1];
    uint64_t joins;       /* the last `joined` that was given */
    uint64_t timeline;    /* 0 until the first failover */
    bool forgetful;       /* of the timeline; see store_memory_forget_timeline */
    struct cluster *kept; /* what a failover brings back; NULL = nothing */
};

struct database;

/* The database of that name, made if need be, with one more reference. An empty name is a database
 * of one's own. NULL: out of memory. */
struct database *database_open(const char *name);
/* Gives the reference back; the last one frees everything. */
void database_close(struct database *db);
/* The cluster of that name, made if need be; NULL: out of memory. Valid until database_close. */
struct cluster *database_cluster(struct database *db, const char *name);
void database_set_clock(struct database *db, store_memory_clock_cb clock, void *data);

/* Executes one request that store__check_request has passed: sets its outputs and error. */
void database_run(struct database *db, struct cluster *cluster, uint32_t partitions,
                  struct store_request *request);
/* A run's row, if it is active; NULL. With the database's lock held, as those of partitions.c. */
struct cluster_node *cluster_find_run(struct cluster *c, const char *name, uint64_t generation);
struct cluster_node *cluster_find_node(struct cluster *c, const char *name);
bool cluster_is_owned_by(const struct cluster *c, const struct cluster_partition *p,
                         const struct cluster_node *n, uint64_t generation);
/* No epoch is below it, so that a failover never hands one out twice. */
uint64_t cluster_epoch_floor(const struct cluster *c);
int cluster_fail_fenced(struct store_request *r, const char *name, uint64_t generation);

/* ---- partitions.c ---- */
int partitions_claim(struct cluster *c, uint64_t now_ms, struct store_request *r);
int partitions_transfer(struct cluster *c, uint64_t now_ms, struct store_request *r);
int partitions_history(const struct cluster *c, struct store_request *r);

/* ---- recent.c ---- */
int recent_find(const struct cluster *c, uint64_t now_ms, struct store_request *r);

/* Keeps a copy of the cluster's data, in the place of an earlier one. False: out of memory. */
bool database_keep(struct database *db, struct cluster *cluster);
/* Puts that copy in the place of the data, on the next timeline. */
void database_fail_over(struct database *db, struct cluster *cluster);
/* … and lets the data live on, in a cluster of another database that nobody has used. */
void database_depose(struct database *db, struct cluster *cluster, struct database *other,
                     struct cluster *old);
/* See store_memory_forget_timeline. */
void database_forget_timeline(struct database *db, struct cluster *cluster);
bool database_evict(struct database *db, struct cluster *cluster, const char *name);

#endif
