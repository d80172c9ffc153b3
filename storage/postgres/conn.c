/* One connection, driven by the loop.
 *
 * Happy path: DOWN → resolve the host's name (libpq would block on that) → PQconnectPoll by uv_poll
 * → a look which server answers (server.c) → READY: in pipeline mode, each request is the settings
 * (ops.c), one statement (each with its PREPARE before it the first time) and one sync, and that is
 * one transaction; answers come in order, and a request is done when its sync is.
 *
 * When the connection breaks, or an answer does not come in time, all that is under way on it is
 * settled: what cannot have been committed is EUNAVAILABLE (only read) or what the server has
 * refused it with (verdict.h), a write that may have been is EOUTCOME. Then the connection is made
 * anew, with backoff. The server's "might not have been replicated" counts as unknown, too.
 *
 * A server that takes no writes any more keeps its connections. Told so once, all of them are
 * left, and the next attempt looks for a server that does (target_session_attrs).
 *
 * A path to the server that swallows everything must not cost the lease: its connection waits for
 * an answer only as long as another attempt fits into the lease. And a resolver that hangs is not
 * waited for where an address of the host is known. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "storage/postgres/postgres.h"

static void on_poll(uv_poll_t *poll, int status, int events);
static void resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res);

void pg_conn_init(struct pg_conn *c, struct pg_store *s)
{
    *c = (struct pg_conn){.store = s, .fd = -1, .tail = &c->head};
}

bool pg_conn_can_take(const struct pg_conn *c)
{
    return c->state == PG_READY && c->leaving == NULL && c->in_flight < PG_PIPELINE_MAX;
}

bool pg_conn_is_closed(const struct pg_conn *c)
{
    return c->pg == NULL && !c->resolving;
}

static struct pg_task *task_of(struct store_request *r)
{
    return r->impl;
}

/* ---- the socket ---- */

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

static void unwatch(struct pg_conn *c)
{
    if (c->poll != NULL) {
        uv_poll_stop(c->poll);
        uv_close((uv_handle_t *)c->poll, free_poll);
    }
    c->poll = NULL;
    c->fd = -1;
    c->events = 0;
}

/* libpq may change its socket while it connects. */
static void watch(struct pg_conn *c, int events)
{
    int fd = PQsocket(c->pg);
    if (fd != c->fd) {
        unwatch(c);
        if (fd < 0)
            return;
        c->poll = calloc(1, sizeof *c->poll);
        if (c->poll == NULL || uv_poll_init(c->store->loop, c->poll, fd) != 0) {
            free(c->poll);
            c->poll = NULL;
            return;
        }
        c->poll->data = c;
        c->fd = fd;
    }
    if (events != c->events && c->poll != NULL)
        uv_poll_start(c->poll, events, on_poll);
    c->events = events;
}

/* ---- breaking ---- */

static bool is_lease(const struct pg_conn *c)
{
    return c == &c->store->conns[0];
}

/* Of a database that comes and goes, each short moment must be found by the lease's connection: the
 * others' nodes renew in it, and would evict us. */
static uint64_t backoff_ms(const struct pg_conn *c)
{
    uint64_t max = is_lease(c) ? PG_LEASE_BACKOFF_MS_MAX : PG_BACKOFF_MS_MAX;
    uint64_t wait = (uint64_t)PG_BACKOFF_MS_MIN << (c->failures < 5 ? c->failures : 5);
    wait = wait < max ? wait : max;
    return wait + ((uintptr_t)c >> 4 ^ uv_hrtime()) % (wait / 4 + 1);
}

static void settle(struct pg_conn *c, struct store_request *r, const char *why)
{
    struct pg_task *t = task_of(r);
    bool writes = pg_op(r->op)->writes;
    if (!writes && !c->store->closing) {
        pg_requeue(c->store, r); /* within its deadline, another connection may do it */
        return;
    }
    if (writes && t->sent && !t->refused && r->error != TROUPE_EOUTCOME)
        store__fail(r, TROUPE_EOUTCOME, "store: the connection broke before the answer came: %s",
                    why);
    else if (r->error == 0)
        store__fail(r, TROUPE_EUNAVAILABLE, "store: %s", why);
    pg_done(c->store, r);
}

