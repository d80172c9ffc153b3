/* The owner map, by chance: a few maps that are told things at random and gossip over a network
 * that loses, doubles and reorders, against an oracle; and input that was never written by a map.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/owner_map.h"
#include "random.h"
#include "troupe/error.h"

enum {
    MAPS_MAX = 6,
    FRAMES_MAX = 64, /* under way */
    SIZE = OWNER_MAP_PAYLOAD_BYTES_MAX,
    NAME_BYTES_MAX = OWNER_MAP_NAME_BYTES_MAX,
};

struct frame {
    uint32_t from, to;
    size_t len;
    uint8_t bytes[SIZE];
};

struct record {
    uint64_t epoch;
    char name[NAME_BYTES_MAX + 1];
};

struct world {
    struct dice dice;
    struct owner_map maps[MAPS_MAX];
    uint32_t maps_n, partitions;
    bool is_faulty;
    struct record oracle[PARTITIONS_MAX];
    struct frame frames[FRAMES_MAX];
    uint32_t frames_n;
};

static uint32_t below(struct world *w, uint64_t n)
{
    return (uint32_t)dice_below(&w->dice, n);
}

static void world_open(struct world *w, uint32_t maps_n, uint32_t partitions)
{
    memset(w->oracle, 0, sizeof w->oracle);
    w->maps_n = maps_n;
    w->partitions = partitions;
    w->is_faulty = true;
    w->frames_n = 0;
    for (uint32_t i = 0; i < maps_n; i++) {
        assert_int_equal(owner_map_init(&w->maps[i], partitions, 64), 0);
        owner_map_set_audience(&w->maps[i], maps_n, 3);
    }
}

static void world_close(struct world *w)
{
    for (uint32_t i = 0; i < w->maps_n; i++)
        owner_map_close(&w->maps[i]);
}

/* ---- the network ---- */

static void post(struct world *w, uint32_t from, uint32_t to, const uint8_t *bytes, size_t len)
{
    if (len == 0 || w->frames_n == FRAMES_MAX || (w->is_faulty && below(w, 4) == 0))
        return;
    struct frame *f = &w->frames[w->frames_n++];
    f->from = from;
    f->to = to;
    f->len = len;
    memcpy(f->bytes, bytes, len);
}

/* Any one of those under way; sometimes it stays there, to come again. */
static void deliver(struct world *w)
{
    static struct frame f;
    uint8_t out[SIZE];
    if (w->frames_n == 0)
        return;
    uint32_t i = w->is_faulty ? below(w, w->frames_n) : 0;
    f = w->frames[i];
    if (!w->is_faulty || below(w, 8) != 0)
        memmove(&w->frames[i], &w->frames[i + 1], (--w->frames_n - i) * sizeof f);
    struct owner_map_diff diff;
    const char *why;
    assert_int_equal(owner_map_apply(&w->maps[f.to], troupe_bytes(f.bytes, f.len), &diff, &why), 0);
    uint32_t at = 0;
    for (size_t len;
         diff.any && (len = owner_map_put_answer(&w->maps[f.to], &diff, &at, out, SIZE)) != 0;)
        post(w, f.to, f.from, out, len);
}

static void gossip(struct world *w)
{
    uint8_t out[SIZE];
    uint32_t from = below(w, w->maps_n), to = below(w, w->maps_n);
    struct owner_map *m = &w->maps[from];
    size_t size = below(w, 2) == 0 ? OWNER_MAP_PAYLOAD_BYTES_MIN : SIZE;
    if (owner_map_has_news(m) && below(w, 4) != 0)
        post(w, from, to, out, owner_map_put_news(m, out, size));
    else if (owner_map_hash(m) != owner_map_hash(&w->maps[to]))
        post(w, from, to, out, owner_map_put_digest(m, out, size));
}

/* ---- the oracle ---- */

static void oracle_set(struct world *w, uint32_t pid, const char *name, uint64_t epoch)
{
    struct record *r = &w->oracle[pid];
    if (epoch < r->epoch || (epoch == r->epoch && strcmp(name, r->name) <= 0))
        return;
    r->epoch = epoch;
    snprintf(r->name, sizeof r->name, "%s", name);
}

