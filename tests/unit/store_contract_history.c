/* The contract: the history of a partition, which tells how it came to its owners and forgets what
 * is long ago. (That it tells the truth about every change is the oracle's part.) */
#include <string.h>
#include <time.h>

#include "tests/unit/store_contract_parts.h"

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void assert_last(struct contract_store *s, store_pid pid, struct store_change want)
{
    struct contract_request q;
    assert_int_equal(contract_history(s, &q, pid), 0);
    assert_true(q.r.u.history.changes_n > 0);
    const struct store_change *last = &q.r.u.history.changes[0];
    assert_true(last->epoch == want.epoch);
    assert_string_equal(last->owner, want.owner);
    assert_string_equal(last->previous, want.previous);
    assert_int_equal(last->cause, want.cause);
    contract_free(&q);
}

static void leave_as(struct contract_store *s, const char *name, uint64_t generation, bool dead)
{
    struct contract_request q;
    contract_init(&q, STORE_LEAVE);
    q.r.u.leave = (struct store_leave){.name = name, .generation = generation, .dead = dead};
    assert_int_equal(contract_do(s, &q), 0);
    contract_free(&q);
}

static uint64_t transfer(struct contract_store *s, const char *name, uint64_t generation,
                         const char *to, uint64_t to_generation, enum store_cause cause,
                         uint64_t epoch)
{
    struct contract_request q;
    struct store_move move = {.pid = 5, .epoch = epoch};
    contract_init(&q, STORE_TRANSFER);
    q.r.u.transfer = (struct store_transfer){.name = name,
                                             .generation = generation,
                                             .to = to,
                                             .to_generation = to_generation,
                                             .cause = cause,
                                             .moves = &move,
                                             .moves_n = 1};
    assert_int_equal(contract_do(s, &q), 0);
    assert_int_equal(q.r.u.transfer.moved_n, 1);
    epoch = q.r.u.transfer.moved[0].epoch;
    contract_free(&q);
    return epoch;
}

static void every_cause_is_told(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 1);
    contract_must_register(&s, "b", 2);
    uint64_t e = contract_must_claim(&s, "a", 1, 5);
    assert_last(&s, 5, (struct store_change){e, "a", "", STORE_CAUSE_FIRST, 0});
    leave_as(&s, "a", 1, false);
    e = contract_must_claim(&s, "b", 1, 5);
    assert_last(&s, 5, (struct store_change){e, "b", "a", STORE_CAUSE_LEFT, 0});
    leave_as(&s, "b", 1, true);
    contract_must_register(&s, "a", 3);
    e = contract_must_claim(&s, "a", 2, 5);
    assert_last(&s, 5, (struct store_change){e, "a", "b", STORE_CAUSE_DEAD, 0});
    leave_as(&s, "a", 2, true);
    contract_must_register(&s, "a", 4);
    e = contract_must_claim(&s, "a", 3, 5);
    assert_last(&s, 5, (struct store_change){e, "a", "a", STORE_CAUSE_RESTART, 0});
    contract_must_register(&s, "b", 5);
    e = transfer(&s, "a", 3, "b", 2, STORE_CAUSE_JOIN, e);
    assert_last(&s, 5, (struct store_change){e, "b", "a", STORE_CAUSE_JOIN, 0});
    e = transfer(&s, "b", 2, "a", 3, STORE_CAUSE_DRAIN, e);
    assert_last(&s, 5, (struct store_change){e, "a", "b", STORE_CAUSE_DRAIN, 0});

    leave_as(&s, "a", 3, false);
    contract_must_register(&s, "a", 6); /* a is back before b looks */
    e = contract_must_claim(&s, "b", 2, 5);
    assert_last(&s, 5, (struct store_change){e, "b", "a", STORE_CAUSE_RESTART, 0});
    assert_int_equal(contract_history(&s, &q, 5), 0);
    assert_int_equal(q.r.u.history.changes_n, 7);
    contract_free(&q);
    contract_close(&s);
}

