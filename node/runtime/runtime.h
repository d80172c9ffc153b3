/* The runtime: one node as a pure state machine. Events with a timestamp go in, effects come out;
 * it never reads a clock, touches a socket or waits. Two drivers exist: node/shell (reality) and
 * tests/sim (virtual time).
 *
 * How to drive it, by one thread at a time:
 *
 *     runtime_step(rt, now, &event);        any number of times
 *     runtime_collect(rt, clock(), &fx);    then perform the effects, in any order
 *
 * The time given to collect must be read *after* the steps: there the lease's deadline is checked
 * once more, after the handlers and before any reply leaves (DESIGN §6.2). Between two collects,
 * handlers' changes gather into one commit (group commit), so step whatever has arrived before
 * collecting.
 *
 * Ownership of memory: a runtime_request belongs to the runtime from RUNTIME_REQUEST until it comes
 * out in effects.replies. A store_request belongs to the driver from effects.store until it is
 * handed back by RUNTIME_STORE_DONE. Log texts are valid until the next step. */
#ifndef TROUPE_NODE_RUNTIME_H
#define TROUPE_NODE_RUNTIME_H

#include "base/arena.h"
#include "base/list.h"
#include "proto/rpc.h"
#include "storage/store.h"
#include "troupe/entity.h"

/* A point in time. mono_ns: CLOCK_BOOTTIME, wall_ms: CLOCK_REALTIME since 1970. */
struct runtime_time {
    uint64_t mono_ns;
    uint64_t wall_ms;
};

struct runtime_config {
    /* The node. Strings are copied. */
    const char *name; /* unique in the cluster, at most STORE_NAME_BYTES_MAX */
    const char *cluster;
    const char *address; /* where clients reach it */
    /* Where other nodes reach it, "host:port": gossip, and forwarded calls and transfers. NULL = no
     * other node shall know of it: it is a cluster by itself. */
    const char *gossip_address, *peer_address;
    const char *zone;      /* what fails together; NULL = "" */
    uint32_t weight;       /* 0 = 1: its share of the partitions, at most RING_WEIGHT_MAX */
    uint32_t members_max;  /* [1,024] nodes known at once, dead ones included */
    const char *proof;     /* see struct store_register */
    const char *version;   /* for status */
    const char *store_url; /* for status: without a password */
    uint64_t incarnation;  /* unlike any other run's of this name: the wall clock in ns will do */
    uint64_t seed;         /* of troupe_random and of jitter */
    uint32_t partitions;   /* 0 = 4,096 */

    const struct troupe_kind *const *kinds;
    size_t kinds_n;

    /* Limits and intervals; 0 = the default in brackets. */
    uint32_t lease_ttl_ms;   /* [5,000] */
    uint32_t lease_renew_ms; /* [1,000] */
    uint32_t
        outage_grace_ms; /* [600,000] serve this long without the store, if nobody could evict us */
    bool outage_fence; /* store_outage = fence: stop serving at the lease's deadline in any case */
    uint64_t entities_max; /* [unlimited] resident entities, beyond which the coldest are stopped */
    uint64_t memory_bytes_max;  /* [unlimited] the same by estimated memory */
    uint32_t calls_waiting_max; /* [1,000,000] calls queued for loads and restarts, in all */
    uint32_t calls_gated_max; /* [200,000] replies waiting for a commit; when the store is down too,
                                 calls of durable methods are refused at once beyond it */
    uint32_t save_rows_max;   /* [1,000] rows of one commit */
    uint32_t save_bytes_max;  /* [4 MiB] of one commit, reached by the row that exceeds it */
    uint32_t saves_in_flight_max; /* [3] */
    uint32_t load_keys_max;       /* [1,024] */
    uint32_t loads_in_flight_max; /* [4] */
    uint32_t
        state_bytes_max; /* [4 MiB] of one entity's saved state, at most STORE_STATE_BYTES_MAX */
    uint64_t handoff_bytes_per_s; /* of state given away, on average; 0: no limit */
    uint32_t handoff_concurrency; /* [2] batches of partitions given away at once, at most 8 */
    uint32_t drain_ms;            /* [30,000] at the stop: for partitions to move to other nodes */
    /* Whether the step, or the collect, under way has gone on for so long that what can wait is to
     * be left for the next one; the driver's clock, for the runtime has none. Asked every few
     * calls. NULL: never. */
    bool (*yield)(void *data);
    void *yield_data;
    uint64_t warm_entities_max; /* [100,000] after a failover: loaded before they are called */
    bool warm_off;              /* … none at all */
};

