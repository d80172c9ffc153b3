/* The node's standing in its cluster: it registers, keeps its lease, claims partitions, is
 * suspended when the lease runs out, takes up again when the store confirms it, stops and leaves
 * (DESIGN §6.1-6.4, §6.9).
 *
 *   STARTING ──registered, everything claimed once──▶ SERVING ──lease ran out, clock jumped──▶
 * SUSPENDED ▲                                                │  ▲ │ └────────────── evicted
 * ─────────────────────────┘  └── renewed, owner map re-checked ─────┘ any of these ──stop──▶
 * STOPPING ──all persisted, left──▶ STOPPED          STARTING ──▶ FAILED
 *
 * While suspended nothing that relies on owning is answered: calls wait, finished replies are held.
 * State stays in memory. If the epochs turn out unchanged, nobody else can have written in between,
 * and all goes on; what was lost is dropped. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    HOLDER_POLL_MS = 500, /* a name that is taken: look again */
    HOLDER_GAP_MS = 1500, /* … and two of these looks in a row have failed */
    HOLDER_MOVES_MAX = 2, /* renewals seen that prove that its holder lives */
    LEAVE_ATTEMPTS_MAX = 3,
    STOP_ANSWERS_MS = 5000, /* a node that stops waits so long for answers of others */
    HELD_POLL_MS = 50,
};

static void slot_init(struct store_slot *slot)
{
    arena_init(&slot->arena, 0, 0);
}

int lifecycle__init(struct runtime *rt)
{
    const struct runtime_config *c = &rt->config;
    struct lease_config lease = {
        .ttl_ns = c->lease_ttl_ms * NS_PER_MS,
        .renew_ns = c->lease_renew_ms * NS_PER_MS,
        .outage_grace_ns = c->outage_grace_ms * NS_PER_MS,
        .outage_fence = c->outage_fence,
    };
    lease_init(&rt->lease, &lease);
    rt->claim_doubt_ns = UINT64_MAX;
    slot_init(&rt->reg);
    slot_init(&rt->renew);
    slot_init(&rt->claim);
    slot_init(&rt->owners);
    slot_init(&rt->leave);
    slot_init(&rt->evict);
    slot_init(&rt->kinds_set);
    node_ask__init(rt);
    snprintf(rt->store_error, sizeof rt->store_error, "not reached yet");
    return ownership_init(&rt->ownership, c->partitions);
}

void lifecycle__close(struct runtime *rt)
{
    struct store_slot *slots[] = {&rt->reg,   &rt->renew, &rt->claim,    &rt->owners,
                                  &rt->leave, &rt->evict, &rt->kinds_set};
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
        arena_close(&slots[i]->arena);
    node_ask__close(rt);
    ownership_close(&rt->ownership);
}

void lifecycle__submit(struct runtime *rt, struct store_slot *slot, enum store_op op)
{
    INVARIANT(!slot->out);
    slot->out = true;
    slot->sent_ns = rt->now.mono_ns;
    slot->request.data = rt;
    slot->request.op = op;
    slot->request.arena = &slot->arena;
    runtime__submit(rt, &slot->request);
}

bool lifecycle__is_free(const struct runtime *rt, const struct store_slot *slot)
{
    return !slot->out && rt->now.mono_ns >= slot->retry_ns;
}

void lifecycle__slot_failed(struct runtime *rt, struct store_slot *slot)
{
    slot->retry_ns = rt->now.mono_ns + runtime__backoff(rt, slot->failures++);
}

void lifecycle__slot_worked(struct store_slot *slot)
{
    slot->failures = 0;
    slot->retry_ns = 0;
}

static void fail(struct runtime *rt, int code, const char *text)
{
    rt->phase = RUNTIME_FAILED;
    rt->failure_code = code;
    snprintf(rt->failure, sizeof rt->failure, "%s", text);
    request__revoke_all(rt); /* held since the lease was lost: it will not be confirmed */
    deliver__unpark(rt);     /* refuses what waits */
}

