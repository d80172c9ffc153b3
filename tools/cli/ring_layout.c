/* See ring_layout.h. After riak-admin's ring-status: the ring is right when nothing is pending. */
#include "tools/cli/ring_layout.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/members_layout.h"
#include "tools/cli/output.h"
#include "tools/cli/table.h"
#include "tools/cli/view.h"

struct node_counts {
    uint32_t node; /* its number in the ring */
    const char *name;
    uint32_t owned, proposed, give, get, backups;
};

/* The run of that name which is not gone, if there is one. */
static const Troupe__Rpc__Member *find_member(const Troupe__Rpc__Members *members, const char *name)
{
    const Troupe__Rpc__Member *found = NULL;
    for (size_t i = 0; members != NULL && i < members->n_members; i++) {
        const Troupe__Rpc__Member *m = members->members[i];
        if (strcmp(m->name, name) == 0 && (found == NULL || view_is_gone(found)))
            found = m;
    }
    return found;
}

static bool is_gone(const Troupe__Rpc__Members *members, const char *name)
{
    const Troupe__Rpc__Member *m = find_member(members, name);
    return m != NULL && view_is_gone(m);
}

struct ring_counts ring_count(const Troupe__Rpc__Ring *r, const Troupe__Rpc__Members *members)
{
    struct ring_counts counts = {0};
    for (size_t pid = 0; pid < r->n_owner; pid++) {
        counts.unowned += r->owner[pid] == 0;
        counts.moving += r->owner[pid] != 0 && r->owner[pid] != r->proposed[pid];
    }
    for (size_t i = 0; i < r->n_nodes; i++) {
        bool gone = is_gone(members, r->nodes[i]);
        for (size_t pid = 0; gone && pid < r->n_owner; pid++) {
            counts.unowned += r->owner[pid] == i + 1;
            counts.moving -= r->owner[pid] == i + 1 && r->owner[pid] != r->proposed[pid];
        }
    }
    return counts;
}

static const char *name_of(const Troupe__Rpc__Ring *r, uint32_t node)
{
    return node == 0 ? "-" : r->nodes[node - 1];
}

/* A name that the node remembers from former days, and no more. */
static bool is_shown(const struct node_counts *c, const Troupe__Rpc__Members *members)
{
    if (c->owned + c->proposed + c->backups != 0)
        return true;
    const Troupe__Rpc__Member *m = find_member(members, c->name);
    return members == NULL || (m != NULL && !view_is_gone(m));
}

static int by_name(const void *a, const void *b)
{
    const struct node_counts *left = a, *right = b;
    return strverscmp(left->name, right->name);
}

static void tally(const Troupe__Rpc__Ring *r, struct node_counts *all)
{
    for (uint32_t i = 0; i <= r->n_nodes; i++)
        all[i] = (struct node_counts){.node = i, .name = name_of(r, i)};
    for (size_t pid = 0; pid < r->n_owner; pid++) {
        bool moves = r->owner[pid] != r->proposed[pid];
        all[r->owner[pid]].owned++;
        all[r->proposed[pid]].proposed++;
        all[r->backup[pid]].backups++;
        all[r->owner[pid]].give += moves;
        all[r->proposed[pid]].get += moves;
    }
}

/* Those to be shown, sorted; the caller frees them. NULL: out of memory. */
static struct node_counts *count_nodes(const Troupe__Rpc__Ring *r,
                                       const Troupe__Rpc__Members *members, size_t *n)
{
    struct node_counts *all = calloc(r->n_nodes + 1, sizeof *all);
    *n = 0;
    if (all == NULL)
        return NULL;
    tally(r, all);
    for (uint32_t i = 1; i <= r->n_nodes; i++)
        if (is_shown(&all[i], members))
            all[(*n)++] = all[i]; /* [0], nobody, is not needed any more */
    qsort(all, *n, sizeof *all, by_name);
    return all;
}

/* ---- for people ---- */

static void print_summary(FILE *out, const Troupe__Rpc__Members *members,
                          const Troupe__Rpc__Ring *r)
{
    char partitions[OUTPUT_NUMBER_BYTES], number[OUTPUT_NUMBER_BYTES];
    struct ring_counts counts = ring_count(r, members);
    fprintf(out, "%s partitions", output_number(r->n_owner, partitions));
    if (counts.unowned == 0 && counts.moving == 0)
        fprintf(out, ": all are where the ring wants them");
    if (counts.moving != 0)
        fprintf(out, ", %s to move to where the ring wants them",
                output_number(counts.moving, number));
    if (counts.unowned != 0)
        fprintf(out, ", %s WITHOUT AN OWNER", output_number(counts.unowned, number));
    fputs("\n\n", out);
}

