/* JSON by reflection: what is written, what is understood, and what each mistake is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "base/utf8.h"
#include "proto/json.h"
#include "proto/json_base64.h"
#include "proto/unpack.h"
#include "proto/wire.h"
#include "sample.pb-c.h"
#include "sample2.pb-c.h"
#include "tests/unit/random.h"
#include "troupe/error.h"

enum { ROUNDS = 2000 };

#define BYTES(literal) troupe_bytes(literal, sizeof(literal) - 1)
#define EVERY          (&sample__every__descriptor)
#define OLD            (&sample2__old__descriptor)

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 0, 128 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

static struct troupe_bytes to_message(const ProtobufCMessageDescriptor *type, const char *text)
{
    struct troupe_bytes packed;
    char why[JSON_WHY_BYTES];
    if (json_to_message(&arena, type, troupe_bytes_of(text), &packed, why) != 0)
        fail_msg("%s\n%s", text, why);
    assert_string_equal(why, "");
    return packed;
}

static const char *from_message(const ProtobufCMessageDescriptor *type, struct troupe_bytes packed,
                                bool with_defaults)
{
    struct troupe_bytes text;
    char why[JSON_WHY_BYTES];
    if (json_from_message(&arena, type, packed, with_defaults, &text, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(text.data[text.len], '\0');
    return (const char *)text.data;
}

static const Sample__Every *every(const char *text)
{
    ProtobufCMessage *message;
    assert_int_equal(unpack_message(&arena, EVERY, to_message(EVERY, text), &message), 0);
    return (const Sample__Every *)message;
}

/* ---- there and back ---- */

static void texts_come_back_in_one_form(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* NULL: the same */
    } cases[] = {
        {"{}", NULL},
        {"", "{}"},
        {" {\n} ", "{}"},
        {"{\"a_int32\":-2147483648,\"a_sint32\":-1,\"a_sfixed32\":2147483647,"
         "\"a_uint32\":4294967295,\"a_fixed32\":1}",
         NULL},
        {"{\"a_int64\":\"-9223372036854775808\",\"a_sint64\":\"-1\","
         "\"a_sfixed64\":\"9223372036854775807\",\"a_uint64\":\"18446744073709551615\","
         "\"a_fixed64\":\"1\"}",
         NULL},
        {"{\"a_int64\":-9223372036854775808,\"a_uint64\":9223372036854775807}",
         "{\"a_int64\":\"-9223372036854775808\",\"a_uint64\":\"9223372036854775807\"}"},
        {"{\"a_int32\":\"-7\",\"a_uint32\":\"007\",\"a_int64\":1e3,\"a_sint32\":7.0}",
         "{\"a_int32\":-7,\"a_sint32\":7,\"a_uint32\":7,\"a_int64\":\"1000\"}"},
        {"{\"a_float\":0.1,\"a_double\":0.1}", NULL},
        {"{\"a_float\":16777216,\"a_double\":1e+300}", NULL},
        {"{\"a_float\":3.4028235e+38,\"a_double\":2.2250738585072014e-308}", NULL},
        {"{\"a_float\":\"NaN\",\"a_double\":\"-Infinity\"}", NULL},
        {"{\"a_float\":\"Infinity\",\"a_double\":\"NaN\"}", NULL},
        {"{\"a_float\":\"1.5\",\"a_double\":\"-2e3\"}", "{\"a_float\":1.5,\"a_double\":-2000}"},
        {"{\"doubles\":[-0.0]}", NULL},
        {"{\"a_bool\":true}", NULL},
        {"{\"a_bool\":false}", "{}"},
        {"{\"a_string\":\"\\\" \\\\ / \\b\\f\\n\\r\\t \\u0001 \\u007f é € 😀\"}",
         "{\"a_string\":\"\\\" \\\\ / \\b\\f\\n\\r\\t \\u0001 \x7f é € 😀\"}"},
        {"{\"a_string\":\"\\ud83d\\ude00\"}", "{\"a_string\":\"😀\"}"},
        {"{\"a_bytes\":\"-_8=\"}", "{\"a_bytes\":\"+/8=\"}"},
        {"{\"a_bytes\":\"YQ\"}", "{\"a_bytes\":\"YQ==\"}"},
        {"{\"a_colour\":\"GREEN\"}", NULL},
        {"{\"a_colour\":-2}", "{\"a_colour\":\"GREEN\"}"},
        {"{\"a_colour\":99}", NULL},
        {"{\"leaf\":{}}", NULL},
        {"{\"leaf\":{\"name\":\"x\",\"price\":\"5\"}}", NULL},
        {"{\"int32s\":[1,0,-1],\"uint64s\":[\"0\",\"1\"],\"doubles\":[0,0.5],"
         "\"bools\":[true,false],\"strings\":[\"\",\"a\"],\"blobs\":[\"\",\"AA==\"],"
         "\"colours\":[\"BLACK\",\"RED\"],\"leaves\":[{},{\"name\":\"l\"}]}",
         NULL},
        {"{\"int32s\":[]}", "{}"},
        {"{\"by_name\":[{\"key\":\"k\",\"value\":{\"price\":\"1\"}}]}", NULL},
        {"{\"text\":\"\"}", NULL},
        {"{\"number\":0}", NULL},
        {"{\"chosen\":{}}", NULL},
        {"{\"data\":\"\"}", NULL},
        {"{\"text\":null,\"number\":1}", "{\"number\":1}"},
        {"{\"aInt32\":5,\"byName\":null,\"oddName2x\":6}", "{\"a_int32\":5,\"odd__name_2x\":6}"},
        {"{\"a_int32\":null,\"leaf\":null,\"int32s\":null}", "{}"},
        {"{\"inner\":{\"inner\":{\"a_int32\":1}}}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct troupe_bytes packed = to_message(EVERY, cases[i].in);
        assert_string_equal(from_message(EVERY, packed, false),
                            cases[i].out != NULL ? cases[i].out : cases[i].in);
    }
}

