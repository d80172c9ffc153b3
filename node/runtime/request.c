/* RPC requests: a batch of calls with one deadline in, a result per call out. A request is
 * finished, and on its way out, when its last call is. While the lease is in doubt, finished
 * requests are held here. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "node/runtime/internal.h"

enum { STRANGER_S = 60 }; /* told once in so long */

int runtime_request_init(struct runtime_request *r, struct arena *arena,
                         const struct rpc_request *rpc)
{
    r->arena = arena;
    r->rpc = rpc;
    r->next = NULL;
    r->pending = rpc->calls_n;
    r->deadline_ns = 0;
    r->losses_n = 0;
    r->deadline = NULL;
    r->executed = r->from_peer = false;
    list_init(&r->intake_link);
    r->handed_n = 0;
    r->node_calls_n = 0;
    r->reply = (struct rpc_reply){.results_n = rpc->calls_n};
    r->reply.results = arena_calloc(arena, rpc->calls_n, sizeof *r->reply.results);
    r->calls = arena_calloc(arena, rpc->calls_n, sizeof *r->calls);
    if (r->reply.results == NULL || r->calls == NULL)
        return TROUPE_ENOMEM;
    for (size_t i = 0; i < rpc->calls_n; i++) {
        struct message *m = &r->calls[i];
        list_init(&m->link);
        m->type = MESSAGE_REQUEST;
        m->request = r;
        m->index = (uint32_t)i;
        m->ack = rpc->calls[i].ack;
    }
    return 0;
}

void runtime_request_refuse(struct runtime_request *r, size_t i, enum troupe_status status,
                            const char *message)
{
    INVARIANT(i < r->reply.results_n && status != TROUPE_OK);
    if (r->calls[i].finished)
        return;
    r->calls[i].finished = true;
    r->reply.results[i].status = (uint8_t)status;
    r->reply.results[i].message = troupe_bytes_of(message);
    INVARIANT(r->pending > 0);
    r->pending--;
}

static void revoke(struct runtime *rt, struct message *m, const char *why)
{
    struct rpc_result *result = &m->request->reply.results[m->index];
    result->status = TROUPE_UNKNOWN;
    result->payload = troupe_bytes(NULL, 0);
    result->message = troupe_bytes_of(why);
    rt->calls_failed_n++;
    m->executed = false;
}

/* Whether what a handler saw and did may be gone: what we had of its partition has been dropped
 * since, or the partition is not ours just now, and what we have of it may or may not be right.
 * (One that we have handed over has taken along what its handlers did.) */
static bool is_lost(const struct runtime *rt, const struct message *m, bool now)
{
    const struct ownership_entry *e = &rt->ownership.entries[m->pid];
    bool limbo = e->kept != 0 && !ownership_is_held(&rt->ownership, m->pid);
    return m->executed && (e->lost > m->losses_n || (now && limbo));
}

/* A reply tells what a handler saw and did in a partition that was ours then. It may leave while
 * that stands: if the partition has been lost since, another node may have run it, without what
 * this handler did. That it is ours again by now does not help, unless nobody else had it in
 * between: then what we had is right, and was kept. now: it is to leave, and does not wait for
 * that. */
static void revoke_lost(struct runtime *rt, struct runtime_request *r, bool now)
{
    bool executed = false;
    for (size_t i = 0; i < r->reply.results_n; i++) {
        struct message *m = &r->calls[i];
        if (is_lost(rt, m, now))
            revoke(
                rt, m,
                "executed, but this node had lost the entity: the effect may be gone. Retry with "
                "the same request id");
        executed |= m->executed;
    }
    r->executed = executed;
}

static void send_off(struct runtime *rt, struct runtime_request *r)
{
    if (r->executed && r->losses_n != rt->losses_n) {
        revoke_lost(rt, r, false);
        rt->replies_in_doubt = true;
    }
    if (r->deadline != NULL)
        wheel_cancel(&rt->wheel, &r->deadline->timer);
    r->next = NULL;
    *rt->replies_tail = r;
    rt->replies_tail = &r->next;
}

/* Nodes come and go, and addresses are used again, also by other clusters: what a node of another
 * one asks for is not executed here. */
static bool is_of_a_stranger(const struct runtime *rt, const struct runtime_request *r)
{
    return r->from_peer && r->reply.results_n > 0 &&
           !troupe_bytes_equal(r->rpc->cluster_uid, troupe_bytes_of(rt->cluster_uid));
}

/* What came with no uid at all is no node's: somebody has taken the wrong port. */
static struct troupe_bytes stranger_text(const struct runtime *rt, struct runtime_request *r)
{
    static const char other[] = "not executed: this is a node of another cluster";
    if (r->rpc->cluster_uid.len > 0)
        return troupe_bytes_of(other);
    const char *text = arena_printf(r->arena,
                                    "not executed: this is the port on which nodes talk to each "
                                    "other (peer-listen); clients ask this node at %s",
                                    rt->config.address);
    return troupe_bytes_of(text != NULL ? text : other);
}

