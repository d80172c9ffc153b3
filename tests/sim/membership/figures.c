/* See figures.h. */
#include "tests/sim/membership/figures.h"

void figures_take(struct figures *f, const struct sim *sim)
{
    const struct sim_counts *c = &sim->counts;
    f->trials++;
    f->false_afflicted += c->false_afflicted;
    f->false_healthy += c->false_healthy;
    f->false_by_healthy += c->false_by_healthy;
    f->resurrected += c->resurrected;
    f->messages += c->messages;
    f->bytes += c->bytes;
    f->node_seconds += (double)(sim->now_ns - c->since_ns) / 1e9 * sim->nodes_n;
    f->events += sim->events;
    f->trace = (f->trace ^ sim->trace) * UINT64_C(0x100000001B3);
}

void figures_take_watch(struct figures *f, const struct sim *sim)
{
    const struct sim_watch *w = &sim->watch;
    if (w->first_ns != SIM_NEVER)
        samples_add(&f->first, w->first_ns - w->since_ns);
    if (w->all_ns != SIM_NEVER)
        samples_add(&f->all, w->all_ns - w->since_ns);
    else
        f->missed++;
}

void figures_add(struct figures *f, const struct figures *more)
{
    samples_add_all(&f->first, &more->first);
    samples_add_all(&f->all, &more->all);
    f->trials += more->trials;
    f->missed += more->missed;
    f->false_afflicted += more->false_afflicted;
    f->false_healthy += more->false_healthy;
    f->false_by_healthy += more->false_by_healthy;
    f->resurrected += more->resurrected;
    f->ghosts += more->ghosts;
    f->flaps += more->flaps;
    f->messages += more->messages;
    f->bytes += more->bytes;
    f->node_seconds += more->node_seconds;
    f->events += more->events;
    f->trace = (f->trace ^ more->trace) * UINT64_C(0x100000001B3);
}

void figures_close(struct figures *f)
{
    samples_close(&f->first);
    samples_close(&f->all);
}
