/* See node_fixture.h. TROUPE_NODE_BIN and TROUPE_GIGBOOK are defined by CMake. */
#include "node_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGS_MAX = 32 };

void node_spawn(struct node_fixture *n, const char *dir, const char *const *extra)
{
    const char *argv[ARGS_MAX] = {TROUPE_NODE_BIN, "--name",       "n1",          "--kinds",
                                  TROUPE_GIGBOOK,  "--listen",     "127.0.0.1:0", "--ready-file",
                                  "ready",         "--log-format", "logfmt"};
    char ready[96];
    size_t at = 11;
    for (; extra != NULL && *extra != NULL; extra++) {
        assert_true(at < ARGS_MAX - 1);
        argv[at++] = *extra;
    }
    *n = (struct node_fixture){0};
    snprintf(n->dir, sizeof n->dir, "%s", dir);
    snprintf(ready, sizeof ready, "%s/ready", dir);
    unlink(ready);
    proc_start(&n->proc, &(struct proc_options){.argv = argv, .dir = dir});
}

void node_wait_ready(struct node_fixture *n)
{
    char ready[96];
    snprintf(ready, sizeof ready, "%s/ready", n->dir);
    if (proc_wait_line(&n->proc, "msg=ready", PROC_TIMEOUT_MS) == NULL)
        proc_give_up("the node in %s does not start; see above", n->dir);
    if (!proc_wait_file(ready, PROC_TIMEOUT_MS) ||
        !proc_read_file(ready, n->address, sizeof n->address))
        proc_give_up("the node does not write %s", ready);
}

void node_start(struct node_fixture *n, const char *dir, const char *const *extra)
{
    node_spawn(n, dir, extra);
    node_wait_ready(n);
}

int node_stop(struct node_fixture *n, int signum)
{
    proc_signal(&n->proc, signum);
    return proc_wait_exit(&n->proc, PROC_TIMEOUT_MS);
}

void node_free(struct node_fixture *n)
{
    proc_close(&n->proc);
}

const struct troupe_call_result *node_call(struct node_fixture *n, const char *entity,
                                           const char *method, const char *json,
                                           enum troupe_ack ack, uint32_t timeout_ms)
{
    static struct troupe_client *client;
    static struct troupe_batch *batch;
    static char connected_to[128], errmsg[256];
    if (client == NULL || strcmp(connected_to, n->address) != 0) {
        troupe_batch_free(batch);
        troupe_client_close(client);
        struct troupe_client_options options = {.addresses = n->address, .no_ring = true};
        if (troupe_client_open(&client, &options, errmsg, sizeof errmsg) != 0)
            proc_give_up("no client of %s: %s", n->address, errmsg);
        batch = troupe_batch_new(client);
        assert_non_null(batch);
        snprintf(connected_to, sizeof connected_to, "%s", n->address);
    }
    const char *slash = strchr(entity, '/');
    assert_non_null(slash);
    troupe_batch_reset(batch);
    assert_int_equal(troupe_batch_add(batch, troupe_bytes(entity, (size_t)(slash - entity)),
                                      troupe_bytes_of(slash + 1), troupe_bytes_of(method),
                                      troupe_bytes_of(json), ack, TROUPE_CALL_JSON),
                     0);
    assert_int_equal(troupe_batch_send_wait(batch, timeout_ms), 0);
    return troupe_batch_result(batch, 0);
}
