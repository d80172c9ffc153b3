/* See rpc_oracle.h. The exceptions to equality are ours by intention: a limit on the number of
 * calls, timeouts clamped, enums in a byte, and an owner that is there twice (merged as the
 * specification of protobuf says; protobuf-c forgets the earlier epoch). */
#include "tests/unit/rpc_oracle.h"

#include <stdlib.h>

#include "proto/wire.h"
#include "rpc.pb-c.h"

enum { ARENA_BYTES_MAX = 64 << 20 };

static bool same(struct troupe_bytes ours, ProtobufCBinaryData theirs)
{
    return troupe_bytes_equal(ours, troupe_bytes(theirs.data, theirs.len));
}

/* protobuf-c's structs are not const, but packing only reads. */
static ProtobufCBinaryData data_of(struct troupe_bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.data};
}

static bool same_number(uint8_t ours, int theirs)
{
    return ours == (theirs < 0 || theirs > 255 ? 255 : theirs);
}

/* ---- encoding ---- */

static const char *check_packed(const ProtobufCMessage *message, const uint8_t *ours, size_t size)
{
    size_t expected = protobuf_c_message_get_packed_size(message);
    if (size != expected)
        return "the encoded size";
    uint8_t *theirs = malloc(expected + 1);
    if (theirs == NULL)
        abort();
    protobuf_c_message_pack(message, theirs);
    bool equal = memcmp(theirs, ours, size) == 0;
    free(theirs);
    return equal ? NULL : "the encoded bytes";
}

static Troupe__Rpc__Call *to_call(const struct rpc_call *from, Troupe__Rpc__Call *to)
{
    troupe__rpc__call__init(to);
    to->kind = data_of(from->kind);
    to->id = data_of(from->id);
    to->method = data_of(from->method);
    to->payload = data_of(from->payload);
    to->sequence = from->sequence;
    to->ack = (Troupe__Rpc__Ack)from->ack;
    to->format = (Troupe__Rpc__Format)from->format;
    return to;
}

const char *rpc_oracle_encode_request(const struct rpc_request *request)
{
    size_t size = rpc_request_size(request), n = request->calls_n;
    uint8_t *ours = malloc(size + 1); /* exactly: a byte too many is found by the sanitizer */
    Troupe__Rpc__Call *calls = calloc(n + 1, sizeof *calls),
                      **pointers = calloc(n + 1, sizeof *pointers);
    if (ours == NULL || calls == NULL || pointers == NULL)
        abort();
    Troupe__Rpc__Request message = TROUPE__RPC__REQUEST__INIT;
    message.timeout_ms = request->timeout_ms;
    message.client = request->client;
    message.hops = request->hops;
    message.cluster_uid = data_of(request->cluster_uid);
    message.acked = request->acked;
    message.n_calls = n;
    message.calls = pointers;
    for (size_t i = 0; i < n; i++)
        pointers[i] = to_call(&request->calls[i], &calls[i]);
    const char *differs = rpc_request_encode(request, ours) == size
                              ? check_packed(&message.base, ours, size)
                              : "the size that encode returns";
    free(pointers);
    free(calls);
    free(ours);
    return differs;
}

struct packable_result {
    Troupe__Rpc__Result result;
    Troupe__Rpc__Owner owner;
};

static Troupe__Rpc__Result *to_result(const struct rpc_result *from, struct packable_result *to)
{
    troupe__rpc__result__init(&to->result);
    to->result.status = from->status;
    to->result.payload = data_of(from->payload);
    to->result.message = data_of(from->message);
    to->result.version = from->version;
    to->result.ack = (Troupe__Rpc__Ack)from->ack;
    to->result.sequence_from = from->sequence_from;
    if (from->owner != NULL) {
        troupe__rpc__owner__init(&to->owner);
        to->owner.node = data_of(from->owner->node);
        to->owner.address = data_of(from->owner->address);
        to->owner.epoch = from->owner->epoch;
        to->owner.partitions = from->owner->partitions;
        to->owner.cluster_uid = data_of(from->owner->cluster_uid);
        to->result.owner = &to->owner;
    }
    return &to->result;
}

const char *rpc_oracle_encode_reply(const struct rpc_reply *reply)
{
    size_t size = rpc_reply_size(reply), n = reply->results_n;
    uint8_t *ours = malloc(size + 1);
    struct packable_result *results = calloc(n + 1, sizeof *results);
    Troupe__Rpc__Result **pointers = calloc(n + 1, sizeof *pointers);
    if (ours == NULL || results == NULL || pointers == NULL)
        abort();
    Troupe__Rpc__Reply message = TROUPE__RPC__REPLY__INIT;
    message.status = reply->status;
    message.message = data_of(reply->message);
    message.n_results = n;
    message.results = pointers;
    for (size_t i = 0; i < n; i++)
        pointers[i] = to_result(&reply->results[i], &results[i]);
    const char *differs = rpc_reply_encode(reply, ours) == size
                              ? check_packed(&message.base, ours, size)
                              : "the size that encode returns";
    free(pointers);
    free(results);
    free(ours);
    return differs;
}

/* ---- decoding ---- */

static const char *compare_call(const struct rpc_call *ours, const Troupe__Rpc__Call *theirs)
{
    if (!same(ours->kind, theirs->kind) || !same(ours->id, theirs->id))
        return "the name of a call";
    if (!same(ours->method, theirs->method) || !same(ours->payload, theirs->payload))
        return "the method or payload of a call";
    if (ours->sequence != theirs->sequence)
        return "the sequence of a call";
    if (!same_number(ours->ack, (int)theirs->ack) ||
        !same_number(ours->format, (int)theirs->format))
        return "the ack or format of a call";
    return NULL;
}

