/* Operators' commands against a cluster of real nodes: a node is drained and taken back, the
 * history of a partition tells of it, and check finds nothing, or what is there to be found. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cluster_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { NODES = 3, WORDS_MAX = 16 };

static struct cluster c;
static struct proc cli;

static int set_up(void **state)
{
    (void)state;
    cli = (struct proc){.out = -1};
    cluster_open(&c, NULL, NODES, false);
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proc_close(&cli);
    cluster_close(&c);
    return 0;
}

static void start_cli(struct proc *p, size_t node, const char *const *words)
{
    char at[96];
    const char *argv[WORDS_MAX] = {TEST_CLI};
    for (int n = 0; words[n] != NULL; n++)
        argv[n + 1] = words[n];
    snprintf(at, sizeof at, "TROUPE_NODE=%s", c.nodes[node].address);
    proc_start(p, &(struct proc_options){.argv = argv, .env = (const char *const[]){at, NULL}});
}

static int run_cli(size_t node, const char *const *words)
{
    proc_close(&cli);
    start_cli(&cli, node, words);
    int code = proc_wait_exit(&cli, PROC_TIMEOUT_MS);
    proc_has_line(&cli, "");
    return code;
}

#define RUN(node, ...) run_cli(node, (const char *const[]){__VA_ARGS__, NULL})

static void expect(int code, int wanted, const char *text)
{
    if (code != wanted || !proc_has_line(&cli, text))
        fail_msg("exit code %d, wanted %d and \"%s\":\n%s", code, wanted, text, cli.log);
}

static bool is_dead(struct cluster *cluster, void *data)
{
    (void)data;
    return strcmp(cluster_state(cluster, 0, 2), "dead") == 0;
}

struct wanted {
    size_t node;
    const char *command;
};

static bool is_fine(struct cluster *cluster, void *data)
{
    const struct wanted *w = data;
    (void)cluster;
    return RUN(w->node, w->command) == 0;
}

/* Until the command ends with 0. */
static void wait_fine(size_t node, const char *command)
{
    struct wanted wanted = {node, command};
    if (!cluster_wait(&c, is_fine, &wanted, CLUSTER_AGREE_MS))
        fail_msg("%s says:\n%s", command, cli.log);
}

/* By way of another node, which knows where it is. */
static void a_node_is_drained_and_taken_back(void **state)
{
    (void)state;
    expect(RUN(0, "call", "counter/7", "incr"), 0, "");
    expect(RUN(0, "why", "counter/7"), 0, "history      ");
    expect(RUN(1, "drain", "n1", "--json"), 0, "\"state\":\"drained\",\"partitions_left\":0");
    wait_fine(1, "status"); /* the others share anew */
    expect(RUN(1, "status"), 0, "n1: drained by an operator, 0 partitions left");
    expect(RUN(0, "members"), 0, "draining");
    expect(RUN(0, "rebalance", "--plan"), 0, "nothing is to move");
    wait_fine(0, "check");
    expect(RUN(0, "call", "counter/7", "incr"), 0, "2"); /* it passes calls on */
    expect(RUN(1, "drain", "n1", "--cancel"), 0, "n1 takes partitions again");
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    cluster_assert_balanced(&c);
    expect(RUN(2, "transfers"), 0, "moved so far ");
    expect(RUN(2, "transfers", "--json"), 0, "\"pending\":0");
    expect(RUN(2, "why", "--partition", "4095", "--json"), 0, "\"agrees_with_store\":true");
}

static void drains_are_refused(void **state)
{
    (void)state;
    expect(RUN(0, "drain", "n9"), 1, "there is no member \"n9\"");
    expect(RUN(0, "drain"), 2, "an argument is missing");
    expect(RUN(0, "drain", "n1"), 0, "n1 is drained");
    expect(RUN(0, "drain", "n2"), 0, "n2 is drained");
    expect(RUN(0, "drain", "n3"), 1, "there is no other active node");
    expect(RUN(0, "rebalance"), 2, "by themselves");
    expect(RUN(0, "why"), 2, "one of them");
    expect(RUN(0, "why", "--partition", "4096"), 2, "there is no partition 4096");
}

/* Drains of all nodes at once, each by way of the node itself, before they have heard of each
 * other: the store refuses it to the last one, which takes everything. */
static void of_all_nodes_that_drain_one_stays(void **state)
{
    (void)state;
    static const char *const names[NODES] = {"n1", "n2", "n3"};
    struct proc drains[NODES];
    int refused = 0;
    for (size_t i = 0; i < NODES; i++)
        start_cli(&drains[i], i, (const char *const[]){"drain", names[i], "--wait", "20s", NULL});
    for (size_t i = 0; i < NODES; i++) {
        int code = proc_wait_exit(&drains[i], PROC_TIMEOUT_MS);
        bool said = proc_has_line(&drains[i], "there is no other active node");
        refused += said;
        if (code != (said ? 1 : 0))
            fail_msg("exit code %d:\n%s", code, drains[i].log);
        proc_close(&drains[i]);
    }
    assert_int_equal(refused, 1);
    expect(RUN(0, "call", "counter/7", "incr"), 0, "1"); /* it is served on */
}

/* A node that is stopped is silent first, and nothing proves its end; later the others have its
 * part.
 */
static void check_finds_what_is_wrong(void **state)
{
    (void)state;
    wait_fine(0, "check");
    expect(RUN(0, "check", "--json"), 0, "\"agree\":true");
    proc_signal(&c.nodes[2].proc, SIGSTOP);
    int code = RUN(0, "check", "--timeout", "1s");
    assert_true(code == 3 || code == 4);
    cluster_kill(&c, 2);
    wait_fine(0, "check");
    cluster_kill(&c, 0);
    expect(RUN(0, "check", "--timeout", "500ms"), 3, "is it running?");
}

/* n3 dies, and its lease runs out: nobody has said that this is as it should be. */
static void who_dies_is_missed_until_it_is_evicted(void **state)
{
    (void)state;
    expect(RUN(0, "evict", "n3"), 2, "say --yes");
    expect(RUN(0, "evict", "--yes", "n3"), 1, "n3 lives: it renews its lease");
    expect(RUN(0, "evict", "--yes", "n1"), 1, "n1 is the node that you ask, and alive");
    expect(RUN(0, "evict", "--yes", "n9"), 1, "the store knows of no node n9");
    cluster_kill(&c, 2);
    assert_true(cluster_wait(&c, is_dead, NULL, CLUSTER_AGREE_MS));
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    expect(RUN(0, "status"), 1, "n3: it is missing, for ");
    expect(RUN(1, "evict", "--yes", "--json", "n3"), 0, "{\"node\":\"n3\",\"state\":\"evicted\"}");
    expect(RUN(0, "status"), 0, "HEALTHY");
    expect(RUN(0, "evict", "--yes", "n3"), 0, "if it still runs, it comes back"); /* no harm */
    cluster_start(&c, 2);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    wait_fine(0, "status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_is_drained_and_taken_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drains_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_dies_is_missed_until_it_is_evicted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_all_nodes_that_drain_one_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_finds_what_is_wrong, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("cli for operators, and nodes", tests, NULL, NULL);
}
