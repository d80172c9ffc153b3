/* The machine's outside: opening, frames and time coming in, looking at it. */
#include "cluster/swim.h"

#include <stdlib.h>

#include "cluster/swim_impl.h"
#include "troupe/error.h"

enum { SWEEP_INTERVALS = 10 }; /* the dead are looked through every so many probe intervals */

/* ---- opening ---- */

static int check(const struct swim_config *c)
{
    bool good = c->name.len >= 1 && c->name.len <= SWIM_NAME_BYTES_MAX &&
                c->meta.len <= SWIM_META_BYTES_MAX && c->members_max >= 1 &&
                c->members_max <= SWIM_MEMBERS_MAX && c->probe_interval_ns > 0 &&
                c->probe_timeout_ns > 0 && c->probe_window_ns >= c->probe_timeout_ns &&
                c->gossip_interval_ns > 0 && c->sync_interval_ns > 0 &&
                c->suspicion_max_mult >= 1 && c->indirect_probes <= SWIM_PICKED_MAX &&
                c->gossip_nodes <= SWIM_PICKED_MAX && c->suspicions_max <= c->members_max &&
                c->confirmations <= SWIM_CONFIRMATIONS_MAX;
    return good ? 0 : TROUPE_EINVAL;
}

static int open_pools(struct swim *s, struct intern *names, struct intern *metas)
{
    uint32_t n = s->config.members_max;
    s->names = names == NULL ? &s->own_names : names;
    s->metas = metas == NULL ? &s->own_metas : metas;
    if (names == NULL && intern_init(&s->own_names, n, SWIM_NAME_BYTES_MAX) != 0)
        return TROUPE_ENOMEM;
    /* while a member's metadata change, both are there */
    if (metas == NULL && intern_init(&s->own_metas, n + 1, SWIM_META_BYTES_MAX) != 0)
        return TROUPE_ENOMEM;
    return 0;
}

static int open_tables(struct swim *s)
{
    s->ids = s->names->slots_n;
    s->members = calloc(s->ids, sizeof *s->members);
    s->order = calloc(s->config.members_max, sizeof *s->order);
    s->dead = calloc(s->config.members_max, sizeof *s->dead);
    s->suspicions = calloc(s->config.suspicions_max, sizeof *s->suspicions);
    bool all = s->members != NULL && s->order != NULL && s->dead != NULL && s->suspicions != NULL;
    return all ? 0 : TROUPE_ENOMEM;
}

static void clear_lists(struct swim *s)
{
    for (uint32_t i = 0; i < SWIM_TOLD_MAX; i++)
        s->rumours[i] = (struct swim_list){.head = SWIM_NOBODY, .tail = SWIM_NOBODY};
    for (uint32_t i = 0; i < SWIM_PROBES_MAX; i++)
        s->probes[i].target = SWIM_NOBODY;
    for (uint32_t i = 0; i < SWIM_RELAYS_MAX; i++)
        s->relays[i].origin = SWIM_NOBODY;
    s->changes = s->owners_differ = s->self = s->neighbour = SWIM_NOBODY;
    s->suspicion_ns = SWIM_NEVER;
}

/* Timers of different members shall not fire together: they begin at random. */
static void set_timers(struct swim *s)
{
    const struct swim_config *c = &s->config;
    s->probe_at_ns = s->now_ns + swim__random(s) % c->probe_interval_ns;
    s->gossip_at_ns = s->now_ns + swim__random(s) % c->gossip_interval_ns;
    s->sync_at_ns = s->now_ns + swim__random(s) % c->sync_interval_ns;
    s->heal_at_ns = s->now_ns + (c->heal_ns == 0 ? 0 : swim__random(s) % c->heal_ns);
    s->sweep_at_ns = s->now_ns + SWEEP_INTERVALS * c->probe_interval_ns;
    s->heard_ns = s->last_sync_ns = s->now_ns;
}

static int introduce_self(struct swim *s)
{
    swim_id self = swim__add(s, s->config.name);
    if (self == SWIM_NOBODY || !swim__change_meta(s, self, s->config.meta))
        return TROUPE_ENOMEM;
    swim__change(s, self, s->config.generation, 1, GOSSIP_JOINING);
    s->self = self;
    s->config.name = s->config.meta = troupe_bytes(NULL, 0); /* the caller's, from here on */
    return 0;
}

