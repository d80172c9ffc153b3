/* A node for the client's tests: real sockets, the real codec, and a handler that does what the
 * test wants, faults included. Written on plain sockets, a thread per connection: nng 1.5.2 can
 * hang when a connection is closed under load, which is just what these tests do. */
#ifndef TROUPE_TESTS_FAKE_NODE_H
#define TROUPE_TESTS_FAKE_NODE_H

#include <stdbool.h>

#include "proto/rpc.h"

enum fake_action {
    FAKE_REPLY,   /* send the reply that the handler has filled in */
    FAKE_SILENCE, /* never answer this request */
    FAKE_HANG_UP, /* close the connection it came on instead of answering */
    FAKE_GARBAGE, /* answer with bytes that are no reply */
    FAKE_SHORT,   /* answer with one result too few */
};

/* One request; called by one thread at a time. reply->results has a zeroed (OK) place for each
 * call, and what it points to must live until the next call. */
typedef enum fake_action (*fake_handler)(void *data, const struct rpc_request *request,
                                         struct rpc_reply *reply);

struct fake_node;

/* Listens on a port of the loopback interface (0: any), or on a unix socket when path is not NULL.
 * Fails the test if it cannot. */
struct fake_node *fake_node_start(int port, const char *path, fake_handler handler, void *data);
/* "127.0.0.1:port" or "ipc://path". */
const char *fake_node_address(const struct fake_node *node);
/* Closes every connection; new ones are accepted. */
void fake_node_hang_up(struct fake_node *node);
/* Connections that have been accepted so far. */
unsigned fake_node_connections(struct fake_node *node);
/* Also hangs up. */
void fake_node_stop(struct fake_node *node);

/* A listening socket on a free port of the loopback interface, and its number. */
int fake_listen(int port, int *bound_port);
/* A port of the loopback interface that nobody listens on just now. */
int fake_free_port(void);

/* True on a thread that is the fake node's. */
extern _Thread_local bool fake_node_thread;

#endif
