/* The owner map itself: the register of each partition, how it merges, and the hashes that are kept
 * up to date with it. A chunk's hash is the sum of its entries' hashes, so that one entry can be
 * taken out and another put in without looking at the rest (Bellare, Micciancio, "A New Paradigm
 * for Collision-free Hashing: Incrementality at Reduced Cost", EUROCRYPT 1997). See owner_map.h. */
#include "cluster/owner_map.h"

#include <endian.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cluster/owner_map_impl.h"
#include "troupe/error.h"

_Static_assert(OWNER_MAP_PAYLOAD_BYTES_MIN <= OWNER_MAP_PAYLOAD_BYTES_MAX,
               "a whole digest and a record fit a payload");
_Static_assert((int)PARTITIONS_MIN >= (int)OWNER_MAP_CHUNKS_MIN, "no chunk is empty");

static void list_clear(struct owner_map_list *list)
{
    *list = (struct owner_map_list){.head = OWNER_MAP_NONE, .tail = OWNER_MAP_NONE};
}

static void chunk_up(struct owner_map *m, uint32_t partitions)
{
    m->partitions = partitions;
    m->chunks = partitions / OWNER_MAP_CHUNK_PARTITIONS;
    if (m->chunks < OWNER_MAP_CHUNKS_MIN)
        m->chunks = OWNER_MAP_CHUNKS_MIN;
    while (m->chunks << m->chunk_bits < partitions)
        m->chunk_bits++;
    INVARIANT(m->chunks << m->chunk_bits == partitions && m->chunks <= OWNER_MAP_CHUNKS_MAX);
}

int owner_map_init(struct owner_map *m, uint32_t partitions, uint32_t names_max)
{
    *m = (struct owner_map){0};
    if (name_partition_bits(partitions) < 0 || names_max == 0 || names_max > OWNER_MAP_NAMES_MAX)
        return TROUPE_EINVAL;
    chunk_up(m, partitions);
    list_clear(&m->changes);
    for (uint32_t i = 0; i < OWNER_MAP_TOLD_MAX; i++)
        list_clear(&m->news[i]);
    int rc = intern_init(&m->names, names_max, OWNER_MAP_NAME_BYTES_MAX);
    m->entries = calloc(partitions, sizeof *m->entries);
    m->sources = calloc(OWNER_MAP_SOURCES_MAX, sizeof *m->sources);
    m->source_of = malloc((names_max + (size_t)1) * sizeof *m->source_of);
    if (rc != 0 || m->entries == NULL || m->sources == NULL || m->source_of == NULL) {
        owner_map_close(m);
        return TROUPE_ENOMEM;
    }
    memset(m->source_of, 0xFF, (names_max + (size_t)1) * sizeof *m->source_of);
    for (uint32_t pid = 0; pid < partitions; pid++)
        m->entries[pid].name = INTERN_NONE;
    return 0;
}

void owner_map_close(struct owner_map *m)
{
    intern_close(&m->names);
    free(m->entries);
    free(m->sources);
    free(m->source_of);
    *m = (struct owner_map){0};
}

/* ---- entries ---- */

static struct troupe_bytes name_of(const struct owner_map *m, const struct owner_map_entry *e)
{
    return e->name == INTERN_NONE ? (struct troupe_bytes){0} : intern_bytes(&m->names, e->name);
}

struct owner owner_map_get(const struct owner_map *m, uint32_t pid)
{
    INVARIANT(pid < m->partitions);
    const struct owner_map_entry *e = &m->entries[pid];
    return (struct owner){.name = name_of(m, e), .epoch = e->epoch};
}

