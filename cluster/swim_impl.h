/* What the files of membership share. See swim.h. */
#ifndef TROUPE_CLUSTER_SWIM_IMPL_H
#define TROUPE_CLUSTER_SWIM_IMPL_H

#include "base/invariant.h"
#include "cluster/swim.h"

enum {
    SWIM_TOLD_MAX = 64,          /* the limit of retransmissions, whatever the multiplier */
    SWIM_PIGGYBACK_BYTES = 1400, /* of a frame that is not part of a sync */
    SWIM_QUIET_MAX = 5,          /* probes in a row that silence makes inconclusive */
    SWIM_CONFIRMERS_MAX = SWIM_CONFIRMATIONS_MAX + 1,
};

#define SWIM_NEVER UINT64_MAX

_Static_assert((SWIM_SYNC_FRAMES_MAX + 2) * GOSSIP_FRAME_BYTES_MAX <= SWIM_EFFECT_BYTES_MAX,
               "an answer to a digest fits the effects");

enum swim_flag {
    SWIM_HEARD = 1,   /* a frame of this run of it has come in: it knows us */
    SWIM_CHANGED = 2, /* in the list of changes */
    SWIM_HOT = 4,     /* in the list of rumours */
    SWIM_IS_DEAD = 8, /* in the list of the dead, not in the order of probes */
};

/* Kept small: a simulation holds a hundred million of them. */
struct swim_member {
    uint64_t generation, incarnation, changed_ns;
    uint32_t meta; /* number in metas, or INTERN_NONE */
    uint32_t rumour_prev, rumour_next;
    uint32_t change_next;
    uint32_t at; /* in order or dead */
    uint32_t load;
    uint16_t suspicion; /* slot + 1; 0 = none */
    uint8_t state;      /* enum gossip_state; 0 = no such member */
    uint8_t flags;
    uint8_t told;
};

/* Lifeguard §IV.B. */
struct swim_suspicion {
    swim_id member;
    uint32_t confirmers_n;
    swim_id confirmers[SWIM_CONFIRMERS_MAX]; /* the first suspecter, and who said so after it */
    swim_id latest;                          /* whose word is told on */
    uint64_t since_ns, expires_ns;
    uint64_t put_off_ns; /* for lag and silence */
    uint32_t asked;      /* so often for its last word … */
    uint64_t asked_ns;   /* … and when last */
};

struct swim_probe {
    swim_id target; /* SWIM_NOBODY = free */
    bool in_turn, asked_others;
    uint8_t helpers, nacks;
    uint64_t
        generation; /* the run that was asked: what it does not answer says nothing of the next */
    uint64_t seq, sent_ns, indirect_at_ns, ends_ns;
};

/* A ping for somebody else. */
struct swim_relay {
    swim_id origin; /* SWIM_NOBODY = free */
    bool nacked;
    uint64_t seq, origin_seq, nack_at_ns, ends_ns;
};

struct swim_list {
    uint32_t head, tail, n;
};

struct swim {
    struct swim_config config;
    struct intern *names, *metas;
    struct intern own_names, own_metas; /* when they are not shared */
    uint64_t now_ns;
    uint64_t random;

    struct swim_member *members; /* by number of the name */
    uint32_t ids, members_n;
    swim_id self;
    bool superseded;
    bool misjudged; /* the frame that is read says of us what we have refuted */

    uint32_t *order; /* the live others, in the order of probes */
    uint32_t order_n, order_at, gossip_at;
    swim_id neighbour; /* of the live others, the next one in the circle of hashes */
    bool neighbour_next;
    uint32_t *dead;
    uint32_t dead_n;

    struct swim_suspicion *suspicions;
    uint32_t suspicions_n; /* the first so many are in use */
    uint64_t suspicion_ns; /* when the first of them expires, or earlier */

    struct swim_list rumours[SWIM_TOLD_MAX]; /* by how often they have been told */
    uint32_t rumours_n;
    swim_id changes; /* list */

    struct swim_probe probes[SWIM_PROBES_MAX];
    struct swim_relay relays[SWIM_RELAYS_MAX];
    uint32_t probes_n, relays_n;
    uint64_t seq;
    uint64_t probe_at_ns, gossip_at_ns, sync_at_ns, heal_at_ns, sweep_at_ns;
    uint64_t heard_ns;    /* when any frame last came in */
    uint32_t silent_runs; /* inconclusive probes in a row */
    uint32_t health;
    uint64_t last_sync_ns;

    uint64_t hash;                    /* of all live members … */
    uint32_t buckets[GOSSIP_BUCKETS]; /* … and by bucket */
    uint64_t owners_hash;
    swim_id owners_differ;
    uint32_t load;

    struct swim_stats stats;
    struct gossip_record records[GOSSIP_RECORDS_MAX]; /* of the frame that is read */
};

static inline bool swim__is_known(const struct swim *s, swim_id id)
{
    return id < s->ids && s->members[id].state != 0;
}

static inline bool swim__is_live(const struct swim_member *m)
{
    return m->state >= GOSSIP_JOINING && m->state <= GOSSIP_DRAINING;
}

static inline uint64_t swim__min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t swim__max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Local health scales what depends on how fast we are. */
static inline uint64_t swim__scaled(const struct swim *s, uint64_t ns)
{
    return s->config.local_health ? ns * (1 + s->health) : ns;
}

/* ---- swim_table.c: who there is ---- */

