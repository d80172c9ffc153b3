/* Finding other nodes without the store's help: --join. Each entry is HOST:PORT, or dns:NAME:PORT,
 * of which every address that the name has may be a node (a headless service of Kubernetes, say).
 * Names are resolved again and again, on libuv's pool; what they resolve to is told as often, for
 * whoever is told knows best whom it knows already. Happy path: resolve, tell every address, wait.
 * A name that has no address, or a resolver that does not answer, is tried again soon; only a
 * change of the outcome is logged. */
#ifndef TROUPE_SHELL_DISCOVER_H
#define TROUPE_SHELL_DISCOVER_H

#include <uv.h>

enum {
    DISCOVER_ERRMSG_BYTES = 512,
    DISCOVER_ENTRIES_MAX = 64,
    DISCOVER_ADDRESSES_MAX = 1024, /* of one name */
    DISCOVER_FAST_MS = 2000,       /* between rounds in the first minute … */
    DISCOVER_SLOW_MS = 10000,      /* … and later */
    DISCOVER_RETRY_MIN_MS = 500,   /* after a negative answer, doubling */
};

struct discover;

struct discover_options {
    void *data;
    /* "1.2.3.4:7702" or "[::1]:7702", valid until it returns; on the loop's thread. */
    void (*contact)(void *data, const char *address);
    /* For tests: in place of uv_getaddrinfo. */
    int (*resolve)(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb callback,
                   const char *node, const char *service, const struct addrinfo *hints);
    /* For tests: factor on all waiting times, in percent; 0 = 100. */
    unsigned haste_percent;
};

/* Whether a comma-separated list of entries can be read: 0, or TROUPE_EINVAL and errmsg. */
int discover_check(const char *join, char errmsg[DISCOVER_ERRMSG_BYTES]);
/* Begins at once. An empty list is fine. TROUPE_EINVAL, TROUPE_ENOMEM. */
int discover_open(struct discover **discover, uv_loop_t *loop, const char *join,
                  const struct discover_options *options, char errmsg[DISCOVER_ERRMSG_BYTES]);
/* No contact is told from here on. It is freed when closed(data) is called, later and from the
 * loop: a lookup that the resolver has begun cannot be taken back, and may take as long as it
 * likes. */
void discover_close(struct discover *discover, void (*closed)(void *data), void *data);

#endif
