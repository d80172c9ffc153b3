/* A sorted set of ids, such as a user's followers.
 *
 * Intuition: ids are short and sets are mostly small, so the texts lie one behind the other in one
 * block, and an array of their offsets is kept in order; an id costs its length and five bytes. */
#ifndef GIGBOOK_IDSET_H
#define GIGBOOK_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset {
    uint32_t *offsets; /* into texts, in the order of the ids' bytes */
    char *texts;       /* each with its final zero */
    uint32_t n, cap;
    uint32_t bytes, bytes_cap; /* of texts */
};

/* All zero is the empty set. */
void idset_close(struct idset *set);

bool idset_has(const struct idset *set, const char *id);
/* Non-zero: no memory, nothing was changed. Adding what is there changes nothing. */
int idset_add(struct idset *set, const char *id);
/* Whether it was there. */
bool idset_remove(struct idset *set, const char *id);
/* The i-th id in order; valid until the set changes. */
const char *idset_at(const struct idset *set, size_t i);
/* How many ids are not behind this one. */
size_t idset_rank(const struct idset *set, const char *id);
/* Bytes of the set in a saved state, at most. */
size_t idset_saved_bytes(const struct idset *set);
size_t idset_memory(const struct idset *set);

#endif
