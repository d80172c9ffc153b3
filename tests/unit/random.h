/* Dice for tests: a seed in, the same numbers out. TROUPE_TEST_SEED overrides the seed that a test
 * has. */
#ifndef TROUPE_TESTS_RANDOM_H
#define TROUPE_TESTS_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct dice {
    uint64_t state;
};

static inline struct dice dice_new(uint64_t seed)
{
    const char *text = getenv("TROUPE_TEST_SEED");
    if (text != NULL)
        seed = strtoull(text, NULL, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    return (struct dice){.state = seed};
}

static inline uint64_t dice_throw(struct dice *d)
{
    uint64_t z = (d->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* 0 to n - 1 */
static inline uint64_t dice_below(struct dice *d, uint64_t n)
{
    return dice_throw(d) % n;
}

#endif
