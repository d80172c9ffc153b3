/* The ring: against a dumb oracle, and what it promises as properties. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/name.h"
#include "cluster/ring.h"
#include "cluster/ring_turn.h"
#include "random.h"
#include "troupe/error.h"

enum { MEMBERS_MAX = 1200 };

/* A set of members with room for their names. */
struct cast {
    struct ring_member members[MEMBERS_MAX];
    char names[MEMBERS_MAX][RING_NAME_BYTES_MAX + 1];
    uint32_t n;
};

static void cast_add(struct cast *c, const char *name, uint32_t weight, uint32_t zone)
{
    snprintf(c->names[c->n], sizeof c->names[c->n], "%s", name);
    c->members[c->n] = (struct ring_member){
        .name = troupe_bytes_of(c->names[c->n]), .weight = weight, .zone = zone};
    c->n++;
}

/* prefix0, prefix1 … */
static void cast_number(struct cast *c, const char *prefix, uint32_t n)
{
    char name[RING_NAME_BYTES_MAX + 1];
    for (c->n = 0; c->n < n;) {
        snprintf(name, sizeof name, "%s%u", prefix, c->n);
        cast_add(c, name, 1, 0);
    }
}

static void cast_random(struct cast *c, struct dice *d, uint32_t n, uint32_t weight_max,
                        uint32_t zones)
{
    char name[RING_NAME_BYTES_MAX + 1];
    for (c->n = 0; c->n < n;) {
        snprintf(name, sizeof name, "%llx",
                 (unsigned long long)(dice_throw(d) >> dice_below(d, 9)));
        cast_add(c, name, 1 + (uint32_t)dice_below(d, weight_max),
                 (uint32_t)dice_below(d, zones) * 1000);
    }
}

static void cast_shuffle(struct cast *c, struct dice *d)
{
    for (uint32_t i = c->n; i > 1; i--) {
        uint32_t j = (uint32_t)dice_below(d, i);
        struct ring_member m = c->members[i - 1];
        c->members[i - 1] = c->members[j];
        c->members[j] = m;
    }
}

static uint32_t cast_weights(const struct cast *c)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        sum += c->members[i].weight;
    return sum;
}

static struct ring ring_new(uint32_t partitions)
{
    struct ring ring;
    assert_int_equal(ring_init(&ring, partitions, MEMBERS_MAX), 0);
    return ring;
}

static void build(struct ring *ring, const struct cast *c)
{
    assert_int_equal(ring_build(ring, c->members, c->n), 0);
    assert_int_equal(ring_members(ring), c->n);
}

/* ---- the oracle ---- */

/* That member asks for that partition at that time. */
struct claim {
    uint32_t turn, sub, pid, member;
    uint64_t tie;
};

static int by_score(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    if (x->sub != y->sub)
        return x->sub < y->sub ? -1 : 1;
    return x->tie > y->tie ? -1 : x->tie < y->tie;
}

/* All claims there could be, best first. */
static struct claim *all_claims(const struct cast *c, unsigned bits, size_t *n)
{
    uint32_t partitions = UINT32_C(1) << bits;
    struct claim *claims = malloc(sizeof *claims * partitions * cast_weights(c));
    *n = 0;
    for (uint32_t m = 0; m < c->n; m++) {
        struct troupe_bytes name = c->members[m].name;
        uint64_t hash = XXH3_64bits_withSeed(name.data, name.len, RING_TURN_SEED);
        for (uint32_t sub = 0; sub < c->members[m].weight; sub++) {
            for (uint32_t turn = 0; turn < partitions; turn++) {
                uint32_t pid = ring_turn_pid(ring_turn_key(hash, sub), turn, bits);
                claims[(*n)++] = (struct claim){turn, sub, pid, m, ring_turn_tie(hash, pid)};
            }
        }
    }
    qsort(claims, *n, sizeof *claims, by_score);
    return claims;
}

static bool have_several_zones(const struct cast *c)
{
    for (uint32_t m = 1; m < c->n; m++) {
        if (c->members[m].zone != c->members[0].zone)
            return true;
    }
    return false;
}

