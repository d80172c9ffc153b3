/* The contract: what is saved is loaded, whatever it is called and however large it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "tests/unit/store_contract_parts.h"

#define BYTES(literal)                                                                             \
    {                                                                                              \
        .data = (const uint8_t *)(literal), .len = sizeof(literal) - 1                             \
    }

static const struct troupe_bytes kind_k = BYTES("k");

/* A handle on which run 1 of "a" owns every partition; all epochs are the one returned. */
static uint64_t open_with_all(struct contract_store *s, void **state)
{
    struct contract_request q;
    store_pid pids[CONTRACT_PARTITIONS];
    for (store_pid i = 0; i < CONTRACT_PARTITIONS; i++)
        pids[i] = i;
    bed_open(s, *state);
    contract_must_register(s, "a", 7);
    assert_int_equal(contract_claim(s, &q, "a", 1, pids, CONTRACT_PARTITIONS), 0);
    uint64_t epoch = q.r.u.claim.claimed[0].epoch;
    contract_free(&q);
    return epoch;
}

static void assert_bytes(struct troupe_bytes got, struct troupe_bytes want)
{
    assert_int_equal(got.len, want.len);
    assert_true(want.len == 0 || memcmp(got.data, want.data, want.len) == 0);
}

static void saved_rows_are_loaded(void **state)
{
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_all(&s, state);
    struct store_row row = contract_row(5, "42", epoch, 17, "some state");
    row.dedup = troupe_bytes("\0\1\2", 3);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);

    assert_true(contract_must_load(&s, &q, 5, "42"));
    const struct store_row *got = &q.r.u.load.rows[0];
    assert_true(got->epoch == epoch);
    assert_int_equal(got->version, 17);
    assert_false(got->deleted);
    assert_bytes(got->state, row.state);
    assert_bytes(got->dedup, row.dedup);
    contract_free(&q);

    row.version = 18; /* shorter than before */
    row.state = troupe_bytes("s", 1);
    row.dedup = troupe_bytes(NULL, 0);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    assert_true(contract_must_load(&s, &q, 5, "42"));
    assert_int_equal(q.r.u.load.rows[0].version, 18);
    assert_bytes(q.r.u.load.rows[0].state, row.state);
    assert_int_equal(q.r.u.load.rows[0].dedup.len, 0);
    contract_free(&q);

    assert_false(contract_must_load(&s, &q, 6, "42")); /* the pid is part of the key */
    contract_free(&q);
    contract_close(&s);
}

static void largest_numbers_survive(void **state)
{
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_all(&s, state);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, INT64_MAX, "s")),
                     1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_true(q.r.u.load.rows[0].version == INT64_MAX);
    contract_free(&q);
    assert_int_equal(
        contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, INT64_MAX - 1, "s")), 0);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "y", epoch, 0, "s")), 1);
    assert_true(contract_must_load(&s, &q, 5, "y"));
    assert_int_equal(q.r.u.load.rows[0].version, 0);
    contract_free(&q);
    contract_close(&s);
}

/* Names that have tripped databases, drivers and their escaping. All go into one partition, in one
 * save, with a state of their own each. */
static const struct troupe_bytes ids[] = {
    BYTES("'"),
    BYTES("''"),
    BYTES("\""),
    BYTES("\\"),
    BYTES("\\\\"),
    BYTES("\\'"),
    BYTES("\\0"),
    BYTES("\\000"),
    BYTES("\\x00"),
    BYTES("\0"),
    BYTES("\0\0"),
    BYTES("a"),
    BYTES("a\0"),
    BYTES("a\0b"),
    BYTES("a\0c"),
    BYTES("ab"),
    BYTES("A"),
    BYTES("a "),
    BYTES(" a"),
    BYTES(" "),
    BYTES("\t"),
    BYTES("\n"),
    BYTES("\r\n"),
    BYTES("line\nline\r\n"),
    BYTES("\x01\x02\x7F"),
    BYTES("{a,b}"),
    BYTES("{"),
    BYTES("}"),
    BYTES(","),
    BYTES("NULL"),
    BYTES("null"),
    BYTES("1"),
    BYTES("01"),
    BYTES("1.0"),
    BYTES("1e0"),
    BYTES("$1"),
    BYTES("?1"),
    BYTES("%s%n"),
    BYTES("'; DROP TABLE entity; --"),
    BYTES("/*"),
    BYTES("venue/42"),
    BYTES("\xC3\xA9"),         /* é, one code point … */
    BYTES("e\xCC\x81"),        /* … and two: other bytes, another id */
    BYTES("\xF0\x9F\x8E\xAD"), /* an emoji */
    BYTES("\xF4\x8F\xBF\xBF"), /* U+10FFFF */
    BYTES("\xEF\xBB\xBF"),     /* a byte order mark */
    BYTES("\xEF\xBF\xBF"),     /* U+FFFF */
    BYTES("\xE2\x80\xAE"
          "abc"),                          /* right to left */
    BYTES("\xC2\x80\xC2\x85\xE2\x80\xA8"), /* control characters and line separators */
};

