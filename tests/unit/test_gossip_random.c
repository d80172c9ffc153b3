/* The gossip codec against protobuf-c: random frames, whole and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/gossip_oracle.h"
#include "tests/unit/random.h"

enum { ROUNDS = 2000, RECORDS_MAX = 10, DIGEST_BYTES = GOSSIP_BUCKETS * 4 };

/* What names and blobs are made of. */
static uint8_t pool[4096];

static int fill_pool(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pool; i++)
        pool[i] = (uint8_t)(i * 7 + i / 256);
    return 0;
}

static void assert_agree(const char *differs)
{
    if (differs != NULL)
        fail_msg("the codec and protobuf-c differ in %s", differs);
}

static struct troupe_bytes random_bytes(struct dice *dice, size_t len_min, size_t len_max)
{
    size_t len = len_min + dice_below(dice, len_max - len_min + 1);
    return troupe_bytes(pool + dice_below(dice, sizeof pool - len), len);
}

/* Of every length in bits; often 0. */
static uint64_t random_number(struct dice *dice)
{
    return dice_below(dice, 4) == 0 ? 0 : dice_throw(dice) >> dice_below(dice, 64);
}

static struct gossip_record random_record(struct dice *dice)
{
    struct gossip_record record = {.name = random_bytes(dice, 1, 63),
                                   .generation = random_number(dice),
                                   .incarnation = random_number(dice),
                                   .state = (uint8_t)(1 + dice_below(dice, GOSSIP_STATES - 1))};
    if (dice_below(dice, 2) == 0)
        record.suspecter = random_bytes(dice, 0, 63);
    if (dice_below(dice, 2) == 0)
        record.meta = random_bytes(dice, 0, dice_below(dice, 4) == 0 ? GOSSIP_META_BYTES_MAX : 30);
    return record;
}

static struct gossip_frame random_frame(struct dice *dice)
{
    struct gossip_frame frame = {.type = (uint8_t)(1 + dice_below(dice, GOSSIP_TYPES - 1)),
                                 .from = random_bytes(dice, 1, 63),
                                 .from_generation = random_number(dice),
                                 .seq = random_number(dice),
                                 .members_hash = random_number(dice),
                                 .owners_hash = random_number(dice),
                                 .load = (uint32_t)random_number(dice),
                                 .hot = dice_below(dice, 2) == 0,
                                 .reply = dice_below(dice, 2) == 0,
                                 .records_n = dice_below(dice, RECORDS_MAX + 1)};
    memcpy(frame.uid, random_bytes(dice, 16, 16).data, sizeof frame.uid);
    if (dice_below(dice, 2) == 0)
        frame.target = random_bytes(dice, 0, 63);
    if (dice_below(dice, 4) == 0)
        frame.digest = random_bytes(dice, DIGEST_BYTES, DIGEST_BYTES);
    if (dice_below(dice, 4) == 0)
        frame.owners = random_bytes(dice, 0, 300);
    return frame;
}

/* Some bytes of the frame changed, doubled or cut off, as often as not at the beginning. */
static struct troupe_bytes damage(struct dice *dice, struct troupe_bytes frame, uint8_t *out)
{
    size_t len = frame.len;
    memcpy(out, frame.data, len);
    for (uint64_t n = dice_below(dice, 4) + 1; n > 0 && len > 0; n--) {
        size_t at = dice_below(dice, dice_below(dice, 2) == 0 && len > 40 ? 40 : len);
        switch (dice_below(dice, 4)) {
        case 0:
            out[at] = (uint8_t)dice_throw(dice);
            break;
        case 1:
            out[at] ^= (uint8_t)(1U << dice_below(dice, 8));
            break;
        case 2:
            memmove(out + at + 1, out + at, len++ - at);
            break;
        default:
            len = dice_below(dice, 8) == 0 ? at : len;
        }
    }
    return troupe_bytes(out, len);
}

/* In a block of exactly its size: what is read beyond is found by the sanitizer. */
static void assert_agree_on(struct troupe_bytes bytes)
{
    uint8_t *copy = malloc(bytes.len == 0 ? 1 : bytes.len);
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.len);
    assert_agree(gossip_oracle(troupe_bytes(copy, bytes.len)));
    free(copy);
}

static void frames_are_as_protobuf_c_has_them(void **state)
{
    (void)state;
    static uint8_t buffer[GOSSIP_FRAME_BYTES_MAX], damaged[GOSSIP_FRAME_BYTES_MAX + 8];
    struct dice dice = dice_new(1);
    for (size_t round = 0; round < ROUNDS; round++) {
        struct gossip_frame frame = random_frame(&dice);
        struct gossip_record records[RECORDS_MAX];
        size_t len = gossip_encode_header(&frame, buffer, sizeof buffer);
        for (size_t i = 0; i < frame.records_n; i++) {
            records[i] = random_record(&dice);
            len += gossip_encode_record(&records[i], buffer + len, sizeof buffer - len);
        }
        assert_agree(gossip_oracle_encode(&frame, records));
        assert_agree_on(troupe_bytes(buffer, len));
        for (size_t i = 0; i < 10; i++)
            assert_agree_on(damage(&dice, troupe_bytes(buffer, len), damaged));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(frames_are_as_protobuf_c_has_them)};
    return cmocka_run_group_tests(tests, fill_pool, NULL);
}