/* owners and backups: indexes into the cast, or -1. */
static void oracle(const struct cast *c, unsigned bits, int *owners, int *backups)
{
    size_t n;
    struct claim *claims = all_claims(c, bits, &n);
    uint32_t shares[MEMBERS_MAX] = {0};
    for (uint32_t pid = 0; pid < UINT32_C(1) << bits; pid++)
        owners[pid] = backups[pid] = -1;
    for (size_t i = 0; i < n; i++) {
        uint32_t m = claims[i].member, pid = claims[i].pid;
        uint32_t cap = ring_cap(UINT32_C(1) << bits, c->members[m].weight, cast_weights(c));
        if (owners[pid] < 0 && shares[m] < cap) {
            owners[pid] = (int)m;
            shares[m]++;
        }
    }
    bool zones = have_several_zones(c);
    for (size_t i = 0; i < n; i++) {
        int m = (int)claims[i].member, o = owners[claims[i].pid];
        if (backups[claims[i].pid] < 0 && m != o &&
            (!zones || c->members[m].zone != c->members[o].zone))
            backups[claims[i].pid] = m;
    }
    free(claims);
}

static bool is_named(const struct ring *ring, uint32_t index, const struct cast *c, int member)
{
    if (index == RING_NONE || member < 0)
        return index == RING_NONE && member < 0;
    return troupe_bytes_equal(ring_name(ring, index), c->members[member].name);
}

static void agrees_with_the_oracle(void **state)
{
    (void)state;
    static struct cast c;
    static int owners[1024], backups[1024];
    struct dice d = dice_new(17);
    for (int round = 0; round < 120; round++) {
        unsigned bits = 8 + (unsigned)dice_below(&d, 3);
        struct ring ring = ring_new(UINT32_C(1) << bits);
        uint32_t n = (uint32_t)dice_below(&d, round % 10 == 0 ? 300 : 20);
        cast_random(&c, &d, n, round % 3 == 0 ? 5 : 1, 1 + (uint32_t)dice_below(&d, 4));
        build(&ring, &c);
        oracle(&c, bits, owners, backups);
        for (uint32_t pid = 0; pid < ring.partitions; pid++) {
            assert_true(is_named(&ring, ring_owner(&ring, pid), &c, owners[pid]));
            assert_true(is_named(&ring, ring_backup(&ring, pid), &c, backups[pid]));
        }
        ring_close(&ring);
    }
}

/* ---- properties ---- */

static void a_member_asks_for_each_partition_once(void **state)
{
    (void)state;
    static uint8_t seen[PARTITIONS_MAX];
    struct dice d = dice_new(3);
    for (unsigned bits = 8; bits <= 16; bits++) {
        for (int round = 0; round < 20; round++) {
            uint64_t key = dice_throw(&d);
            memset(seen, 0, sizeof seen);
            for (uint32_t turn = 0; turn < UINT32_C(1) << bits; turn++) {
                uint32_t pid = ring_turn_pid(key, turn, bits);
                assert_true(pid < UINT32_C(1) << bits);
                assert_int_equal(seen[pid]++, 0);
            }
        }
    }
}

/* A hash of who owns and backs up what, by name. */
static uint64_t hash_of(const struct ring *ring)
{
    uint64_t h = 0;
    for (uint32_t pid = 0; pid < ring->partitions; pid++) {
        uint32_t two[] = {ring_owner(ring, pid), ring_backup(ring, pid)};
        for (int i = 0; i < 2; i++) {
            if (two[i] == RING_NONE)
                h = XXH3_64bits_withSeed("", 0, h);
            else
                h = XXH3_64bits_withSeed(ring_name(ring, two[i]).data, ring_name(ring, two[i]).len,
                                         h);
        }
    }
    return h;
}

static void depends_on_the_set_alone(void **state)
{
    (void)state;
    static struct cast c;
    struct dice d = dice_new(23);
    struct ring ring = ring_new(4096), other = ring_new(4096);
    for (int round = 0; round < 30; round++) {
        cast_random(&c, &d, 2 + (uint32_t)dice_below(&d, 200), 4, 3);
        build(&ring, &c);
        uint64_t owners = hash_of(&ring), hash = ring_hash(&ring);
        cast_shuffle(&c, &d);
        assert_int_equal(ring_build_start(&other, c.members, c.n), 0);
        while (!ring_build_step(&other, 1 + (uint32_t)dice_below(&d, 700)))
            continue;
        assert_true(hash_of(&other) == owners && ring_hash(&other) == hash);
        struct ring_member *m = &c.members[dice_below(&d, c.n)];
        if (dice_below(&d, 2) == 0)
            m->zone++;
        else
            m->weight++;
        build(&other, &c);
        assert_true(ring_hash(&other) != hash);
    }
    ring_close(&ring);
    ring_close(&other);
}