static int compare(struct troupe_bytes a, struct troupe_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* As the protocol has it. */
static uint64_t record_hash(uint32_t pid, struct troupe_bytes name, uint64_t epoch)
{
    uint8_t bytes[4 + 8 + OWNER_MAP_NAME_BYTES_MAX];
    uint32_t pid_le = htole32(pid);
    uint64_t epoch_le = htole64(epoch);
    INVARIANT(name.len <= OWNER_MAP_NAME_BYTES_MAX);
    memcpy(bytes, &pid_le, 4);
    memcpy(bytes + 4, &epoch_le, 8);
    if (name.len != 0)
        memcpy(bytes + 12, name.data, name.len);
    return XXH3_64bits(bytes, 12 + name.len);
}

/* An entry of which nothing has been heard counts for nothing. */
static uint64_t entry_hash(const struct owner_map *m, uint32_t pid)
{
    const struct owner_map_entry *e = &m->entries[pid];
    return owner_map__is_known(e) ? record_hash(pid, name_of(m, e), e->epoch) : 0;
}

/* How the record compares with what is there. */
static int order(const struct owner_map *m, uint32_t pid, struct troupe_bytes name, uint64_t epoch)
{
    const struct owner_map_entry *e = &m->entries[pid];
    return epoch != e->epoch ? (epoch > e->epoch ? 1 : -1) : compare(name, name_of(m, e));
}

/* In the place of what is there. False: there is no room for its name. */
static bool put(struct owner_map *m, uint32_t pid, struct troupe_bytes name, uint64_t epoch)
{
    struct owner_map_entry *e = &m->entries[pid];
    /* A name that is too long is not even hashed: a run of it may be thousands of records. */
    bool fits = name.len != 0 && name.len <= OWNER_MAP_NAME_BYTES_MAX;
    uint32_t number = fits ? intern_take(&m->names, name) : INTERN_NONE;
    if (name.len != 0 && number == INTERN_NONE) {
        m->refused++;
        return false;
    }
    uint64_t was = entry_hash(m, pid);
    if (e->name != INTERN_NONE)
        intern_drop(&m->names, e->name);
    e->name = number;
    e->epoch = epoch;
    uint64_t change = entry_hash(m, pid) - was;
    m->sums[pid >> m->chunk_bits] += change;
    m->sum += change;
    e->heard = m->now;
    return true;
}

bool owner_map__merge(struct owner_map *m, uint32_t pid, struct troupe_bytes name, uint64_t epoch)
{
    INVARIANT(pid < m->partitions);
    return order(m, pid, name, epoch) > 0 && put(m, pid, name, epoch);
}

/* Two records of the same hash cost no more than a look at the store. */
static bool is_refuted(const struct owner_map_entry *e, uint64_t hash)
{
    for (uint32_t i = 0; i < OWNER_MAP_REFUTED; i++) {
        if (e->refuted[i] != 0 && e->refuted[i] == (uint32_t)hash)
            return true;
    }
    return false;
}

static void refute(struct owner_map_entry *e, uint64_t hash)
{
    if (!is_refuted(e, hash))
        e->refuted[e->refuted_n++ % OWNER_MAP_REFUTED] = (uint32_t)hash;
}

bool owner_map__hear_of(struct owner_map *m, uint32_t pid, struct troupe_bytes name, uint64_t epoch)
{
    struct owner_map_entry *e = &m->entries[pid];
    int more = order(m, pid, name, epoch);
    if (more < 0 && owner_map__is_known(e) && m->now - e->heard >= OWNER_MAP_SETTLED_TICKS)
        m->doubts++;
    bool fits = name.len <= OWNER_MAP_NAME_BYTES_MAX;
    bool wrong =
        more > 0 && fits && e->refuted[0] != 0 && is_refuted(e, record_hash(pid, name, epoch));
    m->doubts += wrong;
    return more > 0 && !wrong && owner_map__merge(m, pid, name, epoch);
}

/* ---- the store's word ---- */

void owner_map_set_time(struct owner_map *m, uint32_t ticks)
{
    INVARIANT(ticks >= m->now);
    m->now = ticks;
}

uint32_t owner_map_heard(const struct owner_map *m, uint32_t pid)
{
    INVARIANT(pid < m->partitions);
    return m->entries[pid].heard;
}

void owner_map_hear(struct owner_map *m, uint32_t pid)
{
    INVARIANT(pid < m->partitions);
    m->entries[pid].heard = m->now;
}

bool owner_map_correct(struct owner_map *m, uint32_t pid, struct troupe_bytes owner, uint64_t epoch,
                       uint32_t asked)
{
    INVARIANT(pid < m->partitions && asked <= m->now);
    struct owner_map_entry *e = &m->entries[pid];
    uint64_t wrong = entry_hash(m, pid);
    if (order(m, pid, owner, epoch) >= 0)
        return false;
    if (e->heard >= asked || !put(m, pid, owner, epoch)) {
        m->doubts++; /* the next look tells */
        return false;
    }
    refute(e, wrong);
    owner_map__tell(m, pid);
    return true;
}

uint64_t owner_map_doubts(const struct owner_map *m)
{
    return m->doubts;
}

bool owner_map_set(struct owner_map *m, uint32_t pid, struct troupe_bytes owner, uint64_t epoch)
{
    INVARIANT(pid < m->partitions);
    m->entries[pid].heard = m->now;
    m->doubts += order(m, pid, owner, epoch) < 0; /* it should be the latest word */
    if (!owner_map__merge(m, pid, owner, epoch))
        return false;
    owner_map__tell(m, pid);
    return true;
}

uint64_t owner_map_hash(const struct owner_map *m)
{
    return m->sum == 0 ? 1 : m->sum;
}

uint64_t owner_map_refused(const struct owner_map *m)
{
    return m->refused;
}

/* ---- changes ---- */

void owner_map__note_change(struct owner_map *m, uint32_t pid)
{
    struct owner_map_entry *e = &m->entries[pid];
    if ((e->flags & OWNER_MAP_CHANGED) != 0)
        return;
    e->flags |= OWNER_MAP_CHANGED;
    e->change_next = OWNER_MAP_NONE;
    if (m->changes.tail == OWNER_MAP_NONE)
        m->changes.head = pid;
    else
        m->entries[m->changes.tail].change_next = pid;
    m->changes.tail = pid;
    m->changes.n++;
}

uint32_t owner_map_next_change(struct owner_map *m)
{
    uint32_t pid = m->changes.head;
    if (pid == OWNER_MAP_NONE)
        return pid;
    struct owner_map_entry *e = &m->entries[pid];
    INVARIANT((e->flags & OWNER_MAP_CHANGED) != 0 && m->changes.n > 0);
    e->flags &= (uint8_t)~OWNER_MAP_CHANGED;
    m->changes.head = e->change_next;
    if (m->changes.head == OWNER_MAP_NONE)
        m->changes.tail = OWNER_MAP_NONE;
    m->changes.n--;
    return pid;
}
