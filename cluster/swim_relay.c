/* Indirect probes (SWIM §4.1): whom we cannot reach, others may. And nacks (Lifeguard §IV.A): a
 * helper that gets no answer says so while the probe still runs, which tells the prober that its
 * own ears are good. */
#include "cluster/swim_impl.h"

enum { NACK_PERCENT = 80 }; /* of the probe's timeout */

void swim__ask_others(struct swim *s, struct swim_probe *p, struct swim_effects *fx)
{
    swim_id helpers[SWIM_PICKED_MAX];
    uint32_t n = swim__pick(s, p->target, s->config.indirect_probes, helpers);
    p->asked_others = true;
    p->helpers = (uint8_t)n;
    for (uint32_t i = 0; i < n; i++) {
        struct gossip_frame header;
        swim__header(s, GOSSIP_PING_REQ, &header);
        header.seq = p->seq;
        header.target = intern_bytes(s->names, p->target);
        struct swim_writer w = swim__begin(&header, SWIM_PIGGYBACK_BYTES, fx);
        swim__address(s, &w, helpers[i]);
        swim__put_news(s, &w);
        swim__end(s, &w, false, helpers[i], p->ends_ns);
        s->stats.indirect_probes++;
    }
}

void swim__relay(struct swim *s, swim_id origin, const struct gossip_frame *frame,
                 struct swim_effects *fx)
{
    swim_id target = swim_find(s, frame->target);
    if (target == SWIM_NOBODY || target == s->self || s->members[target].meta == INTERN_NONE)
        return;
    for (uint32_t i = 0; i < SWIM_RELAYS_MAX; i++) {
        struct swim_relay *r = &s->relays[i];
        if (r->origin != SWIM_NOBODY)
            continue;
        *r = (struct swim_relay){
            .origin = origin,
            .seq = ++s->seq,
            .origin_seq = frame->seq,
            .nack_at_ns = s->now_ns + s->config.probe_timeout_ns * NACK_PERCENT / 100,
            .ends_ns = s->now_ns + s->config.probe_window_ns,
        };
        s->relays_n++;
        swim__ping(s, target, r->seq, r->ends_ns, fx);
        return;
    }
}

static void answer(struct swim *s, const struct swim_relay *r, enum gossip_type type,
                   struct swim_effects *fx)
{
    if (!swim__is_known(s, r->origin))
        return;
    struct gossip_frame header;
    swim__header(s, type, &header);
    header.seq = r->origin_seq;
    struct swim_writer w = swim__begin(&header, SWIM_PIGGYBACK_BYTES, fx);
    swim__address(s, &w, r->origin);
    swim__put_news(s, &w);
    swim__end(s, &w, false, r->origin, s->now_ns + s->config.probe_window_ns);
}

bool swim__relay_acked(struct swim *s, uint64_t seq, struct swim_effects *fx)
{
    for (uint32_t i = 0; i < SWIM_RELAYS_MAX && s->relays_n > 0; i++) {
        struct swim_relay *r = &s->relays[i];
        if (r->origin == SWIM_NOBODY || r->seq != seq)
            continue;
        answer(s, r, GOSSIP_ACK, fx);
        r->origin = SWIM_NOBODY;
        s->relays_n--;
        return true;
    }
    return false;
}

void swim__relays_tick(struct swim *s, struct swim_effects *fx)
{
    for (uint32_t i = 0; i < SWIM_RELAYS_MAX && s->relays_n > 0; i++) {
        struct swim_relay *r = &s->relays[i];
        if (r->origin == SWIM_NOBODY)
            continue;
        if (s->config.nacks && !r->nacked && s->now_ns >= r->nack_at_ns) {
            answer(s, r, GOSSIP_NACK, fx);
            r->nacked = true;
        }
        if (s->now_ns >= r->ends_ns) {
            r->origin = SWIM_NOBODY;
            s->relays_n--;
        }
    }
}
