/* A load of counters on a cluster, with the history of each: calls with request ids through the
 * client library, from several threads that each begin at another node. A counter belongs to one
 * thread, which has at most one call to it under way, so what the values must be is known:
 *
 * - each acknowledged increment's value is above the one before, or two owners have served;
 * - at the end the value is the number of acknowledged increments, or up to as much more as there
 *   were calls without an answer. */
#ifndef TROUPE_TESTS_CLUSTER_LOAD_H
#define TROUPE_TESTS_CLUSTER_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "cluster_fixture.h"

enum {
    LOAD_LANES = 3,
    LOAD_CALLS = 8,      /* of a batch */
    LOAD_PACE_US = 5000, /* between an answer and the next batch: a load, not a benchmark */
    LOAD_TEXT_BYTES = 320,
};

struct load_counter {
    uint64_t acked, unknown, last;
};

struct load;

struct load_lane {
    struct load *load;
    pthread_t thread;
    struct troupe_client *client;
    struct troupe_batch *batch;
    size_t first, n, next; /* its counters */
};

struct load {
    const char *prefix; /* of the counters' ids */
    bool durable;
    uint32_t timeout_ms;
    struct load_counter *counters;
    size_t counters_n;
    struct load_lane lanes[LOAD_LANES];
    bool runs;
    atomic_bool stop;
    atomic_ulong acks, failures, disorders;
    atomic_ulong unknowns;   /* of the failures: a node that lost its lease could not tell */
    atomic_ulong refusals;   /* of the failures: UNAVAILABLE */
    atomic_ulong longest_ms; /* that a batch has taken */
    pthread_mutex_t lock;
    char first_failure[LOAD_TEXT_BYTES], first_disorder[LOAD_TEXT_BYTES];
};

/* Makes the counters: each gets one increment. */
void load_open(struct load *l, struct cluster *c, const char *prefix, size_t counters, bool durable,
               uint32_t timeout_ms);
void load_start(struct load *l);
/* Waits until so many more increments have been acknowledged than now; fails the test when that
 * does not come. Drains the cluster's logs. */
void load_wait_acks(struct load *l, struct cluster *c, unsigned long more, int timeout_ms);
/* After the answers of what is under way. */
void load_stop(struct load *l);
void load_assert_no_failure(const struct load *l);
/* The same, but for calls to a node that went on after its lease had ended: they may have the
 * status UNKNOWN. */
void load_assert_only_unknown(const struct load *l);
/* The same, but for calls while the store was away: they may have the status UNAVAILABLE. */
void load_assert_only_unavailable(const struct load *l);
/* Reads every counter, asking each node for a part, and holds it against the history. */
void load_verify(struct load *l);
/* Stops it, if need be, and frees. */
void load_close(struct load *l);

/* The increments' value out of a reply of the counter's. */
bool load_read_value(struct troupe_bytes reply, uint64_t *value);

#endif
