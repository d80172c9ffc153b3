/* See json_walk.h. */
#include "proto/json_walk.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"
#include "proto/json_text.h"
#include "troupe/error.h"

enum { QUOTE_BYTES_MAX = 48 };

/* ---- the path ---- */

static size_t append(struct json_walk *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static size_t append(struct json_walk *w, const char *format, ...)
{
    size_t mark = w->path_len, room = sizeof w->path - mark;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(w->path + mark, room, format, args);
    va_end(args);
    if (n > 0)
        w->path_len += (size_t)n < room ? (size_t)n : room - 1;
    return mark;
}

size_t json_walk_enter(struct json_walk *w, const char *field)
{
    return append(w, "%s%s", w->path_len == 0 ? "" : ".", field);
}

size_t json_walk_enter_element(struct json_walk *w, size_t index)
{
    return append(w, "[%zu]", index);
}

void json_walk_leave(struct json_walk *w, size_t mark)
{
    w->path_len = mark;
    w->path[mark] = '\0';
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
    int n = snprintf(w->why, JSON_WHY_BYTES, "%s%s", w->path, w->path_len == 0 ? "" : ": ");
    va_list args;
    va_start(args, format);
    if (n >= 0 && n < JSON_WHY_BYTES)
        vsnprintf(w->why + n, JSON_WHY_BYTES - (size_t)n, format, args);
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
