/* The calendar apart from booking. The rules:
 *   - A slot that nobody has opened or closed can be booked, unless the venue was created with
 *     opened_slots_only.
 *   - A closed slot cannot be booked until it is opened again; a booked slot cannot be closed.
 *   - A cancelled slot is again what it was before it was booked.
 *   - Past slots are slots like others: which time is past is not the venue's business. */
#include "venue.h"

#include "bounds.h"
#include "check.h"

static enum troupe_outcome fail_slots_full(struct troupe_ctx *ctx)
{
    return troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED,
                       "a venue's calendar has at most %d slots; forget past ones with `prune`",
                       VENUE_SLOTS_MAX);
}

/* ---- open_slots ---- */

static bool parse_slots(struct troupe_ctx *ctx, const Gigbook__OpenSlotsRequest *r,
                        uint32_t **minutes)
{
    if (r->n_slots == 0 || r->n_slots > SLOTS_PER_CALL_MAX) {
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "slots: 1 to %d are expected, not %zu",
                    SLOTS_PER_CALL_MAX, r->n_slots);
        return false;
    }
    *minutes = troupe_scratch(ctx, r->n_slots * sizeof **minutes);
    if (*minutes == NULL) {
        venue_no_memory(ctx);
        return false;
    }
    for (size_t i = 0; i < r->n_slots; i++)
        if (!check_slot(ctx, "slots", r->slots[i], &(*minutes)[i]))
            return false;
    return true;
}

/* All or nothing: what is asked is looked at before anything is changed. */
enum troupe_outcome venue_open_slots(struct troupe_ctx *ctx, struct venue *v,
                                     struct troupe_bytes payload)
{
    uint32_t *minutes;
    const Gigbook__OpenSlotsRequest *r =
        troupe_parse(ctx, &gigbook__open_slots_request__descriptor, payload);
    if (r == NULL || !venue_check_created(ctx, v) || !parse_slots(ctx, r, &minutes))
        return TROUPE_UNCHANGED;
    struct calendar *c = venue_calendar(ctx, v);
    if (c == NULL)
        return TROUPE_UNCHANGED;
    size_t added = 0;
    for (size_t i = 0; i < r->n_slots; i++)
        added += calendar_find(c, minutes[i]) == NULL;
    if (c->slots_n + added > VENUE_SLOTS_MAX)
        return fail_slots_full(ctx);
    if (calendar_reserve(c, added) != 0)
        return venue_no_memory(ctx);

    Gigbook__OpenSlotsResponse reply = GIGBOOK__OPEN_SLOTS_RESPONSE__INIT;
    for (size_t i = 0; i < r->n_slots; i++) {
        const struct slot *slot = calendar_find(c, minutes[i]);
        if (slot != NULL && slot->mode == SLOT_OPEN) {
            reply.already_open++;
            continue;
        }
        TROUPE_ENSURE(ctx, calendar_set_mode(c, minutes[i], SLOT_OPEN) == 0);
        reply.opened++;
    }
    troupe_reply_message(ctx, &reply.base);
    return reply.opened > 0 ? TROUPE_DIRTY : TROUPE_UNCHANGED;
}

/* ---- close_slot ---- */

enum troupe_outcome venue_close_slot(struct troupe_ctx *ctx, struct venue *v,
                                     struct troupe_bytes payload)
{
    uint32_t minute;
    const Gigbook__CloseSlotRequest *r =
        troupe_parse(ctx, &gigbook__close_slot_request__descriptor, payload);
    if (r == NULL || !venue_check_created(ctx, v) || !check_slot(ctx, "slot", r->slot, &minute))
        return TROUPE_UNCHANGED;
    struct calendar *c = venue_calendar(ctx, v);
    if (c == NULL)
        return TROUPE_UNCHANGED;
    const struct slot *slot = calendar_find(c, minute);
    if (slot != NULL && slot->booking != NULL)
        return troupe_fail(ctx, TROUPE_FAILED_PRECONDITION,
                           "%s is booked by user/%s (reference %s): cancel that first", r->slot,
                           slot->booking->user, slot->booking->reference);
    if (slot == NULL && c->slots_n >= VENUE_SLOTS_MAX)
        return fail_slots_full(ctx);
    Gigbook__CloseSlotResponse reply = GIGBOOK__CLOSE_SLOT_RESPONSE__INIT;
    reply.already_closed = slot != NULL && slot->mode == SLOT_CLOSED;
    if (!reply.already_closed && calendar_set_mode(c, minute, SLOT_CLOSED) != 0)
        return venue_no_memory(ctx);
    troupe_reply_message(ctx, &reply.base);
    return reply.already_closed ? TROUPE_UNCHANGED : TROUPE_DIRTY;
}

