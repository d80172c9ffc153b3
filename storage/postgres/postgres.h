/* What the files of this folder share.
 *
 *   postgres.c   the store: queue, choice of a connection, deadlines
 *   conn.c       one connection: connecting, pipelining, reading, breaking
 *   server.c     which server a connection leads to
 *   redial.c     which one a new connection would lead to
 *   ops.c        which statement belongs to which operation
 *   verdict.c    what an error of the server means
 *   lease.c partitions.c rows.c   parameters and results of the operations
 *   params.c     binary parameters             migrate.c   the schema */
#ifndef TROUPE_POSTGRES_POSTGRES_H
#define TROUPE_POSTGRES_POSTGRES_H

#include <libpq-fe.h>
#include <uv.h>

#include "storage/postgres/params.h"
#include "storage/postgres/verdict.h"
#include "storage/request.h"
#include "storage/store.h"

enum {
    PG_PIPELINE_MAX = 4,  /* requests under way on one connection */
    PG_CONNECT_MS = 5000, /* for one attempt */
    PG_BACKOFF_MS_MIN = 100,
    PG_BACKOFF_MS_MAX = 2000,
    PG_LEASE_BACKOFF_MS_MAX = 200, /* of the lease's connection; a quarter more by chance */
    /* The lease's connection is given up after half of the lease without an answer, but these:
     * it must have failed and been made anew while the lease still lasts. */
    PG_LEASE_ANSWER_MS_MIN = 200,
    PG_LEASE_CONNECT_MS_MIN = 1000,
    PG_ASK_LEASE_MS = 10000, /* between two looks where the lease's connection leads to now */
    PG_SCOUT_MS = 4000,      /* for a look where new connections lead: less than between two */
    PG_RESOLVE_MS = 1000,    /* for looking the host's name up, before its last address is tried */
    PG_TICK_MS = 50,
    PG_SLACK_MS =
        1000, /* an answer this much later than statement_timeout: the connection is dead */
    PG_CONNECTIONS_MAX = 64,
    PG_OPS = STORE_KINDS + 1,
    PG_SETTINGS = PG_OPS, /* the statement before each other one, see pg_settings */
    PG_TEXT_BYTES = 256,
    PG_SETTINGS_BYTES = 1024,
};

/* A request on its way: request->impl, from submit to done. */
struct pg_task {
    uint64_t deadline_ms; /* while it waits for a connection */
    uint64_t sent_ms;
    /* Results that are still to come: of the settings (PREPARE, if it is the first time, and what
     * it does), and then of the request's own statement, which are `own`. The last one is the
     * answer. */
    unsigned left, own;
    bool refused; /* the server has said that it changed nothing */
    bool sent;
};

struct pg_server {
    uint64_t number; /* of those that this store has met, from 1 on; 0: none yet */
    uint64_t system, timeline;
};

enum pg_conn_state { PG_DOWN, PG_RESOLVING, PG_CONNECTING, PG_SETTING_UP, PG_READY };

struct pg_store;

struct pg_conn {
    struct pg_store *store;
    enum pg_conn_state state;
    PGconn *pg;
    uv_poll_t *poll; /* on the heap: closing takes a turn of the loop, and by then there may be
                        another one */
    int fd, events;
    uv_getaddrinfo_t resolve;
    bool resolving;
    char hostaddr[64]; /* the last address found; "" = none */
    uint64_t retry_ms, started_ms;
    uint64_t server; /* the number of the one it leads to; 0: not known, or not asked … */
    uint64_t system; /* … and its system's identifier */
    unsigned failures;
    bool prepared[PG_OPS + 1]; /* by operation; the last one is the settings */
    bool unreplicated;         /* a commit was confirmed by the primary alone */
    const char *leaving; /* why: takes no more requests, and is closed once those it has are done */
    struct store_request *head, **tail; /* under way, oldest first */
    unsigned in_flight;
};

struct pg_store {
    struct store base;
    uv_loop_t *loop;
    uv_timer_t tick;
    char *url, *cluster;
    char settings[PG_SETTINGS_BYTES];
    uint32_t partitions, timeout_ms;
    uint32_t lease_ttl_ms; /* as the last request for the lease says */
    bool prepare;
    bool timeline_none;      /* servers are not asked who they are */
    struct pg_server server; /* the latest */
    uint64_t ask_lease_ms;   /* where its connection leads to is not looked at again before */
    void (*log)(void *data, enum store_log_level level, const char *message);
    void *log_data;
    struct pg_conn *conns; /* the first one is the lease's */
    unsigned conns_n;
    struct pg_conn scout;                          /* see redial.c; it carries no requests */
    uint64_t scout_until_ms;                       /* 0: there is none */
    struct store_request *waiting, **waiting_tail; /* for a connection of the pool */
    struct store_request *lease, **lease_tail;     /* for the lease's */
    struct arena params;                           /* of the statement that is being sent */
    char last_error[PG_TEXT_BYTES];                /* why there is no connection */
    struct store_request *rejected; /* wrong from the start: answered with the next tick */
    uv_work_t migrate;
    bool migrating, migrated; /* whether there is a schema is being looked at; was found */
    uint64_t migrate_ms;      /* look again then */
    int migrate_rc;           /* these two: the worker's until it is done */
    char migrate_error[STORE_ERRMSG_BYTES];
    unsigned outstanding;
    bool closing, tick_closed;
    void (*closed)(void *data);
    void *closed_data;
};

