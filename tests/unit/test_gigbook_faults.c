/* Memory runs out at every place where gigbook asks for some, one after the other: the caller is
 * told, nothing changes, and the entity goes on. The program is linked with --wrap for the
 * functions below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gigbook_calls.h"
#include "user.h"
#include "venue.h"

static long countdown = -1; /* allocations until one fails; < 0: none does */

static bool fails(void)
{
    return countdown >= 0 && countdown-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

static struct troupe_bytes saved(struct troupe_ctx *ctx)
{
    int rc;
    countdown = -1;
    struct troupe_bytes bytes = fake_save(ctx, &rc);
    assert_int_equal(rc, 0);
    return bytes;
}

typedef enum troupe_status (*deed)(struct troupe_ctx *ctx);

/* Does it with one failure after the other, until there are no more to be had. What has failed has
 * changed nothing; what says OK has been done. */
static void do_with_faults(struct troupe_ctx *ctx, deed what, size_t faults_min)
{
    size_t faults = 0;
    for (;; faults++) {
        struct troupe_bytes before = saved(ctx);
        countdown = (long)faults;
        enum troupe_status status = what(ctx);
        bool over = countdown >= 0; /* nothing failed: no more places */
        enum troupe_outcome outcome = ctx->outcome;
        struct troupe_bytes after = saved(ctx);
        if (status != TROUPE_OK) {
            assert_true(status == TROUPE_RESOURCE_EXHAUSTED || status == TROUPE_INVALID_ARGUMENT);
            assert_int_equal(outcome, TROUPE_UNCHANGED);
            assert_true(troupe_bytes_equal(before, after));
        }
        fake_saved_free(before);
        fake_saved_free(after);
        if (over || status == TROUPE_OK) {
            assert_int_equal(status, TROUPE_OK);
            break;
        }
    }
    assert_true(faults >= faults_min);
}

static enum troupe_status create_it(struct troupe_ctx *venue)
{
    return create_venue(venue, "Ordino");
}

static enum troupe_status open_some(struct troupe_ctx *venue)
{
    const char *const slots[] = {"2027-01-01T20:00Z", "2027-01-02T20:00Z", "2027-01-03T20:00Z"};
    return open_slots(venue, slots, 3);
}

static enum troupe_status book_it(struct troupe_ctx *venue)
{
    return book(venue, "2026-12-31T20:00Z", "7", "r");
}

static enum troupe_status pay_it(struct troupe_ctx *venue)
{
    return pay(venue, "2026-12-31T20:00Z", "7", 2500, "EUR", "p");
}

static enum troupe_status cancel_it(struct troupe_ctx *venue)
{
    return cancel(venue, "2026-12-31T20:00Z", "7", "", true);
}

static enum troupe_status list_bookings(struct troupe_ctx *venue)
{
    return CALL(venue, "bookings", VenueBookingsRequest, venue_bookings_request, .after = TEXT(""));
}

static enum troupe_status list_slots(struct troupe_ctx *venue)
{
    return CALL(venue, "slots", SlotsRequest, slots_request, .after = TEXT(""));
}

/* However many starts fail, one that succeeds has everything. */
static void start_with_faults(struct troupe_ctx *ctx)
{
    struct troupe_bytes before = saved(ctx);
    fake_stop(ctx, TROUPE_STOP_IDLE);
    int rc = -1;
    size_t faults = 0;
    for (; rc != 0; faults++) {
        countdown = (long)faults;
        rc = fake_start(ctx, before);
        countdown = -1;
        if (rc != 0)
            assert_true(ctx->crash[0] != '\0');
    }
    struct troupe_bytes after = saved(ctx);
    assert_true(troupe_bytes_equal(before, after));
    assert_true(faults > 3);
    fake_saved_free(before);
    fake_saved_free(after);
}

static void save_with_faults(struct troupe_ctx *ctx)
{
    int rc = -1;
    for (long faults = 0; rc != 0; faults++) {
        countdown = faults;
        struct troupe_bytes bytes = fake_save(ctx, &rc);
        countdown = -1;
        fake_saved_free(bytes);
    }
}

static void a_venue_without_memory(void **state)
{
    struct troupe_ctx *venue = fake_open(&venue_kind, "42");
    assert_int_equal(fake_start_new(venue), 0);
    do_with_faults(venue, create_it, 2);
    do_with_faults(venue, open_some, 3);
    do_with_faults(venue, book_it, 4);
    do_with_faults(venue, pay_it, 2);
    do_with_faults(venue, list_bookings, 3);
    do_with_faults(venue, list_slots, 3);
    save_with_faults(venue);
    start_with_faults(venue);
    do_with_faults(venue, cancel_it, 3);
    save_with_faults(venue);
    start_with_faults(venue);
    fake_close(venue);
}

static enum troupe_status create_user_it(struct troupe_ctx *user)
{
    return create_user(user, "Ana", "bio");
}

static enum troupe_status follow_it(struct troupe_ctx *user)
{
    return follow(user, "9");
}

static enum troupe_status booked_it(struct troupe_ctx *user)
{
    return booked(user, "42", "2026-12-31T20:00Z", 1);
}

static enum troupe_status list_gigs(struct troupe_ctx *user)
{
    return CALL(user, "bookings", UserBookingsRequest, user_bookings_request, .after = TEXT(""));
}

static enum troupe_status list_followers(struct troupe_ctx *user)
{
    return CALL(user, "followers", UsersRequest, users_request, .after = TEXT(""));
}

static void a_user_without_memory(void **state)
{
    struct troupe_ctx *user = fake_open(&user_kind, "7");
    assert_int_equal(fake_start_new(user), 0);
    do_with_faults(user, create_user_it, 2);
    do_with_faults(user, follow_it, 3);
    do_with_faults(user, booked_it, 3);
    do_with_faults(user, list_gigs, 2);
    do_with_faults(user, list_followers, 2);
    save_with_faults(user);
    start_with_faults(user);
    fake_close(user);
}

static void a_start_without_memory(void **state)
{
    const struct troupe_kind *const kinds[] = {&venue_kind, &user_kind};
    for (size_t i = 0; i < 2; i++) {
        struct troupe_ctx *ctx = fake_open(kinds[i], "1");
        countdown = 0;
        assert_int_not_equal(fake_start_new(ctx), 0);
        countdown = -1;
        assert_string_equal(ctx->crash, "no memory");
        fake_close(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_venue_without_memory),
        cmocka_unit_test(a_user_without_memory),
        cmocka_unit_test(a_start_without_memory),
    };
    return cmocka_run_group_tests_name("gigbook_faults", tests, NULL, NULL);
}
