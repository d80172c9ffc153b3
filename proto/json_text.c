/* See json_text.h. */
#include "proto/json_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/json.h"
#include "proto/json_base64.h"

enum { ROOM_MIN = 256 };

/* Room for len more bytes; false when there is none. What is outgrown stays in the arena: with
 * doubling, as much again at the most. */
static bool make_room(struct json_text *t, size_t len)
{
    if (t->is_full || len > JSON_TEXT_BYTES_MAX - t->len) {
        t->is_full = true;
        return false;
    }
    if (len <= t->room - t->len)
        return true;
    size_t room = t->room < ROOM_MIN ? ROOM_MIN : 2 * t->room;
    while (room < t->len + len)
        room *= 2;
    char *grown = arena_alloc(t->arena, room);
    if (grown == NULL) {
        t->is_full = true;
        return false;
    }
    if (t->len != 0)
        memcpy(grown, t->data, t->len);
    t->data = grown;
    t->room = room;
    return true;
}

void json_text_put(struct json_text *t, const char *bytes, size_t len)
{
    if (!make_room(t, len))
        return;
    memcpy(t->data + t->len, bytes, len);
    t->len += len;
}

void json_text_put_literal(struct json_text *t, const char *text)
{
    json_text_put(t, text, strlen(text));
}

/* ---- strings ---- */

static void put_escape(struct json_text *t, uint8_t c)
{
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char escape[8];
    for (const char *pair = letters; *pair != '\0'; pair += 2)
        if (c == (uint8_t)pair[0]) {
            escape[0] = '\\';
            escape[1] = pair[1];
            json_text_put(t, escape, 2);
            return;
        }
    snprintf(escape, sizeof escape, "\\u%04x", c);
    json_text_put(t, escape, 6);
}

void json_text_put_string(struct json_text *t, struct troupe_bytes text)
{
    const char *chars = (const char *)text.data;
    size_t from = 0;
    json_text_put(t, "\"", 1);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        json_text_put(t, chars + from, i - from);
        put_escape(t, c);
        from = i + 1;
    }
    if (text.len > from)
        json_text_put(t, chars + from, text.len - from);
    json_text_put(t, "\"", 1);
}

void json_text_put_base64(struct json_text *t, struct troupe_bytes data)
{
    json_text_put(t, "\"", 1);
    if (data.len > JSON_TEXT_BYTES_MAX)
        t->is_full = true;
    else if (make_room(t, json_base64_size(data.len)))
        t->len += json_base64_encode(data, t->data + t->len);
    json_text_put(t, "\"", 1);
}

/* ---- numbers ---- */

void json_text_put_uint(struct json_text *t, uint64_t value)
{
    char digits[20], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    json_text_put(t, at, (size_t)(digits + sizeof digits - at));
}

void json_text_put_int(struct json_text *t, int64_t value)
{
    json_text_put(t, "-", value < 0);
    json_text_put_uint(t, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static bool put_special(struct json_text *t, double value)
{
    if (isnan(value))
        json_text_put_literal(t, "\"NaN\"");
    else if (isinf(value))
        json_text_put_literal(t, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else if (value == 0 && signbit(value))
        json_text_put_literal(t,
                              "-0.0"); /* -0 would be read as an integer, and those have no sign */
    else
        return false;
    return true;
}

void json_text_put_float(struct json_text *t, float value)
{
    char digits[32];
    if (put_special(t, (double)value))
        return;
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (precision == 9 || strtof(digits, NULL) == value)
            break;
    }
    json_text_put_literal(t, digits);
}

void json_text_put_double(struct json_text *t, double value)
{
    char digits[32];
    if (put_special(t, value))
        return;
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (precision == 17 || strtod(digits, NULL) == value)
            break;
    }
    json_text_put_literal(t, digits);
}
