/* Nodes that have lost their lease are evicted, so that their partitions are free (DESIGN §6.3).
 * Membership does not decide that: it is quick but can err. A node is evicted when the store's
 * clock says that its lease is over, and its row was seen unchanged for a whole TTL on our own
 * clock, while the store was within reach. The observation is under way before it is needed, for
 * every renewal of ours brings the rows of the others.
 *
 * A node that cannot reach the store may go on serving while every node that it knew of by its last
 * renewal has promised not to evict it. We are one of those if it registered after us, or has
 * renewed since (twice), which shows in its row; of one that has not, we know nothing, and wait for
 * as long as it may serve without the store. That, too, stands in its row: nodes need not have the
 * same settings.
 *
 * Better than to count its renewals is its own word: with each it says back up to which node it has
 * been told of the others (store_renew.seen). If it knew our name when it renewed for the last
 * time, it needs our promise; we give none while we reach the store, an earlier run of our name is
 * known not to live any more (else we would not have kept its number), and what that one promised
 * is over after a TTL. So when a whole cluster has died and any of its names is back, the others
 * are evicted after a TTL of silence (DESIGN §6.14).
 *
 * None of that is needed for a run that is known to have ended (struct store_node.fate). A proof
 * can be wrong where machines are copies of each other: it counts only of a run that is silent for
 * longer than a node goes without renewing, and no more once it has renewed. */
#include <inttypes.h>
#include <stdio.h>

#include "node/runtime/internal.h"

/* Renewals of a node after which it is taken to know us. More than one, for the answer to the last
 * one before an outage may be lost. */
enum { RENEWS = 2 };

/* Without a renewal, while we looked all the time: then a proof is believed. Longer than a node
 * goes without one. */
enum { QUIET_MS = 1500 };

/* Of a run whose program does not tell: what outage-grace is unless somebody has set it. */
enum { OUTAGE_UNTOLD_MS = 600000 };

uint64_t failover__quiet_ms(const struct runtime *rt)
{
    uint64_t renew_ms = rt->config.lease_renew_ms + rt->config.lease_renew_ms / 2;
    return renew_ms > QUIET_MS ? renew_ms : QUIET_MS;
}

/* ---- watching ---- */

/* Its row is no longer active: it can own nothing. */
static void gone(struct runtime *rt, struct node_info *n)
{
    rt->members.ring_stale |= node__is_in_ring(n);
    n->row_active = false;
    n->gone_generation = n->row_generation;
}

/* A proof that says of a run that renews that it is gone is wrong for ever. */
static void judge(struct node_info *n, const struct store_node *row, bool other, bool moved)
{
    n->row_misjudged = !other && (n->row_misjudged || (moved && n->row_fate == STORE_FATE_GONE));
    n->row_fate = n->row_misjudged && row->fate == STORE_FATE_GONE ? STORE_FATE_UNKNOWN : row->fate;
}

