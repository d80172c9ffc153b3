/* The contract: kinds. What a node tells of its own goes about with renewals; what the cluster
 * remembers is set by who knows what it was, and is active. */
#include <string.h>

#include "tests/unit/store_contract_parts.h"

static int renew(struct contract_store *s, struct contract_request *q, const char *name,
                 const char *kinds)
{
    contract_init(q, STORE_RENEW);
    q->r.u.renew = (struct store_renew){
        .name = name, .generation = 1, .ttl_ms = CONTRACT_TTL_MS, .kinds = kinds};
    return contract_do(s, q);
}

static int set(struct contract_store *s, const char *name, uint64_t generation, const char *was,
               const char *is, bool *done)
{
    struct contract_request q;
    contract_init(&q, STORE_KINDS);
    q.r.u.kinds =
        (struct store_kinds){.name = name, .generation = generation, .was = was, .is = is};
    int rc = contract_do(s, &q);
    *done = q.r.u.kinds.done;
    contract_free(&q);
    return rc;
}

static void kinds_go_about(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    assert_int_equal(renew(&s, &q, "a", "1;x:2"), 0);
    assert_int_equal(q.r.u.renew.others_n, 1);
    assert_string_equal(q.r.u.renew.others[0].kinds, "");
    assert_string_equal(q.r.u.renew.kinds_open, "");
    contract_free(&q);
    for (int i = 0; i < 2; i++) { /* it stays without being said again */
        assert_int_equal(renew(&s, &q, "b", NULL), 0);
        assert_string_equal(q.r.u.renew.others[0].kinds, "1;x:2");
        contract_free(&q);
        assert_int_equal(renew(&s, &q, "a", NULL), 0);
        contract_free(&q);
    }
    contract_close(&s);
}

static void kinds_are_compared_and_set(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    bool done;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&t, "b", 8);
    assert_int_equal(set(&s, "a", 1, "", "x:0", &done), 0);
    assert_true(done);
    assert_int_equal(set(&t, "b", 1, "", "y:0", &done), 0);
    assert_false(done);
    assert_int_equal(renew(&t, &q, "b", NULL), 0);
    assert_string_equal(q.r.u.renew.kinds_open, "x:0");
    contract_free(&q);
    assert_int_equal(set(&t, "b", 1, "x:0", "x:0,y:0", &done), 0);
    assert_true(done);
    assert_int_equal(set(&s, "a", 2, "x:0,y:0", "", &done), TROUPE_EFENCED);
    assert_int_equal(renew(&s, &q, "a", NULL), 0);
    assert_string_equal(q.r.u.renew.kinds_open, "x:0,y:0");
    contract_free(&q);
    assert_int_equal(set(&s, "a", 1, "x:0,y:0", "", &done), 0);
    assert_true(done);
    contract_close(&s);
    contract_close(&t);
}

static void long_kinds_are_kept(void **state)
{
    static char text[STORE_KINDS_BYTES_MAX + 2];
    struct contract_store s;
    struct contract_request q;
    bool done;
    memset(text, 'x', STORE_KINDS_BYTES_MAX + 1);
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    assert_int_equal(set(&s, "a", 1, "", text, &done), TROUPE_EINVAL);
    assert_int_equal(renew(&s, &q, "a", text), TROUPE_EINVAL);
    contract_free(&q);
    text[STORE_KINDS_BYTES_MAX] = '\0';
    assert_int_equal(set(&s, "a", 1, "", text, &done), 0);
    assert_true(done);
    assert_int_equal(renew(&s, &q, "a", text), 0);
    assert_string_equal(q.r.u.renew.kinds_open, text);
    contract_free(&q);
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(kinds_go_about),
    cmocka_unit_test(kinds_are_compared_and_set),
    cmocka_unit_test(long_kinds_are_kept),
};

CONTRACT_PART(kinds, tests);
