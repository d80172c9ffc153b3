/* The window of request ids: what it must never do is call an executed id new, nor refuse a first
 * attempt because of what others do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/runtime/dedup.h"
#include "proto/rpc.h"
#include "random.h"
#include "troupe/error.h"
#include "troupe/status.h"

static const uint64_t NOW = UINT64_C(1800000000000);
static const uint64_t DAY = 86400000;

static struct dedup_time now;
static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    now = (struct dedup_time){.now_ms = NOW, .window_ms = DEDUP_WINDOW_MS};
    arena_init(&arena, 0, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

static uint64_t drawn(uint64_t ms, uint64_t counter)
{
    return ms << RPC_SEQUENCE_COUNTER_BITS | counter;
}

static void add(struct dedup **d, uint64_t client, uint64_t sequence, uint64_t acked,
                struct troupe_bytes payload)
{
    struct dedup_reply reply = {
        .status = TROUPE_OK, .payload = payload, .durable = sequence % 2 == 0};
    struct dedup_id id = {client, sequence, acked};
    assert_int_equal(dedup_add(d, &id, &now, &reply), 0);
}

static enum dedup_verdict look(const struct dedup *d, uint64_t client, uint64_t sequence)
{
    struct dedup_found found;
    struct dedup_id id = {client, sequence, 0};
    return dedup_look(d, &id, &now, &found);
}

/* As the node does it: false, if it is refused. */
static bool first_attempt(struct dedup **d, uint64_t client, uint64_t sequence, uint64_t acked)
{
    if (look(*d, client, sequence) != DEDUP_NEW)
        return false;
    add(d, client, sequence, acked, troupe_bytes("abc", 3));
    return true;
}

static size_t written(const struct dedup *d)
{
    return dedup_write(d, &arena).len;
}

static struct dedup *persisted(struct dedup *d)
{
    struct dedup *again = NULL;
    assert_int_equal(dedup_parse(&again, dedup_write(d, &arena), &now), 0);
    dedup_free(d);
    return again;
}

/* ---- what is remembered ---- */

static void remembers_replies(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_found found;
    struct dedup_id first = {1, drawn(NOW, 1), 0}, second = {1, drawn(NOW, 2), 0};
    struct dedup_reply taken = {.status = TROUPE_ALREADY_EXISTS,
                                .payload = troupe_bytes_of("taken")};
    assert_int_equal(look(d, 1, drawn(NOW, 1)), DEDUP_NEW);
    add(&d, 1, drawn(NOW, 2), 0, troupe_bytes_of("booked"));
    assert_int_equal(dedup_add(&d, &first, &now, &taken), 0);
    assert_int_equal(dedup_look(d, &second, &now, &found), DEDUP_DONE);
    assert_int_equal(found.reply.status, TROUPE_OK);
    assert_true(found.reply.kept && found.reply.durable);
    assert_true(troupe_bytes_equal(found.reply.payload, troupe_bytes_of("booked")));
    assert_int_equal(dedup_look(d, &first, &now, &found), DEDUP_DONE);
    assert_int_equal(found.reply.status, TROUPE_ALREADY_EXISTS);
    assert_true(found.reply.kept && !found.reply.durable);
    assert_int_equal(look(d, 2, drawn(NOW, 1)), DEDUP_NEW);
    assert_int_equal(look(d, 1, drawn(NOW, 0)), DEDUP_NEW); /* late, but nothing is forgotten */
    dedup_free(d);
}

static void large_replies_are_only_noted(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_found found;
    static uint8_t large[DEDUP_REPLY_BYTES_MAX + 1];
    struct dedup_id id = {1, 1, 0};
    add(&d, 1, 1, 0, troupe_bytes(large, sizeof large));
    assert_int_equal(dedup_look(d, &id, &now, &found), DEDUP_DONE);
    assert_false(found.reply.kept);
    dedup_free(d);
}

