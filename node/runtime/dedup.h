/* Exactly-once effect: the window of request ids that an entity has executed, with their replies.
 * It lives inside the entity's row, so that the state and the memory of what made it are one
 * version and one write.
 *
 * A request id is (client, sequence); sequences of a client grow (ms since 1970 << 20 | counter).
 * What is forgotten is never executed again, whatever anybody's clock says, because there are only
 * two ways to be forgotten:
 *   1. A request tells up to where its client has got its answers (`acked`). Nobody waits for what
 *      is below: it is dropped at once, and the client's *floor* stays in its entry, below which
 *      everything is refused (RIFL, SOSP 2015, §3). A client that calls one after the other costs
 *      one entry.
 *   2. What is old, or too much, is dropped, and the *horizon*, the highest sequence of all that
 * was dropped so, stays for ever. Up to it, what is not known is refused. So an id is new only if
 * it is not in the window, not below its client's floor and above the horizon; and nothing that was
 * executed ever is, be it a retry or a first attempt that was held up until after its own retry was
 * forgotten.
 * A third one spares the horizon when DEDUP_BYTES_MAX is reached: of a client with many calls that
 * it has not acked the older half goes, and raises its floor as if it had acked them.
 *
 * Clocks decide only how early something is refused. Everything is kept for the kind's window (10
 * min) while that is small, for 30 s while it is beyond its budget, and for as long as it fits into
 * DEDUP_BYTES_MAX beyond that; and until its own sequence is past by as long as 30 s, while that
 * fits. So the horizon stays behind the clock by that, and closes nothing to those whose clock is
 * right within that. For it to stay so, sequences that are ahead of the node's clock by more than
 * half of the window, or, when that is nearly full, half of the time for which it reaches back, are
 * refused at once. Whoever is refused is told from where on to draw.
 *
 * Pure; no allocation while a steady load fits. */
#ifndef TROUPE_RUNTIME_DEDUP_H
#define TROUPE_RUNTIME_DEDUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "troupe/bytes.h"

enum {
    DEDUP_WINDOW_MS = 600000,     /* a kind's window, unless it says otherwise */
    DEDUP_TOMBSTONE_MS = 3600000, /* at least, of an entity that was deleted */
    DEDUP_KEEP_MS = 30000,        /* everything is kept so long while it fits into BYTES_MAX */
    DEDUP_BUDGET_BYTES = 1024,    /* what is older than KEEP_MS is dropped beyond it */
    DEDUP_BYTES_MAX = 64 << 10,
    DEDUP_REPLY_BYTES_MAX = 4096,   /* larger replies are remembered as "done" only */
    DEDUP_CLIENT_REPLIES = 64,      /* of one client, at least, when BYTES_MAX is reached */
    DEDUP_BLOCK_BYTES_MAX = 4 << 20 /* of a persisted window, whoever wrote it */
};

struct dedup; /* NULL = empty */

struct dedup_id {
    uint64_t client, sequence;
    uint64_t acked; /* the client has all answers below it, or has given them up; 0: unknown */
};

/* The node's, and the kind's window. */
struct dedup_time {
    uint64_t now_ms, window_ms;
};

struct dedup_reply {
    uint8_t status;
    bool kept;                   /* false: the reply was too large to keep, or is dropped by now */
    bool durable;                /* the change was acknowledged, or is to be, when committed */
    struct troupe_bytes payload; /* or the message, with a status other than OK */
};

enum dedup_verdict {
    DEDUP_NEW,   /* execute it */
    DEDUP_DONE,  /* executed: its reply, valid until the next call */
    DEDUP_OLD,   /* it may have been executed, and forgotten */
    DEDUP_AHEAD, /* its sequence is of a time to come */
};

struct dedup_found {
    struct dedup_reply reply;
    uint64_t from;     /* OLD, AHEAD: an id above this is new; of another client, if this one has
                        * drawn higher ones already */
    uint64_t ahead_ms; /* AHEAD: of the node's clock */
    bool own;          /* OLD: because of later calls of its own client */
};

enum dedup_verdict dedup_look(const struct dedup *d, const struct dedup_id *id,
                              const struct dedup_time *time, struct dedup_found *found);
/* Remembers an executed id that dedup_look called new; reply->kept is ignored. 0, or TROUPE_ENOMEM:
 * nothing has changed then. */
int dedup_add(struct dedup **d, const struct dedup_id *id, const struct dedup_time *time,
              const struct dedup_reply *reply);
/* The persisted form, in the arena: empty when there is nothing to keep. data NULL and a len: out
 * of memory. */
struct troupe_bytes dedup_write(const struct dedup *d, struct arena *arena);
/* From the persisted form, also that of earlier versions; checked whole. What is past its time is
 * dropped. 0, TROUPE_EMALFORMED, TROUPE_ENOMEM. */
int dedup_parse(struct dedup **d, struct troupe_bytes bytes, const struct dedup_time *time);
size_t dedup_memory(const struct dedup *d);
void dedup_free(struct dedup *d);

#endif
