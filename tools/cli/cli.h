/* The troupe command: what its parts share. One file per command; each has a function of the form
 * of main, whose value is the exit code. */
#ifndef TROUPE_CLI_CLI_H
#define TROUPE_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

/* Documented in --help and docs/cli.md; scripts rely on them. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_ANSWERED = 1, /* a node answered, and not with OK; status: it is not healthy */
    EXIT_USAGE = 2,
    EXIT_UNREACHED = 3, /* no node answered, or not in time */
    EXIT_DISAGREED = 4, /* status, check: the nodes do not agree on the members, or on the ring */
};

/* The options that every command has. */
struct common {
    const char *node; /* addresses; by default $TROUPE_NODE or 127.0.0.1:7700 */
    uint32_t timeout_ms;
    bool json;
};

int command_call(int argc, char **argv);
int command_check(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_evict(int argc, char **argv);
int command_get(int argc, char **argv);
int command_kinds(int argc, char **argv);
int command_load(int argc, char **argv);
int command_members(int argc, char **argv);
int command_rebalance(int argc, char **argv);
int command_ring(int argc, char **argv);
int command_status(int argc, char **argv);
int command_transfers(int argc, char **argv);
int command_why(int argc, char **argv);

#endif
