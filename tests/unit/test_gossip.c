/* The gossip codec: the fields and limits that gossip.h promises. Random frames are in
 * test_gossip_random.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/gossip.h"
#include "proto/wire.h"
#include "tests/unit/gossip_oracle.h"
#include "troupe/error.h"

#define BYTES(literal) troupe_bytes(literal, sizeof(literal) - 1)
#define UID            "0123456789abcdef"

enum { DIGEST_BYTES = GOSSIP_BUCKETS * 4 };

/* What names and blobs are made of. */
static uint8_t pool[GOSSIP_FRAME_BYTES_MAX];
static uint8_t buffer[GOSSIP_FRAME_BYTES_MAX + 64];
static struct gossip_record records[GOSSIP_RECORDS_MAX];

static int fill_pool(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pool; i++)
        pool[i] = (uint8_t)(i * 7 + i / 256);
    return 0;
}

static struct troupe_bytes some(size_t len)
{
    return troupe_bytes(pool, len);
}

/* A header in which every field is there. */
static struct gossip_frame full_frame(void)
{
    return (struct gossip_frame){.uid = UID,
                                 .type = GOSSIP_RECORDS,
                                 .from = some(GOSSIP_NAME_BYTES_MAX),
                                 .from_generation = UINT64_MAX,
                                 .seq = UINT64_MAX,
                                 .target = some(GOSSIP_NAME_BYTES_MAX),
                                 .members_hash = UINT64_MAX,
                                 .owners_hash = 1,
                                 .load = UINT32_MAX,
                                 .hot = true,
                                 .reply = true,
                                 .digest = some(DIGEST_BYTES),
                                 .owners = some(1)};
}

static struct gossip_record full_record(void)
{
    return (struct gossip_record){.name = some(GOSSIP_NAME_BYTES_MAX),
                                  .generation = UINT64_MAX,
                                  .incarnation = UINT64_MAX,
                                  .state = GOSSIP_LEFT,
                                  .suspecter = some(GOSSIP_NAME_BYTES_MAX),
                                  .meta = some(GOSSIP_META_BYTES_MAX)};
}

static struct gossip_frame least_frame(void)
{
    return (struct gossip_frame){.uid = {0}, .type = GOSSIP_PING, .from = BYTES("a")};
}

static struct troupe_bytes encode(const struct gossip_frame *frame,
                                  const struct gossip_record *from, size_t n)
{
    size_t used = gossip_encode_header(frame, buffer, sizeof buffer);
    assert_int_not_equal(used, 0);
    for (size_t i = 0; i < n; i++) {
        size_t len = gossip_encode_record(&from[i], buffer + used, sizeof buffer - used);
        assert_int_not_equal(len, 0);
        used += len;
    }
    return troupe_bytes(buffer, used);
}

static void assert_agree(const char *differs)
{
    if (differs != NULL)
        fail_msg("the codec and protobuf-c differ in %s", differs);
}

/* Decodes a copy of exactly this size, and holds it against protobuf-c as well. */
static int decode(struct troupe_bytes bytes, struct gossip_frame *frame)
{
    uint8_t *copy = malloc(bytes.len == 0 ? 1 : bytes.len);
    const char *why = NULL;
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.len);
    int rc = gossip_decode(troupe_bytes(copy, bytes.len), frame, records, &why);
    assert_true((rc == 0) == (why == NULL));
    assert_agree(gossip_oracle(troupe_bytes(copy, bytes.len)));
    free(copy);
    return rc;
}

/* ---- what is promised ---- */

/* The bytes of docs/protocol.md. */
static void a_ping_is_these_bytes(void **state)
{
    (void)state;
    struct gossip_frame ping = {.uid = UID,
                                .type = GOSSIP_PING,
                                .from = BYTES("a"),
                                .from_generation = 1,
                                .seq = 300,
                                .target = BYTES("b"),
                                .members_hash = UINT64_C(0x0807060504030201)};
    struct gossip_record record = {.name = BYTES("c"),
                                   .generation = 1,
                                   .incarnation = 2,
                                   .state = GOSSIP_SUSPECT,
                                   .suspecter = BYTES("a")};
    struct troupe_bytes expected = BYTES("\x0a\x10" UID "\x10\x01"
                                         "\x1a\x01"
                                         "a"
                                         "\x20\x01"
                                         "\x28\xac\x02"
                                         "\x32\x01"
                                         "b"
                                         "\x39\x01\x02\x03\x04\x05\x06\x07\x08"
                                         "\x72\x0c"
                                         "\x0a\x01"
                                         "c"
                                         "\x10\x01\x18\x02\x20\x04"
                                         "\x2a\x01"
                                         "a");
    struct troupe_bytes actual = encode(&ping, &record, 1);
    assert_int_equal(actual.len, expected.len);
    assert_memory_equal(actual.data, expected.data, expected.len);
}

