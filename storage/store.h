/* The store: what a cluster keeps in its database, as a specification that every implementation
 * passes (tests/unit/store_contract.c is this text as a program). DESIGN §6.
 *
 * The store is the judge of ownership. A node registers and gets a lease; it claims partitions and
 * gets an epoch for each; every save names the epochs it believes in, and the store applies only
 * what is still true, in the same statement that checks it. So a node that was paused, cut off or
 * declared dead can never write over its successor, whatever its own clock tells it.
 *
 * Asynchronous: store_submit takes a request and returns at once; later request->done is called on
 * the thread of the loop, exactly once, with request->error set. Requests of one store may complete
 * in any order; what must come after something else is submitted from its done callback.
 *
 * One server at a time (DESIGN §6.10). The database may fail over to another server, which may lack
 * the last commits, while the one before lives on and commits what is then lost. So each answer
 * tells which server has executed the request: request->server, a number that grows with each
 * server that this store gets to know, and its timeline. What a server answers that is not the
 * latest one known, is no news of the store: whoever acts on answers takes such a one for an
 * unknown outcome (a write) or for no answer (a read). An implementation that knows of a later
 * server closes its connections to the earlier ones and executes nothing over them any more.
 *
 * Errors (request->error); errmsg always says which and what to do:
 *   0                    done; the outputs are valid.
 *   TROUPE_EUNAVAILABLE  the store could not be reached or is too busy (lock_timeout,
 *                        serialization). Nothing was changed. Retry later.
 *   TROUPE_EOUTCOME      the connection broke, the time ran out, or something was said that is no
 *                        refusal, after the write was sent: it may have happened or not, or happen
 *                        yet. Retry the very same request until it says something else.
 *   TROUPE_EREJECTED     the store refuses the data themselves (a row too large, say); a retry of
 *                        the same will not help. Nothing was changed.
 *   TROUPE_EINVAL        the request breaks this specification. Nothing was changed.
 *   TROUPE_ENOMEM        the answer does not fit the request's arena. Nothing was changed.
 *   TROUPE_EFENCED       (renew, claim, evict, transfer, drain) our lease row is gone or not
 * active: somebody evicted us. TROUPE_EBUSY         (register) another run of this name is alive;
 * see register below. TROUPE_EVERSION      the schema or the cluster's constants do not fit this
 * program.
 *
 * Durable means: once save has completed with 0, the rows survive a crash of the process, of the
 * store's process and of the machine, as far as the database can promise it (fsync on commit). */
#ifndef TROUPE_STORAGE_STORE_H
#define TROUPE_STORAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "troupe/bytes.h"
#include "troupe/error.h"

enum {
    STORE_NAME_BYTES_MAX = 63,        /* of a node or a cluster */
    STORE_ADDR_BYTES_MAX = 255,       /* of an address */
    STORE_PROOF_BYTES_MAX = 127,      /* see store_register.proof */
    STORE_UID_BYTES = 36,             /* of a cluster uid, "8-4-4-4-12" hex */
    STORE_STATE_BYTES_MAX = 16 << 20, /* of one entity's state or dedup window */
    STORE_KEYS_MAX = 4096,            /* of one load */
    STORE_ROWS_MAX = 4096,            /* of one save */
    STORE_PIDS_MAX = 65536,           /* of one claim or transfer */
    STORE_RECENT_MAX = 4096,          /* partitions, and rows, of one look at what was saved */
    STORE_KINDS_BYTES_MAX = 20000,    /* of a node's kinds, and of the cluster's */
    STORE_HISTORY_MAX = 8,            /* changes of owner that are remembered of each partition */
    STORE_ERRMSG_BYTES = 256,
};

/* store_node.outage_ms of a run whose program is too old to tell. */
#define STORE_OUTAGE_UNKNOWN UINT32_MAX

typedef uint32_t store_pid; /* a partition's number */

