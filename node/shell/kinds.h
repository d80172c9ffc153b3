/* Shared objects that export kinds. */
#ifndef TROUPE_SHELL_KINDS_H
#define TROUPE_SHELL_KINDS_H

#include "troupe/entity.h"

enum { KINDS_LOADED_MAX = 250, KINDS_ERRMSG_BYTES = 512 };

struct kinds {
    const struct troupe_kind *all[KINDS_LOADED_MAX];
    size_t n;
    struct troupe_kind completed[KINDS_LOADED_MAX]; /* of plug-ins with an older interface */
};

/* Loads the files of a comma-separated list. A name without a slash is looked for in the working
 * directory, then beside the executable, in ../lib and ../lib/troupe of it. Plug-ins stay loaded
 * for the process's life; kinds stays where it is as long as all[] is used. Non-zero: errmsg says
 * what is wrong with which file. */
int kinds_load(struct kinds *kinds, const char *files, char errmsg[KINDS_ERRMSG_BYTES]);

#endif
