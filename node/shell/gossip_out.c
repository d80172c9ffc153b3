/* A peer's connection, and when there is none: dialled when there is something to send, greeted,
 * written to; given up, and dialled again after the backoff. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/gossip_impl.h"

/* SP: a zero, "SP", a zero, the protocol (PUSH, PULL), two zeros. */
static const uint8_t hello_ours[GOSSIP_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x50, 0, 0};
static const uint8_t hello_theirs[GOSSIP_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x51, 0, 0};

/* ---- when it fails ---- */

/* 0: it says nothing about the peer; a name that has no address of this family does not. */
static enum gossip_evidence evidence_of(int rc)
{
    switch (rc) {
    case NNG_ECONNREFUSED:
        return GOSSIP_REFUSED;
    case NNG_ECONNRESET:
    case NNG_ECONNSHUT:
    case NNG_ECONNABORTED:
    case NNG_ECLOSED: /* a broken pipe: nng's word for both */
        return GOSSIP_RESET;
    case NNG_ETIMEDOUT:
        return GOSSIP_TIMEOUT;
    case NNG_EUNREACHABLE:
        return GOSSIP_UNREACHABLE;
    default:
        return 0;
    }
}

/* xorshift64 */
static uint64_t dice_throw(struct gossip *g)
{
    g->dice ^= g->dice << 13;
    g->dice ^= g->dice >> 7;
    g->dice ^= g->dice << 17;
    return g->dice;
}

/* Half of it is chance: peers that lost the same node shall not dial it all at once. */
static void back_off(struct gossip *g, struct gossip_peer *p)
{
    uint64_t ms = g->options.backoff_min_ms;
    for (uint32_t i = 0; i < p->failures && ms < g->options.backoff_max_ms; i++)
        ms *= 2;
    if (ms > g->options.backoff_max_ms)
        ms = g->options.backoff_max_ms;
    p->failures++;
    p->due_ms = gossip__now_ms(g) + ms / 2 + dice_throw(g) % (ms / 2 + 1);
    if (p->queued_n > 0)
        gossip__wake_at(g, p->due_ms);
}

void gossip__peer_disconnect(struct gossip *g, struct gossip_peer *p)
{
    struct gossip_conn *c = p->conn;
    g->stats.lost += c->frames;
    p->conn = NULL;
    c->peer = NULL;
    gossip__conn_close(c);
}

static bool is_steady(const struct gossip_conn *c)
{
    return c->up && gossip__now_ms(c->g) - c->since_ms >= GOSSIP_STEADY_MS;
}

/* The connection is no good. Tells at the very end, when anything may be called. */
static void lose(struct gossip_conn *c, enum gossip_evidence what)
{
    char address[GOSSIP_ADDRESS_BYTES];
    struct gossip *g = c->g;
    struct gossip_peer *p = c->peer;
    if (!c->up)
        g->stats.dial_failures++;
    if (is_steady(c))
        p->failures = 0;
    gossip__peer_disconnect(g, p);
    back_off(g, p);
    memcpy(address, p->address, sizeof address);
    if (what != 0 && g->options.on_evidence != NULL)
        g->options.on_evidence(g->options.data, address, what);
}

static void lose_stranger(struct gossip_conn *c)
{
    c->g->stats.malformed++;
    gossip__complain(c->g, c, "what answers there does not speak gossip; is the port right?");
    lose(c, 0);
}

/* ---- sending ---- */

static void pump(struct gossip_conn *c);

static void on_sent(struct gossip_conn *c, int rc)
{
    struct gossip *g = c->g;
    if (rc != 0) {
        lose(c, evidence_of(rc));
        return;
    }
    g->stats.frames_out += c->frames;
    g->stats.bytes_out += c->body_bytes;
    c->frames = 0;
    pump(c);
}

