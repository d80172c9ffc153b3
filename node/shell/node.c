/* See node.h. The node's life: STARTING, until the store has been reached or store-wait is over;
 * serving; from a signal on stopping, until the runtime has persisted everything and left or
 * stop-timeout is over; then the last replies go out, the listener closes, the store closes. */
#include "node/shell/node.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/shell/clock.h"
#include "node/shell/log.h"
#include "node/shell/node_impl.h"
#include "node/shell/proof.h"

enum {
    REPLIES_OUT_MS = 2000, /* at the end: for replies to leave, and for connections to close */
    STORE_CLOSE_MS = 10000,
    POLL_MS = 5,
    STORE_WAIT_POLL_MS = 1000,
    TICK_MS = 1000,
    SILENT_MS = 1200, /* a run that renews each second is younger: its proof need not be read */
    REPORT_TICKS = 60,
    DESCRIPTORS_MIN = 32, /* of which a node takes about twenty before it serves anybody */
};

const char *node_version(void)
{
    return TROUPE_VERSION;
}

/* ---- signals ---- */

static void mask_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(how, &set, NULL);
}

void node_hold_signals(void)
{
    mask_signals(SIG_BLOCK);
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error of the write … */
    signal(SIGXFSZ, SIG_IGN); /* … and so is a file that may not grow: both processes go on */
    signal(SIGHUP, SIG_IGN);  /* last: tests see by it that this was called */
}

void node_release_signals(void)
{
    mask_signals(SIG_UNBLOCK);
}

/* ---- the end ---- */

void node_is_not_ready(const struct config *config)
{
    if (config->ready_file[0] != '\0')
        unlink(config->ready_file);
}

static void remove_ready_file(const struct node *n)
{
    if (n->ready)
        node_is_not_ready(n->config);
}

/* Not the orderly end, but there is nothing more to lose by it. */
static void leave(struct node *n, enum log_level level, const char *why)
{
    log_line(level, why, NULL);
    log_flush(true);
    remove_ready_file(n);
    _exit(n->code);
}

static void on_store_closed(void *data)
{
    struct node *n = data;
    core_close(&n->core);
    uv_close((uv_handle_t *)&n->sigterm, NULL);
    uv_close((uv_handle_t *)&n->sigint, NULL);
    signal(SIGTERM, SIG_IGN); /* one more of them does not spoil the end */
    signal(SIGINT, SIG_IGN);
    uv_close((uv_handle_t *)&n->watch, NULL);
    uv_close((uv_handle_t *)&n->tick, NULL);
    if (n->cluster.looks_up) /* the loop, and libuv at the exit, would wait for the resolver */
        leave(n, LOG_LEVEL_INFO, "a name is still being looked up: not waiting for that");
}

static void on_cluster_closed(void *data)
{
    struct node *n = data;
    store_close(n->store, on_store_closed, n);
}

static void on_store_late(uv_timer_t *timer)
{
    leave(timer->data, LOG_LEVEL_WARN, "the store does not close: exiting all the same");
}

static void close_all(struct node *n)
{
    if (n->closing)
        return;
    n->closing = true;
    if (!rpc_close(n->rpc, REPLIES_OUT_MS))
        leave(n, LOG_LEVEL_WARN, "connections to clients do not close: exiting all the same");
    n->rpc = NULL;
    n->cluster.peer_rpc = NULL;
    if (!rpc_close(n->peer_rpc, REPLIES_OUT_MS))
        leave(n, LOG_LEVEL_WARN, "connections of other nodes do not close: exiting all the same");
    n->peer_rpc = NULL;
    uv_timer_start(&n->watch, on_store_late, STORE_CLOSE_MS, 0);
    cluster_close(&n->cluster, on_cluster_closed, n);
}

/* The runtime is done; the replies that it let go of may still be on their way. */
static void on_last_replies(uv_timer_t *timer)
{
    struct node *n = timer->data;
    bool late = clock_now().mono_ns - n->ended_ns > REPLIES_OUT_MS * UINT64_C(1000000);
    bool quiet = rpc_is_quiet(n->rpc) && (n->peer_rpc == NULL || rpc_is_quiet(n->peer_rpc));
    if (quiet || late)
        close_all(n);
}

static void end(struct node *n)
{
    n->ended = true;
    n->ended_ns = clock_now().mono_ns;
    uv_timer_start(&n->watch, on_last_replies, 0, POLL_MS);
}

/* What is not persisted by now is lost; or only the store does not let us leave, and that is no
 * fault: it costs the others the rest of the lease. */
