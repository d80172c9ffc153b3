/* See mutant_wire.h. */
#include "tests/sim/cluster/mutant_wire.h"

#include <string.h>

#include "base/invariant.h"
#include "peer.pb-c.h"

enum { TAKEN_MAX = 256 };

/* A batch of entities on their way to another node, without their timers. */
static void strip_timers(struct arena *a, struct rpc_call *call)
{
    Troupe__Peer__Take *take =
        troupe__peer__take__unpack(NULL, call->payload.len, call->payload.data);
    INVARIANT(take != NULL);
    size_t timers[TAKEN_MAX];
    INVARIANT(take->n_entities <= TAKEN_MAX);
    for (size_t i = 0; i < take->n_entities; i++) {
        timers[i] = take->entities[i]->n_timers;
        take->entities[i]->n_timers = 0;
    }
    uint8_t *bytes = arena_alloc(a, troupe__peer__take__get_packed_size(take));
    INVARIANT(bytes != NULL);
    call->payload = troupe_bytes(bytes, troupe__peer__take__pack(take, bytes));
    for (size_t i = 0; i < take->n_entities; i++)
        take->entities[i]->n_timers = timers[i];
    troupe__peer__take__free_unpacked(take, NULL);
}

/* Each time as another one. */
static void rename_requests(struct world *w, struct rpc_request *rpc)
{
    const uint64_t mask = (UINT64_C(1) << RPC_SEQUENCE_COUNTER_BITS) - 1;
    for (size_t i = 0; i < rpc->calls_n; i++) {
        if (rpc->calls[i].sequence != 0)
            rpc->calls[i].sequence = (rpc->calls[i].sequence & ~mask) | (++w->arrivals & mask);
    }
}

void mutant_arrived(struct world *w, struct arena *a, struct rpc_request *rpc)
{
    if (w->mutant == MUTANT_NO_DEDUP)
        rename_requests(w, rpc);
    if (w->mutant == MUTANT_TIMERS_STAY && rpc->calls_n == 1 &&
        troupe_bytes_equal(rpc->calls[0].method, troupe_bytes_of("take")))
        strip_timers(a, &rpc->calls[0]);
}

int mutant_outcome(const struct world *w, const struct runtime_peer_request *peer, int error)
{
    const struct rpc_call *call = &peer->rpc.calls[0];
    bool anonymous =
        call->sequence == 0 && !troupe_bytes_equal(call->kind, troupe_bytes_of("$peer"));
    if (w->mutant == MUTANT_FORWARD_AGAIN && anonymous && error == TROUPE_EOUTCOME)
        return TROUPE_EUNAVAILABLE;
    bool cast = troupe_bytes_equal(call->method, troupe_bytes_of("cast"));
    if (w->mutant == MUTANT_CAST_AGAIN && cast && error == TROUPE_EOUTCOME)
        return TROUPE_EUNAVAILABLE;
    return error;
}
