/* The memory store: the contract, with a loop and without, and what memory.h adds to it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/memory/memory.h"
#include "tests/unit/store_contract_parts.h"

/* ---- the fixtures ---- */

/* A shared database lives as long as a handle is open: the fixture holds one over the test. */
struct memory_fixture {
    struct contract_store anchor;
    unsigned n;
};

static void memory_create(const struct store_fixture *fixture, char url[CONTRACT_URL_BYTES])
{
    struct memory_fixture *f = fixture->data;
    snprintf(url, CONTRACT_URL_BYTES, "memory:contract-%u", f->n++);
    contract_open(&f->anchor, fixture, url, "c", CONTRACT_PARTITIONS);
}

static void memory_destroy(const struct store_fixture *fixture, const char *url)
{
    struct memory_fixture *f = fixture->data;
    (void)url;
    contract_close(&f->anchor);
}

static void memory_evict(const struct store_fixture *fixture, const char *url, const char *cluster,
                         const char *name)
{
    struct memory_fixture *f = fixture->data;
    (void)url;
    assert_string_equal(cluster, "c");
    assert_true(store_memory_evict(f->anchor.store, name));
}

static uint64_t back_ms;

static uint64_t clock_back(void *data)
{
    struct timespec now;
    (void)data;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 - back_ms;
}

static void memory_set_back(const struct store_fixture *fixture, const char *url,
                            const char *cluster, const char *name, uint64_t ms)
{
    struct memory_fixture *f = fixture->data;
    (void)url, (void)cluster, (void)name;
    back_ms = ms;
    store_memory_set_clock(f->anchor.store, clock_back, NULL);
}

/* ---- what memory.h adds ---- */

static const struct store_fixture plain = {.name = "memory"}, polled = {.without_loop = true};

static void open_both(struct contract_store *s, struct contract_store *t, const char *url)
{
    contract_open(s, &polled, url, "c", CONTRACT_PARTITIONS);
    contract_open(t, &plain, url, "c", CONTRACT_PARTITIONS);
}

static void names_are_shared_until_the_last_close(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    (void)state;
    open_both(&s, &t, "memory:shared");
    assert_int_equal(contract_must_register(&s, "a", 1), 1);
    assert_int_equal(contract_register(&t, &q, "a", 2), TROUPE_EBUSY);
    contract_free(&q);
    contract_close(&s);
    assert_int_equal(contract_register(&t, &q, "a", 2), TROUPE_EBUSY);
    contract_free(&q);
    contract_close(&t);
    contract_open(&s, &plain, "memory:shared", "c", CONTRACT_PARTITIONS);
    assert_int_equal(contract_must_register(&s, "a", 3), 1); /* begun anew */
    contract_close(&s);

    open_both(&s, &t, "memory:");
    assert_int_equal(contract_must_register(&s, "a", 1), 1);
    assert_int_equal(contract_must_register(&t, "a", 2), 1); /* each has its own */
    contract_close(&s);
    contract_close(&t);
}

static uint64_t test_clock(void *data)
{
    return *(const uint64_t *)data;
}

static void the_clock_can_be_set(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    char uid[2][STORE_UID_BYTES + 1];
    uint64_t now = 1000000000;
    (void)state;
    for (int i = 0; i < 2; i++) { /* the same story twice, down to the uid */
        open_both(&s, &t, "memory:clock");
        store_memory_set_clock(t.store, test_clock, &now);
        assert_int_equal(contract_register(&s, &q, "a", 1), 0);
        memcpy(uid[i], q.r.u.reg.cluster_uid, sizeof uid[i]);
        contract_free(&q);
        assert_int_equal(contract_must_register(&t, "b", 2), 1);
        now += CONTRACT_TTL_MS;
        assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
        assert_int_equal(q.r.u.renew.others[0].age_ms, CONTRACT_TTL_MS);
        assert_false(q.r.u.renew.others[0].expired);
        contract_free(&q);
        now += 1;
        assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
        assert_true(q.r.u.renew.others[0].expired);
        contract_free(&q);
        assert_int_equal(contract_renew(&t, &q, "b", 1), 0);
        contract_free(&q);
        now -= CONTRACT_TTL_MS; /* a clock that is set back a little makes nobody expire */
        assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
        assert_int_equal(q.r.u.renew.others[0].age_ms, 0);
        assert_false(q.r.u.renew.others[0].expired);
        contract_free(&q);
        contract_close(&s);
        contract_close(&t);
    }
    assert_string_equal(uid[0], uid[1]);
}

/* Neither an epoch nor a generation comes twice, though the standby has not seen the first time. */
static void a_failover_repeats_nothing(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    (void)state;
    open_both(&s, &t, "memory:failover");
    assert_int_equal(contract_must_register(&s, "a", 1), 1);
    uint64_t first = contract_must_claim(&s, "a", 1, 5);
    assert_true(store_memory_keep(s.store));
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_int_equal(contract_must_register(&s, "a", 2), 2);
    uint64_t second = contract_must_claim(&s, "a", 2, 5);
    assert_true(second > first);
    store_memory_fail_over(s.store);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    uint64_t generation = contract_must_register(&s, "a", 3);
    assert_true(generation > 2);
    assert_true(contract_must_claim(&s, "a", generation, 5) > second);
    contract_close(&s);
    contract_close(&t);
}

