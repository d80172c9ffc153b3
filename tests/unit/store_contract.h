/* The contract of storage/store.h as a program: the suite that every implementation passes. An
 * implementation brings a fixture, which makes an empty database; the suite opens as many handles
 * on it as it needs, each with a loop of its own ("another node"), some of them run by threads of
 * their own.
 *
 * Beside the suite there is the rig, for the implementations' own tests as well: handles, requests
 * that are waited for with a deadline, and a verb for every operation. All of it fails the running
 * cmocka test by itself when something does not come about. */
#ifndef TROUPE_TESTS_STORE_CONTRACT_H
#define TROUPE_TESTS_STORE_CONTRACT_H

#include <stdatomic.h>
#include <uv.h>

#include "storage/store.h"

enum {
    CONTRACT_URL_BYTES = 512,
    CONTRACT_PARTITIONS = 256,
    CONTRACT_DEADLINE_MS = 60000, /* of one wait */
    CONTRACT_TTL_MS = 60000,      /* of leases that shall not expire in a test */
};

struct store_fixture {
    const char *name; /* of the group of tests */
    void *data;       /* the fixture's */
    /* An empty database, without a schema, as a url for store_open and store_migrate. Called before
     * each test. */
    void (*create)(const struct store_fixture *fixture, char url[CONTRACT_URL_BYTES]);
    /* After each test, when all handles are closed. */
    void (*destroy)(const struct store_fixture *fixture, const char *url);
    /* Sets the state of a node's row to STORE_NODE_DEAD, behind the stores' backs. NULL: tests that
     * need it are skipped. */
    void (*evict)(const struct store_fixture *fixture, const char *url, const char *cluster,
                  const char *name);
    /* The store's clock is set back by so much, as a node's row sees it. NULL: as above. */
    void (*set_back)(const struct store_fixture *fixture, const char *url, const char *cluster,
                     const char *name, uint64_t ms);
    bool without_loop;  /* memory only: options.loop is NULL, handles are polled */
    bool timeline_none; /* as in store_options */
};

/* All tests; the number of those that failed. */
int store_contract_run(const struct store_fixture *fixture);

/* ---- the rig: handles and requests ---- */

struct contract_store {
    struct store *store;
    uv_loop_t loop;
    uv_timer_t tick; /* makes every turn of the loop end */
    bool without_loop, closed;
    atomic_uint warns_n; /* that it has logged */
};

struct contract_request {
    struct store_request r;
    struct arena arena;
    bool done;
};

/* Brings the schema up to date and opens a handle. */
void contract_open(struct contract_store *s, const struct store_fixture *fixture, const char *url,
                   const char *cluster, uint32_t partitions);
void contract_close(struct contract_store *s);

/* A zeroed request with an arena. */
void contract_init(struct contract_request *q, enum store_op op);
void contract_free(struct contract_request *q);
void contract_submit(struct contract_store *s, struct contract_request *q);
/* Runs the loop until the request is done; its error. */
int contract_wait(struct contract_store *s, struct contract_request *q);
/* contract_submit and contract_wait, again while the store is merely busy (TROUPE_EUNAVAILABLE). */
int contract_do(struct contract_store *s, struct contract_request *q);
/* Runs the loop for a moment. */
void contract_turn(struct contract_store *s);

/* ---- verbs; each initialises q, which is the caller's to read and to contract_free ---- */

int contract_register(struct contract_store *s, struct contract_request *q, const char *name,
                      uint64_t incarnation);
int contract_renew(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation);
int contract_leave(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation);
int contract_claim(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation, const store_pid *pids, size_t pids_n);
int contract_evict(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation, const struct store_node *target);
int contract_drain(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation, bool drain);
/* From a run of name to one of to, both in their generations; cause JOIN. */
int contract_transfer(struct contract_store *s, struct contract_request *q, const char *name,
                      uint64_t generation, const char *to, uint64_t to_generation,
                      const struct store_move *moves, size_t moves_n);
int contract_history(struct contract_store *s, struct contract_request *q, store_pid pid);
int contract_load(struct contract_store *s, struct contract_request *q,
                  const struct store_key *keys, size_t keys_n);
int contract_save(struct contract_store *s, struct contract_request *q, const char *name,
                  uint64_t generation, struct store_row *rows, size_t rows_n);
int contract_owners(struct contract_store *s, struct contract_request *q);
/* Of one partition, within the last hour. */
int contract_recent(struct contract_store *s, struct contract_request *q, const store_pid *pid);

/* ---- shorter still, for what has to work for the test to go on ---- */

/* The row of a node as OWNERS sees it, without its texts; false when there is none. */
bool contract_find_node(struct contract_store *s, const char *name, struct store_node *node);
/* What OWNERS says of a node, once it says that it has expired; fails when that does not come. */
struct store_node contract_wait_expired(struct contract_store *s, const char *name);
/* The generation. */
uint64_t contract_must_register(struct contract_store *s, const char *name, uint64_t incarnation);
/* Renews with a TTL. */
void contract_must_renew(struct contract_store *s, const char *name, uint64_t generation,
                         uint32_t ttl_ms);
/* The epoch won, which must be the only answer. */
uint64_t contract_must_claim(struct contract_store *s, const char *name, uint64_t generation,
                             store_pid pid);
/* A row of kind "k" with a text as id and state. */
struct store_row contract_row(store_pid pid, const char *id, uint64_t epoch, uint64_t version,
                              const char *state);
/* Saves one row: 1 applied, 0 skipped, -1 fenced. */
int contract_must_save(struct contract_store *s, const char *name, uint64_t generation,
                       struct store_row row);
/* Loads one row into q; whether there is one. Its state is at q->r.u.load.rows[0]. */
bool contract_must_load(struct contract_store *s, struct contract_request *q, store_pid pid,
                        const char *id);

#endif
