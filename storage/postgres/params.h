/* Parameters of a statement in Postgres' binary format: nothing is quoted, nothing is converted on
 * the way. Array layout: server source, array_recv; docs "Frontend/Backend Protocol". Built in an
 * arena, which libpq copies from when the statement is sent. */
#ifndef TROUPE_POSTGRES_PARAMS_H
#define TROUPE_POSTGRES_PARAMS_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/arena.h"

enum { PG_PARAMS_MAX = 16 };

enum pg_oid {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_BOOL_ARRAY = 1000,
    PG_BYTEA_ARRAY = 1001,
    PG_INT4_ARRAY = 1007,
    PG_TEXT_ARRAY = 1009,
    PG_INT8_ARRAY = 1016,
};

struct pg_params {
    struct arena *arena;
    bool failed; /* out of memory */
    int n;
    Oid types[PG_PARAMS_MAX];
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int formats[PG_PARAMS_MAX];
};

void pg_params_init(struct pg_params *p, struct arena *arena);
void pg_add_text(struct pg_params *p, const char *text);
void pg_add_int4(struct pg_params *p, uint32_t value);
void pg_add_int8(struct pg_params *p, uint64_t value);
void pg_add_bool(struct pg_params *p, bool value);

/* An array under construction: element type, count and the total size of its elements' data. */
struct pg_array {
    uint8_t *at;
};
struct pg_array pg_add_array(struct pg_params *p, enum pg_oid array, enum pg_oid element, size_t n,
                             size_t bytes);
void pg_put_int4(struct pg_array *a, uint32_t value);
void pg_put_int8(struct pg_array *a, uint64_t value);
void pg_put_bool(struct pg_array *a, bool value);
void pg_put_bytes(struct pg_array *a, struct troupe_bytes bytes);

/* Values of a binary result; 0 or empty for NULL. */
uint64_t pg_get_int(const PGresult *result, int row, int column);
/* Of a count, which is never negative; false: the database was damaged or edited. */
bool pg_get_u63(const PGresult *result, int row, int column, uint64_t *value);
bool pg_get_bool(const PGresult *result, int row, int column);
struct troupe_bytes pg_get_bytes(const PGresult *result, int row, int column);

#endif
