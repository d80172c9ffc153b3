/* See database.h. One lock over everything: an operation is a few microseconds, and whoever needs
 * more than one core's worth of memory store needs another store. */
#include "storage/memory/database.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/invariant.h"
#include "storage/request.h"

struct database {
    struct database *next; /* in the registry */
    char *name;
    size_t references; /* under the registry's lock; everything else under the database's */
    pthread_mutex_t lock;
    struct cluster *clusters;
    store_memory_clock_cb clock;
    void *clock_data;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct database *registry;

/* ---- databases and clusters ---- */

static struct database *database_new(const char *name)
{
    struct database *db = calloc(1, sizeof *db);
    if (db == NULL)
        return NULL;
    db->name = strdup(name);
    if (db->name == NULL) {
        free(db);
        return NULL;
    }
    pthread_mutex_init(&db->lock, NULL);
    return db;
}

struct database *database_open(const char *name)
{
    pthread_mutex_lock(&registry_lock);
    struct database *db = name[0] == '\0' ? NULL : registry;
    while (db != NULL && strcmp(db->name, name) != 0)
        db = db->next;
    if (db == NULL) {
        db = database_new(name);
        if (db != NULL) {
            db->next = registry;
            registry = db;
        }
    }
    if (db != NULL)
        db->references++;
    pthread_mutex_unlock(&registry_lock);
    return db;
}

static void cluster_free(struct cluster *c)
{
    if (c == NULL)
        return;
    cluster_free(c->kept);
    rows_close(&c->rows);
    free(c->partitions);
    free(c->nodes);
    free(c);
}

/* ---- failover ---- */

/* malloc(0) may be NULL, and that is no error here. */
static void *copy_array(const void *from, size_t n, size_t size, bool *good)
{
    void *to = calloc(n + 1, size);
    *good &= to != NULL;
    if (to != NULL && n > 0)
        memcpy(to, from, n * size);
    return to;
}

bool database_keep(struct database *db, struct cluster *c)
{
    bool good = true;
    pthread_mutex_lock(&db->lock);
    struct cluster *kept = calloc(1, sizeof *kept);
    if (kept == NULL) {
        pthread_mutex_unlock(&db->lock);
        return false;
    }
    *kept = *c;
    kept->kept = NULL;
    kept->nodes_max = c->nodes_n + 1;
    kept->partitions = copy_array(c->partitions, c->partitions_n, sizeof *c->partitions, &good);
    kept->nodes = copy_array(c->nodes, c->nodes_n, sizeof *c->nodes, &good);
    good &= rows_clone(&c->rows, &kept->rows) == 0;
    if (good) {
        cluster_free(c->kept);
        c->kept = kept;
    } else {
        cluster_free(kept);
    }
    pthread_mutex_unlock(&db->lock);
    return good;
}

/* The copy comes into the place of the data, which are somebody else's by now. */
static void take_over(struct cluster *c)
{
    struct cluster *kept = c->kept, *next = c->next;
    uint64_t timeline = (c->timeline == 0 ? 1 : c->timeline) + 1; /* the first one is 1 */
    *c = *kept; /* handles point to c: it stays where it is */
    c->next = next;
    c->kept = NULL;
    c->timeline = timeline;
    free(kept);
}

void database_fail_over(struct database *db, struct cluster *c)
{
    pthread_mutex_lock(&db->lock);
    INVARIANT(c->kept != NULL);
    free(c->partitions);
    free(c->nodes);
    rows_close(&c->rows);
    take_over(c);
    pthread_mutex_unlock(&db->lock);
}

void database_depose(struct database *db, struct cluster *c, struct database *other,
                     struct cluster *old)
{
    pthread_mutex_lock(&db->lock);
    pthread_mutex_lock(&other->lock);
    INVARIANT(c->kept != NULL && old->partitions == NULL && db != other);
    struct cluster *next = old->next;
    *old = *c;
    old->next = next;
    old->kept = NULL;
    take_over(c);
    pthread_mutex_unlock(&other->lock);
    pthread_mutex_unlock(&db->lock);
}

void database_close(struct database *db)
{
    pthread_mutex_lock(&registry_lock);
    INVARIANT(db->references > 0);
    bool last = --db->references == 0;
    if (last) {
        struct database **at = &registry;
        while (*at != db)
            at = &(*at)->next;
        *at = db->next;
    }
    pthread_mutex_unlock(&registry_lock);
    if (!last)
        return;
    while (db->clusters != NULL) {
        struct cluster *c = db->clusters;
        db->clusters = c->next;
        cluster_free(c);
    }
    pthread_mutex_destroy(&db->lock);
    free(db->name);
    free(db);
}

struct cluster *database_cluster(struct database *db, const char *name)
{
    pthread_mutex_lock(&db->lock);
    struct cluster *c = db->clusters;
    while (c != NULL && strcmp(c->name, name) != 0)
        c = c->next;
    if (c == NULL && (c = calloc(1, sizeof *c)) != NULL) {
        snprintf(c->name, sizeof c->name, "%s", name);
        c->next = db->clusters;
        db->clusters = c;
    }
    pthread_mutex_unlock(&db->lock);
    return c;
}

void database_set_clock(struct database *db, store_memory_clock_cb clock, void *data)
{
    pthread_mutex_lock(&db->lock);
    db->clock = clock;
    db->clock_data = data;
    pthread_mutex_unlock(&db->lock);
}

static uint64_t now_ms(const struct database *db)
{
    struct timespec now;
    if (db->clock != NULL)
        return db->clock(db->clock_data);
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Random, but the same in every run of a simulation. */
static int make_uid(const struct database *db, struct cluster *c)
{
    uint64_t bits[2];
    if (db->clock != NULL) {
        bits[0] = XXH3_64bits_withSeed(c->name, strlen(c->name), 1);
        bits[1] = XXH3_64bits_withSeed(c->name, strlen(c->name), 2);
    } else if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits) {
        return TROUPE_EUNAVAILABLE;
    }
    snprintf(c->uid, sizeof c->uid, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(bits[0] >> 32),
             (unsigned)(bits[0] >> 16 & 0xFFFF), (unsigned)(bits[0] & 0xFFF),
             (unsigned)(bits[1] >> 48 & 0x3FFF) | 0x8000u,
             (unsigned long long)(bits[1] & 0xFFFFFFFFFFFF));
    return 0;
}

/* ---- node rows ---- */

struct cluster_node *cluster_find_node(struct cluster *c, const char *name)
{
    for (uint32_t i = 0; i < c->nodes_n; i++) {
        if (strcmp(c->nodes[i].name, name) == 0)
            return &c->nodes[i];
    }
    return NULL;
}

/* The row of this very run, if it is active. */
struct cluster_node *cluster_find_run(struct cluster *c, const char *name, uint64_t generation)
{
    struct cluster_node *n = cluster_find_node(c, name);
    bool active = n != NULL && n->state == STORE_NODE_ACTIVE && n->generation == generation;
    return active ? n : NULL;
}

static struct cluster_node *add_node(struct cluster *c, const char *name)
{
    if (c->nodes_n == c->nodes_max) {
        uint32_t max = c->nodes_max == 0 ? 8 : c->nodes_max * 2;
        struct cluster_node *nodes = realloc(c->nodes, max * sizeof *nodes);
        if (nodes == NULL)
            return NULL;
        c->nodes = nodes;
        c->nodes_max = max;
    }
    struct cluster_node *n = &c->nodes[c->nodes_n++];
    *n = (struct cluster_node){.state = STORE_NODE_LEFT};
    snprintf(n->name, sizeof n->name, "%s", name);
    return n;
}

static bool copy_out(struct arena *a, const char *text, const char **out)
{
    *out = (const char *)arena_copy(a, troupe_bytes_of(text)).data;
    return *out != NULL;
}

static uint64_t age_ms(const struct database *db, const struct cluster_node *n)
{
    uint64_t now = now_ms(db);
    return now > n->renewed_at_ms ? now - n->renewed_at_ms : 0;
}

/* See store_node.expired. */
static bool is_expired(const struct database *db, const struct cluster_node *n)
{
    return age_ms(db, n) > n->ttl_ms || n->renewed_at_ms > now_ms(db) + n->ttl_ms;
}

/* False: the arena is full. */
static bool show_node(const struct database *db, const struct cluster_node *n, struct arena *a,
                      struct store_node *out)
{
    *out = (struct store_node){
        .generation = n->generation,
        .incarnation = n->incarnation,
        .renew_seq = n->renew_seq,
        .ttl_ms = n->ttl_ms,
        .outage_ms = n->outage_ms,
        .draining = n->draining,
        .state = n->state,
        .expired = is_expired(db, n),
        .age_ms = age_ms(db, n),
        .joined = n->joined,
        .seen = n->seen,
    };
    return copy_out(a, n->name, &out->name) && copy_out(a, n->addr, &out->addr) &&
           copy_out(a, n->gossip, &out->gossip) && copy_out(a, n->proof, &out->proof) &&
           copy_out(a, n->kinds, &out->kinds);
}

/* ---- the lease ---- */

/* The cluster begins with the first node that registers. */
static int create_cluster(struct database *db, struct cluster *c, uint32_t partitions)
{
    if (make_uid(db, c) != 0)
        return TROUPE_EUNAVAILABLE;
    c->partitions = calloc(partitions, sizeof *c->partitions);
    if (c->partitions == NULL)
        return TROUPE_ENOMEM;
    for (uint32_t pid = 0; pid < partitions; pid++)
        c->partitions[pid].node = UINT32_MAX;
    c->partitions_n = partitions;
    return 0;
}

static int check_cluster(struct database *db, struct cluster *c, uint32_t partitions,
                         struct store_request *r)
{
    int rc = c->partitions_n == 0 ? create_cluster(db, c, partitions) : 0;
    if (rc != 0)
        return store__fail(r, rc, "the cluster cannot be created: %s", troupe_error_text(rc));
    if (c->partitions_n != partitions)
        return store__fail(r, TROUPE_EVERSION,
                           "cluster '%s' has %u partitions and this node is configured for %u; "
                           "configure %u",
                           c->name, c->partitions_n, partitions, c->partitions_n);
    return 0;
}

static uint64_t next_join(struct cluster *c)
{
    uint64_t floor = cluster_epoch_floor(c);
    c->joins = (c->joins > floor ? c->joins : floor) + 1;
    return c->joins;
}

static int run_register(struct database *db, struct cluster *c, uint32_t partitions,
                        struct store_request *r)
{
    struct store_register *reg = &r->u.reg;
    int rc = check_cluster(db, c, partitions, r);
    if (rc != 0)
        return rc;
    struct cluster_node *n = cluster_find_node(c, reg->name);
    if (n == NULL && (n = add_node(c, reg->name)) == NULL)
        return store__fail_memory(r);
    bool held = n->state == STORE_NODE_ACTIVE;
    bool same = held && n->incarnation == reg->incarnation;
    bool superseded = reg->supersede && n->generation == reg->supersede_generation &&
                      n->renew_seq == reg->supersede_renew_seq;
    if (held && !same && !superseded) {
        if (!show_node(db, n, r->arena, &reg->holder))
            return store__fail_memory(r);
        return store__fail(r, TROUPE_EBUSY, "the name '%s' is held by a run at %s", n->name,
                           n->addr);
    }
    if (!same)
        n->seen = 0;
    if (!same && !(superseded && reg->former_gone))
        n->joined = next_join(c);
    if (!same) { /* none comes twice, whatever a failover has lost */
        uint64_t first = UINT64_C(1) << 40, floor = cluster_epoch_floor(c);
        floor = floor > first ? floor - first : 0;
        n->generation = (n->generation > floor ? n->generation : floor) + 1;
    }
    n->incarnation = reg->incarnation;
    n->renew_seq++;
    n->renewed_at_ms = now_ms(db);
    n->ttl_ms = reg->ttl_ms;
    n->outage_ms = reg->outage_ms;
    n->draining = reg->draining;
    n->state = STORE_NODE_ACTIVE;
    snprintf(n->addr, sizeof n->addr, "%s", reg->addr);
    snprintf(n->gossip, sizeof n->gossip, "%s", reg->gossip);
    snprintf(n->proof, sizeof n->proof, "%s", reg->proof);
    reg->generation = n->generation;
    reg->joined = n->joined;
    memcpy(reg->cluster_uid, c->uid, sizeof reg->cluster_uid);
    return 0;
}

uint64_t cluster_epoch_floor(const struct cluster *c)
{
    return c->forgetful ? 0 : c->timeline << 40;
}

int cluster_fail_fenced(struct store_request *r, const char *name, uint64_t generation)
{
    return store__fail(r, TROUPE_EFENCED, "run %llu of '%s' is not active any more",
                       (unsigned long long)generation, name);
}

static int run_renew(struct database *db, struct cluster *c, struct store_request *r)
{
    struct store_renew *renew = &r->u.renew;
    struct cluster_node *own = cluster_find_run(c, renew->name, renew->generation);
    if (own == NULL)
        return cluster_fail_fenced(r, renew->name, renew->generation);
    renew->others = arena_calloc(r->arena, c->nodes_n, sizeof *renew->others);
    if (renew->others == NULL)
        return store__fail_memory(r);
    renew->others_n = 0;
    for (uint32_t i = 0; i < c->nodes_n; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (n == own || n->state != STORE_NODE_ACTIVE)
            continue;
        if (!show_node(db, n, r->arena, &renew->others[renew->others_n++]))
            return store__fail_memory(r);
    }
    if (!copy_out(r->arena, c->kinds_open, &renew->kinds_open))
        return store__fail_memory(r);
    own->renew_seq++;
    own->renewed_at_ms = now_ms(db);
    if (renew->kinds != NULL && renew->kinds[0] != '\0')
        snprintf(own->kinds, sizeof own->kinds, "%s", renew->kinds);
    own->ttl_ms = renew->ttl_ms;
    own->seen = renew->seen;
    renew->renew_seq = own->renew_seq;
    renew->joins = c->joins;
    return 0;
}

static int run_leave(struct cluster *c, struct store_request *r)
{
    struct cluster_node *run = cluster_find_run(c, r->u.leave.name, r->u.leave.generation);
    if (run != NULL)
        run->state = r->u.leave.dead ? STORE_NODE_DEAD : STORE_NODE_LEFT;
    return 0;
}

static int run_evict(struct database *db, struct cluster *c, struct store_request *r)
{
    struct store_evict *evict = &r->u.evict;
    evict->evicted = false;
    if (cluster_find_run(c, evict->name, evict->generation) == NULL)
        return cluster_fail_fenced(r, evict->name, evict->generation);
    struct cluster_node *target = cluster_find_node(c, evict->target);
    bool ordered = evict->why == STORE_EVICT_ORDERED;
    bool any = ordered && evict->target_generation == 0;
    if (target == NULL || (!any && target->generation != evict->target_generation))
        return 0;
    enum store_node_state end = ordered ? STORE_NODE_LEFT : STORE_NODE_DEAD;
    bool may = !any && target->state == STORE_NODE_ACTIVE &&
               target->renew_seq == evict->target_renew_seq &&
               (evict->why != STORE_EVICT_SILENT || is_expired(db, target));
    if (may || (ordered && target->state == STORE_NODE_DEAD))
        target->state = end;
    evict->evicted = target->state == end;
    return 0;
}

static int run_drain(struct database *db, struct cluster *c, struct store_request *r)
{
    struct store_drain *drain = &r->u.drain;
    struct cluster_node *own = cluster_find_run(c, drain->name, drain->generation);
    if (own == NULL)
        return cluster_fail_fenced(r, drain->name, drain->generation);
    drain->refused = drain->drain;
    for (uint32_t i = 0; i < c->nodes_n; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (n != own && n->state == STORE_NODE_ACTIVE && !n->draining && !is_expired(db, n))
            drain->refused = false;
    }
    if (!drain->refused)
        own->draining = drain->drain;
    return 0;
}

static int run_kinds(struct cluster *c, struct store_request *r)
{
    struct store_kinds *k = &r->u.kinds;
    if (cluster_find_run(c, k->name, k->generation) == NULL)
        return cluster_fail_fenced(r, k->name, k->generation);
    k->done = strcmp(c->kinds_open, k->was) == 0;
    if (k->done)
        snprintf(c->kinds_open, sizeof c->kinds_open, "%s", k->is);
    return 0;
}

/* ---- ownership ---- */

bool cluster_is_owned_by(const struct cluster *c, const struct cluster_partition *p,
                         const struct cluster_node *n, uint64_t generation)
{
    return n != NULL && p->node == (uint32_t)(n - c->nodes) && p->generation == generation;
}

static int run_owners(struct database *db, struct cluster *c, struct store_request *r)
{
    struct store_owners *map = &r->u.owners;
    map->owners = arena_calloc(r->arena, c->partitions_n, sizeof *map->owners);
    map->nodes = arena_calloc(r->arena, c->nodes_n, sizeof *map->nodes);
    if (map->owners == NULL || map->nodes == NULL)
        return store__fail_memory(r);
    map->owners_n = c->partitions_n;
    map->nodes_n = c->nodes_n;
    for (uint32_t pid = 0; pid < c->partitions_n; pid++) {
        const struct cluster_partition *p = &c->partitions[pid];
        map->owners[pid] =
            (struct store_owner){.epoch = p->epoch, .generation = p->generation, .node = p->node};
    }
    for (uint32_t i = 0; i < c->nodes_n; i++) {
        if (!show_node(db, &c->nodes[i], r->arena, &map->nodes[i]))
            return store__fail_memory(r);
    }
    return 0;
}

/* ---- rows ---- */

static int run_load(const struct cluster *c, struct store_request *r)
{
    struct store_load *load = &r->u.load;
    load->rows = arena_calloc(r->arena, load->keys_n, sizeof *load->rows);
    load->found = arena_calloc(r->arena, load->keys_n, sizeof *load->found);
    if (load->rows == NULL || load->found == NULL)
        return store__fail_memory(r);
    for (size_t i = 0; i < load->keys_n; i++) {
        const struct stored_row *row = rows_find(&c->rows, &load->keys[i]);
        if (row == NULL)
            continue;
        load->found[i] = true;
        load->rows[i] = (struct store_row){
            .epoch = row->epoch,
            .version = row->version,
            .deleted = row->deleted,
            .state = arena_copy(r->arena, stored_row_state(row)),
            .dedup = arena_copy(r->arena, stored_row_dedup(row)),
        };
        if (load->rows[i].state.data == NULL || load->rows[i].dedup.data == NULL)
            return store__fail_memory(r);
    }
    return 0;
}

static bool is_newer(const struct stored_row *stored, const struct store_row *row)
{
    return stored != NULL && (stored->epoch != row->epoch ? stored->epoch > row->epoch
                                                          : stored->version > row->version);
}

/* What each row of a save has to do: a copy to put, or NULL. Changes nothing yet. */
static int prepare_save(struct cluster *c, uint64_t now_ms, struct store_request *r,
                        struct stored_row **copies)
{
    struct store_save *save = &r->u.save;
    const struct cluster_node *own = cluster_find_node(c, save->name);
    save->applied = save->skipped = save->fenced_n = 0;
    for (size_t i = 0; i < save->rows_n; i++) {
        const struct store_row *row = &save->rows[i];
        store_pid pid = row->key.pid;
        const struct cluster_partition *p = pid < c->partitions_n ? &c->partitions[pid] : NULL;
        if (p == NULL || p->epoch != row->epoch ||
            !cluster_is_owned_by(c, p, own, save->generation)) {
            if (save->fenced_n == 0 || save->fenced[save->fenced_n - 1] != pid)
                save->fenced[save->fenced_n++] = pid;
        } else if (is_newer(rows_find(&c->rows, &row->key), row)) {
            save->skipped++;
        } else {
            copies[i] = rows_copy(row, now_ms);
            if (copies[i] == NULL)
                return TROUPE_ENOMEM;
            save->applied++;
        }
    }
    return rows_reserve(&c->rows, save->applied);
}

static int run_save(struct cluster *c, uint64_t now_ms, struct store_request *r)
{
    struct store_save *save = &r->u.save;
    struct stored_row **copies = arena_calloc(r->arena, save->rows_n, sizeof *copies);
    save->fenced = arena_calloc(r->arena, save->rows_n, sizeof *save->fenced);
    if (copies == NULL || save->fenced == NULL)
        return store__fail_memory(r);
    int rc = prepare_save(c, now_ms, r, copies);
    for (size_t i = 0; i < save->rows_n; i++) {
        if (rc != 0)
            free(copies[i]);
        else if (copies[i] != NULL)
            rows_put(&c->rows, &save->rows[i].key, copies[i]);
    }
    return rc == 0 ? 0 : store__fail_memory(r);
}

/* ---- */

static int run(struct database *db, struct cluster *c, uint32_t partitions, struct store_request *r)
{
    switch (r->op) {
    case STORE_REGISTER:
        return run_register(db, c, partitions, r);
    case STORE_RENEW:
        return run_renew(db, c, r);
    case STORE_LEAVE:
        return run_leave(c, r);
    case STORE_CLAIM:
        return partitions_claim(c, now_ms(db), r);
    case STORE_LOAD:
        return run_load(c, r);
    case STORE_SAVE:
        return run_save(c, now_ms(db), r);
    case STORE_OWNERS:
        return run_owners(db, c, r);
    case STORE_EVICT:
        return run_evict(db, c, r);
    case STORE_TRANSFER:
        return partitions_transfer(c, now_ms(db), r);
    case STORE_HISTORY:
        return partitions_history(c, r);
    case STORE_RECENT:
        return recent_find(c, now_ms(db), r);
    case STORE_KINDS:
        return run_kinds(c, r);
    case STORE_DRAIN:
        return run_drain(db, c, r);
    }
    return TROUPE_EINVAL;
}

void database_run(struct database *db, struct cluster *cluster, uint32_t partitions,
                  struct store_request *request)
{
    pthread_mutex_lock(&db->lock);
    int rc = run(db, cluster, partitions, request);
    INVARIANT(rc == request->error);
    request->timeline = cluster->timeline;
    request->server = cluster->timeline + 1; /* 0 would be none */
    pthread_mutex_unlock(&db->lock);
}

void database_forget_timeline(struct database *db, struct cluster *c)
{
    pthread_mutex_lock(&db->lock);
    c->forgetful = true;
    pthread_mutex_unlock(&db->lock);
}

bool database_evict(struct database *db, struct cluster *cluster, const char *name)
{
    pthread_mutex_lock(&db->lock);
    struct cluster_node *n = cluster_find_node(cluster, name);
    bool active = n != NULL && n->state == STORE_NODE_ACTIVE;
    if (active)
        n->state = STORE_NODE_DEAD;
    pthread_mutex_unlock(&db->lock);
    return active;
}