static uint64_t random_epoch(struct world *w)
{
    switch (below(w, 4)) {
    case 0:
        return below(w, 4);
    case 1:
        return ((uint64_t)below(w, 3) << 40) + below(w, 300);
    case 2:
        return OWNER_MAP_EPOCH_MAX - below(w, 2);
    default:
        return dice_throw(&w->dice) >> (1 + below(w, 63));
    }
}

/* Some claim of some node: a few partitions, at epochs that are one, or near, or anything. */
static void claim(struct world *w)
{
    struct owner_map *m = &w->maps[below(w, w->maps_n)];
    char name[NAME_BYTES_MAX + 1] = "";
    if (below(w, 10) != 0)
        snprintf(name, sizeof name, "%s%u", below(w, 2) == 0 ? "n" : "another-node-", below(w, 9));
    uint32_t n = 1 + below(w, below(w, 8) == 0 ? w->partitions : 9);
    uint32_t step = 1 + below(w, 3), pid = below(w, w->partitions);
    uint32_t spread = below(w, 3) == 0 ? 5 : 1;
    uint64_t epoch = random_epoch(w);
    for (uint32_t i = 0; i < n; i++, pid = (pid + step) % w->partitions) {
        uint64_t at = epoch - below(w, spread) % (epoch + 1);
        owner_map_set(m, pid, troupe_bytes_of(name), at);
        oracle_set(w, pid, name, at);
    }
}

static void assert_converged(struct world *w)
{
    for (uint32_t i = 0; i < w->maps_n; i++) {
        for (uint32_t pid = 0; pid < w->partitions; pid++) {
            struct owner owner = owner_map_get(&w->maps[i], pid);
            assert_int_equal(owner.epoch, w->oracle[pid].epoch);
            assert_true(troupe_bytes_equal(owner.name, troupe_bytes_of(w->oracle[pid].name)));
        }
        assert_int_equal(owner_map_hash(&w->maps[i]), owner_map_hash(&w->maps[0]));
        assert_int_equal(owner_map_refused(&w->maps[i]), 0);
    }
}

static bool agree(const struct world *w)
{
    for (uint32_t i = 1; i < w->maps_n; i++) {
        if (owner_map_hash(&w->maps[i]) != owner_map_hash(&w->maps[0]))
            return false;
    }
    return true;
}

static void test_converge(void **state)
{
    (void)state;
    static struct world w;
    w.dice = dice_new(20240817);
    for (uint32_t story = 0; story < 60; story++) {
        world_open(&w, 3 + story % 4, story % 20 == 0 ? PARTITIONS_MAX : 256U << below(&w, 5));
        for (uint32_t step = below(&w, 400); step > 0; step--) {
            if (below(&w, 5) == 0)
                claim(&w);
            gossip(&w);
            deliver(&w);
        }
        w.is_faulty = false;
        uint32_t steps = 0;
        for (; !agree(&w); steps++) {
            assert_in_range(steps, 0, 20000);
            gossip(&w);
            deliver(&w);
        }
        assert_converged(&w);
        world_close(&w);
    }
}

/* Each change that came in is handed to the driver, and nothing else is: who looks only at those
 * knows the map. The first map claims nothing itself, as that is not handed out. */
static void test_changes_are_enough(void **state)
{
    (void)state;
    static struct world w;
    static uint64_t seen[PARTITIONS_MAX];
    static char name[] = "n0";
    uint32_t changes = 0;
    memset(seen, 0, sizeof seen);
    w.dice = dice_new(99);
    world_open(&w, 3, 1024);
    for (uint32_t step = 0; step < 3000; step++) {
        struct owner_map *other = &w.maps[1 + below(&w, 2)];
        uint32_t pid = below(&w, w.partitions);
        name[1] = (char)('0' + below(&w, 9));
        for (uint32_t n = below(&w, 40); n > 0; n--, pid = (pid + 1) % w.partitions)
            owner_map_set(other, pid, troupe_bytes_of(name), step + 1);
        gossip(&w);
        deliver(&w);
        bool stops = false;
        while (!stops && (pid = owner_map_next_change(&w.maps[0])) != OWNER_MAP_NONE) {
            uint64_t epoch = owner_map_get(&w.maps[0], pid).epoch;
            assert_true(epoch > seen[pid]); /* several changes before it is handed out are one */
            seen[pid] = epoch;
            changes++;
            stops = below(&w, 40) == 0; /* the rest later */
        }
        if (stops)
            continue;
        for (pid = 0; pid < w.partitions; pid++)
            assert_int_equal(seen[pid], owner_map_get(&w.maps[0], pid).epoch);
    }
    assert_true(changes > w.partitions);
    world_close(&w);
}

