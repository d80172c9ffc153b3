/* base: arena, names, UTF-8, lists, the X-macro tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/name.h"
#include "base/utf8.h"
#include "troupe/error.h"
#include "troupe/status.h"

static void arena_allocates_aligned_and_capped(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1024, 8192);
    for (size_t i = 0; i < 100; i++) {
        uint8_t *p = arena_alloc(&a, i);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xAB, i);
    }
    assert_null(arena_alloc(&a, 8192));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 4096)); /* larger than a chunk */
    char *text = arena_printf(&a, "%s-%d", "venue", 42);
    assert_string_equal(text, "venue-42");
    struct troupe_bytes copy = arena_copy(&a, troupe_bytes_of("hello"));
    assert_string_equal((const char *)copy.data, "hello");
    assert_int_equal(copy.len, 5);
    arena_close(&a);
}

static void arenas_share_a_budget(void **state)
{
    (void)state;
    struct arena_budget budget = {.max = 10000};
    struct arena a, b;
    arena_init(&a, 1000, 0);
    arena_init(&b, 1000, 0);
    arena_set_budget(&a, &budget, 2000);
    arena_set_budget(&b, &budget, 2000);
    assert_non_null(arena_alloc(&a, 900));
    assert_non_null(arena_alloc(&a, 900));
    assert_int_equal(atomic_load(&budget.used), 0); /* little is free */
    assert_non_null(arena_alloc(&a, 900));
    assert_int_equal(atomic_load(&budget.used), 3000); /* and then counts, too */
    assert_true(arena_budget_take(&budget, 4000));
    assert_false(arena_budget_take(&budget, SIZE_MAX));
    assert_null(arena_alloc(&b, 4000));
    assert_int_equal(atomic_load(&budget.used), 7000); /* what came to nothing takes nothing */
    assert_non_null(arena_alloc(&b, 1900));
    assert_non_null(arena_alloc(&a, 2900));
    assert_null(arena_alloc(&b, 900));
    arena_reset(&a);
    assert_int_equal(atomic_load(&budget.used), 4000);
    assert_non_null(arena_alloc(&b, 900));
    arena_close(&b);
    arena_budget_give(&budget, 4000);
    assert_int_equal(atomic_load(&budget.used), 0);
    arena_close(&a);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void arena_reuses_its_chunk(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 4096, 0);
    void *first = arena_alloc(&a, 100);
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 100), first);
    assert_int_equal(a.used_bytes, 4096);
    arena_close(&a);
}

static void utf8_follows_the_standard(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        bool valid;
    } cases[] = {
        {"", 0, true},
        {"plain ascii, longer than a word", 31, true},
        {"\0", 1, true},
        {"Sant Juli\xC3\xA0 de L\xC3\xB2ria", 21, true},
        {"\xE2\x82\xAC", 3, true},
        {"\xF0\x9F\x8E\xB8", 4, true},
        {"\xF4\x8F\xBF\xBF", 4, true},
        {"\xF4\x90\x80\x80", 4, false}, /* above U+10FFFF */
        {"\xC0\xAF", 2, false},         /* overlong */
        {"\xE0\x80\xAF", 3, false},
        {"\xED\xA0\x80", 3, false}, /* surrogate */
        {"\x80", 1, false},
        {"\xE2\x82", 2, false}, /* cut off */
        {"abcdefgh\xFF", 9, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(utf8_is_valid(troupe_bytes(cases[i].text, cases[i].len)), cases[i].valid);
}

static void names_are_parsed_and_checked(void **state)
{
    (void)state;
    struct troupe_bytes kind, id;
    const char *why = NULL;
    assert_int_equal(name_parse(troupe_bytes_of("venue/a/b c"), &kind, &id, &why), 0);
    assert_true(troupe_bytes_equal(kind, troupe_bytes_of("venue")));
    assert_true(troupe_bytes_equal(id, troupe_bytes_of("a/b c")));
    static const char *const bad[] = {"venue", "/42",   "venue/", "Venue/42",
                                      "9a/1",  "a-b/1", "$/x",    "v/\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why = NULL;
        assert_int_equal(name_parse(troupe_bytes_of(bad[i]), &kind, &id, &why), TROUPE_EINVAL);
        assert_non_null(why);
    }
    assert_int_equal(name_parse(troupe_bytes_of("$node/self"), &kind, &id, &why), 0);
    char long_id[257];
    memset(long_id, 'x', sizeof long_id);
    assert_int_equal(name_check_id(troupe_bytes(long_id, 255), &why), 0);
    assert_int_equal(name_check_id(troupe_bytes(long_id, 256), &why), TROUPE_EINVAL);
}

/* Names keep their partition for ever: states are stored by it. */
static void partitions_are_stable(void **state)
{
    (void)state;
    uint64_t h = name_hash(troupe_bytes_of("venue"), troupe_bytes_of("42"));
    assert_true(h == name_hash(troupe_bytes_of("venue"), troupe_bytes_of("42")));
    assert_true(h != name_hash(troupe_bytes_of("venue4"), troupe_bytes_of("2")));
    assert_int_equal(name_partition(h, 12), h >> 52);
    assert_int_equal(name_partition_bits(4096), 12);
    assert_int_equal(name_partition_bits(65536), 16);
    assert_int_equal(name_partition_bits(1000), -1);
    assert_int_equal(name_partition_bits(128), -1);
    assert_int_equal(name_partition_bits(131072), -1);
}

struct item {
    int value;
    struct list link;
};

static void lists_keep_order(void **state)
{
    (void)state;
    struct list l, other;
    struct item items[4];
    list_init(&l);
    list_init(&other);
    assert_null(list_pop(&l));
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_push(i < 2 ? &l : &other, &items[i].link);
    }
    list_splice(&l, &other);
    assert_true(list_is_empty(&other));
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    static const int expected[] = {0, 2, 3};
    for (int i = 0; i < 3; i++)
        assert_int_equal(LIST_ENTRY(list_pop(&l), struct item, link)->value, expected[i]);
    assert_true(list_is_empty(&l));
}

static void codes_have_names(void **state)
{
    (void)state;
    assert_string_equal(troupe_status_name(TROUPE_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(troupe_status_name(99), "STATUS?");
    assert_string_equal(troupe_error_name(TROUPE_EBUSY), "EBUSY");
    assert_string_equal(troupe_error_name(0), "OK");
    assert_string_equal(troupe_error_text(1), "unknown error code");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_allocates_aligned_and_capped),
        cmocka_unit_test(arenas_share_a_budget),
        cmocka_unit_test(arena_reuses_its_chunk),
        cmocka_unit_test(utf8_follows_the_standard),
        cmocka_unit_test(names_are_parsed_and_checked),
        cmocka_unit_test(partitions_are_stable),
        cmocka_unit_test(lists_keep_order),
        cmocka_unit_test(codes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
