/* The Postgres store and servers that do not say who they are: a role without rights may ask, one
 * that may not is told what to set, and with that set everything works but noticing failovers. */
#include <string.h>

#include "pg_fixture.h"
#include "tests/unit/store_contract_parts.h"

static const struct store_fixture ASKS = {.name = "asks"};
static const struct store_fixture DOES_NOT = {.name = "does not", .timeline_none = true};

static struct pg_fixture server;
static bool has_server;
static char url[CONTRACT_URL_BYTES]; /* of an ordinary role */

static int set_up(void **state)
{
    (void)state;
    struct contract_store s;
    char owner[CONTRACT_URL_BYTES];
    has_server = pg_fixture_open(&server);
    if (!has_server)
        return 0;
    pg_fixture_url(&server, "postgres", owner, sizeof owner);
    contract_open(&s, &ASKS, owner, "c", CONTRACT_PARTITIONS); /* makes the schema */
    contract_close(&s);
    pg_fixture_sql(&server, "postgres",
                   "CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA troupe TO plain;"
                   " GRANT ALL ON ALL TABLES IN SCHEMA troupe TO plain;"
                   " GRANT ALL ON ALL SEQUENCES IN SCHEMA troupe TO plain");
    snprintf(url, sizeof url, "postgresql://plain@/postgres?host=%s", server.dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (has_server)
        pg_fixture_close(&server);
    return 0;
}

static void forbid(void)
{
    pg_fixture_sql(&server, "postgres", "REVOKE EXECUTE ON FUNCTION pg_walfile_name FROM PUBLIC");
}

static void an_ordinary_role_may_ask(void **state)
{
    (void)state;
    struct contract_store s;
    struct contract_request q;
    if (!has_server)
        skip();
    contract_open(&s, &ASKS, url, "c", CONTRACT_PARTITIONS);
    assert_int_equal(contract_register(&s, &q, "a", 1), 0);
    assert_int_equal(q.r.server, 1);
    assert_int_equal(q.r.timeline, 1);
    contract_free(&q);
    contract_close(&s);
}

static void a_server_that_does_not_tell_is_refused(void **state)
{
    (void)state;
    struct contract_store s;
    struct contract_request q;
    if (!has_server)
        skip();
    forbid();
    contract_open(&s, &ASKS, url, "c", CONTRACT_PARTITIONS);
    contract_init(&q, STORE_OWNERS);
    contract_submit(&s, &q);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
    assert_non_null(strstr(q.r.errmsg, "store-timeline = none"));
    contract_free(&q);
    contract_close(&s);
}

static void unless_nobody_asks(void **state)
{
    (void)state;
    struct contract_store s;
    struct contract_request q;
    if (!has_server)
        skip();
    forbid();
    contract_open(&s, &DOES_NOT, url, "c", CONTRACT_PARTITIONS);
    uint64_t generation = contract_must_register(&s, "a", 1);
    assert_int_equal(contract_must_claim(&s, "a", generation, 5), 1);
    assert_int_equal(contract_renew(&s, &q, "a", generation), 0);
    assert_int_equal(q.r.server, 0);
    assert_int_equal(q.r.timeline, 0);
    contract_free(&q);
    contract_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_ordinary_role_may_ask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_does_not_tell_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unless_nobody_asks, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("store_server", tests, NULL, NULL);
}
