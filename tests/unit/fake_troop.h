/* A cluster for the client's tests: fake nodes that share a map of owners. Each executes every call
 * (once for each request id, as a cluster would) and says, for what another one owns, who that is.
 * Its map can be changed, and its nodes can lie about where they are. */
#ifndef TROUPE_TESTS_FAKE_TROOP_H
#define TROUPE_TESTS_FAKE_TROOP_H

#include <pthread.h>
#include <stdatomic.h>

#include "fake_node.h"

enum {
    TROOP_NODES_MAX = 8,
    TROOP_PARTITIONS = 256,
    TROOP_SEEN_MAX = 16384,
};

struct fake_troop;

struct fake_member {
    struct fake_troop *troop;
    struct fake_node *node;
    unsigned index;
    char name[16], uid[40];
    char address[64];         /* what the others say of it */
    atomic_uint straight;     /* calls to entities of its own */
    atomic_uint forwards;     /* calls that it would have to forward */
    atomic_uint requests;     /* without those to $node */
    atomic_uint node_calls;   /* to $node */
    atomic_uint hang_ups;     /* so many requests to come end with the connection … */
    atomic_uint unavailables; /* … and so many are refused, after that */
    atomic_bool silent, shy;  /* answers no calls; does not tell who it is */
    struct rpc_owner owner[TROOP_PARTITIONS]; /* of the latest reply, like what it says */
    char told[TROOP_PARTITIONS][64];
    uint8_t status[80];
};

struct fake_troop {
    pthread_mutex_t mu; /* of what follows */
    uint8_t owners[TROOP_PARTITIONS];
    uint64_t epochs[TROOP_PARTITIONS];
    uint64_t seen[TROOP_SEEN_MAX]; /* sequences */
    unsigned seen_n;
    atomic_uint executed; /* distinct ids, and calls without one */
    struct fake_member members[TROOP_NODES_MAX];
    unsigned n;
};

/* Partition p is node p % n's, since epoch 1. */
void fake_troop_start(struct fake_troop *troop, unsigned n);
void fake_troop_stop(struct fake_troop *troop);
/* The partition is that node's from now on, under a higher epoch. */
void fake_troop_move(struct fake_troop *troop, unsigned pid, unsigned to);
/* That is the address which the others tell of the node. */
void fake_troop_advertise(struct fake_troop *troop, unsigned i, const char *address);
unsigned fake_troop_pid(const char *id); /* of kind "venue" */
unsigned fake_troop_owner(struct fake_troop *troop, const char *id);
/* Calls that had to be forwarded so far, by any. */
unsigned fake_troop_forwards(struct fake_troop *troop);

#endif