enum store_op {
    STORE_REGISTER,
    STORE_RENEW,
    STORE_LEAVE,
    STORE_CLAIM,
    STORE_LOAD,
    STORE_SAVE,
    STORE_OWNERS,
    STORE_EVICT,
    STORE_TRANSFER,
    STORE_HISTORY,
    STORE_RECENT,
    STORE_DRAIN,
    STORE_KINDS,
};

enum store_node_state {
    STORE_NODE_ACTIVE = 0,
    STORE_NODE_LEFT = 1, /* went of its own accord, or was given up by an operator; its partitions
                            are free */
    STORE_NODE_DEAD = 2, /* evicted, and may be back; its partitions are free */
};

/* What is known of a run besides what it says itself. Set in the rows that RENEW returns and in
 * `holder` by a store that can tell, and by the driver, which reads proofs. */
enum store_fate {
    STORE_FATE_UNKNOWN,
    STORE_FATE_GONE,   /* by its proof. But the machine may be a copy of another one, on which it
                          lives: whoever renews is alive, whatever the proof */
    STORE_FATE_BURIED, /* that very run's end was seen, or the kernel vouches for it */
};

/* A row of node_lease, as seen at the moment of the statement. Strings live in the request's arena.
 */
struct store_node {
    const char *name;
    uint64_t generation;  /* which run of this name; handed out by register, only grows */
    uint64_t incarnation; /* as given to register */
    const char *addr, *proof;
    const char *gossip; /* where it takes gossip, "host:port"; "" = it takes none */
    uint64_t renew_seq; /* grows with each renewal */
    uint32_t ttl_ms;
    enum store_node_state state;
    /* For how long after its last renewal it may serve without the store, on promises of others; 0:
     * not beyond its ttl; or STORE_OUTAGE_UNKNOWN. */
    uint32_t outage_ms;
    bool draining; /* it has given its partitions away, or is about to; see DRAIN */
    /* By the store's clock: renewed_at + ttl < now. A renewed_at in its future was written before
     * that clock was set back, or by a copy of the store whose clock is ahead: it counts as now,
     * and for one ttl at the most, so a row that is more than its ttl ahead has expired, too. Who
     * evicts has watched the row for a ttl by its own clock besides. */
    bool expired;
    const char *kinds; /* as that run told with a renewal; "": it did not, or a run before it did.
                          Only RENEW tells it, else NULL */
    uint64_t age_ms;   /* since renewed_at, by the store's clock; 0 when that is in its future */
    enum store_fate fate;
    uint64_t joined, seen; /* see REGISTER and RENEW */
};

/* REGISTER: become a run of a name. One transaction:
 *   - no row of this name, or its state is left or dead: an active row with generation
 *     max(old or 0, (timeline - 1) << 40) + 1, so that a failover never hands one out twice.
 *   - an active row with the same incarnation as ours: our own earlier attempt whose answer was
 *     lost; its generation again (idempotent). It counts as a renewal: renew_seq grows.
 *   - an active row whose generation and renew_seq are both those in supersede_*: taken over as
 *     above (the caller saw it unchanged for a full TTL, or has proof that the old run is gone).
 *   - any other active row: TROUPE_EBUSY, and `holder` is that row.
 * Each name that becomes active, without having been so, gets the next number of the cluster
 * (joined; max(…, timeline << 40) + 1). A run that takes over from one that certainly does not
 * live any more keeps that one's number: the name has been active since, by runs of which none but
 * the last can still say anything. RENEW tells what that is for.
 * Also returns the constants of the cluster, and creates them (with a random uid and a partition
 * row for every pid, epoch 0, no owner) when this is the first node ever. A cluster that exists
 * with another partition count: TROUPE_EVERSION. */
