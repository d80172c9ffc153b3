/* See slate.h. */
#include "tests/sim/cluster/slate.h"

#include <stdlib.h>
#include <string.h>

struct slate {
    uint32_t n;
    uint64_t tokens[SLATE_TOKENS_MAX];
};

const char *const slate_methods[SLATE_METHODS] = {"read", "put", "wipe", "spoil"};

static int slate_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    (void)is_new;
    struct slate *s = calloc(1, sizeof *s);
    if (s == NULL || saved.len % 8 != 0 || saved.len > sizeof s->tokens) {
        free(s);
        troupe_crash(ctx, "a saved slate has a length of %zu", saved.len);
        return -1;
    }
    s->n = (uint32_t)(saved.len / 8);
    if (saved.len > 0)
        memcpy(s->tokens, saved.data, saved.len);
    *state = s;
    return 0;
}

static enum troupe_outcome slate_call(struct troupe_ctx *ctx, void *state, size_t method,
                                      struct troupe_bytes payload)
{
    struct slate *s = state;
    if (payload.len != sizeof s->tokens[0])
        return troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "the payload has %zu bytes", payload.len);
    enum troupe_outcome outcome = TROUPE_UNCHANGED;
    if (method == SLATE_PUT || method == SLATE_SPOIL) {
        TROUPE_ENSURE(ctx, s->n < SLATE_TOKENS_MAX);
        memcpy(&s->tokens[s->n++], payload.data, payload.len);
        outcome = TROUPE_DURABLE;
    }
    if (method == SLATE_SPOIL)
        return troupe_crash(ctx, "it was told to");
    if (method == SLATE_WIPE) {
        s->n = 0;
        outcome = TROUPE_DELETE;
    }
    troupe_reply(ctx, troupe_bytes(s->tokens, s->n * sizeof s->tokens[0]));
    return outcome;
}

static int slate_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    const struct slate *s = state;
    uint8_t *room = troupe_buffer_add(out, 8 * (size_t)s->n);
    if (room == NULL)
        return -1;
    if (s->n > 0)
        memcpy(room, s->tokens, 8 * (size_t)s->n);
    return 0;
}

static void slate_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    (void)ctx;
    (void)reason;
    free(state);
}

static const struct troupe_method methods[SLATE_METHODS] = {
    [SLATE_READ] = {.name = "read", .flags = TROUPE_METHOD_READ},
    [SLATE_PUT] = {.name = "put", .flags = TROUPE_METHOD_DURABLE},
    [SLATE_WIPE] = {.name = "wipe", .flags = TROUPE_METHOD_DURABLE},
    [SLATE_SPOIL] = {.name = "spoil"},
};

const struct troupe_kind slate_kind = {
    .name = "slate",
    .methods = methods,
    .methods_n = SLATE_METHODS,
    .options = {.idle_timeout_ms = 10000},
    .start = slate_start,
    .call = slate_call,
    .save = slate_save,
    .stop = slate_stop,
};
