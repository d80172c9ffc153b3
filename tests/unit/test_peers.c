/* Requests to other nodes that behave: order, batches, limits, connections kept and driven
 * out, the end. Real sockets throughout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "peers_fixture.h"
#include "troupe/error.h"

struct world {
    struct peers_fixture f;
    struct fake_node *node;
    struct seen *seen;
};

static void world_start(struct world *w, struct peers_options options,
                        enum fake_action (*decide)(void *data, unsigned number))
{
    w->seen = calloc(1, sizeof *w->seen);
    assert_non_null(w->seen);
    w->seen->decide = decide;
    w->node = fake_node_start(0, NULL, seen_handle, w->seen);
    peers_start(&w->f, options);
}

static void world_stop(struct world *w)
{
    fake_node_stop(w->node);
    free(w->seen);
}

static struct ask **asks_new(unsigned n, unsigned from, const char *address, uint32_t deadline_ms)
{
    struct ask **asks = calloc(n, sizeof(struct ask *));
    assert_non_null(asks);
    for (unsigned i = 0; i < n; i++)
        asks[i] = ask_new(from + i, address, deadline_ms, 0);
    return asks;
}

/* How many ended with this error; all were done once. */
static unsigned count(struct ask **asks, unsigned n, int error)
{
    unsigned found = 0;
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(asks[i]->times, 1);
        found += asks[i]->request.error == error;
    }
    return found;
}

static void asks_free(struct ask **asks, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ask_free(asks[i]);
    free(asks);
}

/* ---- ---- */

static void a_request_is_answered(void **state)
{
    (void)state;
    struct world w;
    struct peers_stats stats;
    world_start(&w, (struct peers_options){0}, NULL);
    assert_int_equal(ask_once(&w.f, 7, fake_node_address(w.node), PEERS_NO_DEADLINE_MS), 0);
    assert_int_equal(ask_once(&w.f, 8, fake_node_address(w.node), PEERS_NO_DEADLINE_MS), 0);
    assert_int_equal(fake_node_connections(w.node), 1);
    peers_stats(w.f.peers, &stats);
    assert_int_equal(stats.sent, 2);
    assert_int_equal(stats.replies, 2);
    ask_send(&w.f, NULL, 0);
    peers_stop(&w.f);
    world_stop(&w);
}

static void a_thousand_keep_their_order(void **state)
{
    (void)state;
    enum { N = 1000, ROUNDS = 5 };
    struct world w;
    world_start(&w, (struct peers_options){0}, NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct ask **asks = asks_new(N, round * N, fake_node_address(w.node), PEERS_NO_DEADLINE_MS);
        ask_send(&w.f, asks, N);
        ask_wait(&w.f, (round + 1) * N);
        assert_int_equal(count(asks, N, 0), N);
        for (unsigned i = 0; i < N; i++) {
            assert_true(ask_is_answered(asks[i]));
            assert_int_equal(asks[i]->place, round * N + i);
            assert_int_equal(w.seen->order[round * N + i], round * N + i);
        }
        asks_free(asks, N);
    }
    assert_int_equal(fake_node_connections(w.node), 1);
    peers_stop(&w.f);
    world_stop(&w);
}

/* Requests for two peers in turns: each gets its own, in order. */
static void a_list_for_many_peers(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct world w;
    world_start(&w, (struct peers_options){0}, NULL);
    struct seen *seen = calloc(1, sizeof *seen);
    struct fake_node *other = fake_node_start(0, NULL, seen_handle, seen);
    struct ask *asks[N];
    for (unsigned i = 0; i < N; i++)
        asks[i] =
            ask_new(i, fake_node_address(i % 2 == 0 ? w.node : other), PEERS_NO_DEADLINE_MS, 0);
    ask_send(&w.f, asks, N);
    ask_wait(&w.f, N);
    assert_int_equal(count(asks, N, 0), N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal((i % 2 == 0 ? w.seen : seen)->order[i / 2], i);
        ask_free(asks[i]);
    }
    peers_stop(&w.f);
    fake_node_stop(other);
    free(seen);
    world_stop(&w);
}

enum { SENDERS = 4, EACH = 2000, BATCH = 10 };