static const char *number(char buf[24], uint64_t value)
{
    snprintf(buf, 24, "%" PRIu64, value);
    return buf;
}

/* ---- phases ---- */

static void serve(struct runtime *rt)
{
    char owned[24], generation[24];
    rt->phase = RUNTIME_SERVING;
    log__add(rt, RUNTIME_INFO, "serving", "name", rt->config.name, "generation",
             number(generation, rt->generation), "partitions",
             number(owned, ownership_held(&rt->ownership)), NULL);
    deliver__unpark(rt);
}

void lifecycle__suspend(struct runtime *rt, const char *why)
{
    INVARIANT(rt->phase == RUNTIME_SERVING);
    handoff__abort_all(rt);
    rt->phase = RUNTIME_SUSPENDED;
    rt->recheck = rt->writing_again = false; /* after the next renewal, not before */
    log__add(rt, RUNTIME_WARN, "suspended: calls wait until the store confirms the lease", "why",
             why, "store_error", rt->store_ok ? "" : rt->store_error, NULL);
}

/* Somebody has evicted us. What we have in memory is still right for every partition that nobody
 * claims before we do: the claim's epoch_prev will tell. */
void lifecycle__evicted(struct runtime *rt)
{
    handoff__abort_all(rt);
    handoff__forget_incoming(rt);
    log__add(rt, RUNTIME_ERROR, "evicted: another node or an operator ended this lease", "name",
             rt->config.name, NULL);
    lease_lose(&rt->lease);
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        if (!ownership_is_held(&rt->ownership, pid))
            continue;
        claims__let_go(rt, pid);
        if (rt->phase == RUNTIME_STOPPING) {
            entity__drop_partition(rt, pid, false);
            ownership_forget(&rt->ownership, pid);
        }
    }
    rt->claims_begun = rt->recheck = false;
    if (rt->phase != RUNTIME_STOPPING)
        rt->phase = RUNTIME_STARTING;
}

void lifecycle__fenced(struct runtime *rt, uint32_t pid, bool uncertain)
{
    char text[24];
    log__add(rt, RUNTIME_WARN, "partition lost: the store has another owner or epoch", "partition",
             number(text, pid), NULL);
    if (rt->failed_over && rt->phase != RUNTIME_STOPPING) {
        claims__went_back(rt, pid);
        return;
    }
    claims__lost(rt, pid);
    entity__drop_partition(rt, pid, uncertain);
    ownership_forget(&rt->ownership, pid);
}

/* ---- registering ---- */

static void send_register(struct runtime *rt)
{
    arena_reset(&rt->reg.arena);
    rt->reg.request.u.reg = (struct store_register){
        .name = rt->config.name,
        .incarnation = rt->config.incarnation,
        .addr = rt->config.address,
        .gossip = rt->config.gossip_address,
        .proof = rt->config.proof,
        .ttl_ms = rt->config.lease_ttl_ms,
        .outage_ms = rt->config.outage_fence ? 0 : rt->config.outage_grace_ms,
        .draining = rt->drain_asked,
        .supersede = rt->supersede,
        .former_gone = rt->former_gone,
        .supersede_generation = rt->holder_generation,
        .supersede_renew_seq = rt->holder_seq,
    };
    lease_ask(&rt->lease, rt->now.mono_ns, rt->now.wall_ms);
    lifecycle__submit(rt, &rt->reg, STORE_REGISTER);
}

/* For how long a holder of our name must be seen not to renew. Its lease is over after its TTL, but
 * it may serve on the promises of others, who do not know of us (promise.c): for as long as its row
 * says, like any other node that we have not seen to know us (failover.c). Others that reach the
 * store evict it sooner, and then the name is free. */
