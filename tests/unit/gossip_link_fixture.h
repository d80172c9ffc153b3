/* Links in one process and on one loop, which runs while a test waits for something; and peers on
 * plain sockets that do what no link would. */
#ifndef TROUPE_TESTS_GOSSIP_LINK_FIXTURE_H
#define TROUPE_TESTS_GOSSIP_LINK_FIXTURE_H

#include <stdbool.h>

#include "node/shell/gossip.h"

enum {
    LINK_WAIT_MS = 20000,
    LINK_NUMBERS_MAX = 50000,
    LINK_PUSH = 0x50, /* SP's protocol numbers */
    LINK_PULL = 0x51,
    LINK_REP = 0x31,
};

/* One link, and what it has been told. */
struct node {
    struct gossip *g; /* NULL: closed */
    char address[GOSSIP_ADDRESS_BYTES];
    uint32_t frames;
    uint64_t bytes;
    uint32_t numbers[LINK_NUMBERS_MAX]; /* that the frames begin with */
    uint32_t evidence[GOSSIP_UNREACHABLE + 1];
    uint64_t evidence_ms;                   /* of the last one */
    char evidence_of[GOSSIP_ADDRESS_BYTES]; /* likewise */
    void (*on_frame)(struct node *n);       /* NULL: nothing else */
    void (*on_evidence)(struct node *n);
    struct node *other; /* for these two */
};

extern uv_loop_t link_loop;

int link_setup(void **state);
/* Fails when something is left: a handle on the loop, a descriptor. */
int link_teardown(void **state);

/* Zeros are the defaults; a NULL address is a free port of the loopback interface. */
void link_open(struct node *n, struct gossip_options options);
/* Closes it and waits for the end. */
void link_close(struct node *n);
struct gossip_stats link_stats(const struct node *n);
/* A frame of len bytes (4 at least) that begins with the number. */
void link_send(struct node *n, const char *address, uint32_t number, size_t len);
void link_send_until(struct node *n, const char *address, uint32_t number, uint64_t expires_ns);

/* Runs the loop until it is true, and fails the test when that takes too long. */
#define LINK_WAIT(cond)                                                                            \
    do {                                                                                           \
        uint64_t give_up = uv_hrtime() + LINK_WAIT_MS * UINT64_C(1000000);                         \
        while (!(cond)) {                                                                          \
            if (uv_hrtime() > give_up)                                                             \
                fail_msg("waited in vain for %s", #cond);                                          \
            link_run_once();                                                                       \
        }                                                                                          \
    } while (0)
/* The loop's next turn; some milliseconds if there is nothing to do. */
void link_run_once(void);
void link_run_for(uint64_t ms);

/* ---- plain sockets ---- */

/* A port of the loopback interface that is bound; without listening, whoever dials is refused. */
int raw_bind(char address[GOSSIP_ADDRESS_BYTES]);
/* The next connection, while the loop runs. */
int raw_accept(int listener);
int raw_connect(const char *address);
void raw_hello(int fd, int protocol);
void raw_write(int fd, const void *bytes, size_t len);
void raw_frame(int fd, uint32_t number, size_t len);
/* Exactly that many bytes, while the loop runs. */
void raw_read(int fd, void *bytes, size_t len);
/* Runs the loop until the other side has closed it; drops what comes before. */
void raw_wait_closed(int fd);
int open_descriptors(void);

#endif
