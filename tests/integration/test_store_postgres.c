/* The Postgres store against a real server: the contract, and what only Postgres can do: go away
 * and come back. */
#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pg_fixture.h"
#include "tests/unit/store_contract_parts.h"

static struct pg_fixture server;
static unsigned databases;

static void pg_create(const struct store_fixture *fixture, char url[CONTRACT_URL_BYTES])
{
    char name[32], sql[64];
    (void)fixture;
    snprintf(name, sizeof name, "t%u", ++databases);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    pg_fixture_sql(&server, "postgres", sql);
    pg_fixture_url(&server, name, url, CONTRACT_URL_BYTES);
}

static void pg_destroy(const struct store_fixture *fixture, const char *url)
{
    char sql[64];
    (void)fixture;
    (void)url;
    snprintf(sql, sizeof sql, "DROP DATABASE t%u WITH (FORCE)", databases);
    pg_fixture_sql(&server, "postgres", sql);
}

static void pg_evict(const struct store_fixture *fixture, const char *url, const char *cluster,
                     const char *name)
{
    char sql[256], database[32];
    (void)fixture;
    (void)url;
    snprintf(database, sizeof database, "t%u", databases);
    snprintf(sql, sizeof sql,
             "UPDATE troupe.node_lease SET state = 2 WHERE name = '%s' AND cluster_id ="
             " (SELECT id FROM troupe.cluster_meta WHERE name = '%s')",
             name, cluster);
    pg_fixture_sql(&server, database, sql);
}

static const struct store_fixture FIXTURE = {
    .name = "postgres",
    .create = pg_create,
    .destroy = pg_destroy,
    .evict = pg_evict,
};

/* Large saves one upon the other fill the socket; libpq then reads answers while it sends, and the
 * socket never says so. None may be left lying there until a timeout. */
static void large_saves_in_a_row_do_not_stall(void **state)
{
    enum { SAVES = 12, ROWS = 1000 };
    static char ids[SAVES][ROWS][8];
    static struct store_row rows[SAVES][ROWS];
    static uint8_t bytes[300];
    struct contract_request q[SAVES];
    struct contract_store s;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    pg_create(&FIXTURE, url);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    uint64_t generation = contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", generation, 5);
    uint64_t start = uv_hrtime();
    for (size_t i = 0; i < SAVES; i++) {
        contract_init(&q[i], STORE_SAVE);
        for (size_t k = 0; k < ROWS; k++) {
            snprintf(ids[i][k], sizeof ids[i][k], "%zu", i * ROWS + k);
            rows[i][k] = contract_row(5, ids[i][k], epoch, 1, "");
            rows[i][k].state = troupe_bytes(bytes, sizeof bytes);
        }
        q[i].r.u.save = (struct store_save){
            .name = "a", .generation = generation, .rows = rows[i], .rows_n = ROWS};
        contract_submit(&s, &q[i]);
    }
    for (size_t i = 0; i < SAVES; i++) {
        assert_int_equal(contract_wait(&s, &q[i]), 0);
        assert_int_equal(q[i].r.u.save.applied, ROWS);
        contract_free(&q[i]);
    }
    assert_true(uv_hrtime() - start <
                UINT64_C(4000000000)); /* a stall ends with a timeout of 6 s */
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

int main(void)
{
    const struct CMUnitTest own[] = {cmocka_unit_test(large_saves_in_a_row_do_not_stall)};
    if (!pg_fixture_open(&server))
        return EXIT_SUCCESS;
    int failed = cmocka_run_group_tests_name("postgres only", own, NULL, NULL);
    failed += store_contract_run(&FIXTURE);
    pg_fixture_close(&server);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
