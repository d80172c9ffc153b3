/* What was saved lately. A hash table has no order: each request looks at all rows there are, which
 * is good enough for tests and simulations. */
#include <stdlib.h>
#include <string.h>

#include "storage/memory/database.h"
#include "storage/request.h"

static int compare_bytes(struct troupe_bytes a, struct troupe_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_keys(const struct store_key *a, const struct store_key *b)
{
    if (a->pid != b->pid)
        return a->pid < b->pid ? -1 : 1;
    int order = compare_bytes(a->kind, b->kind);
    return order != 0 ? order : compare_bytes(a->id, b->id);
}

static int compare_rows(const void *a, const void *b)
{
    struct store_key x = stored_row_key(*(const struct stored_row *const *)a);
    struct store_key y = stored_row_key(*(const struct stored_row *const *)b);
    return compare_keys(&x, &y);
}

static int compare_pids(const void *a, const void *b)
{
    store_pid x = *(const store_pid *)a, y = *(const store_pid *)b;
    return (x > y) - (x < y);
}

static bool is_asked_for(const struct store_recent *recent, const struct stored_row *row)
{
    if (row == NULL || bsearch(&row->pid, recent->pids, recent->pids_n, sizeof *recent->pids,
                               compare_pids) == NULL)
        return false;
    struct store_key key = stored_row_key(row);
    return recent->after.kind.len == 0 || compare_keys(&key, &recent->after) > 0;
}

static bool copy_key(struct arena *a, const struct stored_row *row, struct store_key *out)
{
    struct store_key key = stored_row_key(row);
    *out = (struct store_key){
        .pid = key.pid, .kind = arena_copy(a, key.kind), .id = arena_copy(a, key.id)};
    return out->kind.data != NULL && out->id.data != NULL;
}

static int tell(struct store_request *r, const struct stored_row *const *rows, size_t n,
                uint64_t now_ms)
{
    struct store_recent *recent = &r->u.recent;
    recent->saved = arena_calloc(r->arena, n, sizeof *recent->saved);
    if (recent->saved == NULL)
        return store__fail_memory(r);
    for (size_t i = 0; i < n; i++) {
        const struct stored_row *row = rows[i];
        uint64_t age_ms = now_ms > row->saved_at_ms ? now_ms - row->saved_at_ms : 0;
        if (row->deleted || age_ms > recent->within_ms)
            continue;
        struct store_saved *saved = &recent->saved[recent->saved_n++];
        saved->age_ms = age_ms;
        if (!copy_key(r->arena, row, &saved->key))
            return store__fail_memory(r);
    }
    if (recent->more && !copy_key(r->arena, rows[n - 1], &recent->last))
        return store__fail_memory(r);
    return 0;
}

int recent_find(const struct cluster *c, uint64_t now_ms, struct store_request *r)
{
    struct store_recent *recent = &r->u.recent;
    const struct stored_row **rows = malloc((c->rows.used_n + 1) * sizeof(struct stored_row *));
    size_t n = 0;
    recent->saved_n = 0;
    if (rows == NULL)
        return store__fail_memory(r);
    for (size_t i = 0; i < c->rows.slots_n; i++) {
        if (is_asked_for(recent, c->rows.slots[i].row))
            rows[n++] = c->rows.slots[i].row;
    }
    qsort(rows, n, sizeof(struct stored_row *), compare_rows);
    recent->more = n > recent->rows_max;
    int rc = tell(r, rows, recent->more ? recent->rows_max : n, now_ms);
    free(rows);
    return rc;
}
