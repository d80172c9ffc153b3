/* libtroupe when things go wrong: lost replies, refusals, nonsense, silence, nobody there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fake_node.h"
#include "troupe/client.h"

enum { SEEN_MAX = 4096, WAIT_MS = 20000 };

/* A node that remembers which request ids it has executed, and follows a script. */
struct script {
    enum fake_action actions[8]; /* of the first requests; then FAKE_REPLY */
    uint8_t refuse[8];           /* a status for the whole request */
    uint8_t result[8];           /* a status for its first call */
    bool takes_all_its_time;     /* to answer the first */
    atomic_uint requests, calls;
    unsigned executed; /* distinct ids, and calls without one */
    uint64_t seen[SEEN_MAX];
    unsigned seen_n;
};

static void execute(struct script *s, const struct rpc_call *call)
{
    for (unsigned i = 0; i < s->seen_n; i++)
        if (call->sequence != 0 && s->seen[i] == call->sequence)
            return;
    if (s->seen_n < SEEN_MAX)
        s->seen[s->seen_n++] = call->sequence;
    s->executed++;
}

static enum fake_action play(void *data, const struct rpc_request *request, struct rpc_reply *reply)
{
    struct script *s = data;
    unsigned n = s->requests++;
    if (n == 0 && s->takes_all_its_time)
        nanosleep(&(struct timespec){.tv_sec = request->timeout_ms / 1000,
                                     .tv_nsec = request->timeout_ms % 1000 * 1000000L},
                  NULL);
    s->calls += (unsigned)request->calls_n;
    uint8_t refuse = n < 8 ? s->refuse[n] : 0, first = n < 8 ? s->result[n] : 0;
    if (refuse != 0) {
        reply->status = refuse;
        reply->results_n = 0;
        reply->message = troupe_bytes_of("refused");
        return FAKE_REPLY;
    }
    for (size_t i = 0; i < request->calls_n; i++) {
        reply->results[i].payload = request->calls[i].payload;
        if (i == 0 && first != 0) {
            reply->results[i].status = first;
            reply->results[i].message = troupe_bytes_of("not this time");
            continue;
        }
        execute(s, &request->calls[i]);
    }
    return n < 8 ? s->actions[n] : FAKE_REPLY;
}

struct fixture {
    struct script script;
    struct fake_node *node;
    struct troupe_client *client;
    struct troupe_batch *batch;
};

static struct troupe_client *open_client(const char *addresses, uint32_t in_flight, uint32_t queue)
{
    struct troupe_client_options options = {
        .addresses = addresses, .in_flight_max = in_flight, .queue_max = queue};
    struct troupe_client *client = NULL;
    char errmsg[256];
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), 0);
    return client;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->node = fake_node_start(0, NULL, play, &f->script);
    f->client = open_client(fake_node_address(f->node), 0, 0);
    f->batch = troupe_batch_new(f->client);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    troupe_batch_free(f->batch);
    troupe_client_close(f->client);
    fake_node_stop(f->node);
    free(f);
    return 0;
}

static void add(struct troupe_batch *batch, const char *payload, unsigned flags)
{
    assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("venue"), troupe_bytes_of("42"),
                                      troupe_bytes_of("book"), troupe_bytes_of(payload),
                                      TROUPE_ACK_MEMORY, flags),
                     0);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static const struct troupe_call_result *send_wait(struct troupe_batch *batch, uint32_t timeout_ms)
{
    assert_int_equal(troupe_batch_send_wait(batch, timeout_ms), 0);
    return troupe_batch_result(batch, 0);
}

static void expect(const struct troupe_call_result *r, enum troupe_status status, bool answered,
                   const char *in_message)
{
    if (r->status != status || r->answered != answered)
        fail_msg("%s (answered: %d): %.*s", troupe_status_name((int)r->status), r->answered,
                 (int)r->message.len, (const char *)r->message.data);
    if (in_message != NULL &&
        memmem(r->message.data, r->message.len, in_message, strlen(in_message)) == NULL)
        fail_msg("\"%.*s\" does not contain \"%s\"", (int)r->message.len,
                 (const char *)r->message.data, in_message);
}

/* ---- answers that ask for another attempt ---- */

