/* The name of an entity, kind/id, and where it lives: hash -> partition (DESIGN: the registry). */
#ifndef TROUPE_BASE_NAME_H
#define TROUPE_BASE_NAME_H

#include "troupe/bytes.h"

enum {
    NAME_KIND_BYTES_MAX = 63, /* [a-z][a-z0-9_]*; a leading $ is the node's own */
    NAME_ID_BYTES_MAX = 255,
    PARTITIONS_MIN = 256,
    PARTITIONS_MAX = 65536,
    PARTITIONS_DEFAULT = 4096,
};

/* XXH3_64 of kind, a zero byte, id. kind.len <= NAME_KIND_BYTES_MAX, id.len <= NAME_ID_BYTES_MAX.
 */
uint64_t name_hash(struct troupe_bytes kind, struct troupe_bytes id);

/* The partition is the top bits of the hash; bits = log2 of the partition count. */
static inline uint32_t name_partition(uint64_t hash, unsigned partition_bits)
{
    return (uint32_t)(hash >> (64 - partition_bits));
}

/* log2 of a valid partition count (a power of two within the limits), or -1. */
int name_partition_bits(uint32_t partitions);

/* 0, or TROUPE_EINVAL with *why (static text) telling what is wrong with it. */
int name_check_kind(struct troupe_bytes kind, const char **why);
int name_check_id(struct troupe_bytes id, const char **why);

/* Splits "venue/42" at the first slash. TROUPE_EINVAL with *why when there is none or a part is
 * invalid. */
int name_parse(struct troupe_bytes name, struct troupe_bytes *kind, struct troupe_bytes *id,
               const char **why);

#endif
