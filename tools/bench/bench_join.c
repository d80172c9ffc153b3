/* A third node joins two that hold many resident entities (as --resident says) and answer 10,000
 * calls a second: how long until the partitions are balanced, counted from the start of its
 * process, and what the callers notice of it. What moves must be in memory only: nothing is loaded
 * again. */
#include <stdio.h>
#include <string.h>

#include "tools/bench/bench.h"
#include "tools/bench/node.h"
#include "tools/bench/pace.h"

enum {
    NODES = 3,
    CALLS_PER_S = 10000,
    CALL_MS = 10000,
    LATENCIES_MAX = 4000000,
    BALANCE_S_MAX = 120,
    PERSIST_S_MAX = 600,
    S_MAX = 10,
    P99_MS_MAX = 25,
};

struct join {
    struct bench *b;
    const char *database;
    struct node nodes[NODES];
    struct latencies before, meanwhile;
    struct pace *pace;
    struct figure *balanced, *p99, *longest, *failed, *loaded, *moved;
};

/* Each of the first n nodes owns what the ring proposes for it, and that is all there is. */
static int is_balanced(struct join *j, unsigned n, bool *balanced)
{
    uint64_t owned = 0, partitions = 1;
    *balanced = true;
    for (unsigned i = 0; i < n; i++) {
        struct node_figures f = {0};
        if (node_look(j->b, &j->nodes[i], &f) != 0)
            return -1;
        *balanced &= f.members == n && f.partitions_owned == f.partitions_proposed;
        owned += f.partitions_owned;
        partitions = f.partitions;
    }
    *balanced &= owned == partitions;
    return 0;
}

static int await_balance(struct join *j, unsigned n)
{
    double until_s = now_s() + BALANCE_S_MAX;
    bool balanced = false;
    while (now_s() < until_s) {
        if (is_balanced(j, n, &balanced) != 0)
            return -1;
        if (balanced)
            return 0;
        sleep_s(0.02);
    }
    return bench_fail(j->b, "%u nodes are not balanced after %d s", n, BALANCE_S_MAX);
}

static int prepare(struct join *j, const char *url)
{
    struct bench *b = j->b;
    bench_say("join on %s: making %u entities", j->database, b->options->resident);
    for (unsigned i = 0; i < NODES - 1; i++) {
        if (node_start(b, &j->nodes[i], url, "counter") != 0)
            return -1;
    }
    if (await_balance(j, NODES - 1) != 0 ||
        node_populate(b, &j->nodes[0], b->options->resident, TROUPE_CALL_NO_ID) != 0)
        return -1;
    for (unsigned i = 0; i < NODES - 1; i++) {
        if (node_wait_persisted(b, &j->nodes[i], PERSIST_S_MAX) != 0)
            return -1;
    }
    return 0;
}

static int note_round(struct join *j, double took_s)
{
    struct node_figures f[NODES];
    char failure[256];
    uint64_t failed = pace_failed(j->pace, failure), resident = 0;
    for (unsigned i = 0; i < NODES; i++) {
        if (node_look(j->b, &j->nodes[i], &f[i]) != 0)
            return -1;
        resident += f[i].resident;
    }
    if (failed > 0)
        bench_say("%llu calls failed, the first one with %s", (unsigned long long)failed, failure);
    if (resident != j->b->options->resident)
        return bench_fail(j->b, "%llu entities are resident, not %u", (unsigned long long)resident,
                          j->b->options->resident);
    series_add(&j->balanced->measured, took_s);
    series_add(&j->moved->measured, (double)f[NODES - 1].resident / took_s);
    series_add(&j->failed->measured, (double)failed);
    series_add(&j->loaded->measured, (double)f[NODES - 1].rows_loaded);
    series_add(&j->p99->measured, latencies_quantile_us(&j->meanwhile, 0.99) / 1000);
    series_add(&j->p99->limit, latencies_quantile_us(&j->before, 0.99) / 1000);
    series_add(&j->longest->measured, latencies_quantile_us(&j->meanwhile, 1) / 1000);
    series_add(&j->longest->limit, latencies_quantile_us(&j->before, 1) / 1000);
    return 0;
}

static int measure_join(struct join *j, const char *url)
{
    struct bench *b = j->b;
    sleep_s(b->options->seconds);
    pace_note(j->pace, &j->meanwhile);
    double begun_s = now_s();
    if (node_start(b, &j->nodes[NODES - 1], url, "counter") != 0 || await_balance(j, NODES) != 0)
        return -1;
    double took_s = now_s() - begun_s;
    pace_note(j->pace, &j->before); /* whatever comes now is not part of it */
    return note_round(j, took_s);
}

static int measure_round(struct join *j, const char *url)
{
    struct bench *b = j->b;
    j->before.n = j->meanwhile.n = 0;
    int rc = prepare(j, url);
    if (rc == 0) {
        struct pace_options options = {.clients = {j->nodes[0].client, j->nodes[1].client},
                                       .clients_n = 2,
                                       .calls_per_s = CALLS_PER_S,
                                       .entities = b->options->resident,
                                       .timeout_ms = CALL_MS,
                                       .latencies = &j->before};
        j->pace = pace_start(b, &options);
        rc = j->pace == NULL ? -1 : measure_join(j, url);
        if (j->pace != NULL)
            pace_stop(j->pace);
    }
    for (unsigned i = 0; i < NODES; i++)
        node_stop(b, &j->nodes[i]);
    return rc;
}

static void add_figures(struct join *j)
{
    struct report *r = &j->b->report;
    const char *db = j->database;
    j->balanced = report_add(r, "s", "join: %s, until it is balanced", db);
    figure_target(j->balanced, TARGET_AT_MOST, S_MAX);
    j->moved = report_add(r, "entities/s", "join: %s, moved", db);
    j->failed = report_add(r, "calls", "join: %s, failed", db);
    figure_target(j->failed, TARGET_AT_MOST, 0);
    j->loaded = report_add(r, "rows", "join: %s, loaded by the new node", db);
    figure_target(j->loaded, TARGET_AT_MOST, 0);
    j->p99 = report_add(r, "ms", "join: %s, latency of a call meanwhile, 99 %%", db);
    figure_target(j->p99, TARGET_AT_MOST, P99_MS_MAX);
    j->longest = report_add(r, "ms", "join: %s, longest call meanwhile", db);
    figure_limit(j->p99, "before");
    figure_limit(j->longest, "before");
}

/* url NULL: a new SQLite file each time. Otherwise each round has a cluster of its own, since the
 * nodes of the one before have died without a word. */
static int measure_database(struct bench *b, const char *database, const char *url)
{
    struct join j = {.b = b, .database = database};
    char file[PATH_MAX];
    if (latencies_open(&j.before, LATENCIES_MAX) != 0 ||
        latencies_open(&j.meanwhile, LATENCIES_MAX) != 0)
        return bench_fail(b, "out of memory");
    add_figures(&j);
    int rc = 0;
    for (uint32_t i = 0; i < b->options->rounds && rc == 0; i++) {
        bench_say("join on %s %s", database, bench_round(b, i));
        if (url == NULL)
            node_store_url(b, file);
        snprintf(b->cluster, sizeof b->cluster, "join-%u", i);
        rc = measure_round(&j, url == NULL ? file : url);
    }
    b->cluster[0] = '\0';
    latencies_close(&j.before);
    latencies_close(&j.meanwhile);
    return rc;
}

int bench_join(struct bench *b)
{
    return node_each_database(b, measure_database);
}
