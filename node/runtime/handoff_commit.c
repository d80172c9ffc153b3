/* The moment at which a batch of partitions changes its owner: one statement of the store. Before
 * it is sent all can be undone, after it nothing, until its outcome is known; then the other node
 * is told.
 */
#include "node/runtime/internal.h"

enum {
    REST_TIMES = 2, /* as long as a batch took … */
    REST_MS_MAX = 100,
};

void handoff__send_commit(struct runtime *rt, struct handoff *h)
{
    struct store_slot *slot = &rt->commits[h - rt->handoffs];
    arena_reset(&slot->arena);
    slot->request.u.transfer = (struct store_transfer){
        .name = rt->config.name,
        .generation = rt->generation,
        .to = node__at(rt, h->node)->name,
        .to_generation = h->to_generation,
        .cause = rt->draining || rt->drain_asked ? STORE_CAUSE_DRAIN : STORE_CAUSE_JOIN,
        .moves = h->moves,
        .moves_n = h->moves_n,
    };
    h->phase = HANDOFF_COMMITTING;
    lifecycle__submit(rt, slot, STORE_TRANSFER);
}

void handoff__send_given(struct runtime *rt, struct handoff *h)
{
    Troupe__Peer__Transfer transfer;
    Troupe__Peer__Given given = TROUPE__PEER__GIVEN__INIT;
    Troupe__Peer__Partition all[HANDOFF_PIDS_MAX], *pointers[HANDOFF_PIDS_MAX];
    handoff__name(rt, h, &transfer);
    given.transfer = &transfer;
    given.partitions = pointers;
    for (uint32_t i = 0; i < h->moves_n; i++) {
        troupe__peer__partition__init(&all[i]);
        all[i].pid = h->moves[i].pid;
        all[i].epoch = h->moves[i].epoch;
        pointers[given.n_partitions++] = &all[i];
    }
    h->retry_ns = UINT64_MAX; /* until its answer */
    if (!handoff__tell(rt, h, "given", &given.base))
        h->retry_ns = rt->now.mono_ns + HANDOFF_TELL_AGAIN_MS * NS_PER_MS;
}

/* The batch's moves become those that were made, at their new epochs. The others may be anybody's:
 * an earlier try may have moved them, and their new owner have passed them on. They stay frozen
 * until the map has been read again. */
static void settle_moves(struct runtime *rt, struct handoff *h, const struct store_transfer *done)
{
    size_t at = 0;
    uint32_t moved = 0;
    for (uint32_t i = 0; i < h->moves_n; i++) {
        uint32_t pid = h->moves[i].pid;
        const struct ownership_entry *e = &rt->ownership.entries[pid];
        bool ours = e->state == OWNERSHIP_FROZEN && e->epoch == h->moves[i].epoch;
        while (at < done->moved_n && done->moved[at].pid < pid)
            at++;
        if (at == done->moved_n || done->moved[at].pid != pid)
            continue;
        if (ours) {
            rt->ownership.entries[pid].going = false;
            ownership_give(&rt->ownership, pid, done->moved[at].epoch, h->node);
            entity__drop_moved(rt, pid);
            owners__told(rt, pid);
        }
        h->moves[moved++] = done->moved[at];
    }
    if (moved < h->moves_n)
        lifecycle__recheck(rt);
    h->moves_n = moved;
}

/* Moves are in no hurry, and calls go first: the next batch is begun after a rest. Not when the
 * node stops: it has only so long. */
static void rest(struct runtime *rt, uint64_t took_ns)
{
    uint64_t ns = REST_TIMES * took_ns, most_ns = REST_MS_MAX * NS_PER_MS;
    uint64_t until_ns = rt->now.mono_ns + (ns < most_ns ? ns : most_ns);
    if (!rt->draining && until_ns > rt->handoff_paced_ns)
        rt->handoff_paced_ns = until_ns;
}

static void committed(struct runtime *rt, struct handoff *h, const struct store_transfer *done)
{
    uint64_t froze_us = (rt->now.mono_ns - h->begun_ns) / 1000;
    settle_moves(rt, h, done);
    if (h->moves_n == 0) {
        struct node_info *n = node__at(rt, h->node);
        n->handoff_retry_ns = rt->now.mono_ns + HANDOFF_RETRY_NODE_MS * NS_PER_MS;
        h->phase = HANDOFF_IDLE;
        rt->handoff_totals.aborted++;
        return;
    }
    rest(rt, rt->now.mono_ns - h->begun_ns);
    struct handoff_totals *t = &rt->handoff_totals;
    t->freeze_max_us = froze_us > t->freeze_max_us ? froze_us : t->freeze_max_us;
    t->partitions_out += h->moves_n;
    t->entities_out += h->entities;
    t->bytes_out += h->bytes;
    t->batches_out++;
    h->phase = HANDOFF_TELLING;
    handoff__send_given(rt, h); /* before the calls that wait: they go the same way */
    rt->unpark_ns = rt->now.mono_ns;
}

bool handoff__commit_done(struct runtime *rt, struct store_request *request)
{
    if (request->op != STORE_TRANSFER)
        return false;
    struct store_slot *slot = LIST_ENTRY(request, struct store_slot, request);
    struct handoff *h = &rt->handoffs[slot - rt->commits];
    slot->out = false;
    INVARIANT(h->phase == HANDOFF_COMMITTING);
    if (request->error == 0) {
        committed(rt, h, &request->u.transfer);
    } else if (request->error == TROUPE_EFENCED) { /* evicted: nothing is ours */
        h->phase = HANDOFF_IDLE;
        if (rt->lease.held && request->u.transfer.generation == rt->generation)
            lifecycle__evicted(rt);
    } else {
        h->uncertain |= request->error == TROUPE_EOUTCOME;
        if (!h->uncertain) { /* nothing has changed */
            handoff__abort(rt, h, "the store cannot be reached");
            return true;
        }
        h->retry_ns = rt->now.mono_ns + runtime__backoff(rt, h->commit_failures++);
    }
    return true;
}

static bool is_in_batch(const struct runtime *rt, uint32_t pid)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        const struct handoff *h = &rt->handoffs[i];
        bool moves = h->phase != HANDOFF_IDLE && h->phase != HANDOFF_KEEPING;
        for (uint32_t k = 0; moves && k < h->moves_n; k++) {
            if (h->moves[k].pid == pid)
                return true;
        }
    }
    return false;
}

void handoff__confirmed(struct runtime *rt, uint32_t pid)
{
    if (rt->ownership.entries[pid].state != OWNERSHIP_FROZEN || is_in_batch(rt, pid))
        return;
    ownership_thaw(&rt->ownership, pid);
    claims__resume(rt, pid);
    rt->unpark_ns = rt->now.mono_ns;
    rt->handoff_wanted = true;
}
