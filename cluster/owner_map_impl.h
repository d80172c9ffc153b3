/* What the files of the owner map share. See owner_map.h. */
#ifndef TROUPE_CLUSTER_OWNER_MAP_IMPL_H
#define TROUPE_CLUSTER_OWNER_MAP_IMPL_H

#include "base/invariant.h"
#include "cluster/owner_map.h"
#include "proto/wire.h"

enum owner_map_flag {
    OWNER_MAP_HOT = 1,     /* in a list of news */
    OWNER_MAP_CHANGED = 2, /* in the list of changes */
};

/* The fields of a payload. */
enum owner_map_field {
    OWNER_MAP_BITS = 1, /* log2 of the number of partitions */
    OWNER_MAP_NEWS,     /* records, to be told on */
    OWNER_MAP_ROWS,     /* records in answer to a digest */
    OWNER_MAP_DIGEST,   /* chunk hashes */
    OWNER_MAP_ASK,      /* the answer is to have a digest, too */
    OWNER_MAP_FIELDS,
};

/* A run of records; what is in its head besides the number of the source. */
enum owner_map_run {
    OWNER_MAP_GAP = 1,   /* it does not begin where the one before ended */
    OWNER_MAP_MORE = 2,  /* it has more than one partition */
    OWNER_MAP_EPOCH = 4, /* its epoch is not the source's last one */
    OWNER_MAP_RUN_BITS = 3,
};

/* Small numbers of either sign as small numbers. */
static inline uint64_t owner_map__zigzag(uint64_t delta)
{
    return delta << 1 ^ (0 - (delta >> 63));
}

static inline uint64_t owner_map__unzigzag(uint64_t value)
{
    return value >> 1 ^ (0 - (value & 1));
}

static inline bool owner_map__is_known(const struct owner_map_entry *e)
{
    return e->epoch != 0 || e->name != INTERN_NONE;
}

/* ---- owner_map.c ---- */

/* Takes a record of a peer if it is greater than what is there, and not known to be wrong. */
bool owner_map__hear_of(struct owner_map *m, uint32_t pid, struct troupe_bytes name,
                        uint64_t epoch);
/* Takes a record if it is greater than what is there. */
bool owner_map__merge(struct owner_map *m, uint32_t pid, struct troupe_bytes name, uint64_t epoch);
/* It has been changed by a peer. */
void owner_map__note_change(struct owner_map *m, uint32_t pid);

/* ---- owner_map_news.c ---- */

/* It is news. */
void owner_map__tell(struct owner_map *m, uint32_t pid);

/* ---- owner_map_write.c ---- */

/* A payload under construction: records of one field, and room kept behind them. */
struct owner_map_writer {
    struct owner_map *m;
    uint8_t *out;
    size_t size, used; /* of the payload; without the run that is not finished */
    size_t records_at; /* where the records begin, after their field's tag and length */
    uint32_t sources_n;
    uint32_t expected; /* partition: there is no gap if the next run begins here */
    /* The run that is not finished: */
    uint32_t pid, n, source;
    uint64_t epoch;
};

void owner_map__write_bits(const struct owner_map *m, uint8_t *out, size_t *used);
void owner_map__begin(struct owner_map_writer *w, struct owner_map *m, uint8_t *out, size_t size);
/* False: no room, if kept bytes are to remain. */
bool owner_map__put(struct owner_map_writer *w, uint32_t pid, size_t kept);
/* Whether kept bytes fit behind what has been put so far. */
bool owner_map__has_room(const struct owner_map_writer *w, size_t kept);
/* Closes the field of records. False: there are none, and nothing of them is in the payload. */
bool owner_map__end(struct owner_map_writer *w, enum owner_map_field field);

/* ---- owner_map_sync.c ---- */

int owner_map__compare(const struct owner_map *m, struct troupe_bytes digest,
                       struct owner_map_diff *diff, const char **why);

#endif
