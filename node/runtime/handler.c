/* Running a callback and doing what it said. A callback changes nothing outside its entity by
 * itself: its reply and what it sends are outputs, and outputs go through the entity's gate (DESIGN
 * §7). */
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum { OUTCOME_MASK = 15 };

void handler__ctx_init(struct troupe_ctx *ctx, struct runtime *rt, struct entity *e,
                       struct message *m)
{
    ctx->rt = rt;
    ctx->e = e;
    ctx->kind = &rt->kinds[e->kind];
    ctx->m = m;
    ctx->replies = m != NULL && m->type == MESSAGE_REQUEST ? m->request->arena : &rt->scratch;
    list_init(&ctx->letters);
    ctx->letters_n = 0;
    ctx->status = TROUPE_OK;
    ctx->payload = troupe_bytes(NULL, 0);
    ctx->text = NULL;
    ctx->callable = true;
    ctx->crash[0] = '\0';
    rt->callbacks++;
}

void handler__ctx_close(struct troupe_ctx *ctx)
{
    struct list *node;
    while ((node = list_pop(&ctx->letters)) != NULL)
        free(letter__of(LIST_ENTRY(node, struct message, link)));
    struct runtime *rt = ctx->rt;
    INVARIANT(rt->callbacks > 0);
    if (--rt->callbacks == 0 && rt->scratch.head != NULL)
        arena_reset(&rt->scratch);
}

/* ---- the outcome ---- */

static bool asked_for_durable(const struct message *m)
{
    return m != NULL && m->type == MESSAGE_REQUEST && m->ack != TROUPE_ACK_MEMORY;
}

static bool has_request_id(const struct message *m)
{
    if (m == NULL || m->type != MESSAGE_REQUEST)
        return false;
    const struct rpc_request *rpc = m->request->rpc;
    return rpc->client != 0 && rpc->calls[m->index].sequence != 0;
}

static struct dedup_id request_id(const struct message *m)
{
    const struct rpc_request *rpc = m->request->rpc;
    return (struct dedup_id){
        .client = rpc->client, .sequence = rpc->calls[m->index].sequence, .acked = rpc->acked};
}

/* The reply of a change becomes part of the state, under the request's id. */
static void remember(struct troupe_ctx *ctx, bool durable)
{
    struct runtime *rt = ctx->rt;
    struct entity *e = ctx->e;
    struct dedup_id id = request_id(ctx->m);
    struct dedup_time time = dedup_time(rt, e);
    struct dedup_reply reply = {
        .status = (uint8_t)ctx->status,
        .durable = durable,
        .payload = ctx->status == TROUPE_OK ? ctx->payload : troupe_bytes_of(ctx->text),
    };
    size_t before = dedup_memory(e->dedup);
    int rc = dedup_add(&e->dedup, &id, &time, &reply);
    if (rc != 0)
        log__add(rt, RUNTIME_WARN, "out of memory: a request id could not be remembered", "entity",
                 entity__name(rt, e), NULL);
    size_t now = dedup_memory(e->dedup);
    if (now != before)
        entity__set_bytes(rt, e, e->bytes + now - before);
}

static void answer(struct troupe_ctx *ctx)
{
    struct message *m = ctx->m;
    struct runtime *rt = ctx->rt;
    if (m->type == MESSAGE_REQUEST) {
        struct rpc_result *result = &m->request->reply.results[m->index];
        result->status = (uint8_t)ctx->status;
        result->payload = ctx->payload;
        result->message = troupe_bytes_of(ctx->text);
        result->version = ctx->e->version;
        m->losses_n = rt->losses_n;
        m->executed = true;
        m->request->executed = true;
        save__output(rt, ctx->e, m);
        return;
    }
    struct letter *l = letter__of(m);
    if (m->type == MESSAGE_CALL) {
        struct troupe_bytes payload =
            ctx->status == TROUPE_OK ? ctx->payload : troupe_bytes_of(ctx->text);
        struct letter *reply = letter__reply(rt, l, ctx->status, payload);
        if (reply != NULL)
            save__output(rt, ctx->e, &reply->m);
    }
    free(l);
}

