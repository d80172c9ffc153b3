/* See members_layout.h. After nodetool's status, which has letters for both, every node has two
 * words: whether it is there, and what it is doing. */
#include "tools/cli/members_layout.h"

#include <inttypes.h>

#include "tools/cli/duration.h"
#include "tools/cli/output.h"
#include "tools/cli/table.h"
#include "tools/cli/view.h"

static const struct table_column columns[] = {
    {"", false},     {"NODE", false},  {"PRESENCE", false}, {"STATE", false},
    {"SINCE", true}, {"OWNED", true},  {"RING", true},      {"ENTITIES", true},
    {"ZONE", false}, {"WEIGHT", true}, {"VERSION", false},  {"ADDRESS", false},
};

struct totals {
    uint64_t owned, proposed, load;
    size_t up, suspect, down;
};

const char *members_presence(const Troupe__Rpc__Member *m)
{
    return view_is_gone(m) ? "down" : m->suspect ? "suspect" : "up";
}

void members_headline(FILE *out, const Troupe__Rpc__NodeStatus *asked)
{
    char line[400];
    snprintf(line, sizeof line, "cluster %s (%s), as %s sees it", asked->cluster,
             asked->cluster_uid, asked->name);
    output_clean(line);
    fprintf(out, "%s\n", line);
}

static struct totals count(const Troupe__Rpc__Members *members)
{
    struct totals t = {0};
    for (size_t i = 0; i < members->n_members; i++) {
        const Troupe__Rpc__Member *m = members->members[i];
        t.owned += m->owned;
        t.proposed += m->proposed;
        t.load += view_is_gone(m) ? 0 : m->load;
        t.down += view_is_gone(m);
        t.suspect += !view_is_gone(m) && m->suspect;
        t.up += !view_is_gone(m) && !m->suspect;
    }
    return t;
}

static void share_cell(struct table *table, uint64_t part, uint32_t whole)
{
    if (whole == 0)
        table_cell(table, "-");
    else
        table_cell(table, "%.1f%%", 100 * (double)part / whole);
}

static const char *or_dash(const char *text)
{
    return text[0] == '\0' ? "-" : text;
}

static void add_member(struct table *table, const Troupe__Rpc__Member *m, uint32_t partitions)
{
    char age[DURATION_TEXT_BYTES];
    table_cell(table, "%s", m->self ? "*" : "");
    table_cell(table, "%s", m->name);
    table_cell(table, "%s", members_presence(m));
    table_cell(table, "%s", m->state);
    table_cell(table, "%s", m->state_age_ms == 0 ? "-" : duration_short(m->state_age_ms, age));
    share_cell(table, m->owned, partitions);
    share_cell(table, m->proposed, partitions);
    table_number(table, m->load);
    table_cell(table, "%s", or_dash(m->zone));
    table_cell(table, "%" PRIu32, m->weight);
    table_cell(table, "%s", or_dash(m->version));
    table_cell(table, "%s", or_dash(m->address));
}

static void add_totals(struct table *table, const struct totals *t, uint32_t partitions)
{
    table_cell(table, "%s", "");
    table_cell(table, "total");
    for (int i = 0; i < 3; i++)
        table_cell(table, "%s", "");
    share_cell(table, t->owned, partitions);
    share_cell(table, t->proposed, partitions);
    table_number(table, t->load);
    for (int i = 0; i < 4; i++)
        table_cell(table, "%s", "");
}

void members_layout(FILE *out, const Troupe__Rpc__NodeStatus *asked,
                    const Troupe__Rpc__Members *members)
{
    char partitions[OUTPUT_NUMBER_BYTES], unowned[OUTPUT_NUMBER_BYTES];
    struct table table;
    struct totals totals = count(members);
    members_headline(out, asked);
    fprintf(out, "%zu up, %zu suspect, %zu down; %s partitions, %s of them without an owner\n\n",
            totals.up, totals.suspect, totals.down, output_number(members->partitions, partitions),
            output_number(members->unowned, unowned));
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < members->n_members; i++)
        add_member(&table, members->members[i], members->partitions);
    add_totals(&table, &totals, members->partitions);
    table_print(&table, out);
    table_close(&table);
}

json_t *members_json(const Troupe__Rpc__NodeStatus *asked, const Troupe__Rpc__Members *members)
{
    json_t *all = json_pack("{s:s, s:s, s:s}", "cluster", asked->cluster, "cluster_uid",
                            asked->cluster_uid, "answered_by", asked->name);
    json_t *told = view_json(&members->base);
    if (all == NULL || told == NULL || json_object_update(all, told) != 0) {
        json_decref(all);
        all = NULL;
    } else {
        for (size_t i = 0; i < members->n_members; i++)
            json_object_set_new(json_array_get(json_object_get(all, "members"), i), "presence",
                                json_string(members_presence(members->members[i])));
    }
    json_decref(told);
    return all;
}