void pg_conn_break(struct pg_conn *c, const char *why)
{
    struct pg_store *s = c->store;
    char text[PG_TEXT_BYTES];
    snprintf(text, sizeof text, "%.*s", (int)strcspn(why, "\n"), why);
    bool scout = pg_redial_is_scout(c); /* what becomes of it changes nothing for the others */
    bool news = c->state == PG_READY || (c->failures == 0 && c->state != PG_DOWN);
    unwatch(c);
    if (c->pg != NULL)
        PQfinish(c->pg);
    c->pg = NULL;
    c->state = PG_DOWN;
    memset(c->prepared, 0, sizeof c->prepared);
    c->unreplicated = false;
    c->leaving = NULL;
    c->server = 0;
    c->retry_ms = pg_now_ms(s) + backoff_ms(c);
    c->failures++;
    if (!scout)
        snprintf(s->last_error, sizeof s->last_error, "%s", text);
    if (news && !scout && !s->closing)
        pg_log(s, STORE_LOG_WARN, "postgres: %s", text);
    struct store_request *r = c->head;
    c->head = NULL;
    c->tail = &c->head;
    c->in_flight = 0;
    while (r != NULL) {
        struct store_request *next = r->next;
        settle(c, r, text);
        r = next;
    }
}

/* ---- connecting ---- */

static void on_notice(void *data, const PGresult *result)
{
    struct pg_conn *c = data;
    const char *text = PQresultErrorMessage(result);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    c->unreplicated |= pg_verdict_is_unreplicated(severity, function, text);
    if (severity != NULL && strcmp(severity, "NOTICE") != 0)
        pg_log(c->store, STORE_LOG_WARN, "postgres: %.*s", (int)strcspn(text, "\n"), text);
}

/* What the url says, with the address that we resolved and our name. */
static PGconn *start(struct pg_conn *c)
{
    char *error = NULL;
    PQconninfoOption *options = PQconninfoParse(c->store->url, &error);
    const char *keys[64], *values[64];
    size_t n = 0;
    bool named = false, attrs = false;
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL && n < 58; o++) {
        if (o->val == NULL)
            continue;
        named |= strcmp(o->keyword, "application_name") == 0;
        attrs |= strcmp(o->keyword, "target_session_attrs") == 0;
        keys[n] = o->keyword;
        values[n++] = o->val;
    }
    if (c->hostaddr[0] != '\0') {
        keys[n] = "hostaddr";
        values[n++] = c->hostaddr;
    }
    if (!named) {
        keys[n] = "application_name";
        values[n++] = "troupe";
    }
    if (!attrs) {
        keys[n] = "target_session_attrs";
        values[n++] = "read-write";
    }
    keys[n] = values[n] = NULL;
    PGconn *pg = options == NULL ? NULL : PQconnectStartParams(keys, values, 0);
    PQconninfoFree(options);
    PQfreemem(error);
    return pg;
}

static void connect_now(struct pg_conn *c)
{
    c->state = PG_CONNECTING;
    c->pg = start(c);
    if (c->pg == NULL || PQstatus(c->pg) == CONNECTION_BAD) {
        pg_conn_break(c, c->pg == NULL ? "out of memory" : PQerrorMessage(c->pg));
        return;
    }
    PQsetNoticeReceiver(c->pg, on_notice, c);
    watch(c, UV_WRITABLE);
}

