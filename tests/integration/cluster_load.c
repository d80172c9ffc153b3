/* See cluster_load.h. */
#include "cluster_load.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { FILL_CALLS = 500, FILL_MS = 60000, ADDRESSES_BYTES = 64 * CLUSTER_NODES_MAX };

/* The message Value: field 1, a varint; an empty one is 0. */
bool load_read_value(struct troupe_bytes reply, uint64_t *value)
{
    *value = 0;
    if (reply.len == 0)
        return true;
    if (reply.data[0] != 0x08)
        return false;
    for (size_t i = 1; i < reply.len && i <= 10; i++) {
        *value |= (uint64_t)(reply.data[i] & 0x7F) << 7 * (i - 1);
        if (reply.data[i] < 0x80)
            return true;
    }
    return false;
}

static void add_call(const struct load *l, struct troupe_batch *batch, size_t counter,
                     const char *method, unsigned flags)
{
    char id[48];
    snprintf(id, sizeof id, "%s%zu", l->prefix, counter);
    if (troupe_batch_add(batch, troupe_bytes_of("counter"), troupe_bytes_of(id),
                         troupe_bytes_of(method), (struct troupe_bytes){0}, TROUPE_ACK_MEMORY,
                         flags) != 0)
        abort(); /* also on a lane's thread, where no assertion may fail */
}

/* ---- the history ---- */

static void note(struct load *l, char text[LOAD_TEXT_BYTES], atomic_ulong *count, size_t counter,
                 const char *what, struct troupe_bytes why, uint64_t value)
{
    pthread_mutex_lock(&l->lock);
    if (atomic_fetch_add(count, 1) == 0) {
        const struct load_counter *k = &l->counters[counter];
        snprintf(text, LOAD_TEXT_BYTES,
                 "counter/%s%zu: %s %.*s (value %" PRIu64 ", last %" PRIu64
                 ", acknowledged %" PRIu64 ", unknown %" PRIu64 ")",
                 l->prefix, counter, what, (int)(why.len > 160 ? 160 : why.len),
                 why.len > 0 ? (const char *)why.data : "", value, k->last, k->acked, k->unknown);
    }
    pthread_mutex_unlock(&l->lock);
}

static void take_result(struct load *l, size_t counter, const struct troupe_call_result *r)
{
    struct load_counter *k = &l->counters[counter];
    uint64_t value = 0;
    if (r->status != TROUPE_OK) {
        k->unknown++;
        if (r->status == TROUPE_UNKNOWN)
            atomic_fetch_add(&l->unknowns, 1);
        if (r->status == TROUPE_UNAVAILABLE)
            atomic_fetch_add(&l->refusals, 1);
        note(l, l->first_failure, &l->failures, counter, troupe_status_name(r->status), r->message,
             0);
        return;
    }
    bool fits = load_read_value(r->payload, &value) && value > k->last &&
                value <= k->acked + 1 + k->unknown;
    if (!fits)
        note(l, l->first_disorder, &l->disorders, counter, "a value that does not follow",
             (struct troupe_bytes){0}, value);
    k->last = value;
    k->acked++;
    atomic_fetch_add(&l->acks, 1);
}

/* ---- the lanes ---- */

static const char *increment(const struct load *l)
{
    return l->durable ? "incr_durable" : "incr";
}

/* calls <= its counters: each at most once in a batch. */
static void run_batch(struct load_lane *lane, size_t calls, uint32_t timeout_ms)
{
    struct load *l = lane->load;
    size_t counters[FILL_CALLS];
    troupe_batch_reset(lane->batch);
    for (size_t i = 0; i < calls; i++) {
        counters[i] = lane->first + lane->next;
        lane->next = (lane->next + 1) % lane->n;
        add_call(l, lane->batch, counters[i], increment(l), 0);
    }
    unsigned long before_ms = (unsigned long)proc_now_ms();
    if (troupe_batch_send_wait(lane->batch, timeout_ms) != 0)
        abort();
    unsigned long took_ms = (unsigned long)proc_now_ms() - before_ms;
    unsigned long longest_ms = atomic_load(&l->longest_ms);
    while (took_ms > longest_ms &&
           !atomic_compare_exchange_weak(&l->longest_ms, &longest_ms, took_ms))
        continue;
    for (size_t i = 0; i < calls; i++)
        take_result(l, counters[i], troupe_batch_result(lane->batch, i));
}

static void *run_lane(void *data)
{
    struct load_lane *lane = data;
    size_t calls = lane->n < LOAD_CALLS ? lane->n : LOAD_CALLS;
    while (!atomic_load(&lane->load->stop)) {
        run_batch(lane, calls, lane->load->timeout_ms);
        nanosleep(&(struct timespec){.tv_nsec = LOAD_PACE_US * 1000L}, NULL); /* the pace */
    }
    return NULL;
}

