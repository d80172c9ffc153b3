/* See config.h. */
#include "node/shell/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"
#include "troupe/error.h"

enum { KEY_BYTES = 64, NEAR_ENOUGH = 4 };

static int fail(char errmsg[CONFIG_ERRMSG_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(errmsg, CONFIG_ERRMSG_BYTES, format, args);
    va_end(args);
    return TROUPE_EINVAL;
}

/* ---- values ---- */

static void *field(struct config *config, const struct config_option *o)
{
    return (char *)config + o->offset;
}

static const void *const_field(const struct config *config, const struct config_option *o)
{
    return (const char *)config + o->offset;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit DURATIONS[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit SIZES[] = {{"", 1},          {"B", 1},         {"K", 1 << 10},
                                    {"KiB", 1 << 10}, {"M", 1 << 20},   {"MiB", 1 << 20},
                                    {"G", 1 << 30},   {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit COUNTS[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {NULL, 0}};

static const struct unit *units_of(const struct config_option *o)
{
    return o->type == CONFIG_DURATION ? DURATIONS : o->type == CONFIG_SIZE ? SIZES : COUNTS;
}

static const char *expected(const struct config_option *o)
{
    switch (o->type) {
    case CONFIG_DURATION:
        return "a duration like 500ms, 5s, 10m or 1h";
    case CONFIG_SIZE:
        return "a size like 512M or 4GiB";
    case CONFIG_BOOL:
        return "on or off";
    case CONFIG_CHOICE:
        return o->choices;
    default:
        return "a number";
    }
}

static int parse_number(const struct config_option *o, const char *text, uint64_t *value,
                        char errmsg[CONFIG_ERRMSG_BYTES])
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    const struct unit *u = units_of(o);
    while (u->suffix != NULL && strcmp(u->suffix, end) != 0)
        u++;
    if (!isdigit((unsigned char)text[0]) || errno != 0 ||
        (u->suffix == NULL && !(n == 0 && *end == '\0')))
        return fail(errmsg, "%s: '%s' is not %s", o->name, text, expected(o));
    uint64_t factor = u->suffix == NULL ? 1 : u->factor;
    if (n > UINT64_MAX / factor || n * factor < o->min || n * factor > o->max)
        return fail(errmsg, "%s: %s is out of range, which is %" PRIu64 " to %" PRIu64 "%s",
                    o->name, text, o->min, o->max, o->type == CONFIG_DURATION ? " ms" : "");
    *value = n * factor;
    return 0;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    for (const char *p = choices; p != NULL; p = strchr(p, '|')) {
        p += *p == '|';
        if (len > 0 && strncmp(p, text, len) == 0 && (p[len] == '|' || p[len] == '\0'))
            return true;
    }
    return false;
}

static int set_text(struct config *config, const struct config_option *o, const char *text,
                    bool append, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char *to = field(config, o);
    size_t at = append ? strlen(to) : 0, len = strlen(text);
    if (at + (at > 0) + len > o->max || len < o->min)
        return fail(errmsg, "%s: must have %" PRIu64 " to %" PRIu64 " bytes", o->name, o->min,
                    o->max);
    if (at > 0)
        to[at++] = ',';
    memcpy(to + at, text, len + 1);
    return 0;
}

static int set(struct config *config, const struct config_option *o, const char *text, bool append,
               char errmsg[CONFIG_ERRMSG_BYTES])
{
    switch (o->type) {
    case CONFIG_TEXT:
        return set_text(config, o, text, append, errmsg);
    case CONFIG_CHOICE:
        if (!is_choice(o->choices, text))
            return fail(errmsg, "%s: '%s' is none of %s", o->name, text, o->choices);
        memcpy(field(config, o), text, strlen(text) + 1);
        return 0;
    case CONFIG_BOOL:
        if (!is_choice("on|off|true|false", text))
            return fail(errmsg, "%s: '%s' is not %s", o->name, text, expected(o));
        *(bool *)field(config, o) = strcmp(text, "on") == 0 || strcmp(text, "true") == 0;
        return 0;
    default:
        return parse_number(o, text, field(config, o), errmsg);
    }
}

/* ---- keys ---- */

/* lease_ttl and LEASE_TTL are lease-ttl. */
static void normalize(const char *key, size_t len, char out[KEY_BYTES])
{
    size_t n = len < KEY_BYTES - 1 ? len : KEY_BYTES - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = key[i] == '_' ? '-' : (char)tolower((unsigned char)key[i]);
    out[n] = '\0';
}

static const struct config_option *find(const char *key)
{
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        if (strcmp(CONFIG_OPTIONS[i].name, key) == 0)
            return &CONFIG_OPTIONS[i];
    }
    return NULL;
}

static const char *nearest_option(const char *key)
{
    size_t best = NEAR_ENOUGH;
    const char *name = NULL;
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        size_t d = nearest_distance(key, CONFIG_OPTIONS[i].name);
        if (d < best) {
            best = d;
            name = CONFIG_OPTIONS[i].name;
        }
    }
    return name;
}

static int unknown(const char *what, const char *key, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char normal[KEY_BYTES] = "";
    normalize(key, strlen(key), normal);
    const char *near = nearest_option(normal);
    if (near != NULL)
        return fail(errmsg, "unknown %s '%s'; did you mean '%s'?", what, key, near);
    return fail(errmsg, "unknown %s '%s'; troupe-node --help lists all", what, key);
}

/* ---- the file ---- */

struct file_reader {
    struct config *config;
    char *errmsg;
    int rc;
};

/* inih's handler: 1 = go on, 0 = an error on this line. */
static int on_line(void *data, const char *section, const char *key, const char *value)
{
    struct file_reader *r = data;
    char normal[KEY_BYTES] = "";
    if (r->rc != 0)
        return 0;
    if (section[0] != '\0' && strcmp(section, "node") != 0) {
        r->rc =
            fail(r->errmsg, "unknown section [%s]; settings stand in [node] or in none", section);
        return 0;
    }
    normalize(key, strlen(key), normal);
    const struct config_option *o = find(normal);
    r->rc =
        o == NULL ? unknown("setting", key, r->errmsg) : set(r->config, o, value, false, r->errmsg);
    return r->rc == 0;
}

static int read_file(struct config *config, const char *path, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char why[CONFIG_ERRMSG_BYTES / 2] = "";
    struct file_reader r = {.config = config, .errmsg = errmsg};
    int line = ini_parse(path, on_line, &r);
    if (line == -1)
        return fail(errmsg, "cannot read %s: %s", path, strerror(errno));
    if (line == 0 && r.rc == 0)
        return 0;
    snprintf(why, sizeof why, "%s", r.rc != 0 ? errmsg : "not of the form 'setting = value'");
    return fail(errmsg, "%s, line %d: %s", path, line, why);
}

/* ---- the environment ---- */

/* Variables of other programs of the family, and of the tests. */
static bool is_others(const char *name)
{
    static const char *const others[] = {"CONFIG",    "NODE",    "POD_UID",
                                         "TEST_SEED", "SIM_LOG", "TIMEOUT"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(name, others[i]) == 0)
            return true;
    }
    return false;
}

static int read_env(struct config *config, char **env, char errmsg[CONFIG_ERRMSG_BYTES])
{
    static const char prefix[] = "TROUPE_";
    for (; *env != NULL; env++) {
        char name[KEY_BYTES] = "", normal[KEY_BYTES] = "", why[CONFIG_ERRMSG_BYTES / 2];
        const char *equals = strchr(*env, '=');
        if (equals == NULL || strncmp(*env, prefix, sizeof prefix - 1) != 0)
            continue;
        const char *key = *env + sizeof prefix - 1;
        size_t len = (size_t)(equals - key);
        snprintf(name, sizeof name, "%.*s", (int)(len < 60 ? len : 60), key);
        if (is_others(name))
            continue;
        normalize(name, strlen(name), normal);
        const struct config_option *o = find(normal);
        int rc = o == NULL ? unknown("setting", normal, errmsg)
                           : set(config, o, equals + 1, false, errmsg);
        if (rc != 0) {
            snprintf(why, sizeof why, "%s", errmsg);
            return fail(errmsg, "environment TROUPE_%s: %s", name, why);
        }
    }
    return 0;
}

/* ---- flags ---- */

struct flags {
    enum config_command command;
    const char *file;
    bool migrate, dry_run, kinds_seen;
};

/* --name value or --name=value; *i moves on when the value is the next argument. */
static int read_option(struct config *config, struct flags *flags, int argc, char **argv, int *i,
                       char errmsg[CONFIG_ERRMSG_BYTES])
{
    const char *arg = argv[*i] + 2, *equals = strchr(arg, '=');
    char key[KEY_BYTES] = "";
    snprintf(key, sizeof key, "%.*s", (int)(equals == NULL ? strlen(arg) : (size_t)(equals - arg)),
             arg);
    bool is_file = strcmp(key, "config") == 0;
    const struct config_option *o = find(key);
    if (o == NULL && !is_file)
        return unknown("option", key, errmsg);
    if (equals == NULL && *i + 1 >= argc)
        return fail(errmsg, "--%s needs a value", key);
    const char *value = equals != NULL ? equals + 1 : argv[++*i];
    if (is_file) {
        flags->file = value;
        return 0;
    }
    if (config == NULL) /* only looking for the file */
        return 0;
    bool kinds = strcmp(o->name, "kinds") == 0, append = kinds && flags->kinds_seen;
    flags->kinds_seen |= kinds;
    return set(config, o, value, append, errmsg);
}

static int read_flags(struct config *config, struct flags *flags, int argc, char **argv,
                      char errmsg[CONFIG_ERRMSG_BYTES])
{
    int rc = 0;
    for (int i = 1; rc == 0 && i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
            flags->command = CONFIG_HELP;
        else if (strcmp(arg, "--version") == 0)
            flags->command = CONFIG_VERSION;
        else if (strcmp(arg, "--print-config") == 0)
            flags->command = CONFIG_PRINT;
        else if (strcmp(arg, "--dry-run") == 0)
            flags->dry_run = true;
        else if (strncmp(arg, "--", 2) == 0)
            rc = read_option(config, flags, argc, argv, &i, errmsg);
        else if (strcmp(arg, "migrate") == 0)
            flags->migrate = true;
        else
            rc = fail(errmsg, "'%s' is no command; there is migrate, or none to run the node", arg);
    }
    if (rc == 0 && flags->dry_run && !flags->migrate)
        rc = fail(errmsg, "--dry-run belongs to migrate");
    return rc;
}

/* ---- all of it ---- */

static int check(struct config *config, char errmsg[CONFIG_ERRMSG_BYTES])
{
    if (config->name[0] == '\0' && gethostname(config->name, 63) != 0)
        return fail(errmsg, "name: the host has none; set --name");
    config->name[63] = '\0';
    if (config->lease_renew_ms * 2 >= config->lease_ttl_ms)
        return fail(errmsg, "lease-renew must be less than half of lease-ttl");
    if ((config->partitions & (config->partitions - 1)) != 0)
        return fail(errmsg, "partitions: %" PRIu64 " is not a power of two", config->partitions);
    return 0;
}

int config_read(struct config *config, enum config_command *command, int argc, char **argv,
                char **env, char errmsg[CONFIG_ERRMSG_BYTES])
{
    struct flags flags = {0};
    *config = (struct config){0};
    *command = CONFIG_RUN;
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        if (CONFIG_OPTIONS[i].fallback[0] == '\0')
            continue;
        int rc = set(config, &CONFIG_OPTIONS[i], CONFIG_OPTIONS[i].fallback, false, errmsg);
        if (rc != 0)
            return rc;
    }
    int rc = read_flags(NULL, &flags, argc, argv, errmsg); /* first: which file, and is it help? */
    if (rc != 0)
        return rc;
    *command = flags.command;
    if (*command == CONFIG_HELP || *command == CONFIG_VERSION)
        return 0;
    const char *file = flags.file != NULL ? flags.file : getenv("TROUPE_CONFIG");
    rc = file == NULL ? 0 : read_file(config, file, errmsg);
    if (rc == 0)
        rc = read_env(config, env, errmsg);
    if (rc == 0)
        rc = read_flags(config, &flags, argc, argv, errmsg);
    if (rc == 0)
        rc = check(config, errmsg);
    if (rc == 0 && flags.migrate && *command == CONFIG_RUN)
        *command = flags.dry_run ? CONFIG_MIGRATE_DRY : CONFIG_MIGRATE;
    return rc;
}