/* The one host's name that has to be resolved: not a list, not a path, not an address already. */
static bool host_to_resolve(const struct pg_conn *c, char host[256], char port[16])
{
    PQconninfoOption *options = PQconninfoParse(c->store->url, NULL);
    host[0] = '\0';
    snprintf(port, 16, "5432");
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (o->val == NULL || o->val[0] == '\0')
            continue;
        if (strcmp(o->keyword, "host") == 0)
            snprintf(host, 256, "%s", o->val);
        else if (strcmp(o->keyword, "port") == 0)
            snprintf(port, 16, "%s", o->val);
        else if (strcmp(o->keyword, "hostaddr") == 0) {
            host[0] = '\0';
            break;
        }
    }
    PQconninfoFree(options);
    return host[0] != '\0' && strpbrk(host, "/,") == NULL;
}

/* A lookup that was given up goes on, and holds its request, until the resolver answers. */
static bool can_start(const struct pg_conn *c)
{
    return c->state == PG_DOWN && (!c->resolving || c->hostaddr[0] != '\0');
}

static void connect_start(struct pg_conn *c)
{
    char host[256], port[16];
    c->started_ms = pg_now_ms(c->store);
    if (c->resolving || !host_to_resolve(c, host, port)) {
        connect_now(c);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    c->state = PG_RESOLVING;
    c->resolve.data = c;
    if (uv_getaddrinfo(c->store->loop, &c->resolve, resolved, host, port, &hints) != 0) {
        pg_conn_break(c, "the host's name cannot be looked up");
        return;
    }
    c->resolving = true;
}

static bool keep_address(struct pg_conn *c, const struct addrinfo *found)
{
    const void *address = found->ai_addr;
    if (found->ai_family == AF_INET)
        return uv_ip4_name(address, c->hostaddr, sizeof c->hostaddr) == 0;
    return found->ai_family == AF_INET6 &&
           uv_ip6_name(address, c->hostaddr, sizeof c->hostaddr) == 0;
}

static void resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct pg_conn *c = req->data;
    bool found = status == 0 && keep_address(c, res);
    c->resolving = false;
    uv_freeaddrinfo(res);
    if (c->store->closing) {
        c->state = PG_DOWN;
        pg_dispatch(c->store);
    } else if (c->state == PG_RESOLVING && found) {
        connect_now(c);
    } else if (c->state == PG_RESOLVING) {
        char text[PG_TEXT_BYTES];
        snprintf(text, sizeof text, "the database's host cannot be found: %s", uv_strerror(status));
        pg_conn_break(c, text);
    } else if (found) { /* it was given up; if no address was known, this one is */
        c->retry_ms = pg_now_ms(c->store);
    }
}

static void resolve_late(struct pg_conn *c)
{
    if (c->hostaddr[0] == '\0') {
        pg_conn_break(c, "looking the database's host up takes too long");
        return;
    }
    pg_log(c->store, STORE_LOG_WARN,
           "postgres: looking the database's host up takes too long: trying %s, where it was",
           c->hostaddr);
    c->started_ms = pg_now_ms(c->store);
    connect_now(c);
}

/* A pooler takes connections also when there is no server behind it. */
static void set_up(struct pg_conn *c)
{
    c->state = PG_SETTING_UP;
    if (PQsetnonblocking(c->pg, 1) != 0 || PQsendQuery(c->pg, pg_server_question(c->store)) == 0)
        pg_conn_break(c, PQerrorMessage(c->pg));
    else
        watch(c, UV_READABLE | UV_WRITABLE);
}

static void on_connecting(struct pg_conn *c)
{
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        watch(c, UV_READABLE);
        return;
    case PGRES_POLLING_WRITING:
        watch(c, UV_WRITABLE);
        return;
    case PGRES_POLLING_OK:
        set_up(c);
        return;
    default:
        pg_conn_break(c, PQerrorMessage(c->pg));
    }
}

/* The database is there, as this connection shows: the lease's need not wait any more, be it for
 * its next attempt or for one that was begun before the database came back. */
static void lease_too(const struct pg_conn *c)
{
    struct pg_conn *lease = &c->store->conns[0];
    bool hangs = (lease->state == PG_CONNECTING || lease->state == PG_SETTING_UP) &&
                 lease->started_ms + PG_LEASE_BACKOFF_MS_MAX < c->started_ms;
    if (hangs)
        pg_conn_break(lease, "connecting takes longer than for another connection");
    if (can_start(lease))
        connect_start(lease);
}

