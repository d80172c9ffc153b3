/* What the files of this folder share: the runtime's structs and the functions between them. Where
 * to look:
 *
 *   runtime.c    open, close, step, collect              table.c   entities of a partition
 *   lifecycle.c  register, renew, claim, suspend, stop   wheel.c   timers
 *   request.c    RPC requests and their results          dedup.c   request ids
 *   deliver.c    messages find their entity              ctx.c     what a kind's callbacks can do
 *   entity.c     start, crash, stop, drop                load.c    batched loads
 *   handler.c    run a callback, do what it said         save.c    persistence, group commit, gates
 *   evict.c      the coldest go when memory is short     node_kind*.c  the $node methods
 *   intake.c     batches that take long    state_version.c  states of older and newer programs
 *   log.c        log effects               claims.c    partitions: asking the store for them
 *   members.c    who else there is          failover.c  evicting nodes that lost their lease
 *   members_ring.c  the ring that follows   owners.c    the map of owners, and how it spreads
 *   nodes.c      the table of all nodes   forward.c    messages for entities of other nodes
 *   handoff*.c   partitions that move     peer_kind.c  what other nodes ask
 *   promise.c    outages of the store     warm.c    what was in use before a failover
 *   store_server.c  failovers of the store   store_doubt.c  those that others tell of
 *   kinds_open.c   which kinds the cluster has, kinds_calls.c  calls to those that are not open */
#ifndef TROUPE_RUNTIME_INTERNAL_H
#define TROUPE_RUNTIME_INTERNAL_H

#include "base/invariant.h"
#include "base/list.h"
#include "base/name.h"
#include "cluster/lease.h"
#include "cluster/owner_map.h"
#include "cluster/ownership.h"
#include "node/runtime/dedup.h"
#include "node/runtime/handoff.h"
#include "node/runtime/kinds_open.h"
#include "node/runtime/members.h"
#include "node/runtime/runtime.h"
#include "node/runtime/store_health.h"
#include "node/runtime/table.h"
#include "node/runtime/wheel.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

enum {
    KINDS_MAX = 250,
    METHODS_MAX = 250,
    METHOD_GET = 255,         /* $get, which every kind has */
    SENDS_MAX = 10000,        /* of one callback */
    TIMERS_MAX = 1000,        /* of one entity */
    RUN_MAX = 10000,          /* messages between entities run in one step */
    RESTARTS_REMEMBERED = 16, /* crash times of one entity */
    CLAIM_PIDS_MAX = 1024,    /* of one claim */
    BLANK_IDLE_MS = 10000,    /* an entity that was never changed stops after this */
    QUARANTINE_MS_MIN = 1000,
    QUARANTINE_MS_MAX = 300000,
    STORE_RETRY_MS_MIN = 50,
    STORE_RETRY_MS_MAX = 2000,
    LOGS_MAX = 64,             /* of one collect; more are counted */
    SAVE_ROWS_PER_FLIGHT = 32, /* rows that justify each further commit in flight */
    NODE_ASKS_MAX = 16,        /* operators' questions at the store */
    NODE_CALLS_MAX = 16,       /* calls to $node in one request */
    NODE_CACHE_MS = 100,       /* so long it may give the same answer */
    NODE_METHODS_MAX = 16,
    YIELD_EVERY = 16,   /* messages between two looks at whether the step has taken long */
    WARM_PIDS_MAX = 64, /* partitions of one look at what was in use */
};

_Static_assert((int)KINDS_MAX <= UINT8_MAX && (int)METHODS_MAX < (int)METHOD_GET,
               "kinds and methods are bytes");
_Static_assert((int)CLAIM_PIDS_MAX <= (int)STORE_PIDS_MAX, "a claim fits the store's limit");

enum timer_type { TIMER_ENTITY = 1, TIMER_REQUEST, TIMER_OUTCALL };

/* ---- messages ---- */

enum message_type {
    MESSAGE_REQUEST, /* a call of an RPC request: lives in the request's arena */
    MESSAGE_CAST,    /* between entities: on the heap, freed when handled */
    MESSAGE_CALL,
    MESSAGE_REPLY, /* to an entity's own call */
};

struct message {
    struct list link;                /* run queue, parked, a mailbox or a gate */
    struct entity *mailbox;          /* whose mailbox it waits in */
    struct runtime_request *request; /* of a MESSAGE_REQUEST */
    uint64_t hash;                   /* of the addressee */
    uint64_t gate_version;           /* in a gate: waits for this version to be persisted */
    uint64_t losses_n;               /* once executed: rt->losses_n then */
    struct forward *forward;         /* it is on its way to another node … */
    uint32_t forward_at;             /* … at this place */
    uint32_t index;                  /* of the call in its request */
    uint32_t pid;                    /* partition of the addressee */
    uint8_t type, kind, method, ack;
    bool waiting;  /* in a mailbox or parked: counted against calls_waiting_max */
    bool gated;    /* in a gate */
    bool asking;   /* a $node call that waits for the store */
    bool finished; /* has its result */
    bool executed; /* its handler ran */
    bool unsure;   /* another node may have run it */
    bool durable;  /* what it did is, or is to be, committed before it is answered */
};

/* A message between entities. */
struct letter {
    struct message m;
    struct troupe_bytes id, payload; /* in data */
    uint64_t parked_until_ns;        /* it does not wait for its partition longer; 0 = not yet */
    uint8_t status;                  /* of a reply */
    /* Of a call, and of the reply to it: whose it is. */
    uint64_t call_id;
    uint64_t caller_hash;
    uint8_t caller_kind;
    struct troupe_bytes caller_id; /* in data */
    uint8_t data[];
};

struct request_deadline {
    struct timer timer;
    struct runtime_request *request;
};

/* ---- entities ---- */

