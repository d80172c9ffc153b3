/* A kind for the simulation: a bag of 64-bit tokens. Every change puts one token in, so that what
 * was lost or done twice can be seen by looking. */
#ifndef TROUPE_SIM_BAG_H
#define TROUPE_SIM_BAG_H

#include "troupe/entity.h"

enum bag_method {
    BAG_ADD,   /* token: dirty */
    BAG_PUT,   /* token: durable */
    BAG_LIST,  /* all tokens */
    BAG_CRASH, /* puts a wrong token in, then crashes */
    BAG_STOP,  /* stops after persisting */
    BAG_PASS,  /* token, number of another bag: durable here, and a cast of ADD to the other, with
                  what else is in the payload */
    BAG_ASK,   /* token, number of another bag: PUT there by a call; when it says OK, ADD here */
    BAG_ERASE, /* deletes the bag */
    BAG_TICK,  /* token: ADD by a timer, one second later */
    BAG_SWAP,  /* token, number: PUT if so many tokens are in it, otherwise FAILED_PRECONDITION */
    BAG_SWAP_KEPT, /* the same, and the refusal is a durable change: it is remembered */
};

enum { BAG_TOKENS_MAX = 4096 };

/* Set in a token that came by way of another bag. */
#define BAG_PASSED (UINT64_C(1) << 63)
#define BAG_WRONG  UINT64_C(0xBADBADBAD)

extern const struct troupe_kind bag_kind;

#endif
