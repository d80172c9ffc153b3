/* Messages for entities of other nodes: they go to the node that owns the partition, a batch per
 * node and request, and their answers come back with the owner's name (DESIGN §4, §8). A guess that
 * was wrong costs one more hop; nothing is executed where it is not owned.
 *
 * What cannot go on now waits, up to its deadline: while nobody owns the partition, while the node
 * that owns it cannot be reached, and while the partition moves. A call that may have been executed
 * (the connection broke, no answer came) is sent again only when it bears a request id, which makes
 * that safe; otherwise its caller is told that the outcome is unknown. Casts are at most once. */
#include <stdlib.h>

#include "node/runtime/internal.h"
#include "peer.pb-c.h"

enum {
    FORWARDS_MAX = 4096,     /* requests to other nodes under way */
    FORWARD_CALLS_MAX = 512, /* of one request */
    CAST_BYTES = 64,         /* what wrapping a cast adds, at most */
    LETTERS_TIMEOUT_MS = 5000,
    ANSWER_MARGIN_MS = 20, /* the peer's deadline is so much before ours */
    AGAIN_MS = 50,         /* what could not be sent is tried again after that */
    HOPS_MAX = 2,          /* a request that has come so far is not sent on */
};

struct forward {
    struct runtime_peer_request peer;
    struct list link; /* in rt->forwarding while it is filled */
    struct arena arena;
    uint32_t node;
    struct runtime_request *of; /* whose calls these are; NULL: letters */
    struct message **messages;  /* NULL: has been answered otherwise */
    uint32_t n;
    size_t bytes; /* of the frame, at most */
};

/* ---- where to ---- */

static bool can_take(const struct runtime *rt, uint32_t node)
{
    const struct node_info *n = node__at(rt, node);
    return n != NULL && node != rt->members.self && node__may_own(n) && n->peer[0] != '\0';
}

uint32_t forward__target(const struct runtime *rt, uint32_t pid)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    if (!members__is_on(&rt->members) || e->state != OWNERSHIP_FOREIGN || e->coming)
        return NODE_NONE;
    if (can_take(rt, e->node))
        return e->node;
    /* Nobody's, or of one that is gone: a good guess is who should have it. */
    const struct node_info *owner = node__at(rt, e->node);
    uint32_t proposed = ring__owner(rt, pid);
    bool guess = owner == NULL || !node__may_own(owner);
    return guess && can_take(rt, proposed) ? proposed : NODE_NONE;
}

bool forward__has_hopped(const struct message *m)
{
    return m->type == MESSAGE_REQUEST && m->request->rpc->hops >= HOPS_MAX;
}

/* ---- filling ---- */

static void forward_free(struct forward *f)
{
    arena_close(&f->arena);
    free(f);
}

static struct forward *forward_new(struct runtime *rt, uint32_t node, struct runtime_request *of)
{
    if (rt->forwards_n >= FORWARDS_MAX)
        return NULL;
    struct forward *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    arena_init(&f->arena, 0, 0);
    f->messages = arena_alloc(&f->arena, FORWARD_CALLS_MAX * sizeof(struct message *));
    f->peer.rpc.calls = arena_alloc(&f->arena, FORWARD_CALLS_MAX * sizeof *f->peer.rpc.calls);
    if (f->messages == NULL || f->peer.rpc.calls == NULL) {
        forward_free(f);
        return NULL;
    }
    f->node = node;
    f->of = of;
    f->bytes = RPC_REQUEST_HEAD_BYTES_MAX;
    f->peer.arena = &f->arena;
    list_init(&f->link);
    list_push(&rt->forwarding, &f->link);
    rt->forwards_n++;
    return f;
}

/* The latest one with room for so many bytes: what has gone into an earlier one goes first. */
static struct forward *find_filling(struct runtime *rt, uint32_t node, struct runtime_request *of,
                                    size_t bytes)
{
    for (struct list *l = rt->forwarding.prev; l != &rt->forwarding; l = l->prev) {
        struct forward *f = LIST_ENTRY(l, struct forward, link);
        if (f->node != node || f->of != of)
            continue;
        if (f->n < FORWARD_CALLS_MAX && f->bytes + bytes <= RPC_FRAME_BYTES_MAX)
            return f;
        break;
    }
    return forward_new(rt, node, of);
}

