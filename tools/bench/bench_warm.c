/* One of three nodes is killed, and the others have taken over: of the entities in the store (as
 * --resident says) a tenth was saved lately. How long until those that died are in memory again
 * before anybody has called them, and what calls to them cost meanwhile and in the seconds after
 * that, next to the same without warming. The calls are few: many would load everything by
 * themselves. */
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/bench.h"
#include "tools/bench/node.h"
#include "tools/bench/pace.h"

enum {
    NODES = 3,
    LEFT = 2,
    RECENT_SHARE = 10,
    CALLS_PER_S = 1000,
    CALL_MS = 10000,
    LATENCIES_MAX = 1000000,
    AGE_CHUNK = 20000,
    AGE_BUSY_MS = 10000,
    BALANCE_S_MAX = 120,
    PERSIST_S_MAX = 600,
    WARM_S_MAX = 130,
};

struct warm {
    struct bench *b;
    const char *database;
    uint32_t recent;
    struct node nodes[NODES];
    struct latencies meanwhile, after;
    struct figure *warmed_s, *warmed, *p99_meanwhile, *p99_after, *median_after, *failed;
};

/* The first n nodes own all partitions, each what the ring proposes for it. */
static int await_owned(struct warm *w, unsigned n)
{
    double until_s = now_s() + BALANCE_S_MAX;
    while (now_s() < until_s) {
        uint64_t owned = 0, partitions = 1;
        bool balanced = true;
        for (unsigned i = 0; i < n; i++) {
            struct node_figures f = {0};
            if (node_look(w->b, &w->nodes[i], &f) != 0)
                return -1;
            balanced &= f.serving && f.partitions_owned == f.partitions_proposed;
            owned += f.partitions_owned;
            partitions = f.partitions;
        }
        if (balanced && owned == partitions)
            return 0;
        sleep_s(0.01);
    }
    return bench_fail(w->b, "%u nodes do not own everything after %d s", n, BALANCE_S_MAX);
}

/* ---- what was saved long ago ---- */

/* In small steps, so that the nodes keep their leases. */
static int age_sqlite(struct bench *b, const char *path)
{
    sqlite3 *db = NULL;
    char sql[256], why[256] = "";
    int rc = sqlite3_open(path, &db);
    sqlite3_busy_timeout(db, AGE_BUSY_MS);
    for (uint32_t at = 0; rc == SQLITE_OK && at <= b->options->resident; at += AGE_CHUNK) {
        snprintf(sql, sizeof sql,
                 "UPDATE entity SET saved_at = saved_at - 3600000 WHERE rowid > %u AND rowid <= %u",
                 at, at + AGE_CHUNK);
        rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
        sleep_s(0.01);
    }
    snprintf(why, sizeof why, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : bench_fail(b, "%s: %s", path, why);
}

static int age_postgres(struct bench *b, const char *url)
{
    static const char *const steps[] = {
        "UPDATE troupe.entity SET saved_at = saved_at - interval '1 hour'",
        "VACUUM ANALYZE troupe.entity"};
    PGconn *pg = PQconnectdb(url);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof steps / sizeof steps[0]; i++) {
        PGresult *result = PQexec(pg, steps[i]);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            rc = bench_fail(b, "%s: %s", steps[i], PQerrorMessage(pg));
        PQclear(result);
    }
    PQfinish(pg);
    return rc;
}

static int age(struct bench *b, const char *url)
{
    return strncmp(url, "sqlite:", 7) == 0 ? age_sqlite(b, url + 7) : age_postgres(b, url);
}

/* ---- a round ---- */

static int save(struct warm *w, uint32_t entities)
{
    int rc = node_populate(w->b, &w->nodes[0], entities, TROUPE_CALL_NO_ID);
    for (unsigned i = 0; i < NODES && rc == 0; i++)
        rc = node_wait_persisted(w->b, &w->nodes[i], PERSIST_S_MAX);
    return rc;
}

static int prepare(struct warm *w, const char *url)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (node_start(w->b, &w->nodes[i], url, "counter") != 0)
            return -1;
    }
    if (await_owned(w, NODES) != 0 || save(w, w->b->options->resident) != 0)
        return -1;
    return age(w->b, url) != 0 ? -1 : save(w, w->recent);
}

static int await_warmed(struct warm *w, uint64_t *warmed)
{
    double until_s = now_s() + WARM_S_MAX;
    while (now_s() < until_s) {
        uint64_t left = 0;
        *warmed = 0;
        for (unsigned i = 0; i < LEFT; i++) {
            struct node_figures f = {0};
            if (node_look(w->b, &w->nodes[i], &f) != 0)
                return -1;
            *warmed += f.warmed;
            left += f.to_warm + f.loading;
        }
        if (left == 0)
            return 0;
        sleep_s(0.01);
    }
    return bench_fail(w->b, "it is not warm after %d s", WARM_S_MAX);
}

