/* What a batch of partitions holds, on its way to the other node: resident entities with their
 * states, unsaved changes, request ids and timers, captured at once while the batch is frozen, and
 * cut into parts that are small enough to pass between other frames. */
#include "node/runtime/internal.h"

/* The part is sent when it has reached its size, so that the last entity may be of any; beside it
 * there are the list of partitions and what wraps them all. */
_Static_assert(HANDOFF_PART_BYTES + (int)STORE_STATE_BYTES_MAX + (int)DEDUP_BLOCK_BYTES_MAX +
                       (1 << 20) <
                   (int)RPC_FRAME_BYTES_MAX,
               "a part of a batch fits a frame");

/* The part that is being filled. */
struct part {
    Troupe__Peer__Take take;
    Troupe__Peer__Transfer transfer;
    Troupe__Peer__Entity **entities;
    size_t bytes;
    bool failed;
};

static void part_send(struct runtime *rt, struct handoff *h, struct part *p)
{
    p->take.part = h->parts_n++;
    h->parts_out++;
    if (!handoff__tell(rt, h, "take", &p->take.base)) {
        h->parts_out--;
        p->failed = true;
    }
    p->take.n_entities = p->take.n_partitions = 0;
    p->bytes = 0;
}

/* False: out of memory. */
static bool capture_timers(struct runtime *rt, struct arena *a, const struct entity *e,
                           Troupe__Peer__Entity *out)
{
    const struct entity_extra *x = e->extra;
    if (x == NULL || x->timers_n == 0)
        return true;
    out->timers = arena_alloc(a, x->timers_n * sizeof(Troupe__Peer__Timer *));
    Troupe__Peer__Timer *all = arena_alloc(a, x->timers_n * sizeof *all);
    if (out->timers == NULL || all == NULL)
        return false;
    for (uint32_t i = 0; i < x->timers_n; i++) {
        uint64_t due = x->timers[i].due_ns, now = rt->now.mono_ns;
        troupe__peer__timer__init(&all[i]);
        all[i].tag = x->timers[i].tag;
        all[i].due_in_ms = due > now ? (due - now) / NS_PER_MS : 0;
        out->timers[out->n_timers++] = &all[i];
    }
    return true;
}

/* NULL: out of memory, or its state cannot be taken. */
static Troupe__Peer__Entity *capture(struct runtime *rt, struct arena *a, struct entity *e)
{
    char why[160];
    struct troupe_bytes state;
    Troupe__Peer__Entity *out = arena_alloc(a, sizeof *out);
    INVARIANT(e->phase == ENTITY_ACTIVE); /* the batch is quiet */
    if (out == NULL || save__capture(rt, e, a, &state, why, sizeof why) != 0)
        return NULL;
    troupe__peer__entity__init(out);
    out->kind = peer__binary(rt->kinds[e->kind].name);
    out->id = peer__binary(troupe_bytes(e->id, e->id_len));
    out->version = e->version;
    out->saved = e->saved;
    out->state = peer__binary(state);
    struct troupe_bytes sealed =
        state_version__seal(a, rt->kinds[e->kind].write_version, dedup_write(e->dedup, a));
    if (sealed.data == NULL && sealed.len > 0)
        return NULL;
    out->dedup = peer__binary(sealed);
    out->idle_ms = (rt->now.mono_ns - e->used_ns) / NS_PER_MS;
    out->dirty_ms = (rt->now.mono_ns - e->dirty_ns) / NS_PER_MS;
    return capture_timers(rt, a, e, out) ? out : NULL;
}

static void add(struct runtime *rt, struct handoff *h, struct part *p, struct arena *a,
                struct entity *e)
{
    Troupe__Peer__Entity *out = capture(rt, a, e);
    if (out == NULL) {
        p->failed |= !entity__is_clean(e) || (e->extra != NULL && e->extra->timers_n > 0);
        return; /* it is read from the store over there */
    }
    p->entities[p->take.n_entities++] = out;
    p->bytes += out->state.len + out->dedup.len + out->id.len + 64 + 16 * out->n_timers;
    h->entities++;
    if (p->bytes >= HANDOFF_PART_BYTES || p->take.n_entities == HANDOFF_ENTITIES)
        part_send(rt, h, p);
}

static bool list_partitions(struct arena *a, const struct handoff *h, struct part *p)
{
    p->take.partitions = arena_alloc(a, h->moves_n * sizeof(Troupe__Peer__Partition *));
    Troupe__Peer__Partition *all = arena_alloc(a, h->moves_n * sizeof *all);
    if (p->take.partitions == NULL || all == NULL)
        return false;
    for (uint32_t i = 0; i < h->moves_n; i++) {
        troupe__peer__partition__init(&all[i]);
        all[i].pid = h->moves[i].pid;
        all[i].epoch = h->moves[i].epoch;
        p->take.partitions[p->take.n_partitions++] = &all[i];
    }
    return true;
}

/* The next batch begins when this one has had its time at the rate that is allowed. What freezes is
 * small enough to be sent in one go; the pauses are between the batches, when nothing waits. */
static void pace(struct runtime *rt, uint64_t bytes)
{
    uint64_t rate = rt->config.handoff_bytes_per_s, now = rt->now.mono_ns;
    if (rate == 0)
        return;
    rt->handoff_paced_ns = rt->handoff_paced_ns > now ? rt->handoff_paced_ns : now;
    rt->handoff_paced_ns += bytes * NS_PER_S / rate;
}

/* All of it, at once: the batch is small. The last part tells how many there were. */
void handoff__stream(struct runtime *rt, struct handoff *h)
{
    struct arena a;
    struct part p = {.take = TROUPE__PEER__TAKE__INIT};
    arena_init(&a, 256 << 10, 0);
    h->phase = HANDOFF_STREAMING;
    h->number = ++rt->handoff_number;
    h->check_ns = rt->now.mono_ns;
    handoff__name(rt, h, &p.transfer);
    p.take.transfer = &p.transfer;
    p.take.timeline = rt->timeline;
    p.entities = p.take.entities =
        arena_alloc(&a, HANDOFF_ENTITIES * sizeof(Troupe__Peer__Entity *));
    p.failed = p.entities == NULL || !list_partitions(&a, h, &p);
    for (uint32_t i = 0; i < h->moves_n && !p.failed; i++) {
        const struct table *t = &rt->partitions[h->moves[i].pid];
        rt->ownership.entries[h->moves[i].pid].going = true;
        for (uint32_t s = 0; s < table_slots(t) && !p.failed; s++) {
            if (t->slots[s] != NULL)
                add(rt, h, &p, &a, t->slots[s]);
        }
    }
    if (!p.failed) {
        p.take.parts = h->parts_n + 1;
        part_send(rt, h, &p);
    }
    arena_close(&a);
    pace(rt, h->bytes);
    if (p.failed)
        handoff__abort(rt, h, "not everything could be captured: out of memory, or a bad state");
}
