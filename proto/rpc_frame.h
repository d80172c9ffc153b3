/* What decoding a request and decoding a reply have in common: a frame is checked, counted and
 * copied before its parts are read. Private to the codec. */
#ifndef TROUPE_PROTO_RPC_FRAME_H
#define TROUPE_PROTO_RPC_FRAME_H

#include "proto/rpc.h"
#include "proto/wire.h"

/* One scan over the fields of the frame. Then allocates all that decoding will need (but the owners
 * in a reply): *parts, a zeroed array with an item of item_bytes for every field that has the tag,
 * and *copy, the frame. Errors, with *why: TROUPE_ELIMIT, TROUPE_EMALFORMED. */
int rpc__frame_open(struct arena *arena, struct troupe_bytes frame, uint64_t tag, size_t item_bytes,
                    void **parts, struct troupe_bytes *copy, const char **why);

/* A 32-bit enum or status in a byte. Numbers that do not fit are no valid value of any of them;
 * they become 255, which is none either, so that whoever reads the field refuses that one call. */
static inline uint8_t rpc__to_byte(uint64_t value)
{
    uint32_t number = (uint32_t)value;
    return number > UINT8_MAX ? UINT8_MAX : (uint8_t)number;
}

#endif
