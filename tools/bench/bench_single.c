/* A call per message: every call pays for a message, so nng sets the limit. Three loads on the same
 * connection count: calls that change their entity (`set`, 64 bytes, with a request id, as clients
 * send by default), calls that only read, and one call at a time, whose round trip is the latency.
 * The echo carries bare messages of 64 bytes. */
#include "tools/bench/bench.h"
#include "tools/bench/echo.h"
#include "tools/bench/load.h"
#include "tools/bench/node.h"

enum { IN_FLIGHT = 64, ECHO_BYTES = 64, LATENCIES_MAX = 1000000 };

struct single {
    struct bench *b;
    struct node node;
    struct echo_server echo;
    struct latencies latencies;
    struct figure *set, *read, *p50, *p99, *cpu;
};

static int measure_echo(struct single *s)
{
    double us = 0;
    struct echo *echo = echo_start(s->b, &s->echo, IN_FLIGHT, ECHO_BYTES, NULL);
    if (echo == NULL)
        return -1;
    double rate = measure_rate(echo_done, echo, s->b->options->seconds, s->echo.pid, &us);
    series_add(&s->set->limit, rate);
    series_add(&s->read->limit, rate);
    series_add(&s->cpu->limit, us);
    return echo_stop(s->b, echo);
}

static int measure_calls(struct single *s, const char *method, struct troupe_bytes payload,
                         struct series *rates, struct series *cpu)
{
    double us = 0;
    struct random_calls calls = {
        .random = 1 + rates->n,
        .entities = s->b->options->entities,
        .batch = 1,
        .method = troupe_bytes_of(method),
        .payload = payload,
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

static void note_latencies(struct latencies *l, struct series *p50, struct series *p99)
{
    series_add(p50, latencies_quantile_us(l, 0.5));
    series_add(p99, latencies_quantile_us(l, 0.99));
    l->n = 0;
}

/* One in flight: first the echo, then the node. */
static int measure_latency(struct single *s)
{
    double seconds = s->b->options->seconds / 2;
    struct echo *echo = echo_start(s->b, &s->echo, 1, ECHO_BYTES, &s->latencies);
    if (echo == NULL)
        return -1;
    sleep_s(seconds);
    if (echo_stop(s->b, echo) != 0)
        return -1;
    note_latencies(&s->latencies, &s->p50->limit, &s->p99->limit);
    struct random_calls calls = {
        .random = 1 + s->p50->measured.n,
        .entities = s->b->options->entities,
        .batch = 1,
        .method = troupe_bytes_of("set"),
        .payload = SET_64,
    };
    struct load *load = load_start(s->b, &(struct load_options){.client = s->node.client,
                                                                .in_flight = 1,
                                                                .fill = random_calls_fill,
                                                                .data = &calls,
                                                                .latencies = &s->latencies});
    if (load == NULL)
        return -1;
    sleep_s(seconds);
    if (load_stop(s->b, load) != 0)
        return -1;
    note_latencies(&s->latencies, &s->p50->measured, &s->p99->measured);
    return 0;
}

static void add_figures(struct single *s)
{
    struct report *r = &s->b->report;
    s->set = report_add(r, "calls/s", "single: writes, %d in flight", IN_FLIGHT);
    figure_target(s->set, TARGET_RATIO, 0.80);
    s->read = report_add(r, "calls/s", "single: reads, %d in flight", IN_FLIGHT);
    s->cpu = report_add(r, "us", "single: processor time per write");
    s->p50 = report_add(r, "us", "single: latency of a write, median");
    s->p99 = report_add(r, "us", "single: latency of a write, 99 %%");
    figure_limit(s->set, "bare nng echo");
    figure_limit(s->read, "bare nng echo");
    figure_limit(s->cpu, "echo server");
    figure_limit(s->p50, "bare nng echo");
    figure_limit(s->p99, "bare nng echo");
}

static int measure(struct single *s)
{
    struct bench *b = s->b;
    char url[PATH_MAX];
    node_store_url(b, url);
    if (latencies_open(&s->latencies, LATENCIES_MAX) != 0)
        return bench_fail(b, "out of memory");
    if (echo_server_start(b, &s->echo) != 0 || node_start(b, &s->node, url, "counter") != 0 ||
        node_populate(b, &s->node, b->options->entities, 0) != 0)
        return -1;
    for (uint32_t i = 0; i < b->options->rounds; i++) {
        bench_say("single %s", bench_round(b, i));
        if (measure_echo(s) != 0 ||
            measure_calls(s, "set", SET_64, &s->set->measured, &s->cpu->measured) != 0 ||
            measure_calls(s, "read", troupe_bytes(NULL, 0), &s->read->measured, NULL) != 0 ||
            measure_latency(s) != 0)
            return -1;
    }
    return 0;
}

int bench_single(struct bench *b)
{
    struct single s = {.b = b};
    add_figures(&s);
    int rc = measure(&s);
    latencies_close(&s.latencies);
    node_stop(b, &s.node);
    echo_server_stop(b, &s.echo);
    return rc;
}
