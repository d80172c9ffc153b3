/* Comparing two owner maps. A digest has a hash for each chunk of partitions; who gets one answers
 * with all it has of the chunks that differ, and with its own hashes of these if it was asked, upon
 * which the first does the same without asking. So an exchange ends after three steps even between
 * maps that cannot become equal, for want of room for a name. See owner_map.h. */
#include <endian.h>

#include "cluster/owner_map_impl.h"
#include "troupe/error.h"

enum {
    ITEM_BYTES_MAX = 2 + 8, /* of a digest: which chunk, and its hash */
    TAIL_BYTES = 4 + 2,     /* tag and length of a digest, and the field ask */
};

_Static_assert(OWNER_MAP_CHUNKS_MAX < 1 << 14, "a varint of two bytes");
_Static_assert(2 + TAIL_BYTES + OWNER_MAP_CHUNKS_MAX * ITEM_BYTES_MAX + 128 <=
                   OWNER_MAP_PAYLOAD_BYTES_MIN,
               "any payload has room for a record besides a whole digest");

/* The hashes of some chunks, ascending. */
struct digest {
    uint8_t bytes[OWNER_MAP_CHUNKS_MAX * ITEM_BYTES_MAX];
    size_t len;
    uint32_t expected; /* the chunk after the last one */
};

static void digest_add(struct digest *d, const struct owner_map *m, uint32_t chunk)
{
    INVARIANT(chunk >= d->expected && chunk < m->chunks);
    uint8_t *at = wire_put_varint(d->bytes + d->len, chunk - d->expected);
    uint64_t le = htole64(m->sums[chunk]);
    memcpy(at, &le, 8);
    d->len = (size_t)(at + 8 - d->bytes);
    d->expected = chunk + 1;
}

static size_t digest_put(const struct digest *d, bool ask, uint8_t *out, size_t used)
{
    uint8_t *at = wire_put_bytes(out + used, OWNER_MAP_DIGEST, troupe_bytes(d->bytes, d->len));
    at = wire_put_uint(at, OWNER_MAP_ASK, ask);
    return (size_t)(at - out);
}

size_t owner_map_put_digest(const struct owner_map *m, uint8_t *out, size_t size)
{
    struct digest d = {.len = 0};
    size_t used = 0;
    INVARIANT(size >= OWNER_MAP_PAYLOAD_BYTES_MIN);
    owner_map__write_bits(m, out, &used);
    for (uint32_t chunk = 0; chunk < m->chunks; chunk++)
        digest_add(&d, m, chunk);
    return digest_put(&d, true, out, used);
}

int owner_map__compare(const struct owner_map *m, struct troupe_bytes digest,
                       struct owner_map_diff *diff, const char **why)
{
    struct wire_reader in = wire_reader(digest);
    uint64_t chunk = 0, gap, hash;
    for (; !wire_at_end(&in); chunk++) {
        if (!wire_read_varint(&in, WIRE_SHORT_BYTES_MAX, &gap) || !wire_read_fixed(&in, 8, &hash)) {
            *why = "owners: the digest is cut short";
            return TROUPE_EMALFORMED;
        }
        chunk += gap;
        if (chunk >= m->chunks) {
            *why = "owners: a digest of more chunks than there are";
            return TROUPE_EMALFORMED;
        }
        if (hash == m->sums[chunk])
            continue;
        diff->chunks[chunk / 64] |= UINT64_C(1) << chunk % 64;
        diff->any = true;
    }
    return 0;
}

/* ---- the answer ---- */

static bool differs(const struct owner_map_diff *diff, uint32_t chunk)
{
    return (diff->chunks[chunk / 64] >> chunk % 64 & 1) != 0;
}

/* Entries from *at to the end of its chunk. False: no room for the one at *at. */
static bool put_chunk(struct owner_map_writer *w, uint32_t *at, size_t kept)
{
    const struct owner_map *m = w->m;
    uint32_t end = ((*at >> m->chunk_bits) + 1) << m->chunk_bits;
    for (; *at < end; (*at)++) {
        if (owner_map__is_known(&m->entries[*at]) && !owner_map__put(w, *at, kept))
            return false;
    }
    return true;
}

size_t owner_map_put_answer(struct owner_map *m, const struct owner_map_diff *diff, uint32_t *at,
                            uint8_t *out, size_t size)
{
    struct owner_map_writer w;
    struct digest d = {.len = 0};
    owner_map__begin(&w, m, out, size);
    while (*at < m->partitions) {
        uint32_t chunk = *at >> m->chunk_bits;
        if (!differs(diff, chunk)) {
            *at = (chunk + 1) << m->chunk_bits;
            continue;
        }
        /* Asked here, too: a chunk that puts no row, or goes on with a run, has a hash all the
         * same.
         */
        size_t kept = TAIL_BYTES + d.len + ITEM_BYTES_MAX;
        if (!owner_map__has_room(&w, kept) || !put_chunk(&w, at, kept))
            break;
        /* In the frame in which the chunk ends: the other side compares when it has all of it. */
        if (diff->ask)
            digest_add(&d, m, chunk);
    }
    bool any = owner_map__end(&w, OWNER_MAP_ROWS);
    INVARIANT(w.used + TAIL_BYTES + d.len <= size);
    if (d.len != 0)
        w.used = digest_put(&d, false, out, w.used);
    return any || d.len != 0 ? w.used : 0;
}
