/* See dedup.h. The block, little-endian whatever the machine:
 *   header   u8 format = 1, u8 0, u16 clients, u32 replies, u64 floor, u64 newest sequence of all
 *   clients  { u64 client, u64 floor }  oldest first
 *   replies  { u64 client, u64 sequence, u8 status, u8 flags, u16 0, u32 len, len bytes }  oldest
 * first */
#include "node/runtime/dedup.h"

#include <endian.h>
#include <stdlib.h>

#include "base/invariant.h"
#include "troupe/error.h"

enum { FORMAT = 1, HEADER_BYTES = 24, CLIENT_BYTES = 16, REPLY_BYTES = 24 };
enum { FLAG_KEPT = 1, FLAG_DURABLE = 2 };

struct dedup {
    uint32_t len, capacity; /* of block */
    uint8_t block[];
};

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    return le64toh(v);
}

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
    v = htole64(v);
    memcpy(p, &v, bytes);
}

static uint32_t clients_n(const struct dedup *d)
{
    return (uint32_t)get(d->block + 2, 2);
}

static uint32_t replies_n(const struct dedup *d)
{
    return (uint32_t)get(d->block + 4, 4);
}

static uint32_t replies_at(const struct dedup *d)
{
    return HEADER_BYTES + clients_n(d) * CLIENT_BYTES;
}

static uint32_t reply_len(const uint8_t *reply)
{
    return REPLY_BYTES + (uint32_t)get(reply + 20, 4);
}

/* Offset of the client's floor entry, 0 when there is none. */
static uint32_t client_at(const struct dedup *d, uint64_t client)
{
    for (uint32_t at = HEADER_BYTES, end = replies_at(d); at < end; at += CLIENT_BYTES) {
        if (get(d->block + at, 8) == client)
            return at;
    }
    return 0;
}

enum dedup_verdict dedup_look(const struct dedup *d, uint64_t client, uint64_t sequence,
                              struct dedup_reply *reply)
{
    /* Sequences are times: nearly every new call is newer than all that was ever done here. */
    if (d == NULL || sequence > get(d->block + 16, 8))
        return DEDUP_NEW;
    for (uint32_t at = replies_at(d); at < d->len; at += reply_len(d->block + at)) {
        const uint8_t *r = d->block + at;
        if (get(r, 8) != client)
            continue;
        if (get(r + 8, 8) == sequence) {
            *reply = (struct dedup_reply){.status = r[16],
                                          .kept = (r[17] & FLAG_KEPT) != 0,
                                          .durable = (r[17] & FLAG_DURABLE) != 0,
                                          .payload = {r + REPLY_BYTES, reply_len(r) - REPLY_BYTES}};
            return DEDUP_DONE;
        }
    }
    uint32_t at = client_at(d, client);
    if (at != 0)
        return sequence <= get(d->block + at + 8, 8) ? DEDUP_OLD : DEDUP_NEW;
    return sequence <= get(d->block + 8, 8) ? DEDUP_OLD : DEDUP_NEW;
}

static void cut(struct dedup *d, uint32_t at, uint32_t len)
{
    INVARIANT(at + len <= d->len);
    memmove(d->block + at, d->block + at + len, d->len - at - len);
    d->len -= len;
}

/* Room for `more` bytes. */
static int reserve(struct dedup **d, uint32_t more)
{
    uint32_t len = *d == NULL ? HEADER_BYTES : (*d)->len;
    if (*d != NULL && (*d)->capacity - len >= more)
        return 0;
    uint32_t capacity = (len + more) + (len + more) / 2;
    struct dedup *grown = realloc(*d, sizeof *grown + capacity);
    if (grown == NULL)
        return TROUPE_ENOMEM;
    if (*d == NULL) {
        grown->len = HEADER_BYTES;
        memset(grown->block, 0, HEADER_BYTES);
        grown->block[0] = FORMAT;
    }
    grown->capacity = capacity;
    *d = grown;
    return 0;
}

/* Step 2 to step 3: the client whose floor was set longest ago. */
static void forget_client(struct dedup *d)
{
    uint64_t floor = get(d->block + HEADER_BYTES + 8, 8);
    if (floor > get(d->block + 8, 8))
        put(d->block + 8, floor, 8);
    cut(d, HEADER_BYTES, CLIENT_BYTES);
    put(d->block + 2, clients_n(d) - 1, 2);
}

