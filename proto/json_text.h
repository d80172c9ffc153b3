/* JSON text that grows in an arena. jansson would build a tree first and print that: twice the
 * work, in memory that no arena bounds, and 0.1 as 0.10000000000000001. */
#ifndef TROUPE_PROTO_JSON_TEXT_H
#define TROUPE_PROTO_JSON_TEXT_H

#include <stdbool.h>

#include "base/arena.h"

struct json_text {
    struct arena *arena;
    char *data;
    size_t len, room;
    bool is_full; /* the arena or JSON_TEXT_BYTES_MAX; nothing more is added then */
};

void json_text_put(struct json_text *t, const char *bytes, size_t len);
void json_text_put_literal(struct json_text *t, const char *text);
/* In quotes, with escapes; must be UTF-8. */
void json_text_put_string(struct json_text *t, struct troupe_bytes text);
void json_text_put_int(struct json_text *t, int64_t value);
void json_text_put_uint(struct json_text *t, uint64_t value);
/* The shortest of the decimals that read back as the same number; NaN and the infinities by their
 * names in quotes. */
void json_text_put_float(struct json_text *t, float value);
void json_text_put_double(struct json_text *t, double value);
/* In quotes. */
void json_text_put_base64(struct json_text *t, struct troupe_bytes data);

#endif
