/* See mutant_wire.h. */
#include "tests/sim/cluster/mutant_wire.h"

/* Each time as another one. */
void mutant_arrived(struct world *w, struct rpc_request *rpc)
{
    const uint64_t mask = (UINT64_C(1) << RPC_SEQUENCE_COUNTER_BITS) - 1;
    for (size_t i = 0; w->mutant == MUTANT_NO_DEDUP && i < rpc->calls_n; i++) {
        if (rpc->calls[i].sequence != 0)
            rpc->calls[i].sequence = (rpc->calls[i].sequence & ~mask) | (++w->arrivals & mask);
    }
}

int mutant_outcome(const struct world *w, const struct runtime_peer_request *peer, int error)
{
    const struct rpc_call *call = &peer->rpc.calls[0];
    bool anonymous =
        call->sequence == 0 && !troupe_bytes_equal(call->kind, troupe_bytes_of("$peer"));
    if (w->mutant == MUTANT_FORWARD_AGAIN && anonymous && error == TROUPE_EOUTCOME)
        return TROUPE_EUNAVAILABLE;
    return error;
}
