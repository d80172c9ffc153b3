/* A bump allocator for things that die together: one request, one batch of rows. Memory comes in
 * chunks that are kept over arena_reset, so that a steady load allocates nothing. A cap on the
 * total makes it safe for input from outside: past the cap arena_alloc returns NULL. A budget caps
 * what many arenas take together. An arena is not thread safe; a budget is. */
#ifndef TROUPE_BASE_ARENA_H
#define TROUPE_BASE_ARENA_H

#include <stdatomic.h>
#include <stdbool.h>

#include "troupe/bytes.h"

struct arena_chunk;

/* What many arenas, and whoever else counts himself in, may take together. */
struct arena_budget {
    atomic_size_t used;
    size_t max;
};

struct arena {
    uint8_t *next; /* the free part of the current chunk */
    uint8_t *end;
    struct arena_chunk *head;     /* newest chunk first */
    struct arena_chunk *spare;    /* one chunk that reset keeps */
    size_t chunk_bytes;           /* size of an ordinary chunk */
    size_t used_bytes, max_bytes; /* in chunks taken from malloc / cap on it */
    struct arena_budget *budget;
    size_t free_bytes, counted_bytes; /* see arena_set_budget */
};

enum { ARENA_CHUNK_BYTES_DEFAULT = 8192 };

/* chunk_bytes 0 = the default. max_bytes: the cap in bytes of chunks, 0 = none. Allocates nothing
 * yet. */
void arena_init(struct arena *a, size_t chunk_bytes, size_t max_bytes);
/* From now on the arena counts against the budget, which has to live as long: with all of its
 * chunks once they are more than free_bytes, else with none. Past the budget arena_alloc returns
 * NULL. To be called while the arena is empty. */
void arena_set_budget(struct arena *a, struct arena_budget *budget, size_t free_bytes);
/* bytes more, for something that is in no arena; false, and nothing is taken, when that would be
 * too much. */
bool arena_budget_take(struct arena_budget *b, size_t bytes);
void arena_budget_give(struct arena_budget *b, size_t bytes);
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
