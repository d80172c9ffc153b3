/* See line_reader.h. */
#include "tools/cli/line_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 << 10 };

void line_reader_init(struct line_reader *r, int fd)
{
    *r = (struct line_reader){.fd = fd};
}

void line_reader_close(struct line_reader *r)
{
    free(r->buffer);
    r->buffer = NULL;
}

/* Makes room behind what is there: moves it to the front, or grows. */
static bool make_room(struct line_reader *r)
{
    if (r->begin > 0) {
        memmove(r->buffer, r->buffer + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->begin = 0;
    }
    if (r->end < r->capacity)
        return true;
    size_t capacity = r->capacity == 0 ? BUFFER_BYTES : r->capacity * 2;
    uint8_t *buffer = realloc(r->buffer, capacity);
    if (buffer == NULL)
        return false;
    r->buffer = buffer;
    r->capacity = capacity;
    return true;
}

static enum line_result fill(struct line_reader *r)
{
    if (!make_room(r)) {
        errno = ENOMEM;
        return LINE_ERROR;
    }
    ssize_t n = read(r->fd, r->buffer + r->end, r->capacity - r->end);
    if (n < 0)
        return errno == EINTR ? LINE_INTERRUPTED : LINE_ERROR;
    r->at_end = n == 0;
    r->end += (size_t)n;
    r->read_bytes += (uint64_t)n;
    return LINE_OK;
}

static struct troupe_bytes without_cr(const uint8_t *data, size_t len)
{
    return troupe_bytes(data, len > 0 && data[len - 1] == '\r' ? len - 1 : len);
}

enum line_result line_reader_next(struct line_reader *r, struct troupe_bytes *line)
{
    size_t searched = 0;
    bool too_long = false;
    for (;;) {
        size_t have = r->end - r->begin;
        const uint8_t *start = have == 0 ? NULL : r->buffer + r->begin;
        const uint8_t *lf =
            have > searched ? memchr(start + searched, '\n', have - searched) : NULL;
        bool last = lf == NULL && r->at_end;
        if (lf != NULL || last) {
            size_t len = lf != NULL ? (size_t)(lf - start) : have;
            if (last && len == 0 && !too_long)
                return LINE_END;
            r->begin += len + (lf != NULL);
            r->number++;
            *line = without_cr(start, len);
            return too_long || len > LINE_BYTES_MAX ? LINE_TOO_LONG : LINE_OK;
        }
        searched = have;
        if (have > LINE_BYTES_MAX) { /* forget what has come of it */
            too_long = true;
            r->begin = r->end;
            searched = 0;
        }
        enum line_result rc = fill(r);
        if (rc != LINE_OK)
            return rc;
    }
}
