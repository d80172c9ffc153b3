/* The Postgres store against a real server: the contract, and what only Postgres can do: go away
 * and come back. */
#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pg_fixture.h"
#include "storage/migration.h"
#include "storage/postgres/postgres.h"
#include "tests/unit/store_contract_parts.h"

extern const struct store_migration store_postgres_migrations[];

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

static void pg_set_back(const struct store_fixture *fixture, const char *url, const char *cluster,
                        const char *name, uint64_t ms)
{
    char sql[256], database[32];
    (void)fixture;
    (void)url;
    snprintf(database, sizeof database, "t%u", databases);
    snprintf(sql, sizeof sql,
             "UPDATE troupe.node_lease SET renewed_at = renewed_at + %llu * interval '1 ms'"
             " WHERE name = '%s' AND cluster_id ="
             " (SELECT id FROM troupe.cluster_meta WHERE name = '%s')",
             (unsigned long long)ms, name, cluster);
    pg_fixture_sql(&server, database, sql);
}

static const struct store_fixture FIXTURE = {
    .name = "postgres",
    .create = pg_create,
    .destroy = pg_destroy,
    .evict = pg_evict,
    .set_back = pg_set_back,
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

/* A database that the first version made, with a node, an owner and an entity in it. */
static void make_first_version(const char *database)
{
    pg_fixture_sql(&server, database,
                   "CREATE SCHEMA troupe; CREATE TABLE troupe.schema_version (version int PRIMARY"
                   " KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());"
                   "INSERT INTO troupe.schema_version VALUES (1, '0001_tables')");
    pg_fixture_sql(&server, database, store_postgres_migrations[0].sql);
    pg_fixture_sql(&server, database,
                   "SELECT troupe.node_register('c', 256, 'a', 7, 'a:1', '', 60000, false, 0, 0);"
                   "SELECT troupe.partition_claim('c', 'a', 1, ARRAY[5]);"
                   "INSERT INTO troupe.entity SELECT 1, 5, 'k', 'x', epoch, 1, false, 'A', ''"
                   " FROM troupe.partition WHERE pid = 5");
}

static void assert_recent(struct contract_store *s, store_pid pid, size_t n)
{
    struct contract_request q;
    assert_int_equal(contract_recent(s, &q, &pid), 0);
    assert_int_equal(q.r.u.recent.saved_n, n);
    contract_free(&q);
}

/* It is brought up to date; and the program that made it goes on beside the new one. */
static void a_database_of_the_first_version_is_brought_up_to_date(void **state)
{
    struct contract_store s;
    struct contract_request q;
    char url[CONTRACT_URL_BYTES], database[32];
    (void)state;
    pg_create(&FIXTURE, url);
    snprintf(database, sizeof database, "t%u", databases);
    make_first_version(database);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    uint64_t epoch = q.r.u.load.rows[0].epoch;
    contract_free(&q);
    assert_recent(&s, 5, 0);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 2, "new")), 1);
    assert_recent(&s, 5, 1);
    contract_must_claim(&s, "a", 1, 6);

    pg_fixture_sql(&server, database,
                   "INSERT INTO troupe.entity AS e (cluster_id, pid, kind, id, epoch, version,"
                   " deleted, state, dedup) SELECT 1, 5, 'k', 'y', epoch, 1, false, 'A', ''"
                   " FROM troupe.partition WHERE pid = 5 ON CONFLICT (cluster_id, pid, kind, id)"
                   " DO UPDATE SET version = excluded.version");
    assert_recent(&s, 5, 1);
    pg_fixture_sql(&server, database,
                   "SELECT troupe.node_register('c', 256, 'old', 8, 'old:1', 'p', 60000, false, 0,"
                   " 0); SELECT troupe.partition_claim('c', 'old', 1, ARRAY[6, 7])");
    assert_int_equal(contract_owners(&s, &q), 0);
    const struct store_owners *map = &q.r.u.owners;
    assert_string_equal(map->nodes[map->owners[6].node].name, "a");
    const struct store_node *old = &map->nodes[map->owners[7].node];
    assert_string_equal(old->name, "old");
    assert_string_equal(old->addr, "old:1");
    assert_string_equal(old->gossip, "");
    assert_string_equal(old->proof, "p");
    contract_free(&q);
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