enum entity_phase {
    ENTITY_LOADING,  /* its state is to be loaded; messages wait */
    ENTITY_ACTIVE,   /* has its state; runs messages as they come */
    ENTITY_STOPPING, /* asked to stop or deleted: persists what it has; messages wait for the next
                        start */
    ENTITY_CRASHED,  /* waits for a save under way, then loads again */
    ENTITY_QUARANTINED, /* crashed too often: refuses calls for a while */
    ENTITY_DROPPED,     /* out of the table; freed when the load or save under way comes back */
};

struct entity_timer {
    uint64_t tag, due_ns;
};

/* A call this entity made and waits for. */
struct outcall {
    struct timer timer;
    struct list link;
    struct entity *caller;
    uint64_t call_id, tag;
};

/* What few entities need. */
struct entity_extra {
    struct list outcalls;
    struct entity_timer *timers;
    uint32_t timers_n, timers_cap;
    uint64_t crash_ns[RESTARTS_REMEMBERED]; /* a ring */
    uint32_t crashes;
    uint32_t quarantines;
    bool quarantine; /* the last crash was one too many */
    uint64_t quarantined_until_ns;
    char crash_text[160];
};

/* In the order in which a call touches it: a cache line for running, one for queues and persisting,
 * one for the rest. */
struct entity {
    uint64_t hash;
    void *state;      /* the kind's; NULL unless ACTIVE or STOPPING */
    uint64_t version; /* of the state in memory */
    uint64_t saved;   /* of the row in the store */
    uint64_t durable; /* the highest version somebody waits for */
    uint64_t used_ns;
    struct dedup *dedup;
    uint8_t kind, phase;
    uint8_t id_len;
    bool loading;   /* in a load on its way */
    bool tombstone; /* deleted by its handler, not yet stopped */
    bool stop_idle; /* stop it when it is persisted, unless it is used again */
    uint16_t mailbox_n;

    struct list mailbox; /* messages that wait for it to be active */
    struct list gate;    /* replies and letters that wait for a commit, by gate_version */
    struct list ready;   /* in the load, due, durable or stop queue, or in its kind's dirty list */
    uint64_t saving;     /* version of the row on its way to the store; 0 = none is */
    /* When version first went past what is saved or being saved. Of one that is clean: when it was
     * last committed, 0 = not since it was loaded. */
    uint64_t dirty_ns;

    struct timer wake; /* the earliest of: idle, its own timers */
    struct entity_extra *extra;
    uint32_t bytes; /* estimated memory of state and dedup */
    bool again;     /* was committed before a failover of the store, and is being written again */
    bool unsure;    /* a save of it was fenced that an earlier attempt may have applied */
    bool warm;      /* in a load that nobody asked for; see warm.c */
    uint8_t id[];
};

_Static_assert(offsetof(struct entity, mailbox) == 64, "the first cache line");

struct kind {
    const struct troupe_kind *def;
    struct troupe_kind_options options; /* with defaults filled in */
    struct list dirty;                  /* entities, oldest change first */
    struct troupe_bytes name;
    uint32_t write_version;    /* in which states are written; at most def->state_version */
    bool open;                 /* its calls may run here; see kinds_open.h */
    bool opening, closed_told; /* … soon: they wait; the log tells that nodes lack it */
    uint64_t newer_told_ns;    /* an entity of a newer version was logged then; 0 = none was */
};

/* ---- the store ---- */

/* A request of which there is at most one. */
struct store_slot {
    struct store_request request;
    struct arena arena;
    bool out; /* at the store */
    uint64_t sent_ns;
    uint64_t retry_ns; /* not before */
    uint32_t failures; /* in a row */
};

/* An operator's question that the store answers; see node_kind_store.c. */
struct node_ask {
    struct store_slot slot;
    struct message *m; /* NULL: nobody waits for it any more */
    const struct node_answer *answer;
};

/* An answer of $node that may be given again for a moment: making one reads all partitions. */
struct node_cached {
    struct arena arena;
    struct troupe_bytes packed; /* in the arena; NULL data: none */
    uint64_t at_ns;
};

struct load_batch {
    struct store_request request;
    struct arena arena;
    struct store_key *keys;
    uint64_t *epochs; /* at which the keys' partitions were ours when it was sent */
    struct entity **entities;
    uint64_t sent_ns;
    bool out;
};

/* See warm.c. */
struct warm {
    struct store_slot look;
    bool *wanted; /* by partition: not looked at yet */
    uint32_t wanted_n, cursor;
    store_pid pids[WARM_PIDS_MAX]; /* of the look under way, or what is left of the last one's */
    uint32_t pids_n;
    struct store_key after; /* … behind this row, in: */
    uint8_t after_bytes[NAME_KIND_BYTES_MAX + NAME_ID_BYTES_MAX];
    const struct store_saved *found; /* in the look's arena */
    size_t found_n, found_at;        /* the first one that is not loaded yet */
    uint32_t loading_n;              /* entities in the load under way */
    size_t loading_at;               /* … found from here on */
    bool load_failed;                /* … it is made again */
    uint32_t rows_max;               /* of the next look */
    uint64_t begun_ns, loads_ns;
    uint64_t next_ns;    /* it rests until then */
    uint64_t entities_n; /* since it began */
    bool active;
};

struct save_batch {
    struct store_request request;
    struct arena arena;     /* captured states */
    struct arena outputs;   /* the store's */
    struct store_row *rows; /* row.data = the entity */
    uint32_t rows_n;        /* captured */
    uint32_t done_n;        /* settled, from the front */
    uint32_t window;        /* rows under way, from done_n on */
    bool used, out;
    uint32_t uncertain_n; /* rows, from the front, of which an attempt's outcome is unknown */
    uint32_t failures;
    uint64_t sent_ns, retry_ns, oldest_ns;
    uint64_t moved_ns; /* when it began, or the store last took some of it */
};