/* missed: we could not look for so long that it may have renewed, or tried to, in between. */
static void see(struct runtime *rt, const struct store_node *row, bool gap, bool missed)
{
    uint32_t at = nodes__take(rt, troupe_bytes_of(row->name));
    struct node_info *n = node__at(rt, at);
    if (n == NULL) /* no room: it is not evicted by us */
        return;
    bool other = !n->row_active || n->row_generation != row->generation;
    bool moved = other || n->row_seq != row->renew_seq;
    uint64_t renews = row->renew_seq > n->row_seq ? row->renew_seq - n->row_seq : 0;
    if (other) {
        handoff__giver_gone(rt, at, row->generation);
        lease_company(&rt->lease, rt->now.mono_ns);
        /* Without any renewal it has no promises, and its first one tells it of us. */
        n->row_later = !rt->rows_first && row->generation > n->row_generation;
    }
    renews = other || !n->row_counted ? 0 : renews + n->row_renews;
    n->row_renews = (uint8_t)(renews < RENEWS ? renews : RENEWS);
    n->row_counted = true;
    if (moved || gap)
        n->row_since_ns = rt->now.mono_ns;
    if (moved || missed)
        n->row_quiet_ns = rt->now.mono_ns;
    /* There is no such run: the store has gone back, or somebody has made it up. */
    if (row->generation < n->taken_generation && rt->renew.sent_ns > n->taken_ns)
        n->taken_generation = n->taken_number = 0;
    judge(n, row, other, moved);
    n->row_active = n->row_listed = true;
    n->row_expired = row->expired;
    n->row_expires_ns = rt->now.mono_ns;
    if (!row->expired && row->age_ms < row->ttl_ms)
        n->row_expires_ns += (row->ttl_ms - row->age_ms) * NS_PER_MS;
    n->row_generation = row->generation;
    if (n->gone_generation >= row->generation) { /* the store has gone back to an older copy */
        n->gone_generation = 0;
        rt->members.ring_stale = true;
    }
    n->row_seq = row->renew_seq;
    n->row_seen = row->seen;
    n->row_ttl_ms = row->ttl_ms;
    n->row_outage_ms = row->outage_ms;
    if (n->member == SWIM_NOBODY) { /* membership knows better */
        snprintf(n->address, sizeof n->address, "%s", row->addr);
        snprintf(n->gossip, sizeof n->gossip, "%s", row->gossip);
    }
}

void failover__rows(struct runtime *rt, const struct store_node *others, size_t others_n)
{
    struct members *m = &rt->members;
    /* The store was away in between: the others could not renew either. */
    bool gap = rt->now.mono_ns - rt->rows_ns > rt->config.lease_ttl_ms * NS_PER_MS / 2;
    bool missed = rt->now.mono_ns - rt->rows_ns > failover__quiet_ms(rt) * NS_PER_MS;
    rt->rows_ns = rt->now.mono_ns;
    rt->rows_first |= gap;
    for (uint32_t i = 0; i < m->nodes.n; i++)
        m->nodes.all[i]->row_listed = false;
    for (size_t i = 0; i < others_n; i++)
        see(rt, &others[i], gap, missed);
    rt->rows_first = false;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        struct node_info *n = m->nodes.all[i];
        if (!n->row_active || n->row_listed)
            continue;
        gone(rt, n);
        claims__owner_gone(rt, i);
    }
    waits__rows_seen(rt);
}

void failover__registered(struct runtime *rt)
{
    struct members *m = &rt->members;
    rt->rows_first = true;
    for (uint32_t i = 0; members__is_on(m) && i < m->nodes.n; i++) {
        m->nodes.all[i]->row_counted = false;
        m->nodes.all[i]->row_renews = 0;
        m->nodes.all[i]->row_later = false;
        m->nodes.all[i]->row_since_ns = m->nodes.all[i]->row_quiet_ns = rt->now.mono_ns;
    }
}

/* ---- evicting ---- */

uint64_t failover__outage_ms(const struct runtime *rt, uint32_t row_outage_ms)
{
    if (row_outage_ms != STORE_OUTAGE_UNKNOWN)
        return row_outage_ms;
    return rt->config.outage_grace_ms > OUTAGE_UNTOLD_MS ? rt->config.outage_grace_ms
                                                         : OUTAGE_UNTOLD_MS;
}

uint64_t failover__seen_for_ns(const struct runtime *rt, uint64_t since_ns)
{
    return rt->rows_ns > since_ns ? rt->rows_ns - since_ns : 0;
}

bool failover__is_gone(const struct runtime *rt, const struct node_info *n)
{
    uint64_t quiet_ns = failover__quiet_ms(rt) * NS_PER_MS;
    return n->row_active && (n->row_fate == STORE_FATE_BURIED ||
                             (n->row_fate == STORE_FATE_GONE &&
                              failover__seen_for_ns(rt, n->row_quiet_ns) >= quiet_ns));
}

