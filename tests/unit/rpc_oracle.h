/* What protobuf-c makes of a request or a reply, held against our codec. */
#ifndef TROUPE_TESTS_RPC_ORACLE_H
#define TROUPE_TESTS_RPC_ORACLE_H

#include "proto/rpc.h"

/* Decodes the frame both ways: both must refuse it, or both read the same out of it; and what was
 * read must be encoded to the bytes that protobuf-c packs. NULL, or what differs. */
const char *rpc_oracle_request(struct troupe_bytes frame);
const char *rpc_oracle_reply(struct troupe_bytes frame);

/* The encoding alone. NULL, or what differs. */
const char *rpc_oracle_encode_request(const struct rpc_request *request);
const char *rpc_oracle_encode_reply(const struct rpc_reply *reply);

#endif
