/* See table.h. */
#include "tests/sim/membership/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"

enum { WORDS = 3 }; /* the first columns, to the left */

static const char *const heads[TABLE_COLUMNS] = {
    "experiment", "nodes",  "rules", "first p50",  "first p99",    "all p50",
    "all p99",    "missed", "false", "by healthy", "of afflicted", "flaps",
    "revived",    "ghosts", "msg/s", "B/s"};

static const char *const legend =
    "first, all: seconds until the first node knew, and until all did. missed: not known to all "
    "in\n"
    "time. false: healthy nodes declared dead, once per node that came to think so by itself;\n"
    "by healthy: of these, by nodes that were healthy themselves; of afflicted: nodes declared "
    "dead\n"
    "that were running, but stalled or cut off by the experiment. flaps: removals of one node "
    "after\n"
    "the first, at the node that saw most. revived: runs known dead that came back; ghosts: runs "
    "that\n"
    "were over and seemed alive at the end. msg/s, B/s: sent per node and second.\n";

enum kind { SECONDS, COUNT, RATE };

/* The numbers behind the columns after the words. */
static void numbers(struct figures *f, double out[TABLE_COLUMNS], enum kind kinds[TABLE_COLUMNS])
{
    double seconds = f->node_seconds > 0 ? f->node_seconds : NAN;
    const double all[TABLE_COLUMNS - WORDS] = {samples_percentile(&f->first, 50),
                                               samples_percentile(&f->first, 99),
                                               samples_percentile(&f->all, 50),
                                               samples_percentile(&f->all, 99),
                                               (double)f->missed,
                                               (double)f->false_healthy,
                                               (double)f->false_by_healthy,
                                               (double)f->false_afflicted,
                                               (double)f->flaps,
                                               (double)f->resurrected,
                                               (double)f->ghosts,
                                               (double)f->messages / seconds,
                                               (double)f->bytes / seconds};
    for (int i = 0; i < TABLE_COLUMNS - WORDS; i++) {
        out[WORDS + i] = all[i];
        kinds[WORDS + i] = i < 4 ? SECONDS : i < TABLE_COLUMNS - WORDS - 2 ? COUNT : RATE;
    }
}

static struct table_line *new_line(struct table *t, const char *experiment, uint32_t nodes,
                                   const char *rules)
{
    if (t->n == t->room) {
        t->room = t->room == 0 ? 32 : 2 * t->room;
        t->lines = realloc(t->lines, t->room * sizeof *t->lines);
        INVARIANT(t->lines != NULL);
    }
    struct table_line *line = &t->lines[t->n++];
    snprintf(line->cells[0], TABLE_CELL_BYTES, "%s", experiment);
    snprintf(line->cells[1], TABLE_CELL_BYTES, "%u", (unsigned)nodes);
    snprintf(line->cells[2], TABLE_CELL_BYTES, "%s", rules);
    return line;
}

void table_add(struct table *t, const char *experiment, uint32_t nodes, const char *rules,
               struct figures *figures)
{
    struct table_line *line = new_line(t, experiment, nodes, rules);
    double values[TABLE_COLUMNS];
    enum kind kinds[TABLE_COLUMNS];
    numbers(figures, values, kinds);
    for (int i = WORDS; i < TABLE_COLUMNS; i++) {
        const char *format = kinds[i] == SECONDS ? "%.2f" : kinds[i] == COUNT ? "%.0f" : "%.1f";
        if (isnan(values[i]))
            format = "-";
        snprintf(line->cells[i], TABLE_CELL_BYTES, format, values[i]);
    }
}

void table_add_ratio(struct table *t, const char *experiment, uint32_t nodes, const char *rules,
                     struct figures *figures, struct figures *of)
{
    struct table_line *line = new_line(t, experiment, nodes, rules);
    double values[TABLE_COLUMNS], others[TABLE_COLUMNS];
    enum kind kinds[TABLE_COLUMNS];
    numbers(figures, values, kinds);
    numbers(of, others, kinds);
    for (int i = WORDS; i < TABLE_COLUMNS; i++) {
        double ratio = values[i] / others[i];
        const char *format = isfinite(ratio) ? (ratio < 0.1 ? "%.3fx" : "%.2fx") : "-";
        snprintf(line->cells[i], TABLE_CELL_BYTES, format, ratio);
    }
}

/* ---- printing ---- */

static void widths(const struct table *t, int out[TABLE_COLUMNS])
{
    for (int i = 0; i < TABLE_COLUMNS; i++) {
        out[i] = (int)strlen(heads[i]);
        for (size_t l = 0; l < t->n; l++) {
            int width = (int)strlen(t->lines[l].cells[i]);
            out[i] = width > out[i] ? width : out[i];
        }
    }
}

static void print_line(const char *const cells[TABLE_COLUMNS], const int width[TABLE_COLUMNS],
                       bool markdown, FILE *out)
{
    for (int i = 0; i < TABLE_COLUMNS; i++) {
        bool left = i == 0 || i == 2;
        fprintf(out, "%s%*s%s",
                markdown ? "| "
                : i > 0  ? "  "
                         : "",
                left ? -width[i] : width[i], cells[i], markdown ? " " : "");
    }
    fputs(markdown ? "|\n" : "\n", out);
}

void table_print(const struct table *t, bool markdown, FILE *out)
{
    int width[TABLE_COLUMNS];
    widths(t, width);
    print_line(heads, width, markdown, out);
    for (int i = 0; i < TABLE_COLUMNS && markdown; i++)
        fputs(i == 0 || i == 2 ? "| --- " : "| ---: ", out);
    fputs(markdown ? "|\n" : "", out);
    for (size_t l = 0; l < t->n; l++) {
        const char *cells[TABLE_COLUMNS];
        for (int i = 0; i < TABLE_COLUMNS; i++)
            cells[i] = t->lines[l].cells[i];
        print_line(cells, width, markdown, out);
    }
    fprintf(out, "\n%s", legend);
}

void table_close(struct table *t)
{
    free(t->lines);
    *t = (struct table){0};
}
