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

static uint64_t clock_ms(void *data)
{
    (void)data;
    return t.now.wall_ms;
}

static int set_up(void **state)
{
    (void)state;
    char errmsg[STORE_ERRMSG_BYTES];
    struct store_options options = {.url = "memory:", .cluster = "troop", .partitions = 256};
    troop_open(&t, kinds, 1);
    t.trace = getenv("TROUPE_SIM_LOG") != NULL;
    assert_int_equal(store_open(&t.deposed, &options, errmsg), 0);
    store_memory_set_clock(t.deposed, clock_ms, NULL);
    return 0;
}

static void closed(void *data)
{
    (void)data;
}

static int tear_down(void **state)
{
    (void)state;
    struct store *deposed = t.deposed;
    troop_close(&t);
    store_close(deposed, closed, NULL);
    store_memory_poll(deposed, SIZE_MAX);
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

static enum troupe_status put(uint32_t bag, uint64_t token)
{
    char id[16];
    snprintf(id, sizeof id, "b%u", bag);
    token |= (uint64_t)bag << 32;
    return troop_call(&t, 0, "bag", id, "put", troupe_bytes(&token, sizeof token), token, 2000)
        .status;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_it_saves_is_not_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_that_it_says_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_lease_is_none, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("deposed", tests, NULL, NULL);
}
