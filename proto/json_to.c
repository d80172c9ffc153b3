/* JSON to protobuf: see json.h. A message is built as protobuf-c's struct by way of its descriptor,
 * then packed. The recursion goes as deep as the message, at most JSON_DEPTH_MAX. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/nearest.h"
#include "proto/json_walk.h"
#include "troupe/error.h"

static ProtobufCMessage *build(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                               json_t *object);

/* ---- fields ---- */

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

/* "startDate" is start_date. */
static bool is_camel_of(const char *key, const char *name)
{
    for (; *name != '\0'; name++, key++) {
        char c = *name;
        if (c == '_' && name[1] >= 'a' && name[1] <= 'z')
            c = (char)(*++name - 'a' + 'A');
        if (*key != c)
            return false;
    }
    return *key == '\0';
}

static const ProtobufCFieldDescriptor *
find_field(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor, const char *key)
{
    const ProtobufCFieldDescriptor *near = NULL;
    size_t best = 4;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &descriptor->fields[i];
        if (strcmp(f->name, key) == 0 || is_camel_of(key, f->name))
            return f;
        size_t d = nearest_distance(key, f->name);
        if (d < best) {
            best = d;
            near = f;
        }
    }
    if (near != NULL)
        json_walk_fail(w, TROUPE_EMALFORMED, "there is no field '%.40s'; did you mean '%s'?", key,
                       near->name);
    else
        json_walk_fail(w, TROUPE_EMALFORMED, "there is no field '%.40s' in %s", key,
                       descriptor->name);
    return NULL;
}

/* ---- values ---- */

static int wrong(struct json_walk *w, const char *expected, json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_walk_fail(w, TROUPE_EMALFORMED, "expected %s, not %.60s", expected,
                   text == NULL ? "that" : text);
    free(text);
    return TROUPE_EMALFORMED;
}

/* An integer, or a string of one (that is how JSON carries 64 bits). */
static int to_integer(struct json_walk *w, json_t *value, bool is_signed, unsigned bits,
                      uint64_t *out)
{
    char *end;
    const char *expected = is_signed ? "an integer" : "a non-negative integer";
    long long i = 0;
    unsigned long long u = 0;
    if (json_is_integer(value)) {
        i = json_integer_value(value);
        u = (unsigned long long)i;
        if (i < 0 && !is_signed)
            return wrong(w, expected, value);
    } else if (json_is_string(value) && json_string_length(value) > 0) {
        const char *text = json_string_value(value);
        bool negative = text[0] == '-';
        if ((text[0] < '0' || text[0] > '9') &&
            !(negative && is_signed && text[1] >= '0' && text[1] <= '9'))
            return wrong(w, expected, value);
        u = strtoull(text + negative, &end, 10);
        bool overflow = u == ULLONG_MAX && strcmp(text + negative, "18446744073709551615") != 0;
        if (*end != '\0' || overflow || (is_signed && u > (unsigned long long)LLONG_MAX + negative))
            return wrong(w, expected, value);
        i = negative ? (long long)(0 - u) : (long long)u;
    } else if (json_is_real(value) && json_real_value(value) == floor(json_real_value(value)) &&
               fabs(json_real_value(value)) < 9e15) {
        i = (long long)json_real_value(value);
        u = (unsigned long long)i;
        if (i < 0 && !is_signed)
            return wrong(w, expected, value);
    } else {
        return wrong(w, expected, value);
    }
    if (bits == 32 && is_signed && (i < INT32_MIN || i > INT32_MAX))
        return wrong(w, "an integer of 32 bits", value);
    if (bits == 32 && !is_signed && u > UINT32_MAX)
        return wrong(w, "a non-negative integer of 32 bits", value);
    *out = is_signed ? (uint64_t)i : (uint64_t)u;
    return 0;
}

