/* Waiting for somebody: partitions whose owner has fallen silent, which nobody may take over yet
 * (failover.c), and a name that another run holds (lifecycle.c). It may take as long as that run
 * may serve without the store. So it is told at once and each minute in the log, in the status, and
 * to whoever calls: for whom, until when, and what can be done. */
#include <inttypes.h>
#include <stdio.h>

#include "node/runtime/internal.h"

enum { TELL_AGAIN_MS = 60000, NUMBER_BYTES = 32 };

/* ---- for whom ---- */

/* Calls for it can go nowhere: it does not answer other nodes. Without gossip its lease tells. */
static bool is_away(const struct runtime *rt, uint32_t node)
{
    const struct node_info *n = node__at(rt, node);
    if (n == NULL || node == rt->members.self || !n->row_active)
        return false;
    if (!members__is_on(&rt->members))
        return n->row_expired;
    return !node__is_live(n) || n->generation < n->row_generation;
}

bool waits__is_silent(const struct runtime *rt, uint32_t node)
{
    uint64_t quiet_ns = failover__quiet_ms(rt) * NS_PER_MS;
    return is_away(rt, node) &&
           failover__seen_for_ns(rt, node__at(rt, node)->row_since_ns) >= quiet_ns;
}

uint32_t waits__partitions(const struct runtime *rt, uint32_t node)
{
    uint32_t n = 0;
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        const struct ownership_entry *e = &rt->ownership.entries[pid];
        n += e->node == node && !ownership_is_held(&rt->ownership, pid);
    }
    return n;
}

uint32_t waits__unreachable(const struct runtime *rt)
{
    uint32_t n = 0;
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++)
        n +=
            !ownership_is_held(&rt->ownership, pid) && is_away(rt, rt->ownership.entries[pid].node);
    return n;
}

bool waits__has_holder(const struct runtime *rt)
{
    return rt->phase == RUNTIME_STARTING && !rt->lease.held && rt->holder_until_ns != 0;
}

/* ---- until when ---- */

static uint64_t left_ms(const struct runtime *rt, uint64_t until_ns)
{
    return until_ns > rt->now.mono_ns ? (until_ns - rt->now.mono_ns) / NS_PER_MS : 0;
}

uint64_t waits__left_ms(const struct runtime *rt, uint32_t node)
{
    return left_ms(rt, failover__until_ns(rt, node__at(rt, node)));
}

uint64_t waits__holder_left_ms(const struct runtime *rt)
{
    return left_ms(rt, rt->holder_until_ns);
}

static const char *duration(char text[NUMBER_BYTES], uint64_t ms)
{
    uint64_t s = (ms + 999) / 1000;
    if (s < 60)
        snprintf(text, NUMBER_BYTES, "%" PRIu64 " s", s);
    else
        snprintf(text, NUMBER_BYTES, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    return text;
}

/* ---- telling ---- */

bool waits__text(const struct runtime *rt, uint32_t pid, char *text, size_t size)
{
    char time[NUMBER_BYTES];
    uint32_t node = rt->ownership.entries[pid].node;
    if (waits__has_holder(rt)) {
        snprintf(text, size,
                 "not executed: node %s waits for an earlier run of its name, at %.80s, which may "
                 "live, for at most %s. Stop that one; or, if it is gone for good, `troupe evict "
                 "%s`",
                 rt->config.name, rt->holder_address, duration(time, waits__holder_left_ms(rt)),
                 rt->config.name);
        return true;
    }
    if (ownership_is_held(&rt->ownership, pid) || !waits__is_silent(rt, node))
        return false;
    const struct node_info *n = node__at(rt, node);
    snprintf(
        text, size,
        "not executed: the entity is with node %s, at %.80s, which is silent, and may serve it "
        "without the store for at most %s more. Start that node again; or, if it is gone for "
        "good, `troupe evict %s`",
        n->name, n->address, duration(time, waits__left_ms(rt, node)), n->name);
    return true;
}

static const char *number(char text[NUMBER_BYTES], uint64_t value)
{
    snprintf(text, NUMBER_BYTES, "%" PRIu64, value);
    return text;
}

static void tell(struct runtime *rt, uint32_t node)
{
    struct node_info *n = node__at(rt, node);
    char partitions[NUMBER_BYTES], left[NUMBER_BYTES], what[STORE_NAME_BYTES_MAX + 80];
    uint32_t waiting = waits__partitions(rt, node);
    if (waiting == 0)
        return;
    n->wait_told_ns = rt->now.mono_ns;
    snprintf(what, sizeof what, "start it again; if it is gone for good: troupe evict %s", n->name);
    log__add(rt, RUNTIME_WARN, "partitions wait for a node that is silent", "node", n->name,
             "address", n->address, "partitions", number(partitions, waiting), "for_at_most_ms",
             number(left, waits__left_ms(rt, node)), "do", what, NULL);
}

static bool is_due(const struct runtime *rt, uint64_t told_ns)
{
    return told_ns == 0 || rt->now.mono_ns - told_ns >= TELL_AGAIN_MS * NS_PER_MS;
}

void waits__rows_seen(struct runtime *rt)
{
    const struct members *m = &rt->members;
    for (uint32_t i = 0; rt->map_known && i < m->nodes.n; i++) {
        if (!waits__is_silent(rt, i))
            m->nodes.all[i]->wait_told_ns = 0;
        else if (is_due(rt, m->nodes.all[i]->wait_told_ns))
            tell(rt, i);
    }
}

void waits__holder_seen(struct runtime *rt, const struct store_node *holder, uint64_t until_ns)
{
    char left[NUMBER_BYTES], what[STORE_NAME_BYTES_MAX + 80];
    bool first = rt->holder_until_ns == 0;
    rt->holder_until_ns = until_ns;
    snprintf(rt->holder_address, sizeof rt->holder_address, "%s", holder->addr);
    if (!first && !is_due(rt, rt->holder_told_ns))
        return;
    rt->holder_told_ns = rt->now.mono_ns;
    snprintf(what, sizeof what, "stop it; if it is gone for good: troupe evict %s",
             rt->config.name);
    log__add(rt, RUNTIME_WARN, "the name is held by another run; watching whether it still lives",
             "name", rt->config.name, "address", holder->addr, "for_at_most_ms",
             number(left, left_ms(rt, until_ns)), "do", what, NULL);
}
