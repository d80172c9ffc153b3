/* Warming: after a failover entities start again when they are used, and the first calls would all
 * wait for loads. So a node that has claimed partitions of which nothing is in memory (their owner
 * died, or an earlier run of this node did) finds out in the store which entities were saved lately
 * and loads them before they are asked for. That an entity was only read leaves no trace: it is
 * not warmed. "Lately" is within the kind's idle_timeout: what has been idle for longer would not
 * have been in memory either.
 *
 * Calls go first, everywhere: one look at the store, or one small batch of loads, is under way at a
 * time; a batch is made only while no load of a call waits for one; after each answer it rests for
 * as long as the answer took; what a look reads adapts to how long looks take. Nothing is evicted
 * for it, and it ends: with the limit of entities, an eighth below the limits of memory, after
 * WARM_MS_MAX, and when the node is suspended or stops.
 *
 * A look comes after the claim's answer, and each entity is in its table before its load is asked
 * for, as with any load: what is found is only a hint, and it cannot be stale. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/runtime/internal.h"

enum {
    WARM_ENTITIES_DEFAULT = 100000,
    WARM_LOADS_MAX = 256, /* entities of one batch */
    WARM_ROWS_MIN = 64,   /* that one look reads */
    WARM_ROWS_BEGIN = 256,
    WARM_ROWS_MAX = 2048,
    WARM_LOOK_MS_SHORT = 3, /* a look that took less may read more … */
    WARM_LOOK_MS_LONG = 10, /* … and after one that took more, the next reads less */
    WARM_REST_MS_MIN = 1,
    WARM_REST_MS_MAX = 500,
    WARM_MS_MAX = 120000,  /* what nobody has asked for by then was not that urgent */
    WARM_FAILURES_MAX = 8, /* of looks, in a row */
};

_Static_assert((int)WARM_ROWS_MAX <= (int)STORE_RECENT_MAX &&
                   (int)WARM_PIDS_MAX <= (int)STORE_RECENT_MAX,
               "a look fits the store's limits");

int warm__init(struct runtime *rt)
{
    struct warm *w = &rt->warm;
    arena_init(&w->look.arena, 0, 0);
    if (rt->config.warm_entities_max == 0)
        rt->config.warm_entities_max = WARM_ENTITIES_DEFAULT;
    w->rows_max = WARM_ROWS_BEGIN;
    w->wanted = arena_calloc(&rt->arena, rt->config.partitions, sizeof *w->wanted);
    return w->wanted == NULL ? TROUPE_ENOMEM : 0;
}

void warm__close(struct runtime *rt)
{
    arena_close(&rt->warm.look.arena);
}

/* ---- beginning and ending ---- */

static const char *number(char buf[24], uint64_t value)
{
    snprintf(buf, 24, "%" PRIu64, value);
    return buf;
}

void warm__want(struct runtime *rt, uint32_t pid)
{
    struct warm *w = &rt->warm;
    if (rt->config.warm_off || w->wanted[pid])
        return;
    w->wanted[pid] = true;
    w->wanted_n++;
}

static bool has_work(const struct warm *w)
{
    return w->wanted_n > 0 || w->pids_n > 0 || w->found_at < w->found_n;
}

uint32_t warm__partitions(const struct runtime *rt)
{
    const struct warm *w = &rt->warm;
    uint32_t n = w->wanted_n + w->pids_n;
    return n == 0 && w->active ? 1 : n; /* what was found in the last ones is not loaded yet */
}

static void begin(struct runtime *rt)
{
    struct warm *w = &rt->warm;
    char partitions[24];
    w->active = true;
    w->begun_ns = rt->now.mono_ns;
    w->entities_n = 0;
    w->look.failures = 0;
    w->look.retry_ns = w->next_ns = 0;
    log__add(rt, RUNTIME_INFO, "warming: loading what was in use lately", "partitions",
             number(partitions, w->wanted_n), NULL);
}

