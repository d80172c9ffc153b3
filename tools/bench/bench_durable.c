/* Calls that are committed before they are answered, in messages of 64, on many entities: the
 * node gathers what is ready into commits of up to 1,000 rows. Next to it the database alone, with
 * commits of 1,000 rows, as many at once as the node has. On Postgres and on SQLite, each time the
 * database of the node and of the bare statements being the same server or directory. */
#include <stdio.h>
#include <string.h>

#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/bench/node.h"
#include "tools/bench/postgres_server.h"
#include "tools/bench/upsert.h"

enum { BATCH = 64, IN_FLIGHT = 64, PER_S_MIN = 15000, COMMITS_AT_ONCE = 3 };

struct database {
    const char *name;
    const struct upsert_ops *ops;
    unsigned threads; /* SQLite has one writer at a time */
    double target;    /* 0 = none */
    char node_url[PATH_MAX + 16], upsert_url[PATH_MAX];
};

struct durable {
    struct bench *b;
    const struct database *database;
    struct node node;
    struct figure *rate, *latency;
    struct latencies latencies;
};

static int measure_upserts(struct durable *d)
{
    struct bench *b = d->b;
    struct upsert *u = upsert_start(b, d->database->ops, d->database->upsert_url,
                                    d->database->threads, b->options->entities);
    if (u == NULL)
        return -1;
    series_add(&d->rate->limit, measure_rate(upsert_done, u, b->options->seconds, 0, NULL));
    return upsert_stop(b, u);
}

static int measure_calls(struct durable *d, uint32_t batch, unsigned in_flight)
{
    struct bench *b = d->b;
    bool one = in_flight == 1;
    struct random_calls calls = {
        .random = 1 + d->rate->measured.n,
        .entities = b->options->entities,
        .batch = batch,
        .method = troupe_bytes_of("incr_durable"),
    };
    struct load *load =
        load_start(b, &(struct load_options){.client = d->node.client,
                                             .in_flight = in_flight,
                                             .fill = random_calls_fill,
                                             .data = &calls,
                                             .latencies = one ? &d->latencies : NULL});
    if (load == NULL)
        return -1;
    double rate = measure_rate(load_done, load, b->options->seconds / (one ? 2 : 1), 0, NULL);
    if (load_stop(b, load) != 0)
        return -1;
    if (one)
        series_add(&d->latency->measured, latencies_quantile_us(&d->latencies, 0.5));
    else
        series_add(&d->rate->measured, rate);
    d->latencies.n = 0;
    return 0;
}

/* The entities exist and have been persisted, as in a node that has run for a while. */
static int prepare(struct durable *d)
{
    struct bench *b = d->b;
    if (latencies_open(&d->latencies, 1000000) != 0)
        return bench_fail(b, "out of memory");
    if (node_start(b, &d->node, d->database->node_url, "counter") != 0)
        return -1;
    bench_say("durable on %s: making %u entities", d->database->name, b->options->entities);
    if (node_populate(b, &d->node, b->options->entities, TROUPE_CALL_NO_ID) != 0)
        return -1;
    return node_wait_persisted(b, &d->node, 600);
}

static int measure_database(struct bench *b, const struct database *database)
{
    struct durable d = {.b = b, .database = database};
    d.rate =
        report_add(&b->report, "calls/s", "durable: %s, %d in a message", database->name, BATCH);
    d.latency =
        report_add(&b->report, "us", "durable: %s, latency of one call, median", database->name);
    figure_limit(d.rate, "bare upserts of 1,000 rows");
    if (database->target > 0)
        figure_target(d.rate, TARGET_AT_LEAST, database->target);
    int rc = prepare(&d);
    for (uint32_t i = 0; i < b->options->rounds && rc == 0; i++) {
        bench_say("durable on %s %s", database->name, bench_round(b, i));
        rc = measure_upserts(&d);
        if (rc == 0)
            rc = measure_calls(&d, BATCH, IN_FLIGHT);
        if (rc == 0)
            rc = measure_calls(&d, 1, 1);
    }
    latencies_close(&d.latencies);
    node_stop(b, &d.node);
    return rc;
}

static int measure_postgres(struct bench *b, const char *url)
{
    struct database database = {.name = "Postgres",
                                .ops = &UPSERT_POSTGRES,
                                .threads = COMMITS_AT_ONCE,
                                .target = PER_S_MIN};
    snprintf(database.node_url, sizeof database.node_url, "%s", url);
    snprintf(database.upsert_url, sizeof database.upsert_url, "%s", url);
    int rc = node_migrate(b, url);
    return rc != 0 ? rc : measure_database(b, &database);
}

static int measure_own_postgres(struct bench *b)
{
    struct postgres_server server = {0};
    bench_say("durable: making a Postgres server");
    int rc = postgres_server_start(b, &server);
    if (rc == 0)
        rc = measure_postgres(b, server.url);
    postgres_server_stop(b, &server);
    return rc;
}

/* Two files of one directory. */
static int measure_sqlite(struct bench *b, const char *path)
{
    struct database database = {.name = "SQLite", .ops = &UPSERT_SQLITE, .threads = 1};
    snprintf(database.node_url, sizeof database.node_url, "sqlite:%s", path);
    if (snprintf(database.upsert_url, sizeof database.upsert_url, "%s-bare", path) >= PATH_MAX)
        return bench_fail(b, "the path is too long");
    return measure_database(b, &database);
}

int bench_durable(struct bench *b)
{
    const char *url = b->options->store;
    char path[PATH_MAX];
    if (url != NULL && strncmp(url, "postgres", 8) == 0)
        return measure_postgres(b, url);
    if (url != NULL && strncmp(url, "sqlite:", 7) == 0)
        return measure_sqlite(b, url + 7);
    if (url != NULL)
        return bench_fail(b, "'%s' keeps nothing: --store takes sqlite: or postgres:// here", url);
    snprintf(path, sizeof path, "%s/durable.db", b->sandbox.dir);
    int rc = 0;
    if (postgres_server_exists())
        rc = measure_own_postgres(b);
    else
        bench_say("durable: no Postgres server is installed; SQLite only");
    return rc != 0 ? rc : measure_sqlite(b, path);
}
