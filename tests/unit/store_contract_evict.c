/* The contract: evictions. A run is evicted only when it has not renewed for a TTL, by a run that
 * is active itself; whoever comes first has won, and the other is told. */
#include <string.h>

#include "tests/unit/random.h"
#include "tests/unit/store_contract_parts.h"

enum { ROUNDS = 40, SHORT_TTL_MS = 2 };

/* a can evict b: it has expired, and this is its row. */
static struct store_node expired_b(struct contract_store *s)
{
    contract_must_register(s, "a", 7);
    contract_must_register(s, "b", 8);
    contract_must_renew(s, "b", 1, SHORT_TTL_MS);
    return contract_wait_expired(s, "b");
}

static bool evicts(struct contract_store *s, struct store_node target)
{
    struct contract_request q;
    assert_int_equal(contract_evict(s, &q, "a", 1, &target), 0);
    contract_free(&q);
    return q.r.u.evict.evicted;
}

static void expired_runs_are_evicted(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    bed_open(&s, *state);
    bed_open(&t, *state);
    struct store_node b = expired_b(&s);
    uint64_t epoch = contract_must_claim(&t, "b", 1, 5);
    assert_true(evicts(&s, b));
    assert_true(evicts(&s, b)); /* a retry after an unknown outcome */
    b.renew_seq++;
    assert_true(evicts(&s, b)); /* it is dead: whatever the number */

    assert_int_equal(contract_renew(&t, &q, "b", 1), TROUPE_EFENCED);
    contract_free(&q);
    store_pid pid = 6;
    assert_int_equal(contract_claim(&t, &q, "b", 1, &pid, 1), TROUPE_EFENCED);
    contract_free(&q);
    struct store_node a = {.name = "a", .generation = 1};
    assert_int_equal(contract_evict(&t, &q, "b", 1, &a), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    assert_int_equal(q.r.u.renew.others_n, 0);
    contract_free(&q);
    assert_true(contract_find_node(&s, "b", &b));
    assert_int_equal(b.state, STORE_NODE_DEAD);

    assert_true(contract_must_claim(&s, "a", 1, 5) > epoch);
    assert_int_equal(contract_must_save(&t, "b", 1, contract_row(5, "x", epoch, 1, "late")), -1);
    assert_int_equal(contract_must_register(&t, "b", 9), 2);
    assert_false(evicts(&s, b)); /* that run is not there any more */
    contract_close(&s);
    contract_close(&t);
}

static void runs_that_live_are_not_evicted(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    struct store_node b = expired_b(&s), other = b;
    other.renew_seq = b.renew_seq - 1;
    assert_false(evicts(&s, other));
    other = b;
    other.generation = 2;
    assert_false(evicts(&s, other));
    other.generation = 0;
    assert_false(evicts(&s, other));
    other = b;
    other.name = "nobody";
    assert_false(evicts(&s, other));

    contract_must_renew(&s, "b", 1, SHORT_TTL_MS);
    contract_wait_expired(&s, "b");
    assert_false(evicts(&s, b)); /* expired once more, but it has renewed in between */
    contract_must_renew(&s, "b", 1, CONTRACT_TTL_MS);
    assert_true(contract_find_node(&s, "b", &b));
    assert_false(evicts(&s, b)); /* not expired */
    assert_int_equal(contract_renew(&s, &q, "b", 1), 0);
    contract_free(&q);

    assert_int_equal(contract_leave(&s, &q, "b", 1), 0);
    contract_free(&q);
    assert_false(evicts(&s, b)); /* it has left: that is not dead */
    assert_true(contract_find_node(&s, "b", &b));
    assert_int_equal(b.state, STORE_NODE_LEFT);
    contract_close(&s);
}

static int evicts_for(struct contract_store *s, const struct store_node *target,
                      enum store_evict_why why, bool *evicted)
{
    struct contract_request q;
    contract_init(&q, STORE_EVICT);
    q.r.u.evict = (struct store_evict){.name = "a",
                                       .generation = 1,
                                       .target = "b",
                                       .target_generation = target->generation,
                                       .target_renew_seq = target->renew_seq,
                                       .why = why};
    int rc = contract_do(s, &q);
    *evicted = q.r.u.evict.evicted;
    contract_free(&q);
    return rc;
}

/* Of a run whose process has ended nobody waits for its lease; but it must be that run. */
static void runs_that_are_gone_are_evicted(void **state)
{
    struct contract_store s;
    bool evicted;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    struct store_node b, old;
    assert_true(contract_find_node(&s, "b", &old));
    contract_must_renew(&s, "b", 1, CONTRACT_TTL_MS);
    assert_true(contract_find_node(&s, "b", &b));
    assert_false(evicts(&s, b));
    for (int round = 0; round < 3; round++) {
        struct store_node *target = round == 0 ? &old : &b; /* it renews; it is; and once more */
        assert_int_equal(evicts_for(&s, target, STORE_EVICT_GONE, &evicted), 0);
        assert_int_equal(evicted, round > 0);
    }
    assert_int_equal(evicts_for(&s, &b, (enum store_evict_why)9, &evicted), TROUPE_EINVAL);
    contract_close(&s);
}

/* Given up by an operator: it has left, though it could not say so; and so has one that was dead.
 */
static void runs_are_given_up_by_order(void **state)
{
    struct contract_store s;
    struct store_node b, old, unknown = {0};
    bool evicted;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    assert_int_equal(evicts_for(&s, &unknown, STORE_EVICT_ORDERED, &evicted), 0);
    assert_false(evicted); /* there is none */
    contract_must_register(&s, "b", 8);
    assert_true(contract_find_node(&s, "b", &old));
    contract_must_renew(&s, "b", 1, CONTRACT_TTL_MS);
    assert_true(contract_find_node(&s, "b", &b));
    assert_int_equal(evicts_for(&s, &old, STORE_EVICT_ORDERED, &evicted), 0);
    assert_false(evicted); /* it renews */
    assert_int_equal(evicts_for(&s, &unknown, STORE_EVICT_ORDERED, &evicted), 0);
    assert_false(evicted); /* it is active */
    uint64_t epoch = contract_must_claim(&s, "b", 1, 5);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(evicts_for(&s, &b, STORE_EVICT_ORDERED, &evicted), 0);
        assert_true(evicted);
        assert_true(contract_find_node(&s, "b", &b));
        assert_int_equal(b.state, STORE_NODE_LEFT);
    }
    assert_true(contract_must_claim(&s, "a", 1, 5) > epoch);

    assert_int_equal(contract_must_register(&s, "b", 9), 2);
    assert_int_equal(evicts_for(&s, &b, STORE_EVICT_ORDERED, &evicted), 0);
    assert_false(evicted); /* that is another run */
    assert_true(contract_find_node(&s, "b", &b));
    assert_int_equal(evicts_for(&s, &b, STORE_EVICT_GONE, &evicted), 0);
    assert_true(evicted);
    assert_int_equal(evicts_for(&s, &unknown, STORE_EVICT_ORDERED, &evicted), 0);
    assert_true(evicted); /* of its last run */
    assert_true(contract_find_node(&s, "b", &b));
    assert_int_equal(b.state, STORE_NODE_LEFT);
    contract_close(&s);
}

