/* A kind for the simulation whose entities write to each other: accounts between which money moves.
 *
 * Paying takes it off the payer's balance, as a durable change, and calls the payee's `credit`,
 * again and again until the payee has said that it has it, which it remembers by the payment's
 * token. So each payment arrives once whatever happens in between, and the balances of all sum up
 * to nothing when no payment is open. Beside it the payee gets a note, a cast: at most once, and in
 * the order in which they were sent.
 *
 * What an account promises others rests on its gate: the call and the note must not leave before
 * the payment is committed, nor the payee's answer before the credit is. accounts.c holds against
 * each other what was sent and what was run. */
#ifndef TROUPE_SIM_CLUSTER_ACCOUNT_H
#define TROUPE_SIM_CLUSTER_ACCOUNT_H

#include "troupe/entity.h"

enum { ACCOUNTS_N = 6, ACCOUNT_TOKENS_MAX = 1000 };

enum account_method { ACCOUNT_LOOK, ACCOUNT_PAY, ACCOUNT_CREDIT, ACCOUNT_NOTE, ACCOUNT_METHODS };

/* The payload of all of them. */
struct account_request {
    uint64_t token;
    int64_t amount;
    uint32_t from, to; /* accounts by their number */
    uint64_t sequence; /* of a note: of those from one to the other */
};

struct account_reply {
    int64_t balance;
    uint64_t open_n; /* payments of which it does not know that they have arrived */
};

struct account_payment {
    uint64_t token;
    int64_t amount;
    uint32_t to;
    uint32_t open;
};

/* As it is saved. */
struct account_state {
    int64_t balance;
    uint64_t notes_sent[ACCOUNTS_N], note_seen[ACCOUNTS_N];
    uint32_t paid_n, credited_n;
    struct account_payment paid[ACCOUNT_TOKENS_MAX];
    uint64_t credited[ACCOUNT_TOKENS_MAX];
};

extern const struct troupe_kind account_kind;

/* accounts.c is told what runs. seen: the last note of that pair that this account knows of. */
void account_runs(enum account_method method, const struct account_request *r, uint64_t seen);

#endif
