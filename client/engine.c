/* See engine.h. The way of a leg out: queued, sent, sent again. engine_in.c has the answers. */
#include "client/engine.h"

#include <time.h>

#include "base/invariant.h"
#include "client/monotonic.h"
#include "client/split.h"

/* ---- where a batch waits ---- */

void engine_kick_clock(struct troupe_client *c)
{
    c->clock_kicked = true;
    pthread_cond_signal(&c->clock_cond);
}

void engine_wake_clock(struct troupe_client *c, uint64_t at_ms)
{
    if (at_ms < c->clock_wakes_ms)
        engine_kick_clock(c);
}

static void watch(struct troupe_client *c, struct leg *leg, uint64_t at_ms)
{
    due_set(&c->due, &leg->due, at_ms);
    engine_wake_clock(c, at_ms);
}

void engine_enqueue(struct troupe_client *c, struct leg *leg, bool front)
{
    INVARIANT(leg->todo_n > 0);
    if (leg->way != NULL && leg->way != c->routes && !leg->way->ready)
        leg->way = NULL;
    struct list *queue = leg->way == NULL ? &c->queue : &leg->way->queue;
    leg->state = LEG_QUEUED;
    list_push(front ? queue->next : queue, &leg->node);
    c->queued_n++;
    c->waiting_n++;
    watch(c, leg, leg->batch->deadline_ms);
}

void engine_detach(struct troupe_client *c, struct leg *leg)
{
    INVARIANT(leg->state == LEG_QUEUED || leg->state == LEG_FLIGHT || leg->state == LEG_BACKOFF);
    list_remove(&leg->node);
    due_remove(&c->due, &leg->due);
    c->queued_n -= leg->state == LEG_QUEUED;
    if (leg->state != LEG_FLIGHT) {
        c->waiting_n--;
        return;
    }
    INVARIANT(c->by_id[leg->request_id & c->by_id_mask] == leg);
    c->by_id[leg->request_id & c->by_id_mask] = NULL;
    c->in_flight_n--;
}

/* xorshift64*, by Vigna. Spreads retries of many clients; nothing depends on its quality. */
static uint64_t next_random(struct troupe_client *c)
{
    c->jitter ^= c->jitter >> 12;
    c->jitter ^= c->jitter << 25;
    c->jitter ^= c->jitter >> 27;
    return c->jitter * UINT64_C(2685821657736338717);
}

/* Of the time left, for a node's answer to come back in. */
static uint64_t answer_margin(uint64_t left_ms)
{
    return left_ms / 8 < ANSWER_MARGIN_MS ? left_ms / 8 : ANSWER_MARGIN_MS;
}

bool engine_back_off(struct troupe_client *c, struct leg *leg, uint64_t now_ms)
{
    uint32_t doublings = leg->attempts < 1 ? 0 : leg->attempts - 1;
    if (doublings > CLIENT_RETRY_DOUBLINGS)
        doublings = CLIENT_RETRY_DOUBLINGS;
    uint64_t longest = (uint64_t)c->retry_delay_ms << doublings;
    uint64_t delay = longest / 2 + next_random(c) % (longest / 2 + 1);
    /* A node could not answer in the time that is kept for its last word, and then what the node
     * said before would be lost. */
    if (now_ms + delay + answer_margin(leg->batch->timeout_ms) >= leg->batch->deadline_ms)
        return false;
    leg->state = LEG_BACKOFF;
    c->waiting_n++;
    watch(c, leg, now_ms + delay);
    return true;
}

/* ---- out ---- */

/* A request id that no request in flight has, at a place of by_id that is free. Ids come around
 * after 2^31 requests, so a late reply to an earlier attempt meets nobody. */
static uint32_t take_request_id(struct troupe_client *c)
{
    INVARIANT(c->in_flight_n < c->in_flight_max);
    do
        c->last_id = (c->last_id + 1) & UINT32_C(0x7fffffff);
    while (c->by_id[c->last_id & c->by_id_mask] != NULL || c->last_id == ROUTE_CHECK_ID);
    return c->last_id;
}

/* What the node is given: a little less than what is left, so that its word on what did not come
 * about in time ("not committed: the store …") is here before we give up without one. */
static uint32_t nodes_time(const struct troupe_batch *b, uint64_t now_ms)
{
    uint64_t left = b->deadline_ms > now_ms ? b->deadline_ms - now_ms : 1;
    return (uint32_t)(left - answer_margin(left));
}

/* QUEUED → FLIGHT; false when the link has no room or is not up. */
static bool attempt(struct troupe_client *c, struct leg *leg, struct route *r, uint64_t now_ms)
{
    struct rpc_request request = {
        .timeout_ms = nodes_time(leg->batch, now_ms),
        .client = leg->client,
        .acked = leg->client == c->ids.client ? ids_acked(&c->ids) : 0,
        .calls = leg->wire,
        .calls_n = leg->todo_n,
    };
    uint32_t id = take_request_id(c);
    uint8_t *body = link_frame_begin(r->link, id, rpc_request_size(&request), &leg->frame_position);
    if (body == NULL)
        return false;
    rpc_request_encode(&request, body);
    link_frame_end(r->link);
    if (r->owes_ms == 0) {
        r->owes_ms = now_ms;
        if (route_has_others(c))
            engine_wake_clock(c, now_ms + CLIENT_QUIET_MS);
    }
    list_remove(&leg->node);
    list_push(&r->flight, &leg->node);
    if (list_is_empty(&r->unsent))
        list_push(&c->unsent, &r->unsent);
    c->queued_n--;
    c->waiting_n--;
    c->in_flight_n++;
    c->by_id[id & c->by_id_mask] = leg;
    leg->on = r;
    leg->request_id = id;
    leg->sent_ms = now_ms;
    leg->answered = false;
    leg->attempts++;
    leg->state = LEG_FLIGHT;
    return true;
}

