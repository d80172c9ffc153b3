/* Requests to other nodes that refuse, keep silent, die, talk nonsense. What matters most: what is
 * reported as not sent has never been seen by anybody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "peers_fixture.h"
#include "random.h"
#include "troupe/error.h"

static void loopback(char address[64], int port)
{
    snprintf(address, 64, "127.0.0.1:%d", port);
}

/* ---- nobody there ---- */

static void a_refusal_fails_at_once(void **state)
{
    (void)state;
    struct peers_fixture f;
    char address[64];
    int port = fake_free_port();
    loopback(address, port);
    peers_start(&f, (struct peers_options){0});
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(ask_once(&f, i, address, PEERS_NO_DEADLINE_MS), TROUPE_EUNAVAILABLE);
    struct seen *seen = calloc(1, sizeof *seen);
    struct fake_node *node = fake_node_start(port, NULL, seen_handle, seen);
    unsigned number = 10; /* once it is there, it is found, without anybody's help */
    while (number < PEERS_ASKS_MAX && ask_once(&f, number, address, PEERS_NO_DEADLINE_MS) != 0)
        number++;
    assert_int_equal(atomic_load(&seen->n), 1);
    assert_int_equal(seen->order[0], number);
    peers_stop(&f);
    fake_node_stop(node);
    free(seen);
}

/* It takes the connection and says nothing at all: no byte of a request leaves. */
static void a_peer_without_a_hello(void **state)
{
    (void)state;
    struct peers_fixture f;
    char address[64];
    int port, listener = fake_listen(0, &port);
    loopback(address, port);
    peers_start(&f, (struct peers_options){0});
    assert_int_equal(ask_once(&f, 0, address, 200), TROUPE_EUNAVAILABLE);
    peers_stop(&f);
    close(listener);
}

/* ---- silence ---- */

static void silence_ends_at_the_deadline(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct seen *seen = calloc(1, sizeof *seen);
    seen->decide = seen_silence;
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    peers_start(&f, (struct peers_options){0});
    assert_int_equal(ask_once(&f, 0, fake_node_address(node), 200), TROUPE_EOUTCOME);
    assert_int_equal(atomic_load(&seen->n), 1);
    assert_int_equal(ask_once(&f, 1, fake_node_address(node), 0), TROUPE_EUNAVAILABLE);
    assert_int_equal(fake_node_connections(node), 1);
    peers_stop(&f);
    assert_int_equal(atomic_load(&seen->n), 1); /* whose deadline was over never left */
    fake_node_stop(node);
    free(seen);
}

/* It keeps a call for long, and answers pings meanwhile: that is no silence. */
static void a_slow_answer_is_waited_for(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct peers_stats stats;
    struct seen *seen = calloc(1, sizeof *seen);
    seen->decide = seen_silence;
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    peers_start(&f, (struct peers_options){.ping_ms = 50, .silence_ms = 500});
    assert_int_equal(ask_once(&f, 0, fake_node_address(node), 2000), TROUPE_EOUTCOME);
    assert_int_equal(fake_node_connections(node), 1);
    assert_true(atomic_load(&seen->pings) > 2);
    peers_stats(f.peers, &stats);
    assert_int_equal(stats.silent, 0);
    assert_int_equal(stats.unexpected, 0);
    peers_stop(&f);
    fake_node_stop(node);
    free(seen);
}

static enum fake_action second_one_never(void *data, unsigned number)
{
    return number == 1 ? FAKE_SILENCE : FAKE_REPLY;
}

/* Requests go in and nothing comes back, as on a link that has lost one direction: what is out
 * fails long before its deadline, and what comes next finds a new connection. */
static void a_deaf_connection_is_given_up(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct peers_stats stats;
    struct seen *seen = calloc(1, sizeof *seen);
    seen->decide = second_one_never;
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    const char *address = fake_node_address(node);
    peers_start(&f, (struct peers_options){.ping_ms = 50, .silence_ms = 200});
    assert_int_equal(ask_once(&f, 0, address, PEERS_NO_DEADLINE_MS), 0);
    atomic_store(&seen->deaf, true);
    assert_int_equal(ask_once(&f, 1, address, PEERS_NO_DEADLINE_MS), TROUPE_EOUTCOME);
    atomic_store(&seen->deaf, false);
    assert_int_equal(ask_once(&f, 2, address, PEERS_NO_DEADLINE_MS), 0);
    assert_int_equal(fake_node_connections(node), 2);
    assert_int_equal(atomic_load(&seen->n), 3); /* nothing was sent again */
    peers_stats(f.peers, &stats);
    assert_int_equal(stats.silent, 1);
    peers_stop(&f);
    fake_node_stop(node);
    free(seen);
}

