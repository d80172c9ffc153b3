/* What leaves on a link. Two buffers take turns: frames gather in one while the other is being
 * sent, so that under load many of them share a system call, and an idle link sends each at once.
 * Frames that are made on the receiving thread, in answer to a burst of replies, gather until its
 * end. */
#include <stdlib.h>

#include "base/invariant.h"
#include "client/link_impl.h"
#include "proto/rpc.h"

_Thread_local struct link *link__burst;

static bool buffer_reserve(struct link_buffer *b, size_t more)
{
    if (b->len + more <= b->capacity)
        return true;
    size_t capacity = b->capacity == 0 ? 4096 : b->capacity;
    while (capacity < b->len + more)
        capacity *= 2;
    uint8_t *data = realloc(b->data, capacity);
    if (data == NULL)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

uint8_t *link_frame_begin(struct link *l, uint32_t id, size_t body_bytes, uint64_t *position)
{
    INVARIANT(body_bytes <= RPC_FRAME_BYTES_MAX);
    pthread_mutex_lock(&l->mu);
    struct link_buffer *b = &l->out[l->filling];
    size_t head = (l->ipc ? 1 : 0) + 8, frame = head + LINK_ID_BYTES + body_bytes;
    bool fits = b->len == 0 || b->len + frame <= LINK_OUT_BYTES_MAX;
    if (l->state != LINK_UP || !fits || !buffer_reserve(b, frame)) {
        l->starved = l->starved || !fits;
        pthread_mutex_unlock(&l->mu);
        return NULL;
    }
    uint8_t *p = b->data + b->len;
    if (l->ipc)
        *p++ = 1; /* an ordinary message */
    link__put_be64(p, LINK_ID_BYTES + body_bytes);
    link__put_be32(p + 8, id | LINK_ID_BIT);
    *position = l->queued_bytes;
    l->frame_bytes = frame;
    return p + 8 + LINK_ID_BYTES;
}

void link_frame_end(struct link *l)
{
    l->out[l->filling].len += l->frame_bytes;
    l->queued_bytes += l->frame_bytes;
    pthread_mutex_unlock(&l->mu);
}

/* Gives nng the rest of the buffer that is being sent. Unless the connection is gone by now: a
 * thread can be held up between link_flush's decision and here for as long as it takes to dial the
 * next. */
static void send_start(struct link *l, struct link_buffer *b, uint32_t connection)
{
    pthread_mutex_lock(&l->gate);
    if (!l->gate_closed && l->connection == connection) {
        nng_iov iov = {.iov_buf = b->data + l->send_from, .iov_len = b->len - l->send_from};
        nng_aio_set_iov(l->send_aio, 1, &iov);
        nng_stream_send(l->stream, l->send_aio);
    }
    pthread_mutex_unlock(&l->gate);
}

void link_flush(struct link *l)
{
    pthread_mutex_lock(&l->mu);
    struct link_buffer *b = &l->out[l->filling];
    bool later = link__burst == l && b->len < LINK_FLUSH_BYTES;
    if (l->state != LINK_UP || l->sending || b->len == 0 || later) {
        pthread_mutex_unlock(&l->mu);
        return;
    }
    l->sending = true; /* from here on the buffer is ours, and only ours */
    l->sent_bytes = l->queued_bytes;
    l->filling = !l->filling;
    l->send_from = 0;
    uint32_t connection = l->send_connection = l->connection;
    pthread_mutex_unlock(&l->mu);
    send_start(l, b, connection);
}

/* The buffer has been sent: empty it, and give a large one back. True when a frame has been refused
 * for want of room meanwhile. */
static bool send_finished(struct link *l, struct link_buffer *b)
{
    pthread_mutex_lock(&l->mu);
    b->len = 0;
    if (b->capacity > LINK_OUT_BYTES_MAX) {
        free(b->data);
        *b = (struct link_buffer){0};
    }
    l->sending = false;
    bool starved = l->starved;
    l->starved = false;
    pthread_mutex_unlock(&l->mu);
    return starved;
}

void link__send_done(void *arg)
{
    struct link *l = arg;
    int rv = nng_aio_result(l->send_aio);
    if (rv != 0) { /* the buffer keeps what it has; the next dial empties it */
        link__break_nng(l, "sending", rv);
        return;
    }
    struct link_buffer *b = &l->out[!l->filling]; /* filling cannot change while sending */
    l->send_from += nng_aio_count(l->send_aio);
    INVARIANT(l->send_from <= b->len);
    if (l->send_from < b->len) {
        send_start(l, b, l->send_connection);
        return;
    }
    bool starved = send_finished(l, b);
    link_flush(l);
    if (starved)
        l->events.changed(l->events.data, LINK_UP);
}
