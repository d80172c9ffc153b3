/* Probes: a ping; after a timeout, pings through k others; after the whole window, suspicion (SWIM
 * §4.1). Acks count by sequence number and only in time. */
#include "cluster/swim_impl.h"

void swim__healthier(struct swim *s)
{
    s->silent_runs = 0;
    if (s->health > 0)
        s->health--;
}

void swim__sicker(struct swim *s, uint32_t by)
{
    s->health = s->health + by < s->config.health_max ? s->health + by : s->config.health_max;
}

void swim__ping(struct swim *s, swim_id target, uint64_t seq, uint64_t expires_ns,
                struct swim_effects *fx)
{
    struct gossip_frame header;
    swim__header(s, GOSSIP_PING, &header);
    header.seq = seq;
    header.target = intern_bytes(s->names, target);
    struct swim_writer w = swim__begin(&header, SWIM_PIGGYBACK_BYTES, fx);
    swim__address(s, &w, target);
    swim__put_news(s, &w);
    swim__end(s, &w, false, target, expires_ns);
}

static struct swim_probe *find_free(struct swim *s, bool in_turn)
{
    /* The first place is kept for the one in turn. */
    for (uint32_t i = in_turn ? 0 : 1; i < SWIM_PROBES_MAX; i++) {
        if (s->probes[i].target == SWIM_NOBODY)
            return &s->probes[i];
    }
    return NULL;
}

static struct swim_probe *find_target(struct swim *s, swim_id target)
{
    for (uint32_t i = 0; i < SWIM_PROBES_MAX && s->probes_n > 0; i++) {
        if (s->probes[i].target == target)
            return &s->probes[i];
    }
    return NULL;
}

static void release(struct swim *s, struct swim_probe *p)
{
    INVARIANT(p->target != SWIM_NOBODY && s->probes_n > 0);
    p->target = SWIM_NOBODY;
    s->probes_n--;
}

void swim__probes_drop(struct swim *s)
{
    for (uint32_t i = 0; i < SWIM_PROBES_MAX; i++) {
        if (s->probes[i].target != SWIM_NOBODY)
            release(s, &s->probes[i]);
    }
}

void swim__probe(struct swim *s, swim_id target, bool in_turn, struct swim_effects *fx)
{
    struct swim_probe *p = find_free(s, in_turn);
    if (p == NULL || find_target(s, target) != NULL)
        return;
    *p = (struct swim_probe){
        .target = target,
        .generation = s->members[target].generation,
        .in_turn = in_turn,
        .seq = ++s->seq,
        .sent_ns = s->now_ns,
        .indirect_at_ns = s->now_ns + swim__scaled(s, s->config.probe_timeout_ns),
        .ends_ns = s->now_ns + swim__scaled(s, s->config.probe_window_ns),
    };
    s->probes_n++;
    s->stats.probes++;
    swim__ping(s, target, p->seq, p->ends_ns, fx);
}

/* Round-robin over the order; shuffled anew after each round. */
static swim_id next_in_turn(struct swim *s)
{
    if (s->order_at >= s->order_n) {
        for (uint32_t i = s->order_n; i > 1; i--) {
            uint32_t j = swim__below(s, i);
            swim_id moved = s->order[j];
            s->order[j] = s->order[i - 1];
            s->order[i - 1] = moved;
            s->members[s->order[i - 1]].at = i - 1;
            s->members[s->order[j]].at = j;
        }
        s->order_at = 0;
    }
    return s->order_n == 0 ? SWIM_NOBODY : s->order[s->order_at++];
}

/* Every second time the neighbour, unless it is suspected already: then it is probed enough. */
static swim_id next_target(struct swim *s)
{
    s->neighbour_next = !s->neighbour_next;
    bool neighbour = s->config.neighbour && s->neighbour_next && s->neighbour != SWIM_NOBODY &&
                     s->members[s->neighbour].suspicion == 0;
    return neighbour ? s->neighbour : next_in_turn(s);
}

