/* What membership promises, in virtual time: deaths are found by all, the living are left alone,
 * and what was torn apart grows together. The figures asserted are those of docs/membership.md;
 * time is simulated, so they are the same on every machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "swim_world.h"
#include "troupe/error.h"

static struct world w;

static void start(uint32_t n, uint64_t seed)
{
    struct swim_config config;
    swim_config_default(&config);
    memset(config.uid, 7, sizeof config.uid);
    world_init(&w, &config, n, seed);
    world_run(&w, 5 * WORLD_S);
}

static bool all_know_of_death(struct world *world)
{
    for (uint32_t at = 0; at < world->n; at++) {
        if (world->nodes[at].swim != NULL && world->known_ns[at] == 0)
            return false;
    }
    return true;
}

static uint64_t kill_one(uint32_t n, uint64_t seed, bool silent)
{
    start(n, seed);
    w.watched = (uint32_t)dice_below(&w.dice, n);
    world_crash(&w, w.watched);
    if (!silent)
        world_reset_connections(&w, w.watched);
    uint64_t took = world_until(&w, all_know_of_death, 60 * WORLD_S);
    world_run(&w, 30 * WORLD_S);
    assert_true(world_agrees(&w));
    assert_int_equal(w.false_deaths, 0);
    world_close(&w);
    return took;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void a_crash_is_known_to_all(void **state)
{
    (void)state;
    static const struct {
        uint32_t n;
        bool silent;
        unsigned p50_ms, p95_ms;
    } cases[] = {{3, false, 2500, 4000},
                 {8, false, 2500, 4000},
                 {8, true, 4000, 9000},
                 {32, true, 4000, 9000},
                 {128, true, 5000, 9000}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        uint64_t took[20];
        for (uint64_t seed = 0; seed < 20; seed++)
            took[seed] = kill_one(cases[c].n, seed + 1, cases[c].silent);
        qsort(took, 20, sizeof took[0], by_value);
        print_message("%u nodes, %s: p50 %u ms, p95 %u ms\n", cases[c].n,
                      cases[c].silent ? "silent" : "reset", (unsigned)(took[10] / WORLD_MS),
                      (unsigned)(took[18] / WORLD_MS));
        assert_in_range(took[10], 0, cases[c].p50_ms * WORLD_MS);
        assert_in_range(took[18], 0, cases[c].p95_ms * WORLD_MS);
    }
}

static void the_living_are_left_alone(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        start(32, seed);
        w.loss_percent = 1;
        world_run(&w, 300 * WORLD_S);
        assert_int_equal(w.false_deaths, 0);
        assert_true(world_until(&w, world_agrees, 10 * WORLD_S) != UINT64_MAX);
        world_close(&w);
    }
}

/* SIGSTOP for less than a suspicion lasts, again and again: neither the stopped nor the others. */
static void a_short_stop_is_no_death(void **state)
{
    (void)state;
    for (enum world_stall how = WORLD_PAUSED; how <= WORLD_DEAF; how++) {
        start(32, 11 + how);
        for (int round = 0; round < 60; round++) {
            for (uint32_t i = 0; i < 4; i++)
                world_stall(&w, (uint32_t)dice_below(&w.dice, 32), how, 2000 * WORLD_MS);
            world_run(&w, 3 * WORLD_S);
        }
        assert_int_equal(w.false_deaths, 0);
        world_close(&w);
    }
}

static void a_partition_heals_by_itself(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        start(16, seed);
        for (uint32_t i = 0; i < 8; i++)
            w.nodes[i].side = 1;
        world_run(&w, 60 * WORLD_S);
        assert_int_equal(swim_live(w.nodes[0].swim), 8);
        assert_int_equal(swim_live(w.nodes[15].swim), 8);
        for (uint32_t i = 0; i < 8; i++)
            w.nodes[i].side = 0;
        uint64_t took = world_until(&w, world_agrees, 15 * WORLD_S);
        print_message("healed in %u ms\n", (unsigned)(took / WORLD_MS));
        assert_true(took != UINT64_MAX);
        world_close(&w);
    }
}

/* What it sends is lost, what is sent to it arrives: it goes once, and does not come and go. */
static void one_way_loss_removes_once(void **state)
{
    (void)state;
    uint32_t changes = 0;
    start(32, 5);
    w.nodes[3].mute = true;
    enum gossip_state last = GOSSIP_ACTIVE;
    for (int s = 0; s < 300; s++) {
        world_run(&w, WORLD_S);
        enum gossip_state now = world_state(&w, 0, 3);
        changes += now != last;
        last = now;
    }
    assert_int_equal(last, GOSSIP_DEAD);
    assert_int_equal(changes, 1);
    w.nodes[3].mute = false;
    assert_true(world_until(&w, world_agrees, 15 * WORLD_S) != UINT64_MAX);
    world_close(&w);
}

