/* See migrate.h. The version of a file's schema is its user_version; application_id says that the
 * file is ours. Both are in the file's header and change with the transaction they are set in. */
#include "storage/sqlite/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/request.h"
#include "storage/sqlite/names.h"
#include "storage/sqlite/note.h"
#include "storage/sqlite/sqlite.h"
#include "storage/store_impl.h"

enum {
    APPLICATION_ID = 0x54525550, /* "TRUP" */
    MIGRATE_TIMEOUT_MS = 30000,  /* of waiting for other programs */
};

extern const struct store_migration store_sqlite_migrations[];
extern const size_t store_sqlite_migrations_n;

uint32_t sqlite__schema_version(void)
{
    return (uint32_t)store_sqlite_migrations_n;
}

/* One statement, so that it is all of one moment: another program may be migrating. */
static int read_header(sqlite3 *db, int64_t *version, int64_t *id, int64_t *tables)
{
    static const char sql[] = "SELECT user_version, application_id,"
                              " (SELECT count(*) FROM sqlite_schema)"
                              " FROM pragma_user_version, pragma_application_id";
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        *version = sqlite3_column_int64(s, 0);
        *id = sqlite3_column_int64(s, 1);
        *tables = sqlite3_column_int64(s, 2);
        sqlite3_finalize(s);
        return 0;
    }
    sqlite3_finalize(s);
    return TROUPE_EIO;
}

/* The version of the file's schema, 0 for an empty file. Like sqlite__migrate. */
static int read_version(sqlite3 *db, uint32_t *version, char errmsg[STORE_ERRMSG_BYTES])
{
    int64_t number = 0, id = 0, tables = 0;
    if (read_header(db, &number, &id, &tables) != 0)
        return TROUPE_EIO;
    bool empty = number == 0 && id == 0 && tables == 0;
    if (!empty && (id != APPLICATION_ID || number <= 0)) {
        snprintf(errmsg, STORE_ERRMSG_BYTES,
                 "the file is another program's SQLite database; name another one: %s",
                 sqlite3_db_filename(db, "main"));
        return TROUPE_EVERSION;
    }
    if (number > (int64_t)store_sqlite_migrations_n) {
        snprintf(errmsg, STORE_ERRMSG_BYTES,
                 "the schema has version %lld and this program knows %zu; use a newer program: %s",
                 (long long)number, store_sqlite_migrations_n, sqlite3_db_filename(db, "main"));
        return TROUPE_EVERSION;
    }
    *version = (uint32_t)number;
    return 0;
}

static void report(const struct sqlite_config *config, const char *format, const char *name)
{
    char line[STORE_ERRMSG_BYTES];
    snprintf(line, sizeof line, format, name);
    if (config->report != NULL)
        config->report(config->report_data, line);
    else
        sqlite__log(config, STORE_LOG_INFO, "schema: %s", line);
}

/* The next step, if there still is one now that we have the lock; *version is what it led to. */
static int apply_next(sqlite3 *db, uint32_t *version, bool *applied,
                      char errmsg[STORE_ERRMSG_BYTES])
{
    char set_version[64];
    *applied = false;
    int rc = read_version(db, version, errmsg);
    if (rc != 0 || *version == store_sqlite_migrations_n)
        return rc;
    const struct store_migration *step = &store_sqlite_migrations[*version];
    snprintf(set_version, sizeof set_version,
             "PRAGMA user_version = %u; PRAGMA application_id = %d", step->version, APPLICATION_ID);
    if (sqlite3_exec(db, step->sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, set_version, NULL, NULL, NULL) != SQLITE_OK)
        return TROUPE_EIO;
    *version = step->version;
    *applied = true;
    return 0;
}

int sqlite__migrate(sqlite3 *db, const struct sqlite_config *config,
                    char errmsg[STORE_ERRMSG_BYTES])
{
    uint32_t version;
    bool applied;
    int rc = read_version(db, &version, errmsg); /* without the write lock: mostly all is well */
    while (rc == 0 && version < store_sqlite_migrations_n) {
        if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
            return TROUPE_EIO;
        rc = apply_next(db, &version, &applied, errmsg);
        if (rc == 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            rc = TROUPE_EIO;
        if (rc != 0) /* leaves the error in db as it was: that of closing is of no interest */
            return rc;
        if (applied)
            report(config, "%s: applied", store_sqlite_migrations[version - 1].name);
    }
    return rc;
}

/* ---- store_migrate ---- */

static void report_plan(const struct sqlite_config *config, uint32_t version)
{
    for (uint32_t v = version; v < store_sqlite_migrations_n; v++)
        report(config, "%s: would be applied", store_sqlite_migrations[v].name);
}

/* Only looks: a file that does not exist is not created. */
static int dry_run(struct sqlite_connection *c, struct store_request *r)
{
    uint32_t version = 0;
    if (access(c->config->path, F_OK) != 0) {
        report_plan(c->config, 0);
        return 0;
    }
    int rc = sqlite3_open_v2(c->config->path, &c->db, SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(c->db, MIGRATE_TIMEOUT_MS);
        rc = sqlite__names_take(c, r);
        if (rc == 0)
            rc = sqlite__note_look(c, r);
        if (rc == 0)
            rc = read_version(c->db, &version, r->errmsg);
    } else {
        rc = TROUPE_EIO;
    }
    if (rc == TROUPE_EIO)
        rc = sqlite__fail(c, r);
    if (rc == 0)
        report_plan(c->config, version);
    sqlite__close(c);
    return rc;
}

static int migrate_file(struct sqlite_connection *c, struct store_request *r)
{
    int rc = sqlite__open(c, r);
    sqlite__close(c);
    return rc;
}

int store_sqlite_migrate(const char *url, bool dry, store_report_cb report_line, void *data,
                         char errmsg[STORE_ERRMSG_BYTES])
{
    struct sqlite_config config = {.report = report_line, .report_data = data};
    struct sqlite_connection connection = {.config = &config, .cache_kib = 2048};
    struct store_request request = {.op = STORE_OWNERS};
    int rc = sqlite__parse_url(url, &config.path, errmsg);
    if (rc != 0)
        return rc;
    sqlite__set_patience(&connection, MIGRATE_TIMEOUT_MS);
    rc = dry ? dry_run(&connection, &request) : migrate_file(&connection, &request);
    if (rc == 0)
        report(&config, dry ? "nothing was changed%s" : "the schema is up to date%s", "");
    else
        snprintf(errmsg, STORE_ERRMSG_BYTES, "%s", request.errmsg);
    free(config.path);
    return rc;
}
