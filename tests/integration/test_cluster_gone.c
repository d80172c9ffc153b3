/* Whole clusters that die, on both stores: a node that is back on the same machine, under its own
 * name or under another one, sees that all the others have ended, and has everything at once. Where
 * nothing proves that, it says for whom it waits, until an operator evicts them. */
#include <glob.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* ---- without proof ---- */

enum { TOLD_MS = 30000 };

static struct proc cli;

static int tear_down_cli(void **state)
{
    proc_close(&cli);
    return tear_down(state);
}

static int run_cli(size_t node, const char *const *words)
{
    char at[96];
    const char *argv[8] = {TEST_CLI};
    for (int n = 0; words[n] != NULL; n++)
        argv[n + 1] = words[n];
    snprintf(at, sizeof at, "TROUPE_NODE=%s", c.nodes[node].address);
    proc_close(&cli);
    proc_start(&cli, &(struct proc_options){.argv = argv, .env = (const char *const[]){at, NULL}});
    int code = proc_wait_exit(&cli, TOLD_MS);
    proc_has_line(&cli, "");
    return code;
}

#define RUN(node, ...) run_cli(node, (const char *const[]){__VA_ARGS__, NULL})

/* As of a node on a machine that is lost: neither its row nor a lock tells of it. */
static void forget_proofs(bool postgres)
{
    glob_t found;
    char pattern[128], database[64];
    if (postgres) {
        const char *name = strstr(c.store, "@/") + 2;
        snprintf(database, sizeof database, "%.*s", (int)strcspn(name, "?"), name);
        pg_fixture_sql(&pg, database, "UPDATE troupe.node_lease SET proof = ''");
        return;
    }
    sqlite3 *db;
    assert_int_equal(sqlite3_open(strchr(c.store, ':') + 1, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE node_lease SET proof = ''", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    snprintf(pattern, sizeof pattern, "%.80s/troupe.db-run-*", c.dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        assert_int_equal(unlink(found.gl_pathv[i]), 0);
    globfree(&found);
}

static bool tells(struct cluster *cluster, void *data)
{
    return proc_has_line(&cluster->nodes[2].proc, data);
}

/* n1 was all there was, and n3 is new. */
static void a_lost_machine(bool postgres)
{
    char why[512] = "", waits[] = "partitions wait for a node that is silent",
         ready[] = "msg=ready";
    cli = (struct proc){.out = -1};
    if (!open_cluster(postgres, 1))
        skip();
    cluster_kill(&c, 0);
    forget_proofs(postgres);
    cluster_start(&c, 2);
    assert_true(cluster_wait(&c, tells, waits, TOLD_MS));
    assert_int_equal(count(2, "read", 1, 2000, why), 0);
    if (strstr(why, "with node n1") == NULL || strstr(why, "`troupe evict n1`") == NULL)
        fail_msg("the call says: %s", why);
    assert_int_equal(RUN(2, "status"), 1);
    if (!proc_has_line(&cli, "4,096 partitions wait for n1, which is silent"))
        fail_msg("status says:\n%s", cli.log);
    assert_false(proc_has_line(&c.nodes[2].proc, ready));
    assert_int_equal(RUN(2, "evict", "--yes", "n1"), 0);
    count_all(2, "read", 1, BACK_MS);
    assert_true(cluster_wait(&c, tells, ready, TOLD_MS));
    assert_int_equal(RUN(2, "status"), 0);
    assert_int_equal(cluster_stop(&c, 2), 0);
}

static void a_lost_machine_sqlite(void **state)
{
    (void)state;
    a_lost_machine(false);
}

static void a_lost_machine_postgres(void **state)
{
    (void)state;
    a_lost_machine(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_of_three_sqlite, tear_down),
        cmocka_unit_test_teardown(one_of_three_postgres, tear_down),
        cmocka_unit_test_teardown(another_name_sqlite, tear_down),
        cmocka_unit_test_teardown(another_name_postgres, tear_down),
        cmocka_unit_test_teardown(a_lost_machine_sqlite, tear_down_cli),
        cmocka_unit_test_teardown(a_lost_machine_postgres, tear_down_cli),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
