/* Where log lines go: standard error, without ever waiting for whoever reads it. A reader that has
 * stopped (a full pipe, a terminal held by Ctrl-S, a log collector that hangs) must not stop the
 * node: a line that finds no room waits in a bounded buffer, and when that is full, it is lost and
 * counted.
 *
 * Happy path: one line, one write(2), which pipes keep whole up to PIPE_BUF.
 *
 * How not to wait depends on what standard error is. O_NONBLOCK on descriptor 2 itself would change
 * it for every process that shares it (the guardian, the shell that started us). So a pipe or a
 * terminal is opened once more through /proc/self/fd, which gives a file description of our own; a
 * socket is written to with MSG_DONTWAIT; a file never makes its writer wait for a reader. Where
 * the second opening is not allowed (after a change of user, say), poll(2) is asked before each
 * write; then two processes that log at the same moment may still wait for the reader.
 *
 * Not thread safe: log.c calls it under its lock. */
#ifndef TROUPE_SHELL_LOG_SINK_H
#define TROUPE_SHELL_LOG_SINK_H

#include <stddef.h>

enum { LOG_PENDING_BYTES = 256 << 10 };

/* Takes standard error as it is now. Before it has been called, and after a fork, lines go there,
 * too. */
void log_sink_open(void);
/* In a child after a fork: what waits is the parent's to write. */
void log_sink_forget(void);
/* A whole line of at most LOG_LINE_BYTES_MAX. It is copied if it has to wait. */
void log_sink_write(const char *line, size_t len);
/* Lines that were lost and that nobody has been told of; 0 while older lines still wait, for then
 * there is no room to tell it. The count starts anew. */
unsigned long log_sink_take_lost(void);
/* Writes what waits, as far as there is room, and waits for room for wait_ms at most. */
void log_sink_flush(int wait_ms);

#endif
