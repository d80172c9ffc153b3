/* Claim, transfer, owners, history: parameters and results. */
#include <stdio.h>
#include <string.h>

#include "storage/postgres/postgres.h"

void pg_claim_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    const struct store_claim *claim = &r->u.claim;
    pg_add_text(p, s->cluster);
    pg_add_text(p, claim->name);
    pg_add_int8(p, claim->generation);
    struct pg_array pids =
        pg_add_array(p, PG_INT4_ARRAY, PG_INT4, claim->pids_n, claim->pids_n * 4);
    for (size_t i = 0; i < claim->pids_n; i++)
        pg_put_int4(&pids, claim->pids[i]);
}

int pg_claim_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_claim *claim = &r->u.claim;
    int rows = PQntuples(result);
    if (rows == 0)
        return store__fail(r, TROUPE_EFENCED, "'%s' may not claim: its lease is gone", claim->name);
    claim->claimed_n = 0;
    for (int row = 1; row < rows && claim->claimed_n < claim->pids_n;
         row++) { /* the first one only says that we are alive */
        claim->claimed[claim->claimed_n++] = (struct store_claimed){
            .pid = (store_pid)pg_get_int(result, row, 0),
            .epoch = pg_get_int(result, row, 1),
            .epoch_prev = pg_get_int(result, row, 2),
        };
    }
    return 0;
}

void pg_transfer_params(const struct pg_store *s, const struct store_request *r,
                        struct pg_params *p)
{
    const struct store_transfer *t = &r->u.transfer;
    size_t n = t->moves_n;
    pg_add_text(p, s->cluster);
    pg_add_text(p, t->name);
    pg_add_int8(p, t->generation);
    pg_add_text(p, t->to);
    pg_add_int8(p, t->to_generation);
    pg_add_int4(p, (uint32_t)t->cause);
    struct pg_array pids = pg_add_array(p, PG_INT4_ARRAY, PG_INT4, n, n * 4);
    struct pg_array epochs = pg_add_array(p, PG_INT8_ARRAY, PG_INT8, n, n * 8);
    for (size_t i = 0; i < n; i++) {
        pg_put_int4(&pids, t->moves[i].pid);
        pg_put_int8(&epochs, t->moves[i].epoch);
    }
}

int pg_transfer_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_transfer *t = &r->u.transfer;
    int rows = PQntuples(result);
    if (rows == 0)
        return store__fail(r, TROUPE_EFENCED, "'%s' may not transfer: its lease is gone", t->name);
    t->moved_n = 0;
    for (int row = 1; row < rows && t->moved_n < t->moves_n; row++) { /* as in a claim */
        t->moved[t->moved_n++] = (struct store_move){
            .pid = (store_pid)pg_get_int(result, row, 0),
            .epoch = pg_get_int(result, row, 1),
        };
    }
    return 0;
}

void pg_history_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    pg_add_text(p, s->cluster);
    pg_add_int4(p, r->u.history.pid);
}

int pg_history_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_history *h = &r->u.history;
    h->changes_n = (size_t)PQntuples(result);
    h->changes = arena_calloc(r->arena, h->changes_n, sizeof *h->changes);
    if (h->changes == NULL)
        return store__fail_memory(r);
    for (int row = 0; row < PQntuples(result); row++) {
        struct store_change *change = &h->changes[row];
        *change = (struct store_change){
            .epoch = pg_get_int(result, row, 0),
            .owner = (const char *)arena_copy(r->arena, pg_get_bytes(result, row, 1)).data,
            .previous = (const char *)arena_copy(r->arena, pg_get_bytes(result, row, 2)).data,
            .cause = (enum store_cause)pg_get_int(result, row, 3),
            .at_ms = pg_get_int(result, row, 4),
        };
        if (change->owner == NULL || change->previous == NULL)
            return store__fail_memory(r);
    }
    return 0;
}

void pg_owners_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    (void)r;
    pg_add_text(p, s->cluster);
}

static int node_of(struct store_request *r, const PGresult *result, int row, struct store_node *n)
{
    static const struct pg_node_columns COLUMNS = {.name = 4,
                                                   .generation = 1,
                                                   .incarnation = 2,
                                                   .addr = 5,
                                                   .proof = 10,
                                                   .renew_seq = 3,
                                                   .ttl_ms = 6,
                                                   .state = 7,
                                                   .expired = 8,
                                                   .age_ms = 9,
                                                   .gossip = 11,
                                                   .outage_ms = 12,
                                                   .draining = 13};
    return pg_read_node(r, result, row, &COLUMNS, n);
}

/* A partition's key as a text that tells which row is meant. */
static int fail_partition(struct store_request *r, uint64_t pid)
{
    char key[24];
    snprintf(key, sizeof key, "%llu", (unsigned long long)pid);
    return pg_op_fail_row(r, "partition", key);
}

static uint32_t node_index(const struct store_owners *map, struct troupe_bytes name)
{
    for (size_t i = 0; i < map->nodes_n; i++) {
        if (troupe_bytes_equal(troupe_bytes_of(map->nodes[i].name), name))
            return (uint32_t)i;
    }
    return UINT32_MAX;
}

/* No rows: the cluster does not exist yet. */
int pg_owners_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    struct store_owners *map = &r->u.owners;
    int rows = PQntuples(result), partitions = 0;
    while (partitions < rows && pg_get_int(result, partitions, 0) == 0)
        partitions++;
    map->owners_n = (size_t)partitions;
    map->nodes_n = 0;
    map->owners = arena_calloc(r->arena, map->owners_n, sizeof *map->owners);
    map->nodes = arena_calloc(r->arena, (size_t)(rows - partitions), sizeof *map->nodes);
    if (map->owners == NULL || map->nodes == NULL)
        return store__fail_memory(r);
    for (int row = partitions; row < rows; row++) {
        int rc = node_of(r, result, row, &map->nodes[map->nodes_n]);
        if (rc != 0)
            return rc;
        map->nodes_n++;
    }
    for (int row = 0; row < partitions; row++) {
        if (pg_get_int(result, row, 1) != (uint64_t)row)
            return store__fail(r, TROUPE_EVERSION, "store: the partition table of '%s' has gaps",
                               s->cluster);
        struct store_owner *o = &map->owners[row];
        if (!pg_get_u63(result, row, 2, &o->epoch) || !pg_get_u63(result, row, 3, &o->generation))
            return fail_partition(r, (uint64_t)row);
        o->node = PQgetisnull(result, row, 4) ? UINT32_MAX
                                              : node_index(map, pg_get_bytes(result, row, 4));
    }
    return 0;
}
