/* The simulator's own parts, and that its checkers see what they are there to see: each is shown a
 * cluster in which the thing it looks for does happen. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/membership/runner.h"

enum { NODES = 8 };

static void open_sim(struct sim *sim, uint64_t seed)
{
    struct swim_config config;
    swim_config_default(&config);
    sim_open(sim, NODES, seed, &config);
    sim_run_for(sim, 5 * SIM_SECOND);
    sim_count_anew(sim);
}

/* ---- parts ---- */

static void test_queue_gives_in_order(void **state)
{
    enum { EVENTS = 5000, TIMES = 300 };
    struct dice dice = {.state = 7};
    struct sim_queue queue = {0};
    struct sim_event event = {0}, last = {0};
    size_t popped = 0;
    for (uint32_t i = 0; i < EVENTS; i++) {
        event = (struct sim_event){.at_ns = dice_below(&dice, TIMES), .node = i};
        sim_queue_push(&queue, &event);
    }
    while (sim_queue_pop(&queue, SIM_NEVER, &event)) {
        assert_true(event.at_ns > last.at_ns ||
                    (event.at_ns == last.at_ns && (popped == 0 || event.node > last.node)));
        last = event;
        popped++;
    }
    assert_int_equal(popped, EVENTS);
    sim_queue_push(&queue, &(struct sim_event){.at_ns = TIMES});
    assert_false(sim_queue_pop(&queue, TIMES - 1, &event));
    sim_queue_close(&queue);
}

static void test_percentiles(void **state)
{
    struct samples s = {0};
    assert_true(isnan(samples_percentile(&s, 50)));
    for (uint64_t i = 100; i > 0; i--)
        samples_add(&s, i * SIM_SECOND);
    assert_true(samples_percentile(&s, 50) == 50);
    assert_true(samples_percentile(&s, 99) == 99);
    assert_true(samples_percentile(&s, 100) == 100);
    samples_close(&s);
}

static void test_network_loses_and_cuts(void **state)
{
    struct sim_network net = {.latency_ns = 10, .jitter_ns = 5, .loss_per_mille = 300};
    struct dice dice = {.state = 3};
    uint64_t ns, arrived = 0;
    for (int i = 0; i < 10000; i++) {
        if (!sim_network_carry(&net, &dice, 0, 0, &ns))
            continue;
        assert_in_range(ns, 10, 15);
        arrived++;
    }
    assert_in_range(arrived, 6800, 7200);
    net.loss_per_mille = 0;
    net.cut[0][1] = true;
    assert_false(sim_network_carry(&net, &dice, 0, 1, &ns));
    assert_true(sim_network_carry(&net, &dice, 1, 0, &ns));
}

static void test_inbox_is_bounded(void **state)
{
    struct sim_waiting waiting = {0};
    uint8_t byte = 0;
    for (int i = 0; i < SIM_WAITING_MAX + 10; i++)
        sim_waiting_push(&waiting, sim_frame_new(&byte, 1));
    assert_int_equal(waiting.n, SIM_WAITING_MAX);
    sim_waiting_clear(&waiting);
    assert_int_equal(waiting.n, 0);
}

/* ---- checkers ---- */

static void test_an_ended_run_is_a_ghost_till_known(void **state)
{
    struct sim sim;
    open_sim(&sim, 1);
    assert_true(sim_agrees(&sim) && sim_ghosts(&sim) == 0);
    sim_watch(&sim, 3, false);
    sim_crash(&sim, 3, false);
    assert_false(sim_agrees(&sim));
    assert_false(sim_watch_done(&sim));
    assert_int_equal(sim_ghosts(&sim), NODES - 1);
    assert_true(sim_await(&sim, sim_watch_done, SIM_MS, 20 * SIM_SECOND));
    assert_int_equal(sim_ghosts(&sim), 0);
    assert_true(sim_agrees(&sim));
    assert_int_equal(sim.counts.false_healthy, 0);
    sim_close(&sim);
}

