/* A batch, from the inside: calls, their results, and the legs in which they travel.
 *
 * A leg is what goes to one node in one message. Nearly always a batch is one leg; when the ring is
 * known and the calls belong to several nodes, split.c makes a leg for each, and the batch is
 * answered when the last of them is. A leg has its own calls, deadline, retries and memory, so legs
 * never touch each other: the results of a batch are an array, and each leg writes its own places.
 *
 * Memory: the batch's arena holds the calls; a leg's arena every result that must outlive its
 * reply, its scratch the latest reply. All keep what they need from use to use, so that a batch
 * that is reset and filled again allocates nothing. */
#ifndef TROUPE_CLIENT_BATCH_H
#define TROUPE_CLIENT_BATCH_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/list.h"
#include "client/due.h"
#include "client/ring_table.h"
#include "proto/rpc.h"
#include "troupe/client.h"

enum {
    BATCH_CHUNK_BYTES_MIN = 1024, /* of an arena of a new batch; a later use may make it larger */
    BATCH_CHUNK_BYTES_MAX = 1 << 20,
    BATCH_REPLY_BYTES_MAX = 4 * RPC_FRAME_BYTES_MAX, /* of a decoded reply */
    BATCH_TEXT_BYTES = 1024,                         /* of a message the client makes itself */
};

struct route;

enum leg_state {
    LEG_IDLE,
    LEG_QUEUED,  /* waits for a connection or for room */
    LEG_FLIGHT,  /* sent, no answer yet */
    LEG_READING, /* its answer is being decoded, on the receiving thread */
    LEG_BACKOFF, /* some calls will be sent again, later */
    LEG_DONE,    /* every call has its result */
};

struct leg {
    struct troupe_batch *batch;
    struct arena arena, scratch;
    uint16_t *todo;        /* indexes of the calls without a final result, in order */
    struct rpc_call *wire; /* the calls of todo, as they are sent: the batch's, or a copy */
    size_t todo_n, all_n;  /* how many there are still, and were at first */

    /* From here on under the client's lock while it is sent. */
    enum leg_state state;
    struct route *way; /* whose connection it goes by if it can; NULL: by any */
    struct route *on;  /* by which the attempt in flight went */
    struct list node;  /* in a queue or among those in flight */
    struct due due;    /* the deadline, or the next attempt */
    uint64_t sent_ms;
    uint64_t client; /* of its request ids */
    uint32_t attempts;
    uint32_t request_id;     /* of the attempt in flight */
    uint64_t frame_position; /* of the attempt in flight, see link_frame_begin */
    bool answered;           /* the results of todo are a node's, to the last attempt */
    bool maybe_executed;     /* an attempt was lost after it had left, or its outcome is unknown */
    /* All calls of todo were refused for their ids alone, and have been executed by nobody: above
     * which sequence they shall have new ones. Else 0. */
    uint64_t ids_from;
};

enum batch_state { BATCH_FILLING, BATCH_SENT, BATCH_DONE };

struct troupe_batch {
    struct troupe_client *client;
    struct arena arena;
    struct rpc_call *calls;
    struct troupe_call_result *results;
    uint16_t *todo;   /* of all legs, one after the other */
    ring_spot *spots; /* of the calls; split.c's */
    size_t calls_n, calls_capacity;
    size_t pinned_n; /* calls to a kind of the node's own ($node): they go to whom we were given */
    size_t bytes;    /* of what was added, as a first check against the frame limit */

    struct leg leg;    /* the first; nearly always the only one */
    struct leg **more; /* the others that there have ever been */
    size_t more_n;
    struct rpc_call *sorted; /* copies of the calls in the order of todo, when there are several */
    size_t sorted_capacity;
    unsigned legs_n;
    atomic_uint legs_open; /* not DONE; unused when there is one only */

    enum batch_state state;
    unsigned span; /* of its request ids */
    uint64_t deadline_ms;
    uint32_t timeout_ms;
    troupe_batch_cb callback;
    void *data;
};

/* A call waits for sending with an id while its sequence is not 0; which one it gets is the
 * client's matter. */
enum { BATCH_SEQUENCE_WANTED = 1 };

/* Leg i, made if it has never been needed before; NULL: out of memory. */
struct leg *batch_leg(struct troupe_batch *batch, unsigned i);

/* Gives every call of todo this result, from the client itself. */
void leg_fail_todo(struct leg *leg, enum troupe_status status, const char *message);
/* The same for those without a request id, which then leave todo: they must not be sent again. */
void leg_fail_todo_without_id(struct leg *leg, enum troupe_status status, const char *message);
/* An attempt was lost after it had left: what it has done is unknown until a later one tells. */
void leg_note_lost(struct leg *leg);

/* Told of a reply that names owners, before anything is done with it. */
typedef void (*leg_learn)(struct leg *leg, const struct rpc_reply *reply);

/* Takes a reply apart: final results are kept, and todo is what shall be sent again, while
 * may_retry: calls with an id that came back UNAVAILABLE, ABORTED or UNKNOWN, and those whose id
 * was refused at the only attempt. node: who is to be named when the reply makes no sense. */
void leg_take_reply(struct leg *leg, struct troupe_bytes body, bool may_retry, const char *node,
                    leg_learn learn);

#endif
