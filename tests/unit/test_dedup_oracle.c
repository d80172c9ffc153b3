/* The window of request ids against an oracle that remembers everything: clients whose clocks are
 * set anyhow, attempts that arrive late, twice, and after their own retry; nodes whose clocks
 * differ and are set anew, and the row that goes from one to the next.
 *
 * Nothing is executed twice. And, as long as what was executed lately fits into the bound on the
 * bytes: what was executed in the last half minute, and not acked, is answered again; and a first
 * attempt by a right clock that was held up for less than that is no less new for what its own
 * client, or any other, has called meanwhile. */
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
#include "troupe/status.h"

enum { CLIENTS = 60, CALLS = 6000, LATE = 64, SEEDS = 8 };
enum {
    KEPT_MS = DEDUP_KEEP_MS - 1000, /* right clocks are off by less than that */
    LATELY_MS = 2 * DEDUP_KEEP_MS,  /* but for the little of clocks that are ahead */
    FITS_BYTES = DEDUP_BYTES_MAX / 4 * 3,
};

struct call {
    uint64_t client, sequence, acked;
    uint64_t drawn_ms, executed_ms; /* by the true clock; 0: not executed */
    uint8_t reply;
    bool was_retried, right;
};

struct execution {
    uint64_t at_ms, bytes;
};

struct sender {
    uint64_t id, last;
    int64_t clock_ms; /* how wrong it is */
    uint32_t unanswered[8];
    bool acks, learns, once;
};

struct story {
    struct dice dice;
    struct dedup *d;
    uint64_t true_ms;
    int64_t node_ms;
    uint64_t busy; /* so many of the senders call */
    bool wild;     /* the nodes' clocks, too */
    struct sender senders[CLIENTS];
    struct call *calls;
    uint32_t calls_n;
    struct execution *executions; /* in their order */
    uint32_t executions_n;
    uint32_t late[LATE]; /* attempts that are still on their way */
    uint64_t refused, replayed, ahead, late_n, promised;
};

static struct dedup_time node_time(const struct story *s)
{
    return (struct dedup_time){.now_ms = (uint64_t)((int64_t)s->true_ms + s->node_ms),
                               .window_ms = DEDUP_WINDOW_MS};
}

static bool chance(struct story *s, uint64_t percent)
{
    return dice_below(&s->dice, 100) < percent;
}

static int64_t draw_clock(struct story *s)
{
    static const int64_t off[] = {0,      1,       -1,        90,       -90,    3000,
                                  -20000, 1200000, -86400000, 86400000, 400000, -700000};
    return off[dice_below(&s->dice, sizeof off / sizeof off[0])];
}

static void sender_begin(struct story *s, struct sender *c)
{
    *c = (struct sender){.id = dice_throw(&s->dice) | 1,
                         .clock_ms = draw_clock(s),
                         .acks = chance(s, 70),
                         .learns = chance(s, 60),
                         .once = chance(s, 20)};
    memset(c->unanswered, 0xff, sizeof c->unanswered);
}

/* Below it everything has been answered. */
static uint64_t acked(const struct story *s, const struct sender *c, uint64_t sequence)
{
    uint64_t lowest = sequence;
    for (size_t i = 0; i < 8; i++) {
        if (c->unanswered[i] != UINT32_MAX && s->calls[c->unanswered[i]].sequence < lowest)
            lowest = s->calls[c->unanswered[i]].sequence;
    }
    return c->acks ? lowest : 0;
}

/* Nothing has had to be forgotten before its time. */
static bool fits(const struct story *s)
{
    uint64_t bytes = 0;
    for (uint32_t i = s->executions_n; i-- > 0;) {
        if (s->true_ms - s->executions[i].at_ms > LATELY_MS)
            break;
        bytes += s->executions[i].bytes;
    }
    return bytes < FITS_BYTES;
}

/* Its client has said that it does not wait for it any more. */
static bool is_acked(const struct story *s, const struct call *call)
{
    for (const struct call *c = call + 1; c < s->calls + s->calls_n; c++) {
        if (c->client == call->client && c->acked > call->sequence)
            return true;
    }
    return false;
}