static void on_setting_up(struct pg_conn *c)
{
    char text[PG_TEXT_BYTES] = "";
    if (PQflush(c->pg) < 0 || PQconsumeInput(c->pg) == 0) {
        pg_conn_break(c, PQerrorMessage(c->pg));
        return;
    }
    while (!PQisBusy(c->pg)) {
        PGresult *result = PQgetResult(c->pg);
        if (result == NULL) {
            if (PQenterPipelineMode(c->pg) == 0) {
                pg_conn_break(c, "the connection refuses pipeline mode");
                return;
            }
            if (pg_server_is_asked(c->store) && c->server != c->store->server.number) {
                pg_conn_break(c, "another connection has found a later server meanwhile");
                return;
            }
            if (pg_redial_arrived(c))
                return;
            c->state = PG_READY;
            c->failures = 0;
            watch(c, UV_READABLE);
            lease_too(c);
            pg_dispatch(c->store);
            return;
        }
        const char *why = NULL;
        if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
            why = pg_server_hidden(PQresultErrorField(result, PG_DIAG_SQLSTATE));
            why = why != NULL ? why : PQresultErrorMessage(result);
        } else if (PQresultStatus(result) == PGRES_TUPLES_OK) {
            why = pg_server_met(c, result);
        }
        if (why != NULL)
            snprintf(text, sizeof text, "%s", why);
        PQclear(result);
        if (text[0] != '\0') {
            pg_conn_break(c, text);
            return;
        }
    }
    watch(c, UV_READABLE);
}

/* ---- sending ---- */

/* How many results it will have; 0: it cannot be sent. */
static unsigned send_statement(struct pg_conn *c, unsigned which, const char *name, const char *sql,
                               const struct pg_params *p)
{
    if (!c->store->prepare)
        return PQsendQueryParams(c->pg, sql, p->n, p->types, p->values, p->lengths, p->formats,
                                 1) != 0;
    unsigned results = c->prepared[which] ? 1 : 2;
    if (results == 2 && PQsendPrepare(c->pg, name, sql, p->n, p->types) == 0)
        return 0;
    c->prepared[which] = true;
    return PQsendQueryPrepared(c->pg, name, p->n, p->values, p->lengths, p->formats, 1) != 0
               ? results
               : 0;
}

static bool send_request(struct pg_conn *c, struct store_request *r, const struct pg_params *p)
{
    const struct pg_op *op = pg_op(r->op);
    struct pg_task *t = task_of(r);
    struct pg_params none = {0};
    t->left = send_statement(c, PG_SETTINGS, "troupe_settings", c->store->settings, &none);
    t->own = t->left == 0 ? 0 : send_statement(c, r->op, op->name, op->sql, p);
    t->left += t->own;
    return t->own > 0 && PQpipelineSync(c->pg) != 0 && PQflush(c->pg) >= 0;
}

static bool flush(struct pg_conn *c)
{
    int rc = PQflush(c->pg);
    if (rc < 0)
        return false;
    watch(c, rc == 0 ? UV_READABLE : UV_READABLE | UV_WRITABLE);
    return true;
}

void pg_conn_send(struct pg_conn *c, struct store_request *r)
{
    struct pg_store *s = c->store;
    struct pg_task *t = task_of(r);
    const struct pg_op *op = pg_op(r->op);
    struct pg_params p;
    arena_reset(&s->params);
    pg_params_init(&p, &s->params);
    op->params(s, r, &p);
    if (p.failed) {
        store__fail(r, TROUPE_EUNAVAILABLE, "store: out of memory for a statement");
        pg_done(s, r);
        return;
    }
    *t = (struct pg_task){.deadline_ms = t->deadline_ms, .sent_ms = pg_now_ms(s), .sent = true};
    r->error = 0;
    r->next = NULL;
    *c->tail = r;
    c->tail = &r->next;
    c->in_flight++;
    if (!send_request(c, r, &p)) {
        pg_conn_break(c, PQerrorMessage(c->pg));
        return;
    }
    /* When the socket is full, libpq reads while it sends: answers may lie in its buffer now, and
     * the socket would never say so. So the next turn of the loop looks, by way of "writable". */
    watch(c, UV_READABLE | UV_WRITABLE);
}

