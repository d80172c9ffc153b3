/* Clusters in good times: nodes find each other, share the partitions, take in another node and let
 * one go, all under load, on either store. Calls must not notice. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_load.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    NODES = 3,
    ENTITIES = 256,
    RESIDENT = 20000,
    CALL_MS = 10000,
    ACKS = 500, /* of the load, between two events */
    ACKS_MS = 60000,
};

static struct cluster c;
static struct load load;
static struct pg_fixture pg;
static bool has_pg;

static int open_group(void **state)
{
    (void)state;
    has_pg = pg_fixture_open(&pg);
    return 0;
}

static int close_group(void **state)
{
    (void)state;
    if (has_pg)
        pg_fixture_close(&pg);
    return 0;
}

/* *state is the store's name. */
static int set_up(void **state)
{
    bool postgres = strcmp(*state, "postgres") == 0;
    if (!postgres || has_pg)
        cluster_open(&c, postgres ? &pg : NULL, NODES, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    load_close(&load);
    load = (struct load){0};
    cluster_close(&c);
    return 0;
}

static void skip_without_store(void)
{
    if (c.n == 0)
        skip();
}

/* ---- nodes that find each other ---- */

/* Increments of the same entities by way of each node: each sees what the ones before have done. */
static void call_by_way_of(size_t i)
{
    struct cluster_node *n = &c.nodes[i];
    troupe_batch_reset(n->batch);
    for (int k = 0; k < ENTITIES; k++) {
        char id[16];
        snprintf(id, sizeof id, "%d", k);
        assert_int_equal(troupe_batch_add(n->batch, troupe_bytes_of("counter"), troupe_bytes_of(id),
                                          troupe_bytes_of("incr"), (struct troupe_bytes){0},
                                          TROUPE_ACK_MEMORY, 0),
                         0);
    }
    assert_int_equal(troupe_batch_send_wait(n->batch, CALL_MS), 0);
    for (int k = 0; k < ENTITIES; k++) {
        const struct troupe_call_result *r = troupe_batch_result(n->batch, (size_t)k);
        uint64_t value;
        if (r->status != TROUPE_OK)
            fail_msg("counter/%d by way of %s: %s %.*s", k, n->name, troupe_status_name(r->status),
                     (int)r->message.len, (const char *)r->message.data);
        assert_true(load_read_value(r->payload, &value));
        assert_int_equal(value, i + 1);
    }
}

static void nodes_find_each_other(void **state)
{
    struct figures agreed = {0};
    char what[64];
    skip_without_store();
    long start_ms = proc_now_ms();
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    figures_add(&agreed, proc_now_ms() - start_ms);
    snprintf(what, sizeof what, "3 nodes started at once agree, %s", (const char *)*state);
    figures_print(&agreed, what);
    cluster_assert_balanced(&c);
    for (size_t i = 0; i < NODES; i++)
        call_by_way_of(i);
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(cluster_stop(&c, i), 0);
}

/* ---- a node that joins ---- */

static void a_node_joins_under_load(void **state)
{
    struct figures joined = {0};
    char what[64];
    skip_without_store();
    cluster_start(&c, 0);
    cluster_start(&c, 1);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_open(&load, &c, "j", RESIDENT, false, CALL_MS);
    load_start(&load);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    long start_ms = proc_now_ms();
    cluster_start(&c, 2);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    figures_add(&joined, proc_now_ms() - start_ms);
    snprintf(what, sizeof what, "a node joins, %d counters, %s", RESIDENT, (const char *)*state);
    figures_print(&joined, what);
    cluster_assert_balanced(&c);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    load_stop(&load);
    printf("the slowest batch during the join took %lu ms\n", atomic_load(&load.longest_ms));
    Troupe__Rpc__NodeStatus *s = cluster_status(&c, 2, CALL_MS);
    assert_non_null(s);
    printf("the new node has %llu resident, and has loaded %llu rows\n",
           (unsigned long long)s->entities_resident, (unsigned long long)s->rows_loaded);
    assert_true(s->entities_resident > RESIDENT / NODES / 2);
    assert_true(s->rows_loaded < RESIDENT / NODES / 20);
    cluster_free_message(s);
    load_assert_no_failure(&load);
    load_verify(&load);
}

/* ---- nodes that go ---- */

static void start_under_load(void)
{
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_open(&load, &c, "d", 2000, false, CALL_MS);
    load_start(&load);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
}

static void end_load(void)
{
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    load_stop(&load);
    printf("%lu increments acknowledged; the slowest batch took %lu ms\n", atomic_load(&load.acks),
           atomic_load(&load.longest_ms));
    load_assert_no_failure(&load);
    load_verify(&load);
}

static void all_restart_in_turn_under_load(void **state)
{
    struct figures stops = {0};
    char what[64];
    skip_without_store();
    start_under_load();
    for (size_t i = 0; i < NODES; i++) {
        long start_ms = proc_now_ms();
        assert_int_equal(cluster_stop(&c, i), 0);
        figures_add(&stops, proc_now_ms() - start_ms);
        cluster_start(&c, i);
        cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
        load_wait_acks(&load, &c, ACKS, ACKS_MS);
    }
    snprintf(what, sizeof what, "a node hands over and exits, %s", (const char *)*state);
    figures_print(&stops, what);
    end_load();
}

#define ON(store, f)                                                                               \
    {                                                                                              \
        store ": " #f, f, set_up, tear_down, (void *)(uintptr_t)store                              \
    }

/* An argument is a pattern of the tests to run. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ON("sqlite", nodes_find_each_other),
        ON("postgres", nodes_find_each_other),
        ON("sqlite", a_node_joins_under_load),
        ON("postgres", a_node_joins_under_load),
        ON("sqlite", all_restart_in_turn_under_load),
        ON("postgres", all_restart_in_turn_under_load),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_group, close_group);
}
