/* What must be true at every step. The judge sees each request take effect in the store, and each
 * answer leave a node, at the very instant. */
#include "tests/sim/cluster/judge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/name.h"
#include "tests/sim/cluster/disk.h"
#include "tests/sim/cluster/peek.h"

enum {
    HANDOVER_MS_MAX = 12000,
    QUIET_MS = 1500, /* without a renewal: then a proof may be believed */
    DOUBT_MS = 3000,
    LACKS_MS = 100, /* what is on its way to a node when it says that it takes none */
};

/* ---- runs ---- */

struct run *judge_find_run(const struct world *w, const char *name, uint64_t generation)
{
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        if (run->generation == generation && strcmp(run->node->name, name) == 0)
            return run;
    }
    return NULL;
}

void judge_ended(struct world *w, const char *name, uint64_t generation)
{
    struct run *run = judge_find_run(w, name, generation);
    if (run != NULL)
        run->ended = true;
}

/* Whatever the proofs say: who renews keeps its name, and its lease. */
static void judge_theft(struct world *w, const struct run *thief, struct run *victim)
{
    bool doubt = w->store_doubt_ns != 0 && w->now_ns - w->store_doubt_ns < DOUBT_MS * WORLD_MS;
    if (victim == NULL || victim == thief || victim->dead || victim->ended)
        return;
    if (doubt || w->now_ns - victim->renewed_ns >= QUIET_MS * WORLD_MS) {
        victim->robbed =
            w->wrong_proofs; /* it may answer until its lease ends (docs/ownership.md) */
        return;
    }
    world_fail(w,
               "%s takes the name or the lease of %s (run %" PRIu64 "), which renewed %" PRIu64
               " ms ago",
               thief->node->client, victim->node->client, victim->number,
               (w->now_ns - victim->renewed_ns) / WORLD_MS);
}

static void registered(struct world *w, struct run *run, const struct store_register *reg)
{
    uint32_t name = run->node->is_twin ? 0 : run->node->index;
    uint64_t *latest = &w->generations[name], *max = &w->generations_max[name];
    if (run->generation == reg->generation)
        return;
    if (reg->generation <= *max)
        world_fail(w, "%s registers as generation %" PRIu64 " after %" PRIu64, run->node->client,
                   reg->generation, *max);
    judge_theft(w, run, judge_find_run(w, run->node->name, *latest));
    judge_ended(w, run->node->name, *latest);
    *latest = *max = reg->generation;
    run->generation = reg->generation;
    run->ended = false;
    world_trace(w, "%s is %s, generation %" PRIu64, run->node->client, run->node->name,
                reg->generation);
}

/* ---- owners ---- */

static void may_lose(struct world *w, struct owner *owner)
{
    owner->claims_ns[owner->claims_n++ % CLAIMS_KEPT] = w->now_ns;
}

/* Something was wrong with one of them, or with what is between them, from when the handover may
 * have begun. Then its receiver may have let go of what it was sent, before the store moved it. */
static bool is_disturbed(const struct world *w, const struct owner *owner)
{
    const struct node *from = &w->nodes[owner->giver], *to = &w->nodes[owner->node];
    uint64_t begun_ns = owner->since_ns - HANDOVER_MS_MAX * WORLD_MS;
    return from->run == NULL || from->run->number != owner->given_by ||
           from->paused_until_ns >= begun_ns || to->paused_until_ns >= begun_ns ||
           w->network_bad_ns >= begun_ns || w->network_is_bad || w->break_per_mille > 0;
}

/* A node asks for what the store says is its own already: it does not know, or it tries again. That
 * it was handed over, its giver should have told, with everything in it. */
static void claimed_again(struct world *w, const struct run *run, const struct store_claimed *c)
{
    struct owner *owner = &w->owners[c->pid];
    if (owner->run_number != run->number)
        world_fail(w, "partition %u is said to be %s's already", c->pid, run->node->client);
    if (owner->given_by != 0 && is_disturbed(w, owner))
        may_lose(w, owner);
    failover_claimed_again(w, run, c->pid);
}

static struct run *find_owner(const struct world *w, const struct owner *owner)
{
    struct run *run = w->runs;
    while (run != NULL && run->number != owner->run_number)
        run = run->next;
    return run;
}

