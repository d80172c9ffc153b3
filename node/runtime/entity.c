/* The life of an entity: made on first use, loaded, active, stopped when idle or asked to, started
 * again when it crashes, quarantined when it crashes too often, dropped when its partition is lost.
 *
 *   LOADING ──row──▶ ACTIVE ──idle, clean──▶ gone
 *      ▲               │ │──STOP, DELETE──▶ STOPPING ──persisted──▶ gone, or LOADING if messages
 * wait │             crash └── CRASHED ◀───┘ └──too often──▶ QUARANTINED ──time over, next call──▶
 * LOADING
 *
 * An entity is freed only when nothing refers to it: not in a load, not in a save.
 *
 * What a partition's loss means for callbacks (entity__may_run): handlers run only while it is
 * ours. `start` runs for a row that was read under the epoch at which it is ours now, or for a
 * partition that is being handed to us, where it may send nothing and nothing follows until it is
 * ours. `save` runs while the store has the partition as ours, whatever the lease says: the store
 * checks the epoch. `stop` may run at any time: it ends what is in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum { NEWER_TOLD_S = 60 }; /* of each kind, that long at least between two lines in the log */

/* ---- making and freeing ---- */

struct entity *entity__new(struct runtime *rt, uint8_t kind, uint64_t hash, struct troupe_bytes id)
{
    INVARIANT(id.len > 0 && id.len <= NAME_ID_BYTES_MAX);
    struct entity *e = malloc(sizeof *e + id.len);
    if (e == NULL)
        return NULL;
    memset(e, 0, sizeof *e);
    e->hash = hash;
    e->wake.type = TIMER_ENTITY;
    list_init(&e->mailbox);
    list_init(&e->gate);
    list_init(&e->ready);
    e->used_ns = rt->now.mono_ns;
    e->kind = kind;
    e->id_len = (uint8_t)id.len;
    memcpy(e->id, id.data, id.len);
    if (table_insert(&rt->partitions[name_partition(hash, rt->partition_bits)], e) != 0) {
        free(e);
        return NULL;
    }
    rt->entities_n++;
    rt->entity_bytes += sizeof *e + id.len;
    e->phase = ENTITY_STOPPING; /* anything but LOADING: entity__load counts */
    entity__load(rt, e);
    return e;
}

struct entity_extra *entity__extra(struct entity *e)
{
    if (e->extra == NULL) {
        e->extra = calloc(1, sizeof *e->extra);
        if (e->extra != NULL)
            list_init(&e->extra->outcalls);
    }
    return e->extra;
}

void entity__set_bytes(struct runtime *rt, struct entity *e, size_t bytes)
{
    uint32_t capped = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
    INVARIANT(rt->entity_bytes >= e->bytes);
    rt->entity_bytes += capped - (uint64_t)e->bytes;
    e->bytes = capped;
}

/* Calls the kind's stop. */
static void end_state(struct runtime *rt, struct entity *e, enum troupe_stop_reason reason)
{
    if (e->state == NULL)
        return;
    struct troupe_ctx ctx;
    handler__ctx_init(&ctx, rt, e, NULL);
    ctx.callable = false;
    ctx.kind->def->stop(&ctx, e->state, reason);
    handler__ctx_close(&ctx);
    e->state = NULL;
}

/* What it has in memory is gone: as if it had never been loaded. */
static void forget_state(struct runtime *rt, struct entity *e, enum troupe_stop_reason reason)
{
    end_state(rt, e, reason);
    if (!entity__is_clean(e)) {
        INVARIANT(rt->dirty_n > 0);
        rt->dirty_n--;
    }
    save__not_again(rt, e);
    e->version = e->saved = e->durable = 0;
    e->dirty_ns = 0;
    e->tombstone = e->stop_idle = e->unsure = false;
    dedup_free(e->dedup);
    e->dedup = NULL;
    entity__set_bytes(rt, e, 0);
    ctx__forget(rt, e);
    wheel_cancel(&rt->wheel, &e->wake);
    list_remove(&e->ready);
}