static uint64_t holder_wait_ms(const struct runtime *rt, const struct store_node *holder)
{
    uint64_t outage_ms = failover__outage_ms(rt, holder->outage_ms);
    return holder->ttl_ms > outage_ms ? holder->ttl_ms : outage_ms;
}

/* Whether a holder that is silent may be taken over from. Proofs can be wrong where machines are
 * copies of each other, and two that believe them would take the name from each other for ever: a
 * proof counts only of one that has not renewed for longer than a node goes without, while we
 * watched, or by the store's clock; which may have been set, so that it does not count against a
 * renewal that we have seen. */
static bool is_known_gone(const struct runtime *rt, const struct store_register *reg)
{
    const struct store_node *holder = &reg->holder;
    uint64_t seen_ms = (rt->now.mono_ns - rt->holder_seen_ns) / NS_PER_MS;
    if (holder->generation == rt->holder_given_up && seen_ms >= failover__quiet_ms(rt))
        return true;
    switch (reg->holder.fate) {
    case STORE_FATE_BURIED:
        return true;
    case STORE_FATE_GONE:
        return (holder->age_ms >= rt->config.lease_ttl_ms && rt->holder_moves == 0) ||
               seen_ms >= failover__quiet_ms(rt);
    case STORE_FATE_UNKNOWN:
        break;
    }
    return false;
}

/* Nobody knows, but it may not serve any more. */
static bool is_silent(const struct runtime *rt, const struct store_node *holder)
{
    uint64_t seen_ms = (rt->now.mono_ns - rt->holder_seen_ns) / NS_PER_MS;
    return holder->expired && seen_ms >= holder_wait_ms(rt, holder);
}

/* The name is taken. By a run that is provably gone: take over. By one that renews: give up.
 * Otherwise watch it until it cannot be serving by any clock (DESIGN §6.3). */
static void watch_holder(struct runtime *rt, const struct store_register *reg)
{
    const struct store_node *holder = &reg->holder;
    uint64_t now = rt->now.mono_ns;
    bool same_run = holder->generation == rt->holder_generation;
    bool moved = !same_run || holder->renew_seq != rt->holder_seq;
    if (moved) {
        rt->holder_moves = same_run ? rt->holder_moves + 1 : 0;
        rt->holder_generation = holder->generation;
        rt->holder_seq = holder->renew_seq;
        rt->holder_seen_ns = now;
    }
    if (rt->holder_moves >= HOLDER_MOVES_MAX) {
        char text[STORE_ERRMSG_BYTES + 128];
        snprintf(text, sizeof text,
                 "the name '%s' is taken: a node of that name is running at %s (generation %" PRIu64
                 "). Give this one another --name, or stop the other",
                 rt->config.name, holder->addr, holder->generation);
        fail(rt, TROUPE_EBUSY, text);
        return;
    }
    /* While the store could not be reached it could not renew either, and the others may have
     * promised it time (promise.c): only what is seen without a gap counts (DESIGN §6.3). */
    if (now - rt->holder_heard_ns > HOLDER_GAP_MS * NS_PER_MS)
        rt->holder_seen_ns = now;
    rt->holder_heard_ns = now;
    rt->former_gone = is_known_gone(rt, reg);
    rt->supersede = rt->former_gone || is_silent(rt, holder);
    if (moved)
        rt->holder_until_ns = 0;
    if (holder->fate == STORE_FATE_UNKNOWN)
        waits__holder_seen(rt, holder, rt->holder_seen_ns + holder_wait_ms(rt, holder) * NS_PER_MS);
    rt->reg.retry_ns = rt->supersede ? 0 : now + HOLDER_POLL_MS * NS_PER_MS;
}

/* What is in memory belongs to the cluster that was there: it is neither served nor saved here. */
static void fail_replaced(struct runtime *rt, const char *uid)
{
    char text[STORE_ERRMSG_BYTES + 128];
    snprintf(text, sizeof text,
             "the store has been replaced: cluster '%s' was %s when this node joined it, and is %s "
             "now. Put the database back and start the nodes again; or, if the new one is meant, "
             "just start them again",
             rt->config.cluster, rt->cluster_uid, uid);
    fail(rt, TROUPE_EVERSION, text);
}

