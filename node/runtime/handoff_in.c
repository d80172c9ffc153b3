/* Taking partitions: see handoff.h. What a batch brings is built up in its partitions' tables at
 * once, as entities that run nothing; with Given they are ours, with Keep, or when it turns out
 * that nothing will come of it, they are dropped.
 *
 * Nothing here is believed beyond that: the epochs that Given tells are those of the store, and a
 * giver that lies about them is fenced by the store, as we would be with our first save. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    INCOMING_S = 30, /* for all parts to come: longer than a giver waits for their answers */
    GIVEN_S = 10,    /* for its giver to tell what has become of it */
};

#define ANSWER(status, text) ((struct handoff_answer){status, text})

static struct troupe_bytes bytes_of(ProtobufCBinaryData data)
{
    return troupe_bytes(data.data, data.len);
}

/* ---- batches ---- */

static bool is_valid(const Troupe__Peer__Transfer *t)
{
    return t != NULL && t->from.len > 0 && t->from.len <= STORE_NAME_BYTES_MAX;
}

static struct incoming *find(struct runtime *rt, const Troupe__Peer__Transfer *t)
{
    uint32_t node = nodes__find(&rt->members.nodes, bytes_of(t->from));
    for (uint32_t i = 0; i < INCOMING_MAX && node != NODE_NONE; i++) {
        struct incoming *in = &rt->incoming[i];
        if (in->node == node && in->from_generation == t->from_generation &&
            in->number == t->number)
            return in;
    }
    return NULL;
}

static void release(struct incoming *in)
{
    free(in->pids);
    *in = (struct incoming){.node = NODE_NONE};
}

/* What has come of it goes, but for what is ours by now. */
static void forget(struct runtime *rt, struct incoming *in)
{
    for (uint32_t i = 0; i < in->pids_n; i++) {
        struct ownership_entry *e = &rt->ownership.entries[in->pids[i]];
        if (!e->coming)
            continue;
        e->coming = false;
        entity__drop_partition(rt, in->pids[i], false);
    }
    release(in);
    rt->unpark_ns = rt->now.mono_ns;
}

void handoff__forget_incoming(struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        if (rt->incoming[i].node != NODE_NONE)
            forget(rt, &rt->incoming[i]);
    }
}

static bool is_in(const struct incoming *in, uint32_t pid)
{
    for (uint32_t i = 0; i < in->pids_n; i++) {
        if (in->pids[i] == pid)
            return true;
    }
    return false;
}

static bool is_whole(const struct incoming *in)
{
    return in->parts_n != 0 && in->parts_got == in->parts_n;
}

/* If all of a batch has come, its giver may have moved it to us, and died before it could say so:
 * the store is asked, and what has come is kept until it answers. */
static void orphan(struct runtime *rt, struct incoming *in)
{
    in->orphan = is_whole(in);
    in->unsure |= !in->moved && claims__are_in_doubt(rt); /* it may be executed yet */
    rt->orphans |= in->orphan;
    rt->handoff_totals.dropped += !in->orphan;
    for (uint32_t k = 0; in->orphan && k < in->pids_n; k++) {
        rt->ownership.entries[in->pids[k]].coming = false;
        ownership_want(&rt->ownership, in->pids[k]);
    }
    if (!in->orphan)
        forget(rt, in);
}

void handoff__giver_gone(struct runtime *rt, uint32_t node, uint64_t generation)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &rt->incoming[i];
        if (in->node == node && !in->orphan && in->from_generation < generation)
            orphan(rt, in);
    }
}

/* After its giver somebody else has had it (begin has noted the giver's epoch): nothing will come
 * of it. */
void handoff__heard_of_owner(struct runtime *rt, uint32_t pid, uint32_t node)
{
    for (uint32_t i = 0; i < INCOMING_MAX && rt->ownership.entries[pid].coming; i++) {
        struct incoming *in = &rt->incoming[i];
        if (in->node == NODE_NONE || in->node == node || !is_in(in, pid))
            continue;
        rt->want_map |= is_whole(in);
        forget(rt, in);
    }
}

/* A batch of which no more comes: its giver has given it up, and could not say so. While parts of
 * it are missing it cannot become ours. */
static void forget_stale(struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &rt->incoming[i];
        if (in->node != NODE_NONE && !is_whole(in) &&
            rt->now.mono_ns - in->begun_ns > INCOMING_S * NS_PER_S)
            forget(rt, in);
    }
}

static bool has_moved(const struct runtime *rt, const struct incoming *in)
{
    for (uint32_t i = 0; i < in->pids_n; i++) {
        if (rt->ownership.entries[in->pids[i]].node == rt->members.self)
            return true;
    }
    return false;
}

