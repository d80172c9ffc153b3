/* The one place where a broken invariant ends the process. write(2) and abort(3) only: the heap or
 * stdio may be what is broken. */
#include "base/invariant.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void invariant_failed(const char *file, int line, const char *func, const char *cond)
{
    char text[512];
    int n =
        snprintf(text, sizeof text, "invariant broken: %s (%s, %s:%d)\n", cond, func, file, line);
    if (n > 0) {
        size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
        (void)!write(STDERR_FILENO, text, len);
    }
    abort();
}
