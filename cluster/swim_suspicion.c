/* Suspicions, as Lifeguard has them (§IV.B): the timeout begins long, and shrinks with the
 * logarithm of the number of members that suspect the same one independently:
 *
 *     max - (max - min) * log(c + 1) / log(k + 1)        after c of k confirmations
 *
 * so that a lone suspecter, who may be the slow one itself, leaves much time for a refutation, and
 * a death that all can see is known soon. */
#include <math.h>

#include "cluster/swim_impl.h"

static struct swim_suspicion *of(struct swim *s, swim_id id)
{
    uint16_t slot = s->members[id].suspicion;
    return slot == 0 ? NULL : &s->suspicions[slot - 1];
}

swim_id swim__suspecter(const struct swim *s, swim_id id)
{
    uint16_t slot = s->members[id].suspicion;
    if (slot != 0)
        return swim__is_known(s, s->suspicions[slot - 1].latest) ? s->suspicions[slot - 1].latest
                                                                 : s->self;
    return s->members[id].state == GOSSIP_DEAD ? s->self : SWIM_NOBODY;
}

/* How long, with what has been confirmed so far. */
static uint64_t timeout(const struct swim *s, const struct swim_suspicion *x)
{
    const struct swim_config *c = &s->config;
    uint32_t live = s->order_n + 1; /* us, and all others with the suspect */
    double grown = (double)c->suspicion_log_ns * log10(live > 10 ? live : 10);
    uint64_t min = swim__max(c->suspicion_min_ns, (uint64_t)grown);
    uint32_t others = live > 2 ? live - 2 : 0;
    uint32_t k = c->confirmations < others ? c->confirmations : others;
    uint32_t confirmed = x->confirmers_n - 1;
    if (!c->shrinking_suspicion || confirmed >= k)
        return min;
    double max = (double)min * c->suspicion_max_mult;
    double shrunk = max - (max - (double)min) * log(confirmed + 1) / log(k + 1);
    return swim__max(min, (uint64_t)shrunk);
}

static void reckon(struct swim *s, struct swim_suspicion *x)
{
    x->expires_ns = x->since_ns + timeout(s, x) + x->put_off_ns;
    s->suspicion_ns = swim__min(s->suspicion_ns, x->expires_ns);
}

static void confirm(struct swim *s, struct swim_suspicion *x, swim_id by)
{
    uint32_t max = s->config.confirmations + 1;
    for (uint32_t i = 0; i < x->confirmers_n; i++) {
        if (x->confirmers[i] == by)
            return;
    }
    if (x->confirmers_n >= max || x->confirmers_n >= SWIM_CONFIRMERS_MAX)
        return;
    x->confirmers[x->confirmers_n++] = by;
    x->latest = by;
    s->stats.confirmations++;
    reckon(s, x);
    swim__tell(s, x->member);
}

void swim__suspect(struct swim *s, swim_id id, swim_id by)
{
    struct swim_member *m = &s->members[id];
    INVARIANT(id != s->self);
    if (!swim__is_live(m))
        return;
    if (m->suspicion != 0) {
        confirm(s, of(s, id), by);
        return;
    }
    if (s->suspicions_n == s->config.suspicions_max) /* its next probe will come back to it */
        return;
    struct swim_suspicion *x = &s->suspicions[s->suspicions_n++];
    *x = (struct swim_suspicion){
        .member = id, .confirmers_n = 1, .confirmers = {by}, .latest = by, .since_ns = s->now_ns};
    m->suspicion = (uint16_t)s->suspicions_n;
    reckon(s, x);
    s->stats.suspicions++;
    swim__note_change(s, id);
    swim__tell(s, id);
}

void swim__unsuspect(struct swim *s, swim_id id)
{
    struct swim_suspicion *x = of(s, id);
    if (x == NULL)
        return;
    const struct swim_suspicion *last = &s->suspicions[--s->suspicions_n];
    s->members[id].suspicion = 0;
    if (x != last) {
        *x = *last;
        s->members[x->member].suspicion = (uint16_t)(x - s->suspicions + 1);
    }
    swim__note_change(s, id);
}

void swim__prolong(struct swim *s, uint64_t ns)
{
    s->suspicion_ns = SWIM_NEVER;
    for (uint32_t i = 0; i < s->suspicions_n; i++) {
        s->suspicions[i].put_off_ns += ns;
        reckon(s, &s->suspicions[i]);
    }
}

/* Nobody has been heard from for so long that a refutation could not have reached us, either. But
 * when it goes on, we may be all that is left. */
static bool is_quiet(const struct swim *s, const struct swim_suspicion *x)
{
    return s->config.quiet_rule && s->order_n > 1 &&
           s->now_ns - s->heard_ns >= 2 * s->config.probe_interval_ns &&
           x->put_off_ns < s->config.suspicion_max_mult * s->config.suspicion_min_ns;
}

static void die(struct swim *s, swim_id id)
{
    const struct swim_member *m = &s->members[id];
    swim__unsuspect(s, id);
    swim__change(s, id, m->generation, m->incarnation, GOSSIP_DEAD);
    swim__tell(s, id);
    s->stats.deaths++;
}

void swim__expire(struct swim *s)
{
    if (s->now_ns < s->suspicion_ns)
        return;
    s->suspicion_ns = SWIM_NEVER;
    for (uint32_t i = s->suspicions_n; i-- > 0;) {
        struct swim_suspicion *x = &s->suspicions[i];
        if (x->expires_ns <= s->now_ns && is_quiet(s, x)) {
            x->put_off_ns += s->now_ns - x->expires_ns + s->config.probe_interval_ns;
            reckon(s, x);
        } else if (x->expires_ns <= s->now_ns) {
            die(s, x->member); /* the last one takes its place: it has been looked at */
        } else {
            s->suspicion_ns = swim__min(s->suspicion_ns, x->expires_ns);
        }
    }
}
