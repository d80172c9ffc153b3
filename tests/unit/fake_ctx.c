#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* reallocarray */
#endif
#include "fake_ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "troupe/error.h"

struct fake_block {
    struct fake_block *next;
    max_align_t data[];
};

struct troupe_buffer {
    uint8_t *data;
    size_t len, max;
};

__attribute__((noreturn)) static void misuse(const char *what, const char *which)
{
    fprintf(stderr, "fake_ctx: %s: %s\n", what, which);
    abort();
}

/* Not malloc or calloc, so that a test which makes those fail (ld --wrap) hits the kind and what it
 * is given by contract to handle, and not this. */
static void *allocate(size_t size)
{
    size = size == 0 ? 1 : size;
    void *memory = reallocarray(NULL, 1, size);
    if (memory == NULL)
        misuse("out of memory", "");
    return memset(memory, 0, size);
}

static void *copy(const void *data, size_t len)
{
    void *to = allocate(len);
    if (len > 0)
        memcpy(to, data, len);
    return to;
}

/* ---- callbacks come and go ---- */

static void enter(struct troupe_ctx *ctx)
{
    if (ctx->in_callback)
        misuse("a callback within a callback", ctx->kind->name);
    ctx->in_callback = true;
    ctx->outcome = TROUPE_UNCHANGED;
    ctx->status = TROUPE_OK;
    free(ctx->payload);
    ctx->payload = NULL;
    ctx->payload_len = 0;
    ctx->text[0] = ctx->crash[0] = '\0';
}

static void leave(struct troupe_ctx *ctx)
{
    ctx->in_callback = false;
    while (ctx->blocks != NULL) {
        struct fake_block *block = ctx->blocks;
        ctx->blocks = block->next;
        free(block);
    }
}

struct troupe_ctx *fake_open(const struct troupe_kind *kind, const char *id)
{
    struct troupe_ctx *ctx = allocate(sizeof *ctx);
    ctx->kind = kind;
    ctx->id_len = strlen(id);
    if (ctx->id_len > sizeof ctx->id)
        misuse("an id is too long", id);
    memcpy(ctx->id, id, ctx->id_len);
    ctx->now_ms = UINT64_C(1767225600000); /* 2026-01-01 */
    ctx->save_bytes_max = 4 << 20;
    ctx->state_version = kind->state_version;
    return ctx;
}

static void free_message(ProtobufCMessage **message)
{
    if (*message != NULL)
        protobuf_c_message_free_unpacked(*message, NULL);
    *message = NULL;
}

void fake_close(struct troupe_ctx *ctx)
{
    if (ctx->state != NULL)
        fake_stop(ctx, TROUPE_STOP_SHUTDOWN);
    fake_forget(ctx);
    free_message(&ctx->reply);
    free_message(&ctx->saved);
    free(ctx->payload);
    free(ctx);
}

static int start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new)
{
    if (ctx->state != NULL)
        misuse("it is started already", ctx->kind->name);
    uint8_t *own = copy(saved.data, saved.len);
    enter(ctx);
    int rc = ctx->kind->start(ctx, troupe_bytes(own, saved.len), is_new, &ctx->state);
    leave(ctx);
    free(own);
    if (rc != 0)
        ctx->state = NULL;
    return rc;
}

int fake_start(struct troupe_ctx *ctx, struct troupe_bytes saved)
{
    return start(ctx, saved, false);
}

int fake_start_new(struct troupe_ctx *ctx)
{
    return start(ctx, troupe_bytes(NULL, 0), true);
}

void fake_stop(struct troupe_ctx *ctx, enum troupe_stop_reason reason)
{
    enter(ctx);
    ctx->kind->stop(ctx, ctx->state, reason);
    leave(ctx);
    ctx->state = NULL;
    ctx->timers_n = 0;
}

