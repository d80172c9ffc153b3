/* Bulk load: every place of a file becomes a venue of an empty node, debounced, so that the store
 * is asked for each (it might be there) and written to later. Then the node is stopped, which
 * persists everything, and started again; now each venue is called once more and has to be read
 * from the store. Every round has a new store, unless --store names one. */
#include <signal.h>
#include <unistd.h>

#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/bench/node.h"
#include "tools/bench/places.h"

enum { BATCH = 64, IN_FLIGHT = 64, PER_S_MIN = 50000, STOP_TIMEOUT_MS = 120000 };

struct venue_calls {
    const struct places *places;
    size_t next;
    bool create; /* otherwise get */
};

static bool fill(void *data, struct troupe_batch *batch)
{
    struct venue_calls *c = data;
    struct troupe_bytes method = troupe_bytes_of(c->create ? "create" : "get");
    for (size_t i = 0; i < BATCH && c->next < c->places->n; i++, c->next++) {
        const struct place *p = &c->places->items[c->next];
        troupe_batch_add(batch, troupe_bytes_of("venue"), p->id, method,
                         c->create ? p->create : troupe_bytes(NULL, 0), TROUPE_ACK_MEMORY, 0);
    }
    return troupe_batch_count(batch) > 0;
}

/* From the first call sent to the last one answered. */
static int call_all(struct bench *b, struct node *node, const struct places *places, bool create,
                    struct series *rates)
{
    struct venue_calls calls = {.places = places, .create = create};
    double from_s = now_s();
    struct load *load = load_start(
        b, &(struct load_options){
               .client = node->client, .in_flight = IN_FLIGHT, .fill = fill, .data = &calls});
    if (load == NULL || load_finish(b, load) != 0)
        return -1;
    series_add(rates, (double)places->n / (now_s() - from_s));
    return 0;
}

static int stop_and_persist(struct bench *b, struct node *node)
{
    int status = sandbox_end(&b->sandbox, node->pid, SIGTERM, STOP_TIMEOUT_MS);
    node->pid = 0;
    node_stop(b, node);
    return status == 0 ? 0 : bench_fail(b, "the node did not stop cleanly (status %d)", status);
}

static int measure_round(struct bench *b, const struct places *places, struct series *create,
                         struct series *get)
{
    struct node node;
    char url[PATH_MAX];
    node_store_url(b, url);
    int rc = node_start(b, &node, url, "gigbook");
    if (rc == 0)
        rc = call_all(b, &node, places, true, create);
    if (rc == 0)
        rc = stop_and_persist(b, &node);
    if (rc == 0)
        rc = node_start(b, &node, url, "gigbook");
    if (rc == 0)
        rc = call_all(b, &node, places, false, get);
    node_stop(b, &node);
    return rc;
}

int bench_cold(struct bench *b)
{
    struct places places;
    int rc = places_read(b, &places, b->options->places);
    if (rc == 0) {
        struct figure *create =
            report_add(&b->report, "venues/s", "cold: %zu places, created", places.n);
        struct figure *get =
            report_add(&b->report, "venues/s", "cold: %zu venues, after a restart", places.n);
        figure_target(create, TARGET_AT_LEAST, PER_S_MIN);
        for (uint32_t i = 0; i < b->options->rounds && rc == 0; i++) {
            bench_say("cold %s", bench_round(b, i));
            rc = measure_round(b, &places, &create->measured, &get->measured);
        }
    }
    places_close(&places);
    return rc;
}
