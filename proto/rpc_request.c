/* Requests: see rpc.h, and rpc.proto for the numbers. */
#include "base/invariant.h"
#include "proto/rpc_frame.h"
#include "troupe/error.h"

enum { CALL_FIELDS = 7, REQUEST_FIELDS = 6 };

/* ---- decode ---- */

/* Into a zeroed call. */
static bool read_call(struct troupe_bytes part, struct rpc_call *call)
{
    struct wire_field field;
    for (struct wire_reader r = wire_reader(part); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return false;
        switch (field.tag) {
        case WIRE_TAG(1, WIRE_BYTES):
            call->kind = field.bytes;
            break;
        case WIRE_TAG(2, WIRE_BYTES):
            call->id = field.bytes;
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            call->method = field.bytes;
            break;
        case WIRE_TAG(4, WIRE_BYTES):
            call->payload = field.bytes;
            break;
        case WIRE_TAG(5, WIRE_FIXED64):
            call->sequence = field.value;
            break;
        case WIRE_TAG(6, WIRE_VARINT):
            call->ack = rpc__to_byte(field.value);
            break;
        case WIRE_TAG(7, WIRE_VARINT):
            call->format = rpc__to_byte(field.value);
            break;
        default:
            if (wire_is_known(field.tag, CALL_FIELDS))
                return false;
        }
    }
    return true;
}

static bool read_request(struct troupe_bytes frame, struct rpc_request *request)
{
    struct wire_field field;
    for (struct wire_reader r = wire_reader(frame); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return false;
        switch (field.tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            request->timeout_ms = (uint32_t)field.value;
            break;
        case WIRE_TAG(2, WIRE_FIXED64):
            request->client = field.value;
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            if (!read_call(field.bytes, &request->calls[request->calls_n++]))
                return false;
            break;
        case WIRE_TAG(4, WIRE_VARINT):
            request->hops = rpc__to_byte((uint32_t)field.value);
            break;
        case WIRE_TAG(5, WIRE_BYTES):
            request->cluster_uid = field.bytes;
            break;
        case WIRE_TAG(6, WIRE_FIXED64):
            request->acked = field.value;
            break;
        default:
            if (wire_is_known(field.tag, REQUEST_FIELDS))
                return false;
        }
    }
    return true;
}

static uint32_t clamp_timeout(uint32_t ms)
{
    if (ms == 0)
        return RPC_TIMEOUT_MS_DEFAULT;
    return ms < RPC_TIMEOUT_MS_MAX ? ms : RPC_TIMEOUT_MS_MAX;
}

int rpc_request_decode(struct arena *arena, struct troupe_bytes frame, struct rpc_request *request,
                       const char **why)
{
    void *calls;
    struct troupe_bytes copy;
    int rc = rpc__frame_open(arena, frame, WIRE_TAG(3, WIRE_BYTES), sizeof *request->calls, &calls,
                             &copy, why);
    if (rc != 0)
        return rc;
    *request = (struct rpc_request){.calls = calls};
    if (!read_request(copy, request)) {
        *why = "the message is not a troupe.rpc.Request";
        return TROUPE_EMALFORMED;
    }
    request->timeout_ms = clamp_timeout(request->timeout_ms);
    INVARIANT(request->calls_n <= RPC_CALLS_MAX);
    return 0;
}

/* ---- encode ---- */

static size_t call_size(const struct rpc_call *call)
{
    return wire_bytes_size(call->kind) + wire_bytes_size(call->id) + wire_bytes_size(call->method) +
           wire_bytes_size(call->payload) + wire_fixed64_size(call->sequence) +
           wire_uint_size(call->ack) + wire_uint_size(call->format);
}

static uint8_t *put_call(uint8_t *out, const struct rpc_call *call)
{
    out = wire_put_part(out, 3, call_size(call));
    out = wire_put_bytes(out, 1, call->kind);
    out = wire_put_bytes(out, 2, call->id);
    out = wire_put_bytes(out, 3, call->method);
    out = wire_put_bytes(out, 4, call->payload);
    out = wire_put_fixed64(out, 5, call->sequence);
    out = wire_put_uint(out, 6, call->ack);
    return wire_put_uint(out, 7, call->format);
}

size_t rpc_call_size(const struct rpc_call *call)
{
    return wire_part_size(call_size(call));
}

size_t rpc_request_size(const struct rpc_request *request)
{
    size_t size = wire_uint_size(request->timeout_ms) + wire_fixed64_size(request->client) +
                  wire_uint_size(request->hops) + wire_bytes_size(request->cluster_uid) +
                  wire_fixed64_size(request->acked);
    for (size_t i = 0; i < request->calls_n; i++)
        size += rpc_call_size(&request->calls[i]);
    return size;
}

size_t rpc_request_encode(const struct rpc_request *request, uint8_t *out)
{
    uint8_t *at = wire_put_uint(out, 1, request->timeout_ms);
    at = wire_put_fixed64(at, 2, request->client);
    for (size_t i = 0; i < request->calls_n; i++)
        at = put_call(at, &request->calls[i]);
    at = wire_put_uint(at, 4, request->hops);
    at = wire_put_bytes(at, 5, request->cluster_uid);
    at = wire_put_fixed64(at, 6, request->acked);
    return (size_t)(at - out);
}
