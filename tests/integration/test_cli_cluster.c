/* The troupe command against clusters of fake nodes: which of them it asks, how it goes on when one
 * is away, and its exit codes. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/proc.h"
#include "tests/unit/cli_fixture.h"
#include "tests/unit/fake_node.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { NODES = 3, WORDS_MAX = 16, METHODS = 3, PACKED_BYTES = 4096 };

struct fake {
    struct cli_cluster cluster; /* as this node sees it */
    struct fake_node *node;     /* NULL: away */
    unsigned self, asked;
    unsigned odd_until; /* has another view until it has been asked so often */
    enum fake_action action;
    uint8_t packed[METHODS][PACKED_BYTES];
};

struct fixture {
    struct fake fakes[NODES];
    int ports[NODES];
    struct proc cli;
};

/* ---- the nodes ---- */

static void one_call(struct fake *f, const struct rpc_call *call, struct rpc_result *result)
{
    struct cli_cluster *c = &f->cluster;
    const struct {
        const char *method;
        const ProtobufCMessage *answer;
    } answers[METHODS] = {
        {"status", &c->status[f->self].base},
        {"members", &c->members.base},
        {"ring", &c->ring.base},
    };
    result->status = TROUPE_UNIMPLEMENTED;
    for (int i = 0; i < METHODS; i++) {
        if (!troupe_bytes_equal(call->method, troupe_bytes_of(answers[i].method)))
            continue;
        if (protobuf_c_message_get_packed_size(answers[i].answer) > PACKED_BYTES)
            abort();
        result->status = TROUPE_OK;
        result->payload =
            troupe_bytes(f->packed[i], protobuf_c_message_pack(answers[i].answer, f->packed[i]));
    }
}

static enum fake_action answer(void *data, const struct rpc_request *request,
                               struct rpc_reply *reply)
{
    struct fake *f = data;
    f->asked++;
    if (f->odd_until != 0)
        f->cluster.status[f->self].members_hash = f->asked < f->odd_until ? 99 : 11;
    for (size_t i = 0; i < request->calls_n; i++)
        one_call(f, &request->calls[i], &reply->results[i]);
    return f->action;
}

static void start_node(struct fixture *f, unsigned i)
{
    f->fakes[i].node = fake_node_start(f->ports[i], NULL, answer, &f->fakes[i]);
}

static void stop_node(struct fixture *f, unsigned i)
{
    fake_node_stop(f->fakes[i].node);
    f->fakes[i].node = NULL;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->cli.out = -1; /* not standard input, which proc_close would close */
    for (unsigned i = 0; i < NODES; i++)
        f->ports[i] = fake_free_port();
    for (unsigned i = 0; i < NODES; i++) {
        struct cli_cluster *c = &f->fakes[i].cluster;
        cli_cluster_make(c, NODES);
        f->fakes[i].self = i;
        for (unsigned k = 0; k < NODES; k++) {
            snprintf(c->addresses[k], sizeof c->addresses[k], "127.0.0.1:%d", f->ports[k]);
            c->member[k].self = k == i;
        }
        start_node(f, i);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    proc_close(&f->cli);
    for (unsigned i = 0; i < NODES; i++)
        if (f->fakes[i].node != NULL)
            stop_node(f, i);
    free(f);
    return 0;
}

/* ---- the command ---- */

static void start_cli(struct fixture *f, const char *const *words)
{
    char node[64];
    const char *argv[WORDS_MAX] = {TEST_CLI};
    for (int n = 0; words[n] != NULL; n++)
        argv[n + 1] = words[n];
    snprintf(node, sizeof node, "TROUPE_NODE=127.0.0.1:%d", f->ports[0]);
    proc_close(&f->cli);
    proc_start(&f->cli,
               &(struct proc_options){.argv = argv, .env = (const char *const[]){node, NULL}});
}

static int run_cli(struct fixture *f, const char *const *words)
{
    start_cli(f, words);
    int code = proc_wait_exit(&f->cli, PROC_TIMEOUT_MS);
    proc_has_line(&f->cli, "");
    return code;
}

#define START(f, ...) start_cli(f, (const char *const[]){__VA_ARGS__, NULL})
#define RUN(f, ...)   run_cli(f, (const char *const[]){__VA_ARGS__, NULL})

static void expect_output(struct fixture *f, const char *text)
{
    if (!proc_has_line(&f->cli, text))
        fail_msg("no line with \"%s\" in:\n%s", text, f->cli.log);
}

static void every_live_node_is_asked(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "status"), 0);
    expect_output(f, "3 live nodes, 3 of them answered; 48 partitions, 0 unowned, 0 moving");
    expect_output(f, "verdict      HEALTHY");
    for (int i = 0; i < NODES; i++)
        assert_int_equal(f->fakes[i].asked,
                         i == 0 ? 2 : 1); /* the first for the store's word, too */
    assert_int_equal(RUN(f, "status", "--one"), 0);
    expect_output(f, "node         node-1: serving");
    expect_output(f, "members      3 live, 0 of them suspect");
    assert_int_equal(f->fakes[0].asked, 3);
    assert_int_equal(f->fakes[1].asked, 1);
    struct cli_cluster *cluster = &f->fakes[0].cluster;
    cluster->member[2].state = cli_text("dead");
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++) /* the others have its part */
        if (cluster->owner[pid] == 3)
            cluster->owner[pid] = cluster->proposed[pid] = pid % 2 + 1;
    assert_int_equal(RUN(f, "status", "--json"), 0);
    expect_output(f, "\"notes\":[\"node-3: dead for");
    assert_int_equal(f->fakes[2].asked, 1);
}

