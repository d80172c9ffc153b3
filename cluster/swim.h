/* Membership: which nodes there are and which of them are alive, as far as one node can know. Pure.
 *
 *   SWIM: Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group
 *   Membership Protocol", DSN 2002.
 *   Lifeguard: Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness for More Accurate
 *   Failure Detection", DSN-W 2018.
 *
 * Each member probes one other per interval, in the order of a shuffled list (SWIM §4.3); one that
 * does not answer is asked for through k others, and then suspected; a suspicion that nobody
 * refutes ends in death (§4.2). What is news travels as rumours: on the back of probes, and in
 * frames of their own while there are any (§4.1). From Lifeguard: a node that finds itself slow
 * gives others more time (local health, §IV.A); a suspicion starts long and shrinks as others
 * confirm it independently (§IV.B); who is suspected is told so first (buddy, §IV.C); a helper that
 * cannot reach the target either says so in time (nack).
 *
 * What is ours:
 *   - Silence is no evidence. A probe that fails, or a suspicion that ends, while we have heard
 * from nobody at all says more about us than about them. It is put off (config.quiet_rule).
 *   - The last word. Before a suspicion ends, the suspect is asked once more (config.last_words).
 *   - Each sees to its neighbour in a circle with every second probe (config.neighbour), and tells
 *     rumours to one after the other instead of to anybody (config.gossip_in_order), so that
 *     neither is left to chance: Doerr, Friedrich, Sauerwald, "Quasirandom Rumor Spreading", SODA
 *     2008.
 *   - Lag is no evidence. A timer that fires late means that we were stopped: what should have come
 *     in meanwhile is still in our inbox. Probes on their way are forgotten, suspicions prolonged.
 *   - A rumour of suspicion makes a few others probe the suspect out of turn, so that a real death
 *     is confirmed in the time of a probe, and a false alarm refuted (config.confirm_probes).
 *   - The dead are tried again, so that a healed partition merges by itself (config.heal_ns).
 *   - Anti-entropy costs nothing while all agree: each probe carries a hash of all the sender
 * knows. Only when hashes differ, with no rumours under way, digests are compared, bucket by
 * bucket, and what differs is exchanged.
 *
 * Identity is (name, generation, incarnation), compared in that order; the stored one only grows.
 * The generation is handed out by the store for each run; the incarnation is the member's own
 * counter of things to say about itself.
 *
 * How to drive it: give it what happens (the functions with now_ns), then send what is in effects,
 * look at what has changed (swim_next_change), and call swim_tick at swim_deadline at the latest.
 * It notices by itself when that is late. Nothing is allocated after init.
 *
 * Times are ns of a clock that never goes back; now_ns must not be less than at the last call. */
#ifndef TROUPE_CLUSTER_SWIM_H
#define TROUPE_CLUSTER_SWIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/intern.h"
#include "proto/gossip.h"

enum {
    SWIM_MEMBERS_MAX = 16384,
    SWIM_NAME_BYTES_MAX = GOSSIP_NAME_BYTES_MAX,
    SWIM_META_BYTES_MAX = GOSSIP_META_BYTES_MAX,
    SWIM_CONFIRMATIONS_MAX = 8,
    SWIM_PROBES_MAX = 8,      /* under way at once: the one in turn, and those out of turn */
    SWIM_PICKED_MAX = 8,      /* members drawn at once, to help with a probe or hear rumours */
    SWIM_RELAYS_MAX = 64,     /* pings for others under way at once */
    SWIM_SYNC_FRAMES_MAX = 8, /* of records, in answer to one digest */
    SWIM_SENDS_MAX = 48,      /* of one step */
    SWIM_EFFECT_BYTES_MAX = 256 << 10,
    SWIM_NOBODY = INTERN_NONE,
};

/* A member's number: that of its name in the pool. Stays the same as long as the member is known.
 */
typedef uint32_t swim_id;

struct swim_config {
    /* Who we are; copied. */
    struct troupe_bytes name, meta;
    uint64_t generation;
    uint8_t uid[GOSSIP_UID_BYTES];
    uint64_t seed;

