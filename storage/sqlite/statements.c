/* See statements.h. */
#include "storage/sqlite/statements.h"

#include "storage/store.h"

_Static_assert(STORE_HISTORY_MAX == 8, "the slots of partition_history, and below");

#define NODE_COLUMNS                                                                               \
    "name, generation, incarnation, addr, proof, renew_seq, ttl_ms, state, renewed_at, gossip,"    \
    " outage_ms, draining, kinds, joined, seen"

/* See store_node.expired. */
#define IS_FRESH(now) "(" now " - renewed_at BETWEEN -ttl_ms AND ttl_ms)"

const char *const sqlite__statements[SQL_STATEMENTS_N] = {
    [SQL_BEGIN_READ] = "BEGIN",
    /* IMMEDIATE: the write lock first, then look. With a plain BEGIN two writers could both look
     * and then wait for each other. */
    [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",

    [SQL_FIND_CLUSTER] =
        "SELECT id, uid, partitions, schema_version FROM cluster_meta WHERE name = ?1",
    [SQL_ADD_CLUSTER] = "INSERT INTO cluster_meta (name, uid, partitions, schema_version)"
                        " VALUES (?1, ?2, ?3, ?4)",
    [SQL_ADD_PARTITIONS] =
        "WITH RECURSIVE pids(pid) AS"
        " (SELECT 0 UNION ALL SELECT pid + 1 FROM pids WHERE pid + 1 < ?2)"
        " INSERT INTO partition (cluster_id, pid, epoch) SELECT ?1, pid, 0 FROM pids",

    [SQL_FIND_NODE] = "SELECT " NODE_COLUMNS " FROM node_lease WHERE cluster_id = ?1 AND name = ?2",
    [SQL_PUT_NODE] = "INSERT OR REPLACE INTO node_lease (cluster_id, " NODE_COLUMNS ")"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11, ?12, '',"
                     " ?13, ?14)",
    [SQL_NEXT_JOIN] = "UPDATE cluster_meta SET joins = joins + 1 WHERE id = ?1 RETURNING joins",
    [SQL_JOINS] = "SELECT joins FROM cluster_meta WHERE id = ?1",

    [SQL_RENEW_NODE] =
        "UPDATE node_lease SET renew_seq = renew_seq + 1, ttl_ms = ?4,"
        " renewed_at = ?5, seen = ?7, kinds = coalesce(nullif(?6, ''), kinds) WHERE cluster_id "
        "= ?1 AND name = ?2 AND generation = ?3"
        " AND state = 0 RETURNING renew_seq",
    [SQL_OPEN_KINDS] = "SELECT kinds FROM cluster_meta WHERE id = ?1",
    [SQL_SET_KINDS] = "UPDATE cluster_meta SET kinds = ?3 WHERE id = ?1 AND kinds = ?2"
                      " RETURNING 1",
    [SQL_OTHER_NODES] = "SELECT " NODE_COLUMNS " FROM node_lease"
                        " WHERE cluster_id = ?1 AND state = 0 AND name <> ?2 ORDER BY name",
    [SQL_ALL_NODES] = "SELECT " NODE_COLUMNS " FROM node_lease WHERE cluster_id = ?1 ORDER BY name",
    [SQL_LEAVE_NODE] = "UPDATE node_lease SET state = ?4"
                       " WHERE cluster_id = ?1 AND name = ?2 AND generation = ?3 AND state = 0",
    [SQL_IS_ACTIVE] = "SELECT 1 FROM node_lease"
                      " WHERE cluster_id = ?1 AND name = ?2 AND generation = ?3 AND state = 0",
    [SQL_EVICT_NODE] =
        "UPDATE node_lease SET state = CASE ?6 WHEN 2 THEN 1 ELSE 2 END"
        " WHERE cluster_id = ?1 AND name = ?2"
        " AND (generation = ?3 AND state = 0 AND renew_seq = ?4 AND"
        " (?6 > 0 OR NOT " IS_FRESH("?5") ")"
                                          " OR ?6 = 2 AND state = 2 AND ?3 IN (0, generation))",
    [SQL_DRAIN_NODE] = "UPDATE node_lease SET draining = ?4"
                       " WHERE cluster_id = ?1 AND name = ?2 AND generation = ?3 AND state = 0",
    [SQL_OTHER_HEIRS] = "SELECT count(*) FROM node_lease WHERE cluster_id = ?1 AND name <> ?2"
                        " AND state = 0 AND NOT draining AND " IS_FRESH("?3"),
    [SQL_IS_DEAD] = "SELECT 1 FROM node_lease"
                    " WHERE cluster_id = ?1 AND name = ?2 AND generation = ?3 AND state = 2",
    [SQL_IS_GIVEN_UP] = "SELECT 1 FROM node_lease"
                        " WHERE cluster_id = ?1 AND name = ?2 AND ?3 IN (0, generation)"
                        " AND state = 1",

    /* The last column: why somebody else may take it, an enum store_cause; 0: its owner is active.
     */
    [SQL_FIND_PARTITION] =
        "SELECT p.epoch, p.owner, p.owner_generation, CASE WHEN p.owner IS NULL THEN 1"
        " WHEN n.name IS NULL THEN 3 WHEN n.generation IS NOT p.owner_generation THEN 4"
        " WHEN n.state = 1 THEN 2 WHEN n.state = 2 THEN 3 ELSE 0 END"
        " FROM partition p LEFT JOIN node_lease n ON n.cluster_id = p.cluster_id"
        " AND n.name = p.owner WHERE p.cluster_id = ?1 AND p.pid = ?2",
    /* Before the change: the row still tells who the previous owner is. The ring has as many slots
     * as the history is long (STORE_HISTORY_MAX). */
    [SQL_NOTE_CHANGE] = "INSERT OR REPLACE INTO partition_history"
                        " (cluster_id, pid, slot, epoch, owner, previous, cause, at)"
                        " SELECT cluster_id, pid, changes % 8, ?3, ?4, owner, ?5, ?6 FROM partition"
                        " WHERE cluster_id = ?1 AND pid = ?2",
    [SQL_GIVE_PARTITION] = "UPDATE partition SET epoch = ?3, owner = ?4, owner_generation = ?5,"
                           " backup = NULL, changes = changes + 1"
                           " WHERE cluster_id = ?1 AND pid = ?2",
    [SQL_HISTORY] = "SELECT epoch, owner, coalesce(previous, ''), cause, at FROM partition_history"
                    " WHERE cluster_id = ?1 AND pid = ?2 ORDER BY epoch DESC",
    [SQL_ALL_PARTITIONS] = "SELECT pid, epoch, owner, owner_generation FROM partition"
                           " WHERE cluster_id = ?1 ORDER BY pid",

    [SQL_FENCE] = "SELECT 1 FROM partition WHERE cluster_id = ?1 AND pid = ?2"
                  " AND owner = ?3 AND owner_generation = ?4 AND epoch = ?5",
    [SQL_LOAD_ENTITY] = "SELECT epoch, version, deleted, state, dedup FROM entity"
                        " WHERE cluster_id = ?1 AND pid = ?2 AND kind = ?3 AND id = ?4",
    [SQL_SAVE_ENTITY] =
        "INSERT INTO entity (cluster_id, pid, kind, id, epoch, version, deleted, state, dedup,"
        " saved_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        " ON CONFLICT (cluster_id, pid, kind, id) DO UPDATE SET epoch = excluded.epoch,"
        " version = excluded.version, deleted = excluded.deleted, state = excluded.state,"
        " dedup = excluded.dedup, saved_at = excluded.saved_at"
        " WHERE (excluded.epoch, excluded.version) >= (entity.epoch, entity.version)",
    [SQL_NEXT_ENTITIES] = "SELECT kind, id, deleted, saved_at FROM entity WHERE cluster_id = ?1"
                          " AND pid = ?2 AND (kind, id) > (?3, ?4) ORDER BY kind, id LIMIT ?5",
};
