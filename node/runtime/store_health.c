/* Whether the store does what this node needs, as its answers tell; `troupe status` and the log say
 * so. Two things can be wrong:
 *
 *   it is away    no answer, or none that can be relied on. Any answer ends that.
 *   it refuses    it answers, but not what was asked: the schema is gone or another one, a table
 *                 has gaps. Renewals may go on while nothing can be saved, so that is kept for each
 *                 operation, until the operation works. One that was given up (a load whose callers
 *                 have gone) would never do; after a while without another refusal it is forgotten.
 *
 * What an operation answers in the course of things (a name that is taken, a lease that was lost, a
 * row that the store does not take) is none of that: who asked deals with it. */
#include <stdio.h>
#include <string.h>

#include "node/runtime/internal.h"

enum { REFUSED_MS = 30000 }; /* longer than any of our waits between two attempts */

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

static void works(struct runtime *rt, const struct store_request *request)
{
    rt->store_refuses &= ~(1U << request->op);
    if (rt->now.mono_ns - rt->store_refused_ns > REFUSED_MS * NS_PER_MS)
        rt->store_refuses = 0;
    if (rt->store_ok || rt->store_refuses != 0)
        return;
    rt->store_ok = true;
    log__add(rt, RUNTIME_INFO, "the store answers", "store", rt->config.store_url, NULL);
}

static void fails(struct runtime *rt, const struct store_request *request)
{
    rt->store_ok = false;
    snprintf(rt->store_error, sizeof rt->store_error, "%s", request->errmsg);
}

static void away(struct runtime *rt, const struct store_request *request)
{
    bool news = rt->store_ok || strcmp(rt->store_error, request->errmsg) != 0;
    fails(rt, request);
    if (news)
        log__add(rt, RUNTIME_WARN, "the store cannot be reached; trying again", "store",
                 rt->config.store_url, "why", request->errmsg, NULL);
}

static void refuses(struct runtime *rt, const struct store_request *request, const char *purpose)
{
    bool news = (rt->store_refuses & 1U << request->op) == 0;
    rt->store_refuses |= 1U << request->op;
    rt->store_refused_ns = rt->now.mono_ns;
    fails(rt, request);
    if (news)
        log__add(rt, RUNTIME_WARN, "the store answers, but refuses what it is asked; trying again",
                 "store", rt->config.store_url, "for", purpose, "why", request->errmsg, NULL);
}

void store_health__answered(struct runtime *rt, const struct store_request *request)
{
    enum verdict verdict = verdict_of(request);
    const char *purpose = purpose_of(request->op);
    if (verdict == AWAY)
        away(rt, request);
    else if (verdict == REFUSES && purpose != NULL)
        refuses(rt, request, purpose);
    else
        works(rt, request);
}
