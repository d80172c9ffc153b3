/* libtroupe and the ring: it learns from replies who owns what, goes straight there, and splits
 * batches whose calls belong to several nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ring_table.h"
#include "count_allocations.h"
#include "fake_troop.h"
#include "troupe/client.h"
#include "troupe/error.h"

enum { WAIT_MS = 20000, IDS = 64 };

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the table by itself ---- */

static ring_spot spot_of(uint32_t pid, unsigned bits)
{
    return (ring_spot)(pid << (16 - bits));
}

static void newer_words_count(void **state)
{
    (void)state;
    struct ring_table t = {0};
    ring_spot spot = spot_of(3, 8);
    assert_int_equal(ring_table_node(&t, spot), 0);
    assert_int_equal(ring_table_fit(&t, 256), 0);
    assert_true(ring_table_learn(&t, spot, 1, 5, 0));
    assert_int_equal(ring_table_node(&t, spot), 1);
    assert_int_equal(ring_table_node(&t, spot_of(4, 8)), 0);
    assert_false(ring_table_learn(&t, spot, 2, 4, 0)); /* older */
    assert_false(ring_table_learn(&t, spot, 2, 5, 3)); /* as old, and not from the one we took */
    assert_int_equal(ring_table_node(&t, spot), 1);
    assert_true(ring_table_learn(&t, spot, 2, 6, 3));
    assert_int_equal(ring_table_node(&t, spot), 2);
    assert_false(ring_table_learn(&t, spot, 2, 7, 3)); /* the same one, newer */
    assert_true(ring_table_learn(&t, spot, 1, 6, 2));  /* it says itself that it is not */
    assert_int_equal(ring_table_node(&t, spot), 1);
    ring_table_forget(&t, 1);
    assert_int_equal(ring_table_node(&t, spot), 0);
    ring_table_close(&t);
}

static void another_number_of_partitions_is_another_ring(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 1, 128, 300, 131072, UINT32_MAX};
    struct ring_table t = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ring_table_fit(&t, bad[i]), TROUPE_EINVAL);
    for (unsigned bits = 8; bits <= 16; bits++) {
        uint32_t last = (1u << bits) - 1;
        assert_int_equal(ring_table_fit(&t, 1u << bits), 0);
        assert_int_equal(ring_table_node(&t, spot_of(last, bits)), 0);
        assert_true(ring_table_learn(&t, spot_of(last, bits), 7, 1, 0));
        assert_int_equal(ring_table_fit(&t, 1u << bits), 0);
        assert_int_equal(ring_table_node(&t, spot_of(last, bits)), 7);
        assert_int_equal(ring_table_node(&t, spot_of(last - 1, bits)), 0);
    }
    assert_int_equal(ring_table_fit(&t, 77), TROUPE_EINVAL);
    assert_int_equal(ring_table_node(&t, spot_of(65535, 16)), 7);
    ring_table_close(&t);
}

static void a_spot_is_where_nodes_look(void **state)
{
    (void)state;
    struct troupe_bytes kind = troupe_bytes_of("venue"), id = troupe_bytes_of("42");
    for (unsigned bits = 8; bits <= 16; bits++)
        assert_int_equal(ring_spot_of(kind, id) >> (16 - bits),
                         name_partition(name_hash(kind, id), bits));
}

/* ---- with nodes ---- */

struct fixture {
    struct fake_troop troop;
    struct troupe_client *client;
    struct troupe_batch *batch;
    char ids[IDS][16];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fake_troop_start(&f->troop, 3);
    struct troupe_client_options options = {.addresses =
                                                fake_node_address(f->troop.members[0].node)};
    char errmsg[256];
    assert_int_equal(troupe_client_open(&f->client, &options, errmsg, sizeof errmsg), 0);
    f->batch = troupe_batch_new(f->client);
    for (int i = 0; i < IDS; i++)
        snprintf(f->ids[i], sizeof f->ids[i], "%d", i);
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

static void add(struct troupe_batch *batch, const char *id, const char *method, unsigned flags)
{
    assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("venue"), troupe_bytes_of(id),
                                      troupe_bytes_of(method), troupe_bytes_of(id),
                                      TROUPE_ACK_MEMORY, flags),
                     0);
}

static bool text_is(struct troupe_bytes bytes, const char *text)
{
    return troupe_bytes_equal(bytes, troupe_bytes_of(text));
}