static void registered(struct runtime *rt)
{
    const struct store_register *reg = &rt->reg.request.u.reg;
    char generation[24];
    if (rt->cluster_uid[0] != '\0' && strcmp(rt->cluster_uid, reg->cluster_uid) != 0) {
        fail_replaced(rt, reg->cluster_uid);
        return;
    }
    rt->generation = reg->generation;
    rt->joined = reg->joined;
    rt->joins_seen = 0;
    memcpy(rt->cluster_uid, reg->cluster_uid, sizeof rt->cluster_uid);
    rt->supersede = false;
    rt->holder_moves = 0;
    rt->holder_until_ns = 0;
    lease_grant(&rt->lease, rt->now.mono_ns, rt->now.wall_ms);
    if (members__begin(rt) != 0) {
        fail(rt, TROUPE_ENOMEM, "out of memory for the table of members");
        return;
    }
    failover__registered(rt);
    kinds__registered(rt);
    if (members__is_on(&rt->members))
        lease_company(&rt->lease, rt->now.mono_ns);
    rt->lease.next_ns =
        rt->now.mono_ns; /* a renewal tells who else there is, and has which kinds */
    claims__begin(rt);
    log__add(rt, RUNTIME_INFO, "registered", "name", rt->config.name, "generation",
             number(generation, rt->generation), "cluster", rt->config.cluster, "uid",
             rt->cluster_uid, NULL);
}

static void register_done(struct runtime *rt)
{
    const struct store_request *request = &rt->reg.request;
    rt->supersede = false;
    switch (request->error) {
    case 0:
        lifecycle__slot_worked(&rt->reg);
        registered(rt);
        return;
    case TROUPE_EBUSY:
        if (rt->phase == RUNTIME_STARTING)
            watch_holder(rt, &request->u.reg);
        return;
    case TROUPE_EVERSION:
    case TROUPE_EINVAL:
        if (rt->phase == RUNTIME_STARTING)
            fail(rt, request->error, request->errmsg);
        return;
    default:
        lifecycle__slot_failed(rt, &rt->reg);
    }
}

/* ---- the lease ---- */

static void send_renewal(struct runtime *rt)
{
    uint64_t ttl_ns = lease_send(&rt->lease, rt->now.mono_ns, rt->now.wall_ms);
    arena_reset(&rt->renew.arena);
    rt->renew.request.u.renew = (struct store_renew){
        .name = rt->config.name,
        .generation = rt->generation,
        .ttl_ms = (uint32_t)(ttl_ns / NS_PER_MS),
        .kinds = kinds__to_tell(rt),
        .seen = rt->joins_seen,
    };
    lifecycle__submit(rt, &rt->renew, STORE_RENEW);
}

static void renew_done(struct runtime *rt)
{
    const struct store_request *request = &rt->renew.request;
    if (!rt->lease.held) /* evicted meanwhile by another answer */
        return;
    if (request->error == TROUPE_EFENCED) {
        lifecycle__evicted(rt);
    } else if (request->error != 0) {
        lease_failed(&rt->lease, rt->now.mono_ns);
    } else if (lease_renewed(&rt->lease, rt->now.mono_ns, rt->now.wall_ms,
                             (uint32_t)request->u.renew.others_n)) {
        kinds__renewed(rt, &request->u.renew);
        members__rows(rt, request->u.renew.others, request->u.renew.others_n);
        rt->joins_seen = request->u.renew.joins;
        rt->rows_fresh = true;
        bool serves = rt->phase == RUNTIME_SERVING || rt->phase == RUNTIME_STOPPING;
        if (!serves && store_doubt__allows(rt) && rt->phase == RUNTIME_SUSPENDED && !rt->recheck) {
            rt->recheck = true;
            rt->confirmed_ns = rt->now.mono_ns;
        }
    }
}

