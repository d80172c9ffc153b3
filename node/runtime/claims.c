/* Partitions: which ones to ask the store for, what it answers, and what it knows of the others
 * (DESIGN §4, §6.4). With company the ring proposes, and we ask for those of our part that may be
 * free: that have no owner, or one that is gone. The store decides: to ask for too many costs a
 * statement, never safety. A node that is a cluster by itself asks for all. */
#include <inttypes.h>
#include <stdio.h>

#include "node/runtime/internal.h"

enum {
    ASK_ALL_MS = 5000,       /* all of our part is asked for again, whatever we know of owners */
    ASK_ALL_ALONE_MS = 2000, /* … by a node without gossip */
    CLAIM_DOUBT_MS = 15000,  /* a claim of unknown outcome has been executed by then, or never is */
};

/* ---- what to ask for ---- */

/* What another node is handing to us is not asked for: the answer could be the epoch that it is to
 * tell us, and what it has sent would be taken for old. */
static bool is_proposed(const struct runtime *rt, uint32_t pid)
{
    if (rt->ownership.entries[pid].coming || kinds__lacks(rt))
        return false;
    return !members__is_on(&rt->members) || ring__is_mine(rt, pid);
}

static bool may_be_free(const struct runtime *rt, uint32_t pid)
{
    uint32_t owner = rt->ownership.entries[pid].node;
    const struct node_info *n = node__at(rt, owner);
    return n == NULL || owner == rt->members.self || !(node__may_own(n) || n->row_active);
}

/* The store has it as ours, and we do not hold it: the answer to a claim got lost. Nobody else can
 * have it, so that we ask even if it is not our part any more. */
static bool is_left_over(const struct runtime *rt, uint32_t pid)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    return members__is_on(&rt->members) && e->node == rt->members.self && !e->coming;
}

static void review(struct runtime *rt, uint32_t pid, bool whatever)
{
    if (rt->phase >= RUNTIME_STOPPING)
        return;
    /* An orphan may be ours by the store's word: that is to be known, whatever the ring proposes.
     */
    bool orphan = rt->orphans && handoff__has_orphan(rt, pid);
    if (orphan || is_left_over(rt, pid) ||
        (is_proposed(rt, pid) && (whatever || may_be_free(rt, pid))))
        ownership_want(&rt->ownership, pid);
    else
        ownership_unwant(&rt->ownership, pid);
}

static void review_all(struct runtime *rt, bool whatever)
{
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++)
        review(rt, pid, whatever);
}

void claims__ring_changed(struct runtime *rt)
{
    rt->claims_begun = true;
    review_all(rt, false);
    handoff__review(rt);
    rt->unpark_ns = rt->now.mono_ns;
}

void claims__kinds_changed(struct runtime *rt)
{
    if (rt->claims_begun)
        review_all(rt, false);
}

void claims__owner_gone(struct runtime *rt, uint32_t node)
{
    handoff__giver_gone(rt, node, UINT64_MAX);
    rt->unpark_ns = rt->now.mono_ns;
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        if (rt->ownership.entries[pid].node == node && rt->phase < RUNTIME_STOPPING &&
            is_proposed(rt, pid))
            ownership_want(&rt->ownership, pid);
    }
}

void claims__begin(struct runtime *rt)
{
    rt->claims_begun = !members__is_on(&rt->members);
    rt->map_known = false;
    if (rt->claims_begun)
        review_all(rt, true);
}

void claims__let_go(struct runtime *rt, uint32_t pid)
{
    ownership_lose(&rt->ownership, pid);
    rt->losses_n++;
}

void claims__doubt_given(struct runtime *rt)
{
    rt->losses_n++;
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        if (!ownership_is_held(&rt->ownership, pid))
            rt->ownership.entries[pid].lost = rt->losses_n;
    }
}

void claims__lost(struct runtime *rt, uint32_t pid)
{
    claims__let_go(rt, pid);
    review(rt, pid, true);
}

void claims__went_back(struct runtime *rt, uint32_t pid)
{
    struct table *t = &rt->partitions[pid];
    for (uint32_t i = 0; i < table_slots(t); i++) {
        if (t->slots[i] != NULL)
            save__not_again(rt, t->slots[i]); /* it is written when it is ours again */
    }
    claims__lost(rt, pid);
}

