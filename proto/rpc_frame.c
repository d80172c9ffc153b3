/* See rpc_frame.h.
 *
 * What a frame can cost is known after the scan: its own size once more, and at most RPC_CALLS_MAX
 * items. Depth is no concern, as the schema has no recursive message and unknown fields are skipped
 * without a look inside. */
#include "proto/rpc_frame.h"

#include "troupe/error.h"

_Static_assert(RPC_FRAME_BYTES_MAX == 32 << 20 && RPC_CALLS_MAX == 4096,
               "the texts below name them");

/* How many fields have the tag; false when the frame is malformed. */
static bool count_parts(struct troupe_bytes frame, uint64_t tag, size_t *count)
{
    struct wire_field field;
    *count = 0;
    for (struct wire_reader r = wire_reader(frame); !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return false;
        *count += field.tag == tag;
    }
    return true;
}

int rpc__frame_open(struct arena *arena, struct troupe_bytes frame, uint64_t tag, size_t item_bytes,
                    void **parts, struct troupe_bytes *copy, const char **why)
{
    size_t count;
    if (frame.len > RPC_FRAME_BYTES_MAX) {
        *why = "the message is larger than 32 MiB; send smaller batches";
        return TROUPE_ELIMIT;
    }
    if (!count_parts(frame, tag, &count)) {
        *why = "the message is not protobuf, or cut short";
        return TROUPE_EMALFORMED;
    }
    if (count > RPC_CALLS_MAX) {
        *why = "the batch has more than 4,096 calls; send smaller batches";
        return TROUPE_ELIMIT;
    }
    *parts = arena_calloc(arena, count, item_bytes);
    *copy = *parts == NULL ? troupe_bytes(NULL, 0) : arena_copy(arena, frame);
    if (copy->data == NULL) {
        *why = "no memory is left for a message of this size; send smaller batches";
        return TROUPE_ENOMEM;
    }
    return 0;
}
