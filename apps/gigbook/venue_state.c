/* A venue's memory and its saved form, VenueState, in both directions. What was saved is trusted no
 * more than any other input: what does not make a venue is an error that says why. */
#include "venue.h"

#include <stdlib.h>
#include <string.h>

#include "bounds.h"
#include "message.h"
#include "slot.h"

/* ---- the place ---- */

struct place *place_new(const Gigbook__Place *from)
{
    size_t len = strlen(from->name) + 1;
    struct place *p = malloc(sizeof *p + len);
    if (p == NULL)
        return NULL;
    *p = (struct place){
        .latitude = from->latitude,
        .longitude = from->longitude,
        .price_minor = from->price_minor,
        .population = from->population,
        .opened_slots_only = from->opened_slots_only,
    };
    strncpy(p->country, from->country, sizeof p->country - 1);
    strncpy(p->currency, from->currency, sizeof p->currency - 1);
    memcpy(p->name, from->name, len);
    return p;
}

void place_to_message(const struct place *p, Gigbook__Place *to)
{
    gigbook__place__init(to);
    to->name = message_text(p->name);
    to->country = message_text(p->country);
    to->latitude = p->latitude;
    to->longitude = p->longitude;
    to->population = p->population;
    to->opened_slots_only = p->opened_slots_only;
    to->price_minor = p->price_minor;
    to->currency = message_text(p->currency);
}

/* ---- from the saved form ---- */

static const char *load_booking(struct calendar *c, struct slot *slot, const Gigbook__Booking *from)
{
    struct booking *b = calendar_append_booking(c, slot, from->user, from->reference, from->change,
                                                from->booked_at_ms, from->user_informed);
    if (b == NULL)
        return "too many bookings, or no memory";
    const Gigbook__Payment *p = from->payment;
    if (p != NULL && booking_pay(b, p->amount_minor, p->currency, p->reference, p->paid_at_ms) != 0)
        return "no memory";
    return NULL;
}

static const char *load_calendar(struct calendar *c, const Gigbook__VenueState *from)
{
    uint32_t minute;
    c->changes = from->changes;
    for (size_t i = 0; i < from->n_slots; i++) {
        const Gigbook__Slot *s = from->slots[i];
        if (!slot_parse(s->slot, &minute) || (unsigned)s->mode > SLOT_CLOSED)
            return "a slot is malformed";
        struct slot *slot = calendar_append(c, minute, (enum slot_mode)s->mode);
        if (slot == NULL)
            return "slots are out of order or too many, or no memory";
        if (slot->mode == SLOT_CLOSED && s->booking != NULL)
            return "a closed slot is booked";
        const char *why = s->booking == NULL ? NULL : load_booking(c, slot, s->booking);
        if (why != NULL)
            return why;
    }
    for (size_t i = 0; i < from->n_cancellations; i++) {
        const Gigbook__Cancellation *x = from->cancellations[i];
        if (!slot_parse(x->slot, &minute))
            return "a cancelled slot is malformed";
        if (calendar_append_cancellation(c, minute, x->user, x->change) != 0)
            return "too many cancellations, or no memory";
    }
    return NULL;
}

static const char *load(struct venue *v, const Gigbook__VenueState *from)
{
    if (from->place == NULL)
        return from->n_slots == 0 && from->changes == 0 ? NULL : "a calendar without a place";
    if ((v->place = place_new(from->place)) == NULL)
        return "no memory";
    if (from->changes == 0 && from->n_slots == 0)
        return NULL;
    if ((v->calendar = calendar_new()) == NULL)
        return "no memory";
    return load_calendar(v->calendar, from);
}

int venue_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    struct venue *v = calloc(1, sizeof *v);
    if (v == NULL)
        return troupe_crash(ctx, "no memory");
    *state = v;
    if (is_new)
        return 0;
    const Gigbook__VenueState *from = troupe_parse(ctx, &gigbook__venue_state__descriptor, saved);
    const char *why = from == NULL ? "it is not a VenueState" : load(v, from);
    if (why != NULL) {
        venue_stop(ctx, v, TROUPE_STOP_CRASH);
        *state = NULL;
        return troupe_crash(ctx, "the saved state is bad: %s", why);
    }
    if (v->calendar != NULL)
        venue_tell_later(ctx, v->calendar);
    return 0;
}

void venue_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    struct venue *v = state;
    calendar_free(v->calendar);
    free(v->place);
    free(v);
}