uint64_t swim__random(struct swim *s);
uint32_t swim__below(struct swim *s, uint32_t n);
/* A new member, live, in the order at random. SWIM_NOBODY: no room. */
swim_id swim__add(struct swim *s, struct troupe_bytes name);
void swim__forget(struct swim *s, swim_id id);
/* Everything that others see of a member changes here: what is 0 or INTERN_NONE stays. Keeps
 * hashes, lists and the list of changes true. */
void swim__change(struct swim *s, swim_id id, uint64_t generation, uint64_t incarnation,
                  enum gossip_state state);
/* False: no room; the old one stays. */
bool swim__change_meta(struct swim *s, swim_id id, struct troupe_bytes meta);
void swim__note_change(struct swim *s, swim_id id);
uint32_t swim__bucket(const struct swim *s, swim_id id);
/* Up to n live others, none of them `not`; how many. */
uint32_t swim__pick(struct swim *s, swim_id not, uint32_t n, swim_id *out);
/* The next n live others in the order, from where the last call ended. */
uint32_t swim__pick_next(struct swim *s, uint32_t n, swim_id *out);
void swim__sweep(struct swim *s);

/* ---- swim_neighbour.c: whom we see to ---- */

void swim__neighbour_came(struct swim *s, swim_id id);
void swim__neighbour_went(struct swim *s, swim_id id);

/* ---- swim_rumour.c: what is told on ---- */

/* The member's present state is news, to be told from the beginning. */
void swim__tell(struct swim *s, swim_id id);
void swim__untell(struct swim *s, swim_id id);
/* What we would say about a member now. */
void swim__record(const struct swim *s, swim_id id, struct gossip_record *record);
/* As many rumours as fit below limit, counted as told; how many bytes. */
size_t swim__put_rumours(struct swim *s, uint8_t *out, size_t size);
void swim__gossip(struct swim *s, struct swim_effects *fx);

/* ---- swim_frame.c: building frames ---- */

struct swim_writer {
    struct swim_effects *fx;
    size_t at, limit; /* where the frame begins; what it may reach */
    bool failed;      /* no room in the effects: nothing is sent */
};

void swim__header(const struct swim *s, enum gossip_type type, struct gossip_frame *header);
struct swim_writer swim__begin(const struct gossip_frame *header, size_t bytes_max,
                               struct swim_effects *fx);
/* False: no room. */
bool swim__put_member(struct swim *s, struct swim_writer *w, swim_id id);
/* To a member: it is introduced to us and told what is said of it where need be, then rumours. */
void swim__address(struct swim *s, struct swim_writer *w, swim_id to);
void swim__put_news(struct swim *s, struct swim_writer *w);
void swim__end(struct swim *s, struct swim_writer *w, bool is_contact, uint32_t to,
               uint64_t expires_ns);

/* ---- swim_merge.c: what is heard ---- */

/* from: who told it. authoritative: its DEAD counts; in a sync it is a suspicion only. */
void swim__merge(struct swim *s, swim_id from, const struct gossip_record *record,
                 bool authoritative);
void swim__heard_of_run(struct swim *s, uint64_t generation);
/* The incarnation of what we say next, above one that was heard. Stays at the highest there is: a
 * peer that lies can bring us there. */
uint64_t swim__incarnation_above(uint64_t heard);

/* ---- swim_suspicion.c ---- */

void swim__suspect(struct swim *s, swim_id id, swim_id by);
/* No longer: refuted, dead, or gone. */
void swim__unsuspect(struct swim *s, swim_id id);
void swim__expire(struct swim *s, struct swim_effects *fx);
void swim__prolong(struct swim *s, uint64_t ns);
swim_id swim__suspecter(const struct swim *s, swim_id id);

/* ---- swim_probe.c, swim_relay.c ---- */

void swim__probe(struct swim *s, swim_id target, bool in_turn, struct swim_effects *fx);
void swim__probe_turn(struct swim *s, struct swim_effects *fx);
void swim__probes_tick(struct swim *s, struct swim_effects *fx);
void swim__probes_drop(struct swim *s);
void swim__acked(struct swim *s, uint64_t seq, struct swim_effects *fx);
void swim__nacked(struct swim *s, uint64_t seq);
void swim__confirm(struct swim *s, struct swim_effects *fx, swim_id suspect);
void swim__healthier(struct swim *s);
void swim__sicker(struct swim *s, uint32_t by);
void swim__ask_others(struct swim *s, struct swim_probe *p, struct swim_effects *fx);
void swim__relay(struct swim *s, swim_id origin, const struct gossip_frame *frame,
                 struct swim_effects *fx);
bool swim__relay_acked(struct swim *s, uint64_t seq, struct swim_effects *fx);
void swim__relays_tick(struct swim *s, struct swim_effects *fx);
void swim__ping(struct swim *s, swim_id target, uint64_t seq, uint64_t expires_ns,
                struct swim_effects *fx);

/* ---- swim_sync.c: anti-entropy ---- */

void swim__sync(struct swim *s, bool is_contact, uint32_t to, struct swim_effects *fx);
void swim__answer_digest(struct swim *s, swim_id to, struct troupe_bytes digest, bool reply,
                         struct swim_effects *fx);
void swim__compare(struct swim *s, swim_id from, const struct gossip_frame *frame,
                   struct swim_effects *fx);
void swim__sync_turn(struct swim *s, struct swim_effects *fx);
void swim__heal(struct swim *s, struct swim_effects *fx);

#endif