static void set_phase(struct runtime *rt, struct entity *e, enum entity_phase phase)
{
    rt->loading_n -= e->phase == ENTITY_LOADING;
    rt->quarantined_n -= e->phase == ENTITY_QUARANTINED;
    e->phase = (uint8_t)phase;
    rt->loading_n += e->phase == ENTITY_LOADING;
    rt->quarantined_n += e->phase == ENTITY_QUARANTINED;
}

void entity__free(struct runtime *rt, struct entity *e)
{
    INVARIANT(list_is_empty(&e->mailbox) && list_is_empty(&e->gate));
    forget_state(rt, e, TROUPE_STOP_SHUTDOWN);
    if (e->extra != NULL)
        free(e->extra->timers);
    free(e->extra);
    rt->entity_bytes -= sizeof *e + e->id_len;
    rt->entities_n--;
    free(e);
}

static void remove_and_free(struct runtime *rt, struct entity *e)
{
    INVARIANT(!e->loading && e->saving == 0);
    table_remove(&rt->partitions[name_partition(e->hash, rt->partition_bits)], e);
    set_phase(rt, e, ENTITY_DROPPED);
    entity__free(rt, e);
}

bool entity__is_clean(const struct entity *e)
{
    return e->version == e->saved;
}

const char *entity__name(struct runtime *rt, const struct entity *e)
{
    snprintf(rt->name, sizeof rt->name, "%s/%.*s", rt->kinds[e->kind].def->name, (int)e->id_len,
             (const char *)e->id);
    return rt->name;
}

/* ---- starting ---- */

void entity__load(struct runtime *rt, struct entity *e)
{
    INVARIANT(e->saving == 0 && !e->loading);
    set_phase(rt, e, ENTITY_LOADING);
    list_remove(&e->ready);
    list_push(&rt->load_queue, &e->ready);
}

void entity__enqueue(struct runtime *rt, struct entity *e, struct message *m)
{
    const struct kind *k = &rt->kinds[e->kind];
    if (e->phase == ENTITY_QUARANTINED) {
        uint64_t until = e->extra->quarantined_until_ns;
        if (rt->now.mono_ns < until) {
            message__refuse(rt, m, TROUPE_UNAVAILABLE,
                            "%s crashed too often (last: %s): it is left alone for another %llu ms",
                            entity__name(rt, e), e->extra->crash_text,
                            (unsigned long long)((until - rt->now.mono_ns) / NS_PER_MS + 1));
            return;
        }
        entity__load(rt, e);
    }
    if (e->mailbox_n >= k->options.mailbox_max) {
        message__refuse(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                        "%u calls are waiting for %s already: retry later", e->mailbox_n,
                        entity__name(rt, e));
        return;
    }
    if (rt->waiting_n >= rt->config.calls_waiting_max) {
        message__refuse(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                        "%llu calls are waiting already: retry later",
                        (unsigned long long)rt->waiting_n);
        return;
    }
    list_push(&e->mailbox, &m->link);
    e->mailbox_n++;
    m->mailbox = e;
    m->waiting = true;
    rt->waiting_n++;
}

/* The first message of the mailbox, taken out; NULL when there is none. */
static struct message *mailbox_pop(struct runtime *rt, struct entity *e)
{
    if (list_is_empty(&e->mailbox)) {
        INVARIANT(e->mailbox_n == 0);
        return NULL;
    }
    struct message *m = LIST_ENTRY(e->mailbox.next, struct message, link);
    message__unlink(rt, m);
    return m;
}

/* Everything in the mailbox goes back to the run queue, to find its entity anew. */
static void mailbox_return(struct runtime *rt, struct entity *e)
{
    struct message *m;
    while ((m = mailbox_pop(rt, e)) != NULL)
        list_push(&rt->run, &m->link);
}

static void drain(struct runtime *rt, struct entity *e)
{
    struct message *m;
    while (e->phase == ENTITY_ACTIVE && (m = mailbox_pop(rt, e)) != NULL)
        handler__run(rt, e, m);
}

