/* Calls at a given rate, whether or not the answers keep up (an open loop), one call per message,
 * on random counters. A call's latency counts from the moment at which it was to be sent, so that
 * one that had to wait for its turn is not made to look fast (Tene's "coordinated omission"). */
#ifndef TROUPE_BENCH_PACE_H
#define TROUPE_BENCH_PACE_H

#include "tools/bench/load.h"

enum { PACE_CLIENTS_MAX = 8 };

struct pace_options {
    struct troupe_client *clients[PACE_CLIENTS_MAX]; /* in turns */
    unsigned clients_n;
    uint32_t calls_per_s, entities;
    uint32_t timeout_ms;
    struct latencies *latencies; /* to begin with */
};

struct pace;
/* NULL with errmsg in b. */
struct pace *pace_start(struct bench *b, const struct pace_options *options);
/* From now on latencies are noted there. */
void pace_note(struct pace *p, struct latencies *latencies);
/* Calls that were not answered with OK, so far; first gets why, of the first one. */
uint64_t pace_failed(struct pace *p, char first[256]);
/* Waits for the calls under way, and frees. */
void pace_stop(struct pace *p);

#endif
