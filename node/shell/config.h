/* The node's settings: out of a file (INI), the environment (TROUPE_*) and flags, in rising
 * precedence. One table describes them all; --help, --print-config and the checks are driven by it.
 * A key that is unknown is an error that names the nearest known one. */
#ifndef TROUPE_SHELL_CONFIG_H
#define TROUPE_SHELL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    CONFIG_TEXT_BYTES = 1024,
    CONFIG_ERRMSG_BYTES = 1024,
    CONFIG_OPTIONS_MAX = 64,
    CONFIG_ZONE_BYTES_MAX = 63
};

struct config {
    char name[CONFIG_TEXT_BYTES];
    char cluster[CONFIG_TEXT_BYTES];
    char store[CONFIG_TEXT_BYTES];
    char listen[CONFIG_TEXT_BYTES];
    char advertise[CONFIG_TEXT_BYTES];
    char zone[CONFIG_TEXT_BYTES], zone_file[CONFIG_TEXT_BYTES];
    char gossip_listen[CONFIG_TEXT_BYTES], gossip_advertise[CONFIG_TEXT_BYTES];
    char peer_listen[CONFIG_TEXT_BYTES], peer_advertise[CONFIG_TEXT_BYTES];
    char join[CONFIG_TEXT_BYTES];
    bool gossip, guardian;
    uint64_t weight, handoff_concurrency, handoff_bytes_per_s, drain_timeout_ms;
    char kinds[CONFIG_TEXT_BYTES];
    char ready_file[CONFIG_TEXT_BYTES];
    char log_level[CONFIG_TEXT_BYTES];
    char log_format[CONFIG_TEXT_BYTES];
    char store_outage[CONFIG_TEXT_BYTES];
    uint64_t partitions;
    uint64_t lease_ttl_ms, lease_renew_ms, outage_grace_ms, store_wait_ms, stop_timeout_ms;
    uint64_t store_connections;
    bool prepared_statements;
    char store_timeline[CONFIG_TEXT_BYTES];
    uint64_t memory_max, entities_max, warm_entities;
    uint64_t rpc_inflight_max, rpc_connections_max, rpc_connections_per_address, rpc_memory_max;
    uint64_t rpc_idle_ms;
};

enum config_type {
    CONFIG_TEXT,
    CONFIG_NAME,    /* of a node or a cluster */
    CONFIG_ADDRESS, /* HOST:PORT, [HOST]:PORT or ipc:///PATH; min is the least port */
    CONFIG_CHOICE,
    CONFIG_COUNT,
    CONFIG_DURATION,
    CONFIG_SIZE,
    CONFIG_BOOL
};

struct config_option {
    const char *name; /* lease-ttl: --lease-ttl, TROUPE_LEASE_TTL, lease-ttl = … */
    enum config_type type;
    size_t offset;        /* in struct config */
    const char *fallback; /* the default, as text */
    uint64_t min, max;    /* of numbers (durations in ms, sizes in bytes), of texts' lengths */
    const char *choices;  /* "a|b|c" */
    const char *help;
};

extern const struct config_option CONFIG_OPTIONS[];
extern const size_t CONFIG_OPTIONS_N;

enum config_command {
    CONFIG_RUN,
    CONFIG_HELP,
    CONFIG_VERSION,
    CONFIG_PRINT,
    CONFIG_MIGRATE,
    CONFIG_MIGRATE_DRY,
};

/* Reads everything; env is environ. Non-zero: errmsg says where and what (file and line, variable
 * or flag). */
int config_read(struct config *config, enum config_command *command, int argc, char **argv,
                char **env, char errmsg[CONFIG_ERRMSG_BYTES]);
void config_help(FILE *out);
/* As a file that config_read would take; passwords masked. */
void config_print(const struct config *config, FILE *out);
/* url with the password, if it has one, replaced by ***. url must have less than CONFIG_TEXT_BYTES.
 */
void config_mask_url(const char *url, char *masked, size_t bytes);

#endif
