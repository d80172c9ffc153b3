/* See json_base64.h. */
#include "proto/json_base64.h"

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t json_base64_size(size_t len)
{
    return (len + 2) / 3 * 4;
}

size_t json_base64_encode(struct troupe_bytes data, char *out)
{
    char *at = out;
    for (size_t i = 0; i < data.len; i += 3) {
        size_t n = data.len - i < 3 ? data.len - i : 3;
        uint32_t bits = (uint32_t)data.data[i] << 16;
        bits |= n > 1 ? (uint32_t)data.data[i + 1] << 8 : 0;
        bits |= n > 2 ? data.data[i + 2] : 0;
        *at++ = ALPHABET[bits >> 18];
        *at++ = ALPHABET[bits >> 12 & 63];
        *at++ = n > 1 ? ALPHABET[bits >> 6 & 63] : '=';
        *at++ = n > 2 ? ALPHABET[bits & 63] : '=';
    }
    return (size_t)(at - out);
}

/* Six bits, or -1. */
static int digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

long json_base64_decode(struct troupe_bytes text, uint8_t *out)
{
    size_t len = text.len;
    if (len % 4 == 0)
        for (size_t padding = 0; padding < 2 && len > 0 && text.data[len - 1] == '='; padding++)
            len--;
    if (len % 4 == 1)
        return -1;
    uint32_t bits = 0;
    long n = 0;
    for (size_t i = 0; i < len; i++) {
        int d = digit(text.data[i]);
        if (d < 0)
            return -1;
        bits = bits << 6 | (uint32_t)d;
        if (i % 4 != 0) /* every digit but the first of four completes a byte */
            out[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return n;
}
