#include "cluster/intern.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/invariant.h"
#include "troupe/error.h"

int intern_init(struct intern *in, uint32_t slots_n, uint16_t bytes_max)
{
    uint32_t buckets_n = 16;
    while (buckets_n < slots_n && buckets_n < UINT32_C(1) << 31)
        buckets_n *= 2;
    *in = (struct intern){.slots_n = slots_n, .buckets_n = buckets_n, .bytes_max = bytes_max};
    in->slots = calloc(slots_n, sizeof *in->slots);
    in->bytes = malloc((size_t)slots_n * bytes_max);
    in->buckets = malloc(buckets_n * sizeof *in->buckets);
    if (in->slots == NULL || in->bytes == NULL || in->buckets == NULL) {
        intern_close(in);
        return TROUPE_ENOMEM;
    }
    memset(in->buckets, 0xFF, buckets_n * sizeof *in->buckets);
    for (uint32_t i = 0; i < slots_n; i++)
        in->slots[i].next = i + 1 < slots_n ? i + 1 : INTERN_NONE;
    in->free = slots_n == 0 ? INTERN_NONE : 0;
    return 0;
}

void intern_close(struct intern *in)
{
    free(in->slots);
    free(in->bytes);
    free(in->buckets);
    *in = (struct intern){.free = INTERN_NONE};
}

static uint32_t find(const struct intern *in, struct troupe_bytes string, uint64_t hash)
{
    uint32_t i = in->buckets[hash & (in->buckets_n - 1)];
    while (i != INTERN_NONE &&
           (in->slots[i].hash != hash || !troupe_bytes_equal(intern_bytes(in, i), string)))
        i = in->slots[i].next;
    return i;
}

uint32_t intern_find(const struct intern *in, struct troupe_bytes string)
{
    return find(in, string, XXH3_64bits(string.data, string.len));
}

uint32_t intern_take(struct intern *in, struct troupe_bytes string)
{
    uint64_t hash = XXH3_64bits(string.data, string.len);
    uint32_t i = find(in, string, hash);
    if (i != INTERN_NONE) {
        in->slots[i].refs++;
        return i;
    }
    i = in->free;
    if (i == INTERN_NONE || string.len > in->bytes_max)
        return INTERN_NONE;
    struct intern_slot *slot = &in->slots[i];
    uint32_t *bucket = &in->buckets[hash & (in->buckets_n - 1)];
    INVARIANT(slot->refs == 0);
    in->free = slot->next;
    *slot =
        (struct intern_slot){.hash = hash, .next = *bucket, .refs = 1, .len = (uint16_t)string.len};
    *bucket = i;
    if (string.len != 0)
        memcpy(in->bytes + (size_t)i * in->bytes_max, string.data, string.len);
    in->used++;
    return i;
}

void intern_drop(struct intern *in, uint32_t number)
{
    INVARIANT(number < in->slots_n && in->slots[number].refs > 0);
    struct intern_slot *slot = &in->slots[number];
    if (--slot->refs > 0)
        return;
    uint32_t *link = &in->buckets[slot->hash & (in->buckets_n - 1)];
    while (*link != number)
        link = &in->slots[*link].next;
    *link = slot->next;
    slot->next = in->free;
    in->free = number;
    in->used--;
}
