/* The memory limit: when there are too many entities, or too much memory in them, the coldest are
 * stopped, persisted first as always. Coldest by sampling, as Redis' approximated LRU does it: of a
 * few entities drawn at random the one longest unused goes. Nothing has to be kept in order for
 * that on the path of a call. */
#include "node/runtime/internal.h"

enum {
    SAMPLES = 8,
    EVICTIONS_PER_COLLECT = 64,
    FULL_SLACK_ENTITIES = 1024,
};

static bool is_over(const struct runtime *rt)
{
    const struct runtime_config *c = &rt->config;
    return (c->entities_max != 0 && rt->entities_n > c->entities_max) ||
           (c->memory_bytes_max != 0 && rt->entity_bytes > c->memory_bytes_max);
}

/* An eighth over the limit, evicting does not keep up: new entities are refused. */
bool evict__is_full(const struct runtime *rt)
{
    const struct runtime_config *c = &rt->config;
    return (c->entities_max != 0 &&
            rt->entities_n > c->entities_max + c->entities_max / 8 + FULL_SLACK_ENTITIES) ||
           (c->memory_bytes_max != 0 &&
            rt->entity_bytes > c->memory_bytes_max + c->memory_bytes_max / 8);
}

static struct entity *draw(struct runtime *rt)
{
    uint64_t dice = runtime__random(rt);
    const struct table *t = &rt->partitions[dice & (rt->config.partitions - 1)];
    if (t->count == 0)
        return NULL;
    for (uint32_t i = (uint32_t)(dice >> 32) & t->mask;; i = (i + 1) & t->mask) {
        if (t->slots[i] != NULL)
            return t->slots[i];
    }
}

static bool can_go(const struct entity *e)
{
    const struct entity_extra *x = e->extra;
    bool busy = x != NULL && (x->timers_n > 0 || !list_is_empty(&x->outcalls));
    return e->phase == ENTITY_ACTIVE && !e->stop_idle && !busy && list_is_empty(&e->gate);
}

static bool evict_one(struct runtime *rt)
{
    struct entity *coldest = NULL;
    for (int i = 0; i < SAMPLES; i++) {
        struct entity *e = draw(rt);
        if (e != NULL && can_go(e) && (coldest == NULL || e->used_ns < coldest->used_ns))
            coldest = e;
    }
    if (coldest == NULL)
        return false;
    coldest->stop_idle = true;
    if (!entity__is_clean(coldest)) {
        save__want_soon(rt, coldest);
        return true;
    }
    entity__try_stop(rt, coldest, TROUPE_STOP_IDLE);
    return true;
}

void evict__flush(struct runtime *rt)
{
    if (rt->phase != RUNTIME_SERVING)
        return;
    for (int i = 0; i < EVICTIONS_PER_COLLECT && is_over(rt); i++) {
        if (!evict_one(rt))
            return;
    }
}
