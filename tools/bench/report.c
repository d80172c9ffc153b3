/* See report.h. */
#include "tools/bench/report.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"

/* ---- series ---- */

void series_add(struct series *s, double value)
{
    if (s->n < SERIES_MAX)
        s->values[s->n++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double series_median(const struct series *s)
{
    double sorted[SERIES_MAX];
    if (s->n == 0)
        return 0;
    memcpy(sorted, s->values, s->n * sizeof *sorted);
    qsort(sorted, s->n, sizeof *sorted, compare);
    size_t half = s->n / 2;
    return s->n % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double series_min(const struct series *s)
{
    double least = s->n == 0 ? 0 : s->values[0];
    for (size_t i = 1; i < s->n; i++)
        least = fmin(least, s->values[i]);
    return least;
}

double series_max(const struct series *s)
{
    double most = s->n == 0 ? 0 : s->values[0];
    for (size_t i = 1; i < s->n; i++)
        most = fmax(most, s->values[i]);
    return most;
}

/* ---- figures ---- */

double figure_ratio(const struct figure *f)
{
    struct series ratios = {.n = 0};
    if (f->measured.n == 0 || series_median(&f->limit) <= 0)
        return 0;
    if (f->measured.n != f->limit.n)
        return series_median(&f->measured) / series_median(&f->limit);
    for (size_t i = 0; i < f->measured.n; i++)
        series_add(&ratios,
                   f->limit.values[i] > 0 ? f->measured.values[i] / f->limit.values[i] : 0);
    return series_median(&ratios);
}

static bool is_reached(const struct figure *f)
{
    switch (f->target_type) {
    case TARGET_AT_LEAST:
        return series_median(&f->measured) >= f->target;
    case TARGET_AT_MOST:
        return series_median(&f->measured) <= f->target;
    case TARGET_RATIO:
        return figure_ratio(f) >= f->target;
    case TARGET_NONE:
        break;
    }
    return true;
}

struct figure *report_add(struct report *r, const char *unit, const char *format, ...)
{
    INVARIANT(r->n < FIGURES_MAX);
    struct figure *f = &r->figures[r->n++];
    va_list args;
    va_start(args, format);
    vsnprintf(f->what, sizeof f->what, format, args);
    va_end(args);
    f->unit = unit;
    return f;
}

void figure_limit(struct figure *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->limit_what, sizeof f->limit_what, format, args);
    va_end(args);
}

void figure_target(struct figure *f, enum target_type type, double target)
{
    f->target_type = type;
    f->target = target;
}

/* ---- the table ---- */

enum { CELL_BYTES = 192, COLUMNS = 6 };

struct row {
    char cells[COLUMNS][CELL_BYTES];
};

/* 1234567.8 as "1,234,568", and small numbers with what distinguishes them. */
static void format_number(char out[32], double value)
{
    char digits[32];
    if (fabs(value) < 100) {
        snprintf(out, 32, fabs(value) < 10 ? "%.2f" : "%.1f", value);
        return;
    }
    int n = snprintf(digits, sizeof digits, "%.0f", value);
    size_t at = 0;
    for (int i = 0; i < n && at < 30; i++) {
        if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-')
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

static void fill_row(struct row *row, const struct figure *f)
{
    char median[32], least[32], most[32];
    *row = (struct row){0};
    snprintf(row->cells[0], CELL_BYTES, "%s", f->what);
    format_number(median, series_median(&f->measured));
    snprintf(row->cells[1], CELL_BYTES, "%s %s", median, f->unit);
    format_number(least, series_min(&f->measured));
    format_number(most, series_max(&f->measured));
    if (f->measured.n > 1)
        snprintf(row->cells[2], CELL_BYTES, "%s-%s", least, most);
    if (f->limit_what[0] != '\0') {
        format_number(median, series_median(&f->limit));
        snprintf(row->cells[3], CELL_BYTES, "%s: %s", f->limit_what, median);
        double ratio = figure_ratio(f);
        snprintf(row->cells[4], CELL_BYTES, ratio < 0.1 ? "%.2g" : "%.2f", ratio);
    }
    if (f->target_type != TARGET_NONE) {
        format_number(median, f->target);
        snprintf(row->cells[5], CELL_BYTES, "%s %s %s: %s",
                 f->target_type == TARGET_RATIO ? "ratio" : "",
                 f->target_type == TARGET_AT_MOST ? "<=" : ">=", median,
                 is_reached(f) ? "reached" : "MISSED");
    }
}

static void print_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
    int pad = (int)(width - strlen(text));
    if (right)
        fprintf(out, "%*s%s", pad, "", text);
    else if (last)
        fprintf(out, "%s", text);
    else
        fprintf(out, "%s%*s", text, pad, "");
    fputs(last ? "\n" : "  ", out);
}

void report_print(const struct report *r, FILE *out)
{
    static const struct row head = {
        {"what", "median", "range", "limit in the same run", "ratio", "target"}};
    static const bool right[COLUMNS] = {false, true, true, false, true, false};
    struct row rows[FIGURES_MAX + 1];
    size_t widths[COLUMNS] = {0};
    rows[0] = head;
    for (size_t i = 0; i < r->n; i++)
        fill_row(&rows[i + 1], &r->figures[i]);
    for (size_t i = 0; i <= r->n; i++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            size_t len = strlen(rows[i].cells[c]);
            widths[c] = len > widths[c] ? len : widths[c];
        }
    }
    for (size_t i = 0; i <= r->n; i++) {
        for (size_t c = 0; c < COLUMNS; c++)
            print_cell(out, rows[i].cells[c], widths[c], right[c], c == COLUMNS - 1);
    }
}

/* ---- JSON ---- */

static json_t *series_json(const struct series *s)
{
    json_t *values = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(values, json_real(s->values[i]));
    return json_pack("{s:f, s:f, s:f, s:o}", "median", series_median(s), "min", series_min(s),
                     "max", series_max(s), "rounds", values);
}

static json_t *figure_json(const struct figure *f)
{
    static const char *const targets[] = {
        [TARGET_AT_LEAST] = "at_least", [TARGET_AT_MOST] = "at_most", [TARGET_RATIO] = "ratio"};
    json_t *object = json_pack("{s:s, s:s, s:o}", "what", f->what, "unit", f->unit, "measured",
                               series_json(&f->measured));
    if (f->limit_what[0] != '\0') {
        json_object_set_new(object, "limit_what", json_string(f->limit_what));
        json_object_set_new(object, "limit", series_json(&f->limit));
        json_object_set_new(object, "ratio", json_real(figure_ratio(f)));
    }
    if (f->target_type != TARGET_NONE)
        json_object_set_new(object, "target",
                            json_pack("{s:s, s:f, s:b}", "type", targets[f->target_type], "value",
                                      f->target, "reached", is_reached(f)));
    return object;
}

void report_print_json(const struct report *r, const char *machine, FILE *out)
{
    json_t *figures = json_array();
    for (size_t i = 0; i < r->n; i++)
        json_array_append_new(figures, figure_json(&r->figures[i]));
    json_t *all =
        json_pack("{s:o, s:o}", "machine", json_loads(machine, 0, NULL), "figures", figures);
    json_dumpf(all, out, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
    fputc('\n', out);
    json_decref(all);
}
