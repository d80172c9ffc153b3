/* See host.h. */
#include "tools/bench/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/name.h"
#include "tools/bench/bench.h"
#include "tools/bench/load.h"

#define MS UINT64_C(1000000)

enum {
    TICK_MS = 250,
    TICKS_MAX = 2000,
    POPULATE_BATCH = 512,
    CALL_ARENA_BYTES = 256 << 10,
};

/* ---- the store that is none ---- */

static const struct store_node SELF = {
    .name = "bench",
    .generation = 1,
    .addr = "bench",
    .proof = "",
    .state = STORE_NODE_ACTIVE,
};

static void answer_register(struct store_request *r)
{
    r->u.reg.generation = SELF.generation;
    snprintf(r->u.reg.cluster_uid, sizeof r->u.reg.cluster_uid,
             "00000000-0000-0000-0000-000000000000");
}

static int answer_claim(struct store_request *r)
{
    struct store_claim *c = &r->u.claim;
    c->claimed = arena_calloc(r->arena, c->pids_n, sizeof *c->claimed);
    if (c->claimed == NULL)
        return TROUPE_ENOMEM;
    for (size_t i = 0; i < c->pids_n; i++)
        c->claimed[i] = (struct store_claimed){.pid = c->pids[i], .epoch = 1};
    c->claimed_n = c->pids_n;
    return 0;
}

static int answer_load(struct store_request *r)
{
    struct store_load *l = &r->u.load;
    l->rows = arena_calloc(r->arena, l->keys_n, sizeof *l->rows);
    l->found = arena_calloc(r->arena, l->keys_n, sizeof *l->found);
    return l->rows == NULL || l->found == NULL ? TROUPE_ENOMEM : 0;
}

static int answer_owners(struct store_request *r)
{
    struct store_owners *o = &r->u.owners;
    struct store_node *self = arena_calloc(r->arena, 1, sizeof *self);
    o->owners = arena_calloc(r->arena, PARTITIONS_DEFAULT, sizeof *o->owners);
    if (self == NULL || o->owners == NULL)
        return TROUPE_ENOMEM;
    *self = SELF;
    o->nodes = self;
    o->nodes_n = 1;
    o->owners_n = PARTITIONS_DEFAULT;
    for (size_t i = 0; i < o->owners_n; i++)
        o->owners[i] = (struct store_owner){.epoch = 1, .generation = SELF.generation};
    return 0;
}

static void answer_kinds(struct host *h, struct store_request *r)
{
    r->u.kinds.done = strcmp(h->kinds_open, r->u.kinds.was) == 0;
    if (r->u.kinds.done)
        snprintf(h->kinds_open, sizeof h->kinds_open, "%s", r->u.kinds.is);
}

static void answer(struct host *h, struct store_request *r)
{
    r->error = 0;
    switch (r->op) {
    case STORE_REGISTER:
        answer_register(r);
        break;
    case STORE_RENEW:
        r->u.renew.renew_seq = ++h->renew_seq;
        r->u.renew.kinds_open = h->kinds_open;
        break;
    case STORE_KINDS:
        answer_kinds(h, r);
        break;
    case STORE_LEAVE:
        break;
    case STORE_CLAIM:
        r->error = answer_claim(r);
        break;
    case STORE_LOAD:
        r->error = answer_load(r);
        break;
    case STORE_SAVE:
        r->u.save.applied = r->u.save.rows_n;
        break;
    case STORE_OWNERS:
        r->error = answer_owners(r);
        break;
    case STORE_EVICT: /* there is nobody else */
    case STORE_TRANSFER:
    case STORE_HISTORY:
    case STORE_RECENT:
    case STORE_DRAIN:
        break;
    }
}

/* ---- driving ---- */

static struct runtime_time host_now(struct host *h)
{
    struct timespec mono, wall;
    if (!h->real_time)
        return h->now;
    clock_gettime(CLOCK_BOOTTIME, &mono);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (struct runtime_time){
        .mono_ns = (uint64_t)mono.tv_sec * 1000 * MS + (uint64_t)mono.tv_nsec,
        .wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / MS,
    };
}

void host_push(struct host *h, struct runtime_request *request)
{
    runtime_step(h->rt, host_now(h),
                 &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = request});
}

