/* libtroupe against a node that behaves: results, formats, batches, pipelining, sizes, addresses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "count_allocations.h"
#include "fake_node.h"
#include "troupe/client.h"

/* ---- a node that echoes ---- */

struct echo {
    unsigned requests, calls;
    uint64_t last_sequence, client;
    bool sequences_grow;
};

static enum fake_action echo(void *data, const struct rpc_request *request, struct rpc_reply *reply)
{
    struct echo *e = data;
    e->requests++;
    e->client = request->client;
    for (size_t i = 0; i < request->calls_n; i++) {
        const struct rpc_call *call = &request->calls[i];
        e->calls++;
        if (call->sequence != 0 && call->sequence <= e->last_sequence)
            e->sequences_grow = false;
        e->last_sequence = call->sequence;
        reply->results[i].payload = call->payload;
        reply->results[i].version = e->calls;
        reply->results[i].ack = call->ack;
        if (troupe_bytes_equal(call->method, troupe_bytes_of("fail"))) {
            reply->results[i].status = TROUPE_FAILED_PRECONDITION;
            reply->results[i].message = troupe_bytes_of("the slot is taken");
        } else if (troupe_bytes_equal(call->method, troupe_bytes_of("format"))) {
            reply->results[i].payload = troupe_bytes_of(call->format == RPC_JSON ? "json" : "pb");
        }
    }
    return FAKE_REPLY;
}

struct fixture {
    struct echo echo;
    struct fake_node *node;
    struct troupe_client *client;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->echo.sequences_grow = true;
    f->node = fake_node_start(0, NULL, echo, &f->echo);
    struct troupe_client_options options = {.addresses = fake_node_address(f->node)};
    char errmsg[256];
    assert_int_equal(troupe_client_open(&f->client, &options, errmsg, sizeof errmsg), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    troupe_client_close(f->client);
    fake_node_stop(f->node);
    free(f);
    return 0;
}

static int add(struct troupe_batch *batch, const char *method, const char *payload,
               enum troupe_ack ack, unsigned flags)
{
    return troupe_batch_add(batch, troupe_bytes_of("venue"), troupe_bytes_of("42"),
                            troupe_bytes_of(method), troupe_bytes_of(payload), ack, flags);
}

static bool text_is(struct troupe_bytes bytes, const char *text)
{
    return troupe_bytes_equal(bytes, troupe_bytes_of(text));
}

/* ---- tests ---- */

static void a_call_comes_back(void **state)
{
    struct fixture *f = *state;
    struct troupe_batch *batch = troupe_batch_new(f->client);
    assert_int_equal(add(batch, "book", "hello", TROUPE_ACK_DURABLE, 0), 0);
    assert_int_equal(troupe_batch_send_wait(batch, 0), 0);
    const struct troupe_call_result *r = troupe_batch_result(batch, 0);
    assert_int_equal(r->status, TROUPE_OK);
    assert_true(r->answered);
    assert_int_equal(r->ack, TROUPE_ACK_DURABLE);
    assert_int_equal(r->version, 1);
    assert_true(text_is(r->payload, "hello"));
    assert_true(f->echo.client != 0 && f->echo.last_sequence != 0);
    assert_null(troupe_batch_result(batch, 1));
    assert_int_equal(troupe_batch_send_wait(batch, 0), TROUPE_EINVAL); /* not twice */
    assert_int_equal(add(batch, "book", "", TROUPE_ACK_MEMORY, 0), TROUPE_EINVAL);
    troupe_batch_free(batch);
}

static void each_call_has_its_own_result(void **state)
{
    struct fixture *f = *state;
    struct troupe_batch *batch = troupe_batch_new(f->client);
    assert_int_equal(add(batch, "book", "a", TROUPE_ACK_MEMORY, 0), 0);
    assert_int_equal(add(batch, "fail", "b", TROUPE_ACK_MEMORY, 0), 0);
    assert_int_equal(add(batch, "format", "c", TROUPE_ACK_MEMORY, TROUPE_CALL_JSON), 0);
    assert_int_equal(add(batch, "format", "c", TROUPE_ACK_MEMORY, TROUPE_CALL_NO_ID), 0);
    assert_int_equal(f->echo.last_sequence, 0);
    assert_int_equal(troupe_batch_send_wait(batch, 0), 0);
    assert_true(text_is(troupe_batch_result(batch, 0)->payload, "a"));
    assert_int_equal(troupe_batch_result(batch, 1)->status, TROUPE_FAILED_PRECONDITION);
    assert_true(text_is(troupe_batch_result(batch, 1)->message, "the slot is taken"));
    assert_true(text_is(troupe_batch_result(batch, 2)->payload, "json"));
    assert_true(text_is(troupe_batch_result(batch, 3)->payload, "pb"));
    assert_int_equal(f->echo.last_sequence, 0); /* of the call without an id */
    assert_int_equal(f->echo.requests, 1);
    troupe_batch_free(batch);
}

static void large_frames_pass(void **state)
{
    struct fixture *f = *state;
    struct troupe_batch *batch = troupe_batch_new(f->client);
    for (size_t len = 1; len <= (16u << 20); len = len * 4 + 1) {
        uint8_t *payload = malloc(len);
        for (size_t i = 0; i < len; i++)
            payload[i] = (uint8_t)(i * 7 + len);
        troupe_batch_reset(batch);
        assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("venue"), troupe_bytes_of("42"),
                                          troupe_bytes_of("put"), troupe_bytes(payload, len),
                                          TROUPE_ACK_MEMORY, 0),
                         0);
        assert_int_equal(troupe_batch_send_wait(batch, 20000), 0);
        const struct troupe_call_result *r = troupe_batch_result(batch, 0);
        assert_int_equal(r->status, TROUPE_OK);
        assert_true(troupe_bytes_equal(r->payload, troupe_bytes(payload, len)));
        free(payload);
    }
    troupe_batch_free(batch);
}

