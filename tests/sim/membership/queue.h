/* What is going to happen, in the order of time; among things of the same time, in the order they
 * were put in, so that a run depends on nothing but its seed. A 4-ary heap: shallow, and the
 * children of one entry lie side by side. */
#ifndef TROUPE_SIM_MEMBERSHIP_QUEUE_H
#define TROUPE_SIM_MEMBERSHIP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_frame;

enum sim_event_type {
    SIM_EVENT_FRAME = 1, /* frame reaches node */
    SIM_EVENT_TIMER,     /* of node */
    SIM_EVENT_STALL,     /* node begins its next stall */
    SIM_EVENT_WAKE,      /* … and it is over */
    SIM_EVENT_EVIDENCE,  /* node learns that about has refused or reset */
    SIM_EVENT_JOIN,      /* node asks its seeds, again if need be */
};

struct sim_event {
    uint64_t at_ns, order;
    uint32_t node, run; /* another run of the node: nobody is there any more */
    uint32_t type;      /* enum sim_event_type */
    uint32_t about;
    struct sim_frame *frame;
};

struct sim_queue {
    struct sim_event *events;
    size_t n, room;
    uint64_t order;
};

void sim_queue_close(struct sim_queue *q);
/* Sets event->order. */
void sim_queue_push(struct sim_queue *q, struct sim_event *event);
/* False: there is none until then. */
bool sim_queue_pop(struct sim_queue *q, uint64_t until_ns, struct sim_event *event);

#endif
