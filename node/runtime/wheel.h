/* A hierarchical timing wheel: O(1) to set and to cancel, O(1) amortised to expire, whatever the
 * number of timers (Varghese & Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme
 * 7). Six levels of 64 slots, a tick of 2^20 ns (1.05 ms): 2 years at most; longer timers are cut
 * to that. A timer fires at the first advance at or after its time, never before. Timers are
 * intrusive; nothing is allocated. */
#ifndef TROUPE_RUNTIME_WHEEL_H
#define TROUPE_RUNTIME_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WHEEL_TICK_SHIFT = 20,
    WHEEL_SLOT_BITS = 6,
    WHEEL_SLOTS = 1 << WHEEL_SLOT_BITS,
    WHEEL_LEVELS = 6,
};

/* Zero-initialised = not set. */
struct timer {
    struct timer *next;
    struct timer **prev_next; /* whatever points to us; NULL = not set */
    uint64_t tick : 56;       /* when it is due, in ticks */
    uint64_t type : 8;        /* the owner's */
};

struct wheel {
    uint64_t now; /* in ticks: everything up to and including this has expired */
    size_t count; /* timers set */
    uint64_t occupied[WHEEL_LEVELS];
    struct timer *slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_ns);
/* Sets or moves a timer. A time that is past fires at the next advance. */
void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ns);
/* Cancelling a timer that is not set is fine. */
void wheel_cancel(struct wheel *w, struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
    return t->prev_next != NULL;
}
/* Moves the time on to now and takes one due timer off; NULL when there is none. Call until NULL.
 */
struct timer *wheel_expire(struct wheel *w, uint64_t now_ns);
/* A time by which to call wheel_expire again: exact for timers within the next 64 ticks, never too
 * late for the others. UINT64_MAX when no timer is set. */
uint64_t wheel_next_ns(const struct wheel *w);

#endif
