/* The runtime alone, in this process: what a call costs when no socket, no thread and no database
 * takes part. Requests are made beforehand; a turn steps some of them and collects, as a node's
 * turn does, with a reading of the clock before each step and each collect. */
#include <stdlib.h>
#include <string.h>

#include "tools/bench/bench.h"
#include "tools/bench/host.h"
#include "tools/bench/load.h"

enum { REQUESTS = 4096, ARENA_BYTES = 64 << 10, REQUESTS_PER_TURN_MAX = 16 };

struct shape {
    const char *what;
    const char *method;
    uint32_t calls;    /* of a request */
    uint32_t requests; /* of a turn */
    bool with_ids, with_codec;
};

static const struct shape SHAPES[] = {
    {"runtime: writes, 64 in a request", "incr", 64, 1, false, false},
    {"runtime: the same with request ids", "incr", 64, 1, true, false},
    {"runtime: the same, decoded and encoded", "incr", 64, 1, false, true},
    {"runtime: reads, 64 in a request", "read", 64, 1, false, false},
    {"runtime: writes, 1 in a request", "incr", 1, 1, false, false},
    {"runtime: 16 such requests in a turn", "incr", 1, 16, false, false},
};
enum { SHAPES_N = sizeof SHAPES / sizeof SHAPES[0] };

/* The requests of one shape, ready to be used again and again. */
struct script {
    const struct shape *shape;
    struct arena memory;
    struct rpc_request *rpcs;
    struct troupe_bytes *frames; /* the same, encoded */
    uint8_t *reply;              /* where replies are encoded to */
    size_t reply_bytes;
    struct arena arenas[REQUESTS_PER_TURN_MAX];
    struct runtime_request requests[REQUESTS_PER_TURN_MAX];
    struct rpc_request decoded[REQUESTS_PER_TURN_MAX];
    size_t at;
    uint64_t sequence;
};

static bool write_request(struct script *s, struct rpc_request *rpc, uint64_t *random,
                          uint32_t entities)
{
    *rpc = (struct rpc_request){
        .timeout_ms = 5000, .client = s->shape->with_ids ? 1 : 0, .calls_n = s->shape->calls};
    rpc->calls = arena_calloc(&s->memory, rpc->calls_n, sizeof *rpc->calls);
    for (size_t i = 0; rpc->calls != NULL && i < rpc->calls_n; i++) {
        char id[24];
        size_t len = write_decimal(id, random_next(random) % entities);
        rpc->calls[i].kind = troupe_bytes_of("counter");
        rpc->calls[i].method = troupe_bytes_of(s->shape->method);
        rpc->calls[i].id = arena_copy(&s->memory, troupe_bytes(id, len));
        if (rpc->calls[i].id.data == NULL)
            return false;
    }
    return rpc->calls != NULL;
}

static bool encode_request(struct script *s, const struct rpc_request *rpc,
                           struct troupe_bytes *frame)
{
    size_t size = rpc_request_size(rpc);
    uint8_t *bytes = arena_alloc(&s->memory, size);
    if (bytes == NULL)
        return false;
    *frame = troupe_bytes(bytes, rpc_request_encode(rpc, bytes));
    return true;
}

static void script_close(struct script *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < REQUESTS_PER_TURN_MAX; i++)
        arena_close(&s->arenas[i]);
    arena_close(&s->memory);
    free(s);
}

static struct script *script_open(const struct shape *shape, uint32_t entities)
{
    uint64_t random = 7;
    struct script *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->shape = shape;
    s->reply_bytes = (size_t)shape->calls * 64 + 64;
    arena_init(&s->memory, 1 << 20, 0);
    for (size_t i = 0; i < REQUESTS_PER_TURN_MAX; i++)
        arena_init(&s->arenas[i], ARENA_BYTES, 0);
    s->rpcs = arena_calloc(&s->memory, REQUESTS, sizeof *s->rpcs);
    s->frames = arena_calloc(&s->memory, REQUESTS, sizeof *s->frames);
    s->reply = arena_alloc(&s->memory, s->reply_bytes);
    bool whole = s->rpcs != NULL && s->frames != NULL && s->reply != NULL;
    for (size_t i = 0; whole && i < REQUESTS; i++)
        whole = write_request(s, &s->rpcs[i], &random, entities) &&
                encode_request(s, &s->rpcs[i], &s->frames[i]);
    if (whole)
        return s;
    script_close(s);
    return NULL;
}

