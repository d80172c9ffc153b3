/* JSON to protobuf: see json.h. jansson reads the text; a message is built as protobuf-c's struct
 * by way of its descriptor, then packed. The recursion goes as deep as messages are nested, at most
 * JSON_DEPTH_MAX.
 *
 * What a text can cost: jansson takes up to about 250 bytes for a value of three ("{},"), in memory
 * that no arena bounds; so values are counted before it sees the text. */
#include <jansson.h>

#include "base/nearest.h"
#include "proto/json_scalar.h"
#include "troupe/error.h"

static ProtobufCMessage *build(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                               json_t *object);

/* ---- names ---- */

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* "startDate" is start_date: every underscore goes, and what follows it is a capital. */
static bool is_camel_of(const char *key, const char *name)
{
    for (bool after = false; *name != '\0'; name++) {
        if (*name == '_') {
            after = true;
            continue;
        }
        if (*key++ != (after ? upper(*name) : *name))
            return false;
        after = false;
    }
    return *key == '\0';
}

static const ProtobufCFieldDescriptor *find(const ProtobufCMessageDescriptor *descriptor,
                                            const char *key)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(descriptor, key);
    for (unsigned i = 0; f == NULL && i < descriptor->n_fields; i++)
        if (is_camel_of(key, descriptor->fields[i].name))
            f = &descriptor->fields[i];
    return f;
}

/* The field that was meant: at most half of the name is mistyped, and no more than three letters.
 */
static const char *nearest_field(const ProtobufCMessageDescriptor *descriptor, const char *key)
{
    const char *near = NULL;
    size_t best = strlen(key) / 2 + 1;
    best = best > 4 ? 4 : best;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        size_t distance = nearest_distance(key, descriptor->fields[i].name);
        if (distance < best) {
            best = distance;
            near = descriptor->fields[i].name;
        }
    }
    return near;
}

static void fail_unknown(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                         const char *key)
{
    const char *near = nearest_field(descriptor, key);
    const char *quote = json_walk_quote(w, troupe_bytes_of(key));
    if (near != NULL)
        json_walk_fail(w, TROUPE_EMALFORMED, "there is no field %s; did you mean '%s'?", quote,
                       near);
    else
        json_walk_fail(w, TROUPE_EMALFORMED, "there is no field %s in %s", quote, descriptor->name);
}

/* ---- fields ---- */

static int set_value(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value,
                     void *to)
{
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return json_scalar_read(w, f, value, to);
    ProtobufCMessage *message = build(w, f->descriptor, value);
    memcpy(to, &message, sizeof message);
    return w->error;
}

static int set_repeated(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value,
                        uint8_t *message)
{
    if (!json_is_array(value))
        return json_scalar_refuse(w, "an array", value);
    size_t n = json_array_size(value), size = json_walk_value_size(f->type);
    uint8_t *items = arena_calloc(w->arena, n, size);
    if (items == NULL)
        return json_walk_fail_full(w);
    for (size_t i = 0; i < n; i++) {
        json_walk_enter_element(w, i);
        int rc = set_value(w, f, json_array_get(value, i), items + i * size);
        json_walk_leave(w);
        if (rc != 0)
            return rc;
    }
    memcpy(message + f->quantifier_offset, &n, sizeof n);
    memcpy(message + f->offset, &items, sizeof items);
    return 0;
}

static int take_oneof(struct json_walk *w, const ProtobufCFieldDescriptor *f, uint8_t *message,
                      const ProtobufCMessageDescriptor *descriptor)
{
    uint32_t which;
    memcpy(&which, message + f->quantifier_offset, sizeof which);
    if (which != 0)
        return json_walk_fail(w, TROUPE_EMALFORMED, "cannot be set together with '%s'",
                              protobuf_c_message_descriptor_get_field(descriptor, which)->name);
    memcpy(message + f->quantifier_offset, &f->id, sizeof f->id);
    return 0;
}

static int set_single(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value,
                      uint8_t *message, const ProtobufCMessageDescriptor *descriptor)
{
    const protobuf_c_boolean has = 1;
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        int rc = take_oneof(w, f, message, descriptor);
        if (rc != 0)
            return rc;
    } else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->quantifier_offset != 0) {
        memcpy(message + f->quantifier_offset, &has, sizeof has);
    }
    return set_value(w, f, value, message + f->offset);
}

/* ---- messages ---- */

