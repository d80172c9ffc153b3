/* For a child between fork and exec: saying why it goes no further. */
#ifndef TROUPE_TOOLS_CHILD_H
#define TROUPE_TOOLS_CHILD_H

/* One line on standard error, "cannot VERB WHAT: " and errno in words; then _exit: 127 for what
 * does not exist, else 126. Neither allocates nor locks, so it is safe after a fork in a process
 * with threads. */
__attribute__((noreturn)) void child_give_up(const char *verb, const char *what);

#endif
