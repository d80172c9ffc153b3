/* The lease as its holder sees it, and the bookkeeping of what is owned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/lease.h"
#include "cluster/ownership.h"
#include "random.h"

#define MS UINT64_C(1000000)

static struct lease lease_new(bool fence)
{
    struct lease l;
    lease_init(&l, &(struct lease_config){.ttl_ns = 5000 * MS,
                                          .renew_ns = 1000 * MS,
                                          .outage_grace_ns = 600000 * MS,
                                          .outage_fence = fence});
    return l;
}

/* Clocks that agree but for ahead_ms. */
static const uint64_t WALL_MS = 1700000000000;
static int64_t ahead_ms;

static uint64_t wall(uint64_t now_ns)
{
    return (uint64_t)((int64_t)(WALL_MS + now_ns / MS) + ahead_ms);
}

static bool valid(struct lease *l, uint64_t now_ms)
{
    return lease_is_valid(l, now_ms * MS, wall(now_ms * MS));
}

static void grant(struct lease *l, uint64_t sent_ns, uint64_t now_ns)
{
    lease_ask(l, sent_ns, wall(sent_ns));
    lease_grant(l, now_ns, wall(now_ns));
}

static uint64_t send(struct lease *l, uint64_t now_ns)
{
    return lease_send(l, now_ns, wall(now_ns));
}

static bool renewed(struct lease *l, uint64_t now_ns, uint32_t others)
{
    return lease_renewed(l, now_ns, wall(now_ns), others);
}

static void counts_from_before_the_sending(void **state)
{
    (void)state;
    struct lease l = lease_new(true);
    assert_false(valid(&l, 1));
    grant(&l, 1000 * MS, 2500 * MS); /* the answer took 1.5 s */
    assert_true(valid(&l, 5499));
    assert_false(valid(&l, 5500)); /* 1000 + 5000 - 500 */
    assert_false(lease_renewal_is_due(&l, 1999 * MS));
    assert_true(lease_renewal_is_due(&l, 2000 * MS));
    assert_true(send(&l, 2500 * MS) == 5000 * MS);
    assert_false(lease_renewal_is_due(&l, 9000 * MS)); /* one at a time */
    renewed(&l, 6000 * MS, 1);
    assert_true(valid(&l, 6999));
    assert_false(valid(&l, 7000));
}

static void a_failed_renewal_is_tried_again_soon(void **state)
{
    (void)state;
    struct lease l = lease_new(true);
    grant(&l, 0, 0);
    send(&l, 1000 * MS);
    lease_failed(&l, 1200 * MS);
    assert_true(lease_renewal_is_due(&l, 1300 * MS));
    assert_true(valid(&l, 4499));
    assert_false(valid(&l, 4500));
    send(&l, 4600 * MS);
    renewed(&l, 4700 * MS, 0);
    assert_true(valid(&l, 9099));
}

/* Alone, it asks for a long lease, and only then relies on it. */
static void alone_it_outlives_the_store(void **state)
{
    (void)state;
    struct lease l = lease_new(false);
    grant(&l, 0, 0);
    assert_true(send(&l, 1000 * MS) == 5000 * MS);
    renewed(&l, 1000 * MS, 0);
    assert_false(valid(&l, 5500)); /* this one asked for the short time */
    assert_true(send(&l, 5600 * MS) == 600000 * MS);
    renewed(&l, 5600 * MS, 0);
    assert_true(valid(&l, 600000));
    assert_false(valid(&l, 605100));
    assert_true(send(&l, 605200 * MS) == 600000 * MS);
    renewed(&l, 605201 * MS, 1); /* company: back to the short time at once */
    assert_false(valid(&l, 609700));
    assert_true(lease_renewal_is_due(&l, 605201 * MS)); /* and the store is told */
    assert_true(send(&l, 609800 * MS) == 5000 * MS);
}

