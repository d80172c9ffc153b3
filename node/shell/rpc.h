/* The listener for clients: nng's REP with one context per request under way. As many contexts as
 * needed up to a limit, so that calls that wait for a commit do not keep others out; beyond it
 * requests wait in their connections.
 *
 * Happy path: a message comes in on one of nng's threads, is decoded there, pushed into the core,
 * stepped (as a rule by the same thread), encoded, sent. A message that is no request is answered
 * with INVALID_ARGUMENT; one over the frame limit costs the peer its connection. */
#ifndef TROUPE_SHELL_RPC_H
#define TROUPE_SHELL_RPC_H

#include "node/shell/core.h"

enum { RPC_ERRMSG_BYTES = 512, RPC_ADDRESS_BYTES = 300 };

struct rpc_server;

/* address: HOST:PORT or an nng URL. bound gets HOST:PORT with the port in use. Errors: TROUPE_EBUSY
 * (address in use), TROUPE_EINVAL, TROUPE_EIO, TROUPE_ENOMEM; errmsg says what to do. core must
 * have been initialised. */
int rpc_listen(struct rpc_server **server, struct core *core, const char *address,
               uint32_t inflight_max, char bound[RPC_ADDRESS_BYTES], char errmsg[RPC_ERRMSG_BYTES]);
/* Begins to take requests. Until then they wait in their connections. */
void rpc_start(struct rpc_server *server);
/* From the core: a request is finished. Any thread. */
void rpc_reply(void *server, struct runtime_request *request);
/* Replies handed to the network that are not out yet. */
size_t rpc_sending(struct rpc_server *server);
/* Waits for the callbacks to return, then frees. No request may be with the core. */
void rpc_close(struct rpc_server *server);

#endif
