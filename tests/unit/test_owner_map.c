/* The owner map: what counts, what is told and how often, what an exchange takes, the bytes on the
 * wire, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/owner_map.h"
#include "random.h"
#include "troupe/error.h"

enum { SIZE = OWNER_MAP_PAYLOAD_BYTES_MAX, MULT = 3 };

static const uint64_t timeline = UINT64_C(1) << 40;

static struct owner_map map_new(uint32_t partitions, uint32_t names_max)
{
    struct owner_map m;
    assert_int_equal(owner_map_init(&m, partitions, names_max), 0);
    owner_map_set_audience(&m, 3, MULT);
    return m;
}

static bool set(struct owner_map *m, uint32_t pid, const char *name, uint64_t epoch)
{
    return owner_map_set(m, pid, troupe_bytes_of(name), epoch);
}

static void assert_owner(const struct owner_map *m, uint32_t pid, const char *name, uint64_t epoch)
{
    struct owner owner = owner_map_get(m, pid);
    assert_int_equal(owner.epoch, epoch);
    assert_int_equal(owner.name.len, strlen(name));
    assert_memory_equal(owner.name.data == NULL ? (const void *)"" : owner.name.data, name,
                        owner.name.len);
}

static void assert_same(const struct owner_map *a, const struct owner_map *b)
{
    for (uint32_t pid = 0; pid < a->partitions; pid++) {
        struct owner x = owner_map_get(a, pid), y = owner_map_get(b, pid);
        assert_true(troupe_bytes_equal(x.name, y.name));
        assert_int_equal(x.epoch, y.epoch);
    }
    assert_int_equal(owner_map_hash(a), owner_map_hash(b));
}

static void assert_applies(struct owner_map *m, const uint8_t *bytes, size_t len,
                           struct owner_map_diff *diff)
{
    const char *why = NULL;
    int rc = owner_map_apply(m, troupe_bytes(bytes, len), diff, &why);
    if (rc != 0)
        fail_msg("%s: %s", troupe_error_name(rc), why);
}

/* All that from answers goes to to; how many frames. *back: what to is to answer in its turn. */
static uint32_t answer(struct owner_map *from, struct owner_map *to,
                       const struct owner_map_diff *diff, struct owner_map_diff *back)
{
    static uint8_t out[SIZE];
    uint32_t frames = 0, at = 0;
    *back = (struct owner_map_diff){0};
    for (size_t len; (len = owner_map_put_answer(from, diff, &at, out, SIZE)) != 0; frames++) {
        struct owner_map_diff one;
        assert_true(len <= SIZE);
        assert_applies(to, out, len, &one);
        for (uint32_t i = 0; i < OWNER_MAP_CHUNKS_MAX / 64; i++)
            back->chunks[i] |= one.chunks[i];
        back->any |= one.any;
        assert_false(one.ask);
    }
    return frames;
}

static void exchange(struct owner_map *a, struct owner_map *b)
{
    static uint8_t out[SIZE];
    struct owner_map_diff at_b, at_a, none;
    assert_applies(b, out, owner_map_put_digest(a, out, SIZE), &at_b);
    assert_int_equal(at_b.any, at_b.ask);
    answer(b, a, &at_b, &at_a);
    answer(a, b, &at_a, &none);
    assert_false(none.any);
}

/* ---- what counts ---- */

static void test_init(void **state)
{
    (void)state;
    struct owner_map m;
    assert_int_equal(owner_map_init(&m, 128, 3), TROUPE_EINVAL);
    assert_int_equal(owner_map_init(&m, 1000, 3), TROUPE_EINVAL);
    assert_int_equal(owner_map_init(&m, PARTITIONS_MAX * 2, 3), TROUPE_EINVAL);
    assert_int_equal(owner_map_init(&m, 256, 0), TROUPE_EINVAL);
    for (uint32_t partitions = PARTITIONS_MIN; partitions <= PARTITIONS_MAX; partitions *= 2) {
        m = map_new(partitions, 3);
        assert_owner(&m, partitions - 1, "", 0);
        assert_true(owner_map_hash(&m) != 0);
        assert_int_equal(owner_map_next_change(&m), OWNER_MAP_NONE);
        owner_map_close(&m);
    }
}

