/* Booking, cancelling, paying: changes that somebody relies on, so the reply waits for the commit
 * (TROUPE_DURABLE). Said again, each is answered as before if it is plainly the same request: the
 * same user with the same reference. */
#include "venue.h"

#include <string.h>

#include "bounds.h"
#include "check.h"
#include "message.h"
#include "slot.h"

/* ---- book ---- */

static void reply_booked(struct troupe_ctx *ctx, const char *slot, const struct booking *b)
{
    Gigbook__BookResponse reply = GIGBOOK__BOOK_RESPONSE__INIT;
    reply.slot = message_text(slot);
    reply.user = message_text(b->user);
    reply.reference = message_text(b->reference);
    reply.booked_at_ms = b->booked_at_ms;
    troupe_reply_message(ctx, &reply.base);
}

/* The slot is in the calendar: what speaks against booking it. */
static bool check_bookable(struct troupe_ctx *ctx, const struct venue *v, const struct slot *slot,
                           const char *text)
{
    const struct booking *b = slot == NULL ? NULL : slot->booking;
    if (b != NULL)
        troupe_fail(ctx, TROUPE_ALREADY_EXISTS,
                    "%s is booked by user/%s (reference %s): choose another slot", text, b->user,
                    b->reference);
    else if (slot != NULL && slot->mode == SLOT_CLOSED)
        troupe_fail(ctx, TROUPE_FAILED_PRECONDITION,
                    "%s is closed: choose another slot, or have the venue open it (open_slots)",
                    text);
    else if (v->place->opened_slots_only && (slot == NULL || slot->mode != SLOT_OPEN))
        troupe_fail(ctx, TROUPE_FAILED_PRECONDITION,
                    "%s is not open, and this venue takes bookings for opened slots only: `slots` "
                    "lists them",
                    text);
    else
        return true;
    return false;
}

static enum troupe_outcome fail_full(struct troupe_ctx *ctx, enum calendar_full full)
{
    if (full == CALENDAR_NO_MEMORY)
        return venue_no_memory(ctx);
    return troupe_fail(
        ctx, TROUPE_RESOURCE_EXHAUSTED,
        "the venue's calendar is full (at most %d slots, %d KiB of bookings): forget "
        "past ones with `prune`",
        VENUE_SLOTS_MAX, VENUE_BOOKINGS_BYTES_MAX >> 10);
}

enum troupe_outcome venue_book(struct troupe_ctx *ctx, struct venue *v, struct troupe_bytes payload)
{
    uint32_t minute;
    const Gigbook__BookRequest *r = troupe_parse(ctx, &gigbook__book_request__descriptor, payload);
    if (r == NULL || !venue_check_created(ctx, v) || !check_slot(ctx, "slot", r->slot, &minute) ||
        !check_id(ctx, "user", r->user) ||
        !check_text(ctx, "reference", r->reference, 0, REFERENCE_BYTES_MAX))
        return TROUPE_UNCHANGED;
    struct calendar *c = venue_calendar(ctx, v);
    if (c == NULL)
        return TROUPE_UNCHANGED;
    const struct slot *slot = calendar_find(c, minute);
    struct booking *b = slot == NULL ? NULL : slot->booking;
    if (b != NULL && strcmp(b->user, r->user) == 0 && strcmp(b->reference, r->reference) == 0) {
        reply_booked(ctx, r->slot, b);
        return TROUPE_UNCHANGED;
    }
    if (!check_bookable(ctx, v, slot, r->slot))
        return TROUPE_UNCHANGED;
    enum calendar_full full =
        calendar_book(c, minute, r->user, r->reference, troupe_now_ms(ctx), &b);
    if (full != CALENDAR_OK)
        return fail_full(ctx, full);
    reply_booked(ctx, r->slot, b);
    venue_tell_booked(ctx, c, minute, b);
    return TROUPE_DURABLE;
}

/* ---- of a booking that is there ---- */

/* The slot of this user's booking; NULL, and the call is answered, if there is none. An empty
 * reference stands for any. */
static struct slot *find_booked(struct troupe_ctx *ctx, const struct venue *v, const char *text,
                                const char *user, const char *reference)
{
    uint32_t minute;
    if (!venue_check_created(ctx, v) || !check_slot(ctx, "slot", text, &minute) ||
        !check_id(ctx, "user", user) ||
        !check_text(ctx, "reference", reference, 0, REFERENCE_BYTES_MAX))
        return NULL;
    struct slot *slot = v->calendar == NULL ? NULL : calendar_find(v->calendar, minute);
    const struct booking *b = slot == NULL ? NULL : slot->booking;
    if (b == NULL)
        troupe_fail(ctx, TROUPE_NOT_FOUND, "%s is not booked: `bookings` lists what is", text);
    else if (strcmp(b->user, user) != 0)
        troupe_fail(ctx, TROUPE_FAILED_PRECONDITION, "%s is booked by user/%s, not by user/%s",
                    text, b->user, user);
    else if (*reference != '\0' && strcmp(b->reference, reference) != 0)
        troupe_fail(ctx, TROUPE_FAILED_PRECONDITION,
                    "%s is booked under reference %s, not %s: it is another booking", text,
                    b->reference, reference);
    else
        return slot;
    return NULL;
}