static void print_nodes(FILE *out, const Troupe__Rpc__NodeStatus *asked,
                        const Troupe__Rpc__Members *members, const Troupe__Rpc__Ring *r)
{
    static const struct table_column columns[] = {
        {"", false},    {"NODE", false},   {"PRESENCE", false}, {"STATE", false},  {"OWNED", true},
        {"RING", true}, {"TO GIVE", true}, {"TO GET", true},    {"BACKUPS", true},
    };
    size_t n;
    struct table table;
    struct node_counts *nodes = count_nodes(r, members, &n);
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    table.out_of_memory = nodes == NULL;
    for (size_t i = 0; nodes != NULL && i < n; i++) {
        const Troupe__Rpc__Member *m = find_member(members, nodes[i].name);
        table_cell(&table, "%s", strcmp(nodes[i].name, asked->name) == 0 ? "*" : "");
        table_cell(&table, "%s", nodes[i].name);
        table_cell(&table, "%s", m == NULL ? "-" : members_presence(m));
        table_cell(&table, "%s", m == NULL ? "-" : m->state);
        table_number(&table, nodes[i].owned);
        table_number(&table, nodes[i].proposed);
        table_number(&table, nodes[i].give);
        table_number(&table, nodes[i].get);
        table_number(&table, nodes[i].backups);
    }
    table_print(&table, out);
    table_close(&table);
    free(nodes);
}

static void print_partitions(FILE *out, const Troupe__Rpc__Members *members,
                             const Troupe__Rpc__Ring *r)
{
    static const struct table_column columns[] = {
        {"PARTITION", true}, {"OWNER", false},  {"EPOCH", true},
        {"RING", false},     {"BACKUP", false}, {"", false},
    };
    struct table table;
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    for (size_t pid = 0; pid < r->n_owner; pid++) {
        table_cell(&table, "%zu", pid);
        table_cell(&table, "%s", name_of(r, r->owner[pid]));
        table_cell(&table, "%" PRIu64, r->epoch[pid]);
        table_cell(&table, "%s", name_of(r, r->proposed[pid]));
        table_cell(&table, "%s", name_of(r, r->backup[pid]));
        table_cell(&table, "%s",
                   r->owner[pid] == 0                            ? "unowned"
                   : is_gone(members, name_of(r, r->owner[pid])) ? "its owner is gone"
                   : r->owner[pid] != r->proposed[pid]           ? "moving"
                                                                 : "");
    }
    putc('\n', out);
    table_print(&table, out);
    table_close(&table);
}

void ring_layout(FILE *out, const Troupe__Rpc__NodeStatus *asked,
                 const Troupe__Rpc__Members *members, const Troupe__Rpc__Ring *r, bool partitions)
{
    members_headline(out, asked);
    print_summary(out, members, r);
    print_nodes(out, asked, members, r);
    if (partitions)
        print_partitions(out, members, r);
}

/* ---- for programs ---- */

static json_t *name_json(const Troupe__Rpc__Ring *r, uint32_t node)
{
    return node == 0 ? json_null() : json_string(r->nodes[node - 1]);
}

/* 64-bit integers are strings, as everywhere in our JSON. */
static json_t *u64_json(uint64_t number)
{
    return json_sprintf("%" PRIu64, number);
}

static json_t *nodes_json(const Troupe__Rpc__Ring *r, const Troupe__Rpc__Members *members)
{
    size_t n;
    json_t *list = json_array();
    struct node_counts *nodes = count_nodes(r, members, &n);
    for (size_t i = 0; nodes != NULL && i < n; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "name",
                                              nodes[i].name, "owned", (int)nodes[i].owned,
                                              "proposed", (int)nodes[i].proposed, "to_give",
                                              (int)nodes[i].give, "to_get", (int)nodes[i].get,
                                              "backups", (int)nodes[i].backups));
    free(nodes);
    return list;
}

static json_t *partitions_json(const Troupe__Rpc__Ring *r)
{
    json_t *list = json_array();
    for (size_t pid = 0; pid < r->n_owner; pid++)
        json_array_append_new(list, json_pack("{s:i, s:o, s:o, s:o, s:o}", "partition", (int)pid,
                                              "owner", name_json(r, r->owner[pid]), "epoch",
                                              u64_json(r->epoch[pid]), "proposed",
                                              name_json(r, r->proposed[pid]), "backup",
                                              name_json(r, r->backup[pid])));
    return list;
}

json_t *ring_json(const Troupe__Rpc__NodeStatus *asked, const Troupe__Rpc__Members *members,
                  const Troupe__Rpc__Ring *r, bool partitions)
{
    struct ring_counts counts = ring_count(r, members);
    json_t *all = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:i, s:b, s:o, s:o, s:o}", "cluster", asked->cluster,
        "cluster_uid", asked->cluster_uid, "answered_by", asked->name, "partitions",
        (int)r->n_owner, "unowned", (int)counts.unowned, "moving", (int)counts.moving, "settled",
        counts.unowned == 0 && counts.moving == 0, "ring_hash", u64_json(r->ring_hash),
        "owners_hash", u64_json(r->owners_hash), "nodes", nodes_json(r, members));
    if (all != NULL && partitions)
        json_object_set_new(all, "map", partitions_json(r));
    return all;
}