/* Everything is copied: the caller may go before the answer comes. */
static bool copy_all(struct arena *a, struct rpc_call *call)
{
    struct troupe_bytes *parts[] = {&call->kind, &call->id, &call->method, &call->payload};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        *parts[i] = arena_copy(a, *parts[i]);
        if (parts[i]->data == NULL)
            return false;
    }
    return true;
}

static struct troupe_bytes method_name(const struct kind *k, uint8_t method)
{
    return troupe_bytes_of(method == METHOD_GET ? "$get" : k->def->methods[method].name);
}

static bool pack_cast(struct arena *a, struct rpc_call *call)
{
    Troupe__Peer__Cast cast = TROUPE__PEER__CAST__INIT;
    cast.kind = peer__binary(call->kind);
    cast.id = peer__binary(call->id);
    cast.method = peer__binary(call->method);
    cast.payload = peer__binary(call->payload);
    size_t len = troupe__peer__cast__get_packed_size(&cast);
    uint8_t *packed = arena_alloc(a, len);
    if (packed == NULL)
        return false;
    troupe__peer__cast__pack(&cast, packed);
    call->kind = troupe_bytes_of("$peer");
    call->method = troupe_bytes_of("cast");
    call->payload = troupe_bytes(packed, len);
    return true;
}

/* Nothing is copied yet. */
static struct rpc_call call_of(const struct runtime *rt, const struct message *m)
{
    const struct kind *k = &rt->kinds[m->kind];
    if (m->kind == rt->kinds_n) /* one that we lack: as it came, JSON included */
        return m->request->rpc->calls[m->index];
    struct rpc_call call = {
        .kind = k->name,
        .id = message__id(m),
        .method = method_name(k, m->method),
        .payload = message__payload(m),
        .ack = m->ack,
    };
    if (m->type == MESSAGE_REQUEST)
        call.sequence = m->request->rpc->calls[m->index].sequence;
    return call;
}

/* What the client sent may fit a frame, and not with what forwarding adds. */
static void refuse_large(struct runtime *rt, struct message *m, uint32_t node)
{
    const struct node_info *n = node__at(rt, node);
    message__refuse(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                    "not executed: the call is too large to be forwarded to node %s, which owns "
                    "the entity (32 MiB with all that is around it): send less, or ask it at %s",
                    n->name, n->address);
}

void forward__message(struct runtime *rt, struct message *m, uint32_t node)
{
    INVARIANT(!m->waiting && m->forward == NULL);
    struct runtime_request *of = m->type == MESSAGE_REQUEST ? m->request : NULL;
    struct rpc_call call = call_of(rt, m);
    size_t bytes = rpc_call_size(&call) + (m->type == MESSAGE_CAST ? CAST_BYTES : 0);
    if (RPC_REQUEST_HEAD_BYTES_MAX + bytes > RPC_FRAME_BYTES_MAX) {
        refuse_large(rt, m, node);
        return;
    }
    struct forward *f = find_filling(rt, node, of, bytes);
    if (f == NULL ||
        !(m->type == MESSAGE_CAST ? pack_cast(&f->arena, &call) : copy_all(&f->arena, &call))) {
        message__refuse(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                        "too many calls are being forwarded to other nodes: retry later");
        return;
    }
    m->forward = f;
    m->forward_at = f->n;
    f->bytes += bytes;
    f->peer.rpc.calls[f->n] = call;
    f->messages[f->n++] = m;
}

void forward__forget(struct message *m)
{
    struct forward *f = m->forward;
    INVARIANT(f->messages[m->forward_at] == m);
    f->messages[m->forward_at] = NULL;
    m->forward = NULL;
}

/* ---- sending ---- */

