/* The limit of a call per message: nng's REQ and REP with nothing behind them. The server is a
 * process of its own (echo_main); the client keeps so many messages under way on one connection,
 * each in a context of its own, and sends the next one when an answer has come. */
#ifndef TROUPE_BENCH_ECHO_H
#define TROUPE_BENCH_ECHO_H

#include <stddef.h>
#include <sys/types.h>

#include "tools/bench/load.h"

struct bench;

struct echo_server {
    pid_t pid;
    char url[64];
};

int echo_server_start(struct bench *b, struct echo_server *server);
void echo_server_stop(struct bench *b, struct echo_server *server);

struct echo;
/* Starts in_flight messages of that many bytes; NULL with errmsg in b. latencies may be NULL. */
struct echo *echo_start(struct bench *b, const struct echo_server *server, unsigned in_flight,
                        size_t bytes, struct latencies *latencies);
/* Answers so far. */
uint64_t echo_done(void *echo);
/* 0, or -1 when messages were lost. */
int echo_stop(struct bench *b, struct echo *echo);

#endif