/* One call of each id, one by one or together. */
static void call_all(struct fixture *f, bool together)
{
    for (int i = 0; i < IDS; i++) {
        if (i == 0 || !together)
            troupe_batch_reset(f->batch);
        add(f->batch, f->ids[i], "book", 0);
        if (together && i < IDS - 1)
            continue;
        assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
        for (size_t k = 0; k < troupe_batch_count(f->batch); k++) {
            const struct troupe_call_result *r = troupe_batch_result(f->batch, k);
            assert_int_equal(r->status, TROUPE_OK);
            assert_true(text_is(r->payload, f->ids[together ? (int)k : i]));
        }
    }
}

/* Until a whole round needs no hop any more. */
static void warm_up(struct fixture *f)
{
    for (uint64_t until = now_ms() + WAIT_MS; now_ms() < until;) {
        unsigned before = fake_troop_forwards(&f->troop);
        call_all(f, true);
        if (fake_troop_forwards(&f->troop) == before)
            return;
    }
    fail_msg("calls are forwarded still");
}

static void it_learns_and_goes_straight(void **state)
{
    struct fixture *f = *state;
    call_all(f, false);
    assert_true(fake_troop_forwards(&f->troop) > 0);
    warm_up(f);
    unsigned forwards = fake_troop_forwards(&f->troop), straight[3];
    for (int i = 0; i < 3; i++)
        straight[i] = f->troop.members[i].straight;
    call_all(f, false);
    assert_int_equal(fake_troop_forwards(&f->troop), forwards);
    for (int i = 0; i < 3; i++)
        assert_true(f->troop.members[i].straight > straight[i]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fake_node_connections(f->troop.members[i].node), 1);
}