static uint32_t timeout_ms(const struct runtime *rt, const struct forward *f)
{
    if (f->of == NULL)
        return LETTERS_TIMEOUT_MS;
    uint64_t left_ns =
        f->of->deadline_ns > rt->now.mono_ns ? f->of->deadline_ns - rt->now.mono_ns : 0;
    uint64_t left_ms = left_ns / NS_PER_MS;
    uint64_t ms = left_ms > 2 * ANSWER_MARGIN_MS ? left_ms - ANSWER_MARGIN_MS : left_ms / 2;
    return ms < 1 ? 1 : (uint32_t)ms;
}

void forward__flush(struct runtime *rt)
{
    struct list *link;
    while ((link = list_pop(&rt->forwarding)) != NULL) {
        struct forward *f = LIST_ENTRY(link, struct forward, link);
        const struct node_info *n = node__at(rt, f->node);
        memcpy(f->peer.address, n->peer, sizeof f->peer.address);
        f->peer.rpc.calls_n = f->n;
        f->peer.rpc.timeout_ms = timeout_ms(rt, f);
        f->peer.rpc.client = f->of == NULL ? 0 : f->of->rpc->client;
        f->peer.rpc.acked = f->of == NULL ? 0 : f->of->rpc->acked;
        f->peer.rpc.hops = (uint8_t)(f->of == NULL ? 1 : f->of->rpc->hops + 1);
        f->peer.deadline_ns =
            rt->now.mono_ns + (f->peer.rpc.timeout_ms + ANSWER_MARGIN_MS / 2) * NS_PER_MS;
        rt->forwarded_n += f->n;
        peer__send(rt, &f->peer, PEER_FORWARD);
    }
}

/* ---- answers ---- */

static void again(struct runtime *rt, struct message *m)
{
    uint64_t at = rt->now.mono_ns + AGAIN_MS * NS_PER_MS;
    deliver__park(rt, m);
    rt->unpark_ns = at < rt->unpark_ns ? at : rt->unpark_ns;
}

/* Its node has said who owns it; the answer's epoch tells whether that is news. That it is ours is
 * for the store to say. */
static void learn_owner(struct runtime *rt, uint32_t pid, const struct rpc_owner *owner)
{
    if (owner->epoch > OWNER_MAP_EPOCH_MAX)
        return;
    store_doubt__hear_epoch(rt, owner->epoch);
    uint32_t node = nodes__take(rt, owner->node);
    if (node == rt->members.self) {
        if (!ownership_is_held(&rt->ownership, pid))
            owners__doubt(rt);
        return;
    }
    if (node != NODE_NONE && claims__learn(rt, pid, owner->epoch, node, true))
        owners__told(rt, pid);
}

struct rpc_owner *forward__owner(struct runtime *rt, struct message *m, uint32_t node)
{
    const struct node_info *n = node__at(rt, node);
    struct arena *arena = m->request->arena;
    struct rpc_owner *owner = arena_calloc(arena, 1, sizeof *owner);
    if (owner == NULL || n == NULL)
        return NULL;
    owner->node = arena_copy(arena, troupe_bytes_of(n->name));
    owner->address = arena_copy(arena, troupe_bytes_of(n->address));
    owner->cluster_uid = arena_copy(arena, troupe_bytes_of(rt->cluster_uid));
    owner->epoch = rt->ownership.entries[m->pid].epoch;
    owner->partitions = rt->config.partitions;
    return owner;
}

/* Who is to be asked next time: the node that has answered, or, when the partition has gone on
 * meanwhile, who has it now. */
static struct rpc_owner *owner_to_tell(struct runtime *rt, struct message *m, uint32_t answered)
{
    const struct ownership_entry *e = &rt->ownership.entries[m->pid];
    if (e->state != OWNERSHIP_FOREIGN)
        return NULL;
    return forward__owner(rt, m, can_take(rt, e->node) ? e->node : answered);
}

