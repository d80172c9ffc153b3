/* A Postgres server of our own: initdb in the sandbox, a unix socket and nothing else, Debian's
 * default settings otherwise (fsync on, commits synchronous). As root it steps down to the user
 * postgres. It ends with us. */
#ifndef TROUPE_BENCH_POSTGRES_SERVER_H
#define TROUPE_BENCH_POSTGRES_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "tools/bench/sandbox.h"

struct bench;

struct postgres_server {
    pid_t pid;
    char url[SANDBOX_DIR_BYTES + 64];
};

/* Whether one is installed. */
bool postgres_server_exists(void);
int postgres_server_start(struct bench *b, struct postgres_server *s);
/* A zeroed one is fine. */
void postgres_server_stop(struct bench *b, struct postgres_server *s);

#endif