/* What is on its way then comes to an end by itself: loads are loads, and a look finds nobody. */
static void end(struct runtime *rt, const char *why)
{
    struct warm *w = &rt->warm;
    char entities[24], left[24], ms[24];
    if (w->active)
        log__add(rt, RUNTIME_INFO, "warming has ended", "why", why, "entities",
                 number(entities, w->entities_n), "partitions_left",
                 number(left, w->wanted_n + w->pids_n), "ms",
                 number(ms, (rt->now.mono_ns - w->begun_ns) / NS_PER_MS), NULL);
    w->active = false;
    memset(w->wanted, 0, rt->config.partitions * sizeof *w->wanted);
    w->wanted_n = w->cursor = w->pids_n = 0;
    w->found_n = w->found_at = 0;
}

static void rest(struct runtime *rt, uint64_t took_ns)
{
    uint64_t least = WARM_REST_MS_MIN * NS_PER_MS, most = WARM_REST_MS_MAX * NS_PER_MS;
    took_ns = took_ns < least ? least : took_ns > most ? most : took_ns;
    rt->warm.next_ns = rt->now.mono_ns + took_ns;
}

/* ---- looking ---- */

static uint64_t idle_ms_max(const struct runtime *rt)
{
    uint64_t most = 0;
    for (size_t i = 0; i < rt->kinds_n; i++) {
        uint64_t ms = rt->kinds[i].options.idle_timeout_ms;
        most = ms > most ? ms : most;
    }
    return most;
}

/* The partitions of the next look: what is left of the last one's, or the next that are wanted.
 * Those that are not ours any more are forgotten. */
static void choose(struct runtime *rt)
{
    struct warm *w = &rt->warm;
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->pids_n; i++) {
        if (ownership_is_owned(&rt->ownership, w->pids[i]))
            w->pids[n++] = w->pids[i];
        else if (i == 0)
            w->after = (struct store_key){0};
    }
    w->pids_n = n;
    for (; n == 0 && w->wanted_n > 0; w->cursor = (w->cursor + 1) % rt->config.partitions) {
        if (w->cursor == 0 && w->pids_n > 0) /* they must ascend */
            break;
        if (!w->wanted[w->cursor])
            continue;
        w->wanted[w->cursor] = false;
        w->wanted_n--;
        if (ownership_is_owned(&rt->ownership, w->cursor))
            w->pids[w->pids_n++] = w->cursor;
        if (w->pids_n == WARM_PIDS_MAX)
            break;
    }
}

static void look(struct runtime *rt)
{
    struct warm *w = &rt->warm;
    choose(rt);
    if (w->pids_n == 0)
        return;
    w->found_n = w->found_at = 0; /* they lie in the arena */
    arena_reset(&w->look.arena);
    w->look.request.u.recent = (struct store_recent){
        .pids = w->pids,
        .pids_n = w->pids_n,
        .after = w->after,
        .within_ms = idle_ms_max(rt),
        .rows_max = w->rows_max,
    };
    lifecycle__submit(rt, &w->look, STORE_RECENT);
}

/* The key lies in the arena that the next look is answered in. */
static void keep_after(struct warm *w, const struct store_key *last)
{
    INVARIANT(last->kind.len <= NAME_KIND_BYTES_MAX && last->id.len <= NAME_ID_BYTES_MAX);
    memcpy(w->after_bytes, last->kind.data, last->kind.len);
    memcpy(w->after_bytes + last->kind.len, last->id.data, last->id.len);
    w->after = (struct store_key){
        .pid = last->pid,
        .kind = troupe_bytes(w->after_bytes, last->kind.len),
        .id = troupe_bytes(w->after_bytes + last->kind.len, last->id.len),
    };
}

