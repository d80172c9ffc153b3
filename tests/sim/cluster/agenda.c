/* See agenda.h. */
#include "tests/sim/cluster/agenda.h"

#include <stdlib.h>

#include "base/invariant.h"

enum { CHILDREN = 4, ROOM_MIN = 1024 };

static bool before(const struct agenda_entry *a, const struct agenda_entry *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void agenda_close(struct agenda *a)
{
    free(a->entries);
    *a = (struct agenda){0};
}

void agenda_add(struct agenda *a, uint64_t at_ns, agenda_cb happen, void *data)
{
    struct agenda_entry entry = {at_ns, a->order++, happen, data};
    if (a->n == a->room) {
        a->room = a->room == 0 ? ROOM_MIN : 2 * a->room;
        a->entries = realloc(a->entries, a->room * sizeof *a->entries);
        INVARIANT(a->entries != NULL);
    }
    size_t at = a->n++;
    while (at > 0) {
        size_t parent = (at - 1) / CHILDREN;
        if (!before(&entry, &a->entries[parent]))
            break;
        a->entries[at] = a->entries[parent];
        at = parent;
    }
    a->entries[at] = entry;
}

static void sink(struct agenda *a, const struct agenda_entry *entry)
{
    size_t at = 0;
    for (;;) {
        size_t first = at * CHILDREN + 1, least = first;
        if (first >= a->n)
            break;
        for (size_t i = first + 1; i < first + CHILDREN && i < a->n; i++) {
            if (before(&a->entries[i], &a->entries[least]))
                least = i;
        }
        if (!before(&a->entries[least], entry))
            break;
        a->entries[at] = a->entries[least];
        at = least;
    }
    a->entries[at] = *entry;
}

bool agenda_next(struct agenda *a, uint64_t until_ns, struct agenda_entry *next)
{
    if (a->n == 0 || a->entries[0].at_ns > until_ns)
        return false;
    *next = a->entries[0];
    struct agenda_entry last = a->entries[--a->n];
    if (a->n > 0)
        sink(a, &last);
    return true;
}
