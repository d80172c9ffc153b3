/* How a load sends: on several lanes at once. A lane has one batch under way and one that is being
 * filled, and all calls of one entity take the same lane: so an entity gets its calls in the order
 * of the file, while different entities do not wait for each other. Memory is bounded by lanes ×
 * two batches, whatever the size of the file.
 *
 * One thread fills and waits; answers come on the client's threads. */
#ifndef TROUPE_CLI_LANES_H
#define TROUPE_CLI_LANES_H

#include <pthread.h>

#include "tools/cli/load_line.h"
#include "tools/cli/load_report.h"

enum {
    LANES_MAX = 1024,
    LANE_BATCH_BYTES = 1 << 20, /* a batch leaves when its payloads come to that */
    LANE_WAIT_MS = 100,         /* between two calls of `waiting` */
};

struct lane;

struct lanes {
    /* Set by the caller. */
    struct troupe_client *client;
    uint32_t n, batch_calls, timeout_ms;
    struct load_report *report;
    void (*waiting)(void *data); /* called now and then while an answer is awaited */
    void *waiting_data;

    struct lane *items;
    pthread_mutex_t mu;
    pthread_cond_t landed;
};

/* 0 or TROUPE_ENOMEM; lanes_close after either. */
int lanes_open(struct lanes *lanes);
/* After the client has been closed, so that no answer is under way. */
void lanes_close(struct lanes *lanes);

/* Adds the call of a line to its lane, and sends the batch when it is full: waits then, if the one
 * before has no answer yet. Errors as of troupe_batch_add and troupe_batch_send. */
int lanes_add(struct lanes *lanes, const struct load_line *line, uint64_t number);
/* Sends what has been filled so far. */
int lanes_flush(struct lanes *lanes);
/* Waits until everything sent has an answer. */
void lanes_wait(struct lanes *lanes);

#endif
