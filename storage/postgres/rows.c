/* Load, save, and what was saved lately: parameters and results. */
#include <stdio.h>
#include <string.h>

#include "storage/postgres/postgres.h"

void pg_load_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    const struct store_load *load = &r->u.load;
    size_t n = load->keys_n, kinds = 0, ids = 0;
    for (size_t i = 0; i < n; i++) {
        kinds += load->keys[i].kind.len;
        ids += load->keys[i].id.len;
    }
    pg_add_text(p, s->cluster);
    struct pg_array pid = pg_add_array(p, PG_INT4_ARRAY, PG_INT4, n, n * 4);
    struct pg_array kind = pg_add_array(p, PG_TEXT_ARRAY, PG_TEXT, n, kinds);
    struct pg_array id = pg_add_array(p, PG_BYTEA_ARRAY, PG_BYTEA, n, ids);
    for (size_t i = 0; i < n; i++) {
        pg_put_int4(&pid, load->keys[i].pid);
        pg_put_bytes(&kind, load->keys[i].kind);
        pg_put_bytes(&id, load->keys[i].id);
    }
}

static int fail_entity(struct store_request *r, const struct store_key *key)
{
    char text[PG_TEXT_BYTES];
    snprintf(text, sizeof text, "%.*s/%.*s", (int)key->kind.len, (const char *)key->kind.data,
             (int)key->id.len, (const char *)key->id.data);
    return pg_op_fail_row(r, "entity", text);
}

int pg_load_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_load *load = &r->u.load;
    load->rows = arena_calloc(r->arena, load->keys_n, sizeof *load->rows);
    load->found = arena_calloc(r->arena, load->keys_n, sizeof *load->found);
    if (load->rows == NULL || load->found == NULL)
        return store__fail_memory(r);
    for (int i = 0; i < PQntuples(result); i++) {
        uint64_t at = pg_get_int(result, i, 0) - 1;
        if (at >= load->keys_n)
            return store__fail(r, TROUPE_EVERSION, "store: a load answers what was not asked");
        struct store_row *row = &load->rows[at];
        load->found[at] = true;
        if (!pg_get_u63(result, i, 1, &row->epoch) || !pg_get_u63(result, i, 2, &row->version))
            return fail_entity(r, &load->keys[at]);
        row->deleted = pg_get_bool(result, i, 3);
        row->state = arena_copy(r->arena, pg_get_bytes(result, i, 4));
        row->dedup = arena_copy(r->arena, pg_get_bytes(result, i, 5));
        if (row->state.data == NULL || row->dedup.data == NULL)
            return store__fail_memory(r);
    }
    return 0;
}

/* The batch's partitions, each once, with the epoch that its rows bear. The rows are sorted by pid,
 * and all rows of a pid bear the same epoch (store__check_request). */
static void add_fence(const struct store_save *save, struct pg_params *p)
{
    size_t n = 0;
    for (size_t i = 0; i < save->rows_n; i++)
        n += i == 0 || save->rows[i].key.pid != save->rows[i - 1].key.pid;
    struct pg_array pids = pg_add_array(p, PG_INT4_ARRAY, PG_INT4, n, n * 4);
    struct pg_array epochs = pg_add_array(p, PG_INT8_ARRAY, PG_INT8, n, n * 8);
    for (size_t i = 0; i < save->rows_n; i++) {
        const struct store_row *row = &save->rows[i];
        if (i > 0 && row->key.pid == save->rows[i - 1].key.pid)
            continue;
        pg_put_int4(&pids, row->key.pid);
        pg_put_int8(&epochs, row->epoch);
    }
}

