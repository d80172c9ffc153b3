/* A pgbouncer of a test's own, in transaction mode, before a Postgres fixture's server: a unix
 * socket in a temp dir and nothing else, ended by pid. As root it steps down to the user postgres.
 * It dies with the test. */
#ifndef TROUPE_TESTS_POOLER_FIXTURE_H
#define TROUPE_TESTS_POOLER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pooler_fixture {
    char dir[64];
    pid_t pid; /* 0 = not running */
};

/* To a server whose unix socket is in server_dir, with so many connections to it for each database.
 * false: no pgbouncer is installed (a message tells), the test should be skipped. */
bool pooler_fixture_open(struct pooler_fixture *f, const char *server_dir, unsigned pool);
/* Safe to call twice. */
void pooler_fixture_close(struct pooler_fixture *f);
/* A url for a database of that name, through it. */
void pooler_fixture_url(const struct pooler_fixture *f, const char *database, char *url,
                        size_t bytes);

#endif
