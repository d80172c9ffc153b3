/* The Postgres store against real servers in doubt: a session that is ended while it writes, a
 * commit that no standby has, a primary that turns read-only, a pooler's session. What the store
 * says must be what the server knows. */
#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "pg_fixture.h"
#include "pooler_fixture.h"
#include "storage/postgres/postgres.h"
#include "tests/unit/store_contract_parts.h"

extern const size_t store_postgres_migrations_n;

static struct pg_fixture server;
static const struct store_fixture FIXTURE = {.name = "postgres"};

static void make_database(const char *name, char url[CONTRACT_URL_BYTES])
{
    char sql[64];
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    pg_fixture_sql(&server, "postgres", sql);
    pg_fixture_url(&server, name, url, CONTRACT_URL_BYTES);
}

static void report(void *data, const char *line)
{
    (void)data;
    assert_non_null(strstr(line, "up to date"));
}

static struct pg_store *pg_of(const struct contract_store *s)
{
    return (struct pg_store *)(void *)s->store;
}

/* Until the query is true; the request, if there is one, must be under way all the time. */
static void wait_until(struct contract_store *s, const struct contract_request *q, const char *sql)
{
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    while (!pg_fixture_is(&server, "postgres", sql)) {
        contract_turn(s);
        if (q != NULL && q->done)
            fail_msg("it is done: %d %s", q->r.error, q->r.errmsg);
        if (uv_hrtime() >= deadline)
            fail_msg("it does not become true: %s", sql);
    }
}

static PGconn *hold(const char *url, const char *sql)
{
    char all[256];
    PGconn *pg = PQconnectdb(url);
    snprintf(all, sizeof all, "BEGIN; %s", sql);
    PGresult *result = PQexec(pg, all);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
    return pg;
}

static void begin_claim(struct contract_store *s, struct contract_request *q, const store_pid *pid)
{
    contract_init(q, STORE_CLAIM);
    q->r.u.claim = (struct store_claim){.name = "a", .generation = 1, .pids = pid, .pids_n = 1};
    contract_submit(s, q);
}

/* ---- whose word it is ---- */

/* "Terminating connection due to administrator command" may come after a commit as well as before
 * it; "canceling statement due to lock timeout" comes before. */
