/* See split.h. The usual batch belongs together and is looked at only once, or not at all while
 * nothing is known of the ring; nothing is copied then. Otherwise the calls are sorted by the ways
 * they are to go, in two passes, and each leg gets a stretch of the batch's todo. */
#include "client/split.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "client/engine.h"

/* A way as a number: a route's, or ANY. The seed's own, 0, is for what nobody else is to be asked.
 */
enum { WAY_SEED = 0, WAY_ANY = CLIENT_LINKS_MAX + 1, WAYS };

void split_prepare(struct troupe_batch *b)
{
    for (size_t i = 0; i < b->calls_n; i++)
        b->spots[i] = ring_spot_of(b->calls[i].kind, b->calls[i].id);
}

static bool is_pinned(const struct rpc_call *call)
{
    return call->kind.len > 0 && call->kind.data[0] == '$';
}

static unsigned way_of(struct troupe_client *c, const struct rpc_call *call, ring_spot spot)
{
    if (is_pinned(call))
        return WAY_SEED;
    struct route *r = route_of_spot(c, spot);
    return r == NULL ? WAY_ANY : (unsigned)(r - c->routes);
}

static struct route *route_of_way(struct troupe_client *c, unsigned way)
{
    return way == WAY_ANY ? NULL : &c->routes[way];
}

static void one_leg(struct troupe_batch *b, struct route *way)
{
    struct leg *leg = &b->leg;
    b->legs_n = 1;
    leg->todo = b->todo;
    leg->todo_n = leg->all_n = b->calls_n;
    leg->wire = b->calls;
    leg->way = way;
}

/* Room for copies of all calls. */
static bool reserve_sorted(struct troupe_batch *b)
{
    if (b->sorted_capacity >= b->calls_n)
        return true;
    free(b->sorted);
    b->sorted = malloc(b->calls_capacity * sizeof *b->sorted);
    b->sorted_capacity = b->sorted == NULL ? 0 : b->calls_capacity;
    return b->sorted != NULL;
}

/* A leg for each way that has calls, with its stretch of todo and sorted still empty. False: there
 * are too many, or no memory. */
static bool make_legs(struct troupe_batch *b, const uint16_t counts[WAYS], size_t legs_max,
                      struct leg *by_way[WAYS])
{
    size_t at = 0;
    unsigned n = 0;
    if (!reserve_sorted(b))
        return false;
    for (unsigned way = 0; way < WAYS; way++) {
        if (counts[way] == 0)
            continue;
        struct leg *leg = n < legs_max ? batch_leg(b, n) : NULL;
        if (leg == NULL)
            return false;
        by_way[way] = leg;
        leg->todo = b->todo + at;
        leg->wire = b->sorted + at;
        leg->todo_n = 0;
        leg->all_n = counts[way];
        leg->way = route_of_way(b->client, way);
        at += counts[way];
        n++;
    }
    INVARIANT(at == b->calls_n && n > 1);
    b->legs_n = n;
    return true;
}

/* spots holds ways by now. */
static void deal_out(struct troupe_batch *b, struct leg *by_way[WAYS])
{
    for (size_t i = 0; i < b->calls_n; i++) {
        struct leg *leg = by_way[b->spots[i]];
        size_t at = (size_t)(leg->todo - b->todo) + leg->todo_n++;
        b->todo[at] = (uint16_t)i;
        b->sorted[at] = b->calls[i];
    }
}

static unsigned most_frequent(const uint16_t counts[WAYS])
{
    unsigned best = 0;
    for (unsigned way = 1; way < WAYS; way++)
        if (counts[way] > counts[best])
            best = way;
    return best;
}

void split_batch(struct troupe_batch *b, bool prepared, size_t legs_max)
{
    struct troupe_client *c = b->client;
    if (!prepared || c->ring.bits == 0) {
        one_leg(b, b->pinned_n > 0 ? &c->routes[WAY_SEED] : NULL);
        return;
    }
    uint16_t counts[WAYS] = {0};
    for (size_t i = 0; i < b->calls_n; i++) {
        unsigned way = way_of(c, &b->calls[i], b->spots[i]);
        counts[way]++;
        b->spots[i] = (ring_spot)way;
    }
    struct leg *by_way[WAYS];
    if (counts[b->spots[0]] == b->calls_n) {
        one_leg(b, route_of_way(c, b->spots[0]));
    } else if (make_legs(b, counts, legs_max, by_way)) {
        deal_out(b, by_way);
    } else {
        one_leg(b, route_of_way(c, counts[WAY_SEED] > 0 ? WAY_SEED : most_frequent(counts)));
    }
}

void split_again(struct leg *leg)
{
    struct troupe_client *c = leg->batch->client;
    INVARIANT(leg->todo_n > 0);
    if (leg->way == c->routes || c->ring.bits == 0)
        return; /* pinned; or there is no other way */
    const struct rpc_call *call = &leg->batch->calls[leg->todo[0]];
    leg->way = route_of_spot(c, ring_spot_of(call->kind, call->id));
}
