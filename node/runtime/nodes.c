/* The table of nodes: every name that membership or the store has told of, and what is known about
 * it. Names come and go over the years; places that nothing refers to any more are used again. */
#include <stdio.h>
#include <stdlib.h>

#include "gossip.pb-c.h"
#include "node/runtime/internal.h"
#include "node/runtime/node_kind.h"
#include "proto/unpack.h"

int nodes__init(struct nodes *nodes, uint32_t max)
{
    *nodes = (struct nodes){.max = max};
    nodes->all = calloc(max, sizeof(struct node_info *));
    return nodes->all == NULL ? TROUPE_ENOMEM : 0;
}

void nodes__close(struct nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->n; i++)
        free(nodes->all[i]);
    free(nodes->all);
    *nodes = (struct nodes){0};
}

uint32_t nodes__find(const struct nodes *nodes, struct troupe_bytes name)
{
    for (uint32_t i = 0; i < nodes->n; i++) {
        if (nodes->all[i] != NULL && troupe_bytes_equal(troupe_bytes_of(nodes->all[i]->name), name))
            return i;
    }
    return NODE_NONE;
}

struct node_info *node__at(const struct runtime *rt, uint32_t index)
{
    const struct nodes *nodes = &rt->members.nodes;
    return index < nodes->n ? nodes->all[index] : NULL;
}

/* A place of somebody that is gone for good. */
static uint32_t recycle(struct runtime *rt)
{
    struct nodes *nodes = &rt->members.nodes;
    uint32_t found = NODE_NONE;
    for (uint32_t i = 0; i < nodes->n && found == NODE_NONE; i++) {
        const struct node_info *n = nodes->all[i];
        if (i != rt->members.self && n->member == SWIM_NOBODY && !n->row_active &&
            !ownership_mentions(&rt->ownership, i))
            found = i;
    }
    return found;
}

uint32_t nodes__take(struct runtime *rt, struct troupe_bytes name)
{
    struct nodes *nodes = &rt->members.nodes;
    uint32_t at = nodes__find(nodes, name);
    if (at != NODE_NONE || name.len == 0 || name.len > STORE_NAME_BYTES_MAX ||
        memchr(name.data, '\0', name.len) != NULL)
        return at;
    at = nodes->n < nodes->max ? nodes->n : recycle(rt);
    if (at == NODE_NONE)
        return at;
    if (nodes->all[at] == NULL)
        nodes->all[at] = malloc(sizeof **nodes->all);
    if (nodes->all[at] == NULL)
        return NODE_NONE;
    struct node_info *n = nodes->all[at];
    *n = (struct node_info){.weight = 1, .member = SWIM_NOBODY};
    memcpy(n->name, name.data, name.len);
    nodes->n += at == nodes->n;
    return at;
}

/* ---- what members say of themselves ---- */

static void take_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from == NULL ? "" : from);
}

bool node__read_meta(struct runtime *rt, struct node_info *n, struct troupe_bytes meta)
{
    ProtobufCMessage *message;
    arena_reset(&rt->members_arena);
    if (unpack_message(&rt->members_arena, &troupe__gossip__member_meta__descriptor, meta,
                       &message) != 0)
        return false;
    const Troupe__Gossip__MemberMeta *m = (const Troupe__Gossip__MemberMeta *)(void *)message;
    take_text(n->address, sizeof n->address, m->address);
    take_text(n->gossip, sizeof n->gossip, m->gossip_address);
    take_text(n->peer, sizeof n->peer, m->peer_address);
    take_text(n->zone, sizeof n->zone, m->zone);
    take_text(n->version, sizeof n->version, m->version);
    n->timeline = m->timeline;
    n->weight = m->weight < 1 ? 1 : m->weight > RING_WEIGHT_MAX ? RING_WEIGHT_MAX : m->weight;
    return true;
}

size_t node__write_meta(const struct runtime *rt, uint8_t out[SWIM_META_BYTES_MAX])
{
    const struct runtime_config *c = &rt->config;
    Troupe__Gossip__MemberMeta m = TROUPE__GOSSIP__MEMBER_META__INIT;
    m.address = node_kind__text(c->address);
    m.gossip_address = node_kind__text(c->gossip_address);
    m.peer_address = node_kind__text(c->peer_address);
    m.zone = node_kind__text(c->zone);
    m.version = node_kind__text(c->version);
    m.weight = c->weight;
    m.timeline = rt->timeline;
    if (troupe__gossip__member_meta__get_packed_size(&m) > SWIM_META_BYTES_MAX)
        m.timeline = 0; /* the rest is needed more */
    size_t len = troupe__gossip__member_meta__get_packed_size(&m);
    return len > SWIM_META_BYTES_MAX ? 0 : troupe__gossip__member_meta__pack(&m, out);
}
