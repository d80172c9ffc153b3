/* Options, declared: one table gives the parsing, the help text and the "did you mean". */
#ifndef TROUPE_CLI_OPTIONS_H
#define TROUPE_CLI_OPTIONS_H

#include "tools/cli/cli.h"

#include <stddef.h>

enum option_type {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_NUMBER,   /* uint32_t, from min to max */
    OPTION_DURATION, /* uint32_t, in ms */
    OPTION_CHOICE,   /* int, an index into choices */
    OPTION_PERIOD,   /* uint32_t, in ms; the value may be left out and is `standard` then. A word
                        that begins with a digit is its value: not for commands with arguments */
};

struct option {
    const char *name; /* without the dashes */
    void *target;
    const char *value; /* what to call the value in the help; NULL for flags */
    const char *help;
    const char *const *choices; /* ends with NULL */
    enum option_type type;
    uint32_t min, max, standard;
};

struct usage {
    const char *command;   /* "call" */
    const char *arguments; /* "KIND/ID METHOD [PAYLOAD]" */
    const char *about;     /* paragraphs of the help, before the options */
    const char *epilogue;  /* and after them; or NULL */
    const struct option *options;
    size_t options_n;
    int arguments_min, arguments_max;
};

enum { OPTIONS_GO_ON = -1 };

/* The options of `common`, for the table of a command; set to their defaults here. */
void options_common_init(struct common *common, uint32_t timeout_ms);
#define OPTIONS_COMMON(common)                                                                     \
    {.name = "node",                                                                               \
     .type = OPTION_TEXT,                                                                          \
     .target = &(common)->node,                                                                    \
     .value = "ADDR",                                                                              \
     .help = "host:port or ipc:///path, several separated by commas\n"                             \
             "(default: $TROUPE_NODE, or 127.0.0.1:7700)"},                                        \
        {.name = "timeout",                                                                        \
         .type = OPTION_DURATION,                                                                  \
         .target = &(common)->timeout_ms,                                                          \
         .value = "TIME",                                                                          \
         .help = "how long to wait for an answer: 500ms, 5s, 2m"},                                 \
    {                                                                                              \
        .name = "json", .type = OPTION_FLAG, .target = &(common)->json,                            \
        .help = "print one line of JSON, for programs"                                             \
    }

/* Parses argv[1…]. Arguments that are no options are moved to the front, and counted by *n.
 * OPTIONS_GO_ON, or the exit code when help was asked for or something is wrong; then everything
 * has been said. "--" ends the options; "-" is an argument. */
int options_parse(const struct usage *usage, int argc, char **argv, char **arguments, int *n);

/* "troupe call: …" with a line that points to the help, on stderr. Returns EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What the last one said; "" before. */
const char *usage_last_error(void);

#endif
