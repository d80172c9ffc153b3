/* The SQLite store: a file, three workers, and the way back to the loop. Everything that may block
 * happens in the workers; this file runs on the loop's thread, except for the two functions that
 * workers call. */
#include "storage/sqlite/sqlite.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/invariant.h"
#include "storage/request.h"
#include "storage/sqlite/runs.h"
#include "storage/store_impl.h"

enum {
    TIMEOUT_MS_DEFAULT = 5000,
    CLOSE_PATIENCE_MS =
        500, /* for locks, of everything that is still to do when the store closes */
};

static const struct store_ops sqlite_ops;

static struct sqlite_store *sqlite_of(struct store *store)
{
    INVARIANT(store->ops == &sqlite_ops);
    return (struct sqlite_store *)(void *)store; /* store is its first member */
}

/* ---- from the workers ---- */

void sqlite__store_done(struct sqlite_store *s, struct store_request *first,
                        struct store_request *last)
{
    uv_mutex_lock(&s->lock);
    bool was_empty = s->done == NULL;
    *s->done_tail = first;
    s->done_tail = &last->next;
    uv_mutex_unlock(&s->lock);
    if (was_empty) /* otherwise the loop has been woken and has not come yet */
        uv_async_send(&s->async);
}

void sqlite__store_ended(struct sqlite_store *s)
{
    uv_mutex_lock(&s->lock);
    INVARIANT(s->running > 0);
    s->running--;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

static void on_worker_log(void *data, enum store_log_level level, const char *text)
{
    struct sqlite_store *s = data;
    uv_mutex_lock(&s->lock);
    if (s->lines_n < LOG_LINES_MAX) {
        struct sqlite_log_line *line = &s->lines[s->lines_n++];
        line->level = level;
        snprintf(line->text, sizeof line->text, "%s", text);
    }
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

/* ---- on the loop ---- */

static void store_free(struct sqlite_store *s)
{
    for (size_t i = 0; i < s->workers_n; i++)
        sqlite__worker_join(&s->workers[i]);
    sqlite__gate_close(&s->gate);
    uv_mutex_destroy(&s->lock);
    sqlite__run_release(&s->config);
    free(s->config.path);
    free(s->config.cluster);
    free(s);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct sqlite_store *s = handle->data;
    void (*closed)(void *) = s->closed;
    void *data = s->closed_data;
    store_free(s);
    closed(data);
}

static void deliver_logs(struct sqlite_store *s)
{
    struct sqlite_log_line lines[LOG_LINES_MAX];
    uv_mutex_lock(&s->lock);
    size_t n = s->lines_n;
    memcpy(lines, s->lines, n * sizeof lines[0]);
    s->lines_n = 0;
    uv_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++)
        s->log(s->log_data, lines[i].level, lines[i].text);
}

static void on_async(uv_async_t *async)
{
    struct sqlite_store *s = async->data;
    if (s->log != NULL)
        deliver_logs(s);
    uv_mutex_lock(&s->lock);
    struct store_request *list = s->done;
    s->done = NULL;
    s->done_tail = &s->done;
    size_t running = s->running;
    uv_mutex_unlock(&s->lock);
    while (list != NULL) {
        struct store_request *r = list;
        list = r->next;
        r->done(r);
    }
    /* Workers end after they have handed everything back, so nothing came in between. */
    if (s->closing && running == 0)
        uv_close((uv_handle_t *)&s->async, on_async_closed);
}

/* ---- the store's operations ---- */

static void sqlite_submit(struct store *store, struct store_request *request)
{
    static const enum sqlite_role roles[] = {
        [STORE_REGISTER] = WORKER_LEASE,  [STORE_RENEW] = WORKER_LEASE,
        [STORE_LEAVE] = WORKER_LEASE,     [STORE_CLAIM] = WORKER_WRITER,
        [STORE_LOAD] = WORKER_READER,     [STORE_SAVE] = WORKER_WRITER,
        [STORE_OWNERS] = WORKER_READER,   [STORE_EVICT] = WORKER_LEASE,
        [STORE_TRANSFER] = WORKER_WRITER, [STORE_HISTORY] = WORKER_READER,
        [STORE_RECENT] = WORKER_READER,   [STORE_DRAIN] = WORKER_LEASE,
        [STORE_KINDS] = WORKER_LEASE,
    };
    struct sqlite_store *s = sqlite_of(store);
    INVARIANT(!s->closing);
    if (store__check_request(request) != 0) {
        sqlite__store_done(s, request, request);
        return;
    }
    sqlite__worker_submit(&s->workers[roles[request->op]], request);
}

static void sqlite_close(struct store *store, void (*closed)(void *data), void *data)
{
    struct sqlite_store *s = sqlite_of(store);
    INVARIANT(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_data = data;
    atomic_store(&s->config.give_up_ns, uv_hrtime() + (uint64_t)CLOSE_PATIENCE_MS * 1000000);
    for (size_t i = 0; i < s->workers_n; i++)
        sqlite__worker_stop(&s->workers[i]);
}

static const struct store_ops sqlite_ops = {
    .scheme = "sqlite",
    .submit = sqlite_submit,
    .close = sqlite_close,
};

/* ---- opening ---- */

int sqlite__parse_url(const char *url, char **path, char errmsg[STORE_ERRMSG_BYTES])
{
    const char *name = url + strlen("sqlite:");
    char directory[PATH_MAX] = "";
    *path = NULL;
    if (name[0] == '\0' || strcmp(name, ":memory:") == 0) {
        snprintf(errmsg, STORE_ERRMSG_BYTES,
                 "sqlite: needs the name of a file, as in sqlite:troupe.db (for a store without a "
                 "file there is memory:)");
        return TROUPE_EINVAL;
    }
    /* Absolute: the process may change its directory, and SQLite gives names that begin with
     * "file:" a meaning of their own. */
    if (name[0] != '/' && getcwd(directory, sizeof directory) == NULL) {
        snprintf(errmsg, STORE_ERRMSG_BYTES, "the current directory cannot be determined");
        return TROUPE_EINVAL;
    }
    size_t size = strlen(directory) + 1 + strlen(name) + 1;
    *path = malloc(size);
    if (*path == NULL) {
        snprintf(errmsg, STORE_ERRMSG_BYTES, "out of memory");
        return TROUPE_ENOMEM;
    }
    snprintf(*path, size, "%s%s%s", directory, directory[0] == '\0' ? "" : "/", name);
    return 0;
}

static int start_workers(struct sqlite_store *s)
{
    for (size_t i = 0; i < WORKER_ROLES_N; i++) {
        s->running++; /* before the thread can end */
        if (sqlite__worker_start(&s->workers[i], s, (enum sqlite_role)i) != 0) {
            s->running--;
            return TROUPE_ENOMEM;
        }
        s->workers_n++;
    }
    return 0;
}

static void abandoned(void *data)
{
    (void)data;
}

static int store_init(struct sqlite_store *s, const struct store_options *options)
{
    s->store.ops = &sqlite_ops;
    s->done_tail = &s->done;
    s->log = options->log;
    s->log_data = options->log_data;
    s->config.partitions = store__partitions(options);
    s->config.timeout_ms =
        options->statement_timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : options->statement_timeout_ms;
    s->config.log = on_worker_log;
    s->config.log_data = s;
    s->config.cluster = strdup(options->cluster);
    if (s->config.cluster == NULL)
        return TROUPE_ENOMEM;
    if (uv_mutex_init(&s->lock) != 0)
        goto err;
    s->config.lock = &s->lock;
    if (sqlite__gate_init(&s->gate) != 0)
        goto err_after_mutex;
    s->async.data = s;
    if (uv_async_init(options->loop, &s->async, on_async) != 0)
        goto err_after_gate;
    return 0;

err_after_gate:
    sqlite__gate_close(&s->gate);
err_after_mutex:
    uv_mutex_destroy(&s->lock);
err:
    free(s->config.cluster);
    return TROUPE_ENOMEM;
}

int store_sqlite_open(struct store **store, const struct store_options *options,
                      char errmsg[STORE_ERRMSG_BYTES])
{
    if (options->loop == NULL) {
        snprintf(errmsg, STORE_ERRMSG_BYTES, "an SQLite store needs a loop");
        return TROUPE_EINVAL;
    }
    struct sqlite_store *s = calloc(1, sizeof *s);
    int rc = s == NULL ? TROUPE_ENOMEM : sqlite__parse_url(options->url, &s->config.path, errmsg);
    if (rc == TROUPE_EINVAL) {
        free(s);
        return rc;
    }
    if (rc != 0 || store_init(s, options) != 0)
        goto err;
    if (start_workers(s) != 0) {
        /* Some threads may run: the loop takes the store down as any other. */
        sqlite_close(&s->store, abandoned, NULL);
        if (s->workers_n == 0)
            uv_close((uv_handle_t *)&s->async, on_async_closed);
        snprintf(errmsg, STORE_ERRMSG_BYTES, "the threads of the store cannot be started");
        return TROUPE_ENOMEM;
    }
    *store = &s->store;
    return 0;

err:
    if (s != NULL)
        free(s->config.path);
    free(s);
    snprintf(errmsg, STORE_ERRMSG_BYTES, "out of memory");
    return TROUPE_ENOMEM;
}
