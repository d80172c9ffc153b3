/* See lanes.h. */
#include "tools/cli/lanes.h"

#include <stdlib.h>
#include <time.h>

#include "base/name.h"

struct lane {
    struct lanes *all;
    struct troupe_batch *batch[2];
    uint64_t *lines[2]; /* of the calls in each */
    int filling;
    size_t bytes; /* in the one that is being filled */
    bool flying;  /* the other is under way; under all->mu */
};

static void landed(struct troupe_batch *batch, void *data)
{
    struct lane *lane = data;
    struct lanes *all = lane->all;
    const uint64_t *lines = lane->lines[batch == lane->batch[1]];
    size_t n = troupe_batch_count(batch);
    for (size_t i = 0; i < n; i++)
        load_report_result(all->report, lines[i], troupe_batch_result(batch, i));
    pthread_mutex_lock(&all->mu);
    lane->flying = false;
    pthread_cond_signal(&all->landed);
    pthread_mutex_unlock(&all->mu);
}

static void wait_for(struct lane *lane)
{
    struct lanes *all = lane->all;
    pthread_mutex_lock(&all->mu);
    while (lane->flying) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LANE_WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&all->landed, &all->mu, &until);
        pthread_mutex_unlock(&all->mu);
        all->waiting(all->waiting_data);
        pthread_mutex_lock(&all->mu);
    }
    pthread_mutex_unlock(&all->mu);
}

/* Sends what has been filled, once the batch before it has landed. */
static int send_filled(struct lane *lane)
{
    struct lanes *all = lane->all;
    struct troupe_batch *batch = lane->batch[lane->filling];
    size_t n = troupe_batch_count(batch);
    if (n == 0)
        return 0;
    wait_for(lane);
    lane->flying = true; /* nobody else looks before the batch is sent */
    int rc = troupe_batch_send(batch, all->timeout_ms, landed, lane);
    if (rc != 0) {
        lane->flying = false;
        return rc;
    }
    load_report_sent(all->report, n);
    lane->filling = !lane->filling;
    lane->bytes = 0;
    troupe_batch_reset(lane->batch[lane->filling]);
    return 0;
}

int lanes_add(struct lanes *all, const struct load_line *line, uint64_t number)
{
    struct lane *lane = &all->items[name_hash(line->kind, line->id) % all->n];
    int rc = 0;
    if (lane->bytes + line->payload.len > LANE_BATCH_BYTES)
        rc = send_filled(lane);
    struct troupe_batch *batch = lane->batch[lane->filling];
    size_t at = troupe_batch_count(batch);
    if (rc == 0)
        rc = troupe_batch_add(batch, line->kind, line->id, line->method, line->payload, line->ack,
                              TROUPE_CALL_JSON);
    if (rc != 0)
        return rc;
    lane->lines[lane->filling][at] = number;
    lane->bytes += line->payload.len;
    return at + 1 == all->batch_calls ? send_filled(lane) : 0;
}

int lanes_flush(struct lanes *all)
{
    int rc = 0;
    for (uint32_t i = 0; i < all->n && rc == 0; i++)
        rc = send_filled(&all->items[i]);
    return rc;
}

void lanes_wait(struct lanes *all)
{
    for (uint32_t i = 0; i < all->n; i++)
        wait_for(&all->items[i]);
}

int lanes_open(struct lanes *all)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&all->mu, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&all->landed, &attributes);
    pthread_condattr_destroy(&attributes);
    all->items = calloc(all->n, sizeof *all->items);
    for (uint32_t i = 0; all->items != NULL && i < all->n; i++) {
        struct lane *lane = &all->items[i];
        lane->all = all;
        for (int k = 0; k < 2; k++) {
            lane->batch[k] = troupe_batch_new(all->client);
            lane->lines[k] = calloc(all->batch_calls, sizeof(uint64_t));
            if (lane->batch[k] == NULL || lane->lines[k] == NULL)
                return TROUPE_ENOMEM;
        }
    }
    return all->items == NULL ? TROUPE_ENOMEM : 0;
}

void lanes_close(struct lanes *all)
{
    for (uint32_t i = 0; all->items != NULL && i < all->n; i++)
        for (int k = 0; k < 2; k++) {
            troupe_batch_free(all->items[i].batch[k]);
            free(all->items[i].lines[k]);
        }
    free(all->items);
    pthread_cond_destroy(&all->landed);
    pthread_mutex_destroy(&all->mu);
}
