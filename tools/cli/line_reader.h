/* Reads lines of bounded length from a file, however large. */
#ifndef TROUPE_CLI_LINE_READER_H
#define TROUPE_CLI_LINE_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "troupe/bytes.h"

enum { LINE_BYTES_MAX = 16 << 20 };

struct line_reader {
    int fd;
    uint8_t *buffer;
    size_t begin, end, capacity;
    bool at_end;
    uint64_t number;     /* of the line read last, from 1 */
    uint64_t read_bytes; /* from the file so far */
};

enum line_result {
    LINE_OK,
    LINE_END,         /* no more lines */
    LINE_TOO_LONG,    /* over LINE_BYTES_MAX; skipped */
    LINE_ERROR,       /* errno tells */
    LINE_INTERRUPTED, /* a signal came while it waited for input */
};

void line_reader_init(struct line_reader *reader, int fd);
void line_reader_close(struct line_reader *reader); /* not the file */

/* The next line, without its end (LF or CRLF), valid until the next call. The last line needs no
 * end. */
enum line_result line_reader_next(struct line_reader *reader, struct troupe_bytes *line);

#endif