/* A giver that took us for dead has given up telling us. Whether the batch is ours, the map knows.
 */
static void look_for_late(struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &rt->incoming[i];
        if (in->node == NODE_NONE || in->orphan || !is_whole(in) ||
            rt->now.mono_ns - in->begun_ns <= GIVEN_S * NS_PER_S)
            continue;
        if (has_moved(rt, in)) {
            in->moved = !claims__are_in_doubt(rt);
            orphan(rt, in);
        } else if (rt->now.mono_ns >= in->look_ns) {
            in->look_ns = rt->now.mono_ns + GIVEN_S * NS_PER_S;
            rt->want_map = true;
        }
    }
}

void handoff__ask_for_incoming(struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &rt->incoming[i];
        if (in->node != NODE_NONE && !in->orphan)
            orphan(rt, in);
    }
}

void handoff__forget_partial(struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        if (rt->incoming[i].node != NODE_NONE && !is_whole(&rt->incoming[i]))
            forget(rt, &rt->incoming[i]);
    }
}

bool handoff__is_coming(const struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        if (rt->incoming[i].node != NODE_NONE && is_whole(&rt->incoming[i]))
            return true;
    }
    return false;
}

static bool has_orphan(const struct runtime *rt, uint32_t pid, bool sure)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        const struct incoming *in = &rt->incoming[i];
        if (in->node != NODE_NONE && in->orphan && !(sure && in->unsure) && is_in(in, pid))
            return true;
    }
    return false;
}

bool handoff__has_orphan(const struct runtime *rt, uint32_t pid)
{
    return has_orphan(rt, pid, false);
}

bool handoff__brought(const struct runtime *rt, uint32_t pid)
{
    return has_orphan(rt, pid, true);
}

void handoff__claim_unsure(struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++)
        rt->incoming[i].unsure |= rt->incoming[i].orphan && !rt->incoming[i].moved;
}

/* The store has answered for all of them. */
void handoff__tick_orphans(struct runtime *rt)
{
    forget_stale(rt);
    look_for_late(rt);
    bool orphans = rt->orphans;
    rt->orphans = false;
    for (uint32_t i = 0; i < INCOMING_MAX && orphans; i++) {
        const struct incoming *in = &rt->incoming[i];
        bool open = in->node == NODE_NONE || !in->orphan;
        for (uint32_t k = 0; !open && k < in->pids_n; k++) {
            uint8_t state = rt->ownership.entries[in->pids[k]].state;
            open = state == OWNERSHIP_WANTED || state == OWNERSHIP_CLAIMING;
        }
        if (open) {
            rt->orphans |= in->node != NODE_NONE && in->orphan;
            continue;
        }
        for (uint32_t k = 0; k < in->pids_n; k++) {
            const struct ownership_entry *e = &rt->ownership.entries[in->pids[k]];
            if (e->state == OWNERSHIP_FOREIGN && !e->coming) /* nor on its way again */
                entity__drop_partition(rt, in->pids[k], false);
        }
        release(&rt->incoming[i]);
    }
}

/* A batch that was to bring this partition and has been given up: its Keep got lost. */
static void forget_older(struct runtime *rt, uint32_t pid)
{
    for (uint32_t i = 0; i < INCOMING_MAX && rt->ownership.entries[pid].coming; i++) {
        struct incoming *in = &rt->incoming[i];
        if (in->node == NODE_NONE || !is_in(in, pid))
            continue;
        rt->want_map |= is_whole(in); /* the rest of it may be ours */
        forget(rt, in);
    }
}

static struct incoming *place(struct runtime *rt)
{
    for (uint32_t i = 0; i < INCOMING_MAX; i++) {
        if (rt->incoming[i].node == NODE_NONE)
            return &rt->incoming[i];
    }
    return NULL;
}

static bool can_come(const struct runtime *rt, const Troupe__Peer__Take *take)
{
    for (size_t i = 0; i < take->n_partitions; i++) {
        uint32_t pid = take->partitions[i]->pid;
        if (pid >= rt->config.partitions || take->partitions[i]->epoch > OWNER_MAP_EPOCH_MAX ||
            rt->ownership.entries[pid].state > OWNERSHIP_WANTED)
            return false;
    }
    return take->n_partitions > 0 && take->n_partitions <= HANDOFF_PIDS_MAX;
}

/* A message may come long after it was sent, by a connection that had been given up: its batch is
 * over then, and what it brings is old. True: this batch is none of those that have come, or were
 * given up, and the later ones are yet to come. */
static bool is_next(const struct runtime *rt, struct node_info *giver,
                    const Troupe__Peer__Transfer *t)
{
    bool same = t->from_generation == giver->taken_generation;
    if (t->from_generation < giver->taken_generation || (same && t->number <= giver->taken_number))
        return false;
    giver->taken_generation = t->from_generation;
    giver->taken_number = t->number;
    giver->taken_ns = rt->now.mono_ns;
    return true;
}