static void fields_arrive_where_they_belong(void **state)
{
    (void)state;
    const Sample__Every *m =
        every("{\"a_int32\":-1,\"a_fixed64\":\"18446744073709551615\",\"a_float\":0.5,"
              "\"a_bool\":true,\"a_string\":\"s\",\"a_bytes\":\"AAEC\",\"a_colour\":\"GREEN\","
              "\"leaf\":{\"name\":\"n\"},\"doubles\":[1.5,\"NaN\"],\"leaves\":[{\"price\":9}],"
              "\"chosen\":{\"name\":\"c\"}}");
    assert_int_equal(m->a_int32, -1);
    assert_true(m->a_fixed64 == UINT64_MAX);
    assert_true(m->a_float == 0.5f);
    assert_true(m->a_bool);
    assert_string_equal(m->a_string, "s");
    assert_int_equal(m->a_bytes.len, 3);
    assert_memory_equal(m->a_bytes.data, "\0\1\2", 3);
    assert_int_equal(m->a_colour, SAMPLE__COLOUR__GREEN);
    assert_string_equal(m->leaf->name, "n");
    assert_int_equal(m->n_doubles, 2);
    assert_true(m->doubles[0] == 1.5 && isnan(m->doubles[1]));
    assert_int_equal(m->leaves[0]->price, 9);
    assert_int_equal(m->choice_case, SAMPLE__EVERY__CHOICE_CHOSEN);
    assert_string_equal(m->chosen->name, "c");
}

