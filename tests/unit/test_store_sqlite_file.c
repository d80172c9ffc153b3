/* The SQLite store and its file: made on first use, migrated, shared with other programs, damaged,
 * moved, locked. The store tells what is wrong and recovers when it is put right. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/migration.h"
#include "tests/unit/sqlite_fixture.h"

extern const struct store_migration store_sqlite_migrations[];

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* A handle that does not wait long for locks; does not migrate first, as contract_open does. */
static void open_raw(struct contract_store *s, const char *url)
{
    char errmsg[STORE_ERRMSG_BYTES];
    *s = (struct contract_store){0};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    uv_timer_init(&s->loop, &s->tick);
    uv_timer_start(&s->tick, on_tick, 20, 20); /* so that waits see their deadlines */
    struct store_options options = {.url = url,
                                    .cluster = "c",
                                    .partitions = CONTRACT_PARTITIONS,
                                    .loop = &s->loop,
                                    .statement_timeout_ms = 100};
    assert_int_equal(store_open(&s->store, &options, errmsg), 0);
}

/* Registers "a" once, without retries. */
static int try_register(struct contract_store *s, struct contract_request *q)
{
    contract_init(q, STORE_REGISTER);
    q->r.u.reg = (struct store_register){.name = "a", .incarnation = 1, .addr = "a:1"};
    q->r.u.reg.ttl_ms = CONTRACT_TTL_MS;
    contract_submit(s, q);
    return contract_wait(s, q);
}

static void assert_register_fails(struct contract_store *s, int error, const char *words)
{
    struct contract_request q;
    assert_int_equal(try_register(s, &q), error);
    if (strstr(q.r.errmsg, words) == NULL)
        fail_msg("'%s' does not say '%s'", q.r.errmsg, words);
    contract_free(&q);
}

static void write_file(const char *path, off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

/* One registered node with one row, closed again. */
static void make_database(const char *url)
{
    struct contract_store s;
    open_raw(&s, url);
    contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 7, "state")), 1);
    contract_close(&s);
}

static void made_on_first_use_and_kept(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    const char *path = sqlite_fixture_path(bed->url);
    open_raw(&s, bed->url);
    assert_int_equal(access(path, F_OK), -1);
    contract_close(&s);
    assert_int_equal(access(path, F_OK), -1);

    make_database(bed->url);
    assert_int_equal(access(path, F_OK), 0);
    open_raw(&s, bed->url);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_int_equal(q.r.u.load.rows[0].version, 7);
    assert_memory_equal(q.r.u.load.rows[0].state.data, "state", 5);
    contract_free(&q);
    assert_int_equal(contract_must_register(&s, "a", 1), 1);
    contract_close(&s);
}

static void relative_names_mean_the_directory_of_opening(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    char dir[CONTRACT_URL_BYTES], before[CONTRACT_URL_BYTES];
    snprintf(dir, sizeof dir, "%s", sqlite_fixture_path(bed->url));
    *strrchr(dir, '/') = '\0';
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(dir), 0);
    open_raw(&s, "sqlite:troupe.db");
    assert_int_equal(chdir(before), 0);
    contract_must_register(&s, "a", 1);
    contract_close(&s);
    assert_int_equal(access(sqlite_fixture_path(bed->url), F_OK), 0);
}

