/* A whole cluster in one process: N complete runtimes, one simulated store, a network and clocks
 * that are all told by dice. One seed is one story; the same seed gives the same trace hash.
 *
 *   clients ──requests──▶ ports.c ──▶ nodes.c: step, collect ──▶ disk.c ──▶ storage/memory
 *      ▲                    ▲              │ frames, peers           │
 *      └──────answers───────┴──────────────┘                        └─▶ judge.c
 *
 * The code under test is the product's: runtime, membership, ownership, the memory store's
 * operations, gigbook's kinds. The simulator is everything around it:
 *   - time (agenda.h): a list of what happens when. Nothing waits, so an hour is seconds.
 *   - processes (nodes.c): started, killed or paused before a step, between a step and its collect,
 *     between collect and effects, and after effects; clocks that are set wrong and set
 *     anew; a pause may be the whole machine's, whose CLOCK_BOOTTIME then stands still. A killed
 * run's store requests may still take effect, for seconds (a zombie).
 *   - the network (ports.c): frames and requests take time, arrive in another order, twice, late or
 *     not at all; every direction between two nodes can be cut by itself.
 *   - the way to the store and back (disk.c): cut for one node in one direction or both, slow, lost
 *     answers (a commit of unknown outcome), a store that crashes with requests under way, and
 *     requests that take effect long after they were given up.
 *     A store that fails over comes back as a standby that lacks the last commits; the server
 *     before may live on, and be asked by some connections (deposed.c).
 *   - clients (clients.c): registers, counters and bookings, retried with their request ids;
 *     payments between entities that write to each other (accounts.c).
 *   - faults.c draws what goes wrong, doubts.c what does with one kind of the store's requests;
 *     groups.h has what a story may do without; story.c tells a whole story and ends it in calm.
 *
 * What is checked, at every step (judge.c):
 *   - at most one node serves a partition: an answer that a handler gave leaves a node only while
 *     the store has the partition as that run's, or had it so until it failed over, and the node
 *     cannot know yet;
 *   - epochs and generations never go down, and none is handed out twice, whatever a failover has
 *     lost;
 *   - no commit forgets one that came before: each state saved of a ledger continues the stored
 * one;
 *   - what each entity's clients saw is linearizable, but for losses that an ack level admits
 *     (history.h); what was refused as not done is never seen;
 *   - what entities send each other leaves when it is committed, runs once at most, and in its
 *     order; no money is lost between accounts (accounts.c);
 *   - no slot is booked twice, no booking that was acknowledged is gone;
 *   - what a failover has lost, and a node has in memory and may write, it writes again before it
 *     tells anybody of it (failover.c);
 *   - after the faults have stopped, all nodes serve all partitions within 30 s.
 * mutants.h breaks the store or the driver on purpose, one safety check at a time, to see that
 * these checks notice. */
#ifndef TROUPE_SIM_CLUSTER_WORLD_H
#define TROUPE_SIM_CLUSTER_WORLD_H

#include <stdio.h>

#include "base/list.h"
#include "node/runtime/runtime.h"
#include "tests/sim/cluster/agenda.h"
#include "tests/sim/cluster/groups.h"
#include "tests/sim/cluster/history.h"
#include "tests/sim/cluster/mutants.h"
#include "tests/unit/random.h"

#define WORLD_MS       UINT64_C(1000000)
#define WORLD_S        (1000 * WORLD_MS)
#define WORLD_BEGIN_NS (1000 * WORLD_S)

enum {
    NODES_MAX = 16,
    PARTITIONS = 256,
    PARTITION_BITS = 8,
    OUTAGE_GRACE_MS = 12000, /* at most: nodes have different ones */
    KEYS_N = 20,             /* ledgers in use at a time */
    CLIENTS_N = 20,
    VENUES_N = 3,
    SLOTS_N = 40,
    CLAIMS_KEPT = 64,
    OWNERS_BEFORE = 8,
    TRACE_LINES = 400,
    TRACE_LINE_BYTES = 160,
};

/* ---- processes ---- */

struct exchange;

