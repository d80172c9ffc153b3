/* Writes records of the owner map. What makes them small: neighbours with one owner and one epoch
 * are a run; an owner is named once and then a number, together with the epoch it had last; so an
 * entry mostly takes a byte, or two. The upper 24 bits of an epoch are the store's timeline (DESIGN
 * §6.4): an owner counts as another one for each, lest a map in which two of them mix spell out
 * differences of 2^40. See owner_map.h; the format is in docs/protocol.md. */
#include "cluster/owner_map_impl.h"

enum {
    TIMELINE_SHIFT = 40,
    RUN_BYTES_MAX = 3, /* a varint of up to PARTITIONS_MAX */
    FIELD_BYTES = 4,   /* tag and length of the records, at most */
};

_Static_assert(PARTITIONS_MAX < 1 << (7 * RUN_BYTES_MAX), "the length of a run");
_Static_assert(GOSSIP_FRAME_BYTES_MAX < 1 << (7 * (FIELD_BYTES - 1)), "the length of a field");

void owner_map__write_bits(const struct owner_map *m, uint8_t *out, size_t *used)
{
    uint8_t *at = out + *used;
    at = wire_put_uint(at, OWNER_MAP_BITS, (uint64_t)name_partition_bits(m->partitions));
    *used = (size_t)(at - out);
}

void owner_map__begin(struct owner_map_writer *w, struct owner_map *m, uint8_t *out, size_t size)
{
    INVARIANT(size >= OWNER_MAP_PAYLOAD_BYTES_MIN);
    *w = (struct owner_map_writer){.m = m, .out = out, .size = size};
    owner_map__write_bits(m, out, &w->used);
    w->used += FIELD_BYTES;
    w->records_at = w->used;
}

/* ---- sources ---- */

static uint32_t number_of(const struct owner_map *m, const struct owner_map_entry *e)
{
    return e->name == INTERN_NONE ? m->names.slots_n : e->name;
}

/* The source of the entry, or sources_n when it is a new one. */
static uint32_t find_source(const struct owner_map_writer *w, const struct owner_map_entry *e)
{
    const struct owner_map *m = w->m;
    uint32_t i = m->source_of[number_of(m, e)];
    while (i != OWNER_MAP_NONE && m->sources[i].timeline != e->epoch >> TIMELINE_SHIFT)
        i = m->sources[i].next;
    return i == OWNER_MAP_NONE ? w->sources_n : i;
}

static void add_source(struct owner_map_writer *w, const struct owner_map_entry *e)
{
    struct owner_map *m = w->m;
    uint32_t number = number_of(m, e);
    m->sources[w->sources_n] = (struct owner_map_source){
        .number = number,
        .timeline = (uint32_t)(e->epoch >> TIMELINE_SHIFT),
        .next = m->source_of[number],
    };
    m->source_of[number] = w->sources_n++;
}

/* ---- runs ---- */

/* How the run begins; what comes after it is its length. */
struct run_head {
    uint64_t head, gap, epoch;
    bool is_new;
    struct troupe_bytes name; /* of a new source */
};

static struct run_head run_head(const struct owner_map_writer *w, uint32_t pid)
{
    const struct owner_map *m = w->m;
    const struct owner_map_entry *e = &m->entries[pid];
    uint32_t source = find_source(w, e);
    struct run_head h = {.is_new = source == w->sources_n};
    if (h.is_new && e->name != INTERN_NONE)
        h.name = intern_bytes(&m->names, e->name);
    h.gap = owner_map__zigzag((uint64_t)pid - w->expected);
    h.epoch = owner_map__zigzag(e->epoch - (h.is_new ? 0 : m->sources[source].epoch));
    h.head = (uint64_t)source << OWNER_MAP_RUN_BITS | (h.gap != 0 ? OWNER_MAP_GAP : 0) |
             (h.epoch != 0 ? OWNER_MAP_EPOCH : 0);
    return h;
}

static size_t run_bytes_max(const struct run_head *h)
{
    size_t name = h->is_new ? wire_varint_size(h->name.len) + h->name.len : 0;
    size_t gap = h->gap != 0 ? wire_varint_size(h->gap) : 0;
    size_t epoch = h->epoch != 0 ? wire_varint_size(h->epoch) : 0;
    return wire_varint_size(h->head) + gap + RUN_BYTES_MAX + name + epoch;
}

/* Writes the run that is not finished. There is room: it was asked for when the run began. */
static void finish_run(struct owner_map_writer *w)
{
    if (w->n == 0)
        return;
    struct owner_map *m = w->m;
    struct run_head h = run_head(w, w->pid);
    INVARIANT(w->used + run_bytes_max(&h) <= w->size);
    uint8_t *at = w->out + w->used;
    at = wire_put_varint(at, h.head | (w->n > 1 ? OWNER_MAP_MORE : 0));
    if (h.gap != 0)
        at = wire_put_varint(at, h.gap);
    if (w->n > 1)
        at = wire_put_varint(at, w->n - 2);
    if (h.is_new) {
        at = wire_put_varint(at, h.name.len);
        if (h.name.len != 0)
            memcpy(at, h.name.data, h.name.len);
        at += h.name.len;
        add_source(w, &m->entries[w->pid]);
    }
    if (h.epoch != 0)
        at = wire_put_varint(at, h.epoch);
    m->sources[h.head >> OWNER_MAP_RUN_BITS].epoch = m->entries[w->pid].epoch;
    w->used = (size_t)(at - w->out);
    w->expected = w->pid + w->n;
    w->n = 0;
}

static bool continues_run(const struct owner_map_writer *w, uint32_t pid)
{
    const struct owner_map_entry *first = &w->m->entries[w->pid], *e = &w->m->entries[pid];
    return w->n > 0 && pid == w->pid + w->n && e->name == first->name && e->epoch == first->epoch;
}

bool owner_map__put(struct owner_map_writer *w, uint32_t pid, size_t kept)
{
    INVARIANT(pid < w->m->partitions);
    if (continues_run(w, pid)) {
        w->n++;
        return true;
    }
    finish_run(w);
    struct run_head h = run_head(w, pid);
    if (w->used + run_bytes_max(&h) + kept > w->size ||
        (h.is_new && w->sources_n == OWNER_MAP_SOURCES_MAX))
        return false;
    w->pid = pid;
    w->n = 1;
    return true;
}

bool owner_map__has_room(const struct owner_map_writer *w, size_t kept)
{
    size_t used = w->used;
    if (w->n > 0) {
        struct run_head h = run_head(w, w->pid);
        used += run_bytes_max(&h);
    }
    return used + kept <= w->size;
}

bool owner_map__end(struct owner_map_writer *w, enum owner_map_field field)
{
    finish_run(w);
    for (uint32_t i = 0; i < w->sources_n; i++)
        w->m->source_of[w->m->sources[i].number] = OWNER_MAP_NONE;
    size_t len = w->used - w->records_at;
    uint8_t *at = w->out + w->records_at - FIELD_BYTES;
    if (len != 0) {
        at = wire_put_part(at, field, len);
        memmove(at, w->out + w->records_at, len);
        at += len;
    }
    w->used = (size_t)(at - w->out);
    return len != 0;
}
