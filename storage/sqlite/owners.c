/* Reading who owns what: the owner map, and how a partition came to its owners. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/request.h"
#include "storage/sqlite/sqlite.h"

int sqlite__fail_partition(struct sqlite_connection *c, struct store_request *r, store_pid pid)
{
    char key[16];
    snprintf(key, sizeof key, "%u", pid);
    return sqlite__fail_row(c, r, "partition", key);
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
            return sqlite__fail_partition(c, r, (store_pid)map->owners_n);
        struct store_owner *owner = &map->owners[map->owners_n++];
        *owner = (struct store_owner){.epoch = epoch};
        set_owner(map, s, owner);
    }
    if (step != SQLITE_DONE)
        return sqlite__fail(c, r);
    return map->owners_n == c->partitions ? 0
                                          : sqlite__fail_partition(c, r, (store_pid)map->owners_n);
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

/* ---- history ---- */

static int read_change(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s,
                       struct store_change *change)
{
    uint64_t cause = 0;
    bool sane = sqlite__column_u63(s, 0, &change->epoch) && sqlite__column_u63(s, 3, &cause) &&
                cause >= STORE_CAUSE_FIRST && cause <= STORE_CAUSE_DRAIN &&
                sqlite__column_u63(s, 4, &change->at_ms);
    if (!sane)
        return sqlite__fail_partition(c, r, r->u.history.pid);
    change->cause = (enum store_cause)cause;
    change->owner = (const char *)arena_copy(r->arena, sqlite__column_bytes(s, 1)).data;
    change->previous = (const char *)arena_copy(r->arena, sqlite__column_bytes(s, 2)).data;
    return change->owner == NULL || change->previous == NULL ? store__fail_memory(r) : 0;
}

int sqlite__history(struct sqlite_connection *c, struct store_request *r)
{
    struct store_history *h = &r->u.history;
    h->changes_n = 0;
    h->changes = arena_calloc(r->arena, STORE_HISTORY_MAX, sizeof *h->changes);
    if (h->changes == NULL)
        return store__fail_memory(r);
    int rc = sqlite__find_cluster(c, r), step = SQLITE_DONE;
    if (rc != 0 || c->cluster == 0)
        return rc;
    sqlite3_stmt *s = sqlite__use(c, SQL_HISTORY);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite3_bind_int64(s, 2, h->pid);
    while (rc == 0 && h->changes_n < STORE_HISTORY_MAX && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = read_change(c, r, s, &h->changes[h->changes_n++]);
    if (rc == 0 && step != SQLITE_ROW && step != SQLITE_DONE)
        rc = sqlite__fail(c, r);
    sqlite3_reset(s);
    return rc;
}