static void tell_of_stranger(struct runtime *rt, const struct runtime_request *r)
{
    char uid[STORE_UID_BYTES + 1], n[24];
    size_t len =
        r->rpc->cluster_uid.len < STORE_UID_BYTES ? r->rpc->cluster_uid.len : STORE_UID_BYTES;
    if (len > 0)
        memcpy(uid, r->rpc->cluster_uid.data, len);
    uid[len] = '\0';
    snprintf(n, sizeof n, "%" PRIu64, rt->strangers_n);
    rt->stranger_told_ns = rt->now.mono_ns;
    log__add(rt, RUNTIME_WARN,
             len > 0 ? "a node of another cluster takes this one for one of its own; nothing of "
                       "what it asks for is executed"
                     : "a client asks at the port of the nodes (peer-listen); nothing of what it "
                       "asks for is executed",
             "its_cluster", uid, "so_far", n, NULL);
}

static void refuse_stranger(struct runtime *rt, struct runtime_request *r)
{
    bool early = rt->cluster_uid[0] == '\0';
    r->reply = (struct rpc_reply){
        .status = early ? TROUPE_UNAVAILABLE : TROUPE_FAILED_PRECONDITION,
        .message = early ? troupe_bytes_of("not executed: the node has not registered yet")
                         : stranger_text(rt, r),
    };
    rt->strangers_n += !early;
    if (!early && (rt->stranger_told_ns == 0 ||
                   rt->now.mono_ns - rt->stranger_told_ns > STRANGER_S * NS_PER_S))
        tell_of_stranger(rt, r);
    send_off(rt, r);
}

void request__accept(struct runtime *rt, struct runtime_request *r)
{
    if (is_of_a_stranger(rt, r)) {
        refuse_stranger(rt, r);
        return;
    }
    size_t n = r->reply.results_n, refused = n - r->pending;
    rt->calls_n += n;
    rt->calls_failed_n += refused;
    r->losses_n = rt->losses_n;
    r->deadline_ns = rt->now.mono_ns + r->rpc->timeout_ms * NS_PER_MS;
    if (r->pending == 0) {
        send_off(rt, r);
        return;
    }
    r->pending++; /* so that it cannot finish while its calls are being handed out */
    bool all = intake__take(rt, r);
    if (all && --r->pending == 0) {
        send_off(rt, r);
        return;
    }
    r->deadline = arena_calloc(r->arena, 1, sizeof *r->deadline);
    if (r->deadline == NULL) { /* without a deadline nothing may wait */
        request__expire(rt, r);
        return;
    }
    r->deadline->request = r;
    r->deadline->timer.type = TIMER_REQUEST;
    wheel_set(&rt->wheel, &r->deadline->timer, r->deadline_ns);
}

void request__handed_out(struct runtime *rt, struct runtime_request *r)
{
    INVARIANT(r->pending > 0 && !intake__has(r));
    if (--r->pending == 0)
        send_off(rt, r);
}

void request__complete(struct runtime *rt, struct message *m)
{
    INVARIANT(m->type == MESSAGE_REQUEST && !m->finished);
    struct runtime_request *r = m->request;
    m->finished = true;
    rt->calls_failed_n += r->reply.results[m->index].status != TROUPE_OK;
    INVARIANT(r->pending > 0);
    if (--r->pending == 0)
        send_off(rt, r);
}

void request__finish(struct runtime *rt, struct message *m, enum troupe_status status,
                     struct troupe_bytes payload, struct troupe_bytes text)
{
    struct rpc_result *result = &m->request->reply.results[m->index];
    result->status = (uint8_t)status;
    result->payload = payload;
    result->message = text;
    request__complete(rt, m);
}

void request__fail(struct runtime *rt, struct message *m, enum troupe_status status,
                   const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct troupe_bytes copy = arena_copy(m->request->arena, troupe_bytes_of(text));
    if (copy.data == NULL)
        copy = troupe_bytes_of("the node has no memory left to say why (rpc-memory-max)");
    request__finish(rt, m, status, troupe_bytes(NULL, 0), copy);
}

/* A partition that is ours for want of others, but that we do not take. */
static void fail_homeless(struct runtime *rt, struct message *m)
{
    if (kinds__lacks(rt))
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "not executed: the entity's partition has no owner that can be reached, and "
                      "node %s takes none: %s. Start it with that (--kinds), or another node; or, "
                      "if it is not needed any more, `troupe kinds forget`",
                      rt->config.name, rt->kinds_open.why);
    else if (rt->draining || rt->drain_asked)
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "not executed: the entity's partition has no owner that can be reached, and "
                      "node %s takes none: it drains. Start another node",
                      rt->config.name);
    else
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "not executed: the entity's partition has no owner that can be reached just "
                      "now. Retry later");
}