static void test_order(void **state)
{
    (void)state;
    static const struct {
        const char *name, *other;
        uint64_t epoch, other_epoch;
        bool taken;
    } cases[] = {
        {"a", "b", 1, 2, true},          {"b", "a", 2, 1, false},
        {"a", "b", 5, 5, true},          {"b", "a", 5, 5, false},
        {"a", "ab", 5, 5, true},         {"ab", "a", 5, 5, false},
        {"a", "a", 5, 5, false},         {"a", "", 5, 5, false},
        {"a", "", 5, 6, true},           {"", "a", 5, 5, true},
        {"", "", 0, 0, false},           {"", "", 0, 1, true},
        {"", "a", 0, 0, true},           {"a", "b", UINT64_MAX, 0, false},
        {"a", "b", 1, UINT64_MAX, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct owner_map m = map_new(256, 4);
        set(&m, 7, cases[i].name, cases[i].epoch);
        uint64_t before = owner_map_hash(&m);
        assert_int_equal(set(&m, 7, cases[i].other, cases[i].other_epoch), cases[i].taken);
        assert_owner(&m, 7, cases[i].taken ? cases[i].other : cases[i].name,
                     cases[i].taken ? cases[i].other_epoch : cases[i].epoch);
        assert_int_equal(before != owner_map_hash(&m), cases[i].taken);
        owner_map_close(&m);
    }
}

static void test_names_are_dropped(void **state)
{
    (void)state;
    struct owner_map m = map_new(256, 2);
    assert_true(set(&m, 0, "a", 1) && set(&m, 1, "a", 1) && set(&m, 2, "b", 1));
    assert_false(set(&m, 3, "c", 1));
    assert_int_equal(owner_map_refused(&m), 1);
    assert_owner(&m, 3, "", 0);
    assert_true(set(&m, 0, "b", 2) && set(&m, 1, "", 2));
    assert_true(set(&m, 3, "c", 1));
    char longest[OWNER_MAP_NAME_BYTES_MAX + 2] = {0};
    memset(longest, 'x', OWNER_MAP_NAME_BYTES_MAX + 1);
    assert_true(set(&m, 3, "", 2));
    assert_false(set(&m, 3, longest, 3));
    assert_true(set(&m, 3, longest + 1, 3));
    assert_int_equal(owner_map_refused(&m), 2);
    owner_map_close(&m);
}

static void test_changes(void **state)
{
    (void)state;
    static uint8_t out[SIZE];
    struct owner_map_diff diff;
    struct owner_map a = map_new(256, 4), b = map_new(256, 4);
    set(&a, 9, "a", 1);
    set(&a, 3, "a", 1);
    assert_int_equal(owner_map_next_change(&a), OWNER_MAP_NONE); /* its own doing */
    assert_applies(&b, out, owner_map_put_news(&a, out, SIZE), &diff);
    set(&a, 9, "b", 2);
    assert_applies(&b, out, owner_map_put_news(&a, out, SIZE), &diff);
    assert_false(diff.any);
    assert_int_equal(owner_map_next_change(&b), 9);
    assert_int_equal(owner_map_next_change(&b), 3);
    assert_int_equal(owner_map_next_change(&b), OWNER_MAP_NONE);
    assert_applies(&b, out, owner_map_put_news(&a, out, SIZE), &diff);
    assert_int_equal(owner_map_next_change(&b), OWNER_MAP_NONE); /* known */
    owner_map_close(&a);
    owner_map_close(&b);
}

/* ---- news ---- */

static void test_news_stop(void **state)
{
    (void)state;
    static const struct {
        uint32_t members, mult, times;
    } cases[] = {{0, 3, 0},           {1, 3, 0},  {2, 3, 3},    {9, 3, 3},
                 {10, 3, 6},          {99, 4, 8}, {100, 4, 12}, {3, 1000, OWNER_MAP_TOLD_MAX},
                 {UINT32_MAX, 1, 10}, {3, 0, 0}};
    static uint8_t out[SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct owner_map m = map_new(256, 4);
        owner_map_set_audience(&m, cases[i].members, cases[i].mult);
        for (uint32_t pid = 0; pid < 256; pid++)
            set(&m, pid, "a", 1 + pid % 3);
        for (uint32_t times = 0; times < cases[i].times; times++) {
            assert_true(owner_map_has_news(&m));
            assert_true(owner_map_put_news(&m, out, SIZE) > 0);
        }
        assert_false(owner_map_has_news(&m));
        assert_int_equal(owner_map_put_news(&m, out, SIZE), 0);
        set(&m, 0, "b", 9);
        assert_int_equal(owner_map_has_news(&m), cases[i].times > 0);
        owner_map_set_audience(&m, 1, 3); /* the others have gone */
        assert_false(owner_map_has_news(&m));
        owner_map_close(&m);
    }
}

/* What does not fit one payload is told by the next ones, before anything is told again. */
static void test_news_least_told_first(void **state)
{
    (void)state;
    static uint8_t out[SIZE];
    struct owner_map_diff diff;
    struct owner_map a = map_new(4096, 64), b = map_new(4096, 64);
    struct dice d = dice_new(3);
    for (uint32_t pid = 0; pid < 4096; pid++) {
        char name[32];
        snprintf(name, sizeof name, "node-%llu", (unsigned long long)dice_below(&d, 60));
        set(&a, pid, name, dice_throw(&d) & OWNER_MAP_EPOCH_MAX);
    }
    uint32_t frames = 0, first = 0, min = OWNER_MAP_PAYLOAD_BYTES_MIN;
    for (; owner_map_has_news(&a); frames++) {
        assert_applies(&b, out, owner_map_put_news(&a, out, min), &diff);
        if (first == 0 && owner_map_hash(&a) == owner_map_hash(&b))
            first = frames + 1;
    }
    assert_same(&a, &b);
    assert_in_range(frames, (first - 1) * MULT, first * MULT);
    owner_map_close(&a);
    owner_map_close(&b);
}

static void test_news_is_told_on_and_answers_are_not(void **state)
{
    (void)state;
    static uint8_t out[SIZE];
    struct owner_map_diff diff;
    struct owner_map a = map_new(256, 4), b = map_new(256, 4), c = map_new(256, 4);
    set(&a, 9, "a", 1);
    assert_applies(&b, out, owner_map_put_news(&a, out, SIZE), &diff);
    assert_true(owner_map_has_news(&b));
    exchange(&a, &c);
    assert_owner(&c, 9, "a", 1);
    assert_false(owner_map_has_news(&c));
    assert_int_equal(owner_map_next_change(&c), 9);
    owner_map_close(&a);
    owner_map_close(&b);
    owner_map_close(&c);
}

/* ---- comparing ---- */

static void test_exchange(void **state)
{
    (void)state;
    struct dice d = dice_new(11);
    for (uint32_t partitions = PARTITIONS_MIN; partitions <= PARTITIONS_MAX; partitions *= 4) {
        struct owner_map a = map_new(partitions, 300), b = map_new(partitions, 300);
        exchange(&a, &b);
        set(&a, 0, "only a", 1);
        exchange(&b, &a);
        assert_same(&a, &b);
        set(&a, partitions - 1, "only a", 1);
        exchange(&a, &b);
        assert_same(&a, &b);
        for (uint32_t i = 0; i < partitions; i++) {
            char name[32];
            snprintf(name, sizeof name, "node-%llu", (unsigned long long)dice_below(&d, 250));
            set(dice_below(&d, 2) == 0 ? &a : &b, (uint32_t)dice_below(&d, partitions), name,
                dice_throw(&d) & OWNER_MAP_EPOCH_MAX);
        }
        exchange(&a, &b);
        assert_same(&a, &b);
        owner_map_close(&a);
        owner_map_close(&b);
    }
}

/* What the other side has no room for is not asked about for ever. */
static void test_exchange_ends_when_refused(void **state)
{
    (void)state;
    struct owner_map a = map_new(256, 9), b = map_new(256, 2);
    for (uint32_t pid = 0; pid < 9; pid++)
        set(&a, pid, (const char *[]){"a", "b", "c", "d", "e", "f", "g", "h", "i"}[pid], 1);
    static uint8_t out[SIZE];
    struct owner_map_diff at_a, at_b, none;
    assert_applies(&a, out, owner_map_put_digest(&b, out, SIZE), &at_a);
    assert_int_equal(answer(&a, &b, &at_a, &at_b), 1);
    assert_true(at_b.any && !at_b.ask);
    assert_int_equal(answer(&b, &a, &at_b, &none), 1);
    assert_false(none.any);
    assert_int_equal(owner_map_refused(&b), 7);
    assert_owner(&b, 1, "b", 1);
    owner_map_close(&a);
    owner_map_close(&b);
}

/* Rows that all but fill a payload, and behind them chunks that take no rows of their own, because
 * nothing is known of them or because they go on with a run: their hashes need room, too. */
static void test_answer_keeps_room_for_hashes(void **state)
{
    (void)state;
    static const size_t sizes[] = {OWNER_MAP_PAYLOAD_BYTES_MIN, 5000, SIZE};
    struct dice d = dice_new(17);
    for (uint32_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        bool is_run = i % 2 != 0;
        size_t size = sizes[i / 2];
        struct owner_map a = map_new(PARTITIONS_MAX, 300), b = map_new(PARTITIONS_MAX, 300);
        for (uint32_t pid = 0; pid < PARTITIONS_MAX; pid++) {
            bool is_row = pid < size / 9;
            set(&a, pid, "a", 1); /* so that all differ */
            if (is_row || is_run)
                set(&b, pid, "b", is_row ? dice_throw(&d) & OWNER_MAP_EPOCH_MAX : 5);
        }
        uint8_t *out = malloc(SIZE), *in = malloc(size);
        assert_true(out != NULL && in != NULL);
        struct owner_map_diff at_b, at_a, none;
        assert_applies(&b, out, owner_map_put_digest(&a, out, SIZE), &at_b);
        uint32_t at = 0;
        struct owner_map_diff all = {0};
        for (size_t len; (len = owner_map_put_answer(&b, &at_b, &at, in, size)) != 0;) {
            assert_in_range(len, 1, size);
            assert_applies(&a, in, len, &at_a);
            for (uint32_t word = 0; word < OWNER_MAP_CHUNKS_MAX / 64; word++)
                all.chunks[word] |= at_a.chunks[word];
            all.any |= at_a.any;
        }
        answer(&a, &b, &all, &none);
        assert_same(&a, &b);
        free(out);
        free(in);
        owner_map_close(&a);
        owner_map_close(&b);
    }
}

/* ---- the size ---- */

enum epochs { ALL_THE_SAME, NEARBY, TWO_TIMELINES, FAR_APART };

static void fill(struct owner_map *m, struct dice *d, enum epochs epochs, bool scattered)
{
    static const char *const names[] = {"troupe-0.troupe.default.svc",
                                        "troupe-1.troupe.default.svc",
                                        "troupe-2.troupe.default.svc"};
    for (uint32_t pid = 0; pid < m->partitions; pid++) {
        uint64_t epoch = 5 * timeline + 1;
        if (epochs == NEARBY)
            epoch += dice_below(d, 60);
        else if (epochs == TWO_TIMELINES)
            epoch += dice_below(d, 60) - dice_below(d, 2) * timeline;
        else if (epochs == FAR_APART)
            epoch += dice_below(d, 8000);
        set(m, pid, names[scattered ? dice_below(d, 3) : pid * 3 / m->partitions], epoch);
    }
}

static void test_size(void **state)
{
    (void)state;
    static const struct {
        enum epochs epochs;
        bool scattered;
        size_t bytes_max;
    } cases[] = {
        {ALL_THE_SAME, false, 128},     {ALL_THE_SAME, true, 6 << 10}, {NEARBY, true, 9 << 10},
        {TWO_TIMELINES, true, 9 << 10}, {FAR_APART, true, 13 << 10},
    };
    static uint8_t out[SIZE];
    struct dice d = dice_new(5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct owner_map a = map_new(4096, 4), b = map_new(4096, 4), c = map_new(4096, 4);
        struct owner_map_diff diff, none;
        fill(&a, &d, cases[i].epochs, cases[i].scattered);
        size_t len = owner_map_put_news(&a, out, SIZE);
        assert_in_range(len, 1, cases[i].bytes_max);
        assert_applies(&b, out, len, &diff);
        assert_same(&a, &b);
        assert_applies(&a, out, owner_map_put_digest(&c, out, SIZE), &diff);
        assert_int_equal(answer(&a, &c, &diff, &none), 1);
        assert_same(&a, &c);
        owner_map_close(&a);
        owner_map_close(&b);
        owner_map_close(&c);
    }
}

/* ---- the bytes ---- */

/* The example of docs/protocol.md. */
static void test_bytes(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0x08, 0x08, 0x12, 0x0c, 0x06, 0x01, 0x01, 'a',
                                       0x04, 0x0d, 0x04, 0x01, 'b',  0x06, 0x04, 0x01};
    static uint8_t out[SIZE];
    struct owner_map_diff diff;
    struct owner_map a = map_new(256, 4), b = map_new(256, 4);
    for (uint32_t pid = 0; pid < 3; pid++)
        set(&a, pid, "a", 2);
    set(&a, 5, "b", 3);
    set(&a, 6, "a", 1);
    size_t len = owner_map_put_news(&a, out, SIZE);
    assert_int_equal(len, sizeof expected);
    assert_memory_equal(out, expected, len);
    assert_applies(&b, expected, sizeof expected, &diff);
    assert_same(&a, &b);
    owner_map_close(&a);
    owner_map_close(&b);
}

