/* The contract: what was saved lately is found, page by page, and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store_contract_parts.h"

enum { HOUR_MS = 3600000, APART_MS = 50, PAGES_MAX = 1000, TEXT_BYTES = 4096 };

/* A handle on which run 1 of "a" owns partitions 1 to 5, all at the epoch that is returned. */
static uint64_t open_with_some(struct contract_store *s, void **state)
{
    static const store_pid pids[] = {1, 2, 3, 4, 5};
    struct contract_request q;
    bed_open(s, *state);
    contract_must_register(s, "a", 7);
    assert_int_equal(contract_claim(s, &q, "a", 1, pids, 5), 0);
    uint64_t epoch = q.r.u.claim.claimed[0].epoch;
    contract_free(&q);
    return epoch;
}

static int look(struct contract_store *s, struct contract_request *q,
                const struct store_recent *question)
{
    contract_init(q, STORE_RECENT);
    q->r.u.recent = *question;
    return contract_do(s, q);
}

static void add_text(char text[TEXT_BYTES], const struct store_key *key)
{
    size_t len = strlen(text);
    snprintf(text + len, TEXT_BYTES - len, "%s%u/%.*s/%.*s", len == 0 ? "" : " ", key->pid,
             (int)key->kind.len, (const char *)key->kind.data, (int)key->id.len,
             (const char *)key->id.data);
}

/* All that is found, "pid/kind/id pid/kind/id …", in pages of so many rows; how many pages. */
static int find(struct contract_store *s, const store_pid *pids, size_t pids_n, uint64_t within_ms,
                uint32_t rows_max, char text[TEXT_BYTES])
{
    struct store_recent question = {
        .pids = pids, .pids_n = pids_n, .within_ms = within_ms, .rows_max = rows_max};
    struct contract_request pages[2];
    int n = 0;
    text[0] = '\0';
    for (;; n++) { /* where to go on lies in the answer before */
        struct contract_request *q = &pages[n % 2];
        assert_true(n < PAGES_MAX);
        assert_int_equal(look(s, q, &question), 0);
        if (n > 0)
            contract_free(&pages[(n + 1) % 2]);
        const struct store_recent *answer = &q->r.u.recent;
        assert_true(answer->saved_n <= rows_max);
        for (size_t i = 0; i < answer->saved_n; i++) {
            assert_true(answer->saved[i].age_ms <= within_ms);
            add_text(text, &answer->saved[i].key);
        }
        if (!answer->more) {
            contract_free(q);
            return n + 1;
        }
        while (question.pids_n > 0 && question.pids[0] != answer->last.pid) {
            question.pids++;
            question.pids_n--;
        }
        question.after = answer->last;
    }
}

static void assert_found(struct contract_store *s, const store_pid *pids, size_t pids_n,
                         uint64_t within_ms, const char *wanted)
{
    static const uint32_t pages[] = {1, 2, 3, STORE_RECENT_MAX};
    char text[TEXT_BYTES];
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        find(s, pids, pids_n, within_ms, pages[i], text);
        assert_string_equal(text, wanted);
    }
}

static void what_was_saved_is_found(void **state)
{
    static const store_pid three[] = {1, 2, 3}, two[] = {2, 3}, none[] = {4}, far[] = {4000000};
    struct contract_store s;
    uint64_t epoch = open_with_some(&s, state);
    assert_found(&s, three, 3, HOUR_MS, "");
    static const struct {
        store_pid pid;
        const char *id;
    } rows[] = {{3, "b"}, {1, "a"}, {1, "aa"}, {2, "x"}, {1, "B"}, {3, "a"}, {5, "z"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(
            contract_must_save(&s, "a", 1, contract_row(rows[i].pid, rows[i].id, epoch, 1, "x")),
            1);
    assert_found(&s, three, 3, HOUR_MS, "1/k/B 1/k/a 1/k/aa 2/k/x 3/k/a 3/k/b");
    assert_found(&s, two, 2, HOUR_MS, "2/k/x 3/k/a 3/k/b");
    assert_found(&s, none, 1, HOUR_MS, "");
    assert_found(&s, far, 1, HOUR_MS, "");
    assert_found(&s, three, 0, HOUR_MS, "");
    assert_found(&s, two, 2, UINT64_C(4000000000000), "2/k/x 3/k/a 3/k/b"); /* before 1970 */
    contract_close(&s);
}

/* The kind comes before the id, whatever the bytes after it are. */
static void keys_are_in_order(void **state)
{
    static const store_pid one[] = {1};
    static const struct {
        const char *kind;
        struct troupe_bytes id;
    } rows[] = {
        {"kb", {(const uint8_t *)"a", 1}},       {"k", {(const uint8_t *)"z", 1}},
        {"k", {(const uint8_t *)"a\0b", 3}},     {"k", {(const uint8_t *)"a", 1}},
        {"k", {(const uint8_t *)"\xC3\xA4", 2}}, {"k_b", {(const uint8_t *)"a", 1}},
    };
    struct contract_store s;
    char text[TEXT_BYTES];
    uint64_t epoch = open_with_some(&s, state);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct store_row row = contract_row(1, "", epoch, 1, "x");
        row.key.kind = troupe_bytes_of(rows[i].kind);
        row.key.id = rows[i].id;
        assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    }
    find(&s, one, 1, HOUR_MS, 100, text); /* "%.*s" ends at the U+0000 */
    assert_string_equal(text, "1/k/a 1/k/a 1/k/z 1/k/\xC3\xA4 1/k_b/a 1/kb/a");
    assert_found(&s, one, 1, HOUR_MS, text);
    contract_close(&s);
}

/* rows_max bounds what is read, found or not. */
static void a_page_is_bounded(void **state)
{
    static const store_pid two[] = {1, 2};
    struct contract_store s;
    char text[TEXT_BYTES], id[16];
    uint64_t epoch = open_with_some(&s, state);
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "%02d", i);
        struct store_row row = contract_row((store_pid)(1 + i % 2), id, epoch, 1, "x");
        if (i != 19) {
            row.deleted = true;
            row.state = troupe_bytes(NULL, 0);
        }
        assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    }
    assert_true(find(&s, two, 2, HOUR_MS, 5, text) >= 4);
    assert_string_equal(text, "2/k/19");
    contract_close(&s);
}

