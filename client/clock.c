/* The client's own thread: what happens because time passes. Deadlines, second attempts, and the
 * connection: dialled, reaped when broken, dialled again. It sleeps until the earliest of these, or
 * until it is kicked. */
#include <stdio.h>
#include <string.h>

#include "base/invariant.h"
#include "client/engine.h"
#include "client/monotonic.h"

/* Ten minutes; when there is nothing to wait for. */
enum { IDLE_MS = 600000 };

/* ---- the connection ---- */

/* A connection that has been of use is dialled again at once. Others wait, so that a port that
 * accepts and hangs up does not keep us busy. */
static void plan_redial(struct troupe_client *c, uint64_t now_ms)
{
    c->redial_ms = now_ms;
    if (c->link_useful) {
        c->link_useful = false;
        c->redial_failures = 0;
        return;
    }
    c->redial_failures++;
    if (c->redial_failures % c->addresses.count != 0)
        return; /* the next address has not had its turn */
    uint64_t rounds = c->redial_failures / c->addresses.count;
    uint64_t delay = CLIENT_REDIAL_MIN_MS;
    while (--rounds > 0 && delay < CLIENT_REDIAL_MAX_MS)
        delay *= 2;
    c->redial_ms += delay < CLIENT_REDIAL_MAX_MS ? delay : CLIENT_REDIAL_MAX_MS;
}

/* Keeps the reason for messages. A name without an IPv6 address says so at every second dial; what
 * its IPv4 address said is of more interest. */
static void note_why(struct troupe_client *c)
{
    char why[LINK_WHY_BYTES];
    link_why(c->link, why);
    const struct address *now = &c->addresses.items[c->address_now];
    bool second = c->address_now > 0 && strcmp(now[-1].text, now->text) == 0;
    if (!second || c->why[0] == '\0')
        memcpy(c->why, why, sizeof why);
}

static void no_node_text(const struct troupe_client *c, const struct troupe_batch *b,
                         char text[BATCH_TEXT_BYTES])
{
    snprintf(text, BATCH_TEXT_BYTES, "no node answers at %.400s%s%s%s; is it running?%s",
             c->addresses_text, c->why[0] == '\0' ? "" : " (", c->why, c->why[0] == '\0' ? "" : ")",
             b->maybe_executed
                 ? " The call was under way when the connection was lost and may have "
                   "been executed."
                 : "");
}

static void fail_lost(struct troupe_client *c, struct troupe_batch *b)
{
    char text[BATCH_TEXT_BYTES];
    snprintf(text, sizeof text,
             "the connection to %s was lost (%s), and no time is left for another attempt; the "
             "call may have been executed",
             c->addresses.items[c->address_now].text, c->why);
    batch_fail_todo(b, TROUPE_UNAVAILABLE, text);
}

/* A batch that was in flight on a connection that is gone; its place is `done`, or BACKOFF. */
static void lose(struct troupe_client *c, struct troupe_batch *b, bool had_left, uint64_t now_ms,
                 struct list *done)
{
    char text[BATCH_TEXT_BYTES];
    engine_detach(c, b);
    if (had_left) {
        b->maybe_executed = true;
        snprintf(text, sizeof text,
                 "the connection to %s was lost (%s); the call may have been executed, and without "
                 "a request id it is not sent again",
                 c->addresses.items[c->address_now].text, c->why);
        batch_fail_todo_without_id(b, TROUPE_UNAVAILABLE, text);
    }
    if (b->todo_n > 0 && engine_back_off(c, b, now_ms))
        return;
    if (b->todo_n > 0)
        fail_lost(c, b);
    list_push(done, &b->node);
}

static void after_loss(struct troupe_client *c, uint64_t now_ms, struct list *done)
{
    uint64_t sent_bytes = link_sent_bytes(c->link);
    struct list lost;
    list_init(&lost);
    list_splice(&lost, &c->flight);
    while (!list_is_empty(&lost)) {
        struct troupe_batch *b = LIST_ENTRY(lost.next, struct troupe_batch, node);
        lose(c, b, b->frame_position < sent_bytes, now_ms, done);
    }
    INVARIANT(c->in_flight_n == 0);
}

/* Called with mu, which it lets go of for the slow parts. */
static void tend_link(struct troupe_client *c, struct list *done)
{
    enum link_state state = link_state(c->link);
    if (state == LINK_BROKEN) {
        pthread_mutex_unlock(&c->mu);
        link_reap(c->link);
        pthread_mutex_lock(&c->mu);
        note_why(c);
        after_loss(c, monotonic_ms(), done);
        plan_redial(c, monotonic_ms());
        state = LINK_DOWN;
    }
    if (state != LINK_DOWN || c->closing || monotonic_ms() < c->redial_ms)
        return;
    c->address_now = c->address_next;
    c->address_next = (c->address_next + 1) % c->addresses.count;
    pthread_mutex_unlock(&c->mu);
    int rc = link_dial(c->link, &c->addresses.items[c->address_now]);
    pthread_mutex_lock(&c->mu);
    if (rc != 0) {
        note_why(c);
        plan_redial(c, monotonic_ms());
    }
}