static void test_refused(void **state)
{
    (void)state;
#define BYTES(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})
    const struct {
        const char *what;
        const uint8_t *bytes;
        size_t len;
        int code;
    } cases[] = {
        {"a field that is not known", BYTES(8, 8, 0x7A, 1, 0), 0},
        {"no records", BYTES(8, 8, 0x12, 0), 0},
        {"ask without digest", BYTES(8, 8, 0x28, 1), 0},
        {"another number of partitions", BYTES(8, 9), TROUPE_EMALFORMED},
        {"no number of partitions", BYTES(0x12, 0), TROUPE_EMALFORMED},
        {"wrong type", BYTES(8, 8, 0x10, 1), TROUPE_EMALFORMED},
        {"no message", BYTES(8, 8, 3), TROUPE_EMALFORMED},
        {"run cut short", BYTES(8, 8, 0x12, 1, 3), TROUPE_EMALFORMED},
        {"no name", BYTES(8, 8, 0x12, 1, 0), TROUPE_EMALFORMED},
        {"name cut short", BYTES(8, 8, 0x12, 3, 0, 2, 'a'), TROUPE_EMALFORMED},
        {"epoch cut short", BYTES(8, 8, 0x12, 4, 4, 1, 'a', 0x80), TROUPE_EMALFORMED},
        {"the highest epoch",
         BYTES(8, 8, 0x12, 13, 4, 1, 'a', 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1),
         0},
        {"epoch too high",
         BYTES(8, 8, 0x12, 13, 4, 1, 'a', 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1),
         TROUPE_EMALFORMED},
        {"epoch below 0", BYTES(8, 8, 0x12, 4, 4, 1, 'a', 1), TROUPE_EMALFORMED},
        {"unnamed owner", BYTES(8, 8, 0x12, 1, 8), TROUPE_EMALFORMED},
        {"before the first partition", BYTES(8, 8, 0x12, 4, 1, 1, 1, 'a'), TROUPE_EMALFORMED},
        {"after the last one", BYTES(8, 8, 0x12, 5, 1, 0x80, 4, 1, 'a'), TROUPE_EMALFORMED},
        {"beyond the last one", BYTES(8, 8, 0x12, 5, 2, 0xFF, 1, 1, 'a'), TROUPE_EMALFORMED},
        {"too many", BYTES(8, 8, 0x12, 7, 2, 0xFE, 1, 0, 1, 1, 0), TROUPE_ELIMIT},
        {"too long", (const uint8_t[GOSSIP_FRAME_BYTES_MAX + 1]){8, 8}, GOSSIP_FRAME_BYTES_MAX + 1,
         TROUPE_ELIMIT},
        {"digest cut short", BYTES(8, 8, 0x22, 2, 0, 0), TROUPE_EMALFORMED},
        {"no such chunk", BYTES(8, 8, 0x22, 9, 16, 0, 0, 0, 0, 0, 0, 0, 0), TROUPE_EMALFORMED},
        {"last chunk", BYTES(8, 8, 0x22, 9, 15, 0, 0, 0, 0, 0, 0, 0, 0), 0},
    };
#undef BYTES
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct owner_map m = map_new(256, 4);
        struct owner_map_diff diff = {.any = true, .ask = true};
        const char *why = NULL;
        int rc = owner_map_apply(&m, troupe_bytes(cases[i].bytes, cases[i].len), &diff, &why);
        if (rc != cases[i].code || (rc != 0) != (why != NULL) || diff.any || diff.ask)
            fail_msg("%s: %s, %s", cases[i].what, troupe_error_name(rc), why == NULL ? "-" : why);
        owner_map_close(&m);
    }
}

