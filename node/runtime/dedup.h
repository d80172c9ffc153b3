/* Exactly-once effect: the window of request ids an entity has executed, with their replies. It
 * lives inside the entity's row, so that the state and the memory of what made it are one version
 * and one write.
 *
 * A request id is (client, sequence); sequences of a client grow (ms since 1970 << 20 | counter).
 * What is remembered is bounded, in three steps of precision:
 *   1. the last replies_max ids with their replies: a retry gets the reply again;
 *   2. per client, for the last DEDUP_CLIENTS_MAX clients whose replies have been forgotten: the
 * highest sequence forgotten. Anything up to it is refused as too old;
 *   3. for all other clients: the highest sequence ever dropped from step 2, which, sequences being
 * times, tells when the memory ends. Anything up to it, from a client we know nothing of, is
 * refused. So an id that was executed is never executed again; the price is that an id that is late
 * and new can be refused. (RIFL, SOSP 2015, keeps per-client completion records; here they are
 * bounded per entity.)
 *
 * Kept in memory in the form in which it is persisted: one block, scanned linearly. Pure. */
#ifndef TROUPE_RUNTIME_DEDUP_H
#define TROUPE_RUNTIME_DEDUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "troupe/bytes.h"

enum {
    DEDUP_CLIENTS_MAX = 128,
    DEDUP_REPLIES_MAX = 1024,        /* upper limit of replies_max */
    DEDUP_REPLY_BYTES_MAX = 4096,    /* larger replies are remembered as "done" only */
    DEDUP_BLOCK_BYTES_MAX = 1 << 20, /* of replies; the oldest are forgotten beyond it */
};

struct dedup; /* NULL = empty */

struct dedup_reply {
    uint8_t status;
    bool kept;                   /* false: the reply was too large to keep */
    bool durable;                /* the change was acknowledged, or is to be, when committed */
    struct troupe_bytes payload; /* or the message, with a status other than OK */
};

enum dedup_verdict {
    DEDUP_NEW,  /* execute it */
    DEDUP_DONE, /* executed: *reply, valid until the next call */
    DEDUP_OLD,  /* older than the window: it may have been executed */
};

enum dedup_verdict dedup_look(const struct dedup *d, uint64_t client, uint64_t sequence,
                              struct dedup_reply *reply);
/* Remembers an executed id that dedup_look called new; reply->kept is ignored. 0, or TROUPE_ENOMEM:
 * nothing has changed then. */
int dedup_add(struct dedup **d, uint64_t client, uint64_t sequence, const struct dedup_reply *reply,
              uint32_t replies_max);
/* The persisted form, valid until the next call. */
struct troupe_bytes dedup_bytes(const struct dedup *d);
/* From the persisted form; checked whole. 0, TROUPE_EMALFORMED, TROUPE_ENOMEM. */
int dedup_parse(struct dedup **d, struct troupe_bytes bytes);
size_t dedup_memory(const struct dedup *d);
void dedup_free(struct dedup *d);

#endif
