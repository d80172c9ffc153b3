/* See json_calls.h. */
#include "node/shell/json_calls.h"

#include "base/invariant.h"
#include "proto/json.h"
#include "troupe/error.h"

static void refuse(struct runtime_request *request, size_t i, const char *format, const char *what)
{
    const char *text = arena_printf(request->arena, format, what);
    runtime_request_refuse(request, i, TROUPE_INVALID_ARGUMENT,
                           text != NULL ? text : "the payload cannot be read");
}

void json_calls_in(const struct runtime *rt, struct runtime_request *request,
                   struct rpc_request *rpc)
{
    for (size_t i = 0; i < rpc->calls_n; i++) {
        struct rpc_call *call = &rpc->calls[i];
        const ProtobufCMessageDescriptor *in, *out;
        char why[JSON_WHY_BYTES];
        if (call->format != RPC_JSON || !runtime_method(rt, call->kind, call->method, &in, &out))
            continue; /* what does not exist is refused by the runtime */
        if (in == NULL) {
            if (call->payload.len > 0 && !troupe_bytes_equal(call->payload, troupe_bytes_of("{}")))
                refuse(request, i, "%s", "the method takes no JSON payload: send none");
            call->payload = troupe_bytes(NULL, 0);
            continue;
        }
        int rc = json_to_message(request->arena, in, call->payload, &call->payload, why);
        if (rc != 0)
            refuse(request, i, "payload: %s", why);
    }
}

void json_calls_out(const struct runtime *rt, struct runtime_request *request)
{
    const struct rpc_request *rpc = request->rpc;
    const struct rpc_reply *reply = &request->reply; /* refused as a whole: without results */
    INVARIANT(reply->results_n == rpc->calls_n || reply->results_n == 0);
    for (size_t i = 0; i < reply->results_n; i++) {
        const struct rpc_call *call = &rpc->calls[i];
        struct rpc_result *result = &request->reply.results[i];
        const ProtobufCMessageDescriptor *in, *out;
        char why[JSON_WHY_BYTES];
        if (call->format != RPC_JSON || result->status != TROUPE_OK ||
            !runtime_method(rt, call->kind, call->method, &in, &out) || out == NULL)
            continue;
        if (json_from_message(request->arena, out, result->payload, true, &result->payload, why) ==
            0)
            continue;
        const char *text = arena_printf(
            request->arena, "executed, but the reply is no valid %s: %s", out->name, why);
        result->status = TROUPE_INTERNAL;
        result->payload = troupe_bytes(NULL, 0);
        result->message = troupe_bytes_of(text);
    }
}
