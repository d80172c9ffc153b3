/* What membership promises, held against whole clusters in virtual time. Each story is the same
 * each time, so that the times it takes can be asserted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/membership/runner.h"

static const struct selection few = {.seed_from = 1, .seed_to = 10};
static const struct selection many = {.seed_from = 1, .seed_to = 50};
static const struct selection fewer = {.seed_from = 1, .seed_to = 3};
static const struct selection one = {.seed_from = 1, .seed_to = 1};

static struct figures run(const char *name, const struct selection *selection, enum rules rules,
                          uint32_t nodes, uint32_t variant)
{
    struct figures figures = {0};
    const struct experiment *experiment = experiment_find(name);
    assert_non_null(experiment);
    runner_run(experiment, selection, rules, nodes, variant, &figures);
    assert_int_equal(figures.trials, selection->seed_to - selection->seed_from + 1);
    return figures;
}

/* Nobody was wrong about a healthy node, and nobody missed the news. */
static void assert_right(const struct figures *f)
{
    assert_int_equal(f->missed, 0);
    assert_int_equal(f->false_healthy, 0);
    assert_int_equal(f->resurrected, 0);
    assert_int_equal(f->ghosts, 0);
}

static void assert_within(struct figures *f, double p50_s, double p99_s)
{
    assert_right(f);
    double p50 = samples_percentile(&f->all, 50), p99 = samples_percentile(&f->all, 99);
    if (!(p50 <= p50_s && p99 <= p99_s))
        fail_msg("p50 is %.3f s of %.3f, p99 %.3f s of %.3f", p50, p50_s, p99, p99_s);
    figures_close(f);
}

static void test_crash_is_known_to_all(void **state)
{
    struct figures f = run("crash", &many, RULES_TROUPE, 8, 0);
    assert_within(&f, 3, 4.5); /* the wait for a probe is two intervals at most */
    f = run("crash", &few, RULES_TROUPE, 32, 0);
    assert_within(&f, 4, 5.2);
}

static void test_reset_makes_it_sooner(void **state)
{
    struct figures f = run("crash-reset", &many, RULES_TROUPE, 8, 0);
    assert_within(&f, 2.5, 2.5); /* nobody is left out when it is told */
}

static void test_crash_in_half_of_memberlists_time(void **state)
{
    struct figures ours = run("crash", &few, RULES_TROUPE, 128, 0);
    struct figures theirs = run("crash", &few, RULES_MEMBERLIST, 128, 0);
    double p50 = samples_percentile(&theirs.all, 50);
    assert_int_equal(theirs.missed, 0);
    assert_within(&ours, p50 / 2, p50);
    figures_close(&theirs);
}

static void test_crash_under_loss(void **state)
{
    struct figures f = run("crash-loss", &fewer, RULES_TROUPE, 32, 100);
    assert_within(&f, 6, 10);
}

static void test_leaving_is_no_death(void **state)
{
    struct figures f = run("leave", &few, RULES_TROUPE, 32, 0);
    assert_int_equal(f.false_afflicted, 0);
    assert_within(&f, 1, 1);
}

static void test_healthy_cluster_stays_whole(void **state)
{
    for (uint32_t nodes = 3; nodes <= 48; nodes *= 4) {
        struct figures f = run("idle", &fewer, RULES_TROUPE, nodes, 0);
        assert_right(&f);
        figures_close(&f);
    }
}

static void test_load_does_not_grow(void **state)
{
    struct figures small = run("load", &one, RULES_TROUPE, 16, 0);
    struct figures big = run("load", &one, RULES_TROUPE, 160, 0);
    struct figures theirs = run("load", &one, RULES_MEMBERLIST, 160, 0);
    double rate = (double)big.messages / big.node_seconds;
    assert_true(rate <= 1.1 * (double)small.messages / small.node_seconds);
    assert_true(rate <= (double)theirs.messages / theirs.node_seconds);
    assert_int_equal(small.false_healthy + big.false_healthy, 0);
}

static void test_stalls_harm_no_healthy_node(void **state)
{
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "lifeguard-io" : "lifeguard-pause";
        struct figures ours = {0}, plain = {0};
        const struct experiment *e = experiment_find(name);
        runner_run(e, &one, RULES_TROUPE, 24, 4, &ours);
        runner_run(e, &one, RULES_PLAIN, 24, 4, &plain);
        assert_int_equal(ours.false_by_healthy, 0);
        assert_true((double)ours.false_healthy <= 0.015 * (double)plain.false_healthy);
        assert_true(i != 0 || plain.false_healthy > 100); /* the experiment does bite */
    }
}

/* For less than the shortest suspicion: nobody dies, those that stall included. */
static void test_short_stalls_kill_nobody(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct figures f = run(i == 0 ? "short-io" : "short-pause", &few, RULES_TROUPE, 32, 4);
        assert_right(&f);
        assert_int_equal(f.false_afflicted, 0);
        figures_close(&f);
    }
}

static void test_partition_heals(void **state)
{
    struct figures f = run("partition", &few, RULES_TROUPE, 16, 0);
    assert_within(&f, 15, 15);
    f = run("partition", &fewer, RULES_TROUPE, 64, 0);
    assert_within(&f, 15, 15);
    f = run("partition", &one, RULES_MEMBERLIST, 16, 0); /* and is noticed when it does not */
    assert_int_equal(f.missed, 1);
}

static void test_restart_is_known_soon(void **state)
{
    struct figures f = run("rolling-restart", &fewer, RULES_TROUPE, 32, 0);
    assert_within(&f, 1, 2);
}

static void test_nobody_is_resurrected(void **state)
{
    struct figures f = run("mass-restart", &few, RULES_TROUPE, 40, 0);
    assert_within(&f, 10, 10);
}

static void test_one_way_loss_removes_once(void **state)
{
    for (uint32_t mute = 0; mute < 2; mute++) {
        struct figures f = run("one-way", &few, RULES_TROUPE, 32, mute);
        assert_int_equal(f.missed, 0);
        assert_int_equal(f.flaps, 0);
        assert_int_equal(f.false_by_healthy, 0);
        figures_close(&f);
    }
}

static void test_same_seed_same_story(void **state)
{
    const struct selection other = {.seed_from = 2, .seed_to = 2};
    struct figures a = run("crash-loss", &one, RULES_TROUPE, 32, 300);
    struct figures b = run("crash-loss", &one, RULES_TROUPE, 32, 300);
    struct figures c = run("crash-loss", &other, RULES_TROUPE, 32, 300);
    assert_true(a.trace == b.trace && a.events == b.events);
    assert_true(a.trace != c.trace);
    figures_close(&a);
    figures_close(&b);
    figures_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_is_known_to_all),
        cmocka_unit_test(test_reset_makes_it_sooner),
        cmocka_unit_test(test_crash_in_half_of_memberlists_time),
        cmocka_unit_test(test_crash_under_loss),
        cmocka_unit_test(test_leaving_is_no_death),
        cmocka_unit_test(test_healthy_cluster_stays_whole),
        cmocka_unit_test(test_load_does_not_grow),
        cmocka_unit_test(test_stalls_harm_no_healthy_node),
        cmocka_unit_test(test_short_stalls_kill_nobody),
        cmocka_unit_test(test_partition_heals),
        cmocka_unit_test(test_restart_is_known_soon),
        cmocka_unit_test(test_nobody_is_resurrected),
        cmocka_unit_test(test_one_way_loss_removes_once),
        cmocka_unit_test(test_same_seed_same_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
