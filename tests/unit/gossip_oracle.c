/* See gossip_oracle.h. The limits are written down here once more, on purpose: on protobuf-c's
 * structs, by other code than the codec's. */
#include "tests/unit/gossip_oracle.h"

#include <stdlib.h>

#include "gossip.pb-c.h"
#include "proto/wire.h"
#include "troupe/error.h"

typedef Troupe__Gossip__Frame their_frame;
typedef Troupe__Gossip__Record their_record;

static bool same(struct troupe_bytes ours, ProtobufCBinaryData theirs)
{
    return troupe_bytes_equal(ours, troupe_bytes(theirs.data, theirs.len));
}

/* protobuf-c's structs are not const, but packing only reads. */
static ProtobufCBinaryData data_of(struct troupe_bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.data};
}

/* ---- encoding ---- */

static their_record *to_record(const struct gossip_record *from, their_record *to)
{
    troupe__gossip__record__init(to);
    to->name = data_of(from->name);
    to->generation = from->generation;
    to->incarnation = from->incarnation;
    to->state = (Troupe__Gossip__State)from->state;
    to->suspecter = data_of(from->suspecter);
    to->meta = data_of(from->meta);
    return to;
}

static void to_frame(const struct gossip_frame *from, their_frame *to)
{
    troupe__gossip__frame__init(to);
    to->uid = data_of(troupe_bytes(from->uid, sizeof from->uid));
    to->type = (Troupe__Gossip__Type)from->type;
    to->from = data_of(from->from);
    to->from_generation = from->from_generation;
    to->seq = from->seq;
    to->target = data_of(from->target);
    to->members_hash = from->members_hash;
    to->owners_hash = from->owners_hash;
    to->load = from->load;
    to->hot = from->hot;
    to->reply = from->reply;
    to->digest = data_of(from->digest);
    to->owners = data_of(from->owners);
}

/* A block of exactly the packed size: a byte too many is found by the sanitizer. */
static uint8_t *pack(const struct gossip_frame *frame, const struct gossip_record *records,
                     size_t *size)
{
    size_t n = frame->records_n;
    their_frame message;
    their_record *theirs = calloc(n + 1, sizeof *theirs);
    their_record **pointers = calloc(n + 1, sizeof *pointers);
    if (theirs == NULL || pointers == NULL)
        abort();
    to_frame(frame, &message);
    message.n_records = n;
    message.records = pointers;
    for (size_t i = 0; i < n; i++)
        pointers[i] = to_record(&records[i], &theirs[i]);
    *size = troupe__gossip__frame__get_packed_size(&message);
    uint8_t *out = malloc(*size);
    if (out == NULL)
        abort();
    troupe__gossip__frame__pack(&message, out);
    free(pointers);
    free(theirs);
    return out;
}

static bool encodes_to(const struct gossip_frame *frame, const struct gossip_record *records,
                       const uint8_t *expected, size_t size)
{
    uint8_t *ours = malloc(size);
    if (ours == NULL)
        abort();
    size_t used = gossip_encode_header(frame, ours, size);
    bool equal = used != 0;
    for (size_t i = 0; i < frame->records_n && equal; i++) {
        size_t len = gossip_encode_record(&records[i], ours + used, size - used);
        equal = len != 0;
        used += len;
    }
    equal = equal && used == size && memcmp(ours, expected, size) == 0;
    free(ours);
    return equal;
}

static bool same_frame(const struct gossip_frame *a, const struct gossip_frame *b)
{
    return memcmp(a->uid, b->uid, sizeof a->uid) == 0 && a->type == b->type &&
           troupe_bytes_equal(a->from, b->from) && a->from_generation == b->from_generation &&
           a->seq == b->seq && troupe_bytes_equal(a->target, b->target) &&
           a->members_hash == b->members_hash && a->owners_hash == b->owners_hash &&
           a->load == b->load && a->hot == b->hot && a->reply == b->reply &&
           troupe_bytes_equal(a->digest, b->digest) && troupe_bytes_equal(a->owners, b->owners) &&
           a->records_n == b->records_n;
}

static bool same_record(const struct gossip_record *a, const struct gossip_record *b)
{
    return troupe_bytes_equal(a->name, b->name) && a->generation == b->generation &&
           a->incarnation == b->incarnation && a->state == b->state &&
           troupe_bytes_equal(a->suspecter, b->suspecter) && troupe_bytes_equal(a->meta, b->meta);
}

static const char *check_back(const struct gossip_frame *frame, const struct gossip_record *records,
                              struct troupe_bytes bytes)
{
    static struct gossip_record back[GOSSIP_RECORDS_MAX];
    struct gossip_frame again;
    const char *why;
    if (gossip_decode(bytes, &again, back, &why) != 0)
        return "whether what was encoded is valid";
    if (!same_frame(frame, &again))
        return "the header that comes back";
    for (size_t i = 0; i < again.records_n; i++)
        if (!same_record(&records[i], &back[i]))
            return "a record that comes back";
    return NULL;
}

