/* See params.h. */
#include "storage/postgres/params.h"

#include "base/invariant.h"

enum { ARRAY_HEAD_BYTES = 20, ELEMENT_HEAD_BYTES = 4 };

static uint8_t *put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    return at + bytes;
}

void pg_params_init(struct pg_params *p, struct arena *arena)
{
    p->arena = arena;
    p->failed = false;
    p->n = 0;
}

/* Room for one more parameter's value. */
static uint8_t *add(struct pg_params *p, enum pg_oid type, size_t bytes)
{
    static uint8_t nowhere[32];
    INVARIANT(p->n < PG_PARAMS_MAX);
    uint8_t *value = bytes > INT32_MAX ? NULL : arena_alloc(p->arena, bytes);
    p->types[p->n] = (Oid)type;
    p->values[p->n] = (const char *)value;
    p->lengths[p->n] = (int)bytes;
    p->formats[p->n] = 1;
    p->n++;
    p->failed |= value == NULL;
    return value != NULL ? value : bytes <= sizeof nowhere ? nowhere : NULL;
}

void pg_add_text(struct pg_params *p, const char *text)
{
    struct troupe_bytes bytes = troupe_bytes_of(text);
    uint8_t *to = add(p, PG_TEXT, bytes.len);
    if (!p->failed && bytes.len > 0)
        memcpy(to, bytes.data, bytes.len);
}

void pg_add_int4(struct pg_params *p, uint32_t value)
{
    put(add(p, PG_INT4, 4), value, 4);
}

void pg_add_int8(struct pg_params *p, uint64_t value)
{
    put(add(p, PG_INT8, 8), value, 8);
}

void pg_add_bool(struct pg_params *p, bool value)
{
    put(add(p, PG_BOOL, 1), value, 1);
}

struct pg_array pg_add_array(struct pg_params *p, enum pg_oid array, enum pg_oid element, size_t n,
                             size_t bytes)
{
    size_t head = n == 0 ? 12 : ARRAY_HEAD_BYTES;
    uint8_t *at = add(p, array, head + n * ELEMENT_HEAD_BYTES + bytes);
    if (p->failed)
        return (struct pg_array){NULL};
    at = put(at, n == 0 ? 0 : 1, 4); /* dimensions */
    at = put(at, 0, 4);              /* no NULLs */
    at = put(at, (uint64_t)element, 4);
    if (n > 0) {
        at = put(at, n, 4);
        at = put(at, 1, 4); /* lower bound */
    }
    return (struct pg_array){at};
}

void pg_put_int4(struct pg_array *a, uint32_t value)
{
    if (a->at != NULL)
        a->at = put(put(a->at, 4, 4), value, 4);
}

void pg_put_int8(struct pg_array *a, uint64_t value)
{
    if (a->at != NULL)
        a->at = put(put(a->at, 8, 4), value, 8);
}

void pg_put_bool(struct pg_array *a, bool value)
{
    if (a->at != NULL)
        a->at = put(put(a->at, 1, 4), value, 1);
}

void pg_put_bytes(struct pg_array *a, struct troupe_bytes bytes)
{
    if (a->at == NULL)
        return;
    a->at = put(a->at, bytes.len, 4);
    if (bytes.len > 0)
        memcpy(a->at, bytes.data, bytes.len);
    a->at += bytes.len;
}

uint64_t pg_get_int(const PGresult *result, int row, int column)
{
    uint64_t value = 0;
    int len = PQgetlength(result, row, column);
    const uint8_t *p = (const uint8_t *)PQgetvalue(result, row, column);
    for (int i = 0; i < len && i < 8; i++)
        value = value << 8 | p[i];
    return value;
}

bool pg_get_u63(const PGresult *result, int row, int column, uint64_t *value)
{
    *value = pg_get_int(result, row, column);
    return *value <= INT64_MAX;
}

bool pg_get_bool(const PGresult *result, int row, int column)
{
    return PQgetlength(result, row, column) == 1 && PQgetvalue(result, row, column)[0] != 0;
}

struct troupe_bytes pg_get_bytes(const PGresult *result, int row, int column)
{
    return troupe_bytes(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}