/* ---- ops.c ---- */
struct pg_op {
    const char *name; /* of the prepared statement */
    const char *sql;
    bool writes;
    void (*params)(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
    /* 0, or store__fail. */
    int (*result)(const struct pg_store *s, struct store_request *r, const PGresult *result);
};
const struct pg_op *pg_op(enum store_op op);
/* The statement that goes before every other one, in the same transaction: our limits and what we
 * rely on. Nothing is set for the session: behind a pooler in transaction mode that would be some
 * other client's session, too, and the next transaction's is another. */
void pg_settings(const struct pg_store *s, char sql[PG_SETTINGS_BYTES]);
/* Memory for what a write answers; 0, or store__fail. */
int pg_op_reserve(struct store_request *r);
/* Sets the request's error from what the server's answer means, its SQLSTATE (or NULL) and text. */
void pg_op_fail(struct store_request *r, const struct pg_verdict *v, const char *sqlstate,
                const char *text);

/* Sets the request's error: the row with that key makes no sense. */
int pg_op_fail_row(struct store_request *r, const char *table, const char *key);
/* Which columns of a result make up a node's row. */
struct pg_node_columns {
    int name, generation, incarnation, addr, proof, gossip, renew_seq, ttl_ms, state, expired,
        age_ms, outage_ms, draining;
};
/* In the request's arena; 0, or store__fail. */
int pg_read_node(struct store_request *r, const PGresult *result, int row,
                 const struct pg_node_columns *at, struct store_node *n);

void pg_register_params(const struct pg_store *s, const struct store_request *r,
                        struct pg_params *p);
int pg_register_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_renew_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_renew_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_leave_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_leave_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_evict_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_evict_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_drain_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_drain_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_kinds_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_kinds_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_claim_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_claim_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_transfer_params(const struct pg_store *s, const struct store_request *r,
                        struct pg_params *p);
int pg_transfer_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_history_params(const struct pg_store *s, const struct store_request *r,
                       struct pg_params *p);
int pg_history_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_owners_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_owners_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_load_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_load_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_save_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_save_result(const struct pg_store *s, struct store_request *r, const PGresult *result);
void pg_recent_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p);
int pg_recent_result(const struct pg_store *s, struct store_request *r, const PGresult *result);

/* ---- conn.c ---- */
void pg_conn_init(struct pg_conn *c, struct pg_store *s);
/* Begins to connect if it is time to. */
void pg_conn_tick(struct pg_conn *c, uint64_t now_ms);
bool pg_conn_can_take(const struct pg_conn *c);
/* Sends a request; it is the connection's until pg_done. */
void pg_conn_send(struct pg_conn *c, struct store_request *r);
/* Gives up the connection; requests under way fail as it must be. */
void pg_conn_break(struct pg_conn *c, const char *why);
bool pg_conn_is_closed(const struct pg_conn *c);
/* How long a request is worth waiting for, of most_ms at most. */
uint32_t pg_patience_ms(const struct store_request *r, uint32_t most_ms);

/* ---- server.c ---- */
/* Whether servers are asked who they are. */
bool pg_server_is_asked(const struct pg_store *s);
/* The first statement of a connection, and what pg_settings asks for besides, each time. */
const char *pg_server_question(const struct pg_store *s);
const char *pg_server_columns(const struct pg_store *s);
/* The connection's server has answered the question, or with the settings. NULL: it may be used;
 * all connections that lead to earlier ones are closed. Otherwise why it may not; the caller breaks
 * it. */
const char *pg_server_met(struct pg_conn *c, const PGresult *result);
const char *pg_server_told(struct pg_conn *c, const PGresult *result);
/* It has refused to. NULL: for a reason that may pass; else what to do about it. */
const char *pg_server_hidden(const char *sqlstate);
/* The connection's server has executed the request. */
void pg_server_stamp(const struct pg_conn *c, struct store_request *r);

/* ---- redial.c ---- */
/* store_redial. */
void pg_redial(struct store *base);
void pg_redial_tick(struct pg_store *s, uint64_t now_ms);
bool pg_redial_is_scout(const struct pg_conn *c);
/* The connection could be used. True: it was the scout, and is closed. */
bool pg_redial_arrived(struct pg_conn *c);

/* ---- migrate.c ---- */
/* Makes the schema where there is none of ours, leaves any other alone. */
int store_postgres_migrate_if_empty(const char *url, void (*report)(void *data, const char *line),
                                    void *data, char errmsg[STORE_ERRMSG_BYTES]);

/* ---- postgres.c ---- */
uint64_t pg_now_ms(const struct pg_store *s);
/* The request is finished, with error set. */
void pg_done(struct pg_store *s, struct store_request *r);
/* Back to where it waits for a connection: it was not sent, or may be sent again. */
void pg_requeue(struct pg_store *s, struct store_request *r);
/* A connection can take more, or has closed. */
void pg_dispatch(struct pg_store *s);
void pg_log(struct pg_store *s, enum store_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
