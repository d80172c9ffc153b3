/* The contract: what the store refuses, many requests at once, and closing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store_contract_parts.h"

static void assert_not_saved(struct contract_store *s, store_pid pid, const char *id)
{
    struct contract_request q;
    assert_false(contract_must_load(s, &q, pid, id));
    contract_free(&q);
}

static int save_two(struct contract_store *s, struct store_row one, struct store_row two)
{
    struct contract_request q;
    struct store_row rows[] = {one, two};
    int rc = contract_save(s, &q, "a", 1, rows, 2);
    contract_free(&q);
    return rc;
}

static void bad_saves_change_nothing(void **state)
{
    struct contract_store s;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    struct store_row good = contract_row(5, "good", epoch, 1, "s"), bad;

    assert_int_equal(save_two(&s, good, good), TROUPE_EINVAL);
    bad = contract_row(5, "bad", epoch + 1, 1, "s"); /* one partition, two beliefs */
    assert_int_equal(save_two(&s, good, bad), TROUPE_EINVAL);
    bad = contract_row(5, "", epoch, 1, "s");
    assert_int_equal(save_two(&s, good, bad), TROUPE_EINVAL);
    bad = contract_row(5, "\xFF", epoch, 1, "s");
    assert_int_equal(save_two(&s, good, bad), TROUPE_EINVAL);
    bad = contract_row(5, "bad", epoch, (uint64_t)INT64_MAX + 1, "s");
    assert_int_equal(save_two(&s, good, bad), TROUPE_EINVAL);
    bad = contract_row(5, "bad", epoch, 1, "s");
    bad.deleted = true;
    assert_int_equal(save_two(&s, good, bad), TROUPE_EINVAL);
    bad.deleted = false;
    bad.key.kind = troupe_bytes_of("No Kind");
    assert_int_equal(save_two(&s, good, bad), TROUPE_EINVAL);

    assert_not_saved(&s, 5, "good");
    assert_int_equal(contract_must_save(&s, "a", 1, good), 1);
    contract_close(&s);
}

static void states_over_the_limit_are_rejected(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    uint8_t *bytes = calloc(1, STORE_STATE_BYTES_MAX + 1);
    assert_non_null(bytes);
    struct store_row rows[] = {contract_row(5, "large", epoch, 1, ""),
                               contract_row(5, "small", epoch, 1, "s")};
    rows[0].state = troupe_bytes(bytes, STORE_STATE_BYTES_MAX + 1);
    assert_int_equal(contract_save(&s, &q, "a", 1, rows, 2), TROUPE_EREJECTED);
    contract_free(&q);
    assert_not_saved(&s, 5, "large");
    assert_not_saved(&s, 5, "small");

    memset(bytes, 0xA5, STORE_STATE_BYTES_MAX); /* the largest one */
    struct store_row largest = contract_row(5, "large", epoch, 1, "");
    largest.state = troupe_bytes(bytes, STORE_STATE_BYTES_MAX);
    assert_int_equal(contract_must_save(&s, "a", 1, largest), 1);
    assert_true(contract_must_load(&s, &q, 5, "large"));
    assert_int_equal(q.r.u.load.rows[0].state.len, STORE_STATE_BYTES_MAX);
    assert_memory_equal(q.r.u.load.rows[0].state.data, bytes, STORE_STATE_BYTES_MAX);
    contract_free(&q);
    free(bytes);
    contract_close(&s);
}

static void bad_names_and_counts_are_invalid(void **state)
{
    struct contract_store s;
    struct contract_request q;
    char long_name[STORE_NAME_BYTES_MAX + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[STORE_NAME_BYTES_MAX + 1] = '\0';
    bed_open(&s, *state);
    const char *names[] = {"", long_name, "\xFF", NULL};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(contract_register(&s, &q, names[i], 1), TROUPE_EINVAL);
        contract_free(&q);
        assert_int_equal(contract_renew(&s, &q, names[i], 1), TROUPE_EINVAL);
        contract_free(&q);
        assert_int_equal(contract_leave(&s, &q, names[i], 1), TROUPE_EINVAL);
        contract_free(&q);
        assert_int_equal(contract_claim(&s, &q, names[i], 1, NULL, 0), TROUPE_EINVAL);
        contract_free(&q);
        struct store_node node = {.name = names[i], .generation = 1}, other = {.name = "b"};
        assert_int_equal(contract_evict(&s, &q, "a", 1, &node), TROUPE_EINVAL);
        contract_free(&q);
        assert_int_equal(contract_evict(&s, &q, names[i], 1, &other), TROUPE_EINVAL);
        contract_free(&q);
        assert_int_equal(contract_save(&s, &q, names[i], 1, NULL, 0), TROUPE_EINVAL);
        contract_free(&q);
    }
    char long_addr[STORE_ADDR_BYTES_MAX + 2];
    memset(long_addr, 'a', sizeof long_addr);
    long_addr[STORE_ADDR_BYTES_MAX + 1] = '\0';
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){.name = "a", .gossip = long_addr};
    assert_int_equal(contract_do(&s, &q), TROUPE_EINVAL);
    contract_free(&q);
    struct store_key key = {.pid = 1};
    assert_int_equal(contract_load(&s, &q, &key, STORE_KEYS_MAX + 1), TROUPE_EINVAL);
    contract_free(&q);
    assert_int_equal(contract_save(&s, &q, "a", 1, NULL, STORE_ROWS_MAX + 1), TROUPE_EINVAL);
    contract_free(&q);
    contract_close(&s);
}