static void a_client_that_calls_one_after_the_other_costs_one_entry(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    uint64_t last = 0;
    for (uint64_t i = 1; i <= 300; i++) {
        now.now_ms += 3;
        last = drawn(now.now_ms, 1);
        assert_true(first_attempt(&d, 7, last, last));
    }
    print_message("one client, 300 calls: %zu bytes in the row, %zu in memory\n", written(d),
                  dedup_memory(d));
    assert_in_range(written(d), 1, 80);
    assert_in_range(dedup_memory(d), 1, 200);
    assert_int_equal(look(d, 7, last), DEDUP_DONE);
    assert_int_equal(look(d, 7, last - 1), DEDUP_OLD); /* nobody waits for it */
    assert_int_equal(look(d, 8, last - 1), DEDUP_NEW);
    dedup_free(d);
}

static void calls_in_flight_are_kept(void **state)
{
    (void)state;
    enum { IN_FLIGHT = 64 };
    struct dedup *d = NULL;
    for (uint64_t i = 0; i < 3000; i++) {
        now.now_ms += i % 4 == 0;
        uint64_t oldest = i < IN_FLIGHT ? 1 : i - IN_FLIGHT + 1;
        assert_true(first_attempt(&d, 7, drawn(NOW, i + 1), drawn(NOW, oldest)));
        assert_int_equal(look(d, 7, drawn(NOW, oldest)), DEDUP_DONE);
        if (oldest > 1)
            assert_int_equal(look(d, 7, drawn(NOW, oldest - 1)), DEDUP_OLD);
    }
    print_message("64 in flight: %zu bytes in the row, %zu in memory\n", written(d),
                  dedup_memory(d));
    assert_in_range(written(d), 1, 1024);
    d = persisted(d);
    assert_int_equal(look(d, 7, drawn(NOW, 3000)), DEDUP_DONE);
    assert_int_equal(look(d, 7, drawn(NOW, 2900)), DEDUP_OLD);
    dedup_free(d);
}

/* Whole batches to one entity, of clients that have many at once under way. */
static void large_batches_are_not_refused(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    for (uint64_t round = 0; round < 3; round++) {
        now.now_ms += 20;
        uint64_t at = drawn(now.now_ms, 0);
        for (uint64_t i = 1; i <= 4096; i++) {
            for (uint64_t client = 1; client <= 3; client++)
                assert_true(first_attempt(&d, client, at + i, at + 1));
        }
        assert_int_equal(look(d, 1, at + 4096), DEDUP_DONE);
        assert_int_not_equal(look(d, 1, at + 1), DEDUP_NEW);
        assert_in_range(written(d), 1, DEDUP_BYTES_MAX);
    }
    assert_int_equal(look(d, 9, drawn(now.now_ms - 10, 1)), DEDUP_NEW);
    dedup_free(d);
}

/* Those of the protocol's first version do not tell what they have got. */
static void clients_that_ack_nothing_are_bounded(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    size_t most = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        now.now_ms += 1;
        assert_true(first_attempt(&d, 7, drawn(now.now_ms, 1), 0));
        uint64_t back = i < 1000 ? i : 1000;
        assert_int_equal(look(d, 7, drawn(now.now_ms - back, 1)), DEDUP_DONE);
        if (i % 100 == 0)
            most = written(d) > most ? written(d) : most;
    }
    assert_in_range(most, 1, DEDUP_BYTES_MAX);
    assert_int_equal(look(d, 7, drawn(NOW + 1, 1)), DEDUP_OLD);
    assert_int_equal(look(d, 8, drawn(NOW + 1, 1)), DEDUP_NEW); /* the bound is its own matter */
    print_message("one client that acks nothing, 1,000 calls/s: at most %zu bytes\n", most);
    dedup_free(d);
}

