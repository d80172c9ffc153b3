/* Whole clusters that die, on both stores: a node that is back on the same machine, under its own
 * name or under another one, sees that all the others have ended, and has everything at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cluster_load.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    NODES = 3,
    COUNTERS = 64,
    COUNT_MS = 60000,
    BACK_MS = 12000, /* of a busy machine; outage-grace is 10 min, a lease 5 s */
};

static struct cluster c;
static struct pg_fixture pg;

static int tear_down(void **state)
{
    (void)state;
    cluster_close(&c);
    pg_fixture_close(&pg);
    return 0;
}

/* Every counter once, by way of node i. How many were answered; the first that was not, in why. */
static size_t count(size_t i, const char *method, uint64_t value, uint32_t timeout_ms,
                    char why[512])
{
    struct troupe_batch *batch = c.nodes[i].batch;
    char id[16];
    size_t n = 0;
    troupe_batch_reset(batch);
    for (unsigned k = 0; k < COUNTERS; k++) {
        snprintf(id, sizeof id, "k%u", k);
        assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("counter"), troupe_bytes_of(id),
                                          troupe_bytes_of(method), (struct troupe_bytes){0},
                                          TROUPE_ACK_MEMORY, 0),
                         0);
    }
    if (troupe_batch_send_wait(batch, timeout_ms) != 0)
        return 0;
    for (unsigned k = 0; k < COUNTERS; k++) {
        const struct troupe_call_result *r = troupe_batch_result(batch, k);
        uint64_t got = 0;
        if (r->status == TROUPE_OK) {
            assert_true(load_read_value(r->payload, &got));
            assert_int_equal(got, value);
            n++;
        } else if (n == k) {
            snprintf(why, 512, "%s: %.*s", troupe_status_name(r->status), (int)r->message.len,
                     (const char *)r->message.data);
        }
    }
    return n;
}

static void count_all(size_t i, const char *method, uint64_t value, uint32_t timeout_ms)
{
    char why[512] = "";
    size_t n = count(i, method, value, timeout_ms, why);
    if (n < COUNTERS) {
        cluster_show(&c);
        fail_msg("%zu of %d counters answered; %s", n, COUNTERS, why);
    }
}

/* False: there is no Postgres here. */
static bool open_cluster(bool postgres, size_t n)
{
    if (postgres && !pg_fixture_open(&pg))
        return false;
    cluster_open(&c, postgres ? &pg : NULL, NODES, false);
    for (size_t i = 0; i < n; i++)
        cluster_start(&c, i);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    count_all(0, "incr_durable", 1, COUNT_MS);
    return true;
}

/* n of them have run; node `back` is the only one that comes back, or that begins. */
static void one_is_back(bool postgres, size_t n, size_t back)
{
    if (!open_cluster(postgres, n))
        skip();
    for (size_t i = 0; i < n; i++)
        cluster_kill(&c, i);
    cluster_start(&c, back);
    long begun_ms = proc_now_ms();
    count_all(back, "read", 1, BACK_MS);
    printf("figure: n%zu of %zu is back, %s: all answered after %ld ms\n", back + 1, n,
           postgres ? "Postgres" : "SQLite", proc_now_ms() - begun_ms);
    assert_int_equal(cluster_stop(&c, back), 0);
}

static void one_of_three_sqlite(void **state)
{
    (void)state;
    one_is_back(false, NODES, 1);
}

static void one_of_three_postgres(void **state)
{
    (void)state;
    one_is_back(true, NODES, 1);
}

/* A container's name is another one each time. */
static void another_name_sqlite(void **state)
{
    (void)state;
    one_is_back(false, 1, 2);
}

static void another_name_postgres(void **state)
{
    (void)state;
    one_is_back(true, 1, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_of_three_sqlite, tear_down),
        cmocka_unit_test_teardown(one_of_three_postgres, tear_down),
        cmocka_unit_test_teardown(another_name_sqlite, tear_down),
        cmocka_unit_test_teardown(another_name_postgres, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
