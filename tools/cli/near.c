/* See near.h. Optimal string alignment: insertions, deletions, substitutions and the swap of two
 * neighbours cost one each. A word is meant when at most a third of it has to change. */
#include "tools/cli/near.h"

#include <string.h>

enum { WORD_MAX = 32 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t an, const char *b, size_t bn)
{
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= an; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= bn; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= an; i++)
        for (size_t j = 1; j <= bn; j++) {
            size_t cost = a[i - 1] != b[j - 1];
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[an][bn];
}

const char *near_find(const char *word, const char *const *words, size_t n)
{
    size_t len = strlen(word), best = len / 3 > 0 ? len / 3 : 1;
    const char *found = NULL;
    if (len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t other = strlen(words[i]);
        if (other > WORD_MAX)
            continue;
        size_t d = distance(word, len, words[i], other);
        if (d < best || (d == best && found == NULL)) {
            best = d;
            found = words[i];
        }
    }
    return found;
}