enum { IDS_N = sizeof ids / sizeof ids[0] };

static void ids_may_be_any_utf8(void **state)
{
    struct contract_store s;
    struct contract_request q;
    struct store_row rows[IDS_N];
    struct store_key keys[IDS_N];
    uint8_t states[IDS_N];
    uint64_t epoch = open_with_all(&s, state);
    for (size_t i = 0; i < IDS_N; i++) {
        states[i] = (uint8_t)i;
        keys[i] = (struct store_key){.pid = 5, .kind = kind_k, .id = ids[i]};
        rows[i] = (struct store_row){
            .key = keys[i], .epoch = epoch, .version = i, .state = {&states[i], 1}};
    }
    assert_int_equal(contract_load(&s, &q, keys, IDS_N), 0);
    for (size_t i = 0; i < IDS_N; i++)
        assert_false(q.r.u.load.found[i]);
    contract_free(&q);
    assert_int_equal(contract_save(&s, &q, "a", 1, rows, IDS_N), 0);
    assert_int_equal(q.r.u.save.applied, IDS_N);
    contract_free(&q);
    assert_int_equal(contract_load(&s, &q, keys, IDS_N), 0);
    for (size_t i = 0; i < IDS_N; i++) {
        assert_true(q.r.u.load.found[i]);
        assert_int_equal(q.r.u.load.rows[i].version, i);
        assert_bytes(q.r.u.load.rows[i].state, troupe_bytes(&states[i], 1));
    }
    contract_free(&q);
    contract_close(&s);
}

static void kinds_and_ids_do_not_run_together(void **state)
{
    struct contract_store s;
    struct contract_request q;
    char kind63[64], id255[2][256];
    memset(kind63, 'k', sizeof kind63);
    memset(id255, 'i', sizeof id255);
    id255[1][254] = 'j'; /* differs in its last byte */
    struct store_key keys[] = {
        {5, BYTES("k"), BYTES("ab")},
        {5, BYTES("ka"), BYTES("b")},
        {5, BYTES("kab"), BYTES("k")},
        {5, {(uint8_t *)kind63, 63}, BYTES("x")},
        {5, {(uint8_t *)kind63, 62}, BYTES("x")},
        {5, BYTES("k"), {(uint8_t *)id255[0], 255}},
        {5, BYTES("k"), {(uint8_t *)id255[0], 254}},
        {5, BYTES("k"), {(uint8_t *)id255[1], 255}},
        {5, BYTES("$node"), BYTES("x")},
    };
    enum { N = sizeof keys / sizeof keys[0] };
    struct store_row rows[N];
    uint64_t epoch = open_with_all(&s, state);
    for (size_t i = 0; i < N; i++)
        rows[i] = (struct store_row){.key = keys[i], .epoch = epoch, .version = 100 + i};
    assert_int_equal(contract_save(&s, &q, "a", 1, rows, N), 0);
    assert_int_equal(q.r.u.save.applied, N);
    contract_free(&q);
    assert_int_equal(contract_load(&s, &q, keys, N), 0);
    for (size_t i = 0; i < N; i++) {
        assert_true(q.r.u.load.found[i]);
        assert_int_equal(q.r.u.load.rows[i].version, 100 + i);
    }
    contract_free(&q);
    contract_close(&s);
}

