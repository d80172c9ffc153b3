/* A connection to one node: SP framing (see docs/protocol.md) over an nng stream.
 *
 * Why not an nng REQ socket: its contexts cannot tell a request that never left the machine from
 * one that was lost on the way, resend on their own unless told not to, cost two thread hand-offs a
 * request, and write one request per system call. A stream gives all of that into our hands, and
 * requests and replies travel many per system call: measured with 64 requests of 6.4 KB in flight,
 * 37,000/s instead of 21,000/s, and a quarter less CPU at 64 bytes. It brings tcp, ipc and (later)
 * tls just the same.
 *
 * Happy path: link_dial → DIALING → HELLO (both sides send eight bytes that name their protocol)
 * → UP. Frames are written into a buffer and leave with link_flush; whatever gathers while a send
 * is under way leaves together with the next one. Received frames are handed to events.frame one by
 * one.
 *
 * Failure modes: a dial or a hello that fails or takes longer than LINK_CONNECT_MS, a lost
 * connection, a peer of another protocol, a frame over the limit, link_break: all end in BROKEN
 * with the reason in link_why. The owner's thread then calls link_reap, which waits until nng is
 * done with the connection, and may dial again.
 *
 * Threads: link_init, dial, reap, close belong to one thread of the owner; the rest may be called
 * from any thread. Events come on nng's threads, without a lock held. */
#ifndef TROUPE_CLIENT_LINK_H
#define TROUPE_CLIENT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/address.h"
#include "troupe/bytes.h"

enum {
    LINK_CONNECT_MS = 3000, /* for the dial, and once more for the hello */
    LINK_OUT_BYTES_MAX =
        1 << 20,                 /* of frames that wait to be sent; one larger frame may go alone */
    LINK_FLUSH_BYTES = 64 << 10, /* inside a burst: send when that much has gathered */
    LINK_IN_BYTES = 64 << 10, /* of the receive buffer; grows for larger frames and shrinks again */
    LINK_WHY_BYTES = 256,
};

enum link_state { LINK_DOWN, LINK_DIALING, LINK_HELLO, LINK_UP, LINK_BROKEN };

struct link_events {
    /* A reply: its request id and body, valid until the callback returns. */
    void (*frame)(void *data, uint32_t id, struct troupe_bytes body);
    /* All frames that arrived together have been handed over. What is sent before it returns leaves
     * in one piece. */
    void (*burst)(void *data);
    /* It is up; or broken and wants to be reaped; or there is room for frames again. */
    void (*changed)(void *data, enum link_state state);
    void *data;
};

struct link;

/* 0 or TROUPE_ENOMEM. */
int link_new(struct link **link, const struct link_events *events);
/* Breaks, reaps, frees; NULL is fine. */
void link_free(struct link *link);

/* DOWN → DIALING. The address must live until link_reap. TROUPE_EINVAL or TROUPE_ENOMEM with the
 * reason in link_why: it is DOWN still. */
int link_dial(struct link *link, const struct address *address);
/* BROKEN → DOWN, after every callback of this connection has returned. May block for the time such
 * a callback takes. */
void link_reap(struct link *link);
/* Gives the connection up, for a reason; the owner sees BROKEN. Nothing happens when it is DOWN or
 * BROKEN. */
void link_break(struct link *link, const char *why);

enum link_state link_state(struct link *link);
/* Why it broke last, copied; "" when it never did. */
void link_why(struct link *link, char why[LINK_WHY_BYTES]);
/* Bytes of frames that nng has been given on this connection. A frame whose position is not below
 * that never left. Valid until the next dial. */
uint64_t link_sent_bytes(struct link *link);
/* When something was last received, on CLOCK_MONOTONIC; 0 = never. */
uint64_t link_heard_ms(struct link *link);

/* Room for the body of a frame with request id `id` (its high bit is set here), to be filled at
 * once and finished by link_frame_end; *position is where the frame begins in the connection's
 * stream. NULL: not UP, no room just now (events.changed will tell) or no memory. */
uint8_t *link_frame_begin(struct link *link, uint32_t id, size_t body_bytes, uint64_t *position);
void link_frame_end(struct link *link);
/* Sends what has gathered. Inside a burst on this thread it leaves at the burst's end. */
void link_flush(struct link *link);

#endif