int swim_open(struct swim **swim, const struct swim_config *config, struct intern *names,
              struct intern *metas, uint64_t now_ns)
{
    *swim = NULL;
    if (check(config) != 0)
        return TROUPE_EINVAL;
    struct swim *s = calloc(1, sizeof *s);
    if (s == NULL)
        return TROUPE_ENOMEM;
    s->config = *config;
    if (s->config.suspicions_max == 0)
        s->config.suspicions_max = config->members_max;
    s->now_ns = now_ns;
    s->random = config->seed;
    s->seq = swim__random(s) >> 16; /* not the last run's */
    clear_lists(s);
    int rc = open_pools(s, names, metas);
    if (rc == 0)
        rc = open_tables(s);
    if (rc == 0)
        rc = introduce_self(s);
    if (rc != 0) {
        swim_close(s);
        return rc;
    }
    set_timers(s);
    *swim = s;
    return 0;
}

static void drop_references(struct swim *s)
{
    for (swim_id id = 0; s->members != NULL && id < s->ids; id++) {
        if (s->members[id].state == 0)
            continue;
        if (s->members[id].meta != INTERN_NONE)
            intern_drop(s->metas, s->members[id].meta);
        intern_drop(s->names, id);
    }
}

void swim_close(struct swim *s)
{
    if (s == NULL)
        return;
    drop_references(s);
    intern_close(&s->own_names);
    intern_close(&s->own_metas);
    free(s->members);
    free(s->order);
    free(s->dead);
    free(s->suspicions);
    free(s);
}

/* ---- time ---- */

/* We were stopped for so long: what the timers would conclude from is still in the inbox. */
static void forgive(struct swim *s, uint64_t late_ns)
{
    s->stats.lags++;
    swim__probes_drop(s);
    swim__prolong(s, late_ns + s->config.probe_window_ns);
    swim__sicker(s, 1);
    s->heard_ns = s->now_ns;
    s->probe_at_ns = swim__max(s->probe_at_ns, s->now_ns + s->config.probe_timeout_ns);
}

static void enter(struct swim *s, uint64_t now_ns, struct swim_effects *fx)
{
    fx->sends_n = fx->bytes_n = 0;
    uint64_t due = swim__max(swim_deadline(s), s->now_ns); /* it could be told then, not before */
    s->now_ns = swim__max(s->now_ns, now_ns);
    if (s->config.lag_ns != 0 && due != SWIM_NEVER && s->now_ns > due + s->config.lag_ns)
        forgive(s, s->now_ns - due);
}

uint64_t swim_deadline(const struct swim *s)
{
    uint64_t at = swim__min(s->probe_at_ns, swim__min(s->suspicion_ns, s->sweep_at_ns));
    if (s->rumours_n > 0)
        at = swim__min(at, s->gossip_at_ns);
    if (s->config.sync_always)
        at = swim__min(at, s->sync_at_ns);
    if (s->config.heal_ns != 0 && s->dead_n > 0)
        at = swim__min(at, s->heal_at_ns);
    for (uint32_t i = 0; i < SWIM_PROBES_MAX && s->probes_n > 0; i++) {
        const struct swim_probe *p = &s->probes[i];
        if (p->target != SWIM_NOBODY)
            at = swim__min(at, p->asked_others ? p->ends_ns : p->indirect_at_ns);
    }
    for (uint32_t i = 0; i < SWIM_RELAYS_MAX && s->relays_n > 0; i++) {
        const struct swim_relay *r = &s->relays[i];
        if (r->origin != SWIM_NOBODY)
            at = swim__min(at, r->nacked || !s->config.nacks ? r->ends_ns : r->nack_at_ns);
    }
    return at;
}

void swim_tick(struct swim *s, uint64_t now_ns, struct swim_effects *fx)
{
    enter(s, now_ns, fx);
    swim__probes_tick(s, fx);
    swim__relays_tick(s, fx);
    swim__expire(s, fx);
    if (s->now_ns >= s->probe_at_ns)
        swim__probe_turn(s, fx);
    if (s->rumours_n > 0 && s->now_ns >= s->gossip_at_ns)
        swim__gossip(s, fx);
    if (s->config.sync_always && s->now_ns >= s->sync_at_ns)
        swim__sync_turn(s, fx);
    if (s->config.heal_ns != 0 && s->dead_n > 0 && s->now_ns >= s->heal_at_ns)
        swim__heal(s, fx);
    if (s->now_ns >= s->sweep_at_ns) {
        swim__sweep(s);
        s->sweep_at_ns = s->now_ns + SWEEP_INTERVALS * s->config.probe_interval_ns;
    }
}

/* ---- frames ---- */

static void ack(struct swim *s, swim_id to, uint64_t seq, struct swim_effects *fx)
{
    struct gossip_frame header;
    swim__header(s, GOSSIP_ACK, &header);
    header.seq = seq;
    struct swim_writer w = swim__begin(&header, SWIM_PIGGYBACK_BYTES, fx);
    swim__address(s, &w, to);
    swim__put_news(s, &w);
    swim__end(s, &w, false, to, s->now_ns + s->config.probe_window_ns);
}