static void the_edges_come_back(void **state)
{
    (void)state;
    struct gossip_frame frame = least_frame();
    assert_agree(gossip_oracle_encode(&frame, NULL));
    frame = full_frame();
    assert_agree(gossip_oracle_encode(&frame, NULL));
    frame.records_n = 2;
    struct gossip_record both[] = {full_record(), {.name = BYTES("\0"), .state = GOSSIP_JOINING}};
    assert_agree(gossip_oracle_encode(&frame, both));
    for (uint8_t type = 1; type < GOSSIP_TYPES; type++) {
        frame.type = type;
        assert_agree(gossip_oracle_encode(&frame, both));
    }
    for (uint8_t s = 1; s < GOSSIP_STATES; s++) {
        both[1].state = s;
        assert_agree(gossip_oracle_encode(&frame, both));
    }
    for (unsigned bits = 0; bits < 64; bits++) {
        frame.seq = both[0].generation = UINT64_C(1) << bits;
        frame.from_generation = both[0].incarnation = frame.seq - 1;
        frame.members_hash = frame.seq;
        frame.load = (uint32_t)(frame.seq - 1);
        assert_agree(gossip_oracle_encode(&frame, both));
    }
}

static void what_is_decoded_points_into_the_frame(void **state)
{
    (void)state;
    struct gossip_frame frame = full_frame(), back;
    struct gossip_record record = full_record();
    struct troupe_bytes bytes = encode(&frame, &record, 1);
    const char *why;
    assert_int_equal(gossip_decode(bytes, &back, records, &why), 0);
    assert_int_equal(back.records_n, 1);
    const struct troupe_bytes parts[] = {back.from,      back.target,     back.digest,
                                         back.owners,    records[0].name, records[0].suspecter,
                                         records[0].meta};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_in_range((uintptr_t)parts[i].data, (uintptr_t)bytes.data,
                        (uintptr_t)bytes.data + bytes.len - parts[i].len);
}

static void no_room_is_no_byte(void **state)
{
    (void)state;
    struct gossip_frame frame = full_frame();
    struct gossip_record record = full_record();
    size_t header_size = gossip_encode_header(&frame, buffer, sizeof buffer);
    size_t record_size = gossip_encode_record(&record, buffer, sizeof buffer);
    memset(buffer, 0xEE, sizeof buffer);
    for (size_t size = 0; size < header_size; size++)
        assert_int_equal(gossip_encode_header(&frame, buffer, size), 0);
    for (size_t size = 0; size < record_size; size++)
        assert_int_equal(gossip_encode_record(&record, buffer, size), 0);
    for (size_t i = 0; i < sizeof buffer; i++)
        assert_int_equal(buffer[i], 0xEE);
    assert_int_equal(gossip_encode_record(&record, buffer, record_size), record_size);
    assert_int_equal(buffer[record_size], 0xEE);
    assert_int_equal(gossip_encode_header(&frame, buffer, header_size), header_size);
    assert_int_equal(buffer[header_size], 0xEE);
}

/* ---- what is refused ---- */

/* A field of value bytes, or of that number. */
struct edge {
    unsigned number;
    enum wire_type type;
    uint64_t value;
    int rc;
};

static size_t put_edge(const struct edge *edge, uint8_t *out)
{
    uint8_t *at = wire_put_varint(out, WIRE_TAG(edge->number, edge->type));
    at = wire_put_varint(at, edge->value);
    if (edge->type == WIRE_BYTES) {
        memcpy(at, pool, edge->value);
        at += edge->value;
    }
    return (size_t)(at - out);
}