static void defaults_are_printed_on_demand(void **state)
{
    (void)state;
    assert_string_equal(
        from_message(EVERY, to_message(EVERY, "{}"), true),
        "{\"a_int32\":0,\"a_sint32\":0,\"a_sfixed32\":0,\"a_uint32\":0,\"a_fixed32\":0,"
        "\"a_int64\":\"0\",\"a_sint64\":\"0\",\"a_sfixed64\":\"0\",\"a_uint64\":\"0\","
        "\"a_fixed64\":\"0\",\"a_float\":0,\"a_double\":0,\"a_bool\":false,\"a_string\":\"\","
        "\"a_bytes\":\"\",\"a_colour\":\"BLACK\",\"int32s\":[],\"uint64s\":[],\"doubles\":[],"
        "\"bools\":[],\"strings\":[],\"blobs\":[],\"colours\":[],\"leaves\":[],\"by_name\":[],"
        "\"many\":[],"
        "\"odd__name_2x\":0}");
    assert_string_equal(from_message(&sample__leaf__descriptor, BYTES("\x0a\x01x"), true),
                        "{\"name\":\"x\",\"price\":\"0\"}");
}

static void presence_of_proto2_is_kept(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"name\":\"\"}", "{\"name\":\"\",\"count\":3}"},
        {"{\"name\":\"a\",\"count\":0,\"level\":7,\"label\":\"none\",\"flag\":false,\"raw\":\"\"}",
         NULL},
        {"{\"name\":\"a\",\"count\":1,\"numbers\":[0]}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int with_defaults = 0; with_defaults < 2; with_defaults++) {
            const char *out = from_message(OLD, to_message(OLD, cases[i].in), with_defaults);
            char expected[256];
            snprintf(expected, sizeof expected, "%s",
                     cases[i].out != NULL ? cases[i].out : cases[i].in);
            if (with_defaults && strstr(expected, "numbers") == NULL)
                strcpy(strrchr(expected, '}'), ",\"numbers\":[]}");
            assert_string_equal(out, expected);
        }
}

/* ---- mistakes ---- */