/* Step 1 to step 2: the oldest reply. Needs CLIENT_BYTES of room. */
static void forget_reply(struct dedup *d)
{
    const uint8_t *oldest = d->block + replies_at(d);
    uint64_t client = get(oldest, 8), sequence = get(oldest + 8, 8);
    cut(d, replies_at(d), reply_len(oldest));
    put(d->block + 4, replies_n(d) - 1, 4);

    uint64_t floor = sequence;
    uint32_t at = client_at(d, client);
    if (at != 0) { /* moves to the end: it is the latest client to be heard of */
        uint64_t old = get(d->block + at + 8, 8);
        floor = old > sequence ? old : sequence;
        cut(d, at, CLIENT_BYTES);
        put(d->block + 2, clients_n(d) - 1, 2);
    } else if (clients_n(d) == DEDUP_CLIENTS_MAX) {
        forget_client(d);
    }
    at = replies_at(d);
    INVARIANT(d->capacity - d->len >= CLIENT_BYTES);
    memmove(d->block + at + CLIENT_BYTES, d->block + at, d->len - at);
    d->len += CLIENT_BYTES;
    put(d->block + at, client, 8);
    put(d->block + at + 8, floor, 8);
    put(d->block + 2, clients_n(d) + 1, 2);
}

int dedup_add(struct dedup **d, uint64_t client, uint64_t sequence, const struct dedup_reply *reply,
              uint32_t replies_max)
{
    INVARIANT(replies_max > 0 && replies_max <= DEDUP_REPLIES_MAX);
    bool kept = reply->payload.len <= DEDUP_REPLY_BYTES_MAX;
    uint32_t len = kept ? (uint32_t)reply->payload.len : 0;
    int rc = reserve(d, REPLY_BYTES + len + CLIENT_BYTES);
    if (rc != 0)
        return rc;
    struct dedup *w = *d;
    while (replies_n(w) >= replies_max ||
           (replies_n(w) > 0 && w->len - replies_at(w) + REPLY_BYTES + len > DEDUP_BLOCK_BYTES_MAX))
        forget_reply(w);
    uint8_t *r = w->block + w->len;
    INVARIANT(w->capacity - w->len >= REPLY_BYTES + len);
    memset(r, 0, REPLY_BYTES);
    put(r, client, 8);
    put(r + 8, sequence, 8);
    r[16] = reply->status;
    r[17] = (uint8_t)((kept ? FLAG_KEPT : 0) | (reply->durable ? FLAG_DURABLE : 0));
    put(r + 20, len, 4);
    if (len != 0)
        memcpy(r + REPLY_BYTES, reply->payload.data, len);
    w->len += REPLY_BYTES + len;
    put(w->block + 4, replies_n(w) + 1, 4);
    if (sequence > get(w->block + 16, 8))
        put(w->block + 16, sequence, 8);
    return 0;
}

struct troupe_bytes dedup_bytes(const struct dedup *d)
{
    return d == NULL ? troupe_bytes(NULL, 0) : troupe_bytes(d->block, d->len);
}

/* Whether the replies fill the block exactly, in the number that the header says, and nothing in it
 * is newer than the newest. */
static bool is_well_formed(struct troupe_bytes bytes)
{
    if (bytes.len < HEADER_BYTES || bytes.len > UINT32_MAX / 4 || bytes.data[0] != FORMAT)
        return false;
    uint64_t clients = get(bytes.data + 2, 2), replies = get(bytes.data + 4, 4);
    uint64_t floor = get(bytes.data + 8, 8), newest = get(bytes.data + 16, 8);
    size_t at = HEADER_BYTES + clients * CLIENT_BYTES;
    if (clients > DEDUP_CLIENTS_MAX || replies > DEDUP_REPLIES_MAX || at > bytes.len ||
        floor > newest)
        return false;
    for (size_t client = HEADER_BYTES; client < at; client += CLIENT_BYTES) {
        if (get(bytes.data + client + 8, 8) > newest)
            return false;
    }
    for (; replies > 0; replies--) {
        if (at > bytes.len || bytes.len - at < REPLY_BYTES || get(bytes.data + at + 8, 8) > newest)
            return false;
        at += REPLY_BYTES + get(bytes.data + at + 20, 4);
    }
    return at == bytes.len;
}

int dedup_parse(struct dedup **d, struct troupe_bytes bytes)
{
    *d = NULL;
    if (bytes.len == 0)
        return 0;
    if (!is_well_formed(bytes))
        return TROUPE_EMALFORMED;
    struct dedup *parsed = malloc(sizeof *parsed + bytes.len);
    if (parsed == NULL)
        return TROUPE_ENOMEM;
    parsed->len = parsed->capacity = (uint32_t)bytes.len;
    memcpy(parsed->block, bytes.data, bytes.len);
    *d = parsed;
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
