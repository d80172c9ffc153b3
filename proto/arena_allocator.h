/* protobuf-c's allocator over an arena: what is unpacked lives and dies with the arena, and the
 * arena's cap is the cap on what a message can cost. */
#ifndef TROUPE_PROTO_ARENA_ALLOCATOR_H
#define TROUPE_PROTO_ARENA_ALLOCATOR_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

/* The allocator refers to the arena; freeing does nothing. */
void arena_allocator_init(ProtobufCAllocator *allocator, struct arena *arena);

#endif
