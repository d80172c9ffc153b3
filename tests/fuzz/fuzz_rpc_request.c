/* A request frame from anybody. What decodes must encode to exactly the announced size and decode
 * again to the same calls. */
#include "proto/rpc.h"

#include "base/invariant.h"
#include "troupe/error.h"

enum { ARENA_BYTES_MAX = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct troupe_bytes a, struct troupe_bytes b)
{
    INVARIANT(a.len == b.len);
    INVARIANT(a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void check_again(struct arena *arena, const struct rpc_request *request)
{
    size_t bytes = rpc_request_size(request);
    uint8_t *frame = arena_alloc(arena, bytes);
    if (frame == NULL)
        return;
    INVARIANT(rpc_request_encode(request, frame) == bytes);
    struct rpc_request again;
    const char *why = NULL;
    int rc = rpc_request_decode(arena, troupe_bytes(frame, bytes), &again, &why);
    if (rc == TROUPE_ELIMIT) /* the arena is full */
        return;
    INVARIANT(rc == 0);
    INVARIANT(again.client == request->client && again.calls_n == request->calls_n);
    for (size_t i = 0; i < again.calls_n; i++) {
        check_same(again.calls[i].kind, request->calls[i].kind);
        check_same(again.calls[i].id, request->calls[i].id);
        check_same(again.calls[i].method, request->calls[i].method);
        check_same(again.calls[i].payload, request->calls[i].payload);
        INVARIANT(again.calls[i].sequence == request->calls[i].sequence);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena, 0, ARENA_BYTES_MAX);
    struct rpc_request request;
    const char *why = NULL;
    if (rpc_request_decode(&arena, troupe_bytes(data, size), &request, &why) != 0) {
        INVARIANT(why != NULL);
    } else {
        INVARIANT(request.calls_n <= RPC_CALLS_MAX);
        INVARIANT(request.timeout_ms >= 1 && request.timeout_ms <= RPC_TIMEOUT_MS_MAX);
        check_again(&arena, &request);
    }
    arena_close(&arena);
    return 0;
}
