/* troupe-sim: stories of whole clusters in virtual time, one per seed, for as long as one likes. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "os/descriptors.h"
#include "tests/sim/cluster/world.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, MINUTES_MAX = 100000, OPTION_GROUP = 256, ALWAYS_N = 10 };

struct request {
    uint64_t from, to;
    struct world_options options;
    bool quiet;
};

static void help(FILE *out)
{
    fputs("usage: troupe-sim [OPTION]...\n"
          "Tells stories of whole clusters in virtual time, with faults, and checks what was\n"
          "promised. One seed is one story. Exit code 1: a promise was broken.\n\n"
          "  --seeds A..B     these stories; A alone: one (default 1..20)\n"
          "  --nodes N        2 to 15 (default 5)\n"
          "  --minutes M      of faults, in each (default 1)\n"
          "  --store-faults   on (default) or off: outages, slowness, lost answers, late effects\n"
          "  --store-failovers  on (default) or off: to a standby that lacks the last commits, in\n"
          "                   some of the stories\n",
          out);
    for (int g = 0; g < GROUPS; g++)
        fprintf(out, "  --%-15s on (default) or off: %s, in most\n", group_infos[g].name,
                group_infos[g].what);
    fputs("  --mutant NAME    without a safety check, see below\n"
          "  --trace          the end of each story's trace, not only of one that fails\n"
          "  --trace-all      everything that happens, on stderr\n"
          "  --quiet          a line for failures only\n"
          "  --help           this text\n\n"
          "The last line has a hash of all events: the same seeds give the same one.\n\n"
          "mutants:",
          out);
    for (int m = 1; m < MUTANTS; m++)
        fprintf(out, " %s", mutant_names[m]);
    fputc('\n', out);
}

static bool bad(const char *option, const char *value, const char *wanted)
{
    fprintf(stderr, "troupe-sim: %s: '%s' is not %s; see --help\n", option, value, wanted);
    return false;
}

static bool read_number(const char *text, uint64_t min, uint64_t max, uint64_t *out,
                        const char **rest)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *out = strtoull(text, &end, 10);
    *rest = end;
    return *out >= min && *out <= max;
}

static bool read_seeds(const char *text, struct request *r)
{
    const char *rest;
    if (!read_number(text, 0, UINT32_MAX, &r->from, &rest))
        return false;
    r->to = r->from;
    if (strncmp(rest, "..", 2) == 0 && !read_number(rest + 2, r->from, UINT64_MAX, &r->to, &rest))
        return false;
    return *rest == '\0';
}

static bool read_mutant(const char *text, enum mutant *mutant)
{
    for (int m = 0; m < MUTANTS; m++) {
        if (strcmp(text, mutant_names[m]) == 0) {
            *mutant = (enum mutant)m;
            return true;
        }
    }
    return false;
}

static bool read_group(unsigned group, struct request *r)
{
    uint64_t bit = GROUP_BIT(group);
    bool off = strcmp(optarg, "off") == 0;
    r->options.groups_off = off ? r->options.groups_off | bit : r->options.groups_off & ~bit;
    return off || strcmp(optarg, "on") == 0 || bad(group_infos[group].name, optarg, "on or off");
}

static bool read_option(int option, struct request *r)
{
    if (option >= OPTION_GROUP)
        return read_group((unsigned)(option - OPTION_GROUP), r);
    const char *rest = "";
    uint64_t number = 0;
    switch (option) {
    case 's':
        return read_seeds(optarg, r) || bad("--seeds", optarg, "a seed, or two with .. between");
    case 'n':
        if (!read_number(optarg, 2, NODES_MAX - 1, &number, &rest) || *rest != '\0')
            return bad("--nodes", optarg, "a number from 2 to 15");
        r->options.nodes = (uint32_t)number;
        return true;
    case 'm':
        if (!read_number(optarg, 1, MINUTES_MAX, &number, &rest) || *rest != '\0')
            return bad("--minutes", optarg, "a number from 1 to 100000");
        r->options.minutes = (uint32_t)number;
        return true;
    case 'f':
        r->options.store_faults = strcmp(optarg, "on") == 0;
        return r->options.store_faults || strcmp(optarg, "off") == 0 ||
               bad("--store-faults", optarg, "on or off");
    case 'o':
        r->options.store_failovers = strcmp(optarg, "on") == 0;
        return r->options.store_failovers || strcmp(optarg, "off") == 0 ||
               bad("--store-failovers", optarg, "on or off");
    case 'x':
        return read_mutant(optarg, &r->options.mutant) || bad("--mutant", optarg, "one of them");
    case 't':
        r->options.trace = true;
        return true;
    case 'a':
        r->options.trace_all = true;
        return true;
    case 'q':
        r->quiet = true;
        return true;
    default:
        return false;
    }
}

static void print_story(const struct world *w, uint64_t seed)
{
    const struct world_stats *s = &w->stats;
    printf("seed %-5" PRIu64 " %s trace %016" PRIx64 ": %" PRIu64 " ops, %" PRIu64 " acks (%" PRIu64
           " durable), %" PRIu64 " booked, %" PRIu64 " paid, %" PRIu64 " batches, %" PRIu64
           " calls to slates, %" PRIu64 " of them wiped and %" PRIu64 " spoilt, %" PRIu64
           " unknown, %" PRIu64 " refused; %" PRIu64 " keys, %" PRIu64 " losses, %" PRIu64
           " undecided; %" PRIu64 " starts, %" PRIu64 " crashes, %" PRIu64 " pauses, %" PRIu64
           " evictions, %" PRIu64 " claims, %" PRIu64 " transfers; %" PRIu64 " failovers, %" PRIu64
           " stray commits, %" PRIu64 " rows went back, %" PRIu64 " of them guarded, %" PRIu64
           " loaded so, %" PRIu64 " answers in overlaps; calm after %" PRIu64 " ms\n",
           seed, w->failed ? "FAILED" : "well", w->hash, s->ops, s->acks, s->durable, s->booked,
           s->payments, s->batches, s->scribbled, s->wiped, s->spoilt, s->unknown, s->refused,
           s->keys, s->losses, s->undecided, s->starts, s->crashes, s->pauses, s->evictions,
           s->claims, s->transfers, s->failovers, s->strays, s->behind, s->guarded, s->commits_lost,
           s->overlaps, s->calm_ms);
}

/* Tells it once more, with its trace. */
static void print_failure(const struct request *r, uint64_t seed)
{
    static struct world w;
    struct world_options options = r->options;
    options.seed = seed;
    options.trace = true;
    options.trace_all = false;
    story_tell(&w, &options);
    world_print_failure(&w, stdout);
    world_close(&w);
    fflush(stdout);
}