static void set_active(struct runtime *rt, struct entity *e, size_t row_bytes)
{
    const struct troupe_kind *def = rt->kinds[e->kind].def;
    set_phase(rt, e, ENTITY_ACTIVE);
    e->used_ns = rt->now.mono_ns;
    size_t state_bytes = def->memory != NULL ? def->memory(e->state) : row_bytes;
    entity__set_bytes(rt, e, state_bytes + dedup_memory(e->dedup));
    entity__rearm(rt, e);
}

/* Its row is not this node's to read, and with nothing in memory there is nothing that could be
 * written over it. It is looked at again with the next call. */
static void refuse_newer(struct runtime *rt, struct entity *e, uint32_t version)
{
    struct kind *k = &rt->kinds[e->kind];
    struct message *m;
    char theirs[24], ours[24];
    snprintf(theirs, sizeof theirs, "%u", version);
    snprintf(ours, sizeof ours, "%u", k->def->state_version);
    if (k->newer_told_ns == 0 || rt->now.mono_ns - k->newer_told_ns >= NEWER_TOLD_S * NS_PER_S) {
        k->newer_told_ns = rt->now.mono_ns;
        log__add(rt, RUNTIME_ERROR,
                 "an entity was saved by a newer version of its kind: it is neither read nor "
                 "overwritten here. Upgrade this node's plug-in",
                 "entity", entity__name(rt, e), "state_version", theirs, "this_node", ours, NULL);
    }
    while ((m = mailbox_pop(rt, e)) != NULL)
        message__refuse(rt, m, TROUPE_UNAVAILABLE,
                        "%s was saved in state version %s, and node %s knows kind %s up to version "
                        "%s: it is neither read nor overwritten here. Upgrade the node's plug-in",
                        entity__name(rt, e), theirs, rt->config.name, k->def->name, ours);
    remove_and_free(rt, e);
}

void entity__start(struct runtime *rt, struct entity *e, const struct store_row *row)
{
    INVARIANT(e->phase == ENTITY_LOADING && e->state == NULL);
    INVARIANT(entity__may_run(rt, entity__pid(rt, e)));
    struct troupe_ctx ctx;
    bool is_new = row == NULL || row->deleted, warm = e->warm;
    uint64_t used_ns = e->used_ns;
    e->warm = false;
    struct troupe_bytes saved = is_new ? troupe_bytes(NULL, 0) : row->state;
    e->version = e->saved = row == NULL ? 0 : row->version;
    handler__ctx_init(&ctx, rt, e, NULL);
    uint32_t version = 0;
    struct troupe_bytes window = troupe_bytes(NULL, 0);
    int rc = row == NULL ? 0 : state_version__unseal(row->dedup, &version, &window);
    if (rc == 0 && !is_new && version > ctx.kind->def->state_version) {
        handler__ctx_close(&ctx);
        refuse_newer(rt, e, version);
        return;
    }
    struct dedup_time time = dedup_time(rt, e);
    if (is_new && time.window_ms < DEDUP_TOMBSTONE_MS)
        time.window_ms = DEDUP_TOMBSTONE_MS;
    if (rc == 0)
        rc = row == NULL ? 0 : dedup_parse(&e->dedup, window, &time);
    if (rc != 0) {
        snprintf(ctx.crash, sizeof ctx.crash,
                 "its window of request ids in the store is malformed");
    } else if (!is_new) {
        rc = state_version__upgrade(&ctx, version, &saved);
    }
    if (rc == 0) {
        rc = ctx.kind->def->start(&ctx, saved, is_new, &e->state);
        if (rc != 0 && ctx.crash[0] == '\0')
            snprintf(ctx.crash, sizeof ctx.crash, "start refuses its saved state (%d)", rc);
    }
    if (rc == 0) {
        set_active(rt, e, saved.len);
        if (warm) { /* nobody has used it now */
            rt->warmed_n++;
            e->used_ns = used_ns;
            entity__rearm(rt, e);
        }
        while (!list_is_empty(&ctx.letters))
            list_push(&rt->run, list_pop(&ctx.letters));
        handler__ctx_close(&ctx);
        drain(rt, e);
        return;
    }
    char why[sizeof ctx.crash];
    memcpy(why, ctx.crash, sizeof why);
    handler__ctx_close(&ctx);
    e->state = NULL;                      /* start frees what it made when it fails */
    if (!warm || !entity__abandon(rt, e)) /* nobody has asked for it: its first call will tell */
        entity__crash(rt, e, why);
}