    uint32_t members_max;    /* known at once, dead ones included; at most SWIM_MEMBERS_MAX */
    uint32_t suspicions_max; /* at once, up to members_max; 0 = that. One more waits for a probe */

    uint64_t probe_interval_ns;
    uint64_t probe_timeout_ns;   /* for the direct answer; then others are asked */
    uint64_t probe_window_ns;    /* from the ping on, all told; then it has failed */
    uint32_t indirect_probes;    /* k, at most SWIM_PICKED_MAX */
    uint64_t gossip_interval_ns; /* between frames of rumours, while there are any */
    uint32_t gossip_nodes;       /* … each time to so many members, at most SWIM_PICKED_MAX */
    uint32_t retransmit_mult;    /* a rumour is told mult * ceil(log10(n + 1)) times by each */
    uint64_t suspicion_min_ns;   /* floor of a fully confirmed suspicion */
    uint64_t suspicion_log_ns;   /* … which is max(floor, this * log10(n)) */
    uint32_t suspicion_max_mult; /* an unconfirmed one takes so many times longer */
    uint32_t confirmations;      /* by so many others a suspicion is fully confirmed */
    uint32_t health_max;         /* of local health: intervals and timeouts grow up to 1 + this */
    uint64_t sync_interval_ns;   /* digests are compared at most that often … */
    bool sync_always;            /* … even when nothing seems to differ: memberlist's push/pull */
    uint64_t heal_ns;            /* one of the dead is tried that often; 0 = never */
    uint64_t dead_keep_ns;       /* the dead are remembered that long */
    uint64_t lag_ns;             /* a tick as late as that means that we were stopped; 0 = never */
    uint32_t confirm_probes;     /* so many, on average, probe a suspect out of turn; 0 = none */
    uint32_t last_words;         /* so often, a probe_timeout apart, before a suspicion ends */
    bool neighbour;       /* every second probe goes to the next one in the circle of hashes */
    bool gossip_in_order; /* rumours go to one after the other in the order of probes */

    /* The parts of Lifeguard, and of ours, that can be left out for comparison. */
    bool local_health, shrinking_suspicion, buddy, nacks, quiet_rule;
};

/* Ours. The caller fills in who we are, and members_max. */
void swim_config_default(struct swim_config *config);
/* memberlist's LAN parameters and rules (v0.5), with all of Lifeguard and nothing of ours. */
void swim_config_memberlist(struct swim_config *config);
/* Plain SWIM as Lifeguard's paper compares with: memberlist's, without Lifeguard. */
void swim_config_plain(struct swim_config *config);

/* ---- effects ---- */

struct swim_send {
    bool is_contact; /* to is what was given to swim_contact; else a member's number */
    uint32_t to;
    uint32_t at, len;    /* the frame, in effects.bytes */
    uint64_t expires_ns; /* worthless when it has not left by then */
};

/* What a step wants done; the caller's, may be shared by many. Valid until the next step with it.
 */
struct swim_effects {
    struct swim_send sends[SWIM_SENDS_MAX];
    size_t sends_n;
    uint8_t bytes[SWIM_EFFECT_BYTES_MAX];
    size_t bytes_n;
};

/* ---- what can be seen of a member ---- */

struct swim_info {
    struct troupe_bytes name, meta; /* valid until the next step */
    uint64_t generation, incarnation;
    enum gossip_state state; /* JOINING, ACTIVE, DRAINING, DEAD or LEFT */
    bool suspect;
    bool self;
    uint32_t load;       /* as last heard from it */
    uint64_t changed_ns; /* when its state last changed here */
};

struct swim_stats {
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    uint64_t foreign;     /* frames of another cluster */
    uint64_t malformed;   /* frames that could not be read */
    uint64_t stale;       /* frames of a run that is over, acks that came too late */
    uint64_t misdirected; /* pings meant for somebody else */
    uint64_t unknown;     /* frames of members that we have not heard of */
    uint64_t conflicts;   /* somebody else says to be us, or one run says two things */
    uint64_t refused;     /* members that found no room in the table */
    uint64_t probes, probe_failures, indirect_probes, inconclusive;
    uint64_t suspicions, confirmations, deaths, refutations, lags, syncs, heals;
};

