/* A pool of short byte strings, each kept once and counted: names of members, their metadata. What
 * refers to one holds a number of 32 bits. All memory is taken at init. Pure. */
#ifndef TROUPE_CLUSTER_INTERN_H
#define TROUPE_CLUSTER_INTERN_H

#include <stddef.h>
#include <stdint.h>

#include "troupe/bytes.h"

enum { INTERN_NONE = UINT32_MAX };

struct intern_slot {
    uint64_t hash;
    uint32_t next; /* in the bucket, or in the list of free slots */
    uint32_t refs;
    uint16_t len;
};

struct intern {
    struct intern_slot *slots;
    uint8_t *bytes;    /* bytes_max per slot */
    uint32_t *buckets; /* first slot of each */
    uint32_t slots_n, buckets_n, free, used;
    uint16_t bytes_max;
};

/* At most slots_n strings of at most bytes_max bytes. TROUPE_ENOMEM. */
int intern_init(struct intern *in, uint32_t slots_n, uint16_t bytes_max);
void intern_close(struct intern *in);
/* The string's number, or INTERN_NONE if it is not there. */
uint32_t intern_find(const struct intern *in, struct troupe_bytes string);
/* … which is put in if need be; a reference more. INTERN_NONE: full, or the string is too long. */
uint32_t intern_take(struct intern *in, struct troupe_bytes string);
/* A reference less; the last one frees the number. */
void intern_drop(struct intern *in, uint32_t number);

static inline struct troupe_bytes intern_bytes(const struct intern *in, uint32_t number)
{
    return troupe_bytes(in->bytes + (size_t)number * in->bytes_max, in->slots[number].len);
}

static inline uint64_t intern_hash(const struct intern *in, uint32_t number)
{
    return in->slots[number].hash;
}

#endif
