/* Suspicions, as Lifeguard has them (§IV.B): the timeout begins long, and shrinks with the
 * logarithm of the number of members that suspect the same one independently:
 *
 *     max - (max - min) * log(c + 1) / log(k + 1)        after c of k confirmations
 *
 * so that a lone suspecter, who may be the slow one itself, leaves much time for a refutation, and
 * a death that all can see is known soon.
 *
 * Before the end the suspect is asked for a last word, and as a control somebody else is pinged
 * along with it. A rumour misses somebody now and then, as rumours do: a refutation that we have
 * missed comes with the answer. And whoever hears nobody at all after that has gone deaf itself,
 * be it for a moment, and concludes nothing. That takes no time, as it is done while the suspicion
 * runs. */
#include <math.h>

#include "cluster/swim_impl.h"

enum {
    ASKED_SENDS_MAX = SWIM_SENDS_MAX / 2, /* of a step; the others are asked in the next one */
    CONTROLS_DRAWN = 4,                   /* till one is not suspected itself */
};

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

/* When something is to be done about it: asking for a last word, or ending it. One that
 * confirmations have cut short is asked once, and has the time to answer. */
static uint64_t due(const struct swim *s, const struct swim_suspicion *x)
{
    uint64_t step_ns = s->config.probe_timeout_ns;
    uint64_t left_ns = (s->config.last_words - x->asked) * step_ns;
    uint64_t answered_ns = x->asked == 0 ? 0 : x->asked_ns + step_ns;
    return swim__max(x->expires_ns - swim__min(left_ns, x->expires_ns), answered_ns);
}

static void look_at(struct swim *s, const struct swim_suspicion *x)
{
    s->suspicion_ns = swim__min(s->suspicion_ns, due(s, x));
}

static void reckon(struct swim *s, struct swim_suspicion *x)
{
    x->expires_ns = x->since_ns + timeout(s, x) + x->put_off_ns;
    look_at(s, x);
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
        s->suspicions[i].asked = 0; /* the answers may be among what is still in the inbox */
        reckon(s, &s->suspicions[i]);
    }
}

/* Nobody has been heard from since we asked, so that a refutation could not have reached us,
 * either. But when it goes on, we may be all that is left. */
static bool is_quiet(const struct swim *s, const struct swim_suspicion *x)
{
    return s->config.quiet_rule && s->order_n > 1 && s->heard_ns <= x->asked_ns &&
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

/* One control for all that are asked in a step: somebody whom nobody suspects. */
static void ask_control(struct swim *s, struct swim_effects *fx)
{
    swim_id some[CONTROLS_DRAWN];
    uint32_t n = swim__pick(s, SWIM_NOBODY, CONTROLS_DRAWN, some);
    for (uint32_t i = 0; i < n; i++) {
        if (s->members[some[i]].suspicion != 0)
            continue;
        swim__ping(s, some[i], ++s->seq, s->now_ns + s->config.probe_window_ns, fx);
        return;
    }
}

static void ask(struct swim *s, struct swim_suspicion *x, struct swim_effects *fx)
{
    bool in_time = x->expires_ns > s->now_ns + s->config.probe_timeout_ns;
    x->asked = in_time ? x->asked + 1 : s->config.last_words;
    x->asked_ns = s->now_ns;
    if (s->members[x->member].meta != INTERN_NONE)
        swim__ping(s, x->member, ++s->seq, s->now_ns + s->config.probe_window_ns, fx);
}

/* Nothing was heard: asked once more. */
static void put_off(struct swim *s, struct swim_suspicion *x)
{
    x->put_off_ns += s->now_ns - x->expires_ns + s->config.probe_timeout_ns;
    x->asked = s->config.last_words == 0 ? 0 : s->config.last_words - 1;
    reckon(s, x);
}

void swim__expire(struct swim *s, struct swim_effects *fx)
{
    bool asked = false;
    if (s->now_ns < s->suspicion_ns)
        return;
    s->suspicion_ns = SWIM_NEVER;
    for (uint32_t i = s->suspicions_n; i-- > 0;) {
        struct swim_suspicion *x = &s->suspicions[i];
        bool ends = x->asked >= s->config.last_words;
        if (due(s, x) > s->now_ns || (!ends && fx->sends_n >= ASKED_SENDS_MAX)) {
            look_at(s, x);
        } else if (!ends) {
            ask(s, x, fx);
            asked = true;
            look_at(s, x);
        } else if (is_quiet(s, x)) {
            put_off(s, x);
        } else {
            die(s, x->member); /* the last one takes its place: it has been looked at */
        }
    }
    if (asked)
        ask_control(s, fx);
}
