/* The window of request ids as it comes back from the database: damaged bytes are refused, and what
 * is accepted can be asked, added to, and written so that it reads back the same. */
#include "node/runtime/dedup.h"

#include "base/invariant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_some(struct dedup **d, const struct dedup_time *time, struct troupe_bytes payload)
{
    struct dedup_found found;
    for (uint64_t sequence = 1; sequence <= 40; sequence++) {
        struct dedup_id id = {.client = sequence % 3 + 1, .sequence = sequence};
        if (dedup_look(*d, &id, time, &found) != DEDUP_NEW)
            continue;
        struct dedup_reply made = {.status = (uint8_t)(sequence % 17), .payload = payload};
        if (dedup_add(d, &id, time, &made) != 0)
            return;
        INVARIANT(dedup_look(*d, &id, time, &found) == DEDUP_DONE);
        INVARIANT(!found.reply.kept || found.reply.payload.len == payload.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dedup *d = NULL, *again = NULL;
    struct dedup_time time = {.now_ms = UINT64_C(1) << 40, .window_ms = DEDUP_WINDOW_MS};
    struct arena arena;
    if (dedup_parse(&d, troupe_bytes(data, size), &time) != 0)
        return 0;
    arena_init(&arena, 0, 0);
    add_some(&d, &time, troupe_bytes(data, size < 64 ? size : 64));
    struct troupe_bytes bytes = dedup_write(d, &arena);
    INVARIANT(dedup_parse(&again, bytes, &time) == 0);
    struct troupe_bytes same = dedup_write(again, &arena);
    INVARIANT(troupe_bytes_equal(bytes, same));
    arena_close(&arena);
    dedup_free(again);
    dedup_free(d);
    return 0;
}