/* ---- lists ---- */

/* The index of the first slot of a page, and how many slots it may have. */
static bool page_start(struct troupe_ctx *ctx, const struct venue *v, const char *after,
                       uint32_t asked, size_t *first, size_t *limit)
{
    uint32_t minute;
    *first = 0;
    if (!venue_check_created(ctx, v) || !check_limit(ctx, asked, limit))
        return false;
    if (*after == '\0')
        return true;
    if (!check_slot(ctx, "after", after, &minute))
        return false;
    if (v->calendar != NULL)
        *first = calendar_rank(v->calendar, minute);
    return true;
}

enum troupe_outcome venue_slots(struct troupe_ctx *ctx, struct venue *v,
                                struct troupe_bytes payload)
{
    size_t at, limit;
    const Gigbook__SlotsRequest *r =
        troupe_parse(ctx, &gigbook__slots_request__descriptor, payload);
    if (r == NULL || !page_start(ctx, v, r->after, r->limit, &at, &limit))
        return TROUPE_UNCHANGED;
    Gigbook__SlotsResponse reply = GIGBOOK__SLOTS_RESPONSE__INIT;
    const struct calendar *c = v->calendar;
    size_t end = c == NULL ? 0 : c->slots_n;
    if ((reply.slots = troupe_scratch(ctx, limit * sizeof *reply.slots)) == NULL)
        return venue_no_memory(ctx);
    for (; at < end && reply.n_slots < limit; at++) {
        Gigbook__Slot *slot = slot_to_message(ctx, &c->slots[at]);
        if (slot == NULL)
            return venue_no_memory(ctx);
        reply.slots[reply.n_slots++] = slot;
    }
    if (at < end)
        reply.next = reply.slots[reply.n_slots - 1]->slot;
    troupe_reply_message(ctx, &reply.base);
    return TROUPE_UNCHANGED;
}

enum troupe_outcome venue_bookings(struct troupe_ctx *ctx, struct venue *v,
                                   struct troupe_bytes payload)
{
    size_t at, limit;
    const Gigbook__VenueBookingsRequest *r =
        troupe_parse(ctx, &gigbook__venue_bookings_request__descriptor, payload);
    if (r == NULL || !page_start(ctx, v, r->after, r->limit, &at, &limit))
        return TROUPE_UNCHANGED;
    Gigbook__VenueBookingsResponse reply = GIGBOOK__VENUE_BOOKINGS_RESPONSE__INIT;
    const struct calendar *c = v->calendar;
    size_t end = c == NULL ? 0 : c->slots_n;
    if ((reply.bookings = troupe_scratch(ctx, limit * sizeof *reply.bookings)) == NULL)
        return venue_no_memory(ctx);
    for (; at < end && reply.n_bookings < limit; at++) {
        if (c->slots[at].booking == NULL)
            continue;
        Gigbook__Booking *booking = booked_to_message(ctx, &c->slots[at]);
        if (booking == NULL)
            return venue_no_memory(ctx);
        reply.bookings[reply.n_bookings++] = booking;
    }
    while (at < end && c->slots[at].booking == NULL)
        at++;
    if (at < end)
        reply.next = reply.bookings[reply.n_bookings - 1]->slot;
    troupe_reply_message(ctx, &reply.base);
    return TROUPE_UNCHANGED;
}

/* ---- prune ---- */

enum troupe_outcome venue_prune(struct troupe_ctx *ctx, struct venue *v,
                                struct troupe_bytes payload)
{
    uint32_t before;
    const Gigbook__PruneRequest *r =
        troupe_parse(ctx, &gigbook__prune_request__descriptor, payload);
    if (r == NULL || !venue_check_created(ctx, v) || !check_slot(ctx, "before", r->before, &before))
        return TROUPE_UNCHANGED;
    Gigbook__PruneResponse reply = GIGBOOK__PRUNE_RESPONSE__INIT;
    size_t kept = 0;
    if (v->calendar != NULL)
        reply.removed = (uint32_t)calendar_prune(v->calendar, before, &kept);
    reply.kept = (uint32_t)kept;
    troupe_reply_message(ctx, &reply.base);
    return reply.removed > 0 ? TROUPE_DIRTY : TROUPE_UNCHANGED;
}