static uint8_t *random_bytes(uint64_t seed, size_t len)
{
    struct dice dice = {.state = seed};
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)dice_throw(&dice);
    return bytes;
}

static void states_of_a_mebibyte(void **state)
{
    enum { N = 4, LEN = 1 << 20 };
    struct contract_store s;
    struct contract_request q;
    struct store_row rows[N];
    struct store_key keys[N];
    const uint8_t *states[N];
    char names[N][8];
    uint64_t epoch = open_with_all(&s, state);
    for (size_t i = 0; i < N; i++) {
        states[i] = random_bytes(i, LEN);
        snprintf(names[i], sizeof names[i], "%zu", i);
        rows[i] = contract_row((store_pid)(N - i), names[i], epoch, 1, "");
        rows[i].state = troupe_bytes(states[i], LEN);
        rows[i].dedup = troupe_bytes(states[i] + i, LEN / 16);
        keys[i] = rows[i].key;
    }
    assert_int_equal(contract_save(&s, &q, "a", 1, rows, N), 0);
    assert_int_equal(q.r.u.save.applied, N);
    contract_free(&q);
    assert_int_equal(contract_load(&s, &q, keys, N), 0);
    for (size_t i = 0; i < N; i++) {
        assert_bytes(q.r.u.load.rows[i].state, troupe_bytes(states[i], LEN));
        assert_bytes(q.r.u.load.rows[i].dedup, troupe_bytes(states[i] + i, LEN / 16));
        free((void *)(uintptr_t)states[i]);
    }
    contract_free(&q);
    contract_close(&s);
}

/* The answers come in the order of the keys, although the save may have sorted the rows. */
static void loads_of_4096_keys(void **state)
{
    enum { N = STORE_KEYS_MAX };
    struct contract_store s;
    struct contract_request q;
    struct store_row *rows = calloc(N, sizeof *rows);
    struct store_key *keys = calloc(N, sizeof *keys);
    char(*names)[16] = calloc(N, sizeof *names);
    assert_true(rows != NULL && keys != NULL && names != NULL);
    uint64_t epoch = open_with_all(&s, state);
    size_t rows_n = 0;
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "id-%zu", i * 7919 % N);
        keys[i] = (struct store_key){.pid = (store_pid)(i * 31 % CONTRACT_PARTITIONS),
                                     .kind = kind_k,
                                     .id = {(uint8_t *)names[i], strlen(names[i])}};
        if (i % 3 == 0) /* will be missing */
            continue;
        rows[rows_n] = contract_row(keys[i].pid, names[i], epoch, i, names[i]);
        rows[rows_n++].data = names[i];
    }
    assert_int_equal(contract_save(&s, &q, "a", 1, rows, rows_n), 0);
    assert_int_equal(q.r.u.save.applied, rows_n);
    contract_free(&q);
    for (size_t i = 0; i < rows_n; i++) /* sorted or not, each row is still itself */
        assert_ptr_equal(rows[i].data, rows[i].key.id.data);

    assert_int_equal(contract_load(&s, &q, keys, N), 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(q.r.u.load.found[i], i % 3 != 0);
        if (!q.r.u.load.found[i])
            continue;
        assert_int_equal(q.r.u.load.rows[i].version, i);
        assert_bytes(q.r.u.load.rows[i].state, keys[i].id);
    }
    contract_free(&q);
    free(rows);
    free(keys);
    free(names);
    contract_close(&s);
}

static void saves_of_4096_rows(void **state)
{
    enum { N = STORE_ROWS_MAX };
    struct contract_store s;
    struct contract_request q;
    struct store_row *rows = calloc(N, sizeof *rows);
    char(*names)[16] = calloc(N, sizeof *names);
    assert_true(rows != NULL && names != NULL);
    uint64_t epoch = open_with_all(&s, state);
    for (uint64_t version = 1; version <= 2; version++) { /* inserts, then updates */
        for (size_t i = 0; i < N; i++) {
            snprintf(names[i], sizeof names[i], "id-%zu", i);
            rows[i] = contract_row((store_pid)(i % CONTRACT_PARTITIONS), names[i], epoch, version,
                                   names[i]);
        }
        assert_int_equal(contract_save(&s, &q, "a", 1, rows, N), 0);
        assert_int_equal(q.r.u.save.applied, N);
        assert_int_equal(q.r.u.save.fenced_n, 0);
        contract_free(&q);
    }
    free(rows);
    free(names);
    contract_close(&s);
}