/* By the store's clock, which nobody but the store can set: it has to pass. */
static void what_is_older_is_left_out(void **state)
{
    static const store_pid one[] = {1};
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_with_some(&s, state), age_ms = 0;
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(1, "a", epoch, 1, "x")), 1);
    while (age_ms <= 2 * APART_MS) {
        assert_int_equal(contract_recent(&s, &q, one), 0);
        assert_int_equal(q.r.u.recent.saved_n, 1);
        age_ms = q.r.u.recent.saved[0].age_ms;
        contract_free(&q);
    }
    assert_found(&s, one, 1, APART_MS, "");
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(1, "a", epoch, 2, "x")), 1);
    assert_found(&s, one, 1, HOUR_MS, "1/k/a");
    assert_int_equal(contract_recent(&s, &q, one), 0); /* saved again: it is young again */
    assert_true(q.r.u.recent.saved[0].age_ms < age_ms);
    contract_free(&q);
    contract_close(&s);
}

static void what_is_deleted_is_left_out(void **state)
{
    static const store_pid one[] = {1};
    struct contract_store s;
    uint64_t epoch = open_with_some(&s, state);
    struct store_row row = contract_row(1, "a", epoch, 1, "x");
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    row.version = 2;
    row.deleted = true;
    row.state = troupe_bytes(NULL, 0);
    assert_int_equal(contract_must_save(&s, "a", 1, row), 1);
    assert_found(&s, one, 1, HOUR_MS, "");
    contract_close(&s);
}

/* A save that has no effect leaves no trace. */
static void what_was_not_applied_is_left_out(void **state)
{
    static const store_pid two[] = {1, 6};
    struct contract_store s;
    uint64_t epoch = open_with_some(&s, state);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(6, "f", epoch, 1, "x")), -1);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(1, "a", epoch, 5, "x")), 1);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(1, "a", epoch, 4, "x")), 0);
    assert_found(&s, two, 2, HOUR_MS, "1/k/a");
    contract_close(&s);
}

static void assert_refused(struct contract_store *s, const struct store_recent *question)
{
    struct contract_request q;
    assert_int_equal(look(s, &q, question), TROUPE_EINVAL);
    contract_free(&q);
}

static void wrong_questions_are_refused(void **state)
{
    static const store_pid twice[] = {1, 1}, one[] = {1};
    struct store_recent good = {.pids = one, .pids_n = 1, .within_ms = HOUR_MS, .rows_max = 10};
    struct contract_store s;
    open_with_some(&s, state);
    struct store_recent q = good;
    q.pids = twice;
    q.pids_n = 2;
    assert_refused(&s, &q);
    q = good;
    q.rows_max = STORE_RECENT_MAX + 1;
    assert_refused(&s, &q);
    q.rows_max = 0;
    assert_refused(&s, &q);
    q = good;
    q.within_ms = UINT64_MAX;
    assert_refused(&s, &q);
    q = good;
    q.after =
        (struct store_key){.pid = 2, .kind = troupe_bytes_of("k"), .id = troupe_bytes_of("a")};
    assert_refused(&s, &q);
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_saved_is_found),
    cmocka_unit_test(keys_are_in_order),
    cmocka_unit_test(a_page_is_bounded),
    cmocka_unit_test(what_is_older_is_left_out),
    cmocka_unit_test(what_is_deleted_is_left_out),
    cmocka_unit_test(what_was_not_applied_is_left_out),
    cmocka_unit_test(wrong_questions_are_refused),
};
CONTRACT_PART(recent, tests);