/* ---- cancel ---- */

enum troupe_outcome venue_cancel(struct troupe_ctx *ctx, struct venue *v,
                                 struct troupe_bytes payload)
{
    const Gigbook__CancelRequest *r =
        troupe_parse(ctx, &gigbook__cancel_request__descriptor, payload);
    if (r == NULL)
        return TROUPE_UNCHANGED;
    struct slot *slot = find_booked(ctx, v, r->slot, r->user, r->reference);
    if (slot == NULL)
        return TROUPE_UNCHANGED;
    const struct payment *p = slot->booking->payment;
    Gigbook__CancelResponse reply = GIGBOOK__CANCEL_RESPONSE__INIT;
    char currency[sizeof p->currency] = "";
    if (p != NULL && !r->refund)
        return troupe_fail(ctx, TROUPE_FAILED_PRECONDITION,
                           "%llu (smallest units of %s) were paid for it: cancel with "
                           "\"refund\": true and give them back",
                           (unsigned long long)p->amount_minor, p->currency);
    if (p != NULL) {
        reply.refund_minor = p->amount_minor;
        memcpy(currency, p->currency, sizeof currency);
        reply.currency = currency;
    }
    switch (calendar_cancel(v->calendar, slot)) {
    case CALENDAR_OK:
        break;
    case CALENDAR_NO_MEMORY:
        return venue_no_memory(ctx);
    default:
        return troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED,
                           "%u users have not confirmed earlier cancellations yet: try again later",
                           v->calendar->cancellations_n);
    }
    troupe_reply_message(ctx, &reply.base);
    venue_tell_cancelled(ctx, v->calendar);
    return TROUPE_DURABLE;
}

/* ---- pay ---- */

static bool check_payment(struct troupe_ctx *ctx, const struct place *place,
                          const Gigbook__PayRequest *r)
{
    if (!check_currency(ctx, r->currency))
        return false;
    if (r->amount_minor == 0 || r->amount_minor > AMOUNT_MINOR_MAX) {
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "amount_minor: 1 to %llu is expected",
                    (unsigned long long)AMOUNT_MINOR_MAX);
        return false;
    }
    if (place->price_minor == 0)
        return true;
    if (strcmp(place->currency, r->currency) != 0) {
        troupe_fail(ctx, TROUPE_FAILED_PRECONDITION, "the price is in %s, not in %s",
                    place->currency, r->currency);
        return false;
    }
    if (place->price_minor != r->amount_minor) {
        troupe_fail(ctx, TROUPE_FAILED_PRECONDITION,
                    "%llu is %s the price: a gig here costs %llu (smallest units of %s), paid at "
                    "once",
                    (unsigned long long)r->amount_minor,
                    r->amount_minor > place->price_minor ? "more than" : "less than",
                    (unsigned long long)place->price_minor, place->currency);
        return false;
    }
    return true;
}

static bool is_same_payment(const struct payment *p, const Gigbook__PayRequest *r)
{
    return *r->reference != '\0' && strcmp(p->reference, r->reference) == 0 &&
           p->amount_minor == r->amount_minor && strcmp(p->currency, r->currency) == 0;
}

enum troupe_outcome venue_pay(struct troupe_ctx *ctx, struct venue *v, struct troupe_bytes payload)
{
    const Gigbook__PayRequest *r = troupe_parse(ctx, &gigbook__pay_request__descriptor, payload);
    if (r == NULL)
        return TROUPE_UNCHANGED;
    struct slot *slot = find_booked(ctx, v, r->slot, r->user, "");
    if (slot == NULL || !check_text(ctx, "reference", r->reference, 0, REFERENCE_BYTES_MAX) ||
        !check_payment(ctx, v->place, r))
        return TROUPE_UNCHANGED;
    struct booking *b = slot->booking;
    bool again = b->payment != NULL && is_same_payment(b->payment, r);
    if (b->payment != NULL && !again)
        return troupe_fail(ctx, TROUPE_ALREADY_EXISTS,
                           "it is paid already: %llu (smallest units of %s), reference \"%s\"",
                           (unsigned long long)b->payment->amount_minor, b->payment->currency,
                           b->payment->reference);
    if (!again &&
        booking_pay(b, r->amount_minor, r->currency, r->reference, troupe_now_ms(ctx)) != 0)
        return venue_no_memory(ctx);
    Gigbook__PayResponse reply = GIGBOOK__PAY_RESPONSE__INIT;
    reply.paid_at_ms = b->payment->paid_at_ms;
    troupe_reply_message(ctx, &reply.base);
    return again ? TROUPE_UNCHANGED : TROUPE_DURABLE;
}
