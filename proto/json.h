/* Protobuf messages <-> JSON text, by protobuf-c's descriptors (reflection), after the ProtoJSON
 * rules (https://protobuf.dev/programming-guides/json/): 64-bit integers as strings, bytes as
 * base64, enums by name; field names as in the .proto file (lowerCamelCase is understood too).
 * Pure; JSON itself is jansson's. */
#ifndef TROUPE_PROTO_JSON_H
#define TROUPE_PROTO_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "base/arena.h"
#include "troupe/bytes.h"

enum {
    JSON_DEPTH_MAX = 32,
    JSON_TEXT_BYTES_MAX = 32 << 20,
    JSON_WHY_BYTES = 256,
};

/* JSON text to a packed message, in the arena. why gets a message that names the field and what was
 * expected ("price: expected an integer, not \"ten\""; for an unknown field the nearest known
 * name). Errors: TROUPE_EMALFORMED, TROUPE_ELIMIT, TROUPE_ENOMEM. Empty text is the empty message.
 */
int json_to_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                    struct troupe_bytes text, struct troupe_bytes *packed,
                    char why[JSON_WHY_BYTES]);

/* A packed message to JSON text on one line, in the arena. Fields that have their default value are
 * left out, unless with_defaults (then only unset submessages and oneofs are). Errors as above. */
int json_from_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                      struct troupe_bytes packed, bool with_defaults, struct troupe_bytes *text,
                      char why[JSON_WHY_BYTES]);

#endif
