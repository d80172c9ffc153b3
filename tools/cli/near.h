/* "did you mean": the known word nearest to one that was mistyped. */
#ifndef TROUPE_CLI_NEAR_H
#define TROUPE_CLI_NEAR_H

#include <stddef.h>

/* The nearest of n words, or NULL when none is near enough to be meant. */
const char *near_find(const char *word, const char *const *words, size_t n);

#endif