static void an_unavailable_call_is_tried_again(void **state)
{
    struct fixture *f = *state;
    f->script.result[0] = f->script.result[1] = TROUPE_UNAVAILABLE;
    f->script.result[2] = TROUPE_ABORTED;
    add(f->batch, "first", 0);
    add(f->batch, "second", 0);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_OK, true, NULL);
    expect(troupe_batch_result(f->batch, 1), TROUPE_OK, true, NULL);
    assert_true(
        troupe_bytes_equal(troupe_batch_result(f->batch, 0)->payload, troupe_bytes_of("first")));
    assert_true(
        troupe_bytes_equal(troupe_batch_result(f->batch, 1)->payload, troupe_bytes_of("second")));
    assert_int_equal(f->script.requests, 4);
    assert_int_equal(f->script.calls, 5); /* the second call was sent once */
    assert_int_equal(f->script.executed, 2);
}

/* With its id it is executed once, whatever had become of it. */
static void an_unknown_outcome_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    f->script.result[0] = f->script.result[1] = TROUPE_UNKNOWN;
    add(f->batch, "first", 0);
    add(f->batch, "second", 0);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_OK, true, NULL);
    expect(troupe_batch_result(f->batch, 1), TROUPE_OK, true, NULL);
    assert_int_equal(f->script.requests, 3);
    assert_int_equal(f->script.executed, 2);
    troupe_batch_reset(f->batch);
    f->script.requests = 0;
    add(f->batch, "third", TROUPE_CALL_NO_ID);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_UNKNOWN, true, "not this time");
    assert_int_equal(f->script.requests, 1);
}

/* A refusal of the second attempt tells nothing of the first. */
static void an_unknown_outcome_is_not_made_known_by_a_refusal(void **state)
{
    struct fixture *f = *state;
    static const uint8_t final[] = {TROUPE_RESOURCE_EXHAUSTED, TROUPE_DEADLINE_EXCEEDED};
    for (size_t i = 0; i < sizeof final; i++) {
        troupe_batch_reset(f->batch);
        f->script.requests = 0;
        f->script.result[0] = TROUPE_UNKNOWN;
        f->script.result[1] = final[i];
        add(f->batch, "x", 0);
        expect(send_wait(f->batch, WAIT_MS), TROUPE_UNKNOWN, true, "an earlier attempt");
        expect(troupe_batch_result(f->batch, 0), TROUPE_UNKNOWN, true,
               troupe_status_name(final[i]));
        expect(troupe_batch_result(f->batch, 0), TROUPE_UNKNOWN, true, "not this time");
    }
    troupe_batch_reset(f->batch); /* nor of one that was lost */
    f->script.requests = 0;
    f->script.actions[0] = FAKE_HANG_UP;
    memset(f->script.result, TROUPE_UNAVAILABLE, sizeof f->script.result);
    add(f->batch, "x", 0);
    expect(send_wait(f->batch, 600), TROUPE_UNKNOWN, true, "not this time");
    troupe_batch_reset(f->batch); /* a batch that is used again begins anew */
    f->script.requests = 0;
    f->script.actions[0] = FAKE_REPLY;
    add(f->batch, "x", 0);
    expect(send_wait(f->batch, 600), TROUPE_UNAVAILABLE, true, "not this time");
}

static void without_an_id_the_first_answer_counts(void **state)
{
    struct fixture *f = *state;
    f->script.result[0] = TROUPE_UNAVAILABLE;
    add(f->batch, "x", TROUPE_CALL_NO_ID);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_UNAVAILABLE, true, "not this time");
    assert_int_equal(f->script.requests, 1);
}

static void at_the_deadline_the_last_answer_counts(void **state)
{
    struct fixture *f = *state;
    memset(f->script.result, TROUPE_UNAVAILABLE, sizeof f->script.result);
    add(f->batch, "x", 0);
    uint64_t start = now_ms();
    expect(send_wait(f->batch, 600), TROUPE_UNAVAILABLE, true, "not this time");
    assert_true(now_ms() - start < 5000);
    assert_true(f->script.requests > 1 && f->script.requests < 8); /* it backs off */
}

/* What is left after a node's word at its own deadline is too little for another attempt, whose
 * silence would be all that the caller hears. */
