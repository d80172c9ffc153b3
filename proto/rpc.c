/* See rpc.h. protobuf-c does the wire format; this file limits what it is given and moves between
 * its structs and ours.
 *
 * Before anything is allocated, one scan over the top-level fields counts the elements of the
 * batch. Depth is no concern: the schema has no recursive message, and protobuf-c skips unknown
 * fields without descending into them and refuses groups. What unknown fields cost (an array entry
 * each) is limited by the arena's cap. */
#include "proto/rpc.h"

#include <stdbool.h>

#include "base/invariant.h"
#include "proto/arena_allocator.h"
#include "rpc.pb-c.h"
#include "troupe/error.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* ---- the scan ---- */

static bool scan_varint(struct troupe_bytes frame, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < frame.len; shift += 7) {
        uint8_t byte = frame.data[(*at)++];
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool scan_skip(struct troupe_bytes frame, size_t *at, uint64_t len)
{
    if (len > frame.len - *at)
        return false;
    *at += (size_t)len;
    return true;
}

/* How often the length-delimited field occurs at the top level; false when the frame is no protobuf
 * message. */
static bool scan_count(struct troupe_bytes frame, uint32_t field, size_t *count)
{
    *count = 0;
    for (size_t at = 0; at < frame.len;) {
        uint64_t tag, value;
        if (!scan_varint(frame, &at, &tag))
            return false;
        switch (tag & 7) {
        case WIRE_VARINT:
            if (!scan_varint(frame, &at, &value))
                return false;
            break;
        case WIRE_FIXED64:
            if (!scan_skip(frame, &at, 8))
                return false;
            break;
        case WIRE_BYTES:
            if (!scan_varint(frame, &at, &value) || !scan_skip(frame, &at, value))
                return false;
            *count += tag >> 3 == field;
            break;
        case WIRE_FIXED32:
            if (!scan_skip(frame, &at, 4))
                return false;
            break;
        default:
            return false;
        }
    }
    return true;
}

static int check_frame(struct troupe_bytes frame, uint32_t field, const char **why)
{
    size_t count;
    if (frame.len > RPC_FRAME_BYTES_MAX) {
        *why = "the message is larger than 32 MiB: send smaller batches";
        return TROUPE_ELIMIT;
    }
    if (!scan_count(frame, field, &count)) {
        *why = "the message is not a protobuf of the expected form";
        return TROUPE_EMALFORMED;
    }
    if (count > RPC_CALLS_MAX) {
        *why = "the batch has more than 4,096 calls: send smaller batches";
        return TROUPE_ELIMIT;
    }
    return 0;
}

static void *unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                    struct troupe_bytes frame)
{
    static const uint8_t nothing;
    ProtobufCAllocator allocator;
    arena_allocator_init(&allocator, arena);
    return protobuf_c_message_unpack(descriptor, &allocator, frame.len,
                                     frame.len == 0 ? &nothing : frame.data);
}

/* ---- conversions ---- */

static struct troupe_bytes from_data(ProtobufCBinaryData data)
{
    return troupe_bytes(data.data, data.len);
}

/* protobuf-c's structs are not const, but packing only reads. */
static ProtobufCBinaryData to_data(struct troupe_bytes bytes)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } u = {.in = bytes.data};
    return (ProtobufCBinaryData){.len = bytes.len, .data = u.out};
}

static uint8_t to_byte(int value)
{
    return value < 0 || value > UINT8_MAX ? UINT8_MAX : (uint8_t)value;
}

/* ---- requests ---- */

static void call_from(const Troupe__Rpc__Call *from, struct rpc_call *to)
{
    *to = (struct rpc_call){
        .kind = from_data(from->kind),
        .id = from_data(from->id),
        .method = from_data(from->method),
        .payload = from_data(from->payload),
        .sequence = from->sequence,
        .ack = to_byte((int)from->ack),
        .format = to_byte((int)from->format),
    };
}

static void call_to(const struct rpc_call *from, Troupe__Rpc__Call *to)
{
    troupe__rpc__call__init(to);
    to->kind = to_data(from->kind);
    to->id = to_data(from->id);
    to->method = to_data(from->method);
    to->payload = to_data(from->payload);
    to->sequence = from->sequence;
    to->ack = (Troupe__Rpc__Ack)from->ack;
    to->format = (Troupe__Rpc__Format)from->format;
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
    int rc = check_frame(frame, 3, why);
    if (rc != 0)
        return rc;
    const Troupe__Rpc__Request *wire = unpack(&troupe__rpc__request__descriptor, arena, frame);
    if (wire == NULL) {
        *why = "the message is not a troupe.rpc.Request, or too costly to unpack";
        return TROUPE_EMALFORMED;
    }
    *request = (struct rpc_request){.timeout_ms = clamp_timeout(wire->timeout_ms),
                                    .client = wire->client,
                                    .calls_n = wire->n_calls};
    request->calls = arena_alloc(arena, wire->n_calls * sizeof *request->calls);
    if (request->calls == NULL) {
        *why = "the message is too large";
        return TROUPE_ELIMIT;
    }
    for (size_t i = 0; i < wire->n_calls; i++)
        call_from(wire->calls[i], &request->calls[i]);
    return 0;
}

/* The fields before the calls. */
static void request_head(const struct rpc_request *request, Troupe__Rpc__Request *head)
{
    troupe__rpc__request__init(head);
    head->timeout_ms = request->timeout_ms;
    head->client = request->client;
}

