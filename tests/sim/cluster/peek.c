/* See peek.h. */
#include "tests/sim/cluster/peek.h"

#include "base/name.h"
#include "node/runtime/internal.h"
#include "proto/gossip.h"

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

size_t peek_wrong_owners(const struct runtime *rt, const char *from, const char *owner,
                         const uint64_t *epochs, uint8_t *out, size_t size)
{
    static uint8_t payload[OWNER_MAP_PAYLOAD_BYTES_MAX];
    struct owner_map wrong;
    if (!members__is_on(&rt->members))
        return 0;
    int rc = owner_map_init(&wrong, rt->config.partitions, 1);
    INVARIANT(rc == 0);
    owner_map_set_audience(&wrong, 3, 1);
    for (uint32_t pid = 0; pid < rt->config.partitions; pid++) {
        if (epochs[pid] > 0)
            owner_map_set(&wrong, pid, troupe_bytes_of(owner), epochs[pid]);
    }
    size_t len = owner_map_put_news(&wrong, payload, sizeof payload);
    owner_map_close(&wrong);
    struct gossip_frame frame = {.type = GOSSIP_OWNERS,
                                 .from = troupe_bytes_of(from),
                                 .from_generation = 1,
                                 .owners = troupe_bytes(payload, len)};
    memcpy(frame.uid, rt->members.uid, sizeof frame.uid);
    return gossip_encode_header(&frame, out, size);
}

uint64_t peek_epoch(const struct runtime *rt, uint32_t pid)
{
    uint64_t map = members__is_on(&rt->members) ? owner_map_get(&rt->owner_map, pid).epoch : 0;
    uint64_t known = rt->ownership.entries[pid].epoch;
    return map > known ? map : known;
}
