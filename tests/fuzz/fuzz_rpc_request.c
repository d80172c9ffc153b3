/* A request frame from anybody: the codec and protobuf-c accept the same frames and read the same
 * out of them, and a full arena is an error. */
#include "base/invariant.h"
#include "tests/unit/rpc_oracle.h"
#include "troupe/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_small_arena(struct troupe_bytes frame)
{
    struct arena arena;
    struct rpc_request request;
    const char *why = NULL;
    arena_init(&arena, 64, 1024);
    int rc = rpc_request_decode(&arena, frame, &request, &why);
    INVARIANT(rc == 0 || rc == TROUPE_ELIMIT || rc == TROUPE_ENOMEM || rc == TROUPE_EMALFORMED);
    INVARIANT(rc == 0 || why != NULL);
    INVARIANT(rc != 0 || (request.timeout_ms >= 1 && request.timeout_ms <= RPC_TIMEOUT_MS_MAX));
    arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    INVARIANT(rpc_oracle_request(troupe_bytes(data, size)) == NULL);
    check_small_arena(troupe_bytes(data, size));
    return 0;
}
