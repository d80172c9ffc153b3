/* See dedup.h: the persisted form. Little-endian whatever the machine.
 *
 * Format 1 is that of the versions before, in which each entry had 24 bytes:
 *   header   u8 format = 1, u8 0, u16 clients, u32 replies, u64 floor, u64 newest sequence of all
 *   clients  { u64 client, u64 floor }
 *   replies  { u64 client, u64 sequence, u8 status, u8 flags, u16 0, u32 len, len bytes }
 * Today's is written as one reply of such a block, which belongs to nobody (client 0), bears the
 * horizon as its sequence, and holds all entries; the header's floor is the newest sequence. A node
 * of an earlier version, during an upgrade, takes it for a window that has forgotten all up to
 * there: it executes nothing twice, and goes on behind it; what it adds is read from there again.
 *
 * An entry has, each number in as few bytes as it takes (varint), signed ones zigzag:
 *   u8 status | kept << 5 | durable << 6 | same client as the last one's << 7
 *   u64 client, unless it is the same
 *   sequence: ms against the last one's, signed; counter
 *   floor: against the last one's, if it is the same client, else against the sequence, signed
 *   time: against the sequence's ms, signed
 *   if kept: length, bytes */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/runtime/dedup_impl.h"
#include "proto/wire.h"
#include "troupe/error.h"

enum { FORMAT = 1, HEADER_BYTES = 24, CLIENT_BYTES = 16, REPLY_BYTES = 24 };
enum { FLAG_KEPT = 1, FLAG_DURABLE = 2, FLAG_ENTRIES = 4 };
enum { HEAD_STATUS = ENTRY_STATUS_MAX, HEAD_KEPT = 32, HEAD_DURABLE = 64, HEAD_SAME = 128 };
enum { ENTRY_BYTES_MAX = 1 + 8 + 5 * WIRE_VARINT_BYTES_MAX }; /* but for its reply */

static const uint64_t COUNTER_MASK = (UINT64_C(1) << RPC_SEQUENCE_COUNTER_BITS) - 1;

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

