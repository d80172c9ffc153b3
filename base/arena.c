/* See arena.h. An allocation larger than a chunk gets a chunk of its own, linked behind the current
 * one so that the current one's free part stays in use. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/invariant.h"

enum { ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes; /* of data */
    _Alignas(ALIGN) uint8_t data[];
};

void arena_init(struct arena *a, size_t chunk_bytes, size_t max_bytes)
{
    *a = (struct arena){
        .chunk_bytes = chunk_bytes == 0 ? ARENA_CHUNK_BYTES_DEFAULT : chunk_bytes,
        .max_bytes = max_bytes,
    };
}

void arena_set_budget(struct arena *a, struct arena_budget *budget, size_t free_bytes)
{
    INVARIANT(a->used_bytes == 0 && a->budget == NULL);
    a->budget = budget;
    a->free_bytes = free_bytes;
}

bool arena_budget_take(struct arena_budget *b, size_t bytes)
{
    size_t before = atomic_fetch_add(&b->used, bytes);
    if (bytes <= b->max && before <= b->max - bytes)
        return true;
    atomic_fetch_sub(&b->used, bytes);
    return false;
}

void arena_budget_give(struct arena_budget *b, size_t bytes)
{
    if (bytes > 0)
        atomic_fetch_sub(&b->used, bytes);
}

/* The arena is about to have, or has, so many bytes in chunks. */
static bool count(struct arena *a, size_t used_bytes)
{
    if (a->budget == NULL)
        return true;
    size_t counted = used_bytes > a->free_bytes ? used_bytes : 0;
    if (counted > a->counted_bytes) {
        if (!arena_budget_take(a->budget, counted - a->counted_bytes))
            return false;
    } else {
        arena_budget_give(a->budget, a->counted_bytes - counted);
    }
    a->counted_bytes = counted;
    return true;
}

static struct arena_chunk *chunk_new(struct arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - sizeof(struct arena_chunk))
        return NULL;
    if (a->max_bytes != 0 && (bytes > a->max_bytes || a->used_bytes > a->max_bytes - bytes))
        return NULL;
    if (!count(a, a->used_bytes + bytes))
        return NULL;
    struct arena_chunk *chunk = malloc(sizeof *chunk + bytes);
    if (chunk == NULL) {
        count(a, a->used_bytes);
        return NULL;
    }
    chunk->bytes = bytes;
    a->used_bytes += bytes;
    return chunk;
}

static void *alloc_slow(struct arena *a, size_t size)
{
    if (size > a->chunk_bytes) {
        struct arena_chunk *own = chunk_new(a, size);
        if (own == NULL)
            return NULL;
        if (a->head == NULL) { /* becomes the current chunk, with nothing free */
            own->next = NULL;
            a->head = own;
            a->next = a->end = own->data + own->bytes;
        } else {
            own->next = a->head->next;
            a->head->next = own;
        }
        return own->data;
    }
    struct arena_chunk *chunk = a->spare;
    a->spare = NULL;
    if (chunk == NULL) {
        chunk = chunk_new(a, a->chunk_bytes);
        if (chunk == NULL)
            return NULL;
    }
    chunk->next = a->head;
    a->head = chunk;
    a->next = chunk->data + size;
    a->end = chunk->data + chunk->bytes;
    return chunk->data;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX - ALIGN)
        return NULL;
    size = size == 0 ? ALIGN : (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if ((size_t)(a->end - a->next) < size)
        return alloc_slow(a, size);
    void *p = a->next;
    a->next += size;
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    void *p = arena_alloc(a, count * size);
    if (p != NULL)
        memset(p, 0, count * size);
    return p;
}

struct troupe_bytes arena_copy(struct arena *a, struct troupe_bytes bytes)
{
    uint8_t *p = bytes.len == SIZE_MAX ? NULL : arena_alloc(a, bytes.len + 1);
    if (p == NULL)
        return troupe_bytes(NULL, 0);
    if (bytes.len != 0)
        memcpy(p, bytes.data, bytes.len);
    p[bytes.len] = 0;
    return troupe_bytes(p, bytes.len);
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (text != NULL)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *chunk = a->head;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        if (a->spare == NULL && chunk->bytes == a->chunk_bytes) {
            a->spare = chunk;
        } else {
            INVARIANT(a->used_bytes >= chunk->bytes);
            a->used_bytes -= chunk->bytes;
            free(chunk);
        }
        chunk = next;
    }
    a->head = NULL;
    a->next = a->end = NULL;
    count(a, a->used_bytes);
}

void arena_close(struct arena *a)
{
    arena_reset(a);
    free(a->spare);
    a->spare = NULL;
    a->used_bytes = 0;
    count(a, 0);
}
