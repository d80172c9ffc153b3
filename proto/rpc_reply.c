/* Replies: see rpc.h, and rpc.proto for the numbers. */
#include "base/invariant.h"
#include "proto/rpc_frame.h"
#include "troupe/error.h"

enum { OWNER_FIELDS = 5, RESULT_FIELDS = 7, REPLY_FIELDS = 3 };

/* ---- decode ---- */

/* Adds to what an earlier owner in the same result said: so protobuf merges a submessage that is
 * there twice. */
static bool read_owner(struct troupe_bytes part, struct rpc_owner *owner)
{
    struct wire_field field;
    for (struct wire_reader r = wire_reader(part); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return false;
        switch (field.tag) {
        case WIRE_TAG(1, WIRE_BYTES):
            owner->node = field.bytes;
            break;
        case WIRE_TAG(2, WIRE_BYTES):
            owner->address = field.bytes;
            break;
        case WIRE_TAG(3, WIRE_VARINT):
            owner->epoch = field.value;
            break;
        case WIRE_TAG(4, WIRE_VARINT):
            owner->partitions = (uint32_t)field.value;
            break;
        case WIRE_TAG(5, WIRE_BYTES):
            owner->cluster_uid = field.bytes;
            break;
        default:
            if (wire_is_known(field.tag, OWNER_FIELDS))
                return false;
        }
    }
    return true;
}

static int add_owner(struct arena *arena, struct troupe_bytes part, struct rpc_owner **owner)
{
    if (*owner == NULL)
        *owner = arena_calloc(arena, 1, sizeof **owner);
    if (*owner == NULL)
        return TROUPE_ENOMEM;
    return read_owner(part, *owner) ? 0 : TROUPE_EMALFORMED;
}

/* Into a zeroed result. */
static int read_result(struct arena *arena, struct troupe_bytes part, struct rpc_result *result)
{
    struct wire_field field;
    struct rpc_owner *owner = NULL;
    int rc = 0;
    for (struct wire_reader r = wire_reader(part); rc == 0 && !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return TROUPE_EMALFORMED;
        switch (field.tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            result->status = rpc__to_byte(field.value);
            break;
        case WIRE_TAG(2, WIRE_BYTES):
            result->payload = field.bytes;
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            result->message = field.bytes;
            break;
        case WIRE_TAG(4, WIRE_VARINT):
            result->version = field.value;
            break;
        case WIRE_TAG(5, WIRE_VARINT):
            result->ack = rpc__to_byte(field.value);
            break;
        case WIRE_TAG(6, WIRE_BYTES):
            rc = add_owner(arena, field.bytes, &owner);
            break;
        case WIRE_TAG(7, WIRE_FIXED64):
            result->sequence_from = field.value;
            break;
        default:
            rc = wire_is_known(field.tag, RESULT_FIELDS) ? TROUPE_EMALFORMED : 0;
        }
    }
    result->owner = owner;
    return rc;
}

static int read_reply(struct arena *arena, struct troupe_bytes frame, struct rpc_reply *reply)
{
    struct wire_field field;
    int rc = 0;
    for (struct wire_reader r = wire_reader(frame); rc == 0 && !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return TROUPE_EMALFORMED;
        switch (field.tag) {
        case WIRE_TAG(1, WIRE_BYTES):
            rc = read_result(arena, field.bytes, &reply->results[reply->results_n++]);
            break;
        case WIRE_TAG(2, WIRE_VARINT):
            reply->status = rpc__to_byte(field.value);
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            reply->message = field.bytes;
            break;
        default:
            rc = wire_is_known(field.tag, REPLY_FIELDS) ? TROUPE_EMALFORMED : 0;
        }
    }
    return rc;
}

int rpc_reply_decode(struct arena *arena, struct troupe_bytes frame, struct rpc_reply *reply,
                     const char **why)
{
    void *results;
    struct troupe_bytes copy;
    int rc = rpc__frame_open(arena, frame, WIRE_TAG(1, WIRE_BYTES), sizeof *reply->results,
                             &results, &copy, why);
    if (rc != 0)
        return rc;
    *reply = (struct rpc_reply){.results = results};
    rc = read_reply(arena, copy, reply);
    if (rc != 0)
        *why = rc == TROUPE_ENOMEM ? "no memory is left for a message of this size"
                                   : "the message is not a troupe.rpc.Reply";
    INVARIANT(reply->results_n <= RPC_CALLS_MAX);
    return rc;
}

/* ---- encode ---- */

static size_t owner_size(const struct rpc_owner *owner)
{
    return wire_bytes_size(owner->node) + wire_bytes_size(owner->address) +
           wire_uint_size(owner->epoch) + wire_uint_size(owner->partitions) +
           wire_bytes_size(owner->cluster_uid);
}

static size_t result_size(const struct rpc_result *result)
{
    return wire_uint_size(result->status) + wire_bytes_size(result->payload) +
           wire_bytes_size(result->message) + wire_uint_size(result->version) +
           wire_uint_size(result->ack) + wire_fixed64_size(result->sequence_from) +
           (result->owner == NULL ? 0 : wire_part_size(owner_size(result->owner)));
}

static uint8_t *put_owner(uint8_t *out, const struct rpc_owner *owner)
{
    out = wire_put_part(out, 6, owner_size(owner));
    out = wire_put_bytes(out, 1, owner->node);
    out = wire_put_bytes(out, 2, owner->address);
    out = wire_put_uint(out, 3, owner->epoch);
    out = wire_put_uint(out, 4, owner->partitions);
    return wire_put_bytes(out, 5, owner->cluster_uid);
}

static uint8_t *put_result(uint8_t *out, const struct rpc_result *result)
{
    out = wire_put_part(out, 1, result_size(result));
    out = wire_put_uint(out, 1, result->status);
    out = wire_put_bytes(out, 2, result->payload);
    out = wire_put_bytes(out, 3, result->message);
    out = wire_put_uint(out, 4, result->version);
    out = wire_put_uint(out, 5, result->ack);
    if (result->owner != NULL)
        out = put_owner(out, result->owner);
    return wire_put_fixed64(out, 7, result->sequence_from);
}

size_t rpc_reply_size(const struct rpc_reply *reply)
{
    size_t size = wire_uint_size(reply->status) + wire_bytes_size(reply->message);
    for (size_t i = 0; i < reply->results_n; i++)
        size += wire_part_size(result_size(&reply->results[i]));
    return size;
}

size_t rpc_reply_encode(const struct rpc_reply *reply, uint8_t *out)
{
    uint8_t *at = out;
    for (size_t i = 0; i < reply->results_n; i++)
        at = put_result(at, &reply->results[i]);
    at = wire_put_uint(at, 2, reply->status);
    at = wire_put_bytes(at, 3, reply->message);
    return (size_t)(at - out);
}