bool entity__build(struct runtime *rt, uint8_t kind, uint64_t hash,
                   const Troupe__Peer__Entity *from, uint64_t used_ns, uint64_t dirty_ns,
                   bool failed_over)
{
    struct troupe_bytes id = troupe_bytes(from->id.data, from->id.len);
    struct entity *e = evict__is_full(rt) ? NULL : entity__new(rt, kind, hash, id);
    if (e == NULL)
        return false;
    INVARIANT(!ownership_is_held(&rt->ownership, entity__pid(rt, e)));
    list_remove(&e->ready); /* not to be loaded */
    struct troupe_ctx ctx;
    struct troupe_bytes saved = troupe_bytes(from->state.data, from->state.len);
    e->version = from->version;
    e->saved = e->durable = from->saved;
    e->used_ns = used_ns;
    e->dirty_ns = dirty_ns;
    if (e->version > 0 && save__may_be_lost(rt, dirty_ns, failed_over)) {
        e->saved -= entity__is_clean(e); /* its giver does not know of the failover yet */
        e->durable = e->version;
    }
    rt->dirty_n += !entity__is_clean(e);
    handler__ctx_init(&ctx, rt, e, NULL);
    ctx.callable = false;
    uint32_t version;
    struct dedup_time time = dedup_time(rt, e);
    struct troupe_bytes sealed = troupe_bytes(from->dedup.data, from->dedup.len), window;
    bool good = state_version__unseal(sealed, &version, &window) == 0 &&
                dedup_parse(&e->dedup, window, &time) == 0 &&
                state_version__upgrade(&ctx, version, &saved) == 0 &&
                ctx.kind->def->start(&ctx, saved, false, &e->state) == 0;
    handler__ctx_close(&ctx);
    if (!good) {
        e->state = NULL;
        remove_and_free(rt, e);
        return false;
    }
    set_active(rt, e, saved.len);
    e->used_ns = used_ns;
    return true;
}

/* ---- crashing ---- */

/* How many of the remembered crashes lie within the window. */
static uint32_t recent_crashes(const struct entity_extra *x, uint64_t now_ns, uint64_t window_ns)
{
    uint32_t n = 0, kept = x->crashes < RESTARTS_REMEMBERED ? x->crashes : RESTARTS_REMEMBERED;
    for (uint32_t i = 0; i < kept; i++)
        n += now_ns - x->crash_ns[i] <= window_ns;
    return n;
}

/* Notes the crash; whether the entity may start again at once. */
static bool may_restart(struct runtime *rt, struct entity *e, const char *why)
{
    const struct troupe_kind_options *o = &rt->kinds[e->kind].options;
    struct entity_extra *x = entity__extra(e);
    if (x == NULL)
        return true;
    uint64_t now = rt->now.mono_ns, window = o->restart_window_ms * NS_PER_MS;
    uint32_t last = (x->crashes + RESTARTS_REMEMBERED - 1) % RESTARTS_REMEMBERED;
    if (x->crashes > 0 && now - x->crash_ns[last] > QUARANTINE_MS_MAX * NS_PER_MS * 2)
        x->quarantines = 0;
    x->crash_ns[x->crashes++ % RESTARTS_REMEMBERED] = now;
    snprintf(x->crash_text, sizeof x->crash_text, "%s", why);
    if (recent_crashes(x, now, window) <= o->max_restarts)
        return true;
    uint64_t ms = QUARANTINE_MS_MAX;
    if (x->quarantines < 20 && ((uint64_t)QUARANTINE_MS_MIN << x->quarantines) < ms)
        ms = (uint64_t)QUARANTINE_MS_MIN << x->quarantines;
    x->quarantines++;
    x->quarantine = true;
    x->quarantined_until_ns = now + ms * NS_PER_MS;
    return false;
}