struct store_register {
    /* in */
    const char *name;
    uint64_t incarnation; /* unlike that of any other run of this name */
    const char *addr;     /* where clients reach it, "host:port" */
    const char *gossip;   /* where other nodes reach it; NULL = "" */
    const char *proof;    /* opaque text by which others may prove that this run is gone */
    uint32_t ttl_ms;
    uint32_t outage_ms; /* the row's, see store_node … */
    bool draining;      /* … likewise */
    bool supersede;
    bool former_gone; /* with supersede: that run does not live any more */
    uint64_t supersede_generation, supersede_renew_seq;
    /* out */
    uint64_t generation, joined;
    char cluster_uid[STORE_UID_BYTES + 1];
    struct store_node holder; /* with TROUPE_EBUSY */
};

/* RENEW: renewed_at = the store's now, renew_seq + 1, ttl_ms as given, where (name, generation) is
 * active; else TROUPE_EFENCED. Also returns every other row that is active (so that observation of
 * the others is under way before it is needed), and the highest `joined` that there was at that
 * moment. The next renewal says that number back, as `seen`: so who reads a row whose `seen` is not
 * below his own `joined` knows that this run was told of his name, with all that it renewed since.
 */
struct store_renew {
    /* in */
    const char *name;
    uint64_t generation;
    uint32_t ttl_ms; /* the row's from now on: a node that is alone asks for longer than one that is
                        not */
    const char *kinds; /* what others shall know of its kinds, from now on; NULL or "": as before */
    uint64_t seen; /* `joins` of the last renewal whose answer this run has taken note of; or 0 */
    /* out */
    uint64_t renew_seq, joins;
    const char *kinds_open;    /* as the last KINDS left it, in the arena; "" at first */
    struct store_node *others; /* in the arena */
    size_t others_n;
};

/* LEAVE: state = left, or dead, where (name, generation) is active. Frees its partitions for
 * claims. Leaving twice, or when evicted, is no error. */
struct store_leave {
    const char *name;
    uint64_t generation;
    bool dead; /* said by somebody who saw the run end, not by itself */
};

/* Why a run may be evicted: each is the caller's word for something that the store cannot see. */
enum store_evict_why {
    STORE_EVICT_SILENT,  /* its row was seen unchanged for a whole TTL on our own clock */
    STORE_EVICT_GONE,    /* its process has ended: see enum store_fate */
    STORE_EVICT_ORDERED, /* an operator gives it up */
};

/* EVICT: state = dead for another run. In one conditional UPDATE: where (target, target_generation)
 * is active, its renew_seq is still target_renew_seq, and, of one that is merely silent, it is
 * expired by the store's clock; and only while our own row is active, locked in the same
 * transaction: else TROUPE_EFENCED. Two that would evict each other: one wins.
 *
 * By an operator's order a run that is dead already can be given up, too, and the state is left,
 * not dead: nobody expects it back. target_generation 0 means then: the last run of that name, if
 * that is not active. */
struct store_evict {
    /* in */
    const char *name;
    uint64_t generation;
    const char *target;
    uint64_t target_generation, target_renew_seq;
    enum store_evict_why why;
    /* out */
    bool evicted; /* the row is dead now (ordered: left), by this request or an earlier one */
};

/* DRAIN: writes into our own row that we give our partitions away and take none, or the opposite.
 * Only while it is active: else TROUPE_EFENCED. Refused, if we would be the last: when no other row
 * is active, not draining and not expired, all rows locked in the same transaction, so that of any
 * number of nodes that drain at once one stays. */
struct store_drain {
    /* in */
    const char *name;
    uint64_t generation;
    bool drain;
    /* out */
    bool refused;
};

struct store_claimed {
    store_pid pid;
    uint64_t epoch;      /* the new one */
    uint64_t epoch_prev; /* what it was before */
};

/* CLAIM: for every pid asked for whose owner is none, or is a run (name, generation) that is not
 * active any more: owner = us, epoch = max(epoch, timeline << 40) + 1. Only while our own row is
 * active, checked and locked in the same transaction: else TROUPE_EFENCED. Rows are locked in pid
 * order. A pid that we own already (same name, same generation) is returned again with its epoch
 * unchanged, epoch_prev == epoch: a retry after an unknown outcome is safe. Pids owned by others
 * are left out. Load what a claim won in a request submitted after the claim's done: only then is
 * the last write of the old owner sure to be seen. */
