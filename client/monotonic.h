/* The client's clock: it runs while the system runs, and nobody sets it. */
#ifndef TROUPE_CLIENT_MONOTONIC_H
#define TROUPE_CLIENT_MONOTONIC_H

#include <stdint.h>
#include <time.h>

static inline uint64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
