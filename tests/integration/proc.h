/* Child processes under test: started in a directory, watched by what they write, signalled, reaped
 * by pid. Everything that waits has a deadline. A child gets SIGKILL when the test dies, so that a
 * failed test leaves nothing running.
 *
 * Standard output and error go into one pipe; the child's lines are kept and can be searched. A
 * child that has filled the pipe waits until one of the functions below reads on; a node does not,
 * and loses lines after a while. */
#ifndef TROUPE_TESTS_PROC_H
#define TROUPE_TESTS_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PROC_TIMEOUT_MS = 30000 /* for what should take well under a second */ };

struct proc {
    pid_t pid; /* 0 once it has been reaped */
    int out;   /* where we read what it writes; -1 at its end */
    char *log; /* all of that so far, NUL-terminated */
    size_t log_len, log_size;
    size_t searched; /* proc_wait_line has come this far */
    int exit_code;   /* once reaped; 128 + n after signal n */
};

struct proc_options {
    const char *const *argv; /* up to NULL; argv[0] is the program, searched in PATH */
    const char *const *env;  /* "NAME=value" to add to the environment; up to NULL, may be NULL */
    const char *dir;         /* working directory; NULL = ours */
};

/* TROUPE_* variables of the test's own environment are not passed on. A program that does not exist
 * is a child that says so and exits with 127. */
void proc_start(struct proc *p, const struct proc_options *options);
/* The next line that contains text, from where the last call has stopped, without its newline; NULL
 * when the child ends first or the time is over (what it wrote is shown then). Valid until the next
 * call. */
const char *proc_wait_line(struct proc *p, const char *text, int timeout_ms);
/* Whether some line so far contains text. Reads what is there. */
bool proc_has_line(struct proc *p, const char *text);
void proc_signal(struct proc *p, int signum);
/* Exit code, or 128 + signal; -1 when it still runs after the time (its output is shown then). */
int proc_wait_exit(struct proc *p, int timeout_ms);
/* SIGKILL, if it still runs; reaps it and frees the log. Safe to call twice. */
void proc_close(struct proc *p);

/* Fails the test with that message, which goes to stderr at once: a fixture may be opened outside
 * of a test, in main, where an assertion that fails ends the program without a word. */
void proc_give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A new directory for a test's files, below $TMPDIR or /tmp. */
void proc_temp_dir(char path[64]);
/* Removes it with all that is in it. */
void proc_remove_dir(const char *path);
/* A port of the loopback interface that is free just now, with the two after it: a node takes them
 * for other nodes. The system lends none of them to outgoing connections. */
int proc_free_port(void);
/* CLOCK_MONOTONIC. For deadlines of tests. */
long proc_now_ms(void);
/* Waits until a file exists and is not empty; false when the time is over. */
bool proc_wait_file(const char *path, int timeout_ms);
/* The file's contents, at most size - 1 bytes, without a newline at the end. */
bool proc_read_file(const char *path, char *text, size_t size);

#endif