struct runtime;

/* Errors: TROUPE_EINVAL (names, kinds: errmsg says what), TROUPE_ENOMEM. */
int runtime_open(struct runtime **rt, const struct runtime_config *config,
                 char errmsg[STORE_ERRMSG_BYTES]);
/* Frees everything, entities without persisting them. For a clean stop first step RUNTIME_STOP and
 * go on until effects.phase is RUNTIME_STOPPED. No store_request may be out. */
void runtime_close(struct runtime *rt);

/* ---- requests ---- */

struct message; /* private */

/* One RPC request. The driver owns the struct and its arena and keeps both until the reply is out.
 */
struct runtime_request {
    void *data;          /* the driver's */
    struct arena *arena; /* the driver's; results and their payloads live there */
    const struct rpc_request *rpc;
    struct rpc_reply reply;       /* out */
    struct runtime_request *next; /* in effects.replies */
    struct message *calls;        /* private from here on */
    size_t pending;
    uint64_t deadline_ns;
    struct request_deadline *deadline;
    uint64_t losses_n;       /* when it came in, by the runtime's count of losses */
    struct list intake_link; /* see intake.c */
    size_t handed_n;         /* calls that have been handed out, from the first one on */
    uint32_t node_calls_n;   /* to the kind $node */
    bool executed;           /* a handler ran: the reply needs the lease */
    bool from_peer;          /* it came in on the peer port: the driver's to set after init */
};

/* Prepares a request for a decoded rpc_request in the same arena. TROUPE_ENOMEM when the arena is
 * full. data is left alone. */
int runtime_request_init(struct runtime_request *request, struct arena *arena,
                         const struct rpc_request *rpc);
/* Before RUNTIME_REQUEST: call i shall not be executed but answered with this. message must live as
 * long as the arena. */
void runtime_request_refuse(struct runtime_request *request, size_t i, enum troupe_status status,
                            const char *message);

/* The messages of a method, for JSON: true and the descriptors (each may be NULL: opaque) if the
 * kind has the method. Knows the system methods, too: $get of every kind (response = the state),
 * and $node's. Thread safe: nothing it reads changes after runtime_open. */
bool runtime_method(const struct runtime *rt, struct troupe_bytes kind, struct troupe_bytes method,
                    const ProtobufCMessageDescriptor **request,
                    const ProtobufCMessageDescriptor **response);

/* ---- other nodes ---- */

enum { RUNTIME_ADDRESS_BYTES = 256 };

/* A frame of gossip that is to leave; on the heap, the driver frees it. */
struct runtime_frame {
    struct runtime_frame *next;
    uint64_t expires_ns;                 /* worthless when it has not left by then */
    char address[RUNTIME_ADDRESS_BYTES]; /* gossip address of a node */
    bool redial; /* no frame: that node does not answer, a connection to it may be dead */
    uint32_t len;
    uint8_t bytes[];
};

/* A request to another node's peer port: calls that are forwarded, partitions that move. The
 * driver's from effects.peers until RUNTIME_PEER_DONE, which must come once, by deadline_ns at the
 * latest; meanwhile what it points to stays. */
struct runtime_peer_request {
    struct runtime_peer_request *next;
    void *driver; /* the driver's */
    uint8_t use;  /* private */
    char address[RUNTIME_ADDRESS_BYTES];
    struct rpc_request rpc;
    uint64_t deadline_ns;
    struct arena *arena; /* for the reply */
    /* out: 0 = reply is the answer; TROUPE_EUNAVAILABLE = it has not been sent, or not a byte of it
     * can have been read; TROUPE_EOUTCOME = it may have been executed or not. */
    int error;
    struct rpc_reply reply;
};