/* Where a run is interrupted: at which effect boundary. */
enum stage {
    STAGE_BEFORE_STEP,
    STAGE_AFTER_STEP,    /* of a client's request, before its collect */
    STAGE_AFTER_COLLECT, /* of something to be sent, before it is */
    STAGE_AFTER_SAVE,    /* has been sent */
    STAGE_AFTER_FORWARD, /* requests to other nodes have been sent */
    STAGE_AFTER_ANSWER,  /* to another node has been sent */
    STAGE_AFTER_RENEWAL, /* of the lease has been sent */
    STAGES,
};

/* One run of a node: from its start to its crash or stop. What remains of it is kept to the end of
 * the story, the runtime only until its last store request is through (a zombie). */
struct run {
    struct run *next;
    struct runtime *rt;
    struct node *node;
    uint64_t number, generation; /* generation: 0 until it has registered */
    struct runtime_effects fx;
    uint64_t wake_ns;  /* it has been put on the agenda for then */
    bool dead;         /* killed, or stopped */
    bool ended;        /* by the store's word: left, evicted, superseded */
    bool left;         /* of its own accord */
    bool stopping;     /* told to */
    uint64_t lacks_ns; /* it has said then that it takes no partitions, for want of a kind; or 0 */
    bool lacks_a_kind;
    bool uncollected;    /* stepped, and the collect is still to come */
    bool unperformed;    /* collected, and the effects are still to be performed */
    uint64_t renewed_ns; /* its lease, in the store */
    bool robbed;         /* silent, its name was taken on a wrong proof */
    uint64_t stepped_ns; /* when it was stepped first since the last collect */
    uint32_t flights;    /* store requests under way */
    uint64_t timeline;   /* of the store, as its driver was told last */
    uint8_t misled;      /* bits of its connections: they lead to a deposed server … */
    bool all_misled;     /* … and so does its lease's, and none of them breaks by itself … */
    uint64_t scout_until_ns; /* … it looks where a new one leads until then */
    uint64_t heard_ns;       /* of the timeline */
    uint64_t there;          /* … which knows it as this generation */
    struct {
        uint64_t generation;
        bool ended;
    } kept;                                 /* … as the standby has it */
    struct list held;                       /* exchanges that it works on */
    struct list asked;                      /* its own requests to other nodes … */
    struct runtime_peer_request *unsettled; /* … and those given up after its end */
};

/* A place where a run can be: a machine with its addresses, clocks and cables. */
struct node {
    struct world *w;
    uint32_t index;
    char name[24], client[24], gossip[24], peer[24];
    struct run *run; /* NULL: down */
    uint64_t paused_until_ns;
    enum stage interrupt_at; /* with interrupt_ns: at the next such boundary … */
    uint64_t interrupt_ns;   /* … paused for so long; UINT64_MAX: killed; 0: nothing */
    bool interrupt_stands;   /* … and its CLOCK_BOOTTIME stands still for so long */
    bool cut_to_store, cut_from_store;
    uint64_t mono_base_ns, mono_first_ns;
    int64_t wall_offset_ms;
    bool is_twin; /* bears the name of node 0 */
    uint32_t outage_grace_ms;
    bool outage_fence;
};

/* ---- the store ---- */

struct flight;

/* What the store has of a partition, as the simulator has seen it happen. */
struct owner {
    uint32_t node; /* by its place */
    uint32_t giver;
    uint64_t since_ns;
    uint64_t given_by;                      /* by the giver's run; 0: it was claimed */
    uint64_t run_number, generation, epoch; /* run_number 0: nobody's */
    struct {
        uint64_t run_number, until_ns;
    } before[OWNERS_BEFORE]; /* who had it, as a ring */
    uint32_t before_n;
    uint64_t claims_n, claims_ns[CLAIMS_KEPT]; /* claimed anew, the last ones, as a ring */
    uint64_t epoch_max;                        /* ever handed out */
    uint64_t stray;   /* the run that got it of a deposed server, and may not know yet; 0: nobody */
    uint64_t unheard; /* the run that claimed it last, and whose answer got lost; 0: nobody */
    /* Its owner until a failover lost that: it may not know yet. */
    uint64_t displaced, displaced_until_ns; /* by its run; 0: nobody */
    bool undone;                            /* and nobody who is there has it since then */
    uint64_t keeper; /* it, while it can claim it again, and has all that it had in memory */
};