struct store_claim {
    /* in */
    const char *name;
    uint64_t generation;
    const store_pid *pids; /* ascending, distinct; the caller's until done */
    size_t pids_n;
    /* out: in pid order, in the arena */
    struct store_claimed *claimed;
    size_t claimed_n;
};

/* Why a partition got its owner, as the history tells. */
enum store_cause {
    STORE_CAUSE_FIRST = 1, /* it had none before */
    STORE_CAUSE_LEFT,      /* the one before has left … */
    STORE_CAUSE_DEAD,      /* … or was evicted … */
    STORE_CAUSE_RESTART,   /* … or is an earlier run of the same name */
    STORE_CAUSE_JOIN,      /* handed over: to a node that joined, or whose weight has grown */
    STORE_CAUSE_DRAIN,     /* handed over: by a node that drains or stops */
};

struct store_move {
    store_pid pid;
    uint64_t epoch; /* in: at which we own it; out: the new owner's */
};

/* TRANSFER: gives partitions to another run. For every move whose pid is owned by (name,
 * generation) at exactly move.epoch: owner = (to, to_generation), epoch = max(epoch, timeline <<
 * 40) + 1. Only while both rows are active, checked and locked in the same transaction: ours is
 * not: TROUPE_EFENCED; the other's is not: nothing is moved. Rows are locked in pid order. A pid
 * that (to, to_generation) owns already, at a higher epoch than move.epoch, is returned with the
 * epoch that stands, also when that run is not active any more: a retry after an unknown outcome is
 * safe, and tells what happened. The other moves are left out. */
struct store_transfer {
    /* in */
    const char *name;
    uint64_t generation;
    const char *to;
    uint64_t to_generation;
    enum store_cause cause;         /* JOIN or DRAIN */
    const struct store_move *moves; /* by pid, ascending, distinct; the caller's until done */
    size_t moves_n;
    /* out: in pid order, in the arena */
    struct store_move *moved;
    size_t moved_n;
};

/* HISTORY: how a partition came to its owners, the latest first, at most STORE_HISTORY_MAX: each
 * change of owner that a claim or a transfer makes is written down in the same transaction. */
struct store_change {
    uint64_t epoch;
    const char *owner, *previous; /* previous: "" = none */
    enum store_cause cause;
    uint64_t at_ms; /* since 1970, by the store's clock */
};

struct store_history {
    /* in */
    store_pid pid;
    /* out: in the arena */
    struct store_change *changes;
    size_t changes_n;
};

struct store_key {
    store_pid pid;
    struct troupe_bytes kind, id;
};

struct store_row {
    void *data; /* the caller's: rows may come back in another order */
    struct store_key key;
    uint64_t epoch;
    uint64_t version; /* grows with every change; compared as (epoch, version) */
    bool deleted;     /* a tombstone: its state is empty, its window is kept like any other's */
    struct troupe_bytes state;
    struct troupe_bytes dedup; /* the state's version, and the window of request ids and replies */
};

/* LOAD: many entities at once. rows[i] answers keys[i]; found[i] tells whether there is a row. */
struct store_load {
    /* in */
    const struct store_key *keys; /* distinct; the caller's until done */
    size_t keys_n;
    /* out: arrays of keys_n in the arena; rows[i].key is not filled in */
    struct store_row *rows;
    bool *found;
};