/* What others say of the store; see store_doubt.c. */
struct store_doubt {
    uint64_t timeline, heard_ns; /* the latest that was told; 0 = nothing was */
    uint64_t next_ns;            /* no look before … */
    uint32_t wait_ms;            /* … and after that one, so long */
    bool redial;                 /* to be taken with the next effects */
    bool told;                   /* by the log */
    bool holds;                  /* the node does not begin to serve, since then */
    uint64_t held_ns;
    uint64_t redials_n;
};

struct log_buffer {
    struct runtime_log entries[LOGS_MAX];
    uint32_t n, dropped;
    struct arena arena;
    bool stale; /* handed out by the last collect */
};

struct runtime {
    struct runtime_config config; /* with defaults filled in, strings in arena */
    struct arena arena;           /* lives as long as the runtime */
    struct runtime_time now;
    uint64_t opened_ns;
    uint64_t random;
    unsigned partition_bits;

    struct kind *kinds; /* one more than kinds_n, which stands for those that we lack: never open */
    size_t kinds_n;
    struct kinds_open kinds_open;
    struct table *partitions;

    /* lifecycle */
    enum runtime_phase phase;
    int failure_code;
    char failure[STORE_ERRMSG_BYTES + 256];
    struct lease lease;
    struct ownership ownership;
    uint64_t
        losses_n; /* partitions that we have lost, or of which we lost what we had: a count, and
                     the clock by which it is told what happened before a loss, and what after it
                   */
    uint64_t losses_checked_n; /* finished replies that wait have been looked at since then … */
    bool replies_in_doubt;     /* … but for some that came before a loss */
    bool answers_void; /* the node stops, and whether its partitions are its own will not be known:
                          what handlers did is told to nobody */
    uint64_t generation;
    uint64_t server, timeline; /* the latest server of the store that has answered */
    struct store_doubt store_doubt;
    struct store_health store_health;
    uint64_t timeline_ns; /* when the store was seen to have failed over; 0 = never */
    char cluster_uid[STORE_UID_BYTES + 1];
    struct store_slot reg, renew, claim, owners, leave, evict, kinds_set;
    store_pid claim_pids[CLAIM_PIDS_MAX];
    uint64_t confirmed_ns; /* while suspended: the first renewal that came back well, since when
                              nobody can have evicted us; a map is read after that */
    uint64_t recheck_ns;   /* a map that was read before does not count */
    uint64_t ask_all_ns;
    uint64_t rows_ns;           /* when the rows of the others were last read */
    uint64_t drain_until_ns;    /* a drain at the stop ends then at the latest */
    uint64_t answers_until_ns;  /* while stopping: other nodes' answers are waited for until then */
    uint64_t incoming_until_ns; /* … and what they are handing to us; then the store is asked */
    uint64_t claim_doubt_ns; /* what has become of a claim is looked for then; UINT64_MAX: none */
    uint64_t holder_generation, holder_seq, holder_seen_ns,
        holder_heard_ns;                      /* of a name that is taken */
    uint64_t joined, joins_seen;              /* see storage/store.h, REGISTER and RENEW */
    uint64_t holder_until_ns, holder_told_ns; /* see waits.c */
    char holder_address[STORE_ADDR_BYTES_MAX + 1];
    uint64_t handoff_paced_ns; /* no batch begins before; see handoff_bytes_per_s */
    uint64_t holder_given_up;  /* its generation, when an operator says that it is gone for good */
    uint32_t holder_moves;
    uint32_t evict_node; /* whom the eviction under way is about */
    bool recheck;        /* the owner map must be read before serving again */
    bool timeline_known; /* a server of the store has answered, and told its timeline */
    bool failed_over;    /* … and then another one; the map has not been read since */
    bool writing_again;  /* only what is written again is waited for before serving */
    bool want_map;       /* … and to tell callers who owns what we do not */
    bool map_known;      /* it has been read since we registered */
    bool claims_begun;   /* it is known what to claim */
    bool rows_fresh;     /* the rows of the others have not been looked at yet */
    bool rows_first;     /* … since we registered, or the store failed over */
    bool draining;       /* gives everything away, and then stops */
    bool drain_asked;    /* an operator wants it to have nothing, and to stay */
    bool handoff_wanted; /* there may be something to give away */
    bool orphans;        /* some of incoming are */
    bool supersede;
    bool former_gone; /* … a run that does not live any more */
    bool served;      /* see runtime_effects.serves */
    bool store_ok;    /* the store does what it is asked: store_health.c */
    char store_error[STORE_ERRMSG_BYTES];
    struct members members;

    /* other nodes */
    struct owner_map owner_map;
    uint64_t owners_hash_told, owners_news_ns, owners_compare_ns, owners_malformed_n;
    uint64_t owners_doubts_n,
        owners_doubt_ns;    /* doubts that were looked into, and when the next is */
    struct list forwarding; /* being filled */
    uint64_t forwarded_n;
    uint64_t strangers_n, stranger_told_ns; /* requests of another cluster's nodes */
    uint32_t forwards_n;
    uint32_t peers_out; /* requests at other nodes */
    struct handoff handoffs[HANDOFFS_MAX];
    struct store_slot commits[HANDOFFS_MAX];
    struct incoming incoming[INCOMING_MAX];
    uint64_t promise_ask_ns;
    uint64_t handoff_number, handoff_review_ns;
    struct handoff_totals handoff_totals;
    struct arena members_arena; /* scratch */
    struct node_ask asks[NODE_ASKS_MAX];
    struct node_cached node_cached[NODE_METHODS_MAX];

    struct warm warm;

    /* work */
    struct wheel wheel;
    struct list intake;   /* requests whose calls have not all been handed out; see intake.c */
    struct list run;      /* messages to deliver */
    struct list parked;   /* messages whose partition is not ready … */
    struct list unparked; /* … or is being looked at again: these are left to be delivered, before
                             anything that has come later */
    uint64_t unpark_ns;   /* they are to be looked at again then */
    struct list load_queue, due_queue, durable_queue, stop_queue; /* entities, by ready */
    struct load_batch *loads;
    uint64_t load_retry_ns; /* no load before */
    struct save_batch *saves;
    uint32_t load_failures; /* in a row */
    uint32_t saves_used;
    uint32_t save_window; /* rows of one request at most: fewer while the store is too slow */
    uint32_t callbacks;   /* under way, one inside the other: save within $get */
    struct arena scratch; /* of one callback */
    uint64_t next_call_id;