static bool is_set(void *data)
{
    return atomic_load((atomic_bool *)data);
}

static enum fake_action first_one_late(void *data, unsigned number)
{
    if (number == 0)
        wait_until(is_set, data);
    return FAKE_REPLY;
}

static void a_reply_after_the_deadline_is_counted(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct peers_stats stats;
    atomic_bool go = false;
    struct seen *seen = calloc(1, sizeof *seen);
    seen->decide = first_one_late;
    seen->data = &go;
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    peers_start(&f, (struct peers_options){0});
    assert_int_equal(ask_once(&f, 0, fake_node_address(node), 200), TROUPE_EOUTCOME);
    atomic_store(&go, true);
    assert_int_equal(ask_once(&f, 1, fake_node_address(node), PEERS_NO_DEADLINE_MS), 0);
    peers_stats(f.peers, &stats);
    assert_int_equal(stats.unexpected, 1);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(fake_node_connections(node), 1);
    peers_stop(&f);
    fake_node_stop(node);
    free(seen);
}

static int accept_with_hello(int listener)
{
    static const uint8_t ours[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    uint8_t theirs[8];
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    struct timeval limit = {.tv_sec = PEERS_WAIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(write(fd, ours, 8), 8);
    assert_int_equal(recv(fd, theirs, 8, MSG_WAITALL), 8);
    return fd;
}

/* It does not read: some leave, some wait for room until their deadline. */
static void a_peer_that_does_not_read(void **state)
{
    (void)state;
    enum { N = 40 };
    struct peers_fixture f;
    struct peers_stats stats;
    struct ask *asks[N];
    char address[64];
    int port, listener = fake_listen(0, &port);
    unsigned lost = 0;
    loopback(address, port);
    peers_start(&f, (struct peers_options){0});
    for (unsigned i = 0; i < N; i++)
        asks[i] = ask_new(i, address, 3000, 1 << 20);
    for (unsigned i = 0; i < N; i++) /* all of one age */
        asks[i]->request.deadline_ns = asks[N - 1]->request.deadline_ns;
    ask_send(&f, asks, N);
    int fd = accept_with_hello(listener);
    ask_wait(&f, N);
    peers_stats(f.peers, &stats);
    for (unsigned i = 0; i < N; i++) {
        lost += asks[i]->request.error == TROUPE_EOUTCOME;
        if (i > 0) /* never one that left after one that did not */
            assert_true(asks[i - 1]->request.error == TROUPE_EOUTCOME ||
                        asks[i]->request.error == TROUPE_EUNAVAILABLE);
    }
    assert_in_range(lost, 1, N - 1);
    assert_int_equal(stats.sent, lost);
    peers_stop(&f);
    for (unsigned i = 0; i < N; i++)
        ask_free(asks[i]);
    close(fd);
    close(listener);
}

/* Dropped by us after a while without use, and dialled again when there is something to send. */
static void an_idle_connection_is_dropped(void **state)
{
    (void)state;
    struct peers_fixture f;
    char address[64], bytes[256];
    int port, listener = fake_listen(0, &port);
    loopback(address, port);
    peers_start(&f, (struct peers_options){.idle_ms = 50});
    for (unsigned i = 0; i < 3; i++) {
        ssize_t n;
        struct ask *ask = ask_new(i, address, 200, 0);
        ask_send(&f, &ask, 1);
        int fd = accept_with_hello(listener);
        ask_wait(&f, i + 1);
        assert_int_equal(ask->request.error, TROUPE_EOUTCOME);
        while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        }
        assert_int_equal(n, 0);
        ask_free(ask);
        close(fd);
    }
    peers_stop(&f);
    close(listener);
}

/* ---- death ---- */

static enum fake_action answer_only_0(void *data, unsigned number)
{
    (void)data;
    return number == 0 || number >= 5 ? FAKE_REPLY : FAKE_SILENCE;
}

/* Four are with the peer when it hangs up, six wait. */
static void hang_up_in_flight(bool answered_before)
{
    enum { N = 11 };
    struct peers_fixture f;
    struct ask *asks[N];
    struct seen *seen = calloc(1, sizeof *seen);
    seen->decide = answered_before ? answer_only_0 : seen_silence;
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    peers_start(&f, (struct peers_options){.in_flight_max = 4});
    unsigned first = answered_before ? 0 : 1, n = N - first;
    for (unsigned i = 0; i < n; i++)
        asks[i] = ask_new(first + i, fake_node_address(node), PEERS_NO_DEADLINE_MS, 0);
    ask_send(&f, asks, n);
    seen_wait(seen, 5 - first);
    ask_wait(&f, 1 - first);
    fake_node_hang_up(node);
    ask_wait(&f, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned number = first + i;
        int error = number == 0  ? 0
                    : number < 5 ? TROUPE_EOUTCOME
                                 : (answered_before ? 0 : TROUPE_EUNAVAILABLE);
        assert_int_equal(asks[i]->request.error, error);
        assert_int_equal(atomic_load(&seen->times[number]), error != TROUPE_EUNAVAILABLE);
        assert_int_equal(asks[i]->times, 1);
    }
    peers_stop(&f);
    for (unsigned i = 0; i < n; i++)
        ask_free(asks[i]);
    fake_node_stop(node);
    free(seen);
}

static void what_has_not_left_goes_on(void **state)
{
    (void)state;
    hang_up_in_flight(true);
}

static void what_has_not_left_fails_with_a_useless_peer(void **state)
{
    (void)state;
    hang_up_in_flight(false);
}

/* The next request on a plain socket: its id on the wire, and its number. */
static unsigned read_request(int fd, uint8_t id[4])
{
    uint8_t head[12];
    struct arena arena;
    struct rpc_request request;
    const char *why = "";
    arena_init(&arena, 0, 0);
    assert_int_equal(recv(fd, head, sizeof head, MSG_WAITALL), sizeof head);
    memcpy(id, head + 8, 4);
    size_t len =
        ((size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7]) - 4;
    uint8_t *body = malloc(len);
    assert_non_null(body);
    assert_int_equal(recv(fd, body, len, MSG_WAITALL), len);
    assert_int_equal(rpc_request_decode(&arena, troupe_bytes(body, len), &request, &why), 0);
    char text[16] = "";
    assert_in_range(request.calls[0].id.len, 1, sizeof text - 1);
    memcpy(text, request.calls[0].id.data, request.calls[0].id.len);
    free(body);
    arena_close(&arena);
    return (unsigned)strtoul(text, NULL, 10);
}

static bool sends_no_more(void *data)
{
    static uint64_t before;
    static unsigned same;
    struct peers_stats stats;
    peers_stats(data, &stats);
    same = stats.sent == before ? same + 1 : 0;
    before = stats.sent;
    return same > 50;
}

/* A peer that answers once, reads no more and dies: some frames have left, some are in the
 * connection's buffer, some wait. The next connection gets the last two kinds, in their order. */
static void what_has_not_left_keeps_its_order(void **state)
{
    (void)state;
    enum { N = 300 };
    struct peers_fixture f;
    struct peers_stats stats;
    struct ask *asks[N];
    char address[64];
    uint8_t id[4], answer[] = {0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0x10, 14}; /* UNAVAILABLE */
    int port, listener = fake_listen(0, &port);
    loopback(address, port);
    peers_start(&f, (struct peers_options){0});
    for (unsigned i = 0; i < N; i++)
        asks[i] = ask_new(i, address, PEERS_NO_DEADLINE_MS, 100 << 10);
    ask_send(&f, asks, 1);
    int fd = accept_with_hello(listener);
    assert_int_equal(read_request(fd, id), 0);
    memcpy(answer + 8, id, 4);
    assert_int_equal(write(fd, answer, sizeof answer), sizeof answer);
    ask_wait(&f, 1);
    assert_int_equal(asks[0]->request.error, 0);
    ask_send(&f, asks + 1, N - 2);
    wait_until(sends_no_more, f.peers);
    ask_send(&f, asks + N - 1, 1); /* moves some on into the buffer that cannot leave */
    peers_stats(f.peers, &stats);
    close(fd); /* unread bytes: a reset */
    fd = accept_with_hello(listener);
    unsigned first = read_request(fd, id);
    assert_in_range(first, 2, stats.sent - 1); /* what had been in the buffer leads */
    for (unsigned i = first + 1; i < N; i++)
        assert_int_equal(read_request(fd, id), i);
    peers_stop(&f);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(asks[i]->times, 1);
        assert_int_equal(asks[i]->request.error, i == 0 ? 0 : TROUPE_EOUTCOME);
        ask_free(asks[i]);
    }
    close(fd);
    close(listener);
}