static void nobody_is_over_its_cap(void **state)
{
    (void)state;
    static struct cast c;
    struct dice d = dice_new(31);
    for (int round = 0; round < 60; round++) {
        struct ring ring = ring_new(round % 2 == 0 ? 4096 : 256);
        uint32_t shares[MEMBERS_MAX] = {0};
        cast_random(&c, &d, 1 + (uint32_t)dice_below(&d, MEMBERS_MAX), round % 3 == 0 ? 100 : 1, 1);
        build(&ring, &c);
        for (uint32_t pid = 0; pid < ring.partitions; pid++)
            shares[ring_owner(&ring, pid)]++;
        for (uint32_t i = 0; i < c.n; i++) {
            uint32_t m = ring_find(&ring, c.members[i].name);
            assert_int_equal(ring_share(&ring, m), shares[m]);
            assert_true(shares[m] <=
                        ring_cap(ring.partitions, c.members[i].weight, cast_weights(&c)));
        }
        ring_close(&ring);
    }
}

static void caps_are_what_the_header_says(void **state)
{
    (void)state;
    assert_int_equal(ring_cap(4096, 1, 1), 4301); /* one has room for all */
    assert_int_equal(ring_cap(4096, 1, 3), 1434); /* 1.05 * 1365.33 */
    assert_int_equal(ring_cap(4096, 1, 16), 269); /* 256 + 12.8 */
    assert_int_equal(ring_cap(4096, 1, 32), 140); /* 128 + 12 */
    assert_int_equal(ring_cap(4096, 1, 128), 41); /* 32 + 8.49 */
    assert_int_equal(ring_cap(4096, 100, 300), 1434);
    assert_int_equal(ring_cap(65536, 1, 1), 68813);
    assert_int_equal(ring_cap(256, 1, 1638400), 1);
    for (uint32_t n = 1; n <= RING_MEMBERS_MAX; n++)
        assert_true((uint64_t)n * ring_cap(256, 1, n) >= 256);
}

/* Weights are kept where a hash can keep them: within the deviation that a share of that size has.
 */
static void shares_follow_weights(void **state)
{
    (void)state;
    static struct cast c;
    struct ring ring = ring_new(4096);
    c.n = 0;
    for (uint32_t i = 0; i < 10; i++)
        cast_add(&c, (char[]){'a', (char)('0' + i), 0}, i % 2 == 0 ? 30 : 10, 0);
    build(&ring, &c);
    for (uint32_t i = 0; i < c.n; i++) {
        uint32_t wanted = 4096 * c.members[i].weight / 200;
        uint32_t share = ring_share(&ring, ring_find(&ring, c.members[i].name));
        assert_true(share > wanted * 4 / 5 && share < wanted * 6 / 5);
    }
    ring_close(&ring);
}

static void backups_are_elsewhere(void **state)
{
    (void)state;
    static struct cast c;
    struct dice d = dice_new(41);
    struct ring ring = ring_new(4096);
    for (int round = 0; round < 60; round++) {
        uint32_t zones = 1 + (uint32_t)dice_below(&d, 4);
        cast_random(&c, &d, 2 + (uint32_t)dice_below(&d, 100), 3, zones);
        if (round % 4 == 0) { /* all but one in one zone */
            for (uint32_t i = 0; i < c.n; i++)
                c.members[i].zone = i == 0;
        }
        build(&ring, &c);
        for (uint32_t pid = 0; pid < 4096; pid++) {
            uint32_t owner = ring_owner(&ring, pid), backup = ring_backup(&ring, pid);
            assert_true(owner < c.n && backup < c.n && owner != backup);
            if (have_several_zones(&c))
                assert_true(ring_table(&ring)->nodes[owner].zone !=
                            ring_table(&ring)->nodes[backup].zone);
        }
    }
    ring_close(&ring);
}

/* ---- how much moves ---- */

/* The owner's place in the cast: indexes of the ring shift when somebody joins. */
static void owners_in_cast(const struct ring *ring, const struct cast *c, uint16_t *owners)
{
    uint16_t places[MEMBERS_MAX];
    for (uint32_t i = 0; i < c->n; i++)
        places[ring_find(ring, c->members[i].name)] = (uint16_t)i;
    for (uint32_t pid = 0; pid < ring->partitions; pid++)
        owners[pid] = places[ring_owner(ring, pid)];
}