static void answer_request(struct runtime *rt, const struct forward *f, struct message *m,
                           const struct rpc_result *from)
{
    struct rpc_result *to = &m->request->reply.results[m->index];
    to->version = from->version;
    to->ack = from->ack;
    to->sequence_from = m->unsure ? 0 : from->sequence_from; /* this was not its only attempt */
    /* UNAVAILABLE with an owner means: not executed, ask that one. This one may have executed it.
     */
    to->owner = from->status == TROUPE_UNAVAILABLE ? NULL : owner_to_tell(rt, m, f->node);
    struct troupe_bytes payload = arena_copy(m->request->arena, from->payload);
    struct troupe_bytes text = arena_copy(m->request->arena, from->message);
    if (payload.data == NULL || text.data == NULL)
        request__fail(rt, m, TROUPE_RESOURCE_EXHAUSTED, "executed, but no memory for the reply");
    else
        request__finish(rt, m, (enum troupe_status)from->status, payload, text);
}

static void answer(struct runtime *rt, const struct forward *f, struct message *m,
                   const struct rpc_result *result)
{
    bool elsewhere = result->status == TROUPE_UNAVAILABLE && result->owner != NULL;
    if (elsewhere) { /* not executed there: the owner is somebody else */
        learn_owner(rt, m->pid, result->owner);
        again(rt, m);
    } else if (m->type == MESSAGE_REQUEST) {
        answer_request(rt, f, m, result);
    } else if (m->type == MESSAGE_CALL) {
        struct letter *l = letter__of(m);
        struct letter *reply =
            letter__reply(rt, l, (enum troupe_status)result->status,
                          result->status == TROUPE_OK ? result->payload : result->message);
        if (reply != NULL)
            list_push(&rt->run, &reply->m.link);
        free(l);
    } else {
        free(letter__of(m));
    }
}

/* The peer may have executed it, or not. */
static void unknown(struct runtime *rt, struct message *m, const char *node)
{
    bool safe = m->type == MESSAGE_REQUEST && m->request->rpc->client != 0 &&
                m->request->rpc->calls[m->index].sequence != 0;
    m->unsure = true;
    if (safe)
        again(rt, m);
    else
        message__refuse(rt, m, TROUPE_UNKNOWN,
                        "node %s, which owns the entity, did not answer: the call may have been "
                        "executed or not. Read the state before trying again",
                        node);
}

/* The peer has executed nothing of it. Trying again helps if it could not be reached or does not
 * serve; not if the request is more than it takes. */
static void not_executed(struct runtime *rt, struct message *m, const char *node,
                         const struct rpc_reply *reply)
{
    if (m->type == MESSAGE_REQUEST &&
        (reply->status == TROUPE_RESOURCE_EXHAUSTED || reply->status == TROUPE_INVALID_ARGUMENT))
        message__refuse(rt, m, (enum troupe_status)reply->status,
                        "node %s, which owns the entity, refused it: %.*s", node,
                        (int)reply->message.len, (const char *)reply->message.data);
    else
        again(rt, m);
}

void forward__done(struct runtime *rt, struct runtime_peer_request *peer)
{
    struct forward *f = LIST_ENTRY(peer, struct forward, peer);
    const struct rpc_reply *reply = &peer->reply;
    const struct node_info *n = node__at(rt, f->node);
    const char *name = n == NULL ? "" : n->name;
    bool whole = peer->error == 0 && reply->status == TROUPE_OK && reply->results_n == f->n;
    INVARIANT(rt->forwards_n > 0);
    rt->forwards_n--;
    for (uint32_t i = 0; i < f->n; i++) {
        struct message *m = f->messages[i];
        if (m == NULL)
            continue;
        forward__forget(m);
        if (whole)
            answer(rt, f, m, &reply->results[i]);
        else if (peer->error == TROUPE_EOUTCOME)
            unknown(rt, m, name);
        else /* not sent, or refused as a whole */
            not_executed(rt, m, name, reply);
    }
    forward_free(f);
}

void forward__free(struct runtime_peer_request *peer)
{
    forward_free(LIST_ENTRY(peer, struct forward, peer));
}

void forward__close(struct runtime *rt)
{
    struct list *link;
    while ((link = list_pop(&rt->forwarding)) != NULL)
        forward_free(LIST_ENTRY(link, struct forward, link));
}
