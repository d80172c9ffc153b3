/* See json_scalar.h. What is accepted is in the table of ProtoJSON: numbers also as strings, enums
 * also as numbers, both alphabets of base64. */
#include "proto/json_scalar.h"

#include <math.h>

#include "base/nearest.h"
#include "proto/json_base64.h"
#include "troupe/error.h"

/* ---- errors ---- */

static struct troupe_bytes string_of(json_t *value)
{
    return troupe_bytes(json_string_value(value), json_string_length(value));
}

int json_scalar_refuse(struct json_walk *w, const char *expected, json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_walk_fail(w, TROUPE_EMALFORMED, "expected %s, not an object", expected);
    case JSON_ARRAY:
        return json_walk_fail(w, TROUPE_EMALFORMED, "expected %s, not an array", expected);
    case JSON_STRING:
        return json_walk_fail(w, TROUPE_EMALFORMED, "expected %s, not %s", expected,
                              json_walk_quote(w, string_of(value)));
    case JSON_INTEGER:
        return json_walk_fail(w, TROUPE_EMALFORMED, "expected %s, not %" JSON_INTEGER_FORMAT,
                              expected, json_integer_value(value));
    case JSON_REAL:
        return json_walk_fail(w, TROUPE_EMALFORMED, "expected %s, not %.17g", expected,
                              json_real_value(value));
    default:
        return json_walk_fail(w, TROUPE_EMALFORMED, "expected %s, not %s", expected,
                              json_is_true(value)    ? "true"
                              : json_is_false(value) ? "false"
                                                     : "null");
    }
}

/* ---- integers ---- */

struct integer {
    bool is_negative;
    bool is_huge; /* beyond 64 bits */
    uint64_t magnitude;
};

static bool integer_of_string(struct troupe_bytes text, struct integer *out)
{
    size_t i = text.len > 0 && text.data[0] == '-';
    *out = (struct integer){.is_negative = i == 1};
    if (i == text.len)
        return false;
    for (; i < text.len; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9)
            return false;
        out->is_huge |= __builtin_mul_overflow(out->magnitude, 10, &out->magnitude) ||
                        __builtin_add_overflow(out->magnitude, digit, &out->magnitude);
    }
    return true;
}

/* 1e3 and 7.0 are integers too; beyond 2^53 a double does not know. */
static bool integer_of_real(double real, struct integer *out)
{
    if (floor(real) != real || fabs(real) > 0x1p53)
        return false;
    *out = (struct integer){.is_negative = real < 0, .magnitude = (uint64_t)fabs(real)};
    return true;
}

static bool integer_of(json_t *value, struct integer *out)
{
    if (json_is_string(value))
        return integer_of_string(string_of(value), out);
    if (json_is_real(value))
        return integer_of_real(json_real_value(value), out);
    if (!json_is_integer(value))
        return false;
    int64_t i = json_integer_value(value);
    *out =
        (struct integer){.is_negative = i < 0, .magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i};
    return true;
}

static const char *range_text(bool is_signed, unsigned bits)
{
    if (bits == 32)
        return is_signed ? "an integer from -2147483648 to 2147483647"
                         : "an integer from 0 to 4294967295";
    return is_signed ? "an integer from -9223372036854775808 to 9223372036854775807"
                     : "an integer from 0 to 18446744073709551615";
}

static int read_integer(struct json_walk *w, bool is_signed, unsigned bits, json_t *value, void *to)
{
    struct integer n;
    uint64_t most = UINT64_MAX >> (64 - bits + is_signed);
    if (!integer_of(value, &n))
        return json_scalar_refuse(w, "an integer", value);
    uint64_t limit = !n.is_negative ? most : is_signed ? most + 1 : 0;
    if (n.is_huge || n.magnitude > limit)
        return json_scalar_refuse(w, range_text(is_signed, bits), value);
    uint64_t wide = n.is_negative ? 0 - n.magnitude : n.magnitude;
    uint32_t narrow = (uint32_t)wide;
    if (bits == 32)
        memcpy(to, &narrow, sizeof narrow);
    else
        memcpy(to, &wide, sizeof wide);
    return 0;
}

/* ---- reals ---- */