/* The cast joins one by one, up to its n (leaving in the opposite order moves the same); the worst
 * ratio of partitions moved to the newcomer's share from 2 to `to` members. *mean: over all. */
static double grow(struct cast *c, uint32_t partitions, uint32_t to, double *mean)
{
    static uint16_t before[PARTITIONS_MAX], after[PARTITIONS_MAX];
    struct ring ring = ring_new(partitions);
    uint32_t all = c->n;
    double worst = 0, sum = 0;
    for (c->n = 1; c->n <= all; c->n++) {
        uint32_t moved = 0;
        build(&ring, c);
        owners_in_cast(&ring, c, after);
        for (uint32_t pid = 0; pid < partitions; pid++)
            moved += before[pid] != after[pid];
        memcpy(before, after, sizeof after);
        double ratio = (double)moved * cast_weights(c) / partitions / c->members[c->n - 1].weight;
        if (c->n == 1)
            continue;
        sum += ratio;
        if (c->n <= to && ratio > worst)
            worst = ratio;
    }
    ring_close(&ring);
    c->n = all;
    *mean = sum / (all - 1);
    return worst;
}

/* Names that clusters have, up to 100 members: the seed in ring.c sees to that. */
static void numbered_members_move_little(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"node-", "troupe-"};
    static struct cast c;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        double mean;
        cast_number(&c, prefixes[i], 100);
        double worst = grow(&c, 4096, 100, &mean);
        print_message("%s0 to 99: %.3f at worst, %.3f on average\n", prefixes[i], worst, mean);
        assert_true(worst <= 1.2 && mean <= 1.05);
    }
}

/* Names of any kind: as long as shares are 90 partitions or more; beyond, nearly. */
static void any_members_move_little(void **state)
{
    (void)state;
    static struct cast c;
    struct dice d = dice_new(59);
    for (int round = 0; round < 8; round++) {
        double mean, worst;
        cast_random(&c, &d, 100, 1, 1);
        worst = grow(&c, 4096, 45, &mean);
        print_message("random names: %.3f at worst up to 45, %.3f on average\n", worst, mean);
        assert_true(worst <= 1.2 && mean <= 1.05);
        if (round < 2)
            assert_true(grow(&c, 16384, 100, &mean) <= 1.2);
        assert_true(grow(&c, 4096, 100, &mean) <= 1.4);
    }
}

/* One in the middle leaves, whatever its weight. */
static void a_leave_moves_little(void **state)
{
    (void)state;
    static struct cast c;
    static uint16_t before[4096], after[4096];
    struct dice d = dice_new(67);
    struct ring ring = ring_new(4096);
    for (int round = 0; round < 300; round++) {
        uint32_t moved = 0;
        cast_random(&c, &d, 2 + (uint32_t)dice_below(&d, 19), 3, 1);
        build(&ring, &c);
        owners_in_cast(&ring, &c, before);
        uint32_t weights = cast_weights(&c), weight = c.members[c.n - 1].weight;
        c.n--;
        build(&ring, &c);
        owners_in_cast(&ring, &c, after);
        for (uint32_t pid = 0; pid < 4096; pid++)
            moved += before[pid] != after[pid];
        assert_true((uint64_t)moved * weights * 10 <= UINT64_C(4096) * weight * 12);
    }
    ring_close(&ring);
}

/* ---- the function never changes ---- */

/* Nodes of two versions must agree in a rolling upgrade: if this fails, the change moves everything
 * in every cluster. */
static void is_the_same_for_ever(void **state)
{
    (void)state;
    static struct cast c;
    struct ring ring = ring_new(4096);
    cast_number(&c, "troupe-", 3);
    build(&ring, &c);
    assert_int_equal(hash_of(&ring), UINT64_C(0xf0e687529ad7972c));
    assert_int_equal(ring_hash(&ring), UINT64_C(0xc2b46b5601b3fa9));
    cast_number(&c, "node-", 120);
    for (uint32_t i = 0; i < c.n; i++) {
        c.members[i].weight = 1 + i % 7;
        c.members[i].zone = i % 3;
    }
    build(&ring, &c);
    assert_int_equal(hash_of(&ring), UINT64_C(0xe0744fffda452dbe));
    ring_close(&ring);
}

