/* Counts the allocations of the code under test, for those tests that promise there are none. A
 * test that includes this is linked with --wrap for each of the three (client.cmake).
 * Threads of the fake nodes do not count. */
#ifndef TROUPE_TESTS_COUNT_ALLOCATIONS_H
#define TROUPE_TESTS_COUNT_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>

#include "fake_node.h"

static atomic_long allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations += !fake_node_thread;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations += !fake_node_thread;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    allocations += !fake_node_thread;
    return __real_realloc(p, size);
}

#endif
