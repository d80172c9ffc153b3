/* Who gets a place and who goes for it, on times that the test makes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/shell/places.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { MAX = 8, KEPT = 2, STRANGERS = 4, OF_HOST = 3 };

static struct places ps;
static struct place all[16];
static struct place *busy;

static bool is_busy(const struct place *p)
{
    return p == busy;
}

static void host_of(uint8_t n, uint8_t host[PLACES_HOST_BYTES])
{
    memset(host, 0, PLACES_HOST_BYTES);
    host[10] = host[11] = 0xFF;
    host[12] = n == 127 ? 127 : 10;
    host[15] = n;
}

static void begin(void)
{
    static const struct places_limits limits = {.max = MAX,
                                                .kept = KEPT,
                                                .strangers_max = STRANGERS,
                                                .host_max = OF_HOST,
                                                .known_host_max = MAX};
    busy = NULL;
    places_init(&ps, &limits, is_busy);
}

/* all[i] from there, as a speaker. */
static void speaker(size_t i, uint8_t from, uint64_t now_ms)
{
    host_of(from, all[i].host);
    all[i].known = places_is_loopback(all[i].host);
    places_take(&ps, &all[i], now_ms);
    places_spoke(&ps, &all[i]);
}

static void stranger(size_t i, uint8_t from, uint64_t now_ms)
{
    host_of(from, all[i].host);
    all[i].known = places_is_loopback(all[i].host);
    places_take(&ps, &all[i], now_ms);
}

static void expect(uint8_t from, uint64_t now_ms, enum places_room room, const struct place *who)
{
    uint8_t host[PLACES_HOST_BYTES];
    struct place *victim;
    host_of(from, host);
    assert_int_equal(places_ask(&ps, host, places_is_loopback(host), now_ms, &victim), room);
    assert_ptr_equal(victim, who);
}

static void strangers_have_a_part_and_the_first_goes(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < STRANGERS; i++) {
        expect((uint8_t)(i + 1), i, PLACES_ROOM, NULL);
        stranger(i, (uint8_t)(i + 1), i);
    }
    expect(9, 4, PLACES_ROOM_IF, &all[0]);
    places_spoke(&ps, &all[0]);
    expect(9, 4, PLACES_ROOM, NULL);
    stranger(4, 9, 4);
    expect(10, 4, PLACES_ROOM_IF, &all[1]);
    places_leave(&ps, &all[1]);
    places_leave(&ps, &all[1]);
    places_spoke(&ps, &all[1]);
    expect(10, 4, PLACES_ROOM, NULL);
    assert_int_equal(ps.n, 4);
}

static void a_known_stranger_goes_after_the_others(void **state)
{
    (void)state;
    begin();
    stranger(0, 127, 0);
    for (size_t i = 1; i < STRANGERS; i++)
        stranger(i, (uint8_t)i, i);
    expect(9, 4, PLACES_ROOM_IF, &all[1]);
}

static void an_address_has_a_part(void **state)
{
    (void)state;
    begin();
    speaker(0, 1, 5);
    speaker(1, 1, 3);
    speaker(2, 1, 4);
    expect(1, 6, PLACES_FULL, NULL); /* they have just been heard */
    expect(2, 6, PLACES_ROOM, NULL);
    expect(1, 3 + PLACES_SPARED_MS, PLACES_ROOM_IF, &all[1]);
    busy = &all[1];
    expect(1, 6 + PLACES_SPARED_MS, PLACES_ROOM_IF, &all[2]);
    places_leave(&ps, &all[0]);
    stranger(3, 1, 6);
    expect(1, 6, PLACES_ROOM_IF, &all[3]);
    for (size_t i = 4; i < 4 + OF_HOST + 1; i++) {
        expect(127, 6, PLACES_ROOM, NULL); /* this machine's are not limited */
        speaker(i, 127, 6);
    }
}

static void some_places_are_kept_for_the_known(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < MAX - KEPT; i++)
        speaker(i, (uint8_t)(i + 1), 10 + i);
    expect(100, 20, PLACES_FULL, NULL);
    expect(127, 20, PLACES_ROOM, NULL);
    speaker(6, 127, 5);
    expect(127, 20, PLACES_ROOM, NULL);
    speaker(7, 127, 6);
    expect(127, 20, PLACES_FULL, NULL);
    expect(127, 20 + PLACES_SPARED_MS, PLACES_ROOM_IF, &all[0]); /* not the silent known ones */
    busy = &all[0];
    expect(100, 20 + PLACES_SPARED_MS, PLACES_ROOM_IF, &all[1]);
    stranger(8, 7, 30);
    expect(100, 30, PLACES_ROOM_IF, &all[8]); /* a stranger before any of them */
}

static void who_is_met_becomes_known(void **state)
{
    (void)state;
    uint8_t host[PLACES_HOST_BYTES];
    begin();
    stranger(0, 1, 0);
    stranger(1, 2, 0);
    host_of(1, host);
    places_met(&ps, host);
    assert_true(all[0].known);
    assert_false(all[1].known);
}

static void of_ipv6_the_network_counts(void **state)
{
    (void)state;
    static const struct {
        uint8_t host[PLACES_HOST_BYTES];
        bool whole;
    } cases[] = {
        {{0x20, 1, 0xD, 0xB8, [15] = 1}, false},
        {{0xFE, 0x80, [15] = 1}, true},
        {{[15] = 1}, true},
        {{[10] = 0xFF, [11] = 0xFF, [12] = 10, [15] = 1}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t host[PLACES_HOST_BYTES];
        memcpy(host, cases[i].host, sizeof host);
        places_to_network(host);
        assert_memory_equal(host, cases[i].host, 8);
        assert_int_equal(places_is_same(host, cases[i].host), cases[i].whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_have_a_part_and_the_first_goes),
        cmocka_unit_test(a_known_stranger_goes_after_the_others),
        cmocka_unit_test(an_address_has_a_part),
        cmocka_unit_test(some_places_are_kept_for_the_known),
        cmocka_unit_test(who_is_met_becomes_known),
        cmocka_unit_test(of_ipv6_the_network_counts),
    };
    return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
