/* See scribes.h. Each has a slate of its own (slate.h), and one call to it under way at a time,
 * which it sends again under its request id until it is answered. So it knows exactly what is on
 * it: a deleted slate is empty, a crash leaves no trace, and a call that was answered does not take
 * effect once more, though copies of its attempts arrive late, and the slate has been deleted
 * since.
 *
 * With a call that was given up it gives up the slate, and takes a new one. So it does when the
 * store has failed over: what was committed may be gone. */
#include "tests/sim/cluster/scribes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/slate.h"
#include "tests/sim/cluster/world.h"

enum {
    SCRIBES_N = 3,
    SCRIBE_CLIENT = 3000, /* their client ids, from here on */
    CALLS_MAX = 50,       /* of one slate */
    THINK_MS_MAX = 800,
    TIMEOUT_MS_MAX = 3000,
    GIVE_UP_MS = 20000,
    LATE_MS_MAX = 8000,
    LATE_MAX = 4, /* copies on their way */
    SLACK_MS = 500,
};

/* A copy of an attempt. */
struct late {
    struct scribe *s; /* NULL: none */
    char slate[16];
    uint64_t sequence, token;
    enum slate_method method;
};

struct scribe {
    struct world *w;
    struct late late[LATE_MAX];
    uint32_t number, slates;
    bool busy;
    char slate[16];
    uint32_t calls;
    uint64_t timeline, sequence, token; /* the store's, when the slate was new; the call's */
    enum slate_method method;
    uint64_t on_it[SLATE_TOKENS_MAX];
    uint32_t n;
    uint64_t ticket, give_up_ns, waits_until_ns;
};

struct scribes {
    struct scribe all[SCRIBES_N];
    uint64_t tokens;
};

static void next_call(struct world *w, void *data);
static void attempt(struct scribe *s);

/* ---- slates ---- */

static bool is_lost(const struct scribe *s)
{
    return s->calls == 0 || s->timeline != s->w->timeline;
}

static void take_another(struct scribe *s)
{
    snprintf(s->slate, sizeof s->slate, "s%u-%u", s->number, s->slates++);
    s->calls = s->n = 0;
    s->timeline = s->w->timeline;
}

static void finish(struct scribe *s)
{
    struct world *w = s->w;
    s->busy = false;
    s->ticket++;
    if (is_lost(s) || s->calls >= CALLS_MAX || s->n >= SLATE_TOKENS_MAX - 2)
        s->calls = 0;
    world_at(w, w->now_ns + 1 + world_while(w, THINK_MS_MAX * WORLD_MS), next_call, s);
}

static void give_up(struct scribe *s)
{
    s->calls = 0;
    finish(s);
}

/* ---- what must be on it ---- */

static void apply(struct scribe *s)
{
    if (s->method == SLATE_PUT)
        s->on_it[s->n++] = s->token;
    else if (s->method == SLATE_WIPE)
        s->n = 0;
}

static void compare(struct scribe *s, struct troupe_bytes got)
{
    struct world *w = s->w;
    size_t len = s->n * sizeof s->on_it[0];
    if (got.len == len && (len == 0 || memcmp(got.data, s->on_it, len) == 0))
        return;
    uint64_t last = 0;
    if (got.len >= 8)
        memcpy(&last, got.data + got.len - 8, 8);
    world_fail(w,
               "slate/%s: after %s %" PRIu64 " there are %zu tokens, the last one %" PRIu64
               ", and should be %u, the last one %" PRIu64,
               s->slate, slate_methods[s->method], s->token, got.len / 8, last, s->n,
               s->n == 0 ? 0 : s->on_it[s->n - 1]);
}

/* ---- answers ---- */

static void done(struct scribe *s, const struct rpc_result *result)
{
    struct world *w = s->w;
    apply(s);
    w->stats.scribbled++;
    w->stats.wiped += s->method == SLATE_WIPE;
    /* Where a name may be robbed, two answer for a while (docs/ownership.md). */
    bool may_be_old = s->method == SLATE_READ && w->wrong_proofs;
    if (result->status == TROUPE_OK && !may_be_old)
        compare(s, result->payload);
    if (result->status == TROUPE_OK && s->method != SLATE_READ && result->ack != TROUPE_ACK_DURABLE)
        world_fail(w, "slate/%s: %s is acknowledged, but not as durable", s->slate,
                   slate_methods[s->method]);
    finish(s);
}

static void wait_until(struct scribe *s, uint64_t ns);

static void answered(void *data, uint64_t ticket, const struct rpc_reply *reply,
                     uint64_t let_out_ns)
{
    struct scribe *s = data;
    struct world *w = s->w;
    const struct rpc_result *result = &reply->results[0];
    (void)let_out_ns;
    if (!s->busy || s->ticket != ticket)
        return;
    if (s->timeline != w->timeline) {
        give_up(s);
        return;
    }
    switch ((enum troupe_status)result->status) {
    case TROUPE_OK:
        if (s->method == SLATE_SPOIL)
            world_fail(w, "slate/%s: a handler that crashed has answered", s->slate);
        done(s, result);
        break;
    case TROUPE_INTERNAL:
        if (s->method == SLATE_SPOIL) {
            w->stats.spoilt++;
            finish(s);
            break;
        }
        world_fail(w, "slate/%s: %s: %.*s", s->slate, slate_methods[s->method],
                   (int)result->message.len, (const char *)result->message.data);
        break;
    case TROUPE_ALREADY_EXISTS: /* its reply is not kept */
        done(s, result);
        break;
    case TROUPE_UNAVAILABLE:
    case TROUPE_ABORTED:
    case TROUPE_UNKNOWN:
    case TROUPE_DEADLINE_EXCEEDED:
    case TROUPE_RESOURCE_EXHAUSTED:
    case TROUPE_OUT_OF_RANGE: /* the node's clock is behind */
        s->ticket++;
        wait_until(s, w->now_ns + 10 * WORLD_MS);
        break;
    default:
        world_fail(w, "slate/%s: %s: %s: %.*s", s->slate, slate_methods[s->method],
                   troupe_status_name(result->status), (int)result->message.len,
                   (const char *)result->message.data);
    }
}