static void a_restart_is_known_in_two_seconds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        start(32, seed);
        for (uint32_t i = 0; i < 8; i++) {
            world_restart(&w, i);
            uint64_t took = world_until(&w, world_agrees, 2 * WORLD_S);
            assert_true(took != UINT64_MAX);
        }
        assert_int_equal(w.false_deaths, 0);
        world_close(&w);
    }
}

/* All of them within 5 s, each with an empty table: nobody's old run may come back. */
static void nobody_is_resurrected(void **state)
{
    (void)state;
    start(32, 9);
    for (uint32_t i = 0; i < 32; i++) {
        world_restart(&w, i);
        world_run(&w, 5 * WORLD_S / 32);
    }
    assert_true(world_until(&w, world_agrees, 15 * WORLD_S) != UINT64_MAX);
    for (int s = 0; s < 60; s++) {
        world_run(&w, WORLD_S);
        assert_true(world_agrees(&w));
    }
    world_close(&w);
}

static void who_leaves_is_not_suspected(void **state)
{
    (void)state;
    start(32, 13);
    world_leave(&w, 4);
    world_run(&w, WORLD_S);
    for (uint32_t at = 0; at < 32; at++)
        assert_int_equal(world_state(&w, at, 4), GOSSIP_LEFT);
    assert_true(swim_is_quiet(w.nodes[4].swim));
    world_crash(&w, 4);
    world_run(&w, 30 * WORLD_S);
    assert_int_equal(world_state(&w, 0, 4), GOSSIP_LEFT);
    assert_true(world_agrees(&w));
    world_close(&w);
}

/* A lying peer takes our incarnation to the highest there is: nothing breaks, and we still leave.
 */
static void the_highest_incarnation_is_no_end(void **state)
{
    (void)state;
    start(4, 17);
    struct swim_info before, after;
    struct swim *swim = w.nodes[1].swim;
    assert_true(swim_info(swim, swim_self(swim), &before));
    struct gossip_record lie = {.name = before.name,
                                .generation = before.generation,
                                .incarnation = UINT64_MAX - 1,
                                .state = GOSSIP_SUSPECT};
    swim_learn(swim, w.now_ns, &lie);
    assert_true(swim_info(swim, swim_self(swim), &after));
    assert_true(after.incarnation == UINT64_MAX);
    lie.incarnation = UINT64_MAX;
    swim_learn(swim, w.now_ns, &lie);
    assert_int_equal(swim_set_meta(swim, w.now_ns, troupe_bytes_of("1.1")), 0);
    world_leave(&w, 1);
    world_run(&w, 2 * WORLD_S);
    assert_int_equal(world_state(&w, 0, 1), GOSSIP_LEFT);
    world_close(&w);
}

/* What would not fit is refused at the beginning. */
static void limits_of_the_configuration_are_checked(void **state)
{
    (void)state;
    struct swim *swim;
    struct swim_config good;
    swim_config_default(&good);
    good.name = good.meta = troupe_bytes_of("a");
    good.members_max = 16;
    struct swim_config bad = good;
    bad.gossip_nodes = SWIM_PICKED_MAX + 1;
    assert_int_equal(swim_open(&swim, &bad, NULL, NULL, 0), TROUPE_EINVAL);
    bad = good;
    bad.suspicions_max = 17;
    assert_int_equal(swim_open(&swim, &bad, NULL, NULL, 0), TROUPE_EINVAL);
    assert_int_equal(swim_open(&swim, &good, NULL, NULL, 0), 0);
    swim_close(swim);
}

static void one_seed_is_one_story(void **state)
{
    (void)state;
    uint64_t trace[2];
    for (int i = 0; i < 2; i++) {
        start(16, 21);
        w.loss_percent = 10;
        world_stall(&w, 2, WORLD_PAUSED, 4 * WORLD_S);
        world_run(&w, 30 * WORLD_S);
        trace[i] = w.trace;
        world_close(&w);
    }
    assert_true(trace[0] == trace[1] && trace[0] != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_is_known_to_all),
        cmocka_unit_test(the_living_are_left_alone),
        cmocka_unit_test(a_short_stop_is_no_death),
        cmocka_unit_test(a_partition_heals_by_itself),
        cmocka_unit_test(one_way_loss_removes_once),
        cmocka_unit_test(a_restart_is_known_in_two_seconds),
        cmocka_unit_test(nobody_is_resurrected),
        cmocka_unit_test(who_leaves_is_not_suspected),
        cmocka_unit_test(the_highest_incarnation_is_no_end),
        cmocka_unit_test(limits_of_the_configuration_are_checked),
        cmocka_unit_test(one_seed_is_one_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
