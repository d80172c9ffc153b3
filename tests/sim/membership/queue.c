/* See queue.h. */
#include "tests/sim/membership/queue.h"

#include <stdlib.h>

#include "base/invariant.h"

enum { CHILDREN = 4, ROOM_MIN = 1024 };

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_queue_close(struct sim_queue *q)
{
    free(q->events);
    *q = (struct sim_queue){0};
}

void sim_queue_push(struct sim_queue *q, struct sim_event *event)
{
    if (q->n == q->room) {
        q->room = q->room == 0 ? ROOM_MIN : 2 * q->room;
        q->events = realloc(q->events, q->room * sizeof *q->events);
        INVARIANT(q->events != NULL);
    }
    event->order = q->order++;
    size_t at = q->n++;
    while (at > 0) {
        size_t parent = (at - 1) / CHILDREN;
        if (!before(event, &q->events[parent]))
            break;
        q->events[at] = q->events[parent];
        at = parent;
    }
    q->events[at] = *event;
}

static void sink(struct sim_queue *q, const struct sim_event *event)
{
    size_t at = 0;
    for (;;) {
        size_t first = at * CHILDREN + 1, least = first;
        if (first >= q->n)
            break;
        for (size_t i = first + 1; i < first + CHILDREN && i < q->n; i++) {
            if (before(&q->events[i], &q->events[least]))
                least = i;
        }
        if (!before(&q->events[least], event))
            break;
        q->events[at] = q->events[least];
        at = least;
    }
    q->events[at] = *event;
}

bool sim_queue_pop(struct sim_queue *q, uint64_t until_ns, struct sim_event *event)
{
    if (q->n == 0 || q->events[0].at_ns > until_ns)
        return false;
    *event = q->events[0];
    struct sim_event last = q->events[--q->n];
    if (q->n > 0)
        sink(q, &last);
    return true;
}
