/* See node.h. The order of things: kinds, the listener's address, runtime, store, then the loop. At
 * the end the other way round: the runtime stops (persists, leaves), the last replies go out, the
 * listener closes, the store closes. */
#include "node/shell/node.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/invariant.h"
#include "node/shell/clock.h"
#include "node/shell/core.h"
#include "node/shell/kinds.h"
#include "node/shell/log.h"
#include "node/shell/proof.h"
#include "node/shell/rpc.h"

enum {
    REPLIES_OUT_MS = 2000, /* at the end: for replies to leave, and for connections to close */
    POLL_MS = 5,
};

struct node {
    const struct config *config;
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    uv_timer_t watch; /* store-wait, then stop-timeout, then the last replies */
    struct kinds kinds;
    struct store *store;
    struct runtime *rt;
    struct core core;
    struct rpc_server *rpc;
    char bound[RPC_ADDRESS_BYTES], store_masked[CONFIG_TEXT_BYTES + 8];
    uint64_t stopped_ns;
    bool stopping, closing;
    enum node_exit code;
};

const char *node_version(void)
{
    return TROUPE_VERSION;
}

static void log_store(void *data, enum store_log_level level, const char *message)
{
    (void)data;
    log_line((enum log_level)level, "store", "text", message, NULL);
}

/* ---- the end ---- */

static void on_store_closed(void *data)
{
    struct node *n = data;
    core_close(&n->core);
    uv_close((uv_handle_t *)&n->sigterm, NULL);
    uv_close((uv_handle_t *)&n->sigint, NULL);
    uv_close((uv_handle_t *)&n->watch, NULL);
}

static void close_all(struct node *n)
{
    if (n->closing)
        return;
    n->closing = true;
    uv_timer_stop(&n->watch);
    if (!rpc_close(n->rpc, REPLIES_OUT_MS)) {
        log_line(LOG_LEVEL_WARN, "connections to clients do not close: exiting all the same", NULL);
        _exit(n->code);
    }
    n->rpc = NULL;
    store_close(n->store, on_store_closed, n);
}

/* The runtime has stopped; the replies that it let go of may still be on their way to the sockets.
 */
static void on_last_replies(uv_timer_t *timer)
{
    struct node *n = timer->data;
    bool late = clock_now().mono_ns - n->stopped_ns > REPLIES_OUT_MS * UINT64_C(1000000);
    if (rpc_is_quiet(n->rpc) || late)
        close_all(n);
}

/* What is not persisted by now is lost, or the store would not even let us leave. */
static void on_stop_timeout(uv_timer_t *timer)
{
    struct node *n = timer->data;
    struct runtime_stats s;
    char dirty[24];
    core_stats(&n->core, &s);
    snprintf(dirty, sizeof dirty, "%" PRIu64, s.entities_dirty);
    log_line(LOG_LEVEL_ERROR,
             "not everything could be persisted within stop-timeout: exiting without it",
             "entities_lost", dirty, "store", n->store_masked, NULL);
    _exit(NODE_EXIT_FAULT);
}

static void begin_stop(struct node *n)
{
    if (n->stopping) {
        log_line(LOG_LEVEL_INFO,
                 "still persisting; it takes as long as the store needs, or stop-timeout", NULL);
        return;
    }
    n->stopping = true;
    uv_timer_start(&n->watch, on_stop_timeout, n->config->stop_timeout_ms, 0);
    core_push_stop(&n->core);
    core_run(&n->core);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    log_line(LOG_LEVEL_INFO, "signal", "name", signum == SIGTERM ? "SIGTERM" : "SIGINT", NULL);
    begin_stop(handle->data);
}

static enum node_exit exit_code(int failure_code)
{
    return failure_code == TROUPE_EBUSY      ? NODE_EXIT_NAME_TAKEN
           : failure_code == TROUPE_EVERSION ? NODE_EXIT_STORE
                                             : NODE_EXIT_FAULT;
}

