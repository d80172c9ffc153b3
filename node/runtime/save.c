/* Persistence. What handlers change is gathered into batches; a batch is one commit of the store.
 *
 * Two queues feed the batches: durable_queue, entities whose changes somebody waits for, and
 * due_queue, entities whose changes are old enough, that are to stop, or that are flushed. A change
 * that nobody waits for first rests in its kind's dirty list (oldest first) and becomes due early
 * enough that the whole backlog is persisted within the kind's persist_interval. An entity is in
 * one batch at a time.
 *
 * Output gates: a reply or a letter of an entity with uncommitted durable changes waits in its gate
 * until the highest version it could have seen is committed (DESIGN §7). Because whole states are
 * saved, one commit settles all versions up to its own.
 *
 * Failures: a batch that the store could not take, or whose outcome is unknown, is sent again as it
 * is, same rows, same versions, until it is applied or fenced (DESIGN §6.6). If it fails after a
 * while, it may be more than the store can do in the time that it gives a statement: then it is
 * sent by halves, and later ones are as small, until they succeed; then they double again. A batch
 * that the store rejects is split until the row that is to blame stands alone; that entity crashes.
 * One of which the store has a newer version of some row is split likewise, for to write a row
 * twice does no harm: what is in memory of that entity is not what is stored, and goes. A fenced
 * partition is dropped. */
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    AGAIN_S = 60,   /* what was committed so lately may be missing after a failover */
    SLOW_MS = 1000, /* a save that fails after so long may have been too large … */
    QUICK_MS = 500, /* … and after one that takes less, the next may be larger */
};

int save__init(struct runtime *rt)
{
    uint32_t n = rt->config.saves_in_flight_max;
    rt->save_window = rt->config.save_rows_max;
    rt->saves = calloc(n, sizeof *rt->saves);
    if (rt->saves == NULL)
        return TROUPE_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        struct save_batch *b = &rt->saves[i];
        arena_init(&b->arena, 256 << 10, 0);
        arena_init(&b->outputs, 0, 0);
        b->rows = calloc(rt->config.save_rows_max, sizeof *b->rows);
        if (b->rows == NULL)
            return TROUPE_ENOMEM;
    }
    return 0;
}

/* Those that were dropped meanwhile are in no table: nobody else knows them. */
static void free_dropped(struct runtime *rt, const struct save_batch *b)
{
    for (uint32_t i = b->done_n; b->used && i < b->rows_n; i++) {
        struct entity *e = b->rows[i].data;
        if (e->phase == ENTITY_DROPPED)
            entity__free(rt, e);
    }
}

void save__close(struct runtime *rt)
{
    for (uint32_t i = 0; rt->saves != NULL && i < rt->config.saves_in_flight_max; i++) {
        free_dropped(rt, &rt->saves[i]);
        arena_close(&rt->saves[i].arena);
        arena_close(&rt->saves[i].outputs);
        free(rt->saves[i].rows);
    }
    free(rt->saves);
}

/* ---- queues ---- */

static uint32_t pid_of(const struct runtime *rt, const struct entity *e)
{
    return name_partition(e->hash, rt->partition_bits);
}

/* Where a dirty entity waits for its turn. Not while it is being saved: the end of that puts it
 * here again. */
void save__enqueue(struct runtime *rt, struct entity *e)
{
    INVARIANT(!entity__is_clean(e));
    if (e->saving != 0)
        return;
    list_remove(&e->ready);
    if (e->durable > e->saved)
        list_push(&rt->durable_queue, &e->ready);
    else if (e->phase != ENTITY_ACTIVE || e->stop_idle || rt->phase == RUNTIME_STOPPING)
        list_push(&rt->due_queue, &e->ready);
    else
        list_push(&rt->kinds[e->kind].dirty, &e->ready);
}

void save__changed(struct runtime *rt, struct entity *e, bool durable)
{
    bool was_clean = entity__is_clean(e), was_waited_for = e->durable > e->saved;
    e->version++;
    if (was_clean)
        rt->dirty_n++;
    if (was_clean || e->version == e->saving + 1)
        e->dirty_ns = rt->now.mono_ns;
    if (durable)
        e->durable = e->version;
    if (was_clean || (durable && !was_waited_for))
        save__enqueue(rt, e);
}

