/* What a kind's callbacks can do: include/troupe/entity.h, the node's side of it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"
#include "proto/unpack.h"

/* ---- buffers ---- */

uint8_t *troupe_buffer_add(struct troupe_buffer *b, size_t len)
{
    if (len > b->max - b->len) {
        b->full = true;
        return NULL;
    }
    if (b->data == NULL || b->cap - b->len < len) {
        size_t cap = b->len == 0 ? len : (b->len + len) * 2;
        uint8_t *grown = arena_alloc(b->arena, cap);
        if (grown == NULL) {
            b->full = true;
            return NULL;
        }
        if (b->data != NULL)
            memcpy(grown, b->data, b->len);
        b->data = grown;
        b->cap = cap;
    }
    uint8_t *room = b->data + b->len;
    b->len += len;
    return room;
}

int troupe_buffer_add_message(struct troupe_buffer *b, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len == 0)
        return 0;
    uint8_t *room = troupe_buffer_add(b, len);
    if (room == NULL)
        return TROUPE_ELIMIT;
    protobuf_c_message_pack(message, room);
    return 0;
}

/* ---- replies ---- */

static void fail_for_memory(struct troupe_ctx *ctx)
{
    ctx->status = TROUPE_RESOURCE_EXHAUSTED;
    ctx->payload = troupe_bytes(NULL, 0);
    ctx->text = "executed, but there is no memory for the reply: it is too large, or "
                "rpc-memory-max is used up. Ask for less at once, or later";
}

void troupe_reply(struct troupe_ctx *ctx, struct troupe_bytes payload)
{
    ctx->status = TROUPE_OK;
    ctx->payload = arena_copy(ctx->replies, payload);
    if (ctx->payload.data == NULL)
        fail_for_memory(ctx);
}

void troupe_reply_message(struct troupe_ctx *ctx, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(ctx->replies, len);
    if (packed == NULL) {
        fail_for_memory(ctx);
        return;
    }
    ctx->status = TROUPE_OK;
    ctx->payload = troupe_bytes(packed, protobuf_c_message_pack(message, packed));
}

enum troupe_outcome troupe_fail(struct troupe_ctx *ctx, enum troupe_status status,
                                const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ctx->status = status == TROUPE_OK ? TROUPE_UNKNOWN : status;
    ctx->payload = troupe_bytes(NULL, 0);
    ctx->text = (const char *)arena_copy(ctx->replies, troupe_bytes_of(text)).data;
    if (ctx->text == NULL)
        ctx->text = "no memory is left to say why (rpc-memory-max)";
    return TROUPE_UNCHANGED;
}

void *troupe_parse(struct troupe_ctx *ctx, const ProtobufCMessageDescriptor *descriptor,
                   struct troupe_bytes payload)
{
    ProtobufCMessage *message;
    int rc = unpack_message(&ctx->rt->scratch, descriptor, payload, &message);
    if (rc == 0)
        return message;
    troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                rc == TROUPE_ELIMIT ? "the payload is too large or nested too deep for a %s"
                                    : "the payload is not a valid %s",
                descriptor->name);
    return NULL;
}

void *troupe_scratch(struct troupe_ctx *ctx, size_t size)
{
    return arena_calloc(&ctx->rt->scratch, 1, size);
}

enum troupe_outcome troupe_crash(struct troupe_ctx *ctx, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ctx->crash, sizeof ctx->crash, format, args);
    va_end(args);
    return TROUPE_CRASH;
}

/* ---- the world ---- */

uint64_t troupe_now_ms(const struct troupe_ctx *ctx)
{
    return ctx->rt->now.wall_ms;
}

uint64_t troupe_random(struct troupe_ctx *ctx)
{
    return runtime__random(ctx->rt);
}

struct troupe_bytes troupe_self_id(const struct troupe_ctx *ctx)
{
    return troupe_bytes(ctx->e->id, ctx->e->id_len);
}

uint32_t troupe_state_version(const struct troupe_ctx *ctx)
{
    return ctx->kind->write_version;
}