static void nodes_that_do_not_answer_degrade(void **state)
{
    struct fixture *f = *state;
    stop_node(f, 1);
    f->fakes[2].action = FAKE_SILENCE;
    assert_int_equal(RUN(f, "status", "--timeout", "300ms"), 1);
    expect_output(f, "3 live nodes, 1 of them answered");
    expect_output(f, "node-2: no answer at 127.0.0.1:");
    expect_output(f, "node-3: no answer at 127.0.0.1:");
    stop_node(f, 0);
    assert_int_equal(RUN(f, "status", "--timeout", "300ms"), 3);
    expect_output(f, "is it running?");
    assert_int_equal(RUN(f, "members", "--timeout", "300ms"), 3);
    assert_int_equal(RUN(f, "ring", "--timeout", "300ms", "--json"), 3);
    expect_output(f, "\"answered\":false}");
}

static void disagreement_is_given_a_moment(void **state)
{
    struct fixture *f = *state;
    f->fakes[1].odd_until = 3;
    assert_int_equal(RUN(f, "status"), 0);
    assert_int_equal(f->fakes[1].asked, 3);
    f->fakes[1].odd_until = UINT32_MAX;
    assert_int_equal(RUN(f, "status"), 4);
    expect_output(f, "do not agree on who is a member: node-1, node-3 / node-2");
    assert_true(f->fakes[1].asked > 5);
}

static void members_and_ring_are_shown(void **state)
{
    struct fixture *f = *state;
    f->fakes[0].cluster.member[1].suspect = true;
    assert_int_equal(RUN(f, "members"), 0);
    expect_output(f, "2 up, 1 suspect, 0 down; 48 partitions, 0 of them without an owner");
    expect_output(f, "   node-2  suspect   active  3m12s   33.3%   33.3%     2,000  west ");
    assert_int_equal(RUN(f, "members", "--json"), 0);
    expect_output(f, "{\"cluster\":\"troupe\",");
    assert_int_equal(RUN(f, "ring", "--partitions"), 0);
    expect_output(f, "48 partitions: all are where the ring wants them");
    expect_output(f, "       47  node-3     48  node-3  node-1");
    assert_int_equal(RUN(f, "ring", "nonsense"), 2);
    f->fakes[0].cluster.owner[0] = 9; /* there is no such node */
    assert_int_equal(RUN(f, "ring"), 1);
    expect_output(f, "the answer cannot be read");
}

static void wait_for(struct fixture *f, const char *text)
{
    if (proc_wait_line(&f->cli, text, PROC_TIMEOUT_MS) == NULL)
        fail_msg("no line with \"%s\"", text);
}

/* It follows the members when the one it asks goes away, finds it again when all others are gone,
 * and ends with 0. */
static void a_watch_goes_on_with_another_node(void **state)
{
    struct fixture *f = *state;
    START(f, "members", "--watch=50ms", "--timeout=500ms");
    wait_for(f, "as node-1 sees it");
    wait_for(f, "as node-1 sees it");
    stop_node(f, 0);
    wait_for(f, "no answer; next: 127.0.0.1:");
    wait_for(f, "as node-2 sees it");
    start_node(f, 0);
    stop_node(f, 1);
    stop_node(f, 2);
    wait_for(f, "as node-1 sees it");
    proc_signal(&f->cli, SIGINT);
    assert_int_equal(proc_wait_exit(&f->cli, PROC_TIMEOUT_MS), 0);
}

static void a_watched_status_ends_with_its_last_verdict(void **state)
{
    struct fixture *f = *state;
    START(f, "status", "--watch", "0.1", "--timeout=300ms");
    wait_for(f, "HEALTHY");
    stop_node(f, 2);
    wait_for(f, "DEGRADED");
    proc_signal(&f->cli, SIGINT);
    assert_int_equal(proc_wait_exit(&f->cli, PROC_TIMEOUT_MS), 1);
}

int main(void)
{
#define WITH_NODES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_NODES(every_live_node_is_asked),
        WITH_NODES(nodes_that_do_not_answer_degrade),
        WITH_NODES(disagreement_is_given_a_moment),
        WITH_NODES(members_and_ring_are_shown),
        WITH_NODES(a_watch_goes_on_with_another_node),
        WITH_NODES(a_watched_status_ends_with_its_last_verdict),
    };
    return cmocka_run_group_tests_name("cli and a cluster", tests, NULL, NULL);
}
