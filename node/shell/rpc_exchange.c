/* A request from the frame it came in to the frame that answers it. Exchanges come from a pool
 * whose size is the limit on requests under way; a connection that finds none is paused, and goes
 * on when one comes back. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/json_calls.h"
#include "node/shell/log.h"
#include "node/shell/rpc_impl.h"

enum { LARGE_BYTES = 64 << 10 /* beyond that, frames and requests are counted as memory */ };

static const char NO_MEMORY[] =
    "not executed: the node has no memory left for the request (rpc-memory-max, or 128 MiB for one "
    "request): send smaller batches, or later";

bool rpc__large_take(struct rpc_server *s, size_t bytes)
{
    return arena_budget_take(&s->memory, bytes);
}

void rpc__large_give(struct rpc_server *s, size_t bytes)
{
    arena_budget_give(&s->memory, bytes);
}

/* ---- the pool ---- */

static struct rpc_exchange *exchange_new(struct rpc_server *s)
{
    struct rpc_exchange *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->request.data = e;
    arena_init(&e->arena, RPC_ARENA_CHUNK_BYTES, RPC_ARENA_BYTES_MAX);
    arena_set_budget(&e->arena, &s->memory, LARGE_BYTES);
    return e;
}

/* What the connection and the server have room for now. Under the lock. */
static struct rpc_exchange *find_free(struct rpc_conn *c, bool *elsewhere)
{
    struct rpc_server *s = c->server;
    struct rpc_exchange *e = s->pool;
    bool own = c->in_flight * 2 > s->options.inflight_max ||
               atomic_load(&c->out_bytes) > RPC_OUT_BYTES_MAX;
    *elsewhere = !own; /* then whoever gives one back lets this connection go on */
    if (own)
        return NULL;
    if (e != NULL) {
        s->pool = e->next;
        s->pool_n--;
    } else if (s->exchanges_n < s->options.inflight_max && (e = exchange_new(s)) != NULL) {
        s->exchanges_n++;
    }
    return e;
}

/* RPC_TAKEN with an exchange, or what the receiver has to know. */
static enum rpc_taken get(struct rpc_conn *c, struct rpc_exchange **exchange)
{
    struct rpc_server *s = c->server;
    enum rpc_taken taken = RPC_BROKEN;
    bool elsewhere;
    pthread_mutex_lock(&s->lock);
    struct rpc_exchange *e = *exchange = find_free(c, &elsewhere);
    if (e != NULL) {
        taken = RPC_TAKEN;
        if (!c->place.spoke)
            places_spoke(&s->places, &c->place);
        c->in_flight++;
        e->conn = c;
        rpc__conn_ref(c);
    } else if (!atomic_load(&c->closed)) {
        taken = RPC_PAUSED;
        c->paused = true;
        if (elsewhere)
            list_push(&s->paused, &c->pause_link);
    }
    pthread_mutex_unlock(&s->lock);
    return taken;
}

/* Back into the pool. The connections that can go on now are put on the list, their receivers'
 * references with them. */
static void put(struct rpc_exchange *e, struct list *resumed)
{
    struct rpc_conn *c = e->conn;
    struct rpc_server *s = c->server;
    pthread_mutex_lock(&s->lock);
    if (s->pool_n < RPC_POOL_WARM)
        arena_reset(&e->arena);
    else
        arena_close(&e->arena);
    e->next = s->pool;
    s->pool = e;
    s->pool_n++;
    INVARIANT(c->in_flight > 0);
    c->in_flight--;
    struct list *other = list_pop(&s->paused);
    if (other != NULL) {
        LIST_ENTRY(other, struct rpc_conn, pause_link)->paused = false;
        list_push(resumed, other);
    }
    if (c->paused && list_is_empty(&c->pause_link)) {
        c->paused = false;
        list_push(resumed, &c->pause_link);
    }
    bool over = rpc__conn_is_over(c);
    pthread_mutex_unlock(&s->lock);
    if (over)
        rpc__conn_close(c, NULL);
    rpc__conn_unref(c);
}

static void resume_all(struct list *resumed)
{
    struct list *node;
    while ((node = list_pop(resumed)) != NULL)
        rpc__recv_go_on(LIST_ENTRY(node, struct rpc_conn, pause_link), false);
}

void rpc__exchange_resume(struct rpc_conn *c)
{
    struct rpc_server *s = c->server;
    pthread_mutex_lock(&s->lock);
    bool resume = c->paused && list_is_empty(&c->pause_link);
    c->paused = c->paused && !resume;
    bool over = rpc__conn_is_over(c);
    pthread_mutex_unlock(&s->lock);
    if (over)
        rpc__conn_close(c, NULL);
    if (resume)
        rpc__recv_go_on(c, true);
}

void rpc__exchange_pool_free(struct rpc_server *s)
{
    while (s->pool != NULL) {
        struct rpc_exchange *e = s->pool;
        s->pool = e->next;
        arena_close(&e->arena);
        free(e);
    }
}

/* ---- out ---- */

static void put_be64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * (7 - i)));
}

static size_t frame_size(const struct rpc_exchange *e, size_t reply_size)
{
    return (e->conn->server->ipc ? 1 : 0) + RPC_HEAD_BYTES + e->route_bytes + reply_size;
}