/* The first of the queue of a turn: 0 is the common one, i + 1 that of route i. */
static bool pump_one(struct troupe_client *c, size_t turn, uint64_t now_ms)
{
    struct list *queue = turn == 0 ? &c->queue : &c->routes[turn - 1].queue;
    if (list_is_empty(queue))
        return false;
    struct route *r = turn == 0 ? route_any(c) : &c->routes[turn - 1];
    return r != NULL && r->ready &&
           attempt(c, LIST_ENTRY(queue->next, struct leg, node), r, now_ms);
}

/* One leg of each queue in turn, so that no route keeps the places in flight from the others. */
void engine_pump(struct troupe_client *c)
{
    if (c->queued_n == 0 || c->in_flight_n >= c->in_flight_max)
        return;
    uint64_t now_ms = monotonic_ms();
    size_t turns = c->routes_n + 1, idle = 0;
    while (idle < turns && c->queued_n > 0 && c->in_flight_n < c->in_flight_max) {
        c->pump_turn = c->pump_turn + 1 < turns ? c->pump_turn + 1 : 0;
        idle = pump_one(c, c->pump_turn, now_ms) ? 0 : idle + 1;
    }
}

/* ---- sending ---- */

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void assign_sequences(struct troupe_client *c, struct troupe_batch *b)
{
    b->span = IDS_NO_SPAN;
    for (size_t i = 0; i < b->calls_n; i++) {
        if (b->calls[i].sequence == 0)
            continue;
        if (b->span == IDS_NO_SPAN)
            b->span = ids_begin(&c->ids, wall_ms());
        b->calls[i].sequence = ids_draw(&c->ids);
    }
}

void engine_draw_again(struct troupe_client *c, struct leg *leg)
{
    struct troupe_batch *b = leg->batch;
    ids_learn(&c->ids, leg->client, leg->ids_from, wall_ms());
    b->span = ids_begin_again(&c->ids, b->span, wall_ms());
    for (size_t i = 0; i < leg->todo_n; i++)
        b->calls[leg->todo[i]].sequence = leg->wire[i].sequence = ids_draw(&c->ids);
    leg->client = c->ids.client;
    leg->ids_from = 0;
}

static bool over_frame_limit(const struct troupe_batch *b)
{
    enum { OTHER_BYTES_MAX = 512 }; /* of a call, beside its payload */
    if (b->bytes + b->calls_n * OTHER_BYTES_MAX + OTHER_BYTES_MAX <= RPC_FRAME_BYTES_MAX)
        return false;
    struct rpc_request request = {
        .timeout_ms = RPC_TIMEOUT_MS_MAX,
        .client = 1,
        .acked = 1,
        .calls = b->calls,
        .calls_n = b->calls_n,
    };
    return rpc_request_size(&request) > RPC_FRAME_BYTES_MAX;
}

/* Legs that `due` has places for. */
static size_t room(const struct troupe_client *c)
{
    return (size_t)c->in_flight_max + c->queue_max - c->waiting_n - c->in_flight_n;
}

/* The second part of the limit keeps a burst from filling the queue
 * while there is room in flight. */
static bool is_full(const struct troupe_client *c)
{
    bool goes_at_once = list_is_empty(&c->queue) && c->in_flight_n < c->in_flight_max;
    return (c->waiting_n >= c->queue_max && !goes_at_once) ||
           c->waiting_n + c->in_flight_n >= (size_t)c->in_flight_max + c->queue_max;
}

static void start_leg(struct troupe_client *c, struct leg *leg)
{
    leg->attempts = 0;
    leg->client = c->ids.client;
    leg->ids_from = 0;
    leg->answered = leg->maybe_executed = false;
    engine_enqueue(c, leg, false);
}

int troupe_batch_send(struct troupe_batch *b, uint32_t timeout_ms, troupe_batch_cb callback,
                      void *data)
{
    struct troupe_client *c = b->client;
    if (b->state != BATCH_FILLING || b->calls_n == 0 || callback == NULL)
        return TROUPE_EINVAL;
    if (over_frame_limit(b))
        return TROUPE_ELIMIT;
    uint64_t now_ms = monotonic_ms();
    bool prepared = atomic_load_explicit(&c->ring_known, memory_order_relaxed);
    if (prepared)
        split_prepare(b);
    pthread_mutex_lock(&c->mu);
    if (c->closing || is_full(c)) {
        int rc = c->closing ? TROUPE_ECLOSED : TROUPE_ELIMIT;
        pthread_mutex_unlock(&c->mu);
        return rc;
    }
    b->callback = callback;
    b->data = data;
    b->timeout_ms = timeout_ms == 0 ? c->timeout_ms : timeout_ms;
    if (b->timeout_ms > RPC_TIMEOUT_MS_MAX)
        b->timeout_ms = RPC_TIMEOUT_MS_MAX;
    b->deadline_ms = now_ms + b->timeout_ms;
    b->state = BATCH_SENT;
    assign_sequences(c, b);
    split_batch(b, prepared, room(c));
    if (b->legs_n > 1)
        atomic_store_explicit(&b->legs_open, b->legs_n, memory_order_relaxed);
    for (unsigned i = 0, n = b->legs_n; i < n; i++)
        start_leg(c, batch_leg(b, i));
    engine_pump(c);
    engine_unlock(c);
    return 0;
}
