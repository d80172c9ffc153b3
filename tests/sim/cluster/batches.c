/* See batches.h. The calls are those of clients.c, to ledgers, but a request has many of them: to
 * several nodes' entities, several to one, and some twice under one request id, which must take
 * effect once, and be answered alike. What has not been answered is sent again in the next request
 * with the same ids. Some batches have no ids, and are sent once. */
#include "tests/sim/cluster/batches.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/ledger.h"
#include "tests/sim/cluster/world.h"

enum {
    SENDERS_N = 3,
    SENDER_CLIENT = 2000, /* their client ids, from here on */
    CALLS_MAX = 12,
    TWINS_MAX = 4,
    OF_ONE_MAX = 3, /* to one ledger: its history is to be explained */
    THINK_MS_MAX = 1500,
    TIMEOUT_MS_MAX = 4000,
    GIVE_UP_MS = 20000,
    SLACK_MS = 500,
};

struct item {
    struct ledger_op l;
    uint64_t sequence, run;
    bool settled;
};

struct sender {
    struct world *w;
    uint32_t number;
    bool busy, retries, in_overlap;
    uint32_t items_n, attempts;
    struct item items[CALLS_MAX];
    uint32_t sent[CALLS_MAX + TWINS_MAX], sent_n; /* the items of the request under way */
    uint64_t ticket, give_up_ns, waits_until_ns;
};

struct batches {
    struct sender senders[SENDERS_N];
    uint64_t sequences;
};

static void next_batch(struct world *w, void *data);
static void attempt(struct sender *s);

static void finish(struct sender *s)
{
    struct world *w = s->w;
    for (uint32_t i = 0; i < s->items_n; i++)
        s->items[i].l.key->out--;
    s->busy = false;
    s->ticket++;
    world_at(w, w->now_ns + WORLD_MS + world_while(w, THINK_MS_MAX * WORLD_MS), next_batch, s);
}

static bool is_settled(const struct sender *s)
{
    for (uint32_t i = 0; i < s->items_n; i++) {
        if (!s->items[i].settled)
            return false;
    }
    return true;
}

static void go_on(struct world *w, void *data)
{
    struct sender *s = data;
    if (!s->busy || s->waits_until_ns != w->now_ns)
        return;
    if (!s->retries || is_settled(s) || w->now_ns >= s->give_up_ns)
        finish(s);
    else
        attempt(s);
}

static void wait_until(struct sender *s, uint64_t ns)
{
    s->waits_until_ns = ns;
    world_at(s->w, ns, go_on, s);
}

/* Two answers to one call that is durable are the same one. */
static void compare(struct sender *s, const struct item *item, const struct rpc_result *result)
{
    const struct history_op *op = &item->l.key->history.ops[item->l.op];
    struct ledger_reply reply;
    if (!op->durable || op->outcome != HISTORY_DONE || result->ack != TROUPE_ACK_DURABLE ||
        result->payload.len != sizeof reply || s->w->timeline != 0)
        return;
    memcpy(&reply, result->payload.data, sizeof reply);
    if (reply.count != op->count || reply.value != op->value)
        world_fail(s->w, "ledger/%s: the same call twice in one request has two answers",
                   item->l.key->id);
}

static void answered_one(struct sender *s, struct item *item, const struct rpc_result *result,
                         uint64_t let_out_ns)
{
    struct world *w = s->w;
    switch ((enum troupe_status)result->status) {
    case TROUPE_OK:
        w->stats.acks++;
        w->stats.durable += result->ack == TROUPE_ACK_DURABLE;
        if (item->settled)
            compare(s, item, result);
        else if (!s->in_overlap)
            clients_ledger_done(w, &item->l, item->run, result, let_out_ns);
        item->settled = true;
        break;
    case TROUPE_UNAVAILABLE:
    case TROUPE_ABORTED:
    case TROUPE_UNKNOWN:
    case TROUPE_DEADLINE_EXCEEDED:
    case TROUPE_RESOURCE_EXHAUSTED:
        if (!s->retries && clients_says_not_done(result)) {
            item->l.key->history.ops[item->l.op].outcome = HISTORY_REFUSED;
            w->stats.refused++;
        }
        break;
    case TROUPE_OUT_OF_RANGE: /* the node's clock is behind */
        break;
    default:
        world_fail(w, "ledger/%s in a batch: %s: %.*s", item->l.key->id,
                   troupe_status_name(result->status), (int)result->message.len,
                   (const char *)result->message.data);
    }
}

static void answered(void *data, uint64_t ticket, const struct rpc_reply *reply,
                     uint64_t let_out_ns)
{
    struct sender *s = data;
    if (!s->busy || s->ticket != ticket)
        return;
    s->ticket++;
    bool whole = reply->status == TROUPE_OK && reply->results_n == s->sent_n;
    for (uint32_t i = 0; whole && i < s->sent_n; i++)
        answered_one(s, &s->items[s->sent[i]], &reply->results[i], let_out_ns);
    wait_until(s, s->w->now_ns + WORLD_MS + dice_below(&s->w->dice, 100 * WORLD_MS));
}