    /* effects */
    struct runtime_request *replies, **replies_tail;
    struct runtime_peer_request *peers, **peers_tail;
    struct store_request *store, **store_tail;
    uint32_t store_out; /* requests at the store */
    struct log_buffer log;
    char name[NAME_KIND_BYTES_MAX + 2 + NAME_ID_BYTES_MAX]; /* see entity__name */

    /* figures */
    uint64_t again_n;  /* entities that are being written again */
    uint64_t warmed_n; /* entities that were started before anybody asked for them */
    uint64_t entities_n, dirty_n, loading_n, quarantined_n, entity_bytes;
    uint64_t calls_n, calls_failed_n, waiting_n, gated_n, crashes_n, rows_saved_n, rows_loaded_n;
    uint64_t rate_s, rate_calls,
        rate_last; /* second under way, calls then, calls of the one before */
    uint64_t commit_us;
    uint64_t rows_per_s; /* persisted, smoothed: how long a backlog will take */
};

/* ---- runtime.c ---- */
uint64_t runtime__random(struct runtime *rt);
/* Hands a request to the store with the next effects. */
void runtime__submit(struct runtime *rt, struct store_request *request);
/* Delay before attempt n + 1, in ns. */
uint64_t runtime__backoff(struct runtime *rt, uint32_t failures);

/* ---- store_server.c ---- */
/* Every answer of the store goes by here first: one of a server that has been deposed becomes an
 * unknown outcome, or none; one of a server that is new tells of a failover. */
void store_server__answered(struct runtime *rt, struct store_request *request);

/* ---- store_doubt.c ---- */
/* Another node says that the store has come to this timeline, or has given out this epoch. */
void store_doubt__hear(struct runtime *rt, uint64_t timeline);
void store_doubt__hear_epoch(struct runtime *rt, uint64_t epoch);
/* Tells the others when this node has met a later server. */
void store_doubt__tell(struct runtime *rt);
/* A later server has answered. */
void store_doubt__settled(struct runtime *rt);
void store_doubt__tick(struct runtime *rt);
uint64_t store_doubt__next_ns(const struct runtime *rt);
/* See runtime_effects.redial. */
bool store_doubt__take_redial(struct runtime *rt);
/* A server has confirmed the lease of a node that does not serve. Whether that is good enough: not
 * while a member that lives says that there is a later one, for a minute at most. */
bool store_doubt__allows(struct runtime *rt);

/* ---- store_health.c ---- */
/* Every answer of the store goes by here, when it is known what it is worth. */
void store_health__answered(struct runtime *rt, const struct store_request *request);
/* Looks for what has no answer at all. */
void store_health__tick(struct runtime *rt);
/* Nothing that the node needs fails (that is rt->store_ok), nor is late. */
bool store_health__is_well(const struct runtime *rt);
/* It cannot be reached, as far as the lease tells: who asks would wait in vain. */
bool store_health__is_away(const struct runtime *rt);
bool store_health__takes_writes(const struct runtime *rt);
/* What fails or is late; returns how many. */
size_t store_health__troubles(const struct runtime *rt, struct store_trouble out[STORE_OPS]);

/* ---- lifecycle.c ---- */
int lifecycle__init(struct runtime *rt);
void lifecycle__close(struct runtime *rt);
/* What the time brings: renewals, claims, retries, the end of the lease. */
void lifecycle__tick(struct runtime *rt);
/* Time of the next thing that lifecycle__tick would do. */
uint64_t lifecycle__next_ns(const struct runtime *rt);
/* Whether the request was one of lifecycle's. */
bool lifecycle__done(struct runtime *rt, struct store_request *request);
void lifecycle__stop(struct runtime *rt);
/* The lease has run out: hold everything back. */
void lifecycle__suspend(struct runtime *rt, const char *why);
/* The store has fenced this partition: its entities go, and it is claimed anew. */
void lifecycle__fenced(struct runtime *rt, uint32_t pid, bool uncertain);
/* The store says that the lease is not ours any more. */
void lifecycle__evicted(struct runtime *rt);
/* The owner map is to be read again, from now on. */
void lifecycle__recheck(struct runtime *rt);
/* The owner map has been read again, and what is ours is ours. */
void lifecycle__rechecked(struct runtime *rt);
void lifecycle__submit(struct runtime *rt, struct store_slot *slot, enum store_op op);
bool lifecycle__is_free(const struct runtime *rt, const struct store_slot *slot);
uint64_t lifecycle__slot_next(const struct runtime *rt, const struct store_slot *slot, bool wanted);
void lifecycle__slot_failed(struct runtime *rt, struct store_slot *slot);
void lifecycle__slot_worked(struct store_slot *slot);

/* ---- claims.c ---- */
/* Registered: what was ours is to be claimed anew. */
void claims__begin(struct runtime *rt);
void claims__ring_changed(struct runtime *rt);
/* Whether this node lacks a kind that is open has changed. */
void claims__kinds_changed(struct runtime *rt);
/* A node may own nothing any more: what it had and we should have is asked for. */
void claims__owner_gone(struct runtime *rt, uint32_t node);
/* The answer to the claim is not believed. */
void claims__hear(struct runtime *rt);
/* It is not ours any more, or may not be. What we have in memory of it stays, and may be right. */
void claims__let_go(struct runtime *rt, uint32_t pid);
/* The store has failed over: of what was handed over before, nobody knows what has become of it,
 * nor of what handlers did in it. Replies that tell of that do not leave. */