static void note(struct figure *f, bool warming, struct latencies *l, double quantile)
{
    series_add(warming ? &f->measured : &f->limit, latencies_quantile_us(l, quantile) / 1000);
}

/* Calls begin when the partitions are taken over: what they waited before is the lease's time. */
static int measure_after(struct warm *w, bool warming)
{
    struct bench *b = w->b;
    struct pace_options options = {.clients = {w->nodes[0].client, w->nodes[1].client},
                                   .clients_n = LEFT,
                                   .calls_per_s = CALLS_PER_S,
                                   .entities = w->recent,
                                   .timeout_ms = CALL_MS,
                                   .latencies = &w->meanwhile};
    char failure[256];
    uint64_t warmed = 0;
    double begun_s = now_s();
    struct pace *pace = pace_start(b, &options);
    if (pace == NULL)
        return -1;
    int rc = await_warmed(w, &warmed);
    double took_s = now_s() - begun_s;
    if (took_s < b->options->seconds) /* as long without warming as with it */
        sleep_s(b->options->seconds - took_s);
    pace_note(pace, &w->after);
    sleep_s(b->options->seconds);
    uint64_t failed = pace_failed(pace, failure);
    pace_stop(pace);
    if (rc != 0)
        return rc;
    if (failed > 0)
        bench_say("%llu calls failed, the first one with %s", (unsigned long long)failed, failure);
    series_add(&w->failed->measured, (double)failed);
    note(w->p99_meanwhile, warming, &w->meanwhile, 0.99);
    note(w->p99_after, warming, &w->after, 0.99);
    note(w->median_after, warming, &w->after, 0.5);
    if (warming) {
        series_add(&w->warmed_s->measured, took_s);
        series_add(&w->warmed->measured, (double)warmed);
    }
    return 0;
}

static int measure_round(struct warm *w, const char *url, bool warming)
{
    w->meanwhile.n = w->after.n = 0;
    setenv("TROUPE_WARM_ENTITIES", warming ? "10000000" : "0", 1);
    int rc = prepare(w, url);
    if (rc == 0) {
        node_stop(w->b, &w->nodes[NODES - 1]); /* kill -9 */
        rc = await_owned(w, LEFT);
    }
    if (rc == 0)
        rc = measure_after(w, warming);
    for (unsigned i = 0; i < NODES; i++)
        node_stop(w->b, &w->nodes[i]);
    unsetenv("TROUPE_WARM_ENTITIES");
    return rc;
}

static void add_figures(struct warm *w)
{
    struct report *r = &w->b->report;
    const char *db = w->database;
    w->warmed_s = report_add(r, "s", "warm: %s, takeover until what was in use is loaded", db);
    w->warmed = report_add(r, "entities", "warm: %s, loaded before they were called", db);
    w->p99_meanwhile = report_add(r, "ms", "warm: %s, latency of a call meanwhile, 99 %%", db);
    w->p99_after = report_add(r, "ms", "warm: %s, latency of a call afterwards, 99 %%", db);
    w->median_after = report_add(r, "ms", "warm: %s, latency of a call afterwards, median", db);
    w->failed = report_add(r, "calls", "warm: %s, failed", db);
    figure_target(w->failed, TARGET_AT_MOST, 0);
    figure_limit(w->p99_meanwhile, "without warming");
    figure_limit(w->p99_after, "without warming");
    figure_limit(w->median_after, "without warming");
}

/* url NULL: a new SQLite file each time. */
static int measure_database(struct bench *b, const char *database, const char *url)
{
    struct warm w = {
        .b = b, .database = database, .recent = b->options->resident / RECENT_SHARE + 1};
    char file[PATH_MAX];
    if (latencies_open(&w.meanwhile, LATENCIES_MAX) != 0 ||
        latencies_open(&w.after, LATENCIES_MAX) != 0)
        return bench_fail(b, "out of memory");
    add_figures(&w);
    int rc = 0;
    for (uint32_t i = 0; i < 2 * b->options->rounds && rc == 0; i++) {
        bool warming = i % 2 == 0;
        bench_say("warm on %s %s%s", database, bench_round(b, i / 2),
                  warming ? "" : ", without warming");
        if (url == NULL)
            node_store_url(b, file);
        snprintf(b->cluster, sizeof b->cluster, "warm-%u", i);
        rc = measure_round(&w, url == NULL ? file : url, warming);
    }
    b->cluster[0] = '\0';
    latencies_close(&w.meanwhile);
    latencies_close(&w.after);
    return rc;
}

int bench_warm(struct bench *b)
{
    return node_each_database(b, measure_database);
}
