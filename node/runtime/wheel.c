/* See wheel.h. A timer lives on the level of the highest 6-bit digit in which its tick differs from
 * now; when time reaches its slot on that level, the slot's timers cascade down. Bitmaps of
 * occupied slots let time jump over what is empty. Timers whose time is past wait in the slot of
 * the next tick. */
#include "node/runtime/wheel.h"

#include "base/invariant.h"

enum { DIGIT_MASK = WHEEL_SLOTS - 1 };

static const uint64_t TICKS_MAX = (UINT64_C(1) << (WHEEL_SLOT_BITS * WHEEL_LEVELS)) - 1;

void wheel_init(struct wheel *w, uint64_t now_ns)
{
    *w = (struct wheel){.now = now_ns >> WHEEL_TICK_SHIFT};
}

static unsigned digit(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (WHEEL_SLOT_BITS * level)) & DIGIT_MASK;
}

static unsigned level_of(uint64_t now, uint64_t tick)
{
    INVARIANT(tick > now);
    unsigned level = (63u - (unsigned)__builtin_clzll(now ^ tick)) / WHEEL_SLOT_BITS;
    return level < WHEEL_LEVELS ? level : WHEEL_LEVELS - 1;
}

static void link_timer(struct wheel *w, struct timer *t)
{
    unsigned level = level_of(w->now, t->tick), slot = digit(t->tick, level);
    struct timer **head = &w->slots[level][slot];
    t->next = *head;
    if (t->next != NULL)
        t->next->prev_next = &t->next;
    t->prev_next = head;
    *head = t;
    w->occupied[level] |= UINT64_C(1) << slot;
}

static void unlink_timer(struct wheel *w, struct timer *t)
{
    *t->prev_next = t->next;
    if (t->next != NULL)
        t->next->prev_next = t->prev_next;
    /* If that emptied a slot, clear its bit: prev_next then was the slot's head itself. */
    struct timer **slots = &w->slots[0][0];
    if (t->next == NULL && t->prev_next >= slots &&
        t->prev_next < slots + WHEEL_LEVELS * WHEEL_SLOTS) {
        size_t at = (size_t)(t->prev_next - slots);
        w->occupied[at / WHEEL_SLOTS] &= ~(UINT64_C(1) << (at % WHEEL_SLOTS));
    }
    t->next = NULL;
    t->prev_next = NULL;
}

void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ns)
{
    /* Rounded up: never before its time. */
    uint64_t tick = (due_ns >> WHEEL_TICK_SHIFT) + ((due_ns & ((1u << WHEEL_TICK_SHIFT) - 1)) != 0);
    if (tick <= w->now)
        tick = w->now + 1;
    if (tick - w->now > TICKS_MAX)
        tick = w->now + TICKS_MAX;
    if (timer_is_set(t)) {
        if (t->tick == tick)
            return;
        unlink_timer(w, t);
    } else {
        w->count++;
    }
    t->tick = tick & ((UINT64_C(1) << 56) - 1);
    link_timer(w, t);
}

void wheel_cancel(struct wheel *w, struct timer *t)
{
    if (!timer_is_set(t))
        return;
    INVARIANT(w->count > 0);
    w->count--;
    unlink_timer(w, t);
}

/* The next tick after now at which a slot of this level is reached; UINT64_MAX if the level is
 * empty. Occupied slots lie ahead of now's digit, except on the top level, where they may have
 * wrapped. */
static uint64_t level_next(const struct wheel *w, unsigned level)
{
    uint64_t bits = w->occupied[level];
    if (bits == 0)
        return UINT64_MAX;
    unsigned shift = WHEEL_SLOT_BITS * level, here = digit(w->now, level);
    uint64_t base = w->now >> (shift + WHEEL_SLOT_BITS) << (shift + WHEEL_SLOT_BITS);
    uint64_t ahead = here == DIGIT_MASK ? 0 : bits >> (here + 1) << (here + 1);
    if (ahead != 0)
        return base + ((uint64_t)__builtin_ctzll(ahead) << shift);
    return base + (UINT64_C(1) << (shift + WHEEL_SLOT_BITS)) +
           ((uint64_t)__builtin_ctzll(bits) << shift);
}

static uint64_t next_tick(const struct wheel *w)
{
    uint64_t best = UINT64_MAX;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t tick = level_next(w, level);
        best = tick < best ? tick : best;
    }
    return best;
}

/* now has just reached `tick`: slots of the higher levels that begin here spread over the lower
 * ones. Timers that are due right now go to *due. */
static void cascade(struct wheel *w, struct timer **due)
{
    for (unsigned level = WHEEL_LEVELS - 1; level > 0; level--) {
        if (w->now & ((UINT64_C(1) << (WHEEL_SLOT_BITS * level)) - 1))
            continue;
        unsigned slot = digit(w->now, level);
        struct timer *t = w->slots[level][slot];
        w->slots[level][slot] = NULL;
        w->occupied[level] &= ~(UINT64_C(1) << slot);
        while (t != NULL) {
            struct timer *next = t->next;
            if (t->tick > w->now) {
                link_timer(w, t);
            } else {
                t->next = *due;
                if (t->next != NULL)
                    t->next->prev_next = &t->next;
                t->prev_next = due;
                *due = t;
            }
            t = next;
        }
    }
}

struct timer *wheel_expire(struct wheel *w, uint64_t now_ns)
{
    uint64_t target = now_ns >> WHEEL_TICK_SHIFT;
    while (w->count > 0) {
        struct timer **slot = &w->slots[0][digit(w->now, 0)];
        if (*slot != NULL) { /* due: every timer in the slot of now itself */
            struct timer *t = *slot;
            INVARIANT(t->tick <= w->now);
            wheel_cancel(w, t);
            return t;
        }
        uint64_t tick = next_tick(w);
        INVARIANT(tick > w->now);
        if (tick > target)
            break;
        w->now = tick;
        struct timer *due = NULL;
        cascade(w, &due);
        slot = &w->slots[0][digit(w->now, 0)];
        while (due != NULL) { /* cascaded straight to now: into now's own slot */
            struct timer *t = due;
            due = t->next;
            t->next = *slot;
            if (t->next != NULL)
                t->next->prev_next = &t->next;
            t->prev_next = slot;
            *slot = t;
            w->occupied[0] |= UINT64_C(1) << digit(w->now, 0);
        }
    }
    if (target > w->now)
        w->now = target;
    return NULL;
}

uint64_t wheel_next_ns(const struct wheel *w)
{
    if (w->count == 0)
        return UINT64_MAX;
    if (w->slots[0][digit(w->now, 0)] != NULL)
        return w->now << WHEEL_TICK_SHIFT;
    return next_tick(w) << WHEEL_TICK_SHIFT;
}
