/* The ring of the members that join or are active, built in slices so that calls go on meanwhile.
 * The old ring stands until the new one is complete. */
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "node/runtime/internal.h"

int ring__init(struct runtime *rt)
{
    struct members *m = &rt->members;
    uint32_t max = rt->config.members_max;
    m->self_in_ring = RING_NONE;
    m->ring_members = calloc(max, sizeof *m->ring_members);
    m->ring_node = calloc(max, sizeof *m->ring_node);
    if (m->ring_members == NULL || m->ring_node == NULL)
        return TROUPE_ENOMEM;
    return ring_init(&m->ring, rt->config.partitions, max);
}

void ring__close(struct runtime *rt)
{
    struct members *m = &rt->members;
    ring_close(&m->ring);
    free(m->ring_members);
    free(m->ring_node);
    m->ring_members = NULL;
    m->ring_node = NULL;
}

static uint32_t zone_of(const struct node_info *n)
{
    return n->zone[0] == '\0' ? 0 : (uint32_t)XXH3_64bits(n->zone, strlen(n->zone)) | 1;
}

static void begin(struct runtime *rt)
{
    struct members *m = &rt->members;
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->nodes.n && n < rt->config.members_max; i++) {
        const struct node_info *node = m->nodes.all[i];
        if (!node__is_in_ring(node))
            continue;
        m->ring_members[n++] = (struct ring_member){
            .name = troupe_bytes_of(node->name), .weight = node->weight, .zone = zone_of(node)};
    }
    int rc = ring_build_start(&m->ring, m->ring_members, n);
    INVARIANT(rc == 0); /* names are distinct and weights in range, whoever told them */
    m->ring_stale = false;
    m->ring_building = true;
}

/* Names of the new ring's members are those of nodes that were active a moment ago. */
static void finish(struct runtime *rt)
{
    struct members *m = &rt->members;
    m->ring_building = false;
    m->rings++;
    m->self_in_ring = RING_NONE;
    for (uint32_t i = 0; i < ring_members(&m->ring); i++)
        m->ring_node[i] = NODE_NONE;
    for (uint32_t i = 0; i < m->nodes.n; i++) { /* the ring finds faster than nodes__find */
        uint32_t at = ring_find(&m->ring, troupe_bytes_of(m->nodes.all[i]->name));
        if (at != RING_NONE)
            m->ring_node[at] = i;
    }
    m->self_in_ring = ring_find(&m->ring, troupe_bytes_of(m->nodes.all[m->self]->name));
}

bool ring__work(struct runtime *rt)
{
    struct members *m = &rt->members;
    if (m->ring_stale)
        begin(rt);
    if (!m->ring_building || !ring_build_step(&m->ring, RING_SLICE))
        return false;
    finish(rt);
    return true;
}

uint32_t ring__owner(const struct runtime *rt, uint32_t pid)
{
    const struct members *m = &rt->members;
    uint32_t at = ring_owner(&m->ring, pid);
    return at == RING_NONE ? NODE_NONE : m->ring_node[at];
}

uint32_t ring__backup(const struct runtime *rt, uint32_t pid)
{
    const struct members *m = &rt->members;
    uint32_t at = ring_backup(&m->ring, pid);
    return at == RING_NONE ? NODE_NONE : m->ring_node[at];
}

bool ring__is_mine(const struct runtime *rt, uint32_t pid)
{
    const struct members *m = &rt->members;
    return m->self_in_ring != RING_NONE && ring_owner(&m->ring, pid) == m->self_in_ring;
}
