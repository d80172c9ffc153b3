/* See guardian.h. */
#include "node/shell/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "node/shell/clock.h"
#include "node/shell/log.h"
#include "node/shell/log_sink.h"
#include "storage/store.h"

enum { BURY_MS = 5000 };

struct guardian {
    const struct config *config;
    sigset_t signals, before;
    pid_t child;
    int report[2];       /* the child tells its generation */
    uint64_t generation; /* of the last run that told; 0 = none */
    uint64_t deaths_ns[GUARDIAN_RESTARTS_MAX];
    unsigned deaths;
    bool stopping;
    bool early; /* an interrupt may have come before the child was there to get it, too */
};

/* ---- the child ---- */

static int be_child(struct guardian *g, pid_t guardian)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guardian) /* it died before that took effect */
        return NODE_EXIT_FAULT;
    close(g->report[0]);
    log_sink_forget();
    sigprocmask(SIG_SETMASK, &g->before, NULL); /* what ends the node is held on: node_run */
    return (int)node_run(g->config, g->report[1], g->generation);
}

static int start(struct guardian *g)
{
    pid_t guardian = getpid();
    if (pipe2(g->report, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    g->child = fork();
    if (g->child == 0)
        exit(be_child(g, guardian));
    close(g->report[1]);
    if (g->child < 0)
        close(g->report[0]);
    sigset_t pending;
    g->early = sigpending(&pending) == 0 && sigismember(&pending, SIGINT) == 1;
    return g->child < 0 ? -1 : 0;
}

/* The last generation that the child told. It may have written several, of which none is partial: a
 * pipe takes so few bytes whole. Nor need the pipe have come to its end: a process that a kind has
 * forked may hold it open, and is not waited for. */
static void read_report(struct guardian *g)
{
    uint64_t generation;
    while (read(g->report[0], &generation, sizeof generation) == (ssize_t)sizeof generation)
        g->generation = generation;
    close(g->report[0]);
}

/* ---- burying: the store learns that the run is dead ---- */

struct burial {
    uv_loop_t loop;
    uv_timer_t timer;
    struct store *store;
    struct store_request request;
    bool done;
};

static void on_store_closed(void *data)
{
    struct burial *b = data;
    uv_close((uv_handle_t *)&b->timer, NULL);
}

static void on_buried(struct store_request *request)
{
    struct burial *b = request->data;
    b->done = request->error == 0;
    store_close(b->store, on_store_closed, b);
}

static void on_late(uv_timer_t *timer)
{
    (void)timer;
    _exit(NODE_EXIT_STORE);
}

static int bury(const struct guardian *g)
{
    static struct burial b;
    char errmsg[STORE_ERRMSG_BYTES];
    struct store_options options = {
        .url = g->config->store,
        .cluster = g->config->cluster,
        .partitions = (uint32_t)g->config->partitions,
        .loop = &b.loop,
        .connections = 1,
        .prepared_statements = g->config->prepared_statements,
        .timeline_none = strcmp(g->config->store_timeline, "none") == 0,
    };
    uv_loop_init(&b.loop);
    uv_timer_init(&b.loop, &b.timer);
    if (store_open(&b.store, &options, errmsg) != 0)
        return NODE_EXIT_STORE;
    b.request = (struct store_request){.data = &b, .op = STORE_LEAVE, .done = on_buried};
    b.request.u.leave =
        (struct store_leave){.name = g->config->name, .generation = g->generation, .dead = true};
    uv_timer_start(&b.timer, on_late, BURY_MS, 0);
    store_submit(b.store, &b.request);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    return b.done ? NODE_EXIT_OK : NODE_EXIT_STORE;
}

/* In a process of its own: the guardian itself never opens the store. */
static void bury_in_child(struct guardian *g)
{
    int status = 0;
    if (g->generation == 0 || strncmp(g->config->store, "memory:", 7) == 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &g->before, NULL);
        _exit(bury(g));
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    bool done = pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == NODE_EXIT_OK;
    log_line(done ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
             done ? "the node's lease is marked as dead: others may take over at once"
                  : "the node's lease could not be marked as dead: it will run out by itself",
             "name", g->config->name, NULL);
}

/* ---- the guard ---- */

/* Whether it died so often lately that another start is pointless. */
static bool is_hopeless(struct guardian *g)
{
    uint64_t now_ns = clock_now().mono_ns;
    uint64_t window_ns = GUARDIAN_WINDOW_S * UINT64_C(1000000000);
    uint64_t *oldest = &g->deaths_ns[g->deaths % GUARDIAN_RESTARTS_MAX];
    bool often = g->deaths >= GUARDIAN_RESTARTS_MAX && now_ns - *oldest < window_ns;
    *oldest = now_ns;
    g->deaths++;
    return often;
}

static void log_death(const struct guardian *g, int status)
{
    char how[64];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
    log_line(LOG_LEVEL_ERROR, "the node died", "name", g->config->name, "how", how, NULL);
    log_flush(true);
}

/* A child takes these signals from before it registers until it has left. By one of them it can die
 * only when there was nothing to persist, or nothing any more. */
static bool died_stopping(const struct guardian *g, int status)
{
    return g->stopping && WIFSIGNALED(status) &&
           (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT);
}

/* The child has ended. True, and the exit code, when that is the end. */
static bool ended(struct guardian *g, int status, int *code)
{
    read_report(g);
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : NODE_EXIT_FAULT;
    if (WIFEXITED(status)) { /* it knew what it did, and has said so */
        if (*code != NODE_EXIT_OK)
            bury_in_child(g); /* but it may not have left; if it has, nothing changes */
        log_flush(true);
        return true;
    }
    if (died_stopping(g, status)) {
        *code = NODE_EXIT_OK;
        return true;
    }
    node_is_not_ready(g->config);
    log_death(g, status);
    bool hopeless = is_hopeless(g);
    if (!g->stopping && !hopeless && start(g) == 0)
        return false;
    if (hopeless)
        log_line(LOG_LEVEL_ERROR, "the node dies again and again: giving up", NULL);
    bury_in_child(g);
    log_flush(true);
    return true;
}

static void pass_on(struct guardian *g, const siginfo_t *info)
{
    g->stopping |= info->si_signo == SIGTERM || info->si_signo == SIGINT;
    if (info->si_signo == SIGINT && info->si_code == SI_KERNEL && !g->early)
        return; /* from the terminal: the child has got it, too */
    kill(g->child, info->si_signo);
}

/* Takes leave of all that has ended: as the first process of a container, the guardian inherits the
 * orphans of others. True, and the exit code, when the node is over. */
static bool reap(struct guardian *g, int *code)
{
    pid_t pid;
    int status;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == g->child && ended(g, status, code))
            return true;
    }
    return false;
}

static int watch(struct guardian *g)
{
    for (;;) {
        siginfo_t info;
        int code;
        if (sigwaitinfo(&g->signals, &info) < 0)
            continue;
        if (info.si_signo != SIGCHLD)
            pass_on(g, &info);
        else if (reap(g, &code))
            return code;
    }
}

int guardian_run(const struct config *config)
{
    struct guardian g = {.config = config};
    sigemptyset(&g.signals);
    sigaddset(&g.signals, SIGTERM);
    sigaddset(&g.signals, SIGINT);
    sigaddset(&g.signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &g.signals, &g.before);
    if (start(&g) != 0) {
        fprintf(stderr, "troupe-node: cannot start the node's process: %s\n", strerror(errno));
        return NODE_EXIT_FAULT;
    }
    return watch(&g);
}
