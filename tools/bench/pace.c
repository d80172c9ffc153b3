/* See pace.h. One thread sends; answers come on the clients' threads. */
#include "tools/bench/pace.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench/bench.h"

enum { SLOTS = 16384, TICK_US = 1000 };

struct slot {
    struct pace *pace;
    struct troupe_batch *batch;
    struct slot *next; /* free */
    double due_s;
};

struct pace {
    struct pace_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t freed;
    bool stopping;
    struct slot *free;
    unsigned under_way;
    struct latencies *latencies;
    uint64_t failed;
    char failure[256];
    uint64_t random; /* the thread's */
    struct slot slots[SLOTS];
};

static void on_answer(struct troupe_batch *batch, void *data)
{
    struct slot *slot = data;
    struct pace *p = slot->pace;
    const struct troupe_call_result *r = troupe_batch_result(batch, 0);
    double took_s = now_s() - slot->due_s;
    pthread_mutex_lock(&p->lock);
    latencies_add(p->latencies, took_s);
    if (r->status != TROUPE_OK && p->failed++ == 0)
        snprintf(p->failure, sizeof p->failure, "%s: %.*s", troupe_status_name(r->status),
                 (int)r->message.len, r->message.len > 0 ? (const char *)r->message.data : "");
    slot->next = p->free;
    p->free = slot;
    p->under_way--;
    pthread_cond_signal(&p->freed);
    pthread_mutex_unlock(&p->lock);
}

/* NULL: it is to stop. */
static struct slot *take_slot(struct pace *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->free == NULL && !p->stopping)
        pthread_cond_wait(&p->freed, &p->lock);
    struct slot *slot = p->stopping ? NULL : p->free;
    if (slot != NULL) {
        p->free = slot->next;
        p->under_way++;
    }
    pthread_mutex_unlock(&p->lock);
    return slot;
}

static bool send_one(struct pace *p, double due_s)
{
    struct slot *slot = take_slot(p);
    if (slot == NULL)
        return false;
    struct random_calls call = {.random = p->random,
                                .entities = p->options.entities,
                                .batch = 1,
                                .method = troupe_bytes_of("set"),
                                .payload = SET_64};
    slot->due_s = due_s;
    troupe_batch_reset(slot->batch);
    random_calls_fill(&call, slot->batch);
    p->random = call.random;
    int rc = troupe_batch_send(slot->batch, p->options.timeout_ms, on_answer, slot);
    if (rc == 0)
        return true;
    pthread_mutex_lock(&p->lock);
    p->under_way--;
    if (p->failed++ == 0)
        snprintf(p->failure, sizeof p->failure, "%s", troupe_error_text(rc));
    slot->next = p->free;
    p->free = slot;
    pthread_mutex_unlock(&p->lock);
    return true;
}

static void *run(void *data)
{
    struct pace *p = data;
    double begun_s = now_s();
    uint64_t sent = 0;
    for (;;) {
        uint64_t due = (uint64_t)((now_s() - begun_s) * p->options.calls_per_s);
        for (; sent < due; sent++) {
            if (!send_one(p, begun_s + (double)(sent + 1) / p->options.calls_per_s))
                return NULL;
        }
        sleep_s(TICK_US / 1e6);
        pthread_mutex_lock(&p->lock);
        bool stopping = p->stopping;
        pthread_mutex_unlock(&p->lock);
        if (stopping)
            return NULL;
    }
}

static void pace_free(struct pace *p)
{
    for (unsigned i = 0; i < SLOTS; i++)
        troupe_batch_free(p->slots[i].batch);
    pthread_cond_destroy(&p->freed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

struct pace *pace_start(struct bench *b, const struct pace_options *options)
{
    struct pace *p = calloc(1, sizeof *p);
    bool whole = p != NULL;
    if (p != NULL) {
        p->options = *options;
        p->latencies = options->latencies;
        p->random = 1;
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->freed, NULL);
    }
    for (unsigned i = 0; whole && i < SLOTS; i++) {
        struct slot *slot = &p->slots[i];
        slot->pace = p;
        slot->batch = troupe_batch_new(options->clients[i % options->clients_n]);
        slot->next = p->free;
        p->free = slot;
        whole = slot->batch != NULL;
    }
    if (whole && pthread_create(&p->thread, NULL, run, p) == 0)
        return p;
    if (p != NULL)
        pace_free(p);
    bench_fail(b, "out of memory or threads");
    return NULL;
}

void pace_note(struct pace *p, struct latencies *latencies)
{
    pthread_mutex_lock(&p->lock);
    p->latencies = latencies;
    pthread_mutex_unlock(&p->lock);
}

uint64_t pace_failed(struct pace *p, char first[256])
{
    pthread_mutex_lock(&p->lock);
    uint64_t failed = p->failed;
    snprintf(first, 256, "%s", p->failure);
    pthread_mutex_unlock(&p->lock);
    return failed;
}

void pace_stop(struct pace *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->freed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_mutex_lock(&p->lock);
    while (p->under_way > 0)
        pthread_cond_wait(&p->freed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pace_free(p);
}
