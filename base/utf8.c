/* See utf8.h. One loop over table 3-7 of the Unicode standard; runs of ASCII go eight bytes at a
 * time. */
#include "base/utf8.h"

static size_t ascii_run(const uint8_t *p, size_t len)
{
    size_t i = 0;
    while (len - i >= 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        if (word & UINT64_C(0x8080808080808080))
            break;
        i += 8;
    }
    while (i < len && p[i] < 0x80)
        i++;
    return i;
}

/* The length of the sequence at p, 0 when it is not a valid one. */
static size_t sequence(const uint8_t *p, size_t len)
{
    uint8_t lo = 0x80, hi = 0xBF; /* the range of the second byte */
    size_t n;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        n = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        n = 3;
        lo = p[0] == 0xE0 ? 0xA0 : lo;
        hi = p[0] == 0xED ? 0x9F : hi;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        n = 4;
        lo = p[0] == 0xF0 ? 0x90 : lo;
        hi = p[0] == 0xF4 ? 0x8F : hi;
    } else {
        return 0;
    }
    if (len < n || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return n;
}

bool utf8_is_valid(struct troupe_bytes text)
{
    size_t i = 0;
    while (i < text.len) {
        i += ascii_run(text.data + i, text.len - i);
        if (i == text.len)
            break;
        size_t n = sequence(text.data + i, text.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
