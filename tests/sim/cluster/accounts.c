/* See accounts.h. Each payer has one payment under way at a time, and sends it again under its
 * request id until it is told that it was made, or gives up.
 *
 * A note is never run twice, and, while both accounts stay where they are and their nodes reach
 * each other, never after a later one of its pair: what had to wait for a partition that moves may
 * come after what was sent later. Nothing of a payment is run before it is committed. After a
 * failover of the store none of this is promised: what was committed may be gone, and be done again
 * with the same numbers. */
#include "tests/sim/cluster/accounts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/name.h"
#include "tests/sim/cluster/account.h"
#include "tests/sim/cluster/disk.h"

enum {
    PAYERS_N = 3,
    PAYER_CLIENT = 1000, /* their client ids, from here on */
    THINK_MS_MAX = 1000,
    GIVE_UP_MS = 20000,
    TIMEOUT_MS_MAX = 3000,
    SLACK_MS = 500,
    SETTLE_S = 30,
    STILL_S = 15,
    LOOK_MS = 400,
    NOTES_MAX = 1000, /* of one pair */
};

struct payer {
    struct world *w;
    uint32_t number;
    bool busy;
    uint64_t ticket, sequence, give_up_ns, waits_until_ns;
    struct account_request payment;
};

struct accounts {
    struct payer payers[PAYERS_N];
    uint64_t tokens;
    bool rest;
    uint8_t runs[ACCOUNTS_N][ACCOUNTS_N][NOTES_MAX]; /* of each note */
    struct account_reply seen[ACCOUNTS_N];           /* at the end … */
    bool has_seen[ACCOUNTS_N];
    struct arena arena;
};

static struct world *the_world; /* whose entities run; a kind knows no other way */

static void next_payment(struct world *w, void *data);
static void attempt(struct world *w, struct payer *p);
static void no_answer(struct world *w, void *data);

static bool is_spared(const struct world *w)
{
    return w->timeline != 0;
}

/* ---- what runs ---- */

static bool is_paid(const struct account_state *head, struct troupe_bytes state, uint64_t token)
{
    struct account_payment p;
    for (uint32_t i = 0; i < head->paid_n; i++) {
        memcpy(&p, state.data + offsetof(struct account_state, paid) + i * sizeof p, sizeof p);
        if (p.token == token)
            return true;
    }
    return false;
}

static void check_committed(struct world *w, const struct account_request *r)
{
    struct accounts *a = w->accounts;
    struct account_state head;
    struct store_row row;
    char id[2] = {(char)('0' + r->from), '\0'};
    struct store_key key = {.kind = troupe_bytes_of("account"), .id = troupe_bytes_of(id)};
    key.pid = name_partition(name_hash(key.kind, key.id), PARTITION_BITS);
    arena_reset(&a->arena);
    bool found = disk_load(w, &key, &a->arena, &row) && !row.deleted;
    if (found)
        memcpy(&head, row.state.data, offsetof(struct account_state, paid));
    if (!found || !is_paid(&head, row.state, r->token))
        world_fail(w,
                   "account/%u hears of payment %" PRIu64 " of account/%u, which is not committed",
                   r->to, r->token, r->from);
}

/* For as long as a letter waits for its partition, nothing has happened around this account. */
static bool is_still(const struct world *w, uint32_t account)
{
    char id[2] = {(char)('0' + account), '\0'};
    const struct owner *owner = &w->owners[name_partition(
        name_hash(troupe_bytes_of("account"), troupe_bytes_of(id)), PARTITION_BITS)];
    uint64_t since_ns = w->now_ns - STILL_S * WORLD_S;
    /* Where owners were told wrongly a letter may have gone by way of any node. */
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        if (w->nodes[i].paused_until_ns >= since_ns)
            return false;
    }
    return owner->since_ns < since_ns && !w->network_is_bad && w->network_bad_ns < since_ns &&
           w->break_per_mille == 0;
}

