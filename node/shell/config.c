/* See config.h. Here: the environment, the flags, and in which order what wins. config_table.c has
 * the options, config_value.c what values they take, config_file.c the file, config_print.c the
 * output. */
#include "node/shell/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/shell/config_impl.h"
#include "node/shell/discover.h"
#include "troupe/error.h"

static const char PREFIX[] = "TROUPE_";

/* ---- the environment ---- */

/* Variables of other programs of the family, and of the tests. */
static bool is_others(const char *name)
{
    static const char *const others[] = {"CONFIG",   "NODE",    "POD_UID", "TEST_SEED",
                                         "TEST_LOG", "SIM_LOG", "TIMEOUT"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(name, others[i]) == 0)
            return true;
    }
    return false;
}

/* Kubernetes puts a service that is called troupe, or troupe-something, into the environment of
 * every pod beside it: TROUPE_SERVICE_HOST, TROUPE_PORT=tcp://…, TROUPE_PORT_7700_TCP_ADDR and so
 * on. */
static bool is_service_link(const char *name, const char *value)
{
    const char *port = strstr(name, "PORT");
    if (strstr(name, "SERVICE_HOST") != NULL || strstr(name, "SERVICE_PORT") != NULL)
        return true;
    return port != NULL && ((port[4] == '\0' && strstr(value, "://") != NULL) ||
                            (port[4] == '_' && isdigit((unsigned char)port[5])));
}

/* The name behind the prefix, and the value; false when it is none of ours, or empty: that is how
 * one takes a variable back where it cannot be removed, as in a unit file or a manifest. */
static bool split(const char *variable, char name[CONFIG_KEY_BYTES], const char **value)
{
    const char *equals = strchr(variable, '=');
    if (equals == NULL || strncmp(variable, PREFIX, sizeof PREFIX - 1) != 0)
        return false;
    const char *key = variable + sizeof PREFIX - 1;
    size_t len = equals > key ? (size_t)(equals - key) : 0;
    len = len < CONFIG_KEY_BYTES - 1 ? len : CONFIG_KEY_BYTES - 1;
    memcpy(name, key, len);
    name[len] = '\0';
    *value = equals + 1;
    return **value != '\0' && !is_others(name) && !is_service_link(name, *value);
}

int config__read_env(struct config *config, char **env, char errmsg[CONFIG_ERRMSG_BYTES])
{
    for (; *env != NULL; env++) {
        char name[CONFIG_KEY_BYTES], why[CONFIG_ERRMSG_BYTES / 2];
        const char *value;
        if (!split(*env, name, &value))
            continue;
        const struct config_option *o = config__find(name);
        int rc = o == NULL ? config__unknown("setting", name, errmsg)
                           : config__set(config, o, value, false, errmsg);
        if (rc != 0) {
            snprintf(why, sizeof why, "%s", errmsg);
            return config__fail(errmsg, "environment TROUPE_%s: %s", name, why);
        }
    }
    return 0;
}

static const char *config_variable(char **env)
{
    static const char name[] = "TROUPE_CONFIG=";
    for (; *env != NULL; env++) {
        if (strncmp(*env, name, sizeof name - 1) == 0 && (*env)[sizeof name - 1] != '\0')
            return *env + sizeof name - 1;
    }
    return NULL;
}

/* ---- flags ---- */

struct flags {
    enum config_command command;
    const char *file;
    bool migrate, dry_run, kinds_seen, join_seen;
};

/* --name value or --name=value; *i moves on when the value is the next argument. */
static int read_option(struct config *config, struct flags *flags, int argc, char **argv, int *i,
                       char errmsg[CONFIG_ERRMSG_BYTES])
{
    const char *arg = argv[*i] + 2, *equals = strchr(arg, '=');
    char key[CONFIG_KEY_BYTES] = "";
    snprintf(key, sizeof key, "%.*s", (int)(equals == NULL ? strlen(arg) : (size_t)(equals - arg)),
             arg);
    bool is_file = strcmp(key, "config") == 0;
    const struct config_option *o = config__find(key);
    if (o == NULL && !is_file)
        return config__unknown("option", key, errmsg);
    if (equals == NULL && *i + 1 >= argc)
        return config__fail(errmsg, "--%s needs a value", key);
    const char *value = equals != NULL ? equals + 1 : argv[++*i];
    if (is_file) {
        flags->file = value;
        return 0;
    }
    if (config == NULL) /* only looking for the file */
        return 0;
    bool kinds = strcmp(o->name, "kinds") == 0, join = strcmp(o->name, "join") == 0;
    bool append = (kinds && flags->kinds_seen) || (join && flags->join_seen);
    flags->kinds_seen |= kinds;
    flags->join_seen |= join;
    return config__set(config, o, value, append, errmsg);
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
            rc = config__fail(
                errmsg, "'%.80s' is no command; there is migrate, or none to run the node", arg);
    }
    if (rc == 0 && flags->dry_run && !flags->migrate)
        rc = config__fail(errmsg, "--dry-run belongs to migrate");
    return rc;
}

/* ---- all of it ---- */