static bool real_of_string(struct troupe_bytes text, double *out)
{
    if (troupe_bytes_equal(text, troupe_bytes_of("NaN"))) {
        *out = (double)NAN;
        return true;
    }
    bool is_negative = text.len > 0 && text.data[0] == '-';
    struct troupe_bytes rest = troupe_bytes(text.data + is_negative, text.len - is_negative);
    if (troupe_bytes_equal(rest, troupe_bytes_of("Infinity"))) {
        *out = is_negative ? -(double)INFINITY : (double)INFINITY;
        return true;
    }
    json_t *number = json_loadb((const char *)text.data, text.len,
                                JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    bool is_number = json_is_real(number);
    *out = json_real_value(number);
    json_decref(number);
    return is_number;
}

static int read_real(struct json_walk *w, json_t *value, double *out)
{
    *out = json_number_value(value);
    if (json_is_number(value) || (json_is_string(value) && real_of_string(string_of(value), out)))
        return 0;
    return json_scalar_refuse(w, "a number", value);
}

static int read_float(struct json_walk *w, json_t *value, void *to)
{
    double real;
    int rc = read_real(w, value, &real);
    float single = (float)real;
    if (rc == 0 && isinf(single) && !isinf(real))
        return json_scalar_refuse(w, "a number of the range of a float", value);
    memcpy(to, &single, sizeof single);
    return rc;
}

static int read_double(struct json_walk *w, json_t *value, void *to)
{
    double real;
    int rc = read_real(w, value, &real);
    memcpy(to, &real, sizeof real);
    return rc;
}

/* ---- the others ---- */

static int read_bool(struct json_walk *w, json_t *value, void *to)
{
    protobuf_c_boolean truth = json_is_true(value);
    if (!json_is_boolean(value))
        return json_scalar_refuse(w, "true or false", value);
    memcpy(to, &truth, sizeof truth);
    return 0;
}

/* protobuf-c's strings end at a NUL, so they cannot contain one. */
static int read_string(struct json_walk *w, json_t *value, void *to)
{
    if (!json_is_string(value))
        return json_scalar_refuse(w, "a string", value);
    struct troupe_bytes text = string_of(value);
    if (memchr(text.data, '\0', text.len) != NULL)
        return json_walk_fail(w, TROUPE_EMALFORMED, "a string must not contain \\u0000");
    const uint8_t *copy = arena_copy(w->arena, text).data;
    memcpy(to, &copy, sizeof copy);
    return copy == NULL ? json_walk_fail_full(w) : 0;
}

static int read_bytes(struct json_walk *w, json_t *value, void *to)
{
    if (!json_is_string(value))
        return json_scalar_refuse(w, "a string of base64", value);
    struct troupe_bytes text = string_of(value);
    ProtobufCBinaryData data = {.data = arena_alloc(w->arena, text.len / 4 * 3 + 3)};
    if (data.data == NULL)
        return json_walk_fail_full(w);
    long len = json_base64_decode(text, data.data);
    if (len < 0)
        return json_scalar_refuse(w, "a string of base64", value);
    data.len = (size_t)len;
    memcpy(to, &data, sizeof data);
    return 0;
}

static const char *nearest_name(const ProtobufCEnumDescriptor *descriptor, const char *name)
{
    const char *near = descriptor->n_values == 0 ? "" : descriptor->values[0].name;
    for (unsigned i = 1; i < descriptor->n_values; i++)
        if (nearest_distance(name, descriptor->values[i].name) < nearest_distance(name, near))
            near = descriptor->values[i].name;
    return near;
}

static int read_enum(struct json_walk *w, const ProtobufCEnumDescriptor *descriptor, json_t *value,
                     void *to)
{
    if (!json_is_string(value))
        return json_is_number(value) ? read_integer(w, true, 32, value, to)
                                     : json_scalar_refuse(w, "the name of an enum value", value);
    const char *name = json_string_value(value);
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(descriptor, name);
    if (v == NULL || strlen(name) != json_string_length(value))
        return json_walk_fail(w, TROUPE_EMALFORMED, "there is no %s %s; did you mean \"%s\"?",
                              descriptor->name, json_walk_quote(w, string_of(value)),
                              nearest_name(descriptor, name));
    memcpy(to, &v->value, sizeof v->value);
    return 0;
}

int json_scalar_read(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value,
                     void *to)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(w, value, to);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(w, f->descriptor, value, to);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(w, value, to);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(w, value, to);
    case PROTOBUF_C_TYPE_FLOAT:
        return read_float(w, value, to);
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(w, value, to);
    default:
        return read_integer(w, json_walk_is_signed(f->type),
                            (unsigned)(8 * json_walk_value_size(f->type)), value, to);
    }
}
