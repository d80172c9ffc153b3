/* The kind $peer: what other nodes ask of this one on its peer port, beside forwarded calls. And
 * how requests to other nodes leave, and find the part that waits for the answer. */
#include "node/runtime/handoff.h"
#include "node/runtime/internal.h"
#include "proto/unpack.h"

/* ---- out ---- */

/* Tags, a varint of 32 bits, a fixed64, a varint of 8 bits, and the uid with its length. */
_Static_assert(1 + 5 + 1 + 8 + 1 + 2 + 1 + 1 + STORE_UID_BYTES <= RPC_REQUEST_HEAD_BYTES_MAX,
               "what is not any call's has room");

void peer__send(struct runtime *rt, struct runtime_peer_request *peer, enum peer_use use)
{
    peer->use = (uint8_t)use;
    peer->rpc.cluster_uid = troupe_bytes_of(rt->cluster_uid);
    peer->next = NULL;
    peer->error = 0;
    *rt->peers_tail = peer;
    rt->peers_tail = &peer->next;
    rt->peers_out++;
}

bool peer__is_ok(const struct runtime_peer_request *peer)
{
    const struct rpc_reply *r = &peer->reply;
    return peer->error == 0 && r->status == TROUPE_OK && r->results_n == 1 &&
           r->results[0].status == TROUPE_OK;
}

ProtobufCBinaryData peer__binary(struct troupe_bytes bytes)
{
    union {
        const void *in;
        uint8_t *out;
    } u = {.in = bytes.data};
    return (ProtobufCBinaryData){.len = bytes.len, .data = u.out};
}

struct runtime_peer_request *peer__take_requests(struct runtime *rt)
{
    struct runtime_peer_request *all = rt->peers;
    rt->peers = NULL;
    rt->peers_tail = &rt->peers;
    return all;
}

void peer__done(struct runtime *rt, struct runtime_peer_request *peer)
{
    INVARIANT(rt->peers_out > 0);
    rt->peers_out--;
    if (peer->use == PEER_FORWARD)
        forward__done(rt, peer);
    else if (peer->use == PEER_HANDOFF)
        handoff__peer_done(rt, peer);
    else
        promise__done(rt, peer);
}

void peer__close(struct runtime *rt)
{
    static void (*const frees[])(struct runtime_peer_request *) = {
        [PEER_FORWARD] = forward__free,
        [PEER_HANDOFF] = handoff__free,
        [PEER_PROMISE] = promise__free,
    };
    for (struct runtime_peer_request *p = rt->peers, *next; p != NULL; p = next) {
        next = p->next;
        frees[p->use](p);
    }
    rt->peers = NULL;
}

/* ---- in ---- */

bool peer_kind__is(struct troupe_bytes kind)
{
    return troupe_bytes_equal(kind, troupe_bytes_of("$peer"));
}

static struct handoff_answer take_cast(struct runtime *rt, const ProtobufCMessage *message)
{
    const Troupe__Peer__Cast *cast = (const Troupe__Peer__Cast *)(const void *)message;
    struct troupe_bytes kind = troupe_bytes(cast->kind.data, cast->kind.len);
    struct troupe_bytes id = troupe_bytes(cast->id.data, cast->id.len);
    const struct kind *k = deliver__kind(rt, kind);
    const char *why = NULL;
    int method =
        k == NULL ? -1 : deliver__method(k, troupe_bytes(cast->method.data, cast->method.len));
    if (method < 0 || method == METHOD_GET || name_check_id(id, &why) != 0)
        return (struct handoff_answer){TROUPE_NOT_FOUND, "no such kind, method or id here"};
    struct letter *l = letter__new(
        rt, MESSAGE_CAST, (uint8_t)(k - rt->kinds), (uint8_t)method, name_hash(kind, id), id,
        troupe_bytes(cast->payload.data, cast->payload.len), troupe_bytes(NULL, 0));
    if (l == NULL)
        return (struct handoff_answer){TROUPE_RESOURCE_EXHAUSTED, "out of memory: retry later"};
    list_push(&rt->run, &l->m.link);
    return (struct handoff_answer){TROUPE_OK, ""};
}

static struct handoff_answer take_part(struct runtime *rt, const ProtobufCMessage *message)
{
    const Troupe__Peer__Take *take = (const Troupe__Peer__Take *)(const void *)message;
    store_doubt__hear(rt, take->timeline);
    return handoff__take(rt, take);
}

static struct handoff_answer take_given(struct runtime *rt, const ProtobufCMessage *message)
{
    const Troupe__Peer__Given *given = (const Troupe__Peer__Given *)(const void *)message;
    for (size_t i = 0; i < given->n_partitions; i++)
        store_doubt__hear_epoch(rt, given->partitions[i]->epoch);
    return handoff__given(rt, given);
}

static struct handoff_answer take_keep(struct runtime *rt, const ProtobufCMessage *message)
{
    return handoff__keep(rt, (const Troupe__Peer__Keep *)(const void *)message);
}

static struct handoff_answer take_promise(struct runtime *rt, const ProtobufCMessage *message)
{
    return promise__ask(rt, (const Troupe__Peer__Promise *)(const void *)message);
}

static const struct {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
    struct handoff_answer (*take)(struct runtime *rt, const ProtobufCMessage *message);
} methods[] = {
    {"cast", &troupe__peer__cast__descriptor, take_cast},
    {"take", &troupe__peer__take__descriptor, take_part},
    {"given", &troupe__peer__given__descriptor, take_given},
    {"keep", &troupe__peer__keep__descriptor, take_keep},
    {"promise", &troupe__peer__promise__descriptor, take_promise},
};

static struct handoff_answer dispatch(struct runtime *rt, const struct rpc_call *call)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (!troupe_bytes_equal(call->method, troupe_bytes_of(methods[i].name)))
            continue;
        struct arena arena; /* not the request's: it goes when the payload has been read */
        ProtobufCMessage *message;
        struct handoff_answer answer = {TROUPE_INVALID_ARGUMENT, "the payload cannot be read"};
        arena_init(&arena, 128 << 10, 4 * (size_t)RPC_FRAME_BYTES_MAX);
        if (unpack_message(&arena, methods[i].descriptor, call->payload, &message) == 0)
            answer = methods[i].take(rt, message);
        arena_close(&arena);
        return answer;
    }
    return (struct handoff_answer){TROUPE_UNIMPLEMENTED,
                                   "$peer has no such method: is the other node newer?"};
}

void peer_kind__call(struct runtime *rt, struct message *m)
{
    if (!m->request->from_peer) {
        request__fail(rt, m, TROUPE_PERMISSION_DENIED,
                      "$peer is for the nodes of the cluster, on their peer ports");
        return;
    }
    struct handoff_answer answer = dispatch(rt, &m->request->rpc->calls[m->index]);
    request__finish(rt, m, answer.status, troupe_bytes(NULL, 0), troupe_bytes_of(answer.text));
}
