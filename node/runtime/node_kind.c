/* The kind $node: what the node itself answers, whatever the state of its lease: its status, the
 * members as it sees them, the ring with the owners of all partitions. What operators ask for
 * besides is in node_kind_ops.c, and what only the store knows in node_kind_store.c. */
#include <stdio.h>

#include "node/runtime/node_kind.h"

bool node_kind__is(struct troupe_bytes kind)
{
    return troupe_bytes_equal(kind, troupe_bytes_of("$node"));
}

char *node_kind__text(const char *s)
{
    union { /* protobuf-c's structs want char *, and only read it */
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

static char *text(const char *s)
{
    return node_kind__text(s);
}

static const char *phase_name(const struct runtime *rt)
{
    static const char *const names[] = {"starting", "serving", "suspended",
                                        "stopping", "stopped", "failed"};
    bool draining = rt->draining || rt->drain_asked;
    return draining && rt->phase == RUNTIME_SERVING ? "draining" : names[rt->phase];
}

static void fill(struct runtime *rt, const struct runtime_stats *s, Troupe__Rpc__NodeStatus *status)
{
    status->name = text(rt->config.name);
    status->version = text(rt->config.version);
    status->cluster = text(rt->config.cluster);
    status->cluster_uid = text(rt->cluster_uid);
    status->generation = s->generation;
    status->state = text(phase_name(rt));
    status->uptime_ms = (rt->now.mono_ns - rt->opened_ns) / NS_PER_MS;
    status->address = text(rt->config.address);
    status->store = text(rt->config.store_url);
    status->store_ok = s->store_ok;
    status->store_error = text(rt->store_ok ? "" : rt->store_error);
    status->lease_age_ms = s->lease_age_ms;
    status->partitions = s->partitions;
    status->partitions_owned = s->partitions_owned;
    status->entities_resident = s->entities_resident;
    status->entities_dirty = s->entities_dirty;
    status->entities_loading = s->entities_loading;
    status->entities_quarantined = s->entities_quarantined;
    status->memory_bytes = s->memory_bytes;
    status->calls = s->calls;
    status->calls_failed = s->calls_failed;
    status->calls_per_s = s->calls_per_s;
    status->replies_gated = s->calls_gated;
    status->crashes = s->crashes;
    status->forwarded = rt->forwarded_n;
    status->rows_saved = s->rows_saved;
    status->rows_loaded = s->rows_loaded;
    status->entities_warmed = s->entities_warmed;
    status->partitions_to_warm = s->partitions_to_warm;
    status->saves_in_flight = s->saves_in_flight;
    status->persist_lag_ms = s->persist_lag_ms;
    status->commit_us = s->commit_us;
}

/* ---- the methods: each packs its answer in the request's arena; NULL data: no memory ---- */

struct troupe_bytes node_kind__pack(struct arena *arena, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(arena, len);
    if (packed != NULL)
        protobuf_c_message_pack(message, packed);
    return troupe_bytes(packed, len);
}

static const char *state_name(const struct runtime *rt, uint32_t node, const struct node_info *n)
{
    static const char *const names[GOSSIP_STATES] = {
        [GOSSIP_JOINING] = "joining", [GOSSIP_ACTIVE] = "active", [GOSSIP_DRAINING] = "draining",
        [GOSSIP_DEAD] = "dead",       [GOSSIP_LEFT] = "left",
    };
    if (node == rt->members.self && !members__is_on(&rt->members))
        return "active"; /* a cluster by itself */
    return names[n->state] == NULL ? "unknown" : names[n->state];
}

static void fill_member(const struct runtime *rt, uint32_t node, Troupe__Rpc__Member *out)
{
    const struct members *m = &rt->members;
    const struct node_info *n = node__at(rt, node);
    struct swim_info info;
    troupe__rpc__member__init(out);
    out->name = text(n->name);
    out->state = text(state_name(rt, node, n));
    out->suspect = n->suspect;
    out->self = node == m->self;
    out->address = text(n->address);
    out->gossip_address = text(n->gossip);
    out->peer_address = text(n->peer);
    out->zone = text(n->zone);
    out->version = text(n->version);
    out->weight = n->weight;
    out->generation = node == m->self ? rt->generation : n->generation;
    if (members__is_on(m) && n->member != SWIM_NOBODY && swim_info(m->swim, n->member, &info)) {
        out->incarnation = info.incarnation;
        out->state_age_ms = (rt->now.mono_ns - info.changed_ns) / NS_PER_MS;
        out->load = info.load;
    }
    if (out->self)
        out->load = (uint32_t)rt->entities_n;
}

/* Who has a partition, as far as we know; NODE_NONE: nobody. */
static uint32_t owner_of(const struct runtime *rt, uint32_t pid)
{
    const struct ownership *o = &rt->ownership;
    return ownership_is_held(o, pid) ? rt->members.self : o->entries[pid].node;
}

static uint32_t proposed_of(const struct runtime *rt, uint32_t pid)
{
    return members__is_on(&rt->members) ? ring__owner(rt, pid) : rt->members.self;
}

static uint32_t count_unowned(const struct runtime *rt)
{
    uint32_t n = 0;
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++)
        n += node__at(rt, owner_of(rt, pid)) == NULL;
    return n;
}

static void count_partitions(const struct runtime *rt, Troupe__Rpc__Member *const *by_node)
{
    uint32_t nodes_n = rt->members.nodes.n;
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        uint32_t owner = owner_of(rt, pid), proposed = proposed_of(rt, pid);
        if (owner < nodes_n && by_node[owner] != NULL)
            by_node[owner]->owned++;
        if (proposed < nodes_n && by_node[proposed] != NULL)
            by_node[proposed]->proposed++;
    }
}

