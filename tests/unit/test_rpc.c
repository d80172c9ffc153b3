/* The RPC codec: the fields and limits that rpc.h promises, and the same bytes as protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/rpc.h"
#include "proto/wire.h"
#include "tests/unit/random.h"
#include "tests/unit/rpc_oracle.h"
#include "troupe/error.h"

#define BYTES(literal) troupe_bytes(literal, sizeof(literal) - 1)

enum { ROUNDS = 1000 };

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 0, 64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

static struct troupe_bytes encode_request(const struct rpc_request *request)
{
    size_t size = rpc_request_size(request);
    uint8_t *out = arena_alloc(&arena, size);
    assert_non_null(out);
    assert_int_equal(rpc_request_encode(request, out), size);
    for (size_t i = 0; i < request->calls_n; i++)
        size -= rpc_call_size(&request->calls[i]);
    assert_true(size <= RPC_REQUEST_HEAD_BYTES_MAX);
    size = rpc_request_size(request);
    return troupe_bytes(out, size);
}

static struct troupe_bytes encode_reply(const struct rpc_reply *reply)
{
    size_t size = rpc_reply_size(reply);
    uint8_t *out = arena_alloc(&arena, size);
    assert_non_null(out);
    assert_int_equal(rpc_reply_encode(reply, out), size);
    return troupe_bytes(out, size);
}

static void assert_bytes(struct troupe_bytes actual, struct troupe_bytes expected)
{
    assert_int_equal(actual.len, expected.len);
    assert_true(troupe_bytes_equal(actual, expected));
}

static void assert_agree(const char *differs)
{
    if (differs != NULL)
        fail_msg("the codec and protobuf-c differ in %s", differs);
}

/* ---- what is promised ---- */

/* The bytes of docs/protocol.md. */
static void a_request_is_these_bytes(void **state)
{
    (void)state;
    struct rpc_call call = {.kind = BYTES("venue"),
                            .id = BYTES("42"),
                            .method = BYTES("book"),
                            .payload = BYTES("{}"),
                            .sequence = UINT64_C(0x0000019b5c3d0001),
                            .ack = TROUPE_ACK_DURABLE,
                            .format = RPC_JSON};
    struct rpc_request request = {.timeout_ms = 3000, .client = 7, .calls = &call, .calls_n = 1};
    assert_bytes(encode_request(&request), BYTES("\x08\xb8\x17"
                                                 "\x11\x07\0\0\0\0\0\0\0"
                                                 "\x1a\x22"
                                                 "\x0a\x05venue"
                                                 "\x12\x02"
                                                 "42"
                                                 "\x1a\x04"
                                                 "book"
                                                 "\x22\x02{}"
                                                 "\x29\x01\0\x3d\x5c\x9b\x01\0\0"
                                                 "\x30\x02"
                                                 "\x38\x01"));
}

static void a_request_comes_back(void **state)
{
    (void)state;
    struct rpc_call calls[] = {
        {.kind = BYTES("venue"), .id = BYTES("a/\xc3\xa9"), .method = BYTES("book")},
        {.payload = BYTES("\0\1\2"), .sequence = UINT64_MAX, .ack = 2, .format = RPC_JSON},
        {.sequence = 0},
    };
    struct rpc_request request = {.timeout_ms = 1,
                                  .client = 1,
                                  .acked = UINT64_MAX - 1,
                                  .calls = calls,
                                  .calls_n = 3},
                       back;
    const char *why;
    struct troupe_bytes frame = encode_request(&request);
    uint8_t *copy = malloc(frame.len);
    memcpy(copy, frame.data, frame.len);
    assert_int_equal(rpc_request_decode(&arena, troupe_bytes(copy, frame.len), &back, &why), 0);
    free(copy); /* the frame is not referenced */
    assert_int_equal(back.timeout_ms, 1);
    assert_int_equal(back.client, 1);
    assert_true(back.acked == UINT64_MAX - 1);
    assert_int_equal(back.calls_n, 3);
    assert_bytes(back.calls[0].kind, BYTES("venue"));
    assert_bytes(back.calls[0].id, BYTES("a/\xc3\xa9"));
    assert_bytes(back.calls[0].method, BYTES("book"));
    assert_int_equal(back.calls[0].payload.len, 0);
    assert_bytes(back.calls[1].payload, BYTES("\0\1\2"));
    assert_true(back.calls[1].sequence == UINT64_MAX);
    assert_int_equal(back.calls[1].ack, 2);
    assert_int_equal(back.calls[1].format, RPC_JSON);
    assert_int_equal(back.calls[2].kind.len, 0);
}