static void it_reconnects(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct seen *seen = calloc(1, sizeof *seen);
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    peers_start(&f, (struct peers_options){0});
    unsigned number = 0;
    for (unsigned round = 1; round <= 10; round++) {
        while (number < 1000 && ask_once(&f, number++, fake_node_address(node), 10000) != 0) {
        }
        assert_int_equal(fake_node_connections(node), round);
        fake_node_hang_up(node);
    }
    peers_stop(&f);
    fake_node_stop(node);
    free(seen);
}

/* ---- nonsense ---- */

static enum fake_action nonsense(void *data, unsigned number)
{
    (void)data;
    return number == 0 ? FAKE_GARBAGE : number == 1 ? FAKE_SHORT : FAKE_REPLY;
}

static void nonsense_is_an_unknown_outcome(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct peers_stats stats;
    struct seen *seen = calloc(1, sizeof *seen);
    seen->decide = nonsense;
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    peers_start(&f, (struct peers_options){0});
    assert_int_equal(ask_once(&f, 0, fake_node_address(node), 10000), TROUPE_EOUTCOME);
    assert_int_equal(ask_once(&f, 1, fake_node_address(node), 10000), TROUPE_EOUTCOME);
    assert_int_equal(ask_once(&f, 2, fake_node_address(node), 10000), 0);
    peers_stats(f.peers, &stats);
    assert_int_equal(stats.malformed, 2);
    assert_int_equal(stats.replies, 1);
    assert_int_equal(fake_node_connections(node), 1);
    peers_stop(&f);
    fake_node_stop(node);
    free(seen);
}

