/* The kind $node: what the node itself answers, whatever the state of its lease. $node/self status
 * is a NodeStatus. */
#include "node/runtime/internal.h"
#include "status.pb-c.h"

bool node_kind__is(struct troupe_bytes kind)
{
    return troupe_bytes_equal(kind, troupe_bytes_of("$node"));
}

bool node_kind__method(struct troupe_bytes method, const ProtobufCMessageDescriptor **response)
{
    if (!troupe_bytes_equal(method, troupe_bytes_of("status")))
        return false;
    *response = &troupe__rpc__node_status__descriptor;
    return true;
}

static char *text(const char *s)
{
    union { /* protobuf-c's structs want char *, and only read it */
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

static const char *phase_name(const struct runtime *rt)
{
    static const char *const names[] = {"starting", "serving", "suspended",
                                        "stopping", "stopped", "failed"};
    return names[rt->phase];
}

static void fill(struct runtime *rt, const struct runtime_stats *s, Troupe__Rpc__NodeStatus *status)
{
    status->name = text(rt->config.name);
    status->version = text(rt->config.version);
    status->cluster = text(rt->config.cluster);
    status->cluster_uid = text(rt->cluster_uid);
    status->generation = s->generation;
    status->state = text(phase_name(rt));
    status->uptime_ms = (rt->now.mono_ns - rt->opened_ns) / NS_PER_MS;
    status->address = text(rt->config.address);
    status->store = text(rt->config.store_url);
    status->store_ok = s->store_ok;
    status->store_error = text(s->store_ok ? "" : rt->store_error);
    status->lease_age_ms = s->lease_age_ms;
    status->partitions = s->partitions;
    status->partitions_owned = s->partitions_owned;
    status->entities_resident = s->entities_resident;
    status->entities_dirty = s->entities_dirty;
    status->entities_loading = s->entities_loading;
    status->entities_quarantined = s->entities_quarantined;
    status->memory_bytes = s->memory_bytes;
    status->calls = s->calls;
    status->calls_failed = s->calls_failed;
    status->calls_per_s = s->calls_per_s;
    status->replies_gated = s->calls_gated;
    status->crashes = s->crashes;
    status->rows_saved = s->rows_saved;
    status->rows_loaded = s->rows_loaded;
    status->saves_in_flight = s->saves_in_flight;
    status->persist_lag_ms = s->persist_lag_ms;
    status->commit_us = s->commit_us;
}

void node_kind__call(struct runtime *rt, struct message *m)
{
    const struct rpc_call *call = &m->request->rpc->calls[m->index];
    if (!troupe_bytes_equal(call->method, troupe_bytes_of("status"))) {
        request__fail(rt, m, TROUPE_UNIMPLEMENTED, "$node has no method '%.*s'; it has status",
                      (int)(call->method.len < 80 ? call->method.len : 80),
                      (const char *)call->method.data);
        return;
    }
    struct runtime_stats stats;
    runtime_stats(rt, rt->now, &stats);
    Troupe__Rpc__NodeStatus status = TROUPE__RPC__NODE_STATUS__INIT;
    fill(rt, &stats, &status);
    struct arena *arena = m->request->arena;
    status.kinds = arena_calloc(arena, rt->kinds_n, sizeof *status.kinds);
    for (size_t i = 0; status.kinds != NULL && i < rt->kinds_n; i++)
        status.kinds[status.n_kinds++] = text(rt->kinds[i].def->name);
    size_t len = troupe__rpc__node_status__get_packed_size(&status);
    uint8_t *packed = arena_alloc(arena, len);
    if (packed == NULL) {
        request__fail(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                      "no memory for the reply: ask for less at once");
        return;
    }
    troupe__rpc__node_status__pack(&status, packed);
    request__finish(rt, m, TROUPE_OK, troupe_bytes(packed, len), troupe_bytes(NULL, 0));
}
