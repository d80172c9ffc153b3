/* The cluster: nodes come and go, time passes. See sim.h. */
#include "tests/sim/membership/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/invariant.h"

bool sim_verbose;

void sim__note(struct sim *sim, uint64_t what)
{
    sim->trace = (sim->trace ^ what) * UINT64_C(0x100000001B3);
}

void sim__say(const struct sim *sim, const char *format, ...)
{
    if (!sim_verbose)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%12.6f ", (double)sim->now_ns / 1e9);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

struct troupe_bytes sim__name(uint32_t node, char out[SIM_NAME_BYTES])
{
    int len = snprintf(out, SIM_NAME_BYTES, "node-%05u", (unsigned)node);
    return troupe_bytes(out, (size_t)len);
}

static struct troupe_bytes meta_of(uint32_t node, uint32_t run, uint8_t out[SIM_META_BYTES])
{
    memset(out, 'm', SIM_META_BYTES);
    memcpy(out, &node, sizeof node);
    memcpy(out + sizeof node, &run, sizeof run);
    return troupe_bytes(out, SIM_META_BYTES);
}

/* ---- opening ---- */

static void open_node(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    struct swim_config config = sim->config;
    char name[SIM_NAME_BYTES];
    uint8_t meta[SIM_META_BYTES];
    node->run++;
    node->timer_ns = SIM_NEVER;
    node->stall = SIM_RUNS;
    node->refuses = false;
    config.name = sim__name(index, name);
    config.meta = meta_of(index, node->run, meta);
    config.generation = node->run;
    config.seed = dice_throw(&sim->dice);
    config.members_max = sim->nodes_n;
    int rc = swim_open(&node->swim, &config, &sim->names, &sim->metas, sim->now_ns);
    INVARIANT(rc == 0);
}

/* Each node hears of all the others, as if it had long known them. */
static void introduce_all(struct sim *sim)
{
    char name[SIM_NAME_BYTES];
    uint8_t meta[SIM_META_BYTES];
    for (uint32_t i = 0; i < sim->nodes_n; i++)
        swim_set_state(sim->nodes[i].swim, sim->now_ns, GOSSIP_ACTIVE, sim->fx);
    for (uint32_t i = 0; i < sim->nodes_n; i++) {
        struct swim *swim = sim->nodes[i].swim;
        for (uint32_t j = 0; j < sim->nodes_n; j++) {
            struct gossip_record record = {.name = sim__name(j, name),
                                           .generation = 1,
                                           .incarnation = 2, /* the second word of its own */
                                           .state = GOSSIP_ACTIVE,
                                           .meta = meta_of(j, 1, meta)};
            if (j != i)
                swim_learn(swim, sim->now_ns, &record);
            if (sim->pairs != NULL)
                sim_pair(sim, i, j)->view = SIM_LIVE;
        }
        while (swim_next_change(swim) != SWIM_NOBODY)
            ;
        sim__after(sim, i, false);
    }
}

void sim_open(struct sim *sim, uint32_t nodes_n, uint64_t seed, const struct swim_config *config)
{
    *sim = (struct sim){
        .config = *config,
        .nodes_n = nodes_n,
        .network = {.latency_ns = SIM_MS / 2, .jitter_ns = SIM_MS},
        .dice = {.state = seed},
        .now_ns = SIM_SECOND,
        .trace = UINT64_C(0xCBF29CE484222325),
    };
    memcpy(sim->config.uid, "a simulated one.", GOSSIP_UID_BYTES);
    sim->nodes = calloc(nodes_n, sizeof *sim->nodes);
    sim->fx = malloc(sizeof *sim->fx);
    if (nodes_n <= SIM_PAIRS_NODES_MAX)
        sim->pairs = calloc((size_t)nodes_n * nodes_n, sizeof *sim->pairs);
    /* Of each node, the metadata of a few runs may be about at once. */
    int rc = intern_init(&sim->names, nodes_n, SIM_META_BYTES);
    if (rc == 0)
        rc = intern_init(&sim->metas, 4 * nodes_n + 64, SIM_META_BYTES);
    INVARIANT(rc == 0 && sim->nodes != NULL && sim->fx != NULL);
    for (uint32_t i = 0; i < nodes_n; i++)
        open_node(sim, i);
    introduce_all(sim);
    sim_count_anew(sim);
}

void sim_close(struct sim *sim)
{
    for (struct sim_event event; sim_queue_pop(&sim->queue, SIM_NEVER, &event);)
        free(event.frame);
    for (uint32_t i = 0; i < sim->nodes_n; i++) {
        swim_close(sim->nodes[i].swim);
        sim_waiting_clear(&sim->nodes[i].inbox);
        sim_waiting_clear(&sim->nodes[i].outbox);
    }
    sim_queue_close(&sim->queue);
    intern_close(&sim->names);
    intern_close(&sim->metas);
    free(sim->nodes);
    free(sim->pairs);
    free(sim->fx);
}

/* ---- time ---- */

void sim_run_for(struct sim *sim, uint64_t ns)
{
    uint64_t until_ns = sim->now_ns + ns;
    for (struct sim_event event; sim_queue_pop(&sim->queue, until_ns, &event);) {
        sim->now_ns = event.at_ns;
        sim->events++;
        sim__handle(sim, &event);
    }
    sim->now_ns = until_ns;
}

bool sim_await(struct sim *sim, bool (*is_true)(struct sim *), uint64_t every_ns, uint64_t limit_ns)
{
    uint64_t until_ns = sim->now_ns + limit_ns;
    while (!is_true(sim)) {
        if (sim->now_ns >= until_ns)
            return false;
        sim_run_for(sim, every_ns);
    }
    return true;
}

/* ---- coming and going ---- */

/* Whoever has a connection to it is told, within a millisecond. */
static void reset_connections(struct sim *sim, uint32_t gone)
{
    for (uint32_t i = 0; i < sim->nodes_n && sim->pairs != NULL; i++) {
        if (i == gone || sim->nodes[i].swim == NULL || !sim_pair(sim, i, gone)->met)
            continue;
        struct sim_event event = {.at_ns = sim->now_ns + dice_below(&sim->dice, SIM_MS),
                                  .type = SIM_EVENT_EVIDENCE,
                                  .node = i,
                                  .run = sim->nodes[i].run,
                                  .about = gone};
        sim_queue_push(&sim->queue, &event);
    }
}

void sim_crash(struct sim *sim, uint32_t index, bool reset)
{
    struct sim_node *node = &sim->nodes[index];
    INVARIANT(node->swim != NULL);
    sim__say(sim, "%u crashes%s", (unsigned)index, reset ? ", and its machine resets" : "");
    sim__note(sim, index);
    swim_close(node->swim);
    node->swim = NULL;
    node->ended_ns = sim->now_ns;
    node->refuses = reset;
    node->plan.how = SIM_RUNS;
    node->leaving = false;
    sim_waiting_clear(&node->inbox);
    sim_waiting_clear(&node->outbox);
    if (reset)
        reset_connections(sim, index);
    for (uint32_t i = 0; i < sim->nodes_n && sim->pairs != NULL; i++) {
        *sim_pair(sim, index, i) = (struct sim_pair){0};
        sim_pair(sim, i, index)->met = false;
    }
}

void sim__start(struct sim *sim, uint32_t index)
{
    struct sim_event event = {
        .at_ns = sim->now_ns, .type = SIM_EVENT_JOIN, .node = index, .run = sim->nodes[index].run};
    sim->nodes[index].joining = true;
    sim_queue_push(&sim->queue, &event);
}

void sim_restart(struct sim *sim, uint32_t index)
{
    INVARIANT(sim->nodes[index].swim == NULL);
    open_node(sim, index);
    sim__say(sim, "%u starts, run %u", (unsigned)index, (unsigned)sim->nodes[index].run);
    sim__note(sim, index);
    sim__start(sim, index);
}

void sim_leave(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    sim__say(sim, "%u leaves", (unsigned)index);
    node->leaving = true;
    swim_set_state(node->swim, sim->now_ns, GOSSIP_LEFT, sim->fx);
    sim__after(sim, index, false);
}

/* ---- stalls ---- */

void sim_stall(struct sim *sim, uint32_t index, enum sim_stall how, uint64_t ns)
{
    struct sim_node *node = &sim->nodes[index];
    INVARIANT(how != SIM_RUNS && node->stall == SIM_RUNS);
    struct sim_event wake = {
        .at_ns = sim->now_ns + ns, .type = SIM_EVENT_WAKE, .node = index, .run = node->run};
    sim__say(sim, "%u stalls for %.3f s", (unsigned)index, (double)ns / 1e9);
    node->stall = how;
    sim_queue_push(&sim->queue, &wake);
}

void sim_stall_often(struct sim *sim, uint32_t index, struct sim_stall_plan plan)
{
    uint64_t phase = dice_below(&sim->dice, plan.duration_ns + plan.interval_ns);
    struct sim_event event = {.at_ns = sim->now_ns + phase,
                              .type = SIM_EVENT_STALL,
                              .node = index,
                              .run = sim->nodes[index].run};
    sim->nodes[index].plan = plan;
    sim_queue_push(&sim->queue, &event);
}

void sim_afflict(struct sim *sim, uint32_t n, uint32_t *nodes)
{
    INVARIANT(n <= sim->nodes_n);
    for (uint32_t i = 0; i < n;) {
        uint32_t node = (uint32_t)dice_below(&sim->dice, sim->nodes_n);
        if (sim->nodes[node].afflicted)
            continue;
        sim->nodes[node].afflicted = true;
        nodes[i++] = node;
    }
}
