/* Serving through an outage of the store (DESIGN §6.9). A node whose lease cannot be renewed may go
 * on past its deadline while nobody could evict it: while every node that its last renewal returned
 * has promised not to, for a TTL at a time. A promise is given only by a node that cannot reach the
 * store either; one that can would have to let others take over. So when the store is gone for all,
 * all go on; when it is gone for one, that one stops.
 *
 * A node that registered after that renewal has promised nothing; it waits by itself, see
 * failover.c. */
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    ASK_MS = 500,    /* how often promises are asked for */
    DOUBT_MS = 1500, /* a renewal that takes so long: the store cannot be reached */
    ANSWER_MS = 2000,
};

struct promise_request {
    struct runtime_peer_request peer;
    struct arena arena;
    struct rpc_call call;
    uint32_t node;
    uint64_t generation; /* of the run that is asked */
    uint64_t sent_ns;
    uint64_t lease_ns; /* the renewal that it is to prolong */
};

/* ---- granting ---- */

static bool is_in_doubt(const struct runtime *rt)
{
    const struct lease *l = &rt->lease;
    bool slow = l->in_flight && rt->now.mono_ns - l->sent_ns > DOUBT_MS * NS_PER_MS;
    return l->held && (l->failures > 0 || slow);
}

struct handoff_answer promise__ask(struct runtime *rt, const Troupe__Peer__Promise *p)
{
    uint32_t at = nodes__find(&rt->members.nodes, troupe_bytes(p->from.data, p->from.len));
    struct node_info *n = node__at(rt, at);
    if (n == NULL || n->row_generation != p->from_generation)
        return (struct handoff_answer){TROUPE_NOT_FOUND, "this node knows no such run"};
    /* A shorter promise than the one it asks for would be counted as the longer one. */
    if (p->ttl_ms > failover__outage_ms(rt, n->row_outage_ms))
        return (struct handoff_answer){TROUPE_FAILED_PRECONDITION,
                                       "by its row it may not serve for so long without the store"};
    if (!is_in_doubt(rt))
        return (struct handoff_answer){TROUPE_FAILED_PRECONDITION, "this node reaches the store"};
    uint64_t until_ns = rt->now.mono_ns + p->ttl_ms * NS_PER_MS;
    if (until_ns > n->promised_until_ns)
        n->promised_until_ns = until_ns;
    return (struct handoff_answer){TROUPE_OK, ""};
}

/* ---- asking ---- */

void promise__free(struct runtime_peer_request *peer)
{
    struct promise_request *r = LIST_ENTRY(peer, struct promise_request, peer);
    arena_close(&r->arena);
    free(r);
}

static void ask(struct runtime *rt, uint32_t node)
{
    const struct node_info *n = node__at(rt, node);
    Troupe__Peer__Promise p = TROUPE__PEER__PROMISE__INIT;
    struct promise_request *r = calloc(1, sizeof *r);
    if (r == NULL)
        return;
    arena_init(&r->arena, 0, 0);
    struct troupe_bytes name = arena_copy(&r->arena, troupe_bytes_of(rt->config.name));
    p.from = peer__binary(name);
    p.from_generation = rt->generation;
    p.ttl_ms = rt->config.lease_ttl_ms;
    size_t len = troupe__peer__promise__get_packed_size(&p);
    uint8_t *packed = arena_alloc(&r->arena, len);
    if (name.data == NULL || packed == NULL) {
        promise__free(&r->peer);
        return;
    }
    troupe__peer__promise__pack(&p, packed);
    r->call = (struct rpc_call){.kind = troupe_bytes_of("$peer"),
                                .id = troupe_bytes_of("self"),
                                .method = troupe_bytes_of("promise"),
                                .payload = troupe_bytes(packed, len)};
    r->node = node;
    r->generation = n->row_generation;
    r->sent_ns = rt->now.mono_ns;
    r->lease_ns = rt->lease.renewed_ns;
    memcpy(r->peer.address, n->peer, sizeof r->peer.address);
    r->peer.rpc = (struct rpc_request){.timeout_ms = ANSWER_MS, .calls = &r->call, .calls_n = 1};
    r->peer.arena = &r->arena;
    r->peer.deadline_ns = rt->now.mono_ns + ANSWER_MS * NS_PER_MS;
    peer__send(rt, &r->peer, PEER_PROMISE);
}

/* The lease lasts as long as the shortest promise. */
static void prolong(struct runtime *rt)
{
    const struct members *m = &rt->members;
    uint64_t sent_ns = UINT64_MAX;
    uint32_t others = 0;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        const struct node_info *n = m->nodes.all[i];
        if (i == m->self || !n->row_active)
            continue;
        others++;
        uint64_t promised = n->promise_lease_ns == rt->lease.renewed_ns &&
                                    n->promise_generation == n->row_generation
                                ? n->promise_sent_ns
                                : 0;
        sent_ns = promised < sent_ns ? promised : sent_ns;
    }
    if (others == m->others && others > 0 && sent_ns != 0) /* one without a place is not asked */
        lease_promised(&rt->lease, sent_ns);
}

void promise__done(struct runtime *rt, struct runtime_peer_request *peer)
{
    struct promise_request *r = LIST_ENTRY(peer, struct promise_request, peer);
    struct node_info *n = node__at(rt, r->node);
    if (peer__is_ok(peer) && n != NULL) {
        n->promise_sent_ns = r->sent_ns;
        n->promise_lease_ns = r->lease_ns;
        n->promise_generation = r->generation;
        prolong(rt);
    }
    promise__free(peer);
}

static bool wants(const struct runtime *rt)
{
    return members__is_on(&rt->members) && !rt->config.outage_fence && is_in_doubt(rt) &&
           rt->phase == RUNTIME_SERVING && !rt->lease.alone;
}

void promise__tick(struct runtime *rt)
{
    const struct members *m = &rt->members;
    if (!wants(rt) || rt->now.mono_ns < rt->promise_ask_ns)
        return;
    rt->promise_ask_ns = rt->now.mono_ns + ASK_MS * NS_PER_MS;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        const struct node_info *n = m->nodes.all[i];
        if (i != m->self && n->row_active && n->peer[0] != '\0')
            ask(rt, i);
    }
}

uint64_t promise__next_ns(const struct runtime *rt)
{
    const struct lease *l = &rt->lease;
    if (!members__is_on(&rt->members) || rt->phase != RUNTIME_SERVING || rt->lease.alone ||
        rt->config.outage_fence)
        return UINT64_MAX;
    if (wants(rt))
        return rt->promise_ask_ns > rt->now.mono_ns ? rt->promise_ask_ns : rt->now.mono_ns;
    return l->held && l->in_flight ? l->sent_ns + DOUBT_MS * NS_PER_MS + 1 : UINT64_MAX;
}
