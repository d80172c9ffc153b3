/* The request ids of a client: they are drawn here, and it is known up to where they have been
 * answered.
 *
 * A sequence is a time (ms since 1970 << 20) and a counter, and grows. The time is this machine's
 * until a node says that it is wrong (`sequence_from`); from then on it is that node's, as far as
 * we know it. When that is behind what has been drawn already, the client goes on as another one,
 * with a new number: ids of the old one that are still under way are retried as they are.
 *
 * What has been answered (RIFL, SOSP 2015, §3): batches are counted in *spans*, in the order in
 * which their ids were drawn. Nothing below the beginning of the first span with a batch that is
 * not answered yet is under way. There are IDS_SPANS of them at most; when as many are open, the
 * latest takes what comes, so that it is known a little less well. */
#ifndef TROUPE_CLIENT_IDS_H
#define TROUPE_CLIENT_IDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { IDS_SPANS = 256, IDS_NO_SPAN = IDS_SPANS };

struct ids_span {
    uint64_t first;   /* sequences of its batches are not below */
    atomic_uint open; /* batches that are not answered yet */
    bool of_an_other; /* of an earlier number of this client's */
};

struct ids {
    uint64_t client;  /* the number of today; unlike 0 */
    uint64_t last;    /* the highest sequence drawn */
    uint64_t add_ms;  /* to this machine's clock; modulo 2^64 */
    unsigned head, n; /* spans in use, as a ring */
    struct ids_span spans[IDS_SPANS];
};

/* Unpredictable, so that no two clients share request ids; never 0. */
uint64_t ids_random(void);

/* ---- with the client's lock ---- */

/* Everything drawn from now on belongs to a batch of this span, until the next one begins. */
unsigned ids_begin(struct ids *ids, uint64_t wall_ms);
static inline uint64_t ids_draw(struct ids *ids)
{
    return ++ids->last;
}
/* All sequences below it have been answered, or given up. */
uint64_t ids_acked(struct ids *ids);
/* A node has refused ids of this number, and says above which it would take new ones. */
void ids_learn(struct ids *ids, uint64_t client, uint64_t from, uint64_t wall_ms);
/* The batch draws its ids anew. Its span from now on. */
unsigned ids_begin_again(struct ids *ids, unsigned span, uint64_t wall_ms);

/* ---- without ---- */

/* The batch will not be sent again. */
static inline void ids_answered(struct ids *ids, unsigned span)
{
    if (span != IDS_NO_SPAN)
        atomic_fetch_sub_explicit(&ids->spans[span].open, 1, memory_order_release);
}

#endif
