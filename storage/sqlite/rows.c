/* Load and save: the entity table. */
#include <stdio.h>

#include "storage/request.h"
#include "storage/sqlite/sqlite.h"

static int fail_entity(struct sqlite_connection *c, struct store_request *r,
                       const struct store_key *key)
{
    char name[128];
    snprintf(name, sizeof name, "%.*s/%.*s", (int)key->kind.len, (const char *)key->kind.data,
             (int)key->id.len, (const char *)key->id.data);
    return sqlite__fail_row(c, r, "entity", name);
}

/* ---- load ---- */

/* The row at which the statement stands, as copies. */
static int read_entity(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s,
                       const struct store_key *key, struct store_row *row)
{
    struct troupe_bytes state = sqlite__column_bytes(s, 3), dedup = sqlite__column_bytes(s, 4);
    if (!sqlite__column_u63(s, 0, &row->epoch) || !sqlite__column_u63(s, 1, &row->version))
        return fail_entity(c, r, key);
    row->deleted = sqlite3_column_int(s, 2) != 0;
    row->state = arena_copy(r->arena, state);
    row->dedup = arena_copy(r->arena, dedup);
    if (row->state.data == NULL || row->dedup.data == NULL)
        return store__fail_memory(r);
    return 0;
}

static int load_all(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s)
{
    struct store_load *load = &r->u.load;
    for (size_t i = 0; i < load->keys_n; i++) {
        const struct store_key *key = &load->keys[i];
        int rc = 0;
        sqlite3_bind_int64(s, 2, key->pid);
        sqlite__bind_text(s, 3, key->kind);
        sqlite__bind_text(s, 4, key->id);
        int step = sqlite3_step(s);
        if (step == SQLITE_ROW)
            rc = read_entity(c, r, s, key, &load->rows[i]);
        else if (step != SQLITE_DONE)
            rc = sqlite__fail(c, r);
        load->found[i] = step == SQLITE_ROW;
        sqlite3_reset(s);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int sqlite__load(struct sqlite_connection *c, struct store_request *r)
{
    struct store_load *load = &r->u.load;
    load->rows = arena_calloc(r->arena, load->keys_n, sizeof *load->rows);
    load->found = arena_calloc(r->arena, load->keys_n, sizeof *load->found);
    if (load->rows == NULL || load->found == NULL)
        return store__fail_memory(r);
    int rc = sqlite__find_cluster(c, r);
    if (rc != 0 || c->cluster == 0)
        return rc;
    sqlite3_stmt *s = sqlite__use(c, SQL_LOAD_ENTITY);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    return load_all(c, r, s);
}

/* ---- save ---- */

/* Whether the partition of this row is still ours at its epoch. */
static int check_fence(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *fence,
                       const struct store_row *row, bool *open)
{
    sqlite3_bind_int64(fence, 2, row->key.pid);
    sqlite__bind_u64(fence, 5, row->epoch);
    *open = sqlite3_step(fence) == SQLITE_ROW;
    return sqlite3_reset(fence) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

static int save_row(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *save,
                    const struct store_row *row)
{
    sqlite3_bind_int64(save, 2, row->key.pid);
    sqlite__bind_text(save, 3, row->key.kind);
    sqlite__bind_text(save, 4, row->key.id);
    sqlite__bind_u64(save, 5, row->epoch);
    sqlite__bind_u64(save, 6, row->version);
    sqlite3_bind_int(save, 7, row->deleted);
    sqlite__bind_blob(save, 8, row->state);
    sqlite__bind_blob(save, 9, row->dedup);
    sqlite3_step(save);
    if (sqlite3_reset(save) != SQLITE_OK)
        return sqlite__fail(c, r);
    if (sqlite3_changes(c->db) == 1)
        r->u.save.applied++;
    else
        r->u.save.skipped++;
    return 0;
}

/* The rows are sorted by pid, so each partition's fence is looked at once. The write lock keeps
 * claims out until the commit. */
static int save_all(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *fence,
                    sqlite3_stmt *put)
{
    struct store_save *save = &r->u.save;
    bool open = false;
    for (size_t i = 0; i < save->rows_n; i++) {
        const struct store_row *row = &save->rows[i];
        int rc = 0;
        if (i == 0 || row->key.pid != save->rows[i - 1].key.pid) {
            rc = check_fence(c, r, fence, row, &open);
            if (rc == 0 && !open)
                save->fenced[save->fenced_n++] = row->key.pid;
        }
        if (rc == 0 && open)
            rc = save_row(c, r, put, row);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int sqlite__save(struct sqlite_connection *c, struct store_request *r)
{
    struct store_save *save = &r->u.save;
    save->applied = save->skipped = save->fenced_n = 0;
    save->fenced = arena_alloc(r->arena, save->rows_n * sizeof *save->fenced);
    if (save->fenced == NULL)
        return store__fail_memory(r);
    int rc = sqlite__find_cluster(c, r);
    if (rc != 0)
        return rc;
    sqlite3_stmt *fence = sqlite__use(c, SQL_FENCE);
    sqlite3_stmt *put = sqlite__use(c, SQL_SAVE_ENTITY);
    if (fence == NULL || put == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(fence, 1, c->cluster);
    sqlite__bind_string(fence, 3, save->name);
    sqlite__bind_u64(fence, 4, save->generation);
    sqlite3_bind_int64(put, 1, c->cluster);
    sqlite__bind_u64(put, 10, sqlite__now_ms());
    return save_all(c, r, fence, put);
}
