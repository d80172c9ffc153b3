/* Whether the store does what this node needs, as its answers tell; `troupe status` and the log say
 * so. The node needs several kinds of requests, and each can fail while the others work: a full
 * disk takes no saves and gives what is there, a locked table stops the saves and lets the renewals
 * by. So each is judged by itself, and the store is well when all of them worked when they were
 * last tried. What can be wrong with one:
 *
 *   it is away    no answer, or none that can be relied on;
 *   it refuses    it answers, but not what was asked: the schema is gone or another one, a table
 *                 has gaps;
 *   it is late    there is neither an answer nor an error: changes wait for longer than the kind's
 *                 persist interval, a commit or a load is under way for seconds, the lease was not
 *                 renewed for longer than it lasts.
 *
 * A failure ends when the same works. One that was given up (a load whose callers have gone) would
 * never do: it is forgotten when it has not been repeated for a while, or, if the store was away,
 * when that is over for the lease, too.
 *
 * What an operation answers in the course of things (a name that is taken, a lease that was lost, a
 * row that the store does not take) is none of that: who asked deals with it. */
#include <stdio.h>
#include <string.h>

#include "node/runtime/internal.h"

enum {
    FORGET_MS = 30000, /* longer than any of our waits between two attempts */
    LATE_MS = 3000,    /* beyond when it should have been done */
    LOOK_MS = 500,     /* between two looks for what is late */
};

enum verdict { WORKS, AWAY, REFUSES };

static enum verdict verdict_of(const struct store_request *request)
{
    switch ((enum troupe_error)request->error) {
    case TROUPE_EUNAVAILABLE:
    case TROUPE_EOUTCOME:
    case TROUPE_EIO:
    case TROUPE_ETIMEOUT:
        return AWAY;
    case TROUPE_EFENCED:
        return WORKS;
    case TROUPE_EBUSY: /* another run has the name */
        return request->op == STORE_REGISTER ? WORKS : REFUSES;
    case TROUPE_EREJECTED: /* a row; the save finds out which */
    case TROUPE_EINVAL:
        return request->op == STORE_SAVE ? WORKS : REFUSES;
    case TROUPE_EVERSION:
    case TROUPE_ENOMEM:
    case TROUPE_ELIMIT:
    case TROUPE_EMALFORMED:
    case TROUPE_ENOTFOUND:
    case TROUPE_ECLOSED:
        return REFUSES;
    }
    return request->error == 0 ? WORKS : REFUSES;
}

/* NULL: the node does without its answer. */
static const char *purpose_of(enum store_op op)
{
    switch (op) {
    case STORE_REGISTER:
        return "registering";
    case STORE_RENEW:
        return "renewing the lease";
    case STORE_LEAVE:
        return "giving the lease back";
    case STORE_CLAIM:
        return "claiming partitions";
    case STORE_LOAD:
        return "loading entities";
    case STORE_SAVE:
        return "saving entities";
    case STORE_OWNERS:
        return "reading who owns what";
    case STORE_EVICT:
        return "evicting a node";
    case STORE_TRANSFER:
        return "giving partitions to another node";
    case STORE_HISTORY:
    case STORE_RECENT:
    case STORE_DRAIN:
        return NULL;
    case STORE_KINDS:
        return "noting which kinds there are";
    }
    return NULL;
}

static bool is_of_the_lease(enum store_op op)
{
    return op == STORE_REGISTER || op == STORE_RENEW;
}

/* It will be tried again, however long that takes. */
static bool is_wanted(const struct runtime *rt, enum store_op op)
{
    if (op == STORE_SAVE)
        return rt->saves_used > 0;
    if (op == STORE_LOAD)
        return load__is_out(rt) || !list_is_empty(&rt->load_queue);
    return is_of_the_lease(op) && rt->phase < RUNTIME_STOPPING;
}

/* ---- failures ---- */

static bool fails(const struct runtime *rt, enum store_op op)
{
    return rt->store_health.ops[op].since_ns != 0;
}

static bool is_away(const struct store_op_health *h)
{
    return h->since_ns != 0 && !h->refused;
}

/* What failed last and still does is what callers are told. */
static void conclude(struct runtime *rt)
{
    const struct store_op_health *last = NULL;
    rt->store_ok = rt->store_health.answered;
    for (size_t op = 0; op < STORE_OPS; op++) {
        const struct store_op_health *h = &rt->store_health.ops[op];
        if (h->since_ns != 0 && (last == NULL || h->failed_ns >= last->failed_ns))
            last = h;
    }
    if (last == NULL)
        return;
    rt->store_ok = false;
    snprintf(rt->store_error, sizeof rt->store_error, "%s", last->why);
}

/* The log has told of what was wrong; when nothing is any more, once of that. */
static void tell_well(struct runtime *rt)
{
    struct store_health *health = &rt->store_health;
    bool well = store_health__is_well(rt);
    if (well && !health->well) {
        for (size_t op = 0; op < STORE_OPS; op++)
            health->ops[op].told = false;
        log__add(rt, RUNTIME_INFO, "the store answers", "store", rt->config.store_url, NULL);
    }
    health->well = well;
}

static void forget(struct runtime *rt, enum store_op op)
{
    rt->store_health.ops[op].since_ns = 0;
    rt->store_health.ops[op].refused = false;
}

static void works(struct runtime *rt, enum store_op op)
{
    const struct store_op_health *ops = rt->store_health.ops;
    bool back =
        is_of_the_lease(op) && (is_away(&ops[STORE_REGISTER]) || is_away(&ops[STORE_RENEW]));
    rt->store_health.answered = true;
    forget(rt, op);
    for (size_t other = 0; other < STORE_OPS; other++) {
        if (back && is_away(&ops[other]) && !is_wanted(rt, (enum store_op)other))
            forget(rt, (enum store_op)other);
    }
}

