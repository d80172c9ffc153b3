/* Protobuf messages <-> JSON text, by protobuf-c's descriptors (reflection), after the ProtoJSON
 * rules (https://protobuf.dev/programming-guides/json/): 64-bit integers as strings, bytes as
 * base64, enums by name; field names as in the .proto file (lowerCamelCase is understood too).
 *
 * Otherwise than there: map fields are arrays of {"key": …, "value": …}, because protobuf-c's
 * descriptors do not tell a map from a repeated message; google.protobuf.* have no forms of their
 * own; json_name options are not known. A string cannot contain U+0000. Unknown fields are errors
 * in JSON and left out of it. Pure. */
#ifndef TROUPE_PROTO_JSON_H
#define TROUPE_PROTO_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "base/arena.h"
#include "troupe/bytes.h"

enum {
    JSON_DEPTH_MAX = 32,
    JSON_TEXT_BYTES_MAX = 32 << 20,
    JSON_VALUES_MAX = 1 << 18, /* in a text that is read: jansson takes up to 250 bytes for one */
    JSON_WHY_BYTES = 256,
};

/* JSON text to a packed message, in the arena. On an error why gets a line of UTF-8 that names the
 * field and what was expected ("slots[3].price: expected an integer, not \"ten\""; for an unknown
 * field the nearest known name). Errors: TROUPE_EMALFORMED, TROUPE_ELIMIT (the limits above, or the
 * arena is full). Empty text is the empty message. */
int json_to_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                    struct troupe_bytes text, struct troupe_bytes *packed,
                    char why[JSON_WHY_BYTES]);

/* A packed message to JSON text on one line, in the arena, with a NUL behind it. Fields that have
 * their default value are left out, unless with_defaults (then only those are that can tell unset
 * from default: submessages, oneofs, proto2's optional ones). Errors as above. */
int json_from_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                      struct troupe_bytes packed, bool with_defaults, struct troupe_bytes *text,
                      char why[JSON_WHY_BYTES]);

#endif