static void only_active_runs_evict(void **state)
{
    struct contract_store s;
    struct contract_request q;
    struct store_node b = {.name = "b", .generation = 1}, a;
    bed_open(&s, *state);
    assert_int_equal(contract_evict(&s, &q, "a", 1, &b), TROUPE_EFENCED); /* not even a cluster */
    contract_free(&q);
    b = expired_b(&s);
    assert_int_equal(contract_evict(&s, &q, "a", 2, &b), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_evict(&s, &q, "nobody", 1, &b), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_evict(&s, &q, "b", 1, &b), TROUPE_EINVAL); /* itself */
    contract_free(&q);
    b.renew_seq = UINT64_MAX;
    assert_int_equal(contract_evict(&s, &q, "a", 1, &b), TROUPE_EINVAL);
    contract_free(&q);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_true(contract_find_node(&s, "b", &b));
    assert_int_equal(contract_evict(&s, &q, "a", 1, &b), TROUPE_EFENCED);
    contract_free(&q);
    assert_true(contract_find_node(&s, "b", &b));
    assert_int_equal(b.state, STORE_NODE_ACTIVE);

    contract_must_renew(&s, "b", 1, CONTRACT_TTL_MS); /* the other way about, a has left */
    assert_true(contract_find_node(&s, "a", &a));
    assert_int_equal(contract_evict(&s, &q, "b", 1, &a), 0);
    assert_false(q.r.u.evict.evicted);
    contract_free(&q);
    contract_close(&s);
}

/* Sends an eviction, without waiting for it. */
static void begin_evict(struct contract_store *s, struct contract_request *q, const char *name,
                        uint64_t generation, const struct store_node *target)
{
    contract_init(q, STORE_EVICT);
    q->r.u.evict = (struct store_evict){.name = name,
                                        .generation = generation,
                                        .target = target->name,
                                        .target_generation = target->generation,
                                        .target_renew_seq = target->renew_seq};
    contract_submit(s, q);
}