/* The row of an entity, and who could write it again if a failover lost the last commits. */
struct watch {
    uint32_t pid;
    uint64_t
        holder;     /* the run that has the last commit in memory, by what it asked the store for */
    bool behind;    /* the row has gone back, and was not brought up again … */
    uint64_t guard; /* … by this run, which has to; 0: nobody can */
    uint64_t lost_version, lost_ns; /* … at the failover; when an older state was loaded last */
    uint8_t *lost;                  /* the state that is missing; a copy */
    size_t lost_len;
};

/* ---- clients ---- */

struct key {
    uint32_t number, pid, out;
    char id[16];
    uint64_t born_ns, last_value;
    struct history history; /* its losses: of commits only, until it is judged */
    struct watch watch;
};

struct booking {
    uint32_t reference; /* 0: nobody knows of one */
    uint64_t acked_ns;
};

struct client {
    struct world *w;
    uint32_t number;
    bool busy;
    bool retries;    /* otherwise without a request id, and once */
    uint64_t ticket; /* of the attempt under way */
    uint64_t begun_ns, give_up_ns, attempt_ns, waits_until_ns, sequence;
    uint32_t hint; /* the node that is said to own it */
    uint32_t attempts;
    uint8_t ack;
    struct key *key; /* NULL: books */
    uint32_t op;     /* in the key's history */
    uint8_t method;
    uint32_t venue, slot, reference;
    bool creates, lists; /* the venue; its bookings */
    bool in_overlap;     /* answered by a node that a failover has deposed */
    uint64_t run;        /* that answered last */
    /* Request ids. */
    uint64_t id;         /* which client it is just now: client_id */
    uint64_t last;       /* sequence it has drawn */
    int64_t clock_ms;    /* how wrong its clock is */
    bool refused;        /* the op's id was, at its only attempt; it has another one now */
    uint64_t late_at_ns; /* a copy of a first attempt is to arrive then … */
    struct late_copy {
        uint64_t client, sequence, acked;
        uint8_t ack, method;
        char key[16];
        uint8_t payload[32];
    } late;
};

/* From a run to a node. */
struct link {
    uint64_t run, last_ns; /* what was sent last arrives then */
};

struct world_stats {
    uint64_t ops, acks, durable, unknown, refused, retries, booked, losses;
    uint64_t ids_refused, late_copies;
    uint64_t keys, undecided, starts, crashes, pauses, evictions, claims, transfers;
    uint64_t failovers, strays, behind, guarded, commits_lost, overlaps;
    uint64_t events, calm_ms, payments, batches, scribbled, wiped, spoilt;
};

struct world {
    struct dice dice;
    uint64_t now_ns, end_ns;
    struct agenda agenda;
    enum mutant mutant;
    bool store_faults, store_failovers, trace, trace_all;
    bool quiet; /* no more faults */
    uint64_t groups;
    bool wrong_proofs; /* machines are copies: that a run is gone is believed of some that live */
    uint64_t fault_kinds, fault_every_ms;
    uint64_t hash;

    struct node nodes[NODES_MAX];
    uint32_t nodes_n;
    struct run *runs; /* all, zombies as well */
    uint64_t runs_made;

    /* the network */
    bool cut[NODES_MAX][NODES_MAX]; /* from, to */
    bool network_is_bad;
    uint32_t break_per_mille; /* of requests between nodes */
    struct link links[NODES_MAX][NODES_MAX];
    uint64_t network_bad_ns; /* it was, until then */
    uint32_t loss_per_mille, twice_per_mille, late_per_mille;
    uint64_t latency_ns, jitter_ns;

    /* the store */
    struct store *store;
    struct store *deposed; /* deposed.c: the server before, while it lives; or NULL */
    uint64_t deposed_since_ns, deposed_until_ns;
    uint64_t strays_until_ns; /* who has not heard of the failover by then does not answer */
    int64_t store_offset_ms;
    uint64_t store_doubt_ns; /* its clock was set then, or it failed over: ages of rows are wrong */
    uint64_t outage_until_ns, slow_until_ns;
    uint32_t store_fault_percent;
    uint32_t doubts, doubt_per_mille; /* bits of store_op; doubts.c */
    struct flight *flights;
    struct list exchanges, frames; /* on their way */
    struct owner owners[PARTITIONS];
    uint64_t generations[NODES_MAX];     /* the latest of each name */
    uint64_t generations_max[NODES_MAX]; /* ever handed out */
    struct standby *standby;             /* failover.c */
    uint64_t timeline;                   /* 0 until the first failover */
    struct watch venues[VENUES_N];
    struct mutant_state *mutant_state;
    struct judge *judge;
    struct accounts *accounts;
    struct batches *batches;
    struct scribes *scribes;

