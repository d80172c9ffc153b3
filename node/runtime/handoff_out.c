/* Giving partitions away: see handoff.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    CHECK_US = 500,        /* how often it is looked whether a frozen batch is quiet */
    OUTCALLS_MS = 200,     /* frozen entities that wait for answers get none after that */
    FREEZE_MS_MAX = 2000,  /* then it is given up for now */
    STREAM_MS_MAX = 10000, /* for the other node to take all parts */
    RETRY_NODE_MS = 1000,  /* a node that did not take something is left alone */
    TELL_AGAIN_MS = 100,
    PEER_TIMEOUT_MS = 5000,
};

/* The part is sent when it has reached its size, so that the last entity may be of any; beside it
 * there are the list of partitions and what wraps them all. */
_Static_assert(HANDOFF_PART_BYTES + (int)STORE_STATE_BYTES_MAX + (int)DEDUP_BLOCK_BYTES_MAX +
                       (1 << 20) <
                   (int)RPC_FRAME_BYTES_MAX,
               "a part of a batch fits a frame");

/* A request to a peer about a batch. */
struct handoff_message {
    struct runtime_peer_request peer;
    struct arena arena;
    struct rpc_call call;
    uint64_t number; /* of the batch */
    bool is_given;
};

int handoff__init(struct runtime *rt)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        arena_init(&rt->commits[i].arena, 0, 0);
        rt->commits[i].request.data = rt;
    }
    for (uint32_t i = 0; i < INCOMING_MAX; i++)
        rt->incoming[i].node = NODE_NONE;
    return 0;
}

void handoff__close(struct runtime *rt)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++)
        arena_close(&rt->commits[i].arena);
    for (uint32_t i = 0; i < INCOMING_MAX; i++)
        free(rt->incoming[i].pids);
}

/* ---- messages to the other node ---- */

static void message_free(struct handoff_message *hm)
{
    arena_close(&hm->arena);
    free(hm);
}

void handoff__free(struct runtime_peer_request *peer)
{
    message_free(LIST_ENTRY(peer, struct handoff_message, peer));
}

static void name_transfer(const struct runtime *rt, const struct handoff *h,
                          Troupe__Peer__Transfer *t)
{
    troupe__peer__transfer__init(t);
    t->from = peer__binary(troupe_bytes_of(rt->config.name));
    t->from_generation = rt->generation;
    t->number = h->number;
    t->to_generation = h->to_generation;
}

/* False: out of memory. */
static bool tell(struct runtime *rt, struct handoff *h, const char *method,
                 const ProtobufCMessage *payload)
{
    const struct node_info *n = node__at(rt, h->node);
    struct handoff_message *hm = calloc(1, sizeof *hm);
    if (hm == NULL)
        return false;
    arena_init(&hm->arena, 0, 0);
    size_t len = protobuf_c_message_get_packed_size(payload);
    uint8_t *packed = arena_alloc(&hm->arena, len);
    if (packed == NULL || n == NULL) {
        message_free(hm);
        return false;
    }
    protobuf_c_message_pack(payload, packed);
    hm->number = h->number;
    hm->is_given = strcmp(method, "given") == 0;
    hm->call = (struct rpc_call){.kind = troupe_bytes_of("$peer"),
                                 .id = troupe_bytes_of("self"),
                                 .method = troupe_bytes_of(method),
                                 .payload = troupe_bytes(packed, len)};
    memcpy(hm->peer.address, n->peer, sizeof hm->peer.address);
    hm->peer.rpc =
        (struct rpc_request){.timeout_ms = PEER_TIMEOUT_MS, .calls = &hm->call, .calls_n = 1};
    hm->peer.arena = &hm->arena;
    hm->peer.deadline_ns = rt->now.mono_ns + PEER_TIMEOUT_MS * NS_PER_MS;
    h->bytes += len;
    peer__send(rt, &hm->peer, PEER_HANDOFF);
    return true;
}

