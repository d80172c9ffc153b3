/* See ownership.h. */
#include "cluster/ownership.h"

#include <stdlib.h>

#include "base/invariant.h"
#include "troupe/error.h"

int ownership_init(struct ownership *o, uint32_t partitions)
{
    *o = (struct ownership){.partitions = partitions, .wanted = partitions};
    o->entries = calloc(partitions, sizeof *o->entries);
    if (o->entries == NULL)
        return TROUPE_ENOMEM;
    for (uint32_t pid = 0; pid < partitions; pid++)
        o->entries[pid].node = UINT32_MAX;
    return 0;
}

void ownership_close(struct ownership *o)
{
    free(o->entries);
    *o = (struct ownership){0};
}

static void enter(struct ownership *o, uint32_t pid, enum ownership_state to)
{
    INVARIANT(pid < o->partitions);
    struct ownership_entry *e = &o->entries[pid];
    o->owned -= e->state == OWNERSHIP_OWNED;
    o->wanted -= e->state == OWNERSHIP_NONE;
    e->state = (uint8_t)to;
    o->owned += e->state == OWNERSHIP_OWNED;
    o->wanted += e->state == OWNERSHIP_NONE;
    INVARIANT(o->owned <= o->partitions && o->wanted <= o->partitions);
}

size_t ownership_ask(struct ownership *o, uint32_t *pids, size_t max)
{
    size_t n = 0;
    for (uint32_t pid = 0; pid < o->partitions && n < max && o->wanted > 0; pid++) {
        if (o->entries[pid].state != OWNERSHIP_NONE)
            continue;
        enter(o, pid, OWNERSHIP_CLAIMING);
        pids[n++] = pid;
    }
    return n;
}

void ownership_win(struct ownership *o, uint32_t pid, uint64_t epoch)
{
    struct ownership_entry *e = &o->entries[pid];
    INVARIANT(e->state == OWNERSHIP_CLAIMING);
    enter(o, pid, OWNERSHIP_OWNED);
    e->epoch = epoch;
    e->node = UINT32_MAX;
}

void ownership_miss(struct ownership *o, uint32_t pid)
{
    INVARIANT(o->entries[pid].state == OWNERSHIP_CLAIMING);
    enter(o, pid, OWNERSHIP_FOREIGN);
}

void ownership_retry(struct ownership *o, uint32_t pid)
{
    INVARIANT(o->entries[pid].state == OWNERSHIP_CLAIMING);
    enter(o, pid, OWNERSHIP_NONE);
}

void ownership_learn(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node)
{
    struct ownership_entry *e = &o->entries[pid];
    if (e->state != OWNERSHIP_FOREIGN)
        return;
    e->epoch = epoch;
    e->node = node;
}

size_t ownership_want_foreign(struct ownership *o)
{
    size_t n = 0;
    for (uint32_t pid = 0; pid < o->partitions; pid++) {
        if (o->entries[pid].state == OWNERSHIP_FOREIGN) {
            enter(o, pid, OWNERSHIP_NONE);
            n++;
        }
    }
    return n;
}

void ownership_lose(struct ownership *o, uint32_t pid)
{
    INVARIANT(o->entries[pid].state == OWNERSHIP_OWNED);
    enter(o, pid, OWNERSHIP_NONE);
}
