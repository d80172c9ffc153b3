/* See options.h. */
#include "tools/cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/duration.h"
#include "tools/cli/near.h"

enum { OPTIONS_MAX = 24, HELP_COLUMN = 22 };

void options_common_init(struct common *common, uint32_t timeout_ms)
{
    const char *node = getenv("TROUPE_NODE");
    *common = (struct common){
        .node = node != NULL && node[0] != '\0' ? node : "127.0.0.1:7700",
        .timeout_ms = timeout_ms,
    };
}

static char last_error[1024];

int usage_error(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    fprintf(stderr, "troupe %s: %s\n`troupe %s --help` tells more.\n", command, last_error,
            command);
    return EXIT_USAGE;
}

const char *usage_last_error(void)
{
    return last_error;
}

/* ---- help ---- */

/* Of a time, as it would be written: "5s". */
static void print_default(const struct option *o)
{
    uint32_t ms = *(const uint32_t *)o->target;
    if (ms % 1000 == 0)
        printf(" (default %us)", ms / 1000);
    else
        printf(" (default %ums)", ms);
}

static void print_option(const char *name, const char *value, const char *help,
                         const struct option *o)
{
    int width = printf("  --%s", name);
    if (value != NULL)
        width += printf("%s%s", value[0] == '[' ? "" : " ", value);
    printf("%*s", width < HELP_COLUMN ? HELP_COLUMN - width : 1, "");
    for (const char *p = help; *p != '\0'; p++) {
        putchar(*p);
        if (*p == '\n')
            printf("%*s", HELP_COLUMN, "");
    }
    if (o != NULL && o->type == OPTION_DURATION)
        print_default(o);
    putchar('\n');
}

static void print_help(const struct usage *u)
{
    printf("Usage: troupe %s %s\n\n%s\n\nOptions:\n", u->command, u->arguments, u->about);
    for (size_t i = 0; i < u->options_n; i++)
        print_option(u->options[i].name, u->options[i].value, u->options[i].help, &u->options[i]);
    print_option("help", NULL, "show this", NULL);
    if (u->epilogue != NULL)
        printf("\n%s\n", u->epilogue);
}

/* ---- one option ---- */

static int set_number(const struct usage *u, const struct option *o, const char *value)
{
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 || number < o->min ||
        number > o->max)
        return usage_error(u->command, "--%s must be a number from %u to %u, not \"%s\"", o->name,
                           o->min, o->max, value);
    *(uint32_t *)o->target = (uint32_t)number;
    return OPTIONS_GO_ON;
}

static int set_choice(const struct usage *u, const struct option *o, const char *value)
{
    char known[256] = "";
    for (int i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(o->choices[i], value) == 0) {
            *(int *)o->target = i;
            return OPTIONS_GO_ON;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i == 0 ? "" : ", ", o->choices[i]);
    }
    return usage_error(u->command, "--%s is one of %s, not \"%s\"", o->name, known, value);
}

static int set_option(const struct usage *u, const struct option *o, const char *value)
{
    switch (o->type) {
    case OPTION_FLAG:
        *(bool *)o->target = true;
        return OPTIONS_GO_ON;
    case OPTION_TEXT:
        *(const char **)o->target = value;
        return OPTIONS_GO_ON;
    case OPTION_NUMBER:
        return set_number(u, o, value);
    case OPTION_CHOICE:
        return set_choice(u, o, value);
    case OPTION_PERIOD:
    case OPTION_DURATION:
        if (value == NULL) {
            *(uint32_t *)o->target = o->standard;
            return OPTIONS_GO_ON;
        }
        if (!duration_parse(value, o->target))
            return usage_error(u->command,
                               "--%s must be a time like 500ms, 5s or 2m, at most 1h, not \"%s\"",
                               o->name, value);
        return OPTIONS_GO_ON;
    }
    return OPTIONS_GO_ON;
}

static int unknown_option(const struct usage *u, const char *name)
{
    const char *names[OPTIONS_MAX];
    size_t n = 0;
    for (; n < u->options_n && n < OPTIONS_MAX - 1; n++)
        names[n] = u->options[n].name;
    names[n++] = "help";
    const char *meant = near_find(name, names, n);
    if (meant != NULL)
        return usage_error(u->command, "there is no option --%s; did you mean --%s?", name, meant);
    return usage_error(u->command, "there is no option --%s", name);
}

/* The option at argv[*i], which begins with two dashes; *i ends at the last word it has taken. */
static int parse_option(const struct usage *u, int argc, char **argv, int *i)
{
    char name[64];
    const char *text = argv[*i] + 2, *equals = strchr(text, '=');
    size_t len = equals == NULL ? strlen(text) : (size_t)(equals - text);
    snprintf(name, sizeof name, "%.*s", (int)len, text);
    const struct option *o = NULL;
    for (size_t k = 0; k < u->options_n && o == NULL; k++)
        if (strcmp(u->options[k].name, name) == 0)
            o = &u->options[k];
    if (o == NULL)
        return unknown_option(u, name);
    const char *value = equals == NULL ? NULL : equals + 1;
    if (o->type == OPTION_FLAG && value != NULL)
        return usage_error(u->command, "--%s takes no value", name);
    bool may_follow = o->type == OPTION_PERIOD && value == NULL && *i + 1 < argc;
    if (may_follow && isdigit((unsigned char)argv[*i + 1][0]))
        value = argv[++*i];
    if (o->type != OPTION_FLAG && o->type != OPTION_PERIOD && value == NULL) {
        if (*i + 1 >= argc)
            return usage_error(u->command, "--%s needs a value: --%s %s", name, name, o->value);
        value = argv[++*i];
    }
    return set_option(u, o, value);
}

int options_parse(const struct usage *u, int argc, char **argv, char **arguments, int *n)
{
    bool options_over = false;
    *n = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (options_over || word[0] != '-' || word[1] == '\0') {
            if (*n == u->arguments_max)
                return usage_error(u->command,
                                   "\"%s\" is one argument too many; usage: troupe %s %s", word,
                                   u->command, u->arguments);
            arguments[(*n)++] = argv[i];
        } else if (strcmp(word, "--") == 0) {
            options_over = true;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(u);
            return EXIT_OK;
        } else if (word[1] != '-') {
            return usage_error(u->command, "there is no option %s", word);
        } else {
            int rc = parse_option(u, argc, argv, &i);
            if (rc != OPTIONS_GO_ON)
                return rc;
        }
    }
    if (*n < u->arguments_min)
        return usage_error(u->command, "an argument is missing; usage: troupe %s %s", u->command,
                           u->arguments);
    return OPTIONS_GO_ON;
}