/* ---- choosing ---- */

/* To whom a partition of ours should go now; NODE_NONE: it stays. */
static uint32_t destination(const struct runtime *rt, uint32_t pid)
{
    uint32_t to = ring__owner(rt, pid);
    const struct node_info *n = node__at(rt, to);
    bool good = n != NULL && to != rt->members.self && n->state == GOSSIP_ACTIVE && !n->suspect &&
                n->peer[0] != '\0' && rt->now.mono_ns >= n->handoff_retry_ns;
    return good && ownership_is_owned(&rt->ownership, pid) ? to : NODE_NONE;
}

uint32_t handoff__pending(const struct runtime *rt)
{
    uint32_t n = 0;
    for (uint32_t pid = 0; members__is_on(&rt->members) && pid < rt->config.partitions; pid++)
        n += ownership_is_held(&rt->ownership, pid) && !ring__is_mine(rt, pid) &&
             ring__owner(rt, pid) != NODE_NONE;
    return n;
}

static uint64_t bytes_of(const struct table *t)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < table_slots(t); i++)
        bytes += t->slots[i] == NULL ? 0 : t->slots[i]->bytes;
    return bytes;
}

/* The next batch for one node: as many partitions as freeze for a few milliseconds only. */
static void choose(struct runtime *rt, struct handoff *h)
{
    uint64_t entities = 0, bytes = 0;
    h->moves_n = 0;
    h->node = NODE_NONE;
    for (uint32_t pid = 0; pid < rt->config.partitions && h->moves_n < HANDOFF_PIDS_MAX &&
                           entities < HANDOFF_ENTITIES && bytes < HANDOFF_BYTES;
         pid++) {
        uint32_t to = destination(rt, pid);
        if (to == NODE_NONE || (h->node != NODE_NONE && to != h->node))
            continue;
        h->node = to;
        h->moves[h->moves_n++] =
            (struct store_move){.pid = pid, .epoch = rt->ownership.entries[pid].epoch};
        entities += rt->partitions[pid].count;
        bytes += bytes_of(&rt->partitions[pid]);
    }
}

static void begin(struct runtime *rt, struct handoff *h)
{
    choose(rt, h);
    if (h->moves_n == 0) {
        rt->handoff_wanted = false;
        return;
    }
    h->phase = HANDOFF_FREEZING;
    h->number = ++rt->handoff_number;
    h->to_generation = node__at(rt, h->node)->generation;
    h->parts_n = h->parts_out = h->commit_failures = 0;
    h->failed = h->uncertain = false;
    h->begun_ns = h->check_ns = rt->now.mono_ns;
    h->retry_ns = 0;
    h->entities = h->bytes = 0;
    for (uint32_t i = 0; i < h->moves_n; i++)
        ownership_freeze(&rt->ownership, h->moves[i].pid);
}

/* ---- giving up ---- */

/* What is still ours runs again. */
static void thaw(struct runtime *rt, const struct handoff *h)
{
    for (uint32_t i = 0; i < h->moves_n; i++) {
        uint32_t pid = h->moves[i].pid;
        struct ownership_entry *e = &rt->ownership.entries[pid];
        if (e->state != OWNERSHIP_FROZEN || e->epoch != h->moves[i].epoch)
            continue;
        e->going = false;
        ownership_thaw(&rt->ownership, pid);
        claims__resume(rt, pid);
    }
    rt->unpark_ns = rt->now.mono_ns;
}