static uint64_t zigzag(uint64_t to, uint64_t from)
{
    uint64_t delta = to - from;
    return delta << 1 ^ (delta >> 63 != 0 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t v, uint64_t from)
{
    return from + (v >> 1 ^ ((v & 1) != 0 ? UINT64_MAX : 0));
}

/* What the next entry is told against. */
struct last {
    uint64_t client, sequence, floor;
};

/* ---- writing ---- */

static uint8_t *put_entry(uint8_t *out, const struct entry *e, struct last *last)
{
    bool kept = (e->flags & ENTRY_KEPT) != 0, same = e->client == last->client;
    *out++ =
        (uint8_t)(e->status | (kept ? HEAD_KEPT : 0) |
                  ((e->flags & ENTRY_DURABLE) != 0 ? HEAD_DURABLE : 0) | (same ? HEAD_SAME : 0));
    if (!same) {
        put(out, e->client, 8);
        out += 8;
    }
    uint64_t ms = dedup__ms(e->sequence);
    out = wire_put_varint(out, zigzag(ms, dedup__ms(last->sequence)));
    out = wire_put_varint(out, e->sequence & COUNTER_MASK);
    out = wire_put_varint(out, zigzag(e->floor, same ? last->floor : e->sequence));
    out = wire_put_varint(out, zigzag(e->at_ms, ms));
    *last = (struct last){e->client, e->sequence, e->floor};
    if (!kept)
        return out;
    out = wire_put_varint(out, e->len);
    if (e->len > 0)
        memcpy(out, e->reply, e->len);
    return out + e->len;
}

static void put_header(uint8_t *block, const struct dedup *d, size_t len)
{
    memset(block, 0, HEADER_BYTES + REPLY_BYTES);
    block[0] = FORMAT;
    put(block + 4, 1, 4);
    put(block + 8, d->newest, 8);
    put(block + 16, d->newest, 8);
    uint8_t *reply = block + HEADER_BYTES;
    put(reply + 8, d->horizon, 8);
    reply[17] = FLAG_ENTRIES;
    put(reply + 20, len, 4);
}

struct troupe_bytes dedup_write(const struct dedup *d, struct arena *arena)
{
    if (d == NULL || (d->n == 0 && d->horizon == 0))
        return troupe_bytes(NULL, 0);
    size_t most = HEADER_BYTES + REPLY_BYTES + (size_t)d->n * ENTRY_BYTES_MAX + d->bytes;
    uint8_t *block = arena_alloc(arena, most);
    if (block == NULL)
        return troupe_bytes(NULL, most);
    uint8_t *begin = block + HEADER_BYTES + REPLY_BYTES, *out = begin;
    struct last last = {0};
    DEDUP_EACH(d, at, e)
    out = put_entry(out, e, &last);
    INVARIANT((size_t)(out - block) <= most);
    put_header(block, d, (size_t)(out - begin));
    return troupe_bytes(block, (size_t)(out - block));
}

/* ---- reading ---- */

struct parse {
    struct dedup *d;
    const struct dedup_time *time;
};

/* NULL: out of memory. */
static struct entry *add(struct parse *p, uint64_t client, uint64_t sequence, uint64_t floor,
                         uint64_t at_ms, struct troupe_bytes reply)
{
    if (dedup__reserve(&p->d, (uint32_t)reply.len) != 0)
        return NULL;
    struct dedup *d = p->d;
    struct entry *e = dedup__append(d, (uint32_t)reply.len);
    e->client = client;
    e->sequence = sequence;
    e->floor = floor;
    e->at_ms = at_ms < p->time->now_ms ? at_ms : p->time->now_ms;
    e->len = (uint16_t)reply.len;
    e->status = e->flags = 0;
    if (reply.len > 0)
        memcpy(e->reply, reply.data, reply.len);
    uint64_t newest = floor > sequence ? floor - 1 : sequence;
    d->newest = newest > d->newest ? newest : d->newest;
    return e;
}

static int read_entry(struct parse *p, struct wire_reader *r, struct last *last)
{
    uint64_t v[4], len = 0;
    uint8_t head = *r->at++;
    bool same = (head & HEAD_SAME) != 0;
    struct last now = {.client = last->client};
    if (!same && !wire_read_fixed(r, 8, &now.client))
        return TROUPE_EMALFORMED;
    for (int i = 0; i < 4; i++) {
        if (!wire_read_varint(r, WIRE_VARINT_BYTES_MAX, &v[i]))
            return TROUPE_EMALFORMED;
    }
    if ((head & HEAD_KEPT) != 0 && !wire_read_varint(r, WIRE_SHORT_BYTES_MAX, &len))
        return TROUPE_EMALFORMED;
    uint64_t ms = unzigzag(v[0], dedup__ms(last->sequence));
    now.sequence = ms << RPC_SEQUENCE_COUNTER_BITS | v[1];
    now.floor = unzigzag(v[2], same ? last->floor : now.sequence);
    if (now.client == 0 || dedup__ms(now.sequence) != ms || v[1] > COUNTER_MASK ||
        now.sequence == 0 || now.floor == UINT64_MAX || len > DEDUP_REPLY_BYTES_MAX ||
        len > (size_t)(r->end - r->at))
        return TROUPE_EMALFORMED;
    struct entry *e = add(p, now.client, now.sequence, now.floor, unzigzag(v[3], ms),
                          troupe_bytes(r->at, (size_t)len));
    if (e == NULL)
        return TROUPE_ENOMEM;
    e->status = head & HEAD_STATUS;
    e->flags = (uint8_t)(((head & HEAD_KEPT) != 0 ? ENTRY_KEPT : 0) |
                         ((head & HEAD_DURABLE) != 0 ? ENTRY_DURABLE : 0));
    r->at += len;
    *last = now;
    return 0;
}

static int read_entries(struct parse *p, struct troupe_bytes bytes)
{
    struct wire_reader r = wire_reader(bytes);
    struct last last = {0};
    int rc = 0;
    while (rc == 0 && !wire_at_end(&r))
        rc = read_entry(p, &r, &last);
    return rc;
}

/* One of the versions before. They did not tell when. */
static int read_reply(struct parse *p, const uint8_t *r, struct troupe_bytes reply)
{
    if ((r[17] & FLAG_ENTRIES) != 0)
        return read_entries(p, reply);
    if (get(r, 8) == 0 || get(r + 8, 8) == 0 || r[16] > HEAD_STATUS ||
        reply.len > DEDUP_REPLY_BYTES_MAX)
        return TROUPE_EMALFORMED;
    struct entry *e = add(p, get(r, 8), get(r + 8, 8), 0, p->time->now_ms, reply);
    if (e == NULL)
        return TROUPE_ENOMEM;
    e->status = r[16];
    e->flags = (uint8_t)(((r[17] & FLAG_KEPT) != 0 ? ENTRY_KEPT : 0) |
                         ((r[17] & FLAG_DURABLE) != 0 ? ENTRY_DURABLE : 0));
    return 0;
}

/* The highest sequence of theirs that they have forgotten. */
static int read_client(struct parse *p, const uint8_t *client)
{
    uint64_t number = get(client, 8), floor = get(client + 8, 8);
    if (number == 0 || floor == 0) /* what held all entries was forgotten */
        return 0;
    if (floor == UINT64_MAX)
        return TROUPE_EMALFORMED;
    struct troupe_bytes none = {0};
    return add(p, number, floor, floor, p->time->now_ms, none) == NULL ? TROUPE_ENOMEM : 0;
}

static int read_all(struct parse *p, struct troupe_bytes bytes)
{
    const uint8_t *at = bytes.data + HEADER_BYTES, *end = bytes.data + bytes.len;
    uint64_t clients = get(bytes.data + 2, 2), replies = get(bytes.data + 4, 4);
    int rc = 0;
    for (; clients > 0 && rc == 0; clients--, at += CLIENT_BYTES)
        rc = (size_t)(end - at) < CLIENT_BYTES ? TROUPE_EMALFORMED : read_client(p, at);
    for (; replies > 0 && rc == 0; replies--) {
        if ((size_t)(end - at) < REPLY_BYTES || get(at + 20, 4) > (size_t)(end - at) - REPLY_BYTES)
            return TROUPE_EMALFORMED;
        size_t len = (size_t)get(at + 20, 4);
        rc = read_reply(p, at, troupe_bytes(at + REPLY_BYTES, len));
        at += REPLY_BYTES + len;
    }
    return rc == 0 && at != end ? TROUPE_EMALFORMED : rc;
}

/* Whether it is as dedup_write left it. */
static bool is_todays(struct troupe_bytes bytes)
{
    return get(bytes.data + 2, 2) == 0 && get(bytes.data + 4, 4) == 1 &&
           bytes.len >= HEADER_BYTES + REPLY_BYTES &&
           (bytes.data[HEADER_BYTES + 17] & FLAG_ENTRIES) != 0;
}

/* A clock that was far ahead, of a client once or of a node, is not to close it for as long. */
static void set_horizon(struct parse *p, uint64_t horizon)
{
    uint64_t most = (p->time->now_ms + p->time->window_ms / 2) << RPC_SEQUENCE_COUNTER_BITS;
    p->d->horizon = horizon < most ? horizon : most;
    if (p->d->newest < p->d->horizon)
        p->d->newest = p->d->horizon;
}

int dedup_parse(struct dedup **d, struct troupe_bytes bytes, const struct dedup_time *time)
{
    *d = NULL;
    if (bytes.len == 0)
        return 0;
    if (bytes.len < HEADER_BYTES || bytes.len > DEDUP_BLOCK_BYTES_MAX || bytes.data[0] != FORMAT)
        return TROUPE_EMALFORMED;
    uint64_t floor = get(bytes.data + 8, 8), newest = get(bytes.data + 16, 8);
    struct parse p = {.time = time};
    int rc = dedup__reserve(&p.d, 0);
    if (rc == 0)
        rc = read_all(&p, bytes);
    if (rc == 0 && (floor > newest || p.d->newest > newest))
        rc = TROUPE_EMALFORMED; /* what is newer than the newest would be taken for new */
    if (rc != 0) {
        dedup_free(p.d);
        return rc;
    }
    set_horizon(&p, is_todays(bytes) ? get(bytes.data + HEADER_BYTES + 8, 8) : floor);
    dedup__expire(p.d, time);
    *d = p.d;
    return 0;
}