/* Every request is a new one: its ids have not been seen yet. */
static void renew_ids(struct script *s, struct rpc_request *rpc)
{
    rpc->acked = s->sequence + 1;
    for (size_t i = 0; i < rpc->calls_n; i++)
        rpc->calls[i].sequence = ++s->sequence;
}

static bool push_request(struct script *s, struct host *h, size_t place)
{
    const char *why;
    size_t at = s->at++ % REQUESTS;
    struct arena *arena = &s->arenas[place];
    struct rpc_request *rpc = &s->rpcs[at];
    if (s->shape->with_ids)
        renew_ids(s, rpc);
    if (s->shape->with_codec) {
        rpc = &s->decoded[place];
        if (rpc_request_decode(arena, s->frames[at], rpc, &why) != 0)
            return false;
    }
    if (runtime_request_init(&s->requests[place], arena, rpc) != 0)
        return false;
    host_push(h, &s->requests[place]);
    return true;
}

static bool turn(struct script *s, struct host *h)
{
    for (size_t i = 0; i < s->shape->requests; i++) {
        if (!push_request(s, h, i))
            return false;
    }
    host_collect(h);
    for (size_t i = 0; i < s->shape->requests; i++) {
        const struct rpc_reply *reply = &s->requests[i].reply;
        if (reply->results[0].status != TROUPE_OK)
            return false;
        if (s->shape->with_codec &&
            (rpc_reply_size(reply) > s->reply_bytes || rpc_reply_encode(reply, s->reply) == 0))
            return false;
        arena_reset(&s->arenas[i]);
    }
    return true;
}

static int measure(struct bench *b, struct host *h, struct script *s, struct figure *f)
{
    double from_s = now_s(), until_s = from_s + b->options->seconds / 2;
    uint64_t from = h->answered;
    do {
        for (int i = 0; i < 64; i++) {
            if (!turn(s, h))
                return bench_fail(b, "%s: a call failed", s->shape->what);
        }
    } while (now_s() < until_s);
    series_add(&f->measured, (double)(h->answered - from) / (now_s() - from_s));
    return 0;
}

static int measure_all(struct bench *b, struct host *h, struct script *scripts[SHAPES_N],
                       struct figure *figures[SHAPES_N])
{
    for (uint32_t round = 0; round < b->options->rounds; round++) {
        bench_say("runtime %s", bench_round(b, round));
        for (size_t i = 0; i < SHAPES_N; i++) {
            if (measure(b, h, scripts[i], figures[i]) != 0)
                return -1;
        }
    }
    return 0;
}

int bench_runtime(struct bench *b)
{
    struct host h = {0};
    struct script *scripts[SHAPES_N] = {0};
    struct figure *figures[SHAPES_N];
    int rc = 0;
    for (size_t i = 0; i < SHAPES_N; i++) {
        figures[i] = report_add(&b->report, "calls/s", "%s", SHAPES[i].what);
        scripts[i] = script_open(&SHAPES[i], b->options->entities);
        if (scripts[i] == NULL)
            rc = bench_fail(b, "out of memory");
    }
    if (rc == 0)
        rc = host_open(b, &h, true);
    if (rc == 0)
        rc = host_populate(b, &h, b->options->entities, 0);
    if (rc == 0)
        rc = measure_all(b, &h, scripts, figures);
    if (h.rt != NULL)
        host_close(&h);
    for (size_t i = 0; i < SHAPES_N; i++)
        script_close(scripts[i]);
    return rc;
}
