/* A worker: a thread that executes requests on its own connection.
 *
 * Happy path: it takes what is queued; opens the file if need be; a transaction around the request,
 * or around all saves that stand in a row (each of them keeps its own answers, together they need
 * one fsync); hands them back to the loop. When the write-ahead log has grown long, the writer
 * copies it back into the file, after it has answered and outside of the gate, so that neither
 * answers nor the lease wait for that.
 *
 * Failures: an error inside a transaction rolls all of it back; saves that shared it then run one
 * by one, so that one bad save does not fail its neighbours for ever. If COMMIT itself fails, the
 * log may hold the commit all the same (the last write went through and only the fsync failed):
 * TROUPE_EOUTCOME, and the connection is opened anew.
 *
 * Sharing the file: between processes there is no gate, only polling (connection.c). A writer that
 * never pauses would starve the others, so one that has been writing without a pause for
 * SHARE_STREAK_MS leaves the lock alone for SHARE_PAUSE_MS, which is longer than two polls. */
#include <string.h>

#include "base/invariant.h"
#include "storage/request.h"
#include "storage/sqlite/names.h"
#include "storage/sqlite/runs.h"
#include "storage/sqlite/sqlite.h"

enum {
    GROUP_ROWS_MAX = STORE_ROWS_MAX, /* of saves that share a transaction */
    GROUP_BYTES_MAX = 4 << 20,
    WAL_PAGES_LONG = 16384,      /* of 4 KiB: copy them back */
    WAL_PAGES_TOO_LONG = 131072, /* readers have kept the log from starting anew: make it */
    TOO_LONG_PATIENCE_MS = 50,   /* … if they are done in this time */
    SHARE_STREAK_MS = 100,
    SHARE_PAUSE_MS = 2,
    TOLD_EVERY_MS = 60000,       /* that the database is opened anew */
    LEASE_PATIENCE_MS_MIN = 200, /* a renewal waits at most a third of its TTL, but this long */
    NS_PER_MS = 1000000,
};

static const uint32_t cache_kib[WORKER_ROLES_N] = {
    [WORKER_WRITER] = 16 << 10,
    [WORKER_READER] = 8 << 10,
    [WORKER_LEASE] = 256,
};

/* ---- one request ---- */

static int execute(struct sqlite_connection *c, struct store_request *r)
{
    switch (r->op) {
    case STORE_REGISTER:
        return sqlite__register(c, r);
    case STORE_RENEW:
        return sqlite__renew(c, r);
    case STORE_LEAVE:
        return sqlite__leave(c, r);
    case STORE_CLAIM:
        return sqlite__claim(c, r);
    case STORE_LOAD:
        return sqlite__load(c, r);
    case STORE_SAVE:
        return sqlite__save(c, r);
    case STORE_OWNERS:
        return sqlite__owners(c, r);
    case STORE_EVICT:
        return sqlite__evict(c, r);
    case STORE_TRANSFER:
        return sqlite__transfer(c, r);
    case STORE_HISTORY:
        return sqlite__history(c, r);
    case STORE_RECENT:
        return sqlite__recent(c, r);
    case STORE_KINDS:
        return sqlite__kinds(c, r);
    case STORE_DRAIN:
        return sqlite__drain(c, r);
    }
    return store__fail(r, TROUPE_EINVAL, "there is no operation number %d", (int)r->op);
}

/* A renewal that comes through late is worth little: the lease counts from when it was sent. */
static uint32_t patience_ms(const struct sqlite_connection *c, const struct store_request *r)
{
    uint32_t ttl_ms = UINT32_MAX;
    if (r->op == STORE_RENEW)
        ttl_ms = r->u.renew.ttl_ms;
    else if (r->op == STORE_REGISTER)
        ttl_ms = r->u.reg.ttl_ms;
    uint32_t most = ttl_ms / 3 > LEASE_PATIENCE_MS_MIN ? ttl_ms / 3 : LEASE_PATIENCE_MS_MIN;
    return most < c->config->timeout_ms ? most : c->config->timeout_ms;
}

/* ---- a transaction ---- */

static void clear_error(struct store_request *r)
{
    r->error = 0;
    r->errmsg[0] = '\0';
}

