/* The window in memory: entries in the order in which they were executed, one after the other in
 * one block. Shared by dedup.c (what is asked of it), dedup_forget.c (what goes) and dedup_code.c
 * (how it is persisted). */
#ifndef TROUPE_RUNTIME_DEDUP_IMPL_H
#define TROUPE_RUNTIME_DEDUP_IMPL_H

#include "node/runtime/dedup.h"
#include "proto/rpc.h"

enum { ENTRY_KEPT = 1, ENTRY_DURABLE = 2, ENTRY_STATUS_MAX = 31 };

struct entry {
    uint64_t client; /* 0: a hole */
    uint64_t sequence;
    uint64_t floor; /* of its client, when this was executed; the highest of its entries counts */
    uint64_t at_ms; /* executed, by the clock of the node that did */
    uint32_t slot;  /* bytes, with this head */
    uint16_t len;   /* of the reply */
    uint8_t status, flags;
    uint8_t reply[];
};

enum { ENTRY_BYTES = sizeof(struct entry), ENTRY_ALIGN = 8 };
_Static_assert(ENTRY_BYTES % ENTRY_ALIGN == 0, "entries follow each other");
_Static_assert(DEDUP_REPLY_BYTES_MAX <= UINT16_MAX, "len holds it");

struct dedup {
    uint64_t newest;  /* no sequence in here is higher, nor is a floor by more than one … */
    uint64_t horizon; /* … nor the horizon; 0: there is none */
    /* The last floor that was swept to: it need not be done again. */
    uint64_t swept_client, swept_floor;
    uint32_t n;        /* entries */
    uint32_t bytes;    /* of them, about, when persisted */
    uint32_t holes;    /* bytes of the block that are none */
    uint32_t head;     /* the first entry, or a hole before it */
    uint32_t last;     /* the last one; of n > 0 */
    uint32_t end;      /* of the block */
    uint32_t capacity; /* of it */
    _Alignas(ENTRY_ALIGN) uint8_t block[];
};

static inline struct entry *dedup__entry(const struct dedup *d, uint32_t at)
{
    return (struct entry *)(void *)(uintptr_t)(d->block + at);
}

/* For each entry, holes left out. */
#define DEDUP_EACH(d, at, e)                                                                       \
    for (uint32_t at = (d)->head; at < (d)->end; at += dedup__entry(d, at)->slot)                  \
        for (struct entry *e = dedup__entry(d, at); e != NULL && e->client != 0; e = NULL)

/* About what an entry takes when it is persisted. */
static inline uint32_t dedup__weight(uint32_t len)
{
    return 16 + len;
}

static inline uint64_t dedup__ms(uint64_t sequence)
{
    return sequence >> RPC_SEQUENCE_COUNTER_BITS;
}

static inline uint64_t dedup__since(uint64_t now_ms, uint64_t at_ms)
{
    return now_ms > at_ms ? now_ms - at_ms : 0;
}

static inline uint32_t dedup__slot(uint32_t len)
{
    return ENTRY_BYTES + (len + ENTRY_ALIGN - 1) / ENTRY_ALIGN * ENTRY_ALIGN;
}

/* How far ahead of the clock a sequence may be: half of the window, or, nearly full, of the time
 * for which that reaches back. */
uint64_t dedup__ahead_ms(const struct dedup *d, const struct dedup_time *time);
/* It becomes a hole. */
void dedup__remove(struct dedup *d, struct entry *e);
/* Removes what is below the client's floor. */
void dedup__sweep(struct dedup *d, uint64_t client, uint64_t floor);
/* What need not, or cannot be kept when an id with an entry of that weight is to be added. */
void dedup__forget(struct dedup *d, const struct dedup_id *id, const struct dedup_time *time,
                   uint32_t weight);
/* What is older than the window, at the front. */
void dedup__expire(struct dedup *d, const struct dedup_time *time);
/* Room for an entry with so long a reply; 0 or TROUPE_ENOMEM. */
int dedup__reserve(struct dedup **d, uint32_t len);
/* The entry at the end, for which there is room. */
struct entry *dedup__append(struct dedup *d, uint32_t len);

#endif