void pg_save_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    const struct store_save *save = &r->u.save;
    size_t n = save->rows_n, kinds = 0, ids = 0, states = 0, dedups = 0;
    for (size_t i = 0; i < n; i++) {
        kinds += save->rows[i].key.kind.len;
        ids += save->rows[i].key.id.len;
        states += save->rows[i].state.len;
        dedups += save->rows[i].dedup.len;
    }
    pg_add_text(p, s->cluster);
    pg_add_text(p, save->name);
    pg_add_int8(p, save->generation);
    add_fence(save, p);
    struct pg_array pid = pg_add_array(p, PG_INT4_ARRAY, PG_INT4, n, n * 4);
    struct pg_array kind = pg_add_array(p, PG_TEXT_ARRAY, PG_TEXT, n, kinds);
    struct pg_array id = pg_add_array(p, PG_BYTEA_ARRAY, PG_BYTEA, n, ids);
    struct pg_array epoch = pg_add_array(p, PG_INT8_ARRAY, PG_INT8, n, n * 8);
    struct pg_array version = pg_add_array(p, PG_INT8_ARRAY, PG_INT8, n, n * 8);
    struct pg_array deleted = pg_add_array(p, PG_BOOL_ARRAY, PG_BOOL, n, n);
    struct pg_array state = pg_add_array(p, PG_BYTEA_ARRAY, PG_BYTEA, n, states);
    struct pg_array dedup = pg_add_array(p, PG_BYTEA_ARRAY, PG_BYTEA, n, dedups);
    for (size_t i = 0; i < n; i++) {
        const struct store_row *row = &save->rows[i];
        pg_put_int4(&pid, row->key.pid);
        pg_put_bytes(&kind, row->key.kind);
        pg_put_bytes(&id, row->key.id);
        pg_put_int8(&epoch, row->epoch);
        pg_put_int8(&version, row->version);
        pg_put_bool(&deleted, row->deleted);
        pg_put_bytes(&state, row->state);
        pg_put_bytes(&dedup, row->dedup);
    }
}

/* The answer: first the number of rows applied, then the pids that the fence let through,
 * ascending, as the rows are. */
int pg_save_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_save *save = &r->u.save;
    if (PQntuples(result) < 1 || (int32_t)pg_get_int(result, 0, 0) != -1)
        return store__fail(r, TROUPE_EVERSION, "store: a save answers strangely");
    save->applied = (size_t)pg_get_int(result, 0, 1);
    save->fenced_n = 0;
    size_t kept = 0;
    bool fenced_in = false;
    int at = 1;
    for (size_t i = 0; i < save->rows_n; i++) {
        uint32_t pid = save->rows[i].key.pid;
        if (i == 0 || pid != save->rows[i - 1].key.pid) {
            fenced_in = at < PQntuples(result) && pg_get_int(result, at, 0) == pid;
            at += fenced_in;
            if (!fenced_in)
                save->fenced[save->fenced_n++] = pid;
        }
        kept += fenced_in;
    }
    save->skipped = kept > save->applied ? kept - save->applied : 0;
    return 0;
}

void pg_recent_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    const struct store_recent *recent = &r->u.recent;
    pg_add_text(p, s->cluster);
    struct pg_array pids =
        pg_add_array(p, PG_INT4_ARRAY, PG_INT4, recent->pids_n, recent->pids_n * 4);
    for (size_t i = 0; i < recent->pids_n; i++)
        pg_put_int4(&pids, recent->pids[i]);
    struct pg_array kind = pg_add_array(p, PG_TEXT_ARRAY, PG_TEXT, 1, recent->after.kind.len);
    pg_put_bytes(&kind, recent->after.kind);
    struct pg_array id = pg_add_array(p, PG_BYTEA_ARRAY, PG_BYTEA, 1, recent->after.id.len);
    pg_put_bytes(&id, recent->after.id);
    pg_add_int8(p, recent->within_ms);
    pg_add_int8(p, recent->rows_max);
}

static bool copy_key(const PGresult *result, int row, struct arena *a, struct store_key *key)
{
    *key = (struct store_key){.pid = (store_pid)pg_get_int(result, row, 1),
                              .kind = arena_copy(a, pg_get_bytes(result, row, 2)),
                              .id = arena_copy(a, pg_get_bytes(result, row, 3))};
    return key->kind.data != NULL && key->id.data != NULL;
}

/* What was saved lately; behind it the last row that was read, with the number of all of them. */
int pg_recent_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_recent *recent = &r->u.recent;
    int rows = PQntuples(result);
    recent->saved_n = 0;
    recent->more = false;
    recent->saved = arena_alloc(r->arena, (size_t)rows * sizeof *recent->saved);
    if (recent->saved == NULL)
        return store__fail_memory(r);
    for (int row = 0; row < rows; row++) {
        uint64_t read_n = pg_get_int(result, row, 0);
        if (read_n > 0) {
            recent->more = read_n >= recent->rows_max;
            if (recent->more && !copy_key(result, row, r->arena, &recent->last))
                return store__fail_memory(r);
            continue;
        }
        struct store_saved *saved = &recent->saved[recent->saved_n++];
        saved->age_ms = pg_get_int(result, row, 4);
        if (!copy_key(result, row, r->arena, &saved->key))
            return store__fail_memory(r);
    }
    return 0;
}
