/* --help, --print-config, and urls without their passwords. */
#include <inttypes.h>
#include <string.h>

#include "node/shell/config_impl.h"

enum { HELP_COLUMN = 34, HELP_WIDTH = 100 };

static const char *value_name(const struct config_option *o)
{
    switch (o->type) {
    case CONFIG_TEXT:
        return "TEXT";
    case CONFIG_NAME:
        return "NAME";
    case CONFIG_ADDRESS:
        return "HOST:PORT";
    case CONFIG_CHOICE:
        return o->choices;
    case CONFIG_DURATION:
        return "TIME";
    case CONFIG_SIZE:
        return "SIZE";
    case CONFIG_BOOL:
        return "on|off";
    default:
        return "N";
    }
}

/* Words of text from column HELP_COLUMN on, wrapped. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = HELP_COLUMN;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + len > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += (size_t)fprintf(out, "%s%.*s", column > HELP_COLUMN ? " " : "", (int)len, text);
        text += len + (text[len] == ' ');
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const char *name, const char *value, const char *help,
                         const char *fallback)
{
    char head[128], text[512];
    snprintf(head, sizeof head, "  --%s %s", name, value);
    snprintf(text, sizeof text, "%s%s%s%s", help, fallback[0] == '\0' ? "" : " [", fallback,
             fallback[0] == '\0' ? "" : "]");
    fprintf(out, "%-*s", HELP_COLUMN, head);
    if (strlen(head) >= HELP_COLUMN)
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    print_wrapped(out, text);
}

void config_help(FILE *out)
{
    fputs(
        "troupe-node: runs the entities of a cluster\n\n"
        "  troupe-node --kinds FILE.so [options]       run a node\n"
        "  troupe-node migrate [--dry-run] [options]   bring the store's schema up to date\n"
        "  troupe-node --print-config [options]        show the settings in force, and stop\n"
        "  troupe-node --help | --version\n\n"
        "Every option can also stand in a file (a line lease-ttl = 5s) and in the environment\n"
        "(TROUPE_LEASE_TTL=5s). Flags win over the environment, the environment over the file.\n\n",
        out);
    print_option(out, "config", "FILE", "the file, in INI form; or TROUPE_CONFIG", "");
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        const struct config_option *o = &CONFIG_OPTIONS[i];
        print_option(out, o->name, value_name(o), o->help, o->fallback);
    }
    fputs("\nSIGTERM and SIGINT: no more calls, persist everything, give the lease back, exit.\n\n"
          "Exit codes:\n"
          "   0  stopped cleanly\n"
          "   2  wrong usage or settings\n"
          "   3  the store cannot be reached, or is of another version\n"
          "   4  the name is taken by a node that is alive\n"
          "   5  the address is in use, or cannot be listened on\n"
          "   6  kinds cannot be loaded\n"
          "  70  a fault, or not everything could be persisted within stop-timeout\n",
          out);
}

/* Copies text and hides what is between from and to, both within it. */
static void mask(const char *text, const char *from, const char *to, char *masked, size_t bytes)
{
    snprintf(masked, bytes, "%.*s***%s", (int)(from - text), text, to);
}

void config_mask_url(const char *url, char *masked, size_t bytes)
{
    const char *scheme = strstr(url, "://");
    const char *from = scheme == NULL ? url : scheme + 3;
    const char *end = from + strcspn(from, "/?");
    const char *at = scheme == NULL ? NULL : memrchr(from, '@', (size_t)(end - from));
    const char *colon = at == NULL ? NULL : memchr(from, ':', (size_t)(at - from));
    const char *query = strstr(end, "password=");
    if (query == NULL && colon == NULL) {
        snprintf(masked, bytes, "%s", url);
    } else if (query == NULL) {
        mask(url, colon + 1, at, masked, bytes);
    } else { /* the rest goes, too: nobody knows how it is quoted */
        char cut[CONFIG_TEXT_BYTES];
        snprintf(cut, sizeof cut, "%.*s", (int)(query - url + 9), url);
        if (colon != NULL)
            mask(cut, cut + (colon + 1 - url), cut + (at - url), masked, bytes);
        else
            snprintf(masked, bytes, "%s", cut);
        size_t len = strlen(masked);
        snprintf(masked + len, bytes - len, "***");
    }
}

void config_print(const struct config *config, FILE *out)
{
    fputs("[node]\n", out);
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        const struct config_option *o = &CONFIG_OPTIONS[i];
        const void *value = (const char *)config + o->offset;
        char text[CONFIG_TEXT_BYTES + 8];
        switch (o->type) {
        case CONFIG_TEXT:
        case CONFIG_NAME:
        case CONFIG_ADDRESS:
        case CONFIG_CHOICE:
            config_mask_url(value, text, sizeof text);
            break;
        case CONFIG_BOOL:
            snprintf(text, sizeof text, "%s", *(const bool *)value ? "on" : "off");
            break;
        default:
            config__format(o, *(const uint64_t *)value, text);
        }
        fprintf(out, "%s = %s\n", o->name, text);
    }
}
