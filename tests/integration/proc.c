/* See proc.h. */
#include "proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* last: cmocka wants the ones above */
#include <cmocka.h>

#include "tools/common/child.h"

extern char **environ;

enum { POLL_MS = 5 };

void proc_give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fail();
    abort(); /* fail() does not come back; the compiler cannot know */
}

long proc_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000L + ts.tv_nsec / 1000000;
}

static int left_ms(long deadline_ms)
{
    long left = deadline_ms - proc_now_ms();
    return left > 0 ? (int)left : 0;
}

/* ---- starting ---- */

/* Our environment without TROUPE_*, then the additions. The array is the caller's to free. */
static char **make_env(const char *const *add)
{
    size_t n = 0, added = 0, kept = 0;
    while (environ[n] != NULL)
        n++;
    while (add != NULL && add[added] != NULL)
        added++;
    char **env = calloc(n + added + 1, sizeof *env);
    if (env == NULL)
        proc_give_up("no memory for an environment");
    for (size_t i = 0; i < n; i++) {
        if (strncmp(environ[i], "TROUPE_", 7) != 0)
            env[kept++] = environ[i];
    }
    if (added > 0)
        memcpy(env + kept, add, added * sizeof *env);
    return env;
}

/* In the child: nothing here may allocate or lock, for the test may have threads. */
static void become(const struct proc_options *options, char **env, int out)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    int in = open("/dev/null", O_RDONLY);
    dup2(in, STDIN_FILENO);
    if (options->dir != NULL && chdir(options->dir) != 0)
        child_give_up("enter", options->dir);
    union { /* execvpe takes char *const *, and only reads it */
        const char *const *in;
        char *const *out;
    } argv = {.in = options->argv};
    execvpe(argv.out[0], argv.out, env);
    child_give_up("start", argv.out[0]);
}

void proc_start(struct proc *p, const struct proc_options *options)
{
    int fds[2];
    *p = (struct proc){.out = -1};
    char **env = make_env(options->env);
    if (pipe2(fds, O_CLOEXEC) != 0)
        proc_give_up("no pipe for %s: %s", options->argv[0], strerror(errno));
    p->pid = fork();
    if (p->pid == 0)
        become(options, env, fds[1]);
    free(env);
    close(fds[1]);
    if (p->pid < 0)
        proc_give_up("no process for %s: %s", options->argv[0], strerror(errno));
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    p->out = fds[0];
}

/* ---- its output ---- */

static void append(struct proc *p, const char *data, size_t len)
{
    if (p->log_len + len + 1 > p->log_size) {
        p->log_size = (p->log_len + len + 1) * 2;
        p->log = realloc(p->log, p->log_size);
        assert_non_null(p->log);
    }
    memcpy(p->log + p->log_len, data, len);
    p->log_len += len;
    p->log[p->log_len] = '\0';
}

/* Reads what is there, after waiting for something up to the deadline. */
static void read_on(struct proc *p, int timeout_ms)
{
    char buf[4096];
    struct pollfd pfd = {.fd = p->out, .events = POLLIN};
    if (p->out < 0 || poll(&pfd, 1, timeout_ms) <= 0)
        return;
    for (;;) {
        ssize_t n = read(p->out, buf, sizeof buf);
        if (n > 0) {
            append(p, buf, (size_t)n);
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        } else {
            close(p->out);
            p->out = -1;
            return;
        }
    }
}

static void show(const struct proc *p, const char *why, const char *what)
{
    fprintf(stderr, "process %d: %s '%s'; it wrote:\n%s\n", (int)p->pid, why, what,
            p->log_len > 0 ? p->log : "(nothing)");
}

/* A whole line beyond what has been searched. */
static const char *next_line(struct proc *p, const char *text)
{
    while (p->log != NULL) {
        char *line = p->log + p->searched, *end = strchr(line, '\n');
        if (end == NULL)
            return NULL;
        p->searched = (size_t)(end - p->log) + 1;
        *end = '\0'; /* shown as the end of the text only as long as the caller looks at it */
        bool found = strstr(line, text) != NULL;
        if (found)
            return line;
        *end = '\n';
    }
    return NULL;
}