static void write_ready_file(const struct node *n)
{
    const char *path = n->config->ready_file;
    FILE *f = path[0] == '\0' ? NULL : fopen(path, "we");
    if (f != NULL) {
        fprintf(f, "%s\n", n->bound);
        fclose(f);
    } else if (path[0] != '\0') {
        log_line(LOG_LEVEL_ERROR, "cannot write the ready file", "file", path, NULL);
    }
}

static void on_phase(void *data, enum runtime_phase phase, int failure_code, const char *failure)
{
    struct node *n = data;
    switch (phase) {
    case RUNTIME_SERVING:
        if (!n->stopping)
            uv_timer_stop(&n->watch);
        log_line(LOG_LEVEL_INFO, "ready", "address", n->bound, "name", n->config->name, NULL);
        write_ready_file(n);
        break;
    case RUNTIME_FAILED:
        log_line(LOG_LEVEL_ERROR, "cannot go on", "why", failure, NULL);
        n->code = exit_code(failure_code);
        n->stopped_ns = clock_now().mono_ns;
        uv_timer_start(&n->watch, on_last_replies, 0, POLL_MS);
        break;
    case RUNTIME_STOPPED:
        n->stopped_ns = clock_now().mono_ns;
        uv_timer_start(&n->watch, on_last_replies, 0, POLL_MS);
        break;
    default:
        break;
    }
}

/* ---- the beginning ---- */

static void on_store_wait(uv_timer_t *timer)
{
    struct node *n = timer->data;
    struct runtime_stats s;
    core_stats(&n->core, &s);
    if (s.phase != RUNTIME_STARTING || s.store_ok)
        return;
    log_line(
        LOG_LEVEL_ERROR,
        "the store could not be reached within store-wait: is it running, and is --store right?",
        "store", n->store_masked, NULL);
    n->code = NODE_EXIT_STORE;
    begin_stop(n);
}

/* A registration that finds the name taken: the proof tells whether its holder is gone. */
static void judge_holder(void *data, struct store_request *request)
{
    (void)data;
    if (request->op == STORE_REGISTER && request->error == TROUPE_EBUSY)
        request->u.reg.holder_gone =
            request->u.reg.holder.proof != NULL && proof_is_gone(request->u.reg.holder.proof);
}

static enum node_exit open_store(struct node *n)
{
    char errmsg[STORE_ERRMSG_BYTES];
    const struct config *c = n->config;
    struct store_options options = {
        .url = c->store,
        .cluster = c->cluster,
        .partitions = (uint32_t)c->partitions,
        .loop = &n->loop,
        .connections = (uint32_t)c->store_connections,
        .prepared_statements = c->prepared_statements,
        .log = log_store,
    };
    if (store_open(&n->store, &options, errmsg) == 0)
        return NODE_EXIT_OK;
    log_line(LOG_LEVEL_ERROR, "store", "why", errmsg, "store", n->store_masked, NULL);
    return NODE_EXIT_USAGE;
}

static enum node_exit open_runtime(struct node *n, const char *address)
{
    char errmsg[STORE_ERRMSG_BYTES], proof[STORE_PROOF_BYTES_MAX + 1];
    const struct config *c = n->config;
    struct runtime_time now = clock_now();
    proof_make(proof);
    struct runtime_config config = {
        .name = c->name,
        .cluster = c->cluster,
        .address = address,
        .proof = proof,
        .version = node_version(),
        .store_url = n->store_masked,
        .incarnation = now.wall_ms * 1000000 + now.mono_ns % 1000000,
        .seed = now.mono_ns ^ (uint64_t)getpid() << 32,
        .partitions = (uint32_t)c->partitions,
        .kinds = n->kinds.all,
        .kinds_n = n->kinds.n,
        .lease_ttl_ms = (uint32_t)c->lease_ttl_ms,
        .lease_renew_ms = (uint32_t)c->lease_renew_ms,
        .outage_grace_ms = (uint32_t)c->outage_grace_ms,
        .outage_fence = strcmp(c->store_outage, "fence") == 0,
        .entities_max = c->entities_max,
        .memory_bytes_max = c->memory_max,
    };
    if (runtime_open(&n->rt, &config, errmsg) == 0)
        return NODE_EXIT_OK;
    log_line(LOG_LEVEL_ERROR, "cannot start", "why", errmsg, NULL);
    return NODE_EXIT_USAGE;
}