/* ---- claims ---- */

static void send_claim(struct runtime *rt)
{
    arena_reset(&rt->claim.arena);
    rt->claim.request.u.claim = (struct store_claim){
        .name = rt->config.name,
        .generation = rt->generation,
        .pids = rt->claim_pids,
        .pids_n = ownership_ask(&rt->ownership, rt->claim_pids, CLAIM_PIDS_MAX),
    };
    lifecycle__submit(rt, &rt->claim, STORE_CLAIM);
}

/* A map that was asked for before does not know of it. */
void claims__won_one(struct runtime *rt)
{
    rt->recheck_ns = rt->now.mono_ns;
}

/* Entities that were set aside while the partition was in doubt go on. */
void claims__resume(struct runtime *rt, uint32_t pid)
{
    struct table *t = &rt->partitions[pid];
    for (uint32_t i = 0; i < table_slots(t); i++) {
        struct entity *e = t->slots[i];
        if (e == NULL)
            continue;
        if (e->phase == ENTITY_LOADING && !e->loading)
            entity__load(rt, e);
        if (e->phase == ENTITY_LOADING || entity__is_clean(e))
            continue;
        save__enqueue(rt, e);
        save__want_soon(rt, e); /* its change may be older than those that wait in the dirty list */
    }
}

bool claims__stood(const struct runtime *rt, uint32_t pid, uint64_t epoch, uint64_t sent_ns)
{
    bool older = rt->timeline_ns != 0 && sent_ns <= rt->timeline_ns;
    return ownership_is_held(&rt->ownership, pid) && rt->ownership.entries[pid].epoch == epoch &&
           !older;
}

static void won(struct runtime *rt, const struct store_claimed *claimed)
{
    uint32_t pid = claimed->pid;
    /* It was ours already: moved to us by one that could not tell us so. What it sent is right. */
    bool found = claimed->epoch == claimed->epoch_prev && handoff__brought(rt, pid);
    if (!found && claimed->epoch_prev > rt->ownership.entries[pid].kept) {
        entity__drop_partition(rt, pid, false); /* somebody else may have written */
        warm__want(rt, pid);
    }
    claims__won_one(rt);
    ownership_win(&rt->ownership, pid, claimed->epoch);
    owners__told(rt, pid);
    claims__resume(rt, pid);
}

static void claim_applied(struct runtime *rt)
{
    const struct store_claim *claim = &rt->claim.request.u.claim;
    size_t at = 0;
    for (size_t i = 0; i < claim->pids_n; i++) {
        uint32_t pid = claim->pids[i];
        if (at < claim->claimed_n && claim->claimed[at].pid == pid) {
            won(rt, &claim->claimed[at++]);
        } else {
            entity__drop_partition(rt, pid, false);
            ownership_miss(&rt->ownership, pid);
            ownership_forget(&rt->ownership, pid);
            /* Whose is it? We should not have had to ask if we knew; and that one may not know it.
             */
            rt->want_map |= members__is_on(&rt->members) ||
                            node__at(rt, rt->ownership.entries[pid].node) == NULL;
        }
    }
    INVARIANT(at == claim->claimed_n);
    if (rt->ownership.in[OWNERSHIP_WANTED] == 0)
        rt->ask_all_ns = rt->now.mono_ns +
                         (members__is_on(&rt->members) ? ASK_ALL_MS : ASK_ALL_ALONE_MS) * NS_PER_MS;
}

/* An answer that is not believed. If it was true, the claim that follows finds us as the owner, by
 * an epoch that nobody else has had: what we have in memory is right then. If it has become untrue,
 * that one gets a higher epoch, as anybody else would. */
void claims__hear(struct runtime *rt)
{
    const struct store_claim *claim = &rt->claim.request.u.claim;
    for (size_t i = 0; i < claim->claimed_n; i++) {
        const struct store_claimed *c = &claim->claimed[i];
        struct ownership_entry *e = &rt->ownership.entries[c->pid];
        if (e->kept != 0 && c->epoch_prev <= e->kept)
            e->kept = c->epoch;
    }
}