/* Who hears of another node does not wait for the next renewal to give up the long lease. */
static void company_ends_the_long_lease(void **state)
{
    (void)state;
    struct lease l = lease_new(false);
    grant(&l, 0, 0);
    send(&l, 0);
    renewed(&l, 0, 0);
    assert_false(lease_renewal_is_due(&l, 100 * MS));
    lease_company(&l, 100 * MS);
    assert_true(lease_renewal_is_due(&l, 100 * MS));
    assert_true(send(&l, 100 * MS) == 600000 * MS); /* whether it is there, the store tells */
    renewed(&l, 101 * MS, 1);
    assert_true(lease_renewal_is_due(&l, 101 * MS));
    assert_true(send(&l, 101 * MS) == 5000 * MS);
    renewed(&l, 102 * MS, 1);
    assert_false(lease_renewal_is_due(&l, 102 * MS));
    assert_true(lease_renewal_is_due(&l, 301 * MS)); /* they get to know each other */
    send(&l, 310 * MS);
    renewed(&l, 311 * MS, 1);
    assert_true(lease_renewal_is_due(&l, 510 * MS));
    send(&l, 1700 * MS);
    renewed(&l, 1701 * MS, 1);
    assert_false(lease_renewal_is_due(&l, 2699 * MS)); /* … and go on as ever */
    lease_company(&l, 2000 * MS);                      /* somebody else */
    assert_false(lease_renewal_is_due(&l, 2199 * MS));
    assert_true(lease_renewal_is_due(&l, 2200 * MS));
    send(&l, 2200 * MS);
    lease_failed(&l, 2201 * MS);
    lease_company(&l, 2202 * MS); /* a store that fails is not asked more often */
    assert_false(lease_renewal_is_due(&l, 2300 * MS));
}

static void fence_never_asks_for_long(void **state)
{
    (void)state;
    struct lease l = lease_new(true);
    grant(&l, 0, 0);
    send(&l, 1000 * MS);
    renewed(&l, 1000 * MS, 0);
    assert_true(send(&l, 2000 * MS) == 5000 * MS);
}

static void a_clock_jump_is_a_loss_until_renewed(void **state)
{
    (void)state;
    static const int64_t jumps[] = {500, -500, 3600000};
    for (size_t i = 0; i < 3; i++) {
        struct lease l = lease_new(true);
        ahead_ms = 0;
        grant(&l, 0, 0);
        assert_true(valid(&l, 100));
        ahead_ms = 300;
        assert_true(valid(&l, 200)); /* small: a clock is being set */
        ahead_ms = jumps[i];
        assert_false(valid(&l, 300));
        ahead_ms = 0;
        assert_false(valid(&l, 400)); /* jumping back does not help */
        assert_true(lease_renewal_is_due(&l, 400 * MS));
        ahead_ms = jumps[i];
        send(&l, 400 * MS);
        assert_true(renewed(&l, 500 * MS, 1));
        assert_true(valid(&l, 600));
        ahead_ms = 0;
        assert_false(valid(&l, 700)); /* a jump is one against the last renewal */
    }
}

/* The machine stood still, and CLOCK_BOOTTIME with it. What a renewal gave that was sent before is
 * over, whether the jump is noticed before its answer comes, by it, or is set right again. */
static void a_renewal_from_before_a_jump_counts_for_nothing(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) {
        struct lease l = lease_new(true);
        ahead_ms = 0;
        grant(&l, 0, 0);
        send(&l, 1000 * MS);
        ahead_ms = 60000;
        if (when > 0)
            assert_false(valid(&l, 1001));
        ahead_ms = when == 2 ? 0 : 60000;
        assert_false(renewed(&l, 1002 * MS, 1));
        assert_false(valid(&l, 1003));
        assert_true(lease_renewal_is_due(&l, 1003 * MS));
        send(&l, 1004 * MS);
        assert_true(renewed(&l, 1005 * MS, 1));
        assert_true(valid(&l, 1006));
        assert_false(valid(&l, 5504));
    }
    ahead_ms = 0;
}

/* Between two looks at the lease it may have stood still for a while more often than once. */
static void standing_still_adds_up(void **state)
{
    (void)state;
    struct lease l = lease_new(true);
    ahead_ms = 0;
    grant(&l, 0, 0);
    send(&l, 1000 * MS);
    ahead_ms = 300;
    assert_true(renewed(&l, 1010 * MS, 1));
    assert_true(valid(&l, 1020));
    ahead_ms = 600;
    assert_false(valid(&l, 1030));
    ahead_ms = 0;
}