/* The listener first gets its port, so that the lease row can tell the address; it takes requests
 * when all is up. */
static enum node_exit listen_for_calls(struct node *n)
{
    char errmsg[RPC_ERRMSG_BYTES];
    const struct config *c = n->config;
    struct rpc_options options = {
        .address = c->listen,
        .inflight_max = (uint32_t)c->rpc_inflight_max,
        .connections_max = (uint32_t)c->rpc_connections_max,
        .memory_max = c->rpc_memory_max,
    };
    int rc = rpc_listen(&n->rpc, &options, n->bound, errmsg);
    if (rc == 0)
        return NODE_EXIT_OK;
    log_line(LOG_LEVEL_ERROR, "cannot listen", "why", errmsg, NULL);
    return rc == TROUPE_EBUSY ? NODE_EXIT_ADDRESS : NODE_EXIT_USAGE;
}

static void arm(struct node *n)
{
    n->core.data = n;
    n->core.on_phase = on_phase;
    n->core.on_store = judge_holder;
    uv_signal_init(&n->loop, &n->sigterm);
    uv_signal_init(&n->loop, &n->sigint);
    uv_timer_init(&n->loop, &n->watch);
    n->sigterm.data = n->sigint.data = n->watch.data = n;
    uv_signal_start(&n->sigterm, on_signal, SIGTERM);
    uv_signal_start(&n->sigint, on_signal, SIGINT);
    uv_timer_start(&n->watch, on_store_wait, n->config->store_wait_ms, 1000);
}

static void on_replies(void *data, struct runtime_request *finished)
{
    rpc_replies(((struct node *)data)->rpc, finished);
}

static enum node_exit run(struct node *n)
{
    char errmsg[KINDS_ERRMSG_BYTES];
    if (kinds_load(&n->kinds, n->config->kinds, errmsg) != 0) {
        log_line(LOG_LEVEL_ERROR, "kinds", "why", errmsg, NULL);
        return NODE_EXIT_KINDS;
    }
    enum node_exit code = listen_for_calls(n);
    if (code != NODE_EXIT_OK)
        return code;
    const char *address = n->config->advertise[0] != '\0' ? n->config->advertise : n->bound;
    code = open_runtime(n, address);
    if (code == NODE_EXIT_OK)
        code = open_store(n);
    if (code != NODE_EXIT_OK)
        return code;
    if (core_init(&n->core, &n->loop, n->rt, n->store) != 0)
        return NODE_EXIT_FAULT;
    arm(n);
    n->core.on_replies = on_replies;
    if (n->kinds.n == 0)
        log_line(LOG_LEVEL_WARN,
                 "no kinds are loaded: the node can answer nothing but $node; use --kinds FILE.so",
                 NULL);
    rpc_start(n->rpc, &n->core);
    core_run(&n->core);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    return n->code;
}

enum node_exit node_run(const struct config *config)
{
    static struct node node; /* large, and there is one per process */
    struct node *n = &node;
    signal(SIGPIPE, SIG_IGN);
    n->config = config;
    config_mask_url(config->store, n->store_masked, sizeof n->store_masked);
    if (uv_loop_init(&n->loop) != 0)
        return NODE_EXIT_FAULT;
    enum node_exit code = run(n);
    rpc_close(n->rpc, REPLIES_OUT_MS); /* when it did not come as far as the loop */
    runtime_close(n->rt);
    uv_loop_close(&n->loop);
    return code;
}

static void report(void *data, const char *line)
{
    fprintf(data, "%s\n", line);
}

enum node_exit node_migrate(const struct config *config, bool dry_run)
{
    char errmsg[STORE_ERRMSG_BYTES];
    int rc = store_migrate(config->store, dry_run, report, stdout, errmsg);
    if (rc == 0)
        return NODE_EXIT_OK;
    fprintf(stderr, "troupe-node: migrate: %s\n", errmsg);
    return rc == TROUPE_EINVAL ? NODE_EXIT_USAGE : NODE_EXIT_STORE;
}
