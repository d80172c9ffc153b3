/* The user kind, on a node of one entity. */
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
#include "user.h"

static const char GIG[] = "2026-12-31T20:00Z";
static const char LATER[] = "2027-01-01T20:00Z";

static int new_user(void **state)
{
    struct troupe_ctx *user = fake_open(&user_kind, "7");
    *state = user;
    return fake_start_new(user);
}

static int created_user(void **state)
{
    return new_user(state) != 0 || create_user(*state, "Ana", "") != TROUPE_OK;
}

static int close_user(void **state)
{
    fake_close(*state);
    return 0;
}

static enum troupe_status unfollow(struct troupe_ctx *user, const char *follower)
{
    return CALL(user, "unfollow", FollowRequest, follow_request, .follower = TEXT(follower));
}

static enum troupe_status note_following(struct troupe_ctx *user, const char *other, bool following)
{
    return CALL(user, "note_following", NoteFollowingRequest, note_following_request,
                .user = TEXT(other), .following = following);
}

static const Gigbook__GetUserResponse *get(struct troupe_ctx *user)
{
    assert_int_equal(fake_call(user, "get", NULL), TROUPE_OK);
    return fake_reply(user);
}

/* ---- the profile ---- */

static void a_profile_is_created_and_changed(void **state)
{
    struct troupe_ctx *user = *state;
    assert_int_equal(fake_call(user, "get", NULL), TROUPE_NOT_FOUND);
    assert_non_null(strstr(user->text, "create"));
    assert_int_equal(create_user(user, "Ana", "two\nlines"), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_DIRTY);
    assert_int_equal(create_user(user, "Ana", "two\nlines"), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_UNCHANGED);
    assert_int_equal(create_user(user, "Bea", ""), TROUPE_ALREADY_EXISTS);
    assert_string_equal(get(user)->profile->bio, "two\nlines");

    Gigbook__SetProfileRequest r = GIGBOOK__SET_PROFILE_REQUEST__INIT;
    r.name = TEXT("Bea");
    assert_int_equal(fake_call(user, "set_profile", &r.base), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_DIRTY);
    assert_int_equal(fake_call(user, "set_profile", &r.base), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_UNCHANGED);
    assert_string_equal(get(user)->profile->name, "Bea");
    r.name = TEXT("");
    assert_int_equal(fake_call(user, "set_profile", &r.base), TROUPE_INVALID_ARGUMENT);
    r.name = TEXT("a\tb");
    assert_int_equal(fake_call(user, "set_profile", &r.base), TROUPE_INVALID_ARGUMENT);
    r.name = TEXT("ok");
    r.bio = TEXT("a\x01");
    assert_int_equal(fake_call(user, "set_profile", &r.base), TROUPE_INVALID_ARGUMENT);
    assert_string_equal(get(user)->profile->name, "Bea");
}

static void payloads_that_are_none_are_refused(void **state)
{
    struct troupe_ctx *user = *state;
    for (size_t i = 0; i < user_kind.methods_n; i++) {
        if (strcmp(user_kind.methods[i].name, "get") == 0)
            continue;
        assert_int_equal(
            fake_call_bytes(user, user_kind.methods[i].name, troupe_bytes("\x0a\xff", 2)),
            TROUPE_INVALID_ARGUMENT);
        assert_int_equal(user->outcome, TROUPE_UNCHANGED);
    }
}

static void an_id_that_no_message_can_name_is_refused(void **state)
{
    struct troupe_ctx *user = *state;
    memcpy(user->id, "a\0b", 3);
    user->id_len = 3;
    assert_int_equal(create_user(user, "Ana", ""), TROUPE_INVALID_ARGUMENT);
}

/* ---- following ---- */

