/* See json_walk.h. */
#include "proto/json_walk.h"

#include <stdarg.h>
#include <stdio.h>

size_t json_walk_enter(struct json_walk *w, const char *name, long index)
{
    size_t mark = w->path_len, room = sizeof w->path - w->path_len;
    int n = index >= 0 ? snprintf(w->path + mark, room, "[%ld]", index)
                       : snprintf(w->path + mark, room, "%s%s", mark == 0 ? "" : ".", name);
    if (n > 0)
        w->path_len = mark + ((size_t)n < room ? (size_t)n : room - 1);
    return mark;
}

void json_walk_leave(struct json_walk *w, size_t mark)
{
    w->path_len = mark;
    w->path[mark] = '\0';
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
    return code;
}

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t json_base64_size(size_t len)
{
    return (len + 2) / 3 * 4 + 1;
}

void json_base64_encode(const uint8_t *data, size_t len, char *out)
{
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= n > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= n > 2 ? data[i + 2] : 0;
        *out++ = ALPHABET[bits >> 18];
        *out++ = ALPHABET[bits >> 12 & 63];
        *out++ = n > 1 ? ALPHABET[bits >> 6 & 63] : '=';
        *out++ = n > 2 ? ALPHABET[bits & 63] : '=';
    }
    *out = '\0';
}

static int digit(char c)
{
    if (c == '-')
        c = '+';
    if (c == '_')
        c = '/';
    const char *p = c == '\0' ? NULL : strchr(ALPHABET, c);
    return p == NULL ? -1 : (int)(p - ALPHABET);
}

long json_base64_decode(const char *text, size_t len, uint8_t *out)
{
    for (int pad = 0; pad < 2 && len > 0 && len % 4 == 0 && text[len - 1] == '='; pad++) {
        len--;
        if (len % 4 == 2 && text[len - 1] != '=')
            break;
        if (len % 4 == 3 && text[len - 1] == '=') {
            len--;
            break;
        }
    }
    if (len % 4 == 1)
        return -1;
    uint32_t bits = 0;
    long n = 0;
    for (size_t i = 0; i < len; i++) {
        int d = digit(text[i]);
        if (d < 0)
            return -1;
        bits = bits << 6 | (uint32_t)d;
        if (i % 4 != 0)
            out[n++] = (uint8_t)(bits >> (i % 4 == 1 ? 4 : i % 4 == 2 ? 2 : 0));
    }
    return n;
}
