/* Bytes that somebody else owns. Every header that takes or returns one says whose they are and for
 * how long. */
#ifndef TROUPE_BYTES_H
#define TROUPE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct troupe_bytes {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;
};

static inline struct troupe_bytes troupe_bytes(const void *data, size_t len)
{
    return (struct troupe_bytes){.data = (const uint8_t *)data, .len = len};
}

static inline struct troupe_bytes troupe_bytes_of(const char *text)
{
    return troupe_bytes(text, text == NULL ? 0 : strlen(text));
}

static inline int troupe_bytes_equal(struct troupe_bytes a, struct troupe_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

#endif
