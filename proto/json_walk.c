/* See json_walk.h. */
#include "proto/json_walk.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/invariant.h"
#include "base/utf8.h"
#include "proto/json_text.h"
#include "troupe/error.h"

enum { QUOTE_BYTES_MAX = 48, PATH_BYTES_MAX = 128 };

/* ---- the path ---- */

void json_walk_init(struct json_walk *w, struct arena *arena, char why[JSON_WHY_BYTES])
{
    w->arena = arena;
    w->why = why;
    w->steps_n = w->depth = 0;
    w->error = 0;
    why[0] = '\0';
}

void json_walk_enter(struct json_walk *w, const char *field)
{
    INVARIANT(w->steps_n < JSON_STEPS_MAX);
    w->steps[w->steps_n++] = (struct json_step){.field = field};
}

void json_walk_enter_element(struct json_walk *w, size_t index)
{
    INVARIANT(w->steps_n < JSON_STEPS_MAX);
    w->steps[w->steps_n++] = (struct json_step){.index = index};
}

void json_walk_leave(struct json_walk *w)
{
    INVARIANT(w->steps_n > 0);
    w->steps_n--;
}

/* "slots[3].price: ", as much of it as leaves room for what is wrong. Returns its length. */
static size_t print_path(const struct json_walk *w, char *out)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->steps_n && n < PATH_BYTES_MAX; i++) {
        const struct json_step *step = &w->steps[i];
        int len = step->field == NULL ? snprintf(out + n, PATH_BYTES_MAX - n, "[%zu]", step->index)
                                      : snprintf(out + n, PATH_BYTES_MAX - n, "%s%s",
                                                 i == 0 ? "" : ".", step->field);
        n += (size_t)len;
    }
    n = n < PATH_BYTES_MAX ? n : PATH_BYTES_MAX - 1;
    return n + (size_t)snprintf(out + n, JSON_WHY_BYTES - n, "%s", n == 0 ? "" : ": ");
}

/* ---- errors ---- */

/* What is left is one line of UTF-8, wherever a text from outside has been cut off. */
static void clean(char *text)
{
    size_t len = strlen(text);
    while (!utf8_is_valid(troupe_bytes(text, len)))
        len--;
    text[len] = '\0';
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = ' ';
}

int json_walk_fail(struct json_walk *w, int code, const char *format, ...)
{
    if (w->error != 0)
        return w->error;
    w->error = code;
    size_t n = print_path(w, w->why);
    va_list args;
    va_start(args, format);
    vsnprintf(w->why + n, JSON_WHY_BYTES - n, format, args);
    va_end(args);
    clean(w->why);
    return code;
}

int json_walk_fail_full(struct json_walk *w)
{
    return json_walk_fail(w, TROUPE_ELIMIT, "no memory is left for a message of this size");
}

const char *json_walk_quote(struct json_walk *w, struct troupe_bytes text)
{
    struct json_text quote = {.arena = w->arena};
    size_t len = text.len;
    if (len > QUOTE_BYTES_MAX) {
        len = QUOTE_BYTES_MAX;
        while (len > 0 && (text.data[len] & 0xC0) == 0x80)
            len--;
    }
    json_text_put_string(&quote, troupe_bytes(text.data, len));
    json_text_put(&quote, len < text.len ? "…" : "", len < text.len ? sizeof "…" : 1);
    return quote.is_full ? "that" : quote.data;
}

/* ---- fields ---- */

size_t json_walk_value_size(ProtobufCType type)
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

_Static_assert(sizeof(protobuf_c_boolean) == 4 && sizeof(int) == 4 && sizeof(float) == 4,
               "default");

bool json_walk_is_signed(ProtobufCType type)
{
    return type != PROTOBUF_C_TYPE_UINT32 && type != PROTOBUF_C_TYPE_FIXED32 &&
           type != PROTOBUF_C_TYPE_UINT64 && type != PROTOBUF_C_TYPE_FIXED64;
}
