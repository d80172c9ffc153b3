/* One statement per operation. */
#include <stdio.h>
#include <string.h>

#include "storage/postgres/postgres.h"

_Static_assert(STORE_HISTORY_MAX == 8, "the slots of partition_history, and below");

static const struct pg_op OPS[PG_OPS] = {
    /* The newest of them: on an older schema a node shall fail here, and say so. */
    [STORE_REGISTER] =
        {.name = "troupe_register",
         .sql = "SELECT * FROM troupe.node_register($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
                "$12, $13, $14)",
         .writes = true,
         .params = pg_register_params,
         .result = pg_register_result},
    /* Our own row first; then everybody else who is active. */
    [STORE_RENEW] =
        {.name = "troupe_renew",
         .sql = "WITH me AS ("
                " UPDATE troupe.node_lease SET renewed_at = clock_timestamp(), renew_seq = "
                "renew_seq + 1, ttl_ms = $4, seen = $6, kinds = coalesce(nullif($5, ''), kinds)"
                " WHERE cluster_id = (SELECT id FROM troupe.cluster_meta WHERE name = $1)"
                " AND name = $2 AND generation = $3 AND state = 0 RETURNING renew_seq) "
                "SELECT true, ''::text, 0::int8, 0::int8, ''::text, ''::text, me.renew_seq,"
                " 0::int8, 0, "
                "false, 0::int8, ''::text, 0::int8, false, (SELECT kinds FROM troupe.cluster_meta "
                "WHERE name = $1), (SELECT joins FROM troupe.cluster_meta WHERE name = $1) FROM "
                "me "
                "UNION ALL "
                "SELECT false, l.name, l.generation, l.incarnation, l.addr, l.proof, l.renew_seq, "
                "l.ttl_ms, l.state,"
                " NOT troupe.is_fresh(l.renewed_at, l.ttl_ms),"
                " greatest(0, extract(epoch FROM clock_timestamp() - l.renewed_at) * 1000)::int8, "
                "l.gossip, l.outage_ms, l.draining, l.kinds, l.seen FROM troupe.node_lease l, me"
                " WHERE l.cluster_id = (SELECT id FROM troupe.cluster_meta WHERE name = $1)"
                " AND l.name <> $2 AND l.state = 0 ORDER BY 1 DESC, 2",
         .writes = true,
         .params = pg_renew_params,
         .result = pg_renew_result},
    [STORE_LEAVE] = {.name = "troupe_leave",
                     .sql =
                         "UPDATE troupe.node_lease SET state = $4"
                         " WHERE cluster_id = (SELECT id FROM troupe.cluster_meta WHERE name = $1)"
                         " AND name = $2 AND generation = $3 AND state = 0",
                     .writes = true,
                     .params = pg_leave_params,
                     .result = pg_leave_result},
    [STORE_EVICT] = {.name = "troupe_evict",
                     .sql = "SELECT troupe.node_evict($1, $2, $3, $4, $5, $6, $7)",
                     .writes = true,
                     .params = pg_evict_params,
                     .result = pg_evict_result},
    [STORE_DRAIN] = {.name = "troupe_drain",
                     .sql = "SELECT troupe.node_drain($1, $2, $3, $4)",
                     .writes = true,
                     .params = pg_drain_params,
                     .result = pg_drain_result},
    /* The row is locked, so that nobody can evict us meanwhile. */
    [STORE_KINDS] =
        {.name = "troupe_kinds",
         .sql = "WITH me AS MATERIALIZED (SELECT 1 FROM troupe.node_lease"
                " WHERE cluster_id = (SELECT id FROM troupe.cluster_meta WHERE name = $1)"
                " AND name = $2 AND generation = $3 AND state = 0 FOR SHARE), "
                "done AS (UPDATE troupe.cluster_meta SET kinds = $5 WHERE name = $1 AND kinds = $4"
                " AND EXISTS (SELECT FROM me) RETURNING 1) "
                "SELECT EXISTS (SELECT FROM me), EXISTS (SELECT FROM done)",
         .writes = true,
         .params = pg_kinds_params,
         .result = pg_kinds_result},
    [STORE_CLAIM] = {.name = "troupe_claim",
                     .sql = "SELECT * FROM troupe.partition_claim($1, $2, $3, $4)",
                     .writes = true,
                     .params = pg_claim_params,
                     .result = pg_claim_result},
    [STORE_TRANSFER] =
        {.name = "troupe_transfer",
         .sql = "SELECT * FROM troupe.partition_transfer($1, $2, $3, $4, $5, $6, $7, $8)",
         .writes = true,
         .params = pg_transfer_params,
         .result = pg_transfer_result},
    [STORE_HISTORY] =
        {.name = "troupe_history",
         .sql = "SELECT epoch, owner, coalesce(previous, ''), cause,"
                " floor(extract(epoch FROM at) * 1000)::int8 FROM troupe.partition_history"
                " WHERE cluster_id = (SELECT id FROM troupe.cluster_meta WHERE name = $1)"
                " AND pid = $2 ORDER BY epoch DESC LIMIT 8", /* STORE_HISTORY_MAX */
         .params = pg_history_params,
         .result = pg_history_result},
    [STORE_LOAD] = {.name = "troupe_load",
                    .sql = "SELECT k.ord, e.epoch, e.version, e.deleted, e.state, e.dedup"
                           " FROM unnest($2::int4[], $3::text[], $4::bytea[]) WITH ORDINALITY k "
                           "(pid, kind, id, ord)"
                           " JOIN troupe.entity e"
                           " ON e.cluster_id = (SELECT id FROM troupe.cluster_meta WHERE name = $1)"
                           " AND e.pid = k.pid AND e.kind = k.kind AND e.id = k.id",
                    .params = pg_load_params,
                    .result = pg_load_result},
    /* The fence holds the partition rows FOR SHARE until the commit: a claim waits for us, or we
     * see the claim (the locked row is read again after a wait). FOR KEY SHARE would not do: a
     * claim changes no key.
     * Written so that no planner can join the batch to the partitions by comparing all with all,
     * which one without statistics, or with a generic plan, likes to do, and then 1,000 rows take
     * 100 ms: LATERAL … FOR SHARE is a lookup by key for each partition, in order; IN … IS TRUE
     * is a lookup in a hash table for each row. */
    [STORE_SAVE] =
        {.name = "troupe_save",
         .sql = "WITH c AS MATERIALIZED (SELECT id FROM troupe.cluster_meta WHERE name = $1), "
                "fence AS MATERIALIZED ("
                " SELECT p.pid FROM"
                " (SELECT * FROM unnest($4::int4[], $5::int8[]) u (pid, epoch) ORDER BY pid) b"
                " CROSS JOIN LATERAL (SELECT q.pid FROM troupe.partition q"
                " WHERE q.cluster_id = (SELECT id FROM c) AND q.pid = b.pid AND q.epoch = b.epoch"
                " AND q.owner = $2 AND q.owner_generation = $3 FOR SHARE OF q) p), "
                "ins AS ("
                " INSERT INTO troupe.entity AS e (cluster_id, pid, kind, id, epoch, version, "
                "deleted, state, dedup, saved_at)"
                " SELECT (SELECT id FROM c), r.*, now() FROM unnest($6::int4[], $7::text[], "
                "$8::bytea[], "
                "$9::int8[], $10::int8[],"
                " $11::bool[], $12::bytea[], $13::bytea[])"
                " r (pid, kind, id, epoch, version, deleted, state, dedup)"
                " WHERE (r.pid IN (SELECT f.pid FROM fence f)) IS TRUE"
                " ON CONFLICT (cluster_id, pid, kind, id) DO UPDATE SET epoch = excluded.epoch,"
                " version = excluded.version, deleted = excluded.deleted, state = excluded.state,"
                " dedup = excluded.dedup, saved_at = excluded.saved_at"
                " WHERE (e.epoch, e.version) <= (excluded.epoch, excluded.version)"
                " RETURNING 1) "
                "SELECT -1, (SELECT count(*) FROM ins) UNION ALL SELECT f.pid, 0 FROM fence f "
                "ORDER BY 1",
         .writes = true,
         .params = pg_save_params,
         .result = pg_save_result},
    /* Partition by partition in a range of the key, so that it ends as soon as it has its rows. (A
     * comparison with (kind, id) that only the first partition had would be no such range, but a
     * filter on each row.) */
    [STORE_RECENT] =
        {.name = "troupe_recent",
         .sql = "WITH c AS MATERIALIZED (SELECT id FROM troupe.cluster_meta WHERE name = $1), "
                "r AS MATERIALIZED ("
                " SELECT p.ord, p.pid, e.kind, e.id, e.deleted, e.saved_at FROM"
                " (SELECT * FROM unnest($2::int4[]) WITH ORDINALITY u (pid, ord) ORDER BY ord) p"
                " CROSS JOIN LATERAL (SELECT q.kind, q.id, q.deleted, q.saved_at"
                " FROM troupe.entity q WHERE q.cluster_id = (SELECT id FROM c) AND q.pid = p.pid"
                " AND (q.kind, q.id) > (CASE p.ord WHEN 1 THEN ($3::text[])[1] ELSE '' END,"
                " CASE p.ord WHEN 1 THEN ($4::bytea[])[1] ELSE ''::bytea END)"
                " ORDER BY q.kind, q.id LIMIT $6) e"
                " ORDER BY p.ord, e.kind, e.id LIMIT $6) "
                "SELECT 0::int8, r.pid, r.kind, r.id, greatest(0, extract(epoch FROM now() - "
                "r.saved_at) * 1000)::int8 FROM r"
                " WHERE NOT r.deleted AND r.saved_at >= now() - $5 * interval '1 ms' "
                "UNION ALL (SELECT (SELECT count(*) FROM r), r.pid, r.kind, r.id, 0::int8 FROM r"
                " ORDER BY r.ord DESC, r.kind DESC, r.id DESC LIMIT 1) ORDER BY 1, 2, 3, 4",
         .params = pg_recent_params,
         .result = pg_recent_result},
    [STORE_OWNERS] =
        {.name = "troupe_owners",
         .sql = "WITH c AS MATERIALIZED (SELECT id FROM troupe.cluster_meta WHERE name = $1) "
                "SELECT 0, p.pid::int8, p.epoch, p.owner_generation, p.owner, NULL::text, 0::int8, "
                "0, false, 0::int8, NULL::text, NULL::text, NULL::int8, NULL::boolean"
                " FROM troupe.partition p WHERE p.cluster_id = (SELECT id FROM c) "
                "UNION ALL "
                "SELECT 1, l.generation, l.incarnation, l.renew_seq, l.name, l.addr, "
                "l.ttl_ms, l.state,"
                " NOT troupe.is_fresh(l.renewed_at, l.ttl_ms),"
                " greatest(0, extract(epoch FROM clock_timestamp() - l.renewed_at) * 1000)::int8, "
                "l.proof, l.gossip, l.outage_ms, l.draining FROM troupe.node_lease l WHERE "
                "l.cluster_id = (SELECT id FROM "
                "c) ORDER BY 1, 2",
         .params = pg_owners_params,
         .result = pg_owners_result},
};

