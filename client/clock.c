/* The client's own thread: what happens because time passes. Deadlines, second attempts, and the
 * connections (tend.c). It sleeps until the earliest of these, or until it is kicked. */
#include <stdio.h>

#include "base/invariant.h"
#include "client/engine.h"
#include "client/monotonic.h"
#include "client/split.h"

/* Ten minutes; when there is nothing to wait for. */
enum { IDLE_MS = 600000 };

/* ---- deadlines ---- */

static void no_node_text(const struct leg *leg, char text[BATCH_TEXT_BYTES])
{
    const struct troupe_client *c = leg->batch->client;
    const char *why = c->routes[0].why;
    snprintf(text, BATCH_TEXT_BYTES, "no node answers at %.400s%s%s%s; is it running?%s",
             c->addresses_text, why[0] == '\0' ? "" : " (", why, why[0] == '\0' ? "" : ")",
             leg->maybe_executed
                 ? " The call was under way when the connection was lost and may have "
                   "been executed."
                 : "");
}

/* The deadline has passed: todo gets its last word. */
static void expire(struct troupe_client *c, struct leg *leg)
{
    char text[BATCH_TEXT_BYTES];
    struct route *any = leg->way == c->routes ? leg->way : route_any(c);
    if (leg->answered) {
        leg->todo_n = 0; /* what the node said last stands */
    } else if (leg->state == LEG_FLIGHT && leg->maybe_executed) {
        tend_fail_lost(leg); /* an earlier attempt says more than that this one came to nothing */
    } else if (leg->state == LEG_FLIGHT) {
        snprintf(text, sizeof text,
                 "no answer from %s within %u ms; the call may have been executed",
                 route_text(leg->on), leg->batch->timeout_ms);
        leg_fail_todo(leg, TROUPE_DEADLINE_EXCEEDED, text);
    } else if (any == NULL || !any->ready) {
        no_node_text(leg, text);
        leg_fail_todo(leg, TROUPE_UNAVAILABLE, text);
    } else {
        snprintf(text, sizeof text,
                 "not sent within %u ms, because too many other batches were before it; send fewer "
                 "at a time or give more time",
                 leg->batch->timeout_ms);
        leg_fail_todo(leg, TROUPE_DEADLINE_EXCEEDED, text);
    }
}

/* Nothing has been heard since this leg was sent, and for long: the peer may be gone without a
 * word. TCP itself would notice after a quarter of an hour. */
static bool is_silent(const struct leg *leg, uint64_t now_ms)
{
    uint64_t heard_ms = link_heard_ms(leg->on->link);
    uint64_t since_ms = heard_ms > leg->sent_ms ? heard_ms : leg->sent_ms;
    return now_ms >= since_ms + CLIENT_SILENCE_MS;
}

static void run_due(struct troupe_client *c, uint64_t now_ms, struct list *done)
{
    struct due *first;
    while ((first = due_first(&c->due)) != NULL && first->at_ms <= now_ms) {
        struct leg *leg = LIST_ENTRY(first, struct leg, due);
        bool flies = leg->state == LEG_FLIGHT;
        if (flies && link_state(leg->on->link) == LINK_BROKEN)
            return; /* lost, first; the clock has been kicked */
        if (leg->state == LEG_BACKOFF && now_ms < leg->batch->deadline_ms) {
            engine_detach(c, leg);
            split_again(leg);
            engine_enqueue(c, leg, true);
            continue;
        }
        if (flies && is_silent(leg, now_ms)) {
            leg->on->silent = true;
            engine_kick_clock(c);
        }
        engine_detach(c, leg);
        expire(c, leg);
        list_push(done, &leg->node);
    }
}

/* ---- the thread ---- */

static void deliver_all(struct list *done)
{
    struct list *node;
    while ((node = list_pop(done)) != NULL)
        engine_deliver(LIST_ENTRY(node, struct leg, node));
}

static void cancel_all(struct troupe_client *c, struct list *done)
{
    struct due *first;
    while ((first = due_first(&c->due)) != NULL) {
        struct leg *leg = LIST_ENTRY(first, struct leg, due);
        engine_detach(c, leg);
        leg_fail_todo(leg, TROUPE_CANCELLED, "the client was closed before an answer came");
        list_push(done, &leg->node);
    }
    INVARIANT(c->waiting_n == 0 && c->in_flight_n == 0);
}

static void sleep_until_due(struct troupe_client *c)
{
    struct due *first = due_first(&c->due);
    uint64_t wake_ms = first != NULL ? first->at_ms : monotonic_ms() + IDLE_MS;
    uint64_t tend_ms = tend_next_ms(c);
    if (tend_ms < wake_ms)
        wake_ms = tend_ms;
    c->clock_wakes_ms = wake_ms;
    struct timespec until = {.tv_sec = (time_t)(wake_ms / 1000),
                             .tv_nsec = (long)(wake_ms % 1000) * 1000000};
    int rc = 0;
    while (!c->clock_kicked && rc == 0)
        rc = pthread_cond_timedwait(&c->clock_cond, &c->mu, &until);
    c->clock_kicked = false;
    c->clock_wakes_ms = 0; /* awake: nobody needs to kick */
}

/* One round of everything; callbacks run without mu. */
static void tick(struct troupe_client *c)
{
    struct list done;
    list_init(&done);
    tend_routes(c, &done);
    run_due(c, monotonic_ms(), &done);
    engine_pump(c);
    engine_unlock(c);
    deliver_all(&done);
    pthread_mutex_lock(&c->mu);
}

void *clock_main(void *data)
{
    struct troupe_client *c = data;
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&c->mu);
    while (!c->closing) {
        tick(c);
        if (!c->closing)
            sleep_until_due(c);
    }
    pthread_mutex_unlock(&c->mu);
    tend_end(c);
    pthread_mutex_lock(&c->mu);
    cancel_all(c, &done);
    pthread_mutex_unlock(&c->mu);
    deliver_all(&done);
    return NULL;
}