static void abort_batch(struct runtime *rt, struct handoff *h, const char *why)
{
    struct node_info *n = node__at(rt, h->node);
    Troupe__Peer__Transfer transfer;
    Troupe__Peer__Keep keep = TROUPE__PEER__KEEP__INIT;
    INVARIANT(h->phase == HANDOFF_FREEZING || h->phase == HANDOFF_STREAMING ||
              (h->phase == HANDOFF_COMMITTING && !h->uncertain));
    char text[24];
    snprintf(text, sizeof text, "%" PRIu32, h->moves_n);
    log__add(rt, RUNTIME_INFO, "partitions stay here for now", "node", n == NULL ? "" : n->name,
             "partitions", text, "why", why, NULL);
    if (h->parts_n > 0) {
        name_transfer(rt, h, &transfer);
        keep.transfer = &transfer;
        tell(rt, h, "keep", &keep.base);
    }
    if (n != NULL)
        n->handoff_retry_ns = rt->now.mono_ns + RETRY_NODE_MS * NS_PER_MS;
    h->phase = HANDOFF_IDLE;
    thaw(rt, h);
    rt->handoff_totals.aborted++;
    rt->handoff_wanted = true;
}

void handoff__abort_all(struct runtime *rt)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        struct handoff *h = &rt->handoffs[i];
        if (h->phase == HANDOFF_FREEZING || h->phase == HANDOFF_STREAMING)
            abort_batch(rt, h, "the lease is in doubt, or lost");
    }
}

/* ---- freezing ---- */

static void expire_outcalls(struct runtime *rt, struct entity *e)
{
    struct entity_extra *x = e->extra;
    while (e->phase == ENTITY_ACTIVE && x != NULL && !list_is_empty(&x->outcalls))
        ctx__outcall_expired(rt, LIST_ENTRY(x->outcalls.next, struct outcall, link));
}

/* Whether nothing refers to the entity but its table; those without a state are let go. */
static bool is_quiet(struct runtime *rt, struct entity *e, bool late)
{
    if (e->phase == ENTITY_LOADING || e->phase == ENTITY_QUARANTINED) {
        entity__drop(rt, e, false); /* its messages wait for the partition */
        return false;               /* the table has changed: look again */
    }
    if (e->phase != ENTITY_ACTIVE)
        return false;
    if (late)
        expire_outcalls(rt, e);
    return e->phase == ENTITY_ACTIVE && e->saving == 0 && list_is_empty(&e->gate) &&
           e->durable <= e->saved && list_is_empty(&e->mailbox) &&
           (e->extra == NULL || list_is_empty(&e->extra->outcalls));
}

static bool is_batch_quiet(struct runtime *rt, const struct handoff *h)
{
    bool quiet = true, late = rt->now.mono_ns - h->begun_ns > OUTCALLS_MS * NS_PER_MS;
    for (uint32_t i = 0; i < h->moves_n && quiet; i++) {
        struct table *t = &rt->partitions[h->moves[i].pid];
        for (uint32_t s = table_slots(t); s-- > 0 && quiet;)
            quiet = t->slots[s] == NULL || is_quiet(rt, t->slots[s], late);
    }
    return quiet;
}

