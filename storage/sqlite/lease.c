/* Register, renew, leave, evict: the node_lease table. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "storage/request.h"
#include "storage/sqlite/migrate.h"
#include "storage/sqlite/runs.h"
#include "storage/sqlite/sqlite.h"

uint64_t sqlite__now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- reading node rows ---- */

static bool copy_text(struct arena *a, sqlite3_stmt *s, int at, const char **text)
{
    *text = (const char *)arena_copy(a, sqlite__column_bytes(s, at)).data;
    return *text != NULL;
}

int sqlite__read_node(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s,
                      struct store_node *node)
{
    uint64_t ttl, state, renewed_at, outage = STORE_OUTAGE_UNKNOWN, now = sqlite__now_ms();
    *node = (struct store_node){
        .incarnation = (uint64_t)sqlite3_column_int64(s, NODE_INCARNATION),
    };
    if (!copy_text(r->arena, s, NODE_NAME, &node->name) ||
        !copy_text(r->arena, s, NODE_ADDR, &node->addr) ||
        !copy_text(r->arena, s, NODE_PROOF, &node->proof) ||
        !copy_text(r->arena, s, NODE_GOSSIP, &node->gossip) ||
        !copy_text(r->arena, s, NODE_KINDS, &node->kinds))
        return store__fail_memory(r);
    bool sane = sqlite__column_u63(s, NODE_GENERATION, &node->generation) &&
                sqlite__column_u63(s, NODE_RENEW_SEQ, &node->renew_seq) &&
                sqlite__column_u63(s, NODE_TTL_MS, &ttl) && ttl <= UINT32_MAX &&
                sqlite__column_u63(s, NODE_STATE, &state) && state <= STORE_NODE_DEAD &&
                sqlite__column_u63(s, NODE_RENEWED_AT, &renewed_at) &&
                sqlite__column_u63(s, NODE_JOINED, &node->joined) &&
                sqlite__column_u63(s, NODE_SEEN, &node->seen) &&
                (sqlite3_column_type(s, NODE_OUTAGE_MS) == SQLITE_NULL ||
                 (sqlite__column_u63(s, NODE_OUTAGE_MS, &outage) && outage <= UINT32_MAX));
    if (!sane)
        return sqlite__fail_row(c, r, "node_lease", node->name);
    node->ttl_ms = (uint32_t)ttl;
    node->state = (enum store_node_state)state;
    node->age_ms = now > renewed_at ? now - renewed_at : 0;
    node->expired = node->age_ms > ttl || renewed_at > now + ttl;
    node->outage_ms = (uint32_t)outage;
    node->draining = sqlite3_column_int(s, NODE_DRAINING) != 0;
    return 0;
}

int sqlite__read_nodes(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s,
                       struct store_node **nodes, size_t *nodes_n)
{
    size_t max = 16, n = 0;
    int rc = 0, step;
    struct store_node *list = arena_alloc(r->arena, max * sizeof *list);
    while (rc == 0 && list != NULL && (step = sqlite3_step(s)) != SQLITE_DONE) {
        if (step != SQLITE_ROW) {
            rc = sqlite__fail(c, r);
            break;
        }
        if (n == max) {
            struct store_node *longer = arena_alloc(r->arena, 2 * max * sizeof *longer);
            if (longer != NULL)
                memcpy(longer, list, max * sizeof *longer);
            list = longer;
            max *= 2;
        }
        if (list != NULL)
            rc = sqlite__read_node(c, r, s, &list[n++]);
    }
    sqlite3_reset(s);
    *nodes = list;
    *nodes_n = n;
    return rc == 0 && list == NULL ? store__fail_memory(r) : rc;
}

/* ---- register ---- */