static uint64_t members_hash(const struct runtime *rt)
{
    return members__is_on(&rt->members) ? swim_hash(rt->members.swim) : 0;
}

static struct troupe_bytes answer_members(struct runtime *rt, struct arena *arena)
{
    const struct members *m = &rt->members;
    Troupe__Rpc__Members all = TROUPE__RPC__MEMBERS__INIT;
    Troupe__Rpc__Member *members = arena_calloc(arena, m->nodes.n, sizeof *members);
    Troupe__Rpc__Member **by_node = arena_calloc(arena, m->nodes.n, sizeof(Troupe__Rpc__Member *));
    all.members = arena_calloc(arena, m->nodes.n, sizeof(Troupe__Rpc__Member *));
    if (members == NULL || by_node == NULL || all.members == NULL)
        return troupe_bytes(NULL, 0);
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        const struct node_info *n = m->nodes.all[i];
        if (i != m->self && n->state == 0 && !n->row_active)
            continue; /* a name that is remembered, and no more */
        by_node[i] = all.members[all.n_members++] = &members[i];
        fill_member(rt, i, &members[i]);
    }
    count_partitions(rt, by_node);
    all.partitions = rt->config.partitions;
    all.members_hash = members_hash(rt);
    all.ring_hash = ring_hash(&m->ring);
    all.owners_hash = owners__hash(rt);
    all.unowned = count_unowned(rt);
    return node_kind__pack(arena, &all.base);
}

static uint32_t one_based(const struct runtime *rt, uint32_t node)
{
    return node__at(rt, node) == NULL ? 0 : node + 1;
}

static struct troupe_bytes answer_ring(struct runtime *rt, struct arena *arena)
{
    const struct members *m = &rt->members;
    size_t n = rt->config.partitions;
    Troupe__Rpc__Ring ring = TROUPE__RPC__RING__INIT;
    ring.nodes = arena_calloc(arena, m->nodes.n, sizeof *ring.nodes);
    ring.owner = arena_calloc(arena, n, sizeof *ring.owner);
    ring.epoch = arena_calloc(arena, n, sizeof *ring.epoch);
    ring.proposed = arena_calloc(arena, n, sizeof *ring.proposed);
    ring.backup = arena_calloc(arena, n, sizeof *ring.backup);
    if (ring.nodes == NULL || ring.owner == NULL || ring.epoch == NULL || ring.proposed == NULL ||
        ring.backup == NULL)
        return troupe_bytes(NULL, 0);
    for (uint32_t i = 0; i < m->nodes.n; i++)
        ring.nodes[ring.n_nodes++] = text(m->nodes.all[i]->name);
    for (uint32_t pid = 0; pid < n; pid++) {
        ring.owner[pid] = one_based(rt, owner_of(rt, pid));
        ring.epoch[pid] = rt->ownership.entries[pid].epoch;
        ring.proposed[pid] = one_based(rt, proposed_of(rt, pid));
        ring.backup[pid] = one_based(rt, ring__backup(rt, pid));
    }
    ring.n_owner = ring.n_epoch = ring.n_proposed = ring.n_backup = n;
    ring.ring_hash = ring_hash(&m->ring);
    ring.owners_hash = owners__hash(rt);
    return node_kind__pack(arena, &ring.base);
}

