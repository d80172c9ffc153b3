/* What leaves on a connection. Two buffers take turns: replies gather in one while the other is
 * being sent, so that under load many of them share a system call. */
#include <stdlib.h>

#include "base/invariant.h"
#include "node/shell/rpc_impl.h"

enum { OUT_BYTES_FIRST = 4096 };

static bool reserve(struct rpc_buffer *b, size_t more)
{
    if (b->len + more <= b->capacity)
        return true;
    size_t capacity = b->capacity == 0 ? OUT_BYTES_FIRST : b->capacity;
    while (capacity < b->len + more)
        capacity *= 2;
    uint8_t *data = realloc(b->data, capacity);
    if (data == NULL)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

uint8_t *rpc__out_begin(struct rpc_conn *c, size_t bytes, bool large)
{
    pthread_mutex_lock(&c->mu);
    struct rpc_buffer *b = &c->out[c->filling];
    bool closed = atomic_load(&c->closed);
    if (!closed && reserve(b, bytes)) {
        b->large += large ? bytes : 0;
        return b->data + b->len;
    }
    pthread_mutex_unlock(&c->mu);
    if (large)
        rpc__large_give(c->server, bytes);
    if (!closed)
        rpc__conn_close(c, "no memory for a reply");
    return NULL;
}

void rpc__out_end(struct rpc_conn *c, size_t bytes)
{
    c->out[c->filling].len += bytes;
    atomic_fetch_add(&c->out_bytes, bytes);
    pthread_mutex_unlock(&c->mu);
}

/* Gives nng the rest of the buffer that is being sent. The sender's reference is the caller's. */
static void send_start(struct rpc_conn *c, const struct rpc_buffer *b)
{
    nng_iov iov = {.iov_buf = b->data + c->send_from, .iov_len = b->len - c->send_from};
    nng_aio_set_iov(c->send_aio, 1, &iov);
    pthread_mutex_lock(&c->gate);
    bool open = !atomic_load(&c->closed);
    if (open)
        nng_stream_send(c->stream, c->send_aio);
    pthread_mutex_unlock(&c->gate);
    if (!open)
        rpc__conn_unref(c);
}

/* A part has left. From then on there is one limit for all of the buffer. */
static void send_rest(struct rpc_conn *c, const struct rpc_buffer *b)
{
    if (c->send_since_ms == 0)
        c->send_since_ms = nng_clock();
    nng_duration left_ms = rpc__time_left(c, c->send_since_ms, c->send_from);
    if (left_ms == 0) {
        rpc__conn_close(c, "it reads its replies too slowly");
        rpc__conn_unref(c);
        return;
    }
    nng_aio_set_timeout(c->send_aio, left_ms);
    send_start(c, b);
}

void rpc__out_flush(struct rpc_conn *c)
{
    pthread_mutex_lock(&c->mu);
    struct rpc_buffer *b = &c->out[c->filling];
    bool go = !c->sending && b->len > 0;
    if (go) {
        c->sending = true; /* from here on the buffer is the sender's */
        c->filling = !c->filling;
        c->send_from = 0;
    }
    pthread_mutex_unlock(&c->mu);
    if (!go)
        return;
    rpc__conn_ref(c);
    send_start(c, b);
}

/* The buffer has been sent: empties it, and gives the memory of a large one back. */
static void sent(struct rpc_conn *c, struct rpc_buffer *b)
{
    rpc__large_give(c->server, b->large);
    if (c->send_since_ms != 0) {
        c->send_since_ms = 0;
        nng_aio_set_timeout(c->send_aio, (nng_duration)c->server->options.stalled_ms);
    }
    pthread_mutex_lock(&c->mu);
    atomic_fetch_sub(&c->out_bytes, b->len);
    b->len = b->large = 0;
    if (b->capacity > RPC_OUT_BYTES_MAX) {
        free(b->data);
        *b = (struct rpc_buffer){0};
    }
    c->sending = false;
    pthread_mutex_unlock(&c->mu);
}

void rpc__send_done(void *conn)
{
    struct rpc_conn *c = conn;
    struct rpc_buffer *b = &c->out[!c->filling]; /* filling cannot change while sending */
    int rc = nng_aio_result(c->send_aio);
    if (rc != 0) {
        rpc__conn_close_nng(c, "it does not read its replies", rc);
        rpc__conn_unref(c);
        return;
    }
    c->send_from += nng_aio_count(c->send_aio);
    INVARIANT(c->send_from <= b->len);
    if (c->send_from < b->len) {
        send_rest(c, b);
        return;
    }
    sent(c, b);
    rpc__out_flush(c);
    rpc__exchange_resume(c);
    rpc__conn_unref(c);
}
