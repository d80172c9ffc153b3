/* One node through everything that can happen to it: store outages, lost answers, commits of
 * unknown outcome, crashes of entities and of the node with its zombies, clean stops, clock steps.
 * Clients retry with their request ids, and then it is counted:
 *   - what was acknowledged as durable is there, once;
 *   - what a reply showed of a durable change is there, too (output gates);
 *   - what was acknowledged from memory is there, unless a crash came within the persist interval;
 *   - nothing is there twice; nothing that a crashing handler wrote is there;
 *   - the same seed gives the same story. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/list.h"
#include "runtime_world.h"
#include "tests/sim/bag.h"

enum {
    BAGS = 40,
    OPS_MAX = 60000,
    OUT_MAX = 60,
    ATTEMPTS_MAX = 60,
    SEEDS = 60,
    STORY_MS = 120000,
    PERSIST_MS = 31000,
};

enum op_state { OP_OUT, OP_RETRY, OP_ACKED, OP_REFUSED };

struct op {
    uint64_t token, other;
    uint64_t sequence, acked_ms, retry_ms;
    uint32_t bag, attempts;
    uint8_t method, state;
    bool durable; /* acknowledged so */
    bool seen;    /* in a reply, while it was a durable change */
};

/* A request on its way; the runtime holds it until its reply, or for ever if the node dies. */
struct attempt {
    struct list link;
    struct runtime_request request;
    struct rpc_request rpc;
    struct rpc_call call;
    struct arena arena;
    struct op *op; /* NULL: the node died */
    char id[24];
    uint64_t payload[2];
};

struct story {
    struct world w;
    struct op *ops;
    size_t ops_n, out;
    struct list attempts;
    uint64_t crashes_ms[256]; /* of the node or of any entity */
    size_t crashes_n;
    bool quiet;
    uint64_t acks, durable_acks, retries;
    uint64_t *found[BAGS]; /* at the end */
    size_t found_n[BAGS];
};

static uint64_t now_ms(const struct story *s)
{
    return s->w.now.mono_ns / WORLD_MS;
}

static void note_crash(struct story *s)
{
    if (s->crashes_n < 256)
        s->crashes_ms[s->crashes_n++] = now_ms(s);
}

static void send_op(struct story *s, struct op *op)
{
    struct attempt *a = calloc(1, sizeof *a);
    assert_non_null(a);
    arena_init(&a->arena, 1024, 0);
    a->op = op;
    a->payload[0] = op->token;
    a->payload[1] = op->other;
    int len = snprintf(a->id, sizeof a->id, "%u", op->bag);
    a->call = (struct rpc_call){
        .kind = troupe_bytes_of("bag"),
        .id = {(uint8_t *)a->id, (size_t)len},
        .method = troupe_bytes_of(bag_kind.methods[op->method].name),
        .payload = troupe_bytes(a->payload, sizeof a->payload),
        .sequence = op->sequence,
    };
    a->rpc = (struct rpc_request){
        .timeout_ms = 500 + (uint32_t)dice_below(&s->w.dice, 4000),
        .client = 77,
        .calls = &a->call,
        .calls_n = 1,
    };
    list_init(&a->link);
    list_push(&s->attempts, &a->link);
    a->request.data = a;
    assert_int_equal(runtime_request_init(&a->request, &a->arena, &a->rpc), 0);
    op->state = OP_OUT;
    op->attempts++;
    s->out++;
    world_step(&s->w, &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &a->request});
}

static struct op *op_of(struct story *s, uint64_t token)
{
    uint64_t n = token & ~BAG_PASSED;
    assert_true(n >= 1 && n <= s->ops_n); /* BAG_WRONG and other inventions fail here */
    return &s->ops[n - 1];
}

static void look_at_list(struct story *s, const struct op *list, struct troupe_bytes payload)
{
    for (size_t i = 0; i < payload.len / 8; i++) {
        uint64_t token;
        memcpy(&token, payload.data + 8 * i, 8);
        struct op *op = op_of(s, token);
        if (op->method == BAG_PUT || op->method == BAG_PASS)
            op->seen |= (token & BAG_PASSED) == 0;
    }
    if (!s->quiet)
        return;
    free(s->found[list->bag]);
    s->found[list->bag] = malloc(payload.len + 8);
    memcpy(s->found[list->bag], payload.data, payload.len);
    s->found_n[list->bag] = payload.len / 8;
}

