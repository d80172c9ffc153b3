/* What the nodes of a cluster believe against what the store says. Pure. */
#ifndef TROUPE_CLI_COMPARE_H
#define TROUPE_CLI_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "status.pb-c.h"

/* A live member, and what it told; NULL: it did not. */
struct compare_node {
    const char *name, *address, *why;
    const Troupe__Rpc__NodeStatus *status;
    const Troupe__Rpc__Members *members;
    const Troupe__Rpc__Ring *ring; /* sound */
};

enum finding_type {
    FINDING_SILENT,    /* a node does not answer */
    FINDING_MEMBERS,   /* nodes do not agree on who is a member */
    FINDING_RING,      /* … or on the ring */
    FINDING_CONSTANTS, /* … or on how many partitions there are */
    FINDING_UNOWNED,   /* a partition has no owner in the store */
    FINDING_DEAD,      /* its owner there is gone, or another run */
    FINDING_EXPIRED,   /* a node that has partitions has lost its lease */
    FINDING_VIEW,      /* a node believes something else than the store says */
    FINDING_STORE,     /* the store does not do for a node what that needs */
    FINDING_TYPES
};

struct finding {
    enum finding_type type;
    uint32_t partition; /* UINT32_MAX: of none */
    const char *node;   /* "" = of none */
    const char *text;
};

struct findings {
    struct finding *all; /* by type, then partition, then node */
    size_t n;
    bool out_of_memory;
};

/* Texts are in the arena, names are those of the input. */
void compare(const struct compare_node *nodes, size_t nodes_n, const Troupe__Rpc__Owners *store,
             struct arena *arena, struct findings *findings);
/* Keeps of `later` what was found before, too: the rest may be news on its way. */
void compare_persist(const struct findings *before, struct findings *later);
/* "view" and so on, for programs. */
const char *finding_name(enum finding_type type);

#endif