/* ---- events ---- */

enum runtime_event_type {
    RUNTIME_WAKE,       /* nothing but the time */
    RUNTIME_REQUEST,    /* a request came in */
    RUNTIME_STORE_DONE, /* a store request is finished */
    RUNTIME_STOP,       /* stop taking calls, persist, leave */
    RUNTIME_FRAME,      /* gossip came in */
    RUNTIME_CONTACT,    /* some node may take gossip at this address: --join */
    RUNTIME_EVIDENCE,   /* the connection to a gossip address was refused or reset */
    RUNTIME_PEER_DONE,  /* a request to another node is finished */
};

struct runtime_event {
    enum runtime_event_type type;
    union {
        struct runtime_request *request;
        struct store_request *store;
        struct troupe_bytes frame; /* the driver's, until the step returns */
        const char *address;       /* likewise */
        struct runtime_peer_request *peer;
    } u;
};

void runtime_step(struct runtime *rt, struct runtime_time now, const struct runtime_event *event);

/* ---- effects ---- */

enum runtime_phase {
    RUNTIME_STARTING, /* registering, claiming; calls wait */
    RUNTIME_SERVING,
    RUNTIME_SUSPENDED, /* the lease ran out: nothing is answered from memory until the store has
                          confirmed us */
    RUNTIME_STOPPING,  /* no more calls; persisting */
    RUNTIME_STOPPED,   /* all is persisted, the lease is given back, nothing is out: exit 0 */
    RUNTIME_FAILED, /* cannot go on (the name is taken, the store is of another version): exit with
                       failure_code */
};

enum runtime_log_level { RUNTIME_DEBUG, RUNTIME_INFO, RUNTIME_WARN, RUNTIME_ERROR };

enum { RUNTIME_LOG_FIELDS_MAX = 8 };

struct runtime_log {
    enum runtime_log_level level;
    const char *message;
    struct {
        const char *key, *value;
    } fields[RUNTIME_LOG_FIELDS_MAX]; /* up to the first NULL key */
};

struct runtime_effects {
    struct runtime_request *replies;    /* send these; linked by next */
    struct store_request *store;        /* submit these to the store, in order; linked by next */
    struct runtime_frame *frames;       /* send these as gossip; linked by next */
    struct runtime_peer_request *peers; /* send these to their nodes' peer ports; linked by next */
    bool redial;                        /* others know a later server of the store: store_redial,
                                           before these requests are submitted */
    const struct runtime_log *logs;
    size_t logs_n;
    uint64_t wake_at_ns; /* step RUNTIME_WAKE then, at the latest; UINT64_MAX = no need */
    enum runtime_phase phase;
    /* It has been SERVING, and there was something that it could answer: not everything waited for
     * nodes that are silent. Stays so. */
    bool serves;
    int failure_code;    /* with RUNTIME_FAILED: TROUPE_EBUSY, TROUPE_EVERSION, … */
    const char *failure; /* … and a text for humans, valid until runtime_close */
};

void runtime_collect(struct runtime *rt, struct runtime_time now, struct runtime_effects *effects);

/* ---- looking at it ---- */

struct runtime_stats {
    enum runtime_phase phase;
    uint64_t generation;
    uint32_t partitions, partitions_owned;
    uint64_t entities_resident, entities_dirty, entities_loading, entities_quarantined;
    uint64_t memory_bytes; /* estimated, of entities */
    uint64_t calls, calls_failed, calls_per_s, calls_gated, calls_waiting;
    uint64_t crashes;
    uint64_t rows_saved, rows_loaded, saves_in_flight;
    uint64_t entities_warmed;    /* started after a failover before they were called */
    uint32_t partitions_to_warm; /* not looked at yet for what was in use */
    uint64_t persist_lag_ms, commit_us;
    uint64_t lease_age_ms;
    bool store_ok;
    uint64_t store_redials; /* effects.redial, so far */
};

void runtime_stats(const struct runtime *rt, struct runtime_time now, struct runtime_stats *stats);

#endif
