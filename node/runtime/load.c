/* Batched loads: entities that are to start gather in a queue, and each flush asks the store for as
 * many at once as a load may have. While the store fails, they stay in the queue and their calls
 * wait for their deadlines.
 *
 * A load belongs to the epochs at which its partitions were ours when it was sent. Its answer may
 * come after a partition was lost and won again, and another node have written in between; or after
 * the store has failed over, and tell of what is no more. Such a row is not used: it is asked for
 * again. */
#include <stdlib.h>

#include "node/runtime/internal.h"

int load__init(struct runtime *rt)
{
    uint32_t n = rt->config.loads_in_flight_max, keys = rt->config.load_keys_max;
    rt->loads = calloc(n, sizeof *rt->loads);
    if (rt->loads == NULL)
        return TROUPE_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        struct load_batch *b = &rt->loads[i];
        arena_init(&b->arena, 256 << 10, 0);
        b->keys = calloc(keys, sizeof *b->keys);
        b->epochs = calloc(keys, sizeof *b->epochs);
        b->entities = calloc(keys, sizeof *b->entities);
        if (b->keys == NULL || b->epochs == NULL || b->entities == NULL)
            return TROUPE_ENOMEM;
    }
    return 0;
}

/* Those that were dropped meanwhile are in no table: nobody else knows them. */
static void free_dropped(struct runtime *rt, const struct load_batch *b)
{
    for (size_t i = 0; b->out && i < b->request.u.load.keys_n; i++) {
        if (b->entities[i]->phase == ENTITY_DROPPED)
            entity__free(rt, b->entities[i]);
    }
}

void load__close(struct runtime *rt)
{
    for (uint32_t i = 0; rt->loads != NULL && i < rt->config.loads_in_flight_max; i++) {
        free_dropped(rt, &rt->loads[i]);
        arena_close(&rt->loads[i].arena);
        free(rt->loads[i].keys);
        free(rt->loads[i].epochs);
        free(rt->loads[i].entities);
    }
    free(rt->loads);
}

/* Up to a batch of entities out of the queue. Those whose partition is not ours at present wait
 * outside of it until it is won again or dropped. */
static uint32_t fill(struct runtime *rt, struct load_batch *b)
{
    uint32_t n = 0;
    struct list *node;
    while (n < rt->config.load_keys_max && (node = list_pop(&rt->load_queue)) != NULL) {
        struct entity *e = LIST_ENTRY(node, struct entity, ready);
        INVARIANT(e->phase == ENTITY_LOADING && !e->loading && e->saving == 0);
        uint32_t pid = entity__pid(rt, e);
        if (entity__abandon(rt, e) || !ownership_is_owned(&rt->ownership, pid))
            continue;
        e->loading = true;
        b->entities[n] = e;
        b->epochs[n] = rt->ownership.entries[pid].epoch;
        b->keys[n] = (struct store_key){
            .pid = pid, .kind = rt->kinds[e->kind].name, .id = {e->id, e->id_len}};
        n++;
    }
    return n;
}

void load__flush(struct runtime *rt)
{
    if (rt->phase != RUNTIME_SERVING || rt->now.mono_ns < rt->load_retry_ns)
        return;
    for (uint32_t i = 0; i < rt->config.loads_in_flight_max && !list_is_empty(&rt->load_queue);
         i++) {
        struct load_batch *b = &rt->loads[i];
        uint32_t n = b->out ? 0 : fill(rt, b);
        if (n == 0)
            continue;
        b->out = true;
        b->sent_ns = rt->now.mono_ns;
        arena_reset(&b->arena);
        b->request = (struct store_request){.data = rt, .op = STORE_LOAD, .arena = &b->arena};
        b->request.u.load = (struct store_load){.keys = b->keys, .keys_n = n};
        runtime__submit(rt, &b->request);
    }
}

bool load__is_out(const struct runtime *rt)
{
    for (uint32_t i = 0; i < rt->config.loads_in_flight_max; i++) {
        if (rt->loads[i].out)
            return true;
    }
    return false;
}

uint64_t load__sent_ns(const struct runtime *rt)
{
    uint64_t oldest = 0;
    for (uint32_t i = 0; i < rt->config.loads_in_flight_max; i++) {
        const struct load_batch *b = &rt->loads[i];
        if (b->out && (oldest == 0 || b->sent_ns < oldest))
            oldest = b->sent_ns;
    }
    return oldest;
}

bool load__has_room(const struct runtime *rt)
{
    uint32_t free_n = 0;
    for (uint32_t i = 0; i < rt->config.loads_in_flight_max; i++)
        free_n += !rt->loads[i].out;
    return list_is_empty(&rt->load_queue) && rt->now.mono_ns >= rt->load_retry_ns &&
           (free_n > 1 || free_n == rt->config.loads_in_flight_max);
}

/* Back into the queue: the store did not answer. */
static void load_failed(struct runtime *rt, struct load_batch *b)
{
    rt->load_retry_ns = rt->now.mono_ns + runtime__backoff(rt, rt->load_failures++);
    for (size_t i = 0; i < b->request.u.load.keys_n; i++) {
        struct entity *e = b->entities[i];
        e->loading = false;
        if (e->warm)
            warm__load_failed(rt, e);
        if (e->phase == ENTITY_DROPPED)
            entity__free(rt, e);
        else
            entity__load(rt, e);
    }
}

/* Back into the queue; what waits for it waits on. Or it goes, if nothing does. */
static void load_again(struct runtime *rt, struct entity *e)
{
    if (e->warm)
        warm__load_failed(rt, e);
    if (!entity__abandon(rt, e))
        entity__load(rt, e);
}

static void loaded(struct runtime *rt, struct entity *e, const struct store_row *row)
{
    bool good = !e->warm || warm__loaded(rt, e, row);
    if (e->phase == ENTITY_DROPPED)
        entity__free(rt, e);
    else if (good || !entity__abandon(rt, e))
        entity__start(rt, e, row);
}

bool load__done(struct runtime *rt, struct store_request *request)
{
    if (request->op != STORE_LOAD)
        return false;
    struct load_batch *b = LIST_ENTRY(request, struct load_batch, request);
    const struct store_load *load = &request->u.load;
    INVARIANT(b->out);
    b->out = false;
    if (request->error != 0) {
        load_failed(rt, b);
        return true;
    }
    rt->load_failures = 0;
    rt->load_retry_ns = 0;
    for (size_t i = 0; i < load->keys_n; i++) {
        struct entity *e = b->entities[i];
        e->loading = false;
        rt->rows_loaded_n += load->found[i];
        bool stands = rt->phase == RUNTIME_SERVING &&
                      ownership_is_owned(&rt->ownership, b->keys[i].pid) &&
                      claims__stood(rt, b->keys[i].pid, b->epochs[i], b->sent_ns);
        if (e->phase != ENTITY_DROPPED && !stands)
            load_again(rt, e);
        else
            loaded(rt, e, load->found[i] ? &load->rows[i] : NULL);
    }
    return true;
}
