/* The ring: which member should own each partition, and which should hold its backup (DESIGN §4).
 * Pure, and a pure function of the set of members: nodes that know of the same members agree on it
 * without a word. It proposes; who does own a partition is in the store.
 *
 * Rendezvous hashing (Thaler & Ravishankar, "Using name-based mappings to increase hit rates",
 * IEEE/ACM ToN 6(1), 1998): every member has a score for every partition, the best one owns it, so
 * that a member that comes takes only what it owns itself. With bounded loads (Mirrokni, Thorup,
 * Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018): nobody gets more than its
 * cap. What a member turns away for its cap depends on who else asks; taking partitions one after
 * the other would make it depend on their order. So the assignment is the stable matching of
 * members and partitions (Gale & Shapley, 1962): no member and partition would both rather have
 * each other than what they got. Both sides rank by the same score, hence there is exactly one, and
 * the greedy one finds it: best score first, if the partition is free and the member under its cap.
 * ring_turn.h makes the scores such that this order comes for free: members take turns and ask.
 *
 * The cap of a member whose share by weight is s partitions is ceil(max(1.05 s, s + min(12,
 * 1.5 sqrt(s)))): 5 % above its share where that is 240 partitions or more, 12 partitions below,
 * and less than those when shares are tiny. Why not 5 % always: a hash gives a member s ± sqrt(s/2)
 * partitions. With few partitions each, most members would sit at a 5 % cap, and each one that is
 * robbed of a partition by a newcomer would take one back from another that is full, and so on.
 * Moved by a join (or by the leave that undoes it), as a multiple of the newcomer's share, with
 * 4,096 partitions: mean and worst of 300 clusters of random names, and how many were over 1.2,
 * which is what we want to stay under.
 *
 *     members      cap always 5 %          this cap
 *       10       1.01   1.07    0 %     1.01   1.07     0 %
 *       20       1.03   1.13    0 %     1.03   1.14     0 %
 *       30       1.07   1.19    0 %     1.02   1.14     0 %
 *       40       1.12   1.25    9 %     1.02   1.17     0 %
 *       50       1.16   1.36   29 %     1.02   1.21   0.3 %
 *       70       1.26   1.44   77 %     1.01   1.23   0.3 %
 *      100       1.34   1.71   84 %     1.03   1.27     5 %
 *
 * So it holds for shares of 90 partitions and more: 45 members, or 180 with 16,384 partitions.
 * Below that the newcomer's own share alone varies by as much. A tighter cap makes it worse, none
 * at all hardly better: how even a pure function of the set is and how little it moves trade
 * against each other. */
#ifndef TROUPE_CLUSTER_RING_H
#define TROUPE_CLUSTER_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "troupe/bytes.h"

enum {
    RING_MEMBERS_MAX = 16384,
    RING_NAME_BYTES_MAX = 63,
    RING_WEIGHT_MAX = 100,
    RING_NONE = UINT16_MAX,
};

struct ring_member {
    struct troupe_bytes name; /* 1 to RING_NAME_BYTES_MAX bytes */
    uint32_t weight;          /* 1 to RING_WEIGHT_MAX; its share is in proportion */
    uint32_t zone; /* the same number = fails together; 0, not told, is a zone like any other */
};

/* A member as it is kept. Members are in the order of their names (memcmp, the shorter first). */
struct ring_node {
    uint64_t hash; /* of the name */
    uint32_t zone;
    uint16_t zone_index; /* zones numbered from 0 */
    uint8_t weight;
    uint8_t name_len;
    uint8_t name[RING_NAME_BYTES_MAX];
};

/* One complete ring. */
struct ring_table {
    struct ring_node *nodes;
    uint16_t *owners, *backups; /* per partition: index of a member, or RING_NONE */
    uint32_t *shares;           /* per member: partitions owned */
    uint32_t members_n;
    uint64_t hash;
};

enum ring_phase { RING_IDLE, RING_CLEAR, RING_OWNERS, RING_BACKUPS };

