/* See mutant_product.h. */
#include "tests/sim/cluster/mutant_product.h"

#include "node/runtime/internal.h"

static enum mutant is;

void mutant_product_open(enum mutant mutant)
{
    is = mutant;
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

void __wrap_save__output(struct runtime *rt, struct entity *e, struct message *m)
{
    if (is == MUTANT_LETTERS_UNGATED && m->type != MESSAGE_REQUEST)
        list_push(&rt->run, &m->link);
    else
        __real_save__output(rt, e, m);
}