/* The newline that next_line has taken away. */
static void restore_line(struct proc *p)
{
    if (p->searched > 0)
        p->log[p->searched - 1] = '\n';
}

const char *proc_wait_line(struct proc *p, const char *text, int timeout_ms)
{
    long deadline_ms = proc_now_ms() + timeout_ms;
    restore_line(p);
    for (;;) {
        const char *line = next_line(p, text);
        if (line != NULL)
            return line;
        int left = left_ms(deadline_ms);
        if (p->out < 0 || left == 0) {
            show(p, p->out < 0 ? "ended before it said" : "has not said in time", text);
            return NULL;
        }
        read_on(p, left);
    }
}

bool proc_has_line(struct proc *p, const char *text)
{
    restore_line(p);
    read_on(p, 0);
    return p->log != NULL && strstr(p->log, text) != NULL;
}

/* ---- its end ---- */

void proc_signal(struct proc *p, int signum)
{
    assert_true(p->pid > 0);
    assert_int_equal(kill(p->pid, signum), 0);
}

static bool reap(struct proc *p, int flags)
{
    int status;
    if (waitpid(p->pid, &status, flags) != p->pid)
        return false;
    p->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    p->pid = 0;
    return true;
}

int proc_wait_exit(struct proc *p, int timeout_ms)
{
    long deadline_ms = proc_now_ms() + timeout_ms;
    restore_line(p);
    while (p->pid != 0 && !reap(p, WNOHANG)) {
        int left = left_ms(deadline_ms);
        if (left == 0) {
            show(p, "still runs after", "the time it had");
            return -1;
        }
        if (p->out >= 0)
            read_on(p, left < POLL_MS ? left : POLL_MS);
        else
            poll(NULL, 0, POLL_MS);
    }
    read_on(p, 0);
    return p->exit_code;
}

void proc_close(struct proc *p)
{
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        reap(p, 0);
    }
    if (p->out >= 0)
        close(p->out);
    free(p->log);
    *p = (struct proc){.out = -1, .exit_code = p->exit_code};
}

/* ---- files and ports ---- */

void proc_temp_dir(char path[64])
{
    const char *base = getenv("TMPDIR");
    if (base == NULL || strlen(base) > 40)
        base = "/tmp";
    snprintf(path, 64, "%s/troupe-test-XXXXXX", base);
    if (mkdtemp(path) == NULL)
        proc_give_up("no directory %s: %s", path, strerror(errno));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void proc_remove_dir(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static bool is_free(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        proc_give_up("no socket: %s", strerror(errno));
    bool free = bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return free;
}

int proc_free_port(void)
{
    enum { FIRST = 10000, LAST = 32000 }; /* the system lends those from 32768 on */
    static uint32_t state;
    state = state == 0 ? (uint32_t)getpid() * 2654435761U : state;
    for (int i = 0; i < 1000; i++) {
        state = state * 1664525U + 1013904223U;
        int port = FIRST + (int)(state >> 8) % (LAST - FIRST);
        if (is_free(port) && is_free(port + 1) && is_free(port + 2))
            return port;
    }
    proc_give_up("no three free ports in a row on 127.0.0.1 between %d and %d", FIRST, LAST);
}

bool proc_read_file(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t len = fread(text, 1, size - 1, f);
    fclose(f);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    return true;
}

bool proc_wait_file(const char *path, int timeout_ms)
{
    long deadline_ms = proc_now_ms() + timeout_ms;
    struct stat st;
    while (stat(path, &st) != 0 || st.st_size == 0) {
        if (left_ms(deadline_ms) == 0)
            return false;
        poll(NULL, 0, POLL_MS);
    }
    return true;
}
