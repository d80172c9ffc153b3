/* One member alone with the test: the others are names, and say what the test lets them say. For
 * rules that a whole cluster puts to the proof too seldom. Time goes on only when the test says so;
 * a frame arrives within a
 * nanosecond. */
#ifndef TROUPE_SIM_MEMBERSHIP_LONE_H
#define TROUPE_SIM_MEMBERSHIP_LONE_H

#include "cluster/swim.h"

#define LONE_MS     UINT64_C(1000000)
#define LONE_SECOND (1000 * LONE_MS)

enum { LONE_SENDS_MAX = 4096, LONE_NAME_BYTES = 8, LONE_OTHERS_MAX = 60, LONE_NOBODY = 0 };

/* A frame that it has sent. Members are given by the numbers of their names. */
struct lone_sent {
    uint64_t at_ns, seq;
    uint64_t about, suspects; /* a bit for each member in its records; for each suspect in them */
    uint32_t to;
    uint8_t type;
};

struct lone {
    struct swim *swim;
    struct swim_effects fx;
    uint64_t now_ns;
    uint32_t others_n;
    bool others_answer; /* pings by acks, ping-reqs by nacks; but for … */
    uint32_t dumb;      /* … this one */
    uint64_t generations[LONE_OTHERS_MAX + 1];
    struct lone_sent sent[LONE_SENDS_MAX]; /* since lone_forget */
    uint32_t sent_n;
};

/* What one of the others says. */
struct lone_word {
    uint8_t type;
    uint32_t from;
    uint64_t generation; /* 0: that of its present run */
    uint64_t seq;
    uint32_t target; /* of a ping or ping-req; LONE_NOBODY: whoever is there */
    bool foreign;    /* of another cluster */
    bool differs;    /* its view is another one */
    bool digest;     /* with an empty view's digest, and to be answered */
    const struct gossip_record *record;
};

/* Closes what was open before (zeroed at first). It is "n0"; the others "n1" and on are known to
 * it, active at generation 1, incarnation 1. */
void lone_open(struct lone *l, uint32_t others_n);
void lone_close(struct lone *l);
/* Ticks whenever it is due. */
void lone_run(struct lone *l, uint64_t ns);
/* Time passes, and nobody looks at it: it was stopped. */
void lone_sleep(struct lone *l, uint64_t ns);
void lone_forget(struct lone *l);
void lone_hear(struct lone *l, const struct lone_word *word);
/* The connection to it was reset. */
void lone_evidence(struct lone *l, uint32_t about);
/* A rumour of somebody, told by another. */
void lone_rumour(struct lone *l, uint32_t from, uint32_t about, enum gossip_state state,
                 uint64_t generation, uint64_t incarnation);
/* The same in another type of frame. */
void lone_tell(struct lone *l, uint8_t type, uint32_t from, uint32_t about, enum gossip_state state,
               uint64_t generation, uint64_t incarnation);
/* How it sees somebody; state 0: not at all. */
struct swim_info lone_view(const struct lone *l, uint32_t n);
/* The latest of this type, to this one if it is not LONE_NOBODY; NULL. */
const struct lone_sent *lone_last(const struct lone *l, uint8_t type, uint32_t to);
uint32_t lone_count(const struct lone *l, uint8_t type, uint32_t to);
/* Goes on until it has sent one of this type; NULL: not within a minute. */
const struct lone_sent *lone_await(struct lone *l, uint8_t type);

#endif