static void a_registration_from_before_a_jump_gives_nothing(void **state)
{
    (void)state;
    struct lease l = lease_new(true);
    ahead_ms = 0;
    lease_ask(&l, 0, wall(0));
    ahead_ms = 60000;
    lease_grant(&l, 10 * MS, wall(10 * MS));
    assert_false(valid(&l, 10));
    assert_true(lease_renewal_is_due(&l, 10 * MS));
    send(&l, 11 * MS);
    assert_true(renewed(&l, 12 * MS, 1));
    assert_true(valid(&l, 13));
    ahead_ms = 0;
}

/* Nobody knows how long ago it was given, nor whether we had been evicted before. */
static void a_promise_does_not_undo_a_jump(void **state)
{
    (void)state;
    struct lease l = lease_new(false);
    ahead_ms = 0;
    grant(&l, 0, 0);
    lease_promised(&l, 1000 * MS);
    assert_true(valid(&l, 5000));
    ahead_ms = 60000;
    assert_false(valid(&l, 5001));
    lease_promised(&l, 5000 * MS);
    assert_false(valid(&l, 5002));
    lease_promised(&l, 5002 * MS);
    assert_false(valid(&l, 5003));
    send(&l, 5004 * MS);
    assert_true(renewed(&l, 5005 * MS, 1));
    lease_promised(&l, 5006 * MS);
    assert_true(valid(&l, 9505));
    ahead_ms = 0;
}

static void lost_is_lost(void **state)
{
    (void)state;
    struct lease l = lease_new(true);
    grant(&l, 0, 0);
    lease_lose(&l);
    assert_false(valid(&l, 1));
    assert_false(lease_renewal_is_due(&l, 100000 * MS));
    grant(&l, 2000 * MS, 2000 * MS);
    assert_true(valid(&l, 2001));
}

/* Something that may happen to a partition in its state; epochs: the store's. */
static void ownership_happen(struct ownership *o, struct dice *d, uint32_t pid, uint64_t *epochs)
{
    switch ((enum ownership_state)o->entries[pid].state) {
    case OWNERSHIP_FOREIGN:
    case OWNERSHIP_WANTED:
        if (dice_below(d, 10) == 0)
            ownership_take(o, pid, ++epochs[pid]);
        else if (dice_below(d, 2) == 0)
            ownership_want(o, pid);
        else
            ownership_unwant(o, pid);
        break;
    case OWNERSHIP_OWNED:
        if (dice_below(d, 2) == 0)
            ownership_freeze(o, pid);
        else
            ownership_lose(o, pid);
        break;
    case OWNERSHIP_FROZEN:
        if (dice_below(d, 2) == 0)
            ownership_give(o, pid, ++epochs[pid], 7);
        else
            ownership_thaw(o, pid);
        break;
    case OWNERSHIP_CLAIMING:
    case OWNERSHIP_STATES:
        break;
    }
}

static void ownership_is_consistent(const struct ownership *o, const uint64_t *epochs)
{
    uint32_t in[OWNERSHIP_STATES] = {0};
    for (uint32_t i = 0; i < o->partitions; i++) {
        const struct ownership_entry *e = &o->entries[i];
        in[e->state]++;
        assert_true(e->epoch <= epochs[i]); /* never ahead of the store … */
        if (ownership_is_held(o, i))        /* … nor behind it while it is ours */
            assert_true(e->epoch == epochs[i] && e->kept == epochs[i]);
    }
    assert_memory_equal(in, o->in, sizeof in);
    assert_int_equal(ownership_held(o), in[OWNERSHIP_OWNED] + in[OWNERSHIP_FROZEN]);
}

