/* The table of members, and what is derived from it: the order of probes (SWIM §4.3: a shuffled
 * list, newcomers at a random place), the list of the dead, hashes for anti-entropy, the list of
 * changes. A member's number is that of its name in the pool, so that the table is an array. */
#include <stdlib.h>

#include "cluster/swim_impl.h"
#include "troupe/error.h"

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

uint64_t swim__random(struct swim *s)
{
    return mix(s->random += UINT64_C(0x9E3779B97F4A7C15));
}

uint32_t swim__below(struct swim *s, uint32_t n)
{
    return (uint32_t)((swim__random(s) >> 32) * n >> 32);
}

/* ---- hashes ---- */

uint32_t swim__bucket(const struct swim *s, swim_id id)
{
    return (uint32_t)(intern_hash(s->names, id) >> 32) % GOSSIP_BUCKETS;
}

/* Of a live member; others count for nothing, as they are forgotten at different times. */
static uint64_t member_hash(const struct swim *s, swim_id id)
{
    const struct swim_member *m = &s->members[id];
    if (!swim__is_live(m))
        return 0;
    uint64_t meta = m->meta == INTERN_NONE ? 0 : intern_hash(s->metas, m->meta);
    uint64_t h = mix(intern_hash(s->names, id) + m->generation);
    h = mix(h + m->incarnation);
    return mix(h + meta + m->state);
}

/* Sums, so that a member's part can be taken out again. */
static void add_hash(struct swim *s, swim_id id)
{
    uint64_t h = member_hash(s, id);
    s->hash += h;
    s->buckets[swim__bucket(s, id)] += (uint32_t)h;
}

static void take_hash(struct swim *s, swim_id id)
{
    uint64_t h = member_hash(s, id);
    s->hash -= h;
    s->buckets[swim__bucket(s, id)] -= (uint32_t)h;
}

/* ---- order and dead ---- */

static void place(struct swim *s, uint32_t *list, uint32_t at, swim_id id)
{
    list[at] = id;
    s->members[id].at = at;
}

/* Anywhere: before order_at it waits for the next round. */
static void order_insert(struct swim *s, swim_id id)
{
    uint32_t to = swim__below(s, s->order_n + 1), hole = s->order_n++;
    if (to < s->order_at) { /* the first that is yet to come makes room among those that were */
        if (s->order_at < hole)
            place(s, s->order, hole, s->order[s->order_at]);
        place(s, s->order, s->order_at, s->order[to]);
        s->order_at++;
    } else if (to < hole) {
        place(s, s->order, hole, s->order[to]);
    }
    place(s, s->order, to, id);
    swim__neighbour_came(s, id);
}

static void order_remove(struct swim *s, swim_id id)
{
    uint32_t hole = s->members[id].at;
    INVARIANT(hole < s->order_n && s->order[hole] == id);
    if (hole < s->order_at) {
        s->order_at--;
        place(s, s->order, hole, s->order[s->order_at]);
        hole = s->order_at;
    }
    s->order_n--;
    if (hole < s->order_n)
        place(s, s->order, hole, s->order[s->order_n]);
    swim__neighbour_went(s, id);
}

static void dead_remove(struct swim *s, swim_id id)
{
    uint32_t hole = s->members[id].at;
    INVARIANT(hole < s->dead_n && s->dead[hole] == id);
    place(s, s->dead, hole, s->dead[--s->dead_n]);
}

/* In the list that its state asks for. We ourselves are in neither. */
static void file(struct swim *s, swim_id id)
{
    struct swim_member *m = &s->members[id];
    bool dead = !swim__is_live(m), was = (m->flags & SWIM_IS_DEAD) != 0;
    if (id == s->self || dead == was)
        return;
    if (dead) {
        order_remove(s, id);
        if (s->dead_n == 0) /* the timer has not run */
            s->heal_at_ns = s->now_ns + s->config.heal_ns;
        place(s, s->dead, s->dead_n++, id);
        m->flags |= SWIM_IS_DEAD;
    } else {
        dead_remove(s, id);
        m->flags &= (uint8_t)~SWIM_IS_DEAD;
        order_insert(s, id);
    }
}

/* ---- changes ---- */

void swim__note_change(struct swim *s, swim_id id)
{
    struct swim_member *m = &s->members[id];
    if ((m->flags & SWIM_CHANGED) != 0)
        return;
    m->flags |= SWIM_CHANGED;
    m->change_next = s->changes;
    s->changes = id;
}

