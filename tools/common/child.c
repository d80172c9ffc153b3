/* See child.h. */
#include "tools/common/child.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 }; /* as a shell has them */

static void say(const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

void child_give_up(const char *verb, const char *what)
{
    int code = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT;
    const char *why = strerrordesc_np(errno); /* strerror may allocate */
    say("cannot ");
    say(verb);
    say(" ");
    say(what);
    say(": ");
    say(why == NULL ? "unknown error" : why);
    say("\n");
    _exit(code);
}
