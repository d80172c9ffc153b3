/* The Postgres store that is told of a later server (store_redial), with a primary and its standby
 * behind one port that steers new connections: none of the store's own breaks. */
#include <string.h>

#include "pg_fixture.h"
#include "tcp_switch.h"
#include "tests/unit/store_contract_parts.h"

static const struct store_fixture FIXTURE = {.name = "redial"};

static struct pg_fixture primary, standby;
static struct tcp_switch port;
static bool has_server;
static struct contract_store s;
static uint64_t generation;

static void socket_of(const struct pg_fixture *f, char path[TCP_SWITCH_PATH_BYTES])
{
    snprintf(path, TCP_SWITCH_PATH_BYTES, "%s/.s.PGSQL.5432", f->dir);
}

/* Asks for the map, by one of the connections for data, and renews, by the lease's; whether both
 * were answered by the server of that number. */
static bool answers(uint64_t server, uint64_t timeline)
{
    struct contract_request owners, renewal;
    assert_int_equal(contract_owners(&s, &owners), 0);
    assert_int_equal(contract_renew(&s, &renewal, "a", generation), 0);
    bool so = owners.r.server == server && owners.r.timeline == timeline &&
              renewal.r.server == server && renewal.r.timeline == timeline;
    contract_free(&owners);
    contract_free(&renewal);
    return so;
}

static int links(void)
{
    pthread_mutex_lock(&port.lock);
    int n = port.links_n;
    pthread_mutex_unlock(&port.lock);
    return n;
}

static int set_up(void **state)
{
    (void)state;
    char path[TCP_SWITCH_PATH_BYTES], url[CONTRACT_URL_BYTES];
    has_server = pg_fixture_open(&primary);
    if (!has_server)
        return 0;
    socket_of(&primary, path);
    tcp_switch_open(&port, path);
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/postgres", port.port);
    contract_open(&s, &FIXTURE, url, "c", CONTRACT_PARTITIONS);
    generation = contract_must_register(&s, "a", 1);
    assert_true(answers(1, 1));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (!has_server)
        return 0;
    contract_close(&s);
    tcp_switch_close(&port);
    pg_fixture_close(&standby);
    pg_fixture_close(&primary);
    return 0;
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* All go there, though those that are open stay on a primary that lives. */
static void a_later_server_is_found(void **state)
{
    (void)state;
    char path[TCP_SWITCH_PATH_BYTES];
    if (!has_server)
        skip();
    pg_fixture_follow(&standby, &primary);
    pg_fixture_sql(&standby, "postgres", "SELECT pg_promote()");
    socket_of(&standby, path);
    tcp_switch_steer(&port, path);
    assert_true(answers(1, 1));
    store_redial(s.store);
    uint64_t until_ms = now_ms() + CONTRACT_DEADLINE_MS;
    while (!answers(2, 2))
        assert_true(now_ms() < until_ms);
}

static void settles(const char *sql)
{
    uint64_t until_ms = now_ms() + CONTRACT_DEADLINE_MS;
    while (!pg_fixture_is(&primary, "postgres", sql)) {
        assert_true(now_ms() < until_ms);
        assert_true(answers(1, 1));
    }
}

/* A look, and nothing else: each of the connections is the one that it was. */
static void the_same_server_changes_nothing(void **state)
{
    (void)state;
    if (!has_server)
        skip();
    settles("SELECT count(*) = 4 FROM pg_stat_activity WHERE application_name = 'troupe'");
    pg_fixture_sql(&primary, "postgres",
                   "CREATE TABLE before AS SELECT pid FROM pg_stat_activity"
                   " WHERE application_name = 'troupe'");
    int before = links();
    store_redial(s.store);
    store_redial(s.store); /* while it looks: nothing more */
    uint64_t until_ms = now_ms() + CONTRACT_DEADLINE_MS;
    while (links() == before) {
        assert_true(now_ms() < until_ms);
        assert_true(answers(1, 1));
    }
    settles("SELECT count(*) = 4 FROM pg_stat_activity WHERE application_name = 'troupe'");
    assert_int_equal(links(), before + 1);
    assert_true(pg_fixture_is(&primary, "postgres",
                              "SELECT count(*) = 4 FROM pg_stat_activity JOIN before USING (pid)"));
}

/* New connections cannot be made: those that are open are kept, and it is tried again. */
static void a_way_that_is_closed_costs_nothing(void **state)
{
    (void)state;
    char path[TCP_SWITCH_PATH_BYTES];
    if (!has_server)
        skip();
    pg_fixture_follow(&standby, &primary);
    tcp_switch_steer(&port, "/nonexistent/socket");
    store_redial(s.store);
    uint64_t until_ms = now_ms() + 1000;
    while (now_ms() < until_ms)
        assert_true(answers(1, 1));
    pg_fixture_sql(&standby, "postgres", "SELECT pg_promote()");
    socket_of(&standby, path);
    tcp_switch_steer(&port, path);
    until_ms = now_ms() + CONTRACT_DEADLINE_MS;
    while (!answers(2, 2)) {
        assert_true(now_ms() < until_ms);
        store_redial(s.store); /* if it has given up meanwhile, on a slow machine */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_later_server_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_server_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_way_that_is_closed_costs_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("store_redial", tests, NULL, NULL);
}
