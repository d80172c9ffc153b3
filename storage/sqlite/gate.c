/* See gate.h. */
#include "storage/sqlite/gate.h"

#include "base/invariant.h"
#include "troupe/error.h"

int sqlite__gate_init(struct sqlite_gate *gate)
{
    *gate = (struct sqlite_gate){.taken = false};
    if (uv_mutex_init(&gate->lock) != 0)
        return TROUPE_ENOMEM;
    if (uv_cond_init(&gate->changed) != 0) {
        uv_mutex_destroy(&gate->lock);
        return TROUPE_ENOMEM;
    }
    return 0;
}

void sqlite__gate_close(struct sqlite_gate *gate)
{
    INVARIANT(!gate->taken && gate->hurried == 0);
    uv_cond_destroy(&gate->changed);
    uv_mutex_destroy(&gate->lock);
}

void sqlite__gate_enter(struct sqlite_gate *gate, bool hurried)
{
    uv_mutex_lock(&gate->lock);
    gate->hurried += hurried;
    while (gate->taken || (!hurried && gate->hurried > 0))
        uv_cond_wait(&gate->changed, &gate->lock);
    gate->hurried -= hurried;
    gate->taken = true;
    uv_mutex_unlock(&gate->lock);
}

void sqlite__gate_leave(struct sqlite_gate *gate)
{
    uv_mutex_lock(&gate->lock);
    INVARIANT(gate->taken);
    gate->taken = false;
    uv_cond_broadcast(&gate->changed);
    uv_mutex_unlock(&gate->lock);
}

bool sqlite__gate_is_wanted(struct sqlite_gate *gate)
{
    uv_mutex_lock(&gate->lock);
    bool wanted = gate->hurried > 0;
    uv_mutex_unlock(&gate->lock);
    return wanted;
}