void save__want_durable(struct runtime *rt, struct entity *e)
{
    INVARIANT(!entity__is_clean(e));
    bool was_waited_for = e->durable > e->saved;
    e->durable = e->version;
    if (!was_waited_for)
        save__enqueue(rt, e);
}

void save__want_soon(struct runtime *rt, struct entity *e)
{
    INVARIANT(!entity__is_clean(e));
    if (e->saving != 0 || e->durable > e->saved)
        return;
    list_remove(&e->ready);
    list_push(&rt->due_queue, &e->ready);
}

void save__all(struct runtime *rt)
{
    for (size_t i = 0; i < rt->kinds_n; i++)
        list_splice(&rt->due_queue, &rt->kinds[i].dirty);
}

/* ---- after a failover of the store ---- */

/* Its row may be gone back in time. To write the same version twice does no harm. */
static void write_again(struct runtime *rt, struct entity *e)
{
    uint64_t now = rt->now.mono_ns;
    if (entity__is_clean(e)) {
        if (e->version == 0 || e->dirty_ns == 0 || now - e->dirty_ns > AGAIN_S * NS_PER_S)
            return;
        e->saved = e->version - 1;
        e->dirty_ns = now;
        rt->dirty_n++;
    }
    rt->again_n += !e->again;
    e->again = true;
    e->durable = e->version; /* who sees it now waits until it is safe again */
    save__enqueue(rt, e);
}

bool save__may_be_lost(const struct runtime *rt, uint64_t committed_ns, bool failed_over)
{
    if (failed_over)
        return rt->now.mono_ns - committed_ns <= AGAIN_S * NS_PER_S;
    return rt->timeline_ns != 0 && committed_ns <= rt->timeline_ns &&
           rt->timeline_ns - committed_ns <= AGAIN_S * NS_PER_S;
}

void save__again(struct runtime *rt)
{
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        const struct table *t = &rt->partitions[pid];
        for (uint32_t i = 0; i < table_slots(t); i++) {
            struct entity *e = t->slots[i];
            if (e != NULL && (e->phase == ENTITY_ACTIVE || e->phase == ENTITY_STOPPING))
                write_again(rt, e);
        }
    }
}

void save__not_again(struct runtime *rt, struct entity *e)
{
    INVARIANT(rt->again_n >= e->again);
    rt->again_n -= e->again;
    e->again = false;
}

/* How long before its interval is over a change becomes due: the time the backlog takes, twice
 * over. */
static uint64_t lead_ns(const struct runtime *rt, uint64_t interval_ns)
{
    uint64_t rows_per_s = rt->rows_per_s > 0 ? rt->rows_per_s : 5000;
    uint64_t backlog_ns = rt->dirty_n * (2 * NS_PER_S / rows_per_s);
    uint64_t least = interval_ns / 10, most = interval_ns * 8 / 10;
    uint64_t lead = least + backlog_ns;
    return lead < most ? lead : most;
}

static uint64_t due_ns(const struct runtime *rt, const struct kind *k, const struct entity *e)
{
    uint64_t interval_ns = k->options.persist_interval_ms * NS_PER_MS;
    return e->dirty_ns + interval_ns - lead_ns(rt, interval_ns);
}

void save__tick(struct runtime *rt)
{
    for (size_t i = 0; i < rt->kinds_n; i++) {
        struct kind *k = &rt->kinds[i];
        while (!list_is_empty(&k->dirty)) {
            struct entity *e = LIST_ENTRY(k->dirty.next, struct entity, ready);
            if (due_ns(rt, k, e) > rt->now.mono_ns)
                break;
            list_remove(&e->ready);
            list_push(&rt->due_queue, &e->ready);
        }
    }
}

/* ---- gates ---- */

/* Nothing holds the output back any more. What it tells of may still be younger than the commit it
 * waited for. */
