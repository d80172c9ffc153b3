/* Calls whose payloads are JSON: to protobuf before they go in, and back when they come out. By the
 * descriptors of the kinds' methods, outside of the core's lock. */
#ifndef TROUPE_SHELL_JSON_CALLS_H
#define TROUPE_SHELL_JSON_CALLS_H

#include "node/runtime/runtime.h"

/* rpc: the same that the request was made for. Calls that cannot be translated are refused. */
void json_calls_in(const struct runtime *rt, struct runtime_request *request,
                   struct rpc_request *rpc);
void json_calls_out(const struct runtime *rt, struct runtime_request *request);

#endif
