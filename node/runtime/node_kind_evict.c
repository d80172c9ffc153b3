/* $node evict: an operator says that a node is gone for good. Nobody waits for it then: neither for
 * its lease, nor for what it might serve without the store, nor for it to come back.
 *
 * What an operator cannot know is whether it lives. So the node that is asked looks first: whoever
 * has renewed its lease, or answered the others, within the last TTL may live, and is only watched;
 * the caller asks again. What then counts is one statement of the store, which compares the run and
 * its last renewal with what was seen here.
 *
 * The name may be our own: that of a run on another machine, which keeps this one from registering.
 */
#include <inttypes.h>
#include <stdio.h>

#include "node/runtime/node_kind.h"
#include "proto/unpack.h"

enum { ASK_AGAIN_MS = 500, WHY_BYTES = 512 };

/* ---- what is known of it ---- */

static void answer(struct runtime *rt, struct message *m, const char *state, const char *why,
                   uint32_t wait_ms, const struct node_info *n)
{
    Troupe__Rpc__Evict out = TROUPE__RPC__EVICT__INIT;
    out.state = node_kind__text(state);
    out.why = node_kind__text(why);
    out.wait_ms = wait_ms;
    out.generation = n == NULL ? 0 : n->row_generation;
    out.renew_seq = n == NULL ? 0 : n->row_seq;
    node_kind__finish(rt, m, node_kind__pack(m->request->arena, &out.base));
}

/* For how long a run must have been silent: a node that is alone asks for a long lease, and renews
 * it as often as any other. */
static uint64_t silence_ms(const struct runtime *rt, uint32_t ttl_ms)
{
    uint64_t silence = ttl_ms < rt->config.lease_ttl_ms ? ttl_ms : rt->config.lease_ttl_ms;
    uint64_t quiet = failover__quiet_ms(rt);
    return silence > quiet ? silence : quiet;
}

/* Why it may live, and for how long to watch it; 0: it does not. */
static uint32_t may_live(const struct runtime *rt, const struct node_info *n, char why[WHY_BYTES])
{
    uint64_t silent_ms = failover__seen_for_ns(rt, n->row_since_ns) / NS_PER_MS;
    uint64_t need_ms = silence_ms(rt, n->row_ttl_ms);
    if (failover__is_gone(rt, n))
        return 0;
    if (silent_ms < need_ms) {
        snprintf(why, WHY_BYTES,
                 "%s may live: it has not been seen silent for longer than %" PRIu64
                 " ms, and %" PRIu64 " are needed",
                 n->name, silent_ms, need_ms);
        return (uint32_t)(need_ms - silent_ms);
    }
    if (node__is_live(n) && n->generation >= n->row_generation) {
        snprintf(
            why, WHY_BYTES,
            "%s lives: it does not renew its lease, but it answers other nodes, at %s. Stop it "
            "first",
            n->name, n->gossip);
        return ASK_AGAIN_MS;
    }
    return 0;
}

/* ---- our own name ---- */

static void evict_holder(struct runtime *rt, struct message *m)
{
    uint64_t silent_ms = (rt->now.mono_ns - rt->holder_seen_ns) / NS_PER_MS;
    uint64_t need_ms = silence_ms(rt, rt->config.lease_ttl_ms);
    struct node_info holder = {.row_generation = rt->holder_generation, .row_seq = rt->holder_seq};
    char why[WHY_BYTES];
    if (rt->phase != RUNTIME_STARTING || rt->lease.held || rt->holder_generation == 0) {
        request__fail(rt, m, TROUPE_FAILED_PRECONDITION,
                      "%s is the node that you ask, and alive: to have it gone, stop it (SIGTERM "
                      "moves its partitions first), or `troupe drain %s`",
                      rt->config.name, rt->config.name);
    } else if (silent_ms < need_ms) {
        snprintf(why, sizeof why,
                 "the run that holds the name %s may live: it has been silent for %" PRIu64
                 " ms, and %" PRIu64 " are needed",
                 rt->config.name, silent_ms, need_ms);
        answer(rt, m, "watched", why, (uint32_t)(need_ms - silent_ms), &holder);
    } else {
        log__add(rt, RUNTIME_WARN, "an operator gives the run up that holds this node's name",
                 "name", rt->config.name, NULL);
        rt->holder_given_up = rt->holder_generation;
        answer(rt, m, "evicted", "", 0, &holder);
    }
}

