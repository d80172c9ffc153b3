/* See bag.h. */
#include "tests/sim/bag.h"

#include <stdio.h>
#include <stdlib.h>

struct bag {
    uint32_t n, cap;
    uint64_t *tokens;
};

static uint64_t word(struct troupe_bytes payload, size_t i)
{
    uint64_t w = 0;
    if (payload.len >= 8 * (i + 1))
        memcpy(&w, payload.data + 8 * i, 8);
    return w;
}

static void add(struct bag *b, uint64_t token)
{
    if (b->n == b->cap) {
        b->cap = b->cap == 0 ? 4 : b->cap * 2;
        b->tokens = realloc(b->tokens, b->cap * sizeof *b->tokens);
    }
    b->tokens[b->n++] = token;
}

static int bag_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    if (saved.len % 8 != 0 || (is_new && saved.len != 0)) {
        troupe_crash(ctx, "a saved bag has a length of %zu", saved.len);
        return -1;
    }
    struct bag *b = calloc(1, sizeof *b);
    for (size_t i = 0; i < saved.len / 8; i++)
        add(b, word(saved, i));
    *state = b;
    return 0;
}

static struct troupe_bytes other_id(char buf[24], uint64_t n)
{
    return troupe_bytes(buf, (size_t)snprintf(buf, 24, "%llu", (unsigned long long)n));
}

/* What is behind the two words goes along. */
static int pass(struct troupe_ctx *ctx, uint64_t token, struct troupe_bytes payload)
{
    char id[24];
    size_t rest = payload.len > 16 ? payload.len - 16 : 0;
    uint8_t *passed = malloc(8 + rest);
    memcpy(passed, &token, 8);
    if (rest > 0)
        memcpy(passed + 8, payload.data + 16, rest);
    int rc = troupe_cast(ctx, "bag", other_id(id, word(payload, 1)), "add",
                         troupe_bytes(passed, 8 + rest));
    free(passed);
    return rc;
}

static enum troupe_outcome bag_call(struct troupe_ctx *ctx, void *state, size_t method,
                                    struct troupe_bytes payload)
{
    struct bag *b = state;
    uint64_t token = word(payload, 0), passed = token | BAG_PASSED, after_ms;
    char id[24];
    if (b->n >= BAG_TOKENS_MAX)
        return troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED, "the bag is full");
    switch (method) {
    case BAG_ADD:
        add(b, token);
        troupe_reply(ctx, troupe_bytes(&token, 8));
        return TROUPE_DIRTY;
    case BAG_PUT:
        add(b, token);
        troupe_reply(ctx, troupe_bytes(&token, 8));
        return TROUPE_DURABLE;
    case BAG_LIST:
        troupe_reply(ctx, troupe_bytes(b->tokens, b->n * 8));
        return TROUPE_UNCHANGED;
    case BAG_CRASH:
        add(b, BAG_WRONG);
        return troupe_crash(ctx, "told to");
    case BAG_STOP:
        return TROUPE_STOP;
    case BAG_PASS:
        add(b, token);
        TROUPE_ENSURE(ctx, pass(ctx, passed, payload) == 0);
        return TROUPE_DURABLE;
    case BAG_ASK:
        TROUPE_ENSURE(ctx, troupe_call(ctx, "bag", other_id(id, word(payload, 1)), "put",
                                       troupe_bytes(&passed, 8), 5000, token) == 0);
        return TROUPE_UNCHANGED;
    case BAG_ERASE:
        return TROUPE_DELETE;
    case BAG_TICK:
        after_ms = word(payload, 1) != 0 ? word(payload, 1) : 1000;
        TROUPE_ENSURE(ctx, troupe_timer_set(ctx, token, (uint32_t)after_ms) == 0);
        return TROUPE_UNCHANGED;
    case BAG_SWAP:
    case BAG_SWAP_KEPT:
        if (b->n != word(payload, 1)) {
            enum troupe_outcome refused =
                troupe_fail(ctx, TROUPE_FAILED_PRECONDITION, "there are %u tokens", b->n);
            return method == BAG_SWAP ? refused : TROUPE_DURABLE;
        }
        add(b, token);
        return TROUPE_DURABLE;
    default:
        return troupe_crash(ctx, "method %zu", method);
    }
}

static enum troupe_outcome bag_info(struct troupe_ctx *ctx, void *state,
                                    const struct troupe_info *info)
{
    (void)ctx;
    if (info->type == TROUPE_INFO_REPLY && info->status != TROUPE_OK)
        return TROUPE_UNCHANGED;
    add(state, info->tag);
    return TROUPE_DIRTY;
}

static int bag_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    const struct bag *b = state;
    uint8_t *room = troupe_buffer_add(out, b->n * 8);
    if (room == NULL)
        return -1;
    if (b->n > 0)
        memcpy(room, b->tokens, b->n * 8);
    return 0;
}

static void bag_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    (void)ctx;
    (void)reason;
    struct bag *b = state;
    free(b->tokens);
    free(b);
}

static const struct troupe_method methods[] = {
    [BAG_ADD] = {.name = "add"},
    [BAG_PUT] = {.name = "put", .flags = TROUPE_METHOD_DURABLE},
    [BAG_LIST] = {.name = "list", .flags = TROUPE_METHOD_READ},
    [BAG_CRASH] = {.name = "crash"},
    [BAG_STOP] = {.name = "stop"},
    [BAG_PASS] = {.name = "pass", .flags = TROUPE_METHOD_DURABLE},
    [BAG_ASK] = {.name = "ask"},
    [BAG_ERASE] = {.name = "erase", .flags = TROUPE_METHOD_DURABLE},
    [BAG_TICK] = {.name = "tick"},
    [BAG_SWAP] = {.name = "swap", .flags = TROUPE_METHOD_DURABLE},
    [BAG_SWAP_KEPT] = {.name = "swap_kept", .flags = TROUPE_METHOD_DURABLE},
};

const struct troupe_kind bag_kind = {
    .name = "bag",
    .methods = methods,
    .methods_n = sizeof methods / sizeof methods[0],
    .options = {.idle_timeout_ms = 60000},
    .start = bag_start,
    .call = bag_call,
    .info = bag_info,
    .save = bag_save,
    .stop = bag_stop,
};