/* The work under way on the next one; see ring_build.c. */
struct ring_build {
    uint8_t phase;      /* enum ring_phase */
    uint32_t turn, sub; /* whose claims are being made … */
    uint32_t at;        /* … from this place in askers on */
    uint16_t *askers;   /* members that still ask, heaviest first */
    uint32_t askers_n;
    uint32_t prefix_n;   /* the askers of this sub-turn: those with weight > sub */
    bool askers_stale;   /* somebody may have dropped out */
    uint32_t left;       /* partitions without owner, then without backup */
    uint32_t *caps;      /* per member */
    uint32_t *zone_left; /* per zone: partitions owned in it that have no backup */
    uint32_t zones_n;
    uint32_t *taken; /* per partition: at which sub-turn, counted from 0 through all turns */
    uint32_t sub_turn;
};

struct ring {
    struct ring_table tables[2];
    struct ring_build build;
    uint32_t partitions, members_max;
    uint8_t bits; /* log2 of partitions */
    uint8_t now;  /* the table that is complete; the other one is being built */
};

/* All memory is taken here. partitions: see base/name.h; members_max at most RING_MEMBERS_MAX.
 * Errors: TROUPE_EINVAL, TROUPE_ENOMEM. The ring has no members at first. */
int ring_init(struct ring *ring, uint32_t partitions, uint32_t members_max);
void ring_close(struct ring *ring);

/* Starts a new ring of these members, in any order, which are copied; what was being built is
 * dropped. Sorts them: O(n log n). Until ring_build_step has said true the old ring stays. Errors,
 * after which nothing has changed: TROUPE_ELIMIT (more than members_max), TROUPE_EINVAL (a name, or
 * weight, that cannot be), and TROUPE_EINVAL for a name that is there twice (then what was being
 * built is dropped). */
int ring_build_start(struct ring *ring, const struct ring_member *members, uint32_t n);
/* Does about so many claims (each takes some 10 ns) of what is to be done. True: the ring of the
 * last ring_build_start is what the functions below tell of. budget > 0. */
bool ring_build_step(struct ring *ring, uint32_t budget);
/* Both at once. */
int ring_build(struct ring *ring, const struct ring_member *members, uint32_t n);

static inline const struct ring_table *ring_table(const struct ring *ring)
{
    return &ring->tables[ring->now];
}

static inline uint32_t ring_members(const struct ring *ring)
{
    return ring_table(ring)->members_n;
}

/* The member that should own a partition: its index, less than ring_members, or RING_NONE when
 * there are no members. Indexes mean something until the next true of ring_build_step. */
static inline uint32_t ring_owner(const struct ring *ring, uint32_t pid)
{
    return ring_table(ring)->owners[pid];
}

/* The best-scoring one besides the owner, out of another zone if there is one. RING_NONE: there are
 * no two members. Backups have no cap. */
static inline uint32_t ring_backup(const struct ring *ring, uint32_t pid)
{
    return ring_table(ring)->backups[pid];
}

/* How many partitions it owns. */
static inline uint32_t ring_share(const struct ring *ring, uint32_t index)
{
    return ring_table(ring)->shares[index];
}

/* Valid until the next true of ring_build_step but one. */
static inline struct troupe_bytes ring_name(const struct ring *ring, uint32_t index)
{
    const struct ring_node *node = &ring_table(ring)->nodes[index];
    return troupe_bytes(node->name, node->name_len);
}

/* The index of the member of this name, or RING_NONE. */
uint32_t ring_find(const struct ring *ring, struct troupe_bytes name);

/* Of the sorted (name, weight, zone) set: nodes with the same hash have the same ring. */
static inline uint64_t ring_hash(const struct ring *ring)
{
    return ring_table(ring)->hash;
}

/* The most that a member of this weight may own when all weights add up to weights. */
uint32_t ring_cap(uint32_t partitions, uint32_t weight, uint32_t weights);

#endif
