/* Protobuf to JSON: see json.h. Unpacked by protobuf-c into the arena, walked by descriptor,
 * written by jansson. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "proto/arena_allocator.h"
#include "proto/json_walk.h"
#include "troupe/error.h"

static json_t *from_message(struct json_walk *w, const ProtobufCMessage *message,
                            bool with_defaults);

static json_t *from_real(double value)
{
    if (isnan(value))
        return json_string("NaN");
    if (isinf(value))
        return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

static json_t *from_text(struct json_walk *w, const char *text)
{
    if (text == NULL)
        return json_string("");
    if (!utf8_is_valid(troupe_bytes_of(text))) {
        json_walk_fail(w, TROUPE_EMALFORMED, "a string that is not UTF-8");
        return NULL;
    }
    return json_string_nocheck(text);
}

static json_t *from_bytes(struct json_walk *w, const ProtobufCBinaryData *data)
{
    char *text = arena_alloc(w->arena, json_base64_size(data->len));
    if (text == NULL) {
        json_walk_fail(w, TROUPE_ELIMIT, "too large for JSON");
        return NULL;
    }
    json_base64_encode(data->data, data->len, text);
    return json_string_nocheck(text);
}

static json_t *from_enum(const ProtobufCEnumDescriptor *descriptor, int number)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(descriptor, number);
    return v == NULL ? json_integer(number) : json_string(v->name);
}

static json_t *from_64(const void *at, bool is_signed)
{
    char text[24];
    uint64_t u;
    int64_t i;
    memcpy(&u, at, 8);
    memcpy(&i, at, 8);
    if (is_signed)
        snprintf(text, sizeof text, "%lld", (long long)i);
    else
        snprintf(text, sizeof text, "%llu", (unsigned long long)u);
    return json_string(text);
}

static json_t *from_number(ProtobufCType type, const void *at)
{
    float small;
    double real;
    int32_t i;
    uint32_t u;
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT:
        memcpy(&small, at, 4);
        return from_real((double)small);
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&real, at, 8);
        return from_real(real);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        memcpy(&i, at, 4);
        return json_integer(i);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        memcpy(&u, at, 4);
        return json_integer(u);
    default:
        return from_64(at, type != PROTOBUF_C_TYPE_UINT64 && type != PROTOBUF_C_TYPE_FIXED64);
    }
}

static json_t *from_value(struct json_walk *w, const ProtobufCFieldDescriptor *f, const void *at,
                          bool with_defaults)
{
    protobuf_c_boolean truth;
    const char *text;
    const ProtobufCMessage *message;
    int number;
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        memcpy(&truth, at, sizeof truth);
        return json_boolean(truth);
    case PROTOBUF_C_TYPE_ENUM:
        memcpy(&number, at, sizeof number);
        return from_enum(f->descriptor, number);
    case PROTOBUF_C_TYPE_STRING:
        memcpy(&text, at, sizeof(void *));
        return from_text(w, text);
    case PROTOBUF_C_TYPE_BYTES:
        return from_bytes(w, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        memcpy(&message, at, sizeof(void *));
        return from_message(w, message, with_defaults);
    default:
        return from_number(f->type, at);
    }
}

static size_t stride(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
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

static json_t *from_repeated(struct json_walk *w, const ProtobufCFieldDescriptor *f,
                             const uint8_t *message, bool with_defaults)
{
    size_t n;
    const uint8_t *items;
    memcpy(&n, message + f->quantifier_offset, sizeof n);
    memcpy(&items, message + f->offset, sizeof(void *));
    if (n == 0 && !with_defaults)
        return NULL;
    json_t *array = json_array();
    for (size_t i = 0; i < n && w->error == 0; i++) {
        json_t *item = from_value(w, f, items + i * stride(f), with_defaults);
        if (item == NULL || json_array_append_new(array, item) != 0)
            json_walk_fail(w, TROUPE_ENOMEM, "out of memory");
    }
    return array;
}

/* Whether a field without explicit presence has its default value. */
static bool is_zero(const ProtobufCFieldDescriptor *f, const uint8_t *at)
{
    static const uint8_t zeros[8];
    const char *text;
    ProtobufCBinaryData data;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        memcpy(&text, at, sizeof(void *));
        return text == NULL || text[0] == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&data, at, sizeof data);
        return data.len == 0;
    default:
        return memcmp(at, zeros, stride(f)) == 0;
    }
}

static bool is_present(const ProtobufCFieldDescriptor *f, const uint8_t *message,
                       bool with_defaults)
{
    const void *pointer;
    uint32_t which;
    protobuf_c_boolean has;
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        memcpy(&which, message + f->quantifier_offset, sizeof which);
        return which == f->id;
    }
    memcpy(&pointer, message + f->offset, sizeof(void *));
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return pointer != NULL;
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type == PROTOBUF_C_TYPE_STRING)
        return pointer != NULL && pointer != f->default_value;
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL) {
        memcpy(&has, message + f->quantifier_offset, sizeof has);
        return has != 0;
    }
    return with_defaults || f->label == PROTOBUF_C_LABEL_REQUIRED ||
           !is_zero(f, message + f->offset);
}

static json_t *from_message(struct json_walk *w, const ProtobufCMessage *message,
                            bool with_defaults)
{
    if (w->depth == JSON_DEPTH_MAX) {
        json_walk_fail(w, TROUPE_ELIMIT, "nested deeper than %d", JSON_DEPTH_MAX);
        return NULL;
    }
    w->depth++;
    json_t *object = json_object();
    const uint8_t *bytes = (const uint8_t *)message;
    for (unsigned i = 0; i < message->descriptor->n_fields && w->error == 0; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        json_t *value = NULL;
        size_t mark = json_walk_enter(w, f->name, -1);
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            value = from_repeated(w, f, bytes, with_defaults);
        else if (is_present(f, bytes, with_defaults))
            value = from_value(w, f, bytes + f->offset, with_defaults);
        if (value != NULL && json_object_set_new_nocheck(object, f->name, value) != 0)
            json_walk_fail(w, TROUPE_ENOMEM, "out of memory");
        json_walk_leave(w, mark);
    }
    w->depth--;
    return object;
}

int json_from_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                      struct troupe_bytes packed, bool with_defaults, struct troupe_bytes *text,
                      char why[JSON_WHY_BYTES])
{
    static const uint8_t nothing;
    struct json_walk w = {.arena = arena, .why = why};
    ProtobufCAllocator allocator;
    why[0] = '\0';
    arena_allocator_init(&allocator, arena);
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, packed.len,
                                                          packed.len == 0 ? &nothing : packed.data);
    if (message == NULL)
        return json_walk_fail(&w, TROUPE_EMALFORMED, "not a valid %s", descriptor->name);
    json_t *object = from_message(&w, message, with_defaults);
    char *dump = w.error == 0 ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (w.error == 0 && dump == NULL)
        json_walk_fail(&w, TROUPE_ENOMEM, "out of memory");
    if (w.error == 0) {
        *text = arena_copy(arena, troupe_bytes_of(dump));
        if (text->data == NULL)
            json_walk_fail(&w, TROUPE_ELIMIT, "too large for JSON");
    }
    free(dump);
    return w.error;
}
