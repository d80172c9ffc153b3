/* See connection.h.
 *
 * Happy path: the file is opened (and created, the first time), switched to WAL, migrated to this
 * program's schema; statements are prepared as they are needed and stay.
 *
 * Failures: whatever SQLite reports except a lock (and a full disk, where the transaction is rolled
 * back and the connection is as good as before) marks the connection as failed; its thread closes
 * it and the next request opens it anew. That covers a file that was replaced by a backup, a disk
 * that was remounted, permissions that were repaired. A file that vanishes while it is in use is
 * not made again: an operator who moves it by mistake shall find an error, not an empty store. */
#include "storage/sqlite/connection.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <uv.h>

#include "base/invariant.h"
#include "base/name.h"
#include "storage/request.h"
#include "storage/sqlite/migrate.h"
#include "storage/sqlite/names.h"
#include "storage/sqlite/note.h"

enum {
    POLL_US_MIN = 100,         /* between two looks at a lock that somebody else holds … */
    POLL_US_MAX = 1000,        /* … which is short enough to meet SHARE_PAUSE_MS in worker.c */
    WAL_BYTES_KEPT = 64 << 20, /* a larger log is cut to this when it is started anew */
    LOG_TEXT_BYTES = 512,
};

/* ---- errors ---- */

static const struct {
    int code; /* primary */
    int error;
    bool reopen;
    const char *advice;
} meanings[] = {
    {SQLITE_BUSY, TROUPE_EUNAVAILABLE, false,
     "the database is locked by another program; close it, or wait until it is done"},
    {SQLITE_LOCKED, TROUPE_EUNAVAILABLE, false, "the database is locked"},
    {SQLITE_FULL, TROUPE_EUNAVAILABLE, false, "the disk is full; free some space"},
    {SQLITE_READONLY, TROUPE_EUNAVAILABLE, true,
     "the database cannot be written; check the owner and permissions of the file and of its "
     "directory"},
    {SQLITE_PERM, TROUPE_EUNAVAILABLE, true, "the database cannot be used; check its permissions"},
    {SQLITE_CANTOPEN, TROUPE_EUNAVAILABLE, true,
     "the database cannot be opened; check that its directory exists and may be written"},
    {SQLITE_NOTADB, TROUPE_EUNAVAILABLE, true,
     "the file is not an SQLite database; name another one, or restore this one"},
    {SQLITE_CORRUPT, TROUPE_EUNAVAILABLE, true,
     "the database is damaged; restore it from a backup, or try 'sqlite3 FILE .recover'"},
    {SQLITE_IOERR, TROUPE_EUNAVAILABLE, true,
     "reading or writing the database failed; check the disk"},
    {SQLITE_TOOBIG, TROUPE_EREJECTED, false, "a row is larger than the database can take"},
    {SQLITE_CONSTRAINT, TROUPE_EREJECTED, false, "the database refuses the row"},
    {SQLITE_NOMEM, TROUPE_EUNAVAILABLE, true, "out of memory"},
};

/* A write beyond that limit fails with EFBIG, as SIGXFSZ is ignored; of which SQLite keeps nothing.
 */
static bool files_are_limited(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

/* What the operating system said, for errors that come from it; else what SQLite says. */
static const char *detail_of(sqlite3 *db, int code)
{
    int number = db == NULL ? 0 : sqlite3_system_errno(db);
    bool is_system = (code & 0xFF) == SQLITE_CANTOPEN || (code & 0xFF) == SQLITE_IOERR;
    if (code == SQLITE_IOERR_WRITE && files_are_limited())
        return "the file may not grow any more? Raise the limit on file sizes, ulimit -f";
    if (is_system && number != 0)
        return strerror(number);
    return db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(db);
}

int sqlite__fail(struct sqlite_connection *c, struct store_request *r)
{
    int code = c->db == NULL ? SQLITE_NOMEM : sqlite3_extended_errcode(c->db);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code != (code & 0xFF))
            continue;
        c->has_failed |= meanings[i].reopen;
        return store__fail(r, meanings[i].error, "%s (%s): %s", meanings[i].advice,
                           detail_of(c->db, code), c->config->path);
    }
    c->has_failed = true;
    return store__fail(r, TROUPE_EUNAVAILABLE, "the database failed (%s): %s",
                       detail_of(c->db, code), c->config->path);
}

int sqlite__fail_row(struct sqlite_connection *c, struct store_request *r, const char *table,
                     const char *key)
{
    return store__fail(r, TROUPE_EUNAVAILABLE,
                       "the row '%s' of table %s makes no sense: the database was damaged or "
                       "edited; repair the row or restore a backup: %s",
                       key, table, c->config->path);
}