static void followers_are_kept_and_the_follower_is_told(void **state)
{
    struct troupe_ctx *ana = *state, *bea = fake_open(&user_kind, "8");
    assert_int_equal(fake_start_new(bea), 0);
    assert_int_equal(follow(ana, "8"), TROUPE_OK);
    assert_int_equal(ana->outcome, TROUPE_DIRTY);
    assert_int_equal(((const Gigbook__FollowResponse *)fake_reply(ana))->followers, 1);
    assert_false(ana->letters[0].is_call);
    assert_int_equal(fake_deliver(ana, 0, bea), TROUPE_OK);
    assert_int_equal(bea->outcome, TROUPE_DIRTY);
    assert_int_equal(fake_call(bea, "following", NULL), TROUPE_OK);
    assert_string_equal(((const Gigbook__UsersResponse *)fake_reply(bea))->users[0], "7");

    /* Again: nothing changes, but the follower is told again, in case it was lost. */
    assert_int_equal(follow(ana, "8"), TROUPE_OK);
    assert_int_equal(ana->outcome, TROUPE_UNCHANGED);
    assert_int_equal(fake_deliver(ana, 1, bea), TROUPE_OK);
    assert_int_equal(bea->outcome, TROUPE_UNCHANGED);

    assert_int_equal(unfollow(ana, "8"), TROUPE_OK);
    assert_int_equal(ana->outcome, TROUPE_DIRTY);
    assert_int_equal(fake_deliver(ana, 2, bea), TROUPE_OK);
    assert_int_equal(bea->outcome, TROUPE_DIRTY);
    assert_int_equal(unfollow(ana, "8"), TROUPE_OK);
    assert_int_equal(ana->outcome, TROUPE_UNCHANGED);
    assert_int_equal(get(ana)->followers, 0);
    assert_int_equal(follow(ana, "7"), TROUPE_INVALID_ARGUMENT);
    assert_int_equal(follow(ana, ""), TROUPE_INVALID_ARGUMENT);
    assert_int_equal(follow(bea, "7"), TROUPE_NOT_FOUND);
    fake_close(bea);
}

static void followers_have_pages_and_a_limit(void **state)
{
    struct troupe_ctx *user = *state;
    char id[ID_BYTES_MAX + 1], after[ID_BYTES_MAX + 1] = "";
    size_t n = 0, seen = 0;
    enum troupe_status status;
    memset(id, 'f', sizeof id);
    do {
        snprintf(id + 240, sizeof id - 240, "%06zu", n);
        status = follow(user, id);
        fake_forget(user);
        n += status == TROUPE_OK;
    } while (status == TROUPE_OK);
    assert_int_equal(status, TROUPE_RESOURCE_EXHAUSTED);
    assert_true(n > 1500);
    assert_int_equal(get(user)->followers, n);
    snprintf(id + 240, sizeof id - 240, "%06d", 5);
    assert_int_equal(follow(user, id), TROUPE_OK);
    do {
        assert_int_equal(
            CALL(user, "followers", UsersRequest, users_request, .after = after, .limit = PAGE_MAX),
            TROUPE_OK);
        const Gigbook__UsersResponse *page = fake_reply(user);
        for (size_t i = 0; i < page->n_users; i++, seen++) {
            snprintf(id + 240, sizeof id - 240, "%06zu", seen);
            assert_string_equal(page->users[i], id);
        }
        snprintf(after, sizeof after, "%s", page->next);
    } while (after[0] != '\0');
    assert_int_equal(seen, n);
}

/* ---- gigs ---- */

static const Gigbook__UserBookingsResponse *bookings(struct troupe_ctx *user, bool with_cancelled)
{
    assert_int_equal(CALL(user, "bookings", UserBookingsRequest, user_bookings_request,
                          .after = TEXT(""), .with_cancelled = with_cancelled),
                     TROUPE_OK);
    return fake_reply(user);
}