static int random_uid(char uid[STORE_UID_BYTES + 1])
{
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return TROUPE_EUNAVAILABLE;
    b[6] = (uint8_t)((b[6] & 0x0F) | 0x40); /* RFC 4122: version 4, made of random numbers */
    b[8] = (uint8_t)((b[8] & 0x3F) | 0x80);
    snprintf(uid, STORE_UID_BYTES + 1,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
    return 0;
}

static int create_cluster(struct sqlite_connection *c, struct store_request *r)
{
    const struct sqlite_config *config = c->config;
    char uid[STORE_UID_BYTES + 1];
    if (random_uid(uid) != 0)
        return store__fail(r, TROUPE_EUNAVAILABLE, "the system gives no random numbers");
    sqlite3_stmt *add = sqlite__use(c, SQL_ADD_CLUSTER);
    sqlite3_stmt *fill = sqlite__use(c, SQL_ADD_PARTITIONS);
    if (add == NULL || fill == NULL)
        return sqlite__fail(c, r);
    sqlite__bind_string(add, 1, config->cluster);
    sqlite__bind_string(add, 2, uid);
    sqlite__bind_u64(add, 3, config->partitions);
    sqlite__bind_u64(add, 4, sqlite__schema_version());
    sqlite3_step(add);
    if (sqlite3_reset(add) != SQLITE_OK)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(fill, 1, sqlite3_last_insert_rowid(c->db));
    sqlite__bind_u64(fill, 2, config->partitions);
    sqlite3_step(fill);
    return sqlite3_reset(fill) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

static int check_constants(struct sqlite_connection *c, struct store_request *r, sqlite3_stmt *s)
{
    struct troupe_bytes uid = sqlite__column_bytes(s, 1);
    uint64_t partitions, version;
    if (uid.len != STORE_UID_BYTES || !sqlite__column_u63(s, 2, &partitions) ||
        !sqlite__column_u63(s, 3, &version))
        return sqlite__fail_row(c, r, "cluster_meta", c->config->cluster);
    if (partitions != c->config->partitions)
        return store__fail(r, TROUPE_EVERSION,
                           "cluster '%s' has %llu partitions and this node is configured for %u; "
                           "configure %llu",
                           c->config->cluster, (unsigned long long)partitions,
                           c->config->partitions, (unsigned long long)partitions);
    if (version > sqlite__schema_version())
        return store__fail(r, TROUPE_EVERSION,
                           "cluster '%s' needs schema version %llu and this program knows %u; use "
                           "a newer program",
                           c->config->cluster, (unsigned long long)version,
                           sqlite__schema_version());
    memcpy(r->u.reg.cluster_uid, uid.data, STORE_UID_BYTES);
    r->u.reg.cluster_uid[STORE_UID_BYTES] = '\0';
    return 0;
}

/* The cluster is there, created if need be, and fits this node. */
static int join_cluster(struct sqlite_connection *c, struct store_request *r)
{
    for (bool created = false;; created = true) {
        sqlite3_stmt *s = sqlite__use(c, SQL_FIND_CLUSTER);
        if (s == NULL)
            return sqlite__fail(c, r);
        sqlite__bind_string(s, 1, c->config->cluster);
        int step = sqlite3_step(s), rc = 0;
        if (step == SQLITE_ROW)
            rc = check_constants(c, r, s);
        else if (step != SQLITE_DONE || created)
            rc = sqlite__fail(c, r);
        sqlite3_reset(s);
        if (rc != 0 || step == SQLITE_ROW)
            return rc;
        rc = create_cluster(c, r);
        if (rc != 0)
            return rc;
    }
}

static int put_node(struct sqlite_connection *c, struct store_request *r, uint64_t generation,
                    uint64_t renew_seq, uint64_t seen)
{
    const struct store_register *reg = &r->u.reg;
    sqlite3_stmt *s = sqlite__use(c, SQL_PUT_NODE);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, reg->name);
    sqlite__bind_u64(s, 3, generation);
    sqlite__bind_u64(s, 4, reg->incarnation);
    sqlite__bind_string(s, 5, reg->addr);
    sqlite__bind_string(s, 6, reg->proof);
    sqlite__bind_u64(s, 7, renew_seq);
    sqlite__bind_u64(s, 8, reg->ttl_ms);
    sqlite__bind_u64(s, 9, sqlite__now_ms());
    sqlite__bind_string(s, 10, reg->gossip);
    sqlite__bind_u64(s, 11, reg->outage_ms);
    sqlite3_bind_int(s, 12, reg->draining);
    sqlite__bind_u64(s, 13, reg->joined);
    sqlite__bind_u64(s, 14, seen);
    sqlite3_step(s);
    return sqlite3_reset(s) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

/* The row of the name; generation 0 when there is none. */
static int find_holder(struct sqlite_connection *c, struct store_request *r,
                       struct store_node *holder)
{
    sqlite3_stmt *s = sqlite__use(c, SQL_FIND_NODE);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, r->u.reg.name);
    int step = sqlite3_step(s), rc = 0;
    *holder = (struct store_node){.state = STORE_NODE_LEFT};
    if (step == SQLITE_ROW)
        rc = sqlite__read_node(c, r, s, holder);
    else if (step != SQLITE_DONE)
        rc = sqlite__fail(c, r);
    sqlite3_reset(s);
    return rc;
}

/* A number of the cluster's. */
static int read_number(struct sqlite_connection *c, struct store_request *r,
                       enum sqlite_statement which, uint64_t *number)
{
    sqlite3_stmt *s = sqlite__use(c, which);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    bool sane = sqlite3_step(s) == SQLITE_ROW && sqlite__column_u63(s, 0, number);
    if (sqlite3_reset(s) != SQLITE_OK)
        return sqlite__fail(c, r);
    return sane ? 0 : sqlite__fail_row(c, r, "cluster_meta", c->config->cluster);
}

int sqlite__register(struct sqlite_connection *c, struct store_request *r)
{
    struct store_register *reg = &r->u.reg;
    struct store_node holder = {0};
    int rc = sqlite__find_cluster(c, r); /* before anything is made in a database not ours */
    if (rc == 0)
        rc = join_cluster(c, r);
    if (rc == 0)
        rc = sqlite__find_cluster(c, r); /* which has been made just now */
    if (rc == 0)
        rc = find_holder(c, r, &holder);
    if (rc != 0)
        return rc;
    bool held = holder.state == STORE_NODE_ACTIVE;
    bool same = held && holder.incarnation == reg->incarnation;
    bool superseded = reg->supersede && holder.generation == reg->supersede_generation &&
                      holder.renew_seq == reg->supersede_renew_seq;
    if (held && !same && !superseded) {
        reg->holder = holder;
        sqlite__run_judge(c, &reg->holder);
        return store__fail(r, TROUPE_EBUSY, "the name '%s' is held by a run at %s", holder.name,
                           holder.addr);
    }
    reg->generation = holder.generation + !same;
    reg->joined = holder.joined;
    bool kept = same || (superseded && reg->former_gone);
    rc = kept && reg->joined != 0 ? 0 : read_number(c, r, SQL_NEXT_JOIN, &reg->joined);
    if (rc != 0)
        return rc;
    sqlite__run_hold(c, reg->name, reg->generation);
    return put_node(c, r, reg->generation, holder.renew_seq + 1, same ? holder.seen : 0);
}

/* ---- renew, leave and evict ---- */

static int fail_fenced(struct store_request *r, const char *name, uint64_t generation)
{
    return store__fail(r, TROUPE_EFENCED, "run %llu of '%s' is not active any more",
                       (unsigned long long)generation, name);
}

static int renew_row(struct sqlite_connection *c, struct store_request *r)
{
    struct store_renew *renew = &r->u.renew;
    sqlite3_stmt *s = sqlite__use(c, SQL_RENEW_NODE);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, renew->name);
    sqlite__bind_u64(s, 3, renew->generation);
    sqlite__bind_u64(s, 4, renew->ttl_ms);
    sqlite__bind_u64(s, 5, sqlite__now_ms());
    sqlite3_bind_text(s, 6, renew->kinds, -1, SQLITE_STATIC); /* NULL: NULL */
    sqlite__bind_u64(s, 7, renew->seen);
    int step = sqlite3_step(s);
    bool sane = step != SQLITE_ROW || sqlite__column_u63(s, 0, &renew->renew_seq);
    if (sqlite3_reset(s) != SQLITE_OK)
        return sqlite__fail(c, r);
    if (!sane)
        return sqlite__fail_row(c, r, "node_lease", renew->name);
    return step == SQLITE_ROW ? 0 : fail_fenced(r, renew->name, renew->generation);
}