void account_runs(enum account_method method, const struct account_request *r, uint64_t seen)
{
    struct world *w = the_world;
    if (is_spared(w) || w->failed || (method != ACCOUNT_CREDIT && method != ACCOUNT_NOTE))
        return;
    check_committed(w, r);
    if (method != ACCOUNT_NOTE || r->sequence >= NOTES_MAX)
        return;
    if (w->accounts->runs[r->from][r->to][r->sequence]++ > 0)
        world_fail(w, "account/%u: note %" PRIu64 " of account/%u runs twice", r->to, r->sequence,
                   r->from);
    if (r->sequence <= seen && is_still(w, r->from) && is_still(w, r->to))
        world_fail(w, "account/%u: note %" PRIu64 " of account/%u comes after %" PRIu64, r->to,
                   r->sequence, r->from, seen);
}

/* ---- payers ---- */

/* Not the twin, which is down most of the time. At the end, one that lives: some have been stopped.
 */
static uint32_t some_node(struct world *w)
{
    uint32_t n = (uint32_t)dice_below(&w->dice, w->nodes_n - 1);
    for (uint32_t i = 0; w->accounts->rest && w->nodes[n].run == NULL && i < w->nodes_n; i++)
        n = (n + 1) % w->nodes_n;
    return n;
}

static void ask(struct world *w, uint32_t account, const char *method,
                const struct account_request *r, struct rpc_request *rpc, ports_answered_cb done,
                void *data, uint64_t ticket)
{
    char id[16];
    snprintf(id, sizeof id, "%u", account);
    struct rpc_call *call = &rpc->calls[0];
    call->kind = troupe_bytes_of("account");
    call->id = troupe_bytes_of(id);
    call->method = troupe_bytes_of(method);
    call->payload = troupe_bytes(r, sizeof *r);
    ports_ask(w, some_node(w), rpc, done, data, ticket);
}

static void finish(struct payer *p)
{
    struct world *w = p->w;
    p->busy = false;
    p->ticket++;
    world_at(w, w->now_ns + 1 + world_while(w, THINK_MS_MAX * WORLD_MS), next_payment, p);
}

static void paid(void *data, uint64_t ticket, const struct rpc_reply *reply, uint64_t let_out_ns)
{
    struct payer *p = data;
    struct world *w = p->w;
    (void)let_out_ns;
    if (!p->busy || p->ticket != ticket)
        return;
    enum troupe_status status = (enum troupe_status)reply->results[0].status;
    if (status == TROUPE_OUT_OF_RANGE) /* its clock is behind */
        status = TROUPE_UNAVAILABLE;
    switch (status) {
    case TROUPE_OK:
        w->stats.payments++;
        finish(p);
        break;
    case TROUPE_UNAVAILABLE:
    case TROUPE_ABORTED:
    case TROUPE_UNKNOWN:
    case TROUPE_DEADLINE_EXCEEDED:
    case TROUPE_RESOURCE_EXHAUSTED:
        p->ticket++;
        p->waits_until_ns = w->now_ns + 10 * WORLD_MS;
        world_at(w, p->waits_until_ns, no_answer, p);
        break;
    default:
        world_fail(w, "account/%u: %s: %.*s", p->payment.from,
                   troupe_status_name(reply->results[0].status), (int)reply->results[0].message.len,
                   (const char *)reply->results[0].message.data);
    }
}

static void no_answer(struct world *w, void *data)
{
    struct payer *p = data;
    if (p->busy && p->waits_until_ns == w->now_ns)
        attempt(w, p);
}

static void attempt(struct world *w, struct payer *p)
{
    if (w->now_ns >= p->give_up_ns) {
        finish(p);
        return;
    }
    struct rpc_call call = {.sequence = p->sequence, .ack = TROUPE_ACK_DURABLE};
    struct rpc_request rpc = {.client = PAYER_CLIENT + p->number, .calls = &call, .calls_n = 1};
    rpc.timeout_ms = 200 + (uint32_t)dice_below(&w->dice, TIMEOUT_MS_MAX);
    p->waits_until_ns = w->now_ns + (rpc.timeout_ms + SLACK_MS) * WORLD_MS;
    world_at(w, p->waits_until_ns, no_answer, p);
    ask(w, p->payment.from, "pay", &p->payment, &rpc, paid, p, ++p->ticket);
}

