/* The schema of Postgres, brought up to date: numbered steps, each in a transaction, under an
 * advisory lock that keeps other migrators out. Synchronous. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/migration.h"
#include "storage/postgres/postgres.h"
#include "storage/store_impl.h"

extern const struct store_migration store_postgres_migrations[];
extern const size_t store_postgres_migrations_n;

#define LOCK_KEY "hashtext('troupe.migrate')"

static int fail(PGconn *pg, const char *what, char errmsg[STORE_ERRMSG_BYTES])
{
    const char *text = PQerrorMessage(pg);
    snprintf(errmsg, STORE_ERRMSG_BYTES, "%s: %.*s", what, (int)strcspn(text, "\n"), text);
    return TROUPE_EUNAVAILABLE;
}

static int run(PGconn *pg, const char *sql, const char *what, char errmsg[STORE_ERRMSG_BYTES])
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    int rc = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : fail(pg, what, errmsg);
    PQclear(result);
    return rc;
}

/* The one number that a query returns; -1 for NULL. */
static int number(PGconn *pg, const char *sql, long *value, char errmsg[STORE_ERRMSG_BYTES])
{
    PGresult *result = PQexec(pg, sql);
    int rc = 0;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        rc = fail(pg, "reading the schema's version", errmsg);
    else
        *value = PQgetisnull(result, 0, 0) ? -1 : strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return rc;
}

/* -1: there is no schema of ours at all. */
static int read_version(PGconn *pg, long *version, char errmsg[STORE_ERRMSG_BYTES])
{
    long exists = 0;
    int rc = number(pg,
                    "SELECT count(*) FROM pg_tables WHERE schemaname = 'troupe' AND tablename = "
                    "'schema_version'",
                    &exists, errmsg);
    *version = -1;
    if (rc != 0 || exists <= 0)
        return rc;
    rc = number(pg, "SELECT max(version) FROM troupe.schema_version", version, errmsg);
    if (rc == 0 && *version < 0)
        *version = 0;
    return rc;
}

static int apply(PGconn *pg, const struct store_migration *m, char errmsg[STORE_ERRMSG_BYTES])
{
    char note[256];
    int rc = run(pg, "BEGIN", m->name, errmsg);
    if (rc == 0)
        rc = run(pg,
                 "CREATE SCHEMA IF NOT EXISTS troupe;"
                 "CREATE TABLE IF NOT EXISTS troupe.schema_version (version int PRIMARY KEY, name "
                 "text NOT NULL,"
                 " applied_at timestamptz NOT NULL DEFAULT now())",
                 m->name, errmsg);
    if (rc == 0)
        rc = run(pg, m->sql, m->name, errmsg);
    snprintf(note, sizeof note,
             "INSERT INTO troupe.schema_version (version, name) VALUES (%u, '%.100s')", m->version,
             m->name);
    if (rc == 0)
        rc = run(pg, note, m->name, errmsg);
    if (rc == 0)
        return run(pg, "COMMIT", m->name, errmsg);
    PQclear(PQexec(pg, "ROLLBACK"));
    return rc;
}

static int migrate(PGconn *pg, bool dry_run, bool only_if_empty, store_report_cb report, void *data,
                   char errmsg[STORE_ERRMSG_BYTES])
{
    long version, newest = (long)store_postgres_migrations_n;
    char line[256];
    int rc = read_version(pg, &version, errmsg);
    if (rc != 0)
        return rc;
    if (only_if_empty && version >= 0)
        return 0;
    if (version > newest) {
        snprintf(errmsg, STORE_ERRMSG_BYTES,
                 "the database's schema is version %ld, this program knows only up to %ld: use a "
                 "newer program",
                 version, newest);
        return TROUPE_EVERSION;
    }
    for (size_t i = 0; i < store_postgres_migrations_n; i++) {
        const struct store_migration *m = &store_postgres_migrations[i];
        if ((long)m->version <= version)
            continue;
        rc = dry_run ? 0 : apply(pg, m, errmsg);
        if (rc != 0)
            return rc;
        snprintf(line, sizeof line, "schema: %s: %s", m->name,
                 dry_run ? "would be applied" : "applied");
        report(data, line);
    }
    if (version == newest)
        report(data, "schema: up to date");
    return 0;
}

static int with_lock(const char *url, bool dry_run, bool only_if_empty, store_report_cb report,
                     void *data, char errmsg[STORE_ERRMSG_BYTES])
{
    const char *const keys[] = {"dbname", "connect_timeout", "application_name", NULL};
    const char *const values[] = {url, "5", "troupe migrate", NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    if (PQstatus(pg) != CONNECTION_OK) {
        int rc = fail(pg, "cannot connect to the database", errmsg);
        PQfinish(pg);
        return rc;
    }
    int rc = run(pg, "SET client_min_messages = warning; SELECT pg_advisory_lock(" LOCK_KEY ")",
                 "waiting for other migrations", errmsg);
    if (rc == 0)
        rc = migrate(pg, dry_run, only_if_empty, report, data, errmsg);
    PQfinish(pg); /* and with it the lock */
    return rc;
}

int store_postgres_migrate(const char *url, bool dry_run, store_report_cb report, void *data,
                           char errmsg[STORE_ERRMSG_BYTES])
{
    return with_lock(url, dry_run, false, report, data, errmsg);
}

int store_postgres_migrate_if_empty(const char *url, store_report_cb report, void *data,
                                    char errmsg[STORE_ERRMSG_BYTES])
{
    return with_lock(url, false, true, report, data, errmsg);
}
