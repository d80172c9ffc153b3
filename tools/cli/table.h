/* Aligned columns: cells in, lines out. A column is as wide as its widest cell; nothing is cut off,
 * since half a name or address is no use to anybody. Text that came from a node is shown without
 * its control characters. */
#ifndef TROUPE_CLI_TABLE_H
#define TROUPE_CLI_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"

struct table_column {
    const char *title;
    bool right; /* numbers */
};

struct table {
    const struct table_column *columns;
    size_t columns_n;
    struct arena arena;
    struct table_line *first, *last;
    size_t filled;      /* cells of the last line */
    bool out_of_memory; /* said by table_print */
};

void table_init(struct table *table, const struct table_column *columns, size_t columns_n);
void table_close(struct table *table);
/* The next cell, from left to right, line by line. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "1,234" */
void table_number(struct table *table, uint64_t number);
/* The titles and the lines, without blanks at the end. */
void table_print(const struct table *table, FILE *out);

#endif