/* ---- building ---- */

static void the_old_ring_stays_until_the_new_one_is_done(void **state)
{
    (void)state;
    static struct cast c;
    struct ring ring = ring_new(4096);
    cast_number(&c, "a", 5);
    build(&ring, &c);
    uint64_t owners = hash_of(&ring), hash = ring_hash(&ring);
    cast_number(&c, "b", 7);
    assert_int_equal(ring_build_start(&ring, c.members, c.n), 0);
    uint32_t steps = 0;
    while (!ring_build_step(&ring, 1000)) {
        assert_true(hash_of(&ring) == owners && ring_hash(&ring) == hash);
        if (++steps == 30) { /* somebody else has joined meanwhile: start again */
            cast_number(&c, "b", 8);
            assert_int_equal(ring_build_start(&ring, c.members, c.n), 0);
        }
    }
    assert_true(steps > 40);
    assert_int_equal(ring_members(&ring), 8);
    owners = hash_of(&ring);
    assert_true(ring_build_step(&ring, 1)); /* nothing to do */
    build(&ring, &c);
    assert_true(hash_of(&ring) == owners);
    ring_close(&ring);
}

static void few_members(void **state)
{
    (void)state;
    static struct cast c;
    struct ring ring = ring_new(256);
    assert_int_equal(ring_members(&ring), 0);
    assert_int_equal(ring_owner(&ring, 255), RING_NONE);
    cast_number(&c, "a", 1);
    build(&ring, &c);
    assert_int_equal(ring_owner(&ring, 255), 0);
    assert_int_equal(ring_backup(&ring, 255), RING_NONE);
    assert_int_equal(ring_share(&ring, 0), 256);
    assert_int_equal(ring_find(&ring, troupe_bytes_of("a0")), 0);
    assert_int_equal(ring_find(&ring, troupe_bytes_of("a")), RING_NONE);
    assert_int_equal(ring_find(&ring, troupe_bytes_of("")), RING_NONE);
    c.n = 0;
    build(&ring, &c);
    assert_int_equal(ring_owner(&ring, 0), RING_NONE);
    assert_int_equal(ring_find(&ring, troupe_bytes_of("a0")), RING_NONE);
    ring_close(&ring);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static struct cast c;
    struct ring ring = ring_new(256);
    cast_number(&c, "a", 3);
    build(&ring, &c);
    assert_int_equal(ring_build(&ring, c.members, MEMBERS_MAX + 1), TROUPE_ELIMIT);
    c.members[1].weight = 0;
    assert_int_equal(ring_build(&ring, c.members, 3), TROUPE_EINVAL);
    c.members[1].weight = RING_WEIGHT_MAX + 1;
    assert_int_equal(ring_build(&ring, c.members, 3), TROUPE_EINVAL);
    c.members[1].weight = 1;
    c.members[1].name = troupe_bytes("x", 0);
    assert_int_equal(ring_build(&ring, c.members, 3), TROUPE_EINVAL);
    c.members[1].name = troupe_bytes(c.names, RING_NAME_BYTES_MAX + 1);
    assert_int_equal(ring_build(&ring, c.members, 3), TROUPE_EINVAL);
    c.members[1].name = c.members[2].name;
    assert_int_equal(ring_build(&ring, c.members, 3), TROUPE_EINVAL);
    assert_true(ring_build_step(&ring, 1));
    assert_int_equal(ring_members(&ring), 3); /* still the first one */
    ring_close(&ring);
    assert_int_equal(ring_init(&ring, 1000, 1), TROUPE_EINVAL);
    assert_int_equal(ring_init(&ring, 256, RING_MEMBERS_MAX + 1), TROUPE_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_oracle),
        cmocka_unit_test(a_member_asks_for_each_partition_once),
        cmocka_unit_test(depends_on_the_set_alone),
        cmocka_unit_test(nobody_is_over_its_cap),
        cmocka_unit_test(caps_are_what_the_header_says),
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(backups_are_elsewhere),
        cmocka_unit_test(numbered_members_move_little),
        cmocka_unit_test(any_members_move_little),
        cmocka_unit_test(a_leave_moves_little),
        cmocka_unit_test(is_the_same_for_ever),
        cmocka_unit_test(the_old_ring_stays_until_the_new_one_is_done),
        cmocka_unit_test(few_members),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
