/* See descriptors.h. */
#include "os/descriptors.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_NO_DESCRIPTORS = 70 /* EX_SOFTWARE, as of a node that cannot go on */ };

/* open takes the lowest number that is free, and from 0 on every one below is taken. They are
 * inherited, as the standard ones are: our children have the same numbers to fill. */
void descriptors_fill(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(EXIT_NO_DESCRIPTORS);
    }
}
