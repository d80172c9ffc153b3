/* A runtime in this process and nothing else: no socket, no database. The store's part is played by
 * answers that come at once and keep nothing: everything is granted, nothing was ever saved. */
#ifndef TROUPE_BENCH_HOST_H
#define TROUPE_BENCH_HOST_H

#include <stdbool.h>

#include "node/runtime/runtime.h"

struct bench;

struct host {
    struct runtime *rt;
    struct runtime_time now;
    bool real_time; /* now is read from the clock; otherwise it stands until host_wait */
    uint64_t renew_seq;
    char kinds_open[STORE_KINDS_BYTES_MAX + 1];
    uint64_t answered; /* calls, of requests that are finished */
    enum runtime_phase phase;
};

/* Opens a runtime with the kinds of the counter and brings it to where it serves. */
int host_open(struct bench *b, struct host *h, bool real_time);
void host_close(struct host *h);
/* Steps a request in. */
void host_push(struct host *h, struct runtime_request *request);
/* Collects and answers the store's requests, until there are none left. Finished requests are
 * counted; they may be used again. */
void host_collect(struct host *h);
/* Lets time pass until everything is persisted. Only without real_time. */
int host_wait_persisted(struct bench *b, struct host *h);
/* Calls `set` with SET_64 on counter/0 … counter/entities-1; with request ids if client is not 0.
 */
int host_populate(struct bench *b, struct host *h, uint32_t entities, uint64_t client);

#endif