static void merge_records(struct swim *s, const struct gossip_frame *frame, swim_id from,
                          struct swim_effects *fx)
{
    bool authoritative = frame->type != GOSSIP_RECORDS && frame->type != GOSSIP_DIGEST;
    for (size_t i = 0; i < frame->records_n; i++) {
        const struct gossip_record *r = &s->records[i];
        uint64_t suspicions = s->stats.suspicions;
        swim__merge(s, from, r, authoritative);
        if (s->stats.suspicions != suspicions && s->config.confirm_probes > 0)
            swim__confirm(s, fx, swim_find(s, r->name));
    }
}

/* Who sent it, once what it says of itself is known; SWIM_NOBODY: it does not count. */
static swim_id sender(struct swim *s, const struct gossip_frame *frame, struct swim_effects *fx)
{
    if (troupe_bytes_equal(frame->from, intern_bytes(s->names, s->self))) {
        swim__heard_of_run(s, frame->from_generation);
        s->stats.conflicts += frame->from_generation == s->members[s->self].generation;
        return SWIM_NOBODY;
    }
    s->misjudged = false;
    merge_records(s, frame, swim_find(s, frame->from), fx);
    swim_id from = swim_find(s, frame->from);
    if (from == SWIM_NOBODY) {
        s->stats.unknown++;
        return SWIM_NOBODY;
    }
    struct swim_member *m = &s->members[from];
    if (m->generation != frame->from_generation) {
        s->stats.stale += frame->from_generation < m->generation;
        s->stats.unknown += frame->from_generation > m->generation;
        return SWIM_NOBODY;
    }
    if (s->misjudged)
        m->flags &= (uint8_t)~SWIM_HEARD; /* our answer will say how we are */
    else
        m->flags |= SWIM_HEARD;
    m->load = frame->load;
    s->heard_ns = s->now_ns;
    s->silent_runs = 0;
    return from;
}

static void answer(struct swim *s, swim_id from, const struct gossip_frame *frame,
                   struct swim_effects *fx)
{
    bool for_us = frame->target.len == 0 ||
                  troupe_bytes_equal(frame->target, intern_bytes(s->names, s->self));
    switch ((enum gossip_type)frame->type) {
    case GOSSIP_PING:
        if (for_us)
            ack(s, from, frame->seq, fx);
        else
            s->stats.misdirected++;
        break;
    case GOSSIP_ACK:
        swim__acked(s, frame->seq, fx);
        break;
    case GOSSIP_PING_REQ:
        swim__relay(s, from, frame, fx);
        break;
    case GOSSIP_NACK:
        swim__nacked(s, frame->seq);
        break;
    case GOSSIP_DIGEST:
        swim__answer_digest(s, from, frame->digest, frame->reply, fx);
        break;
    case GOSSIP_RECORDS:
        if (frame->reply && frame->digest.len != 0)
            swim__answer_digest(s, from, frame->digest, false, fx);
        break;
    case GOSSIP_RUMOURS:
    case GOSSIP_OWNERS: /* the driver's */
    case GOSSIP_TYPES:
        break;
    }
}

void swim_receive(struct swim *s, uint64_t now_ns, struct troupe_bytes bytes,
                  struct swim_effects *fx)
{
    struct gossip_frame frame;
    const char *why;
    enter(s, now_ns, fx);
    s->stats.frames_in++;
    s->stats.bytes_in += bytes.len;
    if (gossip_decode(bytes, &frame, s->records, &why) != 0) {
        s->stats.malformed++;
        return;
    }
    if (memcmp(frame.uid, s->config.uid, sizeof frame.uid) != 0) {
        s->stats.foreign++;
        return;
    }
    swim_id from = sender(s, &frame, fx);
    if (from == SWIM_NOBODY)
        return;
    answer(s, from, &frame, fx);
    if (frame.owners_hash != 0 && frame.owners_hash != s->owners_hash)
        s->owners_differ = from;
    if (frame.type != GOSSIP_DIGEST && swim__is_live(&s->members[from]))
        swim__compare(s, from, &frame, fx);
}

/* ---- what the driver asks for ---- */

void swim_contact(struct swim *s, uint64_t now_ns, uint32_t contact, struct swim_effects *fx)
{
    enter(s, now_ns, fx);
    swim__sync(s, true, contact, fx);
}