static void let_out(struct runtime *rt, const struct entity *e, struct message *m)
{
    if (m->type != MESSAGE_REQUEST) {
        list_push(&rt->run, &m->link);
        return;
    }
    struct rpc_result *result = &m->request->reply.results[m->index];
    bool durable = m->durable || result->version <= e->saved;
    result->ack = durable ? TROUPE_ACK_DURABLE : TROUPE_ACK_MEMORY;
    request__complete(rt, m);
}

void save__output(struct runtime *rt, struct entity *e, struct message *m)
{
    if (e->durable <= e->saved) {
        let_out(rt, e, m);
        return;
    }
    m->gate_version = e->durable;
    m->gated = true;
    rt->gated_n++;
    list_push(&e->gate, &m->link);
}

static void open_gate(struct runtime *rt, struct entity *e)
{
    while (!list_is_empty(&e->gate)) {
        struct message *m = LIST_ENTRY(e->gate.next, struct message, link);
        if (m->gate_version > e->saved)
            break;
        message__unlink(rt, m);
        let_out(rt, e, m);
    }
}

static void abort_output(struct runtime *rt, struct message *m, enum troupe_status status,
                         const char *why)
{
    message__unlink(rt, m);
    if (m->type == MESSAGE_REQUEST) {
        m->executed = false;
        request__finish(rt, m, status, troupe_bytes(NULL, 0), troupe_bytes_of(why));
        return;
    }
    struct letter *l = letter__of(m);
    if (m->type == MESSAGE_REPLY) { /* whoever waits for it learns that it came to nothing */
        struct letter *reply = letter__new(rt, MESSAGE_REPLY, m->kind, 0, m->hash, l->id,
                                           troupe_bytes_of(why), troupe_bytes(NULL, 0));
        if (reply != NULL) {
            reply->status = (uint8_t)status;
            reply->call_id = l->call_id;
            list_push(&rt->run, &reply->m.link);
        }
    }
    free(l);
}

void save__abort_gate(struct runtime *rt, struct entity *e, uint64_t version,
                      enum troupe_status status, const char *why)
{
    struct list kept;
    list_init(&kept);
    struct list *node;
    while ((node = list_pop(&e->gate)) != NULL) {
        struct message *m = LIST_ENTRY(node, struct message, link);
        if (m->gate_version <= version)
            list_push(&kept, node);
        else
            abort_output(rt, m, status, why);
    }
    list_splice(&e->gate, &kept);
}

/* What is on its way to the store may still be kept; what is newer is lost. */
void save__abort_crashed(struct runtime *rt, struct entity *e)
{
    save__abort_gate(rt, e, e->saving, e->unsure ? TROUPE_UNKNOWN : TROUPE_ABORTED,
                     e->unsure ? "the entity crashed while the commit's outcome was unknown: retry "
                                 "with the same request id"
                               : "the entity crashed before this was persisted: retry with the "
                                 "same request id");
}

/* ---- capturing ---- */

int save__capture(struct runtime *rt, struct entity *e, struct arena *arena,
                  struct troupe_bytes *bytes, char *why, size_t why_bytes)
{
    struct troupe_ctx ctx;
    struct troupe_buffer buffer = {.arena = arena, .max = rt->config.state_bytes_max};
    handler__ctx_init(&ctx, rt, e, NULL);
    ctx.callable = false;
    int rc = state_version__save(&ctx, &buffer);
    if (rc != 0 && ctx.crash[0] != '\0')
        snprintf(why, why_bytes, "%s", ctx.crash);
    else if (rc != 0 && buffer.full)
        snprintf(why, why_bytes, "its state is larger than %u bytes", rt->config.state_bytes_max);
    else if (rc != 0)
        snprintf(why, why_bytes, "save failed (%d)", rc);
    handler__ctx_close(&ctx);
    *bytes = troupe_bytes(buffer.data, buffer.len);
    return rc;
}