/* The field comes behind a good one of the same number: it is the last that counts. */
static void fields_of_the_header_have_limits(void **state)
{
    (void)state;
    static const struct edge edges[] = {
        {1, WIRE_BYTES, 0, TROUPE_EMALFORMED},
        {1, WIRE_BYTES, 15, TROUPE_EMALFORMED},
        {1, WIRE_BYTES, 16, 0},
        {1, WIRE_BYTES, 17, TROUPE_EMALFORMED},
        {2, WIRE_VARINT, 0, TROUPE_EMALFORMED},
        {2, WIRE_VARINT, 1, 0},
        {2, WIRE_VARINT, GOSSIP_TYPES - 1, 0},
        {2, WIRE_VARINT, GOSSIP_TYPES, TROUPE_EMALFORMED},
        {2, WIRE_VARINT, 256 + GOSSIP_PING, TROUPE_EMALFORMED},
        {2, WIRE_VARINT, UINT64_MAX, TROUPE_EMALFORMED},
        {3, WIRE_BYTES, 0, TROUPE_EMALFORMED},
        {3, WIRE_BYTES, 1, 0},
        {3, WIRE_BYTES, 63, 0},
        {3, WIRE_BYTES, 64, TROUPE_ELIMIT},
        {6, WIRE_BYTES, 0, 0},
        {6, WIRE_BYTES, 63, 0},
        {6, WIRE_BYTES, 64, TROUPE_ELIMIT},
        {12, WIRE_BYTES, 0, 0},
        {12, WIRE_BYTES, 511, TROUPE_EMALFORMED},
        {12, WIRE_BYTES, 512, 0},
        {12, WIRE_BYTES, 513, TROUPE_EMALFORMED},
        {13, WIRE_BYTES, 0, 0},
        {13, WIRE_BYTES, 8000, 0},
    };
    struct gossip_frame frame = full_frame(), back;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        struct troupe_bytes bytes = encode(&frame, NULL, 0);
        bytes.len += put_edge(&edges[i], buffer + bytes.len);
        assert_int_equal(decode(bytes, &back), edges[i].rc);
    }
}

/* A good frame with one record: these fields behind each other. */
static struct troupe_bytes frame_with_record(struct troupe_bytes fields)
{
    struct gossip_frame frame = least_frame();
    struct troupe_bytes bytes = encode(&frame, NULL, 0);
    uint8_t *at = wire_put_part(buffer + bytes.len, 14, fields.len);
    memcpy(at, fields.data, fields.len);
    bytes.len = (size_t)(at + fields.len - buffer);
    return bytes;
}

static void fields_of_a_record_have_limits(void **state)
{
    (void)state;
    static const struct edge edges[] = {
        {1, WIRE_BYTES, 0, TROUPE_EMALFORMED},
        {1, WIRE_BYTES, 1, 0},
        {1, WIRE_BYTES, 63, 0},
        {1, WIRE_BYTES, 64, TROUPE_ELIMIT},
        {4, WIRE_VARINT, 0, TROUPE_EMALFORMED},
        {4, WIRE_VARINT, 1, 0},
        {4, WIRE_VARINT, GOSSIP_STATES - 1, 0},
        {4, WIRE_VARINT, GOSSIP_STATES, TROUPE_EMALFORMED},
        {4, WIRE_VARINT, 256 + GOSSIP_ACTIVE, TROUPE_EMALFORMED},
        {4, WIRE_VARINT, UINT64_MAX, TROUPE_EMALFORMED},
        {5, WIRE_BYTES, 0, 0},
        {5, WIRE_BYTES, 63, 0},
        {5, WIRE_BYTES, 64, TROUPE_ELIMIT},
        {6, WIRE_BYTES, 0, 0},
        {6, WIRE_BYTES, 512, 0},
        {6, WIRE_BYTES, 513, TROUPE_ELIMIT},
    };
    struct gossip_frame back;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        uint8_t fields[1024] = "\x0a\x01x\x20\x02";
        size_t len = 5 + put_edge(&edges[i], fields + 5);
        assert_int_equal(decode(frame_with_record(troupe_bytes(fields, len)), &back), edges[i].rc);
    }
    assert_int_equal(decode(frame_with_record(BYTES("")), &back), TROUPE_EMALFORMED);
}

static void records_are_limited(void **state)
{
    (void)state;
    struct gossip_frame frame = least_frame(), back;
    struct gossip_record record = {.name = BYTES("n"), .state = GOSSIP_ACTIVE};
    struct troupe_bytes bytes = encode(&frame, NULL, 0);
    for (size_t n = 0; n <= GOSSIP_RECORDS_MAX; n++) {
        if (n == GOSSIP_RECORDS_MAX) {
            assert_int_equal(decode(bytes, &back), 0);
            assert_int_equal(back.records_n, GOSSIP_RECORDS_MAX);
        }
        bytes.len += gossip_encode_record(&record, buffer + bytes.len, sizeof buffer - bytes.len);
    }
    assert_int_equal(decode(bytes, &back), TROUPE_ELIMIT);
}

