/* See ownership.h. */
#include "cluster/ownership.h"

#include <stdlib.h>

#include "base/invariant.h"
#include "troupe/error.h"

int ownership_init(struct ownership *o, uint32_t partitions)
{
    *o = (struct ownership){.partitions = partitions};
    o->in[OWNERSHIP_FOREIGN] = partitions;
    o->entries = calloc(partitions, sizeof *o->entries);
    if (o->entries == NULL)
        return TROUPE_ENOMEM;
    for (uint32_t pid = 0; pid < partitions; pid++)
        o->entries[pid].node = OWNERSHIP_NOBODY;
    return 0;
}

void ownership_close(struct ownership *o)
{
    free(o->entries);
    *o = (struct ownership){0};
}

static struct ownership_entry *enter(struct ownership *o, uint32_t pid, enum ownership_state to)
{
    INVARIANT(pid < o->partitions);
    struct ownership_entry *e = &o->entries[pid];
    INVARIANT(o->in[e->state] > 0);
    o->in[e->state]--;
    e->state = (uint8_t)to;
    e->going = false;
    e->coming &= to <= OWNERSHIP_WANTED;
    o->in[e->state]++;
    return e;
}

static enum ownership_state state_of(const struct ownership *o, uint32_t pid)
{
    return (enum ownership_state)o->entries[pid].state;
}

void ownership_want(struct ownership *o, uint32_t pid)
{
    if (state_of(o, pid) == OWNERSHIP_FOREIGN)
        enter(o, pid, OWNERSHIP_WANTED);
}

void ownership_unwant(struct ownership *o, uint32_t pid)
{
    if (state_of(o, pid) == OWNERSHIP_WANTED)
        enter(o, pid, OWNERSHIP_FOREIGN);
}

size_t ownership_ask(struct ownership *o, uint32_t *pids, size_t max)
{
    size_t n = 0;
    for (uint32_t pid = 0; pid < o->partitions && n < max && o->in[OWNERSHIP_WANTED] > 0; pid++) {
        if (state_of(o, pid) != OWNERSHIP_WANTED)
            continue;
        enter(o, pid, OWNERSHIP_CLAIMING);
        pids[n++] = pid;
    }
    return n;
}

static void own(struct ownership *o, uint32_t pid, uint64_t epoch)
{
    struct ownership_entry *e = enter(o, pid, OWNERSHIP_OWNED);
    e->epoch = e->sure = e->kept = epoch;
    e->node = OWNERSHIP_NOBODY;
}

void ownership_win(struct ownership *o, uint32_t pid, uint64_t epoch)
{
    INVARIANT(state_of(o, pid) == OWNERSHIP_CLAIMING);
    own(o, pid, epoch);
}

void ownership_miss(struct ownership *o, uint32_t pid)
{
    INVARIANT(state_of(o, pid) == OWNERSHIP_CLAIMING);
    enter(o, pid, OWNERSHIP_FOREIGN);
}

void ownership_retry(struct ownership *o, uint32_t pid)
{
    INVARIANT(state_of(o, pid) == OWNERSHIP_CLAIMING);
    enter(o, pid, OWNERSHIP_WANTED);
}

bool ownership_learn(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node)
{
    struct ownership_entry *e = &o->entries[pid];
    bool news = epoch > e->epoch || (epoch == e->epoch && e->node != node);
    if (ownership_is_held(o, pid) || !news)
        return false;
    e->epoch = epoch;
    e->node = node;
    return true;
}

void ownership_sure(struct ownership *o, uint32_t pid, uint64_t epoch)
{
    struct ownership_entry *e = &o->entries[pid];
    e->sure = epoch > e->sure ? epoch : e->sure;
}

void ownership_go_back(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node)
{
    struct ownership_entry *e = &o->entries[pid];
    INVARIANT(!ownership_is_held(o, pid) && epoch < e->epoch);
    e->epoch = epoch;
    e->sure = epoch < e->sure ? epoch : e->sure;
    e->node = node;
}

void ownership_lose(struct ownership *o, uint32_t pid)
{
    INVARIANT(ownership_is_held(o, pid));
    enter(o, pid, OWNERSHIP_FOREIGN);
}

void ownership_forget(struct ownership *o, uint32_t pid)
{
    INVARIANT(!ownership_is_held(o, pid));
    o->entries[pid].kept = 0;
}

void ownership_freeze(struct ownership *o, uint32_t pid)
{
    INVARIANT(state_of(o, pid) == OWNERSHIP_OWNED);
    enter(o, pid, OWNERSHIP_FROZEN);
}

void ownership_thaw(struct ownership *o, uint32_t pid)
{
    INVARIANT(state_of(o, pid) == OWNERSHIP_FROZEN);
    enter(o, pid, OWNERSHIP_OWNED);
}

void ownership_give(struct ownership *o, uint32_t pid, uint64_t epoch, uint32_t node)
{
    INVARIANT(state_of(o, pid) == OWNERSHIP_FROZEN);
    struct ownership_entry *e = enter(o, pid, OWNERSHIP_FOREIGN);
    INVARIANT(epoch > e->epoch);
    e->epoch = e->sure = epoch;
    e->kept = 0;
    e->node = node;
}

void ownership_take(struct ownership *o, uint32_t pid, uint64_t epoch)
{
    INVARIANT(state_of(o, pid) <= OWNERSHIP_WANTED);
    own(o, pid, epoch);
}

bool ownership_mentions(const struct ownership *o, uint32_t node)
{
    for (uint32_t pid = 0; pid < o->partitions; pid++) {
        if (o->entries[pid].node == node)
            return true;
    }
    return false;
}
