/* The venue kind, on a node of one entity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"
#include "gigbook_calls.h"
#include "slot.h"
#include "troupe/error.h"
#include "user.h"
#include "venue.h"

static const char GIG[] = "2026-12-31T20:00Z";
static const char LATER[] = "2027-01-01T20:00Z";

static int new_venue(void **state)
{
    struct troupe_ctx *venue = fake_open(&venue_kind, "42");
    *state = venue;
    return fake_start_new(venue);
}

static int created_venue(void **state)
{
    return new_venue(state) != 0 || create_venue(*state, "Sant Julià de Lòria") != TROUPE_OK;
}

static int close_venue(void **state)
{
    fake_close(*state);
    return 0;
}

#define assert_status(call, expected)                                                              \
    assert_string_equal(status_name(call), status_name(TROUPE_##expected))

static const char *status_name(enum troupe_status status)
{
    static const char *const names[] = {
#define X(name, number, text) #name,
        TROUPE_STATUS_MAP(X)
#undef X
    };
    return names[status];
}

static const Gigbook__GetVenueResponse *get(struct troupe_ctx *venue)
{
    assert_status(fake_call(venue, "get", NULL), OK);
    return fake_reply(venue);
}

/* ---- create ---- */

static void what_is_not_created_says_what_to_do(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(fake_call(venue, "get", NULL), NOT_FOUND);
    assert_non_null(strstr(venue->text, "venue/42 does not exist"));
    assert_non_null(strstr(venue->text, "create"));
    assert_status(book(venue, GIG, "7", ""), NOT_FOUND);
    assert_status(cancel(venue, GIG, "7", "", false), NOT_FOUND);
    assert_status(pay(venue, GIG, "7", 1, "EUR", ""), NOT_FOUND);
    assert_status(fake_call(venue, "bookings", NULL), NOT_FOUND);
    assert_status(fake_call(venue, "slots", NULL), NOT_FOUND);
    assert_status(close_slot(venue, GIG), NOT_FOUND);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_int_equal(venue->letters_n, 0);
}

static void create_is_idempotent(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(create_venue(venue, "Ordino"), OK);
    assert_int_equal(venue->outcome, TROUPE_DIRTY);
    assert_true(((const Gigbook__CreateVenueResponse *)fake_reply(venue))->created);
    assert_status(create_venue(venue, "Ordino"), OK);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_false(((const Gigbook__CreateVenueResponse *)fake_reply(venue))->created);
    assert_status(create_venue(venue, "Encamp"), ALREADY_EXISTS);
    assert_non_null(strstr(venue->text, "Ordino"));
    assert_string_equal(get(venue)->place->name, "Ordino");
}

