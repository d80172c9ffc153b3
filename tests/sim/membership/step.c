/* What happens to a node, and what it makes of it: events in, effects out. */
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/invariant.h"
#include "tests/sim/membership/sim.h"

enum { JOIN_AGAIN_MS = 500 };

static struct swim_effects *fresh(struct sim *sim)
{
    sim->fx->sends_n = sim->fx->bytes_n = 0;
    return sim->fx;
}

/* ---- effects ---- */

/* The address that the sender knows: node and run. False: it has none. */
static bool address(const struct sim *sim, const struct swim *swim, const struct swim_send *send,
                    uint32_t *node, uint32_t *run)
{
    struct swim_info info;
    if (send->is_contact) {
        *node = send->to;
        *run = sim->nodes[*node].run;
        return true;
    }
    if (!swim_info(swim, send->to, &info) || info.meta.len != SIM_META_BYTES)
        return false;
    memcpy(node, info.meta.data, sizeof *node);
    memcpy(run, info.meta.data + sizeof *node, sizeof *run);
    INVARIANT(*node < sim->nodes_n && *run <= sim->nodes[*node].run);
    return true;
}

/* Nobody is there, and the machine says so. */
static void refuse(struct sim *sim, const struct sim_frame *frame)
{
    struct sim_event event = {.at_ns = sim->now_ns + 2 * sim->network.latency_ns,
                              .type = SIM_EVENT_EVIDENCE,
                              .node = frame->from,
                              .run = sim->nodes[frame->from].run,
                              .about = frame->to};
    sim_queue_push(&sim->queue, &event);
}

static void leave(struct sim *sim, struct sim_frame *frame)
{
    const struct sim_node *from = &sim->nodes[frame->from], *to = &sim->nodes[frame->to];
    struct sim_event event = {
        .type = SIM_EVENT_FRAME, .node = frame->to, .run = frame->to_run, .frame = frame};
    uint64_t takes_ns = 0;
    sim->counts.messages++;
    sim->counts.bytes += frame->len;
    bool arrives = sim_network_carry(&sim->network, &sim->dice, from->group, to->group, &takes_ns);
    if (arrives && to->swim == NULL && to->refuses && to->run == frame->to_run)
        refuse(sim, frame);
    if (!arrives || to->swim == NULL || to->run != frame->to_run) {
        free(frame);
        return;
    }
    event.at_ns = sim->now_ns + takes_ns;
    sim_queue_push(&sim->queue, &event);
}

static void send_all(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    const struct swim_effects *fx = sim->fx;
    for (size_t i = 0; i < fx->sends_n; i++) {
        const struct swim_send *send = &fx->sends[i];
        uint32_t to, run;
        if (!address(sim, node->swim, send, &to, &run))
            continue;
        struct sim_frame *frame = sim_frame_new(fx->bytes + send->at, send->len);
        frame->from = index;
        frame->to = to;
        frame->to_run = run;
        frame->expires_ns = send->expires_ns;
        if (node->stall == SIM_IO_STALLED)
            sim_waiting_push(&node->outbox, frame);
        else
            leave(sim, frame);
    }
}

/* One timer per node counts: the earliest. Others that are still in the queue are ignored when they
 * fire; the deadline moves too often to take them out. */
static void set_timer(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    uint64_t at_ns = swim_deadline(node->swim);
    if (at_ns == SIM_NEVER || at_ns >= node->timer_ns)
        return;
    struct sim_event event = {.at_ns = at_ns > sim->now_ns ? at_ns : sim->now_ns + 1,
                              .type = SIM_EVENT_TIMER,
                              .node = index,
                              .run = node->run};
    node->timer_ns = event.at_ns;
    sim_queue_push(&sim->queue, &event);
}

void sim__after(struct sim *sim, uint32_t index, bool ticked)
{
    struct sim_node *node = &sim->nodes[index];
    send_all(sim, index);
    fresh(sim);
    sim__observe(sim, index, ticked);
    if (node->joining && swim_live(node->swim) > 1) { /* it has met somebody */
        node->joining = false;
        swim_set_state(node->swim, sim->now_ns, GOSSIP_ACTIVE, fresh(sim));
        send_all(sim, index);
    }
    if (node->leaving && swim_is_quiet(node->swim))
        sim_crash(sim, index, false);
    else
        set_timer(sim, index);
}

/* ---- events ---- */