static void a_nodes_last_word_is_not_asked_for_again(void **state)
{
    struct fixture *f = *state;
    f->script.takes_all_its_time = true;
    f->script.result[0] = TROUPE_UNAVAILABLE;
    f->script.actions[1] = FAKE_SILENCE;
    add(f->batch, "x", 0);
    const struct troupe_call_result *r = send_wait(f->batch, 1500);
    if (r->answered)
        expect(r, TROUPE_UNAVAILABLE, true, "not this time");
    assert_int_equal(f->script.requests, 1); /* also when this machine is so slow that it is late */
}

static void a_refused_request_is_the_answer_to_each_call(void **state)
{
    struct fixture *f = *state;
    f->script.refuse[0] = TROUPE_RESOURCE_EXHAUSTED;
    add(f->batch, "a", 0);
    add(f->batch, "b", 0);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_RESOURCE_EXHAUSTED, true, "refused");
    expect(troupe_batch_result(f->batch, 1), TROUPE_RESOURCE_EXHAUSTED, true, "refused");
    assert_int_equal(f->script.requests, 1);
}

static void a_request_refused_as_unavailable_is_tried_again(void **state)
{
    struct fixture *f = *state;
    f->script.refuse[0] = f->script.refuse[1] = TROUPE_UNAVAILABLE;
    add(f->batch, "a", 0);
    add(f->batch, "b", TROUPE_CALL_NO_ID);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_OK, true, NULL);
    expect(troupe_batch_result(f->batch, 1), TROUPE_UNAVAILABLE, true, "refused");
    assert_int_equal(f->script.requests, 3);
    assert_int_equal(f->script.calls, 4);
}

/* ---- answers that do not come ---- */

static void a_lost_reply_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    f->script.actions[0] = f->script.actions[1] = FAKE_HANG_UP; /* executed, reply lost */
    add(f->batch, "with", 0);
    add(f->batch, "without", TROUPE_CALL_NO_ID);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_OK, true, NULL);
    expect(troupe_batch_result(f->batch, 1), TROUPE_UNAVAILABLE, false, "may have been executed");
    assert_int_equal(f->script.requests, 3);
    assert_int_equal(f->script.calls, 4); /* the one without an id came once */
    assert_int_equal(f->script.executed, 2);
    assert_int_equal(fake_node_connections(f->node), 3);
}

static void nonsense_is_not_an_answer(void **state)
{
    struct fixture *f = *state;
    f->script.actions[0] = FAKE_GARBAGE;
    f->script.actions[1] = FAKE_SHORT;
    for (int i = 0; i < 2; i++) {
        troupe_batch_reset(f->batch);
        add(f->batch, "x", 0);
        expect(send_wait(f->batch, WAIT_MS), TROUPE_UNKNOWN, false, "cannot be read");
    }
    troupe_batch_reset(f->batch);
    add(f->batch, "x", 0);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_OK, true, NULL);
    assert_int_equal(fake_node_connections(f->node), 1);
}

static void silence_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    f->script.actions[0] = FAKE_SILENCE;
    add(f->batch, "x", 0);
    uint64_t start = now_ms();
    expect(send_wait(f->batch, 200), TROUPE_DEADLINE_EXCEEDED, false, "within 200 ms");
    uint64_t took = now_ms() - start;
    assert_true(took >= 200 && took < 5000);
    troupe_batch_reset(f->batch);
    add(f->batch, "y", 0);
    expect(send_wait(f->batch, WAIT_MS), TROUPE_OK, true, NULL);
}

/* Answers its first request only when the second has come, and then both. */
static void *late_peer(void *arg)
{
    int listener = *(int *)arg;
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    uint8_t hello[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0}, buffer[512];
    assert_int_equal(write(fd, hello, 8), 8);
    assert_int_equal(recv(fd, buffer, 8, MSG_WAITALL), 8);
    uint8_t ids[2][4];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(recv(fd, buffer, 8, MSG_WAITALL), 8);
        size_t len = buffer[7];
        assert_int_equal(recv(fd, buffer, len, MSG_WAITALL), len);
        memcpy(ids[i], buffer, 4);
    }
    for (int i = 0; i < 2; i++) { /* one result, whose payload is "1" or "2" */
        uint8_t reply[] = {0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           9,
                           ids[i][0],
                           ids[i][1],
                           ids[i][2],
                           ids[i][3],
                           0x0a,
                           3,
                           0x12,
                           1,
                           (uint8_t)('1' + i)};
        assert_int_equal(write(fd, reply, sizeof reply), sizeof reply);
    }
    while (read(fd, buffer, sizeof buffer) > 0)
        continue;
    close(fd);
    return NULL;
}