static void a_place_is_looked_at(void **state)
{
    struct troupe_ctx *venue = *state;
    char long_name[NAME_BYTES_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    static const char *const bad_names[] = {
        "", "\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "a\nb", "a\x7f"};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        assert_status(create_venue(venue, bad_names[i]), INVALID_ARGUMENT);
        assert_int_equal(strncmp(venue->text, "name: ", 6), 0);
    }
    assert_status(create_venue(venue, long_name), INVALID_ARGUMENT);

#define BAD(field, ...)                                                                            \
    do {                                                                                           \
        Gigbook__CreateVenueRequest r = GIGBOOK__CREATE_VENUE_REQUEST__INIT;                       \
        r.name = TEXT("x");                                                                        \
        r.country = TEXT("AD");                                                                    \
        __VA_ARGS__;                                                                               \
        assert_status(fake_call(venue, "create", &r.base), INVALID_ARGUMENT);                      \
        assert_int_equal(strncmp(venue->text, field ": ", sizeof field + 1), 0);                   \
    } while (0)
    BAD("country", r.country = TEXT("and"));
    BAD("country", r.country = TEXT("ad"));
    BAD("latitude", r.latitude = 90.001);
    BAD("latitude", r.latitude = __builtin_nan(""));
    BAD("longitude", r.longitude = -180.5);
    BAD("currency", r.price_minor = 5);
    BAD("currency", r.price_minor = 5; r.currency = TEXT("EURO"));
    BAD("currency", r.currency = TEXT("EUR"));
    BAD("price_minor", r.price_minor = AMOUNT_MINOR_MAX + 1; r.currency = TEXT("EUR"));
#undef BAD
    assert_status(fake_call(venue, "get", NULL), NOT_FOUND);
    long_name[NAME_BYTES_MAX] = '\0';
    assert_status(create_venue(venue, long_name), OK);
}

static void payloads_that_are_none_are_refused(void **state)
{
    struct troupe_ctx *venue = *state;
    for (size_t i = 0; i < venue_kind.methods_n; i++) {
        const char *method = venue_kind.methods[i].name;
        if (strcmp(method, "get") == 0)
            continue;
        assert_status(fake_call_bytes(venue, method, troupe_bytes("\x0a\xff", 2)),
                      INVALID_ARGUMENT);
        assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    }
}

/* ---- slots ---- */

static void slots_open_and_close(void **state)
{
    struct troupe_ctx *venue = *state;
    const char *const three[] = {LATER, GIG, "2027-02-01T20:00Z"};
    assert_status(open_slots(venue, three, 3), OK);
    assert_int_equal(venue->outcome, TROUPE_DIRTY);
    assert_int_equal(((const Gigbook__OpenSlotsResponse *)fake_reply(venue))->opened, 3);
    assert_status(open_slots(venue, three, 2), OK);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_int_equal(((const Gigbook__OpenSlotsResponse *)fake_reply(venue))->already_open, 2);
    assert_status(close_slot(venue, LATER), OK);
    assert_status(close_slot(venue, LATER), OK);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_status(book(venue, LATER, "7", ""), FAILED_PRECONDITION);
    assert_int_equal(get(venue)->open_slots, 2);
    assert_int_equal(get(venue)->closed_slots, 1);

    assert_status(book(venue, GIG, "7", ""), OK);
    assert_status(close_slot(venue, GIG), FAILED_PRECONDITION);
    assert_non_null(strstr(venue->text, "user/7"));
    assert_int_equal(get(venue)->open_slots, 1);
    assert_status(cancel(venue, GIG, "7", "", false), OK);
    assert_int_equal(get(venue)->open_slots, 2);
    assert_status(open_slots(venue, three + 1, 1), OK);
    assert_status(open_slots(venue, three, 1), OK);
    assert_status(book(venue, LATER, "7", ""), OK);
}

static void opening_is_all_or_nothing(void **state)
{
    struct troupe_ctx *venue = *state;
    const char *const bad[] = {GIG, "2027-02-29T20:00Z"};
    assert_status(open_slots(venue, bad, 2), INVALID_ARGUMENT);
    assert_non_null(strstr(venue->text, "2027-02-29T20:00Z"));
    assert_status(open_slots(venue, bad, 0), INVALID_ARGUMENT);
    assert_int_equal(get(venue)->open_slots, 0);
}

static void a_venue_can_take_bookings_for_opened_slots_only(void **state)
{
    struct troupe_ctx *venue = *state;
    const char *const one[] = {GIG};
    assert_status(CALL(venue, "create", CreateVenueRequest, create_venue_request, .name = TEXT("x"),
                       .country = TEXT("AD"), .currency = TEXT(""), .opened_slots_only = true),
                  OK);
    assert_status(book(venue, GIG, "7", ""), FAILED_PRECONDITION);
    assert_status(open_slots(venue, one, 1), OK);
    assert_status(book(venue, GIG, "7", ""), OK);
    assert_int_equal(fake_restart(venue), 0);
    assert_status(book(venue, LATER, "7", ""), FAILED_PRECONDITION);
}

static void lists_have_pages(void **state)
{
    struct troupe_ctx *venue = *state;
    char slot[SLOT_TEXT_LEN + 1], after[SLOT_TEXT_LEN + 1] = "";
    const char *const opened[] = {"2020-01-01T00:00Z", "2090-01-01T00:00Z"};
    assert_status(open_slots(venue, opened, 2), OK);
    for (uint32_t i = 0; i < 25; i++) {
        slot_format(40000000 + i, slot);
        assert_status(book(venue, slot, "7", ""), OK);
    }
    size_t seen = 0, pages = 0;
    do {
        assert_status(CALL(venue, "bookings", VenueBookingsRequest, venue_bookings_request,
                           .after = after, .limit = 10),
                      OK);
        const Gigbook__VenueBookingsResponse *page = fake_reply(venue);
        for (size_t i = 0; i < page->n_bookings; i++, seen++) {
            slot_format((uint32_t)(40000000 + seen), slot);
            assert_string_equal(page->bookings[i]->slot, slot);
            assert_string_equal(page->bookings[i]->user, "7");
        }
        snprintf(after, sizeof after, "%s", page->next);
        pages++;
    } while (after[0] != '\0');
    assert_int_equal(seen, 25);
    assert_int_equal(pages, 3);

    assert_status(fake_call(venue, "slots", NULL), OK);
    assert_int_equal(((const Gigbook__SlotsResponse *)fake_reply(venue))->n_slots, 27);
    assert_status(CALL(venue, "slots", SlotsRequest, slots_request, .after = TEXT(""), .limit = 26),
                  OK);
    slot_format(40000024, slot);
    assert_string_equal(((const Gigbook__SlotsResponse *)fake_reply(venue))->next, slot);
    assert_status(
        CALL(venue, "slots", SlotsRequest, slots_request, .after = TEXT(""), .limit = PAGE_MAX + 1),
        INVALID_ARGUMENT);
    assert_status(CALL(venue, "slots", SlotsRequest, slots_request, .after = TEXT("x")),
                  INVALID_ARGUMENT);
}

/* ---- book, cancel, pay ---- */

static void a_slot_is_booked_once(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(book(venue, GIG, "7", "ref-1"), OK);
    assert_int_equal(venue->outcome, TROUPE_DURABLE);
    const Gigbook__BookResponse *reply = fake_reply(venue);
    assert_string_equal(reply->slot, GIG);
    assert_string_equal(reply->reference, "ref-1");
    uint64_t booked_at = reply->booked_at_ms;
    assert_int_equal(booked_at, venue->now_ms);
    assert_int_equal(venue->letters_n, 1);

    fake_advance(venue, 5000);
    assert_status(book(venue, GIG, "7", "ref-1"), OK);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_int_equal(((const Gigbook__BookResponse *)fake_reply(venue))->booked_at_ms, booked_at);
    assert_status(book(venue, GIG, "8", "ref-1"), ALREADY_EXISTS);
    assert_non_null(strstr(venue->text, "user/7"));
    assert_non_null(strstr(venue->text, "ref-1"));
    assert_status(book(venue, GIG, "7", "ref-2"), ALREADY_EXISTS);
    assert_status(book(venue, GIG, "7", ""), ALREADY_EXISTS);
    assert_int_equal(venue->letters_n, 1);
    assert_int_equal(get(venue)->bookings, 1);
}

static void a_booking_is_looked_at(void **state)
{
    struct troupe_ctx *venue = *state;
    char text[ID_BYTES_MAX + 2];
    memset(text, '7', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_status(book(venue, "2026-12-31", "7", ""), INVALID_ARGUMENT);
    assert_status(book(venue, "", "7", ""), INVALID_ARGUMENT);
    assert_non_null(strstr(venue->text, "slot: is missing"));
    assert_status(book(venue, "\xff", "7", ""), INVALID_ARGUMENT);
    assert_status(book(venue, GIG, "", ""), INVALID_ARGUMENT);
    assert_status(book(venue, GIG, "\xff", ""), INVALID_ARGUMENT);
    assert_status(book(venue, GIG, text, ""), INVALID_ARGUMENT);
    text[REFERENCE_BYTES_MAX + 1] = '\0';
    assert_status(book(venue, GIG, "7", text), INVALID_ARGUMENT);
    assert_int_equal(get(venue)->bookings, 0);
    /* A past slot, and an id with quotes, a line end and other scripts. */
    assert_status(book(venue, "1970-01-01T00:00Z", "o'\"\\\n\xe4\xb8\xad", ""), OK);
}

static void only_who_booked_can_cancel(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(cancel(venue, GIG, "7", "", false), NOT_FOUND);
    assert_status(book(venue, GIG, "7", "a"), OK);
    assert_status(cancel(venue, GIG, "8", "", false), FAILED_PRECONDITION);
    assert_status(cancel(venue, GIG, "7", "b", false), FAILED_PRECONDITION);
    assert_status(cancel(venue, GIG, "7", "a", false), OK);
    assert_int_equal(venue->outcome, TROUPE_DURABLE);
    assert_status(cancel(venue, GIG, "7", "a", false), NOT_FOUND);
    assert_status(book(venue, GIG, "8", ""), OK);
    assert_int_equal(venue->letters_n, 3);
}

static void a_booking_is_paid_once(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(pay(venue, GIG, "7", 2500, "EUR", "p1"), NOT_FOUND);
    assert_status(book(venue, GIG, "7", ""), OK);
    assert_status(pay(venue, GIG, "7", 0, "EUR", "p1"), INVALID_ARGUMENT);
    assert_status(pay(venue, GIG, "7", AMOUNT_MINOR_MAX + 1, "EUR", "p1"), INVALID_ARGUMENT);
    assert_status(pay(venue, GIG, "7", 2500, "euro", "p1"), INVALID_ARGUMENT);
    assert_status(pay(venue, GIG, "8", 2500, "EUR", "p1"), FAILED_PRECONDITION);
    assert_status(pay(venue, GIG, "7", 2500, "EUR", "p1"), OK);
    assert_int_equal(venue->outcome, TROUPE_DURABLE);
    assert_status(pay(venue, GIG, "7", 2500, "EUR", "p1"), OK);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_status(pay(venue, GIG, "7", 2500, "EUR", "p2"), ALREADY_EXISTS);
    assert_status(pay(venue, GIG, "7", 2501, "EUR", "p1"), ALREADY_EXISTS);
    assert_int_equal(get(venue)->paid_bookings, 1);

    assert_status(cancel(venue, GIG, "7", "", false), FAILED_PRECONDITION);
    assert_non_null(strstr(venue->text, "refund"));
    assert_status(cancel(venue, GIG, "7", "", true), OK);
    const Gigbook__CancelResponse *reply = fake_reply(venue);
    assert_int_equal(reply->refund_minor, 2500);
    assert_string_equal(reply->currency, "EUR");
}

static void a_price_is_paid_exactly(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(CALL(venue, "create", CreateVenueRequest, create_venue_request, .name = TEXT("x"),
                       .country = TEXT("AD"), .price_minor = 5000, .currency = TEXT("EUR")),
                  OK);
    assert_status(book(venue, GIG, "7", ""), OK);
    assert_status(pay(venue, GIG, "7", 5000, "USD", ""), FAILED_PRECONDITION);
    assert_status(pay(venue, GIG, "7", 5001, "EUR", ""), FAILED_PRECONDITION);
    assert_non_null(strstr(venue->text, "more than"));
    assert_status(pay(venue, GIG, "7", 4999, "EUR", ""), FAILED_PRECONDITION);
    assert_status(pay(venue, GIG, "7", 5000, "EUR", ""), OK);
    assert_status(pay(venue, GIG, "7", 5000, "EUR", ""), ALREADY_EXISTS);
}

/* ---- telling the user ---- */

static struct troupe_ctx *open_user(const char *id)
{
    struct troupe_ctx *user = fake_open(&user_kind, id);
    assert_int_equal(fake_start_new(user), 0);
    return user;
}

static size_t gigs_of(struct troupe_ctx *user)
{
    assert_status(fake_call(user, "bookings", NULL), OK);
    return ((const Gigbook__UserBookingsResponse *)fake_reply(user))->n_bookings;
}

static void the_user_hears_of_a_booking(void **state)
{
    struct troupe_ctx *venue = *state, *user = open_user("7");
    assert_status(book(venue, GIG, "7", "r"), OK);
    assert_int_equal(get(venue)->users_to_inform, 1);
    assert_status(fake_deliver(venue, 0, user), OK);
    assert_int_equal(user->outcome, TROUPE_DURABLE);
    assert_int_equal(venue->outcome, TROUPE_DIRTY);
    assert_int_equal(get(venue)->users_to_inform, 0);
    assert_status(fake_call(user, "bookings", NULL), OK);
    const Gigbook__UserBookingsResponse *list = fake_reply(user);
    assert_int_equal(list->n_bookings, 1);
    assert_string_equal(list->bookings[0]->venue, "42");
    assert_string_equal(list->bookings[0]->slot, GIG);
    assert_string_equal(list->bookings[0]->reference, "r");
    assert_int_equal(list->bookings[0]->booked_at_ms, venue->now_ms);

    /* Told twice: as before. */
    assert_status(fake_deliver(venue, 0, user), OK);
    assert_int_equal(user->outcome, TROUPE_UNCHANGED);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_int_equal(gigs_of(user), 1);

    assert_status(cancel(venue, GIG, "7", "", false), OK);
    assert_status(fake_deliver(venue, 1, user), OK);
    assert_int_equal(gigs_of(user), 0);
    assert_int_equal(get(venue)->users_to_inform, 0);
    assert_int_equal(venue->timers_n, 0);
    fake_close(user);
}

static void a_user_who_cannot_be_reached_is_told_again_and_again(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(book(venue, GIG, "7", ""), OK);
    uint64_t pause = 0;
    for (int round = 0; round < 15; round++) {
        assert_int_equal(venue->letters_n, 1);
        fake_answer(venue, 0, TROUPE_DEADLINE_EXCEEDED, troupe_bytes_of("nobody there"));
        assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
        fake_forget(venue);
        assert_int_equal(venue->timers_n, 1);
        uint64_t next = venue->timers[0].at_ms - venue->now_ms;
        assert_true(next >= pause || next >= NOTICE_RETRY_MAX_MS);
        assert_true(next < NOTICE_RETRY_MAX_MS * 2);
        pause = next;
        assert_int_equal(fake_advance(venue, next), 1);
    }
    assert_true(pause >= NOTICE_RETRY_MAX_MS);
    fake_answer(venue, 0, TROUPE_OK, troupe_bytes(NULL, 0));
    assert_int_equal(venue->outcome, TROUPE_DIRTY);
    assert_int_equal(venue->timers_n, 0);
    /* The next trouble starts with short pauses again. */
    assert_status(book(venue, LATER, "7", ""), OK);
    fake_answer(venue, 1, TROUPE_UNAVAILABLE, troupe_bytes(NULL, 0));
    assert_true(venue->timers[0].at_ms - venue->now_ms < 2 * NOTICE_RETRY_MIN_MS);
}

static void after_a_start_users_are_told_who_were_not(void **state)
{
    struct troupe_ctx *venue = *state, *user = open_user("7");
    assert_status(book(venue, GIG, "7", ""), OK);
    assert_status(book(venue, LATER, "7", ""), OK);
    assert_status(fake_deliver(venue, 0, user), OK);
    assert_status(book(venue, "2027-03-01T20:00Z", "7", ""), OK);
    assert_status(cancel(venue, "2027-03-01T20:00Z", "7", "", false), OK);
    assert_int_equal(fake_restart(venue), 0);
    fake_forget(venue);
    assert_int_equal(venue->timers_n, 1);
    assert_int_equal(fake_advance(venue, 2 * NOTICE_RETRY_MIN_MS), 1);
    assert_int_equal(venue->letters_n, 2);
    assert_string_equal(venue->letters[0].method, "cancelled");
    assert_string_equal(venue->letters[1].method, "booked");
    assert_status(fake_deliver(venue, 0, user), OK);
    assert_status(fake_deliver(venue, 1, user), OK);
    assert_int_equal(gigs_of(user), 2);
    assert_int_equal(get(venue)->users_to_inform, 0);
    assert_int_equal(fake_restart(venue), 0);
    assert_int_equal(venue->timers_n, 0);
    fake_close(user);
}

/* booked, cancelled, booked again, in any order and more than once: the last one stands. */
static void news_may_come_in_any_order(void **state)
{
    static const size_t orders[][4] = {{0, 1, 2, 2}, {2, 1, 0, 2}, {1, 0, 2, 0},
                                       {1, 2, 0, 1}, {2, 0, 1, 1}, {0, 2, 1, 0}};
    struct troupe_ctx *venue = *state;
    assert_status(book(venue, GIG, "7", "x"), OK);
    assert_status(cancel(venue, GIG, "7", "", false), OK);
    assert_status(book(venue, GIG, "7", "y"), OK);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        struct troupe_ctx *user = open_user("7");
        for (size_t k = 0; k < 4; k++)
            assert_status(fake_deliver(venue, orders[i][k], user), OK);
        assert_status(fake_call(user, "bookings", NULL), OK);
        const Gigbook__UserBookingsResponse *list = fake_reply(user);
        assert_int_equal(list->n_bookings, 1);
        assert_string_equal(list->bookings[0]->reference, "y");
        fake_close(user);
    }
    assert_int_equal(get(venue)->users_to_inform, 0);
}

static void what_cannot_be_sent_is_told_later(void **state)
{
    struct troupe_ctx *venue = *state;
    venue->send_error = TROUPE_ELIMIT;
    assert_status(book(venue, GIG, "7", ""), OK);
    assert_int_equal(venue->outcome, TROUPE_DURABLE);
    assert_int_equal(venue->timers_n, 1);
    venue->send_error = 0;
    assert_int_equal(fake_advance(venue, 2 * NOTICE_RETRY_MIN_MS), 1);
    assert_int_equal(venue->letters_n, 1);

    venue->send_error = TROUPE_ENOMEM;
    venue->timer_error = TROUPE_ENOMEM;
    assert_status(cancel(venue, GIG, "7", "", false), OK);
    assert_int_equal(venue->logs_n, 1);
    venue->send_error = venue->timer_error = 0;
    assert_int_equal(fake_restart(venue), 0);
    assert_int_equal(fake_advance(venue, 2 * NOTICE_RETRY_MIN_MS), 1);
    assert_int_equal(venue->letters_n, 2);
}

static void many_users_are_told_in_rounds(void **state)
{
    struct troupe_ctx *venue = *state;
    char slot[SLOT_TEXT_LEN + 1];
    venue->send_error = TROUPE_ELIMIT;
    for (uint32_t i = 0; i < 250; i++) {
        slot_format(40000000 + i, slot);
        assert_status(book(venue, slot, "7", ""), OK);
    }
    venue->send_error = 0;
    fake_advance(venue, 60 * 1000);
    assert_int_equal(venue->letters_n, 250);
    assert_int_equal(venue->timers_n, 0);
}

/* ---- state ---- */

static void everything_survives_a_restart(void **state)
{
    struct troupe_ctx *venue = *state;
    const char *const open[] = {LATER};
    assert_status(book(venue, GIG, "7", "r"), OK);
    assert_status(pay(venue, GIG, "7", 2500, "EUR", "p"), OK);
    assert_status(open_slots(venue, open, 1), OK);
    assert_status(close_slot(venue, "2020-01-01T00:00Z"), OK);
    fake_answer(venue, 0, TROUPE_OK, troupe_bytes(NULL, 0));
    int rc;
    struct troupe_bytes before = fake_save(venue, &rc);
    assert_int_equal(rc, 0);
    assert_int_equal(fake_restart(venue), 0);
    struct troupe_bytes after = fake_save(venue, &rc);
    assert_true(troupe_bytes_equal(before, after));
    fake_saved_free(before);
    fake_saved_free(after);

    const Gigbook__VenueState *saved = fake_saved(venue);
    assert_string_equal(saved->place->name, "Sant Julià de Lòria");
    assert_int_equal(saved->n_slots, 3);
    assert_string_equal(saved->slots[1]->booking->payment->reference, "p");
    assert_true(saved->slots[1]->booking->user_informed);
    assert_int_equal(saved->slots[0]->mode, GIGBOOK__SLOT_MODE__CLOSED);
    assert_int_equal(saved->slots[2]->mode, GIGBOOK__SLOT_MODE__OPEN);
    assert_status(book(venue, GIG, "8", ""), ALREADY_EXISTS);
    assert_status(pay(venue, GIG, "7", 2500, "EUR", "q"), ALREADY_EXISTS);
}

static void bad_states_do_not_start(void **state)
{
    struct troupe_ctx *venue = fake_open(&venue_kind, "42");
    Gigbook__Place place = GIGBOOK__PLACE__INIT;
    Gigbook__Booking booking = GIGBOOK__BOOKING__INIT;
    Gigbook__Slot a = GIGBOOK__SLOT__INIT, b = GIGBOOK__SLOT__INIT;
    Gigbook__Slot *slots[] = {&a, &b};
    Gigbook__Cancellation x = GIGBOOK__CANCELLATION__INIT, *cancellations[] = {&x};
    place.name = TEXT("x");
    place.country = TEXT("AD");

#define BAD(why, ...)                                                                              \
    do {                                                                                           \
        uint8_t packed[512];                                                                       \
        Gigbook__VenueState s = GIGBOOK__VENUE_STATE__INIT;                                        \
        s.place = &place;                                                                          \
        s.slots = slots;                                                                           \
        s.changes = 1;                                                                             \
        a.slot = TEXT(GIG);                                                                        \
        b.slot = TEXT(LATER);                                                                      \
        __VA_ARGS__;                                                                               \
        size_t len = protobuf_c_message_pack(&s.base, packed);                                     \
        assert_int_not_equal(fake_start(venue, troupe_bytes(packed, len)), 0);                     \
        assert_non_null(strstr(venue->crash, why));                                                \
    } while (0)
    assert_int_not_equal(fake_start(venue, troupe_bytes_of("\xff\xff")), 0);
    assert_non_null(strstr(venue->crash, "not a VenueState"));
    BAD("without a place", s.place = NULL);
    BAD("malformed", s.n_slots = 1; a.slot = TEXT("soon"));
    BAD("out of order", s.n_slots = 2; a.slot = TEXT(LATER); b.slot = TEXT(GIG));
    BAD("out of order", s.n_slots = 2; a.slot = TEXT(LATER));
    BAD("malformed", s.n_slots = 1; a.mode = (Gigbook__SlotMode)7);
    BAD("closed slot", s.n_slots = 1; a.mode = GIGBOOK__SLOT_MODE__CLOSED; a.booking = &booking);
    a.mode = GIGBOOK__SLOT_MODE__UNLISTED;
    BAD("cancelled slot", s.cancellations = cancellations; s.n_cancellations = 1);
#undef BAD
    fake_close(venue);
}

static void a_calendar_has_limits_and_fits_into_a_state(void **state)
{
    struct troupe_ctx *venue = *state;
    char slot[SLOT_TEXT_LEN + 1], user[ID_BYTES_MAX + 1], reference[REFERENCE_BYTES_MAX + 1];
    memset(user, 'u', ID_BYTES_MAX);
    memset(reference, 'r', REFERENCE_BYTES_MAX);
    user[ID_BYTES_MAX] = reference[REFERENCE_BYTES_MAX] = '\0';
    enum troupe_status status = TROUPE_OK;
    uint32_t minute = UINT32_C(4000000000), booked_n = 0;
    venue->send_error = TROUPE_ELIMIT;
    for (; status == TROUPE_OK; booked_n++) {
        slot_format(minute++, slot);
        status = book(venue, slot, user, reference);
        if (status == TROUPE_OK)
            assert_status(pay(venue, slot, user, AMOUNT_MINOR_MAX, "EUR", reference), OK);
    }
    assert_status(status, RESOURCE_EXHAUSTED);
    assert_non_null(strstr(venue->text, "prune"));
    assert_true(booked_n > 1500);
    do {
        slot_format(minute++, slot);
        status = close_slot(venue, slot);
    } while (status == TROUPE_OK);
    assert_status(status, RESOURCE_EXHAUSTED);
    const char *const one[] = {slot};
    assert_status(open_slots(venue, one, 1), RESOURCE_EXHAUSTED);

    /* Cancellations that nobody hears of pile up only so far. */
    uint32_t at = UINT32_C(4000000000);
    do {
        slot_format(at++, slot);
        status = cancel(venue, slot, user, reference, true);
    } while (status == TROUPE_OK);
    assert_status(status, RESOURCE_EXHAUSTED);
    for (uint32_t i = UINT32_C(4000000000); i < at - 1; i++) {
        slot_format(i, slot);
        assert_status(book(venue, slot, user, reference), OK);
    }
    int rc;
    struct troupe_bytes saved = fake_save(venue, &rc);
    assert_int_equal(rc, 0);
    assert_true(saved.len > 700 * 1024 && saved.len < STATE_BYTES_MAX);
    fake_saved_free(saved);
    assert_int_equal(fake_restart(venue), 0);

    venue->save_bytes_max = 1000;
    fake_save(venue, &rc);
    assert_int_not_equal(rc, 0);
}

static void pruning_makes_room(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_status(book(venue, GIG, "7", ""), OK);
    assert_status(book(venue, LATER, "7", ""), OK);
    assert_status(CALL(venue, "prune", PruneRequest, prune_request, .before = TEXT(LATER)), OK);
    assert_int_equal(venue->outcome, TROUPE_UNCHANGED);
    assert_int_equal(((const Gigbook__PruneResponse *)fake_reply(venue))->kept, 1);
    fake_answer(venue, 0, TROUPE_OK, troupe_bytes(NULL, 0));
    assert_status(CALL(venue, "prune", PruneRequest, prune_request, .before = TEXT(LATER)), OK);
    assert_int_equal(venue->outcome, TROUPE_DIRTY);
    assert_int_equal(((const Gigbook__PruneResponse *)fake_reply(venue))->removed, 1);
    assert_int_equal(get(venue)->bookings, 1);
}

static void a_small_venue_is_small(void **state)
{
    struct troupe_ctx *venue = *state;
    assert_true(venue_kind.memory(venue->state) <= 100);
    assert_status(book(venue, GIG, "7", ""), OK);
    assert_true(venue_kind.memory(venue->state) > 100);
}

int main(void)
{
#define NEW(test)     cmocka_unit_test_setup_teardown(test, new_venue, close_venue)
#define CREATED(test) cmocka_unit_test_setup_teardown(test, created_venue, close_venue)
    const struct CMUnitTest tests[] = {
        NEW(what_is_not_created_says_what_to_do),
        NEW(create_is_idempotent),
        NEW(a_place_is_looked_at),
        CREATED(payloads_that_are_none_are_refused),
        CREATED(slots_open_and_close),
        CREATED(opening_is_all_or_nothing),
        NEW(a_venue_can_take_bookings_for_opened_slots_only),
        CREATED(lists_have_pages),
        CREATED(a_slot_is_booked_once),
        CREATED(a_booking_is_looked_at),
        CREATED(only_who_booked_can_cancel),
        CREATED(a_booking_is_paid_once),
        NEW(a_price_is_paid_exactly),
        CREATED(the_user_hears_of_a_booking),
        CREATED(a_user_who_cannot_be_reached_is_told_again_and_again),
        CREATED(after_a_start_users_are_told_who_were_not),
        CREATED(news_may_come_in_any_order),
        CREATED(what_cannot_be_sent_is_told_later),
        CREATED(many_users_are_told_in_rounds),
        CREATED(everything_survives_a_restart),
        cmocka_unit_test(bad_states_do_not_start),
        CREATED(a_calendar_has_limits_and_fits_into_a_state),
        CREATED(pruning_makes_room),
        CREATED(a_small_venue_is_small),
    };
    return cmocka_run_group_tests_name("venue", tests, NULL, NULL);
}
