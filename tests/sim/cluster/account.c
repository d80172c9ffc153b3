/* See account.h. */
#include "tests/sim/cluster/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_MS = 700, RETRY_MS = 1500, RETRY_TAG = 1, RETRIES_MAX = 8 };

/* The arrays are as long as they have to be. */
static size_t head_bytes(void)
{
    return offsetof(struct account_state, paid);
}

static int account_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new,
                         void **state)
{
    struct account_state *a = calloc(1, sizeof *a);
    if (a == NULL)
        return -1;
    if (!is_new) {
        const uint8_t *at = saved.data + head_bytes();
        memcpy(a, saved.data, head_bytes());
        memcpy(a->paid, at, a->paid_n * sizeof a->paid[0]);
        memcpy(a->credited, at + a->paid_n * sizeof a->paid[0],
               a->credited_n * sizeof a->credited[0]);
    }
    bool open = false;
    for (uint32_t i = 0; i < a->paid_n; i++)
        open |= a->paid[i].open != 0;
    if (open) /* one that moves brings its timer along */
        troupe_timer_set(ctx, RETRY_TAG, RETRY_MS / 5);
    *state = a;
    return 0;
}

static void send(struct troupe_ctx *ctx, const struct account_payment *p)
{
    char id[16];
    struct account_request r = {.token = p->token, .amount = p->amount, .to = p->to};
    r.from = (uint32_t)(troupe_self_id(ctx).data[0] - '0');
    snprintf(id, sizeof id, "%u", p->to);
    troupe_call(ctx, "account", troupe_bytes_of(id), "credit", troupe_bytes(&r, sizeof r), CALL_MS,
                p->token);
}

static enum troupe_outcome pay(struct troupe_ctx *ctx, struct account_state *a,
                               const struct account_request *r)
{
    char id[16];
    TROUPE_ENSURE(ctx, a->paid_n < ACCOUNT_TOKENS_MAX);
    struct account_payment *p = &a->paid[a->paid_n++];
    *p = (struct account_payment){.token = r->token, .amount = r->amount, .to = r->to, .open = 1};
    a->balance -= r->amount;
    send(ctx, p);
    struct account_request note = *r;
    note.sequence = ++a->notes_sent[r->to];
    snprintf(id, sizeof id, "%u", r->to);
    troupe_cast(ctx, "account", troupe_bytes_of(id), "note", troupe_bytes(&note, sizeof note));
    troupe_timer_set(ctx, RETRY_TAG, RETRY_MS);
    return TROUPE_DURABLE;
}

static enum troupe_outcome credit(struct troupe_ctx *ctx, struct account_state *a,
                                  const struct account_request *r)
{
    for (uint32_t i = 0; i < a->credited_n; i++) {
        if (a->credited[i] == r->token)
            return TROUPE_UNCHANGED;
    }
    TROUPE_ENSURE(ctx, a->credited_n < ACCOUNT_TOKENS_MAX);
    a->credited[a->credited_n++] = r->token;
    a->balance += r->amount;
    return TROUPE_DURABLE;
}

static enum troupe_outcome look(struct troupe_ctx *ctx, const struct account_state *a)
{
    struct account_reply reply = {.balance = a->balance};
    for (uint32_t i = 0; i < a->paid_n; i++)
        reply.open_n += a->paid[i].open;
    troupe_reply(ctx, troupe_bytes(&reply, sizeof reply));
    return TROUPE_UNCHANGED;
}

static enum troupe_outcome account_call(struct troupe_ctx *ctx, void *state, size_t method,
                                        struct troupe_bytes payload)
{
    struct account_state *a = state;
    struct account_request r;
    if (payload.len != sizeof r)
        return troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "the payload has %zu bytes", payload.len);
    memcpy(&r, payload.data, sizeof r);
    account_runs((enum account_method)method, &r, a->note_seen[r.from]);
    switch ((enum account_method)method) {
    case ACCOUNT_PAY:
        return pay(ctx, a, &r);
    case ACCOUNT_CREDIT:
        return credit(ctx, a, &r);
    case ACCOUNT_NOTE:
        a->note_seen[r.from] = r.sequence;
        return TROUPE_DIRTY;
    default:
        return look(ctx, a);
    }
}

static enum troupe_outcome account_info(struct troupe_ctx *ctx, void *state,
                                        const struct troupe_info *info)
{
    struct account_state *a = state;
    uint32_t open = 0;
    for (uint32_t i = 0; i < a->paid_n; i++) {
        struct account_payment *p = &a->paid[i];
        if (info->type == TROUPE_INFO_REPLY && p->token == info->tag && info->status == TROUPE_OK &&
            p->open != 0) {
            p->open = 0;
            return TROUPE_DIRTY;
        }
        if (info->type == TROUPE_INFO_TIMER && p->open != 0 && open++ < RETRIES_MAX)
            send(ctx, p);
    }
    if (open > 0)
        troupe_timer_set(ctx, RETRY_TAG, RETRY_MS);
    return TROUPE_UNCHANGED;
}

static int account_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    (void)ctx;
    const struct account_state *a = state;
    size_t paid = a->paid_n * sizeof a->paid[0], credited = a->credited_n * sizeof a->credited[0];
    uint8_t *room = troupe_buffer_add(out, head_bytes() + paid + credited);
    if (room == NULL)
        return -1;
    memcpy(room, a, head_bytes());
    memcpy(room + head_bytes(), a->paid, paid);
    memcpy(room + head_bytes() + paid, a->credited, credited);
    return 0;
}

static void account_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    (void)ctx;
    (void)reason;
    free(state);
}

static const struct troupe_method methods[ACCOUNT_METHODS] = {
    [ACCOUNT_LOOK] = {.name = "look", .flags = TROUPE_METHOD_READ},
    [ACCOUNT_PAY] = {.name = "pay", .flags = TROUPE_METHOD_DURABLE},
    [ACCOUNT_CREDIT] = {.name = "credit", .flags = TROUPE_METHOD_DURABLE},
    [ACCOUNT_NOTE] = {.name = "note"},
};

const struct troupe_kind account_kind = {
    .name = "account",
    .methods = methods,
    .methods_n = ACCOUNT_METHODS,
    .options = {.idle_timeout_ms = 15000, .persist_interval_ms = 4000},
    .start = account_start,
    .call = account_call,
    .info = account_info,
    .save = account_save,
    .stop = account_stop,
};
