/* The command line. */
#ifndef TROUPE_BENCH_OPTIONS_H
#define TROUPE_BENCH_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct bench;

struct benchmark {
    const char *name;
    int (*run)(struct bench *b);
    const char *what;
};

enum { BENCHMARKS_N = 10 };
extern const struct benchmark BENCHMARKS[BENCHMARKS_N];

struct options {
    char node[PATH_MAX];      /* troupe-node */
    char kinds_dir[PATH_MAX]; /* where counter.so and gigbook.so are */
    const char *places;       /* TSV, perhaps gzipped */
    const char *dir;          /* where temporary data go */
    const char *store;        /* NULL: files and servers of our own */
    uint32_t rounds;
    double seconds;    /* of one window of measuring */
    uint32_t entities; /* that calls are spread over */
    uint32_t resident; /* of the memory benchmark */
    bool json, anyway;
    bool selected[BENCHMARKS_N];
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG };

/* OPTIONS_DONE: help has been printed. OPTIONS_WRONG: stderr says what. */
enum options_result options_read(struct options *options, int argc, char **argv);

#endif