/* Copies of what must not change while the row is on its way. */
static int capture_row(struct runtime *rt, struct entity *e, struct save_batch *b,
                       struct store_row *row, char *why, size_t why_bytes)
{
    const struct kind *k = &rt->kinds[e->kind];
    uint32_t pid = pid_of(rt, e);
    *row = (struct store_row){
        .data = e,
        .key = {.pid = pid, .kind = k->name, .id = {e->id, e->id_len}},
        .epoch = rt->ownership.entries[pid].epoch,
        .version = e->version,
        .deleted = e->tombstone,
    };
    int rc = e->tombstone ? 0 : save__capture(rt, e, &b->arena, &row->state, why, why_bytes);
    if (rc != 0)
        return rc;
    row->dedup = dedup_write(e->dedup, &b->arena);
    if (!e->tombstone) /* of which nothing is read but the window */
        row->dedup = state_version__seal(&b->arena, k->write_version, row->dedup);
    if (row->dedup.data == NULL && row->dedup.len > 0) {
        snprintf(why, why_bytes, "out of memory while it was persisted");
        return TROUPE_ENOMEM;
    }
    if (e->tombstone)
        return 0;
    size_t state_bytes = k->def->memory != NULL ? k->def->memory(e->state) : row->state.len;
    entity__set_bytes(rt, e, state_bytes + dedup_memory(e->dedup));
    return 0;
}

/* The next entity to persist, taken out of its queue; NULL when there is none. */
static struct entity *next_entity(struct runtime *rt)
{
    struct list *node = list_pop(&rt->durable_queue);
    if (node == NULL)
        node = list_pop(&rt->due_queue);
    return node == NULL ? NULL : LIST_ENTRY(node, struct entity, ready);
}

static void fill(struct runtime *rt, struct save_batch *b)
{
    size_t bytes = 0;
    struct entity *e;
    while (b->rows_n < rt->config.save_rows_max && bytes < rt->config.save_bytes_max &&
           (e = next_entity(rt)) != NULL) {
        INVARIANT(e->saving == 0 && !entity__is_clean(e));
        uint32_t pid = pid_of(rt, e);
        if (!ownership_is_held(&rt->ownership, pid) || rt->ownership.entries[pid].going)
            continue; /* waits, in no queue, for its partition to be won again or dropped */
        char why[160];
        struct store_row *row = &b->rows[b->rows_n];
        if (capture_row(rt, e, b, row, why, sizeof why) != 0) {
            entity__crash(rt, e, why);
            continue;
        }
        e->saving = e->version;
        b->oldest_ns = e->dirty_ns < b->oldest_ns ? e->dirty_ns : b->oldest_ns;
        b->rows_n++;
        bytes += row->state.len + row->dedup.len;
    }
}

/* ---- sending ---- */

/* What is not settled yet, as far as it goes at once. */
static void next_window(const struct runtime *rt, struct save_batch *b)
{
    uint32_t left = b->rows_n - b->done_n;
    b->window = left < rt->save_window ? left : rt->save_window;
}

static void send(struct runtime *rt, struct save_batch *b)
{
    INVARIANT(b->used && !b->out && b->window > 0 && b->done_n + b->window <= b->rows_n);
    arena_reset(&b->outputs);
    b->request = (struct store_request){.data = rt, .op = STORE_SAVE, .arena = &b->outputs};
    b->request.u.save = (struct store_save){
        .name = rt->config.name,
        .generation = rt->generation,
        .rows = b->rows + b->done_n,
        .rows_n = b->window,
    };
    b->out = true;
    b->sent_ns = rt->now.mono_ns;
    runtime__submit(rt, &b->request);
}

static struct save_batch *free_batch(struct runtime *rt)
{
    for (uint32_t i = 0; i < rt->config.saves_in_flight_max; i++) {
        if (!rt->saves[i].used)
            return &rt->saves[i];
    }
    return NULL;
}

/* Whether enough waits to justify one more commit in flight: small commits one after the other
 * gather more in the end than many small ones at once. */
static bool is_worth_a_flight(const struct runtime *rt)
{
    uint32_t wanted = rt->saves_used * SAVE_ROWS_PER_FLIGHT, n = 0;
    const struct list *queues[] = {&rt->durable_queue, &rt->due_queue};
    for (size_t q = 0; q < 2; q++) {
        for (const struct list *l = queues[q]->next; l != queues[q] && n <= wanted; l = l->next)
            n++;
    }
    return n > wanted;
}