static int listen_plain(char address[32])
{
    int port, fd = fake_listen(0, &port);
    snprintf(address, 32, "127.0.0.1:%d", port);
    return fd;
}

static void a_late_reply_is_taken_for_no_other(void **state)
{
    (void)state;
    char address[32];
    int listener = listen_plain(address);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, late_peer, &listener), 0);
    struct troupe_client *client = open_client(address, 1, 0); /* one place: used twice */
    struct troupe_batch *batch = troupe_batch_new(client);
    add(batch, "x", 0);
    expect(send_wait(batch, 300), TROUPE_DEADLINE_EXCEEDED, false, NULL);
    troupe_batch_reset(batch);
    add(batch, "x", 0);
    const struct troupe_call_result *r = send_wait(batch, WAIT_MS);
    expect(r, TROUPE_OK, true, NULL);
    assert_true(troupe_bytes_equal(r->payload, troupe_bytes_of("2")));
    troupe_batch_free(batch);
    troupe_client_close(client);
    pthread_join(thread, NULL);
    close(listener);
}

/* ---- nobody there, or somebody else ---- */

static void nobody_there_is_said_so(void **state)
{
    (void)state;
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", fake_free_port());
    struct troupe_client *client = open_client(address, 0, 0);
    struct troupe_batch *batch = troupe_batch_new(client);
    add(batch, "x", 0);
    add(batch, "x", TROUPE_CALL_NO_ID);
    expect(send_wait(batch, 300), TROUPE_UNAVAILABLE, false, "is it running?");
    expect(troupe_batch_result(batch, 0), TROUPE_UNAVAILABLE, false, "connection refused");
    expect(troupe_batch_result(batch, 1), TROUPE_UNAVAILABLE, false, address);
    troupe_batch_free(batch);
    troupe_client_close(client);
}

struct answered {
    atomic_uint n;
    enum troupe_status status;
    int resend;
};

static void note(struct troupe_batch *batch, void *data)
{
    struct answered *a = data;
    a->status = troupe_batch_result(batch, 0)->status;
    if (a->resend != 0) {
        troupe_batch_reset(batch);
        add(batch, "again", 0);
        a->resend = troupe_batch_send(batch, 0, note, data);
    }
    a->n++;
}

static void wait_for(atomic_uint *n, unsigned want)
{
    uint64_t until = now_ms() + WAIT_MS;
    while (*n < want && now_ms() < until)
        nap();
    assert_true(*n >= want);
}

static void a_node_that_comes_late_gets_what_waits(void **state)
{
    (void)state;
    char address[64];
    int port = fake_free_port();
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct script script = {0};
    struct answered answered = {0};
    struct troupe_client *client = open_client(address, 0, 0);
    struct troupe_batch *batches[2] = {troupe_batch_new(client), troupe_batch_new(client)};
    add(batches[0], "x", 0);
    add(batches[1], "x", TROUPE_CALL_NO_ID); /* has not left: waiting is no second attempt */
    for (int i = 0; i < 2; i++)
        assert_int_equal(troupe_batch_send(batches[i], WAIT_MS, note, &answered), 0);
    struct troupe_batch *probe = troupe_batch_new(client);
    add(probe, "x", 0);
    expect(send_wait(probe, 250), TROUPE_UNAVAILABLE, false, NULL); /* it has dialled, in vain */
    struct fake_node *node = fake_node_start(port, NULL, play, &script);
    wait_for(&answered.n, 2);
    for (int i = 0; i < 2; i++)
        expect(troupe_batch_result(batches[i], 0), TROUPE_OK, true, NULL);
    assert_int_equal(script.calls, 2);
    troupe_batch_free(probe);
    troupe_batch_free(batches[0]);
    troupe_batch_free(batches[1]);
    troupe_client_close(client);
    fake_node_stop(node);
}

