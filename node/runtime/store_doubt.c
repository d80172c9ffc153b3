/* Whether our connections to the store lead to the right server, when others say otherwise (DESIGN
 * §6.10). After a failover whose old primary lives on, a node none of whose connections breaks is
 * told nothing by the store: it renews its lease and commits in vain, while the nodes that have
 * moved on see it fall silent, and evict it. But these know of a later timeline, and say so: in
 * what each member tells of itself, and by the epochs of what they own and hand over (ownership.h).
 *
 * What others say is no proof: a record may be poisoned, and an epoch wrong. So it ends nothing,
 * but a node that does not serve does not begin to on the word of the earlier server alone. For the
 * rest it has the driver look where a new connection to the store leads (store_redial), and the
 * first answer of a later server is what counts (store_server.c). While nothing new is found that
 * is done again, later and later, for as long as somebody goes on saying it. A node of a store that
 * is one server for ever (server 0) has nothing to look for. */
#include <inttypes.h>
#include <stdio.h>

#include "node/runtime/internal.h"

enum {
    REDIAL_MS_MIN = 1000, /* between two looks at first, for the way may change a little later … */
    REDIAL_MS_MAX = 60000,
    FRESH_MS = 60000,    /* what was said longer ago is not looked into any more … */
    HOLD_MS = 60000,     /* for so long a node does not begin to serve because of it … */
    LOOK_HELD_MS = 2000, /* … and looks so often meanwhile */
    CALM_MS = 600000, /* … and after so long without it, it is looked into at once, as at first */
};

static bool is_in_doubt(const struct runtime *rt)
{
    const struct store_doubt *d = &rt->store_doubt;
    return d->timeline > rt->timeline && rt->now.mono_ns - d->heard_ns <= FRESH_MS * NS_PER_MS;
}

void store_doubt__hear(struct runtime *rt, uint64_t timeline)
{
    struct store_doubt *d = &rt->store_doubt;
    if (timeline <= rt->timeline || !rt->timeline_known || rt->server == 0)
        return;
    if (d->heard_ns == 0 || rt->now.mono_ns - d->heard_ns > CALM_MS * NS_PER_MS)
        *d = (struct store_doubt){.wait_ms = REDIAL_MS_MIN, .redials_n = d->redials_n};
    if (timeline > d->timeline) { /* another failover: looked into as the first one */
        d->timeline = timeline;
        d->wait_ms = REDIAL_MS_MIN;
        d->next_ns = 0;
    }
    d->heard_ns = rt->now.mono_ns;
}

void store_doubt__hear_epoch(struct runtime *rt, uint64_t epoch)
{
    store_doubt__hear(rt, epoch >> OWNERSHIP_EPOCH_BITS);
}

void store_doubt__tell(struct runtime *rt)
{
    struct members *m = &rt->members;
    uint8_t meta[SWIM_META_BYTES_MAX];
    if (m->timeline_told == rt->timeline)
        return;
    m->timeline_told = rt->timeline;
    size_t len = node__write_meta(rt, meta);
    if (swim_set_meta(m->swim, rt->now.mono_ns, troupe_bytes(meta, len)) == 0)
        members__perform(rt);
}

void store_doubt__settled(struct runtime *rt)
{
    rt->store_doubt = (struct store_doubt){.redials_n = rt->store_doubt.redials_n};
}

/* A member that lives has met a later server than we have. */
static bool is_said_still(const struct runtime *rt)
{
    const struct nodes *nodes = &rt->members.nodes;
    for (uint32_t i = 0; i < nodes->n; i++) {
        if (i != rt->members.self && node__is_live(nodes->all[i]) &&
            nodes->all[i]->timeline > rt->timeline)
            return true;
    }
    return false;
}

void store_doubt__tick(struct runtime *rt)
{
    struct store_doubt *d = &rt->store_doubt;
    if (!is_in_doubt(rt) || rt->now.mono_ns < d->next_ns)
        return;
    if (is_said_still(rt))
        d->heard_ns = rt->now.mono_ns;
    d->redial = true;
    d->redials_n++;
    d->next_ns = rt->now.mono_ns + d->wait_ms * NS_PER_MS;
    d->wait_ms = 2 * d->wait_ms < REDIAL_MS_MAX ? 2 * d->wait_ms : REDIAL_MS_MAX;
    if (d->told)
        return;
    d->told = true;
    char theirs[24], ours[24];
    snprintf(theirs, sizeof theirs, "%" PRIu64, d->timeline);
    snprintf(ours, sizeof ours, "%" PRIu64, rt->timeline);
    log__add(rt, RUNTIME_WARN,
             "another node knows a later timeline of the store than this one: looking where new "
             "connections lead",
             "store", rt->config.store_url, "theirs", theirs, "ours", ours, NULL);
}

bool store_doubt__allows(struct runtime *rt)
{
    struct store_doubt *d = &rt->store_doubt;
    bool doubt = is_in_doubt(rt) && is_said_still(rt);
    if (!doubt || !d->holds)
        d->held_ns = rt->now.mono_ns;
    d->holds = doubt && rt->now.mono_ns - d->held_ns <= HOLD_MS * NS_PER_MS;
    uint64_t soon_ns = rt->now.mono_ns + LOOK_HELD_MS * NS_PER_MS;
    if (d->holds && d->next_ns > soon_ns)
        d->next_ns = soon_ns;
    return !d->holds;
}

uint64_t store_doubt__next_ns(const struct runtime *rt)
{
    return is_in_doubt(rt) ? rt->store_doubt.next_ns : UINT64_MAX;
}

bool store_doubt__take_redial(struct runtime *rt)
{
    bool redial = rt->store_doubt.redial;
    rt->store_doubt.redial = false;
    return redial;
}