/* Names that nobody may bear cost their own records, and nothing else in the payload. */
static void test_hostile_names(void **state)
{
    (void)state;
    static const uint32_t lens[] = {64, 127, 128, 5000};
    static uint8_t in[SIZE];
    struct owner_map_diff diff;
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct owner_map m = map_new(256, 4);
        uint32_t len = lens[i], records = 2 + 1 + (len > 127) + len + 1 + 4;
        uint8_t *at = in;
        *at++ = 8, *at++ = 8, *at++ = 0x12; /* bits; news */
        at[0] = (uint8_t)(records | 0x80), at[1] = (uint8_t)(records >> 7), at += 2;
        *at++ = 6, *at++ = 1; /* a new source, an epoch, 3 partitions */
        *at++ = (uint8_t)(len > 127 ? len | 0x80 : len);
        if (len > 127)
            *at++ = (uint8_t)(len >> 7);
        memset(at, 'x', len), at += len;
        *at++ = 2;                                         /* epoch 1 */
        *at++ = 12, *at++ = 1, *at++ = 'b', *at++ = 2 * 3; /* another one: epoch 3 */
        assert_applies(&m, in, (size_t)(at - in), &diff);
        assert_int_equal(owner_map_refused(&m), 3);
        assert_owner(&m, 0, "", 0);
        assert_owner(&m, 3, "b", 3);
        assert_int_equal(m.names.used, 1);
        owner_map_close(&m);
    }
    struct owner_map a = map_new(256, 4), b = map_new(256, 4);
    char bytes[OWNER_MAP_NAME_BYTES_MAX]; /* any bytes, NUL too, are a name to the map */
    memset(bytes, 0xFF, sizeof bytes);
    assert_true(owner_map_set(&a, 1, troupe_bytes("\0", 1), 1));
    assert_true(owner_map_set(&a, 2, troupe_bytes("a\0b", 3), 1));
    assert_true(owner_map_set(&a, 3, troupe_bytes(bytes, sizeof bytes), 1));
    exchange(&a, &b);
    assert_same(&a, &b);
    owner_map_close(&a);
    owner_map_close(&b);
}

