/* Real nodes under test: troupe-node with gigbook's kinds on a free port, in a temp dir of the
 * test's. */
#ifndef TROUPE_TESTS_NODE_FIXTURE_H
#define TROUPE_TESTS_NODE_FIXTURE_H

#include "proc.h"
#include "troupe/client.h"

struct node_fixture {
    struct proc proc;
    char dir[64];      /* where it runs: its SQLite file is there */
    char address[128]; /* once it serves */
};

/* Starts a node named n1 in dir (made by the caller) with extra arguments up to NULL; does not
 * wait. */
void node_spawn(struct node_fixture *n, const char *dir, const char *const *extra);
/* Waits until it serves. */
void node_wait_ready(struct node_fixture *n);
/* Both. */
void node_start(struct node_fixture *n, const char *dir, const char *const *extra);
/* Signals and waits for the end; its exit code. The log stays readable until node_free. */
int node_stop(struct node_fixture *n, int signum);
void node_free(struct node_fixture *n);

/* One call with JSON, waited for; the result is valid until the next call. */
const struct troupe_call_result *node_call(struct node_fixture *n, const char *entity,
                                           const char *method, const char *json,
                                           enum troupe_ack ack, uint32_t timeout_ms);

#endif
