/* See sandbox.h. Signals that ask us to end are blocked in every thread and taken by one that waits
 * for nothing else; it tidies up and exits. */
#include "tools/bench/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/common/child.h"

enum { END_TIMEOUT_MS = 10000, FTW_FDS = 16 };

/* ---- the directory ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void end_children(struct sandbox *s)
{
    for (size_t i = 0; i < SANDBOX_CHILDREN_MAX; i++) {
        pthread_mutex_lock(&s->lock);
        pid_t pid = s->children[i].pid;
        int signum = s->children[i].end_signal;
        pthread_mutex_unlock(&s->lock);
        if (pid != 0)
            sandbox_end(s, pid, signum, END_TIMEOUT_MS);
    }
}

void sandbox_close(struct sandbox *s)
{
    end_children(s);
    if (nftw(s->dir, remove_entry, FTW_FDS, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "troupe-bench: %s could not be removed: %s\n", s->dir, strerror(errno));
}

static void end_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

static void *watch_signals(void *sandbox)
{
    sigset_t set;
    int signum = 0;
    end_signals(&set);
    sigwait(&set, &signum);
    sandbox_close(sandbox);
    _exit(128 + signum);
}

int sandbox_open(struct sandbox *s, const char *parent)
{
    sigset_t set;
    pthread_t watcher;
    *s = (struct sandbox){0};
    signal(SIGPIPE, SIG_IGN);
    int n = snprintf(s->dir, sizeof s->dir, "%s/troupe-bench-XXXXXX", parent);
    if (n < 0 || (size_t)n >= sizeof s->dir) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (mkdtemp(s->dir) == NULL)
        return -1;
    chmod(s->dir, 0711); /* a server that steps down to another user has to get through */
    pthread_mutex_init(&s->lock, NULL);
    end_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    errno = pthread_create(&watcher, NULL, watch_signals, s);
    if (errno != 0)
        return -1;
    pthread_detach(watcher);
    return 0;
}

/* ---- children ---- */

static void redirect(const struct sandbox_child *child)
{
    int out = child->stdout_fd;
    if (child->output != NULL)
        out = open(child->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out >= 0)
        dup2(out, STDOUT_FILENO);
    if (out >= 0 && child->output != NULL)
        dup2(out, STDERR_FILENO);
}

/* Between fork and exec: only what is safe after a fork in a process with threads. Stepping down
 * clears the death signal, so it is set afterwards. */
__attribute__((noreturn)) static void become(const struct sandbox_child *child, pid_t parent)
{
    sigset_t none;
    if (child->uid != 0 &&
        (setgroups(0, NULL) != 0 || setgid(child->gid) != 0 || setuid(child->uid) != 0))
        child_give_up("step down to run", child->argv[0]);
    prctl(PR_SET_PDEATHSIG, child->end_signal);
    if (getppid() != parent)
        _exit(126);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    redirect(child);
    union { /* execv takes char *const *, and only reads it */
        const char *const *in;
        char *const *out;
    } argv = {.in = child->argv};
    execv(argv.out[0], argv.out);
    child_give_up("start", argv.out[0]);
}

pid_t sandbox_spawn(struct sandbox *s, const struct sandbox_child *child)
{
    pid_t parent = getpid();
    size_t place = 0;
    pthread_mutex_lock(&s->lock);
    while (place < SANDBOX_CHILDREN_MAX && s->children[place].pid != 0)
        place++;
    errno = EAGAIN;
    pid_t pid = place < SANDBOX_CHILDREN_MAX ? fork() : -1;
    if (pid == 0)
        become(child, parent);
    if (pid > 0) {
        s->children[place].pid = pid;
        s->children[place].end_signal = child->end_signal;
    }
    pthread_mutex_unlock(&s->lock);
    return pid;
}

/* Whether it is over within the time. */
static bool wait_for_exit(pid_t pid, int timeout_ms)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return errno == ESRCH;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool over = poll(&p, 1, timeout_ms) == 1;
    close(fd);
    return over;
}

bool sandbox_has_exited(pid_t pid)
{
    return wait_for_exit(pid, 0);
}

int sandbox_end(struct sandbox *s, pid_t pid, int signum, int timeout_ms)
{
    int status = -1;
    if (signum != 0)
        kill(pid, signum);
    bool over = wait_for_exit(pid, timeout_ms);
    if (!over)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < SANDBOX_CHILDREN_MAX; i++) {
        if (s->children[i].pid == pid)
            s->children[i].pid = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return over ? status : -1;
}

/* ---- what the system knows ---- */

uint16_t sandbox_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    uint16_t port = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        port = ntohs(a.sin_port);
    close(fd);
    return port;
}

/* A short file of /proc/PID, as a string. */
static bool read_proc(pid_t pid, const char *name, char *text, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t n = fread(text, 1, bytes - 1, f);
    text[n] = '\0';
    fclose(f);
    return n > 0;
}

double process_rss_bytes(pid_t pid)
{
    char text[256], *end = text;
    if (!read_proc(pid, "statm", text, sizeof text))
        return 0;
    (void)strtoull(text, &end, 10); /* total; then resident, in pages */
    return (double)strtoull(end, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

double process_cpu_s(pid_t pid)
{
    enum { UTIME = 14 }; /* field of proc(5), counted from 1; stime follows it */
    char text[1024];
    if (!read_proc(pid, "stat", text, sizeof text))
        return 0;
    char *at = strrchr(text, ')'); /* the name, field 2, may have blanks in it */
    for (int field = 2; at != NULL && field < UTIME; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return 0;
    double ticks = (double)strtoull(at, &at, 10);
    ticks += (double)strtoull(at, NULL, 10);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void sleep_s(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}