/* Many batches that are sent again from their own callback. */
struct pipelining {
    unsigned total;
    atomic_uint started, answered, wrong;
    unsigned running; /* under mu */
    pthread_mutex_t mu;
    pthread_cond_t cond;
};

static void fill(struct troupe_batch *batch, unsigned calls)
{
    char payload[32];
    troupe_batch_reset(batch);
    for (unsigned i = 0; i < calls; i++) {
        snprintf(payload, sizeof payload, "%p-%u", (void *)batch, i);
        assert_int_equal(add(batch, "book", payload, TROUPE_ACK_MEMORY, 0), 0);
    }
}

static void again(struct troupe_batch *batch, void *data)
{
    struct pipelining *p = data;
    char payload[32];
    unsigned calls = (unsigned)troupe_batch_count(batch);
    for (unsigned i = 0; i < calls; i++) {
        snprintf(payload, sizeof payload, "%p-%u", (void *)batch, i);
        const struct troupe_call_result *r = troupe_batch_result(batch, i);
        if (r->status != TROUPE_OK || !text_is(r->payload, payload))
            p->wrong++;
    }
    p->answered++;
    if (p->started++ < p->total) {
        fill(batch, calls);
        if (troupe_batch_send(batch, 0, again, p) == 0)
            return;
        p->wrong++;
    }
    pthread_mutex_lock(&p->mu);
    p->running--;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->mu);
}

static void run_pipelining(struct fixture *f, struct pipelining *p, unsigned batches,
                           unsigned calls, unsigned total)
{
    struct troupe_batch *all[64];
    assert_true(batches <= 64);
    *p = (struct pipelining){.total = total,
                             .started = batches,
                             .running = batches,
                             .mu = PTHREAD_MUTEX_INITIALIZER,
                             .cond = PTHREAD_COND_INITIALIZER};
    for (unsigned i = 0; i < batches; i++) {
        all[i] = troupe_batch_new(f->client);
        fill(all[i], calls);
        assert_int_equal(troupe_batch_send(all[i], 0, again, p), 0);
    }
    pthread_mutex_lock(&p->mu);
    while (p->running > 0)
        pthread_cond_wait(&p->cond, &p->mu);
    pthread_mutex_unlock(&p->mu);
    for (unsigned i = 0; i < batches; i++)
        troupe_batch_free(all[i]);
}

static void many_batches_are_under_way_at_once(void **state)
{
    struct fixture *f = *state;
    struct pipelining p;
    run_pipelining(f, &p, 64, 5, 5000);
    assert_int_equal(p.wrong, 0);
    assert_int_equal(p.answered, 5000);
    assert_int_equal(f->echo.calls, 5000 * 5);
}

static void sequences_grow(void **state)
{
    struct fixture *f = *state;
    struct pipelining p;
    run_pipelining(f, &p, 1, 16, 200);
    assert_int_equal(p.wrong, 0);
    assert_true(f->echo.sequences_grow);
}

