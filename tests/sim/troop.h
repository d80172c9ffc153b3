/* A few nodes in one process, for stories: the real runtimes on one memory store, in virtual time,
 * over a network that takes a millisecond and loses nothing but what a test cuts. What can go wrong
 * at random is the business of the cluster's simulator; here a test tells a story and looks at each
 * step of it. */
#ifndef TROUPE_SIM_TROOP_H
#define TROUPE_SIM_TROOP_H

#include "base/list.h"
#include "node/runtime/runtime.h"
#include "rpc.pb-c.h"
#include "status.pb-c.h"
#include "storage/memory/memory.h"

#define TROOP_MS UINT64_C(1000000)

enum { TROOP_NODES_MAX = 8, TROOP_LATENCY_NS = 1000000, TROOP_HASTY_MAX = 1000 };

struct troop_event;

struct troop_node {
    struct runtime *rt; /* NULL: down */
    uint32_t run;       /* grows with each start: what is meant for an earlier one gets lost */
    char name[16], address[32], gossip[32], peer[32];
    uint32_t weight;
    uint32_t outage_grace_ms, lease_ttl_ms, members_max; /* 0: the default */
    bool outage_fence;
    enum store_fate believes;               /* of whoever holds its name, and of who is down */
    bool misjudges;                         /* … and of all others, too */
    bool believes_own;                      /* … of whoever holds its name, and nobody else */
    const struct troupe_kind *const *kinds; /* NULL: the troop's */
    size_t kinds_n;
    uint64_t wake_ns;
    uint64_t behind_ns; /* its CLOCK_BOOTTIME has stood still for so long, in all */
    enum runtime_phase phase;
    uint32_t hasty;      /* wakes at once in a row */
    bool paused;         /* SIGSTOP: what comes in waits */
    bool cut;            /* from all the others: neither gossip nor requests */
    bool store_cut;      /* from the store */
    bool saves_cut;      /* … for saves only */
    bool unaware;        /* of a failover: no answer tells of a server */
    uint32_t misled;     /* bits of operations: they reach the deposed server */
    uint32_t redials;    /* how often it has asked for new connections … */
    bool redials_lead;   /* … and whether these lead to the one that has succeeded it */
    bool loses_takes;    /* what it hands over comes late: see troop_late_takes */
    uint32_t doubtful;   /* bits of operations: done, but nobody tells it */
    bool lies_of_owner;  /* its next answer to a node: not executed, another has it, for ever */
    bool lies_of_epochs; /* the next partitions that it gives bear the highest number */
    enum troupe_status refuses; /* with it, requests of other nodes, as a whole; 0 = it does not */
};

struct troop {
    struct runtime_time now;
    struct store *store;
    struct store *deposed; /* a server that it has succeeded, and that lives; or NULL */
    struct troop_node nodes[TROOP_NODES_MAX];
    struct troop_event *events; /* by time */
    struct list peers;          /* requests on their way, or with a node */
    struct runtime_effects fx;
    const struct troupe_kind *const *kinds;
    size_t kinds_n;
    uint64_t incarnation;
    uint64_t handoff_bytes_per_s;             /* of nodes that start; 0: no limit */
    uint64_t warm_entities_max, entities_max; /* likewise; see runtime_config */
    uint32_t load_keys_max, loads_in_flight_max;
    bool warm_off;
    uint64_t load_ns, owners_ns, transfer_ns; /* what these take longer */
    uint64_t answer_ns;                       /* … and answers of nodes to each other */
    bool as_node;                          /* calls come from another node, as on the peer port */
    char cluster_uid[STORE_UID_BYTES + 1]; /* as in the last request of a node */
    void (*on_store)(uint32_t n, const struct store_request *request); /* submitted; or NULL */
    bool store_down;
    bool trace;         /* the runtimes' log, to stdout */
    uint64_t forwarded; /* peer requests delivered */
};

void troop_open(struct troop *t, const struct troupe_kind *const *kinds, size_t kinds_n);
/* There is to be a server that the store has succeeded. */
void troop_add_deposed(struct troop *t);
void troop_close(struct troop *t);
/* Node n begins, or begins again. */
void troop_start(struct troop *t, uint32_t n);
/* SIGTERM; it goes down by itself when it is done. */
void troop_stop(struct troop *t, uint32_t n);
/* kill -9. */
void troop_crash(struct troop *t, uint32_t n);
void troop_run(struct troop *t, uint64_t ms);
/* Runs until the condition holds; whether it does within so many ms. */
bool troop_until(struct troop *t, bool (*condition)(struct troop *t, uint32_t n), uint32_t n,
                 uint64_t ms);

/* One call, run until it is answered; the payload is valid until the next call. timeout_ms at
 * most. */
struct troop_answer {
    enum troupe_status status;
    enum troupe_ack ack;
    struct troupe_bytes payload;
    char owner[STORE_NAME_BYTES_MAX + 1];
    char message[512];
    uint64_t took_ns;
};
struct troop_answer troop_call(struct troop *t, uint32_t n, const char *kind, const char *id,
                               const char *method, struct troupe_bytes payload, uint64_t sequence,
                               uint32_t timeout_ms);
/* A call without a payload whose answer nobody waits for. */
void troop_send(struct troop *t, uint32_t n, const char *kind, const char *id, const char *method,
                uint64_t sequence, uint32_t timeout_ms);
/* A connection was given up: its sender was told so at once. What was on it arrives now. */
void troop_late_takes(struct troop *t);
void troop_stats(struct troop *t, uint32_t n, struct runtime_stats *stats);

/* A request of many calls that is on its way, or answered. */
struct troop_peer;
struct troop_peer *troop_begin(struct troop *t, uint32_t n, struct rpc_call *calls, size_t calls_n,
                               uint32_t timeout_ms);
/* NULL: not yet. Valid until troop_end, which must come after the answer. */
const struct rpc_reply *troop_answered(const struct troop_peer *p);
void troop_end(struct troop_peer *p);

#endif