static void frames_are_limited(void **state)
{
    (void)state;
    struct gossip_frame frame = least_frame(), back;
    size_t head = encode(&frame, NULL, 0).len + 1 + 2; /* tag and length of owners */
    frame.owners = some(GOSSIP_FRAME_BYTES_MAX - head);
    struct troupe_bytes bytes = encode(&frame, NULL, 0);
    assert_int_equal(bytes.len, GOSSIP_FRAME_BYTES_MAX);
    assert_int_equal(decode(bytes, &back), 0);
    assert_int_equal(back.owners.len, frame.owners.len);
    frame.owners.len++;
    bytes = encode(&frame, NULL, 0);
    assert_int_equal(bytes.len, GOSSIP_FRAME_BYTES_MAX + 1);
    assert_int_equal(decode(bytes, &back), TROUPE_ELIMIT);
}

static void what_is_no_frame_is_refused(void **state)
{
    (void)state;
    const struct troupe_bytes cases[] = {
        BYTES(""),
        BYTES("\x0a\x10" UID),                             /* nobody's, of no type */
        BYTES("\x0a\x10" UID "\x10\x01"),                  /* no sender */
        BYTES("\x0a\x10" UID "\x1a\x01s"),                 /* no type */
        BYTES("\x10\x01\x1a\x01s"),                        /* no uid */
        BYTES("\x0a\x10" UID "\x10\x01\x1a\x01s\x00\x00"), /* field 0 */
        BYTES("\x0a\x10" UID "\x10\x01\x1a\x01s\x7b\x7c"), /* a group */
        BYTES("\x0a\x10" UID "\x10\x01\x1a\x01s\x72\x80\x80\x80\x80\x80\x00"), /* overlong */
        BYTES("\x0a\x10" UID "\x10\x01\x1a\xff\xff\xff\xff\x0f"),              /* 4 GB */
        BYTES("\x0a\x10" UID "\x10\x01\x1a\x01s\x72\x03\x0a\x02m"), /* beyond its record */
        BYTES("GET / HTTP/1.1\r\n\r\n"),
    };
    struct gossip_frame back;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(decode(cases[i], &back), TROUPE_EMALFORMED);
}

/* A known number with every wire type but its own; 3, 4, 6 and 7 are nobody's. */
static void wrong_wire_types_are_refused(void **state)
{
    (void)state;
    static const uint8_t of_frame[] = {2, 0, 2, 0, 0, 2, 1, 1, 0, 0, 0, 2, 2, 2};
    static const uint8_t of_record[] = {2, 0, 0, 0, 2, 2};
    static const uint8_t zeros[] = {0, 0, 0, 0, 0, 0, 0, 0};
    static const size_t sizes[] = {1, 8, 1, 0, 0, 4, 0, 0};
    struct gossip_frame frame = least_frame(), back;
    for (unsigned number = 1; number <= sizeof of_frame; number++) {
        for (unsigned type = 0; type < 8; type++) {
            struct troupe_bytes bytes = encode(&frame, NULL, 0);
            buffer[bytes.len++] = (uint8_t)WIRE_TAG(number, type);
            memcpy(buffer + bytes.len, zeros, sizes[type]);
            bytes.len += sizes[type];
            if (type != of_frame[number - 1])
                assert_int_equal(decode(bytes, &back), TROUPE_EMALFORMED);
        }
    }
    for (unsigned number = 1; number <= sizeof of_record; number++) {
        for (unsigned type = 0; type < 8; type++) {
            uint8_t fields[32] = "\x0a\x01x\x20\x02";
            fields[5] = (uint8_t)WIRE_TAG(number, type);
            if (type != of_record[number - 1])
                assert_int_equal(
                    decode(frame_with_record(troupe_bytes(fields, 6 + sizes[type])), &back),
                    TROUPE_EMALFORMED);
        }
    }
}

/* A frame ends where a field ends, with at least uid, type and sender, or it is refused. */
static void a_frame_cut_short_has_fewer_fields(void **state)
{
    (void)state;
    enum { HEADER_FIELDS = 13, NEEDED_FIELDS = 3, N = 3 };
    struct gossip_frame frame = full_frame(), back;
    struct gossip_record all[N] = {full_record(), full_record(), full_record()};
    struct troupe_bytes bytes = encode(&frame, all, N);
    uint8_t whole[sizeof buffer];
    size_t accepted = 0;
    memcpy(whole, bytes.data, bytes.len);
    for (size_t len = 0; len <= bytes.len; len++) {
        int rc = decode(troupe_bytes(whole, len), &back);
        assert_true(rc == 0 || rc == TROUPE_EMALFORMED);
        accepted += rc == 0;
        if (rc == 0 && accepted > HEADER_FIELDS - NEEDED_FIELDS + 1)
            assert_int_equal(back.records_n, accepted - (HEADER_FIELDS - NEEDED_FIELDS + 1));
    }
    assert_int_equal(accepted, HEADER_FIELDS - NEEDED_FIELDS + 1 + N);
}