/* seen: a flag per field. */
static int set_field(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                     const char *key, json_t *value, void *message, bool *seen)
{
    const ProtobufCFieldDescriptor *f = find(descriptor, key);
    if (f == NULL) {
        fail_unknown(w, descriptor, key);
        return w->error;
    }
    if (json_is_null(value)) /* as good as absent */
        return 0;
    json_walk_enter(w, f->name);
    int rc;
    if (seen[f - descriptor->fields])
        rc = json_walk_fail(w, TROUPE_EMALFORMED, "given twice, in two spellings");
    else if (f->label == PROTOBUF_C_LABEL_REPEATED)
        rc = set_repeated(w, f, value, message);
    else
        rc = set_single(w, f, value, message, descriptor);
    seen[f - descriptor->fields] = true;
    json_walk_leave(w);
    return rc;
}

static int check_required(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                          const bool *seen)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &descriptor->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REQUIRED && !seen[i] && f->default_value == NULL)
            return json_walk_fail(w, TROUPE_EMALFORMED, "the field '%s' is required", f->name);
    }
    return 0;
}

static int set_fields(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                      json_t *object, void *message)
{
    const char *key;
    json_t *value;
    bool *seen = arena_calloc(w->arena, descriptor->n_fields, sizeof *seen);
    if (seen == NULL)
        return json_walk_fail_full(w);
    json_object_foreach(object, key, value)
    {
        int rc = set_field(w, descriptor, key, value, message, seen);
        if (rc != 0)
            return rc;
    }
    return check_required(w, descriptor, seen);
}

/* NULL when an error has been noted. */
static ProtobufCMessage *build(struct json_walk *w, const ProtobufCMessageDescriptor *descriptor,
                               json_t *object)
{
    if (!json_is_object(object)) {
        json_scalar_refuse(w, "an object", object);
        return NULL;
    }
    if (w->depth == JSON_DEPTH_MAX) {
        json_walk_fail(w, TROUPE_ELIMIT, "nested deeper than %d", JSON_DEPTH_MAX);
        return NULL;
    }
    ProtobufCMessage *message = arena_calloc(w->arena, 1, descriptor->sizeof_message);
    if (message == NULL) {
        json_walk_fail_full(w);
        return NULL;
    }
    protobuf_c_message_init(descriptor, message);
    w->depth++;
    int rc = set_fields(w, descriptor, object, message);
    w->depth--;
    return rc == 0 ? message : NULL;
}

/* ---- the text ---- */

/* Each value but the first follows a comma or an opening bracket, or a key that does. */
static bool has_too_many_values(struct troupe_bytes text)
{
    size_t n = 1;
    bool in_string = false;
    if (text.len <= JSON_VALUES_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string)
            n += c == ',' || c == '[' || c == '{';
    }
    return n > JSON_VALUES_MAX;
}

static json_t *load(struct json_walk *w, struct troupe_bytes text)
{
    json_error_t error;
    if (text.len > JSON_TEXT_BYTES_MAX) {
        json_walk_fail(w, TROUPE_ELIMIT, "the JSON text is larger than 32 MiB");
        return NULL;
    }
    if (has_too_many_values(text)) {
        json_walk_fail(w, TROUPE_ELIMIT,
                       "the JSON text has more than 262,144 values; use protobuf");
        return NULL;
    }
    json_t *root = json_loadb((const char *)text.data, text.len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (root == NULL)
        json_walk_fail(w, TROUPE_EMALFORMED, "not JSON: %s (at byte %d)%s", error.text,
                       error.position,
                       json_error_code(&error) == json_error_numeric_overflow
                           ? "; write integers beyond 9223372036854775807 as strings"
                           : "");
    return root;
}

_Static_assert(JSON_TEXT_BYTES_MAX == 32 << 20 && JSON_VALUES_MAX == 262144, "the texts name them");

int json_to_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                    struct troupe_bytes text, struct troupe_bytes *packed, char why[JSON_WHY_BYTES])
{
    struct json_walk w;
    ProtobufCMessage *message = NULL;
    *packed = troupe_bytes(NULL, 0);
    json_walk_init(&w, arena, why);
    if (text.len == 0)
        text = troupe_bytes_of("{}");
    json_t *root = load(&w, text);
    if (root != NULL)
        message = build(&w, descriptor, root);
    json_decref(root);
    if (message == NULL)
        return w.error;
    uint8_t *out = arena_alloc(arena, protobuf_c_message_get_packed_size(message));
    if (out == NULL)
        return json_walk_fail_full(&w);
    *packed = troupe_bytes(out, protobuf_c_message_pack(message, out));
    return 0;
}
