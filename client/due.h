/* A binary heap of the times at which something is due, smallest first. Intrusive: an entry knows
 * its place, so that it can be taken out or moved in O(log n) without a search. Most entries come
 * with ever later times, for which an insertion is O(1). Not thread safe. */
#ifndef TROUPE_CLIENT_DUE_H
#define TROUPE_CLIENT_DUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct due {
    uint64_t at_ms;
    size_t place; /* index + 1; 0 = not in a heap */
};

struct due_heap {
    struct due **items;
    size_t count, capacity;
};

/* Room for capacity entries is taken at once: due_add cannot fail later. 0 or TROUPE_ENOMEM. */
int due_heap_init(struct due_heap *heap, size_t capacity);
void due_heap_close(struct due_heap *heap);

/* Adds an entry, or moves it when it is in the heap already. */
void due_set(struct due_heap *heap, struct due *entry, uint64_t at_ms);
/* Takes it out; nothing happens when it is in no heap. */
void due_remove(struct due_heap *heap, struct due *entry);

/* The earliest entry, or NULL. */
static inline struct due *due_first(const struct due_heap *heap)
{
    return heap->count == 0 ? NULL : heap->items[0];
}

#endif
