/* A client that knows the ring, and real nodes: it is given one address, learns from the replies
 * who owns what, and then no call is forwarded any more; and so again after a node has left and
 * when it is back. Each call has taken effect once. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cluster_fixture.h"
#include "cluster_load.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { NODES = 3, ENTITIES = 512, CALL_MS = 20000, ASK_MS = 5000, LEARN_MS = 30000, ROUNDS = 20 };

static struct cluster c;
static struct troupe_client *client;
static struct troupe_batch *batch;
static uint64_t rounds; /* each of which has incremented every counter once */

static int set_up(void **state)
{
    (void)state;
    rounds = 0;
    cluster_open(&c, NULL, NODES, false);
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    struct troupe_client_options options = {.addresses = c.nodes[0].address};
    char errmsg[256];
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), 0);
    batch = troupe_batch_new(client);
    assert_non_null(batch);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    troupe_batch_free(batch);
    troupe_client_close(client);
    cluster_close(&c);
    return 0;
}

static void add(unsigned entity)
{
    char id[16];
    snprintf(id, sizeof id, "%u", entity);
    assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("counter"), troupe_bytes_of(id),
                                      troupe_bytes_of("incr"), (struct troupe_bytes){0},
                                      TROUPE_ACK_MEMORY, 0),
                     0);
}

static void send_and_check(void)
{
    assert_int_equal(troupe_batch_send_wait(batch, CALL_MS), 0);
    for (size_t i = 0; i < troupe_batch_count(batch); i++) {
        const struct troupe_call_result *r = troupe_batch_result(batch, i);
        uint64_t value;
        if (r->status != TROUPE_OK)
            fail_msg("%s %.*s", troupe_status_name((int)r->status), (int)r->message.len,
                     (const char *)r->message.data);
        assert_true(load_read_value(r->payload, &value));
        assert_int_equal(value, rounds);
    }
}

/* Every counter once, all of them in one batch or each in its own. */
static void call_all(bool together)
{
    rounds++;
    for (unsigned i = 0; i < ENTITIES; i++) {
        if (i == 0 || !together)
            troupe_batch_reset(batch);
        add(i);
        if (!together || i == ENTITIES - 1)
            send_and_check();
    }
    cluster_drain_logs(&c);
}

struct look {
    size_t node;
    uint64_t uptime_ms, forwarded;
    bool again;
};

/* An answer of $node may be given again for a moment: one that was made later is wanted. */
static bool is_fresh(struct cluster *cluster, void *data)
{
    struct look *look = data;
    Troupe__Rpc__NodeStatus *status = cluster_status(cluster, look->node, ASK_MS);
    assert_non_null(status);
    bool fresh = look->again && status->uptime_ms != look->uptime_ms;
    look->again = true;
    look->uptime_ms = status->uptime_ms;
    look->forwarded = status->forwarded;
    cluster_free_message(status);
    return fresh;
}

static uint64_t forwarded(void)
{
    uint64_t n = 0;
    for (size_t i = 0; i < NODES; i++) {
        if (!c.nodes[i].runs)
            continue;
        struct look look = {.node = i};
        assert_true(cluster_wait(&c, is_fresh, &look, ASK_MS));
        n += look.forwarded;
    }
    return n;
}

/* A round without a hop comes, and then there are none any more. */
static void assert_learns(const char *when)
{
    long start_ms = proc_now_ms();
    uint64_t begun = forwarded(), before = begun, now = begun + 1;
    for (unsigned i = 0; now != before; i++) {
        before = now;
        call_all(i % 2 == 0);
        now = forwarded();
        if (proc_now_ms() - start_ms > LEARN_MS)
            fail_msg("%s: calls are forwarded still, %" PRIu64 " so far", when, now);
    }
    print_message("figure: %s: %" PRIu64 " calls forwarded until it had learned\n", when,
                  now - begun);
    for (unsigned i = 0; i < ROUNDS; i++)
        call_all(i % 2 == 0);
    assert_int_equal(forwarded(), now);
}

static void no_call_is_forwarded_any_more(void **state)
{
    (void)state;
    assert_learns("first");
    assert_int_equal(cluster_stop(&c, 1), 0);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    assert_learns("a node has left");
    cluster_start(&c, 1);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    assert_learns("it is back");
    assert_int_equal(cluster_stop(&c, 0), 0); /* the one that the client was given */
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    assert_learns("the given one has left");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_call_is_forwarded_any_more, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("cluster ring", tests, NULL, NULL);
}
