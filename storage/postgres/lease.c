/* Register, renew, leave, evict: parameters and results. */
#include <stdio.h>
#include <string.h>

#include "storage/postgres/postgres.h"

static const char *text_of(struct store_request *r, const PGresult *result, int row, int column)
{
    return (const char *)arena_copy(r->arena, pg_get_bytes(result, row, column)).data;
}

/* What nobody can have written counts as what is not told. */
static uint32_t outage_of(const PGresult *result, int row, int column)
{
    uint64_t ms = STORE_OUTAGE_UNKNOWN;
    bool told = !PQgetisnull(result, row, column) && pg_get_u63(result, row, column, &ms);
    return told && ms < STORE_OUTAGE_UNKNOWN ? (uint32_t)ms : STORE_OUTAGE_UNKNOWN;
}

int pg_read_node(struct store_request *r, const PGresult *result, int row,
                 const struct pg_node_columns *at, struct store_node *n)
{
    uint64_t ttl = 0, state = 0, renew_seq = 0, generation = 0;
    *n = (struct store_node){
        .name = text_of(r, result, row, at->name),
        .incarnation = pg_get_int(result, row, at->incarnation),
        .addr = text_of(r, result, row, at->addr),
        .proof = text_of(r, result, row, at->proof),
        .gossip = text_of(r, result, row, at->gossip),
        .expired = pg_get_bool(result, row, at->expired),
        .age_ms = pg_get_int(result, row, at->age_ms),
        .outage_ms = outage_of(result, row, at->outage_ms),
        .draining = pg_get_bool(result, row, at->draining),
    };
    if (n->name == NULL || n->addr == NULL || n->proof == NULL || n->gossip == NULL)
        return store__fail_memory(r);
    if (!pg_get_u63(result, row, at->generation, &generation) ||
        !pg_get_u63(result, row, at->renew_seq, &renew_seq) ||
        !pg_get_u63(result, row, at->ttl_ms, &ttl) || ttl > UINT32_MAX ||
        !pg_get_u63(result, row, at->state, &state) || state > STORE_NODE_DEAD)
        return pg_op_fail_row(r, "node_lease", n->name);
    n->generation = generation;
    n->renew_seq = renew_seq;
    n->ttl_ms = (uint32_t)ttl;
    n->state = (enum store_node_state)state;
    return 0;
}

void pg_register_params(const struct pg_store *s, const struct store_request *r,
                        struct pg_params *p)
{
    const struct store_register *reg = &r->u.reg;
    pg_add_text(p, s->cluster);
    pg_add_int4(p, s->partitions);
    pg_add_text(p, reg->name);
    pg_add_int8(p, reg->incarnation);
    pg_add_text(p, reg->addr);
    pg_add_text(p, reg->gossip);
    pg_add_text(p, reg->proof);
    pg_add_int8(p, reg->ttl_ms);
    pg_add_int8(p, reg->outage_ms);
    pg_add_bool(p, reg->draining);
    pg_add_bool(p, reg->supersede);
    pg_add_int8(p, reg->supersede_generation);
    pg_add_int8(p, reg->supersede_renew_seq);
    pg_add_bool(p, reg->former_gone);
}

int pg_register_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    struct store_register *reg = &r->u.reg;
    if (PQntuples(result) != 1 || PQnfields(result) != 16)
        return store__fail(r, TROUPE_EVERSION,
                           "store: node_register answers strangely; run: troupe-node migrate");
    uint64_t outcome = pg_get_int(result, 0, 0);
    struct troupe_bytes uid = pg_get_bytes(result, 0, 2);
    if (uid.len != STORE_UID_BYTES)
        return store__fail(r, TROUPE_EVERSION, "store: the cluster's uid is malformed");
    memcpy(reg->cluster_uid, uid.data, uid.len);
    reg->cluster_uid[uid.len] = '\0';
    if (outcome == 2)
        return store__fail(r, TROUPE_EVERSION,
                           "the cluster '%s' has %d partitions, not %u, and that cannot be "
                           "changed: set partitions to it",
                           s->cluster, (int)pg_get_int(result, 0, 3), s->partitions);
    if (outcome == 0) {
        reg->generation = pg_get_int(result, 0, 1);
        reg->joined = pg_get_int(result, 0, 15);
        return 0;
    }
    reg->holder = (struct store_node){
        .name = reg->name,
        .generation = pg_get_int(result, 0, 4),
        .incarnation = pg_get_int(result, 0, 5),
        .addr = text_of(r, result, 0, 6),
        .proof = text_of(r, result, 0, 7),
        .renew_seq = pg_get_int(result, 0, 8),
        .ttl_ms = (uint32_t)pg_get_int(result, 0, 9),
        .state = STORE_NODE_ACTIVE,
        .expired = pg_get_bool(result, 0, 10),
        .age_ms = pg_get_int(result, 0, 11),
        .gossip = text_of(r, result, 0, 12),
        .outage_ms = outage_of(result, 0, 13),
        .draining = pg_get_bool(result, 0, 14),
    };
    if (reg->holder.addr == NULL || reg->holder.proof == NULL || reg->holder.gossip == NULL)
        return store__fail_memory(r);
    return store__fail(r, TROUPE_EBUSY, "the name '%s' is held by a run at %s, renewed %llu ms ago",
                       reg->name, reg->holder.addr, (unsigned long long)reg->holder.age_ms);
}