/* For how long it must be seen silent. */
static uint64_t wait_ms(const struct runtime *rt, const struct node_info *n)
{
    uint64_t outage_ms = failover__outage_ms(rt, n->row_outage_ms);
    bool told = rt->joined != 0 && n->row_seen >= rt->joined;
    bool knows_us = n->row_later || n->row_renews >= RENEWS || told;
    return !knows_us && outage_ms > n->row_ttl_ms ? outage_ms : n->row_ttl_ms;
}

static bool is_silent(const struct runtime *rt, const struct node_info *n)
{
    uint64_t silent_ns = failover__seen_for_ns(rt, n->row_since_ns);
    return n->row_active && n->row_expired && silent_ns >= wait_ms(rt, n) * NS_PER_MS &&
           rt->now.mono_ns >= n->promised_until_ns;
}

uint64_t failover__until_ns(const struct runtime *rt, const struct node_info *n)
{
    uint64_t until_ns = n->row_since_ns + wait_ms(rt, n) * NS_PER_MS;
    until_ns = n->promised_until_ns > until_ns ? n->promised_until_ns : until_ns;
    return n->row_expires_ns > until_ns ? n->row_expires_ns : until_ns;
}

static uint32_t candidate(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        const struct node_info *n = m->nodes.all[i];
        if (i != m->self && (failover__is_gone(rt, n) || is_silent(rt, n)))
            return i;
    }
    return NODE_NONE;
}

static void send_evict(struct runtime *rt, uint32_t node)
{
    const struct node_info *n = node__at(rt, node);
    rt->evict_node = node;
    rt->evict.request.u.evict = (struct store_evict){
        .name = rt->config.name,
        .generation = rt->generation,
        .target = n->name,
        .target_generation = n->row_generation,
        .target_renew_seq = n->row_seq,
        .why = failover__is_gone(rt, n) ? STORE_EVICT_GONE : STORE_EVICT_SILENT,
    };
    arena_reset(&rt->evict.arena);
    lifecycle__submit(rt, &rt->evict, STORE_EVICT);
}

void failover__tick(struct runtime *rt)
{
    if (rt->phase != RUNTIME_SERVING || !rt->rows_fresh || !lifecycle__is_free(rt, &rt->evict))
        return;
    rt->rows_fresh = false; /* once for each look at the rows */
    uint32_t node = candidate(rt);
    if (node != NODE_NONE)
        send_evict(rt, node);
}

void failover__done(struct runtime *rt)
{
    const struct store_request *request = &rt->evict.request;
    struct node_info *n = node__at(rt, rt->evict_node);
    if (request->error != 0) {
        lifecycle__slot_failed(rt, &rt->evict);
        bool ours = request->u.evict.generation == rt->generation; /* not that of a run before */
        if (request->error == TROUPE_EFENCED && rt->lease.held && ours)
            lifecycle__evicted(rt);
        return;
    }
    lifecycle__slot_worked(&rt->evict);
    rt->rows_fresh = true; /* there may be another one */
    if (!request->u.evict.evicted || n->row_generation != request->u.evict.target_generation) {
        n->row_since_ns = n->row_quiet_ns = rt->now.mono_ns; /* it has renewed after all … */
        n->row_fate = STORE_FATE_UNKNOWN; /* … or is another run: the next look tells */
        n->row_expired = false;
        return;
    }
    char ttl[24];
    snprintf(ttl, sizeof ttl, "%" PRIu32, n->row_ttl_ms);
    log__add(rt, RUNTIME_WARN,
             request->u.evict.why == STORE_EVICT_GONE
                 ? "evicted a node: its process is known to have ended"
                 : "evicted a node: its lease ran out and it did not renew it",
             "node", n->name, "address", n->address, "ttl_ms", ttl, NULL);
    failover__given_up(rt, rt->evict_node, n->row_generation);
}

void failover__given_up(struct runtime *rt, uint32_t node, uint64_t generation)
{
    struct node_info *n = node__at(rt, node);
    if (n == NULL || !n->row_active || n->row_generation != generation)
        return;
    gone(rt, n);
    claims__owner_gone(rt, node);
}