static void bookings_come_and_go(void **state)
{
    struct troupe_ctx *user = *state; /* without a profile */
    assert_int_equal(booked(user, "42", LATER, 1), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_DURABLE);
    assert_int_equal(booked(user, "43", GIG, 1), TROUPE_OK);
    assert_int_equal(booked(user, "43", GIG, 1), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_UNCHANGED);
    assert_int_equal(bookings(user, false)->n_bookings, 2);
    assert_string_equal(bookings(user, false)->bookings[0]->venue, "43");
    assert_int_equal(cancelled(user, "43", GIG, 2), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_DURABLE);
    assert_int_equal(bookings(user, false)->n_bookings, 1);
    assert_int_equal(bookings(user, true)->n_bookings, 2);
    assert_int_equal(bookings(user, true)->bookings[0]->cancelled_at_ms, user->now_ms);
    assert_int_equal(booked(user, "43", GIG, 1), TROUPE_OK);
    assert_int_equal(bookings(user, false)->n_bookings, 1);
    assert_int_equal(booked(user, "", GIG, 1), TROUPE_INVALID_ARGUMENT);
    assert_int_equal(booked(user, "42", "now", 1), TROUPE_INVALID_ARGUMENT);
    assert_int_equal(cancelled(user, "42", "", 1), TROUPE_INVALID_ARGUMENT);
}

static void cancelled_gigs_are_forgotten_after_a_while(void **state)
{
    struct troupe_ctx *user = *state;
    assert_int_equal(cancelled(user, "43", GIG, 2), TROUPE_OK);
    fake_advance(user, CANCELLED_KEPT_MS + 1);
    assert_int_equal(booked(user, "42", GIG, 1), TROUPE_OK);
    assert_int_equal(bookings(user, true)->n_bookings, 1);
    assert_int_equal(cancelled(user, "42", GIG, 2), TROUPE_OK);
    fake_advance(user, CANCELLED_KEPT_MS + 1);
    assert_int_equal(booked(user, "", GIG, 1), TROUPE_INVALID_ARGUMENT);
    assert_int_equal(bookings(user, true)->n_bookings, 1);
}

static void gigs_have_pages_and_a_limit(void **state)
{
    struct troupe_ctx *user = *state;
    char slot[SLOT_TEXT_LEN + 1], after[64] = "";
    size_t n = 0, seen = 0;
    enum troupe_status status;
    do {
        slot_format((uint32_t)(40000000 + n / 2), slot);
        status = booked(user, n % 2 == 0 ? "42" : "43", slot, 1);
        n += status == TROUPE_OK;
    } while (status == TROUPE_OK);
    assert_int_equal(status, TROUPE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(user->text, "prune"));
    do {
        assert_int_equal(CALL(user, "bookings", UserBookingsRequest, user_bookings_request,
                              .after = after, .limit = 999),
                         TROUPE_OK);
        const Gigbook__UserBookingsResponse *page = fake_reply(user);
        for (size_t i = 0; i < page->n_bookings; i++, seen++)
            assert_string_equal(page->bookings[i]->venue, seen % 2 == 0 ? "42" : "43");
        snprintf(after, sizeof after, "%s", page->next);
    } while (after[0] != '\0');
    assert_int_equal(seen, n);
    assert_int_equal(CALL(user, "bookings", UserBookingsRequest, user_bookings_request,
                          .after = TEXT("2026-12-31T20:00Z")),
                     TROUPE_INVALID_ARGUMENT);

    slot_format(40000000 + 100, slot);
    assert_int_equal(CALL(user, "prune", PruneRequest, prune_request, .before = slot), TROUPE_OK);
    assert_int_equal(user->outcome, TROUPE_DIRTY);
    assert_int_equal(((const Gigbook__PruneResponse *)fake_reply(user))->removed, 200);
    assert_int_equal(booked(user, "44", slot, 1), TROUPE_OK);
}

/* ---- state ---- */

static void everything_survives_a_restart(void **state)
{
    struct troupe_ctx *user = *state;
    assert_int_equal(follow(user, "9"), TROUPE_OK);
    assert_int_equal(follow(user, "10"), TROUPE_OK);
    assert_int_equal(note_following(user, "11", true), TROUPE_OK);
    assert_int_equal(booked(user, "42", GIG, 5), TROUPE_OK);
    assert_int_equal(cancelled(user, "42", LATER, 6), TROUPE_OK);
    assert_int_equal(fake_restart(user), 0);
    const Gigbook__UserState *saved = fake_saved(user);
    assert_string_equal(saved->profile->name, "Ana");
    assert_int_equal(saved->n_followers, 2);
    assert_string_equal(saved->followers[0], "10");
    assert_string_equal(saved->following[0], "11");
    assert_int_equal(saved->n_gigs, 2);
    assert_int_equal(saved->gigs[0]->change, 5);
    assert_true(saved->gigs[1]->cancelled_at_ms != 0);
    assert_int_equal(get(user)->bookings, 1);
    assert_int_equal(get(user)->following, 1);
}