void sqlite__log(const struct sqlite_config *config, enum store_log_level level, const char *format,
                 ...)
{
    char text[LOG_TEXT_BYTES];
    va_list args;
    if (config->log == NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    config->log(config->log_data, level, text);
}

/* ---- waiting ---- */

/* SQLite has no queue for its locks, so whoever wants one looks again and again. */
static int on_busy(void *data, int count)
{
    struct sqlite_connection *c = data;
    if (c->yield != NULL && sqlite__gate_is_wanted(c->yield))
        return 0;
    uint64_t now = uv_hrtime(), give_up_ns = atomic_load(&c->config->give_up_ns);
    if (now >= c->patience_ns || (give_up_ns != 0 && now >= give_up_ns))
        return 0;
    unsigned pause_us = count < 4 ? POLL_US_MIN << count : POLL_US_MAX;
    nanosleep(&(struct timespec){.tv_nsec = pause_us * 1000L}, NULL);
    return 1;
}

void sqlite__set_patience(struct sqlite_connection *c, uint32_t ms)
{
    c->patience_ns = uv_hrtime() + (uint64_t)ms * 1000000;
}

/* ---- opening ---- */

static int on_commit(void *data, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_connection *c = data;
    (void)db;
    (void)name;
    c->wal_pages = pages < 0 ? 0 : (uint32_t)pages;
    return SQLITE_OK;
}

/* Two connections that switch a new file to WAL at the same time meet SQLITE_BUSY without their
 * busy handlers being asked. */
static int switch_to_wal(struct sqlite_connection *c)
{
    int rc;
    for (int count = 0;; count++) {
        rc = sqlite3_exec(c->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if ((rc & 0xFF) != SQLITE_BUSY || !on_busy(c, count))
            return rc;
    }
}

static int configure(struct sqlite_connection *c)
{
    char sql[512];
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_handler(c->db, on_busy, c);
    int rc = switch_to_wal(c);
    if (rc != SQLITE_OK)
        return rc;
    /* FULL: a commit has reached the disk when it is done. secure_delete (on in some builds) would
     * only write zeros over what an update frees. */
    snprintf(sql, sizeof sql,
             "PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY;"
             "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
             "PRAGMA journal_size_limit = %d; PRAGMA cache_size = -%u",
             WAL_BYTES_KEPT, c->cache_kib);
    rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    sqlite3_wal_autocheckpoint(c->db, 0); /* worker.c chooses the moment */
    sqlite3_wal_hook(c->db, on_commit, c);
    if (rc != SQLITE_OK) /* the log is opened, or made, by who reads first */
        return rc;
    return sqlite3_exec(c->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
}

static int migrate(struct sqlite_connection *c, struct store_request *r)
{
    int rc = sqlite__migrate(c->db, c->config, r->errmsg);
    if (rc == TROUPE_EIO)
        return sqlite__fail(c, r);
    r->error = rc;
    return rc;
}

static int open_file(struct sqlite_connection *c, struct store_request *r)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (!atomic_load(&c->config->was_there))
        flags |= SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(c->config->path, &c->db, flags, NULL) != SQLITE_OK)
        return sqlite__fail(c, r);
    if (sqlite3_db_readonly(c->db, "main") == 1) /* SQLite settles for what it gets */
        return store__fail(r, TROUPE_EUNAVAILABLE,
                           "the database cannot be written; check the owner and permissions of "
                           "the file: %s",
                           c->config->path);
    int rc = sqlite__names_take(c, r);
    if (rc != 0)
        return rc;
    if (configure(c) != SQLITE_OK)
        return sqlite__fail(c, r);
    rc = sqlite__names_take_log(c, r);
    if (rc == 0)
        rc = sqlite__note_look(c, r);
    if (rc == 0)
        rc = migrate(c, r);
    return rc == 0 ? sqlite__note_leave(c, r) : rc;
}

int sqlite__open(struct sqlite_connection *c, struct store_request *r)
{
    if (c->db != NULL)
        return 0;
    int rc = open_file(c, r);
    if (rc != 0) {
        sqlite__close(c);
        return rc;
    }
    atomic_store(&c->config->was_there, true);
    return 0;
}

void sqlite__close(struct sqlite_connection *c)
{
    for (size_t i = 0; i < SQL_STATEMENTS_N; i++) {
        sqlite3_finalize(c->statements[i]);
        c->statements[i] = NULL;
    }
    sqlite__note_take_away(c);
    sqlite__names_spare_log(c);
    int rc = sqlite3_close(c->db);
    INVARIANT(rc == SQLITE_OK); /* every statement is finalized */
    c->db = NULL;
    sqlite__names_give(c);
    c->cluster = 0;
    c->wal_pages = c->wal_tidied = 0;
    c->has_failed = false;
}

int sqlite__check_file(struct sqlite_connection *c, struct store_request *r)
{
    int moved = 0;
    sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved) {
        sqlite__names_look(c);
        return sqlite__names_has_log(c) ? 0 : sqlite__names_fail_log(c, r);
    }
    c->has_failed = true;
    return store__fail(r, TROUPE_EUNAVAILABLE,
                       "the database was moved or deleted while it was in use; put it back, or "
                       "restart to begin with an empty one: %s",
                       c->config->path);
}

