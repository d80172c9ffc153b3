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

/* What a statement sent at sent_ns and asking for ttl_ns gives, once it is known to have been
 * applied. */
static void extend(struct lease *l, uint64_t sent_ns, uint64_t ttl_ns)
{
    l->renewed_ns = sent_ns;
    l->deadline_ns = sent_ns + ttl_ns - (uint64_t)LEASE_MARGIN_MS * NS_PER_MS;
    l->promised_ns = 0;
    l->next_ns = sent_ns + renewal_interval(l, sent_ns);
    l->failures = 0;
    l->in_flight = false;
    l->held = true;
    l->clocks_known = false;
}

void lease_grant(struct lease *l, uint64_t sent_ns, uint64_t now_ns)
{
    INVARIANT(!l->held);
    INVARIANT(sent_ns <= now_ns);
    l->alone = false;
    extend(l, sent_ns, l->config.ttl_ns);
}

uint64_t lease_send(struct lease *l, uint64_t now_ns)
{
    INVARIANT(l->held && !l->in_flight);
    bool longer =
        l->alone && !l->config.outage_fence && l->config.outage_grace_ns > l->config.ttl_ns;
    l->in_flight = true;
    l->sent_ns = now_ns;
    l->sent_ttl_ns = longer ? l->config.outage_grace_ns : l->config.ttl_ns;
    return l->sent_ttl_ns;
}

void lease_renewed(struct lease *l, uint64_t now_ns, uint32_t others)
{
    INVARIANT(l->held && l->in_flight);
    INVARIANT(l->sent_ns <= now_ns);
    l->alone = others == 0;
    /* With company at last: whatever the row says, stop at the short TTL. */
    uint64_t ttl_ns = l->alone ? l->sent_ttl_ns : l->config.ttl_ns;
    bool row_is_long = l->sent_ttl_ns > l->config.ttl_ns;
    extend(l, l->sent_ns, ttl_ns);
    if (!l->alone && row_is_long) /* nobody could evict us before that is over: say so at once */
        l->next_ns = now_ns;
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
    if (!l->held || l->config.outage_fence || asked_ns < l->renewed_ns)
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
    int64_t clocks_ms = (int64_t)wall_ms - (int64_t)(now_ns / NS_PER_MS);
    if (!l->clocks_known) {
        l->clocks_known = true;
        l->clocks_ms = clocks_ms;
    }
    int64_t jump = clocks_ms - l->clocks_ms;
    if (jump > LEASE_CLOCK_JUMP_MS || jump < -LEASE_CLOCK_JUMP_MS) {
        l->deadline_ns = l->promised_ns = 0; /* until the next renewal */
        l->next_ns = now_ns;
    }
    return l->held && now_ns < lease_end_ns(l);
}

bool lease_renewal_is_due(const struct lease *l, uint64_t now_ns)
{
    return l->held && !l->in_flight && now_ns >= l->next_ns;
}
