/* Where the programs of a PostgreSQL server are. Debian keeps them out of PATH, in a directory for
 * each version; other systems have them in PATH. They find each other, and what they need besides,
 * by their own argv[0]: it has to be the whole path, or they look themselves up in PATH and fail.
 */
#ifndef TROUPE_TOOLS_PG_PROGRAMS_H
#define TROUPE_TOOLS_PG_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>

enum { PG_PROGRAMS_BYTES = 256 };

/* The directory that has both initdb and postgres: Debian's of the newest version, else the first
 * one in PATH. false: there is none, or its name is too long. */
bool pg_programs_find(char dir[PG_PROGRAMS_BYTES]);

/* The same below another root than "/", with another PATH (NULL = none). For tests. */
bool pg_programs_find_in(const char *root, const char *path, char dir[PG_PROGRAMS_BYTES]);

#endif
