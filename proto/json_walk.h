/* What both directions of the JSON codec share: where in the message we are, for error texts, and
 * how protobuf-c lays fields out. */
#ifndef TROUPE_PROTO_JSON_WALK_H
#define TROUPE_PROTO_JSON_WALK_H

#include "proto/json.h"

/* A field of a message, or an element of a repeated one. */
struct json_step {
    const char *field; /* NULL: an element */
    size_t index;
};

enum { JSON_STEPS_MAX = 2 * JSON_DEPTH_MAX };

struct json_walk {
    struct arena *arena;
    char *why; /* JSON_WHY_BYTES */
    struct json_step steps[JSON_STEPS_MAX];
    unsigned steps_n;
    unsigned depth; /* of messages; below JSON_DEPTH_MAX where a field is entered */
    int error;      /* the first one */
};

void json_walk_init(struct json_walk *w, struct arena *arena, char why[JSON_WHY_BYTES]);
void json_walk_enter(struct json_walk *w, const char *field);
void json_walk_enter_element(struct json_walk *w, size_t index);
void json_walk_leave(struct json_walk *w);

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
