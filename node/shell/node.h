/* A node as a process: settings in, exit code out. */
#ifndef TROUPE_SHELL_NODE_H
#define TROUPE_SHELL_NODE_H

#include "node/shell/config.h"

enum node_exit {
    NODE_EXIT_OK = 0,
    NODE_EXIT_USAGE = 2,
    NODE_EXIT_STORE = 3,
    NODE_EXIT_NAME_TAKEN = 4,
    NODE_EXIT_ADDRESS = 5,
    NODE_EXIT_KINDS = 6,
    NODE_EXIT_FAULT = 70,
};

/* SIGTERM and SIGINT wait until node_run can take them, which is before it registers: a stop that
 * comes sooner is a clean one all the same. SIGHUP is ignored from now on: the end of a terminal is
 * not that of the node. So are SIGPIPE and SIGXFSZ: a reader that has gone, a file that may not
 * grow any more, are errors of the write that met them. A child inherits all of that. */
void node_hold_signals(void);
/* They end the process again, what has waited at once, unless somebody handles them. */
void node_release_signals(void);

/* Runs until a signal or a failure ends it. report_fd: where to write the generation, 8 bytes, each
 * time it has registered, which must not block; -1 = nowhere. buried: a generation of this name
 * whose process the caller has seen end; 0 = none. */
enum node_exit node_run(const struct config *config, int report_fd, uint64_t buried);
/* Removes the file that says that the node is ready, if there is to be one: its process has ended,
 * or begins. */
void node_is_not_ready(const struct config *config);
enum node_exit node_migrate(const struct config *config, bool dry_run);
const char *node_version(void);

#endif
