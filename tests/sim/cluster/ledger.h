/* A kind for the simulation: a register that is also a counter. Every change appends a token that
 * is unlike all others; the value of the register is the last token, the count is how many there
 * are, and the saved state is all of them, so that a commit which forgets an earlier one can be
 * seen by looking at the two states.
 *
 * Request: struct ledger_request. Reply: struct ledger_reply. */
#ifndef TROUPE_SIM_CLUSTER_LEDGER_H
#define TROUPE_SIM_CLUSTER_LEDGER_H

#include "troupe/entity.h"

enum ledger_method {
    LEDGER_READ,
    LEDGER_WRITE, /* dirty: acknowledged from memory */
    LEDGER_PUT,   /* durable */
    LEDGER_CAS,   /* durable, if the value is the expected one; else it changes nothing */
    LEDGER_BUMP,  /* dirty; like WRITE, but asked for as a durable one by the caller */
    LEDGER_METHODS,
};

enum { LEDGER_STOPS = 1 }; /* the entity stops after the call */

struct ledger_request {
    uint64_t token, expected;
    uint64_t flags;
};

struct ledger_reply {
    uint64_t count, value; /* after it; value 0: empty */
    uint64_t done;         /* CAS: 1 if it was the expected value */
};

extern const struct troupe_kind ledger_kind;

#endif