static void urls_without_a_file_are_refused(void **state)
{
    uv_loop_t loop;
    struct store *store;
    char errmsg[STORE_ERRMSG_BYTES];
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    const char *urls[] = {"sqlite:", "sqlite::memory:"};
    for (size_t i = 0; i < 2; i++) {
        struct store_options options = {.url = urls[i], .cluster = "c", .loop = &loop};
        assert_int_equal(store_open(&store, &options, errmsg), TROUPE_EINVAL);
        assert_non_null(strstr(errmsg, "name of a file"));
    }
    struct store_options no_loop = {.url = "sqlite:x.db", .cluster = "c"};
    assert_int_equal(store_open(&store, &no_loop, errmsg), TROUPE_EINVAL);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void directory_that_does_not_exist_yet(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    char url[CONTRACT_URL_BYTES + 32], dir[CONTRACT_URL_BYTES];
    snprintf(dir, sizeof dir, "%s.d", sqlite_fixture_path(bed->url));
    snprintf(url, sizeof url, "sqlite:%s/troupe.db", dir);
    open_raw(&s, url);
    assert_register_fails(&s, TROUPE_EUNAVAILABLE, "No such file or directory");
    assert_int_equal(mkdir(dir, 0755), 0);
    struct contract_request q;
    uint64_t generation = contract_must_register(&s, "a", 1);
    assert_int_equal(contract_leave(&s, &q, "a", generation), 0);
    contract_free(&q);
    contract_close(&s);
    assert_int_equal(unlink(sqlite_fixture_path(url)), 0);
    assert_int_equal(rmdir(dir), 0); /* whoever has left leaves nothing else */
}

static void a_directory_is_no_database(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    assert_int_equal(mkdir(sqlite_fixture_path(bed->url), 0755), 0);
    open_raw(&s, bed->url);
    assert_register_fails(&s, TROUPE_EUNAVAILABLE, "cannot be opened");
    assert_int_equal(rmdir(sqlite_fixture_path(bed->url)), 0);
    contract_must_register(&s, "a", 1);
    contract_close(&s);
}

static void a_file_of_something_else_is_left_alone(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct stat st;
    const char *path = sqlite_fixture_path(bed->url);
    char text[8192];
    memset(text, 'x', sizeof text);
    write_file(path, 0, text, sizeof text);
    open_raw(&s, bed->url);
    assert_register_fails(&s, TROUPE_EUNAVAILABLE, "not an SQLite database");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, sizeof text);
    assert_int_equal(unlink(path), 0);
    contract_must_register(&s, "a", 1); /* the cause is gone */
    contract_close(&s);
}

static void another_programs_database_is_left_alone(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    sqlite_fixture_exec(bed->url, "CREATE TABLE recipe (name TEXT)");
    open_raw(&s, bed->url);
    assert_register_fails(&s, TROUPE_EVERSION, "another program's");
    contract_close(&s);
    sqlite_fixture_exec(bed->url, "INSERT INTO recipe VALUES ('soup')");
}

static void a_newer_schema_is_left_alone(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    char errmsg[STORE_ERRMSG_BYTES];
    make_database(bed->url);
    sqlite_fixture_exec(bed->url, "PRAGMA user_version = 99");
    open_raw(&s, bed->url);
    assert_register_fails(&s, TROUPE_EVERSION, "version 99");
    assert_int_equal(store_migrate(bed->url, false, NULL, NULL, errmsg), TROUPE_EVERSION);
    assert_non_null(strstr(errmsg, "newer program"));
    contract_close(&s);
}

/* ---- store_migrate ---- */

struct lines {
    char text[1024];
};

static void take_line(void *data, const char *line)
{
    struct lines *l = data;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%s\n", line);
}

static void migrations_are_shown_before_they_are_done(void **state)
{
    struct contract_bed *bed = *state;
    char errmsg[STORE_ERRMSG_BYTES];
    struct lines dry = {""}, wet = {""}, again = {""}, none = {""};
    assert_int_equal(store_migrate(bed->url, true, take_line, &dry, errmsg), 0);
    assert_string_equal(dry.text, "0001_tables: would be applied\n"
                                  "0002_many_nodes: would be applied\n"
                                  "0003_saved_at: would be applied\n"
                                  "0004_outages: would be applied\nnothing was changed\n");
    assert_int_equal(access(sqlite_fixture_path(bed->url), F_OK), -1);
    assert_int_equal(store_migrate(bed->url, false, take_line, &wet, errmsg), 0);
    assert_string_equal(wet.text, "0001_tables: applied\n0002_many_nodes: applied\n"
                                  "0003_saved_at: applied\n0004_outages: applied\n"
                                  "the schema is up to date\n");
    assert_int_equal(store_migrate(bed->url, false, take_line, &again, errmsg), 0);
    assert_string_equal(again.text, "the schema is up to date\n");
    assert_int_equal(store_migrate(bed->url, true, take_line, &none, errmsg), 0);
    assert_string_equal(none.text, "nothing was changed\n");
    assert_int_equal(store_migrate("mysql://x", true, take_line, &none, errmsg), TROUPE_EINVAL);
    assert_non_null(strstr(errmsg, "sqlite:"));
}

