/* See link.h. Here: the states, from the dial to the end of a connection. link_out.c has the frames
 * that leave, link_in.c those that arrive.
 *
 * Two locks. `mu` guards the fields and is held for moments only. `gate` makes "not closed, so
 * start an operation" one step against closing: nng 1.5.2 never completes an operation that is
 * begun on a closed stream. It is held over the system call of a send, which is why it is not `mu`.
 */
#include "client/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "client/link_impl.h"
#include "client/monotonic.h"
#include "troupe/error.h"

/* SP: a zero, "SP", a zero, the protocol (REQ, REP), two zeros. */
static const uint8_t hello_ours[LINK_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const uint8_t hello_theirs[LINK_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};

int link_new(struct link **out, const struct link_events *events)
{
    struct link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return TROUPE_ENOMEM;
    l->events = *events;
    pthread_mutex_init(&l->mu, NULL);
    pthread_mutex_init(&l->gate, NULL);
    l->gate_closed = true;
    if (nng_aio_alloc(&l->send_aio, link__send_done, l) != 0 ||
        nng_aio_alloc(&l->recv_aio, link__recv_done, l) != 0) {
        link_free(l);
        return TROUPE_ENOMEM;
    }
    nng_aio_set_timeout(l->send_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(l->recv_aio, NNG_DURATION_INFINITE);
    *out = l;
    return 0;
}

void link_free(struct link *l)
{
    if (l == NULL)
        return;
    if (link_state(l) != LINK_DOWN) {
        link_break(l, "closed");
        link_reap(l);
    }
    nng_aio_free(l->send_aio);
    nng_aio_free(l->recv_aio);
    free(l->out[0].data);
    free(l->out[1].data);
    free(l->in.data);
    pthread_mutex_destroy(&l->gate);
    pthread_mutex_destroy(&l->mu);
    free(l);
}

/* ---- states ---- */

enum link_state link_state(struct link *l)
{
    pthread_mutex_lock(&l->mu);
    enum link_state state = l->state;
    pthread_mutex_unlock(&l->mu);
    return state;
}

void link_why(struct link *l, char why[LINK_WHY_BYTES])
{
    pthread_mutex_lock(&l->mu);
    memcpy(why, l->why, LINK_WHY_BYTES);
    pthread_mutex_unlock(&l->mu);
}

uint64_t link_sent_bytes(struct link *l)
{
    pthread_mutex_lock(&l->mu);
    uint64_t bytes = l->sent_bytes;
    pthread_mutex_unlock(&l->mu);
    return bytes;
}

uint64_t link_heard_ms(struct link *l)
{
    pthread_mutex_lock(&l->mu);
    uint64_t at = l->heard_ms;
    pthread_mutex_unlock(&l->mu);
    return at;
}

void link_break(struct link *l, const char *why)
{
    pthread_mutex_lock(&l->mu);
    bool first = l->state == LINK_DIALING || l->state == LINK_HELLO || l->state == LINK_UP;
    if (first) {
        l->state = LINK_BROKEN;
        snprintf(l->why, sizeof l->why, "%s", why);
    }
    pthread_mutex_unlock(&l->mu);
    if (first)
        l->events.changed(l->events.data, LINK_BROKEN);
}

void link__break_nng(struct link *l, const char *doing, int rv)
{
    char why[LINK_WHY_BYTES];
    switch (rv) {
    case NNG_ECONNREFUSED:
        link_break(l, "connection refused");
        return;
    case NNG_ECONNSHUT:
    case NNG_ECONNRESET:
        link_break(l, "the node closed the connection");
        return;
    case NNG_EADDRINVAL:
        link_break(l, "the name cannot be resolved");
        return;
    default:
        snprintf(why, sizeof why, "%s: %s", doing, nng_strerror(rv));
        link_break(l, why);
    }
}

/* What one connection needs and the next gets anew, see dial_close. */
static int dial_open(struct link *l, const char *url)
{
    int rv = nng_stream_dialer_alloc(&l->dialer, url);
    if (rv != 0)
        return rv;
    rv = nng_aio_alloc(&l->connect_aio, link__connect_done, l);
    if (rv != 0) {
        nng_stream_dialer_free(l->dialer);
        l->dialer = NULL;
        return rv;
    }
    nng_aio_set_timeout(l->connect_aio, LINK_CONNECT_MS);
    return 0;
}

/* After the last callback. The order matters: at a timeout nng 1.5.2's timer thread is inside the
 * dialer or the stream for a moment longer than the callback takes, and may even begin to when the
 * operation has just succeeded. nng_aio_wait does not wait for that thread, nng_aio_free does. (The
 * other two operations have no timeout, so that thread never sees them.) */
static void dial_close(struct link *l)
{
    nng_aio_free(l->connect_aio);
    nng_stream_free(l->stream);
    nng_stream_dialer_free(l->dialer);
    l->connect_aio = NULL;
    l->stream = NULL;
    l->dialer = NULL;
}

int link_dial(struct link *l, const struct address *address)
{
    int rv = dial_open(l, address->url);
    if (rv != 0) {
        pthread_mutex_lock(&l->mu);
        snprintf(l->why, sizeof l->why, "%s", nng_strerror(rv));
        pthread_mutex_unlock(&l->mu);
        return rv == NNG_ENOMEM ? TROUPE_ENOMEM : TROUPE_EINVAL;
    }
    if (!address->ipc) {
        nng_stream_dialer_set_bool(l->dialer, NNG_OPT_TCP_NODELAY, true);
        nng_stream_dialer_set_bool(l->dialer, NNG_OPT_TCP_KEEPALIVE, true);
    }
    pthread_mutex_lock(&l->mu);
    INVARIANT(l->state == LINK_DOWN && l->stream == NULL && !l->sending);
    l->state = LINK_DIALING;
    l->ipc = address->ipc;
    l->hello_sent = l->hello_got = 0;
    l->filling = 0;
    l->out[0].len = l->out[1].len = 0;
    l->queued_bytes = l->sent_bytes = 0;
    l->heard_ms = 0;
    l->in.begin = l->in.end = 0;
    pthread_mutex_unlock(&l->mu);
    pthread_mutex_lock(&l->gate);
    l->gate_closed = false;
    pthread_mutex_unlock(&l->gate);
    nng_stream_dialer_dial(l->dialer, l->connect_aio);
    return 0;
}

/* Starts the next piece of the hello: ours goes out, then theirs comes in. */
static void hello_step(struct link *l)
{
    bool sending = l->hello_sent < LINK_HELLO_BYTES;
    size_t done = sending ? l->hello_sent : l->hello_got;
    if (sending)
        memcpy(l->hello, hello_ours, sizeof hello_ours);
    nng_iov iov = {.iov_buf = l->hello + done, .iov_len = LINK_HELLO_BYTES - done};
    nng_aio_set_iov(l->connect_aio, 1, &iov);
    pthread_mutex_lock(&l->gate);
    bool closed = l->gate_closed;
    if (!closed && sending)
        nng_stream_send(l->stream, l->connect_aio);
    else if (!closed)
        nng_stream_recv(l->stream, l->connect_aio);
    pthread_mutex_unlock(&l->gate);
}

static void hello_finish(struct link *l)
{
    if (memcmp(l->hello, hello_theirs, sizeof hello_theirs) != 0) {
        link_break(l, "what answers there does not speak Troupe's RPC; is it the right port?");
        return;
    }
    pthread_mutex_lock(&l->mu);
    bool up = l->state == LINK_HELLO;
    if (up) {
        l->state = LINK_UP;
        l->heard_ms = monotonic_ms();
    }
    pthread_mutex_unlock(&l->mu);
    if (!up)
        return;
    link__recv_start(l);
    l->events.changed(l->events.data, LINK_UP);
}

/* The dial succeeded: the stream is ours from here on, even when the link has been broken
 * meanwhile; then link_reap, which waits for this callback, frees it. */
static void dial_finish(struct link *l)
{
    pthread_mutex_lock(&l->gate);
    l->stream = nng_aio_get_output(l->connect_aio, 0);
    pthread_mutex_unlock(&l->gate);
    pthread_mutex_lock(&l->mu);
    if (l->state == LINK_DIALING)
        l->state = LINK_HELLO;
    pthread_mutex_unlock(&l->mu);
    hello_step(l);
}

void link__connect_done(void *arg)
{
    struct link *l = arg;
    int rv = nng_aio_result(l->connect_aio);
    if (rv == NNG_ETIMEDOUT) {
        link_break(l, "no answer within 3 s");
        return;
    }
    if (rv != 0) {
        link__break_nng(l, "connecting", rv);
        return;
    }
    if (l->stream == NULL) {
        dial_finish(l);
        return;
    }
    if (l->hello_sent < LINK_HELLO_BYTES)
        l->hello_sent += nng_aio_count(l->connect_aio);
    else
        l->hello_got += nng_aio_count(l->connect_aio);
    if (l->hello_got == LINK_HELLO_BYTES)
        hello_finish(l);
    else
        hello_step(l);
}

void link_reap(struct link *l)
{
    INVARIANT(link_state(l) == LINK_BROKEN);
    pthread_mutex_lock(&l->gate);
    l->gate_closed = true; /* from here on no operation begins */
    pthread_mutex_lock(&l->mu);
    l->connection++; /* nor does one of this connection on the next */
    pthread_mutex_unlock(&l->mu);
    if (l->stream != NULL)
        nng_stream_close(l->stream);
    pthread_mutex_unlock(&l->gate);
    nng_aio_cancel(l->connect_aio);
    nng_aio_wait(l->connect_aio);
    nng_aio_wait(l->send_aio);
    nng_aio_wait(l->recv_aio);
    dial_close(l);
    pthread_mutex_lock(&l->mu);
    l->sending = false;
    l->state = LINK_DOWN;
    pthread_mutex_unlock(&l->mu);
}