    /* clients */
    bool clients_rest;
    struct client clients[CLIENTS_N];
    struct key *keys[KEYS_N];
    uint32_t keys_made, references;
    uint64_t tokens;
    uint64_t arrivals; /* of requests; mutant_wire.c */
    struct booking bookings[VENUES_N][SLOTS_N];
    bool created[VENUES_N];

    struct world_stats stats;
    bool failed;
    char failure[512];
    struct history failed_history; /* ops_n 0: it is not about one */
    char (*trace_lines)[TRACE_LINE_BYTES];
    uint64_t traced;
};

struct world_options {
    uint64_t seed;
    uint32_t nodes, minutes;
    enum mutant mutant;
    bool store_faults;              /* outages, slowness, lost answers, late effects */
    bool store_failovers;           /* to a standby that lacks the last commits */
    uint64_t groups_on, groups_off; /* bits of groups.h: always, never; others now and then */
    bool trace;                     /* keep the last lines of what happens … */
    bool trace_all;                 /* … or all lines, and many more of them, on stderr at once */
};

void world_open(struct world *w, const struct world_options *options);
void world_close(struct world *w);
void world_at(struct world *w, uint64_t at_ns, agenda_cb happen, void *data);
/* Everything that is due until then; returns early after a failure. */
void world_run(struct world *w, uint64_t until_ns);
void world_note(struct world *w, uint64_t what); /* into the hash */
void world_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A promise is broken. The first one counts. */
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_print_failure(const struct world *w, FILE *out);
/* Up to max_ns, short ones more often. */
uint64_t world_while(struct world *w, uint64_t max_ns);
bool world_chance(struct world *w, uint32_t per_mille);

/* ---- nodes.c ---- */
void nodes_open(struct world *w, uint32_t nodes);
void nodes_close(struct world *w);
void node_start(struct node *n);
void node_kill(struct node *n);
/* At the next such boundary: paused for so long, or killed (UINT64_MAX). */
void node_interrupt(struct node *n, enum stage stage, uint64_t ns);
/* The same, with its machine: of the clocks, only that of the day goes on. */
void node_stand_still(struct node *n, enum stage stage, uint64_t ns);
void node_stop(struct node *n);
struct runtime_time node_time(const struct node *n);
/* Gives a run an event now; if its node is paused, the caller has to come again. */
void run_step(struct run *run, const struct runtime_event *event);
bool node_is_paused(const struct node *n);
struct node *node_by_address(struct world *w, const char *address);

/* Runs that are dead, and whose last store request is through. */
void nodes_bury(struct world *w);

/* ---- ports.c ---- */
void ports_send_frames(struct run *from, struct runtime_frame *frames);
void ports_send_peers(struct run *from, struct runtime_peer_request *peers);
/* A client's request to a node. Its answer may come once; let_out_ns: when the node gave it. */
typedef void (*ports_answered_cb)(void *data, uint64_t ticket, const struct rpc_reply *reply,
                                  uint64_t let_out_ns);
void ports_ask(struct world *w, uint32_t node, const struct rpc_request *rpc,
               ports_answered_cb answered, void *data, uint64_t ticket);
/* Replies that a run lets out. */
void ports_reply(struct run *run, struct runtime_request *replies);
void ports_let_out(struct run *run, struct runtime_request *replies); /* … from now on */
void ports_forget(struct run *run);                                   /* it has been killed */
void ports_settle(struct run *run);                                   /* before it is closed */
void ports_bury(struct run *run);                                     /* its runtime is closed */
void ports_drop_frames(struct runtime_frame *frames);
void ports_close(struct world *w);

/* ---- disk.c ---- */
void disk_open(struct world *w);
void disk_close(struct world *w);
void disk_submit(struct run *run, struct store_request *requests);
void disk_forget(struct run *run);
/* The database dies with what is under way, and is back after a while. */
void disk_crash(struct world *w, uint64_t ns);
/* A standby has come so far … */
void disk_keep(struct world *w);
/* … and takes over now: the database dies with what is under way, and with what was committed since
 * then. */
void disk_fail_over(struct world *w, uint64_t ns);

