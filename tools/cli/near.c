/* See near.h. A word is meant when not much more than a third of it has to change. */
#include "tools/cli/near.h"

#include <string.h>

#include "base/nearest.h"

const char *near_find(const char *word, const char *const *words, size_t n)
{
    size_t best = strlen(word) / 3 + 2; /* the first that is not near enough */
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t distance = nearest_distance(word, words[i]);
        if (distance < best && distance < strlen(words[i])) {
            best = distance;
            found = words[i];
        }
    }
    return found;
}