static void the_next_address_is_tried(void **state)
{
    struct fixture *f = *state;
    char addresses[128];
    snprintf(addresses, sizeof addresses, "127.0.0.1:%d, %s", fake_free_port(),
             fake_node_address(f->node));
    struct troupe_client *client = open_client(addresses, 0, 0);
    struct troupe_batch *batch = troupe_batch_new(client);
    for (int i = 0; i < 2; i++) { /* and again after a loss */
        troupe_batch_reset(batch);
        add(batch, "x", 0);
        expect(send_wait(batch, WAIT_MS), TROUPE_OK, true, NULL);
        fake_node_hang_up(f->node);
    }
    troupe_batch_free(batch);
    troupe_client_close(client);
}

/* Peers of another kind: what they say first, and what the client is to make of it. */
struct stranger {
    int listener;
    const uint8_t *says;
    size_t says_bytes;
};

static void *stranger(void *arg)
{
    struct stranger *s = arg;
    uint8_t buffer[256];
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        ssize_t n = write(fd, s->says, s->says_bytes);
        while (n > 0)
            n = read(fd, buffer, sizeof buffer);
        close(fd);
    }
}

static void strangers_are_recognised(void **state)
{
    (void)state;
    static const uint8_t http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    static const uint8_t pub[] = {0, 'S', 'P', 0, 0, 0x20, 0, 0};
    static const uint8_t huge[] = {0, 'S', 'P', 0, 0, 0x31, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0};
    static const uint8_t tiny[] = {0, 'S', 'P', 0, 0, 0x31, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3};
    static const struct {
        const uint8_t *says;
        size_t bytes;
        const char *why;
    } cases[] = {
        {http, sizeof http - 1, "right port"},
        {pub, sizeof pub, "right port"},
        {huge, sizeof huge, "over the limit"},
        {tiny, sizeof tiny, "malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char address[32];
        struct stranger s = {listen_plain(address), cases[i].says, cases[i].bytes};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, stranger, &s), 0);
        struct troupe_client *client = open_client(address, 0, 0);
        struct troupe_batch *batch = troupe_batch_new(client);
        add(batch, "x", 0);
        expect(send_wait(batch, 1500), TROUPE_UNAVAILABLE, false, cases[i].why);
        troupe_batch_free(batch);
        troupe_client_close(client);
        shutdown(s.listener, SHUT_RDWR);
        pthread_join(thread, NULL);
        close(s.listener);
    }
}

/* ---- limits and the end ---- */

static void the_queue_is_bounded(void **state)
{
    (void)state;
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", fake_free_port());
    struct troupe_client *client = open_client(address, 2, 3);
    struct troupe_batch *batches[8];
    struct answered answered = {0};
    unsigned accepted = 0;
    for (int i = 0; i < 8; i++) {
        batches[i] = troupe_batch_new(client);
        add(batches[i], "x", 0);
        int rc = troupe_batch_send(batches[i], WAIT_MS, note, &answered);
        accepted += rc == 0;
        if (rc != 0)
            assert_int_equal(rc, TROUPE_ELIMIT);
    }
    assert_int_equal(accepted, 3);
    answered.resend = 1;
    troupe_client_close(client); /* the callbacks come before it returns, once each */
    assert_int_equal(answered.n, 3);
    assert_int_equal(answered.status, TROUPE_CANCELLED);
    assert_int_equal(answered.resend, TROUPE_ECLOSED);
    for (int i = 0; i < 8; i++)
        troupe_batch_free(batches[i]);
}

static void only_so_many_are_in_flight(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 8; i++)
        f->script.actions[i] = FAKE_SILENCE;
    struct troupe_client *client = open_client(fake_node_address(f->node), 2, 4);
    struct troupe_batch *batches[7];
    struct answered answered = {0};
    for (int i = 0; i < 2; i++) {
        batches[i] = troupe_batch_new(client);
        add(batches[i], "x", 0);
        assert_int_equal(troupe_batch_send(batches[i], WAIT_MS, note, &answered), 0);
    }
    wait_for(&f->script.requests, 2);
    for (int i = 2; i < 7; i++) {
        batches[i] = troupe_batch_new(client);
        add(batches[i], "x", 0);
        assert_int_equal(troupe_batch_send(batches[i], 300, note, &answered),
                         i < 6 ? 0 : TROUPE_ELIMIT);
    }
    wait_for(&answered.n, 4); /* those that wait see their deadline; the two are still out */
    expect(troupe_batch_result(batches[2], 0), TROUPE_DEADLINE_EXCEEDED, false, "not sent");
    assert_int_equal(f->script.requests, 2);
    troupe_client_close(client);
    assert_int_equal(answered.n, 6);
    expect(troupe_batch_result(batches[0], 0), TROUPE_CANCELLED, false, "closed");
    for (int i = 0; i < 7; i++)
        troupe_batch_free(batches[i]);
}