/* Why a call that has waited until its deadline was not done. */
static void expire_call(struct runtime *rt, struct message *m)
{
    bool gated = m->gated, parked = m->waiting, away = m->forward != NULL, asking = m->asking;
    bool homeless = parked && m->mailbox == NULL && !ownership_is_held(&rt->ownership, m->pid);
    char waits[512];
    message__unlink(rt, m);
    const char *store = rt->store_ok ? "it is slow" : rt->store_error;
    if (gated) {
        request__fail(
            rt, m, TROUPE_UNAVAILABLE,
            "executed, but not committed in time (the store: %s); it may still be. Retry with the "
            "same request id",
            store);
    } else if (asking) {
        request__fail(rt, m, TROUPE_UNAVAILABLE, "the store has not answered in time: %s", store);
    } else if (away || m->unsure) {
        request__fail(
            rt, m, TROUPE_UNAVAILABLE,
            "the node that owns the entity has not answered in time; it may have executed "
            "the call. Retry with the same request id");
    } else if (parked && waits__text(rt, m->pid, waits, sizeof waits)) {
        request__fail(rt, m, TROUPE_UNAVAILABLE, "%s", waits);
    } else if (homeless && rt->phase == RUNTIME_SERVING) {
        fail_homeless(rt, m);
    } else if (parked && rt->phase != RUNTIME_SERVING) {
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "not executed: the node waits for the store (%s). Retry later", store);
    } else if (parked && !rt->store_ok) {
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "not executed: the entity could not be loaded (the store: %s). Retry later",
                      store);
    } else {
        request__fail(rt, m, TROUPE_DEADLINE_EXCEEDED,
                      "not executed within %u ms: allow more time or send less at once",
                      m->request->rpc->timeout_ms);
    }
}

void request__expire(struct runtime *rt, struct runtime_request *r)
{
    INVARIANT(r->pending > 0);
    if (intake__has(r))
        intake__forget(r); /* it counts as one that is pending */
    else
        r->pending++;
    for (size_t i = 0; i < r->reply.results_n; i++) {
        if (!r->calls[i].finished)
            expire_call(rt, &r->calls[i]);
    }
    INVARIANT(r->pending == 1);
    r->pending = 0;
    send_off(rt, r);
}

static void revoke_since(struct runtime *rt, uint64_t deadline_ns, const char *why)
{
    for (struct runtime_request *r = rt->replies; r != NULL; r = r->next) {
        if (!r->executed || r->deadline_ns > deadline_ns)
            continue;
        for (size_t i = 0; i < r->reply.results_n; i++) {
            if (r->calls[i].executed)
                revoke(rt, &r->calls[i], why);
        }
        r->executed = false;
    }
}

void request__expire_held(struct runtime *rt)
{
    revoke_since(rt, rt->now.mono_ns,
                 "executed, but this node's lease could not be confirmed in time: the effect may "
                 "be lost. Retry "
                 "with the same request id");
}

void request__revoke_all(struct runtime *rt)
{
    revoke_since(rt, UINT64_MAX,
                 "executed, but this node stops without its lease being confirmed: the effect may "
                 "be lost. Retry "
                 "with the same request id");
}

/* They were finished since the last collect, or are held, and something was lost since they came.
 */
static void revoke_all_lost(struct runtime *rt, bool now)
{
    for (struct runtime_request *r = rt->replies; r != NULL; r = r->next)
        revoke_lost(rt, r, now);
    rt->losses_checked_n = rt->losses_n;
    rt->replies_in_doubt = !now;
}

/* While suspended, only what does not rely on the lease goes out. */
static struct runtime_request *take_some(struct runtime *rt)
{
    struct runtime_request *out = NULL, **tail = &out, *held = NULL, **held_tail = &held;
    for (struct runtime_request *r = rt->replies, *next; r != NULL; r = next) {
        next = r->next;
        struct runtime_request ***to = r->executed ? &held_tail : &tail;
        r->next = NULL;
        **to = r;
        *to = &r->next;
    }
    rt->replies = held;
    rt->replies_tail = held == NULL ? &rt->replies : held_tail;
    return out;
}

struct runtime_request *request__take_replies(struct runtime *rt)
{
    struct runtime_request *out = rt->replies;
    if (out == NULL)
        return NULL;
    /* A node that stops does not wait for a confirmation. */
    if (rt->phase == RUNTIME_STOPPING &&
        (rt->answers_void || !lease_is_valid(&rt->lease, rt->now.mono_ns, rt->now.wall_ms)))
        request__revoke_all(rt);
    bool holds = rt->phase == RUNTIME_SUSPENDED || rt->phase == RUNTIME_STARTING;
    if (rt->replies_in_doubt || rt->losses_n != rt->losses_checked_n)
        revoke_all_lost(rt, !holds);
    if (holds)
        return take_some(rt);
    rt->replies = NULL;
    rt->replies_tail = &rt->replies;
    return out;
}
