/* troupe-node: reads the settings and does what they say. */
#include <stdio.h>
#include <string.h>

#include "node/shell/config.h"
#include "node/shell/guardian.h"
#include "node/shell/log.h"
#include "node/shell/node.h"
#include "os/descriptors.h"

extern char **environ;

static enum log_level level_of(const char *name)
{
    return strcmp(name, "debug") == 0   ? LOG_LEVEL_DEBUG
           : strcmp(name, "warn") == 0  ? LOG_LEVEL_WARN
           : strcmp(name, "error") == 0 ? LOG_LEVEL_ERROR
                                        : LOG_LEVEL_INFO;
}

static enum log_format format_of(const char *name)
{
    return strcmp(name, "json") == 0     ? LOG_FORMAT_JSON
           : strcmp(name, "logfmt") == 0 ? LOG_FORMAT_LOGFMT
                                         : LOG_FORMAT_AUTO;
}

int main(int argc, char **argv)
{
    static struct config config;
    enum config_command command;
    char errmsg[CONFIG_ERRMSG_BYTES];
    descriptors_fill();
    node_hold_signals(); /* first: a stop right after the start is a clean one */
    if (config_read(&config, &command, argc, argv, environ, errmsg) != 0) {
        fprintf(stderr, "troupe-node: %s\n", errmsg);
        return NODE_EXIT_USAGE;
    }
    switch (command) {
    case CONFIG_HELP:
        config_help(stdout);
        return NODE_EXIT_OK;
    case CONFIG_VERSION:
        printf("troupe-node %s\n", node_version());
        return NODE_EXIT_OK;
    case CONFIG_PRINT:
        config_print(&config, stdout);
        return NODE_EXIT_OK;
    case CONFIG_MIGRATE:
    case CONFIG_MIGRATE_DRY:
        node_release_signals();
        return (int)node_migrate(&config, command == CONFIG_MIGRATE_DRY);
    case CONFIG_RUN:
        break;
    }
    log_setup(format_of(config.log_format), level_of(config.log_level));
    return config.guardian ? guardian_run(&config) : (int)node_run(&config, -1, 0);
}
