/* See ring.h. Here: memory, and the set of members; ring_build.c assigns the partitions. */
#include "cluster/ring.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/invariant.h"
#include "base/name.h"
#include "cluster/ring_turn.h"
#include "troupe/error.h"

enum {
    CAP_SLACK_DIVISOR = 20, /* 5 % */
    CAP_SLACK_PARTITIONS = 12,
};

_Static_assert(RING_MEMBERS_MAX < RING_NONE, "an index is 16 bits");
_Static_assert(RING_WEIGHT_MAX <= UINT8_MAX && RING_NAME_BYTES_MAX <= UINT8_MAX, "kept in a byte");

static void table_close(struct ring_table *t)
{
    free(t->nodes);
    free(t->owners);
    free(t->backups);
    free(t->shares);
}

static bool table_init(struct ring_table *t, uint32_t partitions, uint32_t members_max)
{
    *t = (struct ring_table){
        .nodes = calloc(members_max, sizeof *t->nodes),
        .owners = malloc(partitions * sizeof *t->owners),
        .backups = malloc(partitions * sizeof *t->backups),
        .shares = calloc(members_max, sizeof *t->shares),
    };
    if (t->nodes == NULL || t->owners == NULL || t->backups == NULL || t->shares == NULL)
        return false;
    for (uint32_t pid = 0; pid < partitions; pid++)
        t->owners[pid] = t->backups[pid] = RING_NONE;
    return true;
}

int ring_init(struct ring *ring, uint32_t partitions, uint32_t members_max)
{
    *ring = (struct ring){.partitions = partitions, .members_max = members_max};
    int bits = name_partition_bits(partitions);
    if (bits < 0 || members_max == 0 || members_max > RING_MEMBERS_MAX)
        return TROUPE_EINVAL;
    struct ring_build *b = &ring->build;
    ring->bits = (uint8_t)bits;
    b->askers = malloc(members_max * sizeof *b->askers);
    b->caps = malloc(members_max * sizeof *b->caps);
    b->zone_left = malloc(members_max * sizeof *b->zone_left);
    b->taken = malloc(partitions * sizeof *b->taken);
    bool tables = table_init(&ring->tables[0], partitions, members_max) &&
                  table_init(&ring->tables[1], partitions, members_max);
    if (tables && b->askers != NULL && b->caps != NULL && b->zone_left != NULL && b->taken != NULL)
        return 0;
    ring_close(ring);
    return TROUPE_ENOMEM;
}

void ring_close(struct ring *ring)
{
    table_close(&ring->tables[0]);
    table_close(&ring->tables[1]);
    free(ring->build.askers);
    free(ring->build.caps);
    free(ring->build.zone_left);
    free(ring->build.taken);
    *ring = (struct ring){.partitions = 0};
}

/* ---- order ---- */

static int compare_names(struct troupe_bytes a, struct troupe_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool name_is_less(const void *members, uint16_t a, uint16_t b)
{
    const struct ring_member *m = members;
    return compare_names(m[a].name, m[b].name) < 0;
}

static bool zone_is_less(const void *nodes, uint16_t a, uint16_t b)
{
    const struct ring_node *n = nodes;
    return n[a].zone < n[b].zone;
}

typedef bool (*less_fn)(const void *things, uint16_t a, uint16_t b);

static void sift(uint16_t *heap, uint32_t at, uint32_t n, less_fn less, const void *things)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && less(things, heap[child], heap[child + 1]))
            child++;
        if (!less(things, heap[at], heap[child]))
            return;
        uint16_t moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

/* 0 to n - 1 in the order of things: a heapsort, as qsort may allocate. */
static void sort(uint16_t *order, uint32_t n, less_fn less, const void *things)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = (uint16_t)i;
    for (uint32_t i = n / 2; i-- > 0;)
        sift(order, i, n, less, things);
    for (uint32_t end = n; end-- > 1;) {
        uint16_t greatest = order[0];
        order[0] = order[end];
        order[end] = greatest;
        sift(order, 0, end, less, things);
    }
}

/* ---- the set of members ---- */

static void keep(struct ring_node *node, const struct ring_member *member)
{
    node->hash = XXH3_64bits_withSeed(member->name.data, member->name.len, RING_TURN_SEED);
    node->zone = member->zone;
    node->weight = (uint8_t)member->weight;
    node->name_len = (uint8_t)member->name.len;
    memcpy(node->name, member->name.data, member->name.len);
}