/* A batch whose answers were lost, once more as a whole. */
static void a_batch_that_acks_nothing_can_be_retried(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    for (uint64_t i = 1; i <= 500; i++)
        assert_true(first_attempt(&d, 7, drawn(NOW, i), 0));
    print_message("a batch of 500 that acks nothing: %zu bytes\n", written(d));
    assert_in_range(written(d), 1, 500 * 14);
    now.now_ms += DEDUP_KEEP_MS - 1;
    for (uint64_t i = 1; i <= 500; i++)
        assert_int_equal(look(d, 7, drawn(NOW, i)), DEDUP_DONE);
    d = persisted(d);
    assert_true(first_attempt(&d, 7, drawn(now.now_ms, 1), 0));
    for (uint64_t i = 1; i <= 500; i++)
        assert_int_equal(look(d, 7, drawn(NOW, i)), DEDUP_DONE);
    now.now_ms += DEDUP_KEEP_MS; /* and is forgotten, but for what is small */
    assert_true(first_attempt(&d, 7, drawn(now.now_ms, 1), 0));
    assert_in_range(written(d), 1, DEDUP_BUDGET_BYTES);
    dedup_free(d);
}

/* Later calls of the same client do not close the entity to what it drew before. */
static void an_earlier_first_attempt_is_not_refused(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    for (uint64_t i = 0; i < 200; i++)
        assert_true(first_attempt(&d, 7, drawn(NOW, 1000 + i), 0));
    for (uint64_t i = 0; i < 200; i++)
        assert_true(first_attempt(&d, 7, drawn(NOW, i + 1), 0));
    for (uint64_t i = 0; i < 200; i++)
        assert_int_equal(look(d, 7, drawn(NOW, 1000 + i)), DEDUP_DONE);
    dedup_free(d);
}

/* Nor does a client whose clock is ahead, when its calls are forgotten. */
static void what_was_ahead_does_not_close_the_present(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    for (uint64_t i = 1; i <= 100; i++)
        assert_true(first_attempt(&d, i, drawn(NOW + DEDUP_KEEP_MS, i), 0));
    for (uint64_t s = 1; s <= 2 * DEDUP_KEEP_MS / 1000; s++) {
        now.now_ms = NOW + s * 1000 + 1;
        assert_true(first_attempt(&d, 999, drawn(now.now_ms, 1), 0));
        assert_int_equal(look(d, 998, drawn(now.now_ms - DEDUP_KEEP_MS + 1000, 1)), DEDUP_NEW);
    }
    dedup_free(d);
}

/* Beyond the bound the client hears that it is its own calls that were too many. */
static void a_client_that_is_too_much_closes_it_to_itself_only(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_found found;
    for (uint64_t i = 1; i <= 8000; i++) {
        assert_true(first_attempt(&d, 7, drawn(NOW, i), 0));
        if (i % 64 == 0)
            assert_int_equal(look(d, 7, drawn(NOW, i > 1700 ? i - 1699 : 1)), DEDUP_DONE);
    }
    struct dedup_id first = {7, drawn(NOW, 1), 0};
    assert_int_equal(dedup_look(d, &first, &now, &found), DEDUP_OLD);
    assert_true(found.own);
    assert_int_equal(look(d, 7, found.from + 9000), DEDUP_NEW);
    assert_int_equal(look(d, 8, drawn(NOW - 1000, 1)), DEDUP_NEW);
    assert_in_range(written(d), 1, DEDUP_BYTES_MAX);
    dedup_free(d);
}

/* ---- what is forgotten ---- */

/* The retry overtakes the first attempt, and is forgotten before that arrives. */
static void a_late_first_attempt_is_not_executed_again(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    uint64_t slow = drawn(NOW, 1);
    assert_true(first_attempt(&d, 7, slow, slow)); /* its retry, in fact */
    now.now_ms += 10;
    assert_true(first_attempt(&d, 7, drawn(now.now_ms, 1), slow + 1));
    assert_int_equal(look(d, 7, slow), DEDUP_OLD);
    d = persisted(d);
    now.now_ms += DEDUP_WINDOW_MS + 10;
    assert_true(first_attempt(&d, 8, drawn(now.now_ms, 1), 0));
    assert_int_equal(look(d, 7, slow), DEDUP_OLD); /* the client is forgotten as well */
    assert_int_equal(look(d, 7, drawn(now.now_ms - DEDUP_KEEP_MS, 1)), DEDUP_NEW);
    d = persisted(d);
    now.now_ms += 30 * DAY;
    assert_int_equal(look(d, 7, slow), DEDUP_OLD);
    assert_in_range(written(d), 1, 80);
    dedup_free(d);
}

