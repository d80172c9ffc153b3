/* Giving partitions away: see handoff.h. What a batch holds is sent by handoff_stream.c,
 * and handed over by handoff_commit.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    CHECK_US = 500,        /* how often it is looked whether a frozen batch is quiet */
    OUTCALLS_MS = 200,     /* frozen entities that wait for answers get none after that */
    FREEZE_MS_MAX = 2000,  /* then it is given up for now */
    STREAM_MS_MAX = 10000, /* for the other node to take all parts */
    PEER_TIMEOUT_MS = 5000,
};

/* A request to a peer about a batch. */
struct handoff_message {
    struct runtime_peer_request peer;
    struct arena arena;
    struct rpc_call call;
    uint64_t number; /* of the batch */
    bool is_given, is_keep;
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

void handoff__name(const struct runtime *rt, const struct handoff *h, Troupe__Peer__Transfer *t)
{
    troupe__peer__transfer__init(t);
    t->from = peer__binary(troupe_bytes_of(rt->config.name));
    t->from_generation = rt->generation;
    t->number = h->number;
    t->to_generation = h->to_generation;
}

bool handoff__tell(struct runtime *rt, struct handoff *h, const char *method,
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
    hm->is_keep = strcmp(method, "keep") == 0;
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

/* It has something of us that it is still to forget. */
static bool is_keeping(const struct runtime *rt, uint32_t node)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        if (rt->handoffs[i].phase == HANDOFF_KEEPING && rt->handoffs[i].node == node)
            return true;
    }
    return false;
}

/* To whom a partition of ours should go now; NODE_NONE: it stays. */
static uint32_t destination(const struct runtime *rt, uint32_t pid)
{
    uint32_t to = ring__owner(rt, pid);
    const struct node_info *n = node__at(rt, to);
    bool good = n != NULL && to != rt->members.self && n->state == GOSSIP_ACTIVE && !n->suspect &&
                n->peer[0] != '\0' && rt->now.mono_ns >= n->handoff_retry_ns && !is_keeping(rt, to);
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
    h->number = 0;
    h->to_generation = node__at(rt, h->node)->generation;
    h->generation = rt->generation;
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

static void send_keep(struct runtime *rt, struct handoff *h)
{
    Troupe__Peer__Transfer transfer;
    Troupe__Peer__Keep keep = TROUPE__PEER__KEEP__INIT;
    handoff__name(rt, h, &transfer);
    keep.transfer = &transfer;
    h->retry_ns = UINT64_MAX; /* until its answer */
    if (!handoff__tell(rt, h, "keep", &keep.base))
        h->retry_ns = rt->now.mono_ns + HANDOFF_TELL_AGAIN_MS * NS_PER_MS;
}

void handoff__abort(struct runtime *rt, struct handoff *h, const char *why)
{
    struct node_info *n = node__at(rt, h->node);
    INVARIANT(h->phase == HANDOFF_FREEZING || h->phase == HANDOFF_STREAMING ||
              (h->phase == HANDOFF_COMMITTING && !h->uncertain));
    char text[24];
    snprintf(text, sizeof text, "%" PRIu32, h->moves_n);
    log__add(rt, RUNTIME_INFO, "partitions stay here for now", "node", n == NULL ? "" : n->name,
             "partitions", text, "why", why, NULL);
    if (n != NULL)
        n->handoff_retry_ns = rt->now.mono_ns + HANDOFF_RETRY_NODE_MS * NS_PER_MS;
    h->phase = h->parts_n > 0 ? HANDOFF_KEEPING : HANDOFF_IDLE;
    if (h->phase == HANDOFF_KEEPING)
        send_keep(rt, h);
    thaw(rt, h);
    rt->handoff_totals.aborted++;
    rt->handoff_wanted = true;
}

void handoff__abort_all(struct runtime *rt)
{
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        struct handoff *h = &rt->handoffs[i];
        if (h->phase == HANDOFF_FREEZING || h->phase == HANDOFF_STREAMING)
            handoff__abort(rt, h, "the lease is in doubt, or lost");
    }
}

/* ---- freezing ---- */

static void expire_outcalls(struct runtime *rt, struct entity *e)
{
    struct entity_extra *x = e->extra;
    while (e->phase == ENTITY_ACTIVE && x != NULL && !list_is_empty(&x->outcalls) &&
           entity__may_run(rt, entity__pid(rt, e)))
        ctx__outcall_expired(rt, LIST_ENTRY(x->outcalls.next, struct outcall, link));
}

/* Handlers run, upon which entities may go, and others move in their table: some may be missed,
 * till the next time. */
static void expire_all(struct runtime *rt, const struct table *t)
{
    for (uint32_t s = table_slots(t); s-- > 0;) {
        struct entity *e = s < table_slots(t) ? t->slots[s] : NULL;
        if (e != NULL && e->phase == ENTITY_ACTIVE)
            expire_outcalls(rt, e);
    }
}

