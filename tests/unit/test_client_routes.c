/* libtroupe's connections to the nodes that the ring names, when things go wrong with them: lost,
 * not to be reached, leading to strangers, too many, or not up yet when the client is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fake_troop.h"
#include "troupe/client.h"

enum { WAIT_MS = 20000, IDS = 64 };

struct fixture {
    struct fake_troop troop;
    struct troupe_client *client;
    struct troupe_batch *batch;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void open_client(struct fixture *f, uint32_t links_max)
{
    struct troupe_client_options options = {
        .addresses = fake_node_address(f->troop.members[0].node), .links_max = links_max};
    char errmsg[256];
    assert_int_equal(troupe_client_open(&f->client, &options, errmsg, sizeof errmsg), 0);
    f->batch = troupe_batch_new(f->client);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fake_troop_start(&f->troop, 3);
    open_client(f, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    troupe_batch_free(f->batch);
    troupe_client_close(f->client);
    fake_troop_stop(&f->troop);
    free(f);
    return 0;
}

static void add_to(struct troupe_batch *batch, unsigned number, unsigned flags)
{
    char id[16];
    snprintf(id, sizeof id, "%u", number);
    assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("venue"), troupe_bytes_of(id),
                                      troupe_bytes_of("book"), troupe_bytes_of(id),
                                      TROUPE_ACK_MEMORY, flags),
                     0);
}

static bool is_answer(const struct troupe_call_result *r, unsigned number)
{
    char id[16];
    snprintf(id, sizeof id, "%u", number);
    return r->status == TROUPE_OK && troupe_bytes_equal(r->payload, troupe_bytes_of(id));
}

static const struct troupe_call_result *call_one(struct fixture *f, unsigned number, unsigned flags)
{
    troupe_batch_reset(f->batch);
    add_to(f->batch, number, flags);
    assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
    return troupe_batch_result(f->batch, 0);
}

static void call_all(struct fixture *f)
{
    troupe_batch_reset(f->batch);
    for (unsigned i = 0; i < IDS; i++)
        add_to(f->batch, i, 0);
    assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
    for (unsigned i = 0; i < IDS; i++)
        assert_true(is_answer(troupe_batch_result(f->batch, i), i));
}

static void warm_up(struct fixture *f)
{
    for (uint64_t until = now_ms() + WAIT_MS; now_ms() < until;) {
        unsigned before = fake_troop_forwards(&f->troop);
        call_all(f);
        if (fake_troop_forwards(&f->troop) == before)
            return;
    }
    fail_msg("calls are forwarded still");
}

/* An id of that node's. */
static unsigned owned_by(struct fixture *f, unsigned node)
{
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "%u", i);
        if (fake_troop_owner(&f->troop, id) == node)
            return i;
    }
    fail_msg("node %u owns none of the ids", node);
    return 0;
}

static void wait_for(atomic_uint *n, unsigned want)
{
    for (uint64_t until = now_ms() + WAIT_MS; *n < want && now_ms() < until;)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_true(*n >= want);
}

/* ---- lost connections ---- */

static void count(struct troupe_batch *batch, void *data)
{
    (void)batch;
    ++*(atomic_uint *)data;
}

static void a_call_that_is_lost_with_its_owner_is_sent_again(void **state)
{
    struct fixture *f = *state;
    atomic_uint callbacks = 0;
    warm_up(f);
    unsigned executed = f->troop.executed;
    f->troop.members[1].hang_ups = 1; /* having executed it */
    troupe_batch_reset(f->batch);
    add_to(f->batch, owned_by(f, 1), 0);
    assert_int_equal(troupe_batch_send(f->batch, WAIT_MS, count, &callbacks), 0);
    wait_for(&callbacks, 1);
    assert_true(is_answer(troupe_batch_result(f->batch, 0), owned_by(f, 1)));
    assert_int_equal(f->troop.executed, executed + 1);
    warm_up(f); /* its node is back */
    assert_int_equal(callbacks, 1);
    assert_int_equal(fake_node_connections(f->troop.members[1].node), 2);
}

