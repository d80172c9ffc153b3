/* The entities of a partition against a dumb oracle, with hashes that collide a lot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/runtime/internal.h"
#include "random.h"

enum { ENTITIES = 300 };

static struct entity *make(uint32_t n, uint64_t hash)
{
    struct entity *e = calloc(1, sizeof *e + sizeof n);
    assert_non_null(e);
    e->hash = hash;
    e->id_len = sizeof n;
    memcpy(e->id, &n, sizeof n);
    return e;
}

static void agrees_with_an_oracle(void **state)
{
    (void)state;
    struct dice d = dice_new(7);
    struct table t = {0};
    struct entity *all[ENTITIES];
    bool in[ENTITIES] = {false};
    for (uint32_t i = 0; i < ENTITIES; i++)
        all[i] = make(i, dice_below(&d, 64)); /* few hashes: long runs, wrapped ends */
    for (int round = 0; round < 50000; round++) {
        uint32_t i = (uint32_t)dice_below(&d, ENTITIES);
        if (in[i])
            table_remove(&t, all[i]);
        else
            assert_int_equal(table_insert(&t, all[i]), 0);
        in[i] = !in[i];
        uint32_t k = (uint32_t)dice_below(&d, ENTITIES);
        struct troupe_bytes id = {all[k]->id, all[k]->id_len};
        assert_ptr_equal(table_find(&t, all[k]->hash, 0, id), in[k] ? all[k] : NULL);
        assert_null(table_find(&t, all[k]->hash, 1, id));
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < table_slots(&t); i++)
        count += t.slots[i] != NULL;
    assert_int_equal(count, t.count);
    table_close(&t);
    for (uint32_t i = 0; i < ENTITIES; i++)
        free(all[i]);
}

static void an_empty_table_costs_nothing(void **state)
{
    (void)state;
    struct table t = {0};
    struct entity *e = make(1, 42);
    assert_null(table_find(&t, 42, 0, troupe_bytes("x", 1)));
    assert_int_equal(table_insert(&t, e), 0);
    table_remove(&t, e);
    assert_null(t.slots);
    assert_int_equal(table_slots(&t), 0);
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_an_oracle),
        cmocka_unit_test(an_empty_table_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
