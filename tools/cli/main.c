/* troupe, the command line tool: finds the command and hands over. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "os/descriptors.h"
#include "tools/cli/cli.h"
#include "tools/cli/near.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"call", command_call, "call a method of an entity"},
    {"check", command_check, "compare what the nodes and the store know of the partitions"},
    {"drain", command_drain, "have a node give its partitions away, and stay"},
    {"evict", command_evict, "say that a node is gone for good"},
    {"get", command_get, "show the state of an entity"},
    {"kinds", command_kinds, "show which kinds there are, and who lacks one"},
    {"load", command_load, "make many calls, one JSON object per line"},
    {"members", command_members, "show who is in the cluster"},
    {"rebalance", command_rebalance, "show which partitions are to move"},
    {"ring", command_ring, "show who owns the partitions, and who should"},
    {"status", command_status, "show how the cluster is doing"},
    {"transfers", command_transfers, "show the partitions that are moving"},
    {"why", command_why, "show how an entity's partition came to its owner"},
};

enum { COMMANDS_N = sizeof commands / sizeof commands[0] };

static void print_help(FILE *file)
{
    fprintf(file, "Usage: troupe COMMAND [OPTION]... [ARGUMENT]...\n\n"
                  "Talks to a Troupe cluster.\n\nCommands:\n");
    for (int i = 0; i < COMMANDS_N; i++)
        fprintf(file, "  %-11s%s\n", commands[i].name, commands[i].help);
    fprintf(
        file,
        "\nEvery command takes --node ADDR (default: $TROUPE_NODE, or 127.0.0.1:7700), --timeout,\n"
        "--json, also before the command, and --help. `troupe --version` shows the version.\n\n"
        "Exit codes: 0 OK; 1 the answer was an error (status: the cluster is degraded); 2 wrong\n"
        "usage; 3 no answer: nobody there, or not in time; 4 status, check: the\n"
        "nodes do not agree.\n");
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS_N];
    for (int i = 0; i < COMMANDS_N; i++)
        names[i] = commands[i].name;
    const char *meant = near_find(name, names, COMMANDS_N);
    if (name[0] == '-') {
        fprintf(stderr,
                "troupe: \"%s\" comes before the command; options follow it: troupe COMMAND %s\n"
                "`troupe --help` lists the commands.\n",
                name, name);
        return EXIT_USAGE;
    }
    fprintf(stderr, "troupe: there is no command \"%s\"", name);
    if (meant != NULL)
        fprintf(stderr, "; did you mean \"%s\"?", meant);
    fprintf(stderr, "\n`troupe --help` lists the commands.\n");
    return EXIT_USAGE;
}

/* How many words the options of every command take up that stand before the command: `troupe --node
 * A call …` is `troupe call --node A …`. */
static int options_before(int argc, char **argv)
{
    static const char *const with_value[] = {"--node", "--timeout"};
    int n = 0;
    while (1 + n < argc) {
        const char *word = argv[1 + n];
        bool known = strcmp(word, "--json") == 0;
        for (size_t i = 0; !known && i < sizeof with_value / sizeof with_value[0]; i++) {
            size_t len = strlen(with_value[i]);
            known =
                strncmp(word, with_value[i], len) == 0 && (word[len] == '\0' || word[len] == '=');
            n += known && word[len] == '\0';
        }
        if (!known)
            break;
        n++;
    }
    return 1 + n < argc ? n : 0;
}

/* The command comes first, and then the options that came before it. */
static void move_command_first(char **argv, int options)
{
    char *command = argv[1 + options];
    memmove(argv + 2, argv + 1, (size_t)options * sizeof *argv);
    argv[1] = command;
}

/* Output that could not be written, to a full disk for instance, is no success. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    perror("troupe: standard output");
    return code == EXIT_OK ? EXIT_ANSWERED : code;
}

int main(int argc, char **argv)
{
    descriptors_fill();
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return finish(EXIT_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("troupe " TROUPE_VERSION "\n");
        return finish(EXIT_OK);
    }
    move_command_first(argv, options_before(argc, argv));
    char help[] = "--help", *asked[] = {argv[0], help, NULL};
    bool help_on = strcmp(argv[1], "help") == 0; /* troupe help call */
    const char *name = argv[help_on ? 2 : 1];
    for (int i = 0; i < COMMANDS_N; i++)
        if (strcmp(name, commands[i].name) == 0)
            return finish(help_on ? commands[i].run(2, asked)
                                  : commands[i].run(argc - 1, argv + 1));
    return unknown_command(name);
}