/* ---- the machine ---- */

struct swim;

/* Memory for everything. names has members_max slots and metas at least as many, for names and
 * metadata; several members simulated in one process may share them. NULL: its own. The errors:
 * TROUPE_EINVAL, TROUPE_ENOMEM. */
int swim_open(struct swim **swim, const struct swim_config *config, struct intern *names,
              struct intern *metas, uint64_t now_ns);
void swim_close(struct swim *s);

/* A frame came in; it is not kept. */
void swim_receive(struct swim *s, uint64_t now_ns, struct troupe_bytes frame,
                  struct swim_effects *fx);
/* Time has passed. */
void swim_tick(struct swim *s, uint64_t now_ns, struct swim_effects *fx);
uint64_t swim_deadline(const struct swim *s);
/* Somebody may be there whom we do not know, or think dead, at an address that the driver knows by
 * this number: introduce us and ask what it knows. */
void swim_contact(struct swim *s, uint64_t now_ns, uint32_t contact, struct swim_effects *fx);
/* The connection to a member was refused or reset. Evidence, not proof: it is probed at once. */
void swim_evidence(struct swim *s, uint64_t now_ns, swim_id member, struct swim_effects *fx);
/* What we say of ourselves: JOINING, ACTIVE or DRAINING; and LEFT, once, as the last word. */
void swim_set_state(struct swim *s, uint64_t now_ns, enum gossip_state state,
                    struct swim_effects *fx);
/* TROUPE_ELIMIT: too long. */
int swim_set_meta(struct swim *s, uint64_t now_ns, struct troupe_bytes meta);
void swim_set_load(struct swim *s, uint32_t load);
/* The hash of the owner map, for frames to carry; and whether a peer's was seen to differ since the
 * last time this was asked (the member's number, or SWIM_NOBODY). */
void swim_set_owners_hash(struct swim *s, uint64_t hash);
swim_id swim_take_owners_differ(struct swim *s);
/* A frame of GOSSIP_OWNERS with this payload: to a member, or to config.gossip_nodes members at
 * random. Whatever of it comes in is given back by swim_receive's caller through gossip_decode. */
void swim_send_owners(struct swim *s, uint64_t now_ns, swim_id to, struct troupe_bytes owners,
                      bool reply, struct swim_effects *fx);
/* Takes a record as if it had been heard, without spreading it: for tests and simulations that
 * begin in the middle. */
void swim_learn(struct swim *s, uint64_t now_ns, const struct gossip_record *record);

/* ---- looking at it ---- */

/* The next member whose state, incarnation or metadata has changed since it was last returned
 * (several changes of one member are one); SWIM_NOBODY when there is none. A member that has been
 * forgotten is returned, too, and swim_info says false. */
swim_id swim_next_change(struct swim *s);
/* False: there is no such member. */
bool swim_info(const struct swim *s, swim_id id, struct swim_info *info);
swim_id swim_find(const struct swim *s, struct troupe_bytes name);
swim_id swim_self(const struct swim *s);
/* All members, dead ones included: for (id = 0; id < swim_ids(s); id++) if (swim_info(…)). */
uint32_t swim_ids(const struct swim *s);
/* Those that are neither dead nor left, us included. */
uint32_t swim_live(const struct swim *s);
/* A hash of all live members' identities, states and metadata, suspicions aside: two nodes with the
 * same one have the same view. */
uint64_t swim_hash(const struct swim *s);
/* Nothing left to tell: after LEFT, the process may go. */
bool swim_is_quiet(const struct swim *s);
/* A newer run of our name is about: we are not the ones any more. */
bool swim_is_superseded(const struct swim *s);
uint32_t swim_health(const struct swim *s); /* local health multiplier, 0 = well */
void swim_stats(const struct swim *s, struct swim_stats *stats);

#endif
