/* A wire to a Postgres server that can be cut at the worst moment: it understands as much of the
 * protocol as it takes to swallow the answer to a statement, and to break the connection once the
 * server has committed it. A thread of the test's relays all connections. */
#ifndef TROUPE_TESTS_WIRE_FIXTURE_H
#define TROUPE_TESTS_WIRE_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

enum { WIRE_LINKS_MAX = 64, WIRE_CUTS_MAX = 4 };

struct wire_cut {
    const char *text;
    unsigned left;
};

struct wire_link;

struct wire_fixture {
    char dir[64]; /* of its unix socket, with the name that a server's would have there */
    char server_dir[64];
    int listener;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* of cuts */
    struct wire_cut cuts[WIRE_CUTS_MAX];
    struct wire_link *links; /* the thread's */
};

/* server_dir: where the server's unix socket is. */
void wire_fixture_open(struct wire_fixture *f, const char *server_dir);
/* Safe to call twice. */
void wire_fixture_close(struct wire_fixture *f);
/* Of the next n statements that contain text (a constant), the answer is lost after the commit, and
 * with it the connection. Only of statements that are parsed, not of prepared ones. Several such
 * orders may stand at a time. */
void wire_fixture_cut(struct wire_fixture *f, const char *text, unsigned n);
/* How many still are to be cut, of all orders. */
unsigned wire_fixture_left(struct wire_fixture *f);

#endif