static void fill_cluster(const struct runtime *rt, Troupe__Rpc__NodeStatus *status)
{
    const struct members *m = &rt->members;
    status->partitions_proposed = members__is_on(m) && m->self_in_ring != RING_NONE
                                      ? ring_share(&m->ring, m->self_in_ring)
                                  : members__is_on(m) ? 0
                                                      : rt->config.partitions;
    status->members_live = members__is_on(m) ? swim_live(m->swim) : 1;
    for (uint32_t i = 0; i < m->nodes.n; i++)
        status->members_suspect += m->nodes.all[i]->suspect;
    status->members_hash = members_hash(rt);
    status->ring_hash = ring_hash(&m->ring);
    status->owners_hash = owners__hash(rt);
    status->partitions_unowned = count_unowned(rt);
    status->zone = text(rt->config.zone);
    status->gossip_address = text(rt->config.gossip_address);
    status->peer_address = text(rt->config.peer_address);
    status->weight = rt->config.weight;
    status->drain_asked = rt->drain_asked;
    status->lacks = text(rt->kinds_open.why);
}

/* Last who holds the node's own name, if somebody does. */
static bool list_waits(const struct runtime *rt, struct arena *arena,
                       Troupe__Rpc__NodeStatus *status)
{
    const struct nodes *nodes = &rt->members.nodes;
    Troupe__Rpc__Waiting *all = arena_calloc(arena, nodes->n + 1, sizeof *all), *at = all;
    status->waits = arena_calloc(arena, nodes->n + 1, sizeof(Troupe__Rpc__Waiting *));
    if (all == NULL || status->waits == NULL)
        return false;
    for (uint32_t i = 0; i < nodes->n; i++) {
        uint32_t partitions = waits__is_silent(rt, i) ? waits__partitions(rt, i) : 0;
        if (partitions == 0)
            continue;
        troupe__rpc__waiting__init(at);
        at->node = text(nodes->all[i]->name);
        at->address = text(nodes->all[i]->address);
        at->partitions = partitions;
        at->left_ms = waits__left_ms(rt, i);
        status->waits[status->n_waits++] = at++;
    }
    if (!waits__has_holder(rt))
        return true;
    troupe__rpc__waiting__init(at);
    at->node = text(rt->config.name);
    at->address = text(rt->holder_address);
    at->left_ms = waits__holder_left_ms(rt);
    status->waits[status->n_waits++] = at;
    return true;
}

static bool list_troubles(const struct runtime *rt, struct arena *arena,
                          Troupe__Rpc__NodeStatus *status)
{
    struct store_trouble troubles[STORE_OPS];
    size_t n = store_health__troubles(rt, troubles);
    Troupe__Rpc__StoreTrouble *all = arena_calloc(arena, n + 1, sizeof *all);
    status->store_troubles = arena_calloc(arena, n + 1, sizeof(Troupe__Rpc__StoreTrouble *));
    if (all == NULL || status->store_troubles == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        troupe__rpc__store_trouble__init(&all[i]);
        all[i].doing = text(troubles[i].doing);
        all[i].why = text(troubles[i].why);
        all[i].for_ms = troubles[i].for_ms;
        status->store_troubles[status->n_store_troubles++] = &all[i];
    }
    if (n > 0 && status->store_error[0] == '\0') /* for tools that know no more than that */
        status->store_error = all[0].why;
    return true;
}

static struct troupe_bytes answer_status(struct runtime *rt, struct arena *arena)
{
    struct runtime_stats stats;
    runtime_stats(rt, rt->now, &stats);
    Troupe__Rpc__NodeStatus status = TROUPE__RPC__NODE_STATUS__INIT;
    fill(rt, &stats, &status);
    fill_cluster(rt, &status);
    if (!list_waits(rt, arena, &status) || !list_troubles(rt, arena, &status))
        return troupe_bytes(NULL, 0);
    status.kinds = arena_calloc(arena, rt->kinds_n, sizeof *status.kinds);
    status.kinds_closed = arena_calloc(arena, rt->kinds_n, sizeof *status.kinds_closed);
    for (size_t i = 0; status.kinds != NULL && i < rt->kinds_n; i++)
        status.kinds[status.n_kinds++] = text(rt->kinds[i].def->name);
    for (size_t i = 0; status.kinds_closed != NULL && i < rt->kinds_n; i++) {
        if (rt->kinds[i].closed_told)
            status.kinds_closed[status.n_kinds_closed++] = text(rt->kinds[i].def->name);
    }
    return node_kind__pack(arena, &status.base);
}