/* Wherever it goes next, an id that was refused as too late is not the client's last word. */
static void tells_where_new_ids_begin(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_found found;
    assert_true(first_attempt(&d, 7, drawn(NOW, 5), 0));
    now.now_ms += DEDUP_WINDOW_MS;
    assert_true(first_attempt(&d, 8, drawn(now.now_ms, 5), 0));
    struct dedup_id behind = {9, drawn(NOW - DAY, 1), 0};
    assert_int_equal(dedup_look(d, &behind, &now, &found), DEDUP_OLD);
    assert_true(found.from == drawn(now.now_ms, 0));
    assert_int_equal(look(d, 9, found.from + 1), DEDUP_NEW);
    now.now_ms -= 300000; /* a node whose clock is behind the last one's */
    assert_int_equal(dedup_look(d, &behind, &now, &found), DEDUP_OLD);
    assert_int_equal(look(d, 9, found.from + 1), DEDUP_NEW);
    now.now_ms = NOW - 1000;
    assert_int_equal(dedup_look(d, &behind, &now, &found), DEDUP_OLD);
    assert_true(found.from == drawn(NOW, 5));
    assert_int_equal(look(d, 9, found.from + 1), DEDUP_NEW);
    dedup_free(d);
}

static void one_shot_clients_are_forgotten_one_after_the_other(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    for (uint64_t client = 1; client <= 200; client++) {
        now.now_ms += 20;
        uint64_t id = drawn(now.now_ms - 5, 1);
        assert_true(first_attempt(&d, client * UINT64_C(0x9E3779B97F4A7C15), id, id));
    }
    print_message("200 clients, a call of each: %zu bytes in the row, %zu in memory\n", written(d),
                  dedup_memory(d));
    assert_in_range(written(d), 1, 200 * 19);
    now.now_ms += DEDUP_KEEP_MS;
    assert_true(first_attempt(&d, 999, drawn(now.now_ms, 1), 0));
    print_message("half a minute later: %zu bytes\n", written(d));
    assert_in_range(written(d), 1, 1200);
    now.now_ms += DEDUP_WINDOW_MS;
    assert_true(first_attempt(&d, 998, drawn(now.now_ms, 1), 0));
    assert_in_range(written(d), 1, 80);
    dedup_free(d);
}

/* Also while new ones come. */
static void a_steady_stream_of_one_shots_costs_half_a_minute(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    size_t most = 0;
    for (uint64_t client = 1; client <= 6000; client++) {
        now.now_ms += 100;
        uint64_t id = drawn(now.now_ms, 1);
        assert_true(first_attempt(&d, client * UINT64_C(0x9E3779B97F4A7C15), id, id));
        if (client % 100 == 0)
            most = written(d) > most ? written(d) : most;
    }
    print_message("a new client for each of 10 calls/s: at most %zu bytes\n", most);
    assert_in_range(most, 1, DEDUP_KEEP_MS / 100 * 20);
    dedup_free(d);
}

/* ---- clocks ---- */

static void a_clock_a_day_ahead_closes_nothing(void **state)
{
    (void)state;
    struct dedup *d = NULL;
    struct dedup_found found;
    struct dedup_id ahead = {7, drawn(NOW + DAY, 1), 0};
    assert_int_equal(dedup_look(d, &ahead, &now, &found), DEDUP_AHEAD);
    assert_int_equal(found.ahead_ms, DAY);
    assert_true(first_attempt(&d, 7, found.from + 1, 0));
    for (uint64_t client = 10; client < 3000; client++) {
        now.now_ms += 7;
        assert_int_equal(dedup_look(d, &ahead, &now, &found), DEDUP_AHEAD);
        assert_true(first_attempt(&d, client, drawn(now.now_ms, 1), drawn(now.now_ms, 1)));
        if (client % 100 == 0) /* a little is let pass, and closes nothing either */
            first_attempt(&d, 7, drawn(now.now_ms + client * 100, 1), 0);
    }
    dedup_free(d);
}

