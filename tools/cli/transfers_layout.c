/* See transfers_layout.h. */
#include "tools/cli/transfers_layout.h"

#include <stdlib.h>
#include <string.h>

#include "tools/cli/duration.h"
#include "tools/cli/members_layout.h"
#include "tools/cli/output.h"
#include "tools/cli/table.h"
#include "tools/cli/view.h"

struct transfers_sum transfers_sum(const Troupe__Rpc__Transfers *const *all, size_t n)
{
    struct transfers_sum sum = {0};
    for (size_t i = 0; i < n; i++) {
        const Troupe__Rpc__Transfers *t = all[i];
        for (size_t k = 0; k < t->n_pending; k++) {
            sum.pending += t->pending[k]->partitions;
            sum.entities += t->pending[k]->entities;
            sum.bytes += t->pending[k]->bytes;
        }
        sum.moved += t->partitions_out;
        sum.moved_entities += t->entities_out;
        sum.moved_bytes += t->bytes_out;
        sum.aborted += t->aborted;
        if (t->freeze_max_us > sum.freeze_max_us)
            sum.freeze_max_us = t->freeze_max_us;
    }
    return sum;
}

/* ---- pairs of nodes ---- */

struct pair {
    uint64_t batches, partitions, entities, bytes, age_ms; /* under way; age of the oldest */
};

static struct pair batches_to(const Troupe__Rpc__Transfers *t, const char *node)
{
    struct pair p = {0};
    for (size_t i = 0; i < t->n_batches; i++) {
        const Troupe__Rpc__TransferBatch *b = t->batches[i];
        if (!b->out || strcmp(b->node, node) != 0)
            continue;
        p.batches++;
        p.partitions += b->partitions;
        p.entities += b->entities;
        p.bytes += b->bytes;
        p.age_ms = b->age_ms > p.age_ms ? b->age_ms : p.age_ms;
    }
    return p;
}

static const char *phases_to(const Troupe__Rpc__Transfers *t, const char *node)
{
    const char *phase = "-";
    for (size_t i = 0; i < t->n_batches; i++)
        if (t->batches[i]->out && strcmp(t->batches[i]->node, node) == 0)
            phase = t->batches[i]->phase; /* of the last: one is mostly all there is */
    return phase;
}

static bool is_pending(const Troupe__Rpc__Transfers *t, const char *node)
{
    for (size_t i = 0; i < t->n_pending; i++)
        if (strcmp(t->pending[i]->node, node) == 0)
            return true;
    return false;
}

/* A node gives to its heirs by turns, so that all of them have theirs when it has given all.
 * Negative: not known. */
static double seconds_left(const struct transfers_view *v, size_t node)
{
    uint64_t pending = transfers_sum(&v->all[node], 1).pending;
    if (pending == 0)
        return 0;
    double per_s = v->per_s_of == NULL ? 0 : v->per_s_of[node];
    return per_s > 0 ? (double)pending / per_s : -1;
}

/* ---- for people ---- */

static void add_line(struct table *table, const struct transfers_view *v, size_t node,
                     const Troupe__Rpc__TransferPending *left)
{
    char bytes[OUTPUT_NUMBER_BYTES], age[DURATION_TEXT_BYTES], eta[DURATION_TEXT_BYTES];
    const Troupe__Rpc__Transfers *t = v->all[node];
    struct pair p = batches_to(t, left->node);
    double s = left->partitions == 0 ? 0 : seconds_left(v, node);
    table_cell(table, "%s", t->node);
    table_cell(table, "%s", left->node);
    table_number(table, left->partitions);
    table_number(table, left->entities);
    table_cell(table, "%s", output_bytes(left->bytes, bytes));
    table_cell(table, "%s", s < 0 ? "-" : duration_short((uint64_t)(1000 * s), eta));
    table_number(table, p.partitions);
    table_cell(table, "%s", phases_to(t, left->node));
    table_cell(table, "%s", p.batches == 0 ? "-" : duration_short(p.age_ms, age));
}