void troupe_log(struct troupe_ctx *ctx, enum troupe_log_level level, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    enum runtime_log_level to =
        level > TROUPE_LOG_ERROR ? RUNTIME_ERROR : (enum runtime_log_level)level;
    log__add(ctx->rt, to, "entity says", "entity", entity__name(ctx->rt, ctx->e), "text", text,
             NULL);
}

/* ---- letters ---- */

static int send(struct troupe_ctx *ctx, enum message_type type, const char *kind_name,
                struct troupe_bytes id, const char *method_name, struct troupe_bytes payload,
                struct letter **letter)
{
    const char *why;
    const struct kind *k = deliver__kind(ctx->rt, troupe_bytes_of(kind_name));
    int method = k == NULL ? -1 : deliver__method(k, troupe_bytes_of(method_name));
    if (!ctx->callable || method < 0 || name_check_id(id, &why) != 0)
        return TROUPE_EINVAL;
    if (ctx->letters_n == SENDS_MAX)
        return TROUPE_ELIMIT;
    bool call = type == MESSAGE_CALL;
    struct troupe_bytes from = call ? troupe_self_id(ctx) : troupe_bytes(NULL, 0);
    struct letter *l = letter__new(ctx->rt, type, (uint8_t)(k - ctx->rt->kinds), (uint8_t)method,
                                   name_hash(k->name, id), id, payload, from);
    if (l == NULL)
        return TROUPE_ENOMEM;
    l->caller_kind = ctx->e->kind;
    l->caller_hash = ctx->e->hash;
    list_push(&ctx->letters, &l->m.link);
    ctx->letters_n++;
    *letter = l;
    return 0;
}

int troupe_cast(struct troupe_ctx *ctx, const char *kind, struct troupe_bytes id,
                const char *method, struct troupe_bytes payload)
{
    struct letter *l;
    return send(ctx, MESSAGE_CAST, kind, id, method, payload, &l);
}

int troupe_call(struct troupe_ctx *ctx, const char *kind, struct troupe_bytes id,
                const char *method, struct troupe_bytes payload, uint32_t timeout_ms, uint64_t tag)
{
    struct runtime *rt = ctx->rt;
    struct letter *l;
    if (timeout_ms == 0 || timeout_ms > RPC_TIMEOUT_MS_MAX)
        return TROUPE_EINVAL;
    struct entity_extra *x = entity__extra(ctx->e);
    struct outcall *call = x == NULL ? NULL : calloc(1, sizeof *call);
    if (call == NULL)
        return TROUPE_ENOMEM;
    int rc = send(ctx, MESSAGE_CALL, kind, id, method, payload, &l);
    if (rc != 0) {
        free(call);
        return rc;
    }
    call->call_id = l->call_id = ++rt->next_call_id;
    call->tag = tag;
    call->caller = ctx->e;
    call->timer.type = TIMER_OUTCALL;
    list_init(&call->link);
    list_push(&x->outcalls, &call->link);
    wheel_set(&rt->wheel, &call->timer, rt->now.mono_ns + timeout_ms * NS_PER_MS);
    return 0;
}

static void outcall_free(struct runtime *rt, struct outcall *call)
{
    wheel_cancel(&rt->wheel, &call->timer);
    list_remove(&call->link);
    free(call);
}

bool ctx__outcall_take(struct runtime *rt, struct entity *e, uint64_t call_id, uint64_t *tag)
{
    if (e->extra == NULL)
        return false;
    for (struct list *l = e->extra->outcalls.next; l != &e->extra->outcalls; l = l->next) {
        struct outcall *call = LIST_ENTRY(l, struct outcall, link);
        if (call->call_id != call_id)
            continue;
        *tag = call->tag;
        outcall_free(rt, call);
        entity__rearm(rt, e);
        return true;
    }
    return false;
}

/* Only an active entity has calls out. While its partition is in doubt, its handlers must not run.
 */
