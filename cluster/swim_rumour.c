/* Rumours: what is new about a member is told mult * ceil(log10(n + 1)) times, the least told first
 * (SWIM §4.1, and memberlist's retransmit limit). There is one rumour per member: its present
 * state, so that what is overtaken is never told. */
#include "cluster/swim_impl.h"

static void list_add(struct swim *s, swim_id id)
{
    struct swim_member *m = &s->members[id];
    struct swim_list *list = &s->rumours[m->told];
    m->rumour_prev = list->tail;
    m->rumour_next = SWIM_NOBODY;
    if (list->tail == SWIM_NOBODY)
        list->head = id;
    else
        s->members[list->tail].rumour_next = id;
    list->tail = id;
    list->n++;
}

static void list_remove(struct swim *s, swim_id id)
{
    struct swim_member *m = &s->members[id];
    struct swim_list *list = &s->rumours[m->told];
    if (m->rumour_prev == SWIM_NOBODY)
        list->head = m->rumour_next;
    else
        s->members[m->rumour_prev].rumour_next = m->rumour_next;
    if (m->rumour_next == SWIM_NOBODY)
        list->tail = m->rumour_prev;
    else
        s->members[m->rumour_next].rumour_prev = m->rumour_prev;
    list->n--;
}

void swim__untell(struct swim *s, swim_id id)
{
    struct swim_member *m = &s->members[id];
    if ((m->flags & SWIM_HOT) == 0)
        return;
    list_remove(s, id);
    m->flags &= (uint8_t)~SWIM_HOT;
    s->rumours_n--;
}

void swim__tell(struct swim *s, swim_id id)
{
    struct swim_member *m = &s->members[id];
    swim__untell(s, id);
    if (s->order_n == 0) /* nobody to tell; who comes later asks for everything */
        return;
    m->told = 0;
    m->flags |= SWIM_HOT;
    list_add(s, id);
    if (s->rumours_n++ == 0)
        s->gossip_at_ns = swim__max(s->gossip_at_ns, s->now_ns);
}

/* mult * ceil(log10(n + 1)). */
static uint32_t told_limit(const struct swim *s)
{
    uint32_t digits = 0;
    for (uint64_t power = 1, n = s->order_n + 1; power < n + 1; power *= 10)
        digits++;
    uint32_t limit = s->config.retransmit_mult * digits;
    return limit < SWIM_TOLD_MAX - 1 ? limit : SWIM_TOLD_MAX - 1;
}

void swim__record(const struct swim *s, swim_id id, struct gossip_record *record)
{
    const struct swim_member *m = &s->members[id];
    *record = (struct gossip_record){
        .name = intern_bytes(s->names, id),
        .generation = m->generation,
        .incarnation = m->incarnation,
        .state = m->suspicion != 0 ? GOSSIP_SUSPECT : m->state,
    };
    swim_id by = swim__suspecter(s, id);
    if (by != SWIM_NOBODY)
        record->suspecter = intern_bytes(s->names, by);
    if (m->suspicion == 0 && swim__is_live(m) && m->meta != INTERN_NONE)
        record->meta = intern_bytes(s->metas, m->meta);
}

/* Told once more: moves on, or is over. */
static void told(struct swim *s, swim_id id, uint32_t limit)
{
    struct swim_member *m = &s->members[id];
    if (m->told + 1U >= limit) {
        swim__untell(s, id);
        return;
    }
    list_remove(s, id);
    m->told++;
    list_add(s, id);
}

size_t swim__put_rumours(struct swim *s, uint8_t *out, size_t size)
{
    uint32_t limit = told_limit(s), moved = 0;
    size_t used = 0;
    for (uint32_t i = 0; i < SWIM_TOLD_MAX && s->rumours_n > 0; i++) {
        uint32_t n = s->rumours[i].n - moved; /* the last ones have just been put into this frame */
        moved = 0;
        for (; n > 0; n--) {
            swim_id id = s->rumours[i].head;
            struct gossip_record record;
            swim__record(s, id, &record);
            size_t len = gossip_encode_record(&record, out + used, size - used);
            if (len == 0)
                return used;
            used += len;
            moved += i + 1 < limit;
            told(s, id, limit);
        }
    }
    return used;
}

void swim__gossip(struct swim *s, struct swim_effects *fx)
{
    s->gossip_at_ns = s->now_ns + s->config.gossip_interval_ns;
    swim_id to[SWIM_PICKED_MAX];
    uint32_t n = s->config.gossip_in_order ? swim__pick_next(s, s->config.gossip_nodes, to)
                                           : swim__pick(s, SWIM_NOBODY, s->config.gossip_nodes, to);
    for (uint32_t i = 0; i < n && s->rumours_n > 0; i++) {
        struct gossip_frame header;
        swim__header(s, GOSSIP_RUMOURS, &header);
        struct swim_writer w = swim__begin(&header, SWIM_PIGGYBACK_BYTES, fx);
        swim__put_news(s, &w);
        swim__end(s, &w, false, to[i], s->now_ns + s->config.probe_interval_ns);
    }
}
