/* Reads a payload of the owner map and merges it, record by record. A few bytes may stand for all
 * partitions, so what one payload may make us do is limited by its records, not by its size: each
 * partition once. See owner_map.h; the format is in docs/protocol.md. */
#include "cluster/owner_map_impl.h"
#include "troupe/error.h"

struct reading {
    struct owner_map *m;
    uint32_t records_left;
    const char **why;
};

struct run {
    uint32_t pid, n;
    struct owner_map_source *source;
};

static int fail(const struct reading *r, int code, const char *why)
{
    *r->why = why;
    return code;
}

static int read_source(struct reading *r, struct wire_reader *in, uint32_t *sources_n)
{
    struct troupe_bytes name;
    if (*sources_n == OWNER_MAP_SOURCES_MAX)
        return fail(r, TROUPE_ELIMIT, "owners: too many different owners in one field");
    if (!wire_read_bytes(in, &name))
        return fail(r, TROUPE_EMALFORMED, "owners: the name of an owner is cut short");
    r->m->sources[(*sources_n)++] = (struct owner_map_source){.name = name};
    return 0;
}

/* The partitions of a run; gap and more as they came. */
static int place_run(struct reading *r, uint64_t expected, uint64_t gap, uint64_t more,
                     struct run *run)
{
    uint64_t pid = expected + owner_map__unzigzag(gap);
    if (pid >= r->m->partitions || more > r->m->partitions - pid - 1)
        return fail(r, TROUPE_EMALFORMED, "owners: there is no such partition");
    run->pid = (uint32_t)pid;
    run->n = (uint32_t)more + 1;
    if (run->n > r->records_left)
        return fail(r, TROUPE_ELIMIT, "owners: more records than partitions");
    r->records_left -= run->n;
    return 0;
}

static int read_run(struct reading *r, struct wire_reader *in, uint64_t expected,
                    uint32_t *sources_n, struct run *run)
{
    uint64_t head, gap = 0, more = 0, epoch = 0;
    if (!wire_read_varint(in, WIRE_SHORT_BYTES_MAX, &head) ||
        ((head & OWNER_MAP_GAP) != 0 && !wire_read_varint(in, WIRE_SHORT_BYTES_MAX, &gap)) ||
        ((head & OWNER_MAP_MORE) != 0 && !wire_read_varint(in, WIRE_SHORT_BYTES_MAX, &more)))
        return fail(r, TROUPE_EMALFORMED, "owners: a record is cut short");
    more += (head & OWNER_MAP_MORE) != 0;
    int rc = place_run(r, expected, gap, more, run);
    uint64_t source = head >> OWNER_MAP_RUN_BITS;
    if (rc == 0 && source > *sources_n)
        rc = fail(r, TROUPE_EMALFORMED, "owners: a record of an owner that has not been named");
    if (rc == 0 && source == *sources_n)
        rc = read_source(r, in, sources_n);
    if (rc != 0)
        return rc;
    if ((head & OWNER_MAP_EPOCH) != 0 && !wire_read_varint(in, WIRE_VARINT_BYTES_MAX, &epoch))
        return fail(r, TROUPE_EMALFORMED, "owners: an epoch is cut short");
    run->source = &r->m->sources[source];
    run->source->epoch += owner_map__unzigzag(epoch);
    if (run->source->epoch > OWNER_MAP_EPOCH_MAX)
        return fail(r, TROUPE_EMALFORMED, "owners: an epoch that no store gives out");
    return 0;
}

static int read_records(struct reading *r, struct troupe_bytes records, bool is_news)
{
    struct wire_reader in = wire_reader(records);
    uint64_t expected = 0;
    uint32_t sources_n = 0;
    while (!wire_at_end(&in)) {
        struct run run;
        int rc = read_run(r, &in, expected, &sources_n, &run);
        if (rc != 0)
            return rc;
        for (uint32_t pid = run.pid; pid < run.pid + run.n; pid++) {
            if (!owner_map__hear_of(r->m, pid, run.source->name, run.source->epoch))
                continue;
            owner_map__note_change(r->m, pid);
            if (is_news)
                owner_map__tell(r->m, pid);
        }
        expected = (uint64_t)run.pid + run.n;
    }
    return 0;
}

static int read_bits(const struct reading *r, uint64_t bits, bool *is_ours)
{
    *is_ours = bits == (uint64_t)name_partition_bits(r->m->partitions);
    return *is_ours ? 0
                    : fail(r, TROUPE_EMALFORMED,
                           "owners: of a map with another number of "
                           "partitions");
}

/* The fields in their order; the digest is for later. */
static int read_fields(struct reading *r, struct wire_reader *in, struct troupe_bytes *digest,
                       bool *ask)
{
    bool is_ours = false;
    while (!wire_at_end(in)) {
        struct wire_field field = {0};
        int rc = 0;
        if (!wire_read_field(in, &field))
            return fail(r, TROUPE_EMALFORMED, "owners: not a message");
        if (field.tag == WIRE_TAG(OWNER_MAP_BITS, WIRE_VARINT))
            rc = read_bits(r, field.value, &is_ours);
        else if (!is_ours)
            rc = fail(r, TROUPE_EMALFORMED, "owners: the number of partitions is not told first");
        else if (field.tag == WIRE_TAG(OWNER_MAP_NEWS, WIRE_BYTES))
            rc = read_records(r, field.bytes, true);
        else if (field.tag == WIRE_TAG(OWNER_MAP_ROWS, WIRE_BYTES))
            rc = read_records(r, field.bytes, false);
        else if (field.tag == WIRE_TAG(OWNER_MAP_DIGEST, WIRE_BYTES))
            *digest = field.bytes;
        else if (field.tag == WIRE_TAG(OWNER_MAP_ASK, WIRE_VARINT))
            *ask = field.value != 0;
        else if (wire_is_known(field.tag, OWNER_MAP_FIELDS - 1))
            rc = fail(r, TROUPE_EMALFORMED, "owners: a field of the wrong type");
        if (rc != 0)
            return rc;
    }
    return is_ours ? 0 : fail(r, TROUPE_EMALFORMED, "owners: empty");
}

int owner_map_apply(struct owner_map *m, struct troupe_bytes payload, struct owner_map_diff *diff,
                    const char **why)
{
    struct reading r = {.m = m, .records_left = m->partitions, .why = why};
    struct wire_reader in = wire_reader(payload);
    struct troupe_bytes digest = {0};
    bool ask = false;
    *diff = (struct owner_map_diff){0};
    if (payload.len > GOSSIP_FRAME_BYTES_MAX)
        return fail(&r, TROUPE_ELIMIT, "owners: longer than a frame");
    int rc = read_fields(&r, &in, &digest, &ask);
    if (rc == 0)
        rc = owner_map__compare(m, digest, diff, why); /* with what has just been learnt */
    if (rc != 0)
        *diff = (struct owner_map_diff){0};
    diff->ask = diff->any && ask;
    return rc;
}
