/* Who owns a partition, how that changes, and how it has changed: claim, transfer, history. Each is
 * one turn under the database's lock, so there is nothing to wait for and nothing to undo. */
#include "storage/memory/database.h"
#include "storage/request.h"

/* Why somebody else may take it: what has become of its owner. 0: it is held by an active run. */
static int cause_to_take(const struct cluster *c, const struct cluster_partition *p)
{
    if (p->node == UINT32_MAX)
        return STORE_CAUSE_FIRST;
    const struct cluster_node *n = &c->nodes[p->node];
    if (n->generation != p->generation)
        return STORE_CAUSE_RESTART;
    if (n->state == STORE_NODE_ACTIVE)
        return 0;
    return n->state == STORE_NODE_LEFT ? STORE_CAUSE_LEFT : STORE_CAUSE_DEAD;
}

static void give(const struct cluster *c, struct cluster_partition *p,
                 const struct cluster_node *to, enum store_cause cause, uint64_t now_ms)
{
    uint32_t node = (uint32_t)(to - c->nodes);
    uint64_t floor = cluster_epoch_floor(c);
    p->epoch = (p->epoch > floor ? p->epoch : floor) + 1;
    p->changes[p->changes_n++ % STORE_HISTORY_MAX] = (struct cluster_change){
        .epoch = p->epoch, .at_ms = now_ms, .node = node, .previous = p->node, .cause = cause};
    p->node = node;
    p->generation = to->generation;
}

int partitions_claim(struct cluster *c, uint64_t now_ms, struct store_request *r)
{
    struct store_claim *claim = &r->u.claim;
    const struct cluster_node *own = cluster_find_run(c, claim->name, claim->generation);
    if (own == NULL)
        return cluster_fail_fenced(r, claim->name, claim->generation);
    claim->claimed = arena_calloc(r->arena, claim->pids_n, sizeof *claim->claimed);
    if (claim->claimed == NULL)
        return store__fail_memory(r);
    claim->claimed_n = 0;
    for (size_t i = 0; i < claim->pids_n && claim->pids[i] < c->partitions_n; i++) {
        struct cluster_partition *p = &c->partitions[claim->pids[i]];
        bool ours = cluster_is_owned_by(c, p, own, claim->generation);
        int cause = cause_to_take(c, p);
        if (!ours && cause == 0)
            continue;
        struct store_claimed *won = &claim->claimed[claim->claimed_n++];
        *won = (struct store_claimed){.pid = claim->pids[i], .epoch_prev = p->epoch};
        if (!ours)
            give(c, p, own, (enum store_cause)cause, now_ms);
        won->epoch = p->epoch;
    }
    return 0;
}

int partitions_transfer(struct cluster *c, uint64_t now_ms, struct store_request *r)
{
    struct store_transfer *t = &r->u.transfer;
    const struct cluster_node *own = cluster_find_run(c, t->name, t->generation);
    if (own == NULL)
        return cluster_fail_fenced(r, t->name, t->generation);
    t->moved = arena_calloc(r->arena, t->moves_n, sizeof *t->moved);
    if (t->moved == NULL)
        return store__fail_memory(r);
    t->moved_n = 0;
    const struct cluster_node *to = cluster_find_node(c, t->to);
    bool open = cluster_find_run(c, t->to, t->to_generation) != NULL;
    for (size_t i = 0; i < t->moves_n && t->moves[i].pid < c->partitions_n; i++) {
        const struct store_move *move = &t->moves[i];
        struct cluster_partition *p = &c->partitions[move->pid];
        bool done = p->epoch > move->epoch && cluster_is_owned_by(c, p, to, t->to_generation);
        bool ours = p->epoch == move->epoch && cluster_is_owned_by(c, p, own, t->generation);
        if (!done && !(ours && open))
            continue;
        if (!done)
            give(c, p, to, t->cause, now_ms);
        t->moved[t->moved_n++] = (struct store_move){.pid = move->pid, .epoch = p->epoch};
    }
    return 0;
}

static bool copy_name(const struct cluster *c, struct arena *a, uint32_t node, const char **name)
{
    const char *text = node == UINT32_MAX ? "" : c->nodes[node].name;
    *name = (const char *)arena_copy(a, troupe_bytes_of(text)).data;
    return *name != NULL;
}

int partitions_history(const struct cluster *c, struct store_request *r)
{
    struct store_history *h = &r->u.history;
    h->changes_n = 0;
    h->changes = arena_calloc(r->arena, STORE_HISTORY_MAX, sizeof *h->changes);
    if (h->changes == NULL)
        return store__fail_memory(r);
    if (h->pid >= c->partitions_n)
        return 0;
    const struct cluster_partition *p = &c->partitions[h->pid];
    while (h->changes_n < STORE_HISTORY_MAX && h->changes_n < p->changes_n) {
        uint32_t slot = (p->changes_n - 1 - (uint32_t)h->changes_n) % STORE_HISTORY_MAX;
        const struct cluster_change *from = &p->changes[slot];
        struct store_change *to = &h->changes[h->changes_n++];
        *to =
            (struct store_change){.epoch = from->epoch, .cause = from->cause, .at_ms = from->at_ms};
        if (!copy_name(c, r->arena, from->node, &to->owner) ||
            !copy_name(c, r->arena, from->previous, &to->previous))
            return store__fail_memory(r);
    }
    return 0;
}
