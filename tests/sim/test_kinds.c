/* Stories of nodes whose programs differ: in the versions of what they save, and in the kinds that
 * they have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/note.h"
#include "tests/sim/troop.h"

static const struct troupe_kind *const v0[] = {&note_kind_0}, *const v1[] = {&note_kind_1},
                                       *const v2[] = {&note_kind_2};

static void open_troop(struct troop *t)
{
    troop_open(t, v1, 1);
    t->trace = getenv("TROUPE_SIM_LOG") != NULL;
}

static void start(struct troop *t, uint32_t n, const struct troupe_kind *const *kinds,
                  size_t kinds_n)
{
    t->nodes[n].kinds = kinds;
    t->nodes[n].kinds_n = kinds_n;
    troop_start(t, n);
}

static bool serves(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt != NULL && t->nodes[n].phase == RUNTIME_SERVING;
}

static bool is_down(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt == NULL;
}

static void stop(struct troop *t, uint32_t n)
{
    troop_stop(t, n);
    assert_true(troop_until(t, is_down, n, 60000));
}

static enum troupe_status put(struct troop *t, uint32_t n, const char *id, const char *method,
                              uint64_t value)
{
    return troop_call(t, n, "note", id, method, troupe_bytes(&value, 8), 0, 5000).status;
}

struct read {
    enum troupe_status status;
    uint64_t number, text;
    char why[512];
};

static struct read look(struct troop *t, uint32_t n, const char *id)
{
    struct troop_answer a = troop_call(t, n, "note", id, "read", troupe_bytes(NULL, 0), 0, 5000);
    struct read r = {.status = a.status};
    if (a.status == TROUPE_OK && a.payload.len == 16) {
        memcpy(&r.number, a.payload.data, 8);
        memcpy(&r.text, a.payload.data + 8, 8);
    }
    memcpy(r.why, a.message, sizeof r.why);
    return r;
}

static void assert_note(struct troop *t, uint32_t n, const char *id, uint64_t number, uint64_t text)
{
    struct read r = look(t, n, id);
    if (r.status != TROUPE_OK)
        print_message("note/%s: %s\n", id, r.why);
    assert_int_equal(r.status, TROUPE_OK);
    assert_int_equal(r.number, number);
    assert_int_equal(r.text, text);
}

/* What a newer program has saved is neither read nor overwritten by an older one; what an older one
 * has saved is made anew for the newer. */
static void test_newer_state_is_left_alone(void **unused)
{
    (void)unused;
    struct troop t;
    open_troop(&t);
    start(&t, 0, v0, 1);
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_int_equal(put(&t, 0, "x", "set", 7), TROUPE_OK);
    stop(&t, 0);

    start(&t, 0, v2, 1);
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_note(&t, 0, "x", 7, 0);
    assert_int_equal(put(&t, 0, "x", "annotate", 9), TROUPE_OK);
    stop(&t, 0);

    for (int round = 0; round < 2; round++) {
        start(&t, 0, round == 0 ? v1 : v0, 1);
        assert_true(troop_until(&t, serves, 0, 10000));
        struct read r = look(&t, 0, "x");
        assert_int_equal(r.status, TROUPE_UNAVAILABLE);
        assert_non_null(strstr(r.why, "version 2"));
        assert_int_equal(put(&t, 0, "x", "set", 8), TROUPE_UNAVAILABLE);
        assert_int_equal(put(&t, 0, round == 0 ? "y" : "z", "set", 8), TROUPE_OK);
        stop(&t, 0);
    }
    start(&t, 0, v2, 1);
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_note(&t, 0, "x", 7, 9);
    assert_note(&t, 0, "y", 8, 0);
    troop_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newer_state_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
