/* See note.h. */
#include "tests/sim/note.h"

#include <stdlib.h>

struct note {
    uint64_t number, text;
};

enum { SET, ANNOTATE, READ };

/* Of what is longer it takes what it knows, as protobuf does. */
static int note_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    if (!is_new && saved.len < 8)
        return troupe_crash(ctx, "a saved note has a length of %zu", saved.len);
    struct note *n = calloc(1, sizeof *n);
    if (!is_new)
        memcpy(&n->number, saved.data, 8);
    *state = n;
    return 0;
}

static int note_start_2(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new,
                        void **state)
{
    if (!is_new && saved.len != 16)
        return troupe_crash(ctx, "a saved note has a length of %zu", saved.len);
    int rc = note_start(ctx, saved, is_new, state);
    if (rc == 0 && !is_new)
        memcpy(&((struct note *)*state)->text, saved.data + 8, 8);
    return rc;
}

static int note_upgrade(struct troupe_ctx *ctx, struct troupe_bytes saved, uint32_t from,
                        struct troupe_buffer *out)
{
    uint8_t *room = saved.len == 8 && from < 2 ? troupe_buffer_add(out, 16) : NULL;
    if (room == NULL)
        return troupe_crash(ctx, "a note of version %u with %zu bytes", from, saved.len);
    memcpy(room, saved.data, 8);
    memset(room + 8, 0, 8);
    return 0;
}

static enum troupe_outcome note_call(struct troupe_ctx *ctx, void *state, size_t method,
                                     struct troupe_bytes payload)
{
    struct note *n = state;
    if (method == READ) {
        troupe_reply(ctx, troupe_bytes(n, sizeof *n));
        return TROUPE_UNCHANGED;
    }
    if (payload.len != 8)
        return troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "8 bytes");
    if (method == ANNOTATE && troupe_state_version(ctx) < 2)
        return troupe_fail(ctx, TROUPE_UNAVAILABLE, "not before all nodes know of it");
    memcpy(method == SET ? &n->number : &n->text, payload.data, 8);
    return TROUPE_DURABLE;
}

static int note_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    uint8_t *room = troupe_buffer_add(out, 8);
    if (room == NULL)
        return -1;
    memcpy(room, state, 8);
    return 0;
}

static int note_save_2(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    uint8_t *room = troupe_buffer_add(out, sizeof(struct note));
    if (room == NULL)
        return -1;
    memcpy(room, state, sizeof(struct note));
    return 0;
}

static int note_save_as(struct troupe_ctx *ctx, const void *state, uint32_t version,
                        struct troupe_buffer *out)
{
    return version == 1 ? note_save(ctx, state, out) : -1;
}

static void note_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    (void)ctx;
    (void)reason;
    free(state);
}

static const struct troupe_method methods[] = {
    [SET] = {.name = "set", .flags = TROUPE_METHOD_DURABLE},
    [ANNOTATE] = {.name = "annotate", .flags = TROUPE_METHOD_DURABLE},
    [READ] = {.name = "read", .flags = TROUPE_METHOD_READ},
};

#define NOTE                                                                                       \
    .name = "note", .methods = methods, .methods_n = 3, .call = note_call, .stop = note_stop

const struct troupe_kind note_kind_0 = {NOTE, .start = note_start, .save = note_save};
const struct troupe_kind note_kind_1 = {NOTE, .start = note_start, .save = note_save,
                                        .state_version = 1};
const struct troupe_kind note_kind_2 = {NOTE,
                                        .start = note_start_2,
                                        .save = note_save_2,
                                        .state_version = 2,
                                        .upgrade = note_upgrade,
                                        .save_as = note_save_as,
                                        .save_as_oldest = 1};
const struct troupe_kind note_kind_2_only = {NOTE, .start = note_start_2, .save = note_save_2,
                                             .state_version = 2, .upgrade = note_upgrade};