void claims__doubt_given(struct runtime *rt);
/* The store has said that it is not ours. */
void claims__lost(struct runtime *rt, uint32_t pid);
/* A failover of the store has lost that it is ours: asked for again, and what we have of it kept
 * until the answer. */
void claims__went_back(struct runtime *rt, uint32_t pid);
/* A partition has become ours. */
void claims__won_one(struct runtime *rt);
void claims__resume(struct runtime *rt, uint32_t pid);
/* Whether the store's answer about a partition, to what was asked at sent_ns when it was ours at
 * that epoch, is still what to go on from: it has not been lost and won again, and the store has
 * not failed over. */
bool claims__stood(const struct runtime *rt, uint32_t pid, uint64_t epoch, uint64_t sent_ns);
/* Another node is said to have it; hearsay: not by the store. True: that was news. */
bool claims__learn(struct runtime *rt, uint32_t pid, uint64_t epoch, uint32_t node, bool hearsay);
/* A claim has been sent of which nobody knows whether it has been, or will be, executed. */
bool claims__are_in_doubt(const struct runtime *rt);
/* All that should be ours and is free has been asked for, and nothing is under way. */
bool claims__are_settled(const struct runtime *rt);
/* The node stops: nothing more is asked for, but what may have been given to us. */
void claims__stop(struct runtime *rt);
void claims__tick_orphans(struct runtime *rt);
uint64_t claims__next_orphans_ns(const struct runtime *rt);
void claims__tick(struct runtime *rt);
/* Reads the map if it is wanted and the store is free for it. */
void claims__tick_map(struct runtime *rt, bool wanted);
uint64_t claims__next_ns(const struct runtime *rt);
void claims__done(struct runtime *rt);
void claims__map_done(struct runtime *rt);

/* ---- failover.c ---- */
/* For how long a run must be silent before a proof that it is gone is believed. */
uint64_t failover__quiet_ms(const struct runtime *rt);
/* For how long a row was seen unchanged that was seen so first at since_ns: until we looked last.
 * What has been since then, nobody has seen. */
uint64_t failover__seen_for_ns(const struct runtime *rt, uint64_t since_ns);
/* Its process is known to have ended. */
bool failover__is_gone(const struct runtime *rt, const struct node_info *n);
/* The store has it that this run is over. */
void failover__given_up(struct runtime *rt, uint32_t node, uint64_t generation);
/* For how long a run may serve without the store after its last renewal, by what its row says. */
uint64_t failover__outage_ms(const struct runtime *rt, uint32_t row_outage_ms);
/* As a new run, which the others may not know: what was seen of them before does not count. */
void failover__registered(struct runtime *rt);
void failover__rows(struct runtime *rt, const struct store_node *others, size_t n);
void failover__tick(struct runtime *rt);
void failover__done(struct runtime *rt);

/* Until when that run is waited for, if it is not heard of meanwhile. */
uint64_t failover__until_ns(const struct runtime *rt, const struct node_info *n);

/* ---- waits.c ---- */
/* It may have partitions, and neither renews its lease nor answers other nodes. */
bool waits__is_silent(const struct runtime *rt, uint32_t node);
/* How many it has, and for how long at most it is waited for. */
uint32_t waits__partitions(const struct runtime *rt, uint32_t node);
uint64_t waits__left_ms(const struct runtime *rt, uint32_t node);
/* Partitions of all nodes that cannot be reached. */
uint32_t waits__unreachable(const struct runtime *rt);
/* Another run has the node's own name, and for how long at most that may last. */
bool waits__has_holder(const struct runtime *rt);
uint64_t waits__holder_left_ms(const struct runtime *rt);
/* Why a call for that partition was not executed: false when nobody is waited for. */
bool waits__text(const struct runtime *rt, uint32_t pid, char *text, size_t size);
/* News, for the log. */
void waits__rows_seen(struct runtime *rt);
void waits__holder_seen(struct runtime *rt, const struct store_node *holder, uint64_t until_ns);

/* ---- forward.c ---- */
/* The node that a message for this partition should go to; NODE_NONE: none, it is ours or waits. */
uint32_t forward__target(const struct runtime *rt, uint32_t pid);
void forward__message(struct runtime *rt, struct message *m, uint32_t node);
/* What a request's caller is told: that this node owns the entity. In the request's arena; NULL:
 * out of memory. */
struct rpc_owner *forward__owner(struct runtime *rt, struct message *m, uint32_t node);
/* Whether a request has come so far that it is not sent on. */
bool forward__has_hopped(const struct message *m);
/* It has been answered otherwise. */
void forward__forget(struct message *m);
void forward__flush(struct runtime *rt);
void forward__done(struct runtime *rt, struct runtime_peer_request *peer);
void forward__free(struct runtime_peer_request *peer);
void forward__close(struct runtime *rt);

/* ---- promise.c ---- */
struct handoff_answer promise__ask(struct runtime *rt, const Troupe__Peer__Promise *p);
void promise__done(struct runtime *rt, struct runtime_peer_request *peer);
void promise__free(struct runtime_peer_request *peer);
void promise__tick(struct runtime *rt);
uint64_t promise__next_ns(const struct runtime *rt);

/* ---- peer_kind.c ---- */
enum peer_use { PEER_FORWARD, PEER_HANDOFF, PEER_PROMISE };
void peer__send(struct runtime *rt, struct runtime_peer_request *peer, enum peer_use use);
/* Its one call was answered with OK. */
bool peer__is_ok(const struct runtime_peer_request *peer);
/* protobuf-c wants uint8_t *, and only reads it. */
ProtobufCBinaryData peer__binary(struct troupe_bytes bytes);
struct runtime_peer_request *peer__take_requests(struct runtime *rt);
/* Frees what has not been taken. */
void peer__close(struct runtime *rt);
void peer__done(struct runtime *rt, struct runtime_peer_request *peer);
bool peer_kind__is(struct troupe_bytes kind);
void peer_kind__call(struct runtime *rt, struct message *m);