/* A node says at its start that the schema is too old, and not with its first save. */
static void an_older_schema_is_refused(void **state)
{
    struct contract_store s;
    struct contract_request q;
    char url[CONTRACT_URL_BYTES], database[32];
    (void)state;
    pg_create(&FIXTURE, url);
    snprintf(database, sizeof database, "t%u", databases);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    contract_close(&s);
    pg_fixture_sql(&server, database, /* contract_open migrates what it finds: it finds nothing */
                   "DROP FUNCTION troupe.node_register(text, int, text, bigint, text, text, text, "
                   "bigint, bigint, boolean, boolean, bigint, bigint, boolean)");
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    assert_int_equal(contract_register(&s, &q, "b", 2), TROUPE_EVERSION);
    assert_non_null(strstr(q.r.errmsg, "troupe-node migrate"));
    contract_free(&q);
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

/* Asked once: the contract's own functions try again. */
static void assert_refuses(struct contract_store *s, struct contract_request *q, const char *row)
{
    contract_submit(s, q);
    assert_int_equal(contract_wait(s, q), TROUPE_EUNAVAILABLE);
    if (strstr(q->r.errmsg, "makes no sense") == NULL || strstr(q->r.errmsg, row) == NULL)
        fail_msg("%s", q->r.errmsg);
    contract_free(q);
}

static void rows_that_make_no_sense_are_refused(void **state)
{
    struct contract_store s;
    struct contract_request q;
    char url[CONTRACT_URL_BYTES], database[32];
    (void)state;
    pg_create(&FIXTURE, url);
    snprintf(database, sizeof database, "t%u", databases);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    contract_must_register(&s, "b", 2);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 1, "")), 1);

    pg_fixture_sql(&server, database, "UPDATE troupe.entity SET version = -1");
    struct store_key x = contract_row(5, "x", epoch, 1, "").key;
    contract_init(&q, STORE_LOAD);
    q.r.u.load = (struct store_load){.keys = &x, .keys_n = 1};
    assert_refuses(&s, &q, "/x'");
    pg_fixture_sql(&server, database, "UPDATE troupe.node_lease SET state = 3 WHERE name = 'b'");
    contract_init(&q, STORE_OWNERS);
    assert_refuses(&s, &q, "'b'");
    pg_fixture_sql(&server, database,
                   "UPDATE troupe.node_lease SET state = 0, renew_seq = -1 WHERE name = 'b'");
    contract_init(&q, STORE_RENEW);
    q.r.u.renew = (struct store_renew){.name = "a", .generation = 1, .ttl_ms = 60000};
    assert_refuses(&s, &q, "'b'");
    pg_fixture_sql(&server, database,
                   "UPDATE troupe.node_lease SET renew_seq = 1;"
                   "UPDATE troupe.partition SET epoch = -1 WHERE pid = 5");
    contract_init(&q, STORE_OWNERS);
    assert_refuses(&s, &q, "'5'");
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

/* ---- who waits for whom ---- */

/* A transaction of another program that holds a lock until it is finished. */
static PGconn *hold(const char *url, const char *sql)
{
    PGconn *pg = PQconnectdb(url);
    char all[256];
    snprintf(all, sizeof all, "BEGIN; %s", sql);
    PGresult *result = PQexec(pg, all);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
    return pg;
}

static void release(PGconn *pg)
{
    PQclear(PQexec(pg, "COMMIT"));
    PQfinish(pg);
}

/* Until that many of the server's sessions wait for a lock; the request must be among them. */
static void wait_for_waiters(PGconn *pg, struct contract_store *s, const struct contract_request *q,
                             long n)
{
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    long waiting;
    do {
        contract_turn(s);
        if (q->done)
            fail_msg("it did not wait: %d %s", q->r.error, q->r.errmsg);
        PGresult *result = PQexec(pg, "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted");
        waiting = strtol(PQgetvalue(result, 0, 0), NULL, 10);
        PQclear(result);
        assert_true(uv_hrtime() < deadline);
    } while (waiting < n);
}

static void begin_evict(struct contract_store *s, struct contract_request *q, const char *name,
                        const struct store_node *target)
{
    contract_init(q, STORE_EVICT);
    q->r.u.evict = (struct store_evict){.name = name,
                                        .generation = 1,
                                        .target = target->name,
                                        .target_generation = target->generation,
                                        .target_renew_seq = target->renew_seq};
    contract_submit(s, q);
}

