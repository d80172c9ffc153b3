/* Requests on their way in. A batch may have 4,096 calls, and a handler takes as long as it likes;
 * meanwhile nothing else happens on this node: no lease is renewed, no probe answered, no other
 * client served. So the driver says when a step has gone on for long enough (runtime_config.yield),
 * and the calls that are left wait here for the next step. They go first then: requests are handed
 * out in the order in which they came, and the calls of one in theirs. */
#include "node/runtime/internal.h"

void intake__init(struct runtime *rt)
{
    list_init(&rt->intake);
}

bool intake__is_empty(const struct runtime *rt)
{
    return list_is_empty(&rt->intake);
}

bool runtime__should_yield(const struct runtime *rt)
{
    return rt->config.yield != NULL && rt->config.yield(rt->config.yield_data);
}

/* Whether all of its calls have been handed out now. */
static bool hand_out(struct runtime *rt, struct runtime_request *r)
{
    size_t n = r->reply.results_n;
    r->handed_n += deliver__requests(rt, r->calls + r->handed_n, n - r->handed_n);
    INVARIANT(r->handed_n <= n);
    return r->handed_n == n;
}

bool intake__take(struct runtime *rt, struct runtime_request *r)
{
    if (list_is_empty(&rt->unparked) && list_is_empty(&rt->intake) && hand_out(rt, r))
        return true;
    list_push(&rt->intake, &r->intake_link);
    return false;
}

void intake__forget(struct runtime_request *r)
{
    list_remove(&r->intake_link);
}

bool intake__has(const struct runtime_request *r)
{
    return !list_is_empty(&r->intake_link);
}

void intake__go_on(struct runtime *rt)
{
    while (!list_is_empty(&rt->intake)) {
        struct runtime_request *r =
            LIST_ENTRY(rt->intake.next, struct runtime_request, intake_link);
        if (!hand_out(rt, r))
            return;
        list_remove(&r->intake_link);
        request__handed_out(rt, r);
        if (runtime__should_yield(rt))
            return;
    }
}
