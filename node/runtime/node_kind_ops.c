/* What operators want of a node: that it give its partitions away and stay (drain), and that it
 * tell what moves (transfers).
 *
 * A drain by an operator is the first half of a stop: the node tells the others that it takes no
 * partitions, the ring that follows is without it, and the handoff does the rest. The node goes on
 * to answer, by forwarding. It is in memory only: a restart ends it. Should the last active node
 * die, drained nodes do not step in; that is for the operator to decide. */
#include "node/runtime/node_kind.h"

/* ---- drain ---- */

static bool has_heir(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        const struct node_info *n = m->nodes.all[i];
        if (i != m->self && n->state == GOSSIP_ACTIVE && n->peer[0] != '\0')
            return true;
    }
    return false;
}

const char *node_kind__drain(struct runtime *rt)
{
    if (rt->phase >= RUNTIME_STOPPING || rt->draining)
        return "the node is stopping: it gives its partitions away as it is";
    if (rt->drain_asked)
        return NULL;
    if (!members__is_on(&rt->members) || !has_heir(rt))
        return "there is no other active node that could take the partitions: start one, or "
               "`troupe drain --cancel` another";
    rt->drain_asked = true;
    log__add(rt, RUNTIME_INFO, "drained by an operator: partitions move to the other nodes", NULL);
    return NULL;
}

const char *node_kind__undrain(struct runtime *rt)
{
    if (rt->phase >= RUNTIME_STOPPING || rt->draining)
        return "the node is stopping, which cannot be taken back: start it again";
    if (rt->drain_asked)
        log__add(rt, RUNTIME_INFO, "no longer drained: partitions may come back", NULL);
    rt->drain_asked = false;
    return NULL;
}

struct troupe_bytes node_kind__drain_state(struct runtime *rt, struct arena *arena)
{
    Troupe__Rpc__Drain drain = TROUPE__RPC__DRAIN__INIT;
    drain.partitions = ownership_held(&rt->ownership);
    drain.entities = rt->entities_n;
    bool done = drain.partitions == 0 && !handoff__is_out(rt);
    drain.state = node_kind__text(!rt->drain_asked ? "active" : done ? "drained" : "draining");
    return node_kind__pack(arena, &drain.base);
}

/* ---- transfers ---- */

static void fill_out(const struct runtime *rt, const struct handoff *h,
                     Troupe__Rpc__TransferBatch *out)
{
    static const char *const phases[] = {"idle",       "freezing", "streaming",
                                         "committing", "telling",  "keeping"};
    const struct node_info *n = node__at(rt, h->node);
    out->out = true;
    out->node = node_kind__text(n == NULL ? "" : n->name);
    out->phase = node_kind__text(phases[h->phase]);
    out->partitions = h->moves_n;
    out->entities = h->entities;
    out->bytes = h->bytes;
    out->age_ms = (rt->now.mono_ns - h->begun_ns) / NS_PER_MS;
}

static void fill_in(const struct runtime *rt, const struct incoming *in,
                    Troupe__Rpc__TransferBatch *out)
{
    const struct node_info *n = node__at(rt, in->node);
    bool whole = in->parts_n != 0 && in->parts_got == in->parts_n;
    out->node = node_kind__text(n == NULL ? "" : n->name);
    out->phase = node_kind__text(in->orphan ? "orphaned" : whole ? "received" : "receiving");
    out->partitions = in->pids_n;
    out->entities = in->entities;
    out->age_ms = (rt->now.mono_ns - in->begun_ns) / NS_PER_MS;
}

static Troupe__Rpc__TransferBatch *next_batch(Troupe__Rpc__Transfers *t,
                                              Troupe__Rpc__TransferBatch *all)
{
    Troupe__Rpc__TransferBatch *batch = t->batches[t->n_batches] = &all[t->n_batches];
    t->n_batches++;
    troupe__rpc__transfer_batch__init(batch);
    return batch;
}

static bool list_batches(const struct runtime *rt, struct arena *arena, Troupe__Rpc__Transfers *t)
{
    enum { MAX = (int)HANDOFFS_MAX + (int)INCOMING_MAX };
    Troupe__Rpc__TransferBatch *all = arena_calloc(arena, MAX, sizeof *all);
    t->batches = arena_calloc(arena, MAX, sizeof(Troupe__Rpc__TransferBatch *));
    if (all == NULL || t->batches == NULL)
        return false;
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        if (rt->handoffs[i].phase != HANDOFF_IDLE)
            fill_out(rt, &rt->handoffs[i], next_batch(t, all));
    }
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        if (rt->incoming[i].node != NODE_NONE)
            fill_in(rt, &rt->incoming[i], next_batch(t, all));
    }
    return true;
}

static bool list_pending(const struct runtime *rt, struct arena *arena, Troupe__Rpc__Transfers *t)
{
    const struct nodes *nodes = &rt->members.nodes;
    Troupe__Rpc__TransferPending *all = arena_calloc(arena, nodes->n, sizeof *all);
    t->pending = arena_calloc(arena, nodes->n, sizeof(Troupe__Rpc__TransferPending *));
    if (all == NULL || t->pending == NULL)
        return false;
    for (uint32_t pid = 0; members__is_on(&rt->members) && pid < rt->config.partitions; pid++) {
        uint32_t to = ring__owner(rt, pid);
        if (to == NODE_NONE || to == rt->members.self || !ownership_is_held(&rt->ownership, pid))
            continue;
        all[to].partitions++;
        all[to].entities += rt->partitions[pid].count;
    }
    for (uint32_t i = 0; i < nodes->n; i++) {
        uint32_t partitions = all[i].partitions;
        uint64_t entities = all[i].entities;
        troupe__rpc__transfer_pending__init(&all[i]);
        all[i].node = node_kind__text(nodes->all[i]->name);
        all[i].partitions = partitions;
        all[i].entities = entities;
        all[i].bytes = rt->entities_n == 0 ? 0 : entities * (rt->entity_bytes / rt->entities_n);
        if (partitions > 0)
            t->pending[t->n_pending++] = &all[i];
    }
    return true;
}

struct troupe_bytes node_kind__transfers(struct runtime *rt, struct arena *arena)
{
    const struct handoff_totals *totals = &rt->handoff_totals;
    Troupe__Rpc__Transfers t = TROUPE__RPC__TRANSFERS__INIT;
    if (!list_batches(rt, arena, &t) || !list_pending(rt, arena, &t))
        return troupe_bytes(NULL, 0);
    t.node = node_kind__text(rt->config.name);
    t.partitions_out = totals->partitions_out;
    t.partitions_in = totals->partitions_in;
    t.entities_out = totals->entities_out;
    t.entities_in = totals->entities_in;
    t.bytes_out = totals->bytes_out;
    t.batches_out = totals->batches_out;
    t.batches_in = totals->batches_in;
    t.aborted = totals->aborted;
    t.freeze_max_us = totals->freeze_max_us;
    return node_kind__pack(arena, &t.base);
}