/* SAVE: one transaction that checks the fence and writes. A row is applied only when partition
 * row.pid is owned by (name, generation) at exactly row.epoch, and the stored (epoch, version) is
 * <= the row's (equal: the same write again, idempotent). All rows of one pid bear the same epoch.
 * Pids that fail the first test are returned as fenced, and none of their rows is applied; the
 * other pids' rows are. The partition rows stay locked FOR SHARE till commit, so that a claim waits
 * for the save or the save sees the claim. Rows may come in any order; two rows of one entity in
 * one request are TROUPE_EINVAL. The time of it, by the store's clock, is kept with each row that
 * is applied (RECENT). */
struct store_save {
    /* in */
    const char *name;
    uint64_t generation;
    struct store_row *rows; /* the caller's until done; the store may sort them */
    size_t rows_n;
    /* out */
    size_t applied; /* rows written */
    size_t skipped; /* rows not written because the store has a newer (epoch, version). Which ones,
                       the caller finds by saving some of them again: it is idempotent */
    store_pid *fenced; /* ascending, in the arena */
    size_t fenced_n;
};

/* RECENT: which entities of these partitions were saved within the last within_ms, by the store's
 * clock, and are not deleted. There is no index by time, which each save would have to keep up: it
 * reads the rows of the partitions one after the other, in the order of their keys, rows_max at the
 * most, and fewer where that takes long. Then more is true: go on behind `last`, with the pids from
 * last.pid on. What is saved between two such requests may be missed. */
struct store_saved {
    struct store_key key;
    uint64_t age_ms; /* since it was saved */
};

struct store_recent {
    /* in */
    const store_pid *pids; /* ascending, distinct; the caller's until done */
    size_t pids_n;
    struct store_key after; /* rows behind this one, whose pid is pids[0]; kind.len 0: all */
    uint64_t within_ms;     /* below 2^42 */
    uint32_t rows_max;      /* 1 to STORE_RECENT_MAX */
    /* out: in the arena */
    struct store_saved *saved; /* in the order of keys */
    size_t saved_n;
    bool more;
    struct store_key last; /* with more: the last row that was read */
};

struct store_owner {
    uint64_t epoch;
    uint64_t generation; /* of the owner's run; 0 when there is no owner */
    uint32_t node;       /* index into nodes, UINT32_MAX when there is no owner */
};

/* OWNERS: the whole map at one moment, and every node row there is (whatever its state). */
struct store_owners {
    struct store_owner *owners; /* one per pid, in the arena */
    size_t owners_n;
    struct store_node *nodes; /* in the arena */
    size_t nodes_n;
};

/* KINDS: sets what the cluster remembers of its kinds, if that is still `was`: compare and set.
 * Only while our own row is active: else TROUPE_EFENCED. What the text means is the nodes'
 * business. */
struct store_kinds {
    /* in */
    const char *name;
    uint64_t generation;
    const char *was, *is;
    /* out */
    bool done; /* false: it is something else by now, as the next renewal tells */
};

struct store_request;
typedef void (*store_done_cb)(struct store_request *request);

/* The caller owns it; from submit to done it must not be touched. Outputs live in *arena until the
 * caller resets it. */
struct store_request {
    void *data; /* the caller's */
    enum store_op op;
    struct arena *arena; /* the caller's; may be NULL for LEAVE only */
    store_done_cb done;
    struct store_request *next; /* for whoever holds the request: queues */
    void *impl;                 /* the implementation's, from submit to done */
    void *driver;               /* the one's who submits it, if that is not the caller itself */
    union {
        struct store_register reg;
        struct store_renew renew;
        struct store_leave leave;
        struct store_claim claim;
        struct store_load load;
        struct store_save save;
        struct store_owners owners;
        struct store_evict evict;
        struct store_transfer transfer;
        struct store_history history;
        struct store_recent recent;
        struct store_drain drain;
        struct store_kinds kinds;
    } u;
    /* out */
    uint64_t server; /* that executed it, see above; 0: none was asked, or there is only ever one */
    uint64_t timeline; /* of that server: grows with every failover to another copy of the data (the
                          Postgres timeline id); 0 where there is no such thing */
    int error;
    char errmsg[STORE_ERRMSG_BYTES];
};

