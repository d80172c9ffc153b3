/* What comes in: replies, and news of the links. See engine.h. */
#include "base/invariant.h"
#include "client/engine.h"
#include "client/monotonic.h"

/* How many links are flushed between two looks at the lock. */
enum { FLUSH_AT_ONCE = 16 };

/* Non-NULL while replies of this route are being handed over on this thread. */
static _Thread_local struct route *burst_route;

static size_t take_unsent(struct troupe_client *c, struct link *links[FLUSH_AT_ONCE])
{
    size_t n = 0;
    struct list *node;
    while (n < FLUSH_AT_ONCE && (node = list_pop(&c->unsent)) != NULL)
        links[n++] = LIST_ENTRY(node, struct route, unsent)->link;
    return n;
}

void engine_unlock(struct troupe_client *c)
{
    struct route *own = burst_route;
    if (own != NULL && own->client == c) {
        bool put = !list_is_empty(&own->unsent);
        pthread_mutex_unlock(&c->mu);
        if (put)
            link_flush(own->link); /* which waits for the burst's end as well, unless it is much */
        return;
    }
    struct link *links[FLUSH_AT_ONCE];
    for (;;) {
        size_t n = take_unsent(c, links);
        pthread_mutex_unlock(&c->mu);
        for (size_t i = 0; i < n; i++)
            link_flush(links[i]);
        if (n < FLUSH_AT_ONCE)
            return;
        pthread_mutex_lock(&c->mu);
    }
}

/* ---- replies ---- */

void engine_deliver(struct leg *leg)
{
    struct troupe_batch *b = leg->batch;
    INVARIANT(leg->todo_n == 0);
    leg->state = LEG_DONE;
    if (b->legs_n > 1 && atomic_fetch_sub_explicit(&b->legs_open, 1, memory_order_acq_rel) > 1)
        return;
    ids_answered(&b->client->ids, b->span);
    b->state = BATCH_DONE;
    b->callback(b, b->data);
}

/* The hashes are made before the lock is taken; spots of calls of this leg are nobody else's. */
static void learn(struct leg *leg, const struct rpc_reply *reply)
{
    struct troupe_batch *b = leg->batch;
    struct troupe_client *c = b->client;
    if (c->links_max == 0)
        return;
    for (size_t i = 0; i < reply->results_n; i++) {
        const struct rpc_call *call = &b->calls[leg->todo[i]];
        if (reply->results[i].owner != NULL)
            b->spots[leg->todo[i]] = ring_spot_of(call->kind, call->id);
    }
    pthread_mutex_lock(&c->mu);
    for (size_t i = 0; i < reply->results_n; i++)
        if (reply->results[i].owner != NULL)
            route_learn(c, b->spots[leg->todo[i]], reply->results[i].owner, leg->on);
    pthread_mutex_unlock(&c->mu);
}

/* The node has said who it is. */
static void take_check(struct route *r, struct troupe_bytes body)
{
    struct troupe_client *c = r->client;
    const char *why = route_check_answer(r, body);
    pthread_mutex_lock(&c->mu);
    bool still = r->check_until_ms != 0; /* the link has not been broken meanwhile */
    r->check_until_ms = 0;
    if (list_is_empty(&r->flight))
        r->owes_ms = 0;
    if (still && why == NULL) {
        r->ready = r->useful = true;
        r->wanted = r == c->routes;
        engine_pump(c);
    }
    engine_unlock(c);
    if (still && why != NULL)
        link_break(r->link, why);
}

/* The leg that this answers, taken out of flight; NULL: its deadline has passed, or it was sent
 * anew. */
static struct leg *take_leg(struct troupe_client *c, struct route *r, uint32_t id)
{
    struct leg *leg = c->by_id[id & c->by_id_mask];
    if (leg == NULL || leg->request_id != id || leg->on != r)
        return NULL;
    engine_detach(c, leg);
    leg->state = LEG_READING;
    if (list_is_empty(&r->flight))
        r->owes_ms = 0;
    return leg;
}

void engine_on_frame(void *data, uint32_t id, struct troupe_bytes body)
{
    struct route *r = data;
    struct troupe_client *c = r->client;
    burst_route = r;
    id &= UINT32_C(0x7fffffff);
    if (id == ROUTE_CHECK_ID) {
        take_check(r, body);
        return;
    }
    pthread_mutex_lock(&c->mu);
    r->useful = true;
    struct leg *leg = take_leg(c, r, id);
    const char *node = route_text(r);
    bool may_retry = !c->closing;
    pthread_mutex_unlock(&c->mu);
    if (leg == NULL)
        return;
    leg_take_reply(leg, body, may_retry, node, learn);
    leg->answered = true;
    if (leg->todo_n > 0) {
        uint64_t now_ms = monotonic_ms();
        pthread_mutex_lock(&c->mu);
        bool again = engine_back_off(c, leg, now_ms);
        if (again && leg->ids_from != 0)
            engine_draw_again(c, leg);
        pthread_mutex_unlock(&c->mu);
        if (again)
            return;
        leg->todo_n = 0; /* no time for another attempt: this answer is the last */
    }
    engine_deliver(leg);
}

void engine_on_burst(void *data)
{
    struct route *r = data;
    pthread_mutex_lock(&r->client->mu);
    engine_pump(r->client);
    list_remove(&r->unsent); /* its link flushes itself when this returns */
    burst_route = NULL;
    engine_unlock(r->client);
}

/* ---- links ---- */

/* It is up: the seed serves at once, a node when it has said who it is. Also: it has room again.
 * False when it cannot be asked. */
static bool raise_route(struct troupe_client *c, struct route *r)
{
    if (r == c->routes)
        r->ready = true;
    if (r->ready)
        engine_pump(c);
    else if (r->check_until_ms == 0)
        return route_check_begin(r, monotonic_ms());
    return true;
}

void engine_on_change(void *data, enum link_state state)
{
    struct route *r = data;
    struct troupe_client *c = r->client;
    bool sound = true;
    pthread_mutex_lock(&c->mu);
    if (state == LINK_UP) {
        sound = raise_route(c, r);
    } else {
        route_lower(r);
        engine_kick_clock(c);
        engine_pump(c); /* what waited for it goes by another */
    }
    engine_unlock(c);
    if (!sound)
        link_break(r->link, "out of memory");
}
