/* See load.h. Refilling happens in the client's callbacks, on its threads; `lock` makes them one at
 * a time. */
#include "tools/bench/load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench/bench.h"

/* ---- latencies ---- */

int latencies_open(struct latencies *l, size_t max)
{
    *l = (struct latencies){.us = malloc(max * sizeof *l->us), .max = max};
    return l->us == NULL ? -1 : 0;
}

void latencies_close(struct latencies *l)
{
    free(l->us);
}

void latencies_add(struct latencies *l, double seconds)
{
    if (l->n < l->max)
        l->us[l->n++] = (float)(seconds * 1e6);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double latencies_quantile_us(struct latencies *l, double quantile)
{
    if (l->n == 0)
        return 0;
    qsort(l->us, l->n, sizeof *l->us, compare);
    return l->us[(size_t)(quantile * (double)(l->n - 1))];
}

/* ---- the loop ---- */

struct slot {
    struct load *load;
    struct troupe_batch *batch;
    double sent_s;
};

struct load {
    struct load_options options;
    _Atomic uint64_t done;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool stopping, exhausted;
    unsigned under_way;
    uint64_t failed;
    char failure[256]; /* the first one */
    struct slot slots[];
};

static void on_answer(struct troupe_batch *batch, void *data);

/* Under the lock. */
static void note_failure(struct load *l, const char *status, struct troupe_bytes message)
{
    if (l->failed++ == 0)
        snprintf(l->failure, sizeof l->failure, "%s: %.*s", status, (int)message.len,
                 message.len > 0 ? (const char *)message.data : "");
}

/* Under the lock: the next batch goes out, or the slot rests. */
static void refill(struct load *l, struct slot *slot)
{
    l->under_way--;
    if (l->stopping || l->exhausted)
        return;
    troupe_batch_reset(slot->batch);
    if (!l->options.fill(l->options.data, slot->batch)) {
        l->exhausted = true;
        return;
    }
    l->under_way++;
    slot->sent_s = l->options.latencies != NULL ? now_s() : 0;
    uint32_t timeout_ms = l->options.timeout_ms != 0 ? l->options.timeout_ms : 30000;
    int rc = troupe_batch_send(slot->batch, timeout_ms, on_answer, slot);
    if (rc != 0) {
        l->under_way--;
        note_failure(l, troupe_error_name(rc), troupe_bytes_of(troupe_error_text(rc)));
    }
}

static void on_answer(struct troupe_batch *batch, void *data)
{
    struct slot *slot = data;
    struct load *l = slot->load;
    size_t n = troupe_batch_count(batch), ok = 0;
    if (l->options.latencies != NULL)
        latencies_add(l->options.latencies, now_s() - slot->sent_s);
    for (size_t i = 0; i < n; i++)
        ok += troupe_batch_result(batch, i)->status == TROUPE_OK;
    atomic_fetch_add_explicit(&l->done, ok, memory_order_relaxed);
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < n && ok < n; i++) {
        const struct troupe_call_result *r = troupe_batch_result(batch, i);
        if (r->status != TROUPE_OK)
            note_failure(l, troupe_status_name(r->status), r->message);
    }
    refill(l, slot);
    if (l->under_way == 0)
        pthread_cond_signal(&l->ended);
    pthread_mutex_unlock(&l->lock);
}

static void load_free(struct load *l)
{
    for (unsigned i = 0; i < l->options.in_flight; i++)
        troupe_batch_free(l->slots[i].batch);
    pthread_cond_destroy(&l->ended);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

struct load *load_start(struct bench *b, const struct load_options *options)
{
    struct load *l = calloc(1, sizeof *l + options->in_flight * sizeof l->slots[0]);
    bool whole = l != NULL;
    if (l != NULL) {
        l->options = *options;
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->ended, NULL);
    }
    for (unsigned i = 0; whole && i < options->in_flight; i++) {
        l->slots[i].load = l;
        l->slots[i].batch = troupe_batch_new(options->client);
        whole = l->slots[i].batch != NULL;
    }
    if (!whole) {
        if (l != NULL)
            load_free(l);
        bench_fail(b, "out of memory");
        return NULL;
    }
    pthread_mutex_lock(&l->lock);
    l->under_way = options->in_flight;
    for (unsigned i = 0; i < options->in_flight; i++)
        refill(l, &l->slots[i]);
    pthread_mutex_unlock(&l->lock);
    return l;
}

uint64_t load_done(void *load)
{
    return atomic_load_explicit(&((struct load *)load)->done, memory_order_relaxed);
}

static int end(struct bench *b, struct load *l)
{
    while (l->under_way > 0)
        pthread_cond_wait(&l->ended, &l->lock);
    pthread_mutex_unlock(&l->lock);
    int rc = 0;
    if (l->failed > 0)
        rc = bench_fail(b, "%llu calls failed, the first one with %s",
                        (unsigned long long)l->failed, l->failure);
    load_free(l);
    return rc;
}

int load_stop(struct bench *b, struct load *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    return end(b, l);
}

int load_finish(struct bench *b, struct load *l)
{
    pthread_mutex_lock(&l->lock);
    return end(b, l);
}

/* ---- measuring ---- */

double measure_rate(uint64_t (*counter)(void *data), void *data, double seconds, int cpu_of,
                    double *us_each)
{
    sleep_s(seconds / 10);
    double cpu = us_each != NULL ? process_cpu_s(cpu_of) : 0, from_s = now_s();
    uint64_t from = counter(data);
    sleep_s(seconds);
    double done = (double)(counter(data) - from), took_s = now_s() - from_s;
    if (us_each != NULL)
        *us_each = done > 0 ? (process_cpu_s(cpu_of) - cpu) / done * 1e6 : 0;
    return done / took_s;
}

/* ---- what is called ---- */

uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

size_t write_decimal(char out[24], uint64_t value)
{
    char digits[24];
    size_t n = 0, len = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (n > 0)
        out[len++] = digits[--n];
    return len;
}

static void add_call(struct troupe_batch *batch, uint64_t entity, struct troupe_bytes method,
                     struct troupe_bytes payload, unsigned flags)
{
    char id[24];
    static const uint8_t kind[] = "counter";
    troupe_batch_add(batch, troupe_bytes(kind, sizeof kind - 1),
                     troupe_bytes(id, write_decimal(id, entity)), method, payload,
                     TROUPE_ACK_MEMORY, flags);
}

bool random_calls_fill(void *data, struct troupe_batch *batch)
{
    struct random_calls *c = data;
    for (uint32_t i = 0; i < c->batch; i++)
        add_call(batch, random_next(&c->random) % c->entities, c->method, c->payload, c->flags);
    return true;
}

bool every_call_fill(void *data, struct troupe_batch *batch)
{
    struct every_call *c = data;
    for (uint32_t i = 0; i < c->batch && c->next < c->entities; i++)
        add_call(batch, c->next++, c->method, c->payload, c->flags);
    return troupe_batch_count(batch) > 0;
}

#define NOTE_60 "a note of exactly sixty bytes, which is as long as it may be"
static const uint8_t set_64[64] = "\x08\x01\x12\x3c" NOTE_60;
_Static_assert(sizeof NOTE_60 == 60 + 1, "protobuf: value = 1, then a note of 0x3c bytes");
const struct troupe_bytes SET_64 = {set_64, sizeof set_64};
