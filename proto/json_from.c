/* Protobuf to JSON: see json.h. Unpacked by protobuf-c into the arena, walked by its descriptor.
 * The recursion goes as deep as messages are nested, at most JSON_DEPTH_MAX. */
#include "base/utf8.h"
#include "proto/json_text.h"
#include "proto/json_walk.h"
#include "proto/unpack.h"
#include "troupe/error.h"

struct printer {
    struct json_walk walk;
    struct json_text text;
    bool with_defaults;
};

static void put_message(struct printer *p, const ProtobufCMessage *message);

/* ---- values ---- */

static void put_string(struct printer *p, const char *text)
{
    struct troupe_bytes bytes = troupe_bytes_of(text);
    if (utf8_is_valid(bytes))
        json_text_put_string(&p->text, bytes);
    else
        json_walk_fail(&p->walk, TROUPE_EMALFORMED, "a string that is not UTF-8");
}

/* A number that is no value of the enum stays a number. */
static void put_enum(struct printer *p, const ProtobufCEnumDescriptor *descriptor, int number)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(descriptor, number);
    if (v == NULL)
        json_text_put_int(&p->text, number);
    else
        json_text_put_string(&p->text, troupe_bytes_of(v->name));
}

/* 64 bits are more than what JavaScript's numbers hold, so they are strings. */
static void put_wide(struct printer *p, ProtobufCType type, int64_t value)
{
    json_text_put(&p->text, "\"", 1);
    if (json_walk_is_signed(type))
        json_text_put_int(&p->text, value);
    else
        json_text_put_uint(&p->text, (uint64_t)value);
    json_text_put(&p->text, "\"", 1);
}

static void put_number(struct printer *p, ProtobufCType type, const void *at)
{
    union {
        float single;
        double real;
        int32_t narrow;
        int64_t wide;
    } v;
    size_t size = json_walk_value_size(type);
    memcpy(&v, at, size);
    if (type == PROTOBUF_C_TYPE_FLOAT)
        json_text_put_float(&p->text, v.single);
    else if (type == PROTOBUF_C_TYPE_DOUBLE)
        json_text_put_double(&p->text, v.real);
    else if (size == 4)
        json_text_put_int(&p->text,
                          json_walk_is_signed(type) ? v.narrow : (int64_t)(uint32_t)v.narrow);
    else
        put_wide(p, type, v.wide);
}

static void put_value(struct printer *p, const ProtobufCFieldDescriptor *f, const void *at)
{
    union {
        protobuf_c_boolean truth;
        int number;
        const char *text;
        ProtobufCBinaryData data;
        const ProtobufCMessage *message;
    } v;
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        memcpy(&v.truth, at, sizeof v.truth);
        json_text_put_literal(&p->text, v.truth ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        memcpy(&v.number, at, sizeof v.number);
        put_enum(p, f->descriptor, v.number);
        break;
    case PROTOBUF_C_TYPE_STRING:
        memcpy(&v.text, at, sizeof v.text);
        put_string(p, v.text);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&v.data, at, sizeof v.data);
        json_text_put_base64(&p->text, troupe_bytes(v.data.data, v.data.len));
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        memcpy(&v.message, at, sizeof v.message);
        put_message(p, v.message);
        break;
    default:
        put_number(p, f->type, at);
    }
}

/* ---- fields ---- */

static size_t element_count(const ProtobufCFieldDescriptor *f, const uint8_t *message)
{
    size_t n;
    memcpy(&n, message + f->quantifier_offset, sizeof n);
    return n;
}

static void put_array(struct printer *p, const ProtobufCFieldDescriptor *f, const uint8_t *message)
{
    const uint8_t *items;
    size_t n = element_count(f, message), size = json_walk_value_size(f->type);
    memcpy(&items, message + f->offset, sizeof items);
    json_text_put(&p->text, "[", 1);
    for (size_t i = 0; i < n && p->walk.error == 0; i++) {
        json_walk_enter_element(&p->walk, i);
        json_text_put(&p->text, ",", i > 0);
        put_value(p, f, items + i * size);
        json_walk_leave(&p->walk);
    }
    json_text_put(&p->text, "]", 1);
}