/* 500 clients whose clocks are off by up to 100 ms, 4,000 calls a second of one entity. */
static void busy_clients_are_never_refused(void **state)
{
    (void)state;
    enum { CLIENTS = 500, CALLS = 20000 };
    static uint64_t last[CLIENTS];
    struct dice dice = dice_new(5);
    struct dedup *d = NULL;
    for (uint64_t i = 0; i < CALLS; i++) {
        now.now_ms += i % 4 == 0;
        uint64_t c = dice_below(&dice, CLIENTS), clock = now.now_ms + c % 201 - 100;
        uint64_t id = drawn(clock, 1) > last[c] ? drawn(clock, 1) : last[c] + 1;
        last[c] = id;
        assert_true(first_attempt(&d, c + 1, id, i % 3 == 0 ? 0 : id));
    }
    print_message("500 clients at 4,000/s: %zu bytes\n", written(d));
    dedup_free(d);
}

/* And as many that come once and go: what fits is known for a while yet. */
static void one_shots_without_end_are_never_refused(void **state)
{
    (void)state;
    struct dice dice = dice_new(6);
    struct dedup *d = NULL;
    size_t most = 0;
    for (uint64_t i = 0; i < 30000; i++) {
        now.now_ms += i % 4 == 0;
        uint64_t id = drawn(now.now_ms + dice_below(&dice, 201) - 100, 1);
        assert_true(first_attempt(&d, dice_throw(&dice) | 1, id, id));
        if (i % 1000 == 0)
            most = written(d) > most ? written(d) : most;
    }
    print_message("4,000 new clients a second: at most %zu bytes\n", most);
    assert_in_range(most, DEDUP_BYTES_MAX / 2, DEDUP_BYTES_MAX + 4096);
    dedup_free(d);
}

/* ---- the persisted form ---- */

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

enum { OLD_HEADER = 24, OLD_CLIENT = 16, OLD_REPLY = 24, OLD_BYTES = 4096 };

/* A window of the versions before: a client with a floor, and a reply of another. */
static struct troupe_bytes old_block(uint8_t block[OLD_BYTES], uint64_t floor, uint64_t newest)
{
    memset(block, 0, OLD_BYTES);
    block[0] = 1;
    put(block + 2, 1, 2);
    put(block + 4, 1, 4);
    put(block + 8, floor, 8);
    put(block + 16, newest, 8);
    put(block + 24, 71, 8);
    put(block + 32, drawn(NOW - 500, 1), 8);
    put(block + 40, 72, 8);
    put(block + 48, drawn(NOW - 400, 1), 8);
    block[57] = 1 | 2;
    put(block + 60, 5, 4);
    memcpy(block + 64, "reply", 5);
    return troupe_bytes(block, 69);
}

static void windows_of_the_version_before_are_read(void **state)
{
    (void)state;
    static uint8_t block[OLD_BYTES];
    struct dedup *d = NULL;
    struct dedup_found found;
    struct dedup_id id = {72, drawn(NOW - 400, 1), 0};
    struct troupe_bytes bytes = old_block(block, drawn(NOW - 1000, 9), drawn(NOW - 400, 1));
    assert_int_equal(dedup_parse(&d, bytes, &now), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(dedup_look(d, &id, &now, &found), DEDUP_DONE);
        assert_true(found.reply.kept && found.reply.durable);
        assert_true(troupe_bytes_equal(found.reply.payload, troupe_bytes_of("reply")));
        assert_int_not_equal(look(d, 71, drawn(NOW - 500, 1)), DEDUP_NEW);
        assert_int_equal(look(d, 71, drawn(NOW - 600, 1)), DEDUP_OLD);
        assert_int_equal(look(d, 71, drawn(NOW - 400, 1)), DEDUP_NEW);
        assert_int_equal(look(d, 73, drawn(NOW - 1000, 9)), DEDUP_OLD);
        assert_int_equal(look(d, 73, drawn(NOW - 900, 9)), DEDUP_NEW);
        d = persisted(d);
    }
    dedup_free(d);
}

