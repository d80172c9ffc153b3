/* The timing wheel against a dumb oracle: an array of due times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/runtime/wheel.h"
#include "random.h"

#define MS   UINT64_C(1000000)
#define TICK (UINT64_C(1) << WHEEL_TICK_SHIFT)

enum { TIMERS = 500 };

static uint64_t rounded_up(uint64_t ns)
{
    return (ns + TICK - 1) / TICK * TICK;
}

static void fires_in_time_and_not_before(void **state)
{
    (void)state;
    struct wheel w;
    struct timer t = {0}, other = {0};
    uint64_t now = 5000 * MS;
    wheel_init(&w, now);
    assert_true(wheel_next_ns(&w) == UINT64_MAX);
    wheel_set(&w, &t, now + 100 * MS);
    wheel_set(&w, &other, now + 1800000 * MS);
    assert_null(wheel_expire(&w, now + 99 * MS));
    assert_ptr_equal(wheel_expire(&w, now + 102 * MS), &t);
    assert_false(timer_is_set(&t));
    assert_null(wheel_expire(&w, now + 1799000 * MS));
    wheel_set(&w, &t, now); /* past: at the next tick */
    assert_ptr_equal(wheel_expire(&w, now + 1799002 * MS), &t);
    wheel_cancel(&w, &other);
    wheel_cancel(&w, &other);
    assert_null(wheel_expire(&w, now + 3600000 * MS));
    assert_int_equal(w.count, 0);
}

static void cuts_what_is_too_far_away(void **state)
{
    (void)state;
    struct wheel w;
    struct timer t = {0};
    wheel_init(&w, 12345 * MS);
    wheel_set(&w, &t, UINT64_MAX);
    uint64_t next = wheel_next_ns(&w);
    assert_true(next < UINT64_MAX);
    uint64_t year = 365 * 86400 * UINT64_C(1000) * MS;
    assert_null(wheel_expire(&w, 12345 * MS + 2 * year));
    assert_ptr_equal(wheel_expire(&w, 12345 * MS + 3 * year), &t);
}

static uint64_t random_delay(struct dice *d)
{
    static const uint64_t spans[] = {3, 70, 5000, 300000, 20000000, 2000000000};
    return dice_below(d, spans[dice_below(d, 6)] * MS);
}

static void agrees_with_an_oracle(void **state)
{
    (void)state;
    struct dice d = dice_new(1);
    struct wheel w;
    static struct timer timers[TIMERS];
    static uint64_t due[TIMERS]; /* 0 = not set */
    uint64_t now = dice_below(&d, UINT64_C(1) << 50);
    wheel_init(&w, now);
    size_t fired = 0;
    for (int round = 0; round < 20000; round++) {
        size_t i = dice_below(&d, TIMERS);
        if (dice_below(&d, 4) == 0) {
            wheel_cancel(&w, &timers[i]);
            due[i] = 0;
        } else {
            due[i] = now + random_delay(&d);
            wheel_set(&w, &timers[i], due[i]);
        }
        uint64_t next = wheel_next_ns(&w);
        uint64_t to =
            dice_below(&d, 3) == 0 && next != UINT64_MAX ? next : now + random_delay(&d) / 8;
        now = to > now ? to : now;
        struct timer *t;
        while ((t = wheel_expire(&w, now)) != NULL) {
            size_t at = (size_t)(t - timers);
            assert_true(due[at] != 0);
            assert_true(due[at] <= now); /* never before its time */
            due[at] = 0;
            fired++;
        }
        size_t left = 0;
        for (size_t k = 0; k < TIMERS; k++) {
            if (due[k] == 0)
                continue;
            left++;
            assert_true(rounded_up(due[k]) + TICK > now); /* and not after it */
        }
        assert_int_equal(left, w.count);
    }
    assert_true(fired > 1000);
}

/* wheel_next_ns may be early, never late: whoever wakes then misses nothing. */
static void next_is_never_late(void **state)
{
    (void)state;
    struct dice d = dice_new(2);
    for (int round = 0; round < 5000; round++) {
        struct wheel w;
        struct timer t = {0};
        uint64_t now = dice_below(&d, UINT64_C(1) << 50), due = now + random_delay(&d);
        wheel_init(&w, now);
        wheel_set(&w, &t, due);
        int steps = 0;
        while (timer_is_set(&t)) {
            uint64_t next = wheel_next_ns(&w);
            assert_true(next <= rounded_up(due) + TICK);
            wheel_expire(&w, next);
            assert_true(++steps < 10);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_in_time_and_not_before),
        cmocka_unit_test(cuts_what_is_too_far_away),
        cmocka_unit_test(agrees_with_an_oracle),
        cmocka_unit_test(next_is_never_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
