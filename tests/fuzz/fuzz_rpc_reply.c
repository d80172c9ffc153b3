/* A reply frame from a node that may be anything: the client's side of fuzz_rpc_request.c. */
#include "base/invariant.h"
#include "tests/unit/rpc_oracle.h"
#include "troupe/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_small_arena(struct troupe_bytes frame)
{
    struct arena arena;
    struct rpc_reply reply;
    const char *why = NULL;
    arena_init(&arena, 64, 1024);
    int rc = rpc_reply_decode(&arena, frame, &reply, &why);
    INVARIANT(rc == 0 || rc == TROUPE_ELIMIT || rc == TROUPE_ENOMEM || rc == TROUPE_EMALFORMED);
    INVARIANT(rc == 0 || why != NULL);
    arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    INVARIANT(rpc_oracle_reply(troupe_bytes(data, size)) == NULL);
    check_small_arena(troupe_bytes(data, size));
    return 0;
}
