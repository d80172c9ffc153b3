/* Peers on a loop of their own, requests that know how often they were done, and a fake node that
 * remembers which of them it has seen. Every request bears a number, as its entity's id. */
#ifndef TROUPE_TESTS_PEERS_FIXTURE_H
#define TROUPE_TESTS_PEERS_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fake_node.h"
#include "node/shell/peers.h"

enum { PEERS_WAIT_MS = 20000, PEERS_ASKS_MAX = 20000, PEERS_NO_DEADLINE_MS = 600000 };

struct ask {
    struct runtime_peer_request request;
    struct arena arena;
    struct rpc_call call;
    char id[16];
    unsigned times, place; /* how often it was done, and as which of all */
};

struct peers_fixture {
    struct peers *peers;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t closer;
    bool closed;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    unsigned done_n;       /* under mu */
    bool done_within_send; /* likewise */
};

void peers_start(struct peers_fixture *f, struct peers_options options);
/* Closes and waits for it; fails the test when a done came from within peers_send. */
void peers_stop(struct peers_fixture *f);

struct ask *ask_new(unsigned number, const char *address, uint32_t deadline_ms, size_t payload);
void ask_free(struct ask *ask);
/* As one list. */
void ask_send(struct peers_fixture *f, struct ask **asks, size_t n);
/* Waits until so many have been done in all. */
void ask_wait(struct peers_fixture *f, unsigned done_n);
/* One request from beginning to end; its error. */
int ask_once(struct peers_fixture *f, unsigned number, const char *address, uint32_t deadline_ms);
/* The reply is the one for this request. */
bool ask_is_answered(const struct ask *ask);

/* ---- the other side ---- */

struct seen {
    enum fake_action (*decide)(void *data, unsigned number); /* NULL: always reply */
    void *data;
    atomic_bool deaf; /* to pings */
    atomic_uint n, pings;
    unsigned order[PEERS_ASKS_MAX]; /* numbers, as they came */
    atomic_uchar times[PEERS_ASKS_MAX];
};

/* A fake_handler for a struct seen. */
enum fake_action seen_handle(void *data, const struct rpc_request *request,
                             struct rpc_reply *reply);
/* Waits until the node has seen so many. */
void seen_wait(struct seen *seen, unsigned n);
enum fake_action seen_silence(void *data, unsigned number);

/* Ends the test when it has returned false for PEERS_WAIT_MS. */
void wait_until(bool (*is_so)(void *data), void *data);

#endif