void config_help(FILE *out)
{
    fputs("troupe-node: runs the entities of a cluster\n\n"
          "  troupe-node --kinds FILE.so [options]        run a node\n"
          "  troupe-node migrate [--dry-run] [options]    bring the store's schema up to date\n"
          "  troupe-node --print-config [options]         show the settings in force, and stop\n"
          "  troupe-node --help | --version\n\n"
          "Every option can also stand in a file (--config FILE or TROUPE_CONFIG; lines 'lease-ttl "
          "= 5s') and in\n"
          "the environment (TROUPE_LEASE_TTL=5s). Flags win over the environment, the environment "
          "over the file.\n\n",
          out);
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        const struct config_option *o = &CONFIG_OPTIONS[i];
        char head[128];
        snprintf(head, sizeof head, "--%s %s", o->name,
                 o->type == CONFIG_TEXT       ? "TEXT"
                 : o->type == CONFIG_CHOICE   ? o->choices
                 : o->type == CONFIG_DURATION ? "TIME"
                 : o->type == CONFIG_SIZE     ? "SIZE"
                 : o->type == CONFIG_BOOL     ? "on|off"
                                              : "N");
        fprintf(out, "  %-32s %s", head, o->help);
        if (o->fallback[0] != '\0')
            fprintf(out, " [%s]", o->fallback);
        fputc('\n', out);
    }
    fputs("\nSIGTERM and SIGINT: no more calls, persist everything, give the lease back, exit.\n"
          "Exit codes: 0 stopped cleanly; 2 wrong usage or settings; 3 the store cannot be reached "
          "or is of another\n"
          "version; 4 the name is taken by a node that is alive; 5 the address is in use; 6 kinds "
          "cannot be loaded;\n"
          "70 a fault, or not everything could be persisted in time.\n",
          out);
}

