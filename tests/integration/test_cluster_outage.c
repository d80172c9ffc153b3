/* A cluster whose store goes away for longer than any lease, and comes back: what needs no commit
 * is answered all the while, what needs one fails at its deadline or succeeds afterwards, and
 * nothing that was answered is missing when all have been stopped and started again.
 *
 * TROUPE_OUTAGE_S=60 makes the outage that long (12 s otherwise). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster_load.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    NODES = 3,
    COUNTERS = 600,
    CALL_MS = 5000, /* of calls that need no commit: none may take so long */
    DURABLE_CALL_MS = 2000,
    ACKS = 200,
    ACKS_MS = 60000,
    OUTAGE_S = 12, /* more than two leases */
    OUTAGE_S_MAX = 500,
};

static struct cluster c;
static struct load plain, durable;
static struct pg_fixture pg;
static bool has_pg;

static int set_up(void **state)
{
    (void)state;
    has_pg = pg_fixture_open(&pg);
    if (has_pg)
        cluster_open(&c, &pg, NODES, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (!has_pg)
        return 0;
    load_close(&plain);
    load_close(&durable);
    cluster_close(&c);
    pg_fixture_close(&pg);
    return 0;
}

static long outage_s(void)
{
    const char *text = getenv("TROUPE_OUTAGE_S");
    long s = text == NULL ? OUTAGE_S : strtol(text, NULL, 10);
    assert_in_range(s, 1, OUTAGE_S_MAX);
    return s;
}

static bool is_over(struct cluster *cluster, void *data)
{
    (void)cluster;
    return proc_now_ms() >= *(const long *)data;
}

static void start_under_load(void)
{
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_open(&plain, &c, "m", COUNTERS, false, CALL_MS);
    load_open(&durable, &c, "d", COUNTERS, true, DURABLE_CALL_MS);
    load_start(&plain);
    load_start(&durable);
    load_wait_acks(&plain, &c, ACKS, ACKS_MS);
    load_wait_acks(&durable, &c, ACKS, ACKS_MS);
}

static void lose_the_store(long s)
{
    unsigned long plain_acks = atomic_load(&plain.acks), durable_acks = atomic_load(&durable.acks);
    long until_ms = proc_now_ms() + s * 1000;
    pg_fixture_stop(&pg, SIGQUIT);
    cluster_wait(&c, is_over, &until_ms, (int)s * 2000);
    printf("figure: the store was away for %ld s: %lu calls without a commit answered, %lu failed, "
           "the slowest batch took %lu ms; of durable ones %lu answered, %lu UNAVAILABLE\n",
           s, atomic_load(&plain.acks) - plain_acks, atomic_load(&plain.failures),
           atomic_load(&plain.longest_ms), atomic_load(&durable.acks) - durable_acks,
           atomic_load(&durable.refusals));
    assert_true(atomic_load(&plain.acks) - plain_acks > (unsigned long)(ACKS * s));
    pg_fixture_start(&pg);
}

static void an_outage_costs_nothing_that_was_answered(void **state)
{
    (void)state;
    if (!has_pg)
        skip();
    start_under_load();
    lose_the_store(outage_s());
    load_wait_acks(&durable, &c, ACKS, ACKS_MS);
    load_wait_acks(&plain, &c, ACKS, ACKS_MS);
    load_stop(&durable);
    load_stop(&plain);
    load_assert_no_failure(&plain);
    load_assert_only_unavailable(&durable);
    assert_true(atomic_load(&durable.refusals) > 0);
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(cluster_stop(&c, i), 0);
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_verify(&plain);
    load_verify(&durable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_outage_costs_nothing_that_was_answered, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
