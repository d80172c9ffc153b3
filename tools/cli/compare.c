/* See compare.h. The store is right by definition: a node that believes something else has not
 * heard of it yet, or never will. */
#include "tools/cli/compare.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/output.h"

enum { PARTITION_NONE = UINT32_MAX, TEXT_BYTES = 400, FIRST_SIZE = 64 };

struct court {
    const struct compare_node *nodes;
    size_t nodes_n;
    const Troupe__Rpc__Owners *store;
    struct arena *arena;
    struct findings *found;
    size_t size;
};

const char *finding_name(enum finding_type type)
{
    static const char *const names[FINDING_TYPES] = {
        [FINDING_SILENT] = "silent",   [FINDING_MEMBERS] = "members",
        [FINDING_RING] = "ring",       [FINDING_CONSTANTS] = "constants",
        [FINDING_UNOWNED] = "unowned", [FINDING_DEAD] = "dead_owner",
        [FINDING_EXPIRED] = "expired", [FINDING_VIEW] = "view",
        [FINDING_STORE] = "store",
    };
    return names[type];
}

static bool make_room(struct court *c)
{
    struct findings *f = c->found;
    if (f->n < c->size)
        return true;
    size_t size = c->size == 0 ? FIRST_SIZE : 2 * c->size;
    struct finding *all = arena_alloc(c->arena, size * sizeof *all);
    if (all == NULL) {
        f->out_of_memory = true;
        return false;
    }
    if (f->n > 0)
        memcpy(all, f->all, f->n * sizeof *all);
    f->all = all;
    c->size = size;
    return true;
}