static bool may_be_twice(const struct sender *s, const struct item *item)
{
    uint8_t m = item->l.method; /* what changes nothing is not remembered */
    return s->retries && (m == LEDGER_WRITE || m == LEDGER_PUT || m == LEDGER_BUMP);
}

static void choose(struct sender *s)
{
    s->sent_n = 0;
    for (uint32_t i = 0; i < s->items_n; i++) {
        if (!s->items[i].settled)
            s->sent[s->sent_n++] = i;
    }
    for (uint32_t i = 0, n = s->sent_n; i < n && s->sent_n < n + TWINS_MAX; i++) {
        if (may_be_twice(s, &s->items[s->sent[i]]) && dice_below(&s->w->dice, 4) == 0)
            s->sent[s->sent_n++] = s->sent[i];
    }
}

static void attempt(struct sender *s)
{
    struct world *w = s->w;
    struct rpc_call calls[CALLS_MAX + TWINS_MAX];
    uint8_t payloads[CALLS_MAX + TWINS_MAX][LEDGER_PAYLOAD_BYTES];
    choose(s);
    for (uint32_t i = 0; i < s->sent_n; i++) {
        struct item *item = &s->items[s->sent[i]];
        calls[i] = (struct rpc_call){.ack = item->l.ack, .sequence = item->sequence};
        clients_ledger_call(w, &item->l, s->attempts > 0, s->retries, payloads[i], &calls[i]);
    }
    struct rpc_request rpc = {
        .client = SENDER_CLIENT + s->number, .calls = calls, .calls_n = s->sent_n};
    rpc.timeout_ms = 300 + (uint32_t)dice_below(&w->dice, TIMEOUT_MS_MAX);
    s->attempts++;
    wait_until(s, w->now_ns + (rpc.timeout_ms + SLACK_MS) * WORLD_MS);
    ports_ask(w, (uint32_t)dice_below(&w->dice, w->nodes_n), &rpc, answered, s, ++s->ticket);
}

static uint32_t of_one(const struct sender *s, const struct key *key)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->items_n; i++)
        n += s->items[i].l.key == key;
    return n;
}

static void add(struct sender *s)
{
    struct world *w = s->w;
    struct item *item = &s->items[s->items_n];
    uint64_t n = ++w->batches->sequences & 0xFFFFF;
    if (!clients_begin_ledger(w, &item->l))
        return;
    item->settled = false;
    item->run = 0;
    item->sequence =
        s->retries
            ? (UINT64_C(1800000000000) + w->now_ns / WORLD_MS) << RPC_SEQUENCE_COUNTER_BITS | n
            : 0;
    s->items_n++;
}

static void next_batch(struct world *w, void *data)
{
    struct sender *s = data;
    if (w->clients_rest || s->busy)
        return;
    s->retries = dice_below(&w->dice, 4) != 0;
    s->items_n = s->attempts = 0;
    s->in_overlap = false;
    for (uint64_t n = 2 + dice_below(&w->dice, CALLS_MAX - 1); n > 0; n--) {
        add(s);
        if (s->items_n > 0 && of_one(s, s->items[s->items_n - 1].l.key) >= OF_ONE_MAX)
            break;
    }
    if (s->items_n == 0) {
        world_at(w, w->now_ns + 10 * WORLD_MS, next_batch, s);
        return;
    }
    w->stats.ops += s->items_n;
    w->stats.batches++;
    s->busy = true;
    s->give_up_ns = w->now_ns + GIVE_UP_MS * WORLD_MS;
    attempt(s);
}

static struct sender *sender_of(struct world *w, uint64_t client)
{
    bool is_one = client >= SENDER_CLIENT && client < SENDER_CLIENT + SENDERS_N;
    return is_one ? &w->batches->senders[client - SENDER_CLIENT] : NULL;
}

void batches_told(struct world *w, uint64_t client, const struct store_key *key, uint64_t run)
{
    struct sender *s = sender_of(w, client);
    for (uint32_t i = 0; s != NULL && s->busy && i < s->items_n; i++) {
        if (troupe_bytes_equal(key->id, troupe_bytes_of(s->items[i].l.key->id)))
            s->items[i].run = run;
    }
}

void batches_overlap(struct world *w, uint64_t client)
{
    struct sender *s = sender_of(w, client);
    if (s != NULL)
        s->in_overlap = true;
}

void batches_open(struct world *w)
{
    w->batches = calloc(1, sizeof *w->batches);
    INVARIANT(w->batches != NULL);
    for (uint32_t i = 0; i < SENDERS_N && group_is_on(w, GROUP_BATCHES); i++) {
        struct sender *s = &w->batches->senders[i];
        *s = (struct sender){.w = w, .number = i};
        world_at(w, w->now_ns + dice_below(&w->dice, WORLD_S), next_batch, s);
    }
}

void batches_close(struct world *w)
{
    free(w->batches);
}