void claims__done(struct runtime *rt)
{
    const struct store_request *request = &rt->claim.request;
    /* What was won before a failover of the store may be lost. */
    bool stale = rt->timeline_ns != 0 && rt->claim.sent_ns <= rt->timeline_ns;
    if (request->error == 0 && rt->lease.held && !stale) {
        lifecycle__slot_worked(&rt->claim);
        claim_applied(rt);
        rt->unpark_ns = rt->now.mono_ns;
        return;
    }
    if (request->error == 0 && stale)
        claims__hear(rt);
    if (request->error == 0 || request->error == TROUPE_EOUTCOME)
        handoff__claim_unsure(rt);
    for (size_t i = 0; i < request->u.claim.pids_n; i++)
        ownership_retry(&rt->ownership, request->u.claim.pids[i]);
    rt->want_map |= members__is_on(&rt->members); /* it may have been executed, or be yet */
    if (request->error == TROUPE_EOUTCOME && members__is_on(&rt->members))
        rt->claim_doubt_ns = rt->now.mono_ns + CLAIM_DOUBT_MS * NS_PER_MS;
    lifecycle__slot_failed(rt, &rt->claim);
    if (request->error == TROUPE_EFENCED && rt->lease.held)
        lifecycle__evicted(rt);
}

bool claims__are_in_doubt(const struct runtime *rt)
{
    return rt->claim_doubt_ns != UINT64_MAX;
}

bool claims__are_settled(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    if (members__is_on(m) && (!m->joined || m->ring_stale || m->ring_building))
        return false;
    bool known = !members__is_on(m) || m->others == 0 || rt->map_known;
    return rt->claims_begun && known && !rt->claim.out && rt->ownership.in[OWNERSHIP_WANTED] == 0;
}

/* ---- the owner map ---- */

/* What we have kept of a partition that was ours is stale once another has had it. That is for the
 * store to say: what others tell may be wrong, and what is dropped cannot be had back. */
static void let_go_of_kept(struct runtime *rt, uint32_t pid, bool hearsay)
{
    if (hearsay) {
        rt->want_map |= rt->ownership.entries[pid].kept != 0;
        entity__drop_stateless(rt, pid);
        return;
    }
    entity__drop_partition(rt, pid, false);
    ownership_forget(&rt->ownership, pid);
}

static bool is_stale(const struct runtime *rt, uint32_t pid, uint64_t epoch, uint32_t node)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    return e->kept < epoch && e->state <= OWNERSHIP_WANTED && !e->coming &&
           node != rt->members.self;
}

bool claims__learn(struct runtime *rt, uint32_t pid, uint64_t epoch, uint32_t node, bool hearsay)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    if (!ownership_learn(&rt->ownership, pid, epoch, node)) {
        if (!hearsay && e->kept != 0 &&
            is_stale(rt, pid, epoch, node)) /* what was hearsay is true */
            let_go_of_kept(rt, pid, false);
        return false;
    }
    if (e->coming && node != rt->members.self)
        handoff__heard_of_owner(rt, pid, node);
    if (is_stale(rt, pid, epoch, node))
        let_go_of_kept(rt, pid, hearsay);
    if (is_left_over(rt, pid) && !ownership_is_held(&rt->ownership, pid))
        ownership_want(&rt->ownership, pid);
    return true;
}

static void send_owners(struct runtime *rt)
{
    arena_reset(&rt->owners.arena);
    lifecycle__submit(rt, &rt->owners, STORE_OWNERS);
}

/* Rows of nodes as our numbers, in the arena of the answer; NULL: no memory. */
static uint32_t *learn_nodes(struct runtime *rt, const struct store_owners *map)
{
    uint32_t *numbers = arena_alloc(&rt->owners.arena, map->nodes_n * sizeof *numbers);
    for (size_t i = 0; numbers != NULL && i < map->nodes_n; i++) {
        numbers[i] = nodes__take(rt, troupe_bytes_of(map->nodes[i].name));
        struct node_info *n = node__at(rt, numbers[i]);
        if (n != NULL && n->address[0] == '\0')
            snprintf(n->address, sizeof n->address, "%s", map->nodes[i].addr);
    }
    return numbers;
}