/* One that a client with its clock a day ahead had closed. */
static void a_window_that_was_closed_opens_again(void **state)
{
    (void)state;
    static uint8_t block[OLD_BYTES];
    struct dedup *d = NULL;
    struct dedup_found found;
    struct troupe_bytes bytes = old_block(block, drawn(NOW + DAY, 9), drawn(NOW + DAY, 9));
    assert_int_equal(dedup_parse(&d, bytes, &now), 0);
    struct dedup_id id = {9, drawn(NOW, 1), 0};
    assert_int_equal(dedup_look(d, &id, &now, &found), DEDUP_OLD);
    assert_int_equal(look(d, 9, found.from + 1), DEDUP_NEW); /* at once, to those who listen … */
    d = persisted(d);
    now.now_ms += DEDUP_WINDOW_MS / 2 + 1;
    assert_int_equal(look(d, 9, drawn(now.now_ms, 1)), DEDUP_NEW); /* … and soon to all */
    dedup_free(d);
}

/* What the version before makes of a block: well-formed, and its verdict on an id. */
static enum dedup_verdict old_look(struct troupe_bytes b, uint64_t client, uint64_t sequence)
{
    uint64_t newest = get(b.data + 16, 8), floor = get(b.data + 8, 8);
    uint64_t clients = get(b.data + 2, 2), replies = get(b.data + 4, 4);
    size_t at = OLD_HEADER + clients * OLD_CLIENT;
    assert_int_equal(b.data[0], 1);
    assert_true(clients <= 128 && replies <= 1024 && floor <= newest);
    enum dedup_verdict verdict = sequence <= newest && sequence <= floor ? DEDUP_OLD : DEDUP_NEW;
    for (; replies > 0; replies--) {
        assert_true(b.len - at >= OLD_REPLY && get(b.data + at + 8, 8) <= newest);
        if (get(b.data + at, 8) == client && get(b.data + at + 8, 8) == sequence)
            verdict = DEDUP_DONE;
        at += OLD_REPLY + get(b.data + at + 20, 4);
    }
    assert_int_equal(at, b.len);
    return verdict;
}

/* During an upgrade an entity may move to a node of the version before, and back. */
static void the_version_before_executes_nothing_twice(void **state)
{
    (void)state;
    static uint8_t block[OLD_BYTES];
    struct dedup *d = NULL;
    for (uint64_t i = 1; i <= 40; i++)
        assert_true(first_attempt(&d, i, drawn(NOW, i), 0));
    struct troupe_bytes bytes = dedup_write(d, &arena);
    for (uint64_t i = 1; i <= 40; i++)
        assert_int_equal(old_look(bytes, i, drawn(NOW, i)), DEDUP_OLD);
    assert_int_equal(old_look(bytes, 41, drawn(NOW, 41)), DEDUP_NEW);
    dedup_free(d);

    assert_in_range(bytes.len, 1, OLD_BYTES - 100);
    memcpy(block, bytes.data, bytes.len); /* … which it executes, and adds */
    put(block + 4, 2, 4);
    put(block + 16, drawn(NOW, 41), 8);
    put(block + bytes.len, 41, 8);
    put(block + bytes.len + 8, drawn(NOW, 41), 8);
    put(block + bytes.len + 16, 0x100, 8);
    assert_int_equal(dedup_parse(&d, troupe_bytes(block, bytes.len + OLD_REPLY), &now), 0);
    for (uint64_t i = 1; i <= 41; i++)
        assert_int_equal(look(d, i, drawn(NOW, i)), DEDUP_DONE);
    assert_int_equal(look(d, 1, drawn(NOW, 0)), DEDUP_OLD);
    assert_int_equal(look(d, 1, drawn(NOW, 42)), DEDUP_NEW);
    dedup_free(d);
}

