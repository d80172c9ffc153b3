/* A TCP port before servers that listen on unix sockets, as a proxy, a virtual address or a name
 * stand before databases: it steers new connections, those that are open stay where they are. */
#ifndef TROUPE_TESTS_TCP_SWITCH_H
#define TROUPE_TESTS_TCP_SWITCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { TCP_SWITCH_LINKS_MAX = 512, TCP_SWITCH_PATH_BYTES = 108 };

/* A connection and what it leads to; ended by whichever side closes first. */
struct tcp_link {
    int client, server;
    pthread_t there, back;
};

struct tcp_switch {
    int port, listener;
    pthread_t thread;
    pthread_mutex_t lock; /* path, links */
    char path[TCP_SWITCH_PATH_BYTES];
    struct tcp_link links[TCP_SWITCH_LINKS_MAX];
    int links_n;
    atomic_bool stop;
};

/* On a free port of 127.0.0.1, which leads to that unix socket. Fails the test when it cannot. */
void tcp_switch_open(struct tcp_switch *s, const char *path);
/* New connections lead there from now on. */
void tcp_switch_steer(struct tcp_switch *s, const char *path);
/* Ends all connections. Safe to call twice. */
void tcp_switch_close(struct tcp_switch *s);

#endif