static void history_is_bounded_and_ordered(void **state)
{
    enum { CHANGES = 3 * STORE_HISTORY_MAX + 1 };
    struct contract_store s;
    struct contract_request q;
    uint64_t before = now_ms();
    bed_open(&s, *state);
    contract_must_register(&s, "a", 1);
    contract_must_register(&s, "b", 2);
    uint64_t first = contract_must_claim(&s, "a", 1, 5), e = first;
    for (uint64_t i = 1; i < CHANGES; i++) {
        e = i % 2 == 1 ? transfer(&s, "a", 1, "b", 1, STORE_CAUSE_JOIN, e)
                       : transfer(&s, "b", 1, "a", 1, STORE_CAUSE_DRAIN, e);
        assert_int_equal(contract_history(&s, &q, 5), 0);
        const struct store_history *h = &q.r.u.history;
        assert_int_equal(h->changes_n, i + 1 < STORE_HISTORY_MAX ? i + 1 : STORE_HISTORY_MAX);
        for (size_t k = 0; k < h->changes_n; k++) {
            assert_true(h->changes[k].epoch == e - k);
            assert_true(h->changes[k].at_ms + 1 >= before && h->changes[k].at_ms <= now_ms());
            assert_true(k == 0 || h->changes[k].at_ms <= h->changes[k - 1].at_ms);
            bool of_a = (i - k) % 2 == 0;
            assert_string_equal(h->changes[k].owner, of_a ? "a" : "b");
            assert_string_equal(h->changes[k].previous, i == k ? "" : of_a ? "b" : "a");
        }
        contract_free(&q);
    }
    contract_close(&s);
}

/* Only changes are in it: no retry, nothing that was not won, nothing of other partitions. */
static void what_changes_nothing_is_not_in_it(void **state)
{
    struct contract_store s;
    struct contract_request q;
    store_pid pids[] = {4, 5, 6};
    bed_open(&s, *state);
    assert_int_equal(contract_history(&s, &q, 5), 0); /* not even a cluster */
    assert_int_equal(q.r.u.history.changes_n, 0);
    contract_free(&q);
    contract_must_register(&s, "a", 1);
    contract_must_register(&s, "b", 2);
    uint64_t e = contract_must_claim(&s, "a", 1, 5);
    contract_must_claim(&s, "a", 1, 5);
    assert_int_equal(contract_claim(&s, &q, "b", 1, pids, 3), 0);
    contract_free(&q);
    for (int i = 0; i < 2; i++)
        transfer(&s, "a", 1, "b", 1, STORE_CAUSE_JOIN, e);
    struct store_move move = {.pid = 5, .epoch = e};
    assert_int_equal(contract_transfer(&s, &q, "a", 1, "nobody", 1, &move, 1), 0);
    contract_free(&q);
    static const size_t want[] = {0, 1, 2, 1, 0};
    for (store_pid pid = 3; pid < 8; pid++) {
        assert_int_equal(contract_history(&s, &q, pid), 0);
        assert_int_equal(q.r.u.history.changes_n, want[pid - 3]);
        contract_free(&q);
    }
    const store_pid beyond[] = {CONTRACT_PARTITIONS, INT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(contract_history(&s, &q, beyond[i]), 0);
        assert_int_equal(q.r.u.history.changes_n, 0);
        contract_free(&q);
    }
    contract_init(&q, STORE_HISTORY);
    q.r.u.history.pid = 5;
    arena_init(&q.arena, 16, 16);
    assert_int_equal(contract_do(&s, &q), TROUPE_ENOMEM);
    contract_free(&q);
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_cause_is_told),
    cmocka_unit_test(history_is_bounded_and_ordered),
    cmocka_unit_test(what_changes_nothing_is_not_in_it),
};

CONTRACT_PART(history, tests);
