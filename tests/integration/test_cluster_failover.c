/* Failovers of the database whose old primary lives on, with real servers: a primary and an
 * asynchronous standby behind one port that steers new connections. The standby is promoted, and
 * one of the node's connections breaks, so that it leads to the new primary from then on, while the
 * others lead to the old one, which accepts and commits what is lost then. Whatever was
 * acknowledged as durable once the standby had taken over has to be on the new primary.
 *
 * And a node none of whose connections breaks is told by the others, which have moved over. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cluster_load.h"
#include "tcp_switch.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    COUNTERS = 60,
    CALL_MS = 10000,
    ACKS = 300,
    ACKS_MS = 60000,
    STREAM_MS = 30000,
    NOTICE_MS = 30000,
};

/* Which of the node's connections breaks: one whose last statement contains this. */
static const char LEASE[] = "%renew_seq + 1%";
static const char DATA[] = "%INSERT INTO troupe.entity%";

static struct cluster c;
static struct load load;
static struct pg_fixture primary, standby;
static struct tcp_switch port;
static bool has_pg;

static void socket_of(const struct pg_fixture *f, char path[TCP_SWITCH_PATH_BYTES])
{
    snprintf(path, TCP_SWITCH_PATH_BYTES, "%s/.s.PGSQL.5432", f->dir);
}

static int set_up_nodes(size_t n)
{
    char path[TCP_SWITCH_PATH_BYTES], database[32];
    has_pg = pg_fixture_open(&primary);
    if (!has_pg)
        return 0;
    cluster_open(&c, &primary, n, true);
    socket_of(&primary, path);
    tcp_switch_open(&port, path);
    assert_int_equal(sscanf(c.store, "postgresql://postgres@/%31[^?]", database), 1);
    snprintf(c.store, sizeof c.store, "postgresql://postgres@127.0.0.1:%d/%s", port.port, database);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_nodes(1);
}

static int set_up_three(void **state)
{
    (void)state;
    return set_up_nodes(3);
}

static int tear_down(void **state)
{
    (void)state;
    if (!has_pg)
        return 0;
    load_close(&load);
    cluster_close(&c);
    tcp_switch_close(&port);
    pg_fixture_close(&standby);
    pg_fixture_close(&primary);
    return 0;
}

struct query {
    const struct pg_fixture *server;
    const char *sql;
};

static bool is_true(struct cluster *cluster, void *data)
{
    const struct query *q = data;
    (void)cluster;
    return pg_fixture_is(q->server, "postgres", q->sql);
}

static void wait_until(const struct pg_fixture *server, const char *sql, int timeout_ms)
{
    struct query q = {.server = server, .sql = sql};
    if (!cluster_wait(&c, is_true, &q, timeout_ms))
        fail_msg("it does not become true: %s", sql);
}

static void start_under_load(void)
{
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_open(&load, &c, "d", COUNTERS, true, CALL_MS);
    load_start(&load);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
}

/* The standby takes over; connections that are open stay, on a primary that lives. */
static void promote(void)
{
    char path[TCP_SWITCH_PATH_BYTES];
    socket_of(&standby, path);
    pg_fixture_sql(&standby, "postgres", "SELECT pg_promote()");
    tcp_switch_steer(&port, path);
}

static void break_connection(const char *statement)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
             " 'troupe' AND query LIKE '%s' LIMIT 1",
             statement);
    pg_fixture_sql(&primary, "postgres", sql);
}

static bool has_noticed(struct cluster *cluster, void *data)
{
    size_t last = cluster->n - 1;
    (void)data;
    return proc_has_line(&cluster->nodes[last].proc, "the store has failed over");
}

/* What the new primary has: the node is killed, and its next run knows nothing else. */
static void assert_nothing_is_lost(void)
{
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    load_stop(&load);
    cluster_kill(&c, 0);
    cluster_start(&c, 0);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_verify(&load);
    load_assert_only_unavailable(&load);
}

/* The same port, but its connections can be told from those of the others. */
static void name_connections(struct cluster_node *n, char url[320])
{
    snprintf(url, 320, "%.280s?application_name=third", c.store);
    n->args[0] = "--store";
    n->args[1] = url;
}

static void take_over(void)
{
    pg_fixture_follow(&standby, &primary);
    wait_until(&primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'",
               STREAM_MS);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    promote();
    load_wait_acks(&load, &c, ACKS, ACKS_MS); /* on the old primary: they are in memory, too */
}

static void fail_over(const char *what_breaks)
{
    if (!has_pg)
        skip();
    start_under_load();
    take_over();
    break_connection(what_breaks);
    assert_true(cluster_wait(&c, has_noticed, NULL, NOTICE_MS));
    assert_nothing_is_lost();
}

static void only_the_lease_leads_to_the_new_primary(void **state)
{
    (void)state;
    fail_over(LEASE);
}

static void one_for_data_leads_to_the_new_primary(void **state)
{
    (void)state;
    fail_over(DATA);
}

static uint64_t generation_of(size_t i)
{
    Troupe__Rpc__NodeStatus *status = cluster_status(&c, i, CALL_MS);
    assert_non_null(status);
    uint64_t generation = status->generation;
    cluster_free_message(status);
    return generation;
}

/* All connections of the first two break, and none of the third one's. It moves over before it is
 * evicted, with what it has acknowledged meanwhile. */
static void the_others_tell_a_node_that_nothing_breaks(void **state)
{
    (void)state;
    char url[320];
    if (!has_pg)
        skip();
    name_connections(&c.nodes[2], url);
    start_under_load();
    uint64_t generation = generation_of(2);
    take_over();
    pg_fixture_sql(&primary, "postgres",
                   "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE application_name = 'troupe'");
    assert_true(cluster_wait(&c, has_noticed, NULL, NOTICE_MS));
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    wait_until(&standby,
               "SELECT count(*) = 4 FROM pg_stat_activity WHERE application_name = 'third'",
               NOTICE_MS);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    load_stop(&load);
    assert_int_equal(generation_of(2), generation);
    cluster_kill(&c, 2);
    cluster_start(&c, 2);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_verify(&load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_lease_leads_to_the_new_primary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_for_data_leads_to_the_new_primary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_others_tell_a_node_that_nothing_breaks, set_up_three,
                                        tear_down),
    };
    return cmocka_run_group_tests_name("cluster_failover", tests, NULL, NULL);
}