/* One of `answer`, which has it at once, and `ask`, for which the store is asked. */
static const struct method {
    const char *name;
    const ProtobufCMessageDescriptor *request, *response;
    struct troupe_bytes (*answer)(struct runtime *rt, struct arena *arena);
    const struct node_answer *ask;
} methods[] = {
    {"status", NULL, &troupe__rpc__node_status__descriptor, answer_status, NULL},
    {"members", NULL, &troupe__rpc__members__descriptor, answer_members, NULL},
    {"ring", NULL, &troupe__rpc__ring__descriptor, answer_ring, NULL},
    {"transfers", NULL, &troupe__rpc__transfers__descriptor, node_kind__transfers, NULL},
    {"drain", NULL, &troupe__rpc__drain__descriptor, NULL, &node_kind__drain},
    {"undrain", NULL, &troupe__rpc__drain__descriptor, NULL, &node_kind__undrain},
    {"evict", &troupe__rpc__evict_request__descriptor, &troupe__rpc__evict__descriptor, NULL,
     &node_kind__evict},
    {"history", &troupe__rpc__history_request__descriptor, &troupe__rpc__history__descriptor, NULL,
     &node_kind__history},
    {"owners", NULL, &troupe__rpc__owners__descriptor, NULL, &node_kind__owners},
    {"kinds", NULL, &troupe__rpc__kinds__descriptor, node_kind__kinds, NULL},
    {"forget_kind", &troupe__rpc__forget_kind__descriptor, &troupe__rpc__kinds__descriptor, NULL,
     &node_kind__forget_kind},
};

enum { METHODS_N = sizeof methods / sizeof methods[0] };

_Static_assert((int)METHODS_N <= (int)NODE_METHODS_MAX, "each has its place in node_cached");

void node_kind__init(struct runtime *rt)
{
    for (size_t i = 0; i < METHODS_N; i++)
        arena_init(&rt->node_cached[i].arena, 16 << 10, 0);
}

void node_kind__close(struct runtime *rt)
{
    for (size_t i = 0; i < METHODS_N; i++)
        arena_close(&rt->node_cached[i].arena);
}

static const struct method *find_method(struct troupe_bytes name)
{
    for (size_t i = 0; i < METHODS_N; i++) {
        if (troupe_bytes_equal(name, troupe_bytes_of(methods[i].name)))
            return &methods[i];
    }
    return NULL;
}

bool node_kind__method(struct troupe_bytes method, const ProtobufCMessageDescriptor **request,
                       const ProtobufCMessageDescriptor **response)
{
    const struct method *known = find_method(method);
    if (known == NULL)
        return false;
    *request = known->request;
    *response = known->response;
    return true;
}

static void refuse_method(struct runtime *rt, struct message *m, struct troupe_bytes name)
{
    char known[256] = "";
    for (size_t i = 0, used = 0; i < METHODS_N && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i == 0 ? "" : ", ",
                                 methods[i].name);
    request__fail(rt, m, TROUPE_UNIMPLEMENTED, "$node has no method '%.*s'; it has %s",
                  (int)(name.len < 80 ? name.len : 80), (const char *)name.data, known);
}

void node_kind__finish(struct runtime *rt, struct message *m, struct troupe_bytes packed)
{
    if (packed.data == NULL)
        request__fail(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                      "no memory for the reply: ask for less at once");
    else
        request__finish(rt, m, TROUPE_OK, packed, troupe_bytes(NULL, 0));
}

/* A copy of the last answer, if that is young enough. */
static struct troupe_bytes answer_cached(struct runtime *rt, const struct method *method,
                                         struct arena *arena)
{
    struct node_cached *c = &rt->node_cached[method - methods];
    if (c->packed.data == NULL || rt->now.mono_ns - c->at_ns >= NODE_CACHE_MS * NS_PER_MS) {
        arena_reset(&c->arena);
        c->packed = method->answer(rt, &c->arena);
        c->at_ns = rt->now.mono_ns;
    }
    return c->packed.data == NULL ? c->packed : arena_copy(arena, c->packed);
}

void node_kind__changed(struct runtime *rt)
{
    for (size_t i = 0; i < METHODS_N; i++)
        rt->node_cached[i].packed = troupe_bytes(NULL, 0);
}

void node_kind__call(struct runtime *rt, struct message *m)
{
    struct troupe_bytes name = m->request->rpc->calls[m->index].method;
    const struct method *method = find_method(name);
    if (++m->request->node_calls_n > NODE_CALLS_MAX)
        request__fail(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                      "not executed: at most %d calls to $node in one batch: send the others in "
                      "the next one",
                      NODE_CALLS_MAX);
    else if (method == NULL)
        refuse_method(rt, m, name);
    else if (method->ask != NULL)
        node_kind__ask(rt, m, method->ask);
    else
        node_kind__finish(rt, m, answer_cached(rt, method, m->request->arena));
}
