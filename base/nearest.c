/* See nearest.h. Two rows of the Wagner-Fischer table. */
#include "base/nearest.h"

#include <string.h>

enum { WORD_MAX = 63, BEGINNING_MIN = 2 };

static size_t least(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

size_t nearest_distance(const char *a, const char *b)
{
    size_t rows[2][WORD_MAX + 1], la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX);
    if (la >= BEGINNING_MIN && la <= lb && memcmp(a, b, la) == 0)
        return la < lb;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = rows[i % 2], *above = rows[(i - 1) % 2];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++)
            row[j] = least(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
    }
    return rows[la % 2][lb];
}