/* ---- judge.c ---- */
void judge_open(struct world *w);
void judge_close(struct world *w);
/* NULL: there is none. */
struct run *judge_find_run(const struct world *w, const char *name, uint64_t generation);
/* The run's lease has ended, by the store's word. */
void judge_ended(struct world *w, const char *name, uint64_t generation);
/* An answer leaves the run, to a request that it has had since then. */
void judge_executed(struct run *run, const struct runtime_request *request, uint64_t since_ns);
void judge_before(struct world *w, struct run *run, const struct store_request *request);
void judge_after(struct world *w, struct run *run, const struct store_request *request);
void judge_key(struct world *w, struct key *key);

/* ---- failover.c ---- */
void failover_open(struct world *w);
void failover_close(struct world *w);
void failover_forget(struct watch *watch);
void failover_keep(struct world *w);
void failover_begins(struct world *w); /* before the data go back … */
void failover_ends(struct world *w);   /* … and after */
/* The row that is watched, of an entity; NULL: it is not. */
struct watch *failover_watch(struct world *w, const struct store_key *key);
void failover_saved(struct world *w, const struct run *run, const struct store_key *key,
                    const struct store_row *now, bool applied);
/* The run is about to be told that the store has failed over. */
void failover_heard(struct world *w, const struct run *run);
/* A request has taken effect on a deposed server. */
void failover_stray(struct world *w, struct run *run, const struct store_request *request);
void failover_fenced(struct world *w, const struct run *run, uint32_t pid);
void failover_loaded(struct world *w, const struct run *run, const struct store_load *load);
/* A claim whose answer is lost: when it is made again, the run cannot know that nobody else had the
 * partition in between, and lets go of what it has of it. */
void failover_unheard(struct world *w, const struct run *run, const struct store_claim *claim);
void failover_claimed_again(struct world *w, const struct run *run, uint32_t pid);
void failover_moved(struct world *w, uint32_t pid, const struct run *from, const struct run *to,
                    bool claimed);
/* A request takes effect in the name of this generation: whether it is that run's. */
void failover_acted(struct world *w, const struct run *run, uint64_t generation);
/* A run that is not the partition's owner by the store lets an answer out; whether it may. */
bool failover_admits(struct world *w, const struct run *run, uint32_t pid, uint64_t client);
/* The owner does: not before it has written again what it has to. */
void failover_answered(struct world *w, const struct run *run, const struct store_key *key,
                       uint64_t client);
/* Nothing is left to be written again. */
bool failover_is_settled(struct world *w, char why[64]);

/* ---- clients.c ---- */
void clients_open(struct world *w);
void clients_close(struct world *w);
/* A call of a ledger, as those in batches.c do it, too. */
struct ledger_op {
    struct key *key;
    uint32_t op; /* in its history */
    uint8_t method, ack;
};
enum { LEDGER_PAYLOAD_BYTES = 24 };
/* Draws one; false: there is none just now. */
bool clients_begin_ledger(struct world *w, struct ledger_op *l);
/* The call itself. again: it has been sent before; has_id: nodes may send it again. */
void clients_ledger_call(struct world *w, const struct ledger_op *l, bool again, bool has_id,
                         uint8_t payload[LEDGER_PAYLOAD_BYTES], struct rpc_call *call);
/* It has been answered by that run with OK. */
void clients_ledger_done(struct world *w, const struct ledger_op *l, uint64_t run,
                         const struct rpc_result *result, uint64_t let_out_ns);
bool clients_says_not_done(const struct rpc_result *result);
/* An answer of that run is about to leave for that client … */
void clients_told(struct world *w, uint64_t client, const struct store_key *key, uint64_t run);
/* … and is none, as a failover has deposed the run. */
void clients_overlap(struct world *w, uint64_t client);
/* All give up what they wait for, and ask for something else. */
void clients_begin_anew(struct world *w);
/* The ledgers in use, as far as they have come. */
void clients_judge(struct world *w);

/* ---- faults.c ---- */
void faults_open(struct world *w);
/* No more faults, and those that last are over; only pauses that have begun go on. */
void faults_end(struct world *w);
/* Starts what is down. */
void faults_restart(struct world *w);

/* ---- story.c ---- */
/* Opens the world and tells the story of a seed; false: a promise was broken. */
bool story_tell(struct world *w, const struct world_options *options);

#endif
