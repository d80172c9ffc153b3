/* What arrives on a connection: bytes come into one buffer, as many at a time as there are; whole
 * frames are taken in place, a part of one stays for the next read. The buffer grows for a frame
 * larger than itself, by what has come of it and not by what is announced, and shrinks again
 * afterwards. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/rpc_impl.h"

static const uint8_t PEER_HELLO[RPC_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x30, 0, 0}; /* REQ */

static size_t head_bytes(const struct rpc_conn *c)
{
    return RPC_HEAD_BYTES + (c->server->ipc ? 1 : 0);
}

static size_t in_used(const struct rpc_conn *c)
{
    return c->in.end - c->in.begin;
}

static void in_to_front(struct rpc_conn *c)
{
    if (c->in.begin > 0)
        memmove(c->in.data, c->in.data + c->in.begin, in_used(c));
    c->in.end -= c->in.begin;
    c->in.begin = 0;
}

/* Bytes of a buffer that are counted as memory. */
static size_t large(size_t capacity)
{
    return capacity > RPC_IN_BYTES ? capacity : 0;
}

/* Another capacity, with the same contents. */
static bool in_resize(struct rpc_conn *c, size_t capacity)
{
    struct rpc_server *s = c->server;
    size_t before = large(c->in.capacity), after = large(capacity);
    INVARIANT(in_used(c) <= capacity);
    if (after > before && !rpc__large_take(s, after - before))
        return false;
    in_to_front(c);
    uint8_t *data = realloc(c->in.data, capacity);
    if (data == NULL) {
        if (after > before)
            rpc__large_give(s, after - before);
        return false;
    }
    if (before > after)
        rpc__large_give(s, before - after);
    c->in.data = data;
    c->in.capacity = capacity;
    return true;
}

/* Room to read on in a frame of `frame` bytes, if that is known: for as much again as has come. */
static bool in_reserve(struct rpc_conn *c, size_t frame)
{
    size_t wanted = frame < 2 * in_used(c) ? frame : 2 * in_used(c);
    size_t capacity = wanted > RPC_IN_BYTES ? wanted : RPC_IN_BYTES;
    bool full = in_used(c) == c->in.capacity;
    bool shrinks =
        c->in.capacity > RPC_IN_BYTES && frame <= RPC_IN_BYTES && in_used(c) <= RPC_IN_BYTES;
    if (full || shrinks)
        return in_resize(c, capacity);
    in_to_front(c);
    return true;
}

static bool greet(struct rpc_conn *c, const char **why)
{
    if (memcmp(c->in.data + c->in.begin, PEER_HELLO, RPC_HELLO_BYTES) != 0) {
        *why = "no handshake of an nng REQ socket: is it a client of something else?";
        return false;
    }
    c->in.begin += RPC_HELLO_BYTES;
    c->greeted = true;
    return true;
}

/* Bytes of the frame that begins the buffer, head included; 0 when its head is not here yet,
 * SIZE_MAX when it cannot be one. */
static size_t frame_bytes(const struct rpc_conn *c)
{
    size_t head = head_bytes(c);
    if (in_used(c) < head)
        return 0;
    const uint8_t *p = c->in.data + c->in.begin;
    if (c->server->ipc && *p++ != 1)
        return SIZE_MAX;
    uint64_t len = 0;
    for (int i = 0; i < RPC_HEAD_BYTES; i++)
        len = len << 8 | p[i];
    return len > RPC_FRAME_BYTES_MAX + 4 * RPC_ROUTE_WORDS_MAX ? SIZE_MAX : head + (size_t)len;
}