static size_t varint_size(size_t value)
{
    size_t n = 1;
    while (value >>= 7)
        n++;
    return n;
}

/* Tag and length of an embedded message; field numbers up to 15. */
static uint8_t *put_head(uint8_t *out, unsigned field, size_t len)
{
    *out++ = (uint8_t)(field << 3 | WIRE_BYTES);
    for (; len >= 0x80; len >>= 7)
        *out++ = (uint8_t)(len | 0x80);
    *out++ = (uint8_t)len;
    return out;
}

size_t rpc_request_size(const struct rpc_request *request)
{
    Troupe__Rpc__Request head;
    request_head(request, &head);
    size_t size = troupe__rpc__request__get_packed_size(&head);
    for (size_t i = 0; i < request->calls_n; i++) {
        Troupe__Rpc__Call call;
        call_to(&request->calls[i], &call);
        size_t len = troupe__rpc__call__get_packed_size(&call);
        size += 1 + varint_size(len) + len;
    }
    return size;
}

size_t rpc_request_encode(const struct rpc_request *request, uint8_t *out)
{
    uint8_t *at = out;
    Troupe__Rpc__Request head;
    request_head(request, &head);
    at += troupe__rpc__request__pack(&head, at);
    for (size_t i = 0; i < request->calls_n; i++) {
        Troupe__Rpc__Call call;
        call_to(&request->calls[i], &call);
        at = put_head(at, 3, troupe__rpc__call__get_packed_size(&call));
        at += troupe__rpc__call__pack(&call, at);
    }
    return (size_t)(at - out);
}

/* ---- replies ---- */

static int result_from(struct arena *arena, const Troupe__Rpc__Result *from, struct rpc_result *to)
{
    *to = (struct rpc_result){
        .payload = from_data(from->payload),
        .message = from_data(from->message),
        .version = from->version,
        .status = to_byte((int)from->status),
        .ack = to_byte((int)from->ack),
    };
    if (from->owner == NULL)
        return 0;
    struct rpc_owner *owner = arena_alloc(arena, sizeof *owner);
    if (owner == NULL)
        return TROUPE_ELIMIT;
    *owner = (struct rpc_owner){.node = from_data(from->owner->node),
                                .address = from_data(from->owner->address),
                                .epoch = from->owner->epoch};
    to->owner = owner;
    return 0;
}

static void result_to(const struct rpc_result *from, Troupe__Rpc__Result *to,
                      Troupe__Rpc__Owner *owner)
{
    troupe__rpc__result__init(to);
    to->status = from->status;
    to->payload = to_data(from->payload);
    to->message = to_data(from->message);
    to->version = from->version;
    to->ack = (Troupe__Rpc__Ack)from->ack;
    if (from->owner == NULL)
        return;
    troupe__rpc__owner__init(owner);
    owner->node = to_data(from->owner->node);
    owner->address = to_data(from->owner->address);
    owner->epoch = from->owner->epoch;
    to->owner = owner;
}

int rpc_reply_decode(struct arena *arena, struct troupe_bytes frame, struct rpc_reply *reply,
                     const char **why)
{
    int rc = check_frame(frame, 1, why);
    if (rc != 0)
        return rc;
    const Troupe__Rpc__Reply *wire = unpack(&troupe__rpc__reply__descriptor, arena, frame);
    if (wire == NULL) {
        *why = "the message is not a troupe.rpc.Reply, or too costly to unpack";
        return TROUPE_EMALFORMED;
    }
    *reply = (struct rpc_reply){.results_n = wire->n_results,
                                .status = to_byte((int)wire->status),
                                .message = from_data(wire->message)};
    reply->results = arena_alloc(arena, wire->n_results * sizeof *reply->results);
    *why = "the message is too large";
    if (reply->results == NULL)
        return TROUPE_ELIMIT;
    for (size_t i = 0; rc == 0 && i < wire->n_results; i++)
        rc = result_from(arena, wire->results[i], &reply->results[i]);
    return rc;
}

/* The fields after the results. */
static void reply_tail(const struct rpc_reply *reply, Troupe__Rpc__Reply *tail)
{
    troupe__rpc__reply__init(tail);
    tail->status = reply->status;
    tail->message = to_data(reply->message);
}

size_t rpc_reply_size(const struct rpc_reply *reply)
{
    Troupe__Rpc__Reply tail;
    reply_tail(reply, &tail);
    size_t size = troupe__rpc__reply__get_packed_size(&tail);
    for (size_t i = 0; i < reply->results_n; i++) {
        Troupe__Rpc__Result result;
        Troupe__Rpc__Owner owner;
        result_to(&reply->results[i], &result, &owner);
        size_t len = troupe__rpc__result__get_packed_size(&result);
        size += 1 + varint_size(len) + len;
    }
    return size;
}

size_t rpc_reply_encode(const struct rpc_reply *reply, uint8_t *out)
{
    uint8_t *at = out;
    for (size_t i = 0; i < reply->results_n; i++) {
        Troupe__Rpc__Result result;
        Troupe__Rpc__Owner owner;
        result_to(&reply->results[i], &result, &owner);
        at = put_head(at, 1, troupe__rpc__result__get_packed_size(&result));
        at += troupe__rpc__result__pack(&result, at);
    }
    Troupe__Rpc__Reply tail;
    reply_tail(reply, &tail);
    at += troupe__rpc__reply__pack(&tail, at);
    return (size_t)(at - out);
}