/* ---- owners.c ---- */
int owners__init(struct runtime *rt);
void owners__close(struct runtime *rt);
/* What we know and what we hear do not go together: the store is asked again, in a while. */
void owners__doubt(struct runtime *rt);
/* ownership has something new about this partition: it is told on. */
void owners__told(struct runtime *rt, uint32_t pid);
/* Whether all that was heard of it was heard before the store was asked, at asked_ns. */
bool owners__is_settled(const struct runtime *rt, uint32_t pid, uint64_t asked_ns);
/* The store has it so, when it was asked at asked_ns. */
void owners__correct(struct runtime *rt, uint32_t pid, const char *name, uint64_t epoch,
                     uint64_t asked_ns);
void owners__frame(struct runtime *rt, struct troupe_bytes frame);
void owners__tick(struct runtime *rt);
uint64_t owners__next_ns(const struct runtime *rt);
uint64_t owners__hash(const struct runtime *rt);

/* ---- request.c ---- */
void request__accept(struct runtime *rt, struct runtime_request *request);
/* Gives the message's call its result; the last one sends the request off. */
void request__finish(struct runtime *rt, struct message *m, enum troupe_status status,
                     struct troupe_bytes payload, struct troupe_bytes text);
/* The result is filled in already. */
void request__complete(struct runtime *rt, struct message *m);
/* An error with a printf'd text. */
void request__fail(struct runtime *rt, struct message *m, enum troupe_status status,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
void request__expire(struct runtime *rt, struct runtime_request *request);
/* All its calls have been handed out: it may be finished. */
void request__handed_out(struct runtime *rt, struct runtime_request *request);
/* While suspended: finished requests past their deadline go out as UNKNOWN. */
void request__expire_held(struct runtime *rt);
/* The lease is in doubt and will not be confirmed: finished requests that relied on it become
 * UNKNOWN. */
void request__revoke_all(struct runtime *rt);
struct runtime_request *request__take_replies(struct runtime *rt);

/* ---- deliver.c ---- */
struct kind *deliver__kind(const struct runtime *rt, struct troupe_bytes name);
/* Index of a method, METHOD_GET, or -1. */
int deliver__method(const struct kind *kind, struct troupe_bytes name);
/* Calls of a request, in order, find their entities or their refusals. */
/* How many of the n it has come to before there was reason to yield; at least some. */
size_t deliver__requests(struct runtime *rt, struct message *messages, size_t n);
void deliver__message(struct runtime *rt, struct message *m);
void deliver__run(struct runtime *rt);
/* It waits until its partition is ready, or its deadline. */
void deliver__park(struct runtime *rt, struct message *m);
/* Everything parked is tried again, as far as the step goes; the rest goes on in the next one. */
void deliver__unpark(struct runtime *rt);
void deliver__unpark_on(struct runtime *rt);
struct troupe_bytes message__id(const struct message *m);
struct troupe_bytes message__payload(const struct message *m);
/* Takes a message out of whatever it waits in. */
void message__unlink(struct runtime *rt, struct message *m);
/* The message cannot be executed: fails a request, answers a letter's call, frees a letter. */
void message__refuse(struct runtime *rt, struct message *m, enum troupe_status status,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));
struct letter *letter__new(struct runtime *rt, enum message_type type, uint8_t kind, uint8_t method,
                           uint64_t hash, struct troupe_bytes id, struct troupe_bytes payload,
                           struct troupe_bytes caller_id);
/* The reply to a letter's call, not sent yet; NULL when out of memory. */
struct letter *letter__reply(struct runtime *rt, const struct letter *call,
                             enum troupe_status status, struct troupe_bytes payload);
static inline struct letter *letter__of(struct message *m)
{
    return (struct letter *)(void *)m;
}

/* ---- entity.c ---- */
/* Whether handlers may run in a partition: it is ours, nothing in it is on its way to another node,
 * and the lease stands. Everything that runs one asks this first. */
static inline bool entity__may_run(const struct runtime *rt, uint32_t pid)
{
    const struct ownership_entry *entry = &rt->ownership.entries[pid];
    bool ready = rt->phase == RUNTIME_SERVING || rt->phase == RUNTIME_STOPPING;
    return ready && entry->state >= OWNERSHIP_OWNED && !entry->going;
}
static inline uint32_t entity__pid(const struct runtime *rt, const struct entity *e)
{
    return name_partition(e->hash, rt->partition_bits);
}
/* A new entity in its partition's table, loading; NULL when out of memory. */
struct entity *entity__new(struct runtime *rt, uint8_t kind, uint64_t hash, struct troupe_bytes id);
struct entity_extra *
entity__extra(struct entity *e); /* made on first use; NULL when out of memory */
void entity__free(struct runtime *rt, struct entity *e);
/* An active entity as another node had it; whether it could be made. Nothing of it runs before its
 * partition is ours. failed_over: the store has, and that node did not know. */
bool entity__build(struct runtime *rt, uint8_t kind, uint64_t hash,
                   const Troupe__Peer__Entity *from, uint64_t used_ns, uint64_t dirty_ns,
                   bool failed_over);
/* Queues the message in the mailbox, or refuses it when that is full. */
void entity__enqueue(struct runtime *rt, struct entity *e, struct message *m);
/* Queues the entity to be loaded (again). */
void entity__load(struct runtime *rt, struct entity *e);
/* The row has come, and is the one to go on from: starts the entity and runs its mailbox. row NULL:
 * there is none. */
