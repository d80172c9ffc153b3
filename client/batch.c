/* See batch.h: how a batch is filled and read by its user. */
#include "client/batch.h"

#include <stdlib.h>

#include "base/invariant.h"
#include "base/name.h"

enum { METHOD_BYTES_MAX = 64 }; /* 63, and a leading $ */

_Static_assert(RPC_CALLS_MAX <= UINT16_MAX, "todo holds 16-bit indexes");

static void leg_init(struct leg *leg, struct troupe_batch *b)
{
    leg->batch = b;
    arena_init(&leg->arena, BATCH_CHUNK_BYTES_MIN, 0);
    arena_init(&leg->scratch, BATCH_CHUNK_BYTES_MIN, BATCH_REPLY_BYTES_MAX);
    list_init(&leg->node);
}

static void leg_close(struct leg *leg)
{
    arena_close(&leg->arena);
    arena_close(&leg->scratch);
}

struct troupe_batch *troupe_batch_new(struct troupe_client *client)
{
    struct troupe_batch *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->client = client;
    arena_init(&b->arena, BATCH_CHUNK_BYTES_MIN, 0);
    leg_init(&b->leg, b);
    return b;
}

void troupe_batch_free(struct troupe_batch *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->more_n; i++) {
        leg_close(b->more[i]);
        free(b->more[i]);
    }
    leg_close(&b->leg);
    arena_close(&b->arena);
    free(b->more);
    free(b->sorted);
    free(b->calls);
    free(b->results);
    free(b->todo);
    free(b->spots);
    free(b);
}

/* Empties an arena. When one chunk was not enough, the next one is as large as all that was used,
 * so that the same use fits into it. */
static void arena_reset_grow(struct arena *a)
{
    size_t used = a->used_bytes, max_bytes = a->max_bytes;
    if (used <= a->chunk_bytes || a->chunk_bytes >= BATCH_CHUNK_BYTES_MAX) {
        arena_reset(a);
        return;
    }
    size_t chunk = a->chunk_bytes;
    while (chunk < used && chunk < BATCH_CHUNK_BYTES_MAX)
        chunk *= 2;
    arena_close(a);
    arena_init(a, chunk, max_bytes);
}

static void leg_reset(struct leg *leg)
{
    arena_reset_grow(&leg->arena);
    arena_reset_grow(&leg->scratch);
}

void troupe_batch_reset(struct troupe_batch *b)
{
    arena_reset_grow(&b->arena);
    leg_reset(&b->leg);
    for (unsigned i = 1; i < b->legs_n; i++)
        leg_reset(b->more[i - 1]);
    b->state = BATCH_FILLING;
    b->calls_n = b->pinned_n = b->bytes = 0;
    b->legs_n = 0;
}

struct leg *batch_leg(struct troupe_batch *b, unsigned i)
{
    if (i == 0)
        return &b->leg;
    if (i <= b->more_n)
        return b->more[i - 1];
    INVARIANT(i == b->more_n + 1);
    struct leg **more = realloc(b->more, i * sizeof(struct leg *));
    if (more == NULL)
        return NULL;
    b->more = more;
    struct leg *leg = calloc(1, sizeof *leg);
    if (leg == NULL)
        return NULL;
    leg_init(leg, b);
    b->more[b->more_n++] = leg;
    return leg;
}

static int grow(struct troupe_batch *b)
{
    size_t capacity = b->calls_capacity == 0 ? 4 : b->calls_capacity * 2;
    struct rpc_call *calls = realloc(b->calls, capacity * sizeof *calls);
    if (calls != NULL)
        b->calls = calls;
    struct troupe_call_result *results = realloc(b->results, capacity * sizeof *results);
    if (results != NULL)
        b->results = results;
    uint16_t *todo = realloc(b->todo, capacity * sizeof *todo);
    if (todo != NULL)
        b->todo = todo;
    ring_spot *spots = realloc(b->spots, capacity * sizeof *spots);
    if (spots != NULL)
        b->spots = spots;
    if (calls == NULL || results == NULL || todo == NULL || spots == NULL)
        return TROUPE_ENOMEM;
    b->calls_capacity = capacity;
    return 0;
}

/* All four strings in one piece of the arena. */
static int copy_call(struct arena *arena, struct rpc_call *call)
{
    struct troupe_bytes *parts[] = {&call->kind, &call->id, &call->method, &call->payload};
    size_t total = 0;
    for (size_t i = 0; i < 4; i++)
        total += parts[i]->len;
    uint8_t *p = arena_alloc(arena, total);
    if (p == NULL)
        return TROUPE_ENOMEM;
    for (size_t i = 0; i < 4; i++) {
        if (parts[i]->len != 0)
            memcpy(p, parts[i]->data, parts[i]->len);
        parts[i]->data = p;
        p += parts[i]->len;
    }
    return 0;
}

int troupe_batch_add(struct troupe_batch *b, struct troupe_bytes kind, struct troupe_bytes id,
                     struct troupe_bytes method, struct troupe_bytes payload, enum troupe_ack ack,
                     unsigned flags)
{
    if (b->state != BATCH_FILLING || ack > TROUPE_ACK_DURABLE || kind.len > NAME_KIND_BYTES_MAX ||
        id.len > NAME_ID_BYTES_MAX || method.len > METHOD_BYTES_MAX)
        return TROUPE_EINVAL;
    if (b->calls_n == RPC_CALLS_MAX || payload.len > RPC_FRAME_BYTES_MAX - b->bytes)
        return TROUPE_ELIMIT;
    if (b->calls_n == b->calls_capacity && grow(b) != 0)
        return TROUPE_ENOMEM;
    struct rpc_call call = {
        .kind = kind,
        .id = id,
        .method = method,
        .payload = payload,
        .sequence = (flags & TROUPE_CALL_NO_ID) != 0 ? 0 : BATCH_SEQUENCE_WANTED,
        .ack = (uint8_t)ack,
        .format = (flags & TROUPE_CALL_JSON) != 0 ? RPC_JSON : RPC_PROTOBUF,
    };
    if (copy_call(&b->arena, &call) != 0)
        return TROUPE_ENOMEM;
    b->bytes += payload.len;
    b->pinned_n += kind.len > 0 && kind.data[0] == '$';
    b->results[b->calls_n].status = TROUPE_OK; /* not UNKNOWN: see leg_note_lost */
    b->todo[b->calls_n] = (uint16_t)b->calls_n;
    b->calls[b->calls_n++] = call;
    return 0;
}

size_t troupe_batch_count(const struct troupe_batch *b)
{
    return b->calls_n;
}

const struct troupe_call_result *troupe_batch_result(const struct troupe_batch *b, size_t i)
{
    return b->state == BATCH_DONE && i < b->calls_n ? &b->results[i] : NULL;
}
