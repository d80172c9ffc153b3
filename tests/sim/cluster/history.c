/* See history.h. Ops and losses are the bits of a mask: what has taken its place in the order
 * already. The entity's state is the stack of the changes so far, of which the lowest `durable`
 * cannot vanish any more. */
#include "tests/sim/cluster/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/ledger.h"

enum {
    TRIED_BITS = 16,
    NODES_MAX = 30000,
    FRUITLESS = 0x80, /* in the stack: its caller was answered otherwise, so it must vanish again */
};

struct state {
    uint64_t taken;
    uint64_t ghosts; /* answered and lost, but sent more than once */
    uint32_t depth, durable, fruitless;
    uint8_t stack[HISTORY_OPS_MAX]; /* ops, perhaps | FRUITLESS */
};

struct search {
    const struct history *h;
    uint64_t wanted; /* what must be taken in the end */
    uint64_t *tried; /* hashes of states, open addressing */
    uint32_t tried_n, nodes;
    bool gave_up;
};

_Static_assert(HISTORY_OPS_MAX + HISTORY_LOSSES_MAX < 64, "they are bits of one word");

static uint64_t bit_of_op(uint32_t op)
{
    return UINT64_C(1) << op;
}

static uint64_t bit_of_loss(uint32_t loss)
{
    return UINT64_C(1) << (HISTORY_OPS_MAX + loss);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t hash_of(const struct state *s)
{
    uint64_t hash = mix(s->taken + UINT64_C(0x9E3779B97F4A7C15));
    for (uint32_t i = 0; i < s->depth; i++)
        hash = mix(hash ^ (s->stack[i] + 1u));
    hash = mix(hash ^ s->ghosts) ^ mix(s->durable + 1);
    return hash == 0 ? 1 : hash;
}

/* Whether it has not been tried before; it has been now. */
static bool try_new(struct search *s, const struct state *state)
{
    uint64_t hash = hash_of(state);
    size_t mask = ((size_t)1 << TRIED_BITS) - 1, at = hash & mask;
    for (; s->tried[at] != 0; at = (at + 1) & mask) {
        if (s->tried[at] == hash)
            return false;
    }
    if (++s->nodes > NODES_MAX || s->tried_n > mask / 2) {
        s->gave_up = true;
        return false;
    }
    s->tried[at] = hash;
    s->tried_n++;
    return true;
}

/* The earliest end of what has not been taken: nothing that begins later can come next. */
static uint64_t horizon_ns(const struct search *s, const struct state *state)
{
    uint64_t end = UINT64_MAX;
    for (uint32_t i = 0; i < s->h->ops_n; i++) {
        const struct history_op *op = &s->h->ops[i];
        if (!(state->taken & bit_of_op(i)) && op->outcome == HISTORY_DONE && op->end_ns < end)
            end = op->end_ns;
    }
    for (uint32_t i = 0; i < s->h->losses_n; i++) {
        if (!(state->taken & bit_of_loss(i)) && s->h->losses[i].at_ns < end)
            end = s->h->losses[i].at_ns;
    }
    return end;
}

static uint64_t value_of(const struct search *s, const struct state *state)
{
    return state->depth == 0 ? 0 : s->h->ops[state->stack[state->depth - 1] & ~FRUITLESS].token;
}

/* A change that was made, seen by others perhaps, lost before its caller had an answer, and made
 * again: its first time, which the answer does not tell of. */
static bool apply_fruitless(const struct search *s, struct state *state, uint32_t i)
{
    const struct history_op *op = &s->h->ops[i];
    bool lost = false;
    for (uint32_t k = 0; k < s->h->losses_n; k++)
        lost |= !(state->taken & bit_of_loss(k)) && s->h->losses[k].at_ns < op->end_ns;
    if (!lost || op->outcome != HISTORY_DONE || op->method == LEDGER_READ ||
        (op->method == LEDGER_CAS && value_of(s, state) != op->expected))
        return false;
    state->taken |= bit_of_op(i);
    state->stack[state->depth++] = (uint8_t)(i | FRUITLESS);
    state->fruitless++;
    return true;
}

/* Whether what is there by now, fruitless as it is, can vanish though somebody was told that it is
 * durable. */
static bool can_commits_vanish(const struct search *s, const struct state *state)
{
    for (uint32_t i = 0; i < s->h->losses_n; i++) {
        if (!(state->taken & bit_of_loss(i)) && s->h->losses[i].of_commits)
            return true;
    }
    return false;
}

/* Applies op i; false: it could not have been answered like that. */
static bool apply(const struct search *s, struct state *state, uint32_t i)
{
    const struct history_op *op = &s->h->ops[i];
    bool answered = op->outcome == HISTORY_DONE, done = true;
    state->taken |= bit_of_op(i);
    if (op->method == LEDGER_CAS)
        done = value_of(s, state) == op->expected;
    if (answered && op->method == LEDGER_CAS && done != op->done)
        return false;
    if (op->method != LEDGER_READ && done)
        state->stack[state->depth++] = (uint8_t)i;
    if (answered && (op->count != state->depth || op->value != value_of(s, state)))
        return false;
    if (answered && op->durable)
        state->durable = state->depth;
    for (uint32_t at = state->depth; answered && at > state->durable; at--) {
        if (s->h->ops[state->stack[at - 1] & ~FRUITLESS].binds)
            state->durable = at;
    }
    if (op->again && !done) /* what changed nothing is not remembered */
        state->ghosts |= bit_of_op(i);
    return !(answered && op->durable && state->fruitless > 0) || can_commits_vanish(s, state);
}

static bool apply_ghost(const struct search *s, struct state *state, uint32_t i)
{
    const struct history_op *op = &s->h->ops[i];
    if (!(state->ghosts & bit_of_op(i)) ||
        (op->method == LEDGER_CAS && value_of(s, state) != op->expected))
        return false;
    state->ghosts &= ~bit_of_op(i);
    state->stack[state->depth++] = (uint8_t)i;
    return true;
}

static bool explore(struct search *s, const struct state *state);

/* So much has vanished at that instant, and perhaps more. One whose caller had no answer yet may
 * come back, unless its answer was on its way. */
static bool vanish(struct search *s, const struct state *from, const struct history_loss *loss)
{
    struct state next = *from;
    if (explore(s, &next))
        return true;
    uint32_t floor = loss->of_commits && loss->kept < next.durable ? loss->kept : next.durable;
    if (next.depth == floor)
        return false;
    uint32_t top = next.stack[--next.depth], op = top & ~FRUITLESS;
    if (next.durable > next.depth)
        next.durable = next.depth;
    if (top & FRUITLESS) {
        next.fruitless--;
        next.taken &= ~bit_of_op(op);
        return vanish(s, &next, loss);
    }
    if (s->h->ops[op].again)
        next.ghosts |= bit_of_op(op);
    bool answered_before = s->h->ops[op].end_ns <= loss->at_ns;
    if ((answered_before || s->h->ops[op].outcome == HISTORY_DONE) && vanish(s, &next, loss))
        return true;
    if (answered_before)
        return false;
    next.ghosts &= ~bit_of_op(op);
    next.taken &= ~bit_of_op(op);
    return vanish(s, &next, loss);
}

static bool explore_loss(struct search *s, const struct state *from, uint32_t loss)
{
    struct state next = *from;
    next.taken |= bit_of_loss(loss);
    return vanish(s, &next, &s->h->losses[loss]);
}

static bool explore(struct search *s, const struct state *state)
{
    if ((state->taken & s->wanted) == s->wanted && state->fruitless == 0)
        return true;
    if (!try_new(s, state))
        return false;
    uint64_t horizon = horizon_ns(s, state);
    for (uint32_t i = 0; i < s->h->losses_n; i++) {
        if (state->taken & bit_of_loss(i))
            continue;
        if (s->h->losses[i].at_ns <= horizon && explore_loss(s, state, i))
            return true;
        break; /* in their order */
    }
    for (uint32_t i = 0; i < s->h->ops_n; i++) {
        const struct history_op *op = &s->h->ops[i];
        struct state ghost = *state;
        if (apply_ghost(s, &ghost, i) && explore(s, &ghost))
            return true;
        if ((state->taken & bit_of_op(i)) || op->outcome == HISTORY_REFUSED ||
            op->begin_ns > horizon || (op->outcome == HISTORY_OPEN && op->method == LEDGER_READ))
            continue;
        struct state next = *state;
        if (apply(s, &next, i) && explore(s, &next))
            return true;
        next = *state;
        if (apply_fruitless(s, &next, i) && explore(s, &next))
            return true;
    }
    return false;
}

enum history_verdict history_judge(const struct history *h)
{
    struct search s = {.h = h};
    struct state start = {0};
    for (uint32_t i = 0; i < h->ops_n; i++) {
        if (h->ops[i].outcome == HISTORY_DONE)
            s.wanted |= bit_of_op(i);
    }
    for (uint32_t i = 0; i < h->losses_n; i++)
        s.wanted |= bit_of_loss(i);
    s.tried = calloc((size_t)1 << TRIED_BITS, sizeof *s.tried);
    INVARIANT(s.tried != NULL);
    bool found = explore(&s, &start);
    free(s.tried);
    return found ? HISTORY_EXPLAINED : s.gave_up ? HISTORY_UNDECIDED : HISTORY_IMPOSSIBLE;
}

static void print_loss(const struct history_loss *loss, FILE *out)
{
    fprintf(out, "    %12.6f               ", (double)loss->at_ns / 1e9);
    if (loss->of_commits)
        fprintf(out, "a failover may have lost commits, down to #%u\n", loss->kept);
    else
        fprintf(out, "claimed anew\n");
}

void history_print(const struct history *h, FILE *out)
{
    static const char *const methods[] = {"read", "write", "put", "cas", "bump"};
    uint32_t loss = 0;
    for (uint32_t i = 0; i < h->ops_n; i++) {
        const struct history_op *op = &h->ops[i];
        for (; loss < h->losses_n && h->losses[loss].at_ns < op->begin_ns; loss++)
            print_loss(&h->losses[loss], out);
        fprintf(out, "    %12.6f ", (double)op->begin_ns / 1e9);
        if (op->end_ns == UINT64_MAX)
            fprintf(out, "          ... ");
        else
            fprintf(out, "%12.6f  ", (double)op->end_ns / 1e9);
        fprintf(out, "%-5s", methods[op->method]);
        if (op->method != LEDGER_READ)
            fprintf(out, " %" PRIu64, op->token);
        if (op->method == LEDGER_CAS)
            fprintf(out, " for %" PRIu64, op->expected);
        if (op->outcome == HISTORY_DONE)
            fprintf(out, " -> %s%" PRIu64 " (#%" PRIu64 ")%s", op->done ? "" : "no: ", op->value,
                    op->count, op->durable ? " durable" : "");
        else
            fprintf(out, " -> %s", op->outcome == HISTORY_REFUSED ? "not done" : "?");
        fputc('\n', out);
    }
    for (; loss < h->losses_n; loss++)
        print_loss(&h->losses[loss], out);
}
