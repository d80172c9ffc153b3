/* Real nodes for integration tests, and calls to them by nng's own REQ socket and the codec,
 * without the client library. */
#ifndef TROUPE_TESTS_NODE_PROC_H
#define TROUPE_TESTS_NODE_PROC_H

#include <nng/nng.h>

#include "proto/rpc.h"
#include "tests/integration/proc.h"

enum { NODE_ADDRESS_BYTES = 64, NODE_REPLY_BYTES = 64 << 10 };

/* The program under test, and the plug-ins built with it. */
extern const char NODE_PROGRAM[];
extern const char NODE_GIGBOOK[];
extern const char NODE_COUNTER[];

/* troupe-node in dir, on a free port, with JSON lines as its log; then the further arguments, up to
 * NULL. Does not wait. */
void node_start(struct proc *p, const char *dir, const char *const *args);
/* The same with additions to the environment. */
void node_start_env(struct proc *p, const char *dir, const char *const *args,
                    const char *const *env);
/* Waits for the line that says it serves, and takes the address out of it. Fails the test when it
 * does not come. */
void node_wait_ready(struct proc *p, char address[NODE_ADDRESS_BYTES]);
/* SIGTERM, and 0 within the time, else the test fails. Closes p. */
void node_stop(struct proc *p);

/* ---- calls ---- */

/* Fails the test when nobody answers there. */
nng_socket node_dial(const char *address);
/* One call with a JSON payload ("" = none) and no request id. text gets the reply's payload, or the
 * message with a status other than OK. A reply to the request as a whole counts as the call's. No
 * reply within 10 s: -1. */
int node_call(nng_socket socket, const char *entity, const char *method, const char *json,
              char text[NODE_REPLY_BYTES]);
/* The same on a connection of its own. */
int node_call_once(const char *address, const char *entity, const char *method, const char *json,
                   char text[NODE_REPLY_BYTES]);
/* Any bytes as one message; the decoded reply's status as a whole and message, or -1. */
int node_send_raw(nng_socket socket, const void *bytes, size_t len, char text[NODE_REPLY_BYTES]);

/* ---- below nng ---- */

/* A plain TCP connection that has done the SP handshake as a REQ. */
int node_connect_plain(const char *address);
/* Whether the peer closes it in time. Drops what comes before. */
bool node_wait_hangup(int fd, int timeout_ms);

#endif