int fake_restart(struct troupe_ctx *ctx)
{
    int rc;
    struct troupe_bytes saved = fake_save(ctx, &rc);
    if (rc == 0) {
        fake_stop(ctx, TROUPE_STOP_IDLE);
        rc = fake_start(ctx, saved);
    }
    fake_saved_free(saved);
    return rc;
}

/* ---- calls ---- */

static size_t method_index(const struct troupe_kind *kind, const char *name)
{
    for (size_t i = 0; i < kind->methods_n; i++)
        if (strcmp(kind->methods[i].name, name) == 0)
            return i;
    misuse("no such method", name);
}

enum troupe_status fake_call_bytes(struct troupe_ctx *ctx, const char *method,
                                   struct troupe_bytes payload)
{
    if (ctx->state == NULL)
        misuse("it is not started, and called", method);
    uint8_t *own = copy(payload.data, payload.len);
    ctx->method = method_index(ctx->kind, method);
    enter(ctx);
    enum troupe_outcome outcome =
        ctx->kind->call(ctx, ctx->state, ctx->method, troupe_bytes(own, payload.len));
    leave(ctx);
    free(own);
    ctx->outcome = outcome;
    if (outcome == TROUPE_CRASH)
        ctx->status = TROUPE_INTERNAL;
    return ctx->status;
}

enum troupe_status fake_call(struct troupe_ctx *ctx, const char *method,
                             const ProtobufCMessage *request)
{
    size_t len = request == NULL ? 0 : protobuf_c_message_get_packed_size(request);
    uint8_t *packed = allocate(len);
    if (request != NULL)
        protobuf_c_message_pack(request, packed);
    enum troupe_status status = fake_call_bytes(ctx, method, troupe_bytes(packed, len));
    free(packed);
    return status;
}

const void *fake_reply(struct troupe_ctx *ctx)
{
    const uint8_t *payload = ctx->payload == NULL ? (const uint8_t *)"" : ctx->payload;
    free_message(&ctx->reply);
    if (ctx->status == TROUPE_OK)
        ctx->reply = protobuf_c_message_unpack(ctx->kind->methods[ctx->method].response, NULL,
                                               ctx->payload_len, payload);
    return ctx->reply;
}

/* ---- saving ---- */

struct troupe_bytes fake_save(struct troupe_ctx *ctx, int *rc)
{
    struct troupe_buffer buffer = {.max = ctx->save_bytes_max};
    enter(ctx);
    *rc = ctx->kind->save(ctx, ctx->state, &buffer);
    leave(ctx);
    return troupe_bytes(buffer.data, buffer.len);
}

void fake_saved_free(struct troupe_bytes saved)
{
    union {
        const void *from;
        void *to;
    } data = {.from = saved.data};
    free(data.to);
}

const void *fake_saved(struct troupe_ctx *ctx)
{
    int rc;
    struct troupe_bytes saved = fake_save(ctx, &rc);
    const uint8_t *data = saved.data == NULL ? (const uint8_t *)"" : saved.data;
    free_message(&ctx->saved);
    if (rc == 0)
        ctx->saved = protobuf_c_message_unpack(ctx->kind->state, NULL, saved.len, data);
    fake_saved_free(saved);
    return ctx->saved;
}

/* ---- letters and timers ---- */

void fake_forget(struct troupe_ctx *ctx)
{
    for (size_t i = 0; i < ctx->letters_n; i++) {
        free(ctx->letters[i].id);
        free(ctx->letters[i].payload);
    }
    ctx->letters_n = 0;
    ctx->logs_n = 0;
}

static void inform(struct troupe_ctx *ctx, const struct troupe_info *info)
{
    if (ctx->kind->info == NULL)
        return;
    enter(ctx);
    enum troupe_outcome outcome = ctx->kind->info(ctx, ctx->state, info);
    leave(ctx);
    ctx->outcome = outcome;
}

