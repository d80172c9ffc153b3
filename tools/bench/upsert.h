/* The limit of a durable call: the database alone. Statements (Postgres) or transactions (SQLite)
 * that insert or update 1,000 rows each, in a table shaped like the store's entity table, without
 * its fence; as many at once as a node has under way. */
#ifndef TROUPE_BENCH_UPSERT_H
#define TROUPE_BENCH_UPSERT_H

#include <stddef.h>
#include <stdint.h>

struct bench;

enum {
    UPSERT_ROWS = 1000,
    UPSERT_STATE_BYTES = 64, /* and as many for the remembered replies */
    UPSERT_PARTITIONS = 4096,
    UPSERT_ERRMSG_BYTES = 256,
};

/* A database, as one thread uses it. Functions return 0, or -1 with errmsg. */
struct upsert_ops {
    void *(*open)(const char *url, char errmsg[UPSERT_ERRMSG_BYTES]);
    /* Once, before the first write. */
    int (*create)(void *db, char errmsg[UPSERT_ERRMSG_BYTES]);
    /* One commit. ids ascend; row i is in partition ids[i] * UPSERT_PARTITIONS / entities. */
    int (*write)(void *db, const uint32_t ids[UPSERT_ROWS], uint32_t entities, uint64_t version,
                 char errmsg[UPSERT_ERRMSG_BYTES]);
    void (*close)(void *db);
};

extern const struct upsert_ops UPSERT_POSTGRES, UPSERT_SQLITE;

struct upsert;
/* url: as libpq takes it; the path of a file for SQLite. NULL with errmsg in b. */
struct upsert *upsert_start(struct bench *b, const struct upsert_ops *ops, const char *url,
                            unsigned threads, uint32_t entities);
/* Rows committed so far. */
uint64_t upsert_done(void *upsert);
int upsert_stop(struct bench *b, struct upsert *upsert);

#endif