static int set_defaults(struct config *config, char errmsg[CONFIG_ERRMSG_BYTES])
{
    *config = (struct config){0};
    for (size_t i = 0; i < CONFIG_OPTIONS_N; i++) {
        const struct config_option *o = &CONFIG_OPTIONS[i];
        int rc = o->fallback[0] == '\0' ? 0 : config__set(config, o, o->fallback, false, errmsg);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int default_name(struct config *config, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char host[256] = "", why[CONFIG_ERRMSG_BYTES / 2];
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        return config__fail(errmsg, "name: this host has none; set --name");
    int rc = config__set(config, config__find("name"), host, false, errmsg);
    if (rc != 0) {
        snprintf(why, sizeof why, "%s", errmsg);
        return config__fail(errmsg, "the host's name cannot be the node's (%s); set --name", why);
    }
    return 0;
}

/* Others than clients reach us on the same host, on the ports behind that for clients; where
 * clients have a free one, or none, on free ones. A port that is not there is not replaced by one
 * that nobody could know. */
static int default_listen(struct config *config, const char *name, char *to, unsigned offset,
                          char errmsg[CONFIG_ERRMSG_BYTES])
{
    const char *colon = strrchr(config->listen, ':');
    if (to[0] != '\0')
        return 0;
    if (strncmp(config->listen, "ipc://", 6) == 0 || colon == NULL) {
        snprintf(to, CONFIG_TEXT_BYTES, "127.0.0.1:0");
        return 0;
    }
    unsigned long port = strtoul(colon + 1, NULL, 10);
    if (port != 0 && port + offset > 65535)
        return config__fail(errmsg,
                            "%s: it would be listen's port + %u, and there is no port %lu; set it, "
                            "or give listen a port up to 65533",
                            name, offset, port + offset);
    snprintf(to, CONFIG_TEXT_BYTES, "%.*s:%lu", (int)(colon - config->listen), config->listen,
             port == 0 ? 0 : port + offset);
    return 0;
}

static int read_zone(struct config *config, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char line[CONFIG_ZONE_BYTES_MAX + 2] = "";
    if (config->zone[0] != '\0' || config->zone_file[0] == '\0')
        return 0;
    FILE *f = fopen(config->zone_file, "re");
    if (f == NULL)
        return config__fail(errmsg, "zone-file: %.200s: %s", config->zone_file, strerror(errno));
    bool got = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    size_t len = strcspn(line, "\r\n");
    if (!got || len == 0 || (line[len] == '\0' && len > CONFIG_ZONE_BYTES_MAX))
        return config__fail(errmsg,
                            "zone-file: %.200s: its first line must be the zone, 1 to %d bytes",
                            config->zone_file, CONFIG_ZONE_BYTES_MAX);
    line[len] = '\0';
    return config__set(config, config__find("zone"), line, false, errmsg);
}

/* Other nodes dial TCP. */
static int check_network(const struct config *config, char errmsg[CONFIG_ERRMSG_BYTES])
{
    const char *const addresses[] = {config->gossip_listen, config->gossip_advertise,
                                     config->peer_listen, config->peer_advertise};
    static const char *const names[] = {"gossip-listen", "gossip-advertise", "peer-listen",
                                        "peer-advertise"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncmp(addresses[i], "ipc://", 6) == 0)
            return config__fail(errmsg, "%s: '%.80s' must be HOST:PORT: other nodes dial it",
                                names[i], addresses[i]);
    }
    return 0;
}

static int check_cluster(struct config *config, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char why[DISCOVER_ERRMSG_BYTES];
    if (default_listen(config, "peer-listen", config->peer_listen, 1, errmsg) != 0 ||
        default_listen(config, "gossip-listen", config->gossip_listen, 2, errmsg) != 0 ||
        check_network(config, errmsg) != 0)
        return TROUPE_EINVAL;
    if (config->drain_timeout_ms >= config->stop_timeout_ms)
        return config__fail(errmsg, "drain-timeout must be less than stop-timeout");
    if (discover_check(config->join, why) != 0)
        return config__fail(errmsg, "%s", why);
    return read_zone(config, errmsg);
}

/* What no option can see alone. */
static int check(struct config *config, char errmsg[CONFIG_ERRMSG_BYTES])
{
    if (config->lease_renew_ms * 2 >= config->lease_ttl_ms)
        return config__fail(errmsg, "lease-renew must be less than half of lease-ttl");
    if ((config->partitions & (config->partitions - 1)) != 0)
        return config__fail(errmsg, "partitions: %" PRIu64 " is not a power of two",
                            config->partitions);
    int rc = check_cluster(config, errmsg);
    return rc == 0 && config->name[0] == '\0' ? default_name(config, errmsg) : rc;
}

int config_read(struct config *config, enum config_command *command, int argc, char **argv,
                char **env, char errmsg[CONFIG_ERRMSG_BYTES])
{
    struct flags flags = {.command = CONFIG_RUN};
    int rc = set_defaults(config, errmsg);
    if (rc == 0) /* first: which file, and is it help? */
        rc = read_flags(NULL, &flags, argc, argv, errmsg);
    if (rc != 0)
        return rc;
    *command = flags.command;
    if (*command == CONFIG_HELP || *command == CONFIG_VERSION)
        return 0;
    const char *file = flags.file != NULL ? flags.file : config_variable(env);
    if (file != NULL)
        rc = config__read_file(config, file, errmsg);
    if (rc == 0)
        rc = config__read_env(config, env, errmsg);
    if (rc == 0)
        rc = read_flags(config, &flags, argc, argv, errmsg);
    if (rc == 0)
        rc = check(config, errmsg);
    if (rc == 0 && flags.migrate && *command == CONFIG_RUN)
        *command = flags.dry_run ? CONFIG_MIGRATE_DRY : CONFIG_MIGRATE;
    return rc;
}