void entity__crash(struct runtime *rt, struct entity *e, const char *why)
{
    rt->crashes_n++;
    bool restart = may_restart(rt, e, why);
    log__add(rt, RUNTIME_WARN,
             restart ? "entity crashed; it starts again on its next call"
                     : "entity crashed too often; quarantined",
             "entity", entity__name(rt, e), "why", why, NULL);
    save__abort_crashed(rt, e);
    forget_state(rt, e, TROUPE_STOP_CRASH);
    set_phase(rt, e, ENTITY_CRASHED);
    if (e->saving == 0)
        entity__crash_settle(rt, e);
}

void entity__crash_settle(struct runtime *rt, struct entity *e)
{
    INVARIANT(e->phase == ENTITY_CRASHED && e->saving == 0);
    struct entity_extra *x = e->extra;
    if (x == NULL || !x->quarantine) {
        entity__load(rt, e);
        return;
    }
    x->quarantine = false;
    set_phase(rt, e, ENTITY_QUARANTINED);
    uint64_t idle_ns = rt->kinds[e->kind].options.idle_timeout_ms * NS_PER_MS;
    wheel_set(&rt->wheel, &e->wake, x->quarantined_until_ns + idle_ns);
    mailbox_return(rt, e);
}

/* ---- stopping ---- */

bool entity__try_stop(struct runtime *rt, struct entity *e, enum troupe_stop_reason reason)
{
    INVARIANT(e->phase == ENTITY_ACTIVE || e->phase == ENTITY_STOPPING);
    if (!entity__is_clean(e) || e->saving != 0 || !list_is_empty(&e->gate))
        return false;
    if (list_is_empty(&e->mailbox)) {
        end_state(rt, e, reason);
        remove_and_free(rt, e);
        return true;
    }
    forget_state(rt, e, reason);
    entity__load(rt, e);
    return false;
}

void entity__stop_soon(struct runtime *rt, struct entity *e)
{
    if (e->phase != ENTITY_ACTIVE)
        return;
    set_phase(rt, e, ENTITY_STOPPING);
    if (entity__is_clean(e))
        list_push(&rt->stop_queue, &e->ready);
    else
        save__want_soon(rt, e);
}

void entity__reap(struct runtime *rt)
{
    struct list *node;
    while ((node = list_pop(&rt->stop_queue)) != NULL)
        entity__try_stop(rt, LIST_ENTRY(node, struct entity, ready), TROUPE_STOP_REQUEST);
}

bool entity__abandon(struct runtime *rt, struct entity *e)
{
    INVARIANT(e->phase == ENTITY_LOADING && !e->loading);
    if (!list_is_empty(&e->mailbox) || e->extra != NULL || e->saving != 0 || e->warm)
        return false;
    remove_and_free(rt, e);
    return true;
}

void entity__end(struct runtime *rt, struct entity *e)
{
    INVARIANT(entity__is_clean(e) && e->saving == 0 && !e->loading);
    end_state(rt, e, TROUPE_STOP_SHUTDOWN);
    list_remove(&e->ready);
    remove_and_free(rt, e);
}

/* ---- losing ---- */

void entity__drop(struct runtime *rt, struct entity *e, bool uncertain)
{
    uncertain |= e->saving != 0 || e->unsure; /* that save may be applied yet, or have been */
    save__abort_gate(
        rt, e, 0, uncertain ? TROUPE_UNKNOWN : TROUPE_ABORTED,
        uncertain ? "this node lost the entity while the commit's outcome was unknown: retry with "
                    "the same request id"
                  : "this node lost the entity before this was persisted: retry with the same "
                    "request id");
    table_remove(&rt->partitions[name_partition(e->hash, rt->partition_bits)], e);
    mailbox_return(rt, e);
    forget_state(rt, e, TROUPE_STOP_MOVED);
    set_phase(rt, e, ENTITY_DROPPED);
    if (!e->loading && e->saving == 0)
        entity__free(rt, e);
}