static void next_payment(struct world *w, void *data)
{
    struct payer *p = data;
    struct accounts *a = w->accounts;
    if (a->rest || p->busy)
        return;
    uint32_t from = (uint32_t)dice_below(&w->dice, ACCOUNTS_N);
    p->busy = true;
    p->give_up_ns = w->now_ns + GIVE_UP_MS * WORLD_MS;
    p->sequence = ((UINT64_C(1800000000000) + w->now_ns / WORLD_MS) << RPC_SEQUENCE_COUNTER_BITS) |
                  (++a->tokens & 0xFFFFF);
    p->payment = (struct account_request){
        .token = a->tokens,
        .amount = 1 + (int64_t)dice_below(&w->dice, 100),
        .from = from,
        .to = (from + 1 + (uint32_t)dice_below(&w->dice, ACCOUNTS_N - 1)) % ACCOUNTS_N,
    };
    attempt(w, p);
}

/* ---- the end ---- */

static void looked(void *data, uint64_t ticket, const struct rpc_reply *reply, uint64_t let_out_ns)
{
    struct world *w = data;
    const struct rpc_result *result = &reply->results[0];
    struct accounts *a = w->accounts;
    (void)let_out_ns;
    if (w->trace_all)
        world_trace(w, "account/%u: %s %.*s", (uint32_t)ticket, troupe_status_name(result->status),
                    (int)result->message.len, (const char *)result->message.data);
    if (result->status != TROUPE_OK || result->payload.len != sizeof a->seen[0])
        return;
    a->has_seen[ticket] = true;
    memcpy(&a->seen[ticket], result->payload.data, sizeof a->seen[0]);
}

/* Nothing is open, and nothing is missing. */
static bool is_settled(const struct world *w, char why[96])
{
    const struct accounts *a = w->accounts;
    int64_t sum = 0;
    for (uint32_t i = 0; i < ACCOUNTS_N; i++) {
        sum += a->seen[i].balance;
        if (a->has_seen[i] && a->seen[i].open_n == 0)
            continue;
        snprintf(why, 96, "%" PRIu64 " payments of account/%u have not arrived%s",
                 a->seen[i].open_n, i, a->has_seen[i] ? "" : ", it does not answer");
        return false;
    }
    snprintf(why, 96, "the accounts sum up to %" PRId64, sum);
    return sum == 0;
}

static bool all_rest(const struct world *w)
{
    for (uint32_t i = 0; i < PAYERS_N; i++) {
        if (w->accounts->payers[i].busy)
            return false;
    }
    return true;
}

void accounts_settle(struct world *w)
{
    struct accounts *a = w->accounts;
    char why[96] = "";
    if (!group_is_on(w, GROUP_LETTERS) || w->failed)
        return;
    a->rest = true;
    uint64_t end_ns = w->now_ns + SETTLE_S * WORLD_S;
    while (!w->failed && !(all_rest(w) && is_settled(w, why))) {
        if (w->now_ns >= end_ns && is_spared(w))
            return;
        if (w->now_ns >= end_ns)
            world_fail(w, "%d s after all was calm: %s", SETTLE_S, why);
        for (uint32_t i = 0; i < ACCOUNTS_N && !w->failed; i++) {
            struct account_request r = {.from = i};
            struct rpc_call call = {.ack = TROUPE_ACK_MEMORY};
            struct rpc_request rpc = {.calls = &call, .calls_n = 1, .timeout_ms = LOOK_MS};
            a->has_seen[i] = false;
            ask(w, i, "look", &r, &rpc, looked, w, i);
        }
        world_run(w, w->now_ns + (LOOK_MS + SLACK_MS) * WORLD_MS);
    }
}

void accounts_open(struct world *w)
{
    the_world = w;
    w->accounts = calloc(1, sizeof *w->accounts);
    INVARIANT(w->accounts != NULL);
    arena_init(&w->accounts->arena, 16 << 10, 0);
    for (uint32_t i = 0; i < PAYERS_N && group_is_on(w, GROUP_LETTERS); i++) {
        struct payer *p = &w->accounts->payers[i];
        *p = (struct payer){.w = w, .number = i};
        uint64_t at = w->now_ns + dice_below(&w->dice, WORLD_S);
        world_at(w, at, next_payment, p);
    }
}

void accounts_close(struct world *w)
{
    arena_close(&w->accounts->arena);
    free(w->accounts);
}