static void send_letters(struct troupe_ctx *ctx)
{
    struct list *node;
    while ((node = list_pop(&ctx->letters)) != NULL)
        save__output(ctx->rt, ctx->e, LIST_ENTRY(node, struct message, link));
}

static void crash(struct troupe_ctx *ctx)
{
    const char *why = ctx->crash[0] == '\0' ? "its handler returned a crash" : ctx->crash;
    struct runtime *rt = ctx->rt;
    if (ctx->m != NULL)
        message__refuse(rt, ctx->m, TROUPE_INTERNAL,
                        "%s crashed: %s. It starts again from its last persisted state",
                        entity__name(rt, ctx->e), why);
    char text[sizeof ctx->crash];
    snprintf(text, sizeof text, "%s", why);
    struct entity *e = ctx->e;
    handler__ctx_close(ctx);
    entity__crash(rt, e, text);
}

/* The callback has returned `outcome`. m is answered, letters leave, the change is noted. */
static void conclude(struct troupe_ctx *ctx, int outcome)
{
    struct runtime *rt = ctx->rt;
    struct entity *e = ctx->e;
    int what = outcome & OUTCOME_MASK;
    if (outcome < 0 || (outcome & ~(OUTCOME_MASK | TROUPE_STOP)) != 0 || what > TROUPE_DELETE) {
        if (outcome >= 0)
            snprintf(ctx->crash, sizeof ctx->crash, "its handler returned %d, which is no outcome",
                     outcome);
        crash(ctx);
        return;
    }
    bool stop = (outcome & TROUPE_STOP) != 0 || what == TROUPE_DELETE;
    if (what != TROUPE_UNCHANGED) {
        bool durable = what >= TROUPE_DURABLE || asked_for_durable(ctx->m);
        if (has_request_id(ctx->m))
            remember(ctx, durable);
        e->tombstone = what == TROUPE_DELETE;
        save__changed(rt, e, durable);
    } else if (asked_for_durable(ctx->m) && !entity__is_clean(e)) {
        save__want_durable(rt, e);
    }
    send_letters(ctx);
    if (ctx->m != NULL)
        answer(ctx);
    handler__ctx_close(ctx);
    if (stop)
        entity__stop_soon(rt, e);
}

/* ---- running ---- */

/* The one way to a handler. Nobody else may be running this entity: whoever comes here has looked
 * whether its partition is ours, now, and not when the message came or the row was asked for. */
static inline void begin(struct troupe_ctx *ctx, struct runtime *rt, struct entity *e,
                         struct message *m, uint32_t pid)
{
    INVARIANT(e->phase == ENTITY_ACTIVE && entity__may_run(rt, pid));
    handler__ctx_init(ctx, rt, e, m);
}

/* $get: the state as it is, of an entity that has one. */
static void run_get(struct troupe_ctx *ctx)
{
    struct entity *e = ctx->e;
    struct troupe_bytes state;
    /* Not into the request's memory: that it is short is no fault of the entity. */
    struct arena *arena = &ctx->rt->scratch;
    if (e->version == 0) {
        ctx->status = TROUPE_NOT_FOUND;
        ctx->text = arena_printf(ctx->replies, "%s does not exist: nothing was ever written to it",
                                 entity__name(ctx->rt, e));
    } else if (save__capture(ctx->rt, e, arena, &state, ctx->crash, sizeof ctx->crash) != 0) {
        conclude(ctx, TROUPE_CRASH);
        return;
    } else {
        troupe_reply(ctx, state);
    }
    conclude(ctx, TROUPE_UNCHANGED);
}