static void answered(struct story *s, struct op *op, const struct rpc_result *result)
{
    switch ((enum troupe_status)result->status) {
    case TROUPE_OK:
        op->state = OP_ACKED;
        op->acked_ms = now_ms(s);
        op->durable = result->ack == TROUPE_ACK_DURABLE;
        s->acks++;
        s->durable_acks += op->durable;
        if (op->method == BAG_PUT || op->method == BAG_PASS)
            assert_true(op->durable);
        if (op->method == BAG_LIST)
            look_at_list(s, op, result->payload);
        return;
    case TROUPE_INTERNAL: /* the handler crashed, as told */
        if (op->method == BAG_CRASH)
            note_crash(s);
        op->state = OP_REFUSED;
        return;
    case TROUPE_UNAVAILABLE:
    case TROUPE_ABORTED:
    case TROUPE_UNKNOWN:
    case TROUPE_DEADLINE_EXCEEDED:
    case TROUPE_RESOURCE_EXHAUSTED:
        op->state = op->attempts < ATTEMPTS_MAX ? OP_RETRY : OP_REFUSED;
        op->retry_ms = now_ms(s) + 20 + dice_below(&s->w.dice, 500);
        s->retries++;
        return;
    case TROUPE_OUT_OF_RANGE: /* too old to be told: it may have happened or not */
        op->state = OP_REFUSED;
        return;
    default:
        fail_msg("%s: %.*s", troupe_status_name(result->status), (int)result->message.len,
                 (const char *)result->message.data);
    }
}

static void on_reply(void *data, struct runtime_request *request)
{
    struct story *s = data;
    struct attempt *a = request->data;
    assert_int_equal(request->reply.results_n, 1);
    if (a->op != NULL) {
        s->out--;
        answered(s, a->op, &request->reply.results[0]);
    }
    list_remove(&a->link);
    arena_close(&a->arena);
    free(a);
}

static struct op *new_op(struct story *s, enum bag_method method, uint32_t bag)
{
    assert_true(s->ops_n < OPS_MAX);
    struct op *op = &s->ops[s->ops_n++];
    *op = (struct op){.token = s->ops_n, .method = (uint8_t)method, .bag = bag};
    op->other = dice_below(&s->w.dice, BAGS);
    op->sequence = s->w.now.wall_ms << 20 | s->ops_n;
    return op;
}

static enum bag_method draw_method(struct story *s)
{
    static const uint8_t share[] = {
        [BAG_ADD] = 30, [BAG_PUT] = 30, [BAG_LIST] = 20, [BAG_CRASH] = 1,
        [BAG_STOP] = 3, [BAG_PASS] = 6, [BAG_ASK] = 6,   [BAG_TICK] = 4};
    uint64_t at = dice_below(&s->w.dice, 100);
    for (size_t m = 0;; m++) {
        if (at < share[m])
            return (enum bag_method)m;
        at -= share[m];
    }
}

static void forget_node(struct story *s)
{
    for (struct list *l = s->attempts.next; l != &s->attempts; l = l->next) {
        struct attempt *a = LIST_ENTRY(l, struct attempt, link);
        if (a->op == NULL)
            continue;
        a->op->state = OP_RETRY;
        a->op->retry_ms = now_ms(s) + 100;
        a->op = NULL;
    }
    s->out = 0;
}

static void something_happens(struct story *s)
{
    struct world *w = &s->w;
    switch (dice_below(&w->dice, 12)) {
    case 0:
    case 1:
    case 2:
        w->outage_until_ns = w->now.mono_ns + dice_below(&w->dice, 9000) * WORLD_MS;
        break;
    case 3:
        w->fault_percent = (unsigned)dice_below(&w->dice, 40);
        break;
    case 4:
    case 5:
        w->fault_percent = 0;
        break;
    case 6:
        w->now.wall_ms += dice_below(&w->dice, 5000); /* somebody sets the clock */
        break;
    case 7:
        if (w->now.mono_ns >= w->outage_until_ns && w->fault_percent == 0 && world_stop(w, 60000)) {
            forget_node(s);
            world_start(w);
        }
        break;
    case 8:
        if (w->zombies_n < WORLD_ZOMBIES_MAX) {
            note_crash(s);
            world_crash(w);
            forget_node(s);
            w->now.mono_ns += dice_below(&w->dice, 3000) * WORLD_MS;
            world_start(w);
        }
        break;
    default:
        break;
    }
}

static void retry_due(struct story *s, bool all)
{
    for (size_t i = 0; i < s->ops_n; i++) {
        struct op *op = &s->ops[i];
        if (op->state == OP_RETRY && (all || op->retry_ms <= now_ms(s)) && s->out < OUT_MAX)
            send_op(s, op);
    }
}

static void tell(struct story *s)
{
    struct world *w = &s->w;
    uint64_t until = now_ms(s) + STORY_MS;
    uint64_t next_event = now_ms(s) + 2000;
    while (now_ms(s) < until) {
        world_run(w, w->now.mono_ns + (1 + dice_below(&w->dice, 60)) * WORLD_MS);
        if (now_ms(s) >= next_event) {
            something_happens(s);
            next_event = now_ms(s) + 500 + dice_below(&w->dice, 5000);
        }
        for (uint64_t n = dice_below(&w->dice, 4); n > 0 && s->out < OUT_MAX; n--)
            send_op(s, new_op(s, draw_method(s), (uint32_t)dice_below(&w->dice, BAGS)));
        retry_due(s, false);
    }
}