static void expect_why(const ProtobufCMessageDescriptor *type, const char *text,
                       const char *expected)
{
    struct troupe_bytes packed;
    char why[JSON_WHY_BYTES];
    int rc = json_to_message(&arena, type, troupe_bytes_of(text), &packed, why);
    if (rc != TROUPE_EMALFORMED || strcmp(why, expected) != 0)
        fail_msg("%s\ngives %d %s\nexpected %s", text, rc, why, expected);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{\"a_int32\":\"ten\"}", "a_int32: expected an integer, not \"ten\""},
        {"{\"a_int32\":true}", "a_int32: expected an integer, not true"},
        {"{\"a_int32\":1.5}", "a_int32: expected an integer, not 1.5"},
        {"{\"a_int32\":1e300}", "a_int32: expected an integer, not 1.0000000000000001e+300"},
        {"{\"a_int32\":2147483648}",
         "a_int32: expected an integer from -2147483648 to 2147483647, not 2147483648"},
        {"{\"a_int32\":\"12\\u00003\"}", "a_int32: expected an integer, not \"12\\u00003\""},
        {"{\"a_uint32\":-1}", "a_uint32: expected an integer from 0 to 4294967295, not -1"},
        {"{\"a_int64\":\"9223372036854775808\"}",
         "a_int64: expected an integer from -9223372036854775808 to 9223372036854775807, not "
         "\"9223372036854775808\""},
        {"{\"a_int64\":\"-9223372036854775809\"}",
         "a_int64: expected an integer from -9223372036854775808 to 9223372036854775807, not "
         "\"-9223372036854775809\""},
        {"{\"a_uint64\":\"18446744073709551616\"}",
         "a_uint64: expected an integer from 0 to 18446744073709551615, not "
         "\"18446744073709551616\""},
        {"{\"a_uint64\":18446744073709551615}",
         "not JSON: too big integer near '18446744073709551615' (at byte 32); write integers "
         "beyond "
         "9223372036854775807 as strings"},
        {"{\"a_uint64\":\"\"}", "a_uint64: expected an integer, not \"\""},
        {"{\"a_uint64\":\"-\"}", "a_uint64: expected an integer, not \"-\""},
        {"{\"a_float\":1e39}",
         "a_float: expected a number of the range of a float, not 9.9999999999999994e+38"},
        {"{\"a_double\":\"0x10\"}", "a_double: expected a number, not \"0x10\""},
        {"{\"a_double\":\"\"}", "a_double: expected a number, not \"\""},
        {"{\"a_double\":\"1,5\"}", "a_double: expected a number, not \"1,5\""},
        {"{\"a_double\":\"[1]\"}", "a_double: expected a number, not \"[1]\""},
        {"{\"a_double\":{}}", "a_double: expected a number, not an object"},
        {"{\"a_bool\":1}", "a_bool: expected true or false, not 1"},
        {"{\"a_string\":5}", "a_string: expected a string, not 5"},
        {"{\"a_string\":\"a\\u0000b\"}", "a_string: a string must not contain \\u0000"},
        {"{\"a_bytes\":\"=\"}", "a_bytes: expected a string of base64, not \"=\""},
        {"{\"a_bytes\":\"Y\"}", "a_bytes: expected a string of base64, not \"Y\""},
        {"{\"a_bytes\":\"YQ=\"}", "a_bytes: expected a string of base64, not \"YQ=\""},
        {"{\"a_bytes\":\"Y Q=\"}", "a_bytes: expected a string of base64, not \"Y Q=\""},
        {"{\"a_bytes\":[1]}", "a_bytes: expected a string of base64, not an array"},
        {"{\"a_colour\":\"GREN\"}",
         "a_colour: there is no sample.Colour \"GREN\"; did you mean \"GREEN\"?"},
        {"{\"a_colour\":\"RED\\u0000\"}",
         "a_colour: there is no sample.Colour \"RED\\u0000\"; did you mean \"RED\"?"},
        {"{\"a_colour\":[]}", "a_colour: expected the name of an enum value, not an array"},
        {"{\"leaf\":5}", "leaf: expected an object, not 5"},
        {"{\"leaf\":{\"pirce\":1}}", "leaf: there is no field \"pirce\"; did you mean 'price'?"},
        {"{\"leaf\":{\"colour\":1}}", "leaf: there is no field \"colour\" in sample.Leaf"},
        {"{\"int32s\":5}", "int32s: expected an array, not 5"},
        {"{\"int32s\":[1,null]}", "int32s[1]: expected an integer, not null"},
        {"{\"leaves\":[{},{},{},{\"price\":\"x\"}]}",
         "leaves[3].price: expected an integer, not \"x\""},
        {"{\"by_name\":{\"k\":{}}}", "by_name: expected an array, not an object"},
        {"{\"text\":\"a\",\"number\":1}", "number: cannot be set together with 'text'"},
        {"{\"a_int32\":1,\"aInt32\":2}", "a_int32: given twice, in two spellings"},
        {"{\"a_int32\":1,\"a_int32\":2}",
         "not JSON: duplicate object key near '\"a_int32\"' (at byte 22)"},
        {"[]", "expected an object, not an array"},
        {"null", "not JSON: '[' or '{' expected near 'null' (at byte 4)"},
        {"{\"a_int32\":1", "not JSON: '}' expected near end of file (at byte 12)"},
        {"{} x", "not JSON: end of file expected near 'x' (at byte 4)"},
        {"{\"a_string\":\"\xff\"}", "not JSON: unable to decode byte 0xff near '\"' (at byte 13)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_why(EVERY, cases[i].text, cases[i].why);
    expect_why(OLD, "{}", "the field 'name' is required");
    expect_why(OLD, "{\"name\":null}", "the field 'name' is required");
}

static void long_texts_are_quoted_in_part(void **state)
{
    (void)state;
    char text[512] = "{\"a_bool\":\"";
    for (size_t i = 0; i < 100; i++)
        strcat(text, "é");
    strcat(text, "\"}");
    expect_why(EVERY, text, "a_bool: expected true or false, not \"éééééééééééééééééééééééé\"…");
}

static void whatever_it_says_is_one_line_of_utf8(void **state)
{
    (void)state;
    struct dice dice = dice_new(3);
    for (size_t round = 0; round < ROUNDS; round++) {
        char key[200], text[512];
        size_t len = dice_below(&dice, sizeof key);
        for (size_t i = 0; i < len; i++)
            key[i] = "é\n\\\"x€"[dice_below(&dice, 10)];
        int n =
            snprintf(text, sizeof text, "{\"%.*s\":{\"%.*s\":1}}", (int)len, key, (int)len, key);
        struct troupe_bytes packed;
        char why[JSON_WHY_BYTES];
        assert_int_not_equal(
            json_to_message(&arena, EVERY, troupe_bytes(text, (size_t)n), &packed, why), 0);
        assert_true(utf8_is_valid(troupe_bytes_of(why)));
        assert_true(why[0] != '\0' && strchr(why, '\n') == NULL);
        arena_reset(&arena);
    }
}

static void bytes_that_are_no_message_are_refused(void **state)
{
    (void)state;
    struct troupe_bytes text;
    char why[JSON_WHY_BYTES];
    assert_int_equal(json_from_message(&arena, EVERY, BYTES("\x08"), false, &text, why),
                     TROUPE_EMALFORMED);
    assert_string_equal(why, "not a valid sample.Every");
    assert_int_equal(
        json_from_message(&arena, EVERY, BYTES("\x8a\x01\x03\x0a\x01\xff"), false, &text, why),
        TROUPE_EMALFORMED);
    assert_string_equal(why, "leaf.name: a string that is not UTF-8");
    assert_int_equal(json_from_message(&arena, OLD, BYTES(""), false, &text, why),
                     TROUPE_EMALFORMED);
}

/* ---- limits ---- */

/* {"inner":{"inner": … }} or so, `depth` objects in all. */
static char *nested_text(size_t depth, const char *opening, const char *closing)
{
    char *text = arena_alloc(&arena, 16 * depth), *at = text;
    for (size_t i = 1; i < depth; i++)
        at = stpcpy(at, opening);
    at = stpcpy(at, "{}");
    for (size_t i = 1; i < depth; i++)
        at = stpcpy(at, closing);
    return text;
}

/* An `inner` in an `inner` …, `depth` messages in all, built from the innermost. */
static struct troupe_bytes nested_message(size_t depth)
{
    enum { HEAD_MAX = 2 + WIRE_SHORT_BYTES_MAX };
    size_t room = depth * HEAD_MAX, len = 0;
    uint8_t *data = arena_alloc(&arena, room);
    for (size_t i = 1; i < depth; i++) {
        uint8_t head[HEAD_MAX], *end = wire_put_varint(head, WIRE_TAG(40, WIRE_BYTES));
        end = wire_put_varint(end, len);
        len += (size_t)(end - head);
        memcpy(data + room - len, head, (size_t)(end - head));
    }
    return troupe_bytes(data + room - len, len);
}

static void depth_is_limited(void **state)
{
    (void)state;
    struct troupe_bytes packed, text;
    ProtobufCMessage *message;
    char why[JSON_WHY_BYTES];
    static const char *const brackets[][2] = {{"{\"inner\":", "}"}, {"{\"many\":[", "]}"}};
    for (size_t i = 0; i < 2; i++) {
        const char *open = brackets[i][0], *close = brackets[i][1];
        packed = to_message(EVERY, nested_text(JSON_DEPTH_MAX, open, close));
        from_message(EVERY, packed, false);
        const char *deeper = nested_text(JSON_DEPTH_MAX + 1, open, close);
        assert_int_equal(json_to_message(&arena, EVERY, troupe_bytes_of(deeper), &packed, why),
                         TROUPE_ELIMIT);
        assert_non_null(strstr(why, "nested deeper than 32"));
        deeper = nested_text(100000, open, close);
        assert_int_not_equal(json_to_message(&arena, EVERY, troupe_bytes_of(deeper), &packed, why),
                             0);
    }

    from_message(EVERY, nested_message(JSON_DEPTH_MAX), false);
    assert_int_equal(
        json_from_message(&arena, EVERY, nested_message(JSON_DEPTH_MAX + 1), false, &text, why),
        TROUPE_ELIMIT);
    assert_non_null(strstr(why, "nested deeper than 32"));
    assert_int_equal(unpack_message(&arena, EVERY, nested_message(UNPACK_DEPTH_MAX), &message), 0);
    assert_int_equal(unpack_message(&arena, EVERY, nested_message(UNPACK_DEPTH_MAX + 1), &message),
                     TROUPE_ELIMIT);
    /* without the check this is the end of the stack */
    assert_int_equal(unpack_message(&arena, EVERY, nested_message(1000000), &message),
                     TROUPE_ELIMIT);
}

static void values_are_limited(void **state)
{
    (void)state;
    struct troupe_bytes packed;
    char why[JSON_WHY_BYTES], *text = malloc(2 * JSON_VALUES_MAX + 64);
    char *at = text + sprintf(text, "{\"int32s\":[");
    for (size_t i = 0; i < JSON_VALUES_MAX - 2; i++)
        at += sprintf(at, "1,");
    strcpy(at - 1, "]}"); /* with the object and the array that is the limit */
    assert_int_equal(json_to_message(&arena, EVERY, troupe_bytes_of(text), &packed, why), 0);
    strcpy(at - 1, ",1]}");
    assert_int_equal(json_to_message(&arena, EVERY, troupe_bytes_of(text), &packed, why),
                     TROUPE_ELIMIT);
    assert_non_null(strstr(why, "262,144"));
    /* what looks like values in a string is not counted */
    at = text + sprintf(text, "{\"a_string\":\"");
    memset(at, ',', JSON_VALUES_MAX + 10);
    strcpy(at + JSON_VALUES_MAX + 10, "\\\"[{\"}");
    assert_int_equal(json_to_message(&arena, EVERY, troupe_bytes_of(text), &packed, why), 0);
    free(text);
}

static void sizes_are_limited(void **state)
{
    (void)state;
    struct troupe_bytes packed, text;
    char why[JSON_WHY_BYTES], *large = malloc(JSON_TEXT_BYTES_MAX + 1);
    memset(large, ' ', JSON_TEXT_BYTES_MAX + 1);
    memcpy(large, "{}", 2);
    assert_int_equal(
        json_to_message(&arena, EVERY, troupe_bytes(large, JSON_TEXT_BYTES_MAX), &packed, why), 0);
    assert_int_equal(
        json_to_message(&arena, EVERY, troupe_bytes(large, JSON_TEXT_BYTES_MAX + 1), &packed, why),
        TROUPE_ELIMIT);
    /* 7 MiB of 0x01 are 42 MiB of \u0001 */
    memset(large, 1, 7 << 20);
    uint8_t *end = wire_put_part((uint8_t *)large, 14, (7 << 20) - 6);
    struct troupe_bytes message =
        troupe_bytes(large, (size_t)(end - (uint8_t *)large) + (7 << 20) - 6);
    assert_int_equal(json_from_message(&arena, EVERY, message, false, &text, why), TROUPE_ELIMIT);
    assert_string_equal(why, "a_string: too large for JSON");
    free(large);
}

/* Every allocation refused in turn: an error, or by and by success; never a crash or a leak. */
static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    const char *text =
        "{\"a_string\":\"0123456789\",\"blobs\":[\"AAAA\"],\"leaves\":[{\"name\":\"x\"},{}],"
        "\"chosen\":{\"price\":5},\"doubles\":[1,2,3]}";
    struct troupe_bytes packed = to_message(EVERY, text), result;
    char why[JSON_WHY_BYTES];
    int to = TROUPE_ELIMIT, from = TROUPE_ELIMIT;
    for (size_t limit = 16; to != 0 || from != 0; limit += 16) {
        struct arena small;
        arena_init(&small, 16, limit);
        to = json_to_message(&small, EVERY, troupe_bytes_of(text), &result, why);
        assert_true(to == 0 || to == TROUPE_ELIMIT);
        arena_close(&small);
        arena_init(&small, 16, limit);
        from = json_from_message(&small, EVERY, packed, false, &result, why);
        assert_true(from == 0 || (from == TROUPE_ELIMIT && why[0] != '\0'));
        arena_close(&small);
        assert_true(limit < 16 << 10);
    }
}

