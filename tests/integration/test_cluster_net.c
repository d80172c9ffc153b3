/* Clusters on a network that fails: each node has a network namespace of its own, joined to the
 * others by a bridge, and nftables drop what is to be lost. The test's process moves into new
 * namespaces first, so that nothing of it is seen outside or stays behind. It needs root, ip and
 * nft (tools/setup --for test); without them the tests are skipped. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster_load.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    NODES = 3,
    COUNTERS = 300,
    CALL_MS = 60000,
    ACKS = 100,
    ACKS_MS = 90000,
    APART_MS = 30000,
    HEALED_MS = 15000, /* what the design promises */
    ONE_WAY_MS = 12000,
    COMMAND_BYTES = 512,
};

#define NETWORK "10.77.0.0/24"
#define HERE    "10.77.0.1"

static struct cluster c;
static struct load load;
static struct pg_fixture pg;
static bool has_net;

/* ---- the network ---- */

static bool run(const char *format, ...)
{
    char command[COMMAND_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_in_range(n, 1, sizeof command - 1);
    return system(command) == 0; /* our own words; nothing from outside */
}

/* Namespaces of our own; those that ip makes are kept where nobody else sees them. */
static bool move_away(void)
{
    mkdir("/run/netns", 0755);
    return unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/run/netns", "tmpfs", 0, NULL) == 0;
}

static bool make_network(void)
{
    bool ok = run("ip link set lo up && ip link add br0 type bridge && "
                  "ip addr add " HERE "/24 dev br0 && ip link set br0 up");
    for (int i = 1; ok && i <= NODES; i++)
        ok = run("ip netns add n%d && ip link add v%d type veth peer name eth0 netns n%d && "
                 "ip link set v%d master br0 up && ip -n n%d addr add 10.77.0.1%d/24 dev eth0 && "
                 "ip -n n%d link set eth0 up && ip -n n%d link set lo up && "
                 "ip netns exec n%d nft list ruleset",
                 i, i, i, i, i, i, i, i, i);
    return ok;
}

/* In node i's namespace: what comes from there, or goes there, is lost. "" = nothing is. */
static void lose(size_t i, const char *from, const char *to)
{
    char rules[COMMAND_BYTES] = "flush ruleset; add table ip cut;", more[160];
    if (from[0] != '\0') {
        snprintf(more, sizeof more,
                 " add chain ip cut in { type filter hook input priority 0; };"
                 " add rule ip cut in ip saddr { %s } drop;",
                 from);
        strcat(rules, more);
    }
    if (to[0] != '\0') {
        snprintf(more, sizeof more,
                 " add chain ip cut out { type filter hook output priority 0; };"
                 " add rule ip cut out ip daddr { %s } drop;",
                 to);
        strcat(rules, more);
    }
    assert_true(run("ip netns exec n%zu nft '%s'", i + 1, rules));
}

static void mend(size_t i)
{
    assert_true(run("ip netns exec n%zu nft flush ruleset", i + 1));
}

/* ---- the cluster, which the tests share ---- */

static bool is_possible(void)
{
    if (geteuid() != 0 || !run("command -v ip nft >/dev/null 2>&1")) {
        printf("skipped: needs root, ip and nft\n");
        return false;
    }
    if (!move_away() || !make_network()) {
        printf("skipped: no network namespaces, bridges or nftables here\n");
        return false;
    }
    return true;
}

static int open_group(void **state)
{
    static const char *const hosts[NODES] = {"10.77.0.11", "10.77.0.12", "10.77.0.13"};
    static const char *const spaces[NODES] = {"n1", "n2", "n3"};
    (void)state;
    if (!is_possible() || !pg_fixture_open(&pg))
        return 0;
    has_net = true;
    pg_fixture_listen(&pg, HERE, NETWORK);
    cluster_open(&c, &pg, NODES, false);
    for (size_t i = 0; i < NODES; i++) {
        c.nodes[i].host = hosts[i];
        c.nodes[i].netns = spaces[i];
    }
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    return 0;
}

static int close_group(void **state)
{
    (void)state;
    if (!has_net)
        return 0;
    cluster_close(&c);
    pg_fixture_close(&pg);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (!has_net)
        return 0;
    load_close(&load);
    load = (struct load){0};
    for (size_t i = 0; i < NODES; i++) {
        mend(i);
        c.nodes[i].runs = true;
    }
    return 0;
}

static void start_load(const char *prefix)
{
    if (!has_net)
        skip();
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_open(&load, &c, prefix, COUNTERS, true, CALL_MS);
    load_start(&load);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
}

static void end_load(void)
{
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    load_stop(&load);
    printf("%lu durable increments acknowledged, %lu of unknown outcome; the slowest batch took "
           "%lu ms\n",
           atomic_load(&load.acks), atomic_load(&load.unknowns), atomic_load(&load.longest_ms));
    load_assert_only_unknown(&load);
    load_verify(&load);
}

static void wait_healed(const char *what)
{
    struct figures healed = {0};
    long since_ms = proc_now_ms();
    cluster_wait_agreed(&c, HEALED_MS);
    figures_add(&healed, proc_now_ms() - since_ms);
    figures_print(&healed, what);
}

/* ---- the tests ---- */

/* Those that hear each other have given up the one that they do not hear. That one concludes
 * nothing from silence all around: see cluster/swim.h. */
static bool is_missed(struct cluster *cluster, void *data)
{
    (void)data;
    return strcmp(cluster_state(cluster, 1, 0), "dead") == 0 &&
           strcmp(cluster_state(cluster, 2, 0), "dead") == 0;
}

/* All reach the store and the clients, but one node and the others do not hear each other. It keeps
 * its lease, and so its part. */
static void a_partition_heals(void **state)
{
    (void)state;
    start_load("p");
    lose(0, "10.77.0.12, 10.77.0.13", "10.77.0.12, 10.77.0.13");
    if (!cluster_wait(&c, is_missed, NULL, APART_MS)) {
        cluster_show(&c);
        fail_msg("the others do not miss a node that they cannot hear");
    }
    mend(0);
    wait_healed("a partition is mended: one view");
    end_load();
}

static void a_node_that_is_cut_off_is_replaced_and_comes_back(void **state)
{
    struct figures replaced = {0};
    (void)state;
    start_load("c");
    Troupe__Rpc__NodeStatus *before = cluster_status(&c, 0, CALL_MS);
    assert_non_null(before);
    lose(0, NETWORK, NETWORK);
    long since_ms = proc_now_ms();
    c.nodes[0].runs = false;
    cluster_wait_agreed(&c, CLUSTER_TAKEOVER_MS);
    figures_add(&replaced, proc_now_ms() - since_ms);
    figures_print(&replaced, "a node is cut off from all: the others own its part");
    mend(0);
    c.nodes[0].runs = true;
    wait_healed("a node that was cut off from all: back");
    Troupe__Rpc__NodeStatus *after = cluster_status(&c, 0, CALL_MS);
    assert_non_null(after);
    assert_true(after->generation > before->generation); /* it was evicted meanwhile */
    cluster_free_message(before);
    cluster_free_message(after);
    end_load();
}

struct removals {
    long until_ms;
    bool dead[NODES];
    unsigned n[NODES];
};

/* How often each of the others has removed node 0. */
static bool count_removals(struct cluster *cluster, void *data)
{
    struct removals *r = data;
    for (size_t i = 1; i < NODES; i++) {
        bool dead = strcmp(cluster_state(cluster, i, 0), "dead") == 0;
        r->n[i] += dead && !r->dead[i];
        r->dead[i] = dead;
    }
    return proc_now_ms() >= r->until_ms;
}

static void one_way_loss_removes_once_at_most(void **state)
{
    (void)state;
    start_load("o");
    lose(0, "10.77.0.12, 10.77.0.13", "");
    struct removals r = {.until_ms = proc_now_ms() + ONE_WAY_MS};
    cluster_wait(&c, count_removals, &r, ONE_WAY_MS + PROC_TIMEOUT_MS);
    mend(0);
    wait_healed("a one-way loss is mended: one view");
    count_removals(&c, &r);
    for (size_t i = 1; i < NODES; i++)
        assert_in_range(r.n[i], 0, 1);
    end_load();
}

/* An argument is a pattern of the tests to run. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_partition_heals, tear_down),
        cmocka_unit_test_teardown(a_node_that_is_cut_off_is_replaced_and_comes_back, tear_down),
        cmocka_unit_test_teardown(one_way_loss_removes_once_at_most, tear_down),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_group, close_group);
}
