/* The Postgres store: requests wait for a connection and go to the one that has the least to do.
 * The lease has a connection of its own, so that a renewal never queues behind a large commit. */
#include "storage/postgres/postgres.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "storage/store_impl.h"

uint64_t pg_now_ms(const struct pg_store *s)
{
    (void)s;
    return uv_hrtime() / 1000000;
}

void pg_log(struct pg_store *s, enum store_log_level level, const char *format, ...)
{
    char text[PG_TEXT_BYTES * 2];
    if (s->log == NULL)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->log(s->log_data, level, text);
}

/* ---- requests ---- */

static bool is_lease(const struct store_request *r)
{
    return r->op == STORE_REGISTER || r->op == STORE_RENEW || r->op == STORE_LEAVE;
}

static void maybe_closed(struct pg_store *s);

void pg_done(struct pg_store *s, struct store_request *r)
{
    free(r->impl);
    r->impl = NULL;
    r->next = NULL;
    INVARIANT(s->outstanding > 0);
    s->outstanding--;
    r->done(r);
}

static void enqueue(struct pg_store *s, struct store_request *r)
{
    struct store_request ***tail = is_lease(r) ? &s->lease_tail : &s->waiting_tail;
    r->next = NULL;
    **tail = r;
    *tail = &r->next;
}

void pg_requeue(struct pg_store *s, struct store_request *r)
{
    r->error = 0;
    enqueue(s, r);
}

static struct store_request *dequeue(struct store_request **head, struct store_request ***tail)
{
    struct store_request *r = *head;
    *head = r->next;
    if (*head == NULL)
        *tail = head;
    return r;
}

static struct pg_conn *least_busy(struct pg_store *s)
{
    struct pg_conn *best = NULL;
    for (unsigned i = 1; i < s->conns_n; i++) {
        struct pg_conn *c = &s->conns[i];
        if (pg_conn_can_take(c) && (best == NULL || c->in_flight < best->in_flight))
            best = c;
    }
    return best;
}

void pg_dispatch(struct pg_store *s)
{
    struct pg_conn *c;
    while (s->lease != NULL && pg_conn_can_take(&s->conns[0]))
        pg_conn_send(&s->conns[0], dequeue(&s->lease, &s->lease_tail));
    while (s->waiting != NULL && (c = least_busy(s)) != NULL)
        pg_conn_send(c, dequeue(&s->waiting, &s->waiting_tail));
    maybe_closed(s);
}

static void submit(struct store *base, struct store_request *r)
{
    struct pg_store *s = (struct pg_store *)(void *)base;
    struct pg_task *t = calloc(1, sizeof *t);
    r->impl = t;
    s->outstanding++;
    if (t != NULL)
        t->deadline_ms = pg_now_ms(s) + pg_patience_ms(r, s->timeout_ms);
    if (r->op == STORE_REGISTER)
        s->lease_ttl_ms = r->u.reg.ttl_ms;
    if (t == NULL)
        store__fail(r, TROUPE_EUNAVAILABLE, "store: out of memory");
    else if (store__check_request(r) == 0)
        pg_op_reserve(r);
    if (r->error != 0) { /* done must not be called from within submit */
        r->next = s->rejected;
        s->rejected = r;
        return;
    }
    enqueue(s, r);
    pg_dispatch(s);
}

static void answer_rejected(struct pg_store *s)
{
    struct store_request *r = s->rejected;
    s->rejected = NULL;
    while (r != NULL) {
        struct store_request *next = r->next;
        pg_done(s, r);
        r = next;
    }
}

/* Fails what has waited too long for a connection. */
static void expire(struct pg_store *s, struct store_request **head, struct store_request ***tail,
                   uint64_t now_ms)
{
    struct store_request *r = *head;
    *head = NULL;
    *tail = head;
    while (r != NULL) {
        struct store_request *next = r->next;
        struct pg_task *t = r->impl;
        bool late = t != NULL && (now_ms >= t->deadline_ms || s->closing);
        if (late)
            store__fail(r, TROUPE_EUNAVAILABLE, "store: no connection to the database: %s",
                        s->last_error[0] == '\0' ? "it is being made" : s->last_error);
        if (r->error != 0)
            pg_done(s, r);
        else
            pg_requeue(s, r);
        r = next;
    }
}

/* ---- the first time: a database without our schema ---- */

static void report(void *data, const char *line)
{
    struct pg_store *s = data;
    pg_log(s, STORE_LOG_INFO, "%s", line);
}

static void migrate_work(uv_work_t *work)
{
    struct pg_store *s = work->data;
    char errmsg[STORE_ERRMSG_BYTES] = "";
    s->migrate_rc = store_postgres_migrate_if_empty(s->url, report, s, errmsg);
    memcpy(s->migrate_error, errmsg, sizeof errmsg);
}

static void migrate_done(uv_work_t *work, int status)
{
    struct pg_store *s = work->data;
    (void)status;
    s->migrating = false;
    s->migrated = s->migrate_rc == 0;
    if (!s->migrated) {
        s->migrate_ms = pg_now_ms(s) + PG_BACKOFF_MS_MAX / 4;
        if (strncmp(s->last_error, s->migrate_error, sizeof s->last_error - 1) != 0)
            pg_log(s, STORE_LOG_WARN, "postgres: %s", s->migrate_error);
        snprintf(s->last_error, sizeof s->last_error, "%.*s", PG_TEXT_BYTES - 1, s->migrate_error);
    }
    maybe_closed(s);
}

/* Before the first connection: an empty database gets its schema, so that a new cluster just works.
 * An old schema is left alone: bringing that up to date is the operator's decision (troupe-node
 * migrate). */
