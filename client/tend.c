/* The clock's care for the routes: dialled when they are wanted, reaped when they are broken, and
 * what was on its way there lost or sent again. */
#include <stdio.h>
#include <string.h>

#include "base/invariant.h"
#include "client/engine.h"
#include "client/monotonic.h"

/* A connection that has been of use is dialled again at once. Others wait, so that a port that
 * accepts and hangs up does not keep us busy; and a node's, until a call would go there. */
static void plan_redial(struct route *r, uint64_t now_ms)
{
    bool seed = r == r->client->routes;
    r->redial_ms = now_ms;
    if (r->useful) {
        r->useful = false;
        r->redial_failures = 0;
        r->wanted = true;
        return;
    }
    r->redial_failures++;
    if (r->redial_failures % r->addresses.count != 0)
        return; /* the next address has not had its turn */
    r->wanted = seed;
    uint64_t rounds = r->redial_failures / r->addresses.count;
    uint64_t delay = CLIENT_REDIAL_MIN_MS;
    uint64_t most = seed ? CLIENT_REDIAL_MAX_MS : CLIENT_NODE_REDIAL_MAX_MS;
    while (--rounds > 0 && delay < most)
        delay *= 2;
    r->redial_ms += delay < most ? delay : most;
}

/* Keeps the reason for messages. A name without an IPv6 address says so at every second dial; what
 * its IPv4 address said is of more interest. */
static void note_why(struct route *r)
{
    char why[LINK_WHY_BYTES];
    link_why(r->link, why);
    const struct address *now = &r->addresses.items[r->address_now];
    bool second = r->address_now > 0 && strcmp(now[-1].text, now->text) == 0;
    if (!second || r->why[0] == '\0')
        memcpy(r->why, why, sizeof why);
}

/* ---- what was on its way ---- */

void tend_fail_lost(struct leg *leg)
{
    char text[BATCH_TEXT_BYTES];
    snprintf(text, sizeof text,
             "the connection to %s was lost (%s), and no time is left for another attempt; the "
             "call may have been executed",
             route_text(leg->on), leg->on->why);
    leg_fail_todo(leg, TROUPE_UNAVAILABLE, text);
}

/* A leg that was in flight on a connection that is gone; its place is `done`, or BACKOFF. */
static void lose(struct leg *leg, bool had_left, uint64_t now_ms, struct list *done)
{
    struct troupe_client *c = leg->batch->client;
    char text[BATCH_TEXT_BYTES];
    engine_detach(c, leg);
    if (had_left) {
        leg_note_lost(leg);
        snprintf(text, sizeof text,
                 "the connection to %s was lost (%s); the call may have been executed, and without "
                 "a request id it is not sent again",
                 route_text(leg->on), leg->on->why);
        leg_fail_todo_without_id(leg, TROUPE_UNAVAILABLE, text);
    }
    if (leg->todo_n > 0 && engine_back_off(c, leg, now_ms))
        return;
    if (leg->todo_n > 0)
        tend_fail_lost(leg);
    list_push(done, &leg->node);
}

static void after_loss(struct route *r, uint64_t now_ms, struct list *done)
{
    uint64_t sent_bytes = link_sent_bytes(r->link);
    struct list lost;
    list_init(&lost);
    list_splice(&lost, &r->flight);
    while (!list_is_empty(&lost)) {
        struct leg *leg = LIST_ENTRY(lost.next, struct leg, node);
        lose(leg, leg->frame_position < sent_bytes, now_ms, done);
    }
    INVARIANT(list_is_empty(&r->flight));
}

/* ---- the connection ---- */

static void give_up(struct route *r, const char *why)
{
    pthread_mutex_unlock(&r->client->mu);
    link_break(r->link, why);
    pthread_mutex_lock(&r->client->mu);
}