/* ---- a re-check of the owner map ---- */

void lifecycle__recheck(struct runtime *rt)
{
    rt->recheck = true;
    rt->recheck_ns = rt->now.mono_ns;
}

void lifecycle__rechecked(struct runtime *rt)
{
    rt->recheck = false;
    rt->writing_again = rt->phase == RUNTIME_SUSPENDED && rt->again_n > 0;
    if (rt->phase != RUNTIME_SUSPENDED || rt->writing_again)
        return;
    if (lease_is_valid(&rt->lease, rt->now.mono_ns, rt->now.wall_ms))
        serve(rt);
}

/* ---- stopping ---- */

/* Calls that wait for a start are refused: they have not been executed. */
static void refuse_waiting(struct runtime *rt)
{
    deliver__unpark(rt);
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        struct table *t = &rt->partitions[pid];
        for (uint32_t i = 0; i < table_slots(t); i++) {
            struct entity *e = t->slots[i];
            while (e != NULL && !list_is_empty(&e->mailbox)) {
                struct message *m = LIST_ENTRY(e->mailbox.next, struct message, link);
                message__unlink(rt, m);
                message__refuse(rt, m, TROUPE_UNAVAILABLE,
                                "the node is stopping: retry, with another node if there is one");
            }
        }
    }
}

/* What is left of partitions that have been lost cannot be persisted any more. */
static void drop_lost(struct runtime *rt)
{
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        const struct ownership_entry *e = &rt->ownership.entries[pid];
        if (e->state > OWNERSHIP_WANTED || e->coming || handoff__has_orphan(rt, pid))
            continue;
        entity__drop_partition(rt, pid, false);
        ownership_forget(&rt->ownership, pid);
    }
}

static void stop_now(struct runtime *rt)
{
    char dirty[24], resident[24];
    log__add(rt, RUNTIME_INFO, "stopping: no more calls; persisting", "resident",
             number(resident, rt->entities_n), "dirty", number(dirty, rt->dirty_n), NULL);
    rt->answers_void = rt->phase == RUNTIME_SUSPENDED || rt->phase == RUNTIME_STARTING;
    handoff__abort_all(rt);
    handoff__forget_partial(rt);
    rt->phase = RUNTIME_STOPPING;
    rt->answers_until_ns = rt->incoming_until_ns = rt->now.mono_ns + STOP_ANSWERS_MS * NS_PER_MS;
    claims__stop(rt);
    drop_lost(rt);
    refuse_waiting(rt);
    save__all(rt);
}

/* Whether somebody could take over what we have. */
static bool has_heirs(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    for (uint32_t i = 0; members__is_on(m) && i < m->nodes.n; i++) {
        if (i != m->self && m->nodes.all[i]->state == GOSSIP_ACTIVE)
            return true;
    }
    return false;
}

static bool is_drained(const struct runtime *rt)
{
    return rt->phase != RUNTIME_SERVING || !has_heirs(rt) ||
           rt->now.mono_ns >= rt->drain_until_ns ||
           (ownership_held(&rt->ownership) == 0 && !handoff__is_out(rt) && !handoff__is_coming(rt));
}

/* With company, what we have moves first, while calls go on; then the rest is persisted. */
void lifecycle__stop(struct runtime *rt)
{
    if (rt->phase >= RUNTIME_STOPPING || rt->draining)
        return;
    rt->draining = true;
    rt->drain_until_ns = rt->now.mono_ns + rt->config.drain_ms * NS_PER_MS;
    if (is_drained(rt)) {
        stop_now(rt);
        return;
    }
    char owned[24];
    log__add(rt, RUNTIME_INFO, "draining: partitions move to the other nodes", "partitions",
             number(owned, ownership_held(&rt->ownership)), NULL);
    members__drain(rt);
}

