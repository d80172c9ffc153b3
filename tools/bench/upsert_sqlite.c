/* See upsert.h. As the SQLite store does it: a write-ahead log, synced at every commit. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/load.h"
#include "tools/bench/upsert.h"

static const char CREATE[] =
    "CREATE TABLE IF NOT EXISTS bench_upsert ("
    " pid INTEGER, kind TEXT, id TEXT, epoch INTEGER, version INTEGER, deleted INTEGER,"
    " state BLOB, dedup BLOB, PRIMARY KEY (pid, kind, id)) STRICT, WITHOUT ROWID";

static const char UPSERT[] =
    "INSERT INTO bench_upsert VALUES (?1, 'counter', ?2, 1, ?3, 0, ?4, ?4)"
    " ON CONFLICT (pid, kind, id) DO UPDATE SET epoch = excluded.epoch,"
    "  version = excluded.version, deleted = excluded.deleted, state = excluded.state,"
    "  dedup = excluded.dedup WHERE (epoch, version) <= (excluded.epoch, excluded.version)";

struct sqlite {
    sqlite3 *db;
    sqlite3_stmt *put;
    uint8_t state[UPSERT_STATE_BYTES];
};

static int fail(struct sqlite *s, char errmsg[UPSERT_ERRMSG_BYTES])
{
    snprintf(errmsg, UPSERT_ERRMSG_BYTES, "%s", sqlite3_errmsg(s->db));
    return -1;
}

static void close_db(void *db)
{
    struct sqlite *s = db;
    sqlite3_finalize(s->put);
    sqlite3_close(s->db);
    free(s);
}

static void *open_db(const char *path, char errmsg[UPSERT_ERRMSG_BYTES])
{
    struct sqlite *s = calloc(1, sizeof *s);
    if (s == NULL) {
        snprintf(errmsg, UPSERT_ERRMSG_BYTES, "out of memory");
        return NULL;
    }
    memset(s->state, '7', sizeof s->state);
    if (sqlite3_open(path, &s->db) == SQLITE_OK &&
        sqlite3_exec(s->db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4096",
                     NULL, NULL, NULL) == SQLITE_OK)
        return s;
    fail(s, errmsg);
    close_db(s);
    return NULL;
}

static int create(void *db, char errmsg[UPSERT_ERRMSG_BYTES])
{
    struct sqlite *s = db;
    if (sqlite3_exec(s->db, CREATE, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v3(s->db, UPSERT, -1, SQLITE_PREPARE_PERSISTENT, &s->put, NULL) !=
            SQLITE_OK)
        return fail(s, errmsg);
    return 0;
}

static int write_rows(void *db, const uint32_t ids[UPSERT_ROWS], uint32_t entities,
                      uint64_t version, char errmsg[UPSERT_ERRMSG_BYTES])
{
    struct sqlite *s = db;
    if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return fail(s, errmsg);
    for (size_t i = 0; i < UPSERT_ROWS; i++) {
        char id[24];
        int len = (int)write_decimal(id, ids[i]);
        sqlite3_bind_int64(s->put, 1, (int64_t)ids[i] * UPSERT_PARTITIONS / entities);
        sqlite3_bind_text(s->put, 2, id, len, SQLITE_STATIC);
        sqlite3_bind_int64(s->put, 3, (int64_t)version);
        sqlite3_bind_blob(s->put, 4, s->state, sizeof s->state, SQLITE_STATIC);
        sqlite3_step(s->put);
        if (sqlite3_reset(s->put) != SQLITE_OK) {
            fail(s, errmsg);
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            return -1;
        }
    }
    return sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, errmsg);
}

const struct upsert_ops UPSERT_SQLITE = {
    .open = open_db, .create = create, .write = write_rows, .close = close_db};
