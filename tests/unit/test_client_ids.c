/* libtroupe's request ids: what it tells the nodes to forget, and what becomes of clocks that are
 * set wrong. The program's wall clock is what the test says (clock_gettime is wrapped); the node's
 * is the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ids.h"
#include "fake_node.h"
#include "random.h"
#include "troupe/client.h"

enum { SEEN_MAX = 4096, WAIT_MS = 20000, NEAR_MS = 15000 };

static atomic_int wrong_s; /* how wrong the program's clock is */

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = __real_clock_gettime(clock, now);
    if (clock == CLOCK_REALTIME && !fake_node_thread)
        now->tv_sec += wrong_s;
    return rc;
}

static uint64_t true_ms(void)
{
    struct timespec now;
    __real_clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- a node that is particular about ids ---- */

struct seen {
    uint64_t client, sequence, acked;
};

struct node {
    enum fake_action actions[4]; /* of the first requests; then FAKE_REPLY */
    atomic_uint requests;
    unsigned refused, executed;
    struct seen seen[SEEN_MAX]; /* of what it has executed */
};

static void refuse(struct rpc_result *result)
{
    result->status = TROUPE_OUT_OF_RANGE;
    result->sequence_from = true_ms() << RPC_SEQUENCE_COUNTER_BITS;
    result->message = troupe_bytes_of("not executed: the client's clock is wrong");
}

static enum fake_action serve(void *data, const struct rpc_request *request,
                              struct rpc_reply *reply)
{
    struct node *node = data;
    unsigned n = node->requests++;
    for (size_t i = 0; i < request->calls_n; i++) {
        uint64_t ms = request->calls[i].sequence >> RPC_SEQUENCE_COUNTER_BITS, now = true_ms();
        reply->results[i].payload = request->calls[i].payload;
        if (ms > now + NEAR_MS || ms + NEAR_MS < now) {
            refuse(&reply->results[i]);
            node->refused++;
            continue;
        }
        assert_true(node->executed < SEEN_MAX);
        node->seen[node->executed++] =
            (struct seen){request->client, request->calls[i].sequence, request->acked};
    }
    return n < 4 ? node->actions[n] : FAKE_REPLY;
}

struct fixture {
    struct node node;
    struct fake_node *fake;
    struct troupe_client *client;
    struct troupe_batch *batch;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char errmsg[256];
    wrong_s = 0;
    f->fake = fake_node_start(0, NULL, serve, &f->node);
    struct troupe_client_options options = {.addresses = fake_node_address(f->fake)};
    assert_int_equal(troupe_client_open(&f->client, &options, errmsg, sizeof errmsg), 0);
    f->batch = troupe_batch_new(f->client);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    troupe_batch_free(f->batch);
    troupe_client_close(f->client);
    fake_node_stop(f->fake);
    free(f);
    return 0;
}

static void fill(struct troupe_batch *batch, unsigned calls)
{
    troupe_batch_reset(batch);
    for (unsigned i = 0; i < calls; i++)
        assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("venue"), troupe_bytes_of("42"),
                                          troupe_bytes_of("book"), troupe_bytes_of("x"),
                                          TROUPE_ACK_MEMORY, 0),
                         0);
}

static void call(struct fixture *f, unsigned calls, enum troupe_status expected)
{
    fill(f->batch, calls);
    assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
    for (unsigned i = 0; i < calls; i++)
        assert_int_equal(troupe_batch_result(f->batch, i)->status, expected);
}

/* ---- what has been answered ---- */

static void what_has_been_answered_is_told(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 20; i++)
        call(f, 1, TROUPE_OK);
    call(f, 3, TROUPE_OK);
    for (unsigned i = 0; i <= 20; i++)
        assert_true(f->node.seen[i].acked == f->node.seen[i].sequence);
    assert_true(f->node.seen[22].acked == f->node.seen[20].sequence);
}

static void on_answer(struct troupe_batch *batch, void *data)
{
    (void)batch;
    (*(atomic_uint *)data)++;
}

/* One whose answer does not come holds the others' up, until it is given up. */
static void what_is_under_way_is_not_told(void **state)
{
    struct fixture *f = *state;
    atomic_uint answers = 0;
    f->node.actions[0] = FAKE_SILENCE;
    struct troupe_batch *slow = troupe_batch_new(f->client);
    fill(slow, 1);
    assert_int_equal(troupe_batch_send(slow, 700, on_answer, &answers), 0);
    while (f->node.requests == 0)
        sched_yield();
    for (unsigned i = 0; i < 400; i++)
        call(f, 1, TROUPE_OK);
    unsigned n = f->node.executed;
    for (unsigned i = 1; i < n && answers == 0; i++)
        assert_true(f->node.seen[i].acked == f->node.seen[0].sequence);
    while (answers == 0)
        sched_yield();
    call(f, 1, TROUPE_OK);
    assert_true(f->node.seen[n].acked == f->node.seen[n].sequence);
    troupe_batch_free(slow);
}

/* ---- clocks ---- */

static void put_right(struct fixture *f, int wrong)
{
    wrong_s = wrong;
    call(f, 1, TROUPE_OK);
    assert_int_equal(f->node.refused, 1);
    for (unsigned i = 0; i < 50; i++)
        call(f, 4, TROUPE_OK);
    assert_int_equal(f->node.refused, 1); /* once and for all */
    assert_int_equal(f->node.executed, 201);
    for (unsigned i = 1; i < 201; i++) {
        assert_true(f->node.seen[i].client == f->node.seen[0].client);
        assert_true(f->node.seen[i].sequence > f->node.seen[i - 1].sequence);
        assert_true(f->node.seen[i].acked <= f->node.seen[i].sequence);
        assert_true(f->node.seen[i].acked > f->node.seen[i - 1].sequence || i % 4 != 1);
    }
}