static void tombstones(void **state)
{
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_all(&s, state);
    struct store_row row = contract_row(5, "x", epoch, 1, "alive");
    row.dedup = troupe_bytes("window", 6);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    row = contract_row(5, "x", epoch, 2, "");
    row.deleted = true;
    row.dedup = troupe_bytes("and the delete's", 16);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);

    assert_true(contract_must_load(&s, &q, 5, "x")); /* that it is gone is known by a row */
    assert_true(q.r.u.load.rows[0].deleted);
    assert_int_equal(q.r.u.load.rows[0].version, 2);
    assert_int_equal(q.r.u.load.rows[0].state.len, 0);
    assert_bytes(q.r.u.load.rows[0].dedup, troupe_bytes("and the delete's", 16));
    contract_free(&q);

    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 1, "late")), 0);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 3, "again")), 1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_false(q.r.u.load.rows[0].deleted);
    assert_bytes(q.r.u.load.rows[0].state, troupe_bytes_of("again"));
    contract_free(&q);
    contract_close(&s);
}

static void empty_states_are_found(void **state)
{
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_all(&s, state);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 1, NULL)), 1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_false(q.r.u.load.rows[0].deleted);
    assert_int_equal(q.r.u.load.rows[0].state.len, 0);
    assert_int_equal(q.r.u.load.rows[0].dedup.len, 0);
    contract_free(&q);
    contract_close(&s);
}

static void same_version_again_is_applied_again(void **state)
{
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_all(&s, state);
    for (int i = 0; i < 3; i++)
        assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 4, "same")), 1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_int_equal(q.r.u.load.rows[0].version, 4);
    assert_bytes(q.r.u.load.rows[0].state, troupe_bytes_of("same"));
    contract_free(&q);
    contract_close(&s);
}

static void older_versions_are_skipped(void **state)
{
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_all(&s, state);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 4, "new")), 1);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 3, "old")), 0);
    struct store_row rows[] = {contract_row(5, "x", epoch, 2, "older"),
                               contract_row(5, "y", epoch, 1, "other"),
                               contract_row(6, "x", epoch, 1, "third")};
    assert_int_equal(contract_save(&s, &q, "a", 1, rows, 3), 0);
    assert_int_equal(q.r.u.save.applied, 2);
    assert_int_equal(q.r.u.save.skipped, 1);
    assert_int_equal(q.r.u.save.fenced_n, 0);
    contract_free(&q);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_int_equal(q.r.u.load.rows[0].version, 4);
    assert_bytes(q.r.u.load.rows[0].state, troupe_bytes_of("new"));
    contract_free(&q);
    contract_close(&s);
}

/* Versions compare within an epoch: a new owner that knows only an earlier version goes on from
 * there, and what it writes counts. */
