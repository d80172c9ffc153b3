/* See ids.h. */
#include "client/ids.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

#include "base/invariant.h"
#include "proto/rpc.h"

uint64_t ids_random(void)
{
    uint64_t id = 0;
    ssize_t n;
    do
        n = getrandom(&id, sizeof id, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof id) { /* a kernel without it: time and address space layout */
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        id = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^ (uint64_t)(uintptr_t)&now;
    }
    return id == 0 ? 1 : id;
}

static unsigned place(const struct ids *ids, unsigned i)
{
    return (ids->head + i) % IDS_SPANS;
}

static bool is_over(struct ids_span *span)
{
    return atomic_load_explicit(&span->open, memory_order_acquire) == 0;
}

uint64_t ids_acked(struct ids *ids)
{
    while (ids->n > 0 && is_over(&ids->spans[ids->head])) {
        ids->head = place(ids, 1);
        ids->n--;
    }
    for (unsigned i = 0; i < ids->n; i++) {
        struct ids_span *span = &ids->spans[place(ids, i)];
        if (!span->of_an_other && !is_over(span))
            return span->first;
    }
    return ids->last + 1;
}

/* Grows even when the wall clock is set back. */
static void catch_up(struct ids *ids, uint64_t wall_ms)
{
    uint64_t by_clock = (wall_ms + ids->add_ms) << RPC_SEQUENCE_COUNTER_BITS;
    if (ids->last < by_clock)
        ids->last = by_clock;
}

unsigned ids_begin(struct ids *ids, uint64_t wall_ms)
{
    catch_up(ids, wall_ms);
    (void)ids_acked(ids);
    unsigned latest = place(ids, ids->n + IDS_SPANS - 1);
    if (ids->n < IDS_SPANS) {
        latest = place(ids, ids->n++);
        INVARIANT(is_over(&ids->spans[latest]));
        ids->spans[latest].of_an_other = true;
    }
    struct ids_span *span = &ids->spans[latest];
    if (span->of_an_other)
        span->first = ids->last + 1;
    span->of_an_other = false;
    atomic_fetch_add_explicit(&span->open, 1, memory_order_relaxed);
    return latest;
}

void ids_learn(struct ids *ids, uint64_t client, uint64_t from, uint64_t wall_ms)
{
    if (client != ids->client)
        return; /* it has been learned already */
    if (ids->last > from) {
        do
            ids->client = ids_random();
        while (ids->client == client);
        for (unsigned i = 0; i < ids->n; i++)
            ids->spans[place(ids, i)].of_an_other = true;
    }
    ids->last = from;
    ids->add_ms = (from >> RPC_SEQUENCE_COUNTER_BITS) - wall_ms;
}

unsigned ids_begin_again(struct ids *ids, unsigned span, uint64_t wall_ms)
{
    if (!ids->spans[span].of_an_other) {
        catch_up(ids, wall_ms);
        return span; /* which begins below what is drawn now */
    }
    unsigned next = ids_begin(ids, wall_ms);
    ids_answered(ids, span);
    return next;
}