void swim_set_state(struct swim *s, uint64_t now_ns, enum gossip_state state,
                    struct swim_effects *fx)
{
    enter(s, now_ns, fx);
    struct swim_member *self = &s->members[s->self];
    INVARIANT(state <= GOSSIP_DRAINING || state == GOSSIP_LEFT);
    if (self->state == state || self->state == GOSSIP_LEFT)
        return;
    swim__change(s, s->self, self->generation, swim__incarnation_above(self->incarnation), state);
    swim__tell(s, s->self);
    if (s->order_n > 0)
        swim__gossip(s, fx);
}

int swim_set_meta(struct swim *s, uint64_t now_ns, struct troupe_bytes meta)
{
    struct swim_member *self = &s->members[s->self];
    s->now_ns = swim__max(s->now_ns, now_ns);
    if (meta.len > SWIM_META_BYTES_MAX || !swim__change_meta(s, s->self, meta))
        return TROUPE_ELIMIT;
    swim__change(s, s->self, self->generation, swim__incarnation_above(self->incarnation),
                 self->state);
    swim__tell(s, s->self);
    return 0;
}

void swim_set_load(struct swim *s, uint32_t load)
{
    s->load = load;
}

void swim_set_owners_hash(struct swim *s, uint64_t hash)
{
    s->owners_hash = hash;
}

swim_id swim_take_owners_differ(struct swim *s)
{
    swim_id id = s->owners_differ;
    s->owners_differ = SWIM_NOBODY;
    return swim__is_known(s, id) ? id : SWIM_NOBODY;
}

void swim_send_owners(struct swim *s, uint64_t now_ns, swim_id to, struct troupe_bytes owners,
                      bool reply, struct swim_effects *fx)
{
    struct gossip_frame header;
    swim_id all[SWIM_PICKED_MAX] = {to};
    uint32_t n = 1;
    enter(s, now_ns, fx);
    if (to == SWIM_NOBODY)
        n = swim__pick(s, SWIM_NOBODY, s->config.gossip_nodes, all);
    swim__header(s, GOSSIP_OWNERS, &header);
    header.owners = owners;
    header.reply = reply;
    for (uint32_t i = 0; i < n; i++) {
        struct swim_writer w = swim__begin(&header, GOSSIP_FRAME_BYTES_MAX, fx);
        swim__end(s, &w, false, all[i], s->now_ns + s->config.probe_interval_ns);
    }
}

void swim_learn(struct swim *s, uint64_t now_ns, const struct gossip_record *record)
{
    s->now_ns = swim__max(s->now_ns, now_ns);
    swim__merge(s, s->self, record, true);
    swim_id id = swim_find(s, record->name);
    if (id == SWIM_NOBODY)
        return;
    swim__untell(s, id);
    s->members[id].flags |= SWIM_HEARD;
}

/* ---- looking at it ---- */

swim_id swim_next_change(struct swim *s)
{
    swim_id id = s->changes;
    if (id == SWIM_NOBODY)
        return id;
    s->changes = s->members[id].change_next;
    s->members[id].flags &= (uint8_t)~SWIM_CHANGED;
    return id;
}

bool swim_info(const struct swim *s, swim_id id, struct swim_info *info)
{
    if (!swim__is_known(s, id))
        return false;
    const struct swim_member *m = &s->members[id];
    *info = (struct swim_info){
        .name = intern_bytes(s->names, id),
        .meta = m->meta == INTERN_NONE ? troupe_bytes(NULL, 0) : intern_bytes(s->metas, m->meta),
        .generation = m->generation,
        .incarnation = m->incarnation,
        .state = (enum gossip_state)m->state,
        .suspect = m->suspicion != 0,
        .self = id == s->self,
        .load = id == s->self ? s->load : m->load,
        .changed_ns = m->changed_ns,
    };
    return true;
}

swim_id swim_find(const struct swim *s, struct troupe_bytes name)
{
    swim_id id = intern_find(s->names, name);
    return swim__is_known(s, id) ? id : SWIM_NOBODY;
}

swim_id swim_self(const struct swim *s)
{
    return s->self;
}

uint32_t swim_ids(const struct swim *s)
{
    return s->ids;
}

uint32_t swim_live(const struct swim *s)
{
    return s->order_n + swim__is_live(&s->members[s->self]);
}

uint64_t swim_hash(const struct swim *s)
{
    return s->hash;
}

bool swim_is_quiet(const struct swim *s)
{
    return s->rumours_n == 0;
}

bool swim_is_superseded(const struct swim *s)
{
    return s->superseded;
}

uint32_t swim_health(const struct swim *s)
{
    return s->health;
}

void swim_stats(const struct swim *s, struct swim_stats *stats)
{
    *stats = s->stats;
}
