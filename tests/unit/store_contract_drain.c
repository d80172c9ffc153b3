/* The contract: what a row tells of a run beside its lease. Drains are compared and set: of all
 * nodes, however they hurry, one stays. For how long it may serve without the store stands there
 * for the others. And a clock that is set back keeps nobody's lease alive. */
#include <string.h>

#include "tests/unit/store_contract_parts.h"

enum { DAY_MS = 86400000, SHORT_TTL_MS = 2, NODES = 3, ROUNDS = 20 };

static const char *const names[NODES] = {"a", "b", "c"};

/* Whether it drains, or has taken it back, now. */
static bool drains(struct contract_store *s, const char *name, bool drain)
{
    struct contract_request q;
    struct store_node node;
    assert_int_equal(contract_drain(s, &q, name, 1, drain), 0);
    contract_free(&q);
    assert_true(contract_find_node(s, name, &node));
    assert_true(q.r.u.drain.refused == (node.draining != drain));
    return !q.r.u.drain.refused;
}

static void the_last_one_does_not_drain(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    assert_false(drains(&s, "a", true)); /* alone */
    assert_true(drains(&s, "a", false));
    contract_must_register(&s, "b", 8);
    assert_true(drains(&s, "a", true));
    assert_true(drains(&s, "a", true)); /* a retry */
    assert_false(drains(&s, "b", true));
    assert_int_equal(contract_renew(&s, &q, "b", 1), 0);
    assert_int_equal(q.r.u.renew.others_n, 1);
    assert_true(q.r.u.renew.others[0].draining);
    contract_free(&q);
    assert_true(drains(&s, "a", false));
    assert_true(drains(&s, "b", true));
    contract_must_register(&s, "c", 9);
    assert_true(drains(&s, "a", true));
    contract_must_renew(&s, "c", 1, SHORT_TTL_MS);
    contract_wait_expired(&s, "c");
    assert_true(drains(&s, "a", false));
    assert_false(drains(&s, "a", true)); /* c may be dead */
    contract_close(&s);
}

static void only_active_runs_drain(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    assert_int_equal(contract_drain(&s, &q, "a", 1, true), TROUPE_EFENCED); /* not even a cluster */
    contract_free(&q);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    assert_int_equal(contract_drain(&s, &q, "a", 2, true), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_drain(&s, &q, "nobody", 1, true), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_leave(&s, &q, "b", 1), 0);
    contract_free(&q);
    assert_int_equal(contract_drain(&s, &q, "b", 1, true), TROUPE_EFENCED);
    contract_free(&q);
    assert_false(drains(&s, "a", true)); /* b has left */
    contract_close(&s);
}

static void all_drain_at_the_same_moment(void **state)
{
    struct contract_store s[NODES];
    struct contract_request q[NODES];
    for (size_t i = 0; i < NODES; i++) {
        bed_open(&s[i], *state);
        contract_must_register(&s[i], names[i], 7 + i);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t refused = 0;
        for (size_t i = 0; i < NODES; i++) {
            contract_init(&q[i], STORE_DRAIN);
            q[i].r.u.drain = (struct store_drain){.name = names[i], .generation = 1, .drain = true};
            contract_submit(&s[i], &q[i]);
        }
        for (size_t i = 0; i < NODES; i++) {
            int rc = contract_wait(&s[i], &q[i]);
            assert_int_equal(rc, 0);
            refused += q[i].r.u.drain.refused;
            contract_free(&q[i]);
        }
        assert_int_equal(refused, 1);
        for (size_t i = 0; i < NODES; i++)
            assert_true(drains(&s[i], names[i], false));
    }
    for (size_t i = 0; i < NODES; i++)
        contract_close(&s[i]);
}

static int registers(struct contract_store *s, struct contract_request *q, uint64_t incarnation,
                     uint32_t outage_ms, bool draining)
{
    contract_init(q, STORE_REGISTER);
    q->r.u.reg = (struct store_register){.name = "a",
                                         .incarnation = incarnation,
                                         .addr = "a:1",
                                         .proof = "",
                                         .ttl_ms = CONTRACT_TTL_MS,
                                         .outage_ms = outage_ms,
                                         .draining = draining};
    return contract_do(s, q);
}

static void rows_tell_of_outages(void **state)
{
    static const uint32_t outages[] = {0, 12000, UINT32_MAX - 1, STORE_OUTAGE_UNKNOWN};
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "b", 8);
    for (size_t i = 0; i < sizeof outages / sizeof outages[0]; i++) {
        struct store_node a;
        assert_int_equal(registers(&s, &q, 7, outages[i], i == 1), 0);
        contract_free(&q);
        assert_int_equal(registers(&s, &q, 9, 1, false), TROUPE_EBUSY);
        assert_int_equal(q.r.u.reg.holder.outage_ms, outages[i]);
        assert_true(q.r.u.reg.holder.draining == (i == 1));
        contract_free(&q);
        assert_int_equal(contract_renew(&s, &q, "b", 1), 0);
        assert_int_equal(q.r.u.renew.others_n, 1);
        assert_int_equal(q.r.u.renew.others[0].outage_ms, outages[i]);
        contract_free(&q);
        assert_true(contract_find_node(&s, "a", &a));
        assert_int_equal(a.outage_ms, outages[i]);
        assert_true(a.draining == (i == 1));
    }
    contract_close(&s);
}

/* The row of b was written when the clock was a day ahead. */
static void a_clock_that_was_ahead_keeps_no_lease(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    struct store_node b;
    if (bed->fixture->set_back == NULL)
        skip();
    bed_open(&s, bed);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    bed->fixture->set_back(bed->fixture, bed->url, "c", "b", CONTRACT_TTL_MS / 2);
    assert_true(contract_find_node(&s, "b", &b));
    assert_false(b.expired); /* as if it had been written now */
    assert_int_equal(b.age_ms, 0);
    contract_must_renew(&s, "b", 1, CONTRACT_TTL_MS);
    bed->fixture->set_back(bed->fixture, bed->url, "c", "b", DAY_MS);
    contract_must_renew(&s, "a", 1, CONTRACT_TTL_MS);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    assert_int_equal(q.r.u.renew.others_n, 1);
    assert_true(q.r.u.renew.others[0].expired);
    contract_free(&q);
    assert_int_equal(contract_register(&s, &q, "b", 9), TROUPE_EBUSY);
    assert_true(q.r.u.reg.holder.expired);
    contract_free(&q);
    assert_true(contract_find_node(&s, "b", &b));
    assert_true(b.expired);
    assert_int_equal(contract_evict(&s, &q, "a", 1, &b), 0);
    assert_true(q.r.u.evict.evicted);
    contract_free(&q);
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_last_one_does_not_drain),
    cmocka_unit_test(only_active_runs_drain),
    cmocka_unit_test(all_drain_at_the_same_moment),
    cmocka_unit_test(rows_tell_of_outages),
    cmocka_unit_test(a_clock_that_was_ahead_keeps_no_lease),
};

CONTRACT_PART(drain, tests);