/* ---- at random ---- */

static const char *random_string(struct dice *dice)
{
    static const char *const letters[] = {"a", "\"", "\\", "\n", "\x01", "é", "€", "😀", "/", " "};
    char *text = arena_alloc(&arena, 100), *at = text;
    *at = '\0';
    for (uint64_t n = dice_below(dice, 12); n > 0; n--)
        at = stpcpy(at, letters[dice_below(dice, 10)]);
    return text;
}

static double random_real(struct dice *dice)
{
    union {
        uint64_t bits;
        double real;
    } u = {.bits = dice_throw(dice)};
    switch (dice_below(dice, 4)) {
    case 0:
        return isnan(u.real) ? 0 : u.real; /* of any magnitude */
    case 1:
        return (double)(int64_t)u.bits;
    case 2:
        return (double)(int8_t)u.bits / 10;
    default:
        return u.bits % 2 == 0 ? -(double)INFINITY : -0.0;
    }
}

static uint64_t random_number(struct dice *dice)
{
    uint64_t n = dice_throw(dice) >> dice_below(dice, 64);
    return dice_below(dice, 2) == 0 ? n : 0 - n;
}

static Sample__Leaf *random_leaf(struct dice *dice)
{
    Sample__Leaf *leaf = arena_alloc(&arena, sizeof *leaf);
    sample__leaf__init(leaf);
    leaf->name = (char *)(uintptr_t)random_string(dice);
    leaf->price = (int64_t)random_number(dice);
    return leaf;
}

