/* One connection's operations, and its end. All of it runs on the loop's thread: nng 1.5.2 never
 * completes an operation that is begun on a stream closed by us, and here none can be, since one
 * thread begins and closes. What is under way when a connection is closed still completes, with an
 * error; then it is freed. */
#include <stdlib.h>

#include "base/invariant.h"
#include "node/shell/gossip_impl.h"
#include "troupe/error.h"

static void conn_free(struct gossip_conn *c)
{
    struct gossip *g = c->g;
    /* The operations first, and not by nng_aio_reap: this waits for callbacks that have done their
     * work and are about to return, and for nng's clock if that ended one; it still uses the dialer
     * or stream then. The dialer must not be freed on a thread of nng's: it waits for others that
     * may need just that thread. */
    nng_aio_free(c->recv.aio);
    nng_aio_free(c->send.aio);
    if (c->stream != NULL)
        nng_stream_free(c->stream);
    if (c->dialer != NULL)
        nng_stream_dialer_free(c->dialer);
    list_remove(&c->link);
    free(c);
    g->conns_n--;
    gossip__ended(g);
}

static void release(struct gossip_conn *c)
{
    INVARIANT(c->holds > 0);
    if (--c->holds == 0 && c->closing)
        conn_free(c);
}

void gossip__conn_close(struct gossip_conn *c)
{
    struct gossip *g = c->g;
    INVARIANT(!c->closing && c->peer == NULL);
    c->closing = true;
    list_remove(&c->link);
    list_push(&g->dying, &c->link);
    places_leave(&g->places, &c->place);
    if (c->incoming)
        g->stats.connections_in--;
    else
        g->stats.connections_out--;
    if (c->stream != NULL)
        nng_stream_close(c->stream);
    else if (c->send.busy) /* it is being dialled */
        nng_aio_cancel(c->send.aio);
    c->holds++;
    release(c);
}

/* ---- operations ---- */

static void begin(struct gossip_conn *c, struct gossip_op *op, uint32_t timeout_ms)
{
    INVARIANT(!op->busy && !c->closing);
    op->busy = true;
    c->holds++;
    nng_aio_set_timeout(op->aio,
                        timeout_ms == 0 ? NNG_DURATION_INFINITE : (nng_duration)timeout_ms);
}

static void send_rest(struct gossip_conn *c)
{
    nng_iov iov = {.iov_buf = c->send_at, .iov_len = c->send_left};
    begin(c, &c->send, c->send_timeout_ms);
    nng_aio_set_iov(c->send.aio, 1, &iov);
    nng_stream_send(c->stream, c->send.aio);
}

void gossip__conn_send(struct gossip_conn *c, uint8_t *bytes, size_t len, uint32_t timeout_ms,
                       gossip_conn_cb then)
{
    c->send_at = bytes;
    c->send_left = len;
    c->send_timeout_ms = timeout_ms;
    c->send_then = then;
    send_rest(c);
}

void gossip__conn_recv(struct gossip_conn *c, void *bytes, size_t room, uint32_t timeout_ms,
                       gossip_conn_cb then)
{
    nng_iov iov = {.iov_buf = bytes, .iov_len = room};
    INVARIANT(room > 0);
    c->recv_then = then;
    begin(c, &c->recv, timeout_ms);
    nng_aio_set_iov(c->recv.aio, 1, &iov);
    nng_stream_recv(c->stream, c->recv.aio);
}

size_t gossip__conn_received(const struct gossip_conn *c)
{
    return nng_aio_count(c->recv.aio);
}

int gossip__conn_dial(struct gossip_conn *c, const char *url, uint32_t timeout_ms,
                      gossip_conn_cb then)
{
    int rc = nng_stream_dialer_alloc(&c->dialer, url);
    if (rc == 0)
        rc = nng_stream_dialer_set_bool(c->dialer, NNG_OPT_TCP_NODELAY, true);
    if (rc == 0)
        rc = nng_stream_dialer_set_bool(c->dialer, NNG_OPT_TCP_KEEPALIVE, true);
    if (rc != 0)
        return rc;
    c->send_then = then;
    begin(c, &c->send, timeout_ms);
    nng_stream_dialer_dial(c->dialer, c->send.aio);
    return 0;
}

static void recv_done(struct gossip_op *op)
{
    struct gossip_conn *c = LIST_ENTRY(op, struct gossip_conn, recv);
    op->busy = false;
    if (!c->closing)
        c->recv_then(c, nng_aio_result(op->aio));
    release(c);
}

static void send_done(struct gossip_op *op)
{
    struct gossip_conn *c = LIST_ENTRY(op, struct gossip_conn, send);
    int rc = nng_aio_result(op->aio);
    bool dialled = c->stream == NULL;
    op->busy = false;
    if (dialled && rc == 0)
        c->stream = nng_aio_get_output(op->aio, 0); /* also when it is closing: to be freed */
    if (!dialled && rc == 0 && !c->closing) {
        size_t n = nng_aio_count(op->aio);
        INVARIANT(n <= c->send_left);
        c->send_at += n;
        c->send_left -= n;
    }
    if (!c->closing && rc == 0 && !dialled && c->send_left > 0)
        send_rest(c);
    else if (!c->closing)
        c->send_then(c, rc);
    release(c);
}

struct gossip_conn *gossip__conn_new(struct gossip *g, bool incoming)
{
    struct gossip_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->g = g;
    c->incoming = incoming;
    if (gossip__op_init(&c->recv, g, recv_done) != 0 ||
        gossip__op_init(&c->send, g, send_done) != 0) {
        nng_aio_free(c->recv.aio);
        free(c);
        return NULL;
    }
    list_init(&c->link);
    list_init(&c->place.by_host);
    list_push(incoming ? &g->in : &g->out, &c->link);
    g->conns_n++;
    if (incoming)
        g->stats.connections_in++;
    else
        g->stats.connections_out++;
    return c;
}