void entity__start(struct runtime *rt, struct entity *e, const struct store_row *row);
void entity__crash(struct runtime *rt, struct entity *e, const char *why);
/* After a save under way has come back. */
void entity__crash_settle(struct runtime *rt, struct entity *e);
/* Stops the entity if it is clean and nothing waits; whether it is gone. */
bool entity__try_stop(struct runtime *rt, struct entity *e, enum troupe_stop_reason reason);
/* Asks it to stop once persisted; it is not freed before entity__reap. */
void entity__stop_soon(struct runtime *rt, struct entity *e);
/* Stops those that were asked to and are clean. Only where no entity is in hand. */
void entity__reap(struct runtime *rt);
/* Frees an entity that nobody waits for any more and that need not be loaded. Whether it did. */
bool entity__abandon(struct runtime *rt, struct entity *e);
/* The node stops and the entity is clean: ends it. */
void entity__end(struct runtime *rt, struct entity *e);
/* The entity goes without being persisted. */
void entity__drop(struct runtime *rt, struct entity *e, bool uncertain);
/* Entities of the partition that have no state yet go: their messages look for their way again. */
void entity__drop_stateless(struct runtime *rt, uint32_t pid);
/* The partition is lost, and all its entities go; replies that tell of them, and have not left yet,
 * are not let out any more. */
void entity__drop_partition(struct runtime *rt, uint32_t pid, bool uncertain);
/* Another node has it now, with all that was in memory: what was said of it stays true. */
void entity__drop_moved(struct runtime *rt, uint32_t pid);
void entity__wake(struct runtime *rt, struct entity *e);
void entity__rearm(struct runtime *rt, struct entity *e);
void entity__set_bytes(struct runtime *rt, struct entity *e, size_t bytes);
bool entity__is_clean(const struct entity *e);
/* "venue/42" for logs and messages; valid until the next call. */
const char *entity__name(struct runtime *rt, const struct entity *e);

/* For its window of request ids. */
static inline struct dedup_time dedup_time(const struct runtime *rt, const struct entity *e)
{
    return (struct dedup_time){.now_ms = rt->now.wall_ms,
                               .window_ms = rt->kinds[e->kind].options.request_window_ms};
}

/* ---- handler.c ---- */
struct troupe_ctx {
    struct runtime *rt;
    struct entity *e;
    struct kind *kind;
    struct message *m;     /* NULL in start, save, stop, info */
    struct arena *replies; /* where the reply's payload goes */
    struct list letters;   /* sent by this callback */
    uint32_t letters_n;
    enum troupe_status status;
    struct troupe_bytes payload;
    const char *text;
    bool callable; /* sends and timers are allowed */
    char crash[160];
};
void handler__ctx_init(struct troupe_ctx *ctx, struct runtime *rt, struct entity *e,
                       struct message *m);
void handler__ctx_close(struct troupe_ctx *ctx);
/* Runs a message on an active entity. */
void handler__run(struct runtime *rt, struct entity *e, struct message *m);
void handler__info(struct runtime *rt, struct entity *e, const struct troupe_info *info);

/* ---- ctx.c ---- */
struct troupe_buffer {
    struct arena *arena;
    uint8_t *data;
    size_t len, cap, max;
    bool full; /* something did not fit */
};
/* Fires what is due of the entity's own timers. */
void ctx__fire_timers(struct runtime *rt, struct entity *e);
uint64_t ctx__next_timer_ns(const struct entity *e);
/* A call to another entity was not answered in time. */
void ctx__outcall_expired(struct runtime *rt, struct outcall *call);
/* An answer has come: true and its tag when somebody still waits for it. */
bool ctx__outcall_take(struct runtime *rt, struct entity *e, uint64_t call_id, uint64_t *tag);
/* Forgets timers and calls: the entity stops. */
void ctx__forget(struct runtime *rt, struct entity *e);

/* ---- state_version.c ---- */
/* What is kept beside the state: its version, and the window of request ids. With no version that
 * is the window itself; else in the arena. As dedup_write: a length without data: out of memory. */
struct troupe_bytes state_version__seal(struct arena *arena, uint32_t version,
                                        struct troupe_bytes window);
/* The reverse: TROUPE_EMALFORMED, or 0; *window is within sealed. */
int state_version__unseal(struct troupe_bytes sealed, uint32_t *version,
                          struct troupe_bytes *window);
/* *saved, of that version, as the kind's start reads it; within the callback of ctx.
 * TROUPE_EVERSION: it is newer than the kind. Else non-zero: a crash, and ctx->crash says why. */
int state_version__upgrade(struct troupe_ctx *ctx, uint32_t version, struct troupe_bytes *saved);
/* Writes the state in the version in which the kind is written at present: as save. */
int state_version__save(struct troupe_ctx *ctx, struct troupe_buffer *out);
/* Whether the kind can write that version. */
bool state_version__can_write(const struct troupe_kind *def, uint32_t version);
/* NULL, or what is wrong with what the kind says of versions. */
const char *state_version__check(const struct troupe_kind *def);

/* ---- kinds_open.c ---- */
/* False: the names of the kinds are too long, in all. */
bool kinds__init(struct runtime *rt);
void kinds__close(struct runtime *rt);
void kinds__registered(struct runtime *rt);
/* It is known which of our kinds are open; none is about to. */
bool kinds__are_settled(const struct runtime *rt);
/* What the next renewal shall tell; NULL: nothing new. */
const char *kinds__to_tell(struct runtime *rt);
void kinds__renewed(struct runtime *rt, const struct store_renew *renew);
void kinds__set_done(struct runtime *rt);
/* This node cannot run entities of a kind that has opened: it takes no partitions. */
static inline bool kinds__lacks(const struct runtime *rt)
{
    return rt->kinds_open.lacks;
}
/* The next entry of a list, which moves on; false: there is none. */
bool kinds__next(const char **list, struct troupe_bytes *name, uint32_t *version);
/* The list without that one; NULL: out of memory. */
const char *kinds__without(const char *list, struct troupe_bytes name, struct arena *arena);
/* What the store remembers has been changed to this. */
void kinds__is(struct runtime *rt, const char *open);
/* Whether the list has the kind, and at which version. */
bool kinds__find(const char *list, struct troupe_bytes name, uint32_t *version);
/* The names of the active nodes that lack it, this one included. "": none. */
void kinds__list_lacking(const struct runtime *rt, struct troupe_bytes name, char *text,
                         size_t bytes);