static void bad_options_are_told(void **state)
{
    const struct contract_bed *bed = *state;
    uv_loop_t loop;
    struct store *store;
    char errmsg[STORE_ERRMSG_BYTES];
    assert_int_equal(uv_loop_init(&loop), 0);
    const struct store_options cases[] = {
        {.url = "", .cluster = "c", .partitions = 256, .loop = &loop},
        {.url = "mongodb://x", .cluster = "c", .partitions = 256, .loop = &loop},
        {.url = bed->url, .cluster = "", .partitions = 256, .loop = &loop},
        {.url = bed->url, .cluster = NULL, .partitions = 256, .loop = &loop},
        {.url = bed->url, .cluster = "c", .partitions = 255, .loop = &loop},
        {.url = bed->url, .cluster = "c", .partitions = 1 << 17, .loop = &loop},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        errmsg[0] = '\0';
        assert_int_equal(store_open(&store, &cases[i], errmsg), TROUPE_EINVAL);
        assert_null(store);
        assert_true(strlen(errmsg) > 10);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* A capped arena is how a caller bounds an answer; running into the cap changes nothing. */
static void answers_too_large_for_the_arena_fail(void **state)
{
    struct contract_store s;
    struct contract_request q;
    static uint8_t bytes[64 << 10];
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    struct store_row row = contract_row(5, "x", epoch, 1, "");
    row.state = troupe_bytes(bytes, sizeof bytes);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);

    struct store_key key = row.key;
    contract_init(&q, STORE_LOAD);
    arena_init(&q.arena, 4096, 32 << 10);
    q.r.u.load = (struct store_load){.keys = &key, .keys_n = 1};
    assert_int_equal(contract_do(&s, &q), TROUPE_ENOMEM);
    contract_free(&q);

    store_pid pids[CONTRACT_PARTITIONS];
    for (store_pid i = 0; i < CONTRACT_PARTITIONS; i++)
        pids[i] = i;
    contract_init(&q, STORE_CLAIM);
    arena_init(&q.arena, 1024, 1024);
    q.r.u.claim = (struct store_claim){
        .name = "a", .generation = 1, .pids = pids, .pids_n = CONTRACT_PARTITIONS};
    assert_int_equal(contract_do(&s, &q), TROUPE_ENOMEM);
    contract_free(&q);
    assert_int_equal(contract_owners(&s, &q), 0);
    assert_int_equal(q.r.u.owners.owners[6].node, UINT32_MAX);
    contract_free(&q);
    contract_close(&s);
}

enum { MANY = 64 };

/* Saves queue up behind each other; whatever the store makes of that, each has its own outcome. */
static void saves_in_flight_keep_their_own_outcomes(void **state)
{
    struct contract_store s;
    static struct contract_request q[MANY];
    static struct store_row rows[MANY][3];
    static char names[MANY][8];
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "newer", epoch, 9, "s")), 1);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        rows[i][0] = contract_row(5, names[i], epoch, 1 + i, names[i]);
        rows[i][1] = i % 4 == 1 ? contract_row(5, "newer", epoch, 8, "old")
                                : contract_row((store_pid)(100 + i), "x", epoch, 1, "not ours");
        rows[i][2] = rows[i][0];
        contract_init(&q[i], STORE_SAVE);
        q[i].r.u.save = (struct store_save){.name = "a", .generation = 1, .rows = rows[i]};
        q[i].r.u.save.rows_n = i % 4 == 3 ? 3 : i % 4 == 2 ? 1 : 2; /* 3: a row twice */
        contract_submit(&s, &q[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        int want = i % 4 == 3 ? TROUPE_EINVAL : 0;
        const struct store_save *save = &q[i].r.u.save;
        if (contract_wait(&s, &q[i]) == TROUPE_EUNAVAILABLE)
            contract_do(&s, &q[i]);
        assert_int_equal(q[i].r.error, want);
        if (want == 0) {
            assert_int_equal(save->applied, 1);
            assert_int_equal(save->skipped, i % 4 == 1);
            assert_int_equal(save->fenced_n, i % 4 == 0);
            if (save->fenced_n == 1)
                assert_int_equal(save->fenced[0], 100 + i);
        }
    }
    for (size_t i = 0; i < MANY; i++) {
        contract_free(&q[i]);
        assert_int_equal(contract_must_load(&s, &q[i], 5, names[i]), i % 4 != 3);
        contract_free(&q[i]);
    }
    contract_close(&s);
}

static void requests_under_way_are_answered_before_close(void **state)
{
    struct contract_store s;
    static struct contract_request q[MANY];
    static struct store_row rows[MANY];
    static char names[MANY][8];
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        rows[i] = contract_row(5, names[i], epoch, 1, "s");
        contract_init(&q[i], STORE_SAVE);
        q[i].r.u.save =
            (struct store_save){.name = "a", .generation = 1, .rows = &rows[i], .rows_n = 1};
        contract_submit(&s, &q[i]);
    }
    contract_close(&s);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(q[i].done);
        contract_free(&q[i]);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(bad_saves_change_nothing),
    cmocka_unit_test(states_over_the_limit_are_rejected),
    cmocka_unit_test(bad_names_and_counts_are_invalid),
    cmocka_unit_test(bad_options_are_told),
    cmocka_unit_test(answers_too_large_for_the_arena_fail),
    cmocka_unit_test(saves_in_flight_keep_their_own_outcomes),
    cmocka_unit_test(requests_under_way_are_answered_before_close),
};

CONTRACT_PART(errors, tests);
