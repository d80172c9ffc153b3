/* See memory.h: the handles. Requests wait in an intrusive queue; with a loop an idle handle, which
 * is active only while there are any, runs them. The caller bounds the queue by what it submits. */
#include "storage/memory/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/invariant.h"
#include "storage/memory/database.h"
#include "storage/request.h"
#include "storage/store_impl.h"

enum {
    RUN_PER_TURN = 256, /* requests of one turn of the loop */
};

struct memory_store {
    struct store store;
    struct database *database;
    struct cluster *cluster;
    uint32_t partitions;
    struct store_request *head, **tail; /* the queue */
    bool has_loop, closing;
    void (*closed)(void *data);
    void *closed_data;
    store_memory_fault_cb fault;
    void *fault_data;
    uv_idle_t idle;
};

static const struct store_ops memory_ops;

static struct memory_store *memory_of(struct store *store)
{
    INVARIANT(store->ops == &memory_ops);
    return (struct memory_store *)(void *)store; /* store is its first member */
}

/* ---- running requests ---- */

static void run_one(struct memory_store *m, struct store_request *request)
{
    struct store_memory_fault fault = {0};
    if (m->fault != NULL)
        fault = m->fault(m->fault_data, request);
    INVARIANT(!fault.apply || fault.error == TROUPE_EOUTCOME);
    if (store__check_request(request) == 0 && (fault.error == 0 || fault.apply))
        database_run(m->database, m->cluster, m->partitions, request);
    if (fault.error != 0)
        store__fail(request, fault.error, "injected fault: %s", troupe_error_text(fault.error));
    request->done(request);
}

static size_t run_some(struct memory_store *m, size_t max)
{
    size_t n = 0;
    while (n < max && m->head != NULL) {
        struct store_request *request = m->head;
        m->head = request->next;
        if (m->head == NULL)
            m->tail = &m->head;
        run_one(m, request);
        n++;
    }
    return n;
}

static void finish(struct memory_store *m)
{
    void (*closed)(void *) = m->closed;
    void *data = m->closed_data;
    database_close(m->database);
    free(m);
    closed(data);
}

static void on_idle_closed(uv_handle_t *handle)
{
    finish(handle->data);
}

static void on_idle(uv_idle_t *idle)
{
    struct memory_store *m = idle->data;
    run_some(m, RUN_PER_TURN);
    if (m->head != NULL)
        return;
    uv_idle_stop(idle);
    if (m->closing)
        uv_close((uv_handle_t *)idle, on_idle_closed);
}

size_t store_memory_poll(struct store *store, size_t max)
{
    struct memory_store *m = memory_of(store);
    INVARIANT(!m->has_loop);
    size_t n = run_some(m, max);
    if (m->closing && m->head == NULL)
        finish(m);
    return n;
}

/* ---- the store's operations ---- */

static void memory_submit(struct store *store, struct store_request *request)
{
    struct memory_store *m = memory_of(store);
    INVARIANT(!m->closing);
    *m->tail = request;
    m->tail = &request->next;
    if (m->has_loop)
        uv_idle_start(&m->idle, on_idle);
}

static void memory_close(struct store *store, void (*closed)(void *data), void *data)
{
    struct memory_store *m = memory_of(store);
    INVARIANT(!m->closing);
    m->closing = true;
    m->closed = closed;
    m->closed_data = data;
    if (m->has_loop)
        uv_idle_start(&m->idle, on_idle);
}

static const struct store_ops memory_ops = {
    .scheme = "memory",
    .submit = memory_submit,
    .close = memory_close,
};

int store_memory_open(struct store **store, const struct store_options *options,
                      char errmsg[STORE_ERRMSG_BYTES])
{
    const char *name = options->url + strlen("memory:");
    struct memory_store *m = calloc(1, sizeof *m);
    if (m == NULL)
        goto err;
    m->database = database_open(name);
    if (m->database == NULL)
        goto err_after_calloc;
    m->cluster = database_cluster(m->database, options->cluster);
    if (m->cluster == NULL)
        goto err_after_database;
    m->store.ops = &memory_ops;
    m->partitions = store__partitions(options);
    m->tail = &m->head;
    if (options->loop != NULL) {
        m->has_loop = true;
        m->idle.data = m;
        uv_idle_init(options->loop, &m->idle);
    }
    *store = &m->store;
    return 0;

err_after_database:
    database_close(m->database);
err_after_calloc:
    free(m);
err:
    snprintf(errmsg, STORE_ERRMSG_BYTES, "out of memory");
    return TROUPE_ENOMEM;
}

/* ---- for tests and the simulator ---- */

void store_memory_set_clock(struct store *store, store_memory_clock_cb clock, void *data)
{
    database_set_clock(memory_of(store)->database, clock, data);
}

void store_memory_set_fault(struct store *store, store_memory_fault_cb fault, void *data)
{
    struct memory_store *m = memory_of(store);
    m->fault = fault;
    m->fault_data = data;
}

bool store_memory_evict(struct store *store, const char *name)
{
    struct memory_store *m = memory_of(store);
    return database_evict(m->database, m->cluster, name);
}

bool store_memory_keep(struct store *store)
{
    struct memory_store *m = memory_of(store);
    return database_keep(m->database, m->cluster);
}

void store_memory_fail_over(struct store *store)
{
    struct memory_store *m = memory_of(store);
    database_fail_over(m->database, m->cluster);
}

void store_memory_depose(struct store *store, struct store *old)
{
    struct memory_store *m = memory_of(store), *o = memory_of(old);
    database_depose(m->database, m->cluster, o->database, o->cluster);
}

void store_memory_forget_timeline(struct store *store)
{
    struct memory_store *m = memory_of(store);
    database_forget_timeline(m->database, m->cluster);
}