static void stop_entities(struct runtime *rt)
{
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        struct table *t = &rt->partitions[pid];
        while (t->count > 0) {
            uint32_t i = 0;
            while (t->slots[i] == NULL)
                i++;
            entity__end(rt, t->slots[i]);
        }
    }
}

/* What was forwarded may wait over there for as long as its caller lets it, even for us to be gone.
 * Its caller then loses the connection, as it would with a node that dies, and asks another. */
static bool awaits_answers(const struct runtime *rt)
{
    return rt->peers_out > 0 && rt->now.mono_ns < rt->answers_until_ns;
}

/* Everything is persisted and quiet: the entities end, then the lease is given back. */
static void stop_tick(struct runtime *rt)
{
    if (rt->dirty_n > 0 && rt->saves_used == 0 && !rt->claim.out)
        drop_lost(rt); /* a claim under way at the stop has come to nothing */
    if (handoff__is_coming(rt) && rt->now.mono_ns >= rt->incoming_until_ns)
        handoff__ask_for_incoming(rt);
    claims__tick_orphans(rt);
    if (rt->dirty_n > 0 || rt->saves_used > 0 || load__is_out(rt) || !list_is_empty(&rt->run) ||
        !list_is_empty(&rt->unparked) || !intake__is_empty(rt) || handoff__is_out(rt) ||
        (handoff__is_coming(rt) && rt->lease.held) || awaits_answers(rt))
        return;
    if (rt->entities_n > 0)
        stop_entities(rt);
    if (rt->reg.out || rt->renew.out || rt->claim.out || rt->owners.out || rt->leave.out ||
        rt->evict.out || rt->kinds_set.out || node_ask__is_out(rt) || warm__is_out(rt))
        return;
    bool give_up = rt->leave.failures >= LEAVE_ATTEMPTS_MAX;
    if (!rt->lease.held || give_up) {
        members__leave(rt);
        if (!members__is_quiet(rt))
            return;
        INVARIANT(rt->store_out == 0);
        log__add(rt, give_up ? RUNTIME_WARN : RUNTIME_INFO,
                 give_up
                     ? "stopped, but the lease could not be given back: it will run out by itself"
                     : "stopped",
                 "name", rt->config.name, NULL);
        rt->phase = RUNTIME_STOPPED;
        return;
    }
    if (lifecycle__is_free(rt, &rt->leave)) {
        rt->leave.request.u.leave =
            (struct store_leave){.name = rt->config.name, .generation = rt->generation};
        lifecycle__submit(rt, &rt->leave, STORE_LEAVE);
    }
}

static void leave_done(struct runtime *rt)
{
    if (rt->leave.request.error == 0)
        lease_lose(&rt->lease);
    else
        lifecycle__slot_failed(rt, &rt->leave);
}

/* ---- driving ---- */

static bool may_serve(const struct runtime *rt)
{
    return rt->phase == RUNTIME_STARTING && rt->lease.held && !rt->recheck &&
           !rt->store_doubt.holds && claims__are_settled(rt) && kinds__are_settled(rt) &&
           rt->now.mono_ns < lease_end_ns(&rt->lease);
}