void swim__change(struct swim *s, swim_id id, uint64_t generation, uint64_t incarnation,
                  enum gossip_state state)
{
    struct swim_member *m = &s->members[id];
    INVARIANT(generation > m->generation ||
              (generation == m->generation && incarnation >= m->incarnation));
    take_hash(s, id);
    if (generation != m->generation)
        m->flags &= (uint8_t)~SWIM_HEARD;
    if (state != (enum gossip_state)m->state || generation != m->generation)
        m->changed_ns = s->now_ns;
    m->generation = generation;
    m->incarnation = incarnation;
    m->state = (uint8_t)state;
    add_hash(s, id);
    file(s, id);
    swim__note_change(s, id);
}

bool swim__change_meta(struct swim *s, swim_id id, struct troupe_bytes meta)
{
    struct swim_member *m = &s->members[id];
    if (m->meta != INTERN_NONE && troupe_bytes_equal(intern_bytes(s->metas, m->meta), meta))
        return true;
    uint32_t number = intern_take(s->metas, meta);
    if (number == INTERN_NONE)
        return false;
    take_hash(s, id);
    if (m->meta != INTERN_NONE)
        intern_drop(s->metas, m->meta);
    m->meta = number;
    add_hash(s, id);
    swim__note_change(s, id);
    return true;
}

/* ---- coming and going ---- */

/* The one that has been dead for longest makes room. */
static bool make_room(struct swim *s)
{
    if (s->dead_n == 0)
        return false;
    swim_id oldest = s->dead[0];
    for (uint32_t i = 1; i < s->dead_n; i++) {
        if (s->members[s->dead[i]].changed_ns < s->members[oldest].changed_ns)
            oldest = s->dead[i];
    }
    swim__forget(s, oldest);
    return true;
}

swim_id swim__add(struct swim *s, struct troupe_bytes name)
{
    swim_id id = SWIM_NOBODY;
    if (s->members_n < s->config.members_max || make_room(s))
        id = intern_take(s->names, name);
    if (id == SWIM_NOBODY || id >= s->ids) {
        s->stats.refused++;
        return SWIM_NOBODY;
    }
    struct swim_member *m = &s->members[id];
    INVARIANT(m->state == 0);
    uint8_t changed = m->flags & SWIM_CHANGED; /* forgotten, and that has not been looked at yet */
    swim_id change_next = m->change_next;
    *m = (struct swim_member){.meta = INTERN_NONE,
                              .changed_ns = s->now_ns,
                              .state = GOSSIP_JOINING,
                              .flags = changed,
                              .change_next = change_next};
    s->members_n++;
    if (s->self != SWIM_NOBODY)
        order_insert(s, id);
    add_hash(s, id);
    return id;
}

void swim__forget(struct swim *s, swim_id id)
{
    struct swim_member *m = &s->members[id];
    INVARIANT(id != s->self && m->state != 0);
    swim__unsuspect(s, id);
    swim__untell(s, id);
    take_hash(s, id);
    if ((m->flags & SWIM_IS_DEAD) != 0)
        dead_remove(s, id);
    else
        order_remove(s, id);
    if (m->meta != INTERN_NONE)
        intern_drop(s->metas, m->meta);
    m->state = 0;
    m->flags &= SWIM_CHANGED;
    s->members_n--;
    swim__note_change(s, id);
    intern_drop(s->names, id);
}

void swim__sweep(struct swim *s)
{
    for (uint32_t i = s->dead_n; i-- > 0;) {
        const struct swim_member *m = &s->members[s->dead[i]];
        if (s->now_ns - m->changed_ns >= s->config.dead_keep_ns && (m->flags & SWIM_HOT) == 0)
            swim__forget(s, s->dead[i]);
    }
}

/* A few at random: draws until it has them or has tried often enough. */
uint32_t swim__pick(struct swim *s, swim_id not, uint32_t n, swim_id *out)
{
    uint32_t picked = 0;
    for (uint32_t tries = 0; picked < n && tries < 3 * n + 3 && s->order_n > 0; tries++) {
        swim_id id = s->order[swim__below(s, s->order_n)];
        bool known = id == not || s->members[id].meta == INTERN_NONE;
        for (uint32_t i = 0; i < picked && !known; i++)
            known = out[i] == id;
        if (!known)
            out[picked++] = id;
    }
    return picked;
}

uint32_t swim__pick_next(struct swim *s, uint32_t n, swim_id *out)
{
    uint32_t picked = 0;
    for (uint32_t tries = 0; picked < n && tries < s->order_n; tries++) {
        s->gossip_at = s->gossip_at + 1 < s->order_n ? s->gossip_at + 1 : 0;
        if (s->members[s->order[s->gossip_at]].meta != INTERN_NONE)
            out[picked++] = s->order[s->gossip_at];
    }
    return picked;
}
