/* The ring: how long it takes to build, and how long the longest slice of a build keeps the loop,
 * in the slices that a node takes (RING_SLICE; sorting the members is in the first). Members are
 * spread over three zones.
 *
 * Two references do the same job in the same run. Plain rendezvous hashing: every member's score
 * for every partition, best and next best, no caps; it is the simplest proposal there is, and not
 * as good. Sorting all claims: what the tests hold the ring against; it must have the same result.
 *
 * Builds are timed by the clock, slices by the thread's own time: the longest of hundreds would
 * only tell when another program had the processor. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cluster/ring.h"
#include "cluster/ring_turn.h"
#include "node/runtime/members.h"
#include "tools/bench/bench.h"

enum {
    PARTITIONS = 4096,
    PARTITION_BITS = 12,
    MEMBERS = 1000,
    ZONES = 3,
    BUILD_MS_MAX = 5,
    SLICE_MS_MAX = 5
};

_Static_assert(PARTITIONS == 1 << PARTITION_BITS, "as many as the bits tell");

static const uint32_t SIZES[] = {100, MEMBERS};
enum { SIZES_N = sizeof SIZES / sizeof SIZES[0] };

/* That member asks for that partition at that time. */
struct claim {
    uint32_t turn;
    uint16_t pid, member;
    uint64_t tie;
};

struct proposal {
    uint16_t owners[PARTITIONS], backups[PARTITIONS];
};

struct cast {
    struct ring_member members[MEMBERS];
    char names[MEMBERS][24];
    uint64_t hashes[MEMBERS];
    uint32_t n;
};

struct figures {
    struct figure *build, *same, *slice, *slices;
};

struct rings {
    struct bench *b;
    struct ring ring;
    struct cast cast;
    struct proposal proposal;
    struct claim *claims;
};

/* In the order of their names, as the ring has them. */
static void cast_fill(struct cast *c, uint32_t n)
{
    for (c->n = 0; c->n < n; c->n++) {
        char *name = c->names[c->n];
        snprintf(name, sizeof c->names[0], "troupe-%04u", c->n);
        c->members[c->n] =
            (struct ring_member){.name = troupe_bytes_of(name), .weight = 1, .zone = c->n % ZONES};
        c->hashes[c->n] = XXH3_64bits_withSeed(name, strlen(name), RING_TURN_SEED);
    }
}

/* ---- the references ---- */

static void rendezvous(const struct cast *c, struct proposal *p)
{
    for (uint32_t pid = 0; pid < PARTITIONS; pid++) {
        uint64_t best = 0, next = 0;
        for (uint32_t m = 0; m < c->n; m++) {
            uint64_t score = ring_turn_tie(c->hashes[m], pid);
            if (score > best) {
                next = best;
                p->backups[pid] = p->owners[pid];
                best = score;
                p->owners[pid] = (uint16_t)m;
            } else if (score > next) {
                next = score;
                p->backups[pid] = (uint16_t)m;
            }
        }
    }
}

static int by_score(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    return x->tie > y->tie ? -1 : x->tie < y->tie;
}

static size_t make_claims(const struct cast *c, struct claim *claims)
{
    size_t n = 0;
    for (uint32_t m = 0; m < c->n; m++) {
        uint64_t key = ring_turn_key(c->hashes[m], 0);
        for (uint32_t turn = 0; turn < PARTITIONS; turn++) {
            uint32_t pid = ring_turn_pid(key, turn, PARTITION_BITS);
            claims[n++] =
                (struct claim){turn, (uint16_t)pid, (uint16_t)m, ring_turn_tie(c->hashes[m], pid)};
        }
    }
    qsort(claims, n, sizeof *claims, by_score);
    return n;
}