static int run(const struct request *r)
{
    static struct world w;
    uint64_t failed = 0, hash = 0, virtual_ns = 0;
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (uint64_t seed = r->from; seed <= r->to; seed++) {
        struct world_options options = r->options;
        options.seed = seed;
        bool well = story_tell(&w, &options);
        hash = (hash ^ w.hash) * UINT64_C(0x100000001B3);
        virtual_ns += w.now_ns - WORLD_BEGIN_NS;
        failed += !well;
        if (!r->quiet || !well)
            print_story(&w, seed);
        if (options.trace && well)
            world_print_failure(&w, stdout);
        world_close(&w);
        if (!well)
            print_failure(r, seed);
        fflush(stdout);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double real =
        (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9;
    printf("%" PRIu64 " stories, %" PRIu64 " failed; %.0f s in %.1f s (%.0f x); trace %016" PRIx64
           "\n",
           r->to - r->from + 1, failed, (double)virtual_ns / 1e9, real,
           (double)virtual_ns / 1e9 / real, hash);
    return failed > 0 ? EXIT_FAILED : 0;
}

static void list_options(struct option *options)
{
    static const struct option always[] = {{"seeds", required_argument, NULL, 's'},
                                           {"nodes", required_argument, NULL, 'n'},
                                           {"minutes", required_argument, NULL, 'm'},
                                           {"store-faults", required_argument, NULL, 'f'},
                                           {"store-failovers", required_argument, NULL, 'o'},
                                           {"mutant", required_argument, NULL, 'x'},
                                           {"trace", no_argument, NULL, 't'},
                                           {"trace-all", no_argument, NULL, 'a'},
                                           {"quiet", no_argument, NULL, 'q'},
                                           {"help", no_argument, NULL, 'h'}};
    for (size_t i = 0; i < ALWAYS_N; i++)
        options[i] = always[i];
    for (int g = 0; g < GROUPS; g++)
        options[ALWAYS_N + g] =
            (struct option){group_infos[g].name, required_argument, NULL, OPTION_GROUP + g};
    options[ALWAYS_N + GROUPS] = (struct option){0};
}

int main(int argc, char **argv)
{
    descriptors_fill();
    struct option options[ALWAYS_N + GROUPS + 1];
    list_options(options);
    struct request request = {
        .from = 1,
        .to = 20,
        .options = {.nodes = 5, .minutes = 1, .store_faults = true, .store_failovers = true}};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            help(stdout);
            return 0;
        }
        if (!read_option(option, &request))
            return EXIT_USAGE;
    }
    if (optind < argc) {
        bad("argument", argv[optind], "an option");
        return EXIT_USAGE;
    }
    return run(&request);
}
