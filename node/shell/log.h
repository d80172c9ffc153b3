/* Log lines: logfmt where a person reads (a terminal), JSON lines where a program does. One line is
 * one write to stderr. A message that repeats more than LOG_BURST times within LOG_WINDOW_S is held
 * back and counted; a line says how many were. Nobody who logs waits for whoever reads: lines that
 * find no room wait in a buffer, then are lost, and a line says how many were (log_sink.h). Thread
 * safe. */
#ifndef TROUPE_SHELL_LOG_H
#define TROUPE_SHELL_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

enum { LOG_LINE_BYTES_MAX = 4096, LOG_FIELDS_MAX = 12, LOG_BURST = 100, LOG_WINDOW_S = 10 };

struct log_field {
    const char *key, *value;
};

void log_setup(enum log_format format, enum log_level least);
/* message: text that lives as long as the process, without what varies; that goes into fields.
 * Fields up to the first NULL key. */
void log_fields(enum log_level level, const char *message, const struct log_field *fields,
                size_t n);
/* The same with key, value pairs, ended by NULL. */
void log_line(enum log_level level, const char *message, ...) __attribute__((sentinel));

/* Writes lines that have waited for the reader, and tells of those that were held back in windows
 * that are over; with all also in those that are not, and a reader gets a moment to make room. To
 * be called each second or so, and at the end. */
void log_flush(bool all);

/* Formats one line into out (of LOG_LINE_BYTES_MAX); its length. For tests. */
size_t log_format_line(char *out, enum log_format format, const char *time, enum log_level level,
                       const char *message, const struct log_field *fields, size_t n);

#endif