static void without_an_id_it_is_not(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    unsigned executed = f->troop.executed;
    f->troop.members[1].hang_ups = 1;
    const struct troupe_call_result *r = call_one(f, owned_by(f, 1), TROUPE_CALL_NO_ID);
    assert_int_equal(r->status, TROUPE_UNAVAILABLE);
    assert_false(r->answered);
    assert_non_null(memmem(r->message.data, r->message.len, "may have been executed", 22));
    assert_non_null(memmem(r->message.data, r->message.len, f->troop.members[1].address,
                           strlen(f->troop.members[1].address)));
    assert_int_equal(f->troop.executed, executed + 1);
}

static void stop_node(struct fixture *f, unsigned i)
{
    fake_node_stop(f->troop.members[i].node);
    f->troop.members[i].node = NULL;
}

/* Its entities are asked for by way of the seed. */
static void an_owner_that_is_gone_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    stop_node(f, 2);
    for (unsigned round = 0; round < 20; round++)
        call_all(f);
    for (unsigned pid = 2; pid < TROOP_PARTITIONS; pid += 3) /* the others take over */
        fake_troop_move(&f->troop, pid, pid % 2);
    warm_up(f);
}

/* Any other does as well, while it is away. */
static void a_seed_that_is_gone_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    stop_node(f, 0);
    for (unsigned round = 0; round < 20; round++)
        call_all(f);
    assert_true(is_answer(call_one(f, owned_by(f, 0), 0), owned_by(f, 0)));
    for (unsigned pid = 0; pid < TROOP_PARTITIONS; pid += 3)
        fake_troop_move(&f->troop, pid, 1 + pid % 2);
    warm_up(f);
}

/* ---- silence ---- */

/* A node that is paused or cut off, without a word: others own its entities soon, and the calls
 * that it had reach them. Those whose time is over count, too. */
static void a_node_that_falls_silent_is_given_up(void **state)
{
    struct fixture *f = *state;
    atomic_uint callbacks = 0;
    warm_up(f);
    unsigned executed = f->troop.executed, number = owned_by(f, 2);
    f->troop.members[2].silent = f->troop.members[2].shy = true;
    struct troupe_batch *hasty = troupe_batch_new(f->client);
    add_to(hasty, number, 0);
    assert_int_equal(troupe_batch_send_wait(hasty, 100), 0);
    assert_int_equal(troupe_batch_result(hasty, 0)->status, TROUPE_DEADLINE_EXCEEDED);
    troupe_batch_reset(f->batch);
    add_to(f->batch, number, 0);
    assert_int_equal(troupe_batch_send(f->batch, WAIT_MS, count, &callbacks), 0);
    wait_for(&callbacks, 1);
    assert_true(is_answer(troupe_batch_result(f->batch, 0), number));
    assert_int_equal(f->troop.executed, executed + 1);
    assert_true(f->troop.members[2].node_calls >= 2);
    assert_true(is_answer(call_one(f, number, 0), number)); /* it is not waited for again */
    troupe_batch_free(hasty);
}

/* It answers that it is there, so it is waited for. */
static void a_node_that_takes_its_time_is_not(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    f->troop.members[2].silent = true;
    unsigned node_calls = f->troop.members[2].node_calls;
    troupe_batch_reset(f->batch);
    add_to(f->batch, owned_by(f, 2), 0);
    assert_int_equal(troupe_batch_send_wait(f->batch, 4500), 0);
    assert_int_equal(troupe_batch_result(f->batch, 0)->status, TROUPE_DEADLINE_EXCEEDED);
    assert_true(f->troop.members[2].node_calls > node_calls);
    assert_int_equal(fake_node_connections(f->troop.members[2].node), 1);
}

/* ---- addresses that lead nowhere, or elsewhere ---- */

static void advertise_port(struct fake_troop *troop, unsigned i, int port)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    fake_troop_advertise(troop, i, address);
}

static void an_address_where_nobody_listens_does_no_harm(void **state)
{
    struct fixture *f = *state;
    advertise_port(&f->troop, 1, fake_free_port());
    unsigned forwards = fake_troop_forwards(&f->troop);
    for (unsigned round = 0; round < 50; round++)
        call_all(f);
    assert_true(fake_troop_forwards(&f->troop) > forwards);
    assert_int_equal(fake_node_connections(f->troop.members[0].node), 1);
    assert_int_equal(fake_node_connections(f->troop.members[1].node), 0);
}

