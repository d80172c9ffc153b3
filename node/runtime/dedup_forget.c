/* See dedup.h. What is forgotten, and what stays of it. */
#include "base/invariant.h"
#include "node/runtime/dedup_impl.h"

enum {
    FULL_BYTES = DEDUP_BYTES_MAX / 8 * 7, /* it is brought down to this, so that it is not done for
                                             each call */
};

/* Not before its own sequence is past, by so much: the horizon would close the time until then to
 * others. */
static bool may_drop(const struct entry *e, const struct dedup_time *time, uint64_t age_ms)
{
    uint64_t highest = dedup__ms(e->floor > e->sequence ? e->floor : e->sequence);
    return highest < time->now_ms && time->now_ms - highest >= age_ms;
}

static uint64_t oldest_ms(const struct dedup *d, const struct dedup_time *time)
{
    DEDUP_EACH(d, at, e)
    {
        if (may_drop(e, time, 0))
            return dedup__since(time->now_ms, e->at_ms);
    }
    return 0;
}

uint64_t dedup__ahead_ms(const struct dedup *d, const struct dedup_time *time)
{
    uint64_t reach = time->window_ms;
    if (d == NULL || d->bytes < FULL_BYTES / 4 * 3)
        return reach / 2;
    uint64_t oldest = oldest_ms(d, time);
    return (oldest < reach ? oldest : reach) / 2;
}

/* ---- below a floor ---- */

void dedup__sweep(struct dedup *d, uint64_t client, uint64_t floor)
{
    if (floor == 0 || (d->swept_client == client && d->swept_floor == floor))
        return;
    d->swept_client = client;
    d->swept_floor = floor;
    DEDUP_EACH(d, at, e)
    {
        if (e->client != client)
            continue;
        if (e->sequence >= floor)
            return; /* nearly always in order; what is behind it and below goes the next time */
        if (e->floor <= floor)
            dedup__remove(d, e);
    }
}

static uint32_t count(const struct dedup *d, uint64_t client)
{
    uint32_t n = 0;
    DEDUP_EACH(d, at, e)
    n += e->client == client;
    return n;
}

/* Of the client's entries all but so many go, the oldest; the floor that this makes stays with the
 * latest. It refuses first attempts that were drawn before and arrive only now, so that nothing but
 * the bound on the bytes is a reason. */
static void trim(struct dedup *d, uint64_t client, uint32_t left)
{
    uint32_t n = count(d, client);
    uint64_t floor = 0;
    struct entry *latest = NULL;
    INVARIANT(left > 0);
    DEDUP_EACH(d, at, e)
    {
        if (e->client != client)
            continue;
        if (e->floor > floor)
            floor = e->floor;
        if (n <= left) {
            latest = e;
            continue;
        }
        n--;
        if (e->sequence >= floor)
            floor = e->sequence + 1;
        dedup__remove(d, e);
    }
    if (latest == NULL || latest->floor >= floor)
        return;
    latest->floor = floor;
    dedup__sweep(d, client, floor);
}

/* ---- beyond the horizon ---- */

static void drop(struct dedup *d, struct entry *e)
{
    if (e->sequence > d->horizon)
        d->horizon = e->sequence;
    /* The floor was the client's, and may be of another entry that went before. */
    if (e->floor > d->horizon + 1)
        d->horizon = e->floor - 1;
    dedup__remove(d, e);
}

static void strip(struct dedup *d, struct entry *e)
{
    d->bytes -= e->len;
    e->len = 0;
    e->flags &= (uint8_t)~ENTRY_KEPT;
}

static bool is_old(const struct entry *e, const struct dedup_time *time, uint64_t age_ms)
{
    return dedup__since(time->now_ms, e->at_ms) >= age_ms;
}

/* From the front on, the replies of what is so old, until no more than so many bytes are left. */
static void strip_old(struct dedup *d, const struct dedup_time *time, uint64_t age_ms,
                      uint32_t bytes)
{
    DEDUP_EACH(d, at, e)
    {
        if (d->bytes <= bytes || !is_old(e, time, age_ms))
            return;
        if (e->len > 0)
            strip(d, e);
    }
}

/* And then the ids. */
static void shrink(struct dedup *d, const struct dedup_time *time, uint64_t age_ms, uint32_t bytes)
{
    strip_old(d, time, age_ms, bytes);
    DEDUP_EACH(d, at, e)
    {
        if (d->bytes <= bytes || !is_old(e, time, age_ms))
            return;
        if (may_drop(e, time, age_ms))
            drop(d, e);
    }
}

void dedup__expire(struct dedup *d, const struct dedup_time *time)
{
    uint64_t past_ms = time->window_ms < DEDUP_KEEP_MS ? time->window_ms : DEDUP_KEEP_MS;
    DEDUP_EACH(d, at, e)
    {
        if (dedup__since(time->now_ms, e->at_ms) < time->window_ms)
            return;
        if (may_drop(e, time, past_ms))
            drop(d, e);
    }
}

/* Clients with many calls under way at one entity make do with their latest; else the oldest go, of
 * whomever they are, and at last those that are ahead of the clock. */
static void make_room(struct dedup *d, uint64_t client, const struct dedup_time *time)
{
    DEDUP_EACH(d, at, e)
    {
        if (d->bytes > FULL_BYTES && e->len > 0)
            strip(d, e);
    }
    for (int i = 0; i < 4 && d->bytes > FULL_BYTES; i++) {
        uint32_t n = count(d, client);
        if (n > DEDUP_CLIENT_REPLIES)
            trim(d, client, n / 2);
        client = dedup__entry(d, d->head)->client;
    }
    shrink(d, time, 0, FULL_BYTES);
    DEDUP_EACH(d, at, e)
    {
        if (d->bytes > FULL_BYTES)
            drop(d, e);
    }
}

void dedup__forget(struct dedup *d, const struct dedup_id *id, const struct dedup_time *time,
                   uint32_t weight)
{
    dedup__expire(d, time);
    if (d->bytes + weight <= DEDUP_BUDGET_BYTES)
        return;
    shrink(d, time, DEDUP_KEEP_MS, weight < DEDUP_BUDGET_BYTES ? DEDUP_BUDGET_BYTES - weight : 0);
    if (d->bytes + weight > DEDUP_BYTES_MAX)
        make_room(d, id->client, time);
}