static void a_steady_load_allocates_nothing(void **state)
{
    struct fixture *f = *state;
    struct troupe_batch *batch = troupe_batch_new(f->client);
    long before = allocations, warm = 0;
    for (int round = 0; round < 20; round++) {
        if (round == 5)
            warm = allocations;
        troupe_batch_reset(batch);
        for (int i = 0; i < 64; i++)
            assert_int_equal(add(batch, "book", "a payload of some thirty bytes", 0, 0), 0);
        assert_int_equal(troupe_batch_send_wait(batch, 0), 0);
        assert_int_equal(troupe_batch_result(batch, 63)->status, TROUPE_OK);
    }
    assert_true(warm > before);
    assert_int_equal(allocations - warm, 0);
    troupe_batch_free(batch);
}

static void ipc_works_too(void **state)
{
    (void)state;
    char dir[] = "/tmp/troupe-client-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/rpc", dir);
    struct fixture f = {.echo.sequences_grow = true};
    f.node = fake_node_start(0, path, echo, &f.echo);
    struct troupe_client_options options = {.addresses = fake_node_address(f.node)};
    char errmsg[256];
    assert_int_equal(troupe_client_open(&f.client, &options, errmsg, sizeof errmsg), 0);
    struct pipelining p;
    run_pipelining(&f, &p, 16, 3, 300);
    assert_int_equal(p.wrong, 0);
    troupe_client_close(f.client);
    fake_node_stop(f.node);
    assert_int_equal(rmdir(dir), 0);
}

/* The other side of the library that nodes are built with. */
static void *nng_rep_main(void *arg)
{
    nng_socket socket = *(nng_socket *)arg;
    struct echo e = {0};
    nng_msg *msg;
    fake_node_thread = true;
    while (nng_recvmsg(socket, &msg, 0) == 0) {
        struct arena arena;
        arena_init(&arena, 0, 0);
        struct rpc_request request;
        const char *why;
        if (rpc_request_decode(&arena, troupe_bytes(nng_msg_body(msg), nng_msg_len(msg)), &request,
                               &why) != 0)
            abort();
        struct rpc_reply reply = {
            .results = arena_calloc(&arena, request.calls_n, sizeof(struct rpc_result)),
            .results_n = request.calls_n,
        };
        echo(&e, &request, &reply);
        nng_msg *answer;
        if (nng_msg_alloc(&answer, rpc_reply_size(&reply)) != 0)
            abort();
        rpc_reply_encode(&reply, nng_msg_body(answer));
        nng_msg_free(msg);
        arena_close(&arena);
        if (nng_sendmsg(socket, answer, 0) != 0)
            nng_msg_free(answer);
    }
    return NULL;
}

static void nng_understands_it(void **state)
{
    (void)state;
    nng_socket socket;
    nng_listener listener;
    int port = 0;
    assert_int_equal(nng_rep0_open(&socket), 0);
    assert_int_equal(nng_listen(socket, "tcp://127.0.0.1:0", &listener, 0), 0);
    assert_int_equal(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, nng_rep_main, &socket), 0);
    char address[32], errmsg[256];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    struct troupe_client_options options = {.addresses = address};
    struct fixture f = {0};
    assert_int_equal(troupe_client_open(&f.client, &options, errmsg, sizeof errmsg), 0);
    struct pipelining p;
    run_pipelining(&f, &p, 1, 10, 50); /* a cooked REP socket takes one request at a time */
    assert_int_equal(p.wrong, 0);
    assert_int_equal(p.answered, 50);
    troupe_client_close(f.client);
    nng_close(socket);
    pthread_join(thread, NULL);
}

static void a_name_is_dialled_by_either_family(void **state)
{
    struct fixture *f = *state;
    char text[64], errmsg[256];
    snprintf(text, sizeof text, "localhost:%s", strchr(fake_node_address(f->node), ':') + 1);
    struct troupe_client_options options = {.addresses = text};
    struct troupe_client *client = NULL;
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), 0);
    struct troupe_batch *batch = troupe_batch_new(client);
    assert_int_equal(add(batch, "book", "x", TROUPE_ACK_MEMORY, 0), 0);
    assert_int_equal(troupe_batch_send_wait(batch, 0), 0);
    assert_int_equal(troupe_batch_result(batch, 0)->status, TROUPE_OK);
    troupe_batch_free(batch);
    troupe_client_close(client);
}

int main(void)
{
#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_NODE(a_call_comes_back),
        WITH_NODE(each_call_has_its_own_result),
        WITH_NODE(large_frames_pass),
        WITH_NODE(many_batches_are_under_way_at_once),
        WITH_NODE(sequences_grow),
        WITH_NODE(a_steady_load_allocates_nothing),
        cmocka_unit_test(ipc_works_too),
        cmocka_unit_test(nng_understands_it),
        WITH_NODE(a_name_is_dialled_by_either_family),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
