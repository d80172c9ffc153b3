/* Gossip: see gossip.h, and gossip.proto for the numbers. One pass reads the fields, and what they
 * may hold is checked behind it, as the last of a field that is there twice is the one that counts.
 * A simulation of ten thousand nodes decodes tens of millions of frames: what is not in a frame
 * costs nothing. */
#include "proto/gossip.h"

#include "base/invariant.h"
#include "proto/wire.h"
#include "troupe/error.h"

enum { RECORD_FIELDS = 6, FRAME_FIELDS = 14 };
enum { DIGEST_BYTES = GOSSIP_BUCKETS * 4 };

_Static_assert(GOSSIP_FRAME_BYTES_MAX == 16 << 10 && GOSSIP_RECORDS_MAX == 1024 &&
                   GOSSIP_NAME_BYTES_MAX == 63 && GOSSIP_META_BYTES_MAX == 512 &&
                   GOSSIP_UID_BYTES == 16 && DIGEST_BYTES == 512,
               "the texts below name them");

/* ---- decode ---- */

static int refuse(int rc, const char *text, const char **why)
{
    *why = text;
    return rc;
}

/* Numbers that are none become 0, which none is either. */
static uint8_t to_enum(uint64_t value, uint8_t end)
{
    uint32_t number = (uint32_t)value; /* as protobuf reads an enum */
    return number < end ? (uint8_t)number : 0;
}

/* Into a zeroed record. */
static bool read_record(struct troupe_bytes part, struct gossip_record *record)
{
    struct wire_field field;
    for (struct wire_reader r = wire_reader(part); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return false;
        switch (field.tag) {
        case WIRE_TAG(1, WIRE_BYTES):
            record->name = field.bytes;
            break;
        case WIRE_TAG(2, WIRE_VARINT):
            record->generation = field.value;
            break;
        case WIRE_TAG(3, WIRE_VARINT):
            record->incarnation = field.value;
            break;
        case WIRE_TAG(4, WIRE_VARINT):
            record->state = to_enum(field.value, GOSSIP_STATES);
            break;
        case WIRE_TAG(5, WIRE_BYTES):
            record->suspecter = field.bytes;
            break;
        case WIRE_TAG(6, WIRE_BYTES):
            record->meta = field.bytes;
            break;
        default:
            if (wire_is_known(field.tag, RECORD_FIELDS))
                return false;
        }
    }
    return true;
}

static int add_record(struct troupe_bytes part, struct gossip_record *records, size_t *n,
                      const char **why)
{
    if (*n == GOSSIP_RECORDS_MAX)
        return refuse(TROUPE_ELIMIT, "the frame has more than 1,024 records", why);
    struct gossip_record *record = &records[*n];
    *record = (struct gossip_record){.state = 0};
    if (!read_record(part, record))
        return refuse(TROUPE_EMALFORMED, "a record is not a troupe.gossip.Record", why);
    if (record->name.len == 0)
        return refuse(TROUPE_EMALFORMED, "a record names no member", why);
    if (record->state == 0)
        return refuse(TROUPE_EMALFORMED, "a record has a state that is none", why);
    if (record->name.len > GOSSIP_NAME_BYTES_MAX || record->suspecter.len > GOSSIP_NAME_BYTES_MAX)
        return refuse(TROUPE_ELIMIT, "a record has a name of more than 63 bytes", why);
    if (record->meta.len > GOSSIP_META_BYTES_MAX)
        return refuse(TROUPE_ELIMIT, "a record has more than 512 bytes of metadata", why);
    ++*n;
    return 0;
}

/* One field of a frame that is neither the uid nor a record; false when its wire type is wrong. */
static bool read_field(const struct wire_field *field, struct gossip_frame *frame)
{
    switch (field->tag) {
    case WIRE_TAG(2, WIRE_VARINT):
        frame->type = to_enum(field->value, GOSSIP_TYPES);
        return true;
    case WIRE_TAG(3, WIRE_BYTES):
        frame->from = field->bytes;
        return true;
    case WIRE_TAG(4, WIRE_VARINT):
        frame->from_generation = field->value;
        return true;
    case WIRE_TAG(5, WIRE_VARINT):
        frame->seq = field->value;
        return true;
    case WIRE_TAG(6, WIRE_BYTES):
        frame->target = field->bytes;
        return true;
    case WIRE_TAG(7, WIRE_FIXED64):
        frame->members_hash = field->value;
        return true;
    case WIRE_TAG(8, WIRE_FIXED64):
        frame->owners_hash = field->value;
        return true;
    case WIRE_TAG(9, WIRE_VARINT):
        frame->load = (uint32_t)field->value;
        return true;
    case WIRE_TAG(10, WIRE_VARINT):
        frame->hot = field->value != 0;
        return true;
    case WIRE_TAG(11, WIRE_VARINT):
        frame->reply = field->value != 0;
        return true;
    case WIRE_TAG(12, WIRE_BYTES):
        frame->digest = field->bytes;
        return true;
    case WIRE_TAG(13, WIRE_BYTES):
        frame->owners = field->bytes;
        return true;
    default:
        return !wire_is_known(field->tag, FRAME_FIELDS);
    }
}

