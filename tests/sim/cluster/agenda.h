/* What is going to happen in a simulated world: functions to be called at points in virtual time;
 * those of the same time in the order in which they were put down, so that a story depends on
 * nothing but its seed. A 4-ary heap: shallow, and the children of one entry lie side by side. */
#ifndef TROUPE_SIM_CLUSTER_AGENDA_H
#define TROUPE_SIM_CLUSTER_AGENDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;
typedef void (*agenda_cb)(struct world *w, void *data);

struct agenda_entry {
    uint64_t at_ns, order;
    agenda_cb happen;
    void *data;
};

struct agenda {
    struct agenda_entry *entries;
    size_t n, room;
    uint64_t order;
};

void agenda_close(struct agenda *a);
void agenda_add(struct agenda *a, uint64_t at_ns, agenda_cb happen, void *data);
/* Takes the next one off; false: there is none until then. */
bool agenda_next(struct agenda *a, uint64_t until_ns, struct agenda_entry *next);

#endif