static const char *compare_request(const struct rpc_request *ours,
                                   const Troupe__Rpc__Request *theirs)
{
    uint32_t ms = theirs->timeout_ms == 0 ? RPC_TIMEOUT_MS_DEFAULT : theirs->timeout_ms;
    if (ours->timeout_ms != (ms > RPC_TIMEOUT_MS_MAX ? RPC_TIMEOUT_MS_MAX : ms))
        return "the timeout";
    if (ours->client != theirs->client)
        return "the client";
    if (ours->hops != (theirs->hops > 255 ? 255 : theirs->hops))
        return "the hops";
    if (!same(ours->cluster_uid, theirs->cluster_uid))
        return "the cluster's uid";
    if (ours->acked != theirs->acked)
        return "what is acked";
    if (ours->calls_n != theirs->n_calls)
        return "the number of calls";
    const char *differs = NULL;
    for (size_t i = 0; i < ours->calls_n && differs == NULL; i++)
        differs = compare_call(&ours->calls[i], theirs->calls[i]);
    return differs;
}

const char *rpc_oracle_request(struct troupe_bytes frame)
{
    struct arena arena;
    struct rpc_request ours;
    const char *why = NULL, *differs = NULL;
    arena_init(&arena, 0, ARENA_BYTES_MAX);
    int rc = rpc_request_decode(&arena, frame, &ours, &why);
    Troupe__Rpc__Request *theirs = troupe__rpc__request__unpack(NULL, frame.len, frame.data);
    if (rc != 0 && why == NULL)
        differs = "a reason is missing";
    else if ((rc == 0) != (theirs != NULL))
        differs = theirs != NULL && theirs->n_calls > RPC_CALLS_MAX ? NULL : "whether it is valid";
    else if (rc == 0)
        differs = compare_request(&ours, theirs);
    if (rc == 0 && differs == NULL)
        differs = rpc_oracle_encode_request(&ours);
    if (theirs != NULL)
        troupe__rpc__request__free_unpacked(theirs, NULL);
    arena_close(&arena);
    return differs;
}

static const char *compare_result(const struct rpc_result *ours, const Troupe__Rpc__Result *theirs)
{
    if (!same_number(ours->status, (int)theirs->status) ||
        !same_number(ours->ack, (int)theirs->ack) || ours->version != theirs->version)
        return "the status, ack or version of a result";
    if (!same(ours->payload, theirs->payload) || !same(ours->message, theirs->message))
        return "the payload or message of a result";
    if (ours->sequence_from != theirs->sequence_from)
        return "where sequences begin";
    if ((ours->owner == NULL) != (theirs->owner == NULL))
        return "whether there is an owner";
    return NULL;
}

static const char *compare_owner(const struct rpc_owner *ours, const Troupe__Rpc__Owner *theirs)
{
    if (!same(ours->node, theirs->node) || !same(ours->address, theirs->address) ||
        !same(ours->cluster_uid, theirs->cluster_uid) || ours->epoch != theirs->epoch ||
        ours->partitions != theirs->partitions)
        return "an owner";
    return NULL;
}

static size_t count_fields(struct troupe_bytes message, uint64_t tag)
{
    struct wire_field field;
    size_t n = 0;
    for (struct wire_reader r = wire_reader(message); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            abort(); /* the message has been decoded already */
        n += field.tag == tag;
    }
    return n;
}

/* Result i of the frame has its owner once. */
static bool has_one_owner(struct troupe_bytes frame, size_t i)
{
    struct wire_reader r = wire_reader(frame);
    struct wire_field field;
    for (size_t seen = 0; seen <= i; seen += field.tag == WIRE_TAG(1, WIRE_BYTES))
        if (!wire_read_field(&r, &field))
            abort();
    return count_fields(field.bytes, WIRE_TAG(6, WIRE_BYTES)) == 1;
}

static const char *compare_reply(struct troupe_bytes frame, const struct rpc_reply *ours,
                                 const Troupe__Rpc__Reply *theirs)
{
    if (!same_number(ours->status, (int)theirs->status) || !same(ours->message, theirs->message))
        return "the status or message of the reply";
    if (ours->results_n != theirs->n_results)
        return "the number of results";
    const char *differs = NULL;
    for (size_t i = 0; i < ours->results_n && differs == NULL; i++) {
        differs = compare_result(&ours->results[i], theirs->results[i]);
        if (differs == NULL && ours->results[i].owner != NULL && has_one_owner(frame, i))
            differs = compare_owner(ours->results[i].owner, theirs->results[i]->owner);
    }
    return differs;
}

const char *rpc_oracle_reply(struct troupe_bytes frame)
{
    struct arena arena;
    struct rpc_reply ours;
    const char *why = NULL, *differs = NULL;
    arena_init(&arena, 0, ARENA_BYTES_MAX);
    int rc = rpc_reply_decode(&arena, frame, &ours, &why);
    Troupe__Rpc__Reply *theirs = troupe__rpc__reply__unpack(NULL, frame.len, frame.data);
    if (rc != 0 && why == NULL)
        differs = "a reason is missing";
    else if ((rc == 0) != (theirs != NULL))
        differs =
            theirs != NULL && theirs->n_results > RPC_CALLS_MAX ? NULL : "whether it is valid";
    else if (rc == 0)
        differs = compare_reply(frame, &ours, theirs);
    if (rc == 0 && differs == NULL)
        differs = rpc_oracle_encode_reply(&ours);
    if (theirs != NULL)
        troupe__rpc__reply__free_unpacked(theirs, NULL);
    arena_close(&arena);
    return differs;
}