static void bad_states_do_not_start(void **state)
{
    struct troupe_ctx *user = fake_open(&user_kind, "7");
    Gigbook__Gig gig = GIGBOOK__GIG__INIT, *gigs[] = {&gig, &gig};
    char *unsorted[] = {TEXT("b"), TEXT("a")};
#define BAD(why, ...)                                                                              \
    do {                                                                                           \
        uint8_t packed[512];                                                                       \
        Gigbook__UserState s = GIGBOOK__USER_STATE__INIT;                                          \
        s.gigs = gigs;                                                                             \
        s.followers = s.following = unsorted;                                                      \
        __VA_ARGS__;                                                                               \
        size_t len = protobuf_c_message_pack(&s.base, packed);                                     \
        assert_int_not_equal(fake_start(user, troupe_bytes(packed, len)), 0);                      \
        assert_non_null(strstr(user->crash, why));                                                 \
    } while (0)
    assert_int_not_equal(fake_start(user, troupe_bytes_of("\xff\xff")), 0);
    assert_non_null(strstr(user->crash, "not a UserState"));
    BAD("out of order", s.n_followers = 2);
    BAD("out of order", s.n_following = 2);
    BAD("malformed", s.n_gigs = 1);
    gig.slot = TEXT(GIG);
    BAD("twice", s.n_gigs = 2);
#undef BAD
    fake_close(user);
}

static void the_largest_user_fits_into_a_state(void **state)
{
    struct troupe_ctx *user = *state;
    char id[ID_BYTES_MAX + 1], slot[SLOT_TEXT_LEN + 1];
    size_t n = 0;
    memset(id, 'f', sizeof id);
    do {
        snprintf(id + 240, sizeof id - 240, "%06zu", n++);
        fake_forget(user);
    } while (follow(user, id) == TROUPE_OK);
    n = 0;
    do
        snprintf(id + 240, sizeof id - 240, "%06zu", n++);
    while (note_following(user, id, true) == TROUPE_OK);
    n = 0;
    do
        slot_format((uint32_t)(4000000000 + n++), slot);
    while (booked(user, id, slot, UINT64_MAX) == TROUPE_OK);
    assert_non_null(strstr(user->text, "prune"));
    int rc;
    struct troupe_bytes saved = fake_save(user, &rc);
    assert_int_equal(rc, 0);
    assert_true(saved.len > 700 * 1024 && saved.len < STATE_BYTES_MAX);
    fake_saved_free(saved);
    assert_int_equal(fake_restart(user), 0);
    assert_true(user_kind.memory(user->state) > saved.len / 2);
}

static void a_small_user_is_small(void **state)
{
    struct troupe_ctx *user = *state;
    assert_true(user_kind.memory(user->state) <= 64);
}

int main(void)
{
#define NEW(test)     cmocka_unit_test_setup_teardown(test, new_user, close_user)
#define CREATED(test) cmocka_unit_test_setup_teardown(test, created_user, close_user)
    const struct CMUnitTest tests[] = {
        NEW(a_profile_is_created_and_changed),
        CREATED(payloads_that_are_none_are_refused),
        NEW(an_id_that_no_message_can_name_is_refused),
        CREATED(followers_are_kept_and_the_follower_is_told),
        CREATED(followers_have_pages_and_a_limit),
        NEW(bookings_come_and_go),
        NEW(cancelled_gigs_are_forgotten_after_a_while),
        CREATED(gigs_have_pages_and_a_limit),
        CREATED(everything_survives_a_restart),
        cmocka_unit_test(bad_states_do_not_start),
        CREATED(the_largest_user_fits_into_a_state),
        CREATED(a_small_user_is_small),
    };
    return cmocka_run_group_tests_name("user", tests, NULL, NULL);
}