/* The partition's owner, if its lease stands. */
static uint32_t owner_of(const struct store_owners *map, const uint32_t *numbers, uint32_t pid)
{
    const struct store_owner *o = &map->owners[pid];
    if (o->node >= map->nodes_n || numbers == NULL)
        return OWNERSHIP_NOBODY;
    const struct store_node *row = &map->nodes[o->node];
    bool stands = row->state == STORE_NODE_ACTIVE && row->generation == o->generation;
    return stands ? numbers[o->node] : OWNERSHIP_NOBODY;
}

static bool is_confirmed(const struct runtime *rt, const struct store_owners *map, uint32_t pid)
{
    const struct store_owner *owner = &map->owners[pid];
    return owner->node < map->nodes_n &&
           strcmp(map->nodes[owner->node].name, rt->config.name) == 0 &&
           owner->generation == rt->generation && owner->epoch == rt->ownership.entries[pid].epoch;
}

/* A failover of the store has lost the change of owner that we know of. The map was read after we
 * heard of the failover, and what we know is from before it. */
static bool is_older(const struct runtime *rt, uint32_t pid, uint64_t epoch)
{
    uint64_t known = rt->ownership.entries[pid].epoch;
    return epoch < known && known >> OWNERSHIP_EPOCH_BITS < rt->timeline &&
           rt->owners.sent_ns > rt->timeline_ns;
}

/* What others told of it was wrong: the store was asked after that, and has less. */
static bool is_wrong(const struct runtime *rt, uint32_t pid, uint64_t epoch)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    return members__is_on(&rt->members) && !e->coming && e->state <= OWNERSHIP_WANTED &&
           epoch < e->epoch && owners__is_settled(rt, pid, rt->owners.sent_ns);
}

/* Another node has it again, or had it: it may have written since the failover, at its old epoch. A
 * run of ours that is gone has not. */
static bool was_anothers(const struct runtime *rt, const struct store_owners *map, uint32_t pid)
{
    uint32_t node = map->owners[pid].node;
    return node < map->nodes_n && strcmp(map->nodes[node].name, rt->config.name) != 0;
}

/* The word of who has it again counts; we have nothing of it then. */
static void go_back(struct runtime *rt, const struct store_owners *map, uint32_t pid, uint32_t node)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    ownership_go_back(&rt->ownership, pid, map->owners[pid].epoch, node);
    if (!was_anothers(rt, map, pid) || e->state > OWNERSHIP_WANTED || e->coming)
        return;
    entity__drop_partition(rt, pid, false);
    ownership_forget(&rt->ownership, pid);
}

static void apply_map(struct runtime *rt, const struct store_owners *map, bool recheck)
{
    const uint32_t *numbers = learn_nodes(rt, map);
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        uint64_t epoch = map->owners[pid].epoch;
        ownership_sure(&rt->ownership, pid, epoch);
        if (!ownership_is_held(&rt->ownership, pid)) {
            if (claims__learn(rt, pid, epoch, owner_of(map, numbers, pid), false))
                owners__told(rt, pid);
            else if (is_older(rt, pid, epoch) || is_wrong(rt, pid, epoch))
                go_back(rt, map, pid, owner_of(map, numbers, pid));
            else if (epoch < rt->ownership.entries[pid].epoch)
                owners__doubt(rt); /* it cannot be told yet who is right */
        } else if (recheck && epoch < rt->ownership.entries[pid].epoch &&
                   rt->phase != RUNTIME_STOPPING) {
            claims__went_back(rt, pid);
            go_back(rt, map, pid, owner_of(map, numbers, pid));
        } else if (recheck && !is_confirmed(rt, map, pid)) {
            lifecycle__fenced(rt, pid, false);
        } else if (recheck) {
            handoff__confirmed(rt, pid);
        }
        uint32_t node = map->owners[pid].node;
        owners__correct(rt, pid, node < map->nodes_n ? map->nodes[node].name : "", epoch,
                        rt->owners.sent_ns);
    }
    rt->want_map = rt->failed_over; /* it was asked for before we knew: once more */
    rt->map_known = true;
    if (rt->claims_begun && members__is_on(&rt->members))
        review_all(rt, false);
}

/* Whether this run's lease stood when the map was read. A run that has been evicted has its
 * partitions until they are claimed: who owns them confirms nothing. */
