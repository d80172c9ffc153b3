/* The user's bookings, as the venues tell them (venue_notice.c is the other side). A venue tells
 * until it has an answer, so the same news may come twice, and it gives its changes numbers, so
 * that what comes late is known to be old. A booking is listed whether the user has a profile or
 * not. */
#include "user.h"

#include <stdio.h>
#include <string.h>

#include "bounds.h"
#include "check.h"
#include "message.h"
#include "slot.h"

/* ---- from venues ---- */

static size_t forget_cancelled(struct troupe_ctx *ctx, struct gigs *gigs)
{
    uint64_t now = troupe_now_ms(ctx);
    return now > CANCELLED_KEPT_MS ? gigs_prune(gigs, now - CANCELLED_KEPT_MS, 0) : 0;
}

static enum troupe_outcome put(struct troupe_ctx *ctx, struct user *u, const struct gig *news,
                               const char *venue, const char *reference)
{
    struct circle *c = user_circle(ctx, u);
    if (c == NULL)
        return TROUPE_UNCHANGED;
    bool forgot = forget_cancelled(ctx, &c->gigs) > 0;
    switch (gigs_put(&c->gigs, news, venue, reference)) {
    case GIGS_OK:
        return TROUPE_DURABLE;
    case GIGS_OLD:
        break;
    case GIGS_NO_MEMORY:
        user_no_memory(ctx);
        break;
    case GIGS_FULL:
        troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED,
                    "this user has %u gigs, and no more fit in %d KiB: forget past ones with "
                    "`prune`",
                    c->gigs.n, USER_GIGS_BYTES_MAX >> 10);
        break;
    }
    return forgot ? TROUPE_DIRTY : TROUPE_UNCHANGED;
}

enum troupe_outcome user_booked(struct troupe_ctx *ctx, struct user *u, struct troupe_bytes payload)
{
    const Gigbook__BookedRequest *r =
        troupe_parse(ctx, &gigbook__booked_request__descriptor, payload);
    struct gig news = {0};
    if (r == NULL || !check_id(ctx, "venue", r->venue) ||
        !check_slot(ctx, "slot", r->slot, &news.minute) ||
        !check_text(ctx, "reference", r->reference, 0, REFERENCE_BYTES_MAX))
        return TROUPE_UNCHANGED;
    news.change = r->change;
    news.booked_at_ms = r->booked_at_ms;
    return put(ctx, u, &news, r->venue, r->reference);
}

enum troupe_outcome user_cancelled(struct troupe_ctx *ctx, struct user *u,
                                   struct troupe_bytes payload)
{
    const Gigbook__CancelledRequest *r =
        troupe_parse(ctx, &gigbook__cancelled_request__descriptor, payload);
    struct gig news = {0};
    if (r == NULL || !check_id(ctx, "venue", r->venue) ||
        !check_slot(ctx, "slot", r->slot, &news.minute))
        return TROUPE_UNCHANGED;
    news.change = r->change;
    news.cancelled_at_ms = troupe_now_ms(ctx);
    return put(ctx, u, &news, r->venue, "");
}

/* ---- lists ---- */

/* Where a page begins: `after` is a slot, a slash and a venue's id. */
static bool page_start(struct troupe_ctx *ctx, const struct gigs *gigs, const char *after,
                       size_t *first)
{
    char slot[SLOT_TEXT_LEN + 1];
    uint32_t minute;
    *first = 0;
    if (*after == '\0')
        return true;
    snprintf(slot, sizeof slot, "%s", after);
    if (strlen(after) <= SLOT_TEXT_LEN || after[SLOT_TEXT_LEN] != '/' ||
        !slot_parse(slot, &minute)) {
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                    "after: must be the `next` of the page before, or empty");
        return false;
    }
    if (gigs != NULL)
        *first = gigs_rank(gigs, minute, after + SLOT_TEXT_LEN + 1);
    return true;
}

static char *page_next(struct troupe_ctx *ctx, const Gigbook__Gig *last)
{
    size_t len = SLOT_TEXT_LEN + 1 + strlen(last->venue) + 1;
    char *next = troupe_scratch(ctx, len);
    if (next != NULL)
        snprintf(next, len, "%s/%s", last->slot, last->venue);
    return next;
}

/* Whether a gig is to be listed. */
static bool is_listed(const Gigbook__UserBookingsRequest *r, const struct gig *gig)
{
    return r->with_cancelled || gig->cancelled_at_ms == 0;
}

enum troupe_outcome user_bookings(struct troupe_ctx *ctx, struct user *u,
                                  struct troupe_bytes payload)
{
    size_t at, limit;
    const struct gigs *gigs = u->circle == NULL ? NULL : &u->circle->gigs;
    const Gigbook__UserBookingsRequest *r =
        troupe_parse(ctx, &gigbook__user_bookings_request__descriptor, payload);
    if (r == NULL || !check_limit(ctx, r->limit, &limit) || !page_start(ctx, gigs, r->after, &at))
        return TROUPE_UNCHANGED;
    Gigbook__UserBookingsResponse reply = GIGBOOK__USER_BOOKINGS_RESPONSE__INIT;
    size_t end = gigs == NULL ? 0 : gigs->n;
    if ((reply.bookings = troupe_scratch(ctx, limit * sizeof(Gigbook__Gig *))) == NULL)
        return user_no_memory(ctx);
    for (; at < end && reply.n_bookings < limit; at++) {
        if (!is_listed(r, gigs->items[at]))
            continue;
        Gigbook__Gig *gig = gig_to_message(ctx, gigs->items[at]);
        if (gig == NULL)
            return user_no_memory(ctx);
        reply.bookings[reply.n_bookings++] = gig;
    }
    while (at < end && !is_listed(r, gigs->items[at]))
        at++;
    if (at < end && (reply.next = page_next(ctx, reply.bookings[limit - 1])) == NULL)
        return user_no_memory(ctx);
    troupe_reply_message(ctx, &reply.base);
    return TROUPE_UNCHANGED;
}

/* ---- prune ---- */

enum troupe_outcome user_prune(struct troupe_ctx *ctx, struct user *u, struct troupe_bytes payload)
{
    uint32_t before;
    const Gigbook__PruneRequest *r =
        troupe_parse(ctx, &gigbook__prune_request__descriptor, payload);
    if (r == NULL || !check_slot(ctx, "before", r->before, &before))
        return TROUPE_UNCHANGED;
    Gigbook__PruneResponse reply = GIGBOOK__PRUNE_RESPONSE__INIT;
    if (u->circle != NULL)
        reply.removed = (uint32_t)gigs_prune(&u->circle->gigs, 0, before);
    troupe_reply_message(ctx, &reply.base);
    return reply.removed > 0 ? TROUPE_DIRTY : TROUPE_UNCHANGED;
}