static int to_real(struct json_walk *w, json_t *value, double *out)
{
    if (json_is_number(value)) {
        *out = json_number_value(value);
        return 0;
    }
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    if (strcmp(text, "NaN") == 0)
        *out = (double)NAN;
    else if (strcmp(text, "Infinity") == 0)
        *out = (double)INFINITY;
    else if (strcmp(text, "-Infinity") == 0)
        *out = -(double)INFINITY;
    else
        return wrong(w, "a number", value);
    return 0;
}

static int to_string(struct json_walk *w, json_t *value, char **out)
{
    if (!json_is_string(value))
        return wrong(w, "a string", value);
    size_t len = json_string_length(value);
    if (memchr(json_string_value(value), '\0', len) != NULL)
        return json_walk_fail(w, TROUPE_EMALFORMED, "a string must not contain \\u0000");
    *out = arena_printf(w->arena, "%s", json_string_value(value));
    return *out == NULL ? json_walk_fail(w, TROUPE_ELIMIT, "the payload is too large") : 0;
}

static int to_bytes(struct json_walk *w, json_t *value, ProtobufCBinaryData *out)
{
    if (!json_is_string(value))
        return wrong(w, "a string of base64", value);
    size_t len = json_string_length(value);
    out->data = arena_alloc(w->arena, len + 3);
    if (out->data == NULL)
        return json_walk_fail(w, TROUPE_ELIMIT, "the payload is too large");
    long n = json_base64_decode(json_string_value(value), len, out->data);
    out->len = n < 0 ? 0 : (size_t)n;
    return n < 0 ? wrong(w, "a string of base64", value) : 0;
}

static int to_enum(struct json_walk *w, const ProtobufCEnumDescriptor *descriptor, json_t *value,
                   int *out)
{
    uint64_t number;
    if (json_is_string(value)) {
        const ProtobufCEnumValue *v =
            protobuf_c_enum_descriptor_get_value_by_name(descriptor, json_string_value(value));
        if (v == NULL)
            return wrong(w, "a name of the enumeration", value);
        *out = v->value;
        return 0;
    }
    int rc = to_integer(w, value, true, 32, &number);
    *out = rc == 0 ? (int)(int64_t)number : 0;
    return rc;
}

static int to_number(struct json_walk *w, ProtobufCType type, json_t *value, void *to)
{
    uint64_t integer = 0;
    double real = 0;
    float small;
    uint32_t half;
    int rc;
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT:
        rc = to_real(w, value, &real);
        small = (float)real;
        memcpy(to, &small, 4);
        return rc;
    case PROTOBUF_C_TYPE_DOUBLE:
        rc = to_real(w, value, &real);
        memcpy(to, &real, 8);
        return rc;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        rc = to_integer(w, value, type != PROTOBUF_C_TYPE_UINT32 && type != PROTOBUF_C_TYPE_FIXED32,
                        32, &integer);
        half = (uint32_t)integer;
        memcpy(to, &half, 4);
        return rc;
    default:
        rc = to_integer(w, value, type != PROTOBUF_C_TYPE_UINT64 && type != PROTOBUF_C_TYPE_FIXED64,
                        64, &integer);
        memcpy(to, &integer, 8);
        return rc;
    }
}

static int to_value(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value, void *to)
{
    ProtobufCMessage *message;
    protobuf_c_boolean truth;
    char *text = NULL;
    int rc = 0;
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(value))
            return wrong(w, "true or false", value);
        truth = json_is_true(value);
        memcpy(to, &truth, sizeof truth);
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return to_enum(w, f->descriptor, value, to);
    case PROTOBUF_C_TYPE_STRING:
        rc = to_string(w, value, &text);
        memcpy(to, &text, sizeof text);
        return rc;
    case PROTOBUF_C_TYPE_BYTES:
        return to_bytes(w, value, to);
    case PROTOBUF_C_TYPE_MESSAGE:
        message = build(w, f->descriptor, value);
        memcpy(to, &message, sizeof(void *));
        return message == NULL ? w->error : 0;
    default:
        return to_number(w, f->type, value, to);
    }
}

/* ---- messages ---- */