static int read_open_kinds(struct sqlite_connection *c, struct store_request *r)
{
    struct store_renew *renew = &r->u.renew;
    sqlite3_stmt *s = sqlite__use(c, SQL_OPEN_KINDS);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    renew->kinds_open = NULL;
    bool copied = sqlite3_step(s) != SQLITE_ROW || copy_text(r->arena, s, 0, &renew->kinds_open);
    if (sqlite3_reset(s) != SQLITE_OK)
        return sqlite__fail(c, r);
    if (!copied)
        return store__fail_memory(r);
    return renew->kinds_open != NULL ? 0
                                     : sqlite__fail_row(c, r, "cluster_meta", c->config->cluster);
}

int sqlite__renew(struct sqlite_connection *c, struct store_request *r)
{
    struct store_renew *renew = &r->u.renew;
    int rc = sqlite__find_cluster(c, r);
    if (rc == TROUPE_EVERSION) /* no lease of ours is in it: who registers again is told why */
        return fail_fenced(r, renew->name, renew->generation);
    if (rc != 0)
        return rc;
    rc = renew_row(c, r);
    if (rc == 0)
        rc = read_open_kinds(c, r);
    if (rc == 0)
        rc = read_number(c, r, SQL_JOINS, &renew->joins);
    if (rc != 0)
        return rc;
    sqlite3_stmt *s = sqlite__use(c, SQL_OTHER_NODES);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, renew->name);
    rc = sqlite__read_nodes(c, r, s, &renew->others, &renew->others_n);
    for (size_t i = 0; rc == 0 && i < renew->others_n; i++)
        sqlite__run_judge(c, &renew->others[i]);
    return rc;
}

