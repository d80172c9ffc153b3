/* gigbook's parts that know no messages: slots, the set of ids, the list of gigs, the calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bounds.h"
#include "calendar.h"
#include "gigs.h"
#include "idset.h"
#include "slot.h"
#include "troupe/entity.h"

/* ---- slots ---- */

static void slots_are_strict(void **state)
{
    static const char *const bad[] = {
        "",
        "2026-12-31",
        "2026-12-31T20:00",
        "2026-12-31T20:00z",
        "2026-12-31t20:00Z",
        "2026-12-31 20:00Z",
        "2026-12-31T20:00:00Z",
        "2026-12-31T20:00Z ",
        " 2026-12-31T20:00Z",
        "2026-12-31T20:00+00:00",
        "2026-13-01T20:00Z",
        "2026-00-01T20:00Z",
        "2026-01-00T20:00Z",
        "2026-01-32T20:00Z",
        "2026-04-31T20:00Z",
        "2026-02-29T20:00Z",
        "2100-02-29T20:00Z",
        "2024-02-30T20:00Z",
        "2026-12-31T24:00Z",
        "2026-12-31T20:60Z",
        "2026-12-31T-1:00Z",
        "1969-12-31T23:59Z",
        "0000-01-01T00:00Z",
        "+026-12-31T20:00Z",
        "2026-12-31T2\xd9\xa0:00Z",
    };
    uint32_t minute;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (slot_parse(bad[i], &minute))
            fail_msg("\"%s\" passes for a slot", bad[i]);
}

/* The C library's calendar is the oracle. */
static void slots_agree_with_the_c_library(void **state)
{
    char text[SLOT_TEXT_LEN + 1], expected[64];
    uint32_t last = 0, parsed;
    uint64_t step = 0;
    assert_true(slot_parse("9999-12-31T23:59Z", &last));
    for (uint64_t minute = 0; minute <= last;
         minute += 1 + (step = step * 6364136223846793005U + 1) % 50000) {
        time_t seconds = (time_t)minute * 60;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%MZ", &tm);
        slot_format((uint32_t)minute, text);
        assert_string_equal(text, expected);
        assert_true(slot_parse(text, &parsed));
        assert_int_equal(parsed, minute);
    }
    slot_format(last, text);
    assert_string_equal(text, "9999-12-31T23:59Z");
    assert_true(slot_parse("2024-02-29T00:00Z", &parsed) &&
                slot_parse("2000-02-29T00:00Z", &parsed));
}

/* ---- sets of ids ---- */

enum { ORACLE_IDS = 300 };

static void check_against_oracle(const struct idset *set, const bool *in)
{
    size_t n = 0;
    char id[16];
    for (int i = 0; i < ORACLE_IDS; i++) {
        snprintf(id, sizeof id, "u%d", i);
        assert_int_equal(idset_has(set, id), in[i]);
        n += in[i];
    }
    assert_int_equal(set->n, n);
    for (size_t i = 1; i < n; i++)
        assert_true(strcmp(idset_at(set, i - 1), idset_at(set, i)) < 0);
}

static void a_set_of_ids_is_a_sorted_set(void **state)
{
    struct idset set = {0};
    bool in[ORACLE_IDS] = {0};
    unsigned seed = 1;
    char id[16];
    for (int round = 0; round < 5000; round++) {
        seed = seed * 1103515245 + 12345;
        unsigned i = (seed >> 8) % ORACLE_IDS;
        snprintf(id, sizeof id, "u%u", i);
        if ((seed >> 24) % 5 < 3) {
            assert_int_equal(idset_add(&set, id), 0);
            in[i] = true;
        } else {
            assert_int_equal(idset_remove(&set, id), in[i]);
            in[i] = false;
        }
        if (round % 97 == 0)
            check_against_oracle(&set, in);
    }
    check_against_oracle(&set, in);
    idset_close(&set);
}

/* ---- gigs ---- */

static enum gigs_result put(struct gigs *g, uint32_t minute, const char *venue, uint64_t change,
                            uint64_t cancelled_at_ms)
{
    const struct gig gig = {
        .minute = minute, .change = change, .cancelled_at_ms = cancelled_at_ms, .booked_at_ms = 1};
    return gigs_put(g, &gig, venue, "ref");
}

static void the_last_change_of_a_gig_wins(void **state)
{
    struct gigs g = {0};
    assert_int_equal(put(&g, 100, "v", 5, 0), GIGS_OK);
    assert_int_equal(put(&g, 100, "v", 5, 0), GIGS_OLD);
    assert_int_equal(put(&g, 100, "v", 4, 9), GIGS_OLD);
    assert_int_equal(gigs_standing(&g), 1);
    assert_int_equal(put(&g, 100, "v", 6, 9), GIGS_OK);
    assert_int_equal(put(&g, 100, "v", 5, 0), GIGS_OLD);
    assert_int_equal(gigs_standing(&g), 0);
    assert_int_equal(g.n, 1);
    assert_int_equal(put(&g, 100, "w", 1, 0), GIGS_OK);
    assert_int_equal(put(&g, 99, "x", 1, 0), GIGS_OK);
    assert_string_equal(g.items[0]->venue, "x");
    assert_string_equal(g.items[1]->venue, "v");
    assert_string_equal(g.items[2]->venue, "w");
    gigs_close(&g);
}