/* b wakes up at the very moment at which a evicts it: one of them is too late and knows it. */
static void evictions_and_renewals_at_the_same_moment(void **state)
{
    struct contract_store s, t;
    struct contract_request evict, renew;
    struct dice dice = dice_new(0xE71C7);
    unsigned evicted = 0;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    uint64_t run = contract_must_register(&t, "b", 1);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        contract_must_renew(&t, "b", run, SHORT_TTL_MS);
        struct store_node b = contract_wait_expired(&s, "b");
        bool evict_first = dice_below(&dice, 2) == 0;
        contract_init(&renew, STORE_RENEW);
        renew.r.u.renew =
            (struct store_renew){.name = "b", .generation = run, .ttl_ms = CONTRACT_TTL_MS};
        if (evict_first)
            begin_evict(&s, &evict, "a", 1, &b);
        contract_submit(&t, &renew);
        if (!evict_first)
            begin_evict(&s, &evict, "a", 1, &b);
        if (dice_below(&dice, 2) == 0) /* in memory a handle works when it is waited for */
            contract_wait(&t, &renew);
        assert_int_equal(contract_wait(&s, &evict), 0);
        contract_wait(&t, &renew);
        bool gone = evict.r.u.evict.evicted;
        assert_int_equal(renew.r.error, gone ? TROUPE_EFENCED : 0);
        assert_true(contract_find_node(&s, "b", &b));
        assert_int_equal(b.state, gone ? STORE_NODE_DEAD : STORE_NODE_ACTIVE);
        if (gone)
            run = contract_must_register(&t, "b", 100 + i);
        evicted += gone;
        contract_free(&evict);
        contract_free(&renew);
    }
    print_message("evicted %u times of %d\n", evicted, ROUNDS);
    contract_close(&s);
    contract_close(&t);
}

enum { CIRCLE = 3 };

/* All think that the next one is dead, and say so at the same moment: each answer is right at its
 * turn, nobody waits for another in a circle, and somebody is left. */
static void circle_of_evictions(struct contract_store *s, size_t n, struct dice *dice)
{
    static const char *const names[CIRCLE] = {"a", "b", "c"};
    struct contract_request q[CIRCLE];
    struct store_node node[CIRCLE];
    size_t fenced = 0, evicted = 0, dead = 0, first = dice_below(dice, n);
    bool backwards = dice_below(dice, 2) == 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t run = contract_must_register(&s[i], names[i], dice_below(dice, INT64_MAX));
        contract_must_renew(&s[i], names[i], run, SHORT_TTL_MS);
    }
    for (size_t i = 0; i < n; i++)
        node[i] = contract_wait_expired(&s[0], names[i]);
    for (size_t k = 0; k < n; k++) {
        size_t i = (first + k) % n, target = (i + (backwards ? n - 1 : 1)) % n;
        begin_evict(&s[i], &q[i], names[i], node[i].generation, &node[target]);
    }
    for (size_t i = 0; i < n; i++) {
        int rc = contract_wait(&s[i], &q[i]);
        assert_true(rc == 0 || rc == TROUPE_EFENCED); /* above all: no deadlock */
        fenced += rc == TROUPE_EFENCED;
        evicted += rc == 0 && q[i].r.u.evict.evicted;
        contract_free(&q[i]);
    }
    for (size_t i = 0; i < n; i++) {
        struct store_node now;
        assert_true(contract_find_node(&s[0], names[i], &now));
        dead += now.state == STORE_NODE_DEAD;
        if (now.state == STORE_NODE_ACTIVE)
            assert_int_equal(contract_leave(&s[i], &q[i], names[i], now.generation), 0);
    }
    assert_int_equal(fenced + evicted, n);
    assert_int_equal(dead, evicted);
    assert_true(evicted >= 1 && evicted < n);
    if (n == 2)
        assert_int_equal(evicted, 1);
}

static void mutual_evictions_leave_somebody(void **state)
{
    struct contract_store s[CIRCLE];
    struct dice dice = dice_new(0xC12C1E);
    for (size_t i = 0; i < CIRCLE; i++)
        bed_open(&s[i], *state);
    for (uint64_t round = 0; round < ROUNDS; round++)
        circle_of_evictions(s, 2 + round % 2, &dice);
    for (size_t i = 0; i < CIRCLE; i++)
        contract_close(&s[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(expired_runs_are_evicted),
    cmocka_unit_test(runs_that_live_are_not_evicted),
    cmocka_unit_test(runs_that_are_gone_are_evicted),
    cmocka_unit_test(runs_are_given_up_by_order),
    cmocka_unit_test(only_active_runs_evict),
    cmocka_unit_test(evictions_and_renewals_at_the_same_moment),
    cmocka_unit_test(mutual_evictions_leave_somebody),
};

CONTRACT_PART(evict, tests);
