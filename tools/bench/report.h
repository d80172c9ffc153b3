/* What was measured, and how it is printed: one line per figure, with the median and the range of
 * its rounds, the limit that was measured beside it, the ratio of the two and the target. */
#ifndef TROUPE_BENCH_REPORT_H
#define TROUPE_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { SERIES_MAX = 64, FIGURES_MAX = 64, FIGURE_TEXT_BYTES = 96 };

struct series {
    double values[SERIES_MAX];
    size_t n;
};

/* Beyond SERIES_MAX values are dropped. */
void series_add(struct series *s, double value);
/* 0 of an empty series. */
double series_median(const struct series *s);
double series_min(const struct series *s);
double series_max(const struct series *s);

enum target_type {
    TARGET_NONE,
    TARGET_AT_LEAST, /* of the figure itself */
    TARGET_AT_MOST,
    TARGET_RATIO, /* of the figure to its limit, at least */
};

struct figure {
    char what[FIGURE_TEXT_BYTES];
    const char *unit; /* static */
    struct series measured;
    char limit_what[FIGURE_TEXT_BYTES]; /* empty: there is none */
    struct series limit;
    enum target_type target_type;
    double target;
};

/* Of the medians, unless each round has both: then the median of the rounds' ratios, since what
 * slows the machine down for a while slows both down. 0 without a limit. */
double figure_ratio(const struct figure *f);

struct report {
    struct figure figures[FIGURES_MAX];
    size_t n;
};

/* A new line of the report; printf for `what`. It stays where it is. */
struct figure *report_add(struct report *r, const char *unit, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void figure_limit(struct figure *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
void figure_target(struct figure *f, enum target_type type, double target);

void report_print(const struct report *r, FILE *out);
/* `machine` is a JSON object as text. */
void report_print_json(const struct report *r, const char *machine, FILE *out);

#endif
