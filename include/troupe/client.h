/* Call a cluster: libtroupe, an asynchronous client over nng.
 *
 * A client is one connection pool to one or more nodes. It is given an address or a few, learns
 * from the replies which node owns what, and goes straight there; docs/client.md tells how. A batch
 * is a set of calls with one deadline that travels as one message to each node that owns some of
 * them; batches are what make it fast. Results come by callback on one of the client's threads; or
 * use troupe_batch_send_wait, which waits.
 *
 * Retries: a call with a request id (the default) is retried until its deadline when its answer is
 * lost, when the node is UNAVAILABLE, the call was ABORTED or its outcome is UNKNOWN, and takes
 * effect at most once. Without one (TROUPE_CALL_NO_ID) it is sent once: after a lost connection its
 * outcome is unknown and it fails with UNAVAILABLE.
 *
 * Order: calls of one batch to one entity are executed in their order; batches that are under way
 * at the same time are not ordered. */
#ifndef TROUPE_CLIENT_H
#define TROUPE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "troupe/bytes.h"
#include "troupe/error.h"
#include "troupe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TROUPE_CLIENT_API __attribute__((visibility("default")))

struct troupe_client;

struct troupe_client_options {
    /* "tcp://host:port" or "host:port" or "ipc:///path", separated by commas; tried in turn. NULL =
     * "tcp://127.0.0.1:7700". */
    const char *addresses;
    uint32_t
        in_flight_max;  /* messages under way at once; 0 = 1,024. More wait in the client's queue */
    uint32_t queue_max; /* messages waiting beyond those; 0 = 65,536; more batches: TROUPE_ELIMIT */
    uint32_t timeout_ms;     /* default of a batch; 0 = 5,000 */
    uint32_t retry_delay_ms; /* first delay, doubling with jitter up to 32 times; 0 = 20 */
    uint32_t links_max; /* connections to nodes that replies have named as owners, beside the one to
                         * the addresses above; 0 = 64, at most 255 */
    bool no_ring;       /* none of those: every call goes by the addresses above */
};

/* Connects in the background: no error when nobody answers yet. Errors: TROUPE_EINVAL (addresses),
 * TROUPE_ENOMEM. *client is the caller's until troupe_client_close. */
TROUPE_CLIENT_API int troupe_client_open(struct troupe_client **client,
                                         const struct troupe_client_options *options, char *errmsg,
                                         size_t errmsg_bytes);
/* Fails what is under way with CANCELLED, waits for the callbacks to return, frees. NULL is fine.
 * Not from a callback. */
TROUPE_CLIENT_API void troupe_client_close(struct troupe_client *client);

enum troupe_call_flags {
    TROUPE_CALL_NO_ID = 1, /* no request id: never retried, cheaper for the entity */
    TROUPE_CALL_JSON = 2,  /* payload and reply are JSON text */
};

struct troupe_call_result {
    enum troupe_status status;
    enum troupe_ack ack;
    bool answered; /* a node said so; false: no answer came, the status is the client's own */
    uint64_t version;
    struct troupe_bytes payload; /* valid until the callback returns / the batch is freed */
    struct troupe_bytes message; /* with a status other than OK */
    /* The node that owns the entity, when another one was asked and forwarded the call, or with
     * UNAVAILABLE refused it. Empty otherwise. */
    struct troupe_bytes owner_node, owner_address;
};

/* A batch: made, filled, sent, answered, freed (or reset and used again). Not thread safe before it
 * is sent; belongs to the client from send until the callback. */
struct troupe_batch;

TROUPE_CLIENT_API struct troupe_batch *troupe_batch_new(struct troupe_client *client);
TROUPE_CLIENT_API void troupe_batch_free(struct troupe_batch *batch);
/* Empties it for the next use, keeping its memory. */
TROUPE_CLIENT_API void troupe_batch_reset(struct troupe_batch *batch);
/* Copies everything. At most 4,096 calls: TROUPE_ELIMIT. TROUPE_EINVAL: kind, id or method too
 * long. */
TROUPE_CLIENT_API int troupe_batch_add(struct troupe_batch *batch, struct troupe_bytes kind,
                                       struct troupe_bytes id, struct troupe_bytes method,
                                       struct troupe_bytes payload, enum troupe_ack ack,
                                       unsigned flags);
TROUPE_CLIENT_API size_t troupe_batch_count(const struct troupe_batch *batch);
/* The result of call i of an answered batch. */
TROUPE_CLIENT_API const struct troupe_call_result *
troupe_batch_result(const struct troupe_batch *batch, size_t i);

typedef void (*troupe_batch_cb)(struct troupe_batch *batch, void *data);
/* Sends. The callback comes exactly once, by the deadline at the latest (plus 100 ms), with a
 * result for every call. timeout_ms 0 = the client's. Errors (no callback then): TROUPE_EINVAL
 * (empty), TROUPE_ELIMIT (queue_max or frame size), TROUPE_ECLOSED. */
TROUPE_CLIENT_API int troupe_batch_send(struct troupe_batch *batch, uint32_t timeout_ms,
                                        troupe_batch_cb callback, void *data);
/* Sends and waits for the answer. Errors as above. Not from a callback. */
TROUPE_CLIENT_API int troupe_batch_send_wait(struct troupe_batch *batch, uint32_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