static void go_on_behind(struct warm *w, const struct store_recent *recent)
{
    uint32_t done = 0;
    const char *why;
    bool good = recent->more && name_check_kind(recent->last.kind, &why) == 0 &&
                name_check_id(recent->last.id, &why) == 0;
    while (done < w->pids_n && !(good && w->pids[done] == recent->last.pid))
        done++;
    w->pids_n -= done;
    memmove(w->pids, w->pids + done, w->pids_n * sizeof w->pids[0]);
    w->after = (struct store_key){0};
    if (w->pids_n > 0)
        keep_after(w, &recent->last);
}

static void adapt(struct warm *w, uint64_t took_ns)
{
    if (took_ns > WARM_LOOK_MS_LONG * NS_PER_MS && w->rows_max > WARM_ROWS_MIN)
        w->rows_max /= 2;
    else if (took_ns < WARM_LOOK_MS_SHORT * NS_PER_MS && w->rows_max < WARM_ROWS_MAX)
        w->rows_max *= 2;
}

static void looked(struct runtime *rt)
{
    struct warm *w = &rt->warm;
    const struct store_request *request = &w->look.request;
    uint64_t took_ns = rt->now.mono_ns - w->look.sent_ns;
    w->look.out = false;
    if (!w->active)
        return;
    if (request->error != 0) {
        bool may_pass = request->error == TROUPE_EUNAVAILABLE || request->error == TROUPE_EOUTCOME;
        lifecycle__slot_failed(rt, &w->look);
        w->rows_max = w->rows_max > WARM_ROWS_MIN ? w->rows_max / 2 : w->rows_max;
        if (!may_pass || w->look.failures > WARM_FAILURES_MAX)
            end(rt, request->errmsg);
        return;
    }
    lifecycle__slot_worked(&w->look);
    adapt(w, took_ns);
    rest(rt, took_ns);
    w->found = request->u.recent.saved;
    w->found_n = request->u.recent.saved_n;
    w->found_at = 0;
    go_on_behind(w, &request->u.recent);
}

/* ---- loading ---- */

/* Whether there is no room for n more that nobody has asked for: what calls ask for must find some
 * without anything being evicted. */
static bool is_near_limit(const struct runtime *rt, uint64_t n)
{
    const struct runtime_config *c = &rt->config;
    uint64_t each = rt->entities_n == 0 ? 0 : rt->entity_bytes / rt->entities_n;
    return (c->entities_max != 0 && rt->entities_n + n > c->entities_max - c->entities_max / 8) ||
           (c->memory_bytes_max != 0 &&
            rt->entity_bytes + n * each > c->memory_bytes_max - c->memory_bytes_max / 8);
}

/* Makes the entity, loading, unless it is there already or is not one to be warmed. False: there is
 * no memory. */
static bool warm_one(struct runtime *rt, const struct store_saved *saved)
{
    const struct store_key *key = &saved->key;
    const struct kind *k = deliver__kind(rt, key->kind);
    const char *why;
    if (k == NULL || (rt->kinds_open.known && !k->open) || name_check_id(key->id, &why) != 0 ||
        saved->age_ms > k->options.idle_timeout_ms)
        return true;
    uint64_t hash = name_hash(key->kind, key->id), age_ns = saved->age_ms * NS_PER_MS;
    uint32_t pid = name_partition(hash, rt->partition_bits);
    uint8_t kind = (uint8_t)(k - rt->kinds);
    if (pid != key->pid || !ownership_is_owned(&rt->ownership, pid) ||
        table_find(&rt->partitions[pid], hash, kind, key->id) != NULL)
        return true;
    struct entity *e = entity__new(rt, kind, hash, key->id);
    if (e == NULL)
        return false;
    e->used_ns = rt->now.mono_ns > age_ns ? rt->now.mono_ns - age_ns : 0;
    e->warm = true;
    rt->warm.loading_n++;
    rt->warm.entities_n++;
    return true;
}