void config_mask_url(const char *url, char *masked, size_t bytes)
{
    const char *scheme = strstr(url, "://");
    const char *from = scheme == NULL ? NULL : scheme + 3;
    const char *end = from == NULL ? NULL : from + strcspn(from, "/?");
    const char *at = NULL;
    for (const char *p = from; p != NULL && p < end; p++)
        at = *p == '@' ? p : at;
    const char *colon = at == NULL ? NULL : memchr(from, ':', (size_t)(at - from));
    const char *query = strstr(url, "password=");
    if (query != NULL) /* in the query: cut there */
        snprintf(masked, bytes, "%.*spassword=***", (int)(query - url), url);
    else if (colon != NULL)
        snprintf(masked, bytes, "%.*s:***%s", (int)(colon - url), url, at);
    else
        snprintf(masked, bytes, "%s", url);
}

void config_print(const struct config *config, FILE *out)
{
    fputs("[node]\n", out);
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        const struct config_option *o = &CONFIG_OPTIONS[i];
        const void *value = const_field(config, o);
        char masked[CONFIG_TEXT_BYTES + 8];
        switch (o->type) {
        case CONFIG_TEXT:
        case CONFIG_CHOICE:
            config_mask_url(value, masked, sizeof masked);
            fprintf(out, "%s = %s\n", o->name, masked);
            break;
        case CONFIG_BOOL:
            fprintf(out, "%s = %s\n", o->name, *(const bool *)value ? "on" : "off");
            break;
        default:
            fprintf(out, "%s = %" PRIu64 "%s\n", o->name, *(const uint64_t *)value,
                    o->type == CONFIG_DURATION ? "ms" : "");
        }
    }
}
