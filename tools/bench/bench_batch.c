/* 64 calls per message, acknowledged from memory: what a message costs is shared by 64, and the
 * node's own work shows. The limit is what the same bytes cost without that work: an echo of
 * messages as large as the requests, counted as 64 calls each. */
#include "tools/bench/bench.h"
#include "tools/bench/echo.h"
#include "tools/bench/load.h"
#include "tools/bench/node.h"

enum {
    BATCH = 64,
    IN_FLIGHT = 16,
    CALL_BYTES = 33, /* of `incr` on the wire: kind, id, method, sequence */
};

struct batch {
    struct bench *b;
    struct node node;
    struct echo_server echo;
    struct figure *incr, *read, *cpu;
};

static int measure_echo(struct batch *s)
{
    double us = 0;
    struct echo *echo = echo_start(s->b, &s->echo, IN_FLIGHT, (size_t)BATCH * CALL_BYTES, NULL);
    if (echo == NULL)
        return -1;
    double rate = measure_rate(echo_done, echo, s->b->options->seconds, s->echo.pid, &us);
    series_add(&s->incr->limit, rate * BATCH);
    series_add(&s->read->limit, rate * BATCH);
    series_add(&s->cpu->limit, us / BATCH);
    return echo_stop(s->b, echo);
}

static int measure_calls(struct batch *s, const char *method, struct series *rates,
                         struct series *cpu)
{
    double us = 0;
    struct random_calls calls = {
        .random = 1 + rates->n,
        .entities = s->b->options->entities,
        .batch = BATCH,
        .method = troupe_bytes_of(method),
    };
    struct load *load = load_start(s->b, &(struct load_options){.client = s->node.client,
                                                                .in_flight = IN_FLIGHT,
                                                                .fill = random_calls_fill,
                                                                .data = &calls});
    if (load == NULL)
        return -1;
    series_add(rates, measure_rate(load_done, load, s->b->options->seconds, s->node.pid, &us));
    if (cpu != NULL)
        series_add(cpu, us);
    return load_stop(s->b, load);
}

static int measure(struct batch *s)
{
    struct bench *b = s->b;
    char url[PATH_MAX];
    node_store_url(b, url);
    if (echo_server_start(b, &s->echo) != 0 || node_start(b, &s->node, url, "counter") != 0 ||
        node_populate(b, &s->node, b->options->entities, 0) != 0)
        return -1;
    for (uint32_t i = 0; i < b->options->rounds; i++) {
        bench_say("batch %s", bench_round(b, i));
        if (measure_echo(s) != 0 ||
            measure_calls(s, "incr", &s->incr->measured, &s->cpu->measured) != 0 ||
            measure_calls(s, "read", &s->read->measured, NULL) != 0)
            return -1;
    }
    return 0;
}

int bench_batch(struct bench *b)
{
    struct batch s = {.b = b};
    s.incr = report_add(&b->report, "calls/s", "batch: writes, %d in a message", BATCH);
    figure_target(s.incr, TARGET_AT_LEAST, 500000);
    s.read = report_add(&b->report, "calls/s", "batch: reads, %d in a message", BATCH);
    s.cpu = report_add(&b->report, "us", "batch: processor time per write");
    figure_limit(s.incr, "echo of the bytes");
    figure_limit(s.read, "echo of the bytes");
    figure_limit(s.cpu, "echo server");
    int rc = measure(&s);
    node_stop(b, &s.node);
    echo_server_stop(b, &s.echo);
    return rc;
}