static void load(struct runtime *rt)
{
    struct warm *w = &rt->warm;
    uint32_t max =
        rt->config.load_keys_max < WARM_LOADS_MAX ? rt->config.load_keys_max : WARM_LOADS_MAX;
    w->loads_ns = rt->now.mono_ns;
    w->loading_at = w->found_at;
    w->load_failed = false;
    while (w->found_at < w->found_n && w->loading_n < max) {
        if (w->entities_n >= rt->config.warm_entities_max)
            end(rt, "warm-entities is reached");
        else if (is_near_limit(rt, w->loading_n + 1))
            end(rt, "entities-max or memory-max is near");
        else if (!warm_one(rt, &w->found[w->found_at++]))
            end(rt, "out of memory");
    }
}

bool warm__loaded(struct runtime *rt, struct entity *e, const struct store_row *row)
{
    struct warm *w = &rt->warm;
    INVARIANT(e->warm && w->loading_n > 0);
    if (--w->loading_n == 0) {
        rest(rt, rt->now.mono_ns - w->loads_ns);
        if (w->load_failed && w->found_n > 0)
            w->found_at = w->loading_at;
    }
    if (row != NULL && !row->deleted && e->phase != ENTITY_DROPPED)
        return true;
    e->warm = false; /* deleted meanwhile, or not to be known: not for nobody */
    return false;
}

void warm__load_failed(struct runtime *rt, struct entity *e)
{
    rt->warm.load_failed = true;
    rt->warm.entities_n--;
    warm__loaded(rt, e, NULL);
}

/* ---- driving ---- */

static bool may_load(const struct runtime *rt)
{
    return rt->warm.found_at < rt->warm.found_n && rt->warm.loading_n == 0;
}

static bool may_look(const struct runtime *rt)
{
    const struct warm *w = &rt->warm;
    return w->found_at == w->found_n && w->loading_n == 0 && (w->wanted_n > 0 || w->pids_n > 0) &&
           lifecycle__is_free(rt, &w->look);
}

void warm__tick(struct runtime *rt)
{
    struct warm *w = &rt->warm;
    if (rt->phase == RUNTIME_STARTING && !w->active)
        return;
    if (rt->phase != RUNTIME_SERVING || rt->draining || rt->drain_asked) {
        if (has_work(w) || w->active)
            end(rt, "the node does not serve, or not for long");
        return;
    }
    if (!w->active && has_work(w))
        begin(rt);
    if (!w->active || rt->now.mono_ns < w->next_ns)
        return;
    if (rt->now.mono_ns - w->begun_ns >= WARM_MS_MAX * NS_PER_MS)
        end(rt, "it took too long");
    else if (may_load(rt) && load__has_room(rt))
        load(rt);
    else if (may_look(rt) && load__has_room(rt))
        look(rt);
    if (w->active && !has_work(w) && !w->look.out && w->loading_n == 0)
        end(rt, "done");
}

uint64_t warm__next_ns(const struct runtime *rt)
{
    const struct warm *w = &rt->warm;
    if (rt->phase != RUNTIME_SERVING || (!w->active && !has_work(w)) || w->look.out ||
        w->loading_n > 0)
        return UINT64_MAX;
    if (!w->active)
        return rt->now.mono_ns;
    uint64_t next = w->next_ns > w->look.retry_ns ? w->next_ns : w->look.retry_ns;
    if (next > rt->now.mono_ns)
        return next;
    if (!load__has_room(rt)) /* an answer makes some, or time does */
        return rt->load_retry_ns > rt->now.mono_ns ? rt->load_retry_ns : UINT64_MAX;
    return rt->now.mono_ns + WARM_REST_MS_MIN * NS_PER_MS;
}

bool warm__is_out(const struct runtime *rt)
{
    return rt->warm.look.out;
}

bool warm__done(struct runtime *rt, struct store_request *request)
{
    if (request != &rt->warm.look.request)
        return false;
    looked(rt);
    return true;
}
