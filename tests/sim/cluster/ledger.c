/* See ledger.h. */
#include "tests/sim/cluster/ledger.h"

#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 256 };

struct ledger {
    uint32_t n;
    uint64_t tokens[TOKENS_MAX];
};

static int ledger_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new,
                        void **state)
{
    (void)is_new;
    struct ledger *l = calloc(1, sizeof *l);
    if (l == NULL || saved.len % 8 != 0 || saved.len > sizeof l->tokens) {
        free(l);
        troupe_crash(ctx, "a saved ledger has a length of %zu", saved.len);
        return -1;
    }
    l->n = (uint32_t)(saved.len / 8);
    if (saved.len > 0)
        memcpy(l->tokens, saved.data, saved.len);
    *state = l;
    return 0;
}

static enum troupe_outcome answer(struct troupe_ctx *ctx, const struct ledger *l, bool done,
                                  int outcome)
{
    struct ledger_reply reply = {
        .count = l->n, .value = l->n == 0 ? 0 : l->tokens[l->n - 1], .done = done};
    troupe_reply(ctx, troupe_bytes(&reply, sizeof reply));
    return (enum troupe_outcome)outcome;
}

static enum troupe_outcome ledger_call(struct troupe_ctx *ctx, void *state, size_t method,
                                       struct troupe_bytes payload)
{
    struct ledger *l = state;
    struct ledger_request r;
    if (payload.len != sizeof r)
        return troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "the payload has %zu bytes", payload.len);
    memcpy(&r, payload.data, sizeof r);
    uint64_t value = l->n == 0 ? 0 : l->tokens[l->n - 1];
    int stop = (r.flags & LEDGER_STOPS) != 0 ? TROUPE_STOP : 0;
    if (method == LEDGER_READ)
        return answer(ctx, l, true, TROUPE_UNCHANGED | stop);
    if (method == LEDGER_CAS && value != r.expected)
        return answer(ctx, l, false, TROUPE_UNCHANGED);
    TROUPE_ENSURE(ctx, l->n < TOKENS_MAX);
    l->tokens[l->n++] = r.token;
    bool dirty = method == LEDGER_WRITE || method == LEDGER_BUMP;
    return answer(ctx, l, true, (dirty ? TROUPE_DIRTY : TROUPE_DURABLE) | stop);
}

static int ledger_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    const struct ledger *l = state;
    uint8_t *room = troupe_buffer_add(out, 8 * (size_t)l->n);
    if (room == NULL)
        return -1;
    if (l->n > 0)
        memcpy(room, l->tokens, 8 * (size_t)l->n);
    return 0;
}

static void ledger_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    (void)ctx;
    (void)reason;
    free(state);
}

static const struct troupe_method methods[LEDGER_METHODS] = {
    [LEDGER_READ] = {.name = "read", .flags = TROUPE_METHOD_READ},
    [LEDGER_WRITE] = {.name = "write"},
    [LEDGER_PUT] = {.name = "put", .flags = TROUPE_METHOD_DURABLE},
    [LEDGER_CAS] = {.name = "cas", .flags = TROUPE_METHOD_DURABLE},
    [LEDGER_BUMP] = {.name = "bump"},
};

const struct troupe_kind ledger_kind = {
    .name = "ledger",
    .methods = methods,
    .methods_n = LEDGER_METHODS,
    .options = {.idle_timeout_ms = 20000, .persist_interval_ms = 5000},
    .start = ledger_start,
    .call = ledger_call,
    .save = ledger_save,
    .stop = ledger_stop,
};
