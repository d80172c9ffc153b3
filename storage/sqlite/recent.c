/* What was saved lately: the rows of a few partitions, one after the other. The time stands behind
 * the state in its row, so that large states, or a cold disk, make it slow: a request that has
 * taken READ_MS ends there, for loads wait for the same thread. */
#include <uv.h>

#include "storage/request.h"
#include "storage/sqlite/sqlite.h"

enum { READ_MS = 4, ROWS_PER_LOOK = 16 };

struct reading {
    struct store_recent *recent;
    struct arena *arena;
    uint64_t now_ms, end_ns;
    uint32_t rows_n;
};

static bool copy_key(const struct reading *g, sqlite3_stmt *s, store_pid pid, struct store_key *key)
{
    *key = (struct store_key){.pid = pid,
                              .kind = arena_copy(g->arena, sqlite__column_bytes(s, 0)),
                              .id = arena_copy(g->arena, sqlite__column_bytes(s, 1))};
    return key->kind.data != NULL && key->id.data != NULL;
}

/* The row at which the statement stands. False: out of memory. */
static bool take(struct reading *g, sqlite3_stmt *s, store_pid pid)
{
    struct store_recent *recent = g->recent;
    uint64_t at_ms = 0;
    if (!sqlite__column_u63(s, 3, &at_ms))
        at_ms = 0; /* edited to nonsense: old enough */
    uint64_t age_ms = g->now_ms > at_ms ? g->now_ms - at_ms : 0;
    if (sqlite3_column_int(s, 2) != 0 || age_ms > recent->within_ms)
        return true;
    struct store_saved *saved = &recent->saved[recent->saved_n++];
    saved->age_ms = age_ms;
    return copy_key(g, s, pid, &saved->key);
}

static bool is_full(const struct reading *g)
{
    return g->rows_n == g->recent->rows_max ||
           (g->rows_n % ROWS_PER_LOOK == 0 && uv_hrtime() >= g->end_ns);
}

/* The rows of one partition, until it, or this request, is at its end. */
static int read_partition(struct sqlite_connection *c, struct store_request *r, struct reading *g,
                          sqlite3_stmt *s, store_pid pid)
{
    int step;
    while ((step = sqlite3_step(s)) == SQLITE_ROW) {
        g->rows_n++;
        if (!take(g, s, pid))
            return store__fail_memory(r);
        if (!is_full(g))
            continue;
        g->recent->more = true;
        return copy_key(g, s, pid, &g->recent->last) ? 0 : store__fail_memory(r);
    }
    return step == SQLITE_DONE ? 0 : sqlite__fail(c, r);
}

static int read_all(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s)
{
    struct store_recent *recent = &r->u.recent;
    struct reading g = {.recent = recent,
                        .arena = r->arena,
                        .now_ms = sqlite__now_ms(),
                        .end_ns = uv_hrtime() + READ_MS * UINT64_C(1000000)};
    int rc = 0;
    for (size_t i = 0; rc == 0 && !recent->more && i < recent->pids_n; i++) {
        bool behind = i == 0 && recent->after.kind.len > 0;
        sqlite3_bind_int64(s, 2, recent->pids[i]);
        sqlite__bind_text(s, 3, behind ? recent->after.kind : troupe_bytes_of(""));
        sqlite__bind_text(s, 4, behind ? recent->after.id : troupe_bytes_of(""));
        rc = read_partition(c, r, &g, s, recent->pids[i]);
        sqlite3_reset(s);
    }
    return rc;
}

int sqlite__recent(struct sqlite_connection *c, struct store_request *r)
{
    struct store_recent *recent = &r->u.recent;
    recent->saved_n = 0;
    recent->more = false;
    recent->saved = arena_alloc(r->arena, recent->rows_max * sizeof *recent->saved);
    if (recent->saved == NULL)
        return store__fail_memory(r);
    int rc = sqlite__find_cluster(c, r);
    if (rc != 0 || c->cluster == 0)
        return rc;
    sqlite3_stmt *s = sqlite__use(c, SQL_NEXT_ENTITIES);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite3_bind_int64(s, 5, recent->rows_max);
    return read_all(c, r, s);
}
