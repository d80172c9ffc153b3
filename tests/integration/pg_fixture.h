/* A Postgres server of a test's own: initdb in a temp dir, a unix socket and nothing else, ended by
 * pid, removed afterwards. As root it steps down to the user postgres. It dies with the test. */
#ifndef TROUPE_TESTS_PG_FIXTURE_H
#define TROUPE_TESTS_PG_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tools/common/pg_programs.h"

struct pg_fixture {
    char dir[64];
    char bin[PG_PROGRAMS_BYTES]; /* where the server's programs are */
    pid_t pid;                   /* 0 = not running */
    char host[64];               /* an address it listens on, too; "" = none */
};

/* false: no server is installed (a message tells), the test should be skipped. Fails the test when
 * it does not start, and shows the server's log. */
bool pg_fixture_open(struct pg_fixture *f);
void pg_fixture_close(struct pg_fixture *f);
/* In the place of pg_fixture_open: an asynchronous standby of the primary, which runs. It takes
 * over by `SELECT pg_promote()`. */
void pg_fixture_follow(struct pg_fixture *f, const struct pg_fixture *primary);
/* Starts it again so that it is reached over TCP, at host and by whoever is in network (CIDR); urls
 * are with that host from then on. */
void pg_fixture_listen(struct pg_fixture *f, const char *host, const char *network);
/* Starts the server again and waits until it accepts connections. */
void pg_fixture_start(struct pg_fixture *f);
/* SIGQUIT: immediate shutdown, as in a crash; SIGINT: fast. Waits until it is gone. */
void pg_fixture_stop(struct pg_fixture *f, int signum);
/* A url for a database of that name. */
void pg_fixture_url(const struct pg_fixture *f, const char *database, char *url, size_t bytes);
/* Runs SQL; fails the test if that fails. */
void pg_fixture_sql(const struct pg_fixture *f, const char *database, const char *sql);
/* Whether a query of one boolean says true. */
bool pg_fixture_is(const struct pg_fixture *f, const char *database, const char *sql);

#endif