static void a_newer_epoch_wins_over_a_higher_version(void **state)
{
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_all(&s, state);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", epoch, 9, "old")), 1);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    contract_must_register(&s, "b", 8);
    uint64_t next = contract_must_claim(&s, "b", 1, 5);
    assert_int_equal(contract_must_save(&s, "b", 1, contract_row(5, "x", next, 2, "new")), 1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_true(q.r.u.load.rows[0].epoch == next);
    assert_int_equal(q.r.u.load.rows[0].version, 2);
    assert_bytes(q.r.u.load.rows[0].state, troupe_bytes_of("new"));
    contract_free(&q);
    contract_close(&s);
}

static void fenced_partitions_are_reported_and_others_applied(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&t, "b", 8);
    uint64_t mine = contract_must_claim(&s, "a", 1, 10);
    uint64_t also = contract_must_claim(&s, "a", 1, 12);
    uint64_t theirs = contract_must_claim(&t, "b", 1, 11);
    struct store_row rows[] = {
        contract_row(CONTRACT_PARTITIONS + 7, "x", mine, 1, "no such partition"),
        contract_row(12, "x", also, 1, "mine"),
        contract_row(11, "x", theirs, 1, "another's"),
        contract_row(11, "y", theirs, 1, "another's"),
        contract_row(20, "x", 0, 1, "nobody's"),
        contract_row(10, "y", mine, 1, "mine"),
        contract_row(10, "x", mine, 1, "mine"),
    };
    assert_int_equal(contract_save(&s, &q, "a", 1, rows, 7), 0);
    assert_int_equal(q.r.u.save.applied, 3);
    assert_int_equal(q.r.u.save.skipped, 0);
    assert_int_equal(q.r.u.save.fenced_n, 3);
    assert_int_equal(q.r.u.save.fenced[0], 11);
    assert_int_equal(q.r.u.save.fenced[1], 20);
    assert_int_equal(q.r.u.save.fenced[2], CONTRACT_PARTITIONS + 7);
    contract_free(&q);
    const struct {
        store_pid pid;
        const char *id;
        bool found;
    } then[] = {{10, "x", true},  {10, "y", true},  {12, "x", true},
                {11, "x", false}, {11, "y", false}, {20, "x", false}};
    for (size_t i = 0; i < sizeof then / sizeof then[0]; i++) {
        assert_int_equal(contract_must_load(&t, &q, then[i].pid, then[i].id), then[i].found);
        contract_free(&q);
    }
    contract_close(&s);
    contract_close(&t);
}

static void only_the_exact_owner_and_epoch_may_save(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    struct store_row row = contract_row(5, "x", epoch, 1, "s");
    assert_int_equal(contract_must_save(&s, "b", 1, row), -1);
    assert_int_equal(contract_must_save(&s, "a", 2, row), -1);
    assert_int_equal(contract_must_save(&s, "A", 1, row), -1);
    row.epoch = epoch + 1;
    assert_int_equal(contract_must_save(&s, "a", 1, row), -1);
    row.epoch = epoch - 1;
    assert_int_equal(contract_must_save(&s, "a", 1, row), -1);
    assert_false(contract_must_load(&s, &q, 5, "x"));
    contract_free(&q);
    row.epoch = epoch;
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    contract_close(&s);
}

static void empty_loads_and_saves(void **state)
{
    struct contract_store s;
    struct contract_request q;
    struct store_key key = {.pid = 5, .kind = kind_k, .id = BYTES("x")};
    struct store_row row = contract_row(5, "x", 1, 1, "s");
    bed_open(&s, *state);
    assert_int_equal(contract_load(&s, &q, &key, 1), 0); /* not even a cluster */
    assert_false(q.r.u.load.found[0]);
    contract_free(&q);
    assert_int_equal(contract_must_save(&s, "a", 1, row), -1);
    contract_must_register(&s, "a", 7);
    assert_int_equal(contract_load(&s, &q, NULL, 0), 0);
    contract_free(&q);
    assert_int_equal(contract_save(&s, &q, "a", 1, NULL, 0), 0);
    assert_int_equal(q.r.u.save.applied + q.r.u.save.skipped + q.r.u.save.fenced_n, 0);
    contract_free(&q);
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(saved_rows_are_loaded),
    cmocka_unit_test(largest_numbers_survive),
    cmocka_unit_test(ids_may_be_any_utf8),
    cmocka_unit_test(kinds_and_ids_do_not_run_together),
    cmocka_unit_test(states_of_a_mebibyte),
    cmocka_unit_test(loads_of_4096_keys),
    cmocka_unit_test(saves_of_4096_rows),
    cmocka_unit_test(tombstones),
    cmocka_unit_test(empty_states_are_found),
    cmocka_unit_test(same_version_again_is_applied_again),
    cmocka_unit_test(older_versions_are_skipped),
    cmocka_unit_test(a_newer_epoch_wins_over_a_higher_version),
    cmocka_unit_test(fenced_partitions_are_reported_and_others_applied),
    cmocka_unit_test(only_the_exact_owner_and_epoch_may_save),
    cmocka_unit_test(empty_loads_and_saves),
};

CONTRACT_PART(rows, tests);
