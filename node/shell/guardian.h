/* The guardian: the process that is started, which runs the node proper as its child (DESIGN §6.4).
 * It does nothing but wait, so it is there when the child dies, knows that it is dead, and starts
 * it again at once: the new run takes its name over by proof, and its partitions with it, long
 * before anybody else could tell a dead node from a slow one. A child that dies again and again is
 * given up; then its lease is marked as dead in the store, so that the others need not wait for its
 * end. So is that of a child that ends by itself with a fault: it may not have come to leave.
 *
 * Signals that end the node (SIGTERM, SIGINT) are passed on, and the child holds them back until it
 * can take them (node_hold_signals); the child's exit code is the guardian's. If the guardian
 * itself is killed, the child goes with it: no orphan lives on. */
#ifndef TROUPE_SHELL_GUARDIAN_H
#define TROUPE_SHELL_GUARDIAN_H

#include "node/shell/node.h"

enum {
    GUARDIAN_RESTARTS_MAX = 5, /* within … */
    GUARDIAN_WINDOW_S = 60,
};

/* Runs the node under guard until it ends of its own accord, or too often. */
int guardian_run(const struct config *config);

#endif