/* Once for each kind of request until all is well; that the lease is away says it all. */
static void tell_failure(struct runtime *rt, enum store_op op)
{
    struct store_op_health *h = &rt->store_health.ops[op],
                           *lease = &rt->store_health.ops[STORE_RENEW];
    bool tells = !h->told && (h->refused || !is_away(lease) || !lease->told || h == lease);
    h->told = true;
    if (tells && h->refused)
        log__add(rt, RUNTIME_WARN, "the store answers, but refuses what it is asked; trying again",
                 "store", rt->config.store_url, "for", purpose_of(op), "why", h->why, NULL);
    else if (tells)
        log__add(rt, RUNTIME_WARN,
                 is_of_the_lease(op) ? "the store cannot be reached; trying again"
                                     : "the store does not do what it is asked; trying again",
                 "store", rt->config.store_url, "for", purpose_of(op), "why", h->why, NULL);
}

static void failed(struct runtime *rt, const struct store_request *request, bool refused)
{
    struct store_op_health *h = &rt->store_health.ops[request->op];
    if (h->since_ns == 0)
        h->since_ns = rt->now.mono_ns;
    h->failed_ns = rt->now.mono_ns;
    h->refused = refused;
    snprintf(h->why, sizeof h->why, "%s", request->errmsg);
    rt->store_health.well = false;
    tell_failure(rt, request->op);
}

static void forget_the_unwanted(struct runtime *rt)
{
    for (size_t op = 0; op < STORE_OPS; op++) {
        const struct store_op_health *h = &rt->store_health.ops[op];
        if (h->since_ns != 0 && rt->now.mono_ns - h->failed_ns > FORGET_MS * NS_PER_MS &&
            !is_wanted(rt, (enum store_op)op))
            forget(rt, (enum store_op)op);
    }
}

void store_health__answered(struct runtime *rt, const struct store_request *request)
{
    enum verdict verdict = verdict_of(request);
    if (verdict == WORKS)
        works(rt, request->op);
    else if (purpose_of(request->op) != NULL)
        failed(rt, request, verdict == REFUSES);
    forget_the_unwanted(rt);
    conclude(rt);
    tell_well(rt);
}

/* ---- lateness ---- */

/* When it should have been done; 0: nothing is to be done. */
static uint64_t due_ns(const struct runtime *rt, enum store_op op)
{
    if (op == STORE_SAVE)
        return save__due_ns(rt);
    if (op == STORE_LOAD)
        return load__sent_ns(rt);
    bool held = rt->lease.renewed_ns != 0 && rt->phase < RUNTIME_STOPPING;
    return held ? rt->lease.renewed_ns : 0;
}

static void look_at(struct runtime *rt, enum store_op op)
{
    struct store_op_health *h = &rt->store_health.ops[op];
    uint64_t grace_ms = op == STORE_RENEW ? rt->config.lease_ttl_ms : LATE_MS;
    uint64_t due = due_ns(rt, op);
    bool late = due != 0 && rt->now.mono_ns > due && rt->now.mono_ns - due > grace_ms * NS_PER_MS &&
                !fails(rt, op);
    h->late_ns = late ? due : 0;
    if (!late)
        return;
    rt->store_health.well = false;
    if (!h->told)
        log__add(rt, RUNTIME_WARN, "the store does not keep up with what it is asked; waiting",
                 "store", rt->config.store_url, "for", purpose_of(op), NULL);
    h->told = true;
}

void store_health__tick(struct runtime *rt)
{
    struct store_health *health = &rt->store_health;
    if (rt->now.mono_ns - health->looked_ns < LOOK_MS * NS_PER_MS)
        return;
    health->looked_ns = rt->now.mono_ns;
    look_at(rt, STORE_RENEW);
    look_at(rt, STORE_LOAD);
    look_at(rt, STORE_SAVE);
    if (health->answered)
        tell_well(rt);
}

/* ---- what others see ---- */

bool store_health__is_well(const struct runtime *rt)
{
    for (size_t op = 0; op < STORE_OPS; op++) {
        if (rt->store_health.ops[op].late_ns != 0)
            return false;
    }
    return rt->store_ok;
}

bool store_health__is_away(const struct runtime *rt)
{
    const struct store_op_health *ops = rt->store_health.ops;
    return !rt->store_health.answered || is_away(&ops[STORE_REGISTER]) ||
           is_away(&ops[STORE_RENEW]);
}

bool store_health__takes_writes(const struct runtime *rt)
{
    return rt->store_health.answered && !fails(rt, STORE_REGISTER) && !fails(rt, STORE_RENEW) &&
           !fails(rt, STORE_SAVE);
}

static const char *lateness(enum store_op op)
{
    if (op == STORE_SAVE)
        return "neither done nor refused: changes wait for longer than the kind's persist interval";
    return op == STORE_LOAD ? "neither done nor refused" : "no answer for longer than it lasts";
}

size_t store_health__troubles(const struct runtime *rt, struct store_trouble out[STORE_OPS])
{
    size_t n = 0;
    for (size_t op = 0; op < STORE_OPS; op++) {
        const struct store_op_health *h = &rt->store_health.ops[op];
        uint64_t since = h->since_ns != 0 ? h->since_ns : h->late_ns;
        if (since == 0)
            continue;
        out[n++] = (struct store_trouble){
            .doing = purpose_of((enum store_op)op),
            .why = h->since_ns != 0 ? h->why : lateness((enum store_op)op),
            .for_ms = (rt->now.mono_ns - since) / NS_PER_MS,
        };
    }
    return n;
}
