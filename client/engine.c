/* See engine.h. The way of a batch: sent, answered, or sent again. */
#include "client/engine.h"

#include <stdio.h>
#include <time.h>

#include "base/invariant.h"
#include "client/monotonic.h"

/* ---- where a batch waits ---- */

void engine_kick_clock(struct troupe_client *c)
{
    c->clock_kicked = true;
    pthread_cond_signal(&c->clock_cond);
}

void engine_watch(struct troupe_client *c, struct troupe_batch *b, uint64_t at_ms)
{
    due_set(&c->due, &b->due, at_ms);
    if (at_ms < c->clock_wakes_ms)
        engine_kick_clock(c);
}

void engine_enqueue(struct troupe_client *c, struct troupe_batch *b, bool front)
{
    INVARIANT(b->todo_n > 0);
    b->state = BATCH_QUEUED;
    list_push(front ? c->queue.next : &c->queue, &b->node);
    c->waiting_n++;
    engine_watch(c, b, b->deadline_ms);
}

void engine_detach(struct troupe_client *c, struct troupe_batch *b)
{
    INVARIANT(b->state == BATCH_QUEUED || b->state == BATCH_FLIGHT || b->state == BATCH_BACKOFF);
    list_remove(&b->node);
    due_remove(&c->due, &b->due);
    if (b->state != BATCH_FLIGHT) {
        c->waiting_n--;
        return;
    }
    INVARIANT(c->by_id[b->request_id & c->by_id_mask] == b);
    c->by_id[b->request_id & c->by_id_mask] = NULL;
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

bool engine_back_off(struct troupe_client *c, struct troupe_batch *b, uint64_t now_ms)
{
    uint32_t doublings = b->attempts < 1 ? 0 : b->attempts - 1;
    if (doublings > CLIENT_RETRY_DOUBLINGS)
        doublings = CLIENT_RETRY_DOUBLINGS;
    uint64_t longest = (uint64_t)c->retry_delay_ms << doublings;
    uint64_t delay = longest / 2 + next_random(c) % (longest / 2 + 1);
    /* A node could not answer in the time that is kept for its last word, and then what the node
     * said before would be lost. */
    if (now_ms + delay + answer_margin(b->timeout_ms) >= b->deadline_ms)
        return false;
    b->state = BATCH_BACKOFF;
    c->waiting_n++;
    engine_watch(c, b, now_ms + delay);
    return true;
}

void engine_deliver(struct troupe_batch *b)
{
    INVARIANT(b->todo_n == 0);
    b->state = BATCH_DONE;
    b->callback(b, b->data);
}

/* ---- out ---- */

/* A request id that no request in flight has, at a place of by_id that is free. Ids come around
 * after 2^31 requests, so a late reply to an earlier attempt meets nobody. */
static uint32_t take_request_id(struct troupe_client *c)
{
    INVARIANT(c->in_flight_n < c->in_flight_max);
    do
        c->last_id = (c->last_id + 1) & UINT32_C(0x7fffffff);
    while (c->by_id[c->last_id & c->by_id_mask] != NULL);
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
static bool attempt(struct troupe_client *c, struct troupe_batch *b, uint64_t now_ms)
{
    struct rpc_request request = {
        .timeout_ms = nodes_time(b, now_ms),
        .client = c->id,
        .calls = (struct rpc_call *)(uintptr_t)b->wire, /* encode only reads them */
        .calls_n = b->todo_n,
    };
    uint32_t id = take_request_id(c);
    uint8_t *body = link_frame_begin(c->link, id, rpc_request_size(&request), &b->frame_position);
    if (body == NULL)
        return false;
    rpc_request_encode(&request, body);
    link_frame_end(c->link);
    list_remove(&b->node);
    list_push(&c->flight, &b->node);
    c->waiting_n--;
    c->in_flight_n++;
    c->by_id[id & c->by_id_mask] = b;
    b->request_id = id;
    b->sent_ms = now_ms;
    b->answered = false;
    b->attempts++;
    b->state = BATCH_FLIGHT;
    return true;
}

void engine_pump(struct troupe_client *c)
{
    if (list_is_empty(&c->queue) || c->in_flight_n >= c->in_flight_max)
        return;
    uint64_t now_ms = monotonic_ms();
    while (!list_is_empty(&c->queue) && c->in_flight_n < c->in_flight_max) {
        struct troupe_batch *b = LIST_ENTRY(c->queue.next, struct troupe_batch, node);
        if (!attempt(c, b, now_ms))
            return;
    }
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Sequences grow even when the wall clock is set back. */
static void assign_sequences(struct troupe_client *c, struct troupe_batch *b)
{
    uint64_t by_clock = wall_ms() << RPC_SEQUENCE_COUNTER_BITS;
    if (c->last_sequence < by_clock)
        c->last_sequence = by_clock;
    for (size_t i = 0; i < b->calls_n; i++)
        if (b->calls[i].sequence != 0)
            b->calls[i].sequence = ++c->last_sequence;
}

static bool over_frame_limit(const struct troupe_batch *b)
{
    enum { OTHER_BYTES_MAX = 512 }; /* of a call, beside its payload */
    if (b->bytes + b->calls_n * OTHER_BYTES_MAX + OTHER_BYTES_MAX <= RPC_FRAME_BYTES_MAX)
        return false;
    struct rpc_request request = {
        .timeout_ms = RPC_TIMEOUT_MS_MAX,
        .client = 1,
        .calls = b->calls,
        .calls_n = b->calls_n,
    };
    return rpc_request_size(&request) > RPC_FRAME_BYTES_MAX;
}

/* The sum is what `due` has places for; the rest of the limit keeps a burst from filling the queue
 * while there is room in flight. */
static bool is_full(const struct troupe_client *c)
{
    bool goes_at_once = list_is_empty(&c->queue) && c->in_flight_n < c->in_flight_max;
    return (c->waiting_n >= c->queue_max && !goes_at_once) ||
           c->waiting_n + c->in_flight_n >= (size_t)c->in_flight_max + c->queue_max;
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
    b->attempts = 0;
    b->answered = b->maybe_executed = false;
    assign_sequences(c, b);
    engine_enqueue(c, b, false);
    engine_pump(c);
    pthread_mutex_unlock(&c->mu);
    link_flush(c->link);
    return 0;
}

/* ---- in ---- */

void engine_on_frame(void *data, uint32_t id, struct troupe_bytes body)
{
    struct troupe_client *c = data;
    id &= UINT32_C(0x7fffffff);
    pthread_mutex_lock(&c->mu);
    c->link_useful = true;
    struct troupe_batch *b = c->by_id[id & c->by_id_mask];
    if (b == NULL || b->request_id != id) { /* its deadline has passed, or it was sent anew */
        pthread_mutex_unlock(&c->mu);
        return;
    }
    engine_detach(c, b);
    b->state = BATCH_READING;
    const char *node = c->addresses.items[c->address_now].text;
    bool may_retry = !c->closing;
    pthread_mutex_unlock(&c->mu);

    batch_take_reply(b, body, may_retry, node);
    b->answered = true;
    if (b->todo_n > 0) {
        uint64_t now_ms = monotonic_ms();
        pthread_mutex_lock(&c->mu);
        bool again = engine_back_off(c, b, now_ms);
        pthread_mutex_unlock(&c->mu);
        if (again)
            return;
        b->todo_n = 0; /* no time for another attempt: this answer is the last */
    }
    engine_deliver(b);
}

void engine_on_burst(void *data)
{
    struct troupe_client *c = data;
    pthread_mutex_lock(&c->mu);
    engine_pump(c);
    pthread_mutex_unlock(&c->mu);
}

void engine_on_change(void *data, enum link_state state)
{
    struct troupe_client *c = data;
    pthread_mutex_lock(&c->mu);
    if (state == LINK_UP)
        engine_pump(c);
    else
        engine_kick_clock(c);
    pthread_mutex_unlock(&c->mu);
    if (state == LINK_UP)
        link_flush(c->link);
}
