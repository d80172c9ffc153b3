/* What both directions of the JSON codec share: where in the message we are, for error texts. */
#ifndef TROUPE_PROTO_JSON_WALK_H
#define TROUPE_PROTO_JSON_WALK_H

#include <jansson.h>

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

/* Appends a field or, with index >= 0, an element to the path; returns what json_walk_leave wants.
 */
size_t json_walk_enter(struct json_walk *w, const char *name, long index);
void json_walk_leave(struct json_walk *w, size_t mark);
/* Notes an error at the current path, unless there is one already; returns the code. */
int json_walk_fail(struct json_walk *w, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Room for the base64 of len bytes, and the encoding (RFC 4648 §4), NUL-terminated. */
size_t json_base64_size(size_t len);
void json_base64_encode(const uint8_t *data, size_t len, char *out);
/* Either alphabet, padding optional. Bytes written (at most 3/4 of len), or -1. */
long json_base64_decode(const char *text, size_t len, uint8_t *out);

#endif
