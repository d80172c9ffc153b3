/* Connections that others have dialled: accepted, greeted, read. A buffer holds one frame of the
 * largest size; what is whole in it is handed over, then the next read begins. */
#include <string.h>

#include "base/invariant.h"
#include "node/shell/gossip_impl.h"

/* SP: a zero, "SP", a zero, the protocol (PULL, PUSH), two zeros. */
static const uint8_t hello_ours[GOSSIP_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x51, 0, 0};
static const uint8_t hello_theirs[GOSSIP_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x50, 0, 0};

static void on_received(struct gossip_conn *c, int rc);

static void malformed(struct gossip_conn *c, const char *why)
{
    c->g->stats.malformed++;
    gossip__complain(c->g, c, why);
    gossip__conn_close(c);
}

/* ---- reading ---- */

static uint32_t time_left(const struct gossip_conn *c, uint64_t since_ms, uint32_t all_ms)
{
    uint64_t spent_ms = gossip__now_ms(c->g) - since_ms;
    return spent_ms < all_ms ? all_ms - (uint32_t)spent_ms : 1;
}

/* One limit for a whole handshake, for all up to the first frame, and for each frame from its first
 * byte on: a byte now and then does not hold a place. */
static uint32_t recv_timeout(const struct gossip_conn *c)
{
    const struct gossip_options *o = &c->g->options;
    if (!c->up)
        return time_left(c, c->accepted_ms, o->stalled_ms);
    if (c->end > 0)
        return time_left(c, c->frame_ms, o->stalled_ms);
    if (!c->place.spoke)
        return time_left(c, c->accepted_ms, o->first_frame_ms);
    return o->idle_ms * GOSSIP_IN_IDLE_FACTOR;
}

static void recv_next(struct gossip_conn *c)
{
    INVARIANT(c->begin == 0);
    gossip__conn_recv(c, c->buffer + c->end, sizeof c->buffer - c->end, recv_timeout(c),
                      on_received);
}

/* Hands over what is whole, and moves the rest to the front. False: the connection has been closed,
 * here or by who was called. */
static bool take_frames(struct gossip_conn *c)
{
    struct gossip *g = c->g;
    while (c->end - c->begin >= GOSSIP_HEAD_BYTES) {
        const uint8_t *p = c->buffer + c->begin;
        uint64_t len = gossip__get_be64(p);
        if (len > GOSSIP_FRAME_BYTES_MAX) {
            g->stats.oversized++;
            gossip__complain(g, c, "a frame of more than 16 KiB came in");
            gossip__conn_close(c);
            return false;
        }
        if (c->end - c->begin < GOSSIP_HEAD_BYTES + len)
            break;
        c->begin += GOSSIP_HEAD_BYTES + len;
        places_spoke(&g->places, &c->place);
        g->stats.frames_in++;
        g->stats.bytes_in += len;
        g->options.on_frame(g->options.data, troupe_bytes(p + GOSSIP_HEAD_BYTES, len));
        if (c->closing)
            return false;
    }
    if (c->begin > 0)
        c->frame_ms = gossip__now_ms(g); /* what is left is the beginning of another one */
    memmove(c->buffer, c->buffer + c->begin, c->end - c->begin);
    c->end -= c->begin;
    c->begin = 0;
    return true;
}

/* False: it has been closed. */
static bool greet(struct gossip_conn *c)
{
    size_t n = c->end < GOSSIP_HELLO_BYTES ? c->end : GOSSIP_HELLO_BYTES;
    if (memcmp(c->buffer, hello_theirs, n) != 0) {
        malformed(c, "who dialled the gossip port does not speak gossip; is the port right?");
        return false;
    }
    if (n == GOSSIP_HELLO_BYTES) {
        c->up = true;
        c->begin = n;
    }
    return true;
}

static void on_received(struct gossip_conn *c, int rc)
{
    struct gossip *g = c->g;
    if (rc != 0 && c->end > 0) {
        malformed(c, c->up ? "a connection ended in the middle of a frame"
                           : "a connection ended in the middle of the handshake");
        return;
    }
    if (rc != 0) { /* it has gone, or not been used for long */
        gossip__conn_close(c);
        return;
    }
    c->since_ms = gossip__now_ms(g);
    if (c->end == 0)
        c->frame_ms = c->since_ms;
    c->end += gossip__conn_received(c);
    atomic_store_explicit(&c->place.since_ms, c->since_ms, memory_order_relaxed);
    if (!c->up && !greet(c))
        return;
    if (!c->up || take_frames(c))
        recv_next(c);
}

/* ---- accepting ---- */

static void on_greeted(struct gossip_conn *c, int rc)
{
    if (rc != 0)
        gossip__conn_close(c);
}

static void take_in(struct gossip *g, nng_stream *stream)
{
    struct gossip_conn *c = gossip__conn_new(g, true);
    if (c == NULL) {
        nng_stream_free(stream);
        return;
    }
    c->stream = stream;
    c->since_ms = c->accepted_ms = gossip__now_ms(g);
    if (!gossip__place_take(c)) {
        g->stats.turned_away++;
        gossip__complain(g, NULL, "a connection was turned away: too many are in use");
        gossip__conn_close(c);
        return;
    }
    memcpy(c->hello_ours, hello_ours, sizeof hello_ours);
    gossip__conn_send(c, c->hello_ours, sizeof c->hello_ours, g->options.stalled_ms, on_greeted);
    recv_next(c);
}

void gossip__accept_next(struct gossip *g)
{
    INVARIANT(!g->accept.busy);
    g->accept_ms = 0;
    g->accept.busy = true;
    nng_stream_listener_accept(g->listener, g->accept.aio);
}

void gossip__accepted(struct gossip_op *op)
{
    struct gossip *g = op->g;
    int rc = nng_aio_result(op->aio);
    op->busy = false;
    if (g->closing) {
        if (rc == 0)
            nng_stream_free(nng_aio_get_output(op->aio, 0));
        gossip__ended(g);
        return;
    }
    if (rc == 0) {
        take_in(g, nng_aio_get_output(op->aio, 0));
        gossip__accept_next(g);
        return;
    }
    gossip__complain(g, NULL, nng_strerror(rc));
    g->accept_ms = gossip__now_ms(g) + GOSSIP_ACCEPT_REST_MS;
    gossip__wake_at(g, g->accept_ms);
}
