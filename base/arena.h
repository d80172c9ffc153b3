/* A bump allocator for things that die together: one request, one batch of rows. Memory comes in
 * chunks that are kept over arena_reset, so that a steady load allocates nothing. A cap on the
 * total makes it safe for input from outside: past the cap arena_alloc returns NULL. Not thread
 * safe. */
#ifndef TROUPE_BASE_ARENA_H
#define TROUPE_BASE_ARENA_H

#include "troupe/bytes.h"

struct arena_chunk;

struct arena {
    uint8_t *next; /* the free part of the current chunk */
    uint8_t *end;
    struct arena_chunk *head;     /* newest chunk first */
    struct arena_chunk *spare;    /* one chunk that reset keeps */
    size_t chunk_bytes;           /* size of an ordinary chunk */
    size_t used_bytes, max_bytes; /* in chunks taken from malloc / cap on it */
};

enum { ARENA_CHUNK_BYTES_DEFAULT = 8192 };

/* chunk_bytes 0 = the default. max_bytes: the cap in bytes of chunks, 0 = none. Allocates nothing
 * yet. */
void arena_init(struct arena *a, size_t chunk_bytes, size_t max_bytes);
/* size bytes, aligned to 16, not zeroed; NULL when out of memory or over the cap. size 0 gives a
 * valid pointer. Valid until arena_reset or arena_close. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_calloc(struct arena *a, size_t count, size_t size);
/* A copy in the arena, followed by a NUL that len does not count; .data is NULL when out of memory.
 */
struct troupe_bytes arena_copy(struct arena *a, struct troupe_bytes bytes);
/* printf into the arena; NULL when out of memory. */
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Forgets everything allocated; keeps one chunk of ordinary size for the next use. */
void arena_reset(struct arena *a);
void arena_close(struct arena *a);

#endif
