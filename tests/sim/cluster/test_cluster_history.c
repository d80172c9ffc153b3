/* The judge of histories: what it must explain, and what it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/cluster/history.h"
#include "tests/sim/cluster/ledger.h"

#define OPEN UINT64_MAX

enum { MEMORY, DURABLE };

struct row {
    uint64_t begin, end;
    enum ledger_method method;
    uint64_t token, count, value;
    int ack;
};

/* CAS is for the value 1, and was done if its answer is its own token. */
static void add(struct history *h, const struct row *r)
{
    struct history_op *op = &h->ops[h->ops_n++];
    *op = (struct history_op){.begin_ns = r->begin,
                              .end_ns = r->end,
                              .method = (uint8_t)r->method,
                              .token = r->token,
                              .expected = 1,
                              .count = r->count,
                              .value = r->value,
                              .durable = r->ack == DURABLE};
    op->outcome = r->end == OPEN ? HISTORY_OPEN : HISTORY_DONE;
    op->done = r->value == r->token || r->method != LEDGER_CAS;
}

static enum history_verdict judge(const struct row *rows, size_t n, uint64_t loss_ns)
{
    struct history h = {0};
    for (size_t i = 0; i < n; i++)
        add(&h, &rows[i]);
    if (loss_ns > 0)
        h.losses[h.losses_n++].at_ns = loss_ns;
    return history_judge(&h);
}

#define JUDGE(loss_ns, ...)                                                                        \
    judge((const struct row[]){__VA_ARGS__},                                                       \
          sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row), loss_ns)
#define WRITE(begin, end, token, count, ack)                                                       \
    {                                                                                              \
        begin, end, LEDGER_WRITE, token, count, token, ack                                         \
    }
#define READ(begin, end, value, count, ack)                                                        \
    {                                                                                              \
        begin, end, LEDGER_READ, 0, count, value, ack                                              \
    }

static void what_one_after_the_other_explains(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(0, READ(1, 2, 0, 0, MEMORY)), HISTORY_EXPLAINED);
    assert_int_equal(JUDGE(0, WRITE(1, 2, 1, 1, MEMORY), READ(3, 4, 1, 1, MEMORY)),
                     HISTORY_EXPLAINED);
    /* Together, in either order. */
    assert_int_equal(JUDGE(0, WRITE(1, 9, 1, 1, MEMORY), READ(2, 3, 0, 0, MEMORY)),
                     HISTORY_EXPLAINED);
    assert_int_equal(JUDGE(0, WRITE(1, 9, 1, 2, MEMORY), WRITE(2, 8, 2, 1, MEMORY)),
                     HISTORY_EXPLAINED);
    assert_int_equal(JUDGE(0, WRITE(1, 2, 1, 1, MEMORY), {3, 4, LEDGER_CAS, 2, 2, 2, DURABLE}),
                     HISTORY_EXPLAINED);
}

static void what_it_does_not(void **state)
{
    (void)state;
    /* A stale read; one that saw the future; a lost update; a change that was made twice. */
    assert_int_equal(JUDGE(0, WRITE(1, 2, 1, 1, MEMORY), READ(3, 4, 0, 0, MEMORY)),
                     HISTORY_IMPOSSIBLE);
    assert_int_equal(JUDGE(0, READ(1, 2, 1, 1, MEMORY), WRITE(3, 4, 1, 1, MEMORY)),
                     HISTORY_IMPOSSIBLE);
    assert_int_equal(JUDGE(0, WRITE(1, 2, 1, 1, MEMORY), WRITE(3, 4, 2, 1, MEMORY)),
                     HISTORY_IMPOSSIBLE);
    assert_int_equal(JUDGE(0, WRITE(1, 2, 1, 1, MEMORY), READ(3, 4, 1, 2, MEMORY)),
                     HISTORY_IMPOSSIBLE);
    /* A CAS that was done, but for another value. */
    assert_int_equal(JUDGE(0, WRITE(1, 2, 7, 1, MEMORY), {3, 4, LEDGER_CAS, 2, 2, 2, DURABLE}),
                     HISTORY_IMPOSSIBLE);
    /* Read, and then not there any more. */
    assert_int_equal(
        JUDGE(0, WRITE(1, OPEN, 1, 0, MEMORY), READ(2, 3, 1, 1, MEMORY), READ(4, 5, 0, 0, MEMORY)),
        HISTORY_IMPOSSIBLE);
}