void ctx__outcall_expired(struct runtime *rt, struct outcall *call)
{
    struct entity *e = call->caller;
    if (e->phase == ENTITY_ACTIVE && !entity__may_run(rt, entity__pid(rt, e))) {
        wheel_set(&rt->wheel, &call->timer, rt->now.mono_ns + 100 * NS_PER_MS);
        return;
    }
    struct troupe_info info = {
        .type = TROUPE_INFO_REPLY,
        .tag = call->tag,
        .status = TROUPE_DEADLINE_EXCEEDED,
        .payload = troupe_bytes_of("no answer in time"),
    };
    outcall_free(rt, call);
    if (e->phase != ENTITY_ACTIVE)
        return;
    entity__rearm(rt, e);
    handler__info(rt, e, &info);
}

/* ---- timers of entities: few per entity, so an array will do ---- */

int troupe_timer_set(struct troupe_ctx *ctx, uint64_t tag, uint64_t delay_ms)
{
    struct entity *e = ctx->e;
    struct entity_extra *x = ctx->callable ? entity__extra(e) : NULL;
    if (x == NULL)
        return ctx->callable ? TROUPE_ENOMEM : TROUPE_EINVAL;
    const uint64_t most_ms = UINT64_C(1) << 40;
    uint64_t due_ns = ctx->rt->now.mono_ns + (delay_ms < most_ms ? delay_ms : most_ms) * NS_PER_MS;
    uint32_t i = 0;
    while (i < x->timers_n && x->timers[i].tag != tag)
        i++;
    if (i == x->timers_n) {
        if (x->timers_n == TIMERS_MAX)
            return TROUPE_ELIMIT;
        if (x->timers_n == x->timers_cap) {
            uint32_t cap = x->timers_cap == 0 ? 2 : x->timers_cap * 2;
            struct entity_timer *grown = realloc(x->timers, cap * sizeof *grown);
            if (grown == NULL)
                return TROUPE_ENOMEM;
            x->timers = grown;
            x->timers_cap = cap;
        }
        x->timers_n++;
    }
    x->timers[i] = (struct entity_timer){.tag = tag, .due_ns = due_ns};
    entity__rearm(ctx->rt, e);
    return 0;
}

void troupe_timer_cancel(struct troupe_ctx *ctx, uint64_t tag)
{
    struct entity_extra *x = ctx->e->extra;
    for (uint32_t i = 0; x != NULL && i < x->timers_n; i++) {
        if (x->timers[i].tag == tag) {
            x->timers[i] = x->timers[--x->timers_n];
            entity__rearm(ctx->rt, ctx->e);
            return;
        }
    }
}

static uint32_t earliest(const struct entity_extra *x)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < x->timers_n; i++) {
        if (x->timers[i].due_ns < x->timers[best].due_ns)
            best = i;
    }
    return best;
}

uint64_t ctx__next_timer_ns(const struct entity *e)
{
    const struct entity_extra *x = e->extra;
    return x == NULL || x->timers_n == 0 ? UINT64_MAX : x->timers[earliest(x)].due_ns;
}

/* One at a time: its handler may do anything to the entity. The others, if due, fire at the next
 * tick. */
void ctx__fire_timers(struct runtime *rt, struct entity *e)
{
    struct entity_extra *x = e->extra;
    uint32_t i = earliest(x);
    if (x->timers[i].due_ns > rt->now.mono_ns) {
        entity__rearm(rt, e);
        return;
    }
    struct troupe_info info = {.type = TROUPE_INFO_TIMER, .tag = x->timers[i].tag};
    x->timers[i] = x->timers[--x->timers_n];
    e->used_ns = rt->now.mono_ns;
    entity__rearm(rt, e);
    handler__info(rt, e, &info);
}

void ctx__forget(struct runtime *rt, struct entity *e)
{
    struct entity_extra *x = e->extra;
    if (x == NULL)
        return;
    x->timers_n = 0;
    struct list *node;
    while ((node = list_pop(&x->outcalls)) != NULL)
        outcall_free(rt, LIST_ENTRY(node, struct outcall, link));
}