/* Part 0. */
static struct handoff_answer begin(struct runtime *rt, const Troupe__Peer__Take *take,
                                   struct incoming **out)
{
    if (!can_come(rt, take))
        return ANSWER(TROUPE_FAILED_PRECONDITION,
                      "one of these partitions is this node's, or no partition");
    uint32_t node = nodes__take(rt, bytes_of(take->transfer->from));
    if (node != NODE_NONE && !is_next(rt, node__at(rt, node), take->transfer))
        return ANSWER(TROUPE_FAILED_PRECONDITION, "this batch is over");
    for (size_t i = 0; i < take->n_partitions; i++)
        forget_older(rt, take->partitions[i]->pid);
    struct incoming *in = place(rt);
    store_pid *pids = calloc(HANDOFF_PIDS_MAX, sizeof *pids);
    if (in == NULL || node == NODE_NONE || pids == NULL) {
        free(pids);
        return ANSWER(TROUPE_RESOURCE_EXHAUSTED, "too many batches are being taken: retry later");
    }
    *in = (struct incoming){.node = node,
                            .from_generation = take->transfer->from_generation,
                            .number = take->transfer->number,
                            .pids = pids,
                            .begun_ns = rt->now.mono_ns};
    for (size_t i = 0; i < take->n_partitions; i++) {
        uint32_t pid = pids[in->pids_n++] = take->partitions[i]->pid;
        ownership_unwant(&rt->ownership, pid);
        entity__drop_partition(rt, pid, false);
        ownership_forget(&rt->ownership, pid);
        ownership_learn(&rt->ownership, pid, take->partitions[i]->epoch, node);
        rt->ownership.entries[pid].coming = true;
    }
    *out = in;
    return ANSWER(TROUPE_OK, "");
}

/* ---- entities ---- */

static bool set_timers(struct runtime *rt, struct entity *e, const Troupe__Peer__Entity *from)
{
    if (from->n_timers == 0)
        return true;
    struct entity_extra *x = entity__extra(e);
    if (x == NULL || from->n_timers > TIMERS_MAX)
        return false;
    free(x->timers);
    x->timers = calloc(from->n_timers, sizeof *x->timers);
    x->timers_n = 0;
    x->timers_cap = x->timers == NULL ? 0 : (uint32_t)from->n_timers;
    for (uint32_t i = 0; i < x->timers_cap; i++)
        x->timers[x->timers_n++] =
            (struct entity_timer){.tag = from->timers[i]->tag,
                                  .due_ns = rt->now.mono_ns + from->timers[i]->due_in_ms %
                                                                  (UINT64_C(1) << 40) * NS_PER_MS};
    entity__rearm(rt, e);
    return x->timers != NULL;
}

static uint64_t ago(const struct runtime *rt, uint64_t ms)
{
    uint64_t ns = ms % (UINT64_C(1) << 40) * NS_PER_MS;
    return rt->now.mono_ns > ns ? rt->now.mono_ns - ns : 0;
}

/* No entity comes as far as the last version that the store can hold: the next one would have none.
 */
static bool has_sane_versions(const Troupe__Peer__Entity *from)
{
    return from->saved <= from->version && from->version < INT64_MAX;
}

/* False: it is not built up, and will be read from the store when it is used. */
static bool build(struct runtime *rt, const struct incoming *in, const Troupe__Peer__Take *take,
                  const Troupe__Peer__Entity *from)
{
    const char *why = NULL;
    const struct kind *k = deliver__kind(rt, bytes_of(from->kind));
    if (k == NULL || name_check_id(bytes_of(from->id), &why) != 0 || !has_sane_versions(from))
        return false;
    uint64_t hash = name_hash(k->name, bytes_of(from->id));
    uint32_t pid = name_partition(hash, rt->partition_bits);
    uint8_t kind = (uint8_t)(k - rt->kinds);
    if (!is_in(in, pid) || !rt->ownership.entries[pid].coming ||
        table_find(&rt->partitions[pid], hash, kind, bytes_of(from->id)) != NULL)
        return false;
    return entity__build(rt, kind, hash, from, ago(rt, from->idle_ms), ago(rt, from->dirty_ms),
                         take->timeline < rt->timeline) &&
           set_timers(rt, table_find(&rt->partitions[pid], hash, kind, bytes_of(from->id)), from);
}

/* False: what was not persisted yet would be lost. The giver keeps it all, and persists it. */
static bool build_all(struct runtime *rt, struct incoming *in, const Troupe__Peer__Take *take)
{
    for (size_t i = 0; i < take->n_entities; i++) {
        const Troupe__Peer__Entity *from = take->entities[i];
        if (build(rt, in, take, from))
            in->entities++;
        else if (from->saved != from->version)
            return false;
    }
    return true;
}

