/* A part of the owner map from anybody: whatever it is, the answer is a value, no epoch goes back,
 * and the map is sound afterwards: another one that exchanges with it becomes equal, its names are
 * counted rightly, and its hash is that of a map that has been told the same entries. */
#include <stdlib.h>

#include "base/invariant.h"
#include "cluster/owner_map.h"
#include "troupe/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTITIONS = 256, NAMES_MAX = 12, SIZE = OWNER_MAP_PAYLOAD_BYTES_MAX };

static struct owner_map map_new(void)
{
    struct owner_map m;
    INVARIANT(owner_map_init(&m, PARTITIONS, NAMES_MAX) == 0);
    owner_map_set_audience(&m, 3, 1);
    return m;
}

/* All that from answers goes to to; what to has to answer is back. */
static void answer(struct owner_map *from, struct owner_map *to, const struct owner_map_diff *diff,
                   struct owner_map_diff *back)
{
    static uint8_t out[SIZE];
    const char *why;
    uint32_t at = 0, frames = 0;
    *back = (struct owner_map_diff){0};
    for (size_t len; (len = owner_map_put_answer(from, diff, &at, out, SIZE)) != 0; frames++) {
        struct owner_map_diff one;
        INVARIANT(len <= SIZE && frames < PARTITIONS);
        INVARIANT(owner_map_apply(to, troupe_bytes(out, len), &one, &why) == 0 && !one.ask);
        back->chunks[0] |= one.chunks[0];
        back->any |= one.any;
    }
}

static void check_sound(struct owner_map *m)
{
    static uint8_t out[SIZE];
    const char *why;
    struct owner_map_diff at_m, at_copy, none;
    struct owner_map copy = map_new(), told = map_new();
    uint32_t named = 0, refs = 0;
    size_t len = owner_map_put_digest(&copy, out, SIZE);
    INVARIANT(owner_map_apply(m, troupe_bytes(out, len), &at_m, &why) == 0);
    answer(m, &copy, &at_m, &at_copy);
    INVARIANT(!at_copy.any && owner_map_hash(&copy) == owner_map_hash(m));
    answer(&copy, m, &at_copy, &none);
    for (uint32_t pid = 0; pid < PARTITIONS; pid++) {
        struct owner owner = owner_map_get(m, pid);
        named += owner.name.len != 0;
        owner_map_set(&told, pid, owner.name, owner.epoch);
    }
    INVARIANT(owner_map_hash(&told) == owner_map_hash(m));
    for (uint32_t i = 0; i < NAMES_MAX; i++)
        refs += m->names.slots[i].refs;
    INVARIANT(refs == named);
    owner_map_close(&copy);
    owner_map_close(&told);
}

static void check_news(struct owner_map *m)
{
    static uint8_t out[SIZE];
    uint32_t frames = 0;
    for (; owner_map_has_news(m); frames++) {
        size_t len = owner_map_put_news(m, out, SIZE);
        INVARIANT(len > 0 && len <= SIZE && frames < PARTITIONS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owner_map m = map_new();
    struct owner_map_diff diff;
    uint64_t before[PARTITIONS];
    const char *why = NULL;
    for (uint32_t pid = 0; pid < PARTITIONS; pid++) {
        before[pid] = pid % 5;
        owner_map_set(&m, pid, troupe_bytes_of(pid % 3 == 0 ? "a" : "b"), before[pid]);
    }
    int rc = owner_map_apply(&m, troupe_bytes(data, size), &diff, &why);
    INVARIANT(rc == 0 || ((rc == TROUPE_EMALFORMED || rc == TROUPE_ELIMIT) && why != NULL));
    INVARIANT(rc == 0 || !diff.any);
    for (uint32_t pid; (pid = owner_map_next_change(&m)) != OWNER_MAP_NONE;)
        INVARIANT(owner_map_get(&m, pid).epoch >= before[pid]);
    check_news(&m);
    check_sound(&m);
    owner_map_close(&m);
    return 0;
}
