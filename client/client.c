/* Opening and closing a client, and waiting for a batch. See engine.h for what goes on between. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/engine.h"

#define DEFAULT_ADDRESSES "127.0.0.1:7700"

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value == 0 ? standard : value;
}

static int take_options(struct troupe_client *c, const struct troupe_client_options *given,
                        char *errmsg, size_t errmsg_bytes)
{
    static const struct troupe_client_options none = {0};
    const struct troupe_client_options *o = given == NULL ? &none : given;
    c->in_flight_max = or_default(o->in_flight_max, CLIENT_IN_FLIGHT_DEFAULT);
    c->queue_max = or_default(o->queue_max, CLIENT_QUEUE_DEFAULT);
    c->timeout_ms = or_default(o->timeout_ms, RPC_TIMEOUT_MS_DEFAULT);
    c->retry_delay_ms = or_default(o->retry_delay_ms, CLIENT_RETRY_DELAY_MS);
    c->links_max = o->no_ring ? 0 : or_default(o->links_max, CLIENT_LINKS_DEFAULT);
    if (c->links_max > CLIENT_LINKS_MAX) {
        snprintf(errmsg, errmsg_bytes, "links_max is at most %d; no_ring takes none",
                 CLIENT_LINKS_MAX);
        return TROUPE_EINVAL;
    }
    if (c->in_flight_max > CLIENT_IN_FLIGHT_MAX || c->queue_max > CLIENT_QUEUE_MAX) {
        snprintf(errmsg, errmsg_bytes, "in_flight_max is at most %d and queue_max at most %d",
                 CLIENT_IN_FLIGHT_MAX, CLIENT_QUEUE_MAX);
        return TROUPE_EINVAL;
    }
    const char *addresses = o->addresses == NULL ? DEFAULT_ADDRESSES : o->addresses;
    int rc = address_list_parse(&c->addresses, addresses, errmsg, errmsg_bytes);
    if (rc != 0)
        return rc;
    c->addresses_text = strdup(addresses);
    return c->addresses_text == NULL ? TROUPE_ENOMEM : 0;
}

static int init_tables(struct troupe_client *c)
{
    list_init(&c->queue);
    list_init(&c->unsent);
    uint32_t places = 4;
    while (places < 4 * c->in_flight_max) /* a quarter full at most: a free id is near */
        places *= 2;
    c->by_id_mask = places - 1;
    c->by_id = calloc(places, sizeof(struct leg *));
    /* One more for each route: a leg that was being read while others took its place. */
    size_t most = (size_t)c->in_flight_max + c->queue_max + c->links_max + 1;
    int rc = due_heap_init(&c->due, most);
    return c->by_id == NULL ? TROUPE_ENOMEM : rc;
}

static void init_locks(struct troupe_client *c)
{
    pthread_mutex_init(&c->mu, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->clock_cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

static int start(struct troupe_client *c)
{
    /* Signals are for the program's own threads: ours, and nng's, which the first client starts,
     * inherit this mask. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = init_tables(c);
    if (rc == 0)
        rc = routes_init(c);
    if (rc == 0 && pthread_create(&c->clock, NULL, clock_main, c) != 0)
        rc = TROUPE_ENOMEM;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->clock_started = rc == 0;
    return rc;
}

int troupe_client_open(struct troupe_client **client, const struct troupe_client_options *options,
                       char *errmsg, size_t errmsg_bytes)
{
    if (errmsg_bytes != 0)
        errmsg[0] = '\0';
    struct troupe_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        snprintf(errmsg, errmsg_bytes, "out of memory");
        return TROUPE_ENOMEM;
    }
    init_locks(c);
    c->ids.client = c->jitter = ids_random();
    c->last_id = (uint32_t)c->jitter;
    int rc = take_options(c, options, errmsg, errmsg_bytes);
    if (rc == 0)
        rc = start(c);
    if (rc != 0) {
        if (rc == TROUPE_ENOMEM)
            snprintf(errmsg, errmsg_bytes, "out of memory or threads");
        troupe_client_close(c);
        return rc;
    }
    *client = c;
    return 0;
}

void troupe_client_close(struct troupe_client *c)
{
    if (c == NULL)
        return;
    if (c->clock_started) {
        pthread_mutex_lock(&c->mu);
        c->closing = true;
        engine_kick_clock(c);
        pthread_mutex_unlock(&c->mu);
        pthread_join(c->clock, NULL);
    }
    routes_close(c);
    ring_table_close(&c->ring);
    due_heap_close(&c->due);
    free(c->by_id);
    free(c->addresses_text);
    address_list_close(&c->addresses);
    pthread_cond_destroy(&c->clock_cond);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool done;
};

static void wake(struct troupe_batch *batch, void *data)
{
    struct waiter *w = data;
    pthread_mutex_lock(&w->mu);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

int troupe_batch_send_wait(struct troupe_batch *batch, uint32_t timeout_ms)
{
    struct waiter w = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    int rc = troupe_batch_send(batch, timeout_ms, wake, &w);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&w.mu);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.mu);
    pthread_mutex_unlock(&w.mu);
    return 0;
}