/* Three messages, one for each node; the results are in the order of the calls. */
static void a_batch_is_split_by_owner(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    unsigned requests[3], forwards = fake_troop_forwards(&f->troop);
    for (int i = 0; i < 3; i++)
        requests[i] = f->troop.members[i].requests;
    troupe_batch_reset(f->batch);
    for (int i = 0; i < IDS; i++)
        add(f->batch, f->ids[i], i % 7 == 3 ? "fail" : "book", i % 2 == 0 ? 0 : TROUPE_CALL_NO_ID);
    assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
    for (int i = 0; i < IDS; i++) {
        const struct troupe_call_result *r = troupe_batch_result(f->batch, (size_t)i);
        assert_int_equal(r->status, i % 7 == 3 ? TROUPE_FAILED_PRECONDITION : TROUPE_OK);
        assert_true(text_is(r->payload, f->ids[i]));
        assert_true(r->answered);
        assert_int_equal(r->owner_node.len, 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(f->troop.members[i].requests, requests[i] + 1);
    assert_int_equal(fake_troop_forwards(&f->troop), forwards);
}

static void a_batch_of_one_owner_is_one_message(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    unsigned requests = f->troop.members[1].requests, calls = 0;
    troupe_batch_reset(f->batch);
    for (int i = 0; i < IDS; i++)
        if (fake_troop_owner(&f->troop, f->ids[i]) == 1) {
            add(f->batch, f->ids[i], "book", 0);
            calls++;
        }
    assert_true(calls > 1);
    assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
    assert_int_equal(f->troop.members[1].requests, requests + 1);
}

/* Only what is refused is sent again, and the callback waits for it. */
static void a_part_that_is_refused_is_tried_again(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    unsigned executed = f->troop.executed, requests[3];
    for (int i = 0; i < 3; i++)
        requests[i] = f->troop.members[i].requests;
    f->troop.members[1].unavailables = 2;
    call_all(f, true);
    assert_int_equal(f->troop.members[0].requests, requests[0] + 1);
    assert_int_equal(f->troop.members[1].requests, requests[1] + 3);
    assert_int_equal(f->troop.members[2].requests, requests[2] + 1);
    assert_int_equal(f->troop.executed, executed + IDS);
}

/* The deadline is the batch's: the parts that were answered keep their results. */
static void a_part_that_is_silent_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    f->troop.members[2].silent = true;
    troupe_batch_reset(f->batch);
    for (int i = 0; i < IDS; i++)
        add(f->batch, f->ids[i], "book", 0);
    uint64_t start = now_ms();
    assert_int_equal(troupe_batch_send_wait(f->batch, 300), 0);
    assert_true(now_ms() - start >= 300);
    for (int i = 0; i < IDS; i++) {
        const struct troupe_call_result *r = troupe_batch_result(f->batch, (size_t)i);
        bool silent = fake_troop_owner(&f->troop, f->ids[i]) == 2;
        assert_int_equal(r->status, silent ? TROUPE_DEADLINE_EXCEEDED : TROUPE_OK);
        assert_int_equal(r->answered, !silent);
    }
    f->troop.members[2].silent = false;
    call_all(f, true);
}

static void an_owner_that_moves_is_followed(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    unsigned forwards = fake_troop_forwards(&f->troop), pid = fake_troop_pid("7");
    unsigned from = fake_troop_owner(&f->troop, "7"), to = (from + 1) % 3;
    fake_troop_move(&f->troop, pid, to);
    for (int round = 0; round < 5; round++) {
        troupe_batch_reset(f->batch);
        add(f->batch, "7", "book", 0);
        assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
        const struct troupe_call_result *r = troupe_batch_result(f->batch, 0);
        assert_int_equal(r->status, TROUPE_OK);
        assert_int_equal(r->owner_node.len > 0, round == 0); /* one hop, and no more */
    }
    assert_int_equal(fake_troop_forwards(&f->troop), forwards + 1);
}

/* What is asked of the node itself goes to the one that was given. */
static void questions_to_the_node_stay_with_the_seed(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    unsigned before[3];
    for (int i = 0; i < 3; i++)
        before[i] = f->troop.members[i].node_calls;
    for (int i = 0; i < 8; i++) {
        troupe_batch_reset(f->batch);
        assert_int_equal(troupe_batch_add(f->batch, troupe_bytes_of("$node"),
                                          troupe_bytes_of(f->ids[i]), troupe_bytes_of("status"),
                                          (struct troupe_bytes){0}, TROUPE_ACK_MEMORY, 0),
                         0);
        if (i % 2 == 1) /* with others, it goes first */
            add(f->batch, f->ids[i], "book", 0);
        assert_int_equal(troupe_batch_send_wait(f->batch, WAIT_MS), 0);
        assert_int_equal(troupe_batch_result(f->batch, 0)->status, TROUPE_OK);
    }
    assert_int_equal(f->troop.members[0].node_calls, before[0] + 8);
    assert_int_equal(f->troop.members[1].node_calls, before[1]);
    assert_int_equal(f->troop.members[2].node_calls, before[2]);
}

static void a_steady_load_allocates_nothing(void **state)
{
    struct fixture *f = *state;
    warm_up(f);
    long before = 0;
    for (int round = 0; round < 30; round++) {
        if (round == 10)
            before = allocations;
        call_all(f, true);
    }
    assert_int_equal(allocations - before, 0);
}

static void without_the_ring_all_goes_by_the_seed(void **state)
{
    (void)state;
    struct fixture f = {0};
    fake_troop_start(&f.troop, 3);
    struct troupe_client_options options = {.addresses = fake_node_address(f.troop.members[0].node),
                                            .no_ring = true};
    char errmsg[256];
    assert_int_equal(troupe_client_open(&f.client, &options, errmsg, sizeof errmsg), 0);
    f.batch = troupe_batch_new(f.client);
    for (int i = 0; i < IDS; i++)
        snprintf(f.ids[i], sizeof f.ids[i], "%d", i);
    for (int round = 0; round < 5; round++)
        call_all(&f, round % 2 == 0);
    assert_int_equal(f.troop.members[0].straight + f.troop.members[0].forwards, 5 * IDS);
    assert_int_equal(fake_node_connections(f.troop.members[1].node), 0);
    assert_int_equal(fake_node_connections(f.troop.members[2].node), 0);
    troupe_batch_free(f.batch);
    troupe_client_close(f.client);
    fake_troop_stop(&f.troop);
}

int main(void)
{
#define WITH_TROOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_words_count),
        cmocka_unit_test(another_number_of_partitions_is_another_ring),
        cmocka_unit_test(a_spot_is_where_nodes_look),
        WITH_TROOP(it_learns_and_goes_straight),
        WITH_TROOP(a_batch_is_split_by_owner),
        WITH_TROOP(a_batch_of_one_owner_is_one_message),
        WITH_TROOP(a_part_that_is_refused_is_tried_again),
        WITH_TROOP(a_part_that_is_silent_ends_at_the_deadline),
        WITH_TROOP(an_owner_that_moves_is_followed),
        WITH_TROOP(questions_to_the_node_stay_with_the_seed),
        WITH_TROOP(a_steady_load_allocates_nothing),
        cmocka_unit_test(without_the_ring_all_goes_by_the_seed),
    };
    return cmocka_run_group_tests_name("client ring", tests, NULL, NULL);
}