/* Whether a field without presence of its own (proto3) has its default value. */
static bool is_zero(const ProtobufCFieldDescriptor *f, const uint8_t *at)
{
    static const uint8_t zeros[8];
    const char *text;
    ProtobufCBinaryData data;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        memcpy(&text, at, sizeof text);
        return text == NULL || text[0] == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&data, at, sizeof data);
        return data.len == 0;
    default:
        return memcmp(at, zeros, json_walk_value_size(f->type)) == 0;
    }
}

/* Whether a single field is to be printed. */
static bool is_present(const struct printer *p, const ProtobufCFieldDescriptor *f,
                       const uint8_t *message)
{
    const void *pointer;
    uint32_t which;
    protobuf_c_boolean has;
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        memcpy(&which, message + f->quantifier_offset, sizeof which);
        return which == f->id;
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE ||
        (f->type == PROTOBUF_C_TYPE_STRING && f->label == PROTOBUF_C_LABEL_OPTIONAL)) {
        memcpy(&pointer, message + f->offset, sizeof pointer);
        return pointer != NULL && pointer != f->default_value;
    }
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL) {
        memcpy(&has, message + f->quantifier_offset, sizeof has);
        return has != 0;
    }
    return p->with_defaults || f->label == PROTOBUF_C_LABEL_REQUIRED ||
           !is_zero(f, message + f->offset);
}

/* ---- messages ---- */

static void put_field(struct printer *p, const ProtobufCFieldDescriptor *f, const uint8_t *message)
{
    json_walk_enter(&p->walk, f->name);
    json_text_put_string(&p->text, troupe_bytes_of(f->name));
    json_text_put(&p->text, ":", 1);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        put_array(p, f, message);
    else
        put_value(p, f, message + f->offset);
    if (p->text.is_full)
        json_walk_fail(&p->walk, TROUPE_ELIMIT, "too large for JSON");
    json_walk_leave(&p->walk);
}

static void put_message(struct printer *p, const ProtobufCMessage *message)
{
    const uint8_t *bytes = (const uint8_t *)message;
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *separator = "";
    if (p->walk.depth == JSON_DEPTH_MAX) {
        json_walk_fail(&p->walk, TROUPE_ELIMIT, "nested deeper than %d", JSON_DEPTH_MAX);
        return;
    }
    p->walk.depth++;
    json_text_put(&p->text, "{", 1);
    for (unsigned i = 0; i < descriptor->n_fields && p->walk.error == 0; i++) {
        const ProtobufCFieldDescriptor *f = &descriptor->fields[i];
        bool is_repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
        if (is_repeated ? !p->with_defaults && element_count(f, bytes) == 0
                        : !is_present(p, f, bytes))
            continue;
        json_text_put_literal(&p->text, separator);
        put_field(p, f, bytes);
        separator = ",";
    }
    json_text_put(&p->text, "}", 1);
    p->walk.depth--;
}

int json_from_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                      struct troupe_bytes packed, bool with_defaults, struct troupe_bytes *text,
                      char why[JSON_WHY_BYTES])
{
    struct printer p;
    ProtobufCMessage *message;
    json_walk_init(&p.walk, arena, why);
    p.text = (struct json_text){.arena = arena};
    p.with_defaults = with_defaults;
    *text = troupe_bytes(NULL, 0);
    int rc = unpack_message(arena, descriptor, packed, &message);
    if (rc == TROUPE_ELIMIT)
        return json_walk_fail(&p.walk, rc, "too large or nested too deep");
    if (rc != 0)
        return json_walk_fail(&p.walk, rc, "not a valid %s", descriptor->name);
    put_message(&p, message);
    json_text_put(&p.text, "", 1); /* a NUL that the length does not count */
    if (p.text.is_full)
        json_walk_fail(&p.walk, TROUPE_ELIMIT, "too large for JSON");
    if (p.walk.error != 0)
        return p.walk.error;
    *text = troupe_bytes(p.text.data, p.text.len - 1);
    return 0;
}
