/* The example of docs/kinds.md, tested as that says kinds are tested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counter.pb-c.h"
#include "fake_ctx.h"

static int setup(void **state)
{
    struct troupe_ctx *ctx = fake_open(troupe_plugin()->kinds[0], "7");
    *state = ctx;
    return fake_start_new(ctx);
}

static int teardown(void **state)
{
    fake_close(*state);
    return 0;
}

static uint64_t value(struct troupe_ctx *ctx)
{
    const Counter__Value *reply = fake_reply(ctx);
    assert_non_null(reply);
    return reply->value;
}

static void it_counts(void **state)
{
    struct troupe_ctx *ctx = *state;
    Counter__IncrRequest by = COUNTER__INCR_REQUEST__INIT;
    by.by = 41;
    assert_int_equal(fake_call(ctx, "incr", NULL), TROUPE_OK);
    assert_int_equal(ctx->outcome, TROUPE_DIRTY);
    assert_int_equal(value(ctx), 1);
    assert_int_equal(fake_call(ctx, "incr_durable", &by.base), TROUPE_OK);
    assert_int_equal(ctx->outcome, TROUPE_DURABLE);
    assert_int_equal(value(ctx), 42);
    assert_int_equal(fake_call(ctx, "read", NULL), TROUPE_OK);
    assert_int_equal(ctx->outcome, TROUPE_UNCHANGED);
    assert_int_equal(value(ctx), 42);
    assert_int_equal(fake_call_bytes(ctx, "incr", troupe_bytes_of("\xff")),
                     TROUPE_INVALID_ARGUMENT);
}

static void it_does_not_wrap_around(void **state)
{
    struct troupe_ctx *ctx = *state;
    Counter__SetRequest set = COUNTER__SET_REQUEST__INIT;
    set.value = UINT64_MAX;
    assert_int_equal(fake_call(ctx, "set", &set.base), TROUPE_OK);
    assert_int_equal(fake_call(ctx, "incr", NULL), TROUPE_OUT_OF_RANGE);
    assert_int_equal(ctx->outcome, TROUPE_UNCHANGED);
    fake_call(ctx, "read", NULL);
    assert_true(value(ctx) == UINT64_MAX);
}

static void value_and_note_survive_a_restart(void **state)
{
    struct troupe_ctx *ctx = *state;
    uint8_t note[65];
    memset(note, 0xab, sizeof note);
    Counter__SetRequest set = COUNTER__SET_REQUEST__INIT;
    set.value = 7;
    set.note = (ProtobufCBinaryData){.len = 65, .data = note};
    assert_int_equal(fake_call(ctx, "set", &set.base), TROUPE_INVALID_ARGUMENT);
    set.note.len = 64;
    assert_int_equal(fake_call(ctx, "set", &set.base), TROUPE_OK);
    assert_int_equal(fake_restart(ctx), 0);
    const Counter__State *saved = fake_saved(ctx);
    assert_int_equal(saved->value, 7);
    assert_int_equal(saved->note.len, 64);
    assert_memory_equal(saved->note.data, note, 64);
}

static void a_bad_state_does_not_start(void **state)
{
    struct troupe_ctx *ctx = fake_open(troupe_plugin()->kinds[0], "8");
    uint8_t packed[128], note[65] = {0};
    Counter__State bad = COUNTER__STATE__INIT;
    bad.note = (ProtobufCBinaryData){.len = sizeof note, .data = note};
    size_t len = protobuf_c_message_pack(&bad.base, packed);
    assert_int_not_equal(fake_start(ctx, troupe_bytes(packed, len)), 0);
    assert_string_equal(ctx->crash, "the saved state is no counter");
    assert_int_not_equal(fake_start(ctx, troupe_bytes_of("\xff\xff")), 0);
    fake_close(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(it_does_not_wrap_around, setup, teardown),
        cmocka_unit_test_setup_teardown(value_and_note_survive_a_restart, setup, teardown),
        cmocka_unit_test(a_bad_state_does_not_start),
    };
    return cmocka_run_group_tests_name("counter", tests, NULL, NULL);
}