/* ---- reading ---- */

static void finish_head(struct pg_conn *c)
{
    struct store_request *r = c->head;
    INVARIANT(r != NULL);
    c->head = r->next;
    if (c->head == NULL)
        c->tail = &c->head;
    c->in_flight--;
    if (r->error == 0 && c->unreplicated && pg_op(r->op)->writes)
        store__fail(r, TROUPE_EOUTCOME, "store: the commit might not have been replicated");
    c->unreplicated = false;
    pg_server_stamp(c, r);
    pg_done(c->store, r);
}

static void leave_server(struct pg_store *s, const char *why)
{
    for (unsigned i = 0; i < s->conns_n; i++) {
        if (s->conns[i].state == PG_READY)
            s->conns[i].leaving = why;
    }
}

/* What the server has not prepared, as this error shows. */
static void forget_prepared(struct pg_conn *c, const struct store_request *r, const char *sqlstate)
{
    const struct pg_task *t = r->impl;
    bool in_settings = t->left > t->own;
    if (in_settings && t->left == t->own + 2)
        c->prepared[PG_SETTINGS] = false;
    if (t->own == 2 && t->left >= 2)
        c->prepared[r->op] = false;
    if (sqlstate != NULL && strcmp(sqlstate, "26000") == 0)
        c->prepared[in_settings ? PG_SETTINGS : (unsigned)r->op] = false;
}

static void on_error(struct pg_conn *c, struct store_request *r, const PGresult *result)
{
    struct pg_task *t = task_of(r);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const struct pg_verdict *v = pg_verdict_of(severity, sqlstate);
    if (t->refused) /* what comes after that is about the connection */
        return;
    forget_prepared(c, r, sqlstate);
    pg_server_stamp(c, r); /* it holds, even if the connection breaks before the end */
    t->refused = v->refused;
    pg_op_fail(r, v, sqlstate, text == NULL ? PQresultErrorMessage(result) : text);
    if (v->stay == PG_LEAVES)
        c->leaving = "the connection is of no more use";
    else if (v->stay == PG_LEAVES_SERVER)
        leave_server(c->store, "the server takes no writes: looking for one that does");
}

static void on_answer(struct pg_conn *c, struct store_request *r, const PGresult *result)
{
    const struct pg_op *op = pg_op(r->op);
    int rc = op->result(c->store, r, result);
    r->error = pg_verdict_unread(r->op, op->writes, rc);
}

/* What comes before the answer; the settings tell which server it is that gives it. Not the right
 * one: nothing that is on its way is worth more. */
static void on_settings(struct pg_conn *c, struct pg_task *t, const PGresult *result)
{
    bool tells = t->left-- > t->own && PQresultStatus(result) == PGRES_TUPLES_OK;
    const char *why = tells ? pg_server_told(c, result) : NULL;
    if (why != NULL)
        pg_conn_break(c, why);
}

static void on_result(struct pg_conn *c, PGresult *result)
{
    struct store_request *r = c->head;
    ExecStatusType status = PQresultStatus(result);
    if (r == NULL)
        return;
    struct pg_task *t = task_of(r);
    if (status == PGRES_PIPELINE_SYNC) {
        finish_head(c);
    } else if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
        on_error(c, r, result);
    } else if (status == PGRES_PIPELINE_ABORTED) {
        return; /* the error before it says why */
    } else if (t->left > 1) {
        on_settings(c, t, result);
    } else if (r->error == 0) {
        on_answer(c, r, result);
    }
}

static void leave(struct pg_conn *c)
{
    if (c->state == PG_READY && c->leaving != NULL && c->in_flight == 0)
        pg_conn_break(c, c->leaving);
}