static void change_owner(struct world *w, uint32_t pid, struct run *run, uint64_t epoch, bool anew)
{
    struct owner *owner = &w->owners[pid];
    if (epoch <= owner->epoch_max)
        world_fail(w, "partition %u gets epoch %" PRIu64 ", and had %" PRIu64 " before", pid, epoch,
                   owner->epoch_max);
    /* What an earlier run of it has left is for it to give away. */
    if (run->lacks_ns != 0 && owner->node != run->node->index &&
        w->now_ns - run->lacks_ns > LACKS_MS * WORLD_MS)
        world_fail(w,
                   "%s takes partition %u, and has said %" PRIu64
                   " ms ago that it takes none, for want of a kind",
                   run->node->client, pid, (w->now_ns - run->lacks_ns) / WORLD_MS);
    if (w->trace_all)
        world_trace(w, "partition %u: from n%u (run %" PRIu64 ") to n%u (run %" PRIu64 ") %s", pid,
                    owner->node, owner->run_number, run->node->index, run->number,
                    anew ? "by a claim" : "by a transfer");
    /* What it had itself, it has kept. */
    bool had = (owner->undone ? owner->keeper : owner->run_number) == run->number;
    if (anew && owner->epoch > 0 && !had)
        may_lose(w, owner);
    failover_moved(w, pid, find_owner(w, owner), run, anew);
    owner->before[owner->before_n % OWNERS_BEFORE].run_number = owner->run_number;
    owner->before[owner->before_n++ % OWNERS_BEFORE].until_ns = w->now_ns;
    owner->keeper = 0;
    owner->undone = false;
    owner->unheard = 0;
    if (owner->displaced == run->number)
        owner->displaced = 0;
    owner->epoch_max = epoch;
    owner->given_by = anew ? 0 : owner->run_number;
    owner->giver = owner->node;
    owner->since_ns = w->now_ns;
    owner->epoch = epoch;
    owner->node = run->node->index;
    owner->run_number = run->number;
    owner->generation = run->generation;
}

static void claimed(struct world *w, struct run *run, const struct store_claim *claim)
{
    uint64_t n = 0;
    for (size_t i = 0; i < claim->claimed_n; i++) {
        const struct store_claimed *c = &claim->claimed[i];
        if (c->epoch != c->epoch_prev) {
            change_owner(w, c->pid, run, c->epoch, true);
            n++;
        } else {
            claimed_again(w, run, c);
        }
    }
    w->stats.claims += n;
    if (n > 0)
        world_trace(w, "%s claims %" PRIu64 " partitions", run->node->client, n);
}

static void transferred(struct world *w, const struct store_transfer *t)
{
    struct run *to = judge_find_run(w, t->to, t->to_generation);
    uint64_t n = 0;
    for (size_t i = 0; i < t->moved_n; i++) {
        if (t->moved[i].epoch == w->owners[t->moved[i].pid].epoch)
            continue;
        INVARIANT(to != NULL);
        change_owner(w, t->moved[i].pid, to, t->moved[i].epoch, false);
        n++;
    }
    w->stats.transfers += n;
    if (n > 0)
        world_trace(w, "%s gives %" PRIu64 " partitions to %s", t->name, n, t->to);
}

/* ---- rows ---- */

/* What the rows of a save were before it. */
static void load_rows(struct world *w, const struct store_save *save, struct judge_rows *rows)
{
    arena_reset(&rows->arena);
    struct store_key *keys = arena_alloc(&rows->arena, save->rows_n * sizeof *keys);
    INVARIANT(keys != NULL);
    for (size_t i = 0; i < save->rows_n; i++)
        keys[i] = save->rows[i].key;
    rows->load = (struct store_request){.op = STORE_LOAD, .arena = &rows->arena};
    rows->load.u.load.keys = keys;
    rows->load.u.load.keys_n = save->rows_n;
    disk_run(w, &rows->load);
    INVARIANT(rows->load.error == 0);
}

static bool continues(struct troupe_bytes old, struct troupe_bytes new)
{
    return old.len <= new.len && (old.len == 0 || memcmp(old.data, new.data, old.len) == 0);
}