/* ---- kinds_calls.c ---- */
/* A message of a kind that is not open here: it is sent on, waits, or is refused. */
void kinds__deliver(struct runtime *rt, struct message *m);

/* ---- load.c ---- */
int load__init(struct runtime *rt);
void load__close(struct runtime *rt);
void load__flush(struct runtime *rt);
bool load__is_out(const struct runtime *rt);
/* The oldest load under way; 0: there is none. */
uint64_t load__sent_ns(const struct runtime *rt);
/* Whether a batch that nobody waits for may go: none of calls waits, and they find another free. */
bool load__has_room(const struct runtime *rt);
bool load__done(struct runtime *rt, struct store_request *request);

/* ---- save.c ---- */
int save__init(struct runtime *rt);
void save__close(struct runtime *rt);
/* The handler changed the state; durable: somebody waits for it. */
void save__changed(struct runtime *rt, struct entity *e, bool durable);
/* Somebody waits for the version in memory. */
void save__want_durable(struct runtime *rt, struct entity *e);
/* Persist it as soon as possible, though nobody waits. */
void save__want_soon(struct runtime *rt, struct entity *e);
/* Puts m behind the entity's gate, or does at once what is due if nothing is to be waited for. */
void save__output(struct runtime *rt, struct entity *e, struct message *m);
/* Takes the state of an active entity as bytes in the arena: 0, or a crash text in *why. */
int save__capture(struct runtime *rt, struct entity *e, struct arena *arena,
                  struct troupe_bytes *bytes, char *why, size_t why_bytes);
/* Gated messages beyond `version` can no longer be kept: they are answered. */
void save__abort_gate(struct runtime *rt, struct entity *e, uint64_t version,
                      enum troupe_status status, const char *why);
/* The same, of an entity that has crashed: what is newer than the save on its way. */
void save__abort_crashed(struct runtime *rt, struct entity *e);
/* Puts a dirty entity back into the queue it belongs in. */
void save__enqueue(struct runtime *rt, struct entity *e);
/* Moves what is due into the due queue. */
void save__tick(struct runtime *rt);
void save__flush(struct runtime *rt);
uint64_t save__next_ns(const struct runtime *rt);
bool save__done(struct runtime *rt, struct store_request *request);
/* Everything dirty is due now. */
/* The store has failed over to a copy that may lack the last commits: what was committed lately and
 * is resident is written again, and again_n tells how much of it is still to come. */
void save__again(struct runtime *rt);
/* Whether what was committed then is of the time shortly before the last failover. failed_over: of
 * one that whoever committed it did not know of yet. */
bool save__may_be_lost(const struct runtime *rt, uint64_t committed_ns, bool failed_over);
/* It need not be waited for any more. */
void save__not_again(struct runtime *rt, struct entity *e);
void save__all(struct runtime *rt);
uint64_t save__lag_ms(const struct runtime *rt);
/* When something should have been saved that is not: a change within its kind's interval, a commit
 * at once. 0: nothing waits. */
uint64_t save__due_ns(const struct runtime *rt);

/* ---- warm.c ---- */
int warm__init(struct runtime *rt);
void warm__close(struct runtime *rt);
/* The partition is ours now, and nothing of it is in memory: what was in use of it shall be. */
void warm__want(struct runtime *rt, uint32_t pid);
/* How many partitions are still to be looked at. */
uint32_t warm__partitions(const struct runtime *rt);
/* A load of an entity with the mark `warm` has ended. False: there is nothing to start, and the
 * mark is gone. */
bool warm__loaded(struct runtime *rt, struct entity *e, const struct store_row *row);
/* … has failed: the mark is gone. */
void warm__load_failed(struct runtime *rt, struct entity *e);
void warm__tick(struct runtime *rt);
uint64_t warm__next_ns(const struct runtime *rt);
bool warm__is_out(const struct runtime *rt);
bool warm__done(struct runtime *rt, struct store_request *request);

/* ---- evict.c ---- */
void evict__flush(struct runtime *rt);
bool evict__is_full(const struct runtime *rt);

/* ---- intake.c ---- */
void intake__init(struct runtime *rt);
/* Hands out the calls of a request, as many as there is time for. True: all of them. */
bool intake__take(struct runtime *rt, struct runtime_request *r);
/* The others. */
void intake__go_on(struct runtime *rt);
bool intake__is_empty(const struct runtime *rt);
bool intake__has(const struct runtime_request *r);
/* What has not been handed out will not be. */
void intake__forget(struct runtime_request *r);
/* See runtime_config.yield. */
bool runtime__should_yield(const struct runtime *rt);

/* ---- node_kind.c ---- */
void node_kind__init(struct runtime *rt);
void node_kind__close(struct runtime *rt);
void node_kind__call(struct runtime *rt, struct message *m);
bool node_kind__is(struct troupe_bytes kind);
bool node_kind__method(struct troupe_bytes method, const ProtobufCMessageDescriptor **request,
                       const ProtobufCMessageDescriptor **response);

/* ---- node_kind_store.c ---- */
void node_ask__init(struct runtime *rt);
void node_ask__close(struct runtime *rt);
bool node_ask__is_out(const struct runtime *rt);
/* The call has been answered otherwise. */
void node_ask__forget(struct runtime *rt, struct message *m);
/* Whether the request was one of these. */
bool node_ask__done(struct runtime *rt, struct store_request *request);

/* ---- log.c ---- */
/* Key, value pairs of strings, ended by NULL. Keys are static; values are copied. */
void log__add(struct runtime *rt, enum runtime_log_level level, const char *message, ...)
    __attribute__((sentinel));
void log__reset(struct runtime *rt);

#endif
