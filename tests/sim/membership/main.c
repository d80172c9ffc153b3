/* troupe-membership-sim: the membership experiments, with our rules and with memberlist's, as a
 * table. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/descriptors.h"
#include "tests/sim/membership/mutants.h"
#include "tests/sim/membership/runner.h"

enum { EXIT_USAGE = 2, NODES_MIN = 3 };

struct request {
    const struct experiment *experiment; /* NULL: all */
    struct selection selection;
    bool markdown;
};

static void help(FILE *out)
{
    fputs("usage: troupe-membership-sim [OPTION]...\n"
          "Simulates clusters in virtual time and prints what becomes of them.\n\n"
          "  --experiment NAME   one of those below, or all (default)\n"
          "  --nodes N           instead of the experiment's own sizes\n"
          "  --seeds A..B        trials with these seeds; A alone: one trial\n"
          "  --config RULES      troupe, memberlist, plain (SWIM without Lifeguard) or all\n"
          "                      (default; plain only where it is compared with)\n"
          "  --mutant NAME       without a rule, see below (troupe-membership-mutants only)\n"
          "  --markdown          the table in Markdown\n"
          "  --trace             tell on stderr what happens\n"
          "  --help              this text\n\n"
          "The last line is a hash of all events: the same seeds give the same one.\n\n"
          "experiments:\n",
          out);
    for (size_t i = 0; i < experiments_n; i++)
        fprintf(out, "  %-18s  %s\n", experiments[i].name, experiments[i].about);
    if (swim_mutants_n > 1)
        fputs("\nmutants:\n", out);
    for (int i = 1; i < swim_mutants_n; i++)
        fprintf(out, "  %-22s  %s\n", swim_mutants[i].name, swim_mutants[i].what);
}

static bool bad(const char *option, const char *value, const char *wanted)
{
    fprintf(stderr, "troupe-membership-sim: %s: '%s' is not %s; see --help\n", option, value,
            wanted);
    return false;
}

static bool read_number(const char *text, uint64_t min, uint64_t max, uint64_t *out,
                        const char **rest)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    *rest = end;
    return value >= min && value <= max;
}

static bool read_seeds(const char *text, struct selection *s)
{
    const char *rest;
    if (!read_number(text, 1, UINT32_MAX, &s->seed_from, &rest))
        return false;
    s->seed_to = s->seed_from;
    if (strncmp(rest, "..", 2) == 0 &&
        !read_number(rest + 2, s->seed_from, UINT32_MAX, &s->seed_to, &rest))
        return false;
    return *rest == '\0';
}

static bool read_rules(const char *text, struct selection *s)
{
    bool all = strcmp(text, "all") == 0, any = false;
    for (int r = 0; r < RULES_N; r++) {
        s->rules[r] = all || strcmp(text, rules_names[r]) == 0;
        any |= s->rules[r];
    }
    return any;
}

static bool read_mutant(const char *text)
{
    for (swim_mutant = 0; swim_mutant < swim_mutants_n; swim_mutant++) {
        if (strcmp(swim_mutants[swim_mutant].name, text) == 0)
            return true;
    }
    return false;
}

static bool read_option(int option, struct request *request)
{
    struct selection *s = &request->selection;
    const char *rest;
    uint64_t number;
    switch (option) {
    case 'e':
        request->experiment = experiment_find(optarg);
        return request->experiment != NULL || strcmp(optarg, "all") == 0 ||
               bad("--experiment", optarg, "an experiment");
    case 'n':
        if (!read_number(optarg, NODES_MIN, SWIM_MEMBERS_MAX, &number, &rest) || *rest != '\0')
            return bad("--nodes", optarg, "a number from 3 to 16384");
        s->nodes = (uint32_t)number;
        return true;
    case 's':
        return read_seeds(optarg, s) || bad("--seeds", optarg, "a seed, or two with .. between");
    case 'c':
        return read_rules(optarg, s) || bad("--config", optarg, "a set of rules");
    case 'x':
        return read_mutant(optarg) || bad("--mutant", optarg, "one of its mutants");
    case 'm':
        request->markdown = true;
        return true;
    case 't':
        sim_verbose = true;
        return true;
    default:
        return false;
    }
}

static void run(const struct request *request)
{
    struct table table = {0};
    uint64_t trace = 0;
    for (size_t i = 0; i < experiments_n; i++) {
        if (request->experiment != NULL && request->experiment != &experiments[i])
            continue;
        trace = (trace ^ runner_table(&experiments[i], &request->selection, &table)) *
                UINT64_C(0x100000001B3);
    }
    table_print(&table, request->markdown, stdout);
    printf("\ntrace %016" PRIx64 "\n", trace);
    table_close(&table);
}

int main(int argc, char **argv)
{
    descriptors_fill();
    static const struct option options[] = {{"experiment", required_argument, NULL, 'e'},
                                            {"nodes", required_argument, NULL, 'n'},
                                            {"seeds", required_argument, NULL, 's'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"mutant", required_argument, NULL, 'x'},
                                            {"markdown", no_argument, NULL, 'm'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct request request = {.selection = {.rules = {true, true, true}}};
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
    run(&request);
    return 0;
}
