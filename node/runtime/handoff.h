/* Live handoff: partitions move from one node that runs to another, with the entities that are
 * resident, so that nothing is loaded again and nothing is lost (DESIGN §6.7). A batch at a time:
 *
 *   freeze    the batch's partitions run nothing any more; calls for them wait. What their entities
 *             have on its way to the store comes back, what waits for it is answered.
 *   stream    the resident entities go to the other node in parts; it builds them up, but they are
 *             not its own yet.
 *   commit    one statement of the store moves owner and epoch. From the moment it is sent nothing
 *             is undone before its outcome is known: it is sent again until it is.
 *   tell      the other node is told the epochs and serves; the calls that waited are forwarded.
 *
 * If anything fails before the commit, the batch stays where it is. If either node dies, the
 * store's row says whose it is. handoff_out.c gives, handoff_stream.c packs, handoff_commit.c hands
 * over, handoff_in.c takes. */
#ifndef TROUPE_RUNTIME_HANDOFF_H
#define TROUPE_RUNTIME_HANDOFF_H

#include "node/runtime/runtime.h"
#include "peer.pb-c.h"

enum {
    HANDOFFS_MAX = 8,        /* outgoing at once, at most; see config.handoff_concurrency */
    HANDOFF_PIDS_MAX = 256,  /* of one batch … */
    HANDOFF_ENTITIES = 2000, /* … which is closed when it has so many entities … */
    HANDOFF_BYTES = 1 << 20, /* … or so many bytes of them, by estimate */
    HANDOFF_PART_BYTES = 64 << 10,
    HANDOFF_RETRY_NODE_MS = 1000, /* a node that did not take something is left alone */
    HANDOFF_TELL_AGAIN_MS = 100,
    INCOMING_MAX = 64,
};

enum handoff_phase {
    HANDOFF_IDLE,
    HANDOFF_FREEZING,
    HANDOFF_STREAMING,
    HANDOFF_COMMITTING,
    HANDOFF_TELLING,
    HANDOFF_KEEPING, /* given up, and the other node is to know that it forgets what it has of it */
};

/* One batch on its way out. */
struct handoff {
    enum handoff_phase phase;
    uint32_t node;                      /* to whom */
    uint64_t to_generation, generation; /* of the runs: its, and ours */
    uint64_t number; /* ascending in the order in which batches are sent; 0: not sent yet */
    struct store_move moves[HANDOFF_PIDS_MAX]; /* ascending */
    uint32_t moves_n;
    uint32_t parts_n, parts_out; /* sent, and of these not answered yet */
    bool failed;                 /* some part was not taken */
    bool uncertain;              /* the commit may have happened */
    uint32_t commit_failures;
    uint64_t begun_ns, check_ns, retry_ns;
    uint64_t entities, bytes;
};

/* One batch on its way in. */
struct incoming {
    uint32_t node; /* from whom; NODE_NONE: free */
    uint64_t from_generation, number;
    uint32_t parts_n, parts_got;
    bool orphan; /* its giver is gone, and may have moved it to us */
    bool moved;  /* the store has it as ours, and no claim of ours can have done that */
    bool unsure; /* a claim of ours may have got it: that it is ours tells nothing of what has come
                  */
    store_pid *pids;
    uint32_t pids_n;
    uint64_t begun_ns, entities;
    uint64_t look_ns; /* into the map for what has become of it, if it takes so long; not before */
};

struct handoff_totals {
    uint64_t partitions_out, partitions_in, entities_out, entities_in, bytes_out, bytes_in;
    uint64_t batches_out, batches_in, aborted, dropped;
    uint64_t freeze_max_us; /* of a batch, from the freezing to the end of the commit */
};

/* What a peer asks for: in a request from the peer port, method, payload. The answer is a status
 * with a static text. */
struct handoff_answer {
    enum troupe_status status;
    const char *text;
};

/* ---- handoff_out.c ---- */
int handoff__init(struct runtime *rt);
void handoff__close(struct runtime *rt);
void handoff__free(struct runtime_peer_request *peer);
/* There may be something to give away. */
void handoff__review(struct runtime *rt);
void handoff__tick(struct runtime *rt);
uint64_t handoff__next_ns(const struct runtime *rt);
void handoff__peer_done(struct runtime *rt, struct runtime_peer_request *peer);
/* Our ownership is in doubt: batches that are not committing stay here. */
void handoff__abort_all(struct runtime *rt);
bool handoff__is_out(const struct runtime *rt);
uint32_t handoff__pending(const struct runtime *rt);

/* Who gives to whom, and which batch: points into rt and h. */
void handoff__name(const struct runtime *rt, const struct handoff *h, Troupe__Peer__Transfer *t);
/* Sends the other node a message about the batch; its answer comes to handoff__peer_done. False:
 * out of memory. */
bool handoff__tell(struct runtime *rt, struct handoff *h, const char *method,
                   const ProtobufCMessage *payload);
/* The batch, of which nothing can have been moved, stays here. */
void handoff__abort(struct runtime *rt, struct handoff *h, const char *why);

/* ---- handoff_stream.c ---- */
/* FREEZING to STREAMING: all that the batch holds is on its way, or it has been aborted. */
void handoff__stream(struct runtime *rt, struct handoff *h);

/* ---- handoff_commit.c ---- */
/* COMMITTING, also once more after an unknown outcome. */
void handoff__send_commit(struct runtime *rt, struct handoff *h);
bool handoff__commit_done(struct runtime *rt, struct store_request *request);
/* TELLING, likewise. */
void handoff__send_given(struct runtime *rt, struct handoff *h);
/* The map says that it is still ours: if it was left frozen after a commit that did not move it, it
 * runs again. */
void handoff__confirmed(struct runtime *rt, uint32_t pid);

/* ---- handoff_in.c ---- */
struct handoff_answer handoff__take(struct runtime *rt, const Troupe__Peer__Take *take);
struct handoff_answer handoff__given(struct runtime *rt, const Troupe__Peer__Given *given);
struct handoff_answer handoff__keep(struct runtime *rt, const Troupe__Peer__Keep *keep);
/* The runs of that node before this generation are gone: what they were giving us is forgotten, and
 * asked of the store. */
void handoff__giver_gone(struct runtime *rt, uint32_t node, uint64_t generation);
/* It is news that another node has the partition, which is coming. */
void handoff__heard_of_owner(struct runtime *rt, uint32_t pid, uint32_t node);
void handoff__forget_incoming(struct runtime *rt);
/* The same, but for what has come whole: it may be ours already, or may become so at any moment. */
void handoff__forget_partial(struct runtime *rt);
/* Whether there is something of that kind. */
bool handoff__is_coming(const struct runtime *rt);
/* Its givers have had time to say so: the store is asked instead. */
void handoff__ask_for_incoming(struct runtime *rt);
/* All of it has come, from a node that is gone, and the store is being asked whose it is. */
bool handoff__has_orphan(const struct runtime *rt, uint32_t pid);
/* … and what has come is what was handed over, if the store has it as ours now. */
bool handoff__brought(const struct runtime *rt, uint32_t pid);
/* A claim may have been executed, nobody knows. A partition that turns out to be ours need not have
 * been handed over then: its giver may have kept it, gone on, and died. */
void handoff__claim_unsure(struct runtime *rt);
void handoff__tick_orphans(struct runtime *rt);

#endif
