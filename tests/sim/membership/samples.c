/* See samples.h. */
#include "tests/sim/membership/samples.h"

#include <math.h>
#include <stdlib.h>

#include "base/invariant.h"

void samples_add(struct samples *s, uint64_t ns)
{
    if (s->n == s->room) {
        s->room = s->room == 0 ? 64 : 2 * s->room;
        s->ns = realloc(s->ns, s->room * sizeof *s->ns);
        INVARIANT(s->ns != NULL);
    }
    s->ns[s->n++] = ns;
}

void samples_add_all(struct samples *s, const struct samples *more)
{
    for (size_t i = 0; i < more->n; i++)
        samples_add(s, more->ns[i]);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

double samples_percentile(struct samples *s, unsigned percent)
{
    if (s->n == 0)
        return NAN;
    qsort(s->ns, s->n, sizeof *s->ns, compare);
    size_t rank = (s->n * percent + 99) / 100;
    return (double)s->ns[rank == 0 ? 0 : rank - 1] / 1e9;
}

void samples_close(struct samples *s)
{
    free(s->ns);
    *s = (struct samples){0};
}
