/* Claim and the owner map: the partition table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/request.h"
#include "storage/sqlite/sqlite.h"

static int fail_partition(struct sqlite_connection *c, struct store_request *r, store_pid pid)
{
    char key[16];
    snprintf(key, sizeof key, "%u", pid);
    return sqlite__fail_row(c, r, "partition", key);
}

/* ---- claim ---- */

struct partition {
    bool there, ours, held; /* held: by a run that is active */
    uint64_t epoch;
};

static int read_partition(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *find,
                          store_pid pid, struct partition *p)
{
    const struct store_claim *claim = &r->u.claim;
    *p = (struct partition){0};
    sqlite3_bind_int64(find, 2, pid);
    int step = sqlite3_step(find);
    bool sane = true;
    if (step == SQLITE_ROW) {
        p->there = true;
        p->ours = troupe_bytes_equal(sqlite__column_bytes(find, 1), troupe_bytes_of(claim->name)) &&
                  (uint64_t)sqlite3_column_int64(find, 2) == claim->generation;
        p->held = sqlite3_column_int(find, 3) != 0;
        sane = sqlite__column_u63(find, 0, &p->epoch) && p->epoch < INT64_MAX;
    }
    if (sqlite3_reset(find) != SQLITE_OK)
        return sqlite__fail(c, r);
    return sane ? 0 : fail_partition(c, r, pid);
}

static int take_partition(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *take,
                          const struct store_claimed *won)
{
    sqlite3_bind_int64(take, 2, won->pid);
    sqlite__bind_u64(take, 3, won->epoch);
    sqlite3_step(take);
    return sqlite3_reset(take) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

/* One look and one update per pid: 4,096 of them take some 20 ms, once in a node's life. */
static int claim_all(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *find,
                     sqlite3_stmt *take)
{
    struct store_claim *claim = &r->u.claim;
    for (size_t i = 0; i < claim->pids_n; i++) {
        struct partition p;
        int rc = read_partition(c, r, find, claim->pids[i], &p);
        if (rc != 0)
            return rc;
        if (!p.there || (p.held && !p.ours))
            continue;
        struct store_claimed *won = &claim->claimed[claim->claimed_n++];
        *won = (struct store_claimed){
            .pid = claim->pids[i], .epoch = p.epoch + !p.ours, .epoch_prev = p.epoch};
        if (!p.ours)
            rc = take_partition(c, r, take, won);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int sqlite__claim(struct sqlite_connection *c, struct store_request *r)
{
    struct store_claim *claim = &r->u.claim;
    int rc = sqlite__find_cluster(c, r);
    if (rc == 0)
        rc = sqlite__check_active(c, r, claim->name, claim->generation);
    if (rc != 0)
        return rc;
    claim->claimed_n = 0;
    claim->claimed = arena_alloc(r->arena, claim->pids_n * sizeof *claim->claimed);
    if (claim->claimed == NULL)
        return store__fail_memory(r);
    sqlite3_stmt *find = sqlite__use(c, SQL_FIND_PARTITION);
    sqlite3_stmt *take = sqlite__use(c, SQL_TAKE_PARTITION);
    if (find == NULL || take == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(find, 1, c->cluster);
    sqlite3_bind_int64(take, 1, c->cluster);
    sqlite__bind_string(take, 4, claim->name);
    sqlite__bind_u64(take, 5, claim->generation);
    return claim_all(c, r, find, take);
}

/* ---- owners ---- */

static int compare_name(const void *name, const void *node)
{
    return strcmp(name, ((const struct store_node *)node)->name);
}

/* The nodes are sorted by name. An owner without a node row is none: a claim sees it so, too. */
static void set_owner(const struct store_owners *map, sqlite3_stmt *s, struct store_owner *owner)
{
    owner->node = UINT32_MAX;
    if (sqlite3_column_type(s, 2) == SQLITE_NULL)
        return;
    const char *name = (const char *)sqlite3_column_text(s, 2);
    const struct store_node *node =
        name == NULL ? NULL
                     : bsearch(name, map->nodes, map->nodes_n, sizeof *map->nodes, compare_name);
    if (node == NULL)
        return;
    owner->node = (uint32_t)(node - map->nodes);
    owner->generation = (uint64_t)sqlite3_column_int64(s, 3);
}

static int read_partitions(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s)
{
    struct store_owners *map = &r->u.owners;
    int step;
    while ((step = sqlite3_step(s)) == SQLITE_ROW) {
        uint64_t pid, epoch;
        bool sane = sqlite__column_u63(s, 0, &pid) && sqlite__column_u63(s, 1, &epoch);
        if (!sane || pid != map->owners_n || pid >= c->partitions)
            return fail_partition(c, r, (store_pid)map->owners_n);
        struct store_owner *owner = &map->owners[map->owners_n++];
        *owner = (struct store_owner){.epoch = epoch};
        set_owner(map, s, owner);
    }
    if (step != SQLITE_DONE)
        return sqlite__fail(c, r);
    return map->owners_n == c->partitions ? 0 : fail_partition(c, r, (store_pid)map->owners_n);
}

int sqlite__owners(struct sqlite_connection *c, struct store_request *r)
{
    struct store_owners *map = &r->u.owners;
    *map = (struct store_owners){0};
    int rc = sqlite__find_cluster(c, r);
    if (rc != 0 || c->cluster == 0)
        return rc;
    sqlite3_stmt *nodes = sqlite__use(c, SQL_ALL_NODES);
    sqlite3_stmt *partitions = sqlite__use(c, SQL_ALL_PARTITIONS);
    if (nodes == NULL || partitions == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(nodes, 1, c->cluster);
    rc = sqlite__read_nodes(c, r, nodes, &map->nodes, &map->nodes_n);
    if (rc != 0)
        return rc;
    map->owners = arena_calloc(r->arena, c->partitions, sizeof *map->owners);
    if (map->owners == NULL)
        return store__fail_memory(r);
    sqlite3_bind_int64(partitions, 1, c->cluster);
    rc = read_partitions(c, r, partitions);
    sqlite3_reset(partitions);
    return rc;
}
