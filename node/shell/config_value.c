/* Values: what each type of option takes, and what it says to anything else. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "node/shell/config_impl.h"
#include "troupe/error.h"

enum { NEAR_ENOUGH = 4, PORT_MAX = 65535, IPC_PATH_BYTES_MAX = 100 };

int config__fail(char errmsg[CONFIG_ERRMSG_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(errmsg, CONFIG_ERRMSG_BYTES, format, args);
    va_end(args);
    return TROUPE_EINVAL;
}

static void *field(struct config *config, const struct config_option *o)
{
    return (char *)config + o->offset;
}

/* ---- numbers with units ---- */

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* The largest first, and of equal ones the one to print. */
static const struct unit DURATIONS[] = {
    {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit SIZES[] = {{"GiB", 1 << 30}, {"G", 1 << 30}, {"MiB", 1 << 20},
                                    {"M", 1 << 20},   {"KiB", 1024},  {"K", 1024},
                                    {"", 1},          {"B", 1},       {NULL, 0}};
static const struct unit COUNTS[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {NULL, 0}};

static const struct unit *units_of(const struct config_option *o)
{
    return o->type == CONFIG_DURATION ? DURATIONS : o->type == CONFIG_SIZE ? SIZES : COUNTS;
}

static const char *expected(const struct config_option *o)
{
    return o->type == CONFIG_DURATION ? "a duration like 500ms, 5s, 10m or 1h"
           : o->type == CONFIG_SIZE   ? "a size like 512M or 4GiB"
                                      : "a number";
}

void config__format(const struct config_option *o, uint64_t value, char text[CONFIG_VALUE_BYTES])
{
    const struct unit *u = units_of(o);
    while (u[1].suffix != NULL && (value % u->factor != 0 || value < u->factor))
        u++;
    snprintf(text, CONFIG_VALUE_BYTES, "%" PRIu64 "%s", value / u->factor,
             value == 0 ? "" : u->suffix);
}

static int set_number(struct config *config, const struct config_option *o, const char *text,
                      char errmsg[CONFIG_ERRMSG_BYTES])
{
    char *end, min[CONFIG_VALUE_BYTES], max[CONFIG_VALUE_BYTES];
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    const struct unit *u = units_of(o);
    while (u->suffix != NULL && strcmp(u->suffix, end) != 0)
        u++;
    bool zero = n == 0 && *end == '\0'; /* needs no unit */
    if (!isdigit((unsigned char)text[0]) || errno != 0 || (u->suffix == NULL && !zero))
        return config__fail(errmsg, "%s: '%.80s' is not %s", o->name, text, expected(o));
    uint64_t factor = zero ? 1 : u->factor;
    if (n > UINT64_MAX / factor || n * factor < o->min || n * factor > o->max) {
        config__format(o, o->min, min);
        config__format(o, o->max, max);
        return config__fail(errmsg, "%s: %.80s is out of range, which is %s to %s", o->name, text,
                            min, max);
    }
    *(uint64_t *)field(config, o) = n * factor;
    return 0;
}

/* ---- texts ---- */

static int set_text(struct config *config, const struct config_option *o, const char *text,
                    bool append, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char *to = field(config, o);
    size_t at = append ? strlen(to) : 0, len = strlen(text);
    for (const char *p = text; *p != '\0'; p++) {
        if (iscntrl((unsigned char)*p))
            return config__fail(errmsg, "%s: there is a control character in it", o->name);
    }
    if (at + (at > 0) + len > o->max || len < o->min)
        return config__fail(errmsg, "%s: must have %" PRIu64 " to %" PRIu64 " bytes", o->name,
                            o->min, o->max);
    if (at > 0)
        to[at++] = ',';
    memcpy(to + at, text, len + 1);
    return 0;
}

/* Names go into logs, tables, labels: plain ones only. */
static int set_name(struct config *config, const struct config_option *o, const char *text,
                    char errmsg[CONFIG_ERRMSG_BYTES])
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (text[strspn(text, allowed)] != '\0' || text[0] == '.' || text[0] == '-')
        return config__fail(errmsg,
                            "%s: '%.80s' is no name: letters, digits, '.', '_' and '-', and not "
                            "'.' or '-' first",
                            o->name, text);
    return set_text(config, o, text, false, errmsg);
}

/* What is wrong with HOST:PORT, or NULL. */
static const char *address_fault(const struct config_option *o, const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return "has no port: HOST:PORT";
    if (colon == text)
        return "has no host: 0.0.0.0:PORT is every address of this machine";
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    if (!bracketed && memchr(text, ':', (size_t)(colon - text)) != NULL)
        return "looks like IPv6, which goes into brackets: [::1]:7700";
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (!isdigit((unsigned char)colon[1]) || *end != '\0' || port > PORT_MAX || port < o->min)
        return o->min > 0 ? "needs a port from 1 to 65535"
                          : "needs a port from 0 to 65535, where 0 takes a free one";
    return strpbrk(text, " ,/") != NULL ? "is not HOST:PORT" : NULL;
}

static int set_address(struct config *config, const struct config_option *o, const char *text,
                       char errmsg[CONFIG_ERRMSG_BYTES])
{
    char *to = field(config, o);
    bool ipc = strncmp(text, "ipc:///", 7) == 0;
    if (strncmp(text, "tcp://", 6) == 0)
        text += 6;
    const char *fault = strlen(text) > o->max                      ? "is too long"
                        : ipc && strlen(text) > IPC_PATH_BYTES_MAX ? "is too long for a socket"
                        : ipc                                      ? NULL
                        : strstr(text, "://") != NULL ? "is neither HOST:PORT nor ipc:///PATH"
                        : text[0] == '\0' && o->fallback[0] == '\0' ? NULL
                                                                    : address_fault(o, text);
    if (fault != NULL)
        return config__fail(errmsg, "%s: '%.80s' %s", o->name, text, fault);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

/* ---- choices ---- */

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

static int set_choice(struct config *config, const struct config_option *o, const char *text,
                      char errmsg[CONFIG_ERRMSG_BYTES])
{
    if (!is_choice(o->choices, text))
        return config__fail(errmsg, "%s: '%.80s' is none of %s", o->name, text, o->choices);
    memcpy(field(config, o), text, strlen(text) + 1);
    return 0;
}

static int set_bool(struct config *config, const struct config_option *o, const char *text,
                    char errmsg[CONFIG_ERRMSG_BYTES])
{
    bool on = is_choice("on|true|yes|1", text);
    if (!on && !is_choice("off|false|no|0", text))
        return config__fail(errmsg, "%s: '%.80s' is neither on nor off", o->name, text);
    *(bool *)field(config, o) = on;
    return 0;
}

int config__set(struct config *config, const struct config_option *o, const char *text, bool append,
                char errmsg[CONFIG_ERRMSG_BYTES])
{
    switch (o->type) {
    case CONFIG_TEXT:
        return set_text(config, o, text, append, errmsg);
    case CONFIG_NAME:
        return set_name(config, o, text, errmsg);
    case CONFIG_ADDRESS:
        return set_address(config, o, text, errmsg);
    case CONFIG_CHOICE:
        return set_choice(config, o, text, errmsg);
    case CONFIG_BOOL:
        return set_bool(config, o, text, errmsg);
    default:
        return set_number(config, o, text, errmsg);
    }
}

/* ---- keys ---- */

/* lease_ttl and LEASE_TTL are lease-ttl. */
static void normalize(const char *key, char out[CONFIG_KEY_BYTES])
{
    size_t n = 0;
    for (; key[n] != '\0' && n < CONFIG_KEY_BYTES - 1; n++)
        out[n] = key[n] == '_' ? '-' : (char)tolower((unsigned char)key[n]);
    out[n] = '\0';
}

const struct config_option *config__find(const char *key)
{
    char normal[CONFIG_KEY_BYTES];
    normalize(key, normal);
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        if (strcmp(CONFIG_OPTIONS[i].name, normal) == 0)
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

int config__unknown(const char *what, const char *key, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char normal[CONFIG_KEY_BYTES];
    normalize(key, normal);
    const char *near = nearest_option(normal);
    if (near != NULL)
        return config__fail(errmsg, "unknown %s '%.80s'; did you mean '%s'?", what, key, near);
    return config__fail(errmsg, "unknown %s '%.80s'; troupe-node --help lists all", what, key);
}