static void reply_again(struct troupe_ctx *ctx, const struct dedup_reply *reply)
{
    ctx->status = (enum troupe_status)reply->status;
    ctx->m->durable = reply->durable;
    if (!reply->kept) {
        ctx->status = TROUPE_ALREADY_EXISTS;
        ctx->text = "this request was executed; its reply is not kept (any more). Read the state";
    } else if (reply->status == TROUPE_OK) {
        troupe_reply(ctx, reply->payload);
    } else {
        ctx->text = (const char *)arena_copy(ctx->replies, reply->payload).data;
        if (ctx->text == NULL)
            ctx->text = "executed before; no memory is left for what it was told (rpc-memory-max)";
    }
}

/* Its client may try again if there was no other attempt: it is told with which ids. */
static void refuse_id(struct troupe_ctx *ctx, const struct dedup_found *found, bool ahead)
{
    struct message *m = ctx->m;
    m->request->reply.results[m->index].sequence_from = found->from;
    ctx->status = TROUPE_OUT_OF_RANGE;
    ctx->text = "this request id is older than what the entity remembers: if this is not the first "
                "attempt, it may have been executed. Read the state before trying again with a new "
                "id; if it is the first one, the client's clock is behind";
    if (found->own)
        ctx->text = "this request id is below what its client has acked, or was drawn before calls "
                    "that it has not acked and that are too many to be remembered all: if this is "
                    "not the first attempt, it may have been executed. Read the state before "
                    "trying again with a new id";
    if (ahead)
        ctx->text =
            arena_printf(ctx->replies,
                         "not executed: by this request id the client's clock is %llu.%03llu "
                         "s ahead of this node's. Set it right, or make ids by a clock "
                         "that is",
                         (unsigned long long)(found->ahead_ms / 1000),
                         (unsigned long long)(found->ahead_ms % 1000));
}

/* A retry of what has been executed gets its reply again, or learns why not. Whether it was that.
 */
static bool run_known(struct troupe_ctx *ctx)
{
    struct dedup_id id = request_id(ctx->m);
    struct dedup_time time = dedup_time(ctx->rt, ctx->e);
    struct dedup_found found;
    enum dedup_verdict verdict = dedup_look(ctx->e->dedup, &id, &time, &found);
    if (verdict == DEDUP_NEW)
        return false;
    if (verdict == DEDUP_DONE)
        reply_again(ctx, &found.reply);
    else
        refuse_id(ctx, &found, verdict == DEDUP_AHEAD);
    conclude(ctx, TROUPE_UNCHANGED);
    return true;
}

static void run_reply(struct runtime *rt, struct entity *e, struct message *m)
{
    struct letter *l = letter__of(m);
    struct troupe_info info = {
        .type = TROUPE_INFO_REPLY,
        .status = (enum troupe_status)l->status,
        .payload = l->payload,
    };
    if (ctx__outcall_take(rt, e, l->call_id, &info.tag))
        handler__info(rt, e, &info);
    free(l);
}

void handler__run(struct runtime *rt, struct entity *e, struct message *m)
{
    INVARIANT(!m->waiting && !m->gated);
    e->used_ns = rt->now.mono_ns;
    e->stop_idle = false;
    if (m->type == MESSAGE_REPLY) {
        run_reply(rt, e, m);
        return;
    }
    struct troupe_ctx ctx;
    begin(&ctx, rt, e, m, m->pid);
    if (m->method == METHOD_GET) {
        run_get(&ctx);
        return;
    }
    const struct troupe_kind *def = ctx.kind->def;
    bool read = (def->methods[m->method].flags & TROUPE_METHOD_READ) != 0;
    if (!read && has_request_id(m) && run_known(&ctx))
        return;
    bool cast = m->type == MESSAGE_CAST && def->cast != NULL;
    int outcome = (cast ? def->cast : def->call)(&ctx, e->state, m->method, message__payload(m));
    conclude(&ctx, outcome);
}

void handler__info(struct runtime *rt, struct entity *e, const struct troupe_info *info)
{
    struct troupe_ctx ctx;
    begin(&ctx, rt, e, NULL, entity__pid(rt, e));
    int outcome = TROUPE_UNCHANGED;
    if (ctx.kind->def->info != NULL)
        outcome = ctx.kind->def->info(&ctx, e->state, info);
    conclude(&ctx, outcome);
}
