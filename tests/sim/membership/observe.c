/* Looking on: what nodes think of each other, held against what is true. */
#include "base/invariant.h"
#include "tests/sim/membership/sim.h"

struct sim_pair *sim_pair(const struct sim *sim, uint32_t observer, uint32_t subject)
{
    return &sim->pairs[(size_t)observer * sim->nodes_n + subject];
}

swim_id sim_find(const struct swim *swim, uint32_t node)
{
    char name[SIM_NAME_BYTES];
    return swim_find(swim, sim__name(node, name));
}

static uint32_t index_of(struct troupe_bytes name)
{
    uint32_t index = 0;
    for (size_t i = sizeof "node-" - 1; i < name.len; i++)
        index = index * 10 + (uint32_t)(name.data[i] - '0');
    return index;
}

static bool is_live(const struct swim_info *info)
{
    return info->state != GOSSIP_DEAD && info->state != GOSSIP_LEFT;
}

static bool is_over(const struct sim_node *node, uint64_t generation)
{
    return node->swim == NULL || generation < node->run;
}

/* ---- what is watched ---- */

void sim_watch(struct sim *sim, uint32_t node, bool begun)
{
    sim->watch = (struct sim_watch){.node = node,
                                    .run = sim->nodes[node].run,
                                    .begun = begun,
                                    .since_ns = sim->now_ns,
                                    .first_ns = SIM_NEVER,
                                    .all_ns = SIM_NEVER};
}

static bool tells(const struct sim_watch *watch, const struct swim_info *info)
{
    if (watch->begun)
        return info->generation >= watch->run && info->state == GOSSIP_ACTIVE;
    return info->generation > watch->run || (info->generation == watch->run && !is_live(info));
}

static bool knows(const struct sim *sim, uint32_t observer)
{
    const struct sim_watch *watch = &sim->watch;
    const struct swim *swim = sim->nodes[observer].swim;
    struct swim_info info;
    if (observer == watch->node || swim == NULL ||
        (watch->ignores_afflicted && sim->nodes[observer].afflicted))
        return true;
    if (!swim_info(swim, sim_find(swim, watch->node), &info))
        return !watch->begun;
    return tells(watch, &info);
}

/* The cursor stands at one that does not know yet; at the end all are asked again. */
bool sim_watch_done(struct sim *sim)
{
    struct sim_watch *watch = &sim->watch;
    while (watch->cursor < sim->nodes_n && knows(sim, watch->cursor))
        watch->cursor++;
    if (watch->cursor < sim->nodes_n)
        return false;
    watch->cursor = 0;
    while (watch->cursor < sim->nodes_n && knows(sim, watch->cursor))
        watch->cursor++;
    if (watch->cursor < sim->nodes_n)
        return false;
    if (watch->all_ns == SIM_NEVER)
        watch->all_ns = sim->now_ns;
    return true;
}

/* ---- changes ---- */

void sim_count_anew(struct sim *sim)
{
    sim->counts = (struct sim_counts){.since_ns = sim->now_ns};
    for (size_t i = 0; sim->pairs != NULL && i < (size_t)sim->nodes_n * sim->nodes_n; i++)
        sim->pairs[i].removals = sim->pairs[i].returns = 0;
}

static void count_false(struct sim *sim, uint32_t observer, uint32_t subject)
{
    if (sim->nodes[subject].afflicted) {
        sim->counts.false_afflicted++;
        return;
    }
    sim->counts.false_healthy++;
    sim->counts.false_by_healthy += !sim->nodes[observer].afflicted;
}

static void note_view(struct sim *sim, uint32_t observer, uint32_t subject,
                      const struct swim_info *info)
{
    if (sim->pairs == NULL)
        return;
    struct sim_pair *pair = sim_pair(sim, observer, subject);
    uint8_t view = is_live(info) ? SIM_LIVE : SIM_GONE;
    if (pair->view == SIM_LIVE && view == SIM_GONE && pair->removals < UINT8_MAX)
        pair->removals++;
    if (pair->view == SIM_GONE && view == SIM_LIVE) {
        pair->returns += pair->returns < UINT8_MAX;
        sim->counts.resurrected += is_over(&sim->nodes[subject], info->generation);
    }
    pair->view = view;
}

static void note_change(struct sim *sim, uint32_t observer, const struct swim_info *info,
                        bool ticked)
{
    static const char *const words[] = {"?",       "joining", "active", "draining",
                                        "suspect", "dead",    "left"};
    uint32_t subject = index_of(info->name);
    INVARIANT(subject < sim->nodes_n);
    const struct sim_node *node = &sim->nodes[subject];
    struct sim_watch *watch = &sim->watch;
    sim__say(sim, "%u: %u %s%s, run %u, incarnation %u", (unsigned)observer, (unsigned)subject,
             words[info->state], info->suspect ? ", suspect" : "", (unsigned)info->generation,
             (unsigned)info->incarnation);
    sim__note(sim, (uint64_t)observer << 40 | (uint64_t)subject << 8 | info->state);
    if (observer == subject)
        return;
    /* Only a timer makes a node declare another dead; what frames bring, others have said first. */
    if (ticked && info->state == GOSSIP_DEAD && !is_over(node, info->generation))
        count_false(sim, observer, subject);
    if (subject == watch->node && watch->run != 0 && watch->first_ns == SIM_NEVER &&
        tells(watch, info) && !(watch->ignores_afflicted && sim->nodes[observer].afflicted))
        watch->first_ns = sim->now_ns;
    note_view(sim, observer, subject, info);
}

void sim__observe(struct sim *sim, uint32_t observer, bool ticked)
{
    struct swim *swim = sim->nodes[observer].swim;
    struct swim_info info;
    for (swim_id id; (id = swim_next_change(swim)) != SWIM_NOBODY;) {
        if (swim_info(swim, id, &info))
            note_change(sim, observer, &info, ticked);
    }
}

/* ---- the whole ---- */

bool sim_agrees(struct sim *sim)
{
    const struct swim *first = NULL;
    uint32_t running = 0;
    for (uint32_t i = 0; i < sim->nodes_n; i++)
        running += sim->nodes[i].swim != NULL;
    for (uint32_t i = 0; i < sim->nodes_n; i++) {
        const struct swim *swim = sim->nodes[i].swim;
        if (swim == NULL)
            continue;
        if (first == NULL)
            first = swim;
        if (swim_live(swim) != running || swim_hash(swim) != swim_hash(first))
            return false;
    }
    return true;
}

uint64_t sim_ghosts(struct sim *sim)
{
    uint64_t ghosts = 0;
    for (uint32_t i = 0; i < sim->nodes_n; i++) {
        const struct swim *swim = sim->nodes[i].swim;
        struct swim_info info;
        for (swim_id id = 0; swim != NULL && id < swim_ids(swim); id++) {
            if (swim_info(swim, id, &info) && is_live(&info))
                ghosts += is_over(&sim->nodes[index_of(info.name)], info.generation);
        }
    }
    return ghosts;
}

bool sim_is_free_of_ghosts(struct sim *sim)
{
    return sim_ghosts(sim) == 0;
}
