/* What operators ask about kinds: who has what and what is open (kinds), and that one which is
 * given up be forgotten (forget_kind), so that nodes without it take partitions again. */
#include <stdio.h>

#include "node/runtime/node_kind.h"
#include "proto/unpack.h"

enum { KINDS_SHOWN_MAX = 1024 };

/* ---- kinds ---- */

struct listing {
    struct runtime *rt;
    struct arena *arena;
    Troupe__Rpc__Kinds out;
    bool failed;
};

static Troupe__Rpc__Kind *find(struct listing *l, struct troupe_bytes name)
{
    for (size_t i = 0; i < l->out.n_kinds; i++) {
        if (troupe_bytes_equal(troupe_bytes_of(l->out.kinds[i]->name), name))
            return l->out.kinds[i];
    }
    return NULL;
}

static Troupe__Rpc__Kind *take(struct listing *l, struct troupe_bytes name)
{
    Troupe__Rpc__Kind *k = find(l, name);
    if (k != NULL || l->out.n_kinds == KINDS_SHOWN_MAX)
        return k;
    k = arena_alloc(l->arena, sizeof *k);
    const char *text = arena_printf(l->arena, "%.*s", (int)name.len, (const char *)name.data);
    l->failed |= k == NULL || text == NULL;
    if (l->failed)
        return NULL;
    troupe__rpc__kind__init(k);
    k->name = node_kind__text(text);
    l->out.kinds[l->out.n_kinds++] = k;
    return k;
}

static void take_all(struct listing *l, const char *list, bool open)
{
    struct troupe_bytes name;
    uint32_t version;
    while (!l->failed && list != NULL && kinds__next(&list, &name, &version)) {
        Troupe__Rpc__Kind *k = take(l, name);
        if (k == NULL || !open)
            continue;
        k->open = true;
        k->version = version;
    }
}

static void add_node(struct listing *l, Troupe__Rpc__Kind *k, const char *node, const char *list)
{
    Troupe__Rpc__KindNode *n = arena_alloc(l->arena, sizeof *n);
    l->failed |= n == NULL;
    if (l->failed)
        return;
    troupe__rpc__kind_node__init(n);
    n->node = node_kind__text(node);
    n->untold = list == NULL;
    n->has = list != NULL && kinds__find(list, troupe_bytes_of(k->name), &n->version);
    if (!n->has)
        n->version = 0;
    k->nodes[k->n_nodes++] = n;
}

struct troupe_bytes node_kind__kinds(struct runtime *rt, struct arena *arena)
{
    const struct kinds_open *o = &rt->kinds_open;
    struct listing l = {.rt = rt, .arena = arena, .out = TROUPE__RPC__KINDS__INIT};
    const char *mine = strchr(o->mine, ';');
    mine = mine == NULL ? "" : mine + 1;
    l.out.node = node_kind__text(rt->config.name);
    l.out.lacks = node_kind__text(o->why);
    l.out.kinds = arena_calloc(arena, KINDS_SHOWN_MAX, sizeof(Troupe__Rpc__Kind *));
    l.failed = l.out.kinds == NULL;
    take_all(&l, o->open, true);
    take_all(&l, mine, false);
    for (size_t i = 0; i < o->rows_n; i++)
        take_all(&l, o->rows[i].kinds, false);
    for (size_t i = 0; i < l.out.n_kinds && !l.failed; i++) {
        Troupe__Rpc__Kind *k = l.out.kinds[i];
        k->nodes = arena_calloc(arena, o->rows_n + 1, sizeof(Troupe__Rpc__KindNode *));
        l.failed = k->nodes == NULL;
        if (!l.failed)
            add_node(&l, k, rt->config.name, mine);
        for (size_t at = 0; at < o->rows_n && !l.failed; at++)
            add_node(&l, k, o->rows[at].name, o->rows[at].kinds);
    }
    return l.failed ? troupe_bytes(NULL, 0) : node_kind__pack(arena, &l.out.base);
}

/* ---- forget_kind ---- */

/* The first active node that has it, or does not tell; NULL: none. */
static const char *holder(const struct runtime *rt, struct troupe_bytes name)
{
    const struct kinds_open *o = &rt->kinds_open;
    uint32_t version;
    if (deliver__kind(rt, name) != NULL)
        return rt->config.name;
    for (size_t i = 0; i < o->rows_n; i++) {
        if (o->rows[i].kinds == NULL || kinds__find(o->rows[i].kinds, name, &version))
            return o->rows[i].name;
    }
    return NULL;
}

static bool read_name(struct runtime *rt, struct message *m, struct troupe_bytes *name)
{
    ProtobufCMessage *message;
    if (unpack_message(m->request->arena, &troupe__rpc__forget_kind__descriptor,
                       m->request->rpc->calls[m->index].payload, &message) != 0) {
        request__fail(rt, m, TROUPE_INVALID_ARGUMENT, "the payload is no ForgetKind");
        return false;
    }
    *name = troupe_bytes_of(((const Troupe__Rpc__ForgetKind *)(void *)message)->name);
    return true;
}

static bool begin_forget(struct runtime *rt, struct message *m, struct store_request *request)
{
    const struct kinds_open *o = &rt->kinds_open;
    struct troupe_bytes name;
    uint32_t version;
    if (!read_name(rt, m, &name))
        return false;
    /* The caller may be gone when the store answers. */
    struct arena *arena = &LIST_ENTRY(request, struct store_slot, request)->arena;
    const char *has = holder(rt, name), *was, *is;
    if (!kinds__find(o->open, name, &version))
        request__fail(rt, m, TROUPE_NOT_FOUND,
                      "no kind '%.*s' has opened in this cluster: `troupe kinds`", (int)name.len,
                      (const char *)name.data);
    else if (has != NULL)
        request__fail(rt, m, TROUPE_FAILED_PRECONDITION,
                      "node %s has kind %.*s, or does not tell: start the nodes without it first",
                      has, (int)name.len, (const char *)name.data);
    else if (!rt->lease.held)
        request__fail(rt, m, TROUPE_UNAVAILABLE, "the node has no lease at the moment: retry");
    else if ((was = arena_printf(arena, "%s", o->open)) == NULL ||
             (is = kinds__without(o->open, name, arena)) == NULL)
        request__fail(rt, m, TROUPE_RESOURCE_EXHAUSTED, "no memory: retry");
    else {
        request->u.kinds = (struct store_kinds){
            .name = rt->config.name, .generation = rt->generation, .was = was, .is = is};
        return true;
    }
    return false;
}

/* Whoever asked sees in the list whether it was done, or somebody else has changed it just then. */
static struct troupe_bytes pack_forget(const struct store_request *request, struct arena *arena)
{
    struct runtime *rt = request->data;
    if (request->u.kinds.done)
        kinds__is(rt, request->u.kinds.is);
    return node_kind__kinds(rt, arena);
}

const struct node_answer node_kind__forget_kind = {
    .op = STORE_KINDS, .begin = begin_forget, .pack = pack_forget};