int sqlite__leave(struct sqlite_connection *c, struct store_request *r)
{
    int rc = sqlite__find_cluster(c, r);
    if (rc != 0)
        return rc;
    sqlite3_stmt *s = sqlite__use(c, SQL_LEAVE_NODE);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, r->u.leave.name);
    sqlite__bind_u64(s, 3, r->u.leave.generation);
    sqlite3_bind_int(s, 4, r->u.leave.dead ? STORE_NODE_DEAD : STORE_NODE_LEFT);
    sqlite3_step(s);
    return sqlite3_reset(s) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

/* Whether that run's row is in the state that the statement asks for. */
static int check_run(struct sqlite_connection *c, struct store_request *r,
                     enum sqlite_statement which, const char *name, uint64_t generation, bool *is)
{
    sqlite3_stmt *s = sqlite__use(c, which);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, name);
    sqlite__bind_u64(s, 3, generation);
    *is = sqlite3_step(s) == SQLITE_ROW;
    return sqlite3_reset(s) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

int sqlite__is_active(struct sqlite_connection *c, struct store_request *r, const char *name,
                      uint64_t generation, bool *active)
{
    return check_run(c, r, SQL_IS_ACTIVE, name, generation, active);
}

int sqlite__check_active(struct sqlite_connection *c, struct store_request *r, const char *name,
                         uint64_t generation)
{
    bool active = false;
    int rc = sqlite__is_active(c, r, name, generation, &active);
    return rc != 0 || active ? rc : fail_fenced(r, name, generation);
}

int sqlite__evict(struct sqlite_connection *c, struct store_request *r)
{
    struct store_evict *evict = &r->u.evict;
    evict->evicted = false;
    int rc = sqlite__find_cluster(c, r);
    if (rc == 0)
        rc = sqlite__check_active(c, r, evict->name, evict->generation);
    if (rc != 0)
        return rc;
    sqlite3_stmt *s = sqlite__use(c, SQL_EVICT_NODE);
    if (s == NULL)
        return sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, evict->target);
    sqlite__bind_u64(s, 3, evict->target_generation);
    sqlite__bind_u64(s, 4, evict->target_renew_seq);
    sqlite__bind_u64(s, 5, sqlite__now_ms());
    sqlite3_bind_int(s, 6, (int)evict->why);
    sqlite3_step(s);
    if (sqlite3_reset(s) != SQLITE_OK)
        return sqlite__fail(c, r);
    return check_run(c, r, evict->why == STORE_EVICT_ORDERED ? SQL_IS_GIVEN_UP : SQL_IS_DEAD,
                     evict->target, evict->target_generation, &evict->evicted);
}

int sqlite__drain(struct sqlite_connection *c, struct store_request *r)
{
    struct store_drain *drain = &r->u.drain;
    drain->refused = false;
    int rc = sqlite__find_cluster(c, r);
    if (rc == 0)
        rc = sqlite__check_active(c, r, drain->name, drain->generation);
    sqlite3_stmt *heirs = rc == 0 ? sqlite__use(c, SQL_OTHER_HEIRS) : NULL;
    if (heirs == NULL)
        return rc != 0 ? rc : sqlite__fail(c, r);
    sqlite3_bind_int64(heirs, 1, c->cluster);
    sqlite__bind_string(heirs, 2, drain->name);
    sqlite__bind_u64(heirs, 3, sqlite__now_ms());
    bool any = sqlite3_step(heirs) == SQLITE_ROW && sqlite3_column_int64(heirs, 0) > 0;
    if (sqlite3_reset(heirs) != SQLITE_OK)
        return sqlite__fail(c, r);
    drain->refused = drain->drain && !any;
    sqlite3_stmt *s = drain->refused ? NULL : sqlite__use(c, SQL_DRAIN_NODE);
    if (s == NULL)
        return drain->refused ? 0 : sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, drain->name);
    sqlite__bind_u64(s, 3, drain->generation);
    sqlite3_bind_int(s, 4, drain->drain);
    sqlite3_step(s);
    return sqlite3_reset(s) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}

int sqlite__kinds(struct sqlite_connection *c, struct store_request *r)
{
    struct store_kinds *k = &r->u.kinds;
    int rc = sqlite__find_cluster(c, r);
    if (rc == 0)
        rc = sqlite__check_active(c, r, k->name, k->generation);
    sqlite3_stmt *s = rc == 0 ? sqlite__use(c, SQL_SET_KINDS) : NULL;
    if (s == NULL)
        return rc != 0 ? rc : sqlite__fail(c, r);
    sqlite3_bind_int64(s, 1, c->cluster);
    sqlite__bind_string(s, 2, k->was);
    sqlite__bind_string(s, 3, k->is);
    k->done = sqlite3_step(s) == SQLITE_ROW;
    return sqlite3_reset(s) == SQLITE_OK ? 0 : sqlite__fail(c, r);
}