/* A file that the first version made, with a node, an owner and an entity in it. */
static void make_first_version(const char *url)
{
    sqlite_fixture_exec(url, store_sqlite_migrations[0].sql);
    sqlite_fixture_exec(
        url, "PRAGMA application_id = 0x54525550; PRAGMA user_version = 1;"
             "INSERT INTO cluster_meta VALUES (1, 'c', '01234567-89ab-4def-8123-456789abcdef', 256,"
             " 1);"
             "INSERT INTO node_lease VALUES (1, 'a', 3, 7, 'a:1', 'p', 9, 60000, 0, 1000);"
             "WITH RECURSIVE p(pid) AS (SELECT 0 UNION ALL SELECT pid + 1 FROM p WHERE pid < 255)"
             " INSERT INTO partition (cluster_id, pid, epoch) SELECT 1, pid, 0 FROM p;"
             "UPDATE partition SET epoch = 4, owner = 'a', owner_generation = 3 WHERE pid = 5;"
             "INSERT INTO entity VALUES (1, 5, 'k', 'x', 4, 1, 0, x'41', x'')");
}

static void assert_recent(struct contract_store *s, store_pid pid, size_t n)
{
    struct contract_request q;
    assert_int_equal(contract_recent(s, &q, &pid), 0);
    assert_int_equal(q.r.u.recent.saved_n, n);
    contract_free(&q);
}

static void a_file_of_the_first_version_is_brought_up_to_date(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    make_first_version(bed->url);
    open_raw(&s, bed->url);
    assert_int_equal(contract_renew(&s, &q, "a", 3), 0);
    contract_free(&q);
    assert_int_equal(contract_owners(&s, &q), 0);
    assert_string_equal(q.r.u.owners.nodes[0].gossip, "");
    assert_int_equal(q.r.u.owners.owners[5].epoch, 4);
    contract_free(&q);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    contract_free(&q);
    assert_recent(&s, 5, 0);
    assert_int_equal(contract_must_save(&s, "a", 3, contract_row(5, "x", 4, 2, "new")), 1);
    assert_recent(&s, 5, 1);
    sqlite_fixture_exec(bed->url, "INSERT INTO entity (cluster_id, pid, kind, id, epoch, version,"
                                  " deleted, state, dedup) VALUES (1, 5, 'k', 'y', 4, 1, 0, x'41',"
                                  " x'')"); /* by a program that is still running */
    assert_recent(&s, 5, 1);
    contract_must_claim(&s, "a", 3, 6);
    contract_close(&s);
}

/* ---- locks ---- */

