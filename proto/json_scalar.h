/* JSON to a value of a field that is no message. Private to the JSON codec. */
#ifndef TROUPE_PROTO_JSON_SCALAR_H
#define TROUPE_PROTO_JSON_SCALAR_H

#include <jansson.h>

#include "proto/json_walk.h"

/* Writes json_walk_value_size bytes to `to`, as protobuf-c lays them out; strings and bytes are in
 * the arena. 0, or the error that has been noted. */
int json_scalar_read(struct json_walk *w, const ProtobufCFieldDescriptor *f, json_t *value,
                     void *to);
/* Notes "expected …, not …". Returns the code. */
int json_scalar_refuse(struct json_walk *w, const char *expected, json_t *value);

#endif
