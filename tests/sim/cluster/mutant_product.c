/* See mutant_product.h. */
#include "tests/sim/cluster/mutant_product.h"

#include "node/runtime/dedup_impl.h"
#include "node/runtime/internal.h"

static enum mutant is;

void mutant_product_open(enum mutant mutant)
{
    is = mutant;
}

void mutant_product_step(struct runtime *rt)
{
    if (is == MUTANT_KIND_LACKING)
        rt->kinds_open.lacks = false;
}

/* ---- losing a partition ---- */

void __real_entity__drop_partition(struct runtime *rt, uint32_t pid, bool uncertain);
void __wrap_entity__drop_partition(struct runtime *rt, uint32_t pid, bool uncertain);

/* What is being loaded is not dropped: the answer is believed, however old it is. */
void __wrap_entity__drop_partition(struct runtime *rt, uint32_t pid, bool uncertain)
{
    struct table *t = &rt->partitions[pid];
    if (is != MUTANT_LATE_LOAD) {
        __real_entity__drop_partition(rt, pid, uncertain);
        return;
    }
    for (uint32_t i = table_slots(t); i-- > 0;) {
        while (i < table_slots(t) && t->slots[i] != NULL && !t->slots[i]->loading)
            entity__drop(rt, t->slots[i], uncertain);
    }
}

/* ---- gates ---- */

void __real_save__output(struct runtime *rt, struct entity *e, struct message *m);
void __wrap_save__output(struct runtime *rt, struct entity *e, struct message *m);

static bool is_read(const struct runtime *rt, const struct message *m)
{
    const struct troupe_kind *def = rt->kinds[m->kind].def;
    return m->ack == TROUPE_ACK_MEMORY && m->method < def->methods_n &&
           (def->methods[m->method].flags & TROUPE_METHOD_READ) != 0;
}

static bool is_ungated(const struct runtime *rt, const struct message *m)
{
    bool request = m->type == MESSAGE_REQUEST;
    switch (is) {
    case MUTANT_LETTERS_UNGATED:
        return !request;
    case MUTANT_BATCH_UNGATED:
        return request && m->request->reply.results_n > 1;
    case MUTANT_READ_UNGATED:
        return request && is_read(rt, m);
    default:
        return false;
    }
}

void __wrap_save__output(struct runtime *rt, struct entity *e, struct message *m)
{
    if (!is_ungated(rt, m)) {
        __real_save__output(rt, e, m);
    } else if (m->type != MESSAGE_REQUEST) {
        list_push(&rt->run, &m->link);
    } else {
        m->request->reply.results[m->index].ack =
            is == MUTANT_BATCH_UNGATED ? TROUPE_ACK_DURABLE : TROUPE_ACK_MEMORY;
        request__complete(rt, m);
    }
}

/* ---- crashes ---- */

void __real_entity__crash(struct runtime *rt, struct entity *e, const char *why);
void __wrap_entity__crash(struct runtime *rt, struct entity *e, const char *why);

void __wrap_entity__crash(struct runtime *rt, struct entity *e, const char *why)
{
    if (is != MUTANT_CRASH_KEPT)
        __real_entity__crash(rt, e, why);
}

/* ---- stopping ---- */

/* As if it had been saved; whether it was not, and nobody waits for that. */
static bool pretend_saved(struct runtime *rt, struct entity *e)
{
    if (entity__is_clean(e) || e->saving != 0 || e->durable > e->saved || !list_is_empty(&e->gate))
        return false;
    save__not_again(rt, e);
    list_remove(&e->ready);
    e->saved = e->version;
    rt->dirty_n--;
    return true;
}

void __real_entity__stop_soon(struct runtime *rt, struct entity *e);
void __wrap_entity__stop_soon(struct runtime *rt, struct entity *e);

void __wrap_entity__stop_soon(struct runtime *rt, struct entity *e)
{
    if (is == MUTANT_STOP_UNSAVED && e->phase == ENTITY_ACTIVE)
        pretend_saved(rt, e);
    __real_entity__stop_soon(rt, e);
}

void __real_evict__flush(struct runtime *rt);
void __wrap_evict__flush(struct runtime *rt);

void __wrap_evict__flush(struct runtime *rt)
{
    __real_evict__flush(rt);
    for (uint32_t pid = 0; is == MUTANT_EVICT_UNSAVED && pid < rt->config.partitions; pid++) {
        const struct table *t = &rt->partitions[pid];
        for (uint32_t i = table_slots(t); i-- > 0;) {
            struct entity *e = i < table_slots(t) ? t->slots[i] : NULL;
            if (e != NULL && e->phase == ENTITY_ACTIVE && e->stop_idle && pretend_saved(rt, e))
                entity__try_stop(rt, e, TROUPE_STOP_IDLE);
        }
    }
}

/* ---- request ids ---- */

struct troupe_bytes __real_dedup_write(const struct dedup *d, struct arena *arena);
struct troupe_bytes __wrap_dedup_write(const struct dedup *d, struct arena *arena);

struct troupe_bytes __wrap_dedup_write(const struct dedup *d, struct arena *arena)
{
    return is == MUTANT_NO_WINDOW ? troupe_bytes(NULL, 0) : __real_dedup_write(d, arena);
}

enum dedup_verdict __real_dedup_look(const struct dedup *d, const struct dedup_id *id,
                                     const struct dedup_time *time, struct dedup_found *found);
enum dedup_verdict __wrap_dedup_look(const struct dedup *d, const struct dedup_id *id,
                                     const struct dedup_time *time, struct dedup_found *found);

enum dedup_verdict __wrap_dedup_look(const struct dedup *d, const struct dedup_id *id,
                                     const struct dedup_time *time, struct dedup_found *found)
{
    enum dedup_verdict verdict = __real_dedup_look(d, id, time, found);
    if (is == MUTANT_FORGOTTEN && verdict == DEDUP_OLD)
        return DEDUP_NEW;
    if (is != MUTANT_ONE_FLOOR || verdict != DEDUP_NEW || d == NULL || id->sequence > d->newest)
        return verdict;
    found->from = d->newest;
    return DEDUP_OLD;
}