void load_open(struct load *l, struct cluster *c, const char *prefix, size_t counters, bool durable,
               uint32_t timeout_ms)
{
    char errmsg[256], addresses[ADDRESSES_BYTES];
    *l = (struct load){
        .prefix = prefix, .durable = durable, .timeout_ms = timeout_ms, .counters_n = counters};
    pthread_mutex_init(&l->lock, NULL);
    l->counters = calloc(counters, sizeof *l->counters);
    assert_non_null(l->counters);
    for (size_t i = 0; i < LOAD_LANES; i++) {
        struct load_lane *lane = &l->lanes[i];
        lane->load = l;
        lane->first = counters * i / LOAD_LANES;
        lane->n = counters * (i + 1) / LOAD_LANES - lane->first;
        cluster_addresses(c, i % c->n, addresses, sizeof addresses);
        struct troupe_client_options options = {.addresses = addresses};
        if (troupe_client_open(&lane->client, &options, errmsg, sizeof errmsg) != 0)
            proc_give_up("no client of %s: %s", options.addresses, errmsg);
        lane->batch = troupe_batch_new(lane->client);
        assert_non_null(lane->batch);
        for (size_t done = 0; done < lane->n;) {
            size_t calls = lane->n - done < FILL_CALLS ? lane->n - done : FILL_CALLS;
            run_batch(lane, calls, FILL_MS);
            done += calls;
        }
    }
    load_assert_no_failure(l);
    atomic_store(&l->longest_ms, 0);
}

void load_start(struct load *l)
{
    atomic_store(&l->stop, false);
    for (size_t i = 0; i < LOAD_LANES; i++)
        assert_int_equal(pthread_create(&l->lanes[i].thread, NULL, run_lane, &l->lanes[i]), 0);
    l->runs = true;
}

struct goal {
    struct load *load;
    unsigned long acks;
};

static bool has_acks(struct cluster *c, void *data)
{
    struct goal *g = data;
    (void)c;
    return atomic_load(&g->load->acks) >= g->acks;
}

void load_wait_acks(struct load *l, struct cluster *c, unsigned long more, int timeout_ms)
{
    struct goal goal = {.load = l, .acks = atomic_load(&l->acks) + more};
    if (cluster_wait(c, has_acks, &goal, timeout_ms))
        return;
    cluster_show(c);
    fail_msg("the load does not get on: %lu acknowledged, %lu failed; first: %s",
             atomic_load(&l->acks), atomic_load(&l->failures), l->first_failure);
}

void load_stop(struct load *l)
{
    atomic_store(&l->stop, true);
    for (size_t i = 0; l->runs && i < LOAD_LANES; i++)
        pthread_join(l->lanes[i].thread, NULL);
    l->runs = false;
}

void load_assert_no_failure(const struct load *l)
{
    if (atomic_load(&l->failures) > 0)
        fail_msg("%lu calls failed, %lu did not; the first: %s", atomic_load(&l->failures),
                 atomic_load(&l->acks), l->first_failure);
}

void load_assert_only_unknown(const struct load *l)
{
    if (atomic_load(&l->failures) > atomic_load(&l->unknowns))
        load_assert_no_failure(l);
}

void load_assert_only_unavailable(const struct load *l)
{
    if (atomic_load(&l->failures) > atomic_load(&l->refusals))
        load_assert_no_failure(l);
}

/* ---- the end ---- */

static void verify_counter(const struct load *l, size_t counter, const struct troupe_call_result *r)
{
    const struct load_counter *k = &l->counters[counter];
    uint64_t value;
    if (r->status != TROUPE_OK)
        fail_msg("counter/%s%zu cannot be read: %s %.*s", l->prefix, counter,
                 troupe_status_name(r->status), (int)r->message.len, (const char *)r->message.data);
    assert_true(load_read_value(r->payload, &value));
    if (value < k->acked || value < k->last || value > k->acked + k->unknown)
        fail_msg("counter/%s%zu has the value %" PRIu64 ": %" PRIu64
                 " increments acknowledged, %" PRIu64 " of unknown outcome, last value %" PRIu64,
                 l->prefix, counter, value, k->acked, k->unknown, k->last);
}

static void verify_lane(struct load_lane *lane)
{
    for (size_t done = 0; done < lane->n;) {
        size_t calls = lane->n - done < FILL_CALLS ? lane->n - done : FILL_CALLS;
        troupe_batch_reset(lane->batch);
        for (size_t i = 0; i < calls; i++)
            add_call(lane->load, lane->batch, lane->first + done + i, "read", TROUPE_CALL_NO_ID);
        assert_int_equal(troupe_batch_send_wait(lane->batch, FILL_MS), 0);
        for (size_t i = 0; i < calls; i++)
            verify_counter(lane->load, lane->first + done + i, troupe_batch_result(lane->batch, i));
        done += calls;
    }
}

void load_verify(struct load *l)
{
    if (atomic_load(&l->disorders) > 0)
        fail_msg("%lu values do not follow; the first: %s", atomic_load(&l->disorders),
                 l->first_disorder);
    for (size_t i = 0; i < LOAD_LANES; i++)
        verify_lane(&l->lanes[i]);
}

void load_close(struct load *l)
{
    load_stop(l);
    for (size_t i = 0; i < LOAD_LANES; i++) {
        troupe_batch_free(l->lanes[i].batch);
        troupe_client_close(l->lanes[i].client);
        l->lanes[i].batch = NULL;
        l->lanes[i].client = NULL;
    }
    free(l->counters);
    l->counters = NULL;
}