/* The faults end; everything must come to an answer, and then the bags are opened. */
static void calm_down(struct story *s)
{
    struct world *w = &s->w;
    s->quiet = true;
    w->fault_percent = 0;
    w->outage_until_ns = 0;
    for (int i = 0; i < 4000; i++) {
        world_run(w, w->now.mono_ns + 20 * WORLD_MS);
        retry_due(s, false);
    }
    for (size_t i = 0; i < s->ops_n; i++)
        assert_true(s->ops[i].state == OP_ACKED || s->ops[i].state == OP_REFUSED);
    assert_true(world_serve(w, 30000));
    for (int round = 0; round < 2;
         round++) { /* from memory, and after a clean stop from the store */
        for (uint32_t bag = 0; bag < BAGS; bag++)
            send_op(s, new_op(s, BAG_LIST, bag));
        for (int i = 0; i < 600 && s->out > 0; i++) {
            world_run(w, w->now.mono_ns + 100 * WORLD_MS);
            retry_due(s, true);
        }
        assert_int_equal(s->out, 0);
        for (uint32_t bag = 0; bag < BAGS; bag++)
            assert_int_equal(s->ops[s->ops_n - 1 - bag].state, OP_ACKED);
        if (round == 0) {
            assert_true(world_stop(w, 60000));
            world_start(w);
        }
    }
}

static size_t count(const struct story *s, uint32_t bag, uint64_t token)
{
    size_t n = 0;
    for (size_t i = 0; i < s->found_n[bag]; i++)
        n += s->found[bag][i] == token;
    return n;
}

static bool crash_after(const struct story *s, uint64_t ms)
{
    for (size_t i = 0; i < s->crashes_n; i++) {
        if (s->crashes_ms[i] >= ms && s->crashes_ms[i] <= ms + PERSIST_MS)
            return true;
    }
    return false;
}

static void judge(const struct story *s)
{
    for (size_t i = 0; i < s->ops_n; i++) {
        const struct op *op = &s->ops[i];
        bool changes = op->method == BAG_ADD || op->method == BAG_PUT || op->method == BAG_PASS;
        if (!changes)
            continue;
        size_t n = count(s, op->bag, op->token);
        bool wrong = n > 1 || (n == 0 && op->state == OP_ACKED &&
                               (op->durable || !crash_after(s, op->acked_ms)));
        if (wrong || (op->seen && n != 1))
            printf("bag %u token %llu: %s, state %u, acked at %llu ms%s, seen %d: %zu times\n",
                   op->bag, (unsigned long long)op->token, bag_kind.methods[op->method].name,
                   op->state, (unsigned long long)op->acked_ms, op->durable ? " durably" : "",
                   op->seen, n);
        assert_true(n <= 1);
        assert_true(count(s, (uint32_t)op->other, op->token | BAG_PASSED) <= 1);
        if (op->state == OP_ACKED && op->durable)
            assert_int_equal(n, 1);
        if (op->seen)
            assert_int_equal(n, 1);
        if (op->state == OP_ACKED && n == 0)
            assert_true(crash_after(s, op->acked_ms));
    }
}

static uint64_t run_story(uint64_t seed, struct story *s)
{
    static const struct troupe_kind *const kinds[] = {&bag_kind};
    *s = (struct story){.ops = calloc(OPS_MAX, sizeof *s->ops)};
    list_init(&s->attempts);
    world_open(&s->w, seed, kinds, 1);
    s->w.reply = on_reply;
    s->w.data = s;
    world_start(&s->w);
    tell(s);
    calm_down(s);
    judge(s);
    uint64_t hash = s->w.hash;
    world_close(&s->w);
    struct list *node;
    while ((node = list_pop(&s->attempts)) != NULL) {
        struct attempt *a = LIST_ENTRY(node, struct attempt, link);
        arena_close(&a->arena);
        free(a);
    }
    for (size_t i = 0; i < BAGS; i++)
        free(s->found[i]);
    free(s->ops);
    return hash;
}

static uint64_t first_seed(void)
{
    const char *text = getenv("TROUPE_TEST_SEED");
    return text == NULL ? 1 : strtoull(text, NULL, 0);
}

static void keeps_its_promises(void **state)
{
    (void)state;
    static struct story s;
    uint64_t acks = 0, durable = 0, retries = 0, crashes = 0;
    uint64_t from = first_seed(), to = getenv("TROUPE_TEST_SEED") == NULL ? from + SEEDS : from + 1;
    for (uint64_t seed = from; seed < to; seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        run_story(seed, &s);
        acks += s.acks;
        durable += s.durable_acks;
        retries += s.retries;
        crashes += s.crashes_n;
    }
    printf("%llu acks (%llu durable), %llu retries, %llu crashes\n", (unsigned long long)acks,
           (unsigned long long)durable, (unsigned long long)retries, (unsigned long long)crashes);
    assert_true(acks > 1000 && durable > 300 && retries > 10);
}

static void the_same_seed_is_the_same_story(void **state)
{
    (void)state;
    static struct story s;
    uint64_t first = run_story(4711, &s), again = run_story(4711, &s);
    assert_true(first == again);
    assert_true(first != run_story(4712, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_promises),
        cmocka_unit_test(the_same_seed_is_the_same_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