/* ---- what the other node says ---- */

static struct handoff_answer may_take(const struct runtime *rt, const Troupe__Peer__Transfer *t)
{
    if (!is_valid(t) || !members__is_on(&rt->members))
        return ANSWER(TROUPE_INVALID_ARGUMENT, "this is no transfer");
    if (t->to_generation != rt->generation)
        return ANSWER(TROUPE_NOT_FOUND, "this is another run of the node than the one meant");
    return ANSWER(TROUPE_OK, "");
}

struct handoff_answer handoff__take(struct runtime *rt, const Troupe__Peer__Take *take)
{
    struct handoff_answer answer = may_take(rt, take->transfer);
    if (answer.status != TROUPE_OK)
        return answer;
    if (rt->phase != RUNTIME_SERVING || rt->draining || rt->drain_asked || kinds__lacks(rt) ||
        !rt->timeline_known)
        return ANSWER(TROUPE_UNAVAILABLE, "the node does not take partitions now");
    struct incoming *in = find(rt, take->transfer);
    if (in == NULL && take->part == 0)
        answer = begin(rt, take, &in);
    if (answer.status != TROUPE_OK)
        return answer;
    if (in == NULL || take->part != in->parts_got)
        return ANSWER(TROUPE_FAILED_PRECONDITION, "a part before this one is missing");
    if (!build_all(rt, in, take))
        return ANSWER(
            TROUPE_RESOURCE_EXHAUSTED,
            "an entity with unsaved changes cannot be started here: the node is full, does "
            "not have its kind, or cannot read its state");
    in->parts_got++;
    if (take->parts != 0)
        in->parts_n = take->parts;
    return answer;
}

static void become_owner(struct runtime *rt, uint32_t pid, uint64_t epoch)
{
    rt->ownership.entries[pid].coming = false;
    claims__won_one(rt);
    ownership_take(&rt->ownership, pid, epoch);
    owners__told(rt, pid);
    claims__resume(rt, pid);
    rt->handoff_totals.partitions_in++;
}

/* Its commit was made by a server of the store that has been succeeded since, by the timeline that
 * each epoch bears: whether the copy has it, the giver need not know. */
static bool is_of_deposed(const struct runtime *rt, const Troupe__Peer__Given *given)
{
    for (size_t i = 0; i < given->n_partitions; i++) {
        if (given->partitions[i]->epoch >> OWNERSHIP_EPOCH_BITS < rt->timeline)
            return true;
    }
    return false;
}

struct handoff_answer handoff__given(struct runtime *rt, const Troupe__Peer__Given *given)
{
    struct handoff_answer answer = may_take(rt, given->transfer);
    if (answer.status != TROUPE_OK)
        return answer;
    struct incoming *in = find(rt, given->transfer);
    bool whole = in != NULL && is_whole(in);
    if (whole && is_of_deposed(rt, given)) {
        if (!in->orphan)
            orphan(rt, in); /* the store is asked */
        return answer;
    }
    for (size_t i = 0; i < given->n_partitions; i++) {
        uint32_t pid = given->partitions[i]->pid;
        if (pid >= rt->config.partitions || given->partitions[i]->epoch > OWNER_MAP_EPOCH_MAX ||
            ownership_is_held(&rt->ownership, pid))
            continue;
        const struct ownership_entry *e = &rt->ownership.entries[pid];
        /* What others tell of it may be wrong: what the store has told since may not. */
        if (whole && is_in(in, pid) && e->coming && given->partitions[i]->epoch >= e->sure)
            become_owner(rt, pid, given->partitions[i]->epoch);
        else /* the store gave it to us, and we have nothing of it */
            ownership_want(&rt->ownership, pid);
    }
    if (in != NULL) {
        rt->handoff_totals.batches_in++;
        rt->handoff_totals.entities_in += in->entities;
        forget(rt, in);
    }
    rt->unpark_ns = rt->now.mono_ns;
    return answer;
}

struct handoff_answer handoff__keep(struct runtime *rt, const Troupe__Peer__Keep *keep)
{
    struct handoff_answer answer = may_take(rt, keep->transfer);
    if (answer.status != TROUPE_OK)
        return answer;
    uint32_t node = nodes__find(&rt->members.nodes, bytes_of(keep->transfer->from));
    struct incoming *in = find(rt, keep->transfer);
    if (node != NODE_NONE)
        is_next(rt, node__at(rt, node), keep->transfer); /* its parts may come yet */
    if (in != NULL)
        forget(rt, in);
    return answer;
}
