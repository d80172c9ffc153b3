/* protobuf-c's unpack, for bytes from outside. It recurses into submessages without a limit, and
 * keeps fields that it does not know at many times their size; so the depth is checked before, and
 * memory comes from an arena, whose cap is the cap on what a message can cost. */
#ifndef TROUPE_PROTO_UNPACK_H
#define TROUPE_PROTO_UNPACK_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "troupe/bytes.h"

enum { UNPACK_DEPTH_MAX = 100 }; /* of messages in messages; protobuf's own custom */

/* *message and all it points to live in the arena: there is nothing to free. Errors:
 * TROUPE_EMALFORMED, TROUPE_ELIMIT (nested too deep, or the arena is full). */
int unpack_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                   struct troupe_bytes packed, ProtobufCMessage **message);

#endif
