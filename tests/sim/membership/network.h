/* The network between simulated nodes: a frame arrives after a while, or not at all. Which, is
 * decided when it leaves. Nodes belong to groups, and whatever goes from one group to another can
 * be cut: a partition is two cuts, a node that hears nothing is a group that nothing reaches. */
#ifndef TROUPE_SIM_MEMBERSHIP_NETWORK_H
#define TROUPE_SIM_MEMBERSHIP_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/random.h"

enum {
    SIM_GROUPS_MAX = 3,
    SIM_WAITING_MAX = 4096, /* frames in a stalled node's inbox or outbox; the newest are dropped */
};

struct sim_frame {
    struct sim_frame *next;
    uint64_t expires_ns;
    uint32_t from, to, to_run, len;
    uint8_t bytes[];
};

/* First in, first out. */
struct sim_waiting {
    struct sim_frame *head, *tail;
    uint32_t n;
};

struct sim_network {
    uint64_t latency_ns, jitter_ns; /* it takes latency, and up to jitter more */
    uint32_t loss_per_mille;
    bool cut[SIM_GROUPS_MAX][SIM_GROUPS_MAX]; /* from, to */
};

struct sim_frame *sim_frame_new(const uint8_t *bytes, uint32_t len);
void sim_waiting_push(struct sim_waiting *w, struct sim_frame *frame); /* frees it when full */
struct sim_frame *sim_waiting_pop(struct sim_waiting *w);              /* NULL: empty */
void sim_waiting_clear(struct sim_waiting *w);

/* How long a frame takes; false: it is lost. */
bool sim_network_carry(const struct sim_network *net, struct dice *dice, uint8_t from_group,
                       uint8_t to_group, uint64_t *ns);
/* Everything between two groups, or nothing of it. */
void sim_network_part(struct sim_network *net, uint8_t a, uint8_t b, bool cut);

#endif