/* What is promised to an attempt of which the entity must know all. */
static void check_promise(struct story *s, const struct call *call, enum dedup_verdict verdict)
{
    bool executed = call->executed_ms != 0;
    uint64_t since_ms = s->true_ms - (executed ? call->executed_ms : call->drawn_ms);
    if (s->wild || since_ms >= KEPT_MS || (!executed && !call->right) || is_acked(s, call) ||
        !fits(s))
        return;
    s->promised++;
    assert_int_equal(verdict, executed ? DEDUP_DONE : DEDUP_NEW);
}

/* What the node does with an attempt. */
static enum dedup_verdict arrives(struct story *s, struct call *call, struct dedup_found *found)
{
    struct dedup_id id = {call->client, call->sequence, call->acked};
    struct dedup_time time = node_time(s);
    enum dedup_verdict verdict = dedup_look(s->d, &id, &time, found);
    check_promise(s, call, verdict);
    if (verdict == DEDUP_NEW) {
        if (call->executed_ms != 0)
            fail_msg("call %td is executed again, %llu ms after the first time", call - s->calls,
                     (unsigned long long)(s->true_ms - call->executed_ms));
        uint8_t text[40];
        memset(text, call->reply, sizeof text);
        struct dedup_reply reply = {.status = TROUPE_OK, .payload = {text, call->reply % 40}};
        assert_int_equal(dedup_add(&s->d, &id, &time, &reply), 0);
        call->executed_ms = s->true_ms;
        s->executions[s->executions_n++] = (struct execution){s->true_ms, 16 + reply.payload.len};
    } else if (verdict == DEDUP_DONE) {
        assert_true(call->executed_ms != 0);
        s->replayed++;
        if (found->reply.kept && call->reply % 40 != 0)
            assert_int_equal(found->reply.payload.data[0], call->reply);
        if (found->reply.kept)
            assert_int_equal(found->reply.payload.len, call->reply % 40);
    } else {
        assert_true(found->from >> RPC_SEQUENCE_COUNTER_BITS >= time.now_ms);
    }
    return verdict;
}

static bool is_right(const struct story *s, const struct sender *c)
{
    return !s->wild && c->clock_ms >= -100 && c->clock_ms <= 100;
}

/* An attempt goes on its way; in the place of one that arrives now. */
static void delay(struct story *s, uint32_t call)
{
    struct dedup_found found;
    uint32_t *place = &s->late[dice_below(&s->dice, LATE)], old = *place;
    *place = call;
    if (old == UINT32_MAX)
        return;
    s->late_n++;
    arrives(s, &s->calls[old], &found);
}

static struct call *draw(struct story *s, struct sender *c)
{
    uint64_t ms = (uint64_t)((int64_t)s->true_ms + c->clock_ms);
    uint64_t sequence = ms << RPC_SEQUENCE_COUNTER_BITS;
    c->last = c->last < sequence ? sequence + 1 : c->last + 1;
    struct call *call = &s->calls[s->calls_n++];
    *call = (struct call){.client = c->id,
                          .sequence = c->last,
                          .acked = acked(s, c, c->last),
                          .drawn_ms = s->true_ms,
                          .reply = (uint8_t)dice_below(&s->dice, 200),
                          .right = is_right(s, c)};
    return call;
}

/* It was refused, and this was its only attempt: a new id, as libtroupe makes it. */
static void learn(struct story *s, struct sender *c, const struct dedup_found *found)
{
    uint64_t from_ms = found->from >> RPC_SEQUENCE_COUNTER_BITS;
    if (c->last > found->from) {
        c->id = dice_throw(&s->dice) | 1;
        memset(c->unanswered, 0xff, sizeof c->unanswered);
        c->last = 0;
    }
    c->clock_ms = (int64_t)from_ms - (int64_t)s->true_ms;
    c->last = found->from > c->last ? found->from : c->last;
    assert_int_equal(arrives(s, draw(s, c), &(struct dedup_found){0}), DEDUP_NEW);
}

