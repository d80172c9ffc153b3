/* A kind for tests: a slate to which `write` adds a stroke, durably, and which `erase` deletes.
 * Both answer how many strokes there were then, as text. */
#include <stdio.h>
#include <stdlib.h>

#include "troupe/entity.h"

struct slate {
    unsigned strokes;
};

static int start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    (void)ctx;
    (void)is_new;
    struct slate *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -1;
    s->strokes = (unsigned)saved.len;
    *state = s;
    return 0;
}

enum { WRITE, ERASE, METHODS_N };

static enum troupe_outcome call(struct troupe_ctx *ctx, void *state, size_t method,
                                struct troupe_bytes payload)
{
    (void)payload;
    struct slate *s = state;
    char text[16];
    s->strokes += method == WRITE;
    snprintf(text, sizeof text, "%u", s->strokes);
    troupe_reply(ctx, troupe_bytes_of(text));
    return method == WRITE ? TROUPE_DURABLE : TROUPE_DELETE;
}

static int save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    const struct slate *s = state;
    uint8_t *strokes = troupe_buffer_add(out, s->strokes);
    if (strokes == NULL)
        return -1;
    memset(strokes, '|', s->strokes);
    return 0;
}

static void stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    (void)ctx;
    (void)reason;
    free(state);
}

static const struct troupe_method methods[METHODS_N] = {
    [WRITE] = {.name = "write", .flags = TROUPE_METHOD_DURABLE},
    [ERASE] = {.name = "erase", .flags = TROUPE_METHOD_DURABLE},
};

static const struct troupe_kind slate = {
    .name = "slate",
    .methods = methods,
    .methods_n = METHODS_N,
    .start = start,
    .call = call,
    .save = save,
    .stop = stop,
};

static const struct troupe_kind *const kinds[] = {&slate};

static const struct troupe_plugin plugin = {
    .abi = TROUPE_ENTITY_ABI, .name = "slate", .version = "1", .kinds = kinds, .kinds_n = 1};

const struct troupe_plugin *troupe_plugin(void)
{
    return &plugin;
}
