/* What arrives on a link: bytes come into one buffer, as many at a time as there are; whole frames
 * are handed over in place, a part of one stays for the next read. The buffer grows for a frame
 * larger than itself, whose length has been checked, and shrinks again afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/link_impl.h"
#include "client/monotonic.h"
#include "proto/rpc.h"

static size_t head_bytes(const struct link *l)
{
    return (l->ipc ? 1 : 0) + 8;
}

/* Makes room for `need` bytes from in.begin on, and moves them to the front. */
static bool in_reserve(struct link *l, size_t need)
{
    size_t used = l->in.end - l->in.begin;
    size_t capacity = need > LINK_IN_BYTES ? need : LINK_IN_BYTES;
    bool grow = l->in.capacity < capacity;
    bool shrink = l->in.capacity > LINK_IN_BYTES && capacity == LINK_IN_BYTES && used <= capacity;
    if (!grow && !shrink) {
        memmove(l->in.data, l->in.data + l->in.begin, used);
    } else {
        uint8_t *data = malloc(capacity);
        if (data == NULL)
            return false;
        if (used != 0)
            memcpy(data, l->in.data + l->in.begin, used);
        free(l->in.data);
        l->in.data = data;
        l->in.capacity = capacity;
    }
    l->in.begin = 0;
    l->in.end = used;
    return true;
}

/* Bytes of the frame that begins the buffer, head included; 0 when the head is not here yet or
 * SIZE_MAX when the peer talks nonsense. */
static size_t frame_bytes(const struct link *l)
{
    size_t head = head_bytes(l), used = l->in.end - l->in.begin;
    if (used < head)
        return 0;
    const uint8_t *p = l->in.data + l->in.begin;
    if (l->ipc && *p++ != 1)
        return SIZE_MAX;
    uint64_t len = link__get_be64(p);
    if (len < LINK_ID_BYTES || len > RPC_FRAME_BYTES_MAX + LINK_ID_BYTES)
        return SIZE_MAX;
    return head + (size_t)len;
}

/* Hands over the whole frames. False when the peer talks nonsense; *need is what the next frame
 * takes. */
static bool hand_over(struct link *l, size_t *need)
{
    for (;;) {
        size_t frame = frame_bytes(l);
        if (frame == SIZE_MAX)
            return false;
        if (frame == 0 || l->in.end - l->in.begin < frame) {
            *need = frame;
            return true;
        }
        const uint8_t *p = l->in.data + l->in.begin + head_bytes(l);
        size_t body = frame - head_bytes(l) - LINK_ID_BYTES;
        l->in.begin += frame;
        l->events.frame(l->events.data, link__get_be32(p), troupe_bytes(p + LINK_ID_BYTES, body));
    }
}

void link__recv_start(struct link *l)
{
    if (l->in.data == NULL && !in_reserve(l, 0)) {
        link_break(l, "out of memory");
        return;
    }
    nng_iov iov = {.iov_buf = l->in.data + l->in.end, .iov_len = l->in.capacity - l->in.end};
    nng_aio_set_iov(l->recv_aio, 1, &iov);
    pthread_mutex_lock(&l->gate);
    if (!l->gate_closed)
        nng_stream_recv(l->stream, l->recv_aio);
    pthread_mutex_unlock(&l->gate);
}

void link__recv_done(void *arg)
{
    struct link *l = arg;
    int rv = nng_aio_result(l->recv_aio);
    if (rv != 0) {
        link__break_nng(l, "receiving", rv);
        return;
    }
    l->in.end += nng_aio_count(l->recv_aio);
    pthread_mutex_lock(&l->mu);
    l->heard_ms = monotonic_ms();
    bool up = l->state == LINK_UP;
    pthread_mutex_unlock(&l->mu);
    if (!up)
        return;
    size_t need = 0;
    link__burst = l;
    bool sane = hand_over(l, &need);
    l->events.burst(l->events.data);
    link__burst = NULL;
    link_flush(l);
    if (!sane)
        link_break(l, "what answers there sent a frame that is malformed or over the limit");
    else if (!in_reserve(l, need))
        link_break(l, "out of memory");
    else
        link__recv_start(l);
}