void fake_answer(struct troupe_ctx *ctx, size_t i, enum troupe_status status,
                 struct troupe_bytes payload)
{
    if (i >= ctx->letters_n || !ctx->letters[i].is_call)
        misuse("there is no such call to answer", ctx->kind->name);
    uint8_t *own = copy(payload.data, payload.len);
    const struct troupe_info info = {
        .type = TROUPE_INFO_REPLY,
        .tag = ctx->letters[i].tag,
        .status = status,
        .payload = troupe_bytes(own, payload.len),
    };
    inform(ctx, &info);
    free(own);
}

enum troupe_status fake_deliver(struct troupe_ctx *from, size_t i, struct troupe_ctx *to)
{
    if (i >= from->letters_n)
        misuse("there is no such letter to deliver", from->kind->name);
    const struct fake_letter *letter = &from->letters[i];
    if (strcmp(letter->kind, to->kind->name) != 0 || letter->id_len != to->id_len ||
        memcmp(letter->id, to->id, to->id_len) != 0)
        misuse("the letter is for another entity, not for this", to->kind->name);
    enum troupe_status status =
        fake_call_bytes(to, letter->method, troupe_bytes(letter->payload, letter->payload_len));
    if (!letter->is_call)
        return status;
    fake_answer(from, i, status,
                status == TROUPE_OK ? troupe_bytes(to->payload, to->payload_len)
                                    : troupe_bytes_of(to->text));
    return status;
}

static struct fake_timer *next_timer(struct troupe_ctx *ctx)
{
    struct fake_timer *next = NULL;
    for (size_t i = 0; i < ctx->timers_n; i++)
        if (next == NULL || ctx->timers[i].at_ms < next->at_ms)
            next = &ctx->timers[i];
    return next;
}

size_t fake_advance(struct troupe_ctx *ctx, uint64_t ms)
{
    size_t fired = 0;
    uint64_t until = ctx->now_ms + ms;
    struct fake_timer *timer;
    while ((timer = next_timer(ctx)) != NULL && timer->at_ms <= until) {
        const struct troupe_info info = {.type = TROUPE_INFO_TIMER, .tag = timer->tag};
        ctx->now_ms = timer->at_ms;
        *timer = ctx->timers[--ctx->timers_n];
        inform(ctx, &info);
        fired++;
    }
    ctx->now_ms = until;
    return fired;
}

/* ---- include/troupe/entity.h ---- */

uint8_t *troupe_buffer_add(struct troupe_buffer *buffer, size_t len)
{
    if (len > buffer->max - buffer->len)
        return NULL;
    uint8_t *grown = realloc(buffer->data, buffer->len + len + 1);
    if (grown == NULL)
        return NULL;
    buffer->data = grown;
    buffer->len += len;
    return grown + buffer->len - len;
}

int troupe_buffer_add_message(struct troupe_buffer *buffer, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *room = troupe_buffer_add(buffer, len);
    if (room == NULL)
        return TROUPE_ELIMIT;
    protobuf_c_message_pack(message, room);
    return 0;
}

void troupe_reply(struct troupe_ctx *ctx, struct troupe_bytes payload)
{
    uint8_t *own = copy(payload.data, payload.len);
    free(ctx->payload);
    ctx->payload = own;
    ctx->payload_len = payload.len;
    ctx->status = TROUPE_OK;
}

void troupe_reply_message(struct troupe_ctx *ctx, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = allocate(len);
    protobuf_c_message_pack(message, packed);
    troupe_reply(ctx, troupe_bytes(packed, len));
    free(packed);
}

enum troupe_outcome troupe_fail(struct troupe_ctx *ctx, enum troupe_status status,
                                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ctx->text, sizeof ctx->text, format, args);
    va_end(args);
    ctx->status = status;
    return TROUPE_UNCHANGED;
}