static int set_repeated(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value,
                        uint8_t *message)
{
    if (!json_is_array(value))
        return wrong(w, "an array", value);
    size_t n = json_array_size(value), size = size_of(f->type);
    uint8_t *items = arena_calloc(w->arena, n, size);
    if (items == NULL)
        return json_walk_fail(w, TROUPE_ELIMIT, "the payload is too large");
    for (size_t i = 0; i < n; i++) {
        size_t mark = json_walk_enter(w, NULL, (long)i);
        int rc = to_value(w, f, json_array_get(value, i), items + i * size);
        json_walk_leave(w, mark);
        if (rc != 0)
            return rc;
    }
    memcpy(message + f->quantifier_offset, &n, sizeof n);
    memcpy(message + f->offset, &items, sizeof(void *));
    return 0;
}

static int set_single(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value,
                      uint8_t *message)
{
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t which;
        memcpy(&which, message + f->quantifier_offset, sizeof which);
        if (which != 0)
            return json_walk_fail(w, TROUPE_EMALFORMED, "only one of the alternatives can be set");
        memcpy(message + f->quantifier_offset, &f->id, sizeof which);
    } else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
               f->type != PROTOBUF_C_TYPE_MESSAGE) {
        protobuf_c_boolean has = 1;
        memcpy(message + f->quantifier_offset, &has, sizeof has);
    }
    return to_value(w, f, value, message + f->offset);
}

static int check_required(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                          json_t *object)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &descriptor->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REQUIRED && json_object_get(object, f->name) == NULL)
            return json_walk_fail(w, TROUPE_EMALFORMED, "'%s' is required", f->name);
    }
    return 0;
}

static ProtobufCMessage *build(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                               json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        wrong(w, "an object", object);
        return NULL;
    }
    if (w->depth == JSON_DEPTH_MAX) {
        json_walk_fail(w, TROUPE_ELIMIT, "nested deeper than %d", JSON_DEPTH_MAX);
        return NULL;
    }
    void *message = arena_calloc(w->arena, 1, descriptor->sizeof_message);
    if (message == NULL) {
        json_walk_fail(w, TROUPE_ELIMIT, "the payload is too large");
        return NULL;
    }
    w->depth++;
    protobuf_c_message_init(descriptor, message);
    json_object_foreach(object, key, value)
    {
        const ProtobufCFieldDescriptor *f = find_field(w, descriptor, key);
        if (f == NULL)
            break;
        if (json_is_null(value))
            continue;
        size_t mark = json_walk_enter(w, f->name, -1);
        int rc = f->label == PROTOBUF_C_LABEL_REPEATED ? set_repeated(w, f, value, message)
                                                       : set_single(w, f, value, message);
        json_walk_leave(w, mark);
        if (rc != 0)
            break;
    }
    w->depth--;
    if (w->error == 0)
        check_required(w, descriptor, object);
    return w->error == 0 ? message : NULL;
}

int json_to_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                    struct troupe_bytes text, struct troupe_bytes *packed, char why[JSON_WHY_BYTES])
{
    struct json_walk w = {.arena = arena, .why = why};
    json_error_t error;
    *packed = troupe_bytes(NULL, 0);
    why[0] = '\0';
    if (text.len == 0)
        return 0;
    if (text.len > JSON_TEXT_BYTES_MAX)
        return json_walk_fail(&w, TROUPE_ELIMIT, "the JSON text is larger than 32 MiB");
    json_t *root = json_loadb((const char *)text.data, text.len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (root == NULL)
        return json_walk_fail(&w, TROUPE_EMALFORMED, "not JSON: %s (at byte %d)", error.text,
                              error.position);
    ProtobufCMessage *message = build(&w, descriptor, root);
    json_decref(root);
    if (message == NULL)
        return w.error;
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *out = arena_alloc(arena, len);
    if (out == NULL)
        return json_walk_fail(&w, TROUPE_ELIMIT, "the payload is too large");
    *packed = troupe_bytes(out, protobuf_c_message_pack(message, out));
    return 0;
}