static void write_reply(struct rpc_exchange *e, const struct rpc_reply *reply, size_t size,
                        bool large)
{
    size_t frame = frame_size(e, size);
    uint8_t *p = rpc__out_begin(e->conn, frame, large);
    if (p == NULL)
        return;
    if (e->conn->server->ipc)
        *p++ = 1; /* an ordinary message */
    put_be64(p, e->route_bytes + size);
    memcpy(p + RPC_HEAD_BYTES, e->route, e->route_bytes);
    size_t written = rpc_reply_encode(reply, p + RPC_HEAD_BYTES + e->route_bytes);
    INVARIANT(written == size);
    rpc__out_end(e->conn, frame);
}

/* Replies that cannot be sent: the calls that had one are told. */
static void cut_down(struct rpc_reply *reply, const char *why)
{
    for (size_t i = 0; i < reply->results_n; i++) {
        struct rpc_result *r = &reply->results[i];
        if (r->status == TROUPE_OK)
            *r = (struct rpc_result){.status = TROUPE_RESOURCE_EXHAUSTED,
                                     .version = r->version,
                                     .ack = r->ack,
                                     .message = troupe_bytes_of(why)};
    }
}

static void answer(struct rpc_exchange *e)
{
    struct rpc_server *s = e->conn->server;
    struct rpc_reply *reply = &e->request.reply;
    json_calls_out(s->core->rt, &e->request);
    size_t size = rpc_reply_size(reply);
    /* Small ones, too, when many of them wait for a client that does not read. */
    bool large = size > LARGE_BYTES || atomic_load(&e->conn->out_bytes) > RPC_OUT_BYTES_MAX;
    if (size > RPC_FRAME_BYTES_MAX) {
        cut_down(reply, "executed, but the replies of this batch are larger than 32 MiB together: "
                        "ask for less at once");
        large = false;
    } else if (large && !rpc__large_take(s, frame_size(e, size))) {
        cut_down(reply, "executed, but the node has no memory left for large or unread replies "
                        "(rpc-memory-max): ask for less at once, or later");
        large = false;
    }
    write_reply(e, reply, rpc_reply_size(reply), large);
}

void rpc_replies(void *server, struct runtime_request *finished)
{
    (void)server;
    struct list resumed;
    list_init(&resumed);
    for (struct runtime_request *r = finished; r != NULL; r = r->next)
        answer(r->data);
    const struct rpc_conn *last = NULL;
    for (struct runtime_request *r = finished; r != NULL; r = r->next) {
        struct rpc_exchange *e = r->data;
        if (e->conn != last)
            rpc__out_flush(e->conn);
        last = e->conn;
    }
    while (finished != NULL) {
        struct rpc_exchange *e = finished->data;
        finished = finished->next;
        put(e, &resumed);
    }
    resume_all(&resumed); /* the caller runs the core again */
}

/* ---- in ---- */

/* The request as a whole cannot be executed. */
static void refuse(struct rpc_exchange *e, enum troupe_status status, const char *why)
{
    struct list resumed;
    list_init(&resumed);
    struct rpc_reply reply = {.status = (uint8_t)status, .message = troupe_bytes_of(why)};
    log_line(LOG_LEVEL_WARN, "a client sent a request that cannot be taken", "why", why, NULL);
    write_reply(e, &reply, rpc_reply_size(&reply), false);
    rpc__out_flush(e->conn);
    put(e, &resumed);
    resume_all(&resumed);
}

/* Bytes of the words up to the one with the high bit, the request id; 0 when there is none. */
static size_t route_bytes(struct troupe_bytes body)
{
    for (size_t at = 0; at < 4 * RPC_ROUTE_WORDS_MAX && at + 4 <= body.len; at += 4) {
        if ((body.data[at] & 0x80) != 0)
            return at + 4;
    }
    return 0;
}

static void start(struct rpc_exchange *e, struct troupe_bytes frame)
{
    const char *why = "";
    struct rpc_server *s = e->conn->server;
    int rc = rpc_request_decode(&e->arena, frame, &e->rpc, &why);
    if (rc != 0) {
        refuse(e,
               rc == TROUPE_ELIMIT || rc == TROUPE_ENOMEM ? TROUPE_RESOURCE_EXHAUSTED
                                                          : TROUPE_INVALID_ARGUMENT,
               rc == TROUPE_ENOMEM ? NO_MEMORY : why);
        return;
    }
    if (runtime_request_init(&e->request, &e->arena, &e->rpc) != 0) {
        refuse(e, TROUPE_RESOURCE_EXHAUSTED, NO_MEMORY);
        return;
    }
    e->request.from_peer = s->options.from_peer;
    if (!e->request.from_peer)
        e->rpc.hops = 0; /* clients have no say in that */
    json_calls_in(s->core->rt, &e->request, &e->rpc);
    core_push_request(s->core, &e->request);
}

enum rpc_taken rpc__exchange_take(struct rpc_conn *c, struct troupe_bytes body, const char **why)
{
    struct rpc_exchange *e;
    size_t route = route_bytes(body);
    if (route == 0 && body.len > sizeof e->route) { /* as nng does: it may be a loop of devices */
        log_line(LOG_LEVEL_WARN, "dropped a request that came through more than 7 devices", NULL);
        return RPC_TAKEN;
    }
    if (route == 0) {
        *why = "a frame without a request id";
        return RPC_BROKEN;
    }
    enum rpc_taken taken = get(c, &e);
    if (taken != RPC_TAKEN)
        return taken;
    memcpy(e->route, body.data, route);
    e->route_bytes = route;
    start(e, troupe_bytes(body.data + route, body.len - route));
    return RPC_TAKEN;
}
