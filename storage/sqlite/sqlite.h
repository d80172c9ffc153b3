/* Inside the SQLite store: the store itself, its workers, and the operations they execute. */
#ifndef TROUPE_STORAGE_SQLITE_SQLITE_H
#define TROUPE_STORAGE_SQLITE_SQLITE_H

#include "storage/sqlite/connection.h"
#include "storage/sqlite/gate.h"

/* "sqlite:PATH" -> the absolute path, which is the caller's to free. TROUPE_EINVAL or
 * TROUPE_ENOMEM with errmsg. */
int sqlite__parse_url(const char *url, char **path, char errmsg[STORE_ERRMSG_BYTES]);

/* ---- workers ---- */

/* Each has a thread and a connection of its own, so that loads need not wait for saves, and the
 * lease for neither. */
enum sqlite_role {
    WORKER_WRITER, /* saves, claims and transfers */
    WORKER_READER, /* loads, the owner map, its history, what was saved lately */
    WORKER_LEASE,  /* register, renew, leave, evict: goes first */
    WORKER_ROLES_N,
};

struct sqlite_store;

struct sqlite_worker {
    struct sqlite_store *owner;
    enum sqlite_role role;
    struct sqlite_connection connection;
    uint64_t told_ns; /* when the log last said that the database is opened anew; 0: never */
    uv_thread_t thread;
    uv_mutex_t lock; /* over what follows */
    uv_cond_t wake;
    struct store_request *head, **tail; /* the caller bounds it by what it submits */
    bool stopping;
    bool tidy;  /* writer: the log is long, write it back to the file */
    bool leave; /* the log has lost its name: close it */
};

int sqlite__worker_start(struct sqlite_worker *w, struct sqlite_store *owner,
                         enum sqlite_role role);
void sqlite__worker_submit(struct sqlite_worker *w, struct store_request *request);
/* It finishes what it has, then ends. */
void sqlite__worker_stop(struct sqlite_worker *w);
void sqlite__worker_join(struct sqlite_worker *w);

/* ---- the store ---- */

enum {
    LOG_LINES_MAX = 16, /* that wait for the loop; what exceeds it is dropped */
    LOG_BYTES = 512,
};

struct sqlite_log_line {
    enum store_log_level level;
    char text[LOG_BYTES];
};

struct sqlite_store {
    struct store store;
    struct sqlite_config config;
    struct sqlite_gate gate;
    struct sqlite_worker workers[WORKER_ROLES_N];
    size_t workers_n; /* started */
    void (*log)(void *data, enum store_log_level level, const char *message);
    void *log_data;
    uv_async_t async; /* wakes the loop for what follows */
    uv_mutex_t lock;  /* over what follows */
    struct store_request *done, **done_tail;
    struct sqlite_log_line lines[LOG_LINES_MAX];
    size_t lines_n;
    size_t running; /* workers that have not ended */
    bool closing;   /* the loop's thread only, as is the rest */
    void (*closed)(void *data);
    void *closed_data;
};

/* A worker hands back what it has finished (a list by next, its last element), and says that it
 * ends. */
void sqlite__store_done(struct sqlite_store *s, struct store_request *first,
                        struct store_request *last);
void sqlite__store_ended(struct sqlite_store *s);

/* ---- operations: inside a transaction that the worker has begun; 0 or the request's error ---- */

int sqlite__register(struct sqlite_connection *c, struct store_request *r);
int sqlite__renew(struct sqlite_connection *c, struct store_request *r);
int sqlite__leave(struct sqlite_connection *c, struct store_request *r);
int sqlite__evict(struct sqlite_connection *c, struct store_request *r);
int sqlite__kinds(struct sqlite_connection *c, struct store_request *r);
int sqlite__drain(struct sqlite_connection *c, struct store_request *r);
int sqlite__claim(struct sqlite_connection *c, struct store_request *r);
int sqlite__transfer(struct sqlite_connection *c, struct store_request *r);
int sqlite__owners(struct sqlite_connection *c, struct store_request *r);
int sqlite__history(struct sqlite_connection *c, struct store_request *r);
int sqlite__load(struct sqlite_connection *c, struct store_request *r);
int sqlite__save(struct sqlite_connection *c, struct store_request *r);
int sqlite__recent(struct sqlite_connection *c, struct store_request *r);

int sqlite__is_active(struct sqlite_connection *c, struct store_request *r, const char *name,
                      uint64_t generation, bool *active);
/* 0 when that run is active; TROUPE_EFENCED, or another error of the request. */
int sqlite__check_active(struct sqlite_connection *c, struct store_request *r, const char *name,
                         uint64_t generation);
/* Wall time in ms: the store's clock, as all its users are on this machine. */
uint64_t sqlite__now_ms(void);
/* The error for a partition row that makes no sense. */
int sqlite__fail_partition(struct sqlite_connection *c, struct store_request *r, store_pid pid);
/* A node row at which a statement stands. 0 or the request's error. */
int sqlite__read_node(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s,
                      struct store_node *node);
/* All nodes at which a statement stands, one after the other; the statement is reset. */
int sqlite__read_nodes(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s,
                       struct store_node **nodes, size_t *nodes_n);

#endif
