/* What both directions of the JSON codec share: where in the message we are, for error texts, and
 * how protobuf-c lays fields out. */
#ifndef TROUPE_PROTO_JSON_WALK_H
#define TROUPE_PROTO_JSON_WALK_H

#include "proto/json.h"

enum { JSON_PATH_BYTES = 128 };

struct json_walk {
    struct arena *arena;
    char *why; /* JSON_WHY_BYTES */
    char path[JSON_PATH_BYTES];
    size_t path_len;
    unsigned depth;
    int error; /* the first one */
};

/* Appends a field or an element to the path; returns what json_walk_leave wants. */
size_t json_walk_enter(struct json_walk *w, const char *field);
size_t json_walk_enter_element(struct json_walk *w, size_t index);
void json_walk_leave(struct json_walk *w, size_t mark);

/* Notes an error at the current path, unless there is one already; returns the code. */
int json_walk_fail(struct json_walk *w, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* When the arena is full. */
int json_walk_fail_full(struct json_walk *w);
/* The beginning of a text from outside, as JSON in quotes, for an error text. In the arena. */
const char *json_walk_quote(struct json_walk *w, struct troupe_bytes text);

/* Bytes that a field's value, or an element of it, takes in protobuf-c's struct. */
size_t json_walk_value_size(ProtobufCType type);
/* Of the fields that hold integers (not enums). */
bool json_walk_is_signed(ProtobufCType type);

#endif
