/* See arena_allocator.h. */
#include "proto/arena_allocator.h"

static void *allocate(void *data, size_t size)
{
    return arena_alloc(data, size);
}

static void release(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

void arena_allocator_init(ProtobufCAllocator *allocator, struct arena *arena)
{
    allocator->alloc = allocate;
    allocator->free = release;
    allocator->allocator_data = arena;
}
