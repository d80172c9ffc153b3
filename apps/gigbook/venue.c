/* A venue: its name and place, and a calendar of slots that are booked and paid. Booking,
 * cancelling and paying wait for the commit; everything else is persisted a little later. */
#include "venue.h"

#include <stdlib.h>
#include <string.h>

#include "bounds.h"
#include "check.h"

typedef enum troupe_outcome (*handler)(struct troupe_ctx *ctx, struct venue *v,
                                       struct troupe_bytes payload);

bool venue_check_created(struct troupe_ctx *ctx, const struct venue *v)
{
    if (v->place != NULL)
        return true;
    struct troupe_bytes id = troupe_self_id(ctx);
    troupe_fail(ctx, TROUPE_NOT_FOUND,
                "venue/%.*s does not exist: call its method `create` with {\"name\": …} first",
                (int)id.len, (const char *)id.data);
    return false;
}

enum troupe_outcome venue_no_memory(struct troupe_ctx *ctx)
{
    return troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED,
                       "the node is out of memory, nothing was changed: try again later");
}

struct calendar *venue_calendar(struct troupe_ctx *ctx, struct venue *v)
{
    if (v->calendar == NULL)
        v->calendar = calendar_new();
    if (v->calendar == NULL)
        venue_no_memory(ctx);
    return v->calendar;
}

/* ---- create ---- */

static bool place_is_same(const struct place *p, const Gigbook__Place *other)
{
    return strcmp(p->name, other->name) == 0 && strcmp(p->country, other->country) == 0 &&
           p->latitude == other->latitude && p->longitude == other->longitude &&
           p->population == other->population &&
           p->opened_slots_only == (other->opened_slots_only != 0) &&
           p->price_minor == other->price_minor && strcmp(p->currency, other->currency) == 0;
}

static bool check_price(struct troupe_ctx *ctx, uint64_t price_minor, const char *currency)
{
    if (price_minor > AMOUNT_MINOR_MAX) {
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "price_minor: at most %llu",
                    (unsigned long long)AMOUNT_MINOR_MAX);
        return false;
    }
    if (price_minor == 0 && *currency != '\0') {
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                    "currency: goes with a price; leave it out or give price_minor, too");
        return false;
    }
    return price_minor == 0 || check_currency(ctx, currency);
}

static bool check_place(struct troupe_ctx *ctx, const Gigbook__CreateVenueRequest *r)
{
    return check_text(ctx, "name", r->name, 1, NAME_BYTES_MAX) &&
           (*r->country == '\0' || check_country(ctx, r->country)) &&
           check_degrees(ctx, "latitude", r->latitude, 90) &&
           check_degrees(ctx, "longitude", r->longitude, 180) &&
           check_price(ctx, r->price_minor, r->currency);
}

static enum troupe_outcome create(struct troupe_ctx *ctx, struct venue *v,
                                  struct troupe_bytes payload)
{
    const Gigbook__CreateVenueRequest *r =
        troupe_parse(ctx, &gigbook__create_venue_request__descriptor, payload);
    if (r == NULL || !check_self(ctx) || !check_place(ctx, r))
        return TROUPE_UNCHANGED;
    Gigbook__Place place = GIGBOOK__PLACE__INIT;
    place.name = r->name;
    place.country = r->country;
    place.latitude = r->latitude;
    place.longitude = r->longitude;
    place.population = r->population;
    place.opened_slots_only = r->opened_slots_only;
    place.price_minor = r->price_minor;
    place.currency = r->currency;

    Gigbook__CreateVenueResponse reply = GIGBOOK__CREATE_VENUE_RESPONSE__INIT;
    if (v->place != NULL && !place_is_same(v->place, &place))
        return troupe_fail(ctx, TROUPE_ALREADY_EXISTS,
                           "the venue exists with other data, as \"%s\": `get` shows it",
                           v->place->name);
    reply.created = v->place == NULL;
    if (reply.created && (v->place = place_new(&place)) == NULL)
        return venue_no_memory(ctx);
    troupe_reply_message(ctx, &reply.base);
    return reply.created ? TROUPE_DIRTY : TROUPE_UNCHANGED;
}

/* ---- get ---- */

static enum troupe_outcome get(struct troupe_ctx *ctx, struct venue *v, struct troupe_bytes payload)
{
    if (!venue_check_created(ctx, v))
        return TROUPE_UNCHANGED;
    Gigbook__Place place;
    Gigbook__GetVenueResponse reply = GIGBOOK__GET_VENUE_RESPONSE__INIT;
    place_to_message(v->place, &place);
    reply.place = &place;
    const struct calendar *c = v->calendar;
    for (size_t i = 0; c != NULL && i < c->slots_n; i++) {
        const struct slot *slot = &c->slots[i];
        if (slot->booking == NULL) {
            reply.open_slots += slot->mode == SLOT_OPEN;
            reply.closed_slots += slot->mode == SLOT_CLOSED;
        } else {
            reply.bookings++;
            reply.paid_bookings += slot->booking->payment != NULL;
        }
    }
    reply.users_to_inform = c == NULL ? 0 : c->uninformed;
    troupe_reply_message(ctx, &reply.base);
    return TROUPE_UNCHANGED;
}

/* ---- the kind ---- */

enum { CREATE, GET, OPEN_SLOTS, CLOSE_SLOT, SLOTS, BOOK, CANCEL, PAY, BOOKINGS, PRUNE, METHODS_N };

#define MESSAGES(name)                                                                             \
    .request = &gigbook__##name##_request__descriptor,                                             \
    .response = &gigbook__##name##_response__descriptor

static const struct troupe_method methods[METHODS_N] = {
    [CREATE] = {.name = "create", MESSAGES(create_venue)},
    [GET] = {.name = "get", MESSAGES(get_venue), .flags = TROUPE_METHOD_READ},
    [OPEN_SLOTS] = {.name = "open_slots", MESSAGES(open_slots)},
    [CLOSE_SLOT] = {.name = "close_slot", MESSAGES(close_slot)},
    [SLOTS] = {.name = "slots", MESSAGES(slots), .flags = TROUPE_METHOD_READ},
    [BOOK] = {.name = "book", MESSAGES(book), .flags = TROUPE_METHOD_DURABLE},
    [CANCEL] = {.name = "cancel", MESSAGES(cancel), .flags = TROUPE_METHOD_DURABLE},
    [PAY] = {.name = "pay", MESSAGES(pay), .flags = TROUPE_METHOD_DURABLE},
    [BOOKINGS] = {.name = "bookings", MESSAGES(venue_bookings), .flags = TROUPE_METHOD_READ},
    [PRUNE] = {.name = "prune", MESSAGES(prune)},
};

static const handler handlers[METHODS_N] = {
    [CREATE] = create,
    [GET] = get,
    [OPEN_SLOTS] = venue_open_slots,
    [CLOSE_SLOT] = venue_close_slot,
    [SLOTS] = venue_slots,
    [BOOK] = venue_book,
    [CANCEL] = venue_cancel,
    [PAY] = venue_pay,
    [BOOKINGS] = venue_bookings,
    [PRUNE] = venue_prune,
};

static enum troupe_outcome call(struct troupe_ctx *ctx, void *state, size_t method,
                                struct troupe_bytes payload)
{
    return handlers[method](ctx, state, payload);
}

const struct troupe_kind venue_kind = {
    .name = "venue",
    .methods = methods,
    .methods_n = METHODS_N,
    .state = &gigbook__venue_state__descriptor,
    .start = venue_start,
    .call = call,
    .info = venue_info,
    .save = venue_save,
    .stop = venue_stop,
    .memory = venue_memory,
};