static bool correct(struct owner_map *m, uint32_t pid, const char *name, uint64_t epoch,
                    uint32_t asked)
{
    return owner_map_correct(m, pid, troupe_bytes_of(name), epoch, asked);
}

/* News of b's, to a. */
static void tell(struct owner_map *b, struct owner_map *a)
{
    static uint8_t out[SIZE];
    struct owner_map_diff diff;
    size_t len = owner_map_put_news(b, out, SIZE);
    assert_true(len > 0);
    assert_applies(a, out, len, &diff);
}

/* The store's word counts against what was heard before it was asked, and only then. */
static void test_correct(void **state)
{
    (void)state;
    struct owner_map a = map_new(256, 8), b = map_new(256, 8), c = map_new(256, 8);
    owner_map_set_time(&a, 10);
    assert_true(set(&a, 7, "n1", 100));
    owner_map_set_time(&b, 10);
    assert_true(set(&b, 7, "n9", 5000));
    owner_map_set_time(&a, 20);
    tell(&b, &a);
    assert_owner(&a, 7, "n9", 5000);
    assert_int_equal(owner_map_heard(&a, 7), 20);
    owner_map_set_time(&a, 30);
    assert_false(correct(&a, 7, "n1", 100, 15)); /* it may have become true since */
    uint64_t doubts = owner_map_doubts(&a);
    assert_false(correct(&a, 7, "n1", 100, 20)); /* the same tick: nobody knows */
    assert_int_equal(owner_map_doubts(&a), doubts + 1);
    assert_true(correct(&a, 7, "n1", 100, 21));
    assert_owner(&a, 7, "n1", 100);
    assert_false(correct(&a, 7, "n1", 100, 30));
    /* Nor is it taken from who still has it; but that is looked into. */
    doubts = owner_map_doubts(&a);
    tell(&b, &a);
    assert_owner(&a, 7, "n1", 100);
    assert_true(owner_map_doubts(&a) > doubts);
    /* Who still has it hears that another has less: at first it may be the other who is late. */
    exchange(&a, &c); /* what is told by whom it is not, changes nothing */
    owner_map_set_time(&b, 20);
    doubts = owner_map_doubts(&b);
    tell(&a, &b);
    assert_int_equal(owner_map_doubts(&b), doubts);
    owner_map_set_time(&b, 10 + OWNER_MAP_SETTLED_TICKS);
    tell(&a, &b);
    assert_true(owner_map_doubts(&b) > doubts);
    assert_owner(&b, 7, "n9", 5000);
    assert_true(correct(&b, 7, "n1", 100, 40));
    assert_same(&a, &b);
    /* The same epoch, another name; and nobody. */
    assert_true(set(&c, 8, "n3", 50));
    owner_map_set_time(&c, 5);
    assert_true(correct(&c, 8, "n2", 50, 5));
    assert_owner(&c, 8, "n2", 50);
    owner_map_set_time(&c, 9);
    assert_true(correct(&c, 8, "", 50, 9));
    assert_owner(&c, 8, "", 50);
    /* What was wrong once is true when the store says so, whoever told it first. */
    assert_true(set(&a, 7, "n9", 5000));
    assert_owner(&a, 7, "n9", 5000);
    /* Less than what all have heard is told to us by the store: one of the two is wrong. */
    doubts = owner_map_doubts(&a);
    assert_false(set(&a, 7, "n9", 5000));
    assert_int_equal(owner_map_doubts(&a), doubts);
    assert_false(set(&a, 7, "n1", 101));
    assert_int_equal(owner_map_doubts(&a), doubts + 1);
    /* News of our own that came after the store was asked stand. */
    assert_false(correct(&a, 7, "n1", 100, 30));
    owner_map_close(&a);
    owner_map_close(&b);
    owner_map_close(&c);
}

