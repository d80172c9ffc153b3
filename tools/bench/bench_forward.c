/* What a hop costs: two nodes on one store, one of which is drained, so that the other owns all.
 * The same calls go straight to the owner, and to the drained node, which forwards every one. Both
 * in the same run, in turns; the ratio is what counts. All three processes share the machine: a
 * hop's cost in processor time shows fully in the rates. */
#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/bench/node.h"

enum { BATCH = 64, IN_FLIGHT = 64, BATCHES_IN_FLIGHT = 16, LATENCIES_MAX = 1000000 };
enum { GATHER_TIMEOUT_S = 60, ASK_TIMEOUT_MS = 10000, PARTITIONS = 4096 };

struct forward {
    struct bench *b;
    struct node owner, hop;
    struct latencies latencies;
    struct figure *single, *batch, *p50, *p99;
};

/* ---- one owns all ---- */

static bool drain(struct node *n)
{
    struct troupe_batch *batch = troupe_batch_new(n->client);
    if (batch == NULL)
        return false;
    troupe_batch_add(batch, troupe_bytes_of("$node"), troupe_bytes_of("self"),
                     troupe_bytes_of("drain"), troupe_bytes(NULL, 0), TROUPE_ACK_MEMORY, 0);
    bool done = troupe_batch_send_wait(batch, ASK_TIMEOUT_MS) == 0 &&
                troupe_batch_result(batch, 0)->status == TROUPE_OK;
    troupe_batch_free(batch);
    return done;
}

/* Refused until the two know each other. */
static int gather(struct forward *s)
{
    double until_s = now_s() + GATHER_TIMEOUT_S;
    struct node_figures owner = {0}, hop = {.partitions_owned = 1};
    while (owner.partitions_owned < PARTITIONS || hop.partitions_owned > 0) {
        if (now_s() > until_s)
            return bench_fail(s->b, "one node does not get all partitions");
        if (drain(&s->hop) &&
            (node_look(s->b, &s->owner, &owner) != 0 || node_look(s->b, &s->hop, &hop) != 0))
            return -1;
        sleep_s(0.05);
    }
    return 0;
}

/* ---- measuring ---- */

static struct random_calls calls_of(struct forward *s, uint32_t batch, size_t seed)
{
    return (struct random_calls){
        .random = 1 + seed,
        .entities = s->b->options->entities,
        .batch = batch,
        .method = troupe_bytes_of("set"),
        .payload = SET_64,
    };
}

static int measure_rate_of(struct forward *s, struct node *n, uint32_t batch, struct series *rates)
{
    struct random_calls calls = calls_of(s, batch, rates->n);
    struct load *load = load_start(
        s->b, &(struct load_options){.client = n->client,
                                     .in_flight = batch == 1 ? IN_FLIGHT : BATCHES_IN_FLIGHT,
                                     .fill = random_calls_fill,
                                     .data = &calls});
    if (load == NULL)
        return -1;
    series_add(rates, measure_rate(load_done, load, s->b->options->seconds, 0, NULL));
    return load_stop(s->b, load);
}

/* One in flight. */
static int measure_latency(struct forward *s, struct node *n, struct series *p50,
                           struct series *p99)
{
    struct random_calls calls = calls_of(s, 1, p50->n);
    struct load *load = load_start(s->b, &(struct load_options){.client = n->client,
                                                                .in_flight = 1,
                                                                .fill = random_calls_fill,
                                                                .data = &calls,
                                                                .latencies = &s->latencies});
    if (load == NULL)
        return -1;
    sleep_s(s->b->options->seconds / 2);
    if (load_stop(s->b, load) != 0)
        return -1;
    series_add(p50, latencies_quantile_us(&s->latencies, 0.5));
    series_add(p99, latencies_quantile_us(&s->latencies, 0.99));
    s->latencies.n = 0;
    return 0;
}

static int measure_direct(struct forward *s)
{
    if (measure_rate_of(s, &s->owner, 1, &s->single->limit) != 0 ||
        measure_rate_of(s, &s->owner, BATCH, &s->batch->limit) != 0)
        return -1;
    return measure_latency(s, &s->owner, &s->p50->limit, &s->p99->limit);
}

/* Every call must have come by the node that forwards: a client that knows the owner would go
 * straight there. */
static int measure_hop(struct forward *s)
{
    struct node_figures before, after;
    if (node_look(s->b, &s->hop, &before) != 0 ||
        measure_rate_of(s, &s->hop, 1, &s->single->measured) != 0 ||
        measure_rate_of(s, &s->hop, BATCH, &s->batch->measured) != 0 ||
        measure_latency(s, &s->hop, &s->p50->measured, &s->p99->measured) != 0 ||
        node_look(s->b, &s->hop, &after) != 0)
        return -1;
    double least = s->single->measured.values[s->single->measured.n - 1] * s->b->options->seconds;
    if ((double)(after.calls - before.calls) < least)
        return bench_fail(s->b, "calls did not go through the node that should forward them");
    return 0;
}

static int measure(struct forward *s)
{
    struct bench *b = s->b;
    char url[PATH_MAX];
    node_store_url(b, url);
    if (latencies_open(&s->latencies, LATENCIES_MAX) != 0)
        return bench_fail(b, "out of memory");
    if (node_start(b, &s->owner, url, "counter") != 0 ||
        node_start(b, &s->hop, url, "counter") != 0 || gather(s) != 0 ||
        node_populate(b, &s->owner, b->options->entities, 0) != 0)
        return -1;
    for (uint32_t i = 0; i < b->options->rounds; i++) {
        bench_say("forward %s", bench_round(b, i));
        if (measure_direct(s) != 0 || measure_hop(s) != 0)
            return -1;
    }
    return 0;
}

int bench_forward(struct bench *b)
{
    struct forward s = {.b = b};
    b->no_ring = true;
    s.single =
        report_add(&b->report, "calls/s", "forward: writes, %d in flight, one hop", IN_FLIGHT);
    s.batch = report_add(&b->report, "calls/s", "forward: writes, %d in a message, one hop", BATCH);
    s.p50 = report_add(&b->report, "us", "forward: latency of a write, one hop, median");
    s.p99 = report_add(&b->report, "us", "forward: latency of a write, one hop, 99 %%");
    struct figure *all[] = {s.single, s.batch, s.p50, s.p99};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        figure_limit(all[i], "straight to the owner");
    int rc = measure(&s);
    latencies_close(&s.latencies);
    node_stop(b, &s.hop);
    node_stop(b, &s.owner);
    b->no_ring = false;
    return rc;
}
