/* Requests to gigbook's kinds, as the tests make them. */
#ifndef TROUPE_TESTS_GIGBOOK_CALLS_H
#define TROUPE_TESTS_GIGBOOK_CALLS_H

#include "fake_ctx.h"
#include "gigbook.pb-c.h"

/* CALL(venue, "book", BookRequest, BOOK_REQUEST, .slot = "…") */
#define CALL(ctx, method, type, init, ...)                                                         \
    fake_call(ctx, method,                                                                         \
              &(Gigbook__##type){.base = PROTOBUF_C_MESSAGE_INIT(&gigbook__##init##__descriptor),  \
                                 __VA_ARGS__}                                                      \
                   .base)

static const char empty[] = "";
#define TEXT(text) ((text) == NULL ? (char *)(uintptr_t)empty : (char *)(uintptr_t)(text))

static inline enum troupe_status create_venue(struct troupe_ctx *venue, const char *name)
{
    return CALL(venue, "create", CreateVenueRequest, create_venue_request, .name = TEXT(name),
                .country = TEXT("AD"), .latitude = 42.5, .longitude = 1.5, .population = 8022,
                .currency = TEXT(""));
}

static inline enum troupe_status book(struct troupe_ctx *venue, const char *slot, const char *user,
                                      const char *reference)
{
    return CALL(venue, "book", BookRequest, book_request, .slot = TEXT(slot), .user = TEXT(user),
                .reference = TEXT(reference));
}

static inline enum troupe_status cancel(struct troupe_ctx *venue, const char *slot,
                                        const char *user, const char *reference, bool refund)
{
    return CALL(venue, "cancel", CancelRequest, cancel_request, .slot = TEXT(slot),
                .user = TEXT(user), .reference = TEXT(reference), .refund = refund);
}

static inline enum troupe_status pay(struct troupe_ctx *venue, const char *slot, const char *user,
                                     uint64_t amount_minor, const char *currency,
                                     const char *reference)
{
    return CALL(venue, "pay", PayRequest, pay_request, .slot = TEXT(slot), .user = TEXT(user),
                .amount_minor = amount_minor, .currency = TEXT(currency),
                .reference = TEXT(reference));
}

static inline enum troupe_status open_slots(struct troupe_ctx *venue, const char *const *slots,
                                            size_t n)
{
    return CALL(venue, "open_slots", OpenSlotsRequest, open_slots_request, .n_slots = n,
                .slots = (char **)(uintptr_t)slots);
}

static inline enum troupe_status close_slot(struct troupe_ctx *venue, const char *slot)
{
    return CALL(venue, "close_slot", CloseSlotRequest, close_slot_request, .slot = TEXT(slot));
}

static inline enum troupe_status create_user(struct troupe_ctx *user, const char *name,
                                             const char *bio)
{
    return CALL(user, "create", CreateUserRequest, create_user_request, .name = TEXT(name),
                .bio = TEXT(bio));
}

static inline enum troupe_status follow(struct troupe_ctx *user, const char *follower)
{
    return CALL(user, "follow", FollowRequest, follow_request, .follower = TEXT(follower));
}

static inline enum troupe_status booked(struct troupe_ctx *user, const char *venue,
                                        const char *slot, uint64_t change)
{
    return CALL(user, "booked", BookedRequest, booked_request, .venue = TEXT(venue),
                .slot = TEXT(slot), .reference = TEXT("r"), .booked_at_ms = 1, .change = change);
}

static inline enum troupe_status cancelled(struct troupe_ctx *user, const char *venue,
                                           const char *slot, uint64_t change)
{
    return CALL(user, "cancelled", CancelledRequest, cancelled_request, .venue = TEXT(venue),
                .slot = TEXT(slot), .change = change);
}

#endif