/* Ids that nobody gave, then bytes that are no frame. */
static void replies_that_nobody_asked_for(void **state)
{
    (void)state;
    static const uint8_t unknown[] = {0, 0, 0, 0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct peers_fixture f;
    struct peers_stats stats;
    char address[64], rest[256];
    int port, listener = fake_listen(0, &port);
    loopback(address, port);
    peers_start(&f, (struct peers_options){0});
    struct ask *ask = ask_new(0, address, PEERS_NO_DEADLINE_MS, 0);
    ask_send(&f, &ask, 1);
    int fd = accept_with_hello(listener);
    assert_true(recv(fd, rest, 1, MSG_WAITALL) == 1); /* the request is here */
    assert_int_equal(write(fd, unknown, sizeof unknown), sizeof unknown);
    assert_int_equal(write(fd, unknown, sizeof unknown), sizeof unknown);
    assert_int_equal(write(fd, too_long, sizeof too_long), sizeof too_long);
    ask_wait(&f, 1);
    assert_int_equal(ask->request.error, TROUPE_EOUTCOME);
    peers_stats(f.peers, &stats);
    assert_int_equal(stats.unexpected, 2);
    peers_stop(&f);
    ask_free(ask);
    close(fd);
    close(listener);
}

/* ---- the end ---- */

static void closing_before_anything_is_dialled(void **state)
{
    (void)state;
    enum { N = 100 };
    struct peers_fixture f;
    struct ask *asks[N];
    struct seen *seen = calloc(1, sizeof *seen);
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    for (unsigned round = 0; round < 20; round++) {
        peers_start(&f, (struct peers_options){0});
        for (unsigned i = 0; i < N; i++)
            asks[i] = ask_new(round * N + i, fake_node_address(node), PEERS_NO_DEADLINE_MS, 0);
        ask_send(&f, asks, N);
        peers_stop(&f); /* at any stage of the dial */
        for (unsigned i = 0; i < N; i++) {
            assert_int_equal(asks[i]->times, 1);
            assert_int_not_equal(asks[i]->request.error, -1);
        }
        fake_node_hang_up(node);
        for (unsigned i = 0; i < N; i++) {
            assert_true(asks[i]->request.error != TROUPE_EUNAVAILABLE ||
                        atomic_load(&seen->times[round * N + i]) == 0);
            ask_free(asks[i]);
        }
    }
    fake_node_stop(node);
    free(seen);
}

/* ---- all of it, at random ---- */

enum { SENDERS = 3, EACH = 3000, HANG_UPS_MAX = 40 };

struct chaos {
    struct dice dice;
    unsigned hang_ups;
};

static enum fake_action chaos(void *data, unsigned number)
{
    struct chaos *c = data; /* one request at a time */
    (void)number;
    uint64_t n = dice_throw(&c->dice) % 1000;
    if (n < 5 && c->hang_ups < HANG_UPS_MAX) {
        c->hang_ups++;
        return FAKE_HANG_UP;
    }
    return n < 20 ? FAKE_SILENCE : n < 40 ? FAKE_GARBAGE : n < 60 ? FAKE_SHORT : FAKE_REPLY;
}

struct sender {
    struct peers_fixture *f;
    unsigned number;
    const char *address;
    struct ask *asks[EACH];
};

static void *send_at_random(void *arg)
{
    struct sender *s = arg;
    struct dice dice = dice_new(s->number + 1);
    for (unsigned i = 0; i < EACH;) {
        unsigned batch = 1 + (unsigned)(dice_throw(&dice) % 30);
        batch = i + batch < EACH ? batch : EACH - i;
        for (unsigned k = i; k < i + batch; k++)
            s->asks[k] = ask_new(s->number * EACH + k, s->address,
                                 (uint32_t)(dice_throw(&dice) % 400), dice_throw(&dice) % 2000);
        ask_send(s->f, s->asks + i, batch);
        i += batch;
        if (dice_throw(&dice) % 4 == 0) /* not all at once: some have to meet a dead peer */
            usleep((unsigned)(dice_throw(&dice) % 4000));
    }
    return NULL;
}

static void what_was_not_sent_was_never_seen(void **state)
{
    (void)state;
    struct peers_fixture f;
    struct chaos c = {.dice = dice_new(1)};
    struct seen *seen = calloc(1, sizeof *seen);
    seen->decide = chaos;
    seen->data = &c;
    struct fake_node *node = fake_node_start(0, NULL, seen_handle, seen);
    struct sender *senders = calloc(SENDERS, sizeof *senders);
    pthread_t threads[SENDERS];
    peers_start(&f, (struct peers_options){.in_flight_max = 50});
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].f = &f;
        senders[i].number = i;
        senders[i].address = fake_node_address(node);
        pthread_create(&threads[i], NULL, send_at_random, &senders[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    ask_wait(&f, SENDERS * EACH);
    peers_stop(&f);
    fake_node_stop(node);
    unsigned ok = 0, unavailable = 0, unknown = 0;
    for (unsigned i = 0; i < SENDERS * EACH; i++) {
        struct ask *a = senders[i / EACH].asks[i % EACH];
        unsigned times = atomic_load(&seen->times[i]);
        assert_int_equal(a->times, 1);
        assert_in_range(times, 0, 1);
        ok += a->request.error == 0;
        unavailable += a->request.error == TROUPE_EUNAVAILABLE;
        unknown += a->request.error == TROUPE_EOUTCOME;
        assert_true(a->request.error != 0 || (times == 1 && ask_is_answered(a)));
        assert_true(a->request.error != TROUPE_EUNAVAILABLE || times == 0);
        ask_free(a);
    }
    print_message("ok %u, unavailable %u, unknown %u, hang-ups %u\n", ok, unavailable, unknown,
                  c.hang_ups);
    assert_int_equal(ok + unavailable + unknown, SENDERS * EACH);
    assert_true(ok > 0 && unavailable > 0 && unknown > 0);
    free(senders);
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_fails_at_once),
        cmocka_unit_test(a_peer_without_a_hello),
        cmocka_unit_test(silence_ends_at_the_deadline),
        cmocka_unit_test(a_slow_answer_is_waited_for),
        cmocka_unit_test(a_deaf_connection_is_given_up),
        cmocka_unit_test(a_reply_after_the_deadline_is_counted),
        cmocka_unit_test(a_peer_that_does_not_read),
        cmocka_unit_test(an_idle_connection_is_dropped),
        cmocka_unit_test(what_has_not_left_goes_on),
        cmocka_unit_test(what_has_not_left_fails_with_a_useless_peer),
        cmocka_unit_test(what_has_not_left_keeps_its_order),
        cmocka_unit_test(it_reconnects),
        cmocka_unit_test(nonsense_is_an_unknown_outcome),
        cmocka_unit_test(replies_that_nobody_asked_for),
        cmocka_unit_test(closing_before_anything_is_dialled),
        cmocka_unit_test(what_was_not_sent_was_never_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