/* ---- deadlines ---- */

/* The deadline of a batch has passed: todo gets its last word. */
static void expire(struct troupe_client *c, struct troupe_batch *b, enum link_state link)
{
    char text[BATCH_TEXT_BYTES];
    if (b->answered) {
        b->todo_n = 0; /* what the node said last stands */
    } else if (b->state == BATCH_FLIGHT && b->maybe_executed) {
        fail_lost(c, b); /* an earlier attempt says more than that this one came to nothing */
    } else if (b->state == BATCH_FLIGHT) {
        snprintf(text, sizeof text,
                 "no answer from %s within %u ms; the call may have been executed",
                 c->addresses.items[c->address_now].text, b->timeout_ms);
        batch_fail_todo(b, TROUPE_DEADLINE_EXCEEDED, text);
    } else if (link != LINK_UP) {
        no_node_text(c, b, text);
        batch_fail_todo(b, TROUPE_UNAVAILABLE, text);
    } else {
        snprintf(text, sizeof text,
                 "not sent within %u ms, because too many other batches were before it; send fewer "
                 "at a time or give more time",
                 b->timeout_ms);
        batch_fail_todo(b, TROUPE_DEADLINE_EXCEEDED, text);
    }
}

/* Nothing has been heard since this batch was sent, and for long: the peer may be gone without a
 * word. TCP itself would notice after a quarter of an hour. */
static bool is_silent(struct troupe_client *c, const struct troupe_batch *b, uint64_t now_ms)
{
    uint64_t heard_ms = link_heard_ms(c->link);
    uint64_t since_ms = heard_ms > b->sent_ms ? heard_ms : b->sent_ms;
    return now_ms >= since_ms + CLIENT_SILENCE_MS;
}

/* True when the connection looks dead. */
static bool run_due(struct troupe_client *c, uint64_t now_ms, struct list *done)
{
    bool silent = false;
    enum link_state link = link_state(c->link);
    for (;;) {
        struct due *first = due_first(&c->due);
        if (first == NULL || first->at_ms > now_ms || link == LINK_BROKEN) /* lost, first */
            return silent;
        struct troupe_batch *b = LIST_ENTRY(first, struct troupe_batch, due);
        if (b->state == BATCH_BACKOFF && now_ms < b->deadline_ms) {
            engine_detach(c, b);
            engine_enqueue(c, b, true);
            continue;
        }
        silent = silent || (b->state == BATCH_FLIGHT && is_silent(c, b, now_ms));
        engine_detach(c, b);
        expire(c, b, link);
        list_push(done, &b->node);
    }
}

/* ---- the thread ---- */

static void deliver_all(struct list *done)
{
    struct list *node;
    while ((node = list_pop(done)) != NULL)
        engine_deliver(LIST_ENTRY(node, struct troupe_batch, node));
}

static void cancel_all(struct troupe_client *c, struct list *done)
{
    struct due *first;
    while ((first = due_first(&c->due)) != NULL) {
        struct troupe_batch *b = LIST_ENTRY(first, struct troupe_batch, due);
        engine_detach(c, b);
        batch_fail_todo(b, TROUPE_CANCELLED, "the client was closed before an answer came");
        list_push(done, &b->node);
    }
    INVARIANT(c->waiting_n == 0 && c->in_flight_n == 0);
}

static void sleep_until_due(struct troupe_client *c)
{
    struct due *first = due_first(&c->due);
    uint64_t wake_ms = first != NULL ? first->at_ms : monotonic_ms() + IDLE_MS;
    if (link_state(c->link) == LINK_DOWN && c->redial_ms < wake_ms)
        wake_ms = c->redial_ms;
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
    tend_link(c, &done);
    bool silent = run_due(c, monotonic_ms(), &done);
    engine_pump(c);
    pthread_mutex_unlock(&c->mu);
    link_flush(c->link);
    if (silent)
        link_break(c->link, "nothing heard for 10 s");
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
    link_break(c->link, "closed");
    if (link_state(c->link) == LINK_BROKEN)
        link_reap(c->link);
    pthread_mutex_lock(&c->mu);
    cancel_all(c, &done);
    pthread_mutex_unlock(&c->mu);
    deliver_all(&done);
    return NULL;
}
