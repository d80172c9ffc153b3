/* Plug-ins of an older interface are taken, and nothing is read of them that they do not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/shell/kinds.h"

static struct kinds kinds;

static void test_older_interface(void **unused)
{
    (void)unused;
    char errmsg[KINDS_ERRMSG_BYTES] = "";
    int rc = kinds_load(&kinds, OLD_PLUGIN, errmsg);
    assert_string_equal(errmsg, "");
    assert_int_equal(rc, 0);
    assert_int_equal(kinds.n, 1);
    const struct troupe_kind *k = kinds.all[0];
    assert_string_equal(k->name, "old");
    assert_int_equal(((const uint8_t *)&k->methods)[0], 1);
    assert_int_equal(k->state_version, 0);
    assert_null(k->upgrade);
    assert_null(k->save_as);
    assert_int_equal(k->save_as_oldest, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_older_interface)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
