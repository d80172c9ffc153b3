/* The node among others: membership (cluster/swim.h), the ring that follows from it, and a table of
 * all nodes that there are or were, with their addresses. The runtime drives them with its own
 * events; see members.c for how a node joins.
 *
 * A node without a gossip address is a cluster by itself: `swim` is NULL, and it wants all
 * partitions. */
#ifndef TROUPE_RUNTIME_MEMBERS_H
#define TROUPE_RUNTIME_MEMBERS_H

#include "cluster/ring.h"
#include "cluster/swim.h"
#include "node/runtime/runtime.h"

enum {
    MEMBERS_MAX_DEFAULT = 1024,
    NODE_ZONE_BYTES_MAX = 63,
    NODE_VERSION_BYTES_MAX = 31,
    NODE_NONE = UINT32_MAX,
};

/* A node by its name; of several runs the latest that was heard of. Stays in its place while a
 * partition or a member refers to it. */
struct node_info {
    char name[STORE_NAME_BYTES_MAX + 1];
    char address[RUNTIME_ADDRESS_BYTES], gossip[RUNTIME_ADDRESS_BYTES], peer[RUNTIME_ADDRESS_BYTES];
    char zone[NODE_ZONE_BYTES_MAX + 1], version[NODE_VERSION_BYTES_MAX + 1];
    uint32_t weight;
    uint64_t timeline; /* of the store, the latest that it has met */
    uint64_t generation;
    uint8_t state; /* enum gossip_state as membership has it; 0 = known from the store only */
    bool suspect;
    swim_id member;             /* or SWIM_NOBODY */
    uint64_t contact_ns;        /* tried to be reached at this time */
    uint64_t handoff_retry_ns;  /* no batch is begun for it before */
    uint64_t taken_generation;  /* the latest of its runs of which a batch has come … */
    uint64_t taken_number;      /* … and that one's latest batch */
    uint64_t taken_ns;          /* when that came */
    uint64_t promised_until_ns; /* by us, not to evict it before */
    uint64_t promise_sent_ns, promise_lease_ns, promise_generation; /* by it: see promise.c */
    /* What the store's rows told, for eviction: see failover.c. */
    uint64_t row_generation, row_seq, row_since_ns, row_quiet_ns, row_expires_ns, row_seen;
    uint32_t row_ttl_ms, row_outage_ms;
    bool row_active, row_expired, row_listed;
    uint8_t row_renews;       /* how often it was seen to renew since we watch it, up to RENEWS */
    bool row_counted;         /* … since we registered */
    bool row_later;           /* its run registered after us */
    uint64_t wait_told_ns;    /* that it is waited for; 0: not yet */
    enum store_fate row_fate; /* what is known of its run besides */
    bool row_misjudged;       /* … its proof was wrong: it has renewed since */
    uint64_t gone_generation; /* of its last run whose lease is over, as the store says */
};

struct nodes {
    struct node_info **all;
    uint32_t n, max;
};

struct members {
    struct nodes nodes;
    uint32_t self; /* in nodes */
    struct swim *swim;
    struct swim_effects *fx;
    struct gossip_record *records; /* of a frame that is read for its owners */
    uint32_t *node_of;             /* by swim_id */
    uint8_t uid[GOSSIP_UID_BYTES];
    uint64_t wake_ns;
    uint64_t opened_ns;
    bool joined;     /* has found the others, or that there are none, or has given up waiting */
    bool alone_told; /* the store has said whether there are others */
    uint32_t others; /* … and how many */
    uint64_t timeline_told; /* see store_doubt__tell */
    bool out;               /* we have told that we take no partitions */
    uint64_t lease_good_ns;
    uint64_t report_ns;
    struct swim_stats told; /* of bad input, in the log */
    uint64_t left_ns;       /* said good-bye then */

    struct ring ring;
    struct ring_member *ring_members; /* scratch for building */
    uint32_t *ring_node;              /* of the ring that stands: index in it -> in nodes */
    uint32_t self_in_ring;
    bool ring_stale, ring_building;
    uint64_t rings; /* built so far */

    struct runtime_frame *frames, **frames_tail;
    uint32_t frames_n;
    uint64_t frames_dropped;
};

static inline bool node__is_live(const struct node_info *n)
{
    return n->state >= GOSSIP_JOINING && n->state <= GOSSIP_DRAINING;
}

/* A run whose lease the store says is over owns nothing, whatever membership still thinks of it. */
static inline bool node__may_own(const struct node_info *n)
{
    bool over = n->gone_generation != 0 && n->generation <= n->gone_generation;
    return node__is_live(n) && !over;
}

/* ---- nodes.c ---- */
int nodes__init(struct nodes *nodes, uint32_t max);
void nodes__close(struct nodes *nodes);
uint32_t nodes__find(const struct nodes *nodes, struct troupe_bytes name);
/* Found or made; NODE_NONE: out of memory, or too many. */
uint32_t nodes__take(struct runtime *rt, struct troupe_bytes name);
struct node_info *node__at(const struct runtime *rt, uint32_t index); /* NULL for NODE_NONE */
/* What a member says of itself, out of a MemberMeta. False: it cannot be read. */
bool node__read_meta(struct runtime *rt, struct node_info *n, struct troupe_bytes meta);
/* Our own, as a MemberMeta; its length, or 0 when it is too long. */
size_t node__write_meta(const struct runtime *rt, uint8_t out[SWIM_META_BYTES_MAX]);

/* ---- members.c ---- */
bool node__is_in_ring(const struct node_info *n);
int members__init(struct runtime *rt);
void members__close(struct runtime *rt);
static inline bool members__is_on(const struct members *m)
{
    return m->swim != NULL;
}
/* Registered as this generation: membership begins, or begins anew. */
int members__begin(struct runtime *rt);
void members__tick(struct runtime *rt);
uint64_t members__next_ns(const struct runtime *rt);
void members__frame(struct runtime *rt, struct troupe_bytes frame);
void members__contact(struct runtime *rt, const char *address);
void members__evidence(struct runtime *rt, const char *address);
/* The store's rows of the other nodes, with a renewal. */
void members__rows(struct runtime *rt, const struct store_node *others, size_t n);
/* No longer to be given partitions. */
void members__drain(struct runtime *rt);
/* The last word. members__is_quiet: it has been told. */
void members__leave(struct runtime *rt);
bool members__is_quiet(struct runtime *rt);
/* After anything that was done with the machine: what it learnt, and what it wants sent to
 * members. */
void members__perform(struct runtime *rt);
struct runtime_frame *members__take_frames(struct runtime *rt);

/* ---- members_ring.c ---- */
enum { RING_SLICE = 50000 /* claims at once, some 10 ns each */ };
int ring__init(struct runtime *rt);
void ring__close(struct runtime *rt);
/* The members have changed: begins a new ring, or goes on with it. True: a new one stands. */
bool ring__work(struct runtime *rt);
/* Who should own it, in nodes; NODE_NONE: nobody. */
uint32_t ring__owner(const struct runtime *rt, uint32_t pid);
uint32_t ring__backup(const struct runtime *rt, uint32_t pid);
bool ring__is_mine(const struct runtime *rt, uint32_t pid);

#endif