/* ---- evict ---- */

static const char *read_name(struct runtime *rt, struct message *m)
{
    ProtobufCMessage *message;
    if (unpack_message(m->request->arena, &troupe__rpc__evict_request__descriptor,
                       message__payload(m), &message) == 0) {
        const char *name = ((const Troupe__Rpc__EvictRequest *)(const void *)message)->node;
        if (name[0] != '\0' && strlen(name) <= STORE_NAME_BYTES_MAX)
            return name;
    }
    request__fail(rt, m, TROUPE_INVALID_ARGUMENT,
                  "the payload is no EvictRequest: {\"node\": \"n2\"}");
    return NULL;
}

static bool begin_evict(struct runtime *rt, struct message *m, struct store_request *request)
{
    const char *name = read_name(rt, m);
    char why[WHY_BYTES];
    if (name == NULL)
        return false;
    if (strcmp(name, rt->config.name) == 0) {
        evict_holder(rt, m);
        return false;
    }
    if (!rt->lease.held) {
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "this node, %s, has no lease at the moment, and may evict nobody: ask "
                      "another one, or see why in `troupe status`",
                      rt->config.name);
        return false;
    }
    const struct node_info *n =
        node__at(rt, nodes__find(&rt->members.nodes, troupe_bytes_of(name)));
    bool active = n != NULL && n->row_active;
    if (n != NULL && !active && node__is_live(n) && n->generation >= n->row_generation) {
        request__fail(rt, m, TROUPE_FAILED_PRECONDITION,
                      "%s has been evicted before, or has left, and lives all the same: it answers "
                      "other nodes, at %s, and takes its name again. Stop it first",
                      n->name, n->gossip);
        return false;
    }
    uint32_t wait_ms = active ? may_live(rt, n, why) : 0;
    if (wait_ms > 0) {
        answer(rt, m, "watched", why, wait_ms, n);
        return false;
    }
    /* The caller may be gone when the store answers. */
    struct arena *arena = &LIST_ENTRY(request, struct store_slot, request)->arena;
    const char *target = arena_printf(arena, "%s", name);
    if (target == NULL) {
        request__fail(rt, m, TROUPE_RESOURCE_EXHAUSTED, "no memory: retry");
        return false;
    }
    request->u.evict = (struct store_evict){.name = rt->config.name,
                                            .generation = rt->generation,
                                            .target = target,
                                            .target_generation = active ? n->row_generation : 0,
                                            .target_renew_seq = active ? n->row_seq : 0,
                                            .why = STORE_EVICT_ORDERED};
    return true;
}

static void given_up(struct runtime *rt, const struct store_evict *evict)
{
    uint32_t node = nodes__find(&rt->members.nodes, troupe_bytes_of(evict->target));
    log__add(rt, RUNTIME_WARN, "a node is evicted by an operator: it is gone for good", "node",
             evict->target, NULL);
    if (evict->target_generation != 0)
        failover__given_up(rt, node, evict->target_generation);
    node_kind__changed(rt);
}

static void evict_done(struct runtime *rt, struct message *m, const struct store_request *request)
{
    const struct store_evict *e = &request->u.evict;
    bool done = request->error == 0 && e->evicted;
    if (done)
        given_up(rt, e);
    if (m == NULL)
        return;
    if (done)
        answer(rt, m, "evicted",
               e->target_generation == 0 ? "it had no lease any more: if it still runs, it comes "
                                           "back by itself; stop it then"
                                         : "",
               0, NULL);
    else if (request->error != 0)
        request__fail(rt, m, TROUPE_UNAVAILABLE, "the store has not written it down: %s. Try again",
                      request->errmsg);
    else if (e->target_generation != 0)
        request__fail(rt, m, TROUPE_ABORTED,
                      "%s has renewed its lease just now, or is another run by now: it lives",
                      e->target);
    else
        request__fail(rt, m, TROUPE_NOT_FOUND,
                      "the store knows of no node %s that could be missing: see `troupe members` "
                      "and `troupe status`",
                      e->target);
}

const struct node_answer node_kind__evict = {
    .op = STORE_EVICT, .begin = begin_evict, .done = evict_done};