static ProtobufCBinaryData random_data(struct dice *dice)
{
    ProtobufCBinaryData data = {.len = dice_below(dice, 20)};
    data.data = arena_alloc(&arena, data.len);
    for (size_t i = 0; i < data.len; i++)
        data.data[i] = (uint8_t)dice_throw(dice);
    return data;
}

static void random_arrays(struct dice *dice, Sample__Every *m)
{
    size_t n = dice_below(dice, 4);
    m->n_int32s = m->n_uint64s = m->n_doubles = m->n_strings = m->n_blobs = m->n_leaves = n;
    m->int32s = arena_alloc(&arena, n * sizeof *m->int32s);
    m->uint64s = arena_alloc(&arena, n * sizeof *m->uint64s);
    m->doubles = arena_alloc(&arena, n * sizeof *m->doubles);
    m->strings = arena_alloc(&arena, n * sizeof *m->strings);
    m->blobs = arena_alloc(&arena, n * sizeof *m->blobs);
    m->leaves = arena_alloc(&arena, n * sizeof *m->leaves);
    for (size_t i = 0; i < n; i++) {
        m->int32s[i] = (int32_t)random_number(dice);
        m->uint64s[i] = random_number(dice);
        m->doubles[i] = random_real(dice);
        m->strings[i] = (char *)(uintptr_t)random_string(dice);
        m->blobs[i] = random_data(dice);
        m->leaves[i] = random_leaf(dice);
    }
}

