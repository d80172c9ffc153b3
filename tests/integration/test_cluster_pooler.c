/* Clusters whose nodes reach their database through a pooler in transaction mode, as
 * docs/store-postgres.md says; and what a pooler makes of a commit whose answer it has lost: it
 * says FATAL, and means "I do not know". */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster_load.h"
#include "pooler_fixture.h"
#include "wire_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    NODES = 2,
    COUNTERS = 400,
    CALL_MS = 30000,
    ACKS = 200,
    ACKS_MS = 90000,
    POOL = 10,
    CUTS_MS = 90000,
};

static struct cluster c;
static struct load plain, durable;
static struct pg_fixture pg;
static struct pooler_fixture pooler;
static struct wire_fixture wire;
static bool is_there;

static int set_up(void **state)
{
    (void)state;
    is_there = pg_fixture_open(&pg);
    if (!is_there)
        return 0;
    wire_fixture_open(&wire, pg.dir);
    is_there = pooler_fixture_open(&pooler, wire.dir, POOL);
    if (!is_there)
        return 0;
    cluster_open(&c, &pg, NODES, false);
    char database[64];
    assert_int_equal(sscanf(c.store, "postgresql://postgres@/%63[^?]", database), 1);
    pooler_fixture_url(&pooler, database, c.store, sizeof c.store);
    for (size_t i = 0; i < NODES; i++) {
        c.nodes[i].args[0] = "--prepared-statements";
        c.nodes[i].args[1] = "off";
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    load_close(&plain);
    load_close(&durable);
    cluster_close(&c);
    pooler_fixture_close(&pooler);
    wire_fixture_close(&wire);
    if (pg.dir[0] != '\0')
        pg_fixture_close(&pg);
    return 0;
}

static bool is_cut(struct cluster *cluster, void *data)
{
    (void)cluster;
    return wire_fixture_left(data) == 0;
}

static void wait_for_cuts(const char *what)
{
    if (cluster_wait(&c, is_cut, &wire, CUTS_MS))
        return;
    cluster_show(&c);
    fail_msg("%u answers to a %s were to be cut, and did not come", wire_fixture_left(&wire), what);
}

/* ---- a session that nobody has ---- */

static void two_nodes_and_a_restart_behind_a_pooler(void **state)
{
    (void)state;
    if (!is_there)
        skip();
    cluster_start(&c, 0);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    cluster_start(&c, 1);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_open(&durable, &c, "d", COUNTERS, true, CALL_MS);
    load_start(&durable);
    load_wait_acks(&durable, &c, ACKS, ACKS_MS);
    assert_int_equal(cluster_stop(&c, 0), 0);
    cluster_start(&c, 0);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_wait_acks(&durable, &c, ACKS, ACKS_MS);
    load_stop(&durable);
    load_assert_no_failure(&durable);
    load_verify(&durable);
}

/* ---- commits whose answers are lost ---- */

static void load_both(void)
{
    load_open(&plain, &c, "m", COUNTERS, false, CALL_MS);
    load_open(&durable, &c, "d", COUNTERS, true, CALL_MS);
    load_start(&plain);
    load_start(&durable);
    load_wait_acks(&durable, &c, ACKS, ACKS_MS);
}

static void verify_both(void)
{
    load_stop(&plain);
    load_stop(&durable);
    load_assert_no_failure(&plain);
    load_assert_no_failure(&durable);
    load_verify(&plain);
    load_verify(&durable);
}

/* Each kind of write: first of those by which a node starts, then of those under load. Increments
 * that were acknowledged from memory are there, too: no process has died. */
static void a_lost_answer_to_a_commit_loses_no_increment(void **state)
{
    (void)state;
    if (!is_there)
        skip();
    wire_fixture_cut(&wire, "troupe.node_register", 1);
    wire_fixture_cut(&wire, "troupe.partition_claim", 1);
    cluster_start(&c, 0);
    wait_for_cuts("registration and a claim");
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_both();
    wire_fixture_cut(&wire, "INSERT INTO troupe.entity", 3);
    wait_for_cuts("save");
    load_wait_acks(&durable, &c, ACKS, ACKS_MS);
    wire_fixture_cut(&wire, "troupe.partition_transfer", 3);
    cluster_start(&c, 1);
    wait_for_cuts("transfer");
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_wait_acks(&plain, &c, ACKS, ACKS_MS);
    load_wait_acks(&durable, &c, ACKS, ACKS_MS);
    verify_both();

    wire_fixture_cut(&wire, "troupe.node_evict", 1);
    cluster_kill(&c, 0);
    wait_for_cuts("eviction");
    cluster_wait_agreed(&c, CLUSTER_TAKEOVER_MS);
    wire_fixture_cut(&wire, "troupe.partition_transfer", 2);
    cluster_start(&c, 0);
    wait_for_cuts("transfer");
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_verify(&durable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_nodes_and_a_restart_behind_a_pooler, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_answer_to_a_commit_loses_no_increment, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