/* Fills the buffer out of the queue, and sends it. */
static void pump(struct gossip_conn *c)
{
    struct gossip_queued *f;
    size_t used = 0;
    INVARIANT(c->up && !c->send.busy && c->frames == 0);
    c->body_bytes = 0;
    while ((f = gossip__peer_next(c->g, c->peer)) != NULL) {
        if (used + GOSSIP_HEAD_BYTES + f->len > sizeof c->buffer) {
            gossip__peer_unget(c->peer, f);
            break;
        }
        gossip__put_be64(c->buffer + used, f->len);
        if (f->len > 0)
            memcpy(c->buffer + used + GOSSIP_HEAD_BYTES, f->bytes, f->len);
        used += GOSSIP_HEAD_BYTES + f->len;
        c->frames++;
        c->body_bytes += f->len;
        free(f);
    }
    if (used > 0)
        gossip__conn_send(c, c->buffer, used, c->g->options.stalled_ms, on_sent);
}

/* ---- connecting ---- */

/* Nothing ever comes after the handshake: this is how the end is noticed. */
static void on_end(struct gossip_conn *c, int rc)
{
    if (rc == 0)
        lose_stranger(c);
    else
        lose(c, evidence_of(rc));
}

static uint32_t time_left(const struct gossip_conn *c)
{
    uint64_t spent = gossip__now_ms(c->g) - c->since_ms;
    uint32_t all = c->g->options.connect_timeout_ms;
    return spent < all ? all - (uint32_t)spent : 1;
}

/* Both halves of the handshake are done. */
static void go_up(struct gossip_conn *c)
{
    c->up = true;
    c->since_ms = gossip__now_ms(c->g);
    if (places_stream_host(c->stream, c->place.host))
        gossip__host_met(c);
    gossip__conn_recv(c, c->hello, sizeof c->hello, 0, on_end);
    pump(c);
}

static void on_hello_sent(struct gossip_conn *c, int rc)
{
    c->hello_sent = true;
    if (rc != 0)
        lose(c, evidence_of(rc));
    else if (c->hello_bytes == GOSSIP_HELLO_BYTES)
        go_up(c);
}

static void on_hello(struct gossip_conn *c, int rc)
{
    if (rc != 0) {
        lose(c, evidence_of(rc));
        return;
    }
    c->hello_bytes += gossip__conn_received(c);
    if (memcmp(c->hello, hello_theirs, c->hello_bytes) != 0)
        lose_stranger(c);
    else if (c->hello_bytes < GOSSIP_HELLO_BYTES)
        gossip__conn_recv(c, c->hello + c->hello_bytes, sizeof c->hello - c->hello_bytes,
                          time_left(c), on_hello);
    else if (c->hello_sent)
        go_up(c);
}

static void on_dialled(struct gossip_conn *c, int rc)
{
    if (rc != 0) {
        lose(c, evidence_of(rc));
        return;
    }
    memcpy(c->hello_ours, hello_ours, sizeof hello_ours);
    gossip__conn_send(c, c->hello_ours, sizeof c->hello_ours, time_left(c), on_hello_sent);
    gossip__conn_recv(c, c->hello, sizeof c->hello, time_left(c), on_hello);
}

static void dial(struct gossip *g, struct gossip_peer *p)
{
    char url[GOSSIP_URL_BYTES];
    struct gossip_conn *c = gossip__conn_new(g, false);
    g->stats.dials++;
    bool valid = gossip__address_url(p->address, p->failures, url);
    INVARIANT(valid);
    if (c != NULL) {
        c->since_ms = gossip__now_ms(g);
        if (gossip__conn_dial(c, url, g->options.connect_timeout_ms, on_dialled) == 0) {
            c->peer = p;
            p->conn = c;
            return;
        }
        gossip__conn_close(c);
    }
    g->stats.dial_failures++; /* for want of something here */
    back_off(g, p);
}

void gossip__peer_go_on(struct gossip *g, struct gossip_peer *p)
{
    if (p->conn != NULL) {
        if (p->conn->up && !p->conn->send.busy)
            pump(p->conn);
        return;
    }
    struct gossip_queued *f = gossip__peer_next(g, p);
    if (f == NULL)
        return;
    gossip__peer_unget(p, f);
    if (gossip__now_ms(g) < p->due_ms)
        gossip__wake_at(g, p->due_ms);
    else
        dial(g, p);
}

void gossip_redial(struct gossip *g, const char *address)
{
    struct gossip_peer *p = gossip__peer_find(g, address);
    if (p == NULL || p->conn == NULL || !is_steady(p->conn))
        return;
    gossip__peer_disconnect(g, p);
    p->failures = 0;
    p->due_ms = 0;
    gossip__peer_go_on(g, p);
}