static void random_choice(struct dice *dice, Sample__Every *m)
{
    static const Sample__Every__ChoiceCase cases[] = {
        SAMPLE__EVERY__CHOICE__NOT_SET, SAMPLE__EVERY__CHOICE_TEXT, SAMPLE__EVERY__CHOICE_NUMBER,
        SAMPLE__EVERY__CHOICE_CHOSEN, SAMPLE__EVERY__CHOICE_DATA};
    m->choice_case = cases[dice_below(dice, 5)];
    if (m->choice_case == SAMPLE__EVERY__CHOICE_TEXT)
        m->text = (char *)(uintptr_t)random_string(dice);
    if (m->choice_case == SAMPLE__EVERY__CHOICE_NUMBER)
        m->number = (int32_t)random_number(dice);
    if (m->choice_case == SAMPLE__EVERY__CHOICE_CHOSEN)
        m->chosen = random_leaf(dice);
    if (m->choice_case == SAMPLE__EVERY__CHOICE_DATA)
        m->data = random_data(dice);
}

static Sample__Every *random_every(struct dice *dice, unsigned depth)
{
    Sample__Every *m = arena_alloc(&arena, sizeof *m);
    sample__every__init(m);
    m->a_int32 = (int32_t)random_number(dice);
    m->a_sint32 = (int32_t)random_number(dice);
    m->a_sfixed32 = (int32_t)random_number(dice);
    m->a_uint32 = (uint32_t)random_number(dice);
    m->a_fixed32 = (uint32_t)random_number(dice);
    m->a_int64 = (int64_t)random_number(dice);
    m->a_sint64 = (int64_t)random_number(dice);
    m->a_sfixed64 = (int64_t)random_number(dice);
    m->a_uint64 = random_number(dice);
    m->a_fixed64 = random_number(dice);
    m->a_float = (float)random_real(dice);
    m->a_double = random_real(dice);
    m->a_bool = (protobuf_c_boolean)dice_below(dice, 2);
    m->a_string = (char *)(uintptr_t)random_string(dice);
    m->a_bytes = random_data(dice);
    m->a_colour = (Sample__Colour)((int)dice_below(dice, 5) - 2);
    m->leaf = dice_below(dice, 2) == 0 ? random_leaf(dice) : NULL;
    random_arrays(dice, m);
    random_choice(dice, m);
    if (depth < 5 && dice_below(dice, 2) == 0)
        m->inner = random_every(dice, depth + 1);
    return m;
}

