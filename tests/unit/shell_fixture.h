/* The node's moving parts in one process: a loop's thread, a memory store, the runtime with one
 * kind, the core, the listener on a free port. And clients on plain sockets.
 *
 * The kind is "blob": echo answers with its payload; make answers with as many bytes as its payload
 * says in decimal. */
#ifndef TROUPE_TESTS_SHELL_FIXTURE_H
#define TROUPE_TESTS_SHELL_FIXTURE_H

#include "node/shell/core.h"
#include "node/shell/rpc.h"

struct shell_fixture {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_timer_t poll;
    struct store *store;
    struct runtime *rt;
    struct core core;
    struct rpc_server *rpc;
    char address[RPC_ADDRESS_BYTES];
    bool closed_cleanly;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum runtime_phase phase; /* under lock */
};

enum { SHELL_WAIT_MS = 20000 };

/* Serves when it returns. Zeros in the options are replaced by the node's defaults, address by a
 * free port of the loopback interface. */
void shell_start(struct shell_fixture *f, struct rpc_options options);
/* Stops the runtime, closes everything; fails the test when something does not close. */
void shell_stop(struct shell_fixture *f);

/* ---- clients ---- */

struct shell_frame {
    uint8_t route[64];
    size_t route_bytes;
    struct rpc_reply reply;
    struct arena arena;
};

/* Connected, without a handshake. */
int shell_connect(const struct shell_fixture *f);
/* With it. */
int shell_dial(const struct shell_fixture *f);
/* Whole or not at all. */
void shell_write(int fd, const void *bytes, size_t len);
/* A frame of one call into out (of at least size bytes); its length. */
size_t shell_frame(uint8_t *out, size_t size, uint32_t id, const char *method, const void *payload,
                   size_t len);
void shell_send(int fd, uint32_t id, const char *method, const void *payload, size_t len);
/* The next frame, decoded; false when the connection is closed before. Fails the test when nothing
 * comes in time. */
bool shell_recv(int fd, struct shell_frame *frame);
void shell_frame_free(struct shell_frame *frame);
/* The request id of a reply that has only that. */
uint32_t shell_frame_id(const struct shell_frame *frame);
/* Whether the peer closes it in time; what comes before is dropped. */
bool shell_hangs_up(int fd);

#endif
