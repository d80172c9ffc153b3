#include "idset.h"

#include <stdlib.h>
#include <string.h>

#include "bounds.h"

void idset_close(struct idset *set)
{
    free(set->offsets);
    free(set->texts);
    *set = (struct idset){0};
}

const char *idset_at(const struct idset *set, size_t i)
{
    return set->texts + set->offsets[i];
}

size_t idset_rank(const struct idset *set, const char *id)
{
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(idset_at(set, middle), id) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool idset_has(const struct idset *set, const char *id)
{
    size_t rank = idset_rank(set, id);
    return rank > 0 && strcmp(idset_at(set, rank - 1), id) == 0;
}

static uint32_t grown(uint32_t cap, size_t need)
{
    uint32_t to = cap + cap / 2;
    return to < need ? (uint32_t)need : to;
}

static int reserve(struct idset *set, size_t len)
{
    if (set->n == set->cap) {
        uint32_t cap = grown(set->cap, set->n + 2);
        uint32_t *offsets = realloc(set->offsets, cap * sizeof *offsets);
        if (offsets == NULL)
            return -1;
        set->offsets = offsets;
        set->cap = cap;
    }
    if (set->bytes_cap - set->bytes < len) {
        uint32_t cap = grown(set->bytes_cap, set->bytes + len);
        char *texts = realloc(set->texts, cap);
        if (texts == NULL)
            return -1;
        set->texts = texts;
        set->bytes_cap = cap;
    }
    return 0;
}

int idset_add(struct idset *set, const char *id)
{
    size_t len = strlen(id) + 1, at = idset_rank(set, id);
    if (at > 0 && strcmp(idset_at(set, at - 1), id) == 0)
        return 0;
    if (reserve(set, len) != 0)
        return -1;
    memmove(set->offsets + at + 1, set->offsets + at, (set->n - at) * sizeof *set->offsets);
    set->offsets[at] = set->bytes;
    memcpy(set->texts + set->bytes, id, len);
    set->bytes += (uint32_t)len;
    set->n++;
    return 0;
}

bool idset_remove(struct idset *set, const char *id)
{
    size_t rank = idset_rank(set, id);
    if (rank == 0 || strcmp(idset_at(set, rank - 1), id) != 0)
        return false;
    uint32_t len = (uint32_t)strlen(id) + 1, offset = set->offsets[rank - 1];
    memmove(set->texts + offset, set->texts + offset + len, set->bytes - offset - len);
    memmove(set->offsets + rank - 1, set->offsets + rank, (set->n - rank) * sizeof *set->offsets);
    set->bytes -= len;
    set->n--;
    for (size_t i = 0; i < set->n; i++)
        if (set->offsets[i] > offset)
            set->offsets[i] -= len;
    return true;
}

size_t idset_saved_bytes(const struct idset *set)
{
    return set->bytes + set->n * ID_SAVED_BYTES;
}

size_t idset_memory(const struct idset *set)
{
    return set->cap * sizeof *set->offsets + set->bytes_cap;
}
