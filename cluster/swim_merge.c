/* What is heard of members, and what it changes. A record counts if its (generation, incarnation)
 * is higher than what is stored, or the same with a graver state: alive < suspect < dead < left
 * (SWIM §4.2). So any two members that have heard the same records agree, in whatever order they
 * came. */
#include "cluster/swim_impl.h"

static int gravity(enum gossip_state state)
{
    switch (state) {
    case GOSSIP_SUSPECT:
        return 1;
    case GOSSIP_DEAD:
        return 2;
    case GOSSIP_LEFT:
        return 3;
    default:
        return 0;
    }
}

static bool is_word_of_its_own(enum gossip_state state)
{
    return gravity(state) == 0;
}

/* ---- about ourselves ---- */

void swim__heard_of_run(struct swim *s, uint64_t generation)
{
    if (generation > s->members[s->self].generation) {
        s->stats.conflicts += !s->superseded;
        s->superseded = true;
    }
}

uint64_t swim__incarnation_above(uint64_t heard)
{
    return heard == UINT64_MAX ? heard : heard + 1;
}

/* A higher incarnation takes the rumour back; that we had to means that we are slow (Lifeguard
 * §IV.A). */
static void refute(struct swim *s, uint64_t heard)
{
    struct swim_member *self = &s->members[s->self];
    uint64_t above = swim__max(heard, self->incarnation);
    if (above == UINT64_MAX) /* nothing is higher: a liar; the next generation will be */
        return;
    swim__change(s, s->self, self->generation, swim__incarnation_above(above), self->state);
    swim__tell(s, s->self);
    swim__sicker(s, 1);
    s->stats.refutations++;
}

static void merge_self(struct swim *s, const struct gossip_record *r)
{
    const struct swim_member *self = &s->members[s->self];
    swim__heard_of_run(s, r->generation);
    if (r->generation != self->generation || r->incarnation < self->incarnation) {
        s->misjudged |= !is_word_of_its_own(r->state);
        return;
    }
    if (!is_word_of_its_own(r->state)) {
        if (self->state != GOSSIP_LEFT)
            refute(s, r->incarnation);
        return;
    }
    bool same = r->incarnation == self->incarnation && r->state == self->state &&
                (r->meta.len == 0 || self->meta == INTERN_NONE ||
                 troupe_bytes_equal(r->meta, intern_bytes(s->metas, self->meta)));
    if (same || self->state == GOSSIP_LEFT)
        return;
    s->stats.conflicts++; /* somebody speaks in our name */
    refute(s, r->incarnation);
}

/* ---- about others ---- */

/* Alive in a way: with a higher incarnation, or the same one and further on. */
static void merge_alive(struct swim *s, swim_id id, const struct gossip_record *r)
{
    const struct swim_member *m = &s->members[id];
    bool newer = r->generation != m->generation || r->incarnation != m->incarnation;
    if (!newer && (r->state <= m->state || !swim__is_live(m))) {
        if (r->meta.len != 0 && m->meta == INTERN_NONE) /* known by hearsay till now */
            swim__change_meta(s, id, r->meta);
        return;
    }
    if (r->meta.len != 0)
        swim__change_meta(s, id, r->meta);
    if (newer)
        swim__unsuspect(s, id);
    swim__change(s, id, r->generation, r->incarnation, r->state);
    swim__tell(s, id);
}

static void merge_suspect(struct swim *s, swim_id id, swim_id by, const struct gossip_record *r)
{
    const struct swim_member *m = &s->members[id];
    bool newer = r->generation != m->generation || r->incarnation != m->incarnation;
    if (newer) { /* it has said something since that we have not heard */
        swim__unsuspect(s, id);
        swim__change(s, id, r->generation, r->incarnation,
                     swim__is_live(m) ? (enum gossip_state)m->state : GOSSIP_ACTIVE);
    }
    swim__suspect(s, id, by);
}

static void merge_gone(struct swim *s, swim_id id, const struct gossip_record *r)
{
    const struct swim_member *m = &s->members[id];
    bool newer = r->generation != m->generation || r->incarnation != m->incarnation;
    if (!newer && !swim__is_live(m) && r->state <= m->state)
        return;
    swim__unsuspect(s, id);
    swim__change(s, id, r->generation, r->incarnation, r->state);
    swim__tell(s, id);
}

/* Whom we hear of for the first time. Of the dead we need not know: nobody resurrects them but
 * they themselves. */
static swim_id meet(struct swim *s, const struct gossip_record *r)
{
    if (!is_word_of_its_own(r->state) || r->meta.len == 0)
        return SWIM_NOBODY;
    swim_id id = swim__add(s, r->name);
    if (id == SWIM_NOBODY)
        return SWIM_NOBODY;
    if (!swim__change_meta(s, id, r->meta)) {
        s->stats.refused++;
        swim__forget(s, id);
        return SWIM_NOBODY;
    }
    swim__change(s, id, r->generation, r->incarnation, r->state);
    swim__tell(s, id);
    return id;
}

void swim__merge(struct swim *s, swim_id from, const struct gossip_record *r, bool authoritative)
{
    swim_id id = swim_find(s, r->name);
    if (id == SWIM_NOBODY) {
        meet(s, r);
        return;
    }
    if (id == s->self) {
        merge_self(s, r);
        return;
    }
    const struct swim_member *m = &s->members[id];
    if (r->generation < m->generation ||
        (r->generation == m->generation && r->incarnation < m->incarnation))
        return;
    /* A run that has left does not come back. */
    if (m->state == GOSSIP_LEFT && r->generation == m->generation)
        return;
    swim_id by = r->suspecter.len == 0 ? from : swim_find(s, r->suspecter);
    if (by == SWIM_NOBODY)
        by = from;
    if (is_word_of_its_own(r->state))
        merge_alive(s, id, r);
    else if (r->state == GOSSIP_SUSPECT ||
             (r->state == GOSSIP_DEAD && !authoritative && swim__is_live(m)))
        merge_suspect(s, id, by, r);
    else
        merge_gone(s, id, r);
}