static size_t add_node(struct table *table, const struct transfers_view *v, size_t node)
{
    const Troupe__Rpc__Transfers *t = v->all[node];
    size_t lines = t->n_pending;
    for (size_t i = 0; i < t->n_pending; i++)
        add_line(table, v, node, t->pending[i]);
    for (size_t i = 0; i < t->n_batches; i++) { /* given already, but not told */
        Troupe__Rpc__TransferPending nothing = TROUPE__RPC__TRANSFER_PENDING__INIT;
        nothing.node = t->batches[i]->node;
        bool again = is_pending(t, nothing.node);
        for (size_t k = 0; k < i && !again; k++)
            again = t->batches[k]->out && strcmp(t->batches[k]->node, nothing.node) == 0;
        if (again || !t->batches[i]->out)
            continue;
        add_line(table, v, node, &nothing);
        lines++;
    }
    return lines;
}

static void print_sum(FILE *out, const struct transfers_view *v, const struct transfers_sum *sum)
{
    char a[OUTPUT_NUMBER_BYTES], b[OUTPUT_NUMBER_BYTES], c[OUTPUT_NUMBER_BYTES];
    char took[DURATION_TEXT_BYTES];
    if (sum->pending == 0)
        fprintf(out, "nothing moves, and nothing is to move\n");
    else
        fprintf(out, "%s partitions with %s entities in memory (%s) are to move",
                output_number(sum->pending, a), output_number(sum->entities, b),
                output_bytes(sum->bytes, c));
    if (sum->pending != 0 && v->per_s > 0)
        fprintf(out, ": at %.0f a second, for %s", v->per_s,
                duration_text((uint64_t)(1000 * (double)sum->pending / v->per_s), took));
    if (sum->pending != 0)
        putc('\n', out);
}

static void print_moved(FILE *out, const struct transfers_sum *sum)
{
    char a[OUTPUT_NUMBER_BYTES], b[OUTPUT_NUMBER_BYTES], c[OUTPUT_NUMBER_BYTES];
    fprintf(out, "moved so far %s partitions, %s entities, %s; calls waited %.1f ms at most\n",
            output_number(sum->moved, a), output_number(sum->moved_entities, b),
            output_bytes(sum->moved_bytes, c), (double)sum->freeze_max_us / 1000);
    if (sum->aborted != 0)
        fprintf(out, "             %s batches could not move at once, and stayed for a while\n",
                output_number(sum->aborted, a));
}

static void print_silent(FILE *out, const struct transfers_view *v)
{
    char name[128];
    for (size_t i = 0; i < v->silent_n; i++) {
        snprintf(name, sizeof name, "%.120s", v->silent[i]);
        output_clean(name);
        fprintf(out, "%-13s%s did not tell what it gives\n", i == 0 ? "note" : "", name);
    }
}

void transfers_layout(FILE *out, const struct transfers_view *v)
{
    static const struct table_column columns[] = {
        {"FROM", false}, {"TO", false},       {"LEFT", true},   {"ENTITIES", true}, {"BYTES", true},
        {"ETA", true},   {"UNDER WAY", true}, {"PHASE", false}, {"AGE", true},
    };
    struct table table;
    size_t lines = 0;
    struct transfers_sum sum = transfers_sum(v->all, v->all_n);
    members_headline(out, v->asked);
    print_sum(out, v, &sum);
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < v->all_n; i++)
        lines += add_node(&table, v, i);
    putc('\n', out);
    if (lines > 0) {
        table_print(&table, out);
        putc('\n', out);
    }
    table_close(&table);
    print_moved(out, &sum);
    print_silent(out, v);
}

/* ---- for programs ---- */

static json_t *silent_json(const struct transfers_view *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->silent_n; i++)
        json_array_append_new(list, view_text_json(v->silent[i]));
    return list;
}

/* To the millisecond: more would be noise. */
static json_t *seconds_json(double seconds)
{
    return json_real((double)(uint64_t)(seconds * 1000 + 0.5) / 1000);
}

json_t *transfers_json(const struct transfers_view *v)
{
    json_t *nodes = json_array();
    struct transfers_sum sum = transfers_sum(v->all, v->all_n);
    for (size_t i = 0; i < v->all_n; i++) {
        json_t *node = view_json(&v->all[i]->base);
        double s = seconds_left(v, i);
        json_object_set_new(node, "seconds_left", s < 0 ? json_null() : seconds_json(s));
        json_array_append_new(nodes, node);
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:o, s:o, s:o}", "cluster",
                     v->asked->cluster, "cluster_uid", v->asked->cluster_uid, "answered_by",
                     v->asked->name, "pending", (json_int_t)sum.pending, "pending_entities",
                     (json_int_t)sum.entities, "pending_bytes", (json_int_t)sum.bytes,
                     "partitions_per_s", v->per_s, "seconds_left",
                     sum.pending == 0 ? json_real(0)
                     : v->per_s > 0   ? seconds_json((double)sum.pending / v->per_s)
                                      : json_null(),
                     "silent", silent_json(v), "nodes", nodes);
}

