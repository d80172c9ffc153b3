/* The schema of Postgres, brought up to date: numbered steps, each in a transaction that holds the
 * lock that keeps other migrators out, and looks again what there is to do once it has it. The lock
 * ends with its transaction: one of the session's would stay behind in a pooler's connection, and
 * keep every node out for good. A schema that is up to date is only looked at. An empty database
 * gets all steps in one transaction, so that a node that comes meanwhile sees all or nothing, and
 * takes no half of a schema for an old one. Synchronous. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/migration.h"
#include "storage/postgres/postgres.h"
#include "storage/store_impl.h"

extern const struct store_migration store_postgres_migrations[];
extern const size_t store_postgres_migrations_n;

enum { LOCK_MS = 10000 };

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

/* Nothing is limited by what the role's statements usually are, but a node that waits for its
 * database looks up now and then. */
static int begin(PGconn *pg, bool only_if_empty, char errmsg[STORE_ERRMSG_BYTES])
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL client_min_messages = warning; SET "
             "LOCAL statement_timeout = 0;"
             "SET LOCAL lock_timeout = %d; SELECT pg_advisory_xact_lock(" LOCK_KEY ");"
             "SET LOCAL lock_timeout = 0",
             only_if_empty ? LOCK_MS : 0);
    return run(pg, sql, "waiting for other migrations", errmsg);
}

static int end(PGconn *pg, int rc, char errmsg[STORE_ERRMSG_BYTES])
{
    if (rc == 0)
        return run(pg, "COMMIT", "committing the schema", errmsg);
    PQclear(PQexec(pg, "ROLLBACK"));
    return rc;
}

static int apply(PGconn *pg, const struct store_migration *m, char errmsg[STORE_ERRMSG_BYTES])
{
    char note[256];
    int rc = run(pg,
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
    return rc == 0 ? run(pg, note, m->name, errmsg) : rc;
}

struct job {
    bool dry_run, only_if_empty;
    store_report_cb report;
    void *data;
};

static void tell(const struct job *job, const struct store_migration *m)
{
    char line[256];
    snprintf(line, sizeof line, "schema: %s: %s", m->name,
             job->dry_run ? "would be applied" : "applied");
    job->report(job->data, line);
}

/* The steps behind *version: the next one, or all of an empty database. *version is what is there
 * then; another migrator may have been there first. */
static int step(PGconn *pg, const struct job *job, long *version, char errmsg[STORE_ERRMSG_BYTES])
{
    long newest = (long)store_postgres_migrations_n, was, at;
    int rc = begin(pg, job->only_if_empty, errmsg);
    if (rc == 0)
        rc = read_version(pg, version, errmsg);
    was = *version < 0 ? 0 : *version;
    long until = *version < 0 ? newest : job->only_if_empty ? was : was + 1;
    for (at = was; rc == 0 && at < until && at < newest; at++)
        rc = apply(pg, &store_postgres_migrations[at], errmsg);
    rc = end(pg, rc, errmsg);
    for (long i = was; rc == 0 && i < at; i++)
        tell(job, &store_postgres_migrations[i]);
    if (rc == 0 && *version < newest)
        *version = at;
    return rc;
}

static bool is_left_alone(const struct job *job, long version)
{
    return job->only_if_empty && version >= 0;
}

static int migrate(PGconn *pg, const struct job *job, char errmsg[STORE_ERRMSG_BYTES])
{
    long version, newest = (long)store_postgres_migrations_n;
    int rc = read_version(pg, &version, errmsg);
    if (rc == 0 && is_left_alone(job, version))
        return 0;
    bool is_new = version == newest;
    for (long i = version < 0 ? 0 : version; rc == 0 && job->dry_run && i < newest; i++)
        tell(job, &store_postgres_migrations[i]);
    while (rc == 0 && !job->dry_run && version < newest && !is_left_alone(job, version))
        rc = step(pg, job, &version, errmsg);
    if (rc == 0 && version > newest && !job->only_if_empty) {
        snprintf(errmsg, STORE_ERRMSG_BYTES,
                 "the database's schema is version %ld, this program knows only up to %ld: use a "
                 "newer program",
                 version, newest);
        return TROUPE_EVERSION;
    }
    if (rc == 0 && is_new)
        job->report(job->data, "schema: up to date");
    return rc;
}

static int connect_and_migrate(const char *url, const struct job *job,
                               char errmsg[STORE_ERRMSG_BYTES])
{
    /* What stands before the url is only the default of what it says. */
    const char *const keys[] = {"target_session_attrs", "dbname", "connect_timeout",
                                "application_name", NULL};
    const char *const values[] = {"read-write", url, "5", "troupe migrate", NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    int rc = PQstatus(pg) == CONNECTION_OK ? migrate(pg, job, errmsg)
                                           : fail(pg, "cannot connect to the database", errmsg);
    PQfinish(pg);
    return rc;
}

int store_postgres_migrate(const char *url, bool dry_run, store_report_cb report, void *data,
                           char errmsg[STORE_ERRMSG_BYTES])
{
    struct job job = {.dry_run = dry_run, .report = report, .data = data};
    return connect_and_migrate(url, &job, errmsg);
}

int store_postgres_migrate_if_empty(const char *url, store_report_cb report, void *data,
                                    char errmsg[STORE_ERRMSG_BYTES])
{
    struct job job = {.only_if_empty = true, .report = report, .data = data};
    return connect_and_migrate(url, &job, errmsg);
}
