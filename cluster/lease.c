/* See lease.h. */
#include "cluster/lease.h"

#include "base/invariant.h"

enum { NS_PER_MS = 1000000 };

void lease_init(struct lease *l, const struct lease_config *config)
{
    INVARIANT(config->ttl_ns > (uint64_t)LEASE_MARGIN_MS * NS_PER_MS);
    INVARIANT(config->renew_ns > 0 && config->renew_ns < config->ttl_ns);
    *l = (struct lease){.config = *config};
}

static uint64_t renewal_interval(const struct lease *l, uint64_t now_ns)
{
    uint64_t soon_ns = (uint64_t)LEASE_ACQUAINT_RENEW_MS * NS_PER_MS;
    return now_ns < l->soon_until_ns && soon_ns < l->config.renew_ns ? soon_ns : l->config.renew_ns;
}

static int64_t clocks_ms(uint64_t now_ns, uint64_t wall_ms)
{
    return (int64_t)wall_ms - (int64_t)(now_ns / NS_PER_MS);
}

static bool is_jump(int64_t from_ms, int64_t to_ms)
{
    return (uint64_t)(to_ms - from_ms + LEASE_CLOCK_JUMP_MS) > 2 * LEASE_CLOCK_JUMP_MS;
}

__attribute__((cold, noinline)) static void jumped(struct lease *l, uint64_t now_ns)
{
    l->deadline_ns = l->promised_ns = 0; /* until the next renewal … */
    l->jumped = true;
    l->void_in_flight = l->in_flight; /* … and not this one */
    l->next_ns = now_ns;
}

void lease_void(struct lease *l, uint64_t now_ns, bool in_flight_counts)
{
    jumped(l, now_ns);
    l->void_in_flight &= !in_flight_counts;
}

static void sent(struct lease *l, uint64_t now_ns, uint64_t wall_ms, uint64_t ttl_ns)
{
    l->sent_ns = now_ns;
    l->sent_clocks_ms = clocks_ms(now_ns, wall_ms);
    l->sent_ttl_ns = ttl_ns;
    l->void_in_flight = false;
}

/* What the statement sent last gives, once it is known to have been applied, if it asked for
 * ttl_ns. */
static void extend(struct lease *l, uint64_t ttl_ns)
{
    l->renewed_ns = l->sent_ns;
    l->deadline_ns = l->sent_ns + ttl_ns - (uint64_t)LEASE_MARGIN_MS * NS_PER_MS;
    l->promised_ns = 0;
    l->next_ns = l->sent_ns + renewal_interval(l, l->sent_ns);
    l->failures = 0;
    l->clocks_ms = l->sent_clocks_ms;
    l->jumped = false;
}

void lease_ask(struct lease *l, uint64_t now_ns, uint64_t wall_ms)
{
    INVARIANT(!l->held);
    sent(l, now_ns, wall_ms, l->config.ttl_ns);
}

void lease_grant(struct lease *l, uint64_t now_ns, uint64_t wall_ms)
{
    INVARIANT(!l->held && !l->in_flight);
    INVARIANT(l->sent_ns <= now_ns);
    l->held = true;
    l->alone = false;
    extend(l, l->config.ttl_ns);
    if (is_jump(l->sent_clocks_ms, clocks_ms(now_ns, wall_ms)))
        jumped(l, now_ns);
}

uint64_t lease_send(struct lease *l, uint64_t now_ns, uint64_t wall_ms)
{
    INVARIANT(l->held && !l->in_flight);
    bool longer =
        l->alone && !l->config.outage_fence && l->config.outage_grace_ns > l->config.ttl_ns;
    sent(l, now_ns, wall_ms, longer ? l->config.outage_grace_ns : l->config.ttl_ns);
    l->in_flight = true;
    return l->sent_ttl_ns;
}

bool lease_renewed(struct lease *l, uint64_t now_ns, uint64_t wall_ms, uint32_t others)
{
    INVARIANT(l->held && l->in_flight);
    INVARIANT(l->sent_ns <= now_ns);
    l->in_flight = false;
    if (l->void_in_flight || is_jump(l->sent_clocks_ms, clocks_ms(now_ns, wall_ms))) {
        jumped(l, now_ns);
        return false;
    }
    l->alone = others == 0;
    /* With company at last: whatever the row says, stop at the short TTL. */
    uint64_t ttl_ns = l->alone ? l->sent_ttl_ns : l->config.ttl_ns;
    bool row_is_long = l->sent_ttl_ns > l->config.ttl_ns;
    extend(l, ttl_ns);
    if (!l->alone && row_is_long) /* nobody could evict us before that is over: say so at once */
        l->next_ns = now_ns;
    return true;
}

void lease_company(struct lease *l, uint64_t now_ns)
{
    l->soon_until_ns = now_ns + (uint64_t)LEASE_ACQUAINT_MS * NS_PER_MS;
    uint64_t soon_ns = l->alone ? now_ns : now_ns + renewal_interval(l, now_ns);
    if (l->failures == 0 && l->next_ns > soon_ns)
        l->next_ns = soon_ns;
}

void lease_failed(struct lease *l, uint64_t now_ns)
{
    INVARIANT(l->in_flight);
    l->in_flight = false;
    l->failures++;
    /* Quickly at first: a renewal that was merely unlucky must not cost the lease. */
    uint64_t wait = l->config.renew_ns / 10 * (l->failures < 10 ? l->failures : 10);
    l->next_ns = now_ns + wait;
}

void lease_lose(struct lease *l)
{
    l->held = false;
    l->in_flight = false;
    l->deadline_ns = l->promised_ns = 0;
}

void lease_promised(struct lease *l, uint64_t asked_ns)
{
    uint64_t most_ns = l->renewed_ns + l->config.outage_grace_ns;
    uint64_t until_ns = asked_ns + l->config.ttl_ns - (uint64_t)LEASE_MARGIN_MS * NS_PER_MS;
    if (!l->held || l->jumped || l->config.outage_fence || asked_ns < l->renewed_ns)
        return;
    if (until_ns > most_ns)
        until_ns = most_ns;
    if (until_ns > l->promised_ns)
        l->promised_ns = until_ns;
}

uint64_t lease_end_ns(const struct lease *l)
{
    return l->promised_ns > l->deadline_ns ? l->promised_ns : l->deadline_ns;
}

bool lease_is_valid(struct lease *l, uint64_t now_ns, uint64_t wall_ms)
{
    if (!l->held)
        return false;
    if (is_jump(l->clocks_ms, clocks_ms(now_ns, wall_ms)) && !l->jumped)
        jumped(l, now_ns);
    return now_ns < lease_end_ns(l);
}

bool lease_renewal_is_due(const struct lease *l, uint64_t now_ns)
{
    return l->held && !l->in_flight && now_ns >= l->next_ns;
}
