/* What link.c and link_in.c share. */
#ifndef TROUPE_CLIENT_LINK_IMPL_H
#define TROUPE_CLIENT_LINK_IMPL_H

#include <nng/nng.h>
#include <pthread.h>

#include "client/link.h"

enum {
    LINK_HELLO_BYTES = 8,
    LINK_ID_BYTES = 4,
};

#define LINK_ID_BIT                                                                                \
    UINT32_C(0x80000000) /* SP: the last word of the header has its high bit set                   \
                          */

struct link_buffer {
    uint8_t *data;
    size_t len, capacity;
};

struct link {
    struct link_events events;
    pthread_mutex_t mu;
    pthread_mutex_t gate;
    bool gate_closed;    /* under gate */
    uint32_t connection; /* which one this is; written under gate and mu, read under either */

    nng_stream_dialer *dialer; /* the owner's thread */
    nng_stream *stream;        /* set by the dial, cleared by reap; used under gate */
    nng_aio *connect_aio;      /* of one connection, like these two */
    nng_aio *send_aio, *recv_aio;

    /* Under mu. */
    enum link_state state;
    char why[LINK_WHY_BYTES];
    bool ipc;
    struct link_buffer out[2]; /* one gathers while the other is being sent */
    int filling;
    bool sending, starved;
    size_t frame_bytes; /* between frame_begin and frame_end */
    uint64_t queued_bytes, sent_bytes, heard_ms;

    /* The connect callback's. */
    uint8_t hello[LINK_HELLO_BYTES];
    size_t hello_sent, hello_got;
    /* Of whoever sends: link_flush while it starts, then the send callback. */
    size_t send_from;
    uint32_t send_connection;
    /* The receive callback's. */
    struct {
        uint8_t *data;
        size_t begin, end, capacity;
    } in;
};

/* Non-NULL on a thread that is handing over frames of this link. */
extern _Thread_local struct link *link__burst;

void link__connect_done(void *arg);
void link__send_done(void *arg);
void link__recv_done(void *arg);
void link__recv_start(struct link *l);
void link__break_nng(struct link *l, const char *doing, int rv);

static inline void link__put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline void link__put_be64(uint8_t *p, uint64_t v)
{
    link__put_be32(p, (uint32_t)(v >> 32));
    link__put_be32(p + 4, (uint32_t)v);
}

static inline uint32_t link__get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t link__get_be64(const uint8_t *p)
{
    return (uint64_t)link__get_be32(p) << 32 | link__get_be32(p + 4);
}

#endif
