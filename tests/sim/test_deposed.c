/* Stories of a store that has failed over while the server before lives on (DESIGN §6.10): some of
 * a node's requests reach the deposed one, which does what it is asked, truthfully and in vain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/bag.h"
#include "tests/sim/troop.h"

enum { BAGS = 20, LEASE_OPS = 1u << STORE_REGISTER | 1u << STORE_RENEW | 1u << STORE_LEAVE };

static const struct troupe_kind *const kinds[] = {&bag_kind};

static struct troop t;

static int set_up(void **state)
{
    (void)state;
    troop_open(&t, kinds, 1);
    t.trace = getenv("TROUPE_SIM_LOG") != NULL;
    troop_add_deposed(&t);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    troop_close(&t);
    return 0;
}

static bool serves(struct troop *troop, uint32_t n)
{
    return troop->nodes[n].rt != NULL && troop->nodes[n].phase == RUNTIME_SERVING;
}

static bool does_not_serve(struct troop *troop, uint32_t n)
{
    return !serves(troop, n);
}

static struct troop_answer put_at(uint32_t n, uint32_t bag, uint64_t token)
{
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    token |= (uint64_t)bag << 32;
    return troop_call(&t, n, "bag", id, "put", troupe_bytes(&token, sizeof token), token, 2000);
}

static enum troupe_status put(uint32_t bag, uint64_t token)
{
    return put_at(0, bag, token).status;
}

static void put_all(uint64_t token)
{
    for (uint32_t bag = 0; bag < BAGS; bag++)
        assert_int_equal(put(bag, token), TROUPE_OK);
}

static void assert_tokens(size_t n)
{
    for (uint32_t bag = 0; bag < BAGS; bag++) {
        char id[16];
        snprintf(id, sizeof id, "b%u", bag);
        struct troop_answer a =
            troop_call(&t, 0, "bag", id, "list", troupe_bytes(NULL, 0), 0, 5000);
        assert_int_equal(a.status, TROUPE_OK);
        assert_int_equal(a.payload.len / 8, n);
    }
}

/* A node with something in it, of which the standby lacks the last commits, and that takes over;
 * these operations go on reaching the old server. */
static void depose(uint32_t misled)
{
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 10000));
    put_all(1);
    assert_true(store_memory_keep(t.store));
    put_all(2);
    store_memory_depose(t.store, t.deposed);
    t.nodes[0].misled = misled;
}

/* All lead to the right one now, and what was acknowledged is there. */
static void assert_recovers(size_t tokens)
{
    t.nodes[0].misled = 0;
    assert_true(troop_until(&t, serves, 0, 20000));
    assert_tokens(tokens);
    troop_crash(&t, 0);
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 700000)); /* alone, it had a long lease */
    assert_tokens(tokens);
}

static void what_it_saves_is_not_acknowledged(void **state)
{
    (void)state;
    depose(1u << STORE_SAVE);
    put_all(3); /* nobody can know yet; they are in memory, too */
    assert_true(troop_until(&t, does_not_serve, 0, 3000));
    troop_run(&t, 3000);
    assert_false(serves(&t, 0)); /* it cannot write again what is missing */
    assert_int_not_equal(put(0, 4), TROUPE_OK);
    assert_recovers(3);
}

static void nothing_that_it_says_counts(void **state)
{
    (void)state;
    depose(~(uint32_t)LEASE_OPS);
    assert_true(troop_until(&t, does_not_serve, 0, 3000));
    troop_run(&t, 3000);
    assert_false(serves(&t, 0));
    assert_recovers(2);
}

/* The first to hear of the new server is not the lease: that one's renewals are worth nothing. */
static void its_lease_is_none(void **state)
{
    (void)state;
    struct runtime_stats before, after;
    depose(LEASE_OPS);
    troop_stats(&t, 0, &before);
    troop_run(&t, 3000);
    assert_true(serves(&t, 0)); /* nothing has told it */
    put(0, 3);
    assert_true(troop_until(&t, does_not_serve, 0, 1000));
    troop_run(&t, 10000);
    assert_false(serves(&t, 0));
    /* … nor is an eviction. */
    assert_true(store_memory_evict(t.deposed, t.nodes[0].name));
    troop_run(&t, 3000);
    t.nodes[0].misled = 0;
    assert_true(troop_until(&t, serves, 0, 20000));
    troop_stats(&t, 0, &after);
    assert_int_equal(after.generation, before.generation);
}

/* ---- what others tell ---- */

static uint32_t owned(uint32_t n)
{
    struct runtime_stats stats;
    troop_stats(&t, n, &stats);
    return stats.partitions_owned;
}

static bool has_half(struct troop *troop, uint32_t n)
{
    return serves(troop, n) && owned(n) > 100 && owned(1 - n) > 100;
}