void *troupe_scratch(struct troupe_ctx *ctx, size_t size)
{
    struct fake_block *block = calloc(1, sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->next = ctx->blocks;
    ctx->blocks = block;
    return block->data;
}

static void *scratch_alloc(void *data, size_t size)
{
    return troupe_scratch(data, size);
}

static void scratch_free(void *data, void *memory)
{
}

void *troupe_parse(struct troupe_ctx *ctx, const ProtobufCMessageDescriptor *descriptor,
                   struct troupe_bytes payload)
{
    ProtobufCAllocator allocator = {scratch_alloc, scratch_free, ctx};
    void *message = protobuf_c_message_unpack(descriptor, &allocator, payload.len, payload.data);
    if (message == NULL)
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "the payload is not a valid %s",
                    descriptor->name);
    return message;
}

static int send(struct troupe_ctx *ctx, const struct fake_letter *letter, const char *kind,
                struct troupe_bytes id, const char *method, struct troupe_bytes payload)
{
    if (ctx->send_error != 0)
        return ctx->send_error;
    if (id.len == 0 || id.len > 255 || letter->timeout_ms > 3600 * 1000)
        return TROUPE_EINVAL;
    if (ctx->letters_n == FAKE_LETTERS_MAX)
        return TROUPE_ELIMIT;
    struct fake_letter *to = &ctx->letters[ctx->letters_n++];
    *to = *letter;
    snprintf(to->kind, sizeof to->kind, "%s", kind);
    snprintf(to->method, sizeof to->method, "%s", method);
    to->id = copy(id.data, id.len);
    to->id_len = id.len;
    to->payload = copy(payload.data, payload.len);
    to->payload_len = payload.len;
    return 0;
}

int troupe_cast(struct troupe_ctx *ctx, const char *kind, struct troupe_bytes id,
                const char *method, struct troupe_bytes payload)
{
    return send(ctx, &(struct fake_letter){.is_call = false}, kind, id, method, payload);
}

int troupe_call(struct troupe_ctx *ctx, const char *kind, struct troupe_bytes id,
                const char *method, struct troupe_bytes payload, uint32_t timeout_ms, uint64_t tag)
{
    const struct fake_letter letter = {.is_call = true, .timeout_ms = timeout_ms, .tag = tag};
    if (timeout_ms == 0)
        return TROUPE_EINVAL;
    return send(ctx, &letter, kind, id, method, payload);
}

void troupe_timer_cancel(struct troupe_ctx *ctx, uint64_t tag)
{
    for (size_t i = 0; i < ctx->timers_n; i++)
        if (ctx->timers[i].tag == tag)
            ctx->timers[i--] = ctx->timers[--ctx->timers_n];
}

int troupe_timer_set(struct troupe_ctx *ctx, uint64_t tag, uint64_t delay_ms)
{
    if (ctx->timer_error != 0)
        return ctx->timer_error;
    troupe_timer_cancel(ctx, tag);
    if (ctx->timers_n == FAKE_TIMERS_MAX)
        return TROUPE_ELIMIT;
    ctx->timers[ctx->timers_n++] = (struct fake_timer){.tag = tag, .at_ms = ctx->now_ms + delay_ms};
    return 0;
}

uint64_t troupe_now_ms(const struct troupe_ctx *ctx)
{
    return ctx->now_ms;
}

uint32_t troupe_state_version(const struct troupe_ctx *ctx)
{
    return ctx->state_version;
}

uint64_t troupe_random(struct troupe_ctx *ctx)
{
    return ctx->random++;
}

struct troupe_bytes troupe_self_id(const struct troupe_ctx *ctx)
{
    return troupe_bytes(ctx->id, ctx->id_len);
}

void troupe_log(struct troupe_ctx *ctx, enum troupe_log_level level, const char *format, ...)
{
    char text[FAKE_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args); /* so that the arguments are read */
    va_end(args);
    ctx->logs_n += level >= TROUPE_LOG_WARN;
}

enum troupe_outcome troupe_crash(struct troupe_ctx *ctx, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ctx->crash, sizeof ctx->crash, format, args);
    va_end(args);
    return TROUPE_CRASH;
}