struct sender {
    struct world *w;
    unsigned from;
    struct ask **asks;
    pthread_t thread;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < EACH; i += BATCH)
        ask_send(&s->w->f, s->asks + i, BATCH);
    return NULL;
}

static void many_threads_send(void **state)
{
    (void)state;
    struct world w;
    struct sender senders[SENDERS];
    unsigned next[SENDERS] = {0};
    world_start(&w, (struct peers_options){0}, NULL);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.w = &w, .from = i * EACH};
        senders[i].asks = asks_new(EACH, i * EACH, fake_node_address(w.node), PEERS_NO_DEADLINE_MS);
        pthread_create(&senders[i].thread, NULL, send_all, &senders[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    ask_wait(&w.f, SENDERS * EACH);
    for (unsigned i = 0; i < SENDERS * EACH; i++) { /* each sender's own order */
        unsigned number = w.seen->order[i], of = number / EACH;
        assert_int_equal(number % EACH, next[of]++);
    }
    peers_stop(&w.f);
    for (unsigned i = 0; i < SENDERS; i++) {
        assert_int_equal(count(senders[i].asks, EACH, 0), EACH);
        asks_free(senders[i].asks, EACH);
    }
    world_stop(&w);
}

/* ---- limits ---- */

static void what_is_in_flight_is_limited(void **state)
{
    (void)state;
    enum { N = 100 };
    struct world w;
    world_start(&w, (struct peers_options){.in_flight_max = 10, .queue_max = 20}, seen_silence);
    struct ask **asks = asks_new(N, 0, fake_node_address(w.node), PEERS_NO_DEADLINE_MS);
    ask_send(&w.f, asks, N);
    ask_wait(&w.f, N - 20); /* at once: nothing was up */
    seen_wait(w.seen, 10);
    ask_send(&w.f, NULL, 0);
    peers_stop(&w.f); /* with the rest on its way */
    assert_int_equal(count(asks, N, TROUPE_EOUTCOME), 10);
    assert_int_equal(count(asks, N, TROUPE_EUNAVAILABLE), N - 10);
    assert_int_equal(atomic_load(&w.seen->n), 10);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(asks[i]->request.error, TROUPE_EOUTCOME);
    asks_free(asks, N);
    world_stop(&w);
}

static void what_waits_goes_on_when_there_is_room(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct world w;
    world_start(&w, (struct peers_options){.in_flight_max = 3}, NULL);
    struct ask **asks = asks_new(N, 0, fake_node_address(w.node), PEERS_NO_DEADLINE_MS);
    ask_send(&w.f, asks, N);
    ask_wait(&w.f, N);
    assert_int_equal(count(asks, N, 0), N);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(w.seen->order[i], i);
    peers_stop(&w.f);
    asks_free(asks, N);
    world_stop(&w);
}

/* What is given up makes room as well. */
static enum fake_action ignore_the_first_two(void *data, unsigned number)
{
    (void)data;
    return number < 2 ? FAKE_SILENCE : FAKE_REPLY;
}

static void what_waits_goes_on_after_a_deadline(void **state)
{
    (void)state;
    struct world w;
    struct ask *asks[3];
    world_start(&w, (struct peers_options){.in_flight_max = 2}, ignore_the_first_two);
    for (unsigned i = 0; i < 3; i++)
        asks[i] = ask_new(i, fake_node_address(w.node), i < 2 ? 300 : PEERS_NO_DEADLINE_MS, 0);
    ask_send(&w.f, asks, 3);
    ask_wait(&w.f, 3);
    assert_int_equal(asks[0]->request.error, TROUPE_EOUTCOME);
    assert_int_equal(asks[1]->request.error, TROUPE_EOUTCOME);
    assert_int_equal(asks[2]->request.error, 0);
    peers_stop(&w.f);
    for (unsigned i = 0; i < 3; i++)
        ask_free(asks[i]);
    world_stop(&w);
}

static void bytes_are_limited(void **state)
{
    (void)state;
    enum { N = 10 };
    struct world w;
    struct ask *asks[N];
    world_start(&w, (struct peers_options){.queue_bytes_max = 10000}, NULL);
    for (unsigned i = 0; i < N; i++)
        asks[i] = ask_new(i, fake_node_address(w.node), PEERS_NO_DEADLINE_MS, 4000);
    ask_send(&w.f, asks, N);
    ask_wait(&w.f, N);
    assert_int_equal(count(asks, N, 0), 2);
    assert_int_equal(count(asks, N, TROUPE_EUNAVAILABLE), N - 2);
    peers_stop(&w.f);
    for (unsigned i = 0; i < N; i++)
        ask_free(asks[i]);
    world_stop(&w);
}

static void large_frames(void **state)
{
    (void)state;
    enum { N = 20 };
    struct world w;
    struct ask *asks[N];
    world_start(&w, (struct peers_options){0}, NULL);
    for (unsigned i = 0; i < N; i++)
        asks[i] = ask_new(i, fake_node_address(w.node), PEERS_NO_DEADLINE_MS, 2 << 20);
    ask_send(&w.f, asks, N);
    ask_wait(&w.f, N);
    assert_int_equal(count(asks, N, 0), N);
    for (unsigned i = 0; i < N; i++)
        ask_free(asks[i]);
    /* Over the limit of a frame: what a client may send in one can be a few bytes more when it is
     * forwarded. */
    asks[0] = ask_new(0, fake_node_address(w.node), PEERS_NO_DEADLINE_MS, RPC_FRAME_BYTES_MAX);
    ask_send(&w.f, asks, 1);
    ask_wait(&w.f, N + 1);
    assert_int_equal(asks[0]->request.error, TROUPE_EUNAVAILABLE);
    ask_free(asks[0]);
    peers_stop(&w.f);
    world_stop(&w);
}

static void the_peer_unused_longest_goes(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct fake_node *nodes[3];
    struct seen *seen = calloc(3, sizeof *seen);
    static const unsigned script[] = {0, 1, 0, 2, 0, 1}; /* 2 drives 1 out, and 1 then 2 */
    peers_start(&f, (struct peers_options){.peers_max = 2});
    for (unsigned i = 0; i < 3; i++)
        nodes[i] = fake_node_start(0, NULL, seen_handle, &seen[i]);
    for (unsigned i = 0; i < sizeof script / sizeof script[0]; i++)
        assert_int_equal(ask_once(&f, i, fake_node_address(nodes[script[i]]), PEERS_NO_DEADLINE_MS),
                         0);
    assert_int_equal(fake_node_connections(nodes[0]), 1);
    assert_int_equal(fake_node_connections(nodes[1]), 2);
    assert_int_equal(fake_node_connections(nodes[2]), 1);
    /* Nobody goes who is in use. */
    seen[0].decide = seen[1].decide = seen_silence;
    struct ask *busy[2];
    for (unsigned i = 0; i < 2; i++)
        busy[i] = ask_new(i, fake_node_address(nodes[i]), PEERS_NO_DEADLINE_MS, 0);
    ask_send(&f, busy, 2);
    assert_int_equal(ask_once(&f, 9, fake_node_address(nodes[2]), PEERS_NO_DEADLINE_MS),
                     TROUPE_EUNAVAILABLE);
    peers_stop(&f);
    for (unsigned i = 0; i < 2; i++)
        ask_free(busy[i]);
    for (unsigned i = 0; i < 3; i++)
        fake_node_stop(nodes[i]);
    free(seen);
}

static void addresses_that_are_none(void **state)
{
    (void)state;
    struct peers_fixture f;
    peers_start(&f, (struct peers_options){0});
    static const char *const bad[] = {"", ",", ":", "host:port", "host:99999", "[::1", "tcp://"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ask_once(&f, i, bad[i], PEERS_NO_DEADLINE_MS), TROUPE_EUNAVAILABLE);
    peers_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered),
        cmocka_unit_test(a_thousand_keep_their_order),
        cmocka_unit_test(a_list_for_many_peers),
        cmocka_unit_test(many_threads_send),
        cmocka_unit_test(what_is_in_flight_is_limited),
        cmocka_unit_test(what_waits_goes_on_when_there_is_room),
        cmocka_unit_test(what_waits_goes_on_after_a_deadline),
        cmocka_unit_test(bytes_are_limited),
        cmocka_unit_test(large_frames),
        cmocka_unit_test(the_peer_unused_longest_goes),
        cmocka_unit_test(addresses_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
