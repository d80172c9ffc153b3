/* "did you mean …": the nearest of some words. */
#ifndef TROUPE_BASE_NEAREST_H
#define TROUPE_BASE_NEAREST_H

#include <stddef.h>

/* Levenshtein distance; texts longer than 63 bytes count by their first 63. A beginning of b, of
 * two bytes or more, is what somebody has not typed to its end: at most 1. */
size_t nearest_distance(const char *a, const char *b);

#endif
