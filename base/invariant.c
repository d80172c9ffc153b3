/* The one place where a broken invariant ends the process. poll(2), write(2) and abort(3) only: the
 * heap or stdio may be what is broken. A reader that has stopped must not keep the process alive:
 * then the line is left out. */
#include "base/invariant.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { READER_WAIT_MS = 200 };

void invariant_failed(const char *file, int line, const char *func, const char *cond)
{
    char text[512];
    int n =
        snprintf(text, sizeof text, "invariant broken: %s (%s, %s:%d)\n", cond, func, file, line);
    if (n > 0) {
        size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
        struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};
        if (poll(&reader, 1, READER_WAIT_MS) == 1)
            (void)!write(STDERR_FILENO, text, len);
    }
    abort();
}
