/* A node's life: it starts, serves, stops cleanly, is killed, comes back. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/node_proc.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

static char dir[64], address[NODE_ADDRESS_BYTES], text[NODE_REPLY_BYTES];
static struct proc node;

static int set_up(void **state)
{
    (void)state;
    proc_temp_dir(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proc_close(&node);
    proc_remove_dir(dir);
    return 0;
}

static void start(void)
{
    node_start(&node, dir, (const char *const[]){"--kinds", NODE_COUNTER, "--name", "alone", NULL});
    node_wait_ready(&node, address);
}

static void answers_calls_and_stops_with_0(void **state)
{
    (void)state;
    start();
    assert_int_equal(node_call_once(address, "counter/a", "incr", "{\"by\": 5}", text), TROUPE_OK);
    assert_string_equal(text, "{\"value\":\"5\"}");
    assert_int_equal(node_call_once(address, "$node/self", "status", "", text), TROUPE_OK);
    assert_non_null(strstr(text, "\"state\":\"serving\""));
    node_stop(&node);
}

static void keeps_state_over_a_clean_stop(void **state)
{
    (void)state;
    start();
    assert_int_equal(node_call_once(address, "counter/a", "incr", "{\"by\": 7}", text), TROUPE_OK);
    node_stop(&node);
    start();
    assert_int_equal(node_call_once(address, "counter/a", "read", "", text), TROUPE_OK);
    assert_string_equal(text, "{\"value\":\"7\"}");
    node_stop(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_calls_and_stops_with_0, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_state_over_a_clean_stop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
