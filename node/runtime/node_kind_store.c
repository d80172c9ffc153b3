/* What only the store knows: how a partition came to its owner (history), and the map of owners
 * that counts (owners). The call waits for the store's answer, or for its deadline: then the answer
 * finds nobody and is thrown away. A few such questions go at once, so that operators do not slow
 * the node's own requests down. */
#include "node/runtime/node_kind.h"
#include "proto/unpack.h"

void node_ask__init(struct runtime *rt)
{
    for (uint32_t i = 0; i < NODE_ASKS_MAX; i++)
        arena_init(&rt->asks[i].slot.arena, 0, 0);
}

void node_ask__close(struct runtime *rt)
{
    for (uint32_t i = 0; i < NODE_ASKS_MAX; i++)
        arena_close(&rt->asks[i].slot.arena);
}

bool node_ask__is_out(const struct runtime *rt)
{
    for (uint32_t i = 0; i < NODE_ASKS_MAX; i++) {
        if (rt->asks[i].slot.out)
            return true;
    }
    return false;
}

void node_ask__forget(struct runtime *rt, struct message *m)
{
    m->asking = false;
    for (uint32_t i = 0; i < NODE_ASKS_MAX; i++) {
        if (rt->asks[i].m == m)
            rt->asks[i].m = NULL;
    }
}

/* ---- history ---- */

static bool begin_history(struct runtime *rt, struct message *m, struct store_request *request)
{
    ProtobufCMessage *message;
    if (unpack_message(m->request->arena, &troupe__rpc__history_request__descriptor,
                       message__payload(m), &message) != 0) {
        request__fail(rt, m, TROUPE_INVALID_ARGUMENT,
                      "the payload is no HistoryRequest: {\"partition\": 7}");
        return false;
    }
    uint32_t pid = ((const Troupe__Rpc__HistoryRequest *)(const void *)message)->partition;
    if (pid >= rt->config.partitions) {
        request__fail(rt, m, TROUPE_INVALID_ARGUMENT, "there is no partition %u: they are 0 to %u",
                      pid, rt->config.partitions - 1);
        return false;
    }
    request->u.history = (struct store_history){.pid = pid};
    return true;
}

static const char *cause_name(enum store_cause cause)
{
    switch (cause) {
    case STORE_CAUSE_FIRST:
        return "first";
    case STORE_CAUSE_LEFT:
        return "left";
    case STORE_CAUSE_DEAD:
        return "dead";
    case STORE_CAUSE_RESTART:
        return "restart";
    case STORE_CAUSE_JOIN:
        return "join";
    case STORE_CAUSE_DRAIN:
        return "drain";
    }
    return "unknown"; /* of a newer version */
}

static struct troupe_bytes pack_history(const struct store_request *request, struct arena *arena)
{
    const struct store_history *h = &request->u.history;
    Troupe__Rpc__History out = TROUPE__RPC__HISTORY__INIT;
    Troupe__Rpc__OwnerChange *all = arena_calloc(arena, h->changes_n + 1, sizeof *all);
    out.changes = arena_calloc(arena, h->changes_n + 1, sizeof(Troupe__Rpc__OwnerChange *));
    if (all == NULL || out.changes == NULL)
        return troupe_bytes(NULL, 0);
    for (size_t i = 0; i < h->changes_n; i++) {
        const struct store_change *c = &h->changes[i];
        troupe__rpc__owner_change__init(&all[i]);
        all[i].epoch = c->epoch;
        all[i].owner = node_kind__text(c->owner);
        all[i].previous = node_kind__text(c->previous == NULL ? "" : c->previous);
        all[i].cause = node_kind__text(cause_name(c->cause));
        all[i].at_ms = c->at_ms;
        out.changes[out.n_changes++] = &all[i];
    }
    out.partition = h->pid;
    return node_kind__pack(arena, &out.base);
}

const struct node_answer node_kind__history = {
    .op = STORE_HISTORY, .begin = begin_history, .pack = pack_history};

/* ---- owners ---- */

static bool begin_owners(struct runtime *rt, struct message *m, struct store_request *request)
{
    (void)rt, (void)m;
    request->u.owners = (struct store_owners){0};
    return true;
}