void save__flush(struct runtime *rt)
{
    for (uint32_t i = 0; i < rt->config.saves_in_flight_max; i++) {
        struct save_batch *b = &rt->saves[i];
        if (b->used && !b->out && rt->now.mono_ns >= b->retry_ns)
            send(rt, b);
    }
    struct save_batch *b;
    while (is_worth_a_flight(rt) && (b = free_batch(rt)) != NULL) {
        b->rows_n = b->done_n = b->failures = 0;
        b->uncertain_n = 0;
        b->oldest_ns = UINT64_MAX;
        b->moved_ns = rt->now.mono_ns;
        arena_reset(&b->arena);
        fill(rt, b);
        if (b->rows_n == 0)
            continue;
        b->used = true;
        next_window(rt, b);
        rt->saves_used++;
        send(rt, b);
    }
}

uint64_t save__next_ns(const struct runtime *rt)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < rt->config.saves_in_flight_max; i++) {
        const struct save_batch *b = &rt->saves[i];
        if (b->used && !b->out && b->retry_ns < next)
            next = b->retry_ns;
    }
    for (size_t i = 0; i < rt->kinds_n; i++) {
        const struct kind *k = &rt->kinds[i];
        if (list_is_empty(&k->dirty))
            continue;
        uint64_t due = due_ns(rt, k, LIST_ENTRY(k->dirty.next, struct entity, ready));
        next = due < next ? due : next;
    }
    return next;
}

/* ---- the answer ---- */

/* The entity's row is no longer on its way: what is next for it. */
static void settle(struct runtime *rt, struct entity *e)
{
    e->saving = 0;
    switch ((enum entity_phase)e->phase) {
    case ENTITY_DROPPED:
        entity__free(rt, e);
        return;
    case ENTITY_CRASHED:
        save__abort_crashed(rt, e);
        e->unsure = false;
        entity__crash_settle(rt, e);
        return;
    case ENTITY_ACTIVE:
    case ENTITY_STOPPING:
        if (!entity__is_clean(e))
            save__enqueue(rt, e);
        else if (e->phase == ENTITY_STOPPING)
            entity__try_stop(
                rt, e, rt->phase == RUNTIME_STOPPING ? TROUPE_STOP_SHUTDOWN : TROUPE_STOP_REQUEST);
        else if (e->stop_idle)
            entity__try_stop(rt, e, TROUPE_STOP_IDLE);
        return;
    case ENTITY_LOADING:
    case ENTITY_QUARANTINED:
        break;
    }
    INVARIANT(!"an entity that is saved is active, stopping, crashed or dropped");
}

static void row_applied(struct runtime *rt, struct store_row *row)
{
    struct entity *e = row->data;
    INVARIANT(e->saving == row->version);
    bool alive = e->phase == ENTITY_ACTIVE || e->phase == ENTITY_STOPPING;
    if (alive) {
        INVARIANT(e->version >= row->version && e->saved < row->version);
        e->saved = row->version;
        if (entity__is_clean(e)) {
            INVARIANT(rt->dirty_n > 0);
            rt->dirty_n--;
            e->dirty_ns = rt->now.mono_ns;
        }
        save__not_again(rt, e);
        e->unsure = false;
        open_gate(rt, e);
    } else if (e->phase == ENTITY_CRASHED) { /* this much of it survived the crash */
        e->saved = row->version;
        open_gate(rt, e);
        e->saved = 0;
    }
    settle(rt, e);
}

/* The store has a newer version than this one, though we own the entity: what we have in memory is
 * not what comes after that. Whether this change is part of it, nobody knows. */
