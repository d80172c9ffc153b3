/* See dedup.h. Looking and adding; the block that entries live in. */
#include "node/runtime/dedup.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/runtime/dedup_impl.h"
#include "troupe/error.h"
#include "troupe/status.h"

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t sequence_of_ms(uint64_t ms)
{
    return ms << RPC_SEQUENCE_COUNTER_BITS;
}

/* ---- looking ---- */

/* The id's own entry; NULL: there is none. *floor: its client's. */
static const struct entry *find(const struct dedup *d, const struct dedup_id *id, uint64_t *floor)
{
    *floor = 0;
    DEDUP_EACH(d, at, e)
    {
        if (e->client != id->client)
            continue;
        if (e->sequence == id->sequence)
            return e;
        *floor = max64(*floor, e->floor);
    }
    return NULL;
}

static enum dedup_verdict done(const struct entry *e, struct dedup_reply *reply)
{
    *reply = (struct dedup_reply){
        .status = e->status,
        .kept = (e->flags & ENTRY_KEPT) != 0,
        .durable = (e->flags & ENTRY_DURABLE) != 0,
        .payload = {e->reply, e->len},
    };
    return DEDUP_DONE;
}

/* An id that is in no entry and above its client's floor. */
static enum dedup_verdict judge(const struct dedup *d, const struct dedup_id *id,
                                const struct dedup_time *time, struct dedup_found *found)
{
    uint64_t horizon = d == NULL ? 0 : d->horizon, ms = dedup__ms(id->sequence);
    if (id->sequence <= horizon)
        return DEDUP_OLD;
    if (ms <= time->now_ms)
        return DEDUP_NEW;
    /* The horizon is past, but perhaps by the clock of another node. */
    uint64_t now_ms = max64(time->now_ms, dedup__ms(horizon) + 1);
    if (ms <= now_ms + dedup__ahead_ms(d, time))
        return DEDUP_NEW;
    found->ahead_ms = ms - time->now_ms;
    return DEDUP_AHEAD;
}

enum dedup_verdict dedup_look(const struct dedup *d, const struct dedup_id *id,
                              const struct dedup_time *time, struct dedup_found *found)
{
    uint64_t floor = 0;
    enum dedup_verdict verdict;
    /* Sequences are times: nearly every new call is newer than all that was ever done here. */
    if (d != NULL && id->sequence <= d->newest) {
        const struct entry *e = find(d, id, &floor);
        if (e != NULL)
            return done(e, &found->reply);
    }
    found->own = id->sequence < floor;
    verdict = found->own ? DEDUP_OLD : judge(d, id, time, found);
    if (verdict != DEDUP_NEW)
        found->from = max64(d == NULL ? 0 : d->horizon, sequence_of_ms(time->now_ms));
    return verdict;
}

/* ---- the block ---- */

/* Closes the holes. */
static void compact(struct dedup *d)
{
    uint32_t to = 0;
    for (uint32_t at = d->head, next; at < d->end; at = next) {
        struct entry *e = dedup__entry(d, at);
        uint32_t slot = e->slot;
        next = at + slot;
        if (e->client == 0)
            continue;
        memmove(d->block + to, e, slot);
        d->last = to;
        to += slot;
    }
    d->head = 0;
    d->end = to;
    d->holes = 0;
}

int dedup__reserve(struct dedup **d, uint32_t len)
{
    uint32_t slot = dedup__slot(len);
    struct dedup *old = *d;
    if (old != NULL && old->capacity - old->end >= slot)
        return 0;
    uint32_t live = old == NULL ? 0 : old->end - old->holes;
    if (old != NULL && old->holes > 0) {
        compact(old);
        bool roomy = old->capacity / 8 > live + slot && old->capacity > 1024;
        if (old->capacity - live >= slot + live / 4 && !roomy)
            return 0;
    }
    uint32_t capacity = live + slot;
    capacity += live / 2;
    struct dedup *grown = realloc(old, sizeof *grown + capacity);
    if (grown == NULL)
        return old != NULL && old->capacity - old->end >= slot ? 0 : TROUPE_ENOMEM;
    if (old == NULL)
        memset(grown, 0, sizeof *grown);
    grown->capacity = capacity;
    *d = grown;
    return 0;
}

struct entry *dedup__append(struct dedup *d, uint32_t len)
{
    uint32_t slot = dedup__slot(len);
    INVARIANT(d->capacity - d->end >= slot);
    struct entry *e = dedup__entry(d, d->end);
    d->last = d->end;
    d->end += slot;
    d->n++;
    d->bytes += dedup__weight(len);
    e->slot = slot;
    return e;
}

void dedup__remove(struct dedup *d, struct entry *e)
{
    INVARIANT(e->client != 0 && d->n > 0);
    d->n--;
    d->bytes -= dedup__weight(e->len);
    d->holes += e->slot;
    e->client = 0;
    while (d->head < d->end && dedup__entry(d, d->head)->client == 0)
        d->head += dedup__entry(d, d->head)->slot;
    if (d->n == 0)
        d->head = d->end = d->holes = 0;
}

/* ---- adding ---- */

static void fill(struct dedup *d, struct entry *e, const struct dedup_id *id, uint64_t floor,
                 uint64_t at_ms, const struct dedup_reply *reply, bool kept)
{
    e->client = id->client;
    e->sequence = id->sequence;
    e->floor = floor;
    e->at_ms = at_ms;
    e->len = kept ? (uint16_t)reply->payload.len : 0;
    e->status = reply->status <= ENTRY_STATUS_MAX ? reply->status : TROUPE_UNKNOWN;
    e->flags = (uint8_t)((kept ? ENTRY_KEPT : 0) | (reply->durable ? ENTRY_DURABLE : 0));
    if (e->len != 0)
        memcpy(e->reply, reply->payload.data, e->len);
    d->newest = max64(d->newest, id->sequence);
}

/* The only entry there is, of a client that has got the answer to it, is written over. */
static bool replace(struct dedup *d, const struct dedup_id *id, uint64_t floor,
                    const struct dedup_time *time, const struct dedup_reply *reply, uint32_t len,
                    bool kept)
{
    if (d == NULL || d->n != 1)
        return false;
    struct entry *e = dedup__entry(d, d->last);
    if (e->client != id->client || e->sequence >= floor || e->floor > floor ||
        e->slot < dedup__slot(len) || e->slot > dedup__slot(len) + ENTRY_BYTES)
        return false;
    d->bytes += len;
    d->bytes -= e->len;
    fill(d, e, id, floor, time->now_ms, reply, kept);
    return true;
}

int dedup_add(struct dedup **d, const struct dedup_id *id, const struct dedup_time *time,
              const struct dedup_reply *reply)
{
    INVARIANT(id->client != 0 && id->sequence != 0);
    uint64_t floor = id->acked < id->sequence ? id->acked : id->sequence;
    bool kept = reply->payload.len <= DEDUP_REPLY_BYTES_MAX;
    uint32_t len = kept ? (uint32_t)reply->payload.len : 0;
    if (replace(*d, id, floor, time, reply, len, kept))
        return 0;
    int rc = dedup__reserve(d, len);
    if (rc != 0)
        return rc;
    struct dedup *w = *d;
    dedup__sweep(w, id->client, floor);
    dedup__forget(w, id, time, dedup__weight(len));
    fill(w, dedup__append(w, len), id, floor, time->now_ms, reply, kept);
    return 0;
}

size_t dedup_memory(const struct dedup *d)
{
    return d == NULL ? 0 : sizeof *d + d->capacity;
}

void dedup_free(struct dedup *d)
{
    free(d);
}