/* Connections are cut at random under load: every batch has exactly one callback, every call with
 * an id is executed, and answered with its own payload. */
struct storm {
    atomic_uint started, callbacks, failed;
    unsigned total;
};

static void storm_fill(struct troupe_batch *batch, unsigned n)
{
    char payload[32];
    troupe_batch_reset(batch);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(payload, sizeof payload, "%u-%u", n, i);
        add(batch, payload, 0);
    }
}

static void storm_answered(struct troupe_batch *batch, void *data)
{
    struct storm *s = data;
    struct troupe_bytes first = troupe_batch_result(batch, 0)->payload;
    for (unsigned i = 0; i < 3; i++) {
        const struct troupe_call_result *r = troupe_batch_result(batch, i);
        bool own = r->payload.len == first.len && r->payload.len > 0 &&
                   r->payload.data[r->payload.len - 1] == '0' + i &&
                   memcmp(r->payload.data, first.data, first.len - 1) == 0;
        s->failed += r->status != TROUPE_OK || !own;
    }
    unsigned n = s->started++;
    if (n < s->total) {
        storm_fill(batch, n);
        s->failed += troupe_batch_send(batch, WAIT_MS, storm_answered, s) != 0;
    }
    s->callbacks++;
}

static void lost_connections_lose_no_call(void **state)
{
    struct fixture *f = *state;
    enum { BATCHES = 16 };
    struct storm storm = {.total = 1200, .started = BATCHES};
    struct troupe_batch *batches[BATCHES];
    for (unsigned i = 0; i < BATCHES; i++) {
        batches[i] = troupe_batch_new(f->client);
        storm_fill(batches[i], i);
        assert_int_equal(troupe_batch_send(batches[i], WAIT_MS, storm_answered, &storm), 0);
    }
    for (unsigned cut = 1; cut <= 6; cut++) {
        wait_for(&storm.callbacks, cut * 150);
        fake_node_hang_up(f->node);
    }
    wait_for(&storm.callbacks, storm.total);
    assert_int_equal(storm.callbacks, storm.total);
    assert_int_equal(storm.failed, 0);
    assert_int_equal(f->script.executed, 3 * storm.total);
    assert_true(fake_node_connections(f->node) > 3);
    for (unsigned i = 0; i < BATCHES; i++)
        troupe_batch_free(batches[i]);
}

int main(void)
{
#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_NODE(an_unavailable_call_is_tried_again),
        WITH_NODE(an_unknown_outcome_is_asked_for_again),
        WITH_NODE(an_unknown_outcome_is_not_made_known_by_a_refusal),
        WITH_NODE(without_an_id_the_first_answer_counts),
        WITH_NODE(at_the_deadline_the_last_answer_counts),
        WITH_NODE(a_nodes_last_word_is_not_asked_for_again),
        WITH_NODE(a_refused_request_is_the_answer_to_each_call),
        WITH_NODE(a_request_refused_as_unavailable_is_tried_again),
        WITH_NODE(a_lost_reply_is_asked_for_again),
        WITH_NODE(nonsense_is_not_an_answer),
        WITH_NODE(silence_ends_at_the_deadline),
        cmocka_unit_test(a_late_reply_is_taken_for_no_other),
        cmocka_unit_test(nobody_there_is_said_so),
        cmocka_unit_test(a_node_that_comes_late_gets_what_waits),
        WITH_NODE(the_next_address_is_tried),
        cmocka_unit_test(strangers_are_recognised),
        cmocka_unit_test(the_queue_is_bounded),
        WITH_NODE(only_so_many_are_in_flight),
        WITH_NODE(lost_connections_lose_no_call),
    };
    return cmocka_run_group_tests_name("client faults", tests, NULL, NULL);
}