static void survives_being_persisted(void **state)
{
    (void)state;
    struct dedup *d = NULL, *again = NULL;
    for (uint64_t s = 1; s <= 300; s++) {
        now.now_ms += s % 7;
        add(&d, s % 30 + 1, drawn(now.now_ms - s % 5, s), s % 3 == 0 ? drawn(now.now_ms - 9, s) : 0,
            troupe_bytes("a reply of some length", s % 20));
    }
    struct troupe_bytes bytes = dedup_write(d, &arena);
    assert_int_equal(dedup_parse(&again, bytes, &now), 0);
    assert_true(troupe_bytes_equal(bytes, dedup_write(again, &arena)));
    assert_int_equal(look(again, 300 % 30 + 1, drawn(now.now_ms, 300)), DEDUP_DONE);
    dedup_free(d);
    dedup_free(again);
    assert_int_equal(dedup_parse(&again, troupe_bytes(NULL, 0), &now), 0);
    assert_null(again);
    assert_int_equal(dedup_write(again, &arena).len, 0);
}

/* A header that calls the block older than what is in it would make executed ids look new. */
static void refuses_a_header_that_is_older_than_its_ids(void **state)
{
    (void)state;
    static uint8_t block[OLD_BYTES];
    struct dedup *d = NULL;
    struct troupe_bytes bytes = old_block(block, 0, drawn(NOW - 400, 0));
    assert_int_equal(dedup_parse(&d, bytes, &now), TROUPE_EMALFORMED);
    assert_null(d);
}

/* Whatever the store returns: an error, never a crash. */
static void refuses_malformed_blocks(void **state)
{
    (void)state;
    struct dice dice = dice_new(4);
    struct dedup *d = NULL, *bad = NULL;
    for (uint64_t s = 1; s <= 40; s++)
        add(&d, s, drawn(NOW, s), 0, troupe_bytes_of("reply"));
    struct troupe_bytes good = dedup_write(d, &arena);
    for (size_t len = 1; len < good.len; len++)
        assert_int_equal(dedup_parse(&bad, troupe_bytes(good.data, len), &now), TROUPE_EMALFORMED);
    uint8_t *copy = malloc(good.len);
    for (int i = 0; i < 5000; i++) {
        memcpy(copy, good.data, good.len);
        for (uint64_t n = 1 + dice_below(&dice, 4); n > 0; n--)
            copy[dice_below(&dice, good.len)] = (uint8_t)dice_throw(&dice);
        if (dedup_parse(&bad, troupe_bytes(copy, good.len), &now) != 0)
            continue;
        look(bad, dice_below(&dice, 50), drawn(NOW, dice_below(&dice, 50)));
        add(&bad, 1, drawn(NOW, 1000), drawn(NOW, 20), troupe_bytes_of("x"));
        dedup_free(bad);
    }
    free(copy);
    dedup_free(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(remembers_replies),
        TEST(large_replies_are_only_noted),
        TEST(a_client_that_calls_one_after_the_other_costs_one_entry),
        TEST(calls_in_flight_are_kept),
        TEST(large_batches_are_not_refused),
        TEST(clients_that_ack_nothing_are_bounded),
        TEST(a_batch_that_acks_nothing_can_be_retried),
        TEST(an_earlier_first_attempt_is_not_refused),
        TEST(what_was_ahead_does_not_close_the_present),
        TEST(a_client_that_is_too_much_closes_it_to_itself_only),
        TEST(a_late_first_attempt_is_not_executed_again),
        TEST(tells_where_new_ids_begin),
        TEST(one_shot_clients_are_forgotten_one_after_the_other),
        TEST(a_steady_stream_of_one_shots_costs_half_a_minute),
        TEST(a_clock_a_day_ahead_closes_nothing),
        TEST(busy_clients_are_never_refused),
        TEST(one_shots_without_end_are_never_refused),
        TEST(windows_of_the_version_before_are_read),
        TEST(a_window_that_was_closed_opens_again),
        TEST(the_version_before_executes_nothing_twice),
        TEST(survives_being_persisted),
        TEST(refuses_a_header_that_is_older_than_its_ids),
        TEST(refuses_malformed_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
