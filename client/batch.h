/* A batch, from the inside: calls, their results, and where it stands on its way.
 *
 * Memory: `arena` holds the calls and every result that must outlive its reply, `scratch` the
 * latest reply. Both keep what they need from use to use, so that a batch that is reset and filled
 * again allocates nothing. */
#ifndef TROUPE_CLIENT_BATCH_H
#define TROUPE_CLIENT_BATCH_H

#include "base/arena.h"
#include "base/list.h"
#include "client/due.h"
#include "proto/rpc.h"
#include "troupe/client.h"

enum {
    BATCH_CHUNK_BYTES_MIN = 1024, /* of an arena of a new batch; a later use may make it larger */
    BATCH_CHUNK_BYTES_MAX = 1 << 20,
    BATCH_REPLY_BYTES_MAX = 4 * RPC_FRAME_BYTES_MAX, /* of a decoded reply */
    BATCH_TEXT_BYTES = 1024,                         /* of a message the client makes itself */
};

enum batch_state {
    BATCH_FILLING, /* the user's: calls are being added */
    BATCH_QUEUED,  /* waits for a connection or for room */
    BATCH_FLIGHT,  /* sent, no answer yet */
    BATCH_READING, /* its answer is being decoded, on the receiving thread */
    BATCH_BACKOFF, /* some calls will be sent again, later */
    BATCH_DONE,    /* the user's: every call has its result */
};

struct troupe_batch {
    struct troupe_client *client;
    struct arena arena, scratch;
    struct rpc_call *calls;
    struct troupe_call_result *results;
    uint16_t *todo;              /* indexes of the calls without a final result, in order */
    const struct rpc_call *wire; /* the calls of todo, as they are sent: calls itself, or a copy */
    size_t calls_n, calls_capacity, todo_n;
    size_t bytes; /* of what was added, as a first check against the frame limit */

    /* From here on under the client's lock while it is sent. */
    enum batch_state state;
    struct list node; /* in the queue or among those in flight */
    struct due due;   /* the deadline, or the next attempt */
    uint64_t deadline_ms, sent_ms;
    uint32_t timeout_ms, attempts;
    uint32_t request_id;     /* of the attempt in flight */
    uint64_t frame_position; /* of the attempt in flight, see link_frame_begin */
    bool answered;           /* the results of todo are a node's, to the last attempt */
    bool maybe_executed;     /* an attempt was lost after it had left */
    troupe_batch_cb callback;
    void *data;
};

/* A call waits for sending with an id while its sequence is not 0; which one it gets is the
 * client's matter. */
enum { BATCH_SEQUENCE_WANTED = 1 };

/* Gives every call of todo this result, from the client itself. */
void batch_fail_todo(struct troupe_batch *batch, enum troupe_status status, const char *message);
/* The same for those without a request id, which then leave todo: they must not be sent again. */
void batch_fail_todo_without_id(struct troupe_batch *batch, enum troupe_status status,
                                const char *message);

/* Takes a reply apart: final results are kept, and todo is what shall be sent again: calls with an
 * id that came back UNAVAILABLE or ABORTED, while may_retry. node: who is to be named when the
 * reply makes no sense. */
void batch_take_reply(struct troupe_batch *batch, struct troupe_bytes body, bool may_retry,
                      const char *node);

#endif