/* A transfer waits for the save that is under way, and meanwhile nobody evicts the receiver. */
static void a_transfer_waits_for_saves_and_evictions_for_it(void **state)
{
    struct contract_store s, t;
    struct contract_request transfer, evict;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    pg_create(&FIXTURE, url);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_open(&t, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    contract_must_register(&s, "b", 2);
    contract_must_register(&t, "c", 3);
    struct store_move move = {.pid = 5, .epoch = contract_must_claim(&s, "a", 1, 5)};
    contract_must_renew(&s, "b", 1, 2);
    struct store_node b = contract_wait_expired(&t, "b");

    PGconn *save = hold(url, "SELECT FROM troupe.partition WHERE pid = 5 FOR SHARE");
    contract_init(&transfer, STORE_TRANSFER);
    transfer.r.u.transfer = (struct store_transfer){.name = "a",
                                                    .generation = 1,
                                                    .to = "b",
                                                    .to_generation = 1,
                                                    .cause = STORE_CAUSE_JOIN,
                                                    .moves = &move,
                                                    .moves_n = 1};
    contract_submit(&s, &transfer);
    wait_for_waiters(save, &s, &transfer, 1);
    begin_evict(&t, &evict, "c", &b);
    wait_for_waiters(save, &t, &evict, 2);
    release(save);
    assert_int_equal(contract_wait(&s, &transfer), 0);
    assert_int_equal(transfer.r.u.transfer.moved_n, 1);
    assert_int_equal(contract_wait(&t, &evict), 0);
    assert_true(evict.r.u.evict.evicted);
    contract_free(&transfer);
    contract_free(&evict);
    contract_close(&s);
    contract_close(&t);
    pg_destroy(&FIXTURE, url);
}

/* Both of two mutual evictions begin with the same row, so that none waits for the other while the
 * other waits for it. */
static void mutual_evictions_queue_up(void **state)
{
    struct contract_store s, t;
    struct contract_request by_a, by_b;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    pg_create(&FIXTURE, url);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_open(&t, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    contract_must_register(&t, "b", 2);
    contract_must_renew(&s, "a", 1, 2);
    contract_must_renew(&t, "b", 1, 2);
    struct store_node a = contract_wait_expired(&t, "a"), b = contract_wait_expired(&s, "b");

    PGconn *other = hold(url, "SELECT FROM troupe.node_lease WHERE name = 'a' FOR SHARE");
    begin_evict(&s, &by_a, "a", &b);
    wait_for_waiters(other, &s, &by_a, 1);
    begin_evict(&t, &by_b, "b", &a);
    wait_for_waiters(other, &t, &by_b, 2);
    release(other);
    contract_wait(&s, &by_a);
    contract_wait(&t, &by_b);
    assert_int_equal((by_a.r.error == 0) + (by_b.r.error == 0), 1);
    assert_int_equal(by_a.r.error + by_b.r.error, TROUPE_EFENCED);
    contract_free(&by_a);
    contract_free(&by_b);
    contract_close(&s);
    contract_close(&t);
    pg_destroy(&FIXTURE, url);
}

/* ---- connections that break ---- */

static struct pg_store *open_connected(struct contract_store *s, char url[CONTRACT_URL_BYTES])
{
    pg_create(&FIXTURE, url);
    contract_open(s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    struct pg_store *pg = (struct pg_store *)(void *)s->store;
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    while (pg->conns[0].state != PG_READY || pg->conns[1].state != PG_READY) {
        contract_turn(s);
        assert_true(uv_hrtime() < deadline);
    }
    return pg;
}

/* A database that is there for moments only: other nodes renew in them, so must we. */
static void the_lease_waits_briefly_for_its_next_attempt(void **state)
{
    struct contract_store s;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    struct pg_store *pg = open_connected(&s, url);
    for (int i = 0; i < 20; i++) {
        pg_conn_break(&pg->conns[0], "of the test");
        assert_true(pg->conns[0].retry_ms <= pg_now_ms(pg) + 250);
        pg_conn_break(&pg->conns[1], "of the test");
    }
    assert_true(pg->conns[1].retry_ms >= pg_now_ms(pg) + PG_BACKOFF_MS_MAX / 2);
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

static void another_connection_brings_the_lease_back(void **state)
{
    struct contract_store s;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    struct pg_store *pg = open_connected(&s, url);
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    pg_conn_break(&pg->conns[0], "of the test");
    pg_conn_break(&pg->conns[1], "of the test");
    pg->conns[0].retry_ms = UINT64_MAX; /* not of its own accord */
    while (pg->conns[0].state != PG_READY) {
        contract_turn(&s);
        assert_true(uv_hrtime() < deadline);
    }
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

/* Not what the event loop makes of it. */
static void a_refused_connection_is_called_that(void **state)
{
    struct contract_store s;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    struct pg_store *pg = open_connected(&s, url);
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    free(pg->url);
    pg->url = strdup("postgres://a@127.0.0.1:1/b"); /* nobody listens on tcpmux */
    for (unsigned i = 0; i < pg->conns_n; i++)
        pg_conn_break(&pg->conns[i], "of the test");
    while (strcmp(pg->last_error, "of the test") == 0) {
        contract_turn(&s);
        assert_true(uv_hrtime() < deadline);
    }
    if (strstr(pg->last_error, "Connection refused") == NULL)
        fail_msg("%s", pg->last_error);
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

static void begin_renew(struct contract_store *s, struct contract_request *q, uint64_t generation,
                        uint32_t ttl_ms)
{
    contract_init(q, STORE_RENEW);
    q->r.u.renew = (struct store_renew){.name = "a", .generation = generation, .ttl_ms = ttl_ms};
    contract_submit(s, q);
}

/* What is sent is swallowed: the path is dead, or as here the server's end of it. There is time for
 * another path before the lease ends. */
static void a_renewal_without_an_answer_goes_another_way_in_time(void **state)
{
    enum { TTL_MS = 5000 };
    struct contract_store s;
    struct contract_request q;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    struct pg_store *pg = open_connected(&s, url);
    uint64_t generation = contract_must_register(&s, "a", 1);
    pid_t backend = PQbackendPID(pg->conns[0].pg);
    assert_int_equal(kill(backend, SIGSTOP), 0);
    uint64_t start = uv_hrtime();
    begin_renew(&s, &q, generation, TTL_MS);
    int first = contract_wait(&s, &q);
    contract_free(&q);
    begin_renew(&s, &q, generation, TTL_MS);
    int second = contract_wait(&s, &q);
    uint64_t took_ms = (uv_hrtime() - start) / 1000000;
    contract_free(&q);
    assert_int_equal(kill(backend, SIGCONT), 0); /* before anything can fail: others wait for it */
    assert_int_equal(first, TROUPE_EOUTCOME);
    assert_int_equal(second, 0);
    assert_true(took_ms < TTL_MS);
    assert_int_not_equal(PQbackendPID(pg->conns[0].pg), backend);
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

/* As if a lookup hung: it has begun long ago, and nothing ever answers. */
static void hang_in_lookup(struct pg_conn *c, const char *known)
{
    pg_conn_break(c, "of the test");
    c->state = PG_RESOLVING;
    c->resolving = true;
    c->started_ms = 0;
    snprintf(c->hostaddr, sizeof c->hostaddr, "%s", known);
}

static void wait_for_error(struct contract_store *s, const char *text)
{
    struct pg_store *pg = (struct pg_store *)(void *)s->store;
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    while (strstr(pg->last_error, text) == NULL) {
        contract_turn(s);
        if (uv_hrtime() >= deadline)
            fail_msg("%s", pg->last_error);
    }
}

static void a_lookup_that_hangs_is_given_up(void **state)
{
    struct contract_store s;
    char url[CONTRACT_URL_BYTES];
    (void)state;
    struct pg_store *pg = open_connected(&s, url);
    struct pg_conn *lease = &pg->conns[0];
    free(pg->url);
    pg->url = strdup("postgres://a@database.invalid:1/b"); /* nobody listens on tcpmux */
    hang_in_lookup(lease, "");
    wait_for_error(&s, "takes too long");
    assert_int_equal(lease->state, PG_DOWN);
    hang_in_lookup(lease, "127.0.0.1");
    wait_for_error(&s, "Connection refused");
    lease->resolving = false;
    contract_close(&s);
    pg_destroy(&FIXTURE, url);
}

int main(void)
{
    const struct CMUnitTest own[] = {
        cmocka_unit_test(large_saves_in_a_row_do_not_stall),
        cmocka_unit_test(a_database_of_the_first_version_is_brought_up_to_date),
        cmocka_unit_test(an_older_schema_is_refused),
        cmocka_unit_test(rows_that_make_no_sense_are_refused),
        cmocka_unit_test(a_transfer_waits_for_saves_and_evictions_for_it),
        cmocka_unit_test(mutual_evictions_queue_up),
        cmocka_unit_test(the_lease_waits_briefly_for_its_next_attempt),
        cmocka_unit_test(another_connection_brings_the_lease_back),
        cmocka_unit_test(a_refused_connection_is_called_that),
        cmocka_unit_test(a_renewal_without_an_answer_goes_another_way_in_time),
        cmocka_unit_test(a_lookup_that_hangs_is_given_up),
    };
    if (!pg_fixture_open(&server))
        return EXIT_SUCCESS;
    int failed = cmocka_run_group_tests_name("postgres only", own, NULL, NULL);
    failed += store_contract_run(&FIXTURE);
    pg_fixture_close(&server);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