void host_collect(struct host *h)
{
    struct runtime_effects fx;
    do {
        runtime_collect(h->rt, host_now(h), &fx);
        for (struct runtime_request *r = fx.replies; r != NULL; r = r->next)
            h->answered += r->reply.results_n;
        for (struct store_request *r = fx.store, *next; r != NULL; r = next) {
            next = r->next;
            answer(h, r);
            runtime_step(h->rt, host_now(h),
                         &(struct runtime_event){.type = RUNTIME_STORE_DONE, .u.store = r});
        }
    } while (fx.store != NULL);
    h->phase = fx.phase;
}

static void tick(struct host *h)
{
    h->now.mono_ns += TICK_MS * MS;
    h->now.wall_ms += TICK_MS;
    runtime_step(h->rt, host_now(h), &(struct runtime_event){.type = RUNTIME_WAKE});
    host_collect(h);
}

int host_open(struct bench *b, struct host *h, bool real_time)
{
    const struct troupe_plugin *plugin = troupe_plugin();
    *h = (struct host){.real_time = true};
    h->now = host_now(h);
    h->real_time = real_time;
    struct runtime_config config = {
        .name = SELF.name,
        .cluster = "bench",
        .address = SELF.addr,
        .proof = SELF.proof,
        .version = "",
        .store_url = "",
        .incarnation = 1,
        .seed = 1,
        .kinds = plugin->kinds,
        .kinds_n = plugin->kinds_n,
    };
    char errmsg[STORE_ERRMSG_BYTES];
    if (runtime_open(&h->rt, &config, errmsg) != 0)
        return bench_fail(b, "runtime: %s", errmsg);
    for (int i = 0; i < TICKS_MAX && h->phase != RUNTIME_SERVING; i++)
        tick(h);
    return h->phase == RUNTIME_SERVING ? 0 : bench_fail(b, "the runtime does not serve");
}

void host_close(struct host *h)
{
    runtime_close(h->rt);
    h->rt = NULL;
}

int host_wait_persisted(struct bench *b, struct host *h)
{
    struct runtime_stats stats;
    for (int i = 0; i < TICKS_MAX; i++) {
        tick(h);
        runtime_stats(h->rt, h->now, &stats);
        if (stats.entities_dirty == 0)
            return 0;
    }
    return bench_fail(b, "the runtime does not persist");
}

/* ---- filling it ---- */

static void fill_batch(struct rpc_call *calls, char ids[][24], uint32_t first, uint32_t n,
                       bool with_ids)
{
    for (uint32_t i = 0; i < n; i++) {
        calls[i] = (struct rpc_call){
            .kind = troupe_bytes_of("counter"),
            .id = {(const uint8_t *)ids[i], write_decimal(ids[i], first + i)},
            .method = troupe_bytes_of("set"),
            .payload = SET_64,
            .sequence = with_ids ? (uint64_t)first + i + 1 : 0,
        };
    }
}

int host_populate(struct bench *b, struct host *h, uint32_t entities, uint64_t client)
{
    struct arena arena;
    struct rpc_call calls[POPULATE_BATCH];
    char ids[POPULATE_BATCH][24];
    uint64_t before = h->answered;
    int rc = 0;
    arena_init(&arena, CALL_ARENA_BYTES, 0);
    for (uint32_t first = 0; first < entities && rc == 0; first += POPULATE_BATCH) {
        uint32_t n = entities - first < POPULATE_BATCH ? entities - first : POPULATE_BATCH;
        fill_batch(calls, ids, first, n, client != 0);
        struct rpc_request rpc = {
            .timeout_ms = 5000, .client = client, .calls = calls, .calls_n = n};
        struct runtime_request request = {0};
        rc = runtime_request_init(&request, &arena, &rpc);
        if (rc != 0)
            break;
        host_push(h, &request);
        host_collect(h);
        for (uint32_t i = 0; i < n && rc == 0; i++)
            rc = request.reply.results[i].status;
        arena_reset(&arena);
    }
    arena_close(&arena);
    if (rc == 0 && h->answered - before == entities)
        return 0;
    return bench_fail(b, "the runtime did not take all entities");
}