static void unknown_outcomes(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(0, WRITE(1, OPEN, 1, 0, MEMORY), READ(2, 3, 0, 0, MEMORY)),
                     HISTORY_EXPLAINED);
    assert_int_equal(
        JUDGE(0, WRITE(1, OPEN, 1, 0, MEMORY), READ(2, 3, 0, 0, MEMORY), READ(8, 9, 1, 1, MEMORY)),
        HISTORY_EXPLAINED);
    /* What was refused has not happened, and never will. */
    struct history h = {0};
    add(&h, &(struct row)WRITE(1, OPEN, 1, 0, MEMORY));
    h.ops[0].outcome = HISTORY_REFUSED;
    add(&h, &(struct row)READ(2, 3, 0, 0, MEMORY));
    assert_int_equal(history_judge(&h), HISTORY_EXPLAINED);
    add(&h, &(struct row)READ(8, 9, 1, 1, MEMORY));
    assert_int_equal(history_judge(&h), HISTORY_IMPOSSIBLE);
}

static void losses(void **state)
{
    (void)state;
    /* Acknowledged from memory: gone after a claim, not before it. */
    assert_int_equal(JUDGE(5, WRITE(1, 2, 1, 1, MEMORY), READ(6, 7, 0, 0, MEMORY)),
                     HISTORY_EXPLAINED);
    assert_int_equal(JUDGE(5, WRITE(1, 2, 1, 1, MEMORY), READ(6, 7, 1, 1, MEMORY)),
                     HISTORY_EXPLAINED);
    assert_int_equal(JUDGE(5, WRITE(1, 2, 1, 1, MEMORY), READ(3, 4, 0, 0, MEMORY)),
                     HISTORY_IMPOSSIBLE);
    assert_int_equal(JUDGE(5, WRITE(6, 7, 1, 1, MEMORY), READ(8, 9, 0, 0, MEMORY)),
                     HISTORY_IMPOSSIBLE);
    /* As durable, or seen by one who was told so: never. */
    assert_int_equal(JUDGE(5, WRITE(1, 2, 1, 1, DURABLE), READ(6, 7, 0, 0, MEMORY)),
                     HISTORY_IMPOSSIBLE);
    assert_int_equal(
        JUDGE(5, WRITE(1, 2, 1, 1, MEMORY), READ(3, 4, 1, 1, DURABLE), READ(6, 7, 0, 0, MEMORY)),
        HISTORY_IMPOSSIBLE);
    /* The newest go first. */
    assert_int_equal(
        JUDGE(5, WRITE(1, 2, 1, 1, MEMORY), WRITE(3, 4, 2, 2, MEMORY), READ(6, 7, 1, 1, MEMORY)),
        HISTORY_EXPLAINED);
    assert_int_equal(
        JUDGE(5, WRITE(1, 2, 1, 1, MEMORY), WRITE(3, 4, 2, 2, MEMORY), READ(6, 7, 2, 1, MEMORY)),
        HISTORY_IMPOSSIBLE);
}

/* Nobody sees what is to be durable before it is. */
static void what_binds_is_seen_for_good(void **state)
{
    (void)state;
    struct history h = {.losses = {{.at_ns = 5}}, .losses_n = 1};
    add(&h, &(struct row)WRITE(1, OPEN, 1, 0, MEMORY));
    add(&h, &(struct row)READ(2, 3, 1, 1, MEMORY));
    add(&h, &(struct row)READ(6, 7, 0, 0, MEMORY));
    assert_int_equal(history_judge(&h), HISTORY_EXPLAINED);
    h.ops[0].binds = true;
    assert_int_equal(history_judge(&h), HISTORY_IMPOSSIBLE);
}