static void look_for_schema(struct pg_store *s)
{
    s->migrate.data = s;
    s->migrating = uv_queue_work(s->loop, &s->migrate, migrate_work, migrate_done) == 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct pg_store *s = timer->data;
    uint64_t now_ms = pg_now_ms(s);
    if (!s->migrated && !s->migrating && now_ms >= s->migrate_ms)
        look_for_schema(s);
    for (unsigned i = 0; i < s->conns_n && s->migrated; i++)
        pg_conn_tick(&s->conns[i], now_ms);
    pg_redial_tick(s, now_ms);
    answer_rejected(s);
    expire(s, &s->lease, &s->lease_tail, now_ms);
    expire(s, &s->waiting, &s->waiting_tail, now_ms);
    pg_dispatch(s);
}

/* ---- closing ---- */

static void on_tick_closed(uv_handle_t *handle)
{
    struct pg_store *s = handle->data;
    void (*closed)(void *) = s->closed;
    void *data = s->closed_data;
    arena_close(&s->params);
    free(s->conns);
    free(s->url);
    free(s->cluster);
    free(s);
    closed(data);
}

static void maybe_closed(struct pg_store *s)
{
    if (!s->closing || s->tick_closed || s->outstanding > 0 || s->migrating)
        return;
    for (unsigned i = 0; i < s->conns_n; i++) {
        if (!pg_conn_is_closed(&s->conns[i]))
            return;
    }
    if (!pg_conn_is_closed(&s->scout))
        return;
    s->tick_closed = true;
    uv_close((uv_handle_t *)&s->tick, on_tick_closed);
}

static void on_closing(uv_timer_t *timer)
{
    struct pg_store *s = timer->data;
    expire(s, &s->lease, &s->lease_tail, UINT64_MAX);
    expire(s, &s->waiting, &s->waiting_tail, UINT64_MAX);
    answer_rejected(s);
    maybe_closed(s);
}

static void store_postgres_close(struct store *base, void (*closed)(void *data), void *data)
{
    struct pg_store *s = (struct pg_store *)(void *)base;
    s->closing = true;
    s->closed = closed;
    s->closed_data = data;
    for (unsigned i = 0; i < s->conns_n; i++)
        pg_conn_break(&s->conns[i], "the store is being closed");
    pg_conn_break(&s->scout, "the store is being closed");
    uv_timer_start(&s->tick, on_closing, 0, PG_TICK_MS);
}

/* ---- opening ---- */

static const struct store_ops POSTGRES_OPS = {
    .scheme = "postgres",
    .submit = submit,
    .redial = pg_redial,
    .close = store_postgres_close,
};

static int check_url(const char *url, char errmsg[STORE_ERRMSG_BYTES])
{
    char *error = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &error);
    int rc = options == NULL ? TROUPE_EINVAL : 0;
    if (rc != 0)
        snprintf(errmsg, STORE_ERRMSG_BYTES, "store: the url is not one of Postgres: %.*s",
                 error == NULL ? 0 : (int)strcspn(error, "\n"), error == NULL ? "" : error);
    PQconninfoFree(options);
    PQfreemem(error);
    return rc;
}

int store_postgres_open(struct store **store, const struct store_options *options,
                        char errmsg[STORE_ERRMSG_BYTES])
{
    int rc = store__check_options(options, errmsg);
    if (rc == 0)
        rc = check_url(options->url, errmsg);
    if (rc != 0)
        return rc;
    if (options->loop == NULL || options->connections > PG_CONNECTIONS_MAX) {
        snprintf(errmsg, STORE_ERRMSG_BYTES,
                 "store: Postgres needs a loop, and 64 connections at most");
        return TROUPE_EINVAL;
    }
    struct pg_store *s = calloc(1, sizeof *s);
    snprintf(errmsg, STORE_ERRMSG_BYTES, "out of memory");
    if (s == NULL)
        return TROUPE_ENOMEM;
    *s = (struct pg_store){
        .base.ops = &POSTGRES_OPS,
        .loop = options->loop,
        .url = strdup(options->url),
        .cluster = strdup(options->cluster),
        .partitions = store__partitions(options),
        .timeout_ms = options->statement_timeout_ms == 0 ? 5000 : options->statement_timeout_ms,
        .lease_ttl_ms = UINT32_MAX,
        .prepare = options->prepared_statements,
        .timeline_none = options->timeline_none,
        .log = options->log,
        .log_data = options->log_data,
        .conns_n = 1 + (options->connections == 0 ? 3 : options->connections),
    };
    pg_settings(s, s->settings);
    s->waiting_tail = &s->waiting;
    s->lease_tail = &s->lease;
    arena_init(&s->params, 1 << 20, 0);
    s->conns = calloc(s->conns_n, sizeof *s->conns);
    if (s->url == NULL || s->cluster == NULL || s->conns == NULL ||
        uv_timer_init(s->loop, &s->tick) != 0) {
        free(s->conns);
        free(s->url);
        free(s->cluster);
        free(s);
        return TROUPE_ENOMEM;
    }
    for (unsigned i = 0; i < s->conns_n; i++)
        pg_conn_init(&s->conns[i], s);
    pg_conn_init(&s->scout, s);
    s->tick.data = s;
    uv_timer_start(&s->tick, on_tick, 0, PG_TICK_MS);
    if (!pg_server_is_asked(s))
        pg_log(
            s, STORE_LOG_WARN,
            "postgres: store-timeline is none: failovers of the database are not noticed, so that "
            "one that can lose commits is yours to exclude");
    errmsg[0] = '\0';
    *store = &s->base;
    return 0;
}