static void a_reply_comes_back(void **state)
{
    (void)state;
    struct rpc_owner owner = {.node = BYTES("b"),
                              .address = BYTES("h:1"),
                              .epoch = UINT64_MAX,
                              .partitions = 65536,
                              .cluster_uid = BYTES("uid")};
    struct rpc_result results[] = {
        {.payload = BYTES("yes"), .version = 7, .ack = TROUPE_ACK_DURABLE},
        {.status = TROUPE_UNAVAILABLE, .message = BYTES("not here"), .owner = &owner},
        {.status = TROUPE_OUT_OF_RANGE,
         .owner = &(struct rpc_owner){.epoch = 0},
         .sequence_from = UINT64_C(1) << 60},
    };
    struct rpc_reply reply = {.results = results, .results_n = 3}, back;
    const char *why;
    assert_int_equal(rpc_reply_decode(&arena, encode_reply(&reply), &back, &why), 0);
    assert_int_equal(back.results_n, 3);
    assert_int_equal(back.status, TROUPE_OK);
    assert_bytes(back.results[0].payload, BYTES("yes"));
    assert_int_equal(back.results[0].version, 7);
    assert_int_equal(back.results[0].ack, TROUPE_ACK_DURABLE);
    assert_null(back.results[0].owner);
    assert_int_equal(back.results[1].status, TROUPE_UNAVAILABLE);
    assert_bytes(back.results[1].message, BYTES("not here"));
    assert_bytes(back.results[1].owner->node, BYTES("b"));
    assert_bytes(back.results[1].owner->address, BYTES("h:1"));
    assert_true(back.results[1].owner->epoch == UINT64_MAX);
    assert_int_equal(back.results[1].owner->partitions, 65536);
    assert_bytes(back.results[1].owner->cluster_uid, BYTES("uid"));
    assert_int_equal(back.results[1].sequence_from, 0);
    assert_non_null(back.results[2].owner); /* there, if empty */
    assert_true(back.results[2].sequence_from == UINT64_C(1) << 60);

    reply = (struct rpc_reply){.status = TROUPE_INVALID_ARGUMENT, .message = BYTES("no")};
    assert_int_equal(rpc_reply_decode(&arena, encode_reply(&reply), &back, &why), 0);
    assert_int_equal(back.results_n, 0);
    assert_int_equal(back.status, TROUPE_INVALID_ARGUMENT);
    assert_bytes(back.message, BYTES("no"));
}

