/* The contract: who knows of whom. A name that becomes active gets a number, and each run says back
 * up to which number it has been told of the others. */
#include "tests/unit/store_contract_parts.h"

struct known {
    uint64_t joins; /* as the renewal tells */
    uint64_t seen;  /* of the only other run, as its row tells */
};

static struct known renew(struct contract_store *s, const char *name, uint64_t generation,
                          uint64_t seen)
{
    struct contract_request q;
    struct known known = {0};
    contract_init(&q, STORE_RENEW);
    q.r.u.renew = (struct store_renew){
        .name = name, .generation = generation, .ttl_ms = CONTRACT_TTL_MS, .seen = seen};
    assert_int_equal(contract_do(s, &q), 0);
    known.joins = q.r.u.renew.joins;
    if (q.r.u.renew.others_n == 1)
        known.seen = q.r.u.renew.others[0].seen;
    contract_free(&q);
    return known;
}

enum how { AS_IT_IS, SUPERSEDED, SUPERSEDED_GONE };

/* The number. */
static uint64_t join(struct contract_store *s, const char *name, uint64_t incarnation, enum how how)
{
    struct contract_request q;
    struct store_node row = {0};
    if (how != AS_IT_IS)
        assert_true(contract_find_node(s, name, &row));
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){.name = name,
                                        .incarnation = incarnation,
                                        .ttl_ms = CONTRACT_TTL_MS,
                                        .supersede = how != AS_IT_IS,
                                        .former_gone = how == SUPERSEDED_GONE,
                                        .supersede_generation = row.generation,
                                        .supersede_renew_seq = row.renew_seq};
    assert_int_equal(contract_do(s, &q), 0);
    contract_free(&q);
    return q.r.u.reg.joined;
}

static void each_name_that_joins_has_a_number(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    uint64_t a = join(&s, "a", 1, AS_IT_IS), b = join(&s, "b", 1, AS_IT_IS);
    assert_true(a > 0 && b > a);
    assert_int_equal(renew(&s, "a", 1, 0).joins, b);
    assert_int_equal(join(&s, "b", 1, AS_IT_IS), b); /* once more: its answer was lost */
    assert_int_equal(join(&s, "b", 2, SUPERSEDED_GONE), b);
    uint64_t again = join(&s, "b", 3, SUPERSEDED); /* that one may live, and say things */
    assert_true(again > b);
    assert_int_equal(contract_leave(&s, &q, "b", 3), 0);
    contract_free(&q);
    uint64_t back = join(&s, "b", 4, AS_IT_IS);
    assert_true(back > again);
    assert_int_equal(renew(&s, "a", 1, 0).joins, back);
    contract_close(&s);
}

static void a_run_says_what_it_has_seen(void **state)
{
    struct contract_store s;
    bed_open(&s, *state);
    join(&s, "a", 1, AS_IT_IS);
    uint64_t b = join(&s, "b", 1, AS_IT_IS);
    assert_int_equal(renew(&s, "a", 1, 0).joins, b);
    assert_int_equal(renew(&s, "b", 1, 0).seen, 0);
    renew(&s, "a", 1, b);
    assert_int_equal(renew(&s, "b", 1, 0).seen, b);
    join(&s, "a", 1, AS_IT_IS); /* its answer was lost: it is the same run */
    assert_int_equal(renew(&s, "b", 1, 0).seen, b);
    join(&s, "a", 2, SUPERSEDED_GONE);
    assert_int_equal(renew(&s, "b", 1, 0).seen, 0); /* this run has been told of nobody yet */
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_name_that_joins_has_a_number),
    cmocka_unit_test(a_run_says_what_it_has_seen),
};

CONTRACT_PART(joins, tests);