static void find(struct court *c, enum finding_type type, uint32_t partition, const char *node,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

static void find(struct court *c, enum finding_type type, uint32_t partition, const char *node,
                 const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    output_clean(text);
    if (!make_room(c))
        return;
    struct finding *f = &c->found->all[c->found->n];
    *f = (struct finding){.type = type, .partition = partition, .node = node};
    f->text = arena_printf(c->arena, "%s", text);
    if (f->text == NULL)
        c->found->out_of_memory = true;
    else
        c->found->n++;
}

/* Without the time for which it lasts: what two looks see is compared. */
static void judge_health(struct court *c, const struct compare_node *n)
{
    for (size_t i = 0; n->status != NULL && i < n->status->n_store_troubles; i++) {
        const Troupe__Rpc__StoreTrouble *t = n->status->store_troubles[i];
        find(c, FINDING_STORE, PARTITION_NONE, n->name, "%.80s: %.80s does not work: %.160s",
             n->name, t->doing, t->why);
    }
}

/* One that starts, stops or joins need not know everything. */
static bool has_view(const struct compare_node *n)
{
    const Troupe__Rpc__NodeStatus *s = n->status;
    return s != NULL && n->members != NULL && n->ring != NULL &&
           (strcmp(s->state, "serving") == 0 || strcmp(s->state, "draining") == 0 ||
            strcmp(s->state, "suspended") == 0);
}

/* ---- the nodes among each other ---- */

static void compare_nodes(struct court *c)
{
    const struct compare_node *first = NULL;
    for (size_t i = 0; i < c->nodes_n; i++) {
        const struct compare_node *n = &c->nodes[i];
        if (n->status == NULL)
            find(c, FINDING_SILENT, PARTITION_NONE, n->name,
                 "%.80s does not answer at %.80s: %.160s", n->name, n->address,
                 n->why == NULL ? "" : n->why);
        judge_health(c, n);
        if (!has_view(n))
            continue;
        if (first == NULL) {
            first = n;
            continue;
        }
        if (n->members->members_hash != first->members->members_hash)
            find(c, FINDING_MEMBERS, PARTITION_NONE, n->name,
                 "%.80s and %.80s do not agree on who is a member", first->name, n->name);
        if (n->ring->ring_hash != first->ring->ring_hash)
            find(c, FINDING_RING, PARTITION_NONE, n->name,
                 "%.80s and %.80s do not agree on the ring", first->name, n->name);
    }
}

/* ---- the store by itself ---- */

static const Troupe__Rpc__OwnerNode *row_of(const Troupe__Rpc__Owners *store, size_t pid)
{
    uint32_t owner = store->owner[pid];
    return owner == 0 ? NULL : store->nodes[owner - 1];
}

/* Whether its owner is a run that can have it. */
static bool stands(const Troupe__Rpc__Owners *store, size_t pid)
{
    const Troupe__Rpc__OwnerNode *row = row_of(store, pid);
    return row != NULL && strcmp(row->state, "active") == 0 &&
           row->generation == store->generation[pid];
}

static void judge_store(struct court *c)
{
    const Troupe__Rpc__Owners *s = c->store;
    for (size_t pid = 0; pid < s->n_owner; pid++) {
        const Troupe__Rpc__OwnerNode *row = row_of(s, pid);
        if (row == NULL)
            find(c, FINDING_UNOWNED, (uint32_t)pid, "", "partition %zu: it has no owner", pid);
        else if (strcmp(row->state, "active") != 0)
            find(c, FINDING_DEAD, (uint32_t)pid, row->name,
                 "partition %zu: its owner %.80s is %.20s, and nobody has taken it over", pid,
                 row->name, row->state);
        else if (!stands(s, pid))
            find(c, FINDING_DEAD, (uint32_t)pid, row->name,
                 "partition %zu: its owner is an earlier run of %.80s, which has not taken it up "
                 "again",
                 pid, row->name);
    }
    for (size_t i = 0; i < s->n_nodes; i++)
        if (s->nodes[i]->expired && strcmp(s->nodes[i]->state, "active") == 0)
            find(c, FINDING_EXPIRED, PARTITION_NONE, s->nodes[i]->name,
                 "%.80s has not renewed its lease in time, and nobody has evicted it",
                 s->nodes[i]->name);
}

/* ---- the nodes against the store ---- */

static void compare_view(struct court *c, const struct compare_node *n, size_t pid)
{
    const Troupe__Rpc__Owners *s = c->store;
    const char *owner = row_of(s, pid)->name;
    uint32_t at = n->ring->owner[pid];
    const char *believed = at == 0 ? "nobody" : n->ring->nodes[at - 1];
    if (at != 0 && strcmp(owner, believed) == 0 && s->epoch[pid] == n->ring->epoch[pid])
        return;
    find(c, FINDING_VIEW, (uint32_t)pid, n->name,
         "partition %zu: the store says %.80s@%" PRIu64 ", %.80s believes %.80s@%" PRIu64, pid,
         owner, s->epoch[pid], n->name, believed, n->ring->epoch[pid]);
}

static void compare_views(struct court *c)
{
    const Troupe__Rpc__Owners *s = c->store;
    for (size_t i = 0; i < c->nodes_n; i++) {
        const struct compare_node *n = &c->nodes[i];
        if (has_view(n) && n->ring->n_owner != s->n_owner)
            find(c, FINDING_CONSTANTS, PARTITION_NONE, n->name,
                 "%.80s counts %zu partitions, the store %zu: they are not of one cluster", n->name,
                 n->ring->n_owner, s->n_owner);
    }
    for (size_t pid = 0; pid < s->n_owner; pid++) {
        for (size_t i = 0; i < c->nodes_n && stands(s, pid); i++)
            if (has_view(&c->nodes[i]) && c->nodes[i].ring->n_owner == s->n_owner)
                compare_view(c, &c->nodes[i], pid);
    }
}

/* ---- all of it ---- */

static int by_place(const void *a, const void *b)
{
    const struct finding *left = a, *right = b;
    if (left->type != right->type)
        return left->type < right->type ? -1 : 1;
    if (left->partition != right->partition)
        return left->partition < right->partition ? -1 : 1;
    return strcmp(left->node, right->node);
}

void compare(const struct compare_node *nodes, size_t nodes_n, const Troupe__Rpc__Owners *store,
             struct arena *arena, struct findings *findings)
{
    struct court c = {
        .nodes = nodes, .nodes_n = nodes_n, .store = store, .arena = arena, .found = findings};
    *findings = (struct findings){0};
    compare_nodes(&c);
    if (store != NULL) {
        judge_store(&c);
        compare_views(&c);
    }
    if (findings->n > 1)
        qsort(findings->all, findings->n, sizeof *findings->all, by_place);
}

void compare_persist(const struct findings *before, struct findings *later)
{
    size_t kept = 0;
    for (size_t i = 0; i < later->n; i++) {
        if (before->n > 0 &&
            bsearch(&later->all[i], before->all, before->n, sizeof *before->all, by_place) != NULL)
            later->all[kept++] = later->all[i];
    }
    later->n = kept;
    later->out_of_memory |= before->out_of_memory;
}