static void receive(struct sim *sim, uint32_t index, struct sim_frame *frame)
{
    struct sim_node *node = &sim->nodes[index];
    struct troupe_bytes bytes = troupe_bytes(frame->bytes, frame->len);
    sim__note(sim, sim->now_ns);
    sim__note(sim, (uint64_t)frame->from << 32 | frame->to);
    sim__note(sim, XXH3_64bits(bytes.data, bytes.len));
    if (sim->pairs != NULL)
        sim_pair(sim, index, frame->from)->met = sim_pair(sim, frame->from, index)->met = true;
    swim_receive(node->swim, sim->now_ns, bytes, fresh(sim));
    free(frame);
    sim__after(sim, index, false);
}

/* A real node would burn a whole core, and here time would stand still. */
static void check_pace(const struct sim *sim, struct sim_node *node)
{
    if (sim->now_ns >= node->ticks_since_ns + SIM_MS) {
        node->ticks_since_ns = sim->now_ns;
        node->ticks = 0;
    }
    INVARIANT(++node->ticks <= SIM_TICKS_MAX);
}

static void tick(struct sim *sim, uint32_t index)
{
    sim->nodes[index].timer_ns = SIM_NEVER;
    if (sim->nodes[index].stall == SIM_PAUSED)
        return;
    if (swim_deadline(sim->nodes[index].swim) <= sim->now_ns) {
        sim__note(sim, sim->now_ns);
        check_pace(sim, &sim->nodes[index]);
        swim_tick(sim->nodes[index].swim, sim->now_ns, fresh(sim));
        sim__after(sim, index, true);
    } else {
        set_timer(sim, index);
    }
}

static void wake(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    bool was_paused = node->stall == SIM_PAUSED;
    sim__say(sim, "%u wakes: %u frames wait to come in, %u to leave", (unsigned)index,
             (unsigned)node->inbox.n, (unsigned)node->outbox.n);
    node->stall = SIM_RUNS;
    if (was_paused)
        tick(sim, index);
    for (struct sim_frame *frame; (frame = sim_waiting_pop(&node->outbox)) != NULL;) {
        if (frame->expires_ns >= sim->now_ns)
            leave(sim, frame);
        else
            free(frame);
    }
    for (struct sim_frame *frame; (frame = sim_waiting_pop(&node->inbox)) != NULL;)
        receive(sim, index, frame);
    if (node->plan.how == SIM_RUNS)
        return;
    struct sim_event next = {.at_ns = sim->now_ns + node->plan.interval_ns,
                             .type = SIM_EVENT_STALL,
                             .node = index,
                             .run = node->run};
    sim_queue_push(&sim->queue, &next);
}

static void evidence(struct sim *sim, uint32_t index, uint32_t about)
{
    struct swim *swim = sim->nodes[index].swim;
    struct swim_send to = {.to = sim_find(swim, about)};
    uint32_t node, run;
    if (!address(sim, swim, &to, &node, &run) || run != sim->nodes[about].run)
        return; /* it knows another address by now */
    swim_evidence(swim, sim->now_ns, to.to, fresh(sim));
    sim__after(sim, index, false);
}

/* Until it has met somebody, it asks a few, other ones each time. */
static void join(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    for (int i = 0; i < SIM_SEEDS && node->joining; i++) {
        uint32_t seed = (uint32_t)dice_below(&sim->dice, sim->nodes_n);
        if (seed == index)
            continue;
        swim_contact(node->swim, sim->now_ns, seed, fresh(sim));
        sim__after(sim, index, false);
    }
    struct sim_event again = {.at_ns = sim->now_ns + JOIN_AGAIN_MS * SIM_MS,
                              .type = SIM_EVENT_JOIN,
                              .node = index,
                              .run = node->run};
    if (node->joining)
        sim_queue_push(&sim->queue, &again);
}

void sim__handle(struct sim *sim, const struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->node];
    if (node->swim == NULL || node->run != event->run) {
        free(event->frame);
        return;
    }
    switch ((enum sim_event_type)event->type) {
    case SIM_EVENT_FRAME:
        if (node->stall == SIM_RUNS)
            receive(sim, event->node, event->frame);
        else
            sim_waiting_push(&node->inbox, event->frame);
        break;
    case SIM_EVENT_TIMER:
        if (event->at_ns == node->timer_ns)
            tick(sim, event->node);
        break;
    case SIM_EVENT_STALL:
        if (node->stall == SIM_RUNS && node->plan.how != SIM_RUNS)
            sim_stall(sim, event->node, node->plan.how, node->plan.duration_ns);
        break;
    case SIM_EVENT_WAKE:
        wake(sim, event->node);
        break;
    case SIM_EVENT_EVIDENCE:
        if (node->stall != SIM_PAUSED)
            evidence(sim, event->node, event->about);
        break;
    case SIM_EVENT_JOIN:
        join(sim, event->node);
        break;
    }
}
