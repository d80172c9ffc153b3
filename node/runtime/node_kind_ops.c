/* What operators want of a node: that it give its partitions away and stay (drain), and that it
 * tell what moves (transfers).
 *
 * A drain by an operator is the first half of a stop: the node tells the others that it takes no
 * partitions, the ring that follows is without it, and the handoff does the rest. The node goes on
 * to answer, by forwarding. The others might be drained at the same moment: so it is written into
 * the store's row first, which refuses it to the last one. A restart ends it. Should the last
 * active node die, drained nodes do not step in; that is for the operator to decide. */
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

static const char nobody[] =
    "there is no other active node that could take the partitions: start one, or "
    "`troupe drain --cancel` another";

static struct troupe_bytes pack_state(const struct runtime *rt, struct arena *arena)
{
    Troupe__Rpc__Drain drain = TROUPE__RPC__DRAIN__INIT;
    drain.partitions = ownership_held(&rt->ownership);
    drain.entities = rt->entities_n;
    bool done = drain.partitions == 0 && !handoff__is_out(rt);
    drain.state = node_kind__text(!rt->drain_asked ? "active" : done ? "drained" : "draining");
    return node_kind__pack(arena, &drain.base);
}

/* False after the call has been answered, because it is so already or cannot be. */
static bool begin(struct runtime *rt, struct message *m, struct store_request *request, bool drain)
{
    bool heir = !drain || (members__is_on(&rt->members) && has_heir(rt));
    if (rt->draining) {
        request__fail(rt, m, TROUPE_FAILED_PRECONDITION, "%s",
                      drain ? "the node is stopping: it gives its partitions away as it is"
                            : "the node is stopping, which cannot be taken back: start it again");
        return false;
    }
    if (drain && rt->drain_asked) {
        node_kind__finish(rt, m, pack_state(rt, m->request->arena));
        return false;
    }
    if (!heir) {
        request__fail(rt, m, TROUPE_FAILED_PRECONDITION, "%s", nobody);
        return false;
    }
    if (!rt->lease.held) {
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "the node has no lease at the moment, and so nothing to give away: retry");
        return false;
    }
    request->u.drain =
        (struct store_drain){.name = rt->config.name, .generation = rt->generation, .drain = drain};
    return true;
}

static bool begin_drain(struct runtime *rt, struct message *m, struct store_request *request)
{
    return begin(rt, m, request, true);
}

static bool begin_undrain(struct runtime *rt, struct message *m, struct store_request *request)
{
    return begin(rt, m, request, false);
}

static void drain_is(struct runtime *rt, bool drain)
{
    if (rt->drain_asked != drain)
        log__add(rt, RUNTIME_INFO,
                 drain ? "drained by an operator: partitions move to the other nodes"
                       : "no longer drained: partitions may come back",
                 NULL);
    rt->drain_asked = drain;
    node_kind__changed(rt);
}

/* Whoever asked may be gone: what the store has is what holds. */
static void drain_done(struct runtime *rt, struct message *m, const struct store_request *request)
{
    const struct store_drain *d = &request->u.drain;
    bool ours = d->generation == rt->generation; /* not that of a run before */
    bool done = request->error == 0 && !d->refused && ours;
    if (done)
        drain_is(rt, d->drain);
    if (m == NULL)
        return;
    if (done)
        node_kind__finish(rt, m, pack_state(rt, m->request->arena));
    else if (request->error == 0 && d->refused)
        request__fail(rt, m, TROUPE_FAILED_PRECONDITION, "%s", nobody);
    else
        request__fail(rt, m, TROUPE_UNAVAILABLE, "the store has not written it down: %s. Try again",
                      ours ? request->errmsg : "the node has registered anew");
}

const struct node_answer node_kind__drain = {
    .op = STORE_DRAIN, .begin = begin_drain, .done = drain_done};
const struct node_answer node_kind__undrain = {
    .op = STORE_DRAIN, .begin = begin_undrain, .done = drain_done};

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