static bool is_of_n1[BAGS];

/* Two nodes; the standby that takes over has all, and all of n1 goes on leading to the old server,
 * which answers: nothing in that tells it. */
static void depose_for_the_other(void)
{
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 10000));
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_half, 1, 30000));
    put_all(1);
    for (uint32_t bag = 0; bag < BAGS; bag++)
        is_of_n1[bag] = put_at(1, bag, 1).owner[0] == '\0'; /* a retry */
    assert_true(store_memory_keep(t.store));
    store_memory_depose(t.store, t.deposed);
    t.nodes[1].misled = ~(uint32_t)0;
}

static bool has_redialed(struct troop *troop, uint32_t n)
{
    return troop->nodes[n].redials > 0;
}

/* n0, with the new server, tells of it. n1 looks where a new connection leads, goes there before it
 * is evicted, and what it has acknowledged meanwhile is written again. */
static void a_node_that_nothing_breaks_hears_of_it(void **state)
{
    (void)state;
    struct runtime_stats before, after;
    depose_for_the_other();
    t.nodes[1].redials_lead = true;
    troop_stats(&t, 1, &before);
    for (uint32_t bag = 0; bag < BAGS; bag++) {
        if (is_of_n1[bag])
            assert_int_equal(put_at(1, bag, 2).status, TROUPE_OK);
    }
    assert_int_equal(t.nodes[1].redials, 0); /* acknowledged in vain */
    put_all(2);                              /* the rest; of these it is a retry */
    assert_true(troop_until(&t, has_redialed, 1, 3000));
    troop_run(&t, 3000);
    assert_true(serves(&t, 1));
    put_all(3);
    troop_run(&t, 120000);
    troop_stats(&t, 1, &after);
    assert_int_equal(after.generation, before.generation);
    assert_int_equal(after.store_redials, 1); /* there is no more to look for */
    assert_int_equal(t.nodes[0].redials, 0);
    troop_crash(&t, 0);
    troop_crash(&t, 1);
    t.nodes[0].believes = STORE_FATE_BURIED;
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 20000));
    troop_run(&t, 20000);
    assert_tokens(3);
}

/* New connections lead nowhere else: it is looked at less and less often, for as long as it is
 * said, and the node serves. */
static void what_leads_nowhere_is_looked_at_less_and_less(void **state)
{
    (void)state;
    depose_for_the_other();
    assert_true(troop_until(&t, has_redialed, 1, 3000));
    troop_run(&t, 4000);
    assert_int_equal(t.nodes[1].redials, 3);
    assert_true(serves(&t, 1));
    troop_run(&t, 600000);
    assert_in_range(t.nodes[1].redials, 11, 17); /* after 1, 2, 4 … and 60 s each */
    troop_crash(&t, 0);
    troop_run(&t, 120000);
    uint32_t redials = t.nodes[1].redials;
    troop_run(&t, 600000); /* nobody says it any more */
    assert_int_equal(t.nodes[1].redials, redials);
}

/* An epoch that no store has given out: a few looks, and no more. */
static void a_wrong_epoch_costs_a_few_looks(void **state)
{
    (void)state;
    troop_start(&t, 0);
    assert_true(troop_until(&t, serves, 0, 10000));
    t.nodes[0].lies_of_epochs = true;
    troop_start(&t, 1);
    assert_true(troop_until(&t, has_redialed, 1, 30000));
    troop_run(&t, 4000);
    assert_int_equal(t.nodes[1].redials, 3);
    troop_run(&t, 1200000);
    assert_in_range(t.nodes[1].redials, 3, 8);
    assert_int_equal(t.nodes[0].redials, 0);
    assert_true(serves(&t, 0) && serves(&t, 1));
    put_all(1);
    assert_tokens(1);
}

/* It has lost its lease, and the old server confirms it again, while the others say that there is a
 * later one: it does not begin to serve by that. Others have its partitions. */
static void a_node_that_is_told_does_not_begin_with_the_old_one(void **state)
{
    (void)state;
    depose_for_the_other();
    t.nodes[1].store_cut = true;
    assert_true(troop_until(&t, does_not_serve, 1, 8000));
    t.nodes[1].store_cut = false; /* it reaches the old one again */
    for (uint32_t ms = 0; ms < 20000; ms += 10) {
        troop_run(&t, 10);
        assert_false(serves(&t, 1));
    }
    t.nodes[1].redials_lead = true;
    assert_true(troop_until(&t, serves, 1, 8000));
    put_all(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_it_saves_is_not_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_that_it_says_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_lease_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_nothing_breaks_hears_of_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_leads_nowhere_is_looked_at_less_and_less, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_epoch_costs_a_few_looks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_is_told_does_not_begin_with_the_old_one, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests_name("deposed", tests, NULL, NULL);
}