static void known_uid(const struct sqlite_config *config, char uid[STORE_UID_BYTES + 1])
{
    uv_mutex_lock(config->lock);
    memcpy(uid, config->uid, sizeof config->uid);
    uv_mutex_unlock(config->lock);
}

static int fail_replaced(struct sqlite_connection *c, struct store_request *r, const char *before,
                         const char *now)
{
    return store__fail(r, TROUPE_EVERSION,
                       "the database has been replaced: cluster '%s' was %s and is %s now; put the "
                       "file back, or restart the node to go on with this one: %s",
                       c->config->cluster, before, now, c->config->path);
}

/* Another database may have come under our name while the connection was closed: what is there is
 * not what this store has been asked about so far. */
static int check_uid(struct sqlite_connection *c, struct store_request *r, struct troupe_bytes uid)
{
    char known[sizeof c->config->uid];
    if (uid.len != STORE_UID_BYTES)
        return sqlite__fail_row(c, r, "cluster_meta", c->config->cluster);
    memcpy(c->uid, uid.data, uid.len);
    known_uid(c->config, known);
    if (known[0] == '\0' || memcmp(known, uid.data, uid.len) == 0)
        return 0;
    return fail_replaced(c, r, known, c->uid);
}

/* Nor is a file without the cluster. Before anybody has made the cluster that is no error. */
static int check_missing(struct sqlite_connection *c, struct store_request *r)
{
    char known[sizeof c->config->uid];
    known_uid(c->config, known);
    return known[0] == '\0' ? 0 : fail_replaced(c, r, known, "missing");
}

void sqlite__confirm_cluster(struct sqlite_connection *c)
{
    if (c->uid[0] == '\0')
        return;
    uv_mutex_lock(c->config->lock);
    if (c->config->uid[0] == '\0')
        memcpy(c->config->uid, c->uid, sizeof c->uid);
    uv_mutex_unlock(c->config->lock);
    c->uid[0] = '\0';
}

int sqlite__find_cluster(struct sqlite_connection *c, struct store_request *r)
{
    if (c->cluster != 0)
        return 0;
    sqlite3_stmt *s = sqlite__use(c, SQL_FIND_CLUSTER);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite__bind_string(s, 1, c->config->cluster);
    int step = sqlite3_step(s), rc = 0;
    uint64_t partitions = 0;
    if (step == SQLITE_ROW) {
        if (!sqlite__column_u63(s, 2, &partitions) || partitions > PARTITIONS_MAX)
            rc = sqlite__fail_row(c, r, "cluster_meta", c->config->cluster);
        else
            rc = check_uid(c, r, sqlite__column_bytes(s, 1));
        if (rc == 0)
            c->cluster = sqlite3_column_int64(s, 0);
        c->partitions = (uint32_t)partitions;
    } else if (step != SQLITE_DONE) {
        rc = sqlite__fail(c, r);
    } else {
        rc = check_missing(c, r);
    }
    sqlite3_reset(s);
    return rc;
}

/* ---- statements ---- */

sqlite3_stmt *sqlite__use(struct sqlite_connection *c, enum sqlite_statement which)
{
    sqlite3_stmt **s = &c->statements[which];
    if (*s == NULL)
        sqlite3_prepare_v3(c->db, sqlite__statements[which], -1, SQLITE_PREPARE_PERSISTENT, s,
                           NULL);
    return *s;
}

int sqlite__exec(struct sqlite_connection *c, enum sqlite_statement which)
{
    sqlite3_stmt *s = sqlite__use(c, which);
    if (s == NULL)
        return sqlite3_errcode(c->db);
    int rc = sqlite3_step(s);
    int reset = sqlite3_reset(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : reset;
}

void sqlite__bind_u64(sqlite3_stmt *s, int at, uint64_t value)
{
    sqlite3_bind_int64(s, at, (sqlite3_int64)value);
}

void sqlite__bind_text(sqlite3_stmt *s, int at, struct troupe_bytes text)
{
    sqlite3_bind_text64(s, at, (const char *)text.data, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

void sqlite__bind_string(sqlite3_stmt *s, int at, const char *text)
{
    sqlite__bind_text(s, at, troupe_bytes_of(text));
}

/* A NULL pointer would bind NULL, and an empty state is not NULL. */
void sqlite__bind_blob(sqlite3_stmt *s, int at, struct troupe_bytes blob)
{
    sqlite3_bind_blob64(s, at, blob.len == 0 ? (const void *)"" : blob.data, blob.len,
                        SQLITE_STATIC);
}

bool sqlite__column_u63(sqlite3_stmt *s, int at, uint64_t *value)
{
    sqlite3_int64 number = sqlite3_column_int64(s, at);
    *value = (uint64_t)number;
    return number >= 0;
}

struct troupe_bytes sqlite__column_bytes(sqlite3_stmt *s, int at)
{
    const void *data = sqlite3_column_blob(s, at); /* before the length, as SQLite asks for */
    return troupe_bytes(data, (size_t)sqlite3_column_bytes(s, at));
}