static bool lease_stood(const struct runtime *rt, const struct store_owners *map)
{
    for (size_t i = 0; i < map->nodes_n; i++) {
        const struct store_node *row = &map->nodes[i];
        if (strcmp(row->name, rt->config.name) == 0)
            return row->state == STORE_NODE_ACTIVE && row->generation == rt->generation;
    }
    return false;
}

void claims__map_done(struct runtime *rt)
{
    const struct store_request *request = &rt->owners.request;
    const struct store_owners *map = &request->u.owners;
    if (request->error != 0) {
        lifecycle__slot_failed(rt, &rt->owners);
        return;
    }
    lifecycle__slot_worked(&rt->owners);
    if (!rt->lease.held || map->owners_n != rt->config.partitions)
        return;
    /* A claim that was under way when the map was read may be ahead of it: those are not judged. */
    bool recheck = rt->recheck && rt->owners.sent_ns >= rt->confirmed_ns &&
                   rt->owners.sent_ns > rt->recheck_ns;
    if (recheck && !lease_stood(rt, map)) {
        lifecycle__evicted(rt);
        return;
    }
    if (recheck || rt->owners.sent_ns > rt->timeline_ns)
        rt->failed_over = false; /* the map tells what a failover has lost, and what others own */
    apply_map(rt, map, recheck);
    if (recheck)
        lifecycle__rechecked(rt);
    rt->unpark_ns = rt->now.mono_ns;
}

/* ---- driving ---- */

static bool asks_all(const struct runtime *rt)
{
    return rt->claims_begun && !rt->claim.out && rt->phase != RUNTIME_STARTING &&
           rt->ownership.in[OWNERSHIP_WANTED] == 0 &&
           ownership_held(&rt->ownership) < rt->config.partitions;
}

/* With company, only when it is known who has what: else we would ask for everything. After a
 * failover of the store, only when it is known what it has lost. And only when it is known which
 * kinds are open: a node that lacks one takes nothing. */
static bool may_claim(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    bool known = !members__is_on(m) || m->others == 0 || rt->map_known;
    return rt->claims_begun && known && rt->kinds_open.known && !rt->failed_over &&
           rt->ownership.in[OWNERSHIP_WANTED] > 0;
}

void claims__tick_map(struct runtime *rt, bool wanted)
{
    if (wanted && rt->lease.held && lifecycle__is_free(rt, &rt->owners))
        send_owners(rt);
}

void claims__tick(struct runtime *rt)
{
    const struct members *m = &rt->members;
    if (asks_all(rt) && rt->now.mono_ns >= rt->ask_all_ns) {
        review_all(rt, true);
        rt->ask_all_ns = rt->now.mono_ns + ASK_ALL_MS * NS_PER_MS;
    }
    if (members__is_on(m) && m->others > 0 && !rt->map_known)
        rt->want_map = true;
    if (rt->now.mono_ns >= rt->claim_doubt_ns) {
        rt->claim_doubt_ns = UINT64_MAX;
        rt->want_map = true;
    }
    if (may_claim(rt) && lifecycle__is_free(rt, &rt->claim))
        send_claim(rt);
    claims__tick_map(rt, rt->recheck || rt->want_map);
}

void claims__stop(struct runtime *rt)
{
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        if (!handoff__has_orphan(rt, pid))
            ownership_unwant(&rt->ownership, pid);
    }
}

/* A node that stops asks only for what may have been given to it. */
static bool may_ask_for_orphans(const struct runtime *rt)
{
    return rt->orphans && rt->lease.held && rt->ownership.in[OWNERSHIP_WANTED] > 0;
}

void claims__tick_orphans(struct runtime *rt)
{
    if (may_ask_for_orphans(rt) && lifecycle__is_free(rt, &rt->claim))
        send_claim(rt);
}

uint64_t claims__next_orphans_ns(const struct runtime *rt)
{
    return lifecycle__slot_next(rt, &rt->claim, may_ask_for_orphans(rt));
}

uint64_t claims__next_ns(const struct runtime *rt)
{
    uint64_t times[] = {
        lifecycle__slot_next(rt, &rt->claim, may_claim(rt)),
        lifecycle__slot_next(rt, &rt->owners, rt->recheck || rt->want_map),
        asks_all(rt) ? rt->ask_all_ns : UINT64_MAX,
        rt->claim_doubt_ns,
    };
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        next = times[i] < next ? times[i] : next;
    return next;
}