/* ---- the plan ---- */

struct plan_line {
    const char *from, *to; /* from NULL: nobody's yet */
    uint32_t partitions;
    bool known; /* how many entities */
    uint64_t entities;
};

static void find_entities(const struct transfers_view *v, struct plan_line *line)
{
    for (size_t i = 0; line->from != NULL && i < v->all_n; i++) {
        const Troupe__Rpc__Transfers *t = v->all[i];
        if (strcmp(t->node, line->from) != 0)
            continue;
        for (size_t k = 0; k < t->n_pending; k++) {
            if (strcmp(t->pending[k]->node, line->to) != 0)
                continue;
            line->known = true;
            line->entities = t->pending[k]->entities;
        }
    }
}

/* The caller frees them; NULL: out of memory. */
static struct plan_line *make_plan(const struct transfers_view *v, const Troupe__Rpc__Ring *r,
                                   size_t *n)
{
    size_t side = r->n_nodes + 1;
    uint32_t *counts = calloc(side * side, sizeof *counts);
    struct plan_line *lines = calloc(side * side, sizeof *lines);
    *n = 0;
    for (size_t pid = 0; counts != NULL && pid < r->n_owner; pid++)
        counts[r->owner[pid] * side + r->proposed[pid]]++;
    for (size_t i = 0; counts != NULL && lines != NULL && i < side * side; i++) {
        size_t from = i / side, to = i % side;
        if (counts[i] == 0 || from == to || to == 0)
            continue;
        lines[*n] = (struct plan_line){.from = from == 0 ? NULL : r->nodes[from - 1],
                                       .to = r->nodes[to - 1],
                                       .partitions = counts[i]};
        find_entities(v, &lines[(*n)++]);
    }
    bool failed = counts == NULL;
    free(counts);
    if (failed) {
        free(lines);
        return NULL;
    }
    return lines;
}

void plan_layout(FILE *out, const struct transfers_view *v, const Troupe__Rpc__Ring *r)
{
    static const struct table_column columns[] = {
        {"FROM", false}, {"TO", false}, {"PARTITIONS", true}, {"ENTITIES", true}};
    struct table table;
    size_t n;
    struct plan_line *lines = make_plan(v, r, &n);
    members_headline(out, v->asked);
    if (lines != NULL && n == 0)
        fprintf(out, "nothing is to move: all partitions are where the ring wants them\n");
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    table.out_of_memory = lines == NULL;
    for (size_t i = 0; lines != NULL && i < n; i++) {
        table_cell(&table, "%s", lines[i].from == NULL ? "(nobody)" : lines[i].from);
        table_cell(&table, "%s", lines[i].to);
        table_number(&table, lines[i].partitions);
        if (lines[i].known)
            table_number(&table, lines[i].entities);
        else
            table_cell(&table, "-");
    }
    if (n > 0 || lines == NULL) {
        putc('\n', out);
        table_print(&table, out);
        fprintf(out, "\nThis happens by itself: nothing needs to be done. `troupe transfers "
                     "--watch` shows it.\n");
    }
    table_close(&table);
    free(lines);
    print_silent(out, v);
}

json_t *plan_json(const struct transfers_view *v, const Troupe__Rpc__Ring *r)
{
    size_t n;
    struct plan_line *lines = make_plan(v, r, &n);
    json_t *moves = json_array();
    uint64_t partitions = 0;
    for (size_t i = 0; lines != NULL && i < n; i++) {
        const struct plan_line *l = &lines[i];
        partitions += l->partitions;
        json_array_append_new(
            moves, json_pack("{s:o, s:o, s:i, s:o}", "from",
                             l->from == NULL ? json_null() : view_text_json(l->from), "to",
                             view_text_json(l->to), "partitions", (int)l->partitions, "entities",
                             l->known ? json_integer((json_int_t)l->entities) : json_null()));
    }
    free(lines);
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "cluster", v->asked->cluster, "cluster_uid",
                     v->asked->cluster_uid, "answered_by", v->asked->name, "partitions",
                     (json_int_t)partitions, "moves", moves, "silent", silent_json(v));
}