size_t venue_memory(const void *state)
{
    const struct venue *v = state;
    size_t place = v->place == NULL ? 0 : sizeof *v->place + strlen(v->place->name) + 1;
    return sizeof *v + place + (v->calendar == NULL ? 0 : calendar_memory(v->calendar));
}

/* ---- to messages ---- */

static Gigbook__Payment *payment_to_message(struct troupe_ctx *ctx, const struct payment *p)
{
    Gigbook__Payment *to = troupe_scratch(ctx, sizeof *to);
    if (to == NULL)
        return NULL;
    gigbook__payment__init(to);
    to->amount_minor = p->amount_minor;
    to->currency = message_text(p->currency);
    to->reference = message_text(p->reference);
    to->paid_at_ms = p->paid_at_ms;
    return to;
}

static Gigbook__Booking *booking_to_message(struct troupe_ctx *ctx, const struct booking *b)
{
    Gigbook__Booking *to = troupe_scratch(ctx, sizeof *to);
    if (to == NULL)
        return NULL;
    gigbook__booking__init(to);
    to->user = message_text(b->user);
    to->reference = message_text(b->reference);
    to->booked_at_ms = b->booked_at_ms;
    to->change = b->change;
    to->user_informed = b->informed;
    if (b->payment != NULL && (to->payment = payment_to_message(ctx, b->payment)) == NULL)
        return NULL;
    return to;
}

static char *slot_text(struct troupe_ctx *ctx, uint32_t minute)
{
    char *text = troupe_scratch(ctx, SLOT_TEXT_LEN + 1);
    if (text != NULL)
        slot_format(minute, text);
    return text;
}

Gigbook__Slot *slot_to_message(struct troupe_ctx *ctx, const struct slot *slot)
{
    Gigbook__Slot *to = troupe_scratch(ctx, sizeof *to);
    if (to == NULL)
        return NULL;
    gigbook__slot__init(to);
    to->slot = slot_text(ctx, slot->minute);
    to->mode = (Gigbook__SlotMode)slot->mode;
    if (slot->booking != NULL && (to->booking = booking_to_message(ctx, slot->booking)) == NULL)
        return NULL;
    return to->slot == NULL ? NULL : to;
}

Gigbook__Booking *booked_to_message(struct troupe_ctx *ctx, const struct slot *slot)
{
    Gigbook__Booking *to = booking_to_message(ctx, slot->booking);
    if (to == NULL || (to->slot = slot_text(ctx, slot->minute)) == NULL)
        return NULL;
    return to;
}

static Gigbook__Cancellation *cancellation_to_message(struct troupe_ctx *ctx,
                                                      const struct cancellation *x)
{
    Gigbook__Cancellation *to = troupe_scratch(ctx, sizeof *to);
    if (to == NULL)
        return NULL;
    gigbook__cancellation__init(to);
    to->user = x->user;
    to->change = x->change;
    to->slot = slot_text(ctx, x->minute);
    return to->slot == NULL ? NULL : to;
}

/* ---- to the saved form ---- */

static int calendar_to_message(struct troupe_ctx *ctx, const struct calendar *c,
                               Gigbook__VenueState *to)
{
    to->changes = c->changes;
    to->slots = troupe_scratch(ctx, (c->slots_n + 1) * sizeof *to->slots);
    to->cancellations = troupe_scratch(ctx, (c->cancellations_n + 1) * sizeof *to->cancellations);
    if (to->slots == NULL || to->cancellations == NULL)
        return -1;
    for (; to->n_slots < c->slots_n; to->n_slots++) {
        Gigbook__Slot *slot = slot_to_message(ctx, &c->slots[to->n_slots]);
        if (slot == NULL)
            return -1;
        to->slots[to->n_slots] = slot;
    }
    for (; to->n_cancellations < c->cancellations_n; to->n_cancellations++) {
        Gigbook__Cancellation *x =
            cancellation_to_message(ctx, &c->cancellations[to->n_cancellations]);
        if (x == NULL)
            return -1;
        to->cancellations[to->n_cancellations] = x;
    }
    return 0;
}

int venue_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    const struct venue *v = state;
    Gigbook__VenueState to = GIGBOOK__VENUE_STATE__INIT;
    Gigbook__Place place;
    if (v->place != NULL) {
        place_to_message(v->place, &place);
        to.place = &place;
    }
    if (v->calendar != NULL && calendar_to_message(ctx, v->calendar, &to) != 0)
        return troupe_crash(ctx, "no memory to save a calendar of %u slots", v->calendar->slots_n);
    return troupe_buffer_add_message(out, &to.base);
}