void lifecycle__tick(struct runtime *rt)
{
    uint64_t now = rt->now.mono_ns;
    if (rt->phase == RUNTIME_FAILED || rt->phase == RUNTIME_STOPPED)
        return;
    if (rt->phase == RUNTIME_SERVING && !lease_is_valid(&rt->lease, now, rt->now.wall_ms))
        lifecycle__suspend(rt, "the lease ran out before it could be renewed, or the clock jumped");
    if (lease_renewal_is_due(&rt->lease, now) && !rt->renew.out && !rt->leave.out)
        send_renewal(rt);
    promise__tick(rt);
    if (rt->draining && rt->phase < RUNTIME_STOPPING && is_drained(rt))
        stop_now(rt);
    if (rt->phase == RUNTIME_STOPPING) {
        claims__tick_map(rt, rt->recheck); /* of what was frozen, is it ours to persist? */
        stop_tick(rt);
        return;
    }
    if (rt->phase == RUNTIME_SUSPENDED)
        request__expire_held(rt);
    if (rt->phase == RUNTIME_SUSPENDED && rt->writing_again && rt->again_n == 0)
        lifecycle__rechecked(rt);
    if (!rt->lease.held) {
        if (lifecycle__is_free(rt, &rt->reg) && !rt->renew.out && !rt->claim.out)
            send_register(rt);
        return;
    }
    claims__tick(rt);
    failover__tick(rt);
    if (may_serve(rt) && lease_is_valid(&rt->lease, now, rt->now.wall_ms))
        serve(rt);
}

uint64_t lifecycle__slot_next(const struct runtime *rt, const struct store_slot *slot, bool wanted)
{
    if (!wanted || slot->out)
        return UINT64_MAX;
    return slot->retry_ns > rt->now.mono_ns ? slot->retry_ns : rt->now.mono_ns;
}

uint64_t lifecycle__next_ns(const struct runtime *rt)
{
    if (rt->phase == RUNTIME_FAILED || rt->phase == RUNTIME_STOPPED)
        return UINT64_MAX;
    const struct lease *l = &rt->lease;
    bool stopping = rt->phase == RUNTIME_STOPPING, active = l->held && !stopping;
    uint64_t times[] = {
        lifecycle__slot_next(rt, &rt->reg,
                             !l->held && !stopping && !rt->renew.out && !rt->claim.out),
        active ? claims__next_ns(rt) : UINT64_MAX,
        stopping && l->held ? lifecycle__slot_next(rt, &rt->owners, rt->recheck) : UINT64_MAX,
        members__next_ns(rt),
        rt->draining && !stopping ? rt->drain_until_ns : UINT64_MAX,
        stopping && awaits_answers(rt) ? rt->answers_until_ns : UINT64_MAX,
        stopping && handoff__is_coming(rt) && rt->now.mono_ns < rt->incoming_until_ns
            ? rt->incoming_until_ns
            : UINT64_MAX,
        stopping ? claims__next_orphans_ns(rt) : UINT64_MAX,
        stopping && rt->leave.failures > 0 ? lifecycle__slot_next(rt, &rt->leave, true)
                                           : UINT64_MAX,
        l->held && !rt->renew.out && !rt->leave.out ? l->next_ns : UINT64_MAX,
        rt->phase == RUNTIME_SERVING ? lease_end_ns(l) : UINT64_MAX,
        promise__next_ns(rt),
        may_serve(rt) ? rt->now.mono_ns : UINT64_MAX,
        rt->phase == RUNTIME_SUSPENDED && rt->replies != NULL
            ? rt->now.mono_ns + HELD_POLL_MS * NS_PER_MS
            : UINT64_MAX,
    };
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        next = times[i] < next ? times[i] : next;
    return next;
}

bool lifecycle__done(struct runtime *rt, struct store_request *request)
{
    static const struct {
        enum store_op op;
        void (*done)(struct runtime *rt);
    } dones[] = {
        {STORE_REGISTER, register_done},  {STORE_RENEW, renew_done}, {STORE_CLAIM, claims__done},
        {STORE_OWNERS, claims__map_done}, {STORE_LEAVE, leave_done}, {STORE_EVICT, failover__done},
        {STORE_KINDS, kinds__set_done},
    };
    if (node_ask__done(rt, request)) /* before: they use the same operations */
        return true;
    for (size_t i = 0; i < sizeof dones / sizeof dones[0]; i++) {
        if (dones[i].op == request->op) {
            LIST_ENTRY(request, struct store_slot, request)->out = false;
            dones[i].done(rt);
            return true;
        }
    }
    return false;
}