static void on_ready(struct pg_conn *c, int events)
{
    if (PQconsumeInput(c->pg) == 0 || ((events & UV_WRITABLE) != 0 && !flush(c))) {
        pg_conn_break(c, PQerrorMessage(c->pg));
        return;
    }
    int ends = 0; /* a NULL ends each statement's results; two in a row: nothing more */
    while (c->state == PG_READY && c->head != NULL && ends < 2 && !PQisBusy(c->pg)) {
        PGresult *result = PQgetResult(c->pg);
        ends = result == NULL ? ends + 1 : 0;
        if (result != NULL)
            on_result(c, result);
        PQclear(result);
    }
    if (c->state == PG_READY && PQstatus(c->pg) == CONNECTION_BAD)
        pg_conn_break(c, PQerrorMessage(c->pg));
    leave(c);
    pg_dispatch(c->store);
}

/* libuv calls any error of the socket EBADF, and has stopped watching it; libpq knows which. */
static void on_socket_error(struct pg_conn *c, int status)
{
    c->events = 0;
    if (c->state == PG_CONNECTING) { /* there may be other addresses to try */
        on_connecting(c);
        return;
    }
    if (c->state == PG_READY)
        on_ready(c, UV_READABLE); /* what came before the error counts */
    else if (c->state == PG_SETTING_UP)
        on_setting_up(c);
    if (c->pg != NULL && c->state != PG_CONNECTING)
        pg_conn_break(c, uv_strerror(status));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pg_conn *c = poll->data;
    if (status < 0) {
        on_socket_error(c, status);
        return;
    }
    switch (c->state) {
    case PG_CONNECTING:
        on_connecting(c);
        return;
    case PG_SETTING_UP:
        on_setting_up(c);
        return;
    case PG_READY:
        on_ready(c, events);
        return;
    case PG_DOWN:
    case PG_RESOLVING:
        return;
    }
}

/* ---- time ---- */

/* A renewal that comes through late is worth little: the lease counts from when it was sent. A
 * registration may have to make the cluster first, and there is no lease yet that it could cost. */
uint32_t pg_patience_ms(const struct store_request *r, uint32_t most_ms)
{
    if (r->op != STORE_RENEW)
        return most_ms;
    uint32_t half = r->u.renew.ttl_ms / 2; /* a slow commit may end, and another try is in time */
    uint32_t ms = half > PG_LEASE_ANSWER_MS_MIN ? half : PG_LEASE_ANSWER_MS_MIN;
    return ms < most_ms ? ms : most_ms;
}

static uint32_t connect_ms(const struct pg_conn *c)
{
    uint32_t third = c->store->lease_ttl_ms / 3;
    if (!is_lease(c) || third > PG_CONNECT_MS)
        return PG_CONNECT_MS;
    return third > PG_LEASE_CONNECT_MS_MIN ? third : PG_LEASE_CONNECT_MS_MIN;
}

static bool is_late(const struct pg_conn *c, uint64_t now_ms)
{
    const struct store_request *r = c->head;
    return r != NULL && now_ms > task_of(c->head)->sent_ms +
                                     pg_patience_ms(r, c->store->timeout_ms + PG_SLACK_MS);
}

void pg_conn_tick(struct pg_conn *c, uint64_t now_ms)
{
    if (can_start(c) && now_ms >= c->retry_ms) {
        connect_start(c);
    } else if (c->state == PG_RESOLVING && now_ms > c->started_ms + PG_RESOLVE_MS) {
        resolve_late(c);
    } else if ((c->state == PG_CONNECTING || c->state == PG_SETTING_UP) &&
               now_ms > c->started_ms + connect_ms(c)) {
        pg_conn_break(c, "connecting takes too long");
    } else if (is_late(c, now_ms)) {
        pg_conn_break(c, "the server does not answer in time");
        if (is_lease(c)) /* it need not be the server: another path to it may be open */
            c->retry_ms = now_ms;
    } else {
        leave(c);
    }
}