void swim__probe_turn(struct swim *s, struct swim_effects *fx)
{
    s->probe_at_ns = s->now_ns + swim__scaled(s, s->config.probe_interval_ns);
    swim_id target = next_target(s);
    if (target != SWIM_NOBODY && s->members[target].meta != INTERN_NONE)
        swim__probe(s, target, true, fx);
}

void swim__confirm(struct swim *s, struct swim_effects *fx, swim_id suspect)
{
    if (s->order_n <= 1 || swim__below(s, s->order_n) >= s->config.confirm_probes ||
        s->members[suspect].meta == INTERN_NONE)
        return;
    swim__probe(s, suspect, false, fx);
}

/* Whether it says anything about the target: not if nobody at all has been heard from since. */
static bool is_conclusive(struct swim *s, const struct swim_probe *p)
{
    if (!s->config.quiet_rule || s->heard_ns >= p->sent_ns || s->order_n <= 1 ||
        s->silent_runs >= SWIM_QUIET_MAX)
        return true;
    s->silent_runs += p->in_turn;
    return false;
}

static void failed(struct swim *s, struct swim_probe *p)
{
    swim_id target = p->target;
    bool conclusive = is_conclusive(s, p);
    s->stats.probe_failures++;
    /* Helpers that said that they cannot reach it either show that we hear well. */
    if (!s->config.nacks || p->helpers == 0)
        swim__sicker(s, 1);
    else if (p->nacks < p->helpers)
        swim__sicker(s, (uint32_t)(p->helpers - p->nacks));
    release(s, p);
    if (conclusive)
        swim__suspect(s, target, s->self);
    else
        s->stats.inconclusive++;
}

/* Whether the run that it asks is still there to be judged. */
static bool is_about(const struct swim *s, const struct swim_probe *p)
{
    return swim__is_known(s, p->target) && swim__is_live(&s->members[p->target]) &&
           s->members[p->target].generation == p->generation;
}

void swim__probes_tick(struct swim *s, struct swim_effects *fx)
{
    for (uint32_t i = 0; i < SWIM_PROBES_MAX && s->probes_n > 0; i++) {
        struct swim_probe *p = &s->probes[i];
        if (p->target == SWIM_NOBODY)
            continue;
        if (!is_about(s, p))
            release(s, p);
        else if (s->now_ns >= p->ends_ns)
            failed(s, p);
        else if (s->now_ns >= p->indirect_at_ns && !p->asked_others)
            swim__ask_others(s, p, fx);
    }
}

void swim__acked(struct swim *s, uint64_t seq, struct swim_effects *fx)
{
    for (uint32_t i = 0; i < SWIM_PROBES_MAX && s->probes_n > 0; i++) {
        struct swim_probe *p = &s->probes[i];
        if (p->target != SWIM_NOBODY && p->seq == seq && s->now_ns <= p->ends_ns) {
            release(s, p);
            swim__healthier(s);
            return;
        }
    }
    if (!swim__relay_acked(s, seq, fx))
        s->stats.stale++;
}

void swim__nacked(struct swim *s, uint64_t seq)
{
    for (uint32_t i = 0; i < SWIM_PROBES_MAX; i++) {
        struct swim_probe *p = &s->probes[i];
        if (p->target != SWIM_NOBODY && p->seq == seq && p->nacks < p->helpers)
            p->nacks++;
    }
}

void swim_evidence(struct swim *s, uint64_t now_ns, swim_id member, struct swim_effects *fx)
{
    fx->sends_n = fx->bytes_n = 0;
    s->now_ns = swim__max(s->now_ns, now_ns);
    if (!swim__is_known(s, member) || member == s->self || !swim__is_live(&s->members[member]))
        return;
    struct swim_probe *p = find_target(s, member);
    if (p == NULL)
        swim__probe(s, member, false, fx);
    else if (!p->asked_others)
        swim__ask_others(s, p, fx);
}