static void an_address_that_is_none_does_no_harm(void **state)
{
    struct fixture *f = *state;
    static const char *const addresses[] = {"",        "nonsense address", "tls://h:1", "h:99999",
                                            "a:1,b:2", "ipc://",           "[::1"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        fake_troop_advertise(&f->troop, 1, addresses[i]);
        call_all(f);
        call_all(f);
    }
    assert_int_equal(fake_node_connections(f->troop.members[1].node), 0);
}

/* It accepts, and says nothing. */
static void dialling_holds_nothing_up(void **state)
{
    struct fixture *f = *state;
    int port, hole = fake_listen(0, &port);
    advertise_port(&f->troop, 1, port);
    for (unsigned round = 0; round < 50; round++)
        call_all(f);
    assert_int_equal(fake_node_connections(f->troop.members[1].node), 0);
    close(hole);
}

static void closing_does_not_wait_for_a_dial(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct fixture f = {0};
        int port, hole = fake_listen(0, &port);
        fake_troop_start(&f.troop, 3);
        advertise_port(&f.troop, 1, port);
        f.troop.members[2].shy = true;
        open_client(&f, 0);
        atomic_uint callbacks = 0;
        call_all(&f);
        troupe_batch_reset(f.batch);
        add_to(f.batch, owned_by(&f, 1), 0);
        f.troop.members[0].silent = i % 2 == 0;
        assert_int_equal(troupe_batch_send(f.batch, WAIT_MS, count, &callbacks), 0);
        uint64_t start = now_ms();
        troupe_client_close(f.client);
        assert_true(now_ms() - start < WAIT_MS / 2);
        assert_int_equal(callbacks, 1);
        troupe_batch_free(f.batch);
        fake_troop_stop(&f.troop);
        close(hole);
    }
}

/* A port that leads to another cluster's node, or to another node, gets no call. */
static void strangers_get_no_call(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct fixture f = {0};
        fake_troop_start(&f.troop, 3);
        struct fake_member *m = &f.troop.members[1];
        if (i == 0)
            m->uid[0] = 'f';
        else if (i == 1) /* node 0's word is node 1's name; where it leads, is node 2 */
            fake_troop_advertise(&f.troop, 1, fake_node_address(f.troop.members[2].node));
        else
            m->shy = true;
        open_client(&f, 0);
        call_all(&f);
        wait_for(i == 1 ? &f.troop.members[2].node_calls : &m->node_calls, 1);
        for (unsigned round = 0; round < 30; round++)
            call_all(&f);
        assert_int_equal(m->requests, 0);
        if (i == 1) /* what is node 2's own goes there */
            assert_int_equal(f.troop.members[2].forwards, 0);
        troupe_batch_free(f.batch);
        troupe_client_close(f.client);
        fake_troop_stop(&f.troop);
    }
}

/* ---- limits ---- */

static void there_are_only_so_many_links(void **state)
{
    (void)state;
    struct fixture f = {0};
    fake_troop_start(&f.troop, 5);
    open_client(&f, 2);
    for (uint64_t until = now_ms() + WAIT_MS; now_ms() < until;) {
        unsigned straight = 0;
        call_all(&f);
        for (unsigned i = 1; i < 5; i++)
            straight += f.troop.members[i].straight > 0;
        if (straight == 2)
            break;
    }
    for (unsigned round = 0; round < 20; round++)
        call_all(&f);
    unsigned connections = 0;
    for (unsigned i = 1; i < 5; i++)
        connections += fake_node_connections(f.troop.members[i].node);
    assert_int_equal(connections, 2);
    troupe_batch_free(f.batch);
    troupe_client_close(f.client);
    fake_troop_stop(&f.troop);
}

