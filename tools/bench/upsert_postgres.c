/* See upsert.h. The statement is the save of the Postgres store less its fence, and the rows are
 * made on the server out of their numbers: as little as can be done for them. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/upsert.h"

#define STATEMENT "bench_upsert"

static const char CREATE[] =
    "SET client_min_messages = warning;"
    "CREATE TABLE IF NOT EXISTS bench_upsert ("
    " pid int, kind text COLLATE \"C\", id bytea, epoch bigint, version bigint, deleted boolean,"
    " state bytea, dedup bytea, PRIMARY KEY (pid, kind, id)) WITH (fillfactor = 80)";

static const char UPSERT[] =
    "INSERT INTO bench_upsert AS e"
    " SELECT k * $2::int8 / $3::int8, 'counter', convert_to(k::text, 'UTF8'), 1, $4::int8, false,"
    "  $5::bytea, $5::bytea FROM unnest($1::int8[]) k"
    " ON CONFLICT (pid, kind, id) DO UPDATE SET epoch = excluded.epoch,"
    "  version = excluded.version, deleted = excluded.deleted, state = excluded.state,"
    "  dedup = excluded.dedup WHERE (e.epoch, e.version) <= (excluded.epoch, excluded.version)";

struct postgres {
    PGconn *pg;
    bool prepared;
    char state[2 + UPSERT_STATE_BYTES * 2 + 1]; /* "\x…" */
};

static int check(struct postgres *p, PGresult *result, char errmsg[UPSERT_ERRMSG_BYTES])
{
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (status == PGRES_COMMAND_OK)
        return 0;
    snprintf(errmsg, UPSERT_ERRMSG_BYTES, "%s", PQerrorMessage(p->pg));
    return -1;
}

static void close_db(void *db)
{
    struct postgres *p = db;
    PQfinish(p->pg);
    free(p);
}

static void *open_db(const char *url, char errmsg[UPSERT_ERRMSG_BYTES])
{
    struct postgres *p = calloc(1, sizeof *p);
    if (p == NULL) {
        snprintf(errmsg, UPSERT_ERRMSG_BYTES, "out of memory");
        return NULL;
    }
    p->state[0] = '\\';
    p->state[1] = 'x';
    memset(p->state + 2, '7', (size_t)UPSERT_STATE_BYTES * 2);
    p->pg = PQconnectdb(url);
    if (PQstatus(p->pg) == CONNECTION_OK)
        return p;
    snprintf(errmsg, UPSERT_ERRMSG_BYTES, "%s", PQerrorMessage(p->pg));
    close_db(p);
    return NULL;
}

static int create(void *db, char errmsg[UPSERT_ERRMSG_BYTES])
{
    struct postgres *p = db;
    return check(p, PQexec(p->pg, CREATE), errmsg);
}

static int write_rows(void *db, const uint32_t ids[UPSERT_ROWS], uint32_t entities,
                      uint64_t version, char errmsg[UPSERT_ERRMSG_BYTES])
{
    struct postgres *p = db;
    char list[UPSERT_ROWS * 12 + 3], partitions[16], all[16], number[24];
    size_t len = 0;
    if (!p->prepared && check(p, PQprepare(p->pg, STATEMENT, UPSERT, 0, NULL), errmsg) != 0)
        return -1;
    p->prepared = true;
    for (size_t i = 0; i < UPSERT_ROWS; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%c%u", i == 0 ? '{' : ',', ids[i]);
    snprintf(list + len, sizeof list - len, "}");
    snprintf(partitions, sizeof partitions, "%d", UPSERT_PARTITIONS);
    snprintf(all, sizeof all, "%u", entities);
    snprintf(number, sizeof number, "%llu", (unsigned long long)version);
    const char *values[] = {list, partitions, all, number, p->state};
    return check(p, PQexecPrepared(p->pg, STATEMENT, 5, values, NULL, NULL, 0), errmsg);
}

const struct upsert_ops UPSERT_POSTGRES = {
    .open = open_db, .create = create, .write = write_rows, .close = close_db};