static void judge_row(struct world *w, const struct run *run, const struct store_key *key,
                      const struct store_row *old, const struct store_row *new)
{
    bool down = new->epoch < old->epoch || (new->epoch == old->epoch &&new->version < old->version);
    if (down)
        world_fail(w,
                   "%.*s/%.*s: version %" PRIu64 " of epoch %" PRIu64 " by %s comes after %" PRIu64
                   " of %" PRIu64,
                   (int)key->kind.len, (const char *)key->kind.data, (int)key->id.len,
                   (const char *)key->id.data, new->version, new->epoch, run->node->client,
                   old->version, old->epoch);
    else if (troupe_bytes_equal(key->kind, troupe_bytes_of("ledger")) &&
             !continues(old->state, new->state))
        world_fail(w,
                   "ledger/%.*s (partition %u): what %s (run %" PRIu64
                   ") saves forgets what was committed before",
                   (int)key->id.len, (const char *)key->id.data, key->pid, run->node->client,
                   run->number);
}

static uint64_t last_token(struct troupe_bytes state)
{
    uint64_t token = 0;
    if (state.len >= sizeof token)
        memcpy(&token, state.data + state.len - sizeof token, sizeof token);
    return token;
}

static void saved(struct world *w, const struct run *run, const struct store_save *save)
{
    struct judge_rows *before = &w->judge->before, *after = &w->judge->after;
    load_rows(w, save, after);
    for (size_t i = 0; w->trace_all && i < save->rows_n; i++) {
        const struct store_row *row = &after->load.u.load.rows[i];
        world_trace(w,
                    "%s saves partition %u %.*s version %" PRIu64 ", %zu bytes ending %" PRIu64
                    ": now %" PRIu64 " of %" PRIu64 ", %zu bytes",
                    run->node->client, save->rows[i].key.pid, (int)save->rows[i].key.id.len,
                    (const char *)save->rows[i].key.id.data, save->rows[i].version,
                    save->rows[i].state.len, last_token(save->rows[i].state), row->version,
                    row->epoch, row->state.len);
    }
    /* The store may have sorted the rows: they are found again by their place in memory. */
    for (size_t i = 0; i < save->rows_n; i++) {
        const struct store_row *row = &save->rows[i], *now = &after->load.u.load.rows[i];
        for (size_t k = 0; k < before->load.u.load.keys_n; k++) {
            const struct store_key *key = &before->load.u.load.keys[k];
            if (key->id.data == row->key.id.data && before->load.u.load.found[k])
                judge_row(w, run, key, &before->load.u.load.rows[k], now);
        }
        failover_saved(w, run, &row->key, now,
                       now->epoch == row->epoch && now->version == row->version);
    }
    for (size_t i = 0; i < save->fenced_n; i++)
        failover_fenced(w, run, save->fenced[i]);
}

/* ---- */

void judge_open(struct world *w)
{
    w->judge = calloc(1, sizeof *w->judge);
    INVARIANT(w->judge != NULL);
    arena_init(&w->judge->before.arena, 16 << 10, 0);
    arena_init(&w->judge->after.arena, 16 << 10, 0);
}

void judge_close(struct world *w)
{
    arena_close(&w->judge->before.arena);
    arena_close(&w->judge->after.arena);
    free(w->judge);
}

void judge_before(struct world *w, struct run *run, const struct store_request *r)
{
    (void)run;
    if (r->op == STORE_SAVE)
        load_rows(w, &r->u.save, &w->judge->before);
}

void judge_after(struct world *w, struct run *run, const struct store_request *r)
{
    if (r->error != 0)
        return;
    if (r->op == STORE_REGISTER || r->op == STORE_RENEW)
        run->renewed_ns = w->now_ns;
    switch (r->op) {
    case STORE_REGISTER:
        registered(w, run, &r->u.reg);
        break;
    case STORE_RENEW:
        failover_acted(w, run, r->u.renew.generation);
        break;
    case STORE_LOAD:
        failover_loaded(w, run, &r->u.load);
        break;
    case STORE_LEAVE:
        run->left = true;
        judge_ended(w, r->u.leave.name, r->u.leave.generation);
        break;
    case STORE_CLAIM:
        failover_acted(w, run, r->u.claim.generation);
        claimed(w, run, &r->u.claim);
        break;
    case STORE_SAVE:
        saved(w, run, &r->u.save);
        break;
    case STORE_EVICT:
        failover_acted(w, run, r->u.evict.generation);
        if (!r->u.evict.evicted)
            break;
        world_trace(w, "%s evicts %s", run->node->client, r->u.evict.target);
        w->stats.evictions++;
        if (r->u.evict.why == STORE_EVICT_GONE)
            judge_theft(w, run, judge_find_run(w, r->u.evict.target, r->u.evict.target_generation));
        judge_ended(w, r->u.evict.target, r->u.evict.target_generation);
        break;
    case STORE_TRANSFER:
        failover_acted(w, run, r->u.transfer.generation);
        transferred(w, &r->u.transfer);
        break;
    default:
        break;
    }
}