/* ---- streaming ---- */

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
    if (!tell(rt, h, "take", &p->take.base)) {
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
    if (out == NULL || save__capture(rt, e, a, &state, why, sizeof why) != 0)
        return NULL;
    troupe__peer__entity__init(out);
    out->kind = peer__binary(rt->kinds[e->kind].name);
    out->id = peer__binary(troupe_bytes(e->id, e->id_len));
    out->version = e->version;
    out->saved = e->saved;
    out->state = peer__binary(state);
    out->dedup = peer__binary(dedup_bytes(e->dedup));
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
static void stream(struct runtime *rt, struct handoff *h)
{
    struct arena a;
    struct part p = {.take = TROUPE__PEER__TAKE__INIT};
    arena_init(&a, 256 << 10, 0);
    h->phase = HANDOFF_STREAMING;
    h->check_ns = rt->now.mono_ns;
    name_transfer(rt, h, &p.transfer);
    p.take.transfer = &p.transfer;
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
        abort_batch(rt, h, "not everything could be captured: out of memory, or a bad state");
}

/* ---- the commit ---- */

static void send_commit(struct runtime *rt, struct handoff *h)
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

static void send_given(struct runtime *rt, struct handoff *h)
{
    Troupe__Peer__Transfer transfer;
    Troupe__Peer__Given given = TROUPE__PEER__GIVEN__INIT;
    Troupe__Peer__Partition all[HANDOFF_PIDS_MAX], *pointers[HANDOFF_PIDS_MAX];
    name_transfer(rt, h, &transfer);
    given.transfer = &transfer;
    given.partitions = pointers;
    for (uint32_t i = 0; i < h->moves_n; i++) {
        troupe__peer__partition__init(&all[i]);
        all[i].pid = h->moves[i].pid;
        all[i].epoch = h->moves[i].epoch;
        pointers[given.n_partitions++] = &all[i];
    }
    h->retry_ns = UINT64_MAX; /* until its answer */
    if (!tell(rt, h, "given", &given.base))
        h->retry_ns = rt->now.mono_ns + TELL_AGAIN_MS * NS_PER_MS;
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
            entity__drop_partition(rt, pid, false);
            owners__told(rt, pid);
        }
        h->moves[moved++] = done->moved[at];
    }
    if (moved < h->moves_n)
        lifecycle__recheck(rt);
    h->moves_n = moved;
}

