/* Load on a node, as clients make it: so many batches are under way on one connection, and where an
 * answer comes back the next batch goes out (a closed loop). */
#ifndef TROUPE_BENCH_LOAD_H
#define TROUPE_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "troupe/client.h"

struct bench;

/* Round trip times of single messages, in the order in which they came. */
struct latencies {
    float *us;
    size_t n, max;
};

int latencies_open(struct latencies *l, size_t max);
void latencies_close(struct latencies *l);
void latencies_add(struct latencies *l, double seconds);
/* quantile of 0.5 = the median. Sorts. 0 when there are none. */
double latencies_quantile_us(struct latencies *l, double quantile);

/* Fills an empty batch; false: there is nothing more to send. Called by one thread at a time. */
typedef bool (*load_fill_cb)(void *data, struct troupe_batch *batch);

struct load_options {
    struct troupe_client *client;
    unsigned in_flight;
    load_fill_cb fill;
    void *data;
    struct latencies *latencies; /* NULL: not wanted; otherwise in_flight must be 1 */
    uint32_t timeout_ms;         /* 0 = 30,000 */
};

struct load;
/* NULL with errmsg in b. */
struct load *load_start(struct bench *b, const struct load_options *options);
/* Calls answered OK so far. */
uint64_t load_done(void *load);
/* No more batches; waits for those under way, frees. 0, or -1 with errmsg in b when calls failed.
 */
int load_stop(struct bench *b, struct load *load);
/* The same, but first waits until fill has said that there is nothing more. */
int load_finish(struct bench *b, struct load *load);

/* What happens in a window of time: the counter's rate per second. If cpu_of is not 0 and us_each
 * not NULL, also how much time that process spent on a processor for each. A tenth of the window
 * passes first, unmeasured. */
double measure_rate(uint64_t (*counter)(void *data), void *data, double seconds, int cpu_of,
                    double *us_each);

/* Calls of one method on random entities counter/0 … counter/entities-1, for load_options.fill. */
struct random_calls {
    uint64_t random; /* state; any seed but 0 */
    uint32_t entities, batch;
    struct troupe_bytes method, payload;
    unsigned flags;
};
bool random_calls_fill(void *random_calls, struct troupe_batch *batch);
/* The same entities one after the other, each once. */
struct every_call {
    uint32_t next, entities, batch;
    struct troupe_bytes method, payload;
    unsigned flags;
};
bool every_call_fill(void *every_call, struct troupe_batch *batch);

/* xorshift64*, by Vigna. */
uint64_t random_next(uint64_t *state);
/* A number in decimal; returns its length. */
size_t write_decimal(char out[24], uint64_t value);

/* The payload of the counter's method `set` that has 64 bytes, and so has the state it leaves. */
extern const struct troupe_bytes SET_64;

#endif
