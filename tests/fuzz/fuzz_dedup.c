/* The window of request ids as it comes back from the database: damaged bytes are refused, and what
 * is accepted can be asked, added to, and written so that it reads back the same. */
#include "node/runtime/dedup.h"

#include "base/invariant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dedup *d = NULL;
    if (dedup_parse(&d, troupe_bytes(data, size)) != 0)
        return 0;
    struct dedup_reply reply;
    for (uint64_t sequence = 1; sequence <= 40; sequence++) {
        uint64_t client = sequence % 3 + 1;
        struct troupe_bytes payload = troupe_bytes(data, size < 64 ? size : 64);
        if (dedup_look(d, client, sequence, &reply) != DEDUP_NEW)
            continue;
        struct dedup_reply made = {.status = (uint8_t)(sequence % 17), .payload = payload};
        if (dedup_add(&d, client, sequence, &made, 16) != 0)
            break;
        INVARIANT(dedup_look(d, client, sequence, &reply) == DEDUP_DONE);
        INVARIANT(reply.payload.len == payload.len);
    }
    struct dedup *again = NULL;
    struct troupe_bytes bytes = dedup_bytes(d);
    INVARIANT(dedup_parse(&again, bytes) == 0);
    struct troupe_bytes same = dedup_bytes(again);
    INVARIANT(same.len == bytes.len);
    INVARIANT(bytes.len == 0 || memcmp(same.data, bytes.data, bytes.len) == 0);
    dedup_free(again);
    dedup_free(d);
    return 0;
}
