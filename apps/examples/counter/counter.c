/* A kind `counter`: a number that goes up, and a note of up to 64 bytes. docs/kinds.md explains it
 * line by line; the benchmark counts with it. */
#include <stdlib.h>
#include <string.h>

#include "counter.pb-c.h"
#include "troupe/entity.h"

enum { NOTE_BYTES_MAX = 64 };

struct counter {
    uint64_t value;
    uint8_t note_len;
    uint8_t note[NOTE_BYTES_MAX];
};

/* ---- from and to the saved state ---- */

static bool set(struct counter *c, uint64_t value, ProtobufCBinaryData note)
{
    if (note.len > NOTE_BYTES_MAX)
        return false;
    c->value = value;
    c->note_len = (uint8_t)note.len;
    if (note.len > 0)
        memcpy(c->note, note.data, note.len);
    return true;
}

static int start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    struct counter *c = calloc(1, sizeof *c);
    if (c == NULL)
        return troupe_crash(ctx, "out of memory");
    *state = c;
    if (is_new)
        return 0;
    const Counter__State *from = troupe_parse(ctx, &counter__state__descriptor, saved);
    if (from == NULL || !set(c, from->value, from->note)) {
        free(c);
        return troupe_crash(ctx, "the saved state is no counter");
    }
    return 0;
}

static int save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    const struct counter *c = state;
    uint8_t note[NOTE_BYTES_MAX];
    memcpy(note, c->note, c->note_len);
    Counter__State to = COUNTER__STATE__INIT;
    to.value = c->value;
    to.note = (ProtobufCBinaryData){.len = c->note_len, .data = note};
    return troupe_buffer_add_message(out, &to.base);
}

static void stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    free(state);
}

static size_t memory(const void *state)
{
    return sizeof(struct counter);
}

/* ---- methods ---- */

static void reply_value(struct troupe_ctx *ctx, const struct counter *c)
{
    Counter__Value reply = COUNTER__VALUE__INIT;
    reply.value = c->value;
    troupe_reply_message(ctx, &reply.base);
}

static enum troupe_outcome incr(struct troupe_ctx *ctx, struct counter *c,
                                struct troupe_bytes payload, enum troupe_outcome outcome)
{
    uint64_t by = 1;
    if (payload.len > 0) {
        const Counter__IncrRequest *r =
            troupe_parse(ctx, &counter__incr_request__descriptor, payload);
        if (r == NULL)
            return TROUPE_UNCHANGED; /* troupe_parse has answered */
        by = r->by == 0 ? 1 : r->by;
    }
    if (by > UINT64_MAX - c->value)
        return troupe_fail(ctx, TROUPE_OUT_OF_RANGE,
                           "the counter is at %llu and cannot go up by %llu: use `set` first",
                           (unsigned long long)c->value, (unsigned long long)by);
    c->value += by;
    reply_value(ctx, c);
    return outcome;
}

static enum troupe_outcome set_value(struct troupe_ctx *ctx, struct counter *c,
                                     struct troupe_bytes payload)
{
    const Counter__SetRequest *r = troupe_parse(ctx, &counter__set_request__descriptor, payload);
    if (r == NULL)
        return TROUPE_UNCHANGED;
    if (!set(c, r->value, r->note))
        return troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "note: has %zu bytes; at most %d fit",
                           r->note.len, NOTE_BYTES_MAX);
    reply_value(ctx, c);
    return TROUPE_DIRTY;
}

enum { INCR, INCR_DURABLE, READ, SET, METHODS_N };

static enum troupe_outcome call(struct troupe_ctx *ctx, void *state, size_t method,
                                struct troupe_bytes payload)
{
    switch (method) {
    case INCR:
        return incr(ctx, state, payload, TROUPE_DIRTY);
    case INCR_DURABLE:
        return incr(ctx, state, payload, TROUPE_DURABLE);
    case SET:
        return set_value(ctx, state, payload);
    default: /* READ */
        reply_value(ctx, state);
        return TROUPE_UNCHANGED;
    }
}

/* ---- the kind and the plug-in ---- */

static const struct troupe_method methods[METHODS_N] = {
    [INCR] = {"incr", &counter__incr_request__descriptor, &counter__value__descriptor, 0},
    [INCR_DURABLE] = {"incr_durable", &counter__incr_request__descriptor,
                      &counter__value__descriptor, TROUPE_METHOD_DURABLE},
    [READ] = {"read", &counter__read_request__descriptor, &counter__value__descriptor,
              TROUPE_METHOD_READ},
    [SET] = {"set", &counter__set_request__descriptor, &counter__value__descriptor, 0},
};

static const struct troupe_kind counter = {
    .name = "counter",
    .methods = methods,
    .methods_n = METHODS_N,
    .state = &counter__state__descriptor,
    .start = start,
    .call = call,
    .save = save,
    .stop = stop,
    .memory = memory,
};

static const struct troupe_kind *const kinds[] = {&counter};

static const struct troupe_plugin plugin = {
    .abi = TROUPE_ENTITY_ABI,
    .name = "counter",
    .version = "1",
    .kinds = kinds,
    .kinds_n = 1,
};

const struct troupe_plugin *troupe_plugin(void)
{
    return &plugin;
}