/* How many zones there are. order: room for n numbers. */
static uint32_t number_zones(struct ring_node *nodes, uint32_t n, uint16_t *order)
{
    uint32_t zones = 0;
    sort(order, n, zone_is_less, nodes);
    for (uint32_t i = 0; i < n; i++) {
        zones += i == 0 || nodes[order[i]].zone != nodes[order[i - 1]].zone;
        nodes[order[i]].zone_index = (uint16_t)(zones - 1);
    }
    return zones;
}

static uint64_t hash_set(const struct ring_table *t)
{
    uint64_t hash = t->members_n;
    for (uint32_t i = 0; i < t->members_n; i++) {
        const struct ring_node *node = &t->nodes[i];
        uint64_t rest = (uint64_t)node->zone << 32 | node->weight;
        hash = XXH3_64bits_withSeed(node->name, node->name_len, hash);
        hash = ring_turn_mix(hash ^ rest);
    }
    return hash;
}

static uint64_t root(uint64_t square)
{
    uint64_t r = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit != 0; bit >>= 1) {
        if ((r | bit) * (r | bit) <= square)
            r |= bit;
    }
    return r;
}

uint32_t ring_cap(uint32_t partitions, uint32_t weight, uint32_t weights)
{
    enum { BITS = 16 }; /* fixed point: the same on every machine */
    uint64_t one = UINT64_C(1) << BITS;
    INVARIANT(weight > 0 && weight <= weights && partitions <= PARTITIONS_MAX);
    uint64_t share = ((uint64_t)partitions << BITS) * weight / weights;
    uint64_t slack = root(share << BITS) * 3 / 2;
    if (slack > CAP_SLACK_PARTITIONS * one)
        slack = CAP_SLACK_PARTITIONS * one;
    if (slack < share / CAP_SLACK_DIVISOR)
        slack = share / CAP_SLACK_DIVISOR;
    return (uint32_t)((share + slack + one - 1) >> BITS);
}

static void set_caps(struct ring *ring, const struct ring_table *t)
{
    uint32_t weights = 0;
    for (uint32_t i = 0; i < t->members_n; i++)
        weights += t->nodes[i].weight;
    for (uint32_t i = 0; i < t->members_n; i++)
        ring->build.caps[i] = ring_cap(ring->partitions, t->nodes[i].weight, weights);
}

static bool member_is_valid(const struct ring_member *member)
{
    return member->name.len > 0 && member->name.len <= RING_NAME_BYTES_MAX && member->weight > 0 &&
           member->weight <= RING_WEIGHT_MAX;
}

int ring_build_start(struct ring *ring, const struct ring_member *members, uint32_t n)
{
    struct ring_build *b = &ring->build;
    struct ring_table *t = &ring->tables[1 - ring->now];
    if (n > ring->members_max)
        return TROUPE_ELIMIT;
    for (uint32_t i = 0; i < n; i++) {
        if (!member_is_valid(&members[i]))
            return TROUPE_EINVAL;
    }
    b->phase = RING_IDLE;
    sort(b->askers, n, name_is_less, members);
    for (uint32_t i = 0; i < n; i++) {
        const struct ring_member *m = &members[b->askers[i]];
        if (i > 0 && troupe_bytes_equal(m->name, members[b->askers[i - 1]].name))
            return TROUPE_EINVAL;
        keep(&t->nodes[i], m);
    }
    t->members_n = n;
    t->hash = hash_set(t);
    b->zones_n = number_zones(t->nodes, n, b->askers);
    set_caps(ring, t);
    b->phase = RING_CLEAR;
    return 0;
}

int ring_build(struct ring *ring, const struct ring_member *members, uint32_t n)
{
    int rc = ring_build_start(ring, members, n);
    while (rc == 0 && !ring_build_step(ring, UINT32_MAX))
        continue;
    return rc;
}

uint32_t ring_find(const struct ring *ring, struct troupe_bytes name)
{
    uint32_t from = 0, to = ring_members(ring);
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        int order = name.len == 0 ? -1 : compare_names(name, ring_name(ring, middle));
        if (order == 0)
            return middle;
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return RING_NONE;
}