static int check_header(const struct gossip_frame *frame, struct troupe_bytes uid, const char **why)
{
    if (uid.len != GOSSIP_UID_BYTES)
        return refuse(TROUPE_EMALFORMED, "the cluster's uid has not 16 bytes", why);
    if (frame->type == 0)
        return refuse(TROUPE_EMALFORMED, "the frame has a type that is none", why);
    if (frame->from.len == 0)
        return refuse(TROUPE_EMALFORMED, "the frame names no sender", why);
    if (frame->from.len > GOSSIP_NAME_BYTES_MAX || frame->target.len > GOSSIP_NAME_BYTES_MAX)
        return refuse(TROUPE_ELIMIT, "the frame has a name of more than 63 bytes", why);
    if (frame->digest.len != 0 && frame->digest.len != DIGEST_BYTES)
        return refuse(TROUPE_EMALFORMED, "the digest has not 512 bytes", why);
    return 0;
}

int gossip_decode(struct troupe_bytes bytes, struct gossip_frame *frame,
                  struct gossip_record records[GOSSIP_RECORDS_MAX], const char **why)
{
    struct troupe_bytes uid = {.len = 0};
    struct wire_field field;
    if (bytes.len > GOSSIP_FRAME_BYTES_MAX)
        return refuse(TROUPE_ELIMIT, "the frame is larger than 16 KiB", why);
    *frame = (struct gossip_frame){.type = 0};
    for (struct wire_reader r = wire_reader(bytes); !wire_at_end(&r);) {
        int rc = 0;
        if (!wire_read_field(&r, &field))
            return refuse(TROUPE_EMALFORMED, "the frame is not protobuf, or cut short", why);
        if (field.tag == WIRE_TAG(14, WIRE_BYTES))
            rc = add_record(field.bytes, records, &frame->records_n, why);
        else if (field.tag == WIRE_TAG(1, WIRE_BYTES))
            uid = field.bytes;
        else if (!read_field(&field, frame))
            rc = refuse(TROUPE_EMALFORMED, "the frame is not a troupe.gossip.Frame", why);
        if (rc != 0)
            return rc;
    }
    INVARIANT(frame->records_n <= GOSSIP_RECORDS_MAX);
    int rc = check_header(frame, uid, why);
    if (rc == 0 && uid.data != NULL)
        memcpy(frame->uid, uid.data, sizeof frame->uid);
    return rc;
}

/* ---- encode ---- */

static size_t header_size(const struct gossip_frame *frame)
{
    return wire_part_size(GOSSIP_UID_BYTES) + wire_uint_size(frame->type) +
           wire_bytes_size(frame->from) + wire_uint_size(frame->from_generation) +
           wire_uint_size(frame->seq) + wire_bytes_size(frame->target) +
           wire_fixed64_size(frame->members_hash) + wire_fixed64_size(frame->owners_hash) +
           wire_uint_size(frame->load) + wire_uint_size(frame->hot) + wire_uint_size(frame->reply) +
           wire_bytes_size(frame->digest) + wire_bytes_size(frame->owners);
}

size_t gossip_encode_header(const struct gossip_frame *frame, uint8_t *out, size_t size)
{
    INVARIANT(frame->type != 0 && frame->type < GOSSIP_TYPES);
    INVARIANT(frame->from.len != 0 && frame->from.len <= GOSSIP_NAME_BYTES_MAX);
    INVARIANT(frame->target.len <= GOSSIP_NAME_BYTES_MAX);
    INVARIANT(frame->digest.len == 0 || frame->digest.len == DIGEST_BYTES);
    size_t needed = header_size(frame);
    if (needed > size)
        return 0;
    uint8_t *at = wire_put_bytes(out, 1, troupe_bytes(frame->uid, sizeof frame->uid));
    at = wire_put_uint(at, 2, frame->type);
    at = wire_put_bytes(at, 3, frame->from);
    at = wire_put_uint(at, 4, frame->from_generation);
    at = wire_put_uint(at, 5, frame->seq);
    at = wire_put_bytes(at, 6, frame->target);
    at = wire_put_fixed64(at, 7, frame->members_hash);
    at = wire_put_fixed64(at, 8, frame->owners_hash);
    at = wire_put_uint(at, 9, frame->load);
    at = wire_put_uint(at, 10, frame->hot);
    at = wire_put_uint(at, 11, frame->reply);
    at = wire_put_bytes(at, 12, frame->digest);
    at = wire_put_bytes(at, 13, frame->owners);
    INVARIANT((size_t)(at - out) == needed);
    return needed;
}

static size_t record_size(const struct gossip_record *record)
{
    return wire_bytes_size(record->name) + wire_uint_size(record->generation) +
           wire_uint_size(record->incarnation) + wire_uint_size(record->state) +
           wire_bytes_size(record->suspecter) + wire_bytes_size(record->meta);
}

size_t gossip_encode_record(const struct gossip_record *record, uint8_t *out, size_t size)
{
    INVARIANT(record->name.len != 0 && record->name.len <= GOSSIP_NAME_BYTES_MAX);
    INVARIANT(record->state != 0 && record->state < GOSSIP_STATES);
    INVARIANT(record->suspecter.len <= GOSSIP_NAME_BYTES_MAX);
    INVARIANT(record->meta.len <= GOSSIP_META_BYTES_MAX);
    size_t body = record_size(record), needed = wire_part_size(body);
    if (needed > size)
        return 0;
    uint8_t *at = wire_put_part(out, 14, body);
    at = wire_put_bytes(at, 1, record->name);
    at = wire_put_uint(at, 2, record->generation);
    at = wire_put_uint(at, 3, record->incarnation);
    at = wire_put_uint(at, 4, record->state);
    at = wire_put_bytes(at, 5, record->suspecter);
    at = wire_put_bytes(at, 6, record->meta);
    INVARIANT((size_t)(at - out) == needed);
    return needed;
}