static void committed(struct runtime *rt, struct handoff *h, const struct store_transfer *done)
{
    uint64_t froze_us = (rt->now.mono_ns - h->begun_ns) / 1000;
    settle_moves(rt, h, done);
    if (h->moves_n == 0) {
        struct node_info *n = node__at(rt, h->node);
        n->handoff_retry_ns = rt->now.mono_ns + RETRY_NODE_MS * NS_PER_MS;
        h->phase = HANDOFF_IDLE;
        rt->handoff_totals.aborted++;
        return;
    }
    struct handoff_totals *t = &rt->handoff_totals;
    t->freeze_max_us = froze_us > t->freeze_max_us ? froze_us : t->freeze_max_us;
    t->partitions_out += h->moves_n;
    t->entities_out += h->entities;
    t->bytes_out += h->bytes;
    t->batches_out++;
    h->phase = HANDOFF_TELLING;
    send_given(rt, h); /* before the calls that wait: they go the same way */
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
        if (rt->lease.held)
            lifecycle__evicted(rt);
    } else {
        h->uncertain |= request->error == TROUPE_EOUTCOME;
        if (!h->uncertain) { /* nothing has changed */
            abort_batch(rt, h, "the store cannot be reached");
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
        for (uint32_t k = 0; h->phase != HANDOFF_IDLE && k < h->moves_n; k++) {
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

/* ---- answers of the other node ---- */

static struct handoff *find_batch(struct runtime *rt, uint64_t number)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        if (rt->handoffs[i].phase != HANDOFF_IDLE && rt->handoffs[i].number == number)
            return &rt->handoffs[i];
    }
    return NULL;
}

void handoff__peer_done(struct runtime *rt, struct runtime_peer_request *peer)
{
    struct handoff_message *hm = LIST_ENTRY(peer, struct handoff_message, peer);
    struct handoff *h = find_batch(rt, hm->number);
    bool taken = peer__is_ok(peer);
    if (h != NULL && h->phase == HANDOFF_STREAMING) {
        INVARIANT(h->parts_out > 0);
        h->parts_out--;
        h->failed |= !taken;
    } else if (h != NULL && h->phase == HANDOFF_TELLING && hm->is_given) {
        if (taken)
            h->phase = HANDOFF_IDLE;
        else
            h->retry_ns = rt->now.mono_ns + TELL_AGAIN_MS * NS_PER_MS;
    }
    message_free(hm);
}

/* ---- driving ---- */

/* A node that stops does not wait for one that may be gone: that we have left makes it look. */
static bool is_told_enough(const struct runtime *rt, const struct handoff *h)
{
    return rt->phase == RUNTIME_STOPPING &&
           (!rt->lease.held || rt->now.mono_ns - h->begun_ns > STREAM_MS_MAX * NS_PER_MS);
}

static void advance(struct runtime *rt, struct handoff *h)
{
    uint64_t now = rt->now.mono_ns;
    const struct node_info *n = node__at(rt, h->node);
    bool there = n != NULL && node__may_own(n) && n->generation == h->to_generation;
    switch (h->phase) {
    case HANDOFF_IDLE:
        break;
    case HANDOFF_FREEZING:
        if (now < h->check_ns)
            break;
        h->check_ns = now + CHECK_US * UINT64_C(1000);
        if (!there || now - h->begun_ns > FREEZE_MS_MAX * NS_PER_MS)
            abort_batch(rt, h, there ? "their entities did not come to rest" : "the node is gone");
        else if (is_batch_quiet(rt, h))
            stream(rt, h);
        break;
    case HANDOFF_STREAMING:
        if (h->failed || !there || now - h->check_ns > STREAM_MS_MAX * NS_PER_MS)
            abort_batch(rt, h, there ? "the node did not take them" : "the node is gone");
        else if (h->parts_out == 0)
            send_commit(rt, h);
        break;
    case HANDOFF_COMMITTING:
        if (!rt->commits[h - rt->handoffs].out && now >= h->retry_ns)
            send_commit(rt, h);
        break;
    case HANDOFF_TELLING:
        if (!there || is_told_enough(rt, h)) /* the store's row will tell it, or its next run */
            h->phase = HANDOFF_IDLE;
        else if (now >= h->retry_ns)
            send_given(rt, h);
        break;
    }
}

void handoff__review(struct runtime *rt)
{
    rt->handoff_wanted = true;
}

static bool may_begin(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    return rt->handoff_wanted && rt->now.mono_ns >= rt->handoff_paced_ns &&
           rt->phase == RUNTIME_SERVING && rt->store_ok && !m->ring_stale && !m->ring_building &&
           m->rings > 0 && !rt->recheck;
}

void handoff__tick(struct runtime *rt)
{
    if (!members__is_on(&rt->members))
        return;
    if (rt->now.mono_ns >=
        rt->handoff_review_ns) { /* what was put off: a node that could not take */
        rt->handoff_review_ns = rt->now.mono_ns + RETRY_NODE_MS * NS_PER_MS;
        rt->handoff_wanted = true;
    }
    handoff__tick_orphans(rt);
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        struct handoff *h = &rt->handoffs[i];
        if (h->phase == HANDOFF_IDLE && i < rt->config.handoff_concurrency && may_begin(rt))
            begin(rt, h);
        advance(rt, h);
    }
}

bool handoff__is_out(const struct runtime *rt)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        if (rt->handoffs[i].phase != HANDOFF_IDLE)
            return true;
    }
    return false;
}

uint64_t handoff__next_ns(const struct runtime *rt)
{
    if (!members__is_on(&rt->members))
        return UINT64_MAX;
    uint64_t next = rt->handoff_review_ns;
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        const struct handoff *h = &rt->handoffs[i];
        uint64_t at = UINT64_MAX;
        if (h->phase == HANDOFF_IDLE && rt->handoff_wanted && i < rt->config.handoff_concurrency)
            at = rt->handoff_paced_ns > rt->now.mono_ns ? rt->handoff_paced_ns : UINT64_MAX;
        else if (h->phase == HANDOFF_FREEZING)
            at = h->check_ns;
        else if (h->phase == HANDOFF_STREAMING)
            at = h->failed || h->parts_out == 0 ? rt->now.mono_ns
                                                : h->check_ns + STREAM_MS_MAX * NS_PER_MS;
        else if (h->phase == HANDOFF_TELLING ||
                 (h->phase == HANDOFF_COMMITTING && !rt->commits[i].out))
            at = h->retry_ns;
        next = at < next ? at : next;
    }
    return next;
}