static void test_resurrection_is_seen(void **state)
{
    struct sim sim;
    struct swim_info info;
    open_sim(&sim, 2);
    sim_watch(&sim, 3, false);
    sim_crash(&sim, 3, false);
    assert_true(sim_await(&sim, sim_watch_done, SIM_MS, 20 * SIM_SECOND));
    struct swim *liar = sim.nodes[0].swim;
    assert_true(swim_info(liar, sim_find(liar, 3), &info));
    struct gossip_record record = {.name = info.name,
                                   .generation = info.generation,
                                   .incarnation = info.incarnation + 1,
                                   .state = GOSSIP_ACTIVE};
    swim_learn(liar, sim.now_ns, &record);
    sim__observe(&sim, 0, false);
    assert_int_equal(sim.counts.resurrected, 1);
    assert_int_equal(sim_ghosts(&sim), 1);
    sim_close(&sim);
}

/* With a suspicion that ends at once, whoever stalls is taken for dead. */
static void test_false_deaths_are_counted(void **state)
{
    for (int afflicted = 0; afflicted < 2; afflicted++) {
        struct swim_config config;
        struct sim sim;
        swim_config_plain(&config);
        config.suspicion_min_ns = config.suspicion_log_ns = SIM_MS;
        sim_open(&sim, NODES, 4, &config);
        sim.nodes[3].afflicted = afflicted != 0;
        sim_stall(&sim, 3, SIM_PAUSED, 6 * SIM_SECOND);
        sim_run_for(&sim, 20 * SIM_SECOND);
        uint64_t false_n = afflicted ? sim.counts.false_afflicted : sim.counts.false_healthy;
        assert_true(false_n > 0);
        assert_int_equal(sim.counts.false_healthy > 0, !afflicted);
        assert_int_equal(sim.counts.false_by_healthy > 0, !afflicted);
        sim_close(&sim);
    }
}

static void test_flapping_is_counted(void **state)
{
    struct sim sim;
    open_sim(&sim, 5);
    sim.nodes[3].group = 1;
    for (int i = 0; i < 2; i++) {
        sim_network_part(&sim.network, 0, 1, true);
        sim_run_for(&sim, 30 * SIM_SECOND);
        assert_int_equal(sim_pair(&sim, 0, 3)->removals, i + 1);
        sim_network_part(&sim.network, 0, 1, false);
        assert_true(sim_await(&sim, sim_agrees, SIM_MS, 60 * SIM_SECOND));
        assert_int_equal(sim_pair(&sim, 0, 3)->returns, i + 1);
    }
    sim_close(&sim);
}

/* A paused node does nothing; one whose input and output stall still thinks. */
static void test_stalls_hold_frames_back(void **state)
{
    for (enum sim_stall how = SIM_PAUSED; how <= SIM_IO_STALLED; how++) {
        struct sim sim;
        struct swim_stats before, after;
        open_sim(&sim, 6);
        sim_stall(&sim, 3, how, 3 * SIM_SECOND);
        swim_stats(sim.nodes[3].swim, &before);
        sim_run_for(&sim, 2900 * SIM_MS);
        swim_stats(sim.nodes[3].swim, &after);
        assert_int_equal(after.frames_in, before.frames_in);
        assert_int_equal(after.probes > before.probes, how == SIM_IO_STALLED);
        assert_true(sim.nodes[3].inbox.n > 0);
        assert_int_equal(sim.nodes[3].outbox.n > 0, how == SIM_IO_STALLED);
        sim_run_for(&sim, 200 * SIM_MS);
        swim_stats(sim.nodes[3].swim, &after);
        assert_true(after.frames_in > before.frames_in);
        assert_int_equal(sim.nodes[3].inbox.n + sim.nodes[3].outbox.n, 0);
        sim_close(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_gives_in_order),
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_network_loses_and_cuts),
        cmocka_unit_test(test_inbox_is_bounded),
        cmocka_unit_test(test_an_ended_run_is_a_ghost_till_known),
        cmocka_unit_test(test_resurrection_is_seen),
        cmocka_unit_test(test_false_deaths_are_counted),
        cmocka_unit_test(test_flapping_is_counted),
        cmocka_unit_test(test_stalls_hold_frames_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