static bool list_nodes(const struct store_owners *map, struct arena *arena,
                       Troupe__Rpc__Owners *out)
{
    static const char *const states[] = {
        [STORE_NODE_ACTIVE] = "active", [STORE_NODE_LEFT] = "left", [STORE_NODE_DEAD] = "dead"};
    Troupe__Rpc__OwnerNode *all = arena_calloc(arena, map->nodes_n + 1, sizeof *all);
    out->nodes = arena_calloc(arena, map->nodes_n + 1, sizeof(Troupe__Rpc__OwnerNode *));
    if (all == NULL || out->nodes == NULL)
        return false;
    for (size_t i = 0; i < map->nodes_n; i++) {
        const struct store_node *n = &map->nodes[i];
        troupe__rpc__owner_node__init(&all[i]);
        all[i].name = node_kind__text(n->name);
        all[i].state = node_kind__text(states[n->state]);
        all[i].generation = n->generation;
        all[i].expired = n->expired;
        out->nodes[out->n_nodes++] = &all[i];
    }
    return true;
}

static struct troupe_bytes pack_owners(const struct store_request *request, struct arena *arena)
{
    const struct store_owners *map = &request->u.owners;
    size_t n = map->owners_n;
    Troupe__Rpc__Owners out = TROUPE__RPC__OWNERS__INIT;
    out.owner = arena_calloc(arena, n + 1, sizeof *out.owner);
    out.epoch = arena_calloc(arena, n + 1, sizeof *out.epoch);
    out.generation = arena_calloc(arena, n + 1, sizeof *out.generation);
    if (!list_nodes(map, arena, &out) || out.owner == NULL || out.epoch == NULL ||
        out.generation == NULL)
        return troupe_bytes(NULL, 0);
    for (size_t pid = 0; pid < n; pid++) {
        const struct store_owner *o = &map->owners[pid];
        out.owner[pid] = o->node < map->nodes_n ? o->node + 1 : 0;
        out.epoch[pid] = o->epoch;
        out.generation[pid] = o->generation;
    }
    out.n_owner = out.n_epoch = out.n_generation = n;
    return node_kind__pack(arena, &out.base);
}

const struct node_answer node_kind__owners = {
    .op = STORE_OWNERS, .begin = begin_owners, .pack = pack_owners};

/* ---- asking ---- */

static struct node_ask *free_ask(struct runtime *rt)
{
    for (uint32_t i = 0; i < NODE_ASKS_MAX; i++) {
        if (!rt->asks[i].slot.out)
            return &rt->asks[i];
    }
    return NULL;
}

void node_kind__ask(struct runtime *rt, struct message *m, const struct node_answer *answer)
{
    struct node_ask *ask = free_ask(rt);
    if (rt->phase >= RUNTIME_STOPPING) {
        request__fail(rt, m, TROUPE_UNAVAILABLE, "the node is stopping: ask another one");
        return;
    }
    if (store_health__is_away(rt)) { /* it would wait for its deadline */
        request__fail(rt, m, TROUPE_UNAVAILABLE, "the store cannot be reached: %s",
                      rt->store_error);
        return;
    }
    if (ask == NULL) {
        request__fail(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                      "%d such questions wait for the store already: retry later", NODE_ASKS_MAX);
        return;
    }
    if (!answer->begin(rt, m, &ask->slot.request))
        return;
    ask->m = m;
    ask->answer = answer;
    m->asking = true;
    lifecycle__submit(rt, &ask->slot, answer->op);
}

static void finish(struct runtime *rt, const struct node_ask *ask, struct message *m)
{
    const struct store_request *request = &ask->slot.request;
    if (request->error != 0)
        request__fail(rt, m, TROUPE_UNAVAILABLE, "the store does not tell: %s", request->errmsg);
    else
        node_kind__finish(rt, m, ask->answer->pack(request, m->request->arena));
}

bool node_ask__done(struct runtime *rt, struct store_request *request)
{
    for (uint32_t i = 0; i < NODE_ASKS_MAX; i++) {
        struct node_ask *ask = &rt->asks[i];
        if (request != &ask->slot.request)
            continue;
        struct message *m = ask->m;
        ask->slot.out = false;
        ask->m = NULL;
        if (m != NULL)
            m->asking = false;
        if (ask->answer->done != NULL)
            ask->answer->done(rt, m, request);
        else if (m != NULL)
            finish(rt, ask, m);
        arena_close(&ask->slot.arena); /* a map is large, and asked for rarely */
        arena_init(&ask->slot.arena, 0, 0);
        return true;
    }
    return false;
}