static struct store_memory_fault test_fault(void *data, const struct store_request *request)
{
    struct store_memory_fault *fault = data;
    return request->op == STORE_SAVE ? *fault : (struct store_memory_fault){0};
}

static void faults_before_and_after_applying(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    struct store_memory_fault fault = {.error = TROUPE_EUNAVAILABLE};
    (void)state;
    open_both(&s, &t, "memory:fault");
    contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    struct store_row row = contract_row(5, "x", epoch, 1, "s");
    store_memory_set_fault(s.store, test_fault, &fault);
    contract_init(&q, STORE_SAVE);
    q.r.u.save = (struct store_save){.name = "a", .generation = 1, .rows = &row, .rows_n = 1};
    struct contract_request found;

    contract_submit(&s, &q);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
    assert_false(contract_must_load(&s, &found, 5, "x"));
    contract_free(&found);

    fault.error = TROUPE_EOUTCOME;
    contract_submit(&s, &q);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EOUTCOME);
    assert_false(contract_must_load(&t, &found, 5, "x"));
    contract_free(&found);

    fault.apply = true;
    contract_submit(&s, &q);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EOUTCOME);
    assert_true(contract_must_load(&t, &found, 5, "x"));
    contract_free(&found);

    assert_int_equal(contract_must_save(&t, "a", 1, row), 1); /* a fault is one handle's */
    store_memory_set_fault(s.store, NULL, NULL);
    assert_int_equal(contract_do(&s, &q), 0);
    contract_free(&q);
    contract_close(&s);
    contract_close(&t);
}

static void polls_run_in_order_and_no_more_than_asked(void **state)
{
    struct contract_store s;
    struct contract_request q[3];
    (void)state;
    contract_open(&s, &polled, "memory:", "c", CONTRACT_PARTITIONS);
    for (size_t i = 0; i < 3; i++) {
        contract_init(&q[i], STORE_OWNERS);
        contract_submit(&s, &q[i]);
    }
    assert_int_equal(store_memory_poll(s.store, 2), 2);
    assert_true(q[0].done && q[1].done && !q[2].done);
    assert_int_equal(store_memory_poll(s.store, SIZE_MAX), 1);
    assert_true(q[2].done);
    assert_int_equal(store_memory_poll(s.store, SIZE_MAX), 0);
    for (size_t i = 0; i < 3; i++)
        contract_free(&q[i]);
    contract_close(&s);
}

/* The table grows under many rows, and finds every one of them. */
static void hundred_thousand_rows(void **state)
{
    enum { BATCH = 4096, ROUNDS = 25 };
    struct contract_store s;
    struct contract_request q;
    static struct store_row rows[BATCH];
    static struct store_key keys[BATCH];
    static char names[BATCH][16];
    (void)state;
    contract_open(&s, &polled, "memory:", "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    for (uint64_t pass = 0; pass < 2 * ROUNDS; pass++) {
        size_t round = pass % ROUNDS;
        for (size_t i = 0; i < BATCH; i++) {
            snprintf(names[i], sizeof names[i], "%zu", round * BATCH + i);
            rows[i] = contract_row(5, names[i], epoch, 1 + round, names[i]);
            keys[i] = rows[i].key;
        }
        if (pass < ROUNDS) {
            assert_int_equal(contract_save(&s, &q, "a", 1, rows, BATCH), 0);
            assert_int_equal(q.r.u.save.applied, BATCH);
        } else {
            assert_int_equal(contract_load(&s, &q, keys, BATCH), 0);
            for (size_t i = 0; i < BATCH; i++) {
                assert_true(q.r.u.load.found[i]);
                assert_true(troupe_bytes_equal(q.r.u.load.rows[i].state, keys[i].id));
            }
        }
        contract_free(&q);
    }
    contract_close(&s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_shared_until_the_last_close),
        cmocka_unit_test(the_clock_can_be_set),
        cmocka_unit_test(a_failover_repeats_nothing),
        cmocka_unit_test(faults_before_and_after_applying),
        cmocka_unit_test(polls_run_in_order_and_no_more_than_asked),
        cmocka_unit_test(hundred_thousand_rows),
    };
    struct memory_fixture data = {.n = 0};
    struct store_fixture fixture = {
        .name = "memory with a loop",
        .data = &data,
        .create = memory_create,
        .destroy = memory_destroy,
        .evict = memory_evict,
        .set_back = memory_set_back,
    };
    int failed = store_contract_run(&fixture);
    fixture.name = "memory without a loop";
    fixture.without_loop = true;
    failed += store_contract_run(&fixture);
    failed += cmocka_run_group_tests_name("memory: its own", tests, NULL, NULL);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