/* ---- what no map has written ---- */

/* The map is sound if another one can get all of it. */
static void assert_sound(struct owner_map *m)
{
    static uint8_t out[SIZE];
    struct owner_map copy;
    struct owner_map_diff diff, none;
    const char *why;
    assert_int_equal(owner_map_init(&copy, m->partitions, 64), 0);
    size_t len = owner_map_put_digest(&copy, out, SIZE);
    assert_int_equal(owner_map_apply(m, troupe_bytes(out, len), &diff, &why), 0);
    for (uint32_t at = 0; diff.any && (len = owner_map_put_answer(m, &diff, &at, out, SIZE)) != 0;)
        assert_int_equal(owner_map_apply(&copy, troupe_bytes(out, len), &none, &why), 0);
    assert_int_equal(owner_map_hash(&copy), owner_map_hash(m));
    owner_map_close(&copy);
}

/* In a block of its very size, so that the sanitizer sees what is read beyond it. */
static void apply_copy(struct owner_map *m, const uint8_t *bytes, size_t len)
{
    struct owner_map_diff diff;
    const char *why = NULL;
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int rc = owner_map_apply(m, troupe_bytes(copy, len), &diff, &why);
    assert_true(rc == 0 || rc == TROUPE_EMALFORMED || rc == TROUPE_ELIMIT);
    assert_int_equal(rc != 0, why != NULL);
    assert_false(rc != 0 && diff.any);
    free(copy);
}

static size_t some_payload(struct world *w, uint8_t *out)
{
    struct owner_map *m = &w->maps[0];
    struct owner_map_diff diff = {.chunks = {dice_throw(&w->dice)}, .any = true, .ask = true};
    uint32_t at = 0;
    switch (below(w, 3)) {
    case 0:
        claim(w);
        return owner_map_put_news(m, out, OWNER_MAP_PAYLOAD_BYTES_MIN);
    case 1:
        return owner_map_put_digest(m, out, SIZE);
    default:
        return owner_map_put_answer(m, &diff, &at, out, OWNER_MAP_PAYLOAD_BYTES_MIN);
    }
}

static void test_truncated(void **state)
{
    (void)state;
    static struct world w;
    uint8_t out[SIZE];
    w.dice = dice_new(7);
    world_open(&w, 2, 512);
    for (int i = 0; i < 20; i++) {
        size_t len = some_payload(&w, out);
        for (size_t cut = 0; cut <= len; cut++)
            apply_copy(&w.maps[1], out, cut);
        assert_sound(&w.maps[1]);
    }
    world_close(&w);
}

static void test_garbage(void **state)
{
    (void)state;
    static struct world w;
    uint8_t out[SIZE];
    w.dice = dice_new(8);
    for (int story = 0; story < 20; story++) {
        world_open(&w, 2, 256);
        for (int i = 0; i < 300; i++) {
            size_t len = some_payload(&w, out);
            for (uint32_t flips = below(&w, 4); len > 2 && flips > 0; flips--)
                out[2 + below(&w, below(&w, 2) == 0 && len > 40 ? 38 : len - 2)] =
                    (uint8_t)dice_throw(&w.dice);
            if (below(&w, 10) == 0) {
                len = 2 + below(&w, 200);
                for (size_t at = 2; at < len; at++)
                    out[at] = (uint8_t)dice_throw(&w.dice);
            }
            apply_copy(&w.maps[1], out, len);
        }
        assert_sound(&w.maps[1]);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_converge),
        cmocka_unit_test(test_changes_are_enough),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
