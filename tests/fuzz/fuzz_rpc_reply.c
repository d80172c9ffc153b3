/* A reply frame from a node that may be anything: the client's side of fuzz_rpc_request.c. */
#include "proto/rpc.h"

#include "base/invariant.h"

enum { ARENA_BYTES_MAX = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena, 0, ARENA_BYTES_MAX);
    struct rpc_reply reply, again;
    const char *why = NULL;
    if (rpc_reply_decode(&arena, troupe_bytes(data, size), &reply, &why) != 0) {
        INVARIANT(why != NULL);
        arena_close(&arena);
        return 0;
    }
    INVARIANT(reply.results_n <= RPC_CALLS_MAX);
    size_t bytes = rpc_reply_size(&reply);
    uint8_t *frame = arena_alloc(&arena, bytes);
    if (frame != NULL) {
        INVARIANT(rpc_reply_encode(&reply, frame) == bytes);
        if (rpc_reply_decode(&arena, troupe_bytes(frame, bytes), &again, &why) == 0)
            INVARIANT(again.results_n == reply.results_n && again.status == reply.status);
    }
    arena_close(&arena);
    return 0;
}