static void row_superseded(struct runtime *rt, struct store_row *row)
{
    struct entity *e = row->data;
    log__add(rt, RUNTIME_ERROR,
             "the store has a newer version than this node, which owns it; it is loaded again",
             "entity", entity__name(rt, e), NULL);
    rt->ownership.entries[row->key.pid].lost = ++rt->losses_n;
    e->unsure = true;
    if (e->phase != ENTITY_ACTIVE && e->phase != ENTITY_STOPPING) {
        settle(rt, e);
        return;
    }
    e->saving = 0;
    entity__drop(rt, e, true);
}

static bool is_fenced(const struct store_save *save, uint32_t pid)
{
    for (size_t i = 0; i < save->fenced_n; i++) {
        if (save->fenced[i] == pid)
            return true;
    }
    return false;
}

/* The rows of fenced partitions are taken out of flight; then the partitions are dropped, unless
 * the fence is one that we have moved past ourselves by winning the partition again with its state
 * untouched. */
static void rows_fenced(struct runtime *rt, struct save_batch *b, struct store_row *rows,
                        uint32_t n)
{
    const struct store_save *save = &b->request.u.save;
    bool uncertain = b->uncertain_n > b->done_n;
    for (uint32_t i = 0; i < n; i++) {
        struct entity *e = rows[i].data;
        if (!is_fenced(save, rows[i].key.pid))
            continue;
        e->unsure |= uncertain;
        settle(rt, e);
    }
    for (size_t i = 0; i < save->fenced_n; i++) {
        uint32_t pid = save->fenced[i];
        uint64_t epoch = 0;
        for (uint32_t r = 0; r < n; r++)
            epoch = rows[r].key.pid == pid ? rows[r].epoch : epoch;
        if (ownership_is_held(&rt->ownership, pid) && rt->ownership.entries[pid].epoch == epoch)
            lifecycle__fenced(rt, pid, uncertain);
    }
}

static void finish_batch(struct runtime *rt, struct save_batch *b)
{
    b->used = false;
    INVARIANT(rt->saves_used > 0);
    rt->saves_used--;
    arena_reset(&b->outputs);
}

static void note_speed(struct runtime *rt, const struct save_batch *b, uint32_t rows)
{
    uint64_t took_ns = rt->now.mono_ns - b->sent_ns + 1;
    rt->commit_us = took_ns / 1000;
    rt->rows_saved_n += rows;
    if (rows >= SAVE_ROWS_PER_FLIGHT) {
        uint64_t rate = rows * NS_PER_S / took_ns;
        rt->rows_per_s = rt->rows_per_s == 0 ? rate : (rt->rows_per_s * 7 + rate) / 8;
    }
}

static void grow_window(struct runtime *rt, const struct save_batch *b)
{
    uint32_t most = rt->config.save_rows_max;
    if (rt->now.mono_ns - b->sent_ns < QUICK_MS * NS_PER_MS)
        rt->save_window = rt->save_window < most / 2 ? rt->save_window * 2 : most;
}

/* Nobody knows whether it was applied. */
static void window_uncertain(struct save_batch *b)
{
    if (b->uncertain_n < b->done_n + b->window)
        b->uncertain_n = b->done_n + b->window;
}

static void window_applied(struct runtime *rt, struct save_batch *b)
{
    const struct store_save *save = &b->request.u.save;
    struct store_row *rows = b->rows + b->done_n;
    uint32_t n = b->window;
    b->failures = 0;
    b->retry_ns = 0;
    b->moved_ns = rt->now.mono_ns;
    if (save->skipped > 0 && n > 1) { /* which of them, smaller ones will tell */
        window_uncertain(b);          /* … and till then, which ones it has written */
        b->window = n / 2;
        return;
    }
    note_speed(rt, b, (uint32_t)save->applied);
    grow_window(rt, b);
    for (uint32_t i = 0; i < n; i++) {
        if (save->fenced_n > 0 && is_fenced(save, rows[i].key.pid))
            continue;
        if (save->skipped > 0)
            row_superseded(rt, &rows[i]);
        else
            row_applied(rt, &rows[i]);
    }
    if (save->fenced_n > 0)
        rows_fenced(rt, b, rows, n);
    b->done_n += n;
    next_window(rt, b);
    if (b->window == 0)
        finish_batch(rt, b);
}

