/* The window of request ids: what it must never do is call an executed id new. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/runtime/dedup.h"
#include "random.h"
#include "troupe/error.h"
#include "troupe/status.h"

static int add(struct dedup **d, uint64_t client, uint64_t sequence, uint8_t status,
               struct troupe_bytes payload, uint32_t replies_max)
{
    struct dedup_reply reply = {.status = status, .payload = payload, .durable = sequence % 2 == 0};
    return dedup_add(d, client, sequence, &reply, replies_max);
}

static void remembers_replies(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_reply reply;
    assert_int_equal(dedup_look(d, 1, 100, &reply), DEDUP_NEW);
    assert_int_equal(add(&d, 1, 100, TROUPE_OK, troupe_bytes_of("booked"), 64), 0);
    assert_int_equal(add(&d, 1, 101, TROUPE_ALREADY_EXISTS, troupe_bytes_of("taken"), 64), 0);
    assert_int_equal(dedup_look(d, 1, 100, &reply), DEDUP_DONE);
    assert_int_equal(reply.status, TROUPE_OK);
    assert_true(reply.kept && reply.durable);
    assert_true(troupe_bytes_equal(reply.payload, troupe_bytes_of("booked")));
    assert_int_equal(dedup_look(d, 1, 101, &reply), DEDUP_DONE);
    assert_int_equal(reply.status, TROUPE_ALREADY_EXISTS);
    assert_true(reply.kept && !reply.durable);
    assert_int_equal(dedup_look(d, 2, 100, &reply), DEDUP_NEW);
    assert_int_equal(dedup_look(d, 1, 99, &reply),
                     DEDUP_NEW); /* late, but nothing was forgotten yet */
    dedup_free(d);
}

static void large_replies_are_only_noted(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_reply reply;
    static uint8_t large[DEDUP_REPLY_BYTES_MAX + 1];
    assert_int_equal(add(&d, 1, 1, TROUPE_OK, troupe_bytes(large, sizeof large), 4), 0);
    assert_int_equal(dedup_look(d, 1, 1, &reply), DEDUP_DONE);
    assert_false(reply.kept);
    dedup_free(d);
}

static void forgets_the_oldest_and_refuses_it(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_reply reply;
    for (uint64_t s = 1; s <= 10; s++)
        assert_int_equal(add(&d, 7, s, TROUPE_OK, troupe_bytes(NULL, 0), 4), 0);
    assert_int_equal(dedup_look(d, 7, 6, &reply), DEDUP_OLD);
    assert_int_equal(dedup_look(d, 7, 7, &reply), DEDUP_DONE);
    assert_int_equal(dedup_look(d, 7, 11, &reply), DEDUP_NEW);
    assert_int_equal(dedup_look(d, 8, 1, &reply), DEDUP_NEW); /* a client never heard of */
    dedup_free(d);
}

/* The oracle remembers everything. Clients' sequences are times: they grow together. */
static void never_calls_an_executed_id_new(void **state)
{
    (void)state;
    enum { IDS = 20000, CLIENTS = 400 };
    struct dice dice = dice_new(3);
    struct dedup *d = NULL;
    static struct {
        uint64_t client, sequence;
    } done[IDS];
    size_t refused = 0, replayed = 0;
    for (size_t i = 0; i < IDS; i++) {
        done[i].client = 1 + dice_below(&dice, CLIENTS);
        done[i].sequence = 1000 + i * 8 + dice_below(&dice, 8);
        struct dedup_reply reply;
        if (dedup_look(d, done[i].client, done[i].sequence, &reply) == DEDUP_NEW) {
            uint8_t text[40];
            size_t len = dice_below(&dice, sizeof text);
            memset(text, (int)i, sizeof text);
            assert_int_equal(
                add(&d, done[i].client, done[i].sequence, TROUPE_OK, troupe_bytes(text, len), 32),
                0);
        } else {
            done[i].client = 0; /* refused: never executed */
            refused++;
        }
        size_t back = dice_below(&dice, i + 1);
        size_t k = dice_below(&dice, 2) == 0 ? back : i - back % 40;
        if (done[k].client == 0)
            continue;
        enum dedup_verdict v = dedup_look(d, done[k].client, done[k].sequence, &reply);
        assert_int_not_equal(v, DEDUP_NEW);
        replayed += v == DEDUP_DONE;
    }
    assert_int_equal(refused, 0); /* sequences grew: nothing new was ever late */
    assert_true(replayed > IDS / 10);
    assert_true(dedup_memory(d) < 16 << 10);
    dedup_free(d);
}