static void fail_all(struct store_request *first, size_t n, const struct store_request *like)
{
    for (struct store_request *r = first; n > 0; r = r->next, n--) {
        if (r == like)
            continue;
        memcpy(r->errmsg, like->errmsg, sizeof r->errmsg);
        r->error = like->error;
    }
}

static int begin(struct sqlite_worker *w, struct store_request *r)
{
    struct sqlite_connection *c = &w->connection;
    int rc = sqlite__open(c, r);
    if (rc == 0)
        rc = sqlite__check_file(c, r);
    if (rc != 0)
        return rc;
    enum sqlite_statement how = w->role == WORKER_READER ? SQL_BEGIN_READ : SQL_BEGIN_WRITE;
    return sqlite__exec(c, how) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

/* The write lock, through the gate. A writer that is polling for a lock of another process steps
 * back when the lease comes: the lease polls then. */
static int enter(struct sqlite_worker *w, struct store_request *r)
{
    struct sqlite_connection *c = &w->connection;
    sqlite__set_patience(c, patience_ms(c, r));
    if (w->role == WORKER_READER)
        return begin(w, r);
    for (;;) {
        sqlite__gate_enter(&w->owner->gate, w->role == WORKER_LEASE);
        int rc = begin(w, r);
        if (rc == 0)
            return 0;
        bool stepped_back = c->yield != NULL && sqlite__gate_is_wanted(c->yield);
        sqlite__gate_leave(&w->owner->gate);
        if (!stepped_back || rc != TROUPE_EUNAVAILABLE || c->has_failed ||
            uv_hrtime() >= c->patience_ns)
            return rc;
        clear_error(r);
    }
}

static void leave(struct sqlite_worker *w)
{
    if (w->role != WORKER_READER)
        sqlite__gate_leave(&w->owner->gate);
}

static void rollback(struct sqlite_connection *c)
{
    c->uid[0] = '\0';
    if (sqlite3_get_autocommit(c->db) != 0) /* SQLite has rolled back by itself */
        return;
    if (sqlite__exec(c, SQL_ROLLBACK) != SQLITE_OK)
        c->has_failed = true;
}

/* A commit into a log that has lost its name is none before it is in the file. */
static int keep_commit(struct sqlite_connection *c, struct store_request *r)
{
    if (sqlite__names_has_log(c))
        return 0;
    sqlite__names_fail_log(c, r);
    sqlite__log(c->config, STORE_LOG_ERROR, "%s", r->errmsg);
    if (c->has_failed) { /* it is in the file: the next request opens it anew */
        clear_error(r);
        return 0;
    }
    r->error = TROUPE_EOUTCOME;
    return TROUPE_EOUTCOME;
}

static int commit(struct sqlite_worker *w, struct store_request *r)
{
    struct sqlite_connection *c = &w->connection;
    if (sqlite__exec(c, SQL_COMMIT) == SQLITE_OK) {
        sqlite__confirm_cluster(c);
        return w->role == WORKER_READER ? 0 : keep_commit(c, r);
    }
    bool busy = sqlite3_errcode(c->db) == SQLITE_BUSY;
    int rc = sqlite__fail(c, r);
    rollback(c);
    if (busy || w->role == WORKER_READER)
        return rc;
    c->has_failed = true;
    r->error = TROUPE_EOUTCOME;
    return TROUPE_EOUTCOME;
}

/* What happens between the locks; *at is the request that came to an error. */
static int run_inside(struct sqlite_worker *w, struct store_request **at, size_t n)
{
    int rc = execute(&w->connection, *at);
    while (rc == 0 && --n > 0) {
        *at = (*at)->next;
        rc = execute(&w->connection, *at);
    }
    if (rc == 0)
        return commit(w, *at);
    rollback(&w->connection);
    return rc;
}

/* The others have the same log: a new one begins when all have closed it. */
static void leave_log(struct sqlite_worker *w)
{
    for (size_t i = 0; i < WORKER_ROLES_N; i++) {
        struct sqlite_worker *other = &w->owner->workers[i];
        if (other == w)
            continue;
        uv_mutex_lock(&other->lock);
        other->leave = true;
        uv_cond_signal(&other->wake);
        uv_mutex_unlock(&other->lock);
    }
}

/* Requests fail at each attempt while a disk is full, in turns with others that work: who sent them
 * tells of that, and the log here not each time. */
static void open_anew(struct sqlite_worker *w, const char *why)
{
    uint64_t now = uv_hrtime();
    if (w->told_ns == 0 || now - w->told_ns >= TOLD_EVERY_MS * UINT64_C(1000000)) {
        w->told_ns = now;
        sqlite__log(w->connection.config, STORE_LOG_WARN, "the database is opened anew%s%s",
                    why[0] == '\0' ? "" : ": ", why);
    }
    sqlite__close(&w->connection);
}

/* The first n requests of the list in one transaction: all get the same fate. Whether it was worth
 * trying: false when the database could not be had at all. */
static bool run_transaction(struct sqlite_worker *w, struct store_request *first, size_t n)
{
    struct sqlite_connection *c = &w->connection;
    struct store_request *at = first;
    int rc = enter(w, first);
    bool entered = rc == 0;
    if (entered) {
        rc = run_inside(w, &at, n);
        leave(w);
    }
    if (rc == 0 && w->role == WORKER_LEASE)
        sqlite__runs_tidy(c, first);
    if (rc != 0)
        fail_all(first, n, at);
    if (c->has_failed)
        open_anew(w, at->errmsg);
    if (atomic_exchange(&c->config->log_gone, false))
        leave_log(w);
    return entered;
}

/* ---- groups ---- */

static size_t bytes_of(const struct store_request *r)
{
    size_t bytes = 0;
    for (size_t i = 0; i < r->u.save.rows_n; i++)
        bytes += r->u.save.rows[i].state.len + r->u.save.rows[i].dedup.len;
    return bytes;
}

/* How many requests from the head of the list share a transaction. */
static size_t group_of(const struct store_request *first)
{
    size_t n = 0, rows = 0, bytes = 0;
    for (const struct store_request *r = first; r != NULL && r->op == STORE_SAVE; r = r->next) {
        rows += r->u.save.rows_n;
        bytes += bytes_of(r);
        if (n > 0 && (rows > GROUP_ROWS_MAX || bytes > GROUP_BYTES_MAX))
            break;
        n++;
    }
    return n == 0 ? 1 : n;
}

static void run_group(struct sqlite_worker *w, struct store_request *first, size_t n)
{
    bool entered = run_transaction(w, first, n);
    if (!entered || n == 1 || first->error == 0 || first->error == TROUPE_EOUTCOME)
        return;
    for (struct store_request *r = first; n > 0; r = r->next, n--) {
        clear_error(r);
        run_transaction(w, r, 1);
    }
}

/* ---- the log ---- */

static void tidy_log(struct sqlite_worker *w)
{
    struct sqlite_connection *c = &w->connection;
    if (c->db == NULL)
        return;
    bool too_long = c->wal_pages >= WAL_PAGES_TOO_LONG;
    sqlite__set_patience(c, TOO_LONG_PATIENCE_MS);
    int pages = 0;
    int rc = sqlite3_wal_checkpoint_v2(
        c->db, "main", too_long ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &pages,
        NULL);
    c->wal_tidied = c->wal_pages;
    if (rc == SQLITE_OK || (rc & 0xFF) == SQLITE_BUSY)
        return;
    sqlite__log(c->config, STORE_LOG_WARN, "the write-ahead log could not be written back: %s",
                sqlite3_errmsg(c->db));
}

/* The lease's commits lengthen the log, too, also in a node that saves nothing. */
static void mind_log(struct sqlite_worker *w)
{
    struct sqlite_connection *c = &w->connection;
    if (c->wal_pages < c->wal_tidied) /* it has been started anew since */
        c->wal_tidied = 0;
    if (c->wal_pages - c->wal_tidied < WAL_PAGES_LONG)
        return;
    if (w->role == WORKER_WRITER) {
        tidy_log(w);
        return;
    }
    struct sqlite_worker *writer = &w->owner->workers[WORKER_WRITER];
    c->wal_tidied = c->wal_pages;
    uv_mutex_lock(&writer->lock);
    writer->tidy = true;
    uv_cond_signal(&writer->wake);
    uv_mutex_unlock(&writer->lock);
}

/* ---- the thread ---- */

struct work {
    struct store_request *list;
    bool tidy, leave, end;
};

static struct work wait_for_work(struct sqlite_worker *w)
{
    uv_mutex_lock(&w->lock);
    while (w->head == NULL && !w->tidy && !w->leave && !w->stopping)
        uv_cond_wait(&w->wake, &w->lock);
    struct work work = {
        .list = w->head, .tidy = w->tidy, .leave = w->leave, .end = w->head == NULL && w->stopping};
    w->head = NULL;
    w->tail = &w->head;
    w->tidy = w->leave = false;
    uv_mutex_unlock(&w->lock);
    return work;
}

/* Executes a group from the head of the list and hands it back; the rest of the list. */
static struct store_request *work_off(struct sqlite_worker *w, struct store_request *list)
{
    size_t n = group_of(list);
    run_group(w, list, n);
    struct store_request *last = list;
    while (--n > 0)
        last = last->next;
    struct store_request *rest = last->next;
    last->next = NULL;
    sqlite__store_done(w->owner, list, last);
    mind_log(w);
    return rest;
}

/* Leaves the lock alone now and then; *streak_ns is when we began to take it again and again. */
static void share(uint64_t *streak_ns)
{
    if (uv_hrtime() - *streak_ns < (uint64_t)SHARE_STREAK_MS * NS_PER_MS)
        return;
    uv_sleep(SHARE_PAUSE_MS);
    *streak_ns = uv_hrtime();
}

static void worker_main(void *data)
{
    struct sqlite_worker *w = data;
    uint64_t streak_ns = uv_hrtime();
    for (;;) {
        uint64_t idle_since_ns = uv_hrtime();
        struct work work = wait_for_work(w);
        if (uv_hrtime() - idle_since_ns >= (uint64_t)SHARE_PAUSE_MS * NS_PER_MS)
            streak_ns = uv_hrtime();
        if (work.end)
            break;
        struct sqlite_connection *c = &w->connection;
        if (work.leave && c->db != NULL && !sqlite__names_has_log(c))
            sqlite__close(c);
        if (work.tidy)
            tidy_log(w);
        while (work.list != NULL) {
            if (w->role == WORKER_WRITER)
                share(&streak_ns);
            work.list = work_off(w, work.list);
        }
    }
    sqlite__close(&w->connection);
    sqlite__store_ended(w->owner);
}

/* ---- from the loop's thread ---- */

int sqlite__worker_start(struct sqlite_worker *w, struct sqlite_store *owner, enum sqlite_role role)
{
    *w = (struct sqlite_worker){.owner = owner, .role = role};
    w->tail = &w->head;
    w->connection.config = &owner->config;
    w->connection.cache_kib = cache_kib[role];
    w->connection.yield = role == WORKER_WRITER ? &owner->gate : NULL;
    if (uv_mutex_init(&w->lock) != 0)
        return TROUPE_ENOMEM;
    if (uv_cond_init(&w->wake) != 0)
        goto err_after_mutex;
    if (uv_thread_create(&w->thread, worker_main, w) != 0)
        goto err_after_cond;
    return 0;

err_after_cond:
    uv_cond_destroy(&w->wake);
err_after_mutex:
    uv_mutex_destroy(&w->lock);
    return TROUPE_ENOMEM;
}

void sqlite__worker_submit(struct sqlite_worker *w, struct store_request *request)
{
    uv_mutex_lock(&w->lock);
    INVARIANT(!w->stopping);
    *w->tail = request;
    w->tail = &request->next;
    uv_cond_signal(&w->wake);
    uv_mutex_unlock(&w->lock);
}

void sqlite__worker_stop(struct sqlite_worker *w)
{
    uv_mutex_lock(&w->lock);
    w->stopping = true;
    uv_cond_signal(&w->wake);
    uv_mutex_unlock(&w->lock);
}

void sqlite__worker_join(struct sqlite_worker *w)
{
    uv_thread_join(&w->thread);
    uv_cond_destroy(&w->wake);
    uv_mutex_destroy(&w->lock);
}
