/* See cluster_layout.h. */
#include "tools/cli/cluster_layout.h"

#include <inttypes.h>
#include <string.h>

#include "tools/cli/duration.h"
#include "tools/cli/members_layout.h"
#include "tools/cli/output.h"
#include "tools/cli/ring_layout.h"
#include "tools/cli/status_layout.h"
#include "tools/cli/table.h"
#include "tools/cli/view.h"

static const struct table_column columns[] = {
    {"", false},          {"NODE", false},    {"STATE", false}, {"UP", true},
    {"PARTITIONS", true}, {"ENTITIES", true}, {"DIRTY", true},  {"CALLS/S", true},
    {"LAG", true},        {"STORE", false},   {"LEASE", true},  {"MEMORY", true},
};

enum { COLUMNS_N = sizeof columns / sizeof columns[0], COLUMNS_OF_NAME = 3 };

static void duration_cell(struct table *table, uint64_t ms)
{
    char text[DURATION_TEXT_BYTES];
    table_cell(table, "%s", duration_short(ms, text));
}

/* The member's state where it says more than the node's own: a node that drains serves. */
static const char *state_of(const struct cluster_node *n)
{
    if (n->status == NULL)
        return "no answer";
    return strcmp(n->state, "active") == 0 || strcmp(n->status->state, "serving") != 0
               ? n->status->state
               : n->state;
}

static void add_node(struct table *table, const struct cluster_node *n)
{
    char bytes[OUTPUT_NUMBER_BYTES];
    const Troupe__Rpc__NodeStatus *s = n->status;
    table_cell(table, "%s", n->self ? "*" : "");
    table_cell(table, "%s", n->name);
    table_cell(table, "%s%s", state_of(n), n->suspect ? ", suspect" : "");
    if (s == NULL) {
        for (int i = COLUMNS_OF_NAME; i < COLUMNS_N; i++)
            table_cell(table, "-");
        return;
    }
    duration_cell(table, s->uptime_ms);
    table_number(table, s->partitions_owned);
    table_number(table, s->entities_resident);
    table_number(table, s->entities_dirty);
    table_number(table, s->calls_per_s);
    duration_cell(table, s->persist_lag_ms);
    table_cell(table, "%s", s->store_ok ? "ok" : "LOST");
    duration_cell(table, s->lease_age_ms);
    table_cell(table, "%s", output_bytes(s->memory_bytes, bytes));
}

static void print_head(FILE *out, const struct cluster_view *v)
{
    char partitions[OUTPUT_NUMBER_BYTES], unowned[OUTPUT_NUMBER_BYTES], moving[OUTPUT_NUMBER_BYTES];
    struct ring_counts counts = {0};
    size_t answered = 0;
    if (v->ring != NULL)
        counts = ring_count(v->ring, v->members);
    for (size_t i = 0; i < v->nodes_n; i++)
        answered += v->nodes[i].status != NULL;
    members_headline(out, v->asked);
    fprintf(out, "%zu live nodes, %zu of them answered; %s partitions, %s unowned, %s moving\n\n",
            v->nodes_n, answered, output_number(v->asked->partitions, partitions),
            output_number(counts.unowned, unowned), output_number(counts.moving, moving));
}

static void print_nodes(FILE *out, const struct cluster_view *v)
{
    struct table table;
    table_init(&table, columns, COLUMNS_N);
    for (size_t i = 0; i < v->nodes_n; i++)
        add_node(&table, &v->nodes[i]);
    table_print(&table, out);
    table_close(&table);
    putc('\n', out);
}

static void print_verdict(FILE *out, const struct verdict *v)
{
    fprintf(out, "%-13s%s\n", "verdict", v->code == EXIT_OK ? "HEALTHY" : "DEGRADED");
    for (size_t i = 0; i < v->reasons_n; i++)
        fprintf(out, "%-13s%s\n", "", v->reasons[i]);
    if (v->reasons_left_out != 0)
        fprintf(out, "%-13sand %zu more reasons\n", "", v->reasons_left_out);
    for (size_t i = 0; i < v->notes_n; i++)
        fprintf(out, "%-13s%s\n", i == 0 ? "note" : "", v->notes[i]);
}

void cluster_layout(FILE *out, const struct cluster_view *v, const struct verdict *verdict)
{
    if (v->nodes_n == 1) {
        status_layout(out, v->asked);
    } else {
        print_head(out, v);
        print_nodes(out, v);
    }
    print_verdict(out, verdict);
}

/* ---- for programs ---- */

static json_t *lines_json(const char *const *lines, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, view_text_json(lines[i]));
    return list;
}

static json_t *node_json(const struct cluster_node *n)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "name", n->name, "address",
                     n->address, "state", n->state, "suspect", n->suspect, "self", n->self,
                     "answered", n->status != NULL, "error",
                     n->status == NULL ? view_text_json(n->why) : json_null(), "status",
                     n->status == NULL ? json_null() : view_json(&n->status->base));
}

json_t *cluster_json(const struct cluster_view *v, const struct verdict *verdict)
{
    json_t *nodes = json_array();
    struct ring_counts counts = {.unowned = v->asked->partitions_unowned};
    if (v->ring != NULL)
        counts = ring_count(v->ring, v->members);
    for (size_t i = 0; i < v->nodes_n; i++)
        json_array_append_new(nodes, node_json(&v->nodes[i]));
    return json_pack("{s:s, s:i, s:o, s:o, s:s, s:s, s:s, s:i, s:i, s:i, s:b, s:b, s:o}", "verdict",
                     verdict->code == EXIT_OK ? "HEALTHY" : "DEGRADED", "exit_code",
                     (int)verdict->code, "reasons",
                     lines_json(verdict->reasons, verdict->reasons_n), "notes",
                     lines_json(verdict->notes, verdict->notes_n), "cluster", v->asked->cluster,
                     "cluster_uid", v->asked->cluster_uid, "answered_by", v->asked->name,
                     "partitions", (int)v->asked->partitions, "unowned", (int)counts.unowned,
                     "moving", (int)counts.moving, "members_agree", verdict->members_agree,
                     "ring_agrees", verdict->ring_agrees, "nodes", nodes);
}
