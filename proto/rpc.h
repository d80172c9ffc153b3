/* The codec of rpc.proto: bytes <-> plain structs that live in an arena. The only place that knows
 * how requests and replies look on the wire. Sizes and counts are limited before anything is
 * allocated; whatever comes in, the answer is a value, never an assertion. Pure. */
#ifndef TROUPE_PROTO_RPC_H
#define TROUPE_PROTO_RPC_H

#include "base/arena.h"
#include "troupe/bytes.h"
#include "troupe/status.h"

enum {
    RPC_FRAME_BYTES_MAX = 32 << 20,  /* of one SP message's body */
    RPC_REQUEST_HEAD_BYTES_MAX = 72, /* with a cluster_uid of 36 bytes */
    RPC_CALLS_MAX = 4096,            /* in one request */
    RPC_TIMEOUT_MS_DEFAULT = 5000,
    RPC_TIMEOUT_MS_MAX = 3600000,
    RPC_SEQUENCE_COUNTER_BITS = 20, /* sequence = ms since 1970 << 20 | counter */
};

enum rpc_format { RPC_PROTOBUF = 0, RPC_JSON = 1 };

struct rpc_call {
    struct troupe_bytes kind, id, method, payload;
    uint64_t sequence;
    uint8_t ack;    /* enum troupe_ack */
    uint8_t format; /* enum rpc_format */
};

struct rpc_request {
    uint32_t timeout_ms; /* after decoding: 1 to RPC_TIMEOUT_MS_MAX */
    uint64_t client;
    uint8_t hops;                    /* how often it has been forwarded from node to node */
    struct troupe_bytes cluster_uid; /* between nodes; whatever was sent */
    uint64_t acked;                  /* 0: unknown */
    struct rpc_call *calls;
    size_t calls_n;
};

struct rpc_owner {
    struct troupe_bytes node, address;
    uint64_t epoch;
    uint32_t partitions; /* of the cluster; whatever was sent */
    struct troupe_bytes cluster_uid;
};

struct rpc_result {
    struct troupe_bytes payload;
    struct troupe_bytes message;
    const struct rpc_owner *owner; /* NULL when it is this node */
    uint64_t version;
    uint64_t sequence_from; /* 0: the request id is not what is wrong */
    uint8_t status;         /* enum troupe_status */
    uint8_t ack;            /* enum troupe_ack */
};

struct rpc_reply {
    struct rpc_result *results;
    size_t results_n;
    uint8_t status; /* of the request as a whole */
    struct troupe_bytes message;
};

/* Checks and decodes. Returned structs and bytes live in the arena (frame is not referenced), which
 * must have room for the frame and 4,096 calls or results: the memory that is taken is bounded by
 * the frame's size and their number, whatever the frame says. What is inside a call is not checked
 * (names, ack, format: the runtime does that), because it is an error of that one call; an ack or
 * format that does not fit a byte becomes 255. Unknown fields are skipped. Errors, with *why a text
 * for the peer (static): TROUPE_ELIMIT (frame, calls), TROUPE_ENOMEM (arena), TROUPE_EMALFORMED. */
int rpc_request_decode(struct arena *arena, struct troupe_bytes frame, struct rpc_request *request,
                       const char **why);
int rpc_reply_decode(struct arena *arena, struct troupe_bytes frame, struct rpc_reply *reply,
                     const char **why);

/* Bytes that encode writes. */
size_t rpc_request_size(const struct rpc_request *request);
/* How many of them are this call's. What is not any call's is RPC_REQUEST_HEAD_BYTES_MAX at most.
 */
size_t rpc_call_size(const struct rpc_call *call);
size_t rpc_reply_size(const struct rpc_reply *reply);
/* Writes exactly the size above into out; returns it. No allocation. */
size_t rpc_request_encode(const struct rpc_request *request, uint8_t *out);
size_t rpc_reply_encode(const struct rpc_reply *reply, uint8_t *out);

#endif
