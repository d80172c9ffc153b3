/* See table.h. */
#include "node/runtime/table.h"

#include <stdlib.h>

#include "base/invariant.h"
#include "node/runtime/internal.h"

enum { SLOTS_MIN = 4 };

static bool is_entity(const struct entity *e, uint64_t hash, uint8_t kind, struct troupe_bytes id)
{
    return e->hash == hash && e->kind == kind && e->id_len == id.len &&
           memcmp(e->id, id.data, id.len) == 0;
}

struct entity *table_find(const struct table *t, uint64_t hash, uint8_t kind,
                          struct troupe_bytes id)
{
    if (t->slots == NULL)
        return NULL;
    for (uint32_t i = (uint32_t)hash & t->mask;; i = (i + 1) & t->mask) {
        struct entity *e = t->slots[i];
        if (e == NULL || is_entity(e, hash, kind, id))
            return e;
    }
}

static void place(struct entity **slots, uint32_t mask, struct entity *e)
{
    uint32_t i = (uint32_t)e->hash & mask;
    while (slots[i] != NULL)
        i = (i + 1) & mask;
    slots[i] = e;
}

/* Moves everything to an array of n slots (a power of two). */
static int resize(struct table *t, uint32_t n)
{
    INVARIANT(n > t->count);
    struct entity **slots = calloc(n, sizeof *slots);
    if (slots == NULL)
        return TROUPE_ENOMEM;
    for (uint32_t i = 0; i < table_slots(t); i++) {
        if (t->slots[i] != NULL)
            place(slots, n - 1, t->slots[i]);
    }
    free(t->slots);
    t->slots = slots;
    t->mask = n - 1;
    return 0;
}

int table_insert(struct table *t, struct entity *e)
{
    uint32_t slots = table_slots(t);
    if (slots == 0 || t->count + 1 > slots - slots / 4) {
        int rc = resize(t, slots == 0 ? SLOTS_MIN : slots * 2);
        if (rc != 0)
            return rc;
    }
    place(t->slots, t->mask, e);
    t->count++;
    return 0;
}

void table_remove(struct table *t, struct entity *e)
{
    INVARIANT(t->count > 0);
    uint32_t i = (uint32_t)e->hash & t->mask;
    while (t->slots[i] != e) {
        INVARIANT(t->slots[i] != NULL);
        i = (i + 1) & t->mask;
    }
    /* Close the gap: move back what would no longer be found across it. */
    for (uint32_t j = (i + 1) & t->mask; t->slots[j] != NULL; j = (j + 1) & t->mask) {
        uint32_t home = (uint32_t)t->slots[j]->hash & t->mask;
        if (((j - home) & t->mask) >= ((j - i) & t->mask)) {
            t->slots[i] = t->slots[j];
            i = j;
        }
    }
    t->slots[i] = NULL;
    t->count--;
    if (t->count == 0)
        table_close(t);
}

void table_close(struct table *t)
{
    free(t->slots);
    *t = (struct table){0};
}
