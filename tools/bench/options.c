/* See options.h. */
#include "tools/bench/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/bench.h"

const struct benchmark BENCHMARKS[BENCHMARKS_N] = {
    {"single", bench_single, "one call per message, against a bare nng echo"},
    {"batch", bench_batch, "64 calls per message, against an echo of messages as large"},
    {"memory", bench_memory, "bytes of an idle resident entity"},
    {"durable", bench_durable, "committed calls, against the bare database"},
    {"cold", bench_cold, "real places as venues, into an empty node"},
    {"join", bench_join, "a third node joins two under load"},
    {"warm", bench_warm, "after a node's death: what was in use is loaded in the background"},
    {"runtime", bench_runtime, "the runtime alone, in this process"},
    {"forward", bench_forward, "calls through another node, against calls to the owner"},
    {"ring", bench_ring, "building the ring of 100 and 1,000 members"},
};

static void print_help(void)
{
    printf(
        "Usage: troupe-bench [OPTION…] [BENCHMARK…]\n\n"
        "Measures a node, next to the limits that a bare nng echo and a bare database set in the "
        "same run.\n\n"
        "Benchmarks (default: all of them):\n");
    for (size_t i = 0; i < BENCHMARKS_N; i++)
        printf("  %-8s  %s\n", BENCHMARKS[i].name, BENCHMARKS[i].what);
    printf("\nOptions:\n"
           "  --rounds N       take every figure N times, 1 to %d (default: 5)\n"
           "  --seconds S      length of one measurement (default: 2)\n"
           "  --entities N     entities that calls are spread over (default: 100000)\n"
           "  --resident N     entities of `memory`, `join` and `warm` (default: 1000000)\n"
           "  --places FILE    TSV of places for `cold`, .gz or not (default: gigbook's sample)\n"
           "  --store URL      the node's store (default: a new SQLite file; `durable` also takes\n"
           "                   a private Postgres). It is left with the benchmark's data in it\n"
           "  --dir DIR        where temporary data go (default: $TMPDIR or /tmp)\n"
           "  --node FILE      the node to measure (default: the troupe-node beside this program)\n"
           "  --kinds-dir DIR  where counter.so and gigbook.so are (default: ../lib from here)\n"
           "  --json           print the result as JSON\n"
           "  --anyway         run although this build is not fit for measuring\n"
           "  --help           this text\n\n"
           "Exit codes: 0 measured (whether targets are reached or not), 1 could not measure, 2 "
           "wrong usage.\n",
           SERIES_MAX);
}

static enum options_result wrong(const char *format, const char *what)
{
    fprintf(stderr, "troupe-bench: ");
    fprintf(stderr, format, what);
    fprintf(stderr, "; see --help\n");
    return OPTIONS_WRONG;
}

static bool parse_count(const char *text, uint32_t max, uint32_t *value)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || n == 0 || n > max)
        return false;
    *value = (uint32_t)n;
    return true;
}

static bool parse_seconds(const char *text, double *value)
{
    char *end;
    double s = strtod(text, &end);
    if (end == text || *end != '\0' || !(s >= 0.1 && s <= 3600))
        return false;
    *value = s;
    return true;
}

/* What lies beside this program. */
static void fill_defaults(struct options *o)
{
    char self[PATH_MAX - 32] = "";
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = len > 0 ? strrchr(self, '/') : NULL;
    if (slash != NULL)
        *slash = '\0';
    const char *tmp = getenv("TMPDIR");
    *o = (struct options){
        .places = BENCH_PLACES,
        .dir = tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp",
        .rounds = 5,
        .seconds = 2,
        .entities = 100000,
        .resident = 1000000,
    };
    snprintf(o->node, sizeof o->node, "%s/troupe-node", self);
    snprintf(o->kinds_dir, sizeof o->kinds_dir, "%s/../lib", self);
}

static bool copy_path(char to[PATH_MAX], const char *from)
{
    return (size_t)snprintf(to, PATH_MAX, "%s", from) < PATH_MAX;
}

static bool take_option(struct options *o, int option, const char *value)
{
    switch (option) {
    case 'r':
        return parse_count(value, SERIES_MAX, &o->rounds);
    case 's':
        return parse_seconds(value, &o->seconds);
    case 'e':
        return parse_count(value, 10000000, &o->entities);
    case 'm':
        return parse_count(value, 100000000, &o->resident);
    case 'p':
        o->places = value;
        return true;
    case 'u':
        o->store = value;
        return true;
    case 'd':
        o->dir = value;
        return true;
    case 'n':
        return copy_path(o->node, value);
    case 'k':
        return copy_path(o->kinds_dir, value);
    case 'j':
        return o->json = true;
    default:
        return o->anyway = true;
    }
}

static enum options_result select_benchmarks(struct options *o, char **names)
{
    for (size_t i = 0; i < BENCHMARKS_N && *names == NULL; i++)
        o->selected[i] = true;
    for (; *names != NULL; names++) {
        bool known = false;
        for (size_t i = 0; i < BENCHMARKS_N; i++) {
            if (strcmp(*names, BENCHMARKS[i].name) == 0)
                known = o->selected[i] = true;
        }
        if (!known)
            return wrong("there is no benchmark '%s'", *names);
    }
    return OPTIONS_RUN;
}

enum options_result options_read(struct options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"rounds", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},
        {"entities", required_argument, NULL, 'e'},
        {"resident", required_argument, NULL, 'm'},
        {"places", required_argument, NULL, 'p'},
        {"store", required_argument, NULL, 'u'},
        {"dir", required_argument, NULL, 'd'},
        {"node", required_argument, NULL, 'n'},
        {"kinds-dir", required_argument, NULL, 'k'},
        {"json", no_argument, NULL, 'j'},
        {"anyway", no_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    fill_defaults(o);
    int c, at = 0;
    while ((c = getopt_long(argc, argv, "h", options, &at)) != -1) {
        if (c == '?')
            return wrong("%s", "wrong option");
        if (c == 'h') {
            print_help();
            return OPTIONS_DONE;
        }
        if (!take_option(o, c, optarg))
            return wrong("--%s has a value that is out of its range", options[at].name);
    }
    return select_benchmarks(o, argv + optind);
}