static void a_clock_that_is_ahead_is_put_right(void **state)
{
    put_right(*state, 86400);
}

static void a_clock_that_is_behind_is_put_right(void **state)
{
    put_right(*state, -86400);
}

/* An attempt that was lost may have been executed: its id is not drawn anew. */
static void a_call_that_may_have_been_executed_keeps_its_id(void **state)
{
    struct fixture *f = *state;
    f->node.actions[0] = FAKE_HANG_UP;
    wrong_s = 86400;
    call(f, 1, TROUPE_OUT_OF_RANGE);
    assert_int_equal(f->node.executed, 0);
    assert_int_equal(f->node.requests, 2);
    call(f, 1, TROUPE_OK);
    assert_int_equal(f->node.executed, 1);
}

/* Many at once, while the clock is found to be wrong: each is executed, and none twice. */
static void many_at_once_are_put_right(void **state)
{
    struct fixture *f = *state;
    enum { BATCHES = 64, CALLS = 3 };
    struct troupe_batch *batches[BATCHES];
    atomic_uint answers = 0;
    wrong_s = 86400;
    for (unsigned i = 0; i < BATCHES; i++) {
        batches[i] = troupe_batch_new(f->client);
        fill(batches[i], CALLS);
        assert_int_equal(troupe_batch_send(batches[i], WAIT_MS, on_answer, &answers), 0);
    }
    while (answers < BATCHES)
        sched_yield();
    for (unsigned i = 0; i < BATCHES; i++) {
        for (unsigned k = 0; k < CALLS; k++)
            assert_int_equal(troupe_batch_result(batches[i], k)->status, TROUPE_OK);
        troupe_batch_free(batches[i]);
    }
    assert_int_equal(f->node.executed, BATCHES * CALLS);
    for (unsigned i = 0; i < f->node.executed; i++) {
        for (unsigned k = 0; k < i; k++)
            assert_true(f->node.seen[k].sequence != f->node.seen[i].sequence ||
                        f->node.seen[k].client != f->node.seen[i].client);
    }
}

/* ---- ids.h against an oracle ---- */

enum { OPEN_MAX = 600 };

struct open_batch {
    uint64_t client, first;
    unsigned span;
};

/* exact: no span is shared, and none has ids that were drawn anew. */
static void check_acked(struct ids *ids, const struct open_batch *open, unsigned n, bool exact)
{
    uint64_t acked = ids_acked(ids), lowest = ids->last + 1;
    for (unsigned i = 0; i < n; i++) {
        if (open[i].client == ids->client && open[i].first < lowest)
            lowest = open[i].first;
    }
    assert_true(acked <= lowest);
    assert_true(acked == lowest || !exact);
}

static void nothing_under_way_is_ever_acked(void **state)
{
    (void)state;
    static struct open_batch open[OPEN_MAX];
    static struct ids ids;
    struct dice dice = dice_new(11);
    uint64_t ms = UINT64_C(1800000000000);
    unsigned n = 0, exact_n = 0;
    bool exact = true;
    ids.client = 1;
    for (int i = 0; i < 200000; i++) {
        unsigned most = i % 2000 < 1000 ? 40 : i % 2000 < 1900 ? OPEN_MAX : 0;
        ms += dice_below(&dice, 3);
        if (n < most && dice_below(&dice, 2) == 0) {
            unsigned span = ids_begin(&ids, ms);
            open[n++] = (struct open_batch){ids.client, ids_draw(&ids), span};
            for (uint64_t more = dice_below(&dice, 5); more > 0; more--)
                ids_draw(&ids);
        } else if (n > 0) { /* the oldest seldom */
            unsigned at = (unsigned)dice_below(&dice, n);
            if (at > 0 || most == 0 || dice_below(&dice, 20) == 0) {
                ids_answered(&ids, open[at].span);
                open[at] = open[--n];
            }
        }
        if (n > 0 && dice_below(&dice, 500) == 0) { /* refused: its ids are drawn anew */
            struct open_batch *b = &open[dice_below(&dice, n)];
            uint64_t off = dice_below(&dice, 2) == 0 ? 0 : 100000;
            ids_learn(&ids, b->client, (ms - off) << RPC_SEQUENCE_COUNTER_BITS, ms);
            b->span = ids_begin_again(&ids, b->span, ms);
            b->client = ids.client;
            b->first = ids_draw(&ids);
            exact = false;
        }
        exact = (exact && ids.n < IDS_SPANS) || n == 0;
        exact_n += exact;
        check_acked(&ids, open, n, exact);
    }
    assert_true(exact_n > 10000);
}

int main(void)
{
#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_NODE(what_has_been_answered_is_told),
        WITH_NODE(what_is_under_way_is_not_told),
        WITH_NODE(a_clock_that_is_ahead_is_put_right),
        WITH_NODE(a_clock_that_is_behind_is_put_right),
        WITH_NODE(a_call_that_may_have_been_executed_keeps_its_id),
        WITH_NODE(many_at_once_are_put_right),
        cmocka_unit_test(nothing_under_way_is_ever_acked),
    };
    return cmocka_run_group_tests_name("client ids", tests, NULL, NULL);
}
