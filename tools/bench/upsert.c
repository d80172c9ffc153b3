/* See upsert.h. A thread per connection; each writes one commit after the other. */
#include "tools/bench/upsert.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench/bench.h"
#include "tools/bench/load.h"

enum { THREADS_MAX = 16 };

struct writer {
    struct upsert *upsert;
    pthread_t thread;
    uint64_t random;
    void *db;
    int rc;
    char errmsg[UPSERT_ERRMSG_BYTES];
};

struct upsert {
    const struct upsert_ops *ops;
    uint32_t entities;
    _Atomic uint64_t done, version;
    atomic_bool stopping;
    unsigned writers_n, running_n;
    struct writer writers[THREADS_MAX];
};

/* Distinct ids in ascending order (two statements that lock in one order cannot deadlock), spread
 * over all: one out of each of a thousand equal ranges. */
static void choose_ids(struct writer *w, uint32_t ids[UPSERT_ROWS])
{
    uint32_t width = w->upsert->entities / UPSERT_ROWS;
    for (uint32_t i = 0; i < UPSERT_ROWS; i++)
        ids[i] = i * width + (uint32_t)(random_next(&w->random) % width);
}

static void *write_on(void *data)
{
    struct writer *w = data;
    struct upsert *u = w->upsert;
    uint32_t ids[UPSERT_ROWS];
    while (w->rc == 0 && !atomic_load(&u->stopping)) {
        choose_ids(w, ids);
        w->rc = u->ops->write(w->db, ids, u->entities, atomic_fetch_add(&u->version, 1), w->errmsg);
        if (w->rc == 0)
            atomic_fetch_add(&u->done, UPSERT_ROWS);
    }
    return NULL;
}

uint64_t upsert_done(void *upsert)
{
    return atomic_load(&((struct upsert *)upsert)->done);
}

int upsert_stop(struct bench *b, struct upsert *u)
{
    int rc = 0;
    atomic_store(&u->stopping, true);
    for (unsigned i = 0; i < u->running_n; i++)
        pthread_join(u->writers[i].thread, NULL);
    for (unsigned i = 0; i < u->writers_n; i++) {
        struct writer *w = &u->writers[i];
        if (w->rc != 0)
            rc = bench_fail(b, "bare upserts: %s", w->errmsg);
        if (w->db != NULL)
            u->ops->close(w->db);
    }
    free(u);
    return rc;
}

static int open_writer(struct upsert *u, unsigned number, const char *url)
{
    struct writer *w = &u->writers[u->writers_n++];
    w->upsert = u;
    w->random = 1 + number;
    w->db = u->ops->open(url, w->errmsg);
    w->rc = w->db == NULL ? -1 : 0;
    if (w->rc == 0 && number == 0)
        w->rc = u->ops->create(w->db, w->errmsg);
    return w->rc;
}

struct upsert *upsert_start(struct bench *b, const struct upsert_ops *ops, const char *url,
                            unsigned threads, uint32_t entities)
{
    struct upsert *u = calloc(1, sizeof *u);
    int rc = u == NULL || entities < UPSERT_ROWS || threads > THREADS_MAX ? -1 : 0;
    if (rc != 0) {
        free(u);
        bench_fail(b, "bare upserts: out of memory, or less than %d entities", UPSERT_ROWS);
        return NULL;
    }
    u->ops = ops;
    u->entities = entities;
    atomic_store(&u->version, 1);
    for (unsigned i = 0; i < threads && rc == 0; i++)
        rc = open_writer(u, i, url);
    for (unsigned i = 0; i < threads && rc == 0; i++) {
        rc = pthread_create(&u->writers[i].thread, NULL, write_on, &u->writers[i]);
        if (rc == 0)
            u->running_n++;
        else
            snprintf(u->writers[i].errmsg, UPSERT_ERRMSG_BYTES, "no thread could be started");
        u->writers[i].rc = rc;
    }
    if (rc == 0)
        return u;
    upsert_stop(b, u);
    return NULL;
}