static void what_was_lost_may_happen_again(void **state)
{
    (void)state;
    /* Seen, lost, and made anew before its caller had an answer. */
    assert_int_equal(JUDGE(5, WRITE(1, 9, 1, 2, MEMORY), WRITE(2, 3, 2, 1, DURABLE),
                           READ(3, 4, 1, 2, MEMORY), READ(6, 7, 2, 1, MEMORY)),
                     HISTORY_EXPLAINED);
    /* Answered, lost, and made anew by a second attempt: only if there was one. */
    struct history h = {.losses = {{.at_ns = 5}}, .losses_n = 1};
    add(&h, &(struct row)WRITE(1, 2, 1, 1, MEMORY));
    add(&h, &(struct row)READ(6, 7, 0, 0, MEMORY));
    add(&h, &(struct row)READ(8, 9, 1, 1, MEMORY));
    assert_int_equal(history_judge(&h), HISTORY_IMPOSSIBLE);
    h.ops[0].again = true;
    assert_int_equal(history_judge(&h), HISTORY_EXPLAINED);
}

/* The store has failed over, and the entity is loaded as its copy has it. */
static void commits_that_vanish(void **state)
{
    (void)state;
    struct history h = {.losses = {{.at_ns = 5, .of_commits = true, .kept = 1}}, .losses_n = 1};
    add(&h, &(struct row)WRITE(1, 2, 1, 1, DURABLE));
    add(&h, &(struct row)WRITE(3, 4, 2, 2, DURABLE));
    struct history kept = h, gone = h;
    add(&h, &(struct row)READ(6, 7, 1, 1, MEMORY));
    assert_int_equal(history_judge(&h), HISTORY_EXPLAINED);
    h.losses[0].of_commits = false;
    assert_int_equal(history_judge(&h), HISTORY_IMPOSSIBLE);
    add(&kept, &(struct row)READ(6, 7, 2, 2, MEMORY));
    assert_int_equal(history_judge(&kept), HISTORY_EXPLAINED);
    /* What the copy has is not gone, and what is durable from then on stays. */
    add(&gone, &(struct row)READ(6, 7, 0, 0, MEMORY));
    assert_int_equal(history_judge(&gone), HISTORY_IMPOSSIBLE);
    gone.ops_n--;
    gone.losses[gone.losses_n++].at_ns = 9;
    add(&gone, &(struct row)WRITE(6, 7, 3, 2, DURABLE));
    add(&gone, &(struct row)READ(10, 11, 3, 2, MEMORY));
    assert_int_equal(history_judge(&gone), HISTORY_EXPLAINED);
    add(&gone, &(struct row)READ(12, 13, 1, 1, MEMORY));
    assert_int_equal(history_judge(&gone), HISTORY_IMPOSSIBLE);
}

/* Committed, seen as durable, lost before its caller had an answer, and made anew. */
static void a_lost_commit_may_happen_again(void **state)
{
    (void)state;
    struct history h = {.losses = {{.at_ns = 5, .of_commits = true, .kept = 0}}, .losses_n = 1};
    add(&h, &(struct row)WRITE(1, 9, 1, 1, DURABLE));
    add(&h, &(struct row)WRITE(2, 3, 2, 2, DURABLE));
    add(&h, &(struct row)READ(6, 7, 0, 0, DURABLE));
    assert_int_equal(history_judge(&h), HISTORY_EXPLAINED);
    h.losses[0].of_commits = false;
    assert_int_equal(history_judge(&h), HISTORY_IMPOSSIBLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_after_the_other_explains),
        cmocka_unit_test(what_it_does_not),
        cmocka_unit_test(unknown_outcomes),
        cmocka_unit_test(losses),
        cmocka_unit_test(what_binds_is_seen_for_good),
        cmocka_unit_test(what_was_lost_may_happen_again),
        cmocka_unit_test(commits_that_vanish),
        cmocka_unit_test(a_lost_commit_may_happen_again),
    };
    return cmocka_run_group_tests_name("cluster_history", tests, NULL, NULL);
}
