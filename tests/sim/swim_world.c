#include "swim_world.h"

#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/invariant.h"

enum { LATENCY_US = 500, JITTER_US = 1000 };

/* ---- events ---- */

static bool is_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void push(struct world *w, uint64_t at_ns, uint32_t node, struct world_frame *frame)
{
    if (w->heap_n == w->heap_size) {
        w->heap_size = w->heap_size == 0 ? 1024 : w->heap_size * 2;
        w->heap = realloc(w->heap, w->heap_size * sizeof *w->heap);
        INVARIANT(w->heap != NULL);
    }
    struct world_event e = {.at_ns = at_ns, .order = w->order++, .frame = frame, .node = node};
    size_t i = w->heap_n++;
    for (; i > 0 && is_before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

static struct world_event pop(struct world *w)
{
    struct world_event first = w->heap[0], last = w->heap[--w->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_n; i = child) {
        if (child + 1 < w->heap_n && is_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!is_before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return first;
}

/* ---- the network ---- */

static void transmit(struct world *w, uint32_t from, struct world_frame *frame)
{
    struct world_node *sender = &w->nodes[from], *to = &w->nodes[frame->to];
    bool lost =
        dice_below(&w->dice, 100) < w->loss_percent || sender->mute || sender->side != to->side;
    w->frames++;
    w->bytes += frame->len;
    if (lost) {
        free(frame);
        return;
    }
    uint64_t us = LATENCY_US + dice_below(&w->dice, JITTER_US);
    push(w, w->now_ns + us * 1000, frame->to, frame);
}

static void queue(struct world_frame ***tail, struct world_frame *frame)
{
    frame->next = NULL;
    **tail = frame;
    *tail = &frame->next;
}

/* Whose address it is: metadata are "index.run". An address of a run that is over leads nowhere. */
static bool resolve(struct world *w, const struct swim *from, swim_id id, uint32_t *node)
{
    struct swim_info info;
    char text[64];
    unsigned long run;
    if (!swim_info(from, id, &info) || info.meta.len >= sizeof text)
        return false;
    memcpy(text, info.meta.data, info.meta.len);
    text[info.meta.len] = '\0';
    return sscanf(text, "%u.%lu", node, &run) == 2 && *node < w->n && w->nodes[*node].run == run;
}

/* A run of this node that runs now is held for dead by the one who says so first. */
static void judge_change(struct world *w, uint32_t at, swim_id id, uint64_t deaths_before)
{
    struct swim_info info;
    struct swim_stats stats;
    struct swim *swim = w->nodes[at].swim;
    uint32_t i;
    if (!swim_info(swim, id, &info) || info.state != GOSSIP_DEAD || !resolve(w, swim, id, &i))
        return;
    if (i == w->watched && w->known_ns[at] == 0)
        w->known_ns[at] = w->now_ns;
    swim_stats(swim, &stats);
    if (w->nodes[i].swim == NULL || stats.deaths == deaths_before)
        return;
    w->false_deaths++;
    w->false_deaths_healthy += w->nodes[i].stall == WORLD_RUNS && w->nodes[at].stall == WORLD_RUNS;
}

static void perform(struct world *w, uint32_t i, uint64_t deaths_before)
{
    struct world_node *node = &w->nodes[i];
    for (size_t k = 0; k < w->fx.sends_n; k++) {
        const struct swim_send *send = &w->fx.sends[k];
        uint32_t to = send->to;
        if (!send->is_contact && !resolve(w, node->swim, send->to, &to))
            continue;
        struct world_frame *frame = malloc(sizeof *frame + send->len);
        INVARIANT(frame != NULL);
        *frame = (struct world_frame){.to = to, .len = send->len};
        memcpy(frame->bytes, w->fx.bytes + send->at, send->len);
        if (node->stall == WORLD_RUNS)
            transmit(w, i, frame);
        else
            queue(&node->outbox_tail, frame);
    }
    for (swim_id id; (id = swim_next_change(node->swim)) != SWIM_NOBODY;)
        judge_change(w, i, id, deaths_before);
    uint64_t due = swim_deadline(node->swim);
    if (due < node->timer_ns) {
        node->timer_ns = due;
        push(w, due > w->now_ns ? due : w->now_ns, i, NULL);
    }
}

static uint64_t deaths(const struct world_node *node)
{
    struct swim_stats stats;
    swim_stats(node->swim, &stats);
    return stats.deaths;
}

static void deliver(struct world *w, struct world_frame *frame)
{
    struct world_node *node = &w->nodes[frame->to];
    if (node->swim != NULL) {
        uint64_t before = deaths(node);
        w->trace = XXH3_64bits_withSeed(frame->bytes, frame->len, w->trace ^ w->now_ns);
        swim_receive(node->swim, w->now_ns, troupe_bytes(frame->bytes, frame->len), &w->fx);
        perform(w, frame->to, before);
    }
    free(frame);
}

static void tick(struct world *w, uint32_t i)
{
    struct world_node *node = &w->nodes[i];
    uint64_t before = deaths(node);
    node->timer_ns = UINT64_MAX;
    swim_tick(node->swim, w->now_ns, &w->fx);
    perform(w, i, before);
}

/* ---- stalls ---- */

static struct world_frame *take(struct world_frame **list, struct world_frame ***tail)
{
    struct world_frame *all = *list;
    *list = NULL;
    *tail = list;
    return all;
}

static void wake(struct world *w, uint32_t i)
{
    struct world_node *node = &w->nodes[i];
    bool paused = node->stall == WORLD_PAUSED;
    node->stall = WORLD_RUNS;
    for (struct world_frame *f = take(&node->outbox, &node->outbox_tail), *next; f; f = next) {
        next = f->next;
        transmit(w, i, f);
    }
    if (paused && node->swim != NULL)
        tick(w, i);
    for (struct world_frame *f = take(&node->inbox, &node->inbox_tail), *next; f; f = next) {
        next = f->next;
        deliver(w, f);
    }
}

void world_stall(struct world *w, uint32_t i, enum world_stall how, uint64_t ns)
{
    struct world_node *node = &w->nodes[i];
    if (node->swim == NULL || node->stall != WORLD_RUNS)
        return;
    node->stall = how;
    node->stall_ends_ns = w->now_ns + ns;
    push(w, node->stall_ends_ns, i, NULL);
}

/* ---- time ---- */

static void handle(struct world *w, const struct world_event *e)
{
    struct world_node *node = &w->nodes[e->node];
    if (node->stall != WORLD_RUNS && w->now_ns >= node->stall_ends_ns)
        wake(w, e->node);
    if (e->frame != NULL && node->stall != WORLD_RUNS) {
        queue(&node->inbox_tail, e->frame);
    } else if (e->frame != NULL) {
        deliver(w, e->frame);
    } else if (node->swim != NULL && node->stall != WORLD_PAUSED && e->at_ns >= node->timer_ns) {
        tick(w, e->node);
    }
}

static void step(struct world *w)
{
    struct world_event e = pop(w);
    w->now_ns = e.at_ns;
    handle(w, &e);
}

void world_run(struct world *w, uint64_t ns)
{
    uint64_t end = w->now_ns + ns;
    while (w->heap_n > 0 && w->heap[0].at_ns <= end)
        step(w);
    w->now_ns = end;
}

uint64_t world_until(struct world *w, bool (*done)(struct world *w), uint64_t max_ns)
{
    uint64_t begin = w->now_ns;
    while (w->now_ns - begin <= max_ns) {
        if (done(w))
            return w->now_ns - begin;
        world_run(w, 10 * WORLD_MS);
    }
    return UINT64_MAX;
}

/* ---- nodes ---- */

static struct troupe_bytes name_of(uint32_t i, char buf[16])
{
    return troupe_bytes(buf, (size_t)snprintf(buf, 16, "node-%u", i));
}

static struct troupe_bytes meta_of(const struct world *w, uint32_t i, char buf[64])
{
    return troupe_bytes(buf,
                        (size_t)snprintf(buf, 64, "%u.%lu", i, (unsigned long)w->nodes[i].run));
}

static void open_node(struct world *w, uint32_t i)
{
    char name[16], meta[64];
    struct world_node *node = &w->nodes[i];
    struct swim_config config = w->config;
    node->run++;
    config.name = name_of(i, name);
    config.meta = meta_of(w, i, meta);
    config.generation = node->run;
    config.members_max = w->n;
    config.seed = dice_throw(&w->dice);
    INVARIANT(swim_open(&node->swim, &config, &w->names, &w->metas, w->now_ns) == 0);
    node->timer_ns = UINT64_MAX;
    swim_set_state(node->swim, w->now_ns, GOSSIP_ACTIVE, &w->fx);
    perform(w, i, 0);
}

static void introduce(struct world *w, uint32_t at, uint32_t i)
{
    char name[16], meta[64];
    struct gossip_record record = {.name = name_of(i, name),
                                   .generation = w->nodes[i].run,
                                   .incarnation = 2,
                                   .state = GOSSIP_ACTIVE,
                                   .meta = meta_of(w, i, meta)};
    swim_learn(w->nodes[at].swim, w->now_ns, &record);
}

void world_init(struct world *w, const struct swim_config *config, uint32_t n, uint64_t seed)
{
    INVARIANT(n <= WORLD_NODES_MAX);
    *w = (struct world){.config = *config,
                        .n = n,
                        .now_ns = 1000 * WORLD_S,
                        .dice = {.state = seed},
                        .watched = UINT32_MAX};
    INVARIANT(intern_init(&w->names, n, SWIM_NAME_BYTES_MAX) == 0);
    INVARIANT(intern_init(&w->metas, 4 * n + 16, SWIM_META_BYTES_MAX) == 0);
    for (uint32_t i = 0; i < n; i++) {
        w->nodes[i].inbox_tail = &w->nodes[i].inbox;
        w->nodes[i].outbox_tail = &w->nodes[i].outbox;
        open_node(w, i);
    }
    for (uint32_t at = 0; at < n; at++) {
        for (uint32_t i = 0; i < n; i++) {
            if (i != at)
                introduce(w, at, i);
        }
        while (swim_next_change(w->nodes[at].swim) != SWIM_NOBODY)
            ;
    }
}

static void free_list(struct world_frame *f)
{
    while (f != NULL) {
        struct world_frame *next = f->next;
        free(f);
        f = next;
    }
}

void world_close(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        swim_close(w->nodes[i].swim);
        free_list(w->nodes[i].inbox);
        free_list(w->nodes[i].outbox);
    }
    for (size_t i = 0; i < w->heap_n; i++)
        free(w->heap[i].frame);
    free(w->heap);
    intern_close(&w->names);
    intern_close(&w->metas);
}

void world_crash(struct world *w, uint32_t i)
{
    swim_close(w->nodes[i].swim);
    w->nodes[i].swim = NULL;
}

void world_restart(struct world *w, uint32_t i)
{
    if (w->nodes[i].swim != NULL)
        world_crash(w, i);
    open_node(w, i);
    for (int k = 0; k < 2; k++) {
        uint32_t other = (uint32_t)dice_below(&w->dice, w->n);
        if (other == i)
            other = (i + 1) % w->n;
        swim_contact(w->nodes[i].swim, w->now_ns, other, &w->fx);
        perform(w, i, 0);
    }
}

void world_leave(struct world *w, uint32_t i)
{
    swim_set_state(w->nodes[i].swim, w->now_ns, GOSSIP_LEFT, &w->fx);
    perform(w, i, deaths(&w->nodes[i]));
}

void world_reset_connections(struct world *w, uint32_t i)
{
    for (uint32_t at = 0; at < w->n; at++) {
        char name[16];
        struct swim *swim = w->nodes[at].swim;
        if (at == i || swim == NULL)
            continue;
        uint64_t before = deaths(&w->nodes[at]);
        swim_evidence(swim, w->now_ns, swim_find(swim, name_of(i, name)), &w->fx);
        perform(w, at, before);
    }
}

/* ---- looking ---- */

enum gossip_state world_state(struct world *w, uint32_t at, uint32_t i)
{
    char name[16];
    struct swim_info info;
    struct swim *swim = w->nodes[at].swim;
    if (!swim_info(swim, swim_find(swim, name_of(i, name)), &info) ||
        info.generation != w->nodes[i].run)
        return 0;
    return info.state;
}

bool world_agrees(struct world *w)
{
    uint64_t hash = 0;
    uint32_t running = 0;
    for (uint32_t i = 0; i < w->n; i++)
        running += w->nodes[i].swim != NULL;
    for (uint32_t at = 0; at < w->n; at++) {
        struct swim *swim = w->nodes[at].swim;
        if (swim == NULL)
            continue;
        if (hash == 0)
            hash = swim_hash(swim);
        if (swim_hash(swim) != hash || swim_live(swim) != running)
            return false;
        for (uint32_t i = 0; i < w->n; i++) {
            if (w->nodes[i].swim != NULL && world_state(w, at, i) != GOSSIP_ACTIVE)
                return false;
        }
    }
    return true;
}
