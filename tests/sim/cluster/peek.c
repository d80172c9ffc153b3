/* See peek.h. */
#include "tests/sim/cluster/peek.h"

#include "base/name.h"
#include "node/runtime/internal.h"

uint64_t peek_version(const struct runtime *rt, const struct store_key *key)
{
    for (size_t i = 0; rt != NULL && i < rt->kinds_n; i++) {
        if (!troupe_bytes_equal(rt->kinds[i].name, key->kind))
            continue;
        const struct entity *e = table_find(&rt->partitions[key->pid],
                                            name_hash(key->kind, key->id), (uint8_t)i, key->id);
        return e == NULL || e->state == NULL ? 0 : e->version;
    }
    return 0;
}

bool peek_owns(const struct runtime *rt, uint32_t pid)
{
    return rt != NULL && ownership_is_owned(&rt->ownership, pid);
}

bool peek_executed(const struct runtime_request *request, size_t call)
{
    return request->calls[call].executed;
}

void peek_forget_jump(struct runtime *rt, struct runtime_time now)
{
    struct lease *l = &rt->lease;
    l->sent_clocks_ms = l->clocks_ms = (int64_t)now.wall_ms - (int64_t)(now.mono_ns / NS_PER_MS);
    l->jumped = l->void_in_flight = false;
}