static void on_stop_timeout(uv_timer_t *timer)
{
    struct node *n = timer->data;
    struct runtime_stats s;
    char dirty[24];
    core_stats(&n->core, &s);
    if (s.entities_dirty == 0 && s.saves_in_flight == 0) {
        log_line(LOG_LEVEL_WARN,
                 "everything is persisted, but the lease could not be given back: it will run out "
                 "by itself",
                 "store", n->store_masked, NULL);
        leave(n, LOG_LEVEL_WARN, "stop-timeout is over: exiting");
    }
    snprintf(dirty, sizeof dirty, "%" PRIu64, s.entities_dirty);
    log_line(LOG_LEVEL_ERROR, "not everything could be persisted", "entities_lost", dirty, "store",
             n->store_masked, NULL);
    if (n->code == NODE_EXIT_OK)
        n->code = NODE_EXIT_FAULT;
    leave(n, LOG_LEVEL_ERROR, "stop-timeout is over: exiting");
}

static void begin_stop(struct node *n)
{
    if (n->ended)
        return;
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

/* ---- phases ---- */

static enum node_exit exit_code(int failure_code)
{
    return failure_code == TROUPE_EBUSY      ? NODE_EXIT_NAME_TAKEN
           : failure_code == TROUPE_EVERSION ? NODE_EXIT_STORE
                                             : NODE_EXIT_FAULT;
}

/* Whoever waits for the file finds it whole. */
static void write_ready_file(const struct node *n)
{
    char temporary[CONFIG_TEXT_BYTES + 8];
    const char *path = n->config->ready_file;
    if (path[0] == '\0')
        return;
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    FILE *f = fopen(temporary, "we");
    bool written = f != NULL && fprintf(f, "%s\n", n->bound) > 0;
    if (f != NULL)
        written &= fclose(f) == 0;
    if (!written || rename(temporary, path) != 0)
        log_line(LOG_LEVEL_ERROR, "cannot write the ready file", "file", path, NULL);
}

static void on_serving(struct node *n)
{
    if (!n->stopping && !n->ended)
        uv_timer_stop(&n->watch);
}

static void on_serves(void *data)
{
    struct node *n = data;
    if (n->stopping || n->ended)
        return;
    n->ready = true;
    log_line(LOG_LEVEL_INFO, "ready", "address", n->bound, "advertised", n->advertised, "name",
             n->config->name, NULL);
    write_ready_file(n);
}

static void on_phase(void *data, enum runtime_phase phase, int failure_code, const char *failure)
{
    struct node *n = data;
    switch (phase) {
    case RUNTIME_SERVING:
        on_serving(n);
        break;
    case RUNTIME_FAILED:
        log_line(LOG_LEVEL_ERROR, "cannot go on", "why", failure, NULL);
        n->code = exit_code(failure_code);
        end(n);
        break;
    case RUNTIME_STOPPED:
        end(n);
        break;
    case RUNTIME_STARTING:
    case RUNTIME_SUSPENDED:
    case RUNTIME_STOPPING:
        break;
    }
}

static void on_store_wait(uv_timer_t *timer)
{
    struct node *n = timer->data;
    struct runtime_stats s;
    core_stats(&n->core, &s);
    if (s.phase != RUNTIME_STARTING || s.store_ok)
        return;
    log_line(
        LOG_LEVEL_ERROR,
        "the store could not be reached or refused what it was asked, for all of store-wait: is it "
        "running, and is --store right?",
        "store", n->store_masked, NULL);
    n->code = NODE_EXIT_STORE;
    begin_stop(n);
}

/* The guardian can bury this run from now on. The pipe does not block: when it is full, of
 * thousands of registrations in one run, what does not fit is lost, and the lease ends by itself.
 */
static void report_generation(const struct node *n, uint64_t generation)
{
    if (n->report_fd >= 0 && write(n->report_fd, &generation, sizeof generation) < 0)
        log_line(LOG_LEVEL_WARN, "the guardian cannot be told this run's generation", "why",
                 strerror(errno), NULL);
}

/* Whether a run is gone, unless the store knows. */
static void judge_run(struct store_node *row, bool same_name)
{
    if (row->fate == STORE_FATE_UNKNOWN && row->proof != NULL &&
        proof_is_gone(row->proof, same_name))
        row->fate = STORE_FATE_GONE;
}

/* A registration that finds the name taken: whether its holder is gone. */
static void judge_holder(const struct node *n, struct store_register *reg)
{
    if (n->buried != 0 && reg->holder.generation == n->buried)
        reg->holder.fate = STORE_FATE_BURIED;
    else
        judge_run(&reg->holder, true);
}

/* Those that have gone without renewing for a while. */
static void judge_others(const struct store_renew *renew)
{
    for (size_t i = 0; i < renew->others_n; i++) {
        if (renew->others[i].expired || renew->others[i].age_ms >= SILENT_MS)
            judge_run(&renew->others[i], false);
    }
}

static void on_store(void *data, struct store_request *request)
{
    if (request->op == STORE_RENEW && request->error == 0)
        judge_others(&request->u.renew);
    if (request->op != STORE_REGISTER)
        return;
    if (request->error == 0)
        report_generation(data, request->u.reg.generation);
    else if (request->error == TROUPE_EBUSY)
        judge_holder(data, &request->u.reg);
}

static void on_replies(void *data, struct runtime_request *finished)
{
    rpc_replies(((struct node *)data)->rpc, finished);
}

static void on_tick(uv_timer_t *timer)
{
    struct node *n = timer->data;
    if (++n->ticks % REPORT_TICKS == 0)
        cluster_report(&n->cluster);
    log_flush(false);
}

static void on_frames(void *data, struct runtime_frame *frames)
{
    cluster_frames(&((struct node *)data)->cluster, frames);
}

static void on_peers(void *data, struct runtime_peer_request *requests)
{
    cluster_peers(&((struct node *)data)->cluster, requests);
}

/* ---- all of it ---- */

static void arm(struct node *n)
{
    n->core.data = n;
    n->core.on_phase = on_phase;
    n->core.on_serves = on_serves;
    n->core.on_store = on_store;
    n->core.on_replies = on_replies;
    n->core.on_frames = on_frames;
    n->core.on_peers = on_peers;
    uv_signal_init(&n->loop, &n->sigterm);
    uv_signal_init(&n->loop, &n->sigint);
    uv_timer_init(&n->loop, &n->watch);
    uv_timer_init(&n->loop, &n->tick);
    n->sigterm.data = n->sigint.data = n->watch.data = n->tick.data = n;
    uv_signal_start(&n->sigterm, on_signal, SIGTERM);
    uv_signal_start(&n->sigint, on_signal, SIGINT);
    node_release_signals();
    uv_timer_start(&n->watch, on_store_wait, n->config->store_wait_ms, STORE_WAIT_POLL_MS);
    uv_timer_start(&n->tick, on_tick, TICK_MS, TICK_MS);
}

/* libuv and nng end the process when they get none for what they need inside. */
static bool has_descriptors(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max >= DESCRIPTORS_MIN;
}

/* The system has too little of something. */
static enum node_exit cannot_start(const char *why)
{
    log_line(LOG_LEVEL_ERROR,
             "cannot start: is the limit on open files (ulimit -n, LimitNOFILE= in a unit) or on "
             "memory too low?",
             "why", why, NULL);
    return NODE_EXIT_FAULT;
}

static enum node_exit run(struct node *n)
{
    char errmsg[CLUSTER_ERRMSG_BYTES];
    enum node_exit code = node__open(n);
    if (code != NODE_EXIT_OK)
        return code;
    if (core_init(&n->core, &n->loop, n->rt, n->store) != 0)
        return cannot_start("out of memory, or of descriptors");
    arm(n);
    if (n->cluster.gossip != NULL &&
        cluster_start(&n->cluster, &n->loop, &n->core, n->config->join, errmsg) != 0) {
        log_line(LOG_LEVEL_ERROR, "cannot join others", "why", errmsg, NULL);
        return NODE_EXIT_FAULT;
    }
    rpc_start(n->rpc, &n->core);
    if (n->peer_rpc != NULL)
        rpc_start(n->peer_rpc, &n->core);
    core_run(&n->core);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    remove_ready_file(n);
    return n->code;
}

enum node_exit node_run(const struct config *config, int report_fd, uint64_t buried)
{
    static struct node node; /* large, and there is one per process */
    struct node *n = &node;
    char pid[24];
    n->config = config;
    n->report_fd = report_fd;
    n->buried = buried;
    config_mask_url(config->store, n->store_masked, sizeof n->store_masked);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    log_line(LOG_LEVEL_INFO, "starting", "version", node_version(), "name", config->name, "cluster",
             config->cluster, "store", n->store_masked, "pid", pid, NULL);
    node_is_not_ready(config); /* whatever an earlier run has left */
    if (!has_descriptors())
        return cannot_start("there are too few descriptors for a node");
    int rc = uv_loop_init(&n->loop);
    if (rc != 0)
        return cannot_start(uv_strerror(rc));
    enum node_exit code = run(n);
    rpc_close(n->peer_rpc, REPLIES_OUT_MS);
    rpc_close(n->rpc, REPLIES_OUT_MS); /* when it did not come as far as the loop */
    runtime_close(n->rt);
    uv_loop_close(&n->loop);
    log_flush(true);
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
