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

int main(void)
{
    if (!pg_fixture_open(&server))
        return EXIT_SUCCESS;
    int failed = store_contract_run(&FIXTURE);
    pg_fixture_close(&server);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
