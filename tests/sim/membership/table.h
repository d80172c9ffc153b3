/* The table of results: lines of cells, printed in columns when all are there. */
#ifndef TROUPE_SIM_MEMBERSHIP_TABLE_H
#define TROUPE_SIM_MEMBERSHIP_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "tests/sim/membership/figures.h"

enum { TABLE_COLUMNS = 16, TABLE_CELL_BYTES = 40 };

struct table_line {
    char cells[TABLE_COLUMNS][TABLE_CELL_BYTES];
};

struct table {
    struct table_line *lines;
    size_t n, room;
};

void table_add(struct table *t, const char *experiment, uint32_t nodes, const char *rules,
               struct figures *figures);
/* figures as parts of others: 0.50 is half as much. */
void table_add_ratio(struct table *t, const char *experiment, uint32_t nodes, const char *rules,
                     struct figures *figures, struct figures *of);
void table_print(const struct table *t, bool markdown, FILE *out);
void table_close(struct table *t);

#endif
