/* The entity rows of a cluster: a hash table from (pid, kind, id) to a row, open addressing with
 * linear probing. A slot holds the hash beside the pointer, so that a probe rarely touches a row
 * that is not the one sought. Rows are never removed (deletes are tombstones), so there is no
 * deletion here either. */
#ifndef TROUPE_STORAGE_MEMORY_ROWS_H
#define TROUPE_STORAGE_MEMORY_ROWS_H

#include "storage/store.h"

/* A row; kind, id, state and dedup follow it in this order. */
struct stored_row {
    uint64_t epoch, version, saved_at_ms;
    store_pid pid;
    uint32_t state_len, dedup_len;
    uint8_t kind_len, id_len;
    bool deleted;
    uint8_t bytes[];
};

struct rows_slot {
    uint64_t hash;
    struct stored_row *row; /* NULL: free */
};

struct rows {
    struct rows_slot *slots;
    size_t slots_n; /* a power of two, or 0 before the first row */
    size_t used_n;
};

const struct stored_row *rows_find(const struct rows *rows, const struct store_key *key);
/* Writing a batch is all or nothing: first room for n rows more (TROUPE_ENOMEM) and a copy of each
 * (NULL: out of memory), then rows_put, which cannot fail. It owns the copy from then on and frees
 * the row that was there before. */
int rows_reserve(struct rows *rows, size_t n);
struct stored_row *rows_copy(const struct store_row *row, uint64_t now_ms);
void rows_put(struct rows *rows, const struct store_key *key, struct stored_row *copy);
/* A copy of all of them. TROUPE_ENOMEM: *to can be closed. */
int rows_clone(const struct rows *from, struct rows *to);
void rows_close(struct rows *rows);

/* Where the parts of a row are. */
static inline struct store_key stored_row_key(const struct stored_row *row)
{
    return (struct store_key){.pid = row->pid,
                              .kind = troupe_bytes(row->bytes, row->kind_len),
                              .id = troupe_bytes(row->bytes + row->kind_len, row->id_len)};
}

static inline struct troupe_bytes stored_row_state(const struct stored_row *row)
{
    return troupe_bytes(row->bytes + row->kind_len + row->id_len, row->state_len);
}

static inline struct troupe_bytes stored_row_dedup(const struct stored_row *row)
{
    return troupe_bytes(row->bytes + row->kind_len + row->id_len + row->state_len, row->dedup_len);
}

#endif
