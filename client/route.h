/* A route: a way to the cluster, one connection and what goes by it. The first is the seed, which
 * leads to whatever node answers at the addresses that the client was opened with; the others lead
 * each to one node that a reply has named as an owner.
 *
 * A node's route is dialled when a call would go by it, and used when the node has proved by its
 * name and its cluster's uid that it is the one: what a node advertises may lead to a stranger from
 * where the client stands (127.0.0.1, of all), and a call must not be executed in another cluster.
 * Until then, and whenever it is not up, calls go by the seed, or any other route that is; nothing
 * waits for it. A node that cannot be reached is tried again when a call would go there, with a
 * growing delay; what the table says of it is kept, and holds when it comes back. One that owes
 * answers and is not heard of for CLIENT_QUIET_MS is asked again who it is, and given up when it
 * does not tell: a node that is paused or cut off is succeeded by others, who answer its calls.
 * There are at most `links_max` of them; a node for which there is no room is asked by way of the
 * others.
 *
 * All of it is guarded by the client's lock. Links are made once and kept, so that their pointers
 * are good without it. */
#ifndef TROUPE_CLIENT_ROUTE_H
#define TROUPE_CLIENT_ROUTE_H

#include "base/list.h"
#include "client/address.h"
#include "client/link.h"
#include "client/ring_table.h"
#include "proto/rpc.h"

struct leg;
struct troupe_client;

enum {
    ROUTE_NODE_BYTES_MAX = 63, /* of a node's name */
    ROUTE_UID_BYTES_MAX = 63,  /* of a cluster's uid, as text */
};

struct route {
    struct troupe_client *client;
    struct link *link;  /* NULL: not used yet */
    struct list queue;  /* legs that are to go by it, next first */
    struct list flight; /* legs that went by it */
    struct list unsent; /* in the client's list of routes that have frames to flush */
    bool ready;         /* legs may go by it */
    bool silent;        /* to be given up for dead */
    uint64_t owes_ms; /* since when there has been a request without an answer; 0 = there is none */
    uint64_t check_until_ms; /* it is being asked who it is, or whether it is there still; 0 = no */
    bool tended;             /* the clock is at work on its connection, without the lock */

    /* Of a node's. */
    char node[ROUTE_NODE_BYTES_MAX + 1], uid[ROUTE_UID_BYTES_MAX + 1];
    bool wanted; /* a call would go by it */

    /* The clock's: where to, and when. */
    struct address_list addresses;
    size_t address_next, address_now;
    uint32_t redial_failures;
    uint64_t redial_ms;
    bool useful;              /* a reply has come over this connection */
    char why[LINK_WHY_BYTES]; /* no connection, as far as known */
};

/* The seed is routes[0]. 0 or TROUPE_ENOMEM. */
int routes_init(struct troupe_client *c);
void routes_close(struct troupe_client *c);

/* ---- under the lock ---- */

/* Whether there is more than one way. Then it pays to notice that one of them is dead. */
bool route_has_others(const struct troupe_client *c);
/* By which to send what nobody in particular is to be asked; NULL: nobody can be asked just now. */
struct route *route_any(struct troupe_client *c);
/* The owner's, as far as known, if it is up; else NULL, and it will be dialled. */
struct route *route_of_spot(struct troupe_client *c, ring_spot spot);
/* Takes down what a reply that came by `by` says of the owner of spot. */
void route_learn(struct troupe_client *c, ring_spot spot, const struct rpc_owner *owner,
                 struct route *by);
/* Its connection is not to be used any more: what waits for it goes by any other. */
void route_lower(struct route *r);
/* The address that it leads to, for messages. */
const char *route_text(const struct route *r);

/* ---- who is there? (check.c) ---- */

/* The request id of that question. */
enum { ROUTE_CHECK_ID = 0 };

/* Asks it. False when the link has no room or is not up. */
bool route_check_begin(struct route *r, uint64_t now_ms);
/* Its answer. NULL, or what is wrong with it (static). */
const char *route_check_answer(const struct route *r, struct troupe_bytes body);

#endif