const struct pg_op *pg_op(enum store_op op)
{
    return &OPS[op];
}

/* Our statements never wait for longer than we do, an acknowledged commit is on disk whatever the
 * role's default is, and no name means anything but what the server's catalogue says. The same
 * statement asks which server that is (server.c). */
void pg_settings(const struct pg_store *s, char sql[PG_SETTINGS_BYTES])
{
    snprintf(sql, PG_SETTINGS_BYTES,
             "SELECT pg_catalog.set_config('statement_timeout', '%u', true),"
             " pg_catalog.set_config('lock_timeout', '%u', true),"
             " pg_catalog.set_config('search_path', 'pg_catalog', true),"
             " pg_catalog.set_config('synchronous_commit', 'on', true)%s",
             s->timeout_ms, s->timeout_ms / 2 + 1, pg_server_columns(s));
}

/* What a write answers must have its memory before it is sent: an answer that cannot be taken would
 * leave a change that nobody knows of. */
int pg_op_reserve(struct store_request *r)
{
    struct store_claim *claim = &r->u.claim;
    struct store_transfer *transfer = &r->u.transfer;
    struct store_save *save = &r->u.save;
    if (r->op == STORE_CLAIM) {
        claim->claimed_n = 0;
        claim->claimed = arena_alloc(r->arena, claim->pids_n * sizeof *claim->claimed);
        return claim->claimed == NULL ? store__fail_memory(r) : 0;
    }
    if (r->op == STORE_TRANSFER) {
        transfer->moved_n = 0;
        transfer->moved = arena_alloc(r->arena, transfer->moves_n * sizeof *transfer->moved);
        return transfer->moved == NULL ? store__fail_memory(r) : 0;
    }
    if (r->op == STORE_SAVE) {
        save->fenced_n = 0;
        save->fenced = arena_alloc(r->arena, save->rows_n * sizeof *save->fenced);
        return save->fenced == NULL ? store__fail_memory(r) : 0;
    }
    return 0;
}

void pg_op_fail(struct store_request *r, const struct pg_verdict *v, const char *sqlstate,
                const char *text)
{
    store__fail(r, pg_verdict_error(v, pg_op(r->op)->writes), "store: %s%s%.*s (%s)",
                v->advice == NULL ? "" : v->advice, v->advice == NULL ? "" : ": ",
                (int)strcspn(text, "\n"), text, sqlstate == NULL ? "no code" : sqlstate);
}

int pg_op_fail_row(struct store_request *r, const char *table, const char *key)
{
    return store__fail(r, TROUPE_EUNAVAILABLE,
                       "store: the row '%s' of table troupe.%s makes no sense: the database was "
                       "damaged or edited; repair the row or restore a backup",
                       key, table);
}