/* Several wrong records go round: what the store has put away does not come back when it puts away
 * the next one. */
static void test_several_refuted(void **state)
{
    (void)state;
    struct owner_map a = map_new(256, 8), b[OWNER_MAP_REFUTED];
    assert_true(set(&a, 7, "n1", 100));
    for (uint32_t i = 0; i < OWNER_MAP_REFUTED; i++) {
        b[i] = map_new(256, 8);
        assert_true(set(&b[i], 7, "n9", 5000 + i));
        owner_map_set_time(&a, 10 * i);
        tell(&b[i], &a);
        assert_owner(&a, 7, "n9", 5000 + i);
        owner_map_set_time(&a, 10 * i + 5);
        assert_true(correct(&a, 7, "n1", 100, 10 * i + 5));
    }
    for (uint32_t i = 0; i < OWNER_MAP_REFUTED; i++) {
        uint64_t doubts = owner_map_doubts(&a);
        tell(&b[i], &a);
        assert_owner(&a, 7, "n1", 100);
        assert_true(owner_map_doubts(&a) > doubts);
        owner_map_close(&b[i]);
    }
    owner_map_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_names_are_dropped),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_news_stop),
        cmocka_unit_test(test_news_least_told_first),
        cmocka_unit_test(test_news_is_told_on_and_answers_are_not),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_exchange_ends_when_refused),
        cmocka_unit_test(test_answer_keeps_room_for_hashes),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_correct),
        cmocka_unit_test(test_several_refuted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