static void timeouts_are_clamped(void **state)
{
    (void)state;
    static const uint32_t cases[][2] = {
        {0, RPC_TIMEOUT_MS_DEFAULT},
        {1, 1},
        {RPC_TIMEOUT_MS_MAX, RPC_TIMEOUT_MS_MAX},
        {RPC_TIMEOUT_MS_MAX + 1, RPC_TIMEOUT_MS_MAX},
        {UINT32_MAX, RPC_TIMEOUT_MS_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_request request = {.timeout_ms = cases[i][0]}, back;
        const char *why;
        assert_int_equal(rpc_request_decode(&arena, encode_request(&request), &back, &why), 0);
        assert_int_equal(back.timeout_ms, cases[i][1]);
    }
}

/* It is an error of the one call, for the runtime to find. */
static void numbers_that_are_none_pass_through(void **state)
{
    (void)state;
    const struct {
        struct troupe_bytes frame;
        uint8_t ack;
    } cases[] = {
        {BYTES("\x1a\x02\x30\x03"), 3},
        {BYTES("\x1a\x03\x30\xff\x01"), 255},
        {BYTES("\x1a\x03\x30\x80\x02"), 255},
        {BYTES("\x1a\x0b\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 255}, /* -1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_request request;
        const char *why;
        assert_int_equal(rpc_request_decode(&arena, cases[i].frame, &request, &why), 0);
        assert_int_equal(request.calls_n, 1);
        assert_int_equal(request.calls[0].ack, cases[i].ack);
        assert_agree(rpc_oracle_request(cases[i].frame));
    }
}

static void malformed_frames_are_refused(void **state)
{
    (void)state;
    const struct troupe_bytes cases[] = {
        BYTES("\x1a"),                                             /* no length */
        BYTES("\x1a\x05\x0a"),                                     /* cut short */
        BYTES("\x1a\x02\x0a\x01"),                                 /* cut short inside a call */
        BYTES("\x1b\x1c"),                                         /* a group */
        BYTES("\x1e"),                                             /* a wire type that is none */
        BYTES("\x00\x00"),                                         /* field 0 */
        BYTES("\x0d\x01\x02\x03\x04"),                             /* timeout_ms as fixed32 */
        BYTES("\x18\x01"),                                         /* calls as a number */
        BYTES("\x1a\x02\x08\x01"),                                 /* kind as a number */
        BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), /* 11 bytes of varint */
        BYTES("\x1a\xff\xff\xff\xff\x7f"),                         /* 34 GB */
        BYTES("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),     /* 2^64 - 1 */
        BYTES("\x1a\x80\x80\x80\x80\x80\x00"),                     /* an overlong length */
        BYTES("GET / HTTP/1.1\r\n\r\n"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_request request;
        const char *why = NULL;
        assert_int_equal(rpc_request_decode(&arena, cases[i], &request, &why), TROUPE_EMALFORMED);
        assert_non_null(why);
        assert_agree(rpc_oracle_request(cases[i]));
        assert_agree(rpc_oracle_reply(cases[i]));
    }
}

static void the_empty_frame_is_an_empty_batch(void **state)
{
    (void)state;
    struct rpc_request request;
    struct rpc_reply reply;
    const char *why;
    assert_int_equal(rpc_request_decode(&arena, troupe_bytes(NULL, 0), &request, &why), 0);
    assert_int_equal(request.calls_n, 0);
    assert_int_equal(rpc_reply_decode(&arena, troupe_bytes(NULL, 0), &reply, &why), 0);
    assert_int_equal(reply.results_n, 0);
}

/* ---- limits ---- */

static void calls_are_limited(void **state)
{
    (void)state;
    struct rpc_call *calls = calloc(RPC_CALLS_MAX + 1, sizeof *calls);
    struct rpc_request request = {.calls = calls, .calls_n = RPC_CALLS_MAX}, back;
    const char *why = NULL;
    assert_int_equal(rpc_request_decode(&arena, encode_request(&request), &back, &why), 0);
    assert_int_equal(back.calls_n, RPC_CALLS_MAX);
    request.calls_n++;
    assert_int_equal(rpc_request_decode(&arena, encode_request(&request), &back, &why),
                     TROUPE_ELIMIT);
    assert_non_null(strstr(why, "4,096"));
    free(calls);
}

static void frames_are_limited(void **state)
{
    (void)state;
    enum { HEAD = 2 + 4 + 1 + 4 }; /* timeout_ms, calls, payload: tags and lengths */
    uint8_t *payload = calloc(1, RPC_FRAME_BYTES_MAX);
    assert_non_null(payload);
    struct rpc_call call = {.payload = troupe_bytes(payload, RPC_FRAME_BYTES_MAX - HEAD - 1)};
    struct rpc_request request = {.timeout_ms = 1, .calls = &call, .calls_n = 1}, back;
    const char *why = NULL;
    arena_close(&arena);
    arena_init(&arena, 0, 100 << 20);
    struct troupe_bytes frame = encode_request(&request);
    assert_int_equal(frame.len, RPC_FRAME_BYTES_MAX);
    assert_int_equal(rpc_request_decode(&arena, frame, &back, &why), 0);
    assert_int_equal(back.calls[0].payload.len, call.payload.len);
    arena_reset(&arena);
    call.payload.len++;
    frame = encode_request(&request);
    assert_int_equal(rpc_request_decode(&arena, frame, &back, &why), TROUPE_ELIMIT);
    assert_non_null(strstr(why, "32 MiB"));
    free(payload);
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    struct rpc_result results[300] = {{.payload = BYTES("0123456789")}};
    struct rpc_owner owner = {.epoch = 1};
    for (size_t i = 0; i < 300; i++)
        results[i].owner = &owner;
    struct rpc_reply reply = {.results = results, .results_n = 300}, back;
    struct troupe_bytes frame = encode_reply(&reply);
    const char *why = NULL;
    int rc = TROUPE_ENOMEM;
    for (size_t limit = 1024; rc != 0; limit += 1024) {
        struct arena small;
        arena_init(&small, 1024, limit);
        rc = rpc_reply_decode(&small, frame, &back, &why);
        assert_true(rc == 0 || rc == TROUPE_ENOMEM);
        assert_true(limit < 64 << 10);
        arena_close(&small);
    }
}

/* A frame of nothing but unknown fields takes no more memory than a frame of one large field. */
static void unknown_fields_cost_nothing(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    uint8_t *frame = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i += 2) {
        frame[i] = WIRE_TAG(15, WIRE_VARINT);
        frame[i + 1] = 1;
    }
    struct arena small;
    struct rpc_request request;
    const char *why;
    arena_init(&small, 0, SIZE + 2 * ARENA_CHUNK_BYTES_DEFAULT);
    assert_int_equal(rpc_request_decode(&small, troupe_bytes(frame, SIZE), &request, &why), 0);
    assert_int_equal(request.calls_n, 0);
    arena_close(&small);
    free(frame);
}

/* ---- compatibility ---- */

static void fields_of_later_versions_are_skipped(void **state)
{
    (void)state;
    struct troupe_bytes frame = BYTES("\x1a\x0f"                   /* a call: */
                                      "\x0a\x01k"                  /* kind */
                                      "\x42\x02xx"                 /* field 8, bytes */
                                      "\x4d\1\2\3\4"               /* field 9, fixed32 */
                                      "\x12\x01i"                  /* id */
                                      "\xb9\x3e\1\2\3\4\5\6\7\x08" /* field 999, fixed64 */
                                      "\x08\x05");                 /* timeout_ms */
    struct rpc_request request;
    const char *why;
    assert_int_equal(rpc_request_decode(&arena, frame, &request, &why), 0);
    assert_int_equal(request.timeout_ms, 5);
    assert_int_equal(request.calls_n, 1);
    assert_bytes(request.calls[0].kind, BYTES("k"));
    assert_bytes(request.calls[0].id, BYTES("i"));
    assert_agree(rpc_oracle_request(frame));
}

static void the_last_of_a_field_counts(void **state)
{
    (void)state;
    struct rpc_request request;
    struct rpc_reply reply;
    const char *why;
    assert_int_equal(rpc_request_decode(&arena, BYTES("\x08\x05\x08\x06"), &request, &why), 0);
    assert_int_equal(request.timeout_ms, 6);
    /* but submessages are merged */
    struct troupe_bytes frame = BYTES("\x0a\x0d\x32\x05\x0a\x01n\x18\x03\x32\x04\x12\x02hp");
    assert_int_equal(rpc_reply_decode(&arena, frame, &reply, &why), 0);
    const struct rpc_owner *owner = reply.results[0].owner;
    assert_non_null(owner);
    assert_bytes(owner->node, BYTES("n"));
    assert_bytes(owner->address, BYTES("hp"));
    assert_int_equal(owner->epoch, 3);
}

/* ---- against protobuf-c ---- */

static struct troupe_bytes random_bytes(struct dice *dice, size_t len_max)
{
    size_t len = dice_below(dice, 4) == 0 ? 0 : dice_below(dice, len_max);
    uint8_t *data = arena_alloc(&arena, len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)dice_throw(dice);
    return troupe_bytes(data, len);
}

/* Of every length in bits. */
static uint64_t random_number(struct dice *dice)
{
    return dice_throw(dice) >> dice_below(dice, 64);
}

static struct rpc_request random_request(struct dice *dice)
{
    struct rpc_request request = {.timeout_ms = (uint32_t)random_number(dice),
                                  .client = random_number(dice),
                                  .hops = (uint8_t)random_number(dice),
                                  .cluster_uid = random_bytes(dice, 40),
                                  .acked = random_number(dice),
                                  .calls_n = dice_below(dice, 20)};
    request.calls = arena_calloc(&arena, request.calls_n, sizeof *request.calls);
    for (size_t i = 0; i < request.calls_n; i++)
        request.calls[i] = (struct rpc_call){.kind = random_bytes(dice, 10),
                                             .id = random_bytes(dice, 300),
                                             .method = random_bytes(dice, 10),
                                             .payload = random_bytes(dice, 200),
                                             .sequence = random_number(dice),
                                             .ack = (uint8_t)dice_below(dice, 4),
                                             .format = (uint8_t)dice_throw(dice)};
    return request;
}

static struct rpc_reply random_reply(struct dice *dice)
{
    struct rpc_reply reply = {.results_n = dice_below(dice, 20),
                              .status = (uint8_t)dice_below(dice, 3),
                              .message = random_bytes(dice, 30)};
    reply.results = arena_calloc(&arena, reply.results_n, sizeof *reply.results);
    for (size_t i = 0; i < reply.results_n; i++) {
        struct rpc_owner *owner = arena_alloc(&arena, sizeof *owner);
        *owner = (struct rpc_owner){.node = random_bytes(dice, 10),
                                    .address = random_bytes(dice, 30),
                                    .epoch = random_number(dice),
                                    .partitions = (uint32_t)random_number(dice),
                                    .cluster_uid = random_bytes(dice, 40)};
        reply.results[i] = (struct rpc_result){.payload = random_bytes(dice, 200),
                                               .message = random_bytes(dice, 30),
                                               .owner = dice_below(dice, 2) == 0 ? owner : NULL,
                                               .version = random_number(dice),
                                               .sequence_from = random_number(dice),
                                               .status = (uint8_t)dice_throw(dice),
                                               .ack = (uint8_t)dice_below(dice, 4)};
    }
    return reply;
}

/* A few bytes of the frame changed, inserted or cut off, as often as not at the beginning, where
 * the structure is. */
static struct troupe_bytes damage(struct dice *dice, struct troupe_bytes frame)
{
    uint8_t *data = arena_alloc(&arena, frame.len + 8);
    size_t len = frame.len;
    memcpy(data, frame.data, len);
    for (uint64_t n = dice_below(dice, 4) + 1; n > 0 && len > 0; n--) {
        size_t at = dice_below(dice, dice_below(dice, 2) == 0 && len > 30 ? 30 : len);
        switch (dice_below(dice, 4)) {
        case 0:
            data[at] = (uint8_t)dice_throw(dice);
            break;
        case 1:
            data[at] ^= (uint8_t)(1U << dice_below(dice, 8));
            break;
        case 2:
            memmove(data + at + 1, data + at, len++ - at);
            break;
        default:
            len = dice_below(dice, 8) == 0 ? at : len;
        }
    }
    return troupe_bytes(data, len);
}

static void requests_are_as_protobuf_c_has_them(void **state)
{
    (void)state;
    struct dice dice = dice_new(1);
    for (size_t round = 0; round < ROUNDS; round++) {
        struct rpc_request request = random_request(&dice);
        assert_agree(rpc_oracle_encode_request(&request));
        struct troupe_bytes frame = encode_request(&request);
        assert_agree(rpc_oracle_request(frame));
        for (size_t i = 0; i < 20; i++)
            assert_agree(rpc_oracle_request(damage(&dice, frame)));
        arena_reset(&arena);
    }
}

static void replies_are_as_protobuf_c_has_them(void **state)
{
    (void)state;
    struct dice dice = dice_new(2);
    for (size_t round = 0; round < ROUNDS; round++) {
        struct rpc_reply reply = random_reply(&dice);
        assert_agree(rpc_oracle_encode_reply(&reply));
        struct troupe_bytes frame = encode_reply(&reply);
        assert_agree(rpc_oracle_reply(frame));
        for (size_t i = 0; i < 20; i++)
            assert_agree(rpc_oracle_reply(damage(&dice, frame)));
        arena_reset(&arena);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_these_bytes),
        TEST(a_request_comes_back),
        TEST(a_reply_comes_back),
        TEST(timeouts_are_clamped),
        TEST(numbers_that_are_none_pass_through),
        TEST(malformed_frames_are_refused),
        TEST(the_empty_frame_is_an_empty_batch),
        TEST(calls_are_limited),
        TEST(frames_are_limited),
        TEST(a_full_arena_is_an_error),
        TEST(unknown_fields_cost_nothing),
        TEST(fields_of_later_versions_are_skipped),
        TEST(the_last_of_a_field_counts),
        TEST(requests_are_as_protobuf_c_has_them),
        TEST(replies_are_as_protobuf_c_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
