/* See pg_programs.h. */
#include "tools/common/pg_programs.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_programs(const char *dir)
{
    static const char *const programs[] = {"initdb", "postgres"};
    char path[PG_PROGRAMS_BYTES + 16];
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, programs[i]);
        if (access(path, X_OK) != 0)
            return false;
    }
    return true;
}

static bool take(const char *text, size_t len, char dir[PG_PROGRAMS_BYTES])
{
    if (len == 0 || len >= PG_PROGRAMS_BYTES)
        return false;
    memmove(dir, text, len);
    dir[len] = '\0';
    return has_programs(dir);
}

/* By number: as text, 9.6 would be newer than 15. */
static bool find_debian(const char *root, char dir[PG_PROGRAMS_BYTES])
{
    static const char versions[] = "/usr/lib/postgresql/";
    char pattern[PG_PROGRAMS_BYTES], candidate[PG_PROGRAMS_BYTES];
    glob_t found = {0};
    double newest = -1;
    snprintf(pattern, sizeof pattern, "%s%s*/bin", root, versions);
    glob(pattern, 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        double version = strtod(path + strlen(root) + sizeof versions - 1, NULL);
        if (version > newest && take(path, strlen(path), candidate)) {
            memcpy(dir, candidate, sizeof candidate);
            newest = version;
        }
    }
    globfree(&found);
    return newest >= 0;
}

static bool find_in_path(const char *path, char dir[PG_PROGRAMS_BYTES])
{
    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        if (*path == '/' && take(path, len, dir))
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

bool pg_programs_find_in(const char *root, const char *path, char dir[PG_PROGRAMS_BYTES])
{
    return find_debian(root, dir) || find_in_path(path, dir);
}

bool pg_programs_find(char dir[PG_PROGRAMS_BYTES])
{
    return pg_programs_find_in("", getenv("PATH"), dir);
}
