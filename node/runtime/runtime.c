/* The driver's side of the runtime: open, close, step, collect. See runtime.h for the contract and
 * internal.h for the map of this folder. */
#include "node/runtime/runtime.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

static const struct troupe_kind_options KIND_DEFAULTS = {
    .idle_timeout_ms = 1800000,
    .persist_interval_ms = 30000,
    .mailbox_max = 1000,
    .max_restarts = 3,
    .restart_window_ms = 5000,
    .request_window_ms = DEDUP_WINDOW_MS,
};

/* SplitMix64 (Steele et al., OOPSLA 2014). */
uint64_t runtime__random(struct runtime *rt)
{
    uint64_t z = (rt->random += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void runtime__submit(struct runtime *rt, struct store_request *request)
{
    request->next = NULL;
    *rt->store_tail = request;
    rt->store_tail = &request->next;
    rt->store_out++;
}

uint64_t runtime__backoff(struct runtime *rt, uint32_t failures)
{
    uint64_t ms = STORE_RETRY_MS_MAX;
    if (failures < 6)
        ms = (uint64_t)STORE_RETRY_MS_MIN << failures;
    ms = ms < STORE_RETRY_MS_MAX ? ms : STORE_RETRY_MS_MAX;
    return (ms + runtime__random(rt) % (ms / 2 + 1)) * NS_PER_MS;
}

/* ---- open ---- */

static const char *keep(struct runtime *rt, const char *text)
{
    struct troupe_bytes copy = arena_copy(&rt->arena, troupe_bytes_of(text));
    return (const char *)copy.data;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static void fill_defaults(struct runtime_config *c)
{
    c->partitions = or_default(c->partitions, PARTITIONS_DEFAULT);
    c->lease_ttl_ms = or_default(c->lease_ttl_ms, 5000);
    c->lease_renew_ms = or_default(c->lease_renew_ms, 1000);
    c->outage_grace_ms = or_default(c->outage_grace_ms, 600000);
    c->calls_waiting_max = or_default(c->calls_waiting_max, 1000000);
    c->calls_gated_max = or_default(c->calls_gated_max, 200000);
    c->save_rows_max = or_default(c->save_rows_max, 1000);
    c->save_bytes_max = or_default(c->save_bytes_max, 4 << 20);
    c->saves_in_flight_max = or_default(c->saves_in_flight_max, 3);
    c->load_keys_max = or_default(c->load_keys_max, 1024);
    c->loads_in_flight_max = or_default(c->loads_in_flight_max, 4);
    c->state_bytes_max = or_default(c->state_bytes_max, 4 << 20);
    c->weight = or_default(c->weight, 1);
    c->handoff_concurrency = or_default(c->handoff_concurrency, 2);
    c->drain_ms = or_default(c->drain_ms, 30000);
    if (c->handoff_concurrency > HANDOFFS_MAX)
        c->handoff_concurrency = HANDOFFS_MAX;
    c->members_max = or_default(c->members_max, MEMBERS_MAX_DEFAULT);
}

static bool is_long(const char *text, size_t size)
{
    return text != NULL && strlen(text) >= size;
}

/* What is told to the other nodes: see node__write_meta. */
static bool fits_meta(const struct runtime_config *c)
{
    const char *const texts[] = {c->address, c->gossip_address, c->peer_address, c->zone,
                                 c->version};
    size_t bytes = 6 * 3 + 4;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        bytes += texts[i] == NULL ? 0 : strlen(texts[i]);
    return bytes <= SWIM_META_BYTES_MAX;
}

static int check_config(const struct runtime_config *c, char *errmsg)
{
    const char *why = NULL;
    if (c->name == NULL || c->name[0] == '\0' || strlen(c->name) > STORE_NAME_BYTES_MAX)
        why = "the node's name must have 1 to 63 bytes";
    else if (name_partition_bits(c->partitions) < 0)
        why = "partitions must be a power of two from 256 to 65536";
    else if (c->lease_ttl_ms < 2 * LEASE_MARGIN_MS || c->lease_renew_ms >= c->lease_ttl_ms / 2)
        why = "the lease's TTL must be at least 1000 ms and more than twice the renewal interval";
    else if (c->save_rows_max > STORE_ROWS_MAX || c->load_keys_max > STORE_KEYS_MAX)
        why = "a commit or a load may have 4096 rows at most";
    else if (c->state_bytes_max > STORE_STATE_BYTES_MAX)
        why = "a state may have 16 MiB at most";
    else if (c->weight > RING_WEIGHT_MAX)
        why = "a node's weight is 1 to 100";
    else if (c->members_max > SWIM_MEMBERS_MAX)
        why = "at most 16384 members can be known";
    else if (is_long(c->address, RUNTIME_ADDRESS_BYTES) ||
             is_long(c->zone, NODE_ZONE_BYTES_MAX + 1) ||
             is_long(c->gossip_address, RUNTIME_ADDRESS_BYTES) ||
             is_long(c->peer_address, RUNTIME_ADDRESS_BYTES) || !fits_meta(c))
        why = "addresses, zone and version are too long: 63 bytes for a zone, 255 for an address, "
              "490 for all of them";
    else if (c->kinds_n > KINDS_MAX)
        why = "a node can have 250 kinds at most";
    if (why == NULL)
        return 0;
    snprintf(errmsg, STORE_ERRMSG_BYTES, "%s", why);
    return TROUPE_EINVAL;
}

static int check_kind(const struct runtime *rt, const struct troupe_kind *def, char *errmsg)
{
    const char *name = def->name == NULL ? "" : def->name, *why = NULL;
    if (name_check_kind(troupe_bytes_of(name), &why) != 0 || name[0] == '$')
        why = why != NULL ? why : "names that begin with $ are the node's own";
    else if (deliver__kind(rt, troupe_bytes_of(name)) != NULL)
        why = "the name is taken by another kind";
    else if (def->start == NULL || def->call == NULL || def->save == NULL || def->stop == NULL)
        why = "start, call, save and stop must be set";
    else if (def->methods_n > METHODS_MAX)
        why = "a kind can have 250 methods at most";
    else
        why = state_version__check(def);
    for (size_t i = 0; why == NULL && i < def->methods_n; i++) {
        const char *bad = NULL;
        if (def->methods[i].name == NULL ||
            name_check_kind(troupe_bytes_of(def->methods[i].name), &bad) != 0)
            why = "a method's name is 1 to 63 characters out of a-z, 0-9 and _, a letter first";
    }
    if (why == NULL)
        return 0;
    snprintf(errmsg, STORE_ERRMSG_BYTES, "kind '%.63s': %s", name, why);
    return TROUPE_EINVAL;
}

static int init_kinds(struct runtime *rt, const struct runtime_config *config, char *errmsg)
{
    rt->kinds = arena_calloc(&rt->arena, config->kinds_n + 1, sizeof *rt->kinds);
    if (rt->kinds == NULL)
        return TROUPE_ENOMEM;
    for (size_t i = 0; i < config->kinds_n; i++) {
        const struct troupe_kind *def = config->kinds[i];
        int rc = check_kind(rt, def, errmsg);
        if (rc != 0)
            return rc;
        struct kind *k = &rt->kinds[rt->kinds_n++];
        const struct troupe_kind_options *o = &def->options, *d = &KIND_DEFAULTS;
        k->def = def;
        k->name = troupe_bytes_of(def->name);
        k->write_version = def->state_version;
        k->options.idle_timeout_ms = or_default(o->idle_timeout_ms, d->idle_timeout_ms);
        k->options.persist_interval_ms = or_default(o->persist_interval_ms, d->persist_interval_ms);
        k->options.mailbox_max = or_default(o->mailbox_max, d->mailbox_max);
        k->options.max_restarts = or_default(o->max_restarts, d->max_restarts);
        k->options.restart_window_ms = or_default(o->restart_window_ms, d->restart_window_ms);
        k->options.request_window_ms = or_default(o->request_window_ms, d->request_window_ms);
        if (k->options.max_restarts >= RESTARTS_REMEMBERED)
            k->options.max_restarts = RESTARTS_REMEMBERED - 1;
        if (k->options.mailbox_max > UINT16_MAX)
            k->options.mailbox_max = UINT16_MAX;
        list_init(&k->dirty);
    }
    if (kinds__init(rt))
        return 0;
    snprintf(errmsg, STORE_ERRMSG_BYTES, "the names of the kinds have more than %d bytes in all",
             STORE_KINDS_BYTES_MAX - 64);
    return TROUPE_EINVAL;
}

static int init_config(struct runtime *rt, const struct runtime_config *config, char *errmsg)
{
    rt->config = *config;
    fill_defaults(&rt->config);
    int rc = check_config(&rt->config, errmsg);
    if (rc != 0)
        return rc;
    rt->config.name = keep(rt, config->name);
    rt->config.cluster = keep(rt, config->cluster == NULL ? "troupe" : config->cluster);
    rt->config.address = keep(rt, config->address == NULL ? "" : config->address);
    rt->config.proof = keep(rt, config->proof == NULL ? "" : config->proof);
    rt->config.version = keep(rt, config->version == NULL ? "" : config->version);
    rt->config.gossip_address =
        keep(rt, config->gossip_address == NULL ? "" : config->gossip_address);
    rt->config.peer_address = keep(rt, config->peer_address == NULL ? "" : config->peer_address);
    rt->config.zone = keep(rt, config->zone == NULL ? "" : config->zone);
    rt->config.store_url = keep(rt, config->store_url == NULL ? "" : config->store_url);
    if (rt->config.store_url == NULL)
        return TROUPE_ENOMEM;
    rt->random = config->seed;
    rt->partition_bits = (unsigned)name_partition_bits(rt->config.partitions);
    rt->partitions = arena_calloc(&rt->arena, rt->config.partitions, sizeof *rt->partitions);
    return rt->partitions == NULL ? TROUPE_ENOMEM : init_kinds(rt, config, errmsg);
}

int runtime_open(struct runtime **out, const struct runtime_config *config,
                 char errmsg[STORE_ERRMSG_BYTES])
{
    snprintf(errmsg, STORE_ERRMSG_BYTES, "out of memory");
    struct runtime *rt = calloc(1, sizeof *rt);
    if (rt == NULL)
        return TROUPE_ENOMEM;
    arena_init(&rt->arena, 64 << 10, 0);
    arena_init(&rt->scratch, 64 << 10, 64 << 20);
    arena_init(&rt->log.arena, 0, 1 << 20);
    intake__init(rt);
    node_kind__init(rt);
    list_init(&rt->run);
    list_init(&rt->parked);
    list_init(&rt->unparked);
    list_init(&rt->forwarding);
    rt->unpark_ns = UINT64_MAX;
    rt->peers_tail = &rt->peers;
    list_init(&rt->load_queue);
    list_init(&rt->due_queue);
    list_init(&rt->durable_queue);
    list_init(&rt->stop_queue);
    rt->replies_tail = &rt->replies;
    rt->store_tail = &rt->store;
    int rc = init_config(rt, config, errmsg);
    if (rc == 0)
        rc = lifecycle__init(rt);
    if (rc == 0)
        rc = members__init(rt);
    if (rc == 0)
        rc = owners__init(rt);
    if (rc == 0)
        rc = handoff__init(rt);
    if (rc == 0)
        rc = warm__init(rt);
    if (rc == 0)
        rc = load__init(rt);
    if (rc == 0)
        rc = save__init(rt);
    if (rc != 0) {
        runtime_close(rt);
        return rc;
    }
    errmsg[0] = '\0';
    *out = rt;
    return 0;
}

static void free_letters(struct list *l)
{
    struct list *node;
    while ((node = list_pop(l)) != NULL) {
        struct message *m = LIST_ENTRY(node, struct message, link);
        if (m->type != MESSAGE_REQUEST)
            free(letter__of(m));
    }
}

void runtime_close(struct runtime *rt)
{
    if (rt == NULL)
        return;
    save__close(rt); /* while the entities that are in tables are still there to be looked at */
    load__close(rt);
    warm__close(rt);
    kinds__close(rt);
    for (uint32_t pid = 0; rt->partitions != NULL && pid < rt->config.partitions; pid++) {
        struct table *t = &rt->partitions[pid];
        for (uint32_t i = table_slots(t); i-- > 0;) {
            struct entity *e = t->slots != NULL && i <= t->mask ? t->slots[i] : NULL;
            if (e == NULL)
                continue;
            free_letters(&e->mailbox);
            free_letters(&e->gate);
            entity__free(rt, e);
        }
        table_close(t);
    }
    free_letters(&rt->run);
    free_letters(&rt->parked);
    free_letters(&rt->unparked);
    lifecycle__close(rt);
    node_kind__close(rt);
    arena_close(&rt->log.arena);
    peer__close(rt);
    forward__close(rt);
    handoff__close(rt);
    members__close(rt);
    owners__close(rt);
    arena_close(&rt->scratch);
    arena_close(&rt->arena);
    free(rt);
}

/* ---- step ---- */

static void fire_timers(struct runtime *rt)
{
    struct timer *t;
    while ((t = wheel_expire(&rt->wheel, rt->now.mono_ns)) != NULL) {
        if (t->type == TIMER_REQUEST) {
            request__expire(rt, LIST_ENTRY(t, struct request_deadline, timer)->request);
        } else if (t->type == TIMER_OUTCALL) {
            ctx__outcall_expired(rt, LIST_ENTRY(t, struct outcall, timer));
        } else {
            INVARIANT(t->type == TIMER_ENTITY);
            entity__wake(rt, LIST_ENTRY(t, struct entity, wake));
        }
    }
}

static void count_rate(struct runtime *rt)
{
    uint64_t second = rt->now.mono_ns / NS_PER_S;
    if (second == rt->rate_s)
        return;
    rt->rate_last = second == rt->rate_s + 1 ? rt->calls_n - rt->rate_calls : 0;
    rt->rate_s = second;
    rt->rate_calls = rt->calls_n;
}

static void store_done(struct runtime *rt, struct store_request *request)
{
    INVARIANT(rt->store_out > 0);
    rt->store_out--;
    store_server__answered(rt, request);
    store_health__answered(rt, request);
    bool known = save__done(rt, request) || load__done(rt, request) ||
                 lifecycle__done(rt, request) || handoff__commit_done(rt, request) ||
                 warm__done(rt, request);
    INVARIANT(known);
}

static void set_time(struct runtime *rt, struct runtime_time now)
{
    if (now.mono_ns <
        rt->now.mono_ns) /* two threads may read the clock in one order and step in the other */
        now.mono_ns = rt->now.mono_ns;
    if (rt->opened_ns == 0) {
        rt->opened_ns = now.mono_ns;
        rt->rate_s = now.mono_ns / NS_PER_S;
        wheel_init(&rt->wheel, now.mono_ns);
    }
    rt->now = now;
}

void runtime_step(struct runtime *rt, struct runtime_time now, const struct runtime_event *event)
{
    set_time(rt, now);
    if (rt->log.stale)
        log__reset(rt);
    count_rate(rt);
    lifecycle__tick(rt);
    fire_timers(rt);
    switch (event->type) {
    case RUNTIME_WAKE:
        break;
    case RUNTIME_REQUEST:
        request__accept(rt, event->u.request);
        break;
    case RUNTIME_STORE_DONE:
        store_done(rt, event->u.store);
        break;
    case RUNTIME_STOP:
        lifecycle__stop(rt);
        break;
    case RUNTIME_FRAME:
        members__frame(rt, event->u.frame);
        break;
    case RUNTIME_CONTACT:
        members__contact(rt, event->u.address);
        break;
    case RUNTIME_EVIDENCE:
        members__evidence(rt, event->u.address);
        break;
    case RUNTIME_PEER_DONE:
        peer__done(rt, event->u.peer);
        break;
    }
    if (rt->now.mono_ns >= rt->unpark_ns)
        deliver__unpark(rt);
    else
        deliver__unpark_on(rt);
    if (list_is_empty(&rt->unparked)) {
        intake__go_on(rt);
        deliver__run(rt);
    }
    entity__reap(rt);
}

/* ---- collect ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_wake_ns(struct runtime *rt)
{
    if (!list_is_empty(&rt->run) || !list_is_empty(&rt->unparked) || !intake__is_empty(rt))
        return rt->now.mono_ns;
    uint64_t next = wheel_next_ns(&rt->wheel);
    next = earlier(next, lifecycle__next_ns(rt));
    next = earlier(next, handoff__next_ns(rt));
    next = earlier(next, warm__next_ns(rt));
    next = earlier(next, store_doubt__next_ns(rt));
    if (!list_is_empty(&rt->parked))
        next = earlier(next, rt->unpark_ns);
    if (!list_is_empty(&rt->load_queue) && rt->load_retry_ns > rt->now.mono_ns)
        next = earlier(next, rt->load_retry_ns);
    return earlier(next, save__next_ns(rt));
}

void runtime_collect(struct runtime *rt, struct runtime_time now, struct runtime_effects *effects)
{
    set_time(rt, now);
    /* The handlers have run: is the lease still good now? */
    if (rt->phase == RUNTIME_SERVING &&
        !lease_is_valid(&rt->lease, rt->now.mono_ns, rt->now.wall_ms))
        lifecycle__suspend(rt, "the lease ran out before it could be renewed, or the clock jumped");
    evict__flush(rt);
    save__tick(rt);
    save__flush(rt);
    load__flush(rt);
    warm__tick(rt); /* behind the loads that calls wait for */
    load__flush(rt);
    lifecycle__tick(rt);
    members__tick(rt);
    handoff__tick(rt);
    forward__flush(rt);
    store_doubt__tick(rt);
    store_health__tick(rt);
    rt->served = rt->served ||
                 (rt->phase == RUNTIME_SERVING && waits__unreachable(rt) < rt->config.partitions);
    *effects = (struct runtime_effects){
        .replies = request__take_replies(rt),
        .store = rt->store,
        .frames = members__take_frames(rt),
        .peers = peer__take_requests(rt),
        .logs = rt->log.entries,
        .logs_n = rt->log.n,
        .redial = store_doubt__take_redial(rt),
        .wake_at_ns = next_wake_ns(rt),
        .phase = rt->phase,
        .serves = rt->served,
        .failure_code = rt->failure_code,
        .failure = rt->failure,
    };
    rt->store = NULL;
    rt->store_tail = &rt->store;
    rt->log.stale = true;
    INVARIANT(rt->phase != RUNTIME_STOPPED || rt->store_out == 0);
}

void runtime_stats(const struct runtime *rt, struct runtime_time now, struct runtime_stats *stats)
{
    uint64_t renewed = rt->lease.renewed_ns;
    *stats = (struct runtime_stats){
        .phase = rt->phase,
        .generation = rt->generation,
        .partitions = rt->config.partitions,
        .partitions_owned = ownership_held(&rt->ownership),
        .entities_resident = rt->entities_n,
        .entities_dirty = rt->dirty_n,
        .entities_loading = rt->loading_n,
        .entities_quarantined = rt->quarantined_n,
        .memory_bytes = rt->entity_bytes,
        .calls = rt->calls_n,
        .calls_failed = rt->calls_failed_n,
        .calls_per_s = rt->rate_last,
        .calls_gated = rt->gated_n,
        .calls_waiting = rt->waiting_n,
        .crashes = rt->crashes_n,
        .rows_saved = rt->rows_saved_n,
        .rows_loaded = rt->rows_loaded_n,
        .entities_warmed = rt->warmed_n,
        .partitions_to_warm = warm__partitions(rt),
        .saves_in_flight = rt->saves_used,
        .persist_lag_ms = save__lag_ms(rt),
        .commit_us = rt->commit_us,
        .lease_age_ms =
            renewed != 0 && now.mono_ns > renewed ? (now.mono_ns - renewed) / NS_PER_MS : 0,
        .store_ok = store_health__is_well(rt),
        .store_redials = rt->store_doubt.redials_n,
    };
}