static void an_ended_session_leaves_doubt_and_a_lock_timeout_none(void **state)
{
    static const store_pid PID = 5;
    struct contract_store s;
    struct contract_request q;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    make_database("ended", url);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    PGconn *other = hold(url, "SELECT FROM troupe.partition WHERE pid = 5 FOR UPDATE");
    begin_claim(&s, &q, &PID);
    wait_until(&s, &q, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted");
    pg_fixture_sql(&server, "postgres",
                   "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted");
    assert_int_equal(contract_wait(&s, &q), TROUPE_EOUTCOME);
    contract_free(&q);

    begin_claim(&s, &q, &PID);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
    assert_non_null(strstr(q.r.errmsg, "55P03"));
    contract_free(&q);
    PQfinish(other);
    assert_true(contract_must_claim(&s, "a", 1, PID) > 0);
    contract_close(&s);
}

/* The server's messages are German: LANGUAGE, see main. */
static void a_commit_without_standbys_is_in_doubt_in_any_language(void **state)
{
    struct contract_store s;
    struct contract_request q;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    make_database("alone", url);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    pg_fixture_sql(&server, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    pg_fixture_sql(&server, "postgres", "SELECT pg_reload_conf()");
    wait_until(&s, NULL, "SELECT current_setting('synchronous_standby_names') = 'nobody'");

    struct store_row row = contract_row(5, "x", epoch, 1, "one");
    contract_init(&q, STORE_SAVE);
    q.r.u.save = (struct store_save){.name = "a", .generation = 1, .rows = &row, .rows_n = 1};
    contract_submit(&s, &q);
    wait_until(&s, &q, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    pg_fixture_sql(&server, "postgres",
                   "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event ="
                   " 'SyncRep'");
    int rc = contract_wait(&s, &q);
    pg_fixture_sql(&server, "postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    pg_fixture_sql(&server, "postgres", "SELECT pg_reload_conf()");
    assert_int_equal(rc, TROUPE_EOUTCOME);
    assert_non_null(strstr(q.r.errmsg, "replicated"));
    contract_free(&q);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    contract_close(&s);
}

/* The role's own limits and habits are not ours: what is acknowledged is on disk. */
static void every_transaction_sets_what_it_relies_on(void **state)
{
    static const store_pid PID = 5;
    struct contract_store s;
    struct contract_request q;
    struct pooler_fixture pooler;
    char url[CONTRACT_URL_BYTES], errmsg[STORE_ERRMSG_BYTES];
    (void)state;
    if (!pooler_fixture_open(&pooler, server.dir, 2))
        skip();
    make_database("pooled", url);
    pg_fixture_sql(&server, "postgres", "ALTER DATABASE pooled SET lock_timeout = 0");
    pg_fixture_sql(&server, "postgres", "ALTER DATABASE pooled SET synchronous_commit = off");
    PGconn *direct = PQconnectdb(url);
    pooler_fixture_url(&pooler, "pooled", url, sizeof url);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    pg_of(&s)->prepare = false; /* before anything was sent */
    contract_must_register(&s, "a", 1);
    PQclear(PQexec(direct, "BEGIN; SELECT FROM troupe.partition WHERE pid = 5 FOR UPDATE"));
    begin_claim(&s, &q, &PID);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
    assert_non_null(strstr(q.r.errmsg, "55P03")); /* the lock's limit, and not the statement's */
    contract_free(&q);
    PQfinish(direct);

    /* Another client of the pooler finds its sessions as they were. */
    PGconn *other = PQconnectdb(url);
    for (int i = 0; i < 4; i++) {
        PGresult *result = PQexec(other, "SELECT current_setting('lock_timeout'),"
                                         " current_setting('statement_timeout'),"
                                         " current_setting('synchronous_commit'),"
                                         " (SELECT count(*) FROM pg_locks WHERE locktype ="
                                         " 'advisory')");
        assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
        assert_string_equal(PQgetvalue(result, 0, 0), "0");
        assert_string_equal(PQgetvalue(result, 0, 1), "0");
        assert_string_equal(PQgetvalue(result, 0, 2), "off");
        assert_string_equal(PQgetvalue(result, 0, 3), "0");
        PQclear(result);
    }
    PQfinish(other);
    assert_int_equal(store_migrate(url, false, report, NULL, errmsg), 0);
    contract_close(&s);
    pooler_fixture_close(&pooler);
}

/* ---- the schema ---- */

enum { STARTERS = 4 };

struct starter {
    uv_thread_t thread;
    const char *url;
    int rc;
    unsigned steps; /* that it applied itself */
    char errmsg[STORE_ERRMSG_BYTES];
};

static void count_step(void *data, const char *line)
{
    struct starter *starter = data;
    starter->steps += strstr(line, "applied") != NULL;
}

static void start(void *data)
{
    struct starter *starter = data;
    starter->rc =
        store_postgres_migrate_if_empty(starter->url, count_step, starter, starter->errmsg);
}

/* Each finds the whole schema afterwards, and one of them has made it. */
static void nodes_that_start_together_make_one_schema(void **state)
{
    struct starter starters[STARTERS];
    char url[CONTRACT_URL_BYTES];
    unsigned makers = 0;
    (void)state;
    make_database("together", url);
    for (int i = 0; i < STARTERS; i++) {
        starters[i] = (struct starter){.url = url};
        assert_int_equal(uv_thread_create(&starters[i].thread, start, &starters[i]), 0);
    }
    for (int i = 0; i < STARTERS; i++)
        uv_thread_join(&starters[i].thread);
    for (int i = 0; i < STARTERS; i++) {
        if (starters[i].rc != 0)
            fail_msg("%s", starters[i].errmsg);
        assert_true(starters[i].steps == 0 || starters[i].steps == store_postgres_migrations_n);
        makers += starters[i].steps > 0;
    }
    assert_int_equal(makers, 1);
}

/* A pooler may have kept the lock of a session that is long gone. */
static void a_schema_that_is_up_to_date_needs_no_lock(void **state)
{
    char url[CONTRACT_URL_BYTES], errmsg[STORE_ERRMSG_BYTES];
    struct starter starter = {0};
    (void)state;
    make_database("ready", url);
    assert_int_equal(store_migrate(url, false, count_step, &starter, errmsg), 0);
    assert_int_equal(starter.steps, store_postgres_migrations_n);
    PGconn *other = hold(url, "SELECT pg_advisory_lock(hashtext('troupe.migrate'))");
    PQclear(PQexec(other, "COMMIT")); /* the session's, all the same */
    char impatient[CONTRACT_URL_BYTES + 64];
    snprintf(impatient, sizeof impatient, "%s&options=-clock_timeout%%3D2s", url);
    starter = (struct starter){.url = impatient};
    start(&starter);
    if (starter.rc != 0)
        fail_msg("%s", starter.errmsg);
    if (store_migrate(impatient, false, report, NULL, errmsg) != 0)
        fail_msg("%s", errmsg);
    PQfinish(other);
}

/* ---- two hosts ---- */

static void assert_saves(struct contract_store *s, struct store_row row)
{
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    struct contract_request q;
    int rc;
    do {
        contract_init(&q, STORE_SAVE);
        q.r.u.save = (struct store_save){.name = "a", .generation = 1, .rows = &row, .rows_n = 1};
        contract_submit(s, &q);
        rc = contract_wait(s, &q);
        if (uv_hrtime() >= deadline)
            fail_msg("%d %s", rc, q.r.errmsg);
        contract_free(&q);
    } while (rc != 0);
}

/* Its connections stay, and would lead to it for ever. Those that only read, too. */
static void a_primary_that_turns_read_only_is_left(void **state)
{
    struct contract_store s;
    struct contract_request q;
    struct pg_fixture standby;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    make_database("two", url);
    pg_fixture_follow(&standby, &server);
    snprintf(url, sizeof url, "postgresql://postgres@/two?host=%s,%s", server.dir, standby.dir);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    assert_saves(&s, contract_row(5, "x", epoch, 1, "one"));
    wait_until(&s, NULL,
               "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication LIMIT 1");

    pg_fixture_sql(&standby, "postgres", "SELECT pg_promote()");
    pg_fixture_sql(&server, "postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    pg_fixture_sql(&server, "postgres", "SELECT pg_reload_conf()");
    wait_until(&s, NULL, "SELECT current_setting('default_transaction_read_only') = 'on'");
    assert_saves(&s, contract_row(5, "x", epoch, 2, "two"));
    assert_true(pg_fixture_is(&standby, "two", "SELECT version = 2 FROM troupe.entity"));
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    contract_free(&q);
    for (unsigned i = 0; i < pg_of(&s)->conns_n; i++) {
        const struct pg_conn *c = &pg_of(&s)->conns[i];
        if (c->state == PG_READY) /* one that is being opened asks the first host first */
            assert_string_equal(PQhost(c->pg), standby.dir);
    }
    contract_close(&s);
    pg_fixture_close(&standby);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ended_session_leaves_doubt_and_a_lock_timeout_none),
        cmocka_unit_test(a_commit_without_standbys_is_in_doubt_in_any_language),
        cmocka_unit_test(every_transaction_sets_what_it_relies_on),
        cmocka_unit_test(nodes_that_start_together_make_one_schema),
        cmocka_unit_test(a_schema_that_is_up_to_date_needs_no_lock),
        cmocka_unit_test(a_primary_that_turns_read_only_is_left), /* last: it deposes the server */
    };
    setenv("LANGUAGE", "de", 1); /* of the servers' messages, with the locale that they have */
    if (!pg_fixture_open(&server))
        return EXIT_SUCCESS;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_fixture_close(&server);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