/* ---- asking ---- */

static void go_on(struct world *w, void *data)
{
    struct scribe *s = data;
    if (!s->busy || s->waits_until_ns != w->now_ns)
        return;
    if (s->timeline != w->timeline || w->now_ns >= s->give_up_ns)
        give_up(s);
    else
        attempt(s);
}

static void wait_until(struct scribe *s, uint64_t ns)
{
    s->waits_until_ns = ns;
    world_at(s->w, ns, go_on, s);
}

static void ask(struct scribe *s, const struct late *what, uint32_t timeout_ms,
                ports_answered_cb cb, uint64_t ticket)
{
    struct world *w = s->w;
    struct rpc_call call = {
        .kind = troupe_bytes_of("slate"),
        .id = troupe_bytes_of(what->slate),
        .method = troupe_bytes_of(slate_methods[what->method]),
        .payload = troupe_bytes(&what->token, sizeof what->token),
        .ack = what->method == SLATE_READ ? TROUPE_ACK_MEMORY : TROUPE_ACK_DURABLE,
        .sequence = what->sequence,
    };
    struct rpc_request rpc = {.client = SCRIBE_CLIENT + s->number,
                              .calls = &call,
                              .calls_n = 1,
                              .timeout_ms = timeout_ms};
    ports_ask(w, (uint32_t)dice_below(&w->dice, w->nodes_n), &rpc, cb, s, ticket);
}

static void ignore(void *data, uint64_t ticket, const struct rpc_reply *reply, uint64_t let_out_ns)
{
    (void)data;
    (void)ticket;
    (void)reply;
    (void)let_out_ns;
}

static void arrive_late(struct world *w, void *data)
{
    struct late *late = data;
    if (!w->clients_rest)
        ask(late->s, late, TIMEOUT_MS_MAX, ignore, 0);
    late->s = NULL;
}

static void attempt(struct scribe *s)
{
    struct world *w = s->w;
    struct late what = {.s = s, .sequence = s->sequence, .token = s->token, .method = s->method};
    memcpy(what.slate, s->slate, sizeof what.slate);
    uint32_t timeout_ms = 200 + (uint32_t)dice_below(&w->dice, TIMEOUT_MS_MAX);
    wait_until(s, w->now_ns + (timeout_ms + SLACK_MS) * WORLD_MS);
    ask(s, &what, timeout_ms, answered, ++s->ticket);
    struct late *copy = &s->late[dice_below(&w->dice, LATE_MAX)];
    if (s->sequence == 0 || copy->s != NULL)
        return;
    *copy = what;
    world_at(w, w->now_ns + 1 + world_while(w, LATE_MS_MAX * WORLD_MS), arrive_late, copy);
}

/* While some may not have heard of a failover, what they acknowledge may be lost. */
static bool may_begin(const struct scribe *s)
{
    const struct world *w = s->w;
    return w->deposed == NULL && w->now_ns > w->strays_until_ns && w->now_ns > w->outage_until_ns;
}

static void next_call(struct world *w, void *data)
{
    struct scribe *s = data;
    static const enum slate_method methods[] = {SLATE_PUT,  SLATE_PUT,  SLATE_PUT,  SLATE_READ,
                                                SLATE_READ, SLATE_WIPE, SLATE_SPOIL};
    if (w->clients_rest || s->busy)
        return;
    if (is_lost(s) && !may_begin(s)) {
        s->calls = 0;
        world_at(w, w->now_ns + 100 * WORLD_MS, next_call, s);
        return;
    }
    if (is_lost(s))
        take_another(s);
    s->calls++;
    s->busy = true;
    s->method = methods[dice_below(&w->dice, sizeof methods / sizeof methods[0])];
    s->token = ++w->scribes->tokens;
    bool has_id = s->method == SLATE_PUT || s->method == SLATE_WIPE;
    s->sequence =
        has_id ? ((UINT64_C(1800000000000) + w->now_ns / WORLD_MS) << RPC_SEQUENCE_COUNTER_BITS) |
                     (s->token & 0xFFFFF)
               : 0;
    s->give_up_ns = w->now_ns + GIVE_UP_MS * WORLD_MS;
    attempt(s);
}

void scribes_open(struct world *w)
{
    w->scribes = calloc(1, sizeof *w->scribes);
    INVARIANT(w->scribes != NULL);
    for (uint32_t i = 0; i < SCRIBES_N && group_is_on(w, GROUP_WIPES); i++) {
        struct scribe *s = &w->scribes->all[i];
        *s = (struct scribe){.w = w, .number = i};
        world_at(w, w->now_ns + dice_below(&w->dice, WORLD_S), next_call, s);
    }
}

void scribes_close(struct world *w)
{
    free(w->scribes);
}