static void ownership_counts_are_right(void **state)
{
    (void)state;
    enum { N = 256 };
    struct dice d = dice_new(5);
    struct ownership o;
    uint32_t pids[N];
    uint64_t epochs[N] = {0};
    assert_int_equal(ownership_init(&o, N), 0);
    for (int round = 0; round < 5000; round++) {
        size_t n = ownership_ask(&o, pids, 1 + dice_below(&d, 40));
        for (size_t i = 0; i < n; i++) {
            assert_true(i == 0 || pids[i] > pids[i - 1]);
            uint64_t what = dice_below(&d, 3);
            if (what == 0)
                ownership_win(&o, pids[i], ++epochs[pids[i]]);
            else if (what == 1)
                ownership_miss(&o, pids[i]);
            else
                ownership_retry(&o, pids[i]);
        }
        for (int i = 0; i < 8; i++)
            ownership_happen(&o, &d, (uint32_t)dice_below(&d, N), epochs);
        uint32_t pid = (uint32_t)dice_below(&d, N);
        if (!ownership_is_held(&o, pid) && epochs[pid] > 0)
            ownership_learn(&o, pid, dice_below(&d, epochs[pid] + 1), 3);
        ownership_is_consistent(&o, epochs);
    }
    ownership_close(&o);
}

static void ownership_learns_what_is_newer(void **state)
{
    (void)state;
    struct ownership o;
    assert_int_equal(ownership_init(&o, 256), 0);
    assert_true(ownership_learn(&o, 9, 5, 1));
    assert_false(ownership_learn(&o, 9, 4, 2));
    assert_false(ownership_learn(&o, 9, 5, 1));
    assert_true(ownership_learn(&o, 9, 5, OWNERSHIP_NOBODY)); /* its owner is gone */
    assert_true(ownership_learn(&o, 9, 6, 2));
    assert_true(ownership_mentions(&o, 2) && !ownership_mentions(&o, 1));
    ownership_take(&o, 9, 7);
    assert_false(ownership_learn(&o, 9, 8, 1)); /* only the store takes it from us */
    ownership_lose(&o, 9);
    assert_int_equal(o.entries[9].kept, 7);
    assert_true(ownership_learn(&o, 9, 8, 1));
    assert_int_equal(o.entries[9].kept, 7); /* what we have is of the 7th */
    ownership_forget(&o, 9);
    assert_int_equal(o.entries[9].kept, 0);
    ownership_close(&o);
}

/* What the lease was given by is the store no more. */
static void a_void_lease_waits_for_a_renewal(void **state)
{
    (void)state;
    for (int counts = 0; counts < 2; counts++) {
        struct lease l = lease_new(false);
        grant(&l, 0, 0);
        send(&l, 1000 * MS);
        assert_true(valid(&l, 1100));
        lease_void(&l, 1100 * MS, counts != 0);
        assert_false(valid(&l, 1100));
        lease_promised(&l, 1100 * MS); /* nobody's word replaces the store's */
        assert_false(valid(&l, 1100));
        assert_int_equal(renewed(&l, 1200 * MS, 1), counts);
        assert_int_equal(valid(&l, 1200), counts);
        if (counts)
            continue;
        assert_true(lease_renewal_is_due(&l, 1200 * MS));
        send(&l, 1200 * MS);
        assert_true(renewed(&l, 1300 * MS, 1));
        assert_true(valid(&l, 1300));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_from_before_the_sending),
        cmocka_unit_test(a_failed_renewal_is_tried_again_soon),
        cmocka_unit_test(alone_it_outlives_the_store),
        cmocka_unit_test(company_ends_the_long_lease),
        cmocka_unit_test(fence_never_asks_for_long),
        cmocka_unit_test(a_clock_jump_is_a_loss_until_renewed),
        cmocka_unit_test(a_renewal_from_before_a_jump_counts_for_nothing),
        cmocka_unit_test(standing_still_adds_up),
        cmocka_unit_test(a_registration_from_before_a_jump_gives_nothing),
        cmocka_unit_test(a_promise_does_not_undo_a_jump),
        cmocka_unit_test(a_void_lease_waits_for_a_renewal),
        cmocka_unit_test(lost_is_lost),
        cmocka_unit_test(ownership_counts_are_right),
        cmocka_unit_test(ownership_learns_what_is_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
