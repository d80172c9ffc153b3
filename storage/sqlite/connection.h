/* One connection to the database file, used by one thread: opened at its first use and again after
 * every failure, so that a store recovers when the cause goes away. Around it the statements, the
 * waiting for locks, and what SQLite's errors mean to a store. */
#ifndef TROUPE_STORAGE_SQLITE_CONNECTION_H
#define TROUPE_STORAGE_SQLITE_CONNECTION_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <uv.h>

#include "storage/sqlite/gate.h"
#include "storage/sqlite/statements.h"
#include "storage/store.h"

struct sqlite_run;

/* What all connections of a store share. */
struct sqlite_config {
    char *path;    /* absolute */
    char *cluster; /* name */
    uint32_t partitions;
    uint32_t timeout_ms;           /* how long one request may wait for locks */
    uv_mutex_t *lock;              /* the store's, over uid */
    struct sqlite_run *run;        /* the lease's thread's: see runs.h */
    char uid[STORE_UID_BYTES + 1]; /* of the cluster, as a commit has confirmed it; "" = not yet */
    atomic_bool was_there; /* the file has been opened once: its absence is an error from now on */
    atomic_bool log_gone;  /* it has no name any more: all connections are to be closed */
    atomic_uint_least64_t give_up_ns;    /* closing: from then on nobody waits for locks. 0 = not */
    atomic_uint_least64_t links_told_ns; /* when a second name of the file was last told of */
    void (*log)(void *data, enum store_log_level level, const char *text); /* from any thread */
    void *log_data;
    void (*report)(void *data, const char *line); /* of migrations, or NULL */
    void *report_data;
};

struct sqlite_names;

struct sqlite_connection {
    struct sqlite_config *config;
    struct sqlite_gate *yield;  /* give up waiting for a lock when somebody hurries; or NULL */
    sqlite3 *db;                /* NULL: not open */
    struct sqlite_names *names; /* as long as db is open: see names.h */
    sqlite3_stmt *statements[SQL_STATEMENTS_N];
    char uid[STORE_UID_BYTES + 1]; /* of the cluster, in the transaction under way; "" = not seen */
    int64_t cluster;               /* its number, 0 when it is not known or does not exist yet */
    uint32_t partitions;           /* how many it has */
    uint64_t patience_ns;          /* until when to wait for locks, by uv_hrtime */
    uint32_t wal_pages;            /* in the log after the last commit */
    uint32_t wal_tidied;           /* … and after the last copying back */
    uint32_t cache_kib;
    bool has_failed; /* an error that the connection will not get over: reopen it */
};

/* Opens and migrates, if it is not open. 0, or the request's error. */
int sqlite__open(struct sqlite_connection *c, struct store_request *r);
void sqlite__close(struct sqlite_connection *c);
/* Waits for locks up to that long from now on. */
void sqlite__set_patience(struct sqlite_connection *c, uint32_t ms);
/* Notices that the file is not under its name any more. 0, or the request's error. */
int sqlite__check_file(struct sqlite_connection *c, struct store_request *r);
/* Sets c->cluster and c->partitions if the cluster exists. 0, or the request's error; that is
 * TROUPE_EVERSION if another database has come into the place of ours. */
int sqlite__find_cluster(struct sqlite_connection *c, struct store_request *r);
/* The transaction has been committed: what it saw of the cluster is true. */
void sqlite__confirm_cluster(struct sqlite_connection *c);

/* ---- statements ---- */

/* Prepared at its first use; NULL: the error is in c->db. */
sqlite3_stmt *sqlite__use(struct sqlite_connection *c, enum sqlite_statement which);
/* Executes one without parameters and results; SQLITE_OK or the error. */
int sqlite__exec(struct sqlite_connection *c, enum sqlite_statement which);
void sqlite__bind_u64(sqlite3_stmt *s, int at, uint64_t value);
void sqlite__bind_text(sqlite3_stmt *s, int at, struct troupe_bytes text);
void sqlite__bind_string(sqlite3_stmt *s, int at, const char *text);
void sqlite__bind_blob(sqlite3_stmt *s, int at, struct troupe_bytes blob);
/* False: negative, where only damage or an editor's hand can have put that. */
bool sqlite__column_u63(sqlite3_stmt *s, int at, uint64_t *value);
struct troupe_bytes sqlite__column_bytes(sqlite3_stmt *s, int at);

/* ---- errors ---- */

/* The request's error for what has just gone wrong in SQLite; returns it. */
int sqlite__fail(struct sqlite_connection *c, struct store_request *r);
/* … for a row that no store has written. */
int sqlite__fail_row(struct sqlite_connection *c, struct store_request *r, const char *table,
                     const char *key);
void sqlite__log(const struct sqlite_config *config, enum store_log_level level, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));

#endif