/* ---- compatibility ---- */

static void fields_of_later_versions_are_skipped(void **state)
{
    (void)state;
    struct gossip_frame back;
    struct troupe_bytes bytes = BYTES("\x7a\x02xx" /* field 15, bytes */
                                      "\x0a\x10" UID "\x10\x05"
                                      "\x1a\x01s"                  /* from */
                                      "\xb9\x3e\1\2\3\4\5\6\7\x08" /* field 999, fixed64 */
                                      "\x72\x0c"                   /* a record: */
                                      "\x3d\1\2\3\4"               /* field 7, fixed32 */
                                      "\x0a\x01m"                  /* name */
                                      "\x20\x02"                   /* state */
                                      "\x40\x01"                   /* field 8, a number */
                                      "\x80\x01\x09");             /* field 16, a number */
    assert_int_equal(decode(bytes, &back), 0);
    assert_int_equal(back.type, GOSSIP_RUMOURS);
    assert_int_equal(back.records_n, 1);
    assert_int_equal(records[0].state, GOSSIP_ACTIVE);
}

static void a_bool_is_any_number(void **state)
{
    (void)state;
    static const struct {
        const char *number;
        size_t len;
        bool value;
    } cases[] = {
        {"\x00", 1, false},
        {"\x01", 1, true},
        {"\x7f", 1, true},
        {"\x80\x00", 2, false},
        {"\x80\x01", 2, true},
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 10, true},  /* 2^63 */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 10, false}, /* 2^64: nothing is left of it */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (unsigned number = 10; number <= 11; number++) {
            struct gossip_frame frame = least_frame(), back;
            struct troupe_bytes bytes = encode(&frame, NULL, 0);
            buffer[bytes.len] = (uint8_t)WIRE_TAG(number, WIRE_VARINT);
            memcpy(buffer + bytes.len + 1, cases[i].number, cases[i].len);
            bytes.len += 1 + cases[i].len;
            assert_int_equal(decode(bytes, &back), 0);
            assert_int_equal(back.hot, number == 10 && cases[i].value);
            assert_int_equal(back.reply, number == 11 && cases[i].value);
        }
    }
}

static void the_last_of_a_field_counts(void **state)
{
    (void)state;
    static const uint8_t twice[] = "\x0a\x10" UID "\x10\x01\x1a\x01s\x28\x05" /* … seq 5 */
                                   "\x0a\x10" UID "\x10\x02\x1a\x02ss\x28\x06";
    struct gossip_frame back;
    const char *why;
    struct troupe_bytes bytes = troupe_bytes(twice, sizeof twice - 1);
    assert_int_equal(gossip_decode(bytes, &back, records, &why), 0);
    assert_int_equal(back.type, GOSSIP_ACK);
    assert_int_equal(back.seq, 6);
    assert_true(troupe_bytes_equal(back.from, BYTES("ss")));
    assert_agree(gossip_oracle(bytes));
    assert_int_equal(decode(frame_with_record(BYTES("\x0a\x40\x0a\x01n\x20\x09\x20\x05")), &back),
                     TROUPE_EMALFORMED); /* the first name is longer than the record */
    assert_int_equal(decode(frame_with_record(BYTES("\x0a\x00\x0a\x01n\x20\x09\x20\x05")), &back),
                     0);
    assert_int_equal(records[0].state, GOSSIP_DEAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ping_is_these_bytes),
        cmocka_unit_test(the_edges_come_back),
        cmocka_unit_test(what_is_decoded_points_into_the_frame),
        cmocka_unit_test(no_room_is_no_byte),
        cmocka_unit_test(fields_of_the_header_have_limits),
        cmocka_unit_test(fields_of_a_record_have_limits),
        cmocka_unit_test(records_are_limited),
        cmocka_unit_test(frames_are_limited),
        cmocka_unit_test(what_is_no_frame_is_refused),
        cmocka_unit_test(wrong_wire_types_are_refused),
        cmocka_unit_test(a_frame_cut_short_has_fewer_fields),
        cmocka_unit_test(fields_of_later_versions_are_skipped),
        cmocka_unit_test(a_bool_is_any_number),
        cmocka_unit_test(the_last_of_a_field_counts),
    };
    return cmocka_run_group_tests(tests, fill_pool, NULL);
}