/* Whether nothing refers to the entity but its table. */
static bool is_quiet(const struct entity *e)
{
    return e->phase == ENTITY_ACTIVE && e->saving == 0 && list_is_empty(&e->gate) &&
           e->durable <= e->saved && list_is_empty(&e->mailbox) &&
           (e->extra == NULL || list_is_empty(&e->extra->outcalls));
}

static bool is_batch_quiet(struct runtime *rt, const struct handoff *h)
{
    bool quiet = true, late = rt->now.mono_ns - h->begun_ns > OUTCALLS_MS * NS_PER_MS;
    for (uint32_t i = 0; i < h->moves_n && quiet; i++) {
        const struct table *t = &rt->partitions[h->moves[i].pid];
        if (late)
            expire_all(rt, t);
        entity__drop_stateless(rt, h->moves[i].pid); /* their messages wait for the partition */
        for (uint32_t s = 0; s < table_slots(t) && quiet; s++)
            quiet = t->slots[s] == NULL || is_quiet(t->slots[s]);
    }
    return quiet;
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
    } else if (h != NULL && ((h->phase == HANDOFF_TELLING && hm->is_given) ||
                             (h->phase == HANDOFF_KEEPING && hm->is_keep))) {
        if (taken)
            h->phase = HANDOFF_IDLE;
        else
            h->retry_ns = rt->now.mono_ns + HANDOFF_TELL_AGAIN_MS * NS_PER_MS;
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
            handoff__abort(rt, h,
                           there ? "their entities did not come to rest" : "the node is gone");
        else if (is_batch_quiet(rt, h))
            handoff__stream(rt, h);
        break;
    case HANDOFF_STREAMING:
        if (h->failed || !there || now - h->check_ns > STREAM_MS_MAX * NS_PER_MS)
            handoff__abort(rt, h, there ? "the node did not take them" : "the node is gone");
        else if (h->parts_out == 0)
            handoff__send_commit(rt, h);
        break;
    case HANDOFF_COMMITTING:
        if (!rt->commits[h - rt->handoffs].out && now >= h->retry_ns)
            handoff__send_commit(rt, h);
        break;
    case HANDOFF_TELLING:
        if (!there || is_told_enough(rt, h)) /* the store's row will tell it, or its next run */
            h->phase = HANDOFF_IDLE;
        else if (now >= h->retry_ns)
            handoff__send_given(rt, h);
        break;
    case HANDOFF_KEEPING: /* what an earlier run gave is forgotten with that */
        if (!there || is_told_enough(rt, h) || h->generation != rt->generation)
            h->phase = HANDOFF_IDLE;
        else if (now >= h->retry_ns)
            send_keep(rt, h);
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
    uint32_t moving = 0;
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++)
        moving += rt->handoffs[i].phase != HANDOFF_IDLE && rt->handoffs[i].phase != HANDOFF_KEEPING;
    return moving < rt->config.handoff_concurrency && rt->handoff_wanted &&
           rt->now.mono_ns >= rt->handoff_paced_ns && rt->phase == RUNTIME_SERVING &&
           store_health__takes_writes(rt) && !m->ring_stale && !m->ring_building && m->rings > 0 &&
           !rt->recheck;
}

void handoff__tick(struct runtime *rt)
{
    if (!members__is_on(&rt->members))
        return;
    if (rt->now.mono_ns >=
        rt->handoff_review_ns) { /* what was put off: a node that could not take */
        rt->handoff_review_ns = rt->now.mono_ns + HANDOFF_RETRY_NODE_MS * NS_PER_MS;
        rt->handoff_wanted = true;
    }
    handoff__tick_orphans(rt);
    for (uint32_t i = 0; i < HANDOFFS_MAX; i++) {
        struct handoff *h = &rt->handoffs[i];
        if (h->phase == HANDOFF_IDLE && may_begin(rt))
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
        if (h->phase == HANDOFF_IDLE && rt->handoff_wanted)
            at = rt->handoff_paced_ns > rt->now.mono_ns ? rt->handoff_paced_ns : UINT64_MAX;
        else if (h->phase == HANDOFF_FREEZING)
            at = h->check_ns;
        else if (h->phase == HANDOFF_STREAMING)
            at = h->failed || h->parts_out == 0 ? rt->now.mono_ns
                                                : h->check_ns + STREAM_MS_MAX * NS_PER_MS;
        else if (h->phase == HANDOFF_TELLING || h->phase == HANDOFF_KEEPING ||
                 (h->phase == HANDOFF_COMMITTING && !rt->commits[i].out))
            at = h->retry_ns;
        next = at < next ? at : next;
    }
    return next;
}
