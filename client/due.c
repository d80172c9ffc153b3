/* See due.h. */
#include "client/due.h"

#include <stdlib.h>

#include "base/invariant.h"
#include "troupe/error.h"

int due_heap_init(struct due_heap *heap, size_t capacity)
{
    *heap = (struct due_heap){.capacity = capacity};
    heap->items = calloc(capacity, sizeof(struct due *));
    return heap->items == NULL ? TROUPE_ENOMEM : 0;
}

void due_heap_close(struct due_heap *heap)
{
    free(heap->items);
    *heap = (struct due_heap){0};
}

static void put(struct due_heap *heap, size_t i, struct due *entry)
{
    heap->items[i] = entry;
    entry->place = i + 1;
}

static void sift_up(struct due_heap *heap, size_t i, struct due *entry)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (heap->items[parent]->at_ms <= entry->at_ms)
            break;
        put(heap, i, heap->items[parent]);
        i = parent;
    }
    put(heap, i, entry);
}

static void sift_down(struct due_heap *heap, size_t i, struct due *entry)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->items[child + 1]->at_ms < heap->items[child]->at_ms)
            child++;
        if (entry->at_ms <= heap->items[child]->at_ms)
            break;
        put(heap, i, heap->items[child]);
        i = child;
    }
    put(heap, i, entry);
}

static void settle(struct due_heap *heap, size_t i, struct due *entry)
{
    if (i > 0 && heap->items[(i - 1) / 2]->at_ms > entry->at_ms)
        sift_up(heap, i, entry);
    else
        sift_down(heap, i, entry);
}

void due_set(struct due_heap *heap, struct due *entry, uint64_t at_ms)
{
    entry->at_ms = at_ms;
    if (entry->place == 0) {
        INVARIANT(heap->count < heap->capacity);
        sift_up(heap, heap->count++, entry);
    } else {
        settle(heap, entry->place - 1, entry);
    }
}

void due_remove(struct due_heap *heap, struct due *entry)
{
    if (entry->place == 0)
        return;
    size_t i = entry->place - 1;
    INVARIANT(i < heap->count && heap->items[i] == entry);
    entry->place = 0;
    struct due *last = heap->items[--heap->count];
    if (last != entry)
        settle(heap, i, last);
}