static void random_messages_come_back(void **state)
{
    (void)state;
    struct dice dice = dice_new(4);
    for (size_t round = 0; round < ROUNDS; round++) {
        const ProtobufCMessage *message = &random_every(&dice, 0)->base;
        uint8_t *packed = arena_alloc(&arena, protobuf_c_message_get_packed_size(message));
        size_t len = protobuf_c_message_pack(message, packed);
        for (int with_defaults = 0; with_defaults < 2; with_defaults++) {
            const char *text = from_message(EVERY, troupe_bytes(packed, len), with_defaults);
            assert_true(utf8_is_valid(troupe_bytes_of(text)));
            struct troupe_bytes back = to_message(EVERY, text);
            if (!troupe_bytes_equal(back, troupe_bytes(packed, len)))
                fail_msg("does not come back: %s", text);
        }
        arena_reset(&arena);
    }
}

static void base64_comes_back(void **state)
{
    (void)state;
    struct dice dice = dice_new(5);
    for (size_t len = 0; len < 100; len++) {
        uint8_t data[100], back[100];
        char text[140];
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)dice_throw(&dice);
        size_t n = json_base64_encode(troupe_bytes(data, len), text);
        assert_int_equal(n, json_base64_size(len));
        assert_int_equal(json_base64_decode(troupe_bytes(text, n), back), len);
        assert_memory_equal(back, data, len);
        while (n > 0 && text[n - 1] == '=')
            n--;
        assert_int_equal(json_base64_decode(troupe_bytes(text, n), back), len);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(texts_come_back_in_one_form),
        TEST(fields_arrive_where_they_belong),
        TEST(defaults_are_printed_on_demand),
        TEST(presence_of_proto2_is_kept),
        TEST(mistakes_are_named),
        TEST(long_texts_are_quoted_in_part),
        TEST(whatever_it_says_is_one_line_of_utf8),
        TEST(bytes_that_are_no_message_are_refused),
        TEST(depth_is_limited),
        TEST(values_are_limited),
        TEST(sizes_are_limited),
        TEST(a_full_arena_is_an_error),
        TEST(random_messages_come_back),
        TEST(base64_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