static void survives_being_persisted(void **state)
{
    (void)state;
    struct dedup *d = NULL, *again = NULL;
    struct dedup_reply reply;
    for (uint64_t s = 1; s <= 300; s++)
        assert_int_equal(add(&d, s % 200, s, TROUPE_OK, troupe_bytes_of("reply"), 16), 0);
    assert_int_equal(dedup_parse(&again, dedup_bytes(d)), 0);
    assert_true(troupe_bytes_equal(dedup_bytes(d), dedup_bytes(again)));
    assert_int_equal(dedup_look(again, 300 % 200, 300, &reply), DEDUP_DONE);
    assert_int_equal(add(&again, 1, 301, TROUPE_OK, troupe_bytes_of("more"), 16), 0);
    dedup_free(d);
    dedup_free(again);
    assert_int_equal(dedup_parse(&again, troupe_bytes(NULL, 0)), 0);
    assert_null(again);
}

/* A header that calls the block older than what is in it would make executed ids look new. */
static void refuses_a_header_that_is_older_than_its_ids(void **state)
{
    (void)state;
    struct dedup *d = NULL, *bad = NULL;
    assert_int_equal(add(&d, 1, 7, TROUPE_OK, troupe_bytes_of("reply"), 16), 0);
    struct troupe_bytes good = dedup_bytes(d);
    uint8_t copy[128];
    assert_in_range(good.len, 24, sizeof copy);
    memcpy(copy, good.data, good.len);
    assert_int_equal(copy[16], 7); /* newest, little-endian */
    copy[16] = 6;
    assert_int_equal(dedup_parse(&bad, troupe_bytes(copy, good.len)), TROUPE_EMALFORMED);
    dedup_free(d);
}

/* Whatever the store returns: an error, never a crash. */
static void refuses_malformed_blocks(void **state)
{
    (void)state;
    struct dice dice = dice_new(4);
    struct dedup *d = NULL, *bad = NULL;
    for (uint64_t s = 1; s <= 40; s++)
        assert_int_equal(add(&d, s, s, TROUPE_OK, troupe_bytes_of("reply"), 16), 0);
    struct troupe_bytes good = dedup_bytes(d);
    for (size_t len = 1; len < good.len; len++)
        assert_int_equal(dedup_parse(&bad, troupe_bytes(good.data, len)), TROUPE_EMALFORMED);
    uint8_t *copy = malloc(good.len);
    for (int i = 0; i < 20000; i++) {
        memcpy(copy, good.data, good.len);
        for (uint64_t n = 1 + dice_below(&dice, 4); n > 0; n--)
            copy[dice_below(&dice, good.len)] = (uint8_t)dice_throw(&dice);
        if (dedup_parse(&bad, troupe_bytes(copy, good.len)) != 0)
            continue;
        struct dedup_reply reply;
        dedup_look(bad, dice_below(&dice, 50), dice_below(&dice, 50), &reply);
        assert_int_equal(add(&bad, 1, 1000, TROUPE_OK, troupe_bytes_of("x"), 8), 0);
        dedup_free(bad);
    }
    free(copy);
    dedup_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_replies),
        cmocka_unit_test(large_replies_are_only_noted),
        cmocka_unit_test(forgets_the_oldest_and_refuses_it),
        cmocka_unit_test(never_calls_an_executed_id_new),
        cmocka_unit_test(survives_being_persisted),
        cmocka_unit_test(refuses_a_header_that_is_older_than_its_ids),
        cmocka_unit_test(refuses_malformed_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
