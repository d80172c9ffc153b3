/* See rows.h. */
#include "storage/memory/rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/name.h"

enum { SLOTS_MIN = 64 };

/* The partition's bits are the top ones of the hash, and with 256 to 65,536 partitions over many
 * nodes they say the least: slots are chosen by the low ones. */
static uint64_t hash_of(const struct store_key *key)
{
    return name_hash(key->kind, key->id) + key->pid * UINT64_C(0x9E3779B97F4A7C15);
}

static bool is_key(const struct stored_row *row, const struct store_key *key)
{
    return row->pid == key->pid && row->kind_len == key->kind.len && row->id_len == key->id.len &&
           memcmp(row->bytes, key->kind.data, key->kind.len) == 0 &&
           memcmp(row->bytes + row->kind_len, key->id.data, key->id.len) == 0;
}

/* The slot of the key, or the free one where it would go. */
static struct rows_slot *seek(const struct rows *rows, const struct store_key *key, uint64_t hash)
{
    INVARIANT(rows->used_n < rows->slots_n);
    for (size_t i = hash & (rows->slots_n - 1);; i = (i + 1) & (rows->slots_n - 1)) {
        struct rows_slot *slot = &rows->slots[i];
        if (slot->row == NULL || (slot->hash == hash && is_key(slot->row, key)))
            return slot;
    }
}

const struct stored_row *rows_find(const struct rows *rows, const struct store_key *key)
{
    return rows->slots_n == 0 ? NULL : seek(rows, key, hash_of(key))->row;
}

static void move_slots(struct rows *rows, const struct rows_slot *from, size_t from_n)
{
    for (size_t k = 0; k < from_n; k++) {
        if (from[k].row == NULL)
            continue;
        size_t i = from[k].hash & (rows->slots_n - 1);
        while (rows->slots[i].row != NULL)
            i = (i + 1) & (rows->slots_n - 1);
        rows->slots[i] = from[k];
    }
}

int rows_reserve(struct rows *rows, size_t n)
{
    size_t slots_n = rows->slots_n == 0 ? SLOTS_MIN : rows->slots_n;
    while ((rows->used_n + n) * 4 > slots_n * 3) /* at most three quarters full */
        slots_n *= 2;
    if (slots_n == rows->slots_n)
        return 0;
    struct rows_slot *slots = calloc(slots_n, sizeof *slots), *old = rows->slots;
    if (slots == NULL)
        return TROUPE_ENOMEM;
    size_t old_n = rows->slots_n;
    rows->slots = slots;
    rows->slots_n = slots_n;
    move_slots(rows, old, old_n);
    free(old);
    return 0;
}

static uint8_t *append(uint8_t *at, struct troupe_bytes bytes)
{
    if (bytes.len != 0)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

struct stored_row *rows_copy(const struct store_row *row, uint64_t now_ms)
{
    const struct store_key *key = &row->key;
    size_t len = key->kind.len + key->id.len + row->state.len + row->dedup.len;
    struct stored_row *copy = malloc(sizeof *copy + len);
    if (copy == NULL)
        return NULL;
    *copy = (struct stored_row){
        .epoch = row->epoch,
        .version = row->version,
        .saved_at_ms = now_ms,
        .pid = key->pid,
        .state_len = (uint32_t)row->state.len,
        .dedup_len = (uint32_t)row->dedup.len,
        .kind_len = (uint8_t)key->kind.len,
        .id_len = (uint8_t)key->id.len,
        .deleted = row->deleted,
    };
    append(append(append(append(copy->bytes, key->kind), key->id), row->state), row->dedup);
    return copy;
}

void rows_put(struct rows *rows, const struct store_key *key, struct stored_row *copy)
{
    uint64_t hash = hash_of(key);
    struct rows_slot *slot = seek(rows, key, hash);
    rows->used_n += slot->row == NULL;
    free(slot->row);
    *slot = (struct rows_slot){.hash = hash, .row = copy};
}

int rows_clone(const struct rows *from, struct rows *to)
{
    *to = (struct rows){0};
    if (from->slots_n == 0)
        return 0;
    to->slots = calloc(from->slots_n, sizeof *to->slots);
    if (to->slots == NULL)
        return TROUPE_ENOMEM;
    to->slots_n = from->slots_n;
    to->used_n = from->used_n;
    for (size_t i = 0; i < from->slots_n; i++) {
        const struct stored_row *row = from->slots[i].row;
        if (row == NULL)
            continue;
        size_t bytes = sizeof *row + row->kind_len + row->id_len + row->state_len + row->dedup_len;
        to->slots[i].hash = from->slots[i].hash;
        to->slots[i].row = malloc(bytes);
        if (to->slots[i].row == NULL)
            return TROUPE_ENOMEM;
        memcpy(to->slots[i].row, row, bytes);
    }
    return 0;
}

void rows_close(struct rows *rows)
{
    for (size_t i = 0; i < rows->slots_n; i++)
        free(rows->slots[i].row);
    free(rows->slots);
    *rows = (struct rows){0};
}