/* Takes the whole frames. With RPC_TAKEN, *need is what the next one takes, or 0. */
static enum rpc_taken take_frames(struct rpc_conn *c, size_t *need, const char **why)
{
    *need = 0;
    if (!c->greeted) {
        if (in_used(c) < RPC_HELLO_BYTES)
            return RPC_TAKEN;
        if (!greet(c, why))
            return RPC_BROKEN;
    }
    for (;;) {
        *need = frame_bytes(c);
        if (*need == SIZE_MAX) {
            *why = "a frame of more than 32 MiB; send smaller batches";
            return RPC_BROKEN;
        }
        if (*need == 0 || in_used(c) < *need)
            return RPC_TAKEN;
        size_t head = head_bytes(c);
        struct troupe_bytes body = {c->in.data + c->in.begin + head, *need - head};
        enum rpc_taken taken = rpc__exchange_take(c, body, why);
        if (taken != RPC_TAKEN)
            return taken;
        c->in.begin += *need;
        c->in.since_ms = 0; /* what is left is the beginning of another one */
    }
}

/* One limit for the whole handshake, and for each frame from its first byte on; none in between.
 * 0: it is over. */
static nng_duration recv_timeout(struct rpc_conn *c)
{
    if (!c->greeted) {
        uint64_t spent_ms = nng_clock() - c->opened_ms, all_ms = c->server->options.hello_ms;
        return spent_ms < all_ms ? (nng_duration)(all_ms - spent_ms) : 0;
    }
    if (in_used(c) == 0)
        return NNG_DURATION_INFINITE;
    if (c->in.since_ms == 0)
        c->in.since_ms = nng_clock();
    return rpc__time_left(c, c->in.since_ms, in_used(c));
}

/* Receives more; false when the connection is closed. */
static bool recv_start(struct rpc_conn *c, nng_duration timeout_ms)
{
    nng_iov iov = {.iov_buf = c->in.data + c->in.end, .iov_len = c->in.capacity - c->in.end};
    INVARIANT(iov.iov_len > 0);
    nng_aio_set_iov(c->recv_aio, 1, &iov);
    nng_aio_set_timeout(c->recv_aio, timeout_ms);
    pthread_mutex_lock(&c->gate);
    bool open = !atomic_load(&c->closed);
    if (open)
        nng_stream_recv(c->stream, c->recv_aio);
    pthread_mutex_unlock(&c->gate);
    return open;
}

void rpc__recv_go_on(struct rpc_conn *c, bool run_core)
{
    size_t need;
    const char *why = NULL;
    struct core *core = c->server->core;
    enum rpc_taken taken = take_frames(c, &need, &why);
    if (run_core) /* before the next read, which finds the more then */
        core_run(core);
    if (taken == RPC_PAUSED) /* it may be somebody else's already */
        return;
    if (taken == RPC_TAKEN && !in_reserve(c, need)) {
        taken = RPC_BROKEN;
        why = "no memory for a frame of that size: rpc-memory-max is used up";
    }
    nng_duration timeout_ms = taken == RPC_TAKEN ? recv_timeout(c) : 0;
    if (taken == RPC_TAKEN && timeout_ms == 0) {
        taken = RPC_BROKEN;
        why = c->greeted ? "a frame comes too slowly" : "the handshake takes too long";
    }
    if (taken == RPC_BROKEN)
        rpc__conn_close(c, why);
    if (taken == RPC_BROKEN || !recv_start(c, timeout_ms))
        rpc__conn_unref(c);
}

void rpc__recv_done(void *conn)
{
    struct rpc_conn *c = conn;
    int rc = nng_aio_result(c->recv_aio);
    if (rc == NNG_ECONNSHUT && c->greeted) {
        rpc__conn_ended(c);
        rpc__conn_unref(c);
        return;
    }
    if (rc != 0) {
        rpc__conn_close_nng(c, c->greeted ? "in the middle of a frame" : "no handshake", rc);
        rpc__conn_unref(c);
        return;
    }
    rpc__conn_ref(c); /* as long as this thread needs the server */
    c->in.end += nng_aio_count(c->recv_aio);
    INVARIANT(c->in.end <= c->in.capacity);
    atomic_store_explicit(&c->place.since_ms,
                          atomic_load_explicit(&c->server->now_ms, memory_order_relaxed),
                          memory_order_relaxed);
    rpc__recv_go_on(c, true);
    rpc__conn_unref(c);
}
