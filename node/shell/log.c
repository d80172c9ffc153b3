/* See log.h. A line that is too long is cut within a value, and stays well-formed. */
#include "node/shell/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"
#include "node/shell/log_sink.h"

enum { SLOTS = 64, TAIL_BYTES = 8, FLUSH_MS = 200 /* at the end, for a reader to make room */ };

static const char *const NAMES[] = {"debug", "info", "warn", "error"};

/* A message that has been logged lately. */
struct slot {
    const char *message; /* NULL: none */
    enum log_level level;
    time_t since; /* of its window, on the monotonic clock */
    unsigned seen;
};

/* The only mutable globals: where the process's lines go. */
static struct {
    pthread_mutex_t lock;
    enum log_format format;
    enum log_level least;
    struct slot slots[SLOTS];
} logger = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .format = LOG_FORMAT_LOGFMT, .least = LOG_LEVEL_INFO};

void log_setup(enum log_format format, enum log_level least)
{
    if (format == LOG_FORMAT_AUTO)
        format = isatty(STDERR_FILENO) ? LOG_FORMAT_LOGFMT : LOG_FORMAT_JSON;
    pthread_mutex_lock(&logger.lock);
    log_sink_open();
    logger.format = format;
    logger.least = least;
    pthread_mutex_unlock(&logger.lock);
}

/* ---- formatting ---- */

struct line {
    char *out;
    size_t len;
};

static bool has_room(const struct line *l, size_t len)
{
    return l->len + len + TAIL_BYTES <= LOG_LINE_BYTES_MAX;
}

static void put(struct line *l, const char *text)
{
    size_t len = strlen(text);
    if (!has_room(l, len))
        return;
    memcpy(l->out + l->len, text, len);
    l->len += len;
}

/* A quoted string as JSON has it; logfmt uses the same. Invalid UTF-8 is shown as \xNN, escaped. */
static void put_quoted(struct line *l, const char *text)
{
    bool valid = utf8_is_valid(troupe_bytes_of(text));
    put(l, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        char buf[12] = {(char)*p};
        if (*p == '"' || *p == '\\')
            snprintf(buf, sizeof buf, "\\%c", *p);
        else if (*p == '\n')
            snprintf(buf, sizeof buf, "\\n");
        else if (*p < 0x20 || *p == 0x7F)
            snprintf(buf, sizeof buf, "\\u%04x", *p);
        else if (*p >= 0x80 && !valid)
            snprintf(buf, sizeof buf, "\\\\x%02x", *p);
        if (!has_room(l, strlen(buf) + 4)) { /* cut, but not within a character */
            while (l->len > 0 && ((unsigned char)l->out[l->len - 1] & 0xC0) == 0x80)
                l->len--;
            if (l->len > 0 && (unsigned char)l->out[l->len - 1] >= 0xC0)
                l->len--;
            break;
        }
        put(l, buf);
    }
    put(l, "\"");
}

static bool is_plain(const char *text)
{
    if (text[0] == '\0')
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p <= ' ' || *p == '"' || *p == '=' || *p == '\\' || *p == 0x7F ||
            (unsigned char)*p >= 0x80)
            return false;
    }
    return true;
}

static void put_value(struct line *l, enum log_format format, const char *text)
{
    if (format == LOG_FORMAT_LOGFMT && is_plain(text) && has_room(l, strlen(text)))
        put(l, text);
    else
        put_quoted(l, text);
}

static void put_field(struct line *l, enum log_format format, const char *key, const char *value)
{
    if (!has_room(l, strlen(key) + 16))
        return;
    if (format == LOG_FORMAT_JSON) {
        put(l, l->len == 1 ? "\"" : ",\"");
        put(l, key);
        put(l, "\":");
    } else {
        put(l, l->len == 0 ? "" : " ");
        put(l, key);
        put(l, "=");
    }
    put_value(l, format, value);
}

size_t log_format_line(char *out, enum log_format format, const char *time, enum log_level level,
                       const char *message, const struct log_field *fields, size_t n)
{
    struct line l = {.out = out};
    if (format == LOG_FORMAT_JSON)
        put(&l, "{");
    put_field(&l, format, "ts", time);
    put_field(&l, format, "level", NAMES[level]);
    put_field(&l, format, "msg", message);
    for (size_t i = 0; i < n && fields[i].key != NULL; i++) {
        if (fields[i].value != NULL && fields[i].value[0] != '\0')
            put_field(&l, format, fields[i].key, fields[i].value);
    }
    const char *end = format == LOG_FORMAT_JSON ? "}\n" : "\n";
    memcpy(out + l.len, end, strlen(end) + 1);
    return l.len + strlen(end);
}

/* ---- writing ---- */

/* Under the lock. */
static void write_line(enum log_level level, const char *message, const struct log_field *fields,
                       size_t n)
{
    struct timespec ts;
    struct tm tm;
    char time_text[40], stamp[24], out[LOG_LINE_BYTES_MAX];
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(time_text, sizeof time_text, "%s.%03ldZ", stamp, ts.tv_nsec / 1000000);
    size_t len = log_format_line(out, logger.format, time_text, level, message, fields, n);
    log_sink_write(out, len);
}

/* When somebody reads again. */
static void tell_lost(void)
{
    char count[24];
    unsigned long lost = log_sink_take_lost();
    if (lost == 0)
        return;
    snprintf(count, sizeof count, "%lu", lost);
    const struct log_field fields[] = {{"lines", count}};
    write_line(LOG_LEVEL_WARN, "log lines were lost: nobody read them", fields, 1);
}

static time_t monotonic_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

/* The slot's window is over. */
static void end_window(struct slot *slot)
{
    char count[16];
    if (slot->message != NULL && slot->seen > LOG_BURST) {
        snprintf(count, sizeof count, "%u", slot->seen - LOG_BURST);
        const struct log_field fields[] = {{"lines", count}, {"like", slot->message}};
        write_line(slot->level, "held back", fields, 2);
    }
    slot->message = NULL;
}

/* Whether the line may go out. */
static bool admit(enum log_level level, const char *message)
{
    struct slot *slot = &logger.slots[((uintptr_t)message >> 3) % SLOTS];
    time_t now = monotonic_s();
    if (slot->message != message || now - slot->since >= LOG_WINDOW_S) {
        end_window(slot);
        *slot = (struct slot){.message = message, .level = level, .since = now};
    }
    return ++slot->seen <= LOG_BURST;
}

void log_flush(bool all)
{
    pthread_mutex_lock(&logger.lock);
    time_t now = monotonic_s();
    for (size_t i = 0; i < SLOTS; i++) {
        if (all || now - logger.slots[i].since >= LOG_WINDOW_S)
            end_window(&logger.slots[i]);
    }
    log_sink_flush(all ? FLUSH_MS : 0);
    tell_lost();
    pthread_mutex_unlock(&logger.lock);
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields, size_t n)
{
    pthread_mutex_lock(&logger.lock);
    if (level >= logger.least && admit(level, message)) {
        tell_lost();
        write_line(level, message, fields, n);
    }
    pthread_mutex_unlock(&logger.lock);
}

void log_line(enum log_level level, const char *message, ...)
{
    struct log_field fields[LOG_FIELDS_MAX];
    size_t n = 0;
    va_list args;
    va_start(args, message);
    while (n < LOG_FIELDS_MAX) {
        const char *key = va_arg(args, const char *);
        if (key == NULL)
            break;
        fields[n++] = (struct log_field){key, va_arg(args, const char *)};
    }
    va_end(args);
    log_fields(level, message, fields, n);
}
