/* Claim and transfer: how a partition gets its owner. Whoever changes something has the write lock
 * of the whole file, so saves, evictions and other claims come before or after, never in between.
 */
#include <string.h>

#include "storage/request.h"
#include "storage/sqlite/sqlite.h"

struct run {
    const char *name;
    uint64_t generation;
};

/* A claim or transfer under way. */
struct change {
    struct sqlite_connection *c;
    struct store_request *r;
    sqlite3_stmt *find, *note, *give;
    struct run own, to; /* who asks, who gets; the same in a claim */
};

struct partition {
    bool there, ours, theirs; /* owned by own, by to */
    int cause;                /* that others may take it for; 0: its owner is active */
    uint64_t epoch;
};

static int begin_change(struct change *x, struct sqlite_connection *c, struct store_request *r,
                        struct run own, struct run to)
{
    *x = (struct change){.c = c, .r = r, .own = own, .to = to};
    x->find = sqlite__use(c, SQL_FIND_PARTITION);
    x->note = sqlite__use(c, SQL_NOTE_CHANGE);
    x->give = sqlite__use(c, SQL_GIVE_PARTITION);
    if (x->find == NULL || x->note == NULL || x->give == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(x->find, 1, c->cluster);
    sqlite3_bind_int64(x->note, 1, c->cluster);
    sqlite__bind_string(x->note, 4, to.name);
    sqlite__bind_u64(x->note, 6, sqlite__now_ms());
    sqlite3_bind_int64(x->give, 1, c->cluster);
    sqlite__bind_string(x->give, 4, to.name);
    sqlite__bind_u64(x->give, 5, to.generation);
    return 0;
}

/* Whether the run owns the partition at which the statement stands. */
static bool is_owner(sqlite3_stmt *find, struct run run)
{
    return troupe_bytes_equal(sqlite__column_bytes(find, 1), troupe_bytes_of(run.name)) &&
           (uint64_t)sqlite3_column_int64(find, 2) == run.generation;
}

static int read_partition(const struct change *x, store_pid pid, struct partition *p)
{
    *p = (struct partition){0};
    sqlite3_bind_int64(x->find, 2, pid);
    int step = sqlite3_step(x->find);
    bool sane = true;
    if (step == SQLITE_ROW) {
        p->there = true;
        p->ours = is_owner(x->find, x->own);
        p->theirs = is_owner(x->find, x->to);
        p->cause = sqlite3_column_int(x->find, 3);
        sane = sqlite__column_u63(x->find, 0, &p->epoch) && p->epoch < INT64_MAX;
    }
    if (sqlite3_reset(x->find) != SQLITE_OK)
        return sqlite__fail(x->c, x->r);
    return sane ? 0 : sqlite__fail_partition(x->c, x->r, pid);
}

static int give_partition(const struct change *x, store_pid pid, uint64_t epoch, int cause)
{
    sqlite3_bind_int64(x->note, 2, pid);
    sqlite__bind_u64(x->note, 3, epoch);
    sqlite3_bind_int(x->note, 5, cause);
    sqlite3_step(x->note);
    if (sqlite3_reset(x->note) != SQLITE_OK)
        return sqlite__fail(x->c, x->r);
    sqlite3_bind_int64(x->give, 2, pid);
    sqlite__bind_u64(x->give, 3, epoch);
    sqlite3_step(x->give);
    return sqlite3_reset(x->give) == SQLITE_OK ? 0 : sqlite__fail(x->c, x->r);
}

/* ---- claim ---- */

/* One look and two changes per pid, by key: 4,096 of them take some 30 ms, once in a node's life.
 */
static int claim_all(const struct change *x)
{
    struct store_claim *claim = &x->r->u.claim;
    for (size_t i = 0; i < claim->pids_n; i++) {
        struct partition p;
        int rc = read_partition(x, claim->pids[i], &p);
        if (rc != 0)
            return rc;
        if (!p.there || (p.cause == 0 && !p.ours))
            continue;
        struct store_claimed *won = &claim->claimed[claim->claimed_n++];
        *won = (struct store_claimed){
            .pid = claim->pids[i], .epoch = p.epoch + !p.ours, .epoch_prev = p.epoch};
        if (!p.ours)
            rc = give_partition(x, won->pid, won->epoch, p.cause);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int sqlite__claim(struct sqlite_connection *c, struct store_request *r)
{
    struct store_claim *claim = &r->u.claim;
    struct run own = {claim->name, claim->generation};
    struct change x;
    int rc = sqlite__find_cluster(c, r);
    if (rc == 0)
        rc = sqlite__check_active(c, r, claim->name, claim->generation);
    if (rc != 0)
        return rc;
    claim->claimed_n = 0;
    claim->claimed = arena_alloc(r->arena, claim->pids_n * sizeof *claim->claimed);
    if (claim->claimed == NULL)
        return store__fail_memory(r);
    rc = begin_change(&x, c, r, own, own);
    return rc == 0 ? claim_all(&x) : rc;
}

/* ---- transfer ---- */

/* open: the receiver is active. */
static int transfer_all(const struct change *x, bool open)
{
    struct store_transfer *t = &x->r->u.transfer;
    for (size_t i = 0; i < t->moves_n; i++) {
        const struct store_move *move = &t->moves[i];
        struct partition p;
        int rc = read_partition(x, move->pid, &p);
        if (rc != 0)
            return rc;
        bool done = p.theirs && p.epoch > move->epoch;
        if (!done && !(open && p.ours && p.epoch == move->epoch))
            continue;
        struct store_move *moved = &t->moved[t->moved_n++];
        *moved = (struct store_move){.pid = move->pid, .epoch = p.epoch + !done};
        if (!done)
            rc = give_partition(x, moved->pid, moved->epoch, (int)t->cause);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int sqlite__transfer(struct sqlite_connection *c, struct store_request *r)
{
    struct store_transfer *t = &r->u.transfer;
    struct run own = {t->name, t->generation}, to = {t->to, t->to_generation};
    struct change x;
    bool open = false;
    int rc = sqlite__find_cluster(c, r);
    if (rc == 0)
        rc = sqlite__check_active(c, r, t->name, t->generation);
    if (rc == 0)
        rc = sqlite__is_active(c, r, t->to, t->to_generation, &open);
    if (rc != 0)
        return rc;
    t->moved_n = 0;
    t->moved = arena_alloc(r->arena, t->moves_n * sizeof *t->moved);
    if (t->moved == NULL)
        return store__fail_memory(r);
    rc = begin_change(&x, c, r, own, to);
    return rc == 0 ? transfer_all(&x, open) : rc;
}
