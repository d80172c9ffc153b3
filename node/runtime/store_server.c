/* The store is one server at a time (DESIGN §6.10). When its database fails over to another copy of
 * the data, the server before may live on, and connections may lead to it for long: what it commits
 * is on a branch of history that is lost, what it tells of owners and rows is not true any more. So
 * every answer is held against the latest server that is known, here, where answers come in:
 *
 * - That of an earlier one is worth nothing: a write has an unknown outcome, a read has failed.
 * Both are tried again, and nothing is acknowledged, dropped or confirmed by it.
 * - That of a later one tells of the failover, whatever was asked: the node stops answering, renews
 *   its lease there, looks at the map again, and writes again what may be missing.
 *
 * Numbers are those of this node's store (storage/store.h), in the order in which it has met the
 * servers. The timeline goes between nodes, and into epochs. */
#include <stdio.h>

#include "node/runtime/internal.h"

/* A server has said it; what the way to it brings (no connection, no answer) is no word of one. */
static bool is_its_word(const struct store_request *request)
{
    switch ((enum troupe_error)request->error) {
    case TROUPE_EUNAVAILABLE:
    case TROUPE_EOUTCOME:
    case TROUPE_EIO:
    case TROUPE_ETIMEOUT:
        return false;
    default:
        return true;
    }
}

static bool writes(enum store_op op)
{
    return op != STORE_LOAD && op != STORE_OWNERS && op != STORE_HISTORY && op != STORE_RECENT;
}

static void disbelieve(struct runtime *rt, struct store_request *request)
{
    if (request == &rt->claim.request && request->error == 0)
        claims__hear(rt);
    request->error = writes(request->op) ? TROUPE_EOUTCOME : TROUPE_EUNAVAILABLE;
    snprintf(request->errmsg, sizeof request->errmsg,
             "the answer came from a server of the database that has been succeeded by another");
}

/* The other copy of the data may lack the last commits. And our renewals: what the lease counts
 * from is a row that nobody reads any more, while others may watch the one that the new server has.
 */
static void failed_over(struct runtime *rt, const struct store_request *request)
{
    if (rt->phase == RUNTIME_SERVING)
        lifecycle__suspend(rt, "the store has failed over to another copy of the data");
    if (rt->phase == RUNTIME_SUSPENDED)
        rt->recheck = rt->writing_again = false; /* after the next renewal, not before */
    lease_void(&rt->lease, rt->now.mono_ns, request == &rt->renew.request);
    rt->recheck |= rt->phase == RUNTIME_STARTING;      /* what it has claimed already */
    rt->answers_void |= rt->phase == RUNTIME_STOPPING; /* it does not look at the map again */
    rt->failed_over = rt->want_map = true;
    rt->timeline_ns = rt->recheck_ns = rt->now.mono_ns;
    claims__doubt_given(rt);
    rt->rows_ns = 0; /* renewals of the others may be lost: they are watched for a TTL anew */
    save__again(rt);
}

void store_server__answered(struct runtime *rt, struct store_request *request)
{
    bool word = is_its_word(request);
    /* A refusal of none has not come to a server: our store gave it, before it asked one. */
    bool of_one = request->server != 0 || request->error == 0;
    if (word && of_one && request->server < rt->server)
        disbelieve(rt, request);
    if (request->server <= rt->server && (!word || rt->timeline_known))
        return;
    bool other = rt->timeline_known;
    rt->server = request->server;
    rt->timeline = request->timeline;
    rt->timeline_known = true;
    store_doubt__settled(rt);
    if (other)
        failed_over(rt, request);
}