/* ---- answers ---- */

static bool is_an_entity(const struct rpc_call *call)
{
    return call->kind.len > 0 && call->kind.data[0] != '$';
}

static bool had_since(const struct owner *owner, const struct run *run, uint64_t since_ns)
{
    if (owner->run_number == run->number)
        return true;
    for (uint32_t i = 0; i < OWNERS_BEFORE; i++) {
        if (owner->before[i].run_number == run->number && owner->before[i].until_ns >= since_ns)
            return true;
    }
    return false;
}

void judge_executed(struct run *run, const struct runtime_request *request, uint64_t since_ns)
{
    struct world *w = run->node->w;
    size_t n = request->executed ? request->reply.results_n : 0;
    for (size_t i = 0; i < n; i++) {
        const struct rpc_call *call = &request->rpc->calls[i];
        const struct rpc_result *result = &request->reply.results[i];
        if (!is_an_entity(call) || result->status != TROUPE_OK || !peek_executed(request, i))
            continue;
        uint32_t pid = name_partition(name_hash(call->kind, call->id), PARTITION_BITS);
        const struct owner *owner = &w->owners[pid];
        const struct store_key key = {.pid = pid, .kind = call->kind, .id = call->id};
        if (owner->run_number == run->number && !run->ended) {
            failover_answered(w, run, &key, request->rpc->client);
            continue;
        }
        if (run->robbed || failover_admits(w, run, pid, request->rpc->client))
            continue;
        /* The answers of a batch leave together, with the last of them. */
        if (n > 1 && (!run->ended || run->left) && had_since(owner, run, since_ns))
            continue;
        world_fail(w,
                   "%s (run %" PRIu64 ") answers for %.*s/%.*s, but the store has partition %u as "
                   "that of %s (run %" PRIu64 ")%s",
                   run->node->client, run->number, (int)call->kind.len,
                   (const char *)call->kind.data, (int)call->id.len, (const char *)call->id.data,
                   pid, w->nodes[owner->node].client, owner->run_number,
                   run->ended ? ", and its lease has ended" : "");
    }
}

/* ---- histories ---- */

/* In their order, with those that are there already; false: there is no room for all. */
static bool add_loss(struct history *h, uint64_t at_ns)
{
    uint32_t at = h->losses_n;
    if (at == HISTORY_LOSSES_MAX)
        return false;
    for (; at > 0 && h->losses[at - 1].at_ns > at_ns; at--)
        h->losses[at] = h->losses[at - 1];
    h->losses[at] = (struct history_loss){.at_ns = at_ns};
    h->losses_n++;
    return true;
}

void judge_key(struct world *w, struct key *key)
{
    const struct owner *owner = &w->owners[key->pid];
    struct history *h = &key->history;
    uint64_t kept = owner->claims_n < CLAIMS_KEPT ? owner->claims_n : CLAIMS_KEPT;
    for (uint64_t i = owner->claims_n - kept; i < owner->claims_n; i++) {
        uint64_t at = owner->claims_ns[i % CLAIMS_KEPT];
        if (at > key->born_ns && !add_loss(h, at))
            break;
    }
    w->stats.keys++;
    w->stats.losses += h->losses_n;
    if (h->losses_n == HISTORY_LOSSES_MAX) { /* some are not known: no verdict */
        w->stats.undecided++;
        return;
    }
    switch (history_judge(h)) {
    case HISTORY_EXPLAINED:
        break;
    case HISTORY_UNDECIDED:
        w->stats.undecided++;
        break;
    case HISTORY_IMPOSSIBLE:
        if (!w->failed)
            w->failed_history = *h;
        world_fail(w, "ledger/%s (partition %u): no order of its calls explains their answers",
                   key->id, key->pid);
    }
}
