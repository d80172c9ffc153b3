/* troupe-bench: measures a real node, and next to every figure, in the same run on the same
 * machine, the limit that something simpler sets: a bare nng echo, a bare database. A shared or
 * throttled machine moves both, so their ratio says more than either; each is taken several times
 * in turns (A, B, A, B, …), and medians are what counts. */
#ifndef TROUPE_BENCH_BENCH_H
#define TROUPE_BENCH_BENCH_H

#include <stdbool.h>

#include "tools/bench/options.h"
#include "tools/bench/report.h"
#include "tools/bench/sandbox.h"

enum { BENCH_ERRMSG_BYTES = 1024 };

struct bench {
    const struct options *options;
    struct sandbox sandbox;
    struct report report;
    char cluster[32]; /* that nodes belong to which are started; empty: "bench" */
    bool no_ring;     /* clients of nodes that are started go by that node alone */
    char errmsg[BENCH_ERRMSG_BYTES];
};

/* Sets errmsg; returns -1, so that one can write `return bench_fail(…)`. */
int bench_fail(struct bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, plus the last lines of the log of what was started and failed. */
int bench_fail_with_log(struct bench *b, const char *log, const char *what);
/* A line on stderr about what is being done. */
void bench_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "[3/5]" for bench_say: which round of how many. Static storage. */
const char *bench_round(const struct bench *b, uint32_t round);

/* The benchmarks, each in a file of its name. 0, or -1 with errmsg. */
int bench_single(struct bench *b);
int bench_batch(struct bench *b);
int bench_memory(struct bench *b);
int bench_durable(struct bench *b);
int bench_cold(struct bench *b);
int bench_join(struct bench *b);
int bench_warm(struct bench *b);
int bench_runtime(struct bench *b);
int bench_forward(struct bench *b);
int bench_ring(struct bench *b);

/* What troupe-bench does when it is started by itself: as the echo server, and as the process that
 * has nothing but a runtime in it. Both return the exit code. */
int echo_main(const char *url);
int memory_main(const char *entities);

#endif