static void sorted_claims(const struct cast *c, struct claim *claims, struct proposal *p)
{
    size_t n = make_claims(c, claims);
    uint32_t shares[MEMBERS] = {0}, cap = ring_cap(PARTITIONS, 1, c->n);
    memset(p, 0xff, sizeof *p); /* RING_NONE */
    for (size_t i = 0; i < n; i++) {
        uint16_t *owner = &p->owners[claims[i].pid], m = claims[i].member;
        if (*owner == RING_NONE && shares[m] < cap) {
            *owner = m;
            shares[m]++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t *backup = &p->backups[claims[i].pid], m = claims[i].member;
        if (*backup == RING_NONE && m % ZONES != p->owners[claims[i].pid] % ZONES)
            *backup = m;
    }
}

/* ---- measuring ---- */

static double thread_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* As a node builds it; how many slices it took. */
static uint32_t build_in_slices(struct rings *r, double *longest_ms)
{
    uint32_t slices = 0;
    bool done = false;
    while (!done) {
        double from_ms = thread_ms();
        if (slices++ == 0 && ring_build_start(&r->ring, r->cast.members, r->cast.n) != 0)
            return 0;
        done = ring_build_step(&r->ring, RING_SLICE);
        double ms = thread_ms() - from_ms;
        *longest_ms = ms > *longest_ms ? ms : *longest_ms;
    }
    return slices;
}

static int measure_ring(struct rings *r, struct figures *f)
{
    double from_s = now_s(), until_s = from_s + r->b->options->seconds / 2, longest_ms = 0;
    uint32_t slices = 0, builds = 0;
    do {
        slices = build_in_slices(r, &longest_ms);
        builds++;
    } while (slices > 0 && now_s() < until_s);
    if (slices == 0)
        return bench_fail(r->b, "the ring refuses its members");
    double ms = (now_s() - from_s) * 1e3 / builds;
    series_add(&f->build->measured, ms);
    series_add(&f->same->measured, ms);
    series_add(&f->slice->measured, longest_ms);
    series_add(&f->slices->measured, slices);
    return 0;
}

static int measure_references(struct rings *r, struct figures *f)
{
    double from_s = now_s();
    rendezvous(&r->cast, &r->proposal);
    series_add(&f->build->limit, (now_s() - from_s) * 1e3);
    from_s = now_s();
    sorted_claims(&r->cast, r->claims, &r->proposal);
    series_add(&f->same->limit, (now_s() - from_s) * 1e3);
    for (uint32_t pid = 0; pid < PARTITIONS; pid++) {
        if (ring_owner(&r->ring, pid) != r->proposal.owners[pid] ||
            ring_backup(&r->ring, pid) != r->proposal.backups[pid])
            return bench_fail(r->b, "ring and sorted claims differ in partition %u", pid);
    }
    return 0;
}

static int measure(struct rings *r, struct figures figures[SIZES_N])
{
    for (uint32_t round = 0; round < r->b->options->rounds; round++) {
        bench_say("ring %s", bench_round(r->b, round));
        for (size_t i = 0; i < SIZES_N; i++) {
            cast_fill(&r->cast, SIZES[i]);
            if (measure_ring(r, &figures[i]) != 0 || measure_references(r, &figures[i]) != 0)
                return -1;
        }
    }
    return 0;
}

static struct figures add_figures(struct report *report, uint32_t n)
{
    struct figures f;
    f.build = report_add(report, "ms", "ring: of %u members, built in slices", n);
    figure_limit(f.build, "plain rendezvous, no caps");
    if (n == SIZES[0])
        figure_target(f.build, TARGET_AT_MOST, BUILD_MS_MAX);
    f.same = report_add(report, "ms", "ring: the same");
    figure_limit(f.same, "sorting all claims");
    f.slices = report_add(report, "slices", "ring: of %u members, slices of a build", n);
    f.slice = report_add(report, "ms", "ring: of %u members, longest slice", n);
    figure_target(f.slice, TARGET_AT_MOST, SLICE_MS_MAX);
    return f;
}

int bench_ring(struct bench *b)
{
    struct figures figures[SIZES_N];
    struct rings *r = calloc(1, sizeof *r);
    if (r == NULL)
        return bench_fail(b, "out of memory");
    for (size_t i = 0; i < SIZES_N; i++)
        figures[i] = add_figures(&b->report, SIZES[i]);
    r->b = b;
    r->claims = calloc((size_t)MEMBERS * PARTITIONS, sizeof *r->claims);
    int rc = -1;
    if (r->claims == NULL || ring_init(&r->ring, PARTITIONS, MEMBERS) != 0)
        bench_fail(b, "out of memory");
    else
        rc = measure(r, figures);
    ring_close(&r->ring);
    free(r->claims);
    free(r);
    return rc;
}