/* ---- opening ---- */

struct uv_loop_s;
struct store;

enum store_log_level { STORE_LOG_DEBUG, STORE_LOG_INFO, STORE_LOG_WARN, STORE_LOG_ERROR };

struct store_options {
    /* "memory:" or "memory:NAME" (storage/memory/memory.h), "sqlite:PATH", "postgres://…" or
     * "postgresql://…" (anything libpq takes as a URI). */
    const char *url;
    const char *cluster; /* name of the cluster: many may share one database */
    uint32_t partitions; /* for a cluster that does not exist yet; 0 = 4,096 */
    struct uv_loop_s
        *loop; /* done callbacks run here. memory: may be NULL, then they run in store_poll */
    uint32_t connections; /* postgres: for loads and saves; the lease has its own besides. 0 = 3 */
    uint32_t statement_timeout_ms; /* 0 = 5000: how long one request may take in the store */
    bool prepared_statements;      /* postgres: false behind a transaction pooler */
    bool timeline_none; /* postgres: servers are not asked for their timeline; server and timeline
                           of requests are 0 then, and a failover goes unnoticed */
    void (*log)(void *data, enum store_log_level level, const char *message);
    void *log_data;
};

/* What an implementation provides. */
struct store_ops {
    const char *scheme;
    void (*submit)(struct store *store, struct store_request *request);
    /* See store_redial. NULL: there is nothing to do. */
    void (*redial)(struct store *store);
    /* Finishes or fails what is under way, then calls back. */
    void (*close)(struct store *store, void (*closed)(void *data), void *data);
};

struct store {
    const struct store_ops *ops;
};

/* Parses the url and prepares everything; connects and migrates (where the scheme is the embedded
 * kind: sqlite creates and migrates its file by itself, Postgres is migrated by store_migrate)
 * lazily, with the first requests, so that a store that is absent now is an error of the requests,
 * not of open. Errors: TROUPE_EINVAL (url, names; errmsg says what), TROUPE_ENOMEM. On success
 * *store is the caller's until its close has called back. */
int store_open(struct store **store, const struct store_options *options,
               char errmsg[STORE_ERRMSG_BYTES]);

/* On the loop's thread only. */
static inline void store_submit(struct store *store, struct store_request *request)
{
    request->next = NULL;
    request->server = request->timeline = 0;
    request->error = 0;
    request->errmsg[0] = '\0';
    store->ops->submit(store, request);
}

/* Somebody knows, or says, that the database has failed over to a later server than the latest that
 * this store knows: it looks where a new connection leads, as it did when it made its first one. If
 * that is a later server, it goes on there (see above); if not, nothing has changed, and nothing
 * that is under way, or comes, has been disturbed or held up. Returns at once. Asked again while it
 * looks: nothing more. Costs a connection, so not to be called in a loop. Nothing to do for a store
 * that is only ever one server (memory, sqlite), or whose servers are not asked (timeline_none). On
 * the loop's thread only. */
static inline void store_redial(struct store *store)
{
    if (store->ops->redial != NULL)
        store->ops->redial(store);
}

static inline void store_close(struct store *store, void (*closed)(void *data), void *data)
{
    store->ops->close(store, closed, data);
}

/* Brings the schema up to this program's version: numbered migrations, each in a transaction, under
 * a lock that keeps other migrators out; synchronous. A database that is newer than the program:
 * TROUPE_EVERSION. With dry_run nothing is changed. Calls report for every step with a line for
 * humans. url "memory:" has nothing to do. */
int store_migrate(const char *url, bool dry_run, void (*report)(void *data, const char *line),
                  void *data, char errmsg[STORE_ERRMSG_BYTES]);

/* ---- memory: also the store of the simulator and of the tests ---- */

/* memory: without a loop: runs at most max queued requests and their done callbacks, in order of
 * submission; how many it ran. */
size_t store_memory_poll(struct store *store, size_t max);

#endif