static void cancelled_and_past_gigs_can_be_forgotten(void **state)
{
    struct gigs g = {0};
    put(&g, 1, "v", 1, 0);
    put(&g, 2, "v", 2, 1000);
    put(&g, 3, "v", 3, 2000);
    put(&g, 4, "v", 4, 0);
    assert_int_equal(gigs_prune(&g, 2000, 0), 1);
    assert_int_equal(gigs_prune(&g, 0, 4), 2);
    assert_int_equal(g.n, 1);
    assert_int_equal(g.items[0]->minute, 4);
    assert_int_equal(g.bytes, GIG_SAVED_BYTES + 4);
    gigs_close(&g);
    assert_int_equal(g.bytes, 0);
}

static void gigs_have_a_limit(void **state)
{
    struct gigs g = {0};
    char venue[ID_BYTES_MAX + 1];
    memset(venue, 'v', ID_BYTES_MAX);
    venue[ID_BYTES_MAX] = '\0';
    uint32_t minute = 0;
    while (put(&g, minute, venue, 1, 0) == GIGS_OK)
        minute++;
    assert_int_equal(put(&g, minute, venue, 1, 0), GIGS_FULL);
    assert_true(g.bytes <= USER_GIGS_BYTES_MAX);
    assert_true(g.n > 1000);
    /* What is there can still change. */
    assert_int_equal(put(&g, 0, venue, 2, 77), GIGS_OK);
    gigs_close(&g);
}

/* ---- the calendar ---- */

static void changes_are_confirmed_by_their_tag(void **state)
{
    struct calendar *c = calendar_new();
    struct booking *b;
    assert_int_equal(calendar_book(c, 50, "7", "", 1, &b), CALENDAR_OK);
    assert_string_equal(b->reference, "b1");
    assert_int_equal(c->uninformed, 1);
    assert_false(calendar_confirm(c, calendar_tag(50, 2)));
    assert_false(calendar_confirm(c, calendar_tag(51, 1)));
    assert_int_equal(calendar_cancel(c, calendar_find(c, 50)), CALENDAR_OK);
    assert_null(calendar_find(c, 50));
    assert_int_equal(c->uninformed, 1);
    assert_false(calendar_confirm(c, calendar_tag(50, 1)));
    assert_int_equal(calendar_book(c, 50, "7", "x", 2, &b), CALENDAR_OK);
    assert_int_equal(b->change, 3);
    assert_int_equal(c->uninformed, 2);
    assert_true(calendar_confirm(c, calendar_tag(50, 2)));
    assert_true(calendar_confirm(c, calendar_tag(50, 3)));
    assert_false(calendar_confirm(c, calendar_tag(50, 3)));
    assert_int_equal(c->uninformed, 0);
    assert_int_equal(c->cancellations_n, 0);
    calendar_free(c);
}

static void pruning_keeps_what_has_to_be_told(void **state)
{
    struct calendar *c = calendar_new();
    struct booking *b;
    size_t kept;
    calendar_set_mode(c, 30, SLOT_OPEN);
    calendar_set_mode(c, 10, SLOT_CLOSED);
    assert_int_equal(calendar_book(c, 20, "7", "", 1, &b), CALENDAR_OK);
    assert_int_equal(calendar_book(c, 15, "8", "", 1, &b), CALENDAR_OK);
    assert_true(calendar_confirm(c, calendar_tag(20, 1)));
    assert_int_equal(calendar_prune(c, 30, &kept), 2);
    assert_int_equal(kept, 1);
    assert_int_equal(c->slots_n, 2);
    assert_int_equal(c->slots[0].minute, 15);
    assert_int_equal(c->slots[1].minute, 30);
    assert_int_equal(c->bookings_n, 1);
    assert_int_equal(c->bookings_bytes, BOOKING_SAVED_BYTES + 1 + 2);
    calendar_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_strict),
        cmocka_unit_test(slots_agree_with_the_c_library),
        cmocka_unit_test(a_set_of_ids_is_a_sorted_set),
        cmocka_unit_test(the_last_change_of_a_gig_wins),
        cmocka_unit_test(cancelled_and_past_gigs_can_be_forgotten),
        cmocka_unit_test(gigs_have_a_limit),
        cmocka_unit_test(changes_are_confirmed_by_their_tag),
        cmocka_unit_test(pruning_keeps_what_has_to_be_told),
    };
    return cmocka_run_group_tests_name("gigbook", tests, NULL, NULL);
}
