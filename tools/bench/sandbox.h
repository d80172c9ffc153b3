/* Everything that must be gone at the end: a temporary directory, and child processes. They also go
 * when we are interrupted, and the children when we are killed. Children are started from one
 * thread, since the kernel ends them with the thread that did. */
#ifndef TROUPE_BENCH_SANDBOX_H
#define TROUPE_BENCH_SANDBOX_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SANDBOX_CHILDREN_MAX = 8, SANDBOX_DIR_BYTES = 512 };

struct sandbox {
    char dir[SANDBOX_DIR_BYTES];
    pthread_mutex_t lock; /* of what follows */
    struct {
        pid_t pid; /* 0 = free */
        int end_signal;
    } children[SANDBOX_CHILDREN_MAX];
};

struct sandbox_child {
    const char *const *argv; /* up to NULL */
    const char *output;      /* file for its stdout and stderr; NULL: inherited */
    int stdout_fd;           /* a pipe for its stdout alone; -1: none */
    int end_signal;          /* what makes it end at once */
    uid_t uid;               /* to step down to, with gid; 0: stay what we are */
    gid_t gid;
};

/* Makes the directory in `parent`, and starts to watch for signals: to be called before any thread
 * is made. 0 or -1 with errno. */
int sandbox_open(struct sandbox *s, const char *parent);
/* Ends and reaps all children, removes the directory. */
void sandbox_close(struct sandbox *s);

/* The process id, or -1 with errno. That argv[0] cannot be executed shows as exit code 127. */
pid_t sandbox_spawn(struct sandbox *s, const struct sandbox_child *child);
/* Sends the signal (0: none) and waits up to timeout_ms; then SIGKILL. Reaps. The wait status, or
 * -1 when it had to be killed. */
int sandbox_end(struct sandbox *s, pid_t pid, int signum, int timeout_ms);
/* Whether the child has exited by itself; does not reap. */
bool sandbox_has_exited(pid_t pid);

/* A TCP port of 127.0.0.1 that is free now; 0 when there is none. */
uint16_t sandbox_free_port(void);

/* Resident memory of a process; 0 when it cannot be read. */
double process_rss_bytes(pid_t pid);
/* Time on a processor so far, all threads. */
double process_cpu_s(pid_t pid);
/* CLOCK_MONOTONIC. */
double now_s(void);
void sleep_s(double seconds);

#endif