const char *gossip_oracle_encode(const struct gossip_frame *frame,
                                 const struct gossip_record *records)
{
    size_t size;
    uint8_t *packed = pack(frame, records, &size);
    const char *differs = encodes_to(frame, records, packed, size)
                              ? check_back(frame, records, troupe_bytes(packed, size))
                              : "the encoded bytes";
    free(packed);
    return differs;
}

/* ---- decoding ---- */

static bool is_sound_record(const their_record *record)
{
    return record->name.len >= 1 && record->name.len <= 63 && record->suspecter.len <= 63 &&
           record->meta.len <= 512 && (int)record->state >= TROUPE__GOSSIP__STATE__JOINING &&
           (int)record->state <= TROUPE__GOSSIP__STATE__LEFT;
}

static bool is_sound(const their_frame *frame)
{
    bool sound = frame->uid.len == 16 && (int)frame->type >= TROUPE__GOSSIP__TYPE__PING &&
                 (int)frame->type <= TROUPE__GOSSIP__TYPE__OWNERS && frame->from.len >= 1 &&
                 frame->from.len <= 63 && frame->target.len <= 63 &&
                 (frame->digest.len == 0 || frame->digest.len == 512) && frame->n_records <= 1024;
    for (size_t i = 0; i < frame->n_records && sound; i++)
        sound = is_sound_record(frame->records[i]);
    return sound;
}

/* protobuf-c reads a bool out of a field of any wire type; here, as with all other types, it has to
 * be a varint. */
static bool has_mistyped_bool(struct troupe_bytes bytes)
{
    struct wire_field field;
    for (struct wire_reader r = wire_reader(bytes); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            abort(); /* protobuf-c has found all fields */
        if ((field.tag >> 3 == 10 || field.tag >> 3 == 11) && (field.tag & 7) != WIRE_VARINT)
            return true;
    }
    return false;
}

/* A bool is 0 in its 64 bits, and has others in the tenth byte of its varint: false by the
 * specification of protobuf and here, true in protobuf-c. */
static bool has_overlong_bool(struct troupe_bytes bytes)
{
    struct wire_field field;
    for (struct wire_reader r = wire_reader(bytes); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            abort();
        if ((field.tag == WIRE_TAG(10, WIRE_VARINT) || field.tag == WIRE_TAG(11, WIRE_VARINT)) &&
            field.value == 0 && r.at[-1] != 0)
            return true;
    }
    return false;
}

static const char *compare_record(const struct gossip_record *ours, const their_record *theirs)
{
    if (!same(ours->name, theirs->name) || ours->generation != theirs->generation ||
        ours->incarnation != theirs->incarnation)
        return "who a record is about";
    if (ours->state != (int)theirs->state || !same(ours->suspecter, theirs->suspecter) ||
        !same(ours->meta, theirs->meta))
        return "what a record says";
    return NULL;
}

static const char *compare(struct troupe_bytes bytes, const struct gossip_frame *ours,
                           const struct gossip_record *records, const their_frame *theirs)
{
    if (!same(troupe_bytes(ours->uid, sizeof ours->uid), theirs->uid))
        return "the uid";
    if (ours->type != (int)theirs->type || ours->seq != theirs->seq ||
        !same(ours->target, theirs->target))
        return "the type, seq or target";
    if (!same(ours->from, theirs->from) || ours->from_generation != theirs->from_generation ||
        ours->load != theirs->load)
        return "the sender";
    if (ours->members_hash != theirs->members_hash || ours->owners_hash != theirs->owners_hash)
        return "the hashes";
    if ((ours->hot != theirs->hot || ours->reply != theirs->reply) && !has_overlong_bool(bytes))
        return "hot or reply";
    if (!same(ours->digest, theirs->digest) || !same(ours->owners, theirs->owners))
        return "the digest or the owners";
    if (ours->records_n != theirs->n_records)
        return "the number of records";
    const char *differs = NULL;
    for (size_t i = 0; i < ours->records_n && differs == NULL; i++)
        differs = compare_record(&records[i], theirs->records[i]);
    return differs;
}

const char *gossip_oracle(struct troupe_bytes bytes)
{
    static struct gossip_record records[GOSSIP_RECORDS_MAX];
    struct gossip_frame ours;
    const char *why = NULL, *differs = NULL;
    int rc = gossip_decode(bytes, &ours, records, &why);
    their_frame *theirs = troupe__gossip__frame__unpack(NULL, bytes.len, bytes.data);
    bool valid =
        theirs != NULL && bytes.len <= 16384 && is_sound(theirs) && !has_mistyped_bool(bytes);
    if (rc != 0 && (why == NULL || (rc != TROUPE_ELIMIT && rc != TROUPE_EMALFORMED)))
        differs = "the reason";
    else if ((rc == 0) != valid)
        differs = "whether it is valid";
    else if (rc == 0)
        differs = compare(bytes, &ours, records, theirs);
    if (rc == 0 && differs == NULL)
        differs = gossip_oracle_encode(&ours, records);
    if (theirs != NULL)
        troupe__gossip__frame__free_unpacked(theirs, NULL);
    return differs;
}