/* The store could not do it, or not say so. */
static void window_failed(struct runtime *rt, struct save_batch *b)
{
    if (b->request.error == TROUPE_EOUTCOME)
        window_uncertain(b);
    b->retry_ns = rt->now.mono_ns + runtime__backoff(rt, b->failures++);
    if (rt->now.mono_ns - b->sent_ns < SLOW_MS * NS_PER_MS || b->window == 1)
        return;
    b->window = (b->window + 1) / 2;
    if (b->window < rt->save_window)
        rt->save_window = b->window;
}

/* The store refuses something in this window: halves, until one row is to blame. */
static void window_rejected(struct runtime *rt, struct save_batch *b)
{
    b->retry_ns = 0;
    b->moved_ns = rt->now.mono_ns;
    if (b->window > 1) {
        b->window /= 2;
        return;
    }
    struct entity *e = b->rows[b->done_n].data;
    char why[160];
    snprintf(why, sizeof why, "the store refuses its state: %.120s", b->request.errmsg);
    b->done_n++;
    next_window(rt, b);
    e->saving = 0;
    if (e->phase == ENTITY_ACTIVE || e->phase == ENTITY_STOPPING)
        entity__crash(rt, e, why);
    else
        settle(rt, e);
    if (b->window == 0)
        finish_batch(rt, b);
}

bool save__done(struct runtime *rt, struct store_request *request)
{
    if (request->op != STORE_SAVE)
        return false;
    struct save_batch *b = LIST_ENTRY(request, struct save_batch, request);
    INVARIANT(b->used && b->out);
    b->out = false;
    if (request->error == 0 && rt->timeline_ns != 0 && b->sent_ns <= rt->timeline_ns) {
        window_uncertain(b); /* the copy of the data that took it may be gone: once more */
        b->retry_ns = rt->now.mono_ns;
    } else if (request->error == 0) {
        window_applied(rt, b);
    } else if (request->error == TROUPE_EREJECTED || request->error == TROUPE_EINVAL) {
        window_rejected(rt, b);
    } else {
        window_failed(rt, b);
    }
    return true;
}

uint64_t save__lag_ms(const struct runtime *rt)
{
    uint64_t oldest = rt->now.mono_ns;
    const struct list *queues[] = {&rt->durable_queue, &rt->due_queue};
    for (size_t q = 0; q < 2 + rt->kinds_n; q++) {
        const struct list *l = q < 2 ? queues[q] : &rt->kinds[q - 2].dirty;
        if (list_is_empty(l))
            continue;
        const struct entity *e = LIST_ENTRY(l->next, struct entity, ready);
        oldest = e->dirty_ns < oldest ? e->dirty_ns : oldest;
    }
    for (uint32_t i = 0; i < rt->config.saves_in_flight_max; i++) {
        const struct save_batch *b = &rt->saves[i];
        if (b->used && b->oldest_ns < oldest)
            oldest = b->oldest_ns;
    }
    return (rt->now.mono_ns - oldest) / NS_PER_MS;
}

/* The first of a queue, which is about the oldest. */
static uint64_t queue_due_ns(const struct runtime *rt, const struct list *l)
{
    if (list_is_empty(l))
        return UINT64_MAX;
    const struct entity *e = LIST_ENTRY(l->next, struct entity, ready);
    return e->dirty_ns + rt->kinds[e->kind].options.persist_interval_ms * NS_PER_MS;
}

uint64_t save__due_ns(const struct runtime *rt)
{
    uint64_t due = queue_due_ns(rt, &rt->durable_queue), other = queue_due_ns(rt, &rt->due_queue);
    due = other < due ? other : due;
    for (size_t i = 0; i < rt->kinds_n; i++) {
        other = queue_due_ns(rt, &rt->kinds[i].dirty);
        due = other < due ? other : due;
    }
    for (uint32_t i = 0; i < rt->config.saves_in_flight_max; i++) {
        const struct save_batch *b = &rt->saves[i];
        if (b->used && b->moved_ns < due)
            due = b->moved_ns;
    }
    return due == UINT64_MAX ? 0 : due;
}
