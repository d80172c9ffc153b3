/* See log_sink.h. */
#include "node/shell/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum way { WAY_POLL, WAY_SOCKET, WAY_PLAIN /* never waits for a reader */ };

/* The process's only way out for its lines. */
static struct {
    enum way way;
    int fd;
    char pending[LOG_PENDING_BYTES]; /* whole lines, but for the first, which may have begun */
    size_t begin, end;
    unsigned long lost;
} sink = {.way = WAY_POLL, .fd = STDERR_FILENO};

void log_sink_open(void)
{
    struct stat st;
    if (sink.fd != STDERR_FILENO)
        close(sink.fd);
    sink.fd = STDERR_FILENO;
    sink.way = WAY_POLL;
    if (fstat(STDERR_FILENO, &st) != 0)
        return;
    if (S_ISSOCK(st.st_mode)) {
        sink.way = WAY_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        sink.way = fd >= 0 ? WAY_PLAIN : WAY_POLL;
        sink.fd = fd >= 0 ? fd : STDERR_FILENO;
    } else {
        sink.way = WAY_PLAIN;
    }
}

void log_sink_forget(void)
{
    sink.begin = sink.end = 0;
    sink.lost = 0;
}

static bool is_ready(int wait_ms)
{
    struct pollfd p = {.fd = sink.fd, .events = POLLOUT};
    return poll(&p, 1, wait_ms) == 1;
}

/* How many bytes left. Bytes that can never leave count as gone: a log that cannot be written (its
 * reader has ended, its disk is full) has nowhere to say so. */
static size_t put(const char *bytes, size_t len)
{
    ssize_t n;
    if (sink.way == WAY_POLL && !is_ready(0))
        return 0;
    do {
        n = sink.way == WAY_SOCKET ? send(sink.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : write(sink.fd, bytes, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
        return 0;
    return n < 0 ? len : (size_t)n;
}

/* One line, one write, also of those that had to wait. */
static bool put_pending(void)
{
    while (sink.begin < sink.end) {
        const char *from = sink.pending + sink.begin;
        const char *newline = memchr(from, '\n', sink.end - sink.begin);
        size_t len = newline == NULL ? sink.end - sink.begin : (size_t)(newline - from) + 1;
        size_t n = put(from, len);
        sink.begin += n;
        if (n < len)
            return false;
    }
    sink.begin = sink.end = 0;
    return true;
}

static void keep(const char *bytes, size_t len)
{
    if (sink.begin > 0) {
        memmove(sink.pending, sink.pending + sink.begin, sink.end - sink.begin);
        sink.end -= sink.begin;
        sink.begin = 0;
    }
    memcpy(sink.pending + sink.end, bytes, len);
    sink.end += len;
}

void log_sink_write(const char *line, size_t len)
{
    size_t n = put_pending() ? put(line, len) : 0;
    if (n == len)
        return;
    if (len - n > LOG_PENDING_BYTES - (sink.end - sink.begin))
        sink.lost++;
    else
        keep(line + n, len - n);
}

unsigned long log_sink_take_lost(void)
{
    unsigned long lost = sink.lost;
    if (lost == 0 || !put_pending() || (sink.way == WAY_POLL && !is_ready(0)))
        return 0;
    sink.lost = 0;
    return lost;
}

void log_sink_flush(int wait_ms)
{
    if (!put_pending() && wait_ms > 0 && is_ready(wait_ms))
        put_pending();
}