static void drop_all(struct runtime *rt, uint32_t pid, bool uncertain)
{
    struct table *t = &rt->partitions[pid];
    while (t->count > 0) {
        uint32_t i = 0;
        while (t->slots[i] == NULL)
            i++;
        entity__drop(rt, t->slots[i], uncertain);
    }
}

void entity__drop_partition(struct runtime *rt, uint32_t pid, bool uncertain)
{
    struct ownership_entry *entry = &rt->ownership.entries[pid];
    if (entry->kept != 0 || rt->partitions[pid].count > 0)
        entry->lost = ++rt->losses_n;
    drop_all(rt, pid, uncertain);
}

/* One that is removed may bring another one into a slot that has been looked at: until a whole
 * round finds none. */
void entity__drop_stateless(struct runtime *rt, uint32_t pid)
{
    struct table *t = &rt->partitions[pid];
    bool found = t->count > 0;
    while (found) {
        found = false;
        for (uint32_t i = 0; i < table_slots(t); i++) {
            struct entity *e = t->slots[i];
            bool stateless =
                e != NULL && (e->phase == ENTITY_LOADING || e->phase == ENTITY_QUARANTINED);
            found |= stateless;
            if (stateless)
                entity__drop(rt, e, false);
        }
    }
}

void entity__drop_moved(struct runtime *rt, uint32_t pid)
{
    drop_all(rt, pid, false);
}

/* ---- time ---- */

static uint64_t idle_at(const struct runtime *rt, const struct entity *e)
{
    uint64_t ms = rt->kinds[e->kind].options.idle_timeout_ms;
    if (e->version == 0 && ms > BLANK_IDLE_MS)
        ms = BLANK_IDLE_MS; /* somebody asked for what does not exist */
    return e->used_ns + ms * NS_PER_MS;
}

static bool has_business(const struct entity *e)
{
    const struct entity_extra *x = e->extra;
    return x != NULL && (x->timers_n > 0 || !list_is_empty(&x->outcalls));
}

void entity__rearm(struct runtime *rt, struct entity *e)
{
    uint64_t next = ctx__next_timer_ns(e);
    if (!has_business(e)) {
        uint64_t idle = idle_at(rt, e);
        next = idle < next ? idle : next;
    }
    if (next == UINT64_MAX)
        wheel_cancel(&rt->wheel, &e->wake);
    else
        wheel_set(&rt->wheel, &e->wake, next);
}

void entity__wake(struct runtime *rt, struct entity *e)
{
    if (e->phase == ENTITY_QUARANTINED) {
        if (list_is_empty(&e->mailbox) && e->saving == 0)
            remove_and_free(rt, e);
        return;
    }
    if (e->phase != ENTITY_ACTIVE)
        return;
    uint32_t pid = entity__pid(rt, e);
    if (!entity__may_run(rt, pid) || !ownership_is_owned(&rt->ownership, pid)) {
        /* The lease is in doubt, or the partition is, or it is moving. */
        wheel_set(&rt->wheel, &e->wake, rt->now.mono_ns + 100 * NS_PER_MS);
        return;
    }
    if (e->extra != NULL && e->extra->timers_n > 0) {
        ctx__fire_timers(rt, e); /* may end the entity: it is not touched afterwards */
        return;
    }
    if (rt->now.mono_ns < idle_at(rt, e) || has_business(e)) {
        entity__rearm(rt, e);
        return;
    }
    e->stop_idle = true;
    if (!entity__is_clean(e))
        save__want_soon(rt, e);
    else if (!entity__try_stop(rt, e, TROUPE_STOP_IDLE))
        entity__rearm(rt, e);
}
