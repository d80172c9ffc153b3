/* See table.h. */
#include "tools/cli/table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/invariant.h"
#include "tools/cli/output.h"

enum { GAP = 2, COLUMNS_MAX = 16 };

struct table_line {
    struct table_line *next;
    const char *cells[];
};

void table_init(struct table *t, const struct table_column *columns, size_t columns_n)
{
    INVARIANT(columns_n <= COLUMNS_MAX);
    *t = (struct table){.columns = columns, .columns_n = columns_n, .filled = columns_n};
    arena_init(&t->arena, 0, 0);
}

void table_close(struct table *t)
{
    arena_close(&t->arena);
}

static struct table_line *line_for_next_cell(struct table *t)
{
    if (t->filled < t->columns_n)
        return t->last;
    struct table_line *line =
        arena_calloc(&t->arena, 1, sizeof *line + t->columns_n * sizeof line->cells[0]);
    if (line == NULL)
        return NULL;
    *(t->last == NULL ? &t->first : &t->last->next) = line;
    t->last = line;
    t->filled = 0;
    return line;
}

static void put_cell(struct table *t, const char *text)
{
    struct table_line *line = text == NULL ? NULL : line_for_next_cell(t);
    if (line == NULL)
        t->out_of_memory = true;
    else
        line->cells[t->filled++] = text;
}

void table_cell(struct table *t, const char *format, ...)
{
    va_list args;
    char small[256], *text = NULL;
    va_start(args, format);
    int len = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (len >= 0)
        text = arena_alloc(&t->arena, (size_t)len + 1);
    if (text != NULL) {
        va_start(args, format);
        vsnprintf(text, (size_t)len + 1, format, args);
        va_end(args);
        output_clean(text);
    }
    put_cell(t, text);
}

void table_number(struct table *t, uint64_t number)
{
    char text[OUTPUT_NUMBER_BYTES];
    table_cell(t, "%s", output_number(number, text));
}

/* ---- printing ---- */

static const char *cell(const struct table_line *line, size_t column)
{
    return line->cells[column] == NULL ? "" : line->cells[column];
}

/* In characters, of which every UTF-8 byte that does not continue one begins one. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_line(const struct table *t, FILE *out, const char *const *cells,
                       const size_t *widths)
{
    size_t blanks = 0; /* printed only when something follows */
    for (size_t i = 0; i < t->columns_n; i++) {
        const char *text = cells[i] == NULL ? "" : cells[i];
        size_t pad = widths[i] - width_of(text);
        blanks += t->columns[i].right ? pad : 0;
        if (text[0] != '\0') {
            fprintf(out, "%*s%s", (int)blanks, "", text);
            blanks = 0;
        }
        blanks += (t->columns[i].right ? 0 : pad) + GAP;
    }
    putc('\n', out);
}

void table_print(const struct table *t, FILE *out)
{
    size_t widths[COLUMNS_MAX];
    const char *titles[COLUMNS_MAX];
    if (t->out_of_memory) {
        fprintf(out, "(out of memory)\n");
        return;
    }
    for (size_t i = 0; i < t->columns_n; i++) {
        titles[i] = t->columns[i].title;
        widths[i] = width_of(titles[i]);
        for (const struct table_line *line = t->first; line != NULL; line = line->next)
            if (width_of(cell(line, i)) > widths[i])
                widths[i] = width_of(cell(line, i));
    }
    print_line(t, out, titles, widths);
    for (const struct table_line *line = t->first; line != NULL; line = line->next)
        print_line(t, out, line->cells, widths);
}