static void new_call(struct story *s)
{
    struct sender *c = &s->senders[dice_below(&s->dice, s->busy)];
    struct call *call = draw(s, c);
    uint32_t number = (uint32_t)(call - s->calls);
    uint32_t *place = &c->unanswered[dice_below(&s->dice, 8)];
    if (chance(s, 10)) { /* the first attempt is held up, and its retry is not */
        *place = number;
        delay(s, number);
        if (chance(s, 50))
            return;
        call->was_retried = true;
    }
    struct dedup_found found;
    enum dedup_verdict verdict = arrives(s, call, &found);
    s->ahead += verdict == DEDUP_AHEAD;
    s->refused += verdict == DEDUP_OLD;
    if (verdict != DEDUP_NEW && is_right(s, c))
        assert_true(call->executed_ms != 0 || call->was_retried);
    if (verdict >= DEDUP_OLD && c->learns && !call->was_retried)
        learn(s, c, &found);
    if (chance(s, 30)) /* the answer gets lost, or a copy of the request remains somewhere */
        delay(s, number);
    if (chance(s, 20))
        *place = number;
    else if (*place == number || chance(s, 30))
        *place = UINT32_MAX;
    if (c->once || chance(s, 1))
        sender_begin(s, c);
}

/* One of the last calls again. */
static void retry(struct story *s)
{
    struct dedup_found found;
    uint64_t back = dice_below(&s->dice, chance(s, 80) ? 20 : 2000) + 1;
    if (back > s->calls_n)
        return;
    struct call *call = &s->calls[s->calls_n - back];
    call->was_retried = true;
    arrives(s, call, &found);
}

/* To another node, whose clock may be another one. */
static void moves(struct story *s)
{
    struct arena arena;
    arena_init(&arena, 0, 0);
    struct troupe_bytes bytes = dedup_write(s->d, &arena);
    dedup_free(s->d);
    if (s->wild && chance(s, 50))
        s->node_ms = (int64_t)dice_below(&s->dice, 200000) - 100000;
    struct dedup_time time = node_time(s);
    assert_int_equal(dedup_parse(&s->d, bytes, &time), 0);
    arena_close(&arena);
}

static void tell(struct story *s, uint64_t seed)
{
    s->dice = dice_new(seed);
    s->true_ms = UINT64_C(1800000000000);
    s->wild = seed % 3 == 0;
    s->calls = calloc(2 * CALLS, sizeof *s->calls);
    s->executions = calloc(2 * CALLS, sizeof *s->executions);
    assert_non_null(s->calls);
    assert_non_null(s->executions);
    memset(s->late, 0xff, sizeof s->late);
    for (size_t i = 0; i < CLIENTS; i++)
        sender_begin(s, &s->senders[i]);
    uint64_t pace_ms = seed % 4 == 0 ? 2 : seed % 4 == 1 ? 60 : 600;
    s->busy = seed % 4 == 1 ? 3 : CLIENTS; /* few, that make many calls each */
    while (s->calls_n < CALLS) {
        s->true_ms +=
            chance(s, 1) ? dice_below(&s->dice, 20 * pace_ms) : dice_below(&s->dice, pace_ms);
        if (chance(s, 85))
            new_call(s);
        else
            retry(s);
        if (dice_below(&s->dice, 500) == 0)
            moves(s);
        if (s->wild && dice_below(&s->dice, 2000) == 0)
            s->node_ms = (int64_t)dice_below(&s->dice, 200000) - 100000;
        if (dice_below(&s->dice, 10000) == 0)
            s->true_ms += 900000;
    }
    print_message("%llu replayed, %llu refused, %llu ahead, %llu late, %llu promised\n",
                  (unsigned long long)s->replayed, (unsigned long long)s->refused,
                  (unsigned long long)s->ahead, (unsigned long long)s->late_n,
                  (unsigned long long)s->promised);
    assert_true(s->replayed > CALLS / 50 && s->late_n > CALLS / 50);
    dedup_free(s->d);
    free(s->calls);
    free(s->executions);
}

static void executes_nothing_twice_and_refuses_nobody(void **state)
{
    (void)state;
    static struct story s;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(&s, 0, sizeof s);
        tell(&s, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(executes_nothing_twice_and_refuses_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
