/* Whom we see to. The members stand in a circle, in the order of their names' hashes, and each
 * probes its next one every other time. So nobody waits for its probe longer than two intervals;
 * drawn at random and independently of each other, as in SWIM, the wait has a long tail (some
 * member of eight is left out by all others for three seconds now and then), and a longer mean. The
 * other half of the probes stays random: a circle alone would be blind where two that stand side by
 * side die together, or a neighbour does not do its duty. */
#include "cluster/swim_impl.h"

static uint64_t distance(const struct swim *s, swim_id id)
{
    return intern_hash(s->names, id) - intern_hash(s->names, s->self);
}

void swim__neighbour_came(struct swim *s, swim_id id)
{
    if (s->neighbour == SWIM_NOBODY || distance(s, id) < distance(s, s->neighbour))
        s->neighbour = id;
}

void swim__neighbour_went(struct swim *s, swim_id id)
{
    if (s->neighbour != id)
        return;
    s->neighbour = SWIM_NOBODY;
    for (uint32_t i = 0; i < s->order_n; i++)
        swim__neighbour_came(s, s->order[i]);
}