static void reap(struct route *r, struct list *done)
{
    pthread_mutex_unlock(&r->client->mu);
    link_reap(r->link);
    pthread_mutex_lock(&r->client->mu);
    note_why(r);
    route_lower(r);
    after_loss(r, monotonic_ms(), done);
    plan_redial(r, monotonic_ms());
}

static void dial(struct route *r)
{
    r->address_now = r->address_next;
    r->address_next = (r->address_next + 1) % r->addresses.count;
    pthread_mutex_unlock(&r->client->mu);
    int rc = link_dial(r->link, &r->addresses.items[r->address_now]);
    pthread_mutex_lock(&r->client->mu);
    if (rc != 0) {
        note_why(r);
        plan_redial(r, monotonic_ms());
    }
}

/* Since when it has owed answers and said nothing; UINT64_MAX = it does not. */
static uint64_t quiet_since(const struct route *r)
{
    if (r->owes_ms == 0 || !r->ready || !route_has_others(r->client))
        return UINT64_MAX;
    uint64_t heard_ms = link_heard_ms(r->link);
    return heard_ms > r->owes_ms ? heard_ms : r->owes_ms;
}

/* The question's time is over. One that has said anything meanwhile is there. */
static void end_check(struct route *r)
{
    uint64_t asked_ms = r->check_until_ms - LINK_CONNECT_MS;
    if (!r->ready)
        give_up(r, "it does not tell who it is");
    else if (link_heard_ms(r->link) <= asked_ms)
        give_up(r, "it owes answers, and does not tell whether it is there");
    else
        r->check_until_ms = 0;
}

/* Asks the one that owes answers and is quiet whether it is there; gives up who does not tell. */
static void look_after(struct route *r, uint64_t now_ms)
{
    uint64_t since_ms = quiet_since(r);
    if (r->check_until_ms != 0 && now_ms >= r->check_until_ms)
        end_check(r);
    else if (r->check_until_ms == 0 && since_ms != UINT64_MAX &&
             now_ms >= since_ms + CLIENT_QUIET_MS && !route_check_begin(r, now_ms))
        r->check_until_ms =
            now_ms + LINK_CONNECT_MS; /* no room: its end is waited for all the same */
}

static void tend_route(struct route *r, struct list *done)
{
    if (r->silent)
        give_up(r, "nothing heard for 10 s");
    r->silent = false;
    look_after(r, monotonic_ms());
    if (link_state(r->link) == LINK_BROKEN)
        reap(r, done);
    bool due = r->wanted && monotonic_ms() >= r->redial_ms;
    if (due && link_state(r->link) == LINK_DOWN && !r->client->closing)
        dial(r);
}

void tend_routes(struct troupe_client *c, struct list *done)
{
    for (size_t i = 0; i < c->routes_n; i++) {
        struct route *r = &c->routes[i];
        r->tended = true;
        tend_route(r, done);
        r->tended = false;
    }
}

uint64_t tend_next_ms(struct troupe_client *c)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < c->routes_n; i++) {
        const struct route *r = &c->routes[i];
        bool down = r->wanted && link_state(r->link) == LINK_DOWN;
        if (down && r->redial_ms < next)
            next = r->redial_ms;
        uint64_t since_ms = quiet_since(r);
        if (r->check_until_ms == 0 && since_ms != UINT64_MAX && since_ms + CLIENT_QUIET_MS < next)
            next = since_ms + CLIENT_QUIET_MS;
        if (r->check_until_ms != 0 && r->check_until_ms < next)
            next = r->check_until_ms;
    }
    return next;
}

void tend_end(struct troupe_client *c)
{
    pthread_mutex_lock(&c->mu);
    for (size_t i = 0; i < c->routes_n; i++) {
        struct link *link = c->routes[i].link;
        pthread_mutex_unlock(&c->mu);
        link_break(link, "closed");
        if (link_state(link) == LINK_BROKEN)
            link_reap(link);
        pthread_mutex_lock(&c->mu);
    }
    pthread_mutex_unlock(&c->mu);
}