/* A link whose node is gone, and owns nothing any more, has room for another one. */
static void the_place_of_a_node_that_is_gone_is_taken(void **state)
{
    (void)state;
    struct fixture f = {0};
    fake_troop_start(&f.troop, 3);
    for (unsigned pid = 0; pid < TROOP_PARTITIONS; pid++)
        fake_troop_move(&f.troop, pid, pid % 2);
    open_client(&f, 1);
    warm_up(&f);
    stop_node(&f, 1);
    for (unsigned pid = 0; pid < TROOP_PARTITIONS; pid++)
        fake_troop_move(&f.troop, pid, pid % 2 == 0 ? 0 : 2);
    warm_up(&f);
    assert_int_equal(fake_node_connections(f.troop.members[2].node), 1);
    troupe_batch_free(f.batch);
    troupe_client_close(f.client);
    fake_troop_stop(&f.troop);
}

/* ---- everything at once ---- */

/* Connections are cut and partitions moved under load: every batch has exactly one callback, every
 * call is executed once, and answered with its own payload. */
struct storm {
    atomic_uint started, callbacks, failed;
    unsigned total;
};

enum { STORM_CALLS = 8, STORM_BATCHES = 16 };

static void storm_fill(struct troupe_batch *batch, unsigned n)
{
    troupe_batch_reset(batch);
    for (unsigned i = 0; i < STORM_CALLS; i++)
        add_to(batch, n * STORM_CALLS + i, 0);
}

static void storm_answered(struct troupe_batch *batch, void *data)
{
    struct storm *s = data;
    char text[16] = "";
    struct troupe_bytes payload = troupe_batch_result(batch, 0)->payload;
    memcpy(text, payload.data, payload.len < sizeof text ? payload.len : sizeof text - 1);
    unsigned first = (unsigned)strtoul(text, NULL, 10);
    for (unsigned i = 0; i < STORM_CALLS; i++)
        s->failed += !is_answer(troupe_batch_result(batch, i), first + i);
    unsigned n = s->started++;
    if (n < s->total) {
        storm_fill(batch, n);
        s->failed += troupe_batch_send(batch, WAIT_MS, storm_answered, s) != 0;
    }
    s->callbacks++;
}

static void a_storm_loses_no_call(void **state)
{
    struct fixture *f = *state;
    struct storm storm = {.total = 1200, .started = STORM_BATCHES};
    struct troupe_batch *batches[STORM_BATCHES];
    for (unsigned i = 0; i < STORM_BATCHES; i++) {
        batches[i] = troupe_batch_new(f->client);
        storm_fill(batches[i], i);
        assert_int_equal(troupe_batch_send(batches[i], WAIT_MS, storm_answered, &storm), 0);
    }
    for (unsigned cut = 1; cut <= 9; cut++) {
        wait_for(&storm.callbacks, cut * 120);
        fake_node_hang_up(f->troop.members[cut % 3].node);
        for (unsigned pid = cut; pid < TROOP_PARTITIONS; pid += 5)
            fake_troop_move(&f->troop, pid, (pid + cut) % 3);
    }
    wait_for(&storm.callbacks, storm.total);
    assert_int_equal(storm.callbacks, storm.total);
    assert_int_equal(storm.failed, 0);
    assert_int_equal(f->troop.executed, STORM_CALLS * storm.total);
    for (unsigned i = 0; i < STORM_BATCHES; i++)
        troupe_batch_free(batches[i]);
}

int main(void)
{
#define WITH_TROOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_TROOP(a_call_that_is_lost_with_its_owner_is_sent_again),
        WITH_TROOP(without_an_id_it_is_not),
        WITH_TROOP(an_owner_that_is_gone_is_not_waited_for),
        WITH_TROOP(a_seed_that_is_gone_is_not_waited_for),
        WITH_TROOP(a_node_that_falls_silent_is_given_up),
        WITH_TROOP(a_node_that_takes_its_time_is_not),
        WITH_TROOP(an_address_where_nobody_listens_does_no_harm),
        WITH_TROOP(an_address_that_is_none_does_no_harm),
        WITH_TROOP(dialling_holds_nothing_up),
        cmocka_unit_test(closing_does_not_wait_for_a_dial),
        cmocka_unit_test(strangers_get_no_call),
        cmocka_unit_test(there_are_only_so_many_links),
        cmocka_unit_test(the_place_of_a_node_that_is_gone_is_taken),
        WITH_TROOP(a_storm_loses_no_call),
    };
    return cmocka_run_group_tests_name("client routes", tests, NULL, NULL);
}