static void a_locked_file_is_busy_but_can_be_read(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    sqlite3 *db;
    make_database(bed->url);
    open_raw(&s, bed->url);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_int_equal(sqlite3_open(sqlite_fixture_path(bed->url), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);

    assert_register_fails(&s, TROUPE_EUNAVAILABLE, "locked by another program");
    struct store_row row = contract_row(5, "y", 1, 1, "s");
    contract_init(&q, STORE_SAVE);
    q.r.u.save = (struct store_save){.name = "a", .generation = 1, .rows = &row, .rows_n = 1};
    contract_submit(&s, &q);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
    contract_free(&q);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    contract_free(&q);

    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    contract_close(&s);
}

/* Another handle streams saves, one after the other without a pause; renewals come through, the
 * stream's own node's as well as ours. */
enum { STREAM_ROWS = 200, STREAMS = 3, RENEWALS = 30 };

struct stream {
    struct contract_store s;
    struct contract_request saves[STREAMS], renewal;
    struct store_row rows[STREAMS][STREAM_ROWS];
    char ids[STREAMS][STREAM_ROWS][16];
    uint64_t epoch, saved, renewed;
    bool stop;
};

static void stream_save(struct stream *t, size_t i)
{
    for (size_t k = 0; k < STREAM_ROWS; k++) {
        snprintf(t->ids[i][k], sizeof t->ids[i][k], "%zu-%zu", i, k);
        t->rows[i][k] = contract_row(5, t->ids[i][k], t->epoch, t->saved, "state");
    }
    t->saves[i].r.u.save = (struct store_save){
        .name = "b", .generation = 1, .rows = t->rows[i], .rows_n = STREAM_ROWS};
    contract_submit(&t->s, &t->saves[i]);
}

static void stream_turn(struct stream *t)
{
    for (size_t i = 0; i < STREAMS; i++) {
        if (!t->saves[i].done)
            continue;
        assert_int_equal(t->saves[i].r.error, 0);
        t->saved += t->saves[i].r.u.save.applied;
        arena_reset(&t->saves[i].arena);
        if (!t->stop)
            stream_save(t, i);
    }
    if (t->renewal.done && !t->stop) {
        assert_int_equal(t->renewal.r.error, 0);
        t->renewed++;
        arena_reset(&t->renewal.arena);
        contract_submit(&t->s, &t->renewal);
    }
    uv_run(&t->s.loop, UV_RUN_NOWAIT);
}

static void renewals_get_through_a_stream_of_saves(void **state)
{
    struct contract_bed *bed = *state;
    static struct stream t;
    struct contract_store s;
    struct contract_request q;
    memset(&t, 0, sizeof t);
    contract_open(&t.s, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_open(&s, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    contract_must_register(&t.s, "b", 2);
    t.epoch = contract_must_claim(&t.s, "b", 1, 5);
    contract_init(&t.renewal, STORE_RENEW);
    t.renewal.r.u.renew = (struct store_renew){.name = "b", .generation = 1, .ttl_ms = 5000};
    contract_submit(&t.s, &t.renewal);
    for (size_t i = 0; i < STREAMS; i++) {
        contract_init(&t.saves[i], STORE_SAVE);
        stream_save(&t, i);
    }
    contract_init(&q, STORE_RENEW);
    q.r.u.renew = (struct store_renew){.name = "a", .generation = 1, .ttl_ms = 5000};
    for (int i = 0; i < RENEWALS; i++) {
        arena_reset(&q.arena);
        contract_submit(&s, &q);
        while (!q.done) {
            stream_turn(&t);
            uv_run(&s.loop, UV_RUN_NOWAIT);
        }
        if (q.r.error != 0)
            fail_msg("renewal %d: %s", i, q.r.errmsg);
    }
    t.stop = true;
    for (size_t i = 0; i < STREAMS; i++)
        contract_wait(&t.s, &t.saves[i]);
    contract_wait(&t.s, &t.renewal);
    stream_turn(&t);
    assert_true(t.saved > 0 && t.renewed > 0);
    for (size_t i = 0; i < STREAMS; i++)
        contract_free(&t.saves[i]);
    contract_free(&t.renewal);
    contract_free(&q);
    contract_close(&s);
    contract_close(&t.s);
}

/* ---- damage ---- */

static void damage_is_told_and_a_backup_is_taken_up(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    struct stat st;
    const char *path = sqlite_fixture_path(bed->url);
    char backup[CONTRACT_URL_BYTES];
    uint8_t junk[4096];
    snprintf(backup, sizeof backup, "%s.backup", path);
    memset(junk, 0xA5, sizeof junk);
    make_database(bed->url);
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", backup);
    sqlite_fixture_exec(bed->url, sql);
    sqlite3_free(sql);
    assert_int_equal(stat(path, &st), 0);
    for (off_t at = 4096; at < st.st_size; at += 4096) /* all but the first page */
        write_file(path, at, junk, sizeof junk);

    open_raw(&s, bed->url);
    assert_register_fails(&s, TROUPE_EUNAVAILABLE, "damaged");
    assert_int_equal(rename(backup, path), 0);
    assert_int_equal(contract_must_register(&s, "a", 1), 1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    contract_free(&q);
    contract_close(&s);
}

static void rows_that_make_no_sense_are_errors(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    store_pid pid = 5;
    struct store_key key = contract_row(5, "x", 0, 0, "").key;
    make_database(bed->url);
    open_raw(&s, bed->url);
    const struct {
        const char *spoil, *repair, *table;
        enum store_op op;
    } cases[] = {
        {"UPDATE entity SET version = -1", "UPDATE entity SET version = 7", "entity", STORE_LOAD},
        {"UPDATE entity SET epoch = -1", "UPDATE entity SET epoch = 1", "entity", STORE_LOAD},
        {"UPDATE partition SET epoch = -9", "UPDATE partition SET epoch = 1", "partition",
         STORE_CLAIM},
        {"UPDATE partition SET epoch = 9223372036854775807", "UPDATE partition SET epoch = 1",
         "partition", STORE_CLAIM},
        {"UPDATE partition SET pid = 7000 WHERE pid = 9",
         "UPDATE partition SET pid = 9 WHERE pid = 7000", "partition", STORE_OWNERS},
        {"DELETE FROM partition WHERE pid = 255",
         "INSERT INTO partition (cluster_id, pid, epoch) VALUES (1, 255, 0)", "partition",
         STORE_OWNERS},
        {"UPDATE node_lease SET state = 3", "UPDATE node_lease SET state = 0", "node_lease",
         STORE_OWNERS},
        {"UPDATE node_lease SET ttl_ms = -5", "UPDATE node_lease SET ttl_ms = 60000", "node_lease",
         STORE_OWNERS},
        {"UPDATE node_lease SET generation = -1", "UPDATE node_lease SET generation = 1",
         "node_lease", STORE_REGISTER},
        {"UPDATE cluster_meta SET uid = 'x'",
         "UPDATE cluster_meta SET uid = '01234567-0123-0123-0123-0123456789ab'", "cluster_meta",
         STORE_REGISTER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[512];
        snprintf(sql, sizeof sql, "PRAGMA ignore_check_constraints = ON; %s", cases[i].spoil);
        sqlite_fixture_exec(bed->url, sql);
        for (int repaired = 0; repaired < 2; repaired++) {
            contract_init(&q, cases[i].op);
            if (cases[i].op == STORE_LOAD)
                q.r.u.load = (struct store_load){.keys = &key, .keys_n = 1};
            else if (cases[i].op == STORE_CLAIM)
                q.r.u.claim =
                    (struct store_claim){.name = "a", .generation = 1, .pids = &pid, .pids_n = 1};
            else if (cases[i].op == STORE_REGISTER)
                q.r.u.reg = (struct store_register){
                    .name = "a", .incarnation = 1, .addr = "a:1", .ttl_ms = CONTRACT_TTL_MS};
            contract_submit(&s, &q);
            int want = repaired ? 0 : TROUPE_EUNAVAILABLE;
            if (contract_wait(&s, &q) != want)
                fail_msg("%s: %d %s", cases[i].spoil, q.r.error, q.r.errmsg);
            if (!repaired) {
                assert_non_null(strstr(q.r.errmsg, "makes no sense"));
                assert_non_null(strstr(q.r.errmsg, cases[i].table));
                sqlite_fixture_exec(bed->url, cases[i].repair);
            }
            contract_free(&q);
        }
    }
    contract_close(&s);
}

/* ---- moved ---- */

/* The error of each operation, with what it says of it. Each has a connection of its own, which
 * notices that the file has moved, and looks at what is there now when it is asked again. */
static void assert_replaced(struct contract_store *s, enum store_op op, int error, const char *says)
{
    struct contract_request q;
    struct store_row row = contract_row(5, "y", 1, 2, "s");
    for (int tries = 0;; tries++) {
        contract_init(&q, op);
        if (op == STORE_SAVE)
            q.r.u.save =
                (struct store_save){.name = "a", .generation = 1, .rows = &row, .rows_n = 1};
        else if (op == STORE_LOAD)
            q.r.u.load = (struct store_load){.keys = &row.key, .keys_n = 1};
        else if (op == STORE_RENEW)
            q.r.u.renew = (struct store_renew){.name = "a", .generation = 1, .ttl_ms = 1000};
        else
            q.r.u.reg = (struct store_register){
                .name = "b", .incarnation = 1, .addr = "b:1", .ttl_ms = 1000};
        contract_submit(s, &q);
        int rc = contract_wait(s, &q);
        bool noticed = tries == 0 && rc == TROUPE_EUNAVAILABLE;
        if (noticed)
            assert_non_null(strstr(q.r.errmsg, "moved or deleted"));
        else
            assert_int_equal(rc, error);
        if (!noticed && strstr(q.r.errmsg, says) == NULL)
            fail_msg("does not tell '%s': %s", says, q.r.errmsg);
        contract_free(&q);
        if (!noticed)
            return;
    }
}

/* Another database in its place is no reason to tell that there is nothing, or to write there: not
 * if it has a cluster of the same name, nor if it has none. */
static void another_database_is_not_taken_for_it(void **state)
{
    static const struct {
        const char *sql, *says;
    } cases[] = {
        {"SELECT 1", "the database has been replaced: cluster 'c' was "},
        {"UPDATE cluster_meta SET name = 'd'", " and is missing now; put the file back"},
    };
    struct contract_bed *bed = *state;
    const char *path = sqlite_fixture_path(bed->url);
    char away[CONTRACT_URL_BYTES], rows[16];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct contract_store s;
        struct contract_request q;
        snprintf(away, sizeof away, "%s.away%zu", path, i);
        if (i == 0)
            make_database(bed->url);
        open_raw(&s, bed->url);
        assert_false(contract_must_load(&s, &q, 5, "nothing"));
        contract_free(&q);
        assert_int_equal(rename(path, away), 0);
        make_database(bed->url);
        sqlite_fixture_exec(bed->url, cases[i].sql);
        assert_replaced(&s, STORE_SAVE, TROUPE_EVERSION, cases[i].says);
        assert_replaced(&s, STORE_LOAD, TROUPE_EVERSION, cases[i].says);
        assert_replaced(&s, STORE_RENEW, TROUPE_EFENCED, "not active");
        assert_replaced(&s, STORE_REGISTER, TROUPE_EVERSION, cases[i].says);
        contract_close(&s);
        sqlite_fixture_query(bed->url,
                             "SELECT (SELECT count(*) FROM cluster_meta) * 10 + "
                             "(SELECT count(*) FROM node_lease)",
                             rows, sizeof rows);
        assert_string_equal(rows, "11"); /* as it was */
        assert_int_equal(rename(away, path), 0);
    }
}

static void a_file_that_is_moved_away_is_not_made_again(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    const char *path = sqlite_fixture_path(bed->url);
    char away[CONTRACT_URL_BYTES];
    snprintf(away, sizeof away, "%s.away", path);
    make_database(bed->url);
    open_raw(&s, bed->url);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "y", 1, 1, "s")), 1);

    assert_int_equal(rename(path, away), 0);
    for (int i = 0; i < 2; i++) { /* noticed, then found missing */
        contract_init(&q, STORE_RENEW);
        q.r.u.renew = (struct store_renew){.name = "a", .generation = 1, .ttl_ms = 1000};
        contract_submit(&s, &q);
        assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
        assert_non_null(strstr(q.r.errmsg, i == 0 ? "moved or deleted" : "cannot be opened"));
        contract_free(&q);
    }
    struct store_row row = contract_row(5, "y", 1, 2, "s");
    contract_init(&q, STORE_SAVE);
    q.r.u.save = (struct store_save){.name = "a", .generation = 1, .rows = &row, .rows_n = 1};
    contract_submit(&s, &q);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
    contract_free(&q);
    assert_int_equal(access(path, F_OK), -1);

    assert_int_equal(rename(away, path), 0);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    contract_free(&q);
    contract_close(&s);
}

/* ---- permissions: in a child that is not root ---- */

static void child_without_permission(const char *url)
{
    struct contract_store s;
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        exit(1);
    open_raw(&s, url);
    assert_register_fails(&s, TROUPE_EUNAVAILABLE, "permissions");
    contract_close(&s);
    exit(0);
}

static void files_that_may_not_be_written_are_told(void **state)
{
    struct contract_bed *bed = *state;
    char dir[CONTRACT_URL_BYTES];
    int status;
    snprintf(dir, sizeof dir, "%s", sqlite_fixture_path(bed->url));
    *strrchr(dir, '/') = '\0';
    make_database(bed->url);
    assert_int_equal(chmod(sqlite_fixture_path(bed->url), 0444), 0);
    assert_int_equal(chmod(dir, 0555), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        child_without_permission(bed->url);
    assert_int_equal(waitpid(child, &status, 0), child);
    chmod(dir, 0755);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define FILE_TEST(f)                                                                               \
    cmocka_unit_test_setup_teardown(f, sqlite_fixture_set_up, sqlite_fixture_tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        FILE_TEST(made_on_first_use_and_kept),
        FILE_TEST(relative_names_mean_the_directory_of_opening),
        cmocka_unit_test(urls_without_a_file_are_refused),
        FILE_TEST(directory_that_does_not_exist_yet),
        FILE_TEST(a_directory_is_no_database),
        FILE_TEST(a_file_of_something_else_is_left_alone),
        FILE_TEST(another_programs_database_is_left_alone),
        FILE_TEST(a_newer_schema_is_left_alone),
        FILE_TEST(migrations_are_shown_before_they_are_done),
        FILE_TEST(a_file_of_the_first_version_is_brought_up_to_date),
        FILE_TEST(a_locked_file_is_busy_but_can_be_read),
        FILE_TEST(renewals_get_through_a_stream_of_saves),
        FILE_TEST(damage_is_told_and_a_backup_is_taken_up),
        FILE_TEST(rows_that_make_no_sense_are_errors),
        FILE_TEST(a_file_that_is_moved_away_is_not_made_again),
        FILE_TEST(another_database_is_not_taken_for_it),
        FILE_TEST(files_that_may_not_be_written_are_told),
    };
    return cmocka_run_group_tests_name("sqlite: its file", tests, NULL, NULL) == 0 ? EXIT_SUCCESS
                                                                                   : EXIT_FAILURE;
}