void pg_renew_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    pg_add_text(p, s->cluster);
    pg_add_text(p, r->u.renew.name);
    pg_add_int8(p, r->u.renew.generation);
    pg_add_int8(p, r->u.renew.ttl_ms);
    pg_add_text(p, r->u.renew.kinds == NULL ? "" : r->u.renew.kinds);
    pg_add_int8(p, r->u.renew.seen);
}

/* Of the renewal's rows: the cluster's in our own, theirs in others'. */
enum {
    COLUMN_KINDS = 14,
    COLUMN_SEEN = 15,
};

int pg_renew_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    static const struct pg_node_columns COLUMNS = {.name = 1,
                                                   .generation = 2,
                                                   .incarnation = 3,
                                                   .addr = 4,
                                                   .proof = 5,
                                                   .renew_seq = 6,
                                                   .ttl_ms = 7,
                                                   .state = 8,
                                                   .expired = 9,
                                                   .age_ms = 10,
                                                   .gossip = 11,
                                                   .outage_ms = 12,
                                                   .draining = 13};
    (void)s;
    struct store_renew *renew = &r->u.renew;
    int rows = PQntuples(result);
    if (rows == 0 || !pg_get_bool(result, 0, 0))
        return store__fail(r, TROUPE_EFENCED,
                           "the lease of '%s' is gone: it was evicted or superseded", renew->name);
    renew->renew_seq = pg_get_int(result, 0, 6);
    renew->kinds_open = text_of(r, result, 0, COLUMN_KINDS);
    renew->joins = pg_get_int(result, 0, COLUMN_SEEN);
    renew->others = arena_calloc(r->arena, (size_t)rows, sizeof *renew->others);
    if (renew->others == NULL || renew->kinds_open == NULL)
        return store__fail_memory(r);
    for (int row = 1; row < rows; row++) {
        struct store_node *n = &renew->others[renew->others_n];
        int rc = pg_read_node(r, result, row, &COLUMNS, n);
        if (rc != 0)
            return rc;
        n->kinds = text_of(r, result, row, COLUMN_KINDS);
        n->seen = pg_get_int(result, row, COLUMN_SEEN);
        if (n->kinds == NULL)
            return store__fail_memory(r);
        renew->others_n++;
    }
    return 0;
}

void pg_leave_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    pg_add_text(p, s->cluster);
    pg_add_text(p, r->u.leave.name);
    pg_add_int8(p, r->u.leave.generation);
    pg_add_int4(p, r->u.leave.dead ? STORE_NODE_DEAD : STORE_NODE_LEFT);
}

int pg_leave_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    (void)r;
    (void)result;
    return 0;
}

void pg_evict_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    const struct store_evict *evict = &r->u.evict;
    pg_add_text(p, s->cluster);
    pg_add_text(p, evict->name);
    pg_add_int8(p, evict->generation);
    pg_add_text(p, evict->target);
    pg_add_int8(p, evict->target_generation);
    pg_add_int8(p, evict->target_renew_seq);
    pg_add_int4(p, evict->why);
}

int pg_evict_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_evict *evict = &r->u.evict;
    if (PQntuples(result) != 1)
        return store__fail(r, TROUPE_EVERSION, "store: node_evict answers strangely");
    uint64_t outcome = pg_get_int(result, 0, 0);
    evict->evicted = outcome == 2;
    if (outcome == 0)
        return store__fail(r, TROUPE_EFENCED, "'%s' may not evict: its lease is gone", evict->name);
    return 0;
}

void pg_drain_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    const struct store_drain *drain = &r->u.drain;
    pg_add_text(p, s->cluster);
    pg_add_text(p, drain->name);
    pg_add_int8(p, drain->generation);
    pg_add_bool(p, drain->drain);
}

int pg_drain_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_drain *drain = &r->u.drain;
    if (PQntuples(result) != 1)
        return store__fail(r, TROUPE_EVERSION, "store: node_drain answers strangely");
    uint64_t outcome = pg_get_int(result, 0, 0);
    drain->refused = outcome == 1;
    if (outcome == 0)
        return store__fail(r, TROUPE_EFENCED, "'%s' may not drain: its lease is gone", drain->name);
    return 0;
}

void pg_kinds_params(const struct pg_store *s, const struct store_request *r, struct pg_params *p)
{
    const struct store_kinds *k = &r->u.kinds;
    pg_add_text(p, s->cluster);
    pg_add_text(p, k->name);
    pg_add_int8(p, k->generation);
    pg_add_text(p, k->was);
    pg_add_text(p, k->is);
}

int pg_kinds_result(const struct pg_store *s, struct store_request *r, const PGresult *result)
{
    (void)s;
    struct store_kinds *k = &r->u.kinds;
    if (PQntuples(result) != 1)
        return store__fail(r, TROUPE_EVERSION, "store: the list of kinds answers strangely");
    k->done = pg_get_bool(result, 0, 1);
    if (!pg_get_bool(result, 0, 0))
        return store__fail(r, TROUPE_EFENCED, "'%s' may not open kinds: its lease is gone",
                           k->name);
    return 0;
}
