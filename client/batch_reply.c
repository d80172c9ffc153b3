/* What becomes of the calls of a batch: results by a node's reply, or by the client itself. */
#include <stdio.h>
#include <string.h>

#include "base/invariant.h"
#include "client/batch.h"

static void set_own(struct troupe_call_result *result, enum troupe_status status,
                    struct troupe_bytes message)
{
    *result = (struct troupe_call_result){.status = status, .message = message};
}

/* In the arena, or, when there is no memory left, a literal. */
static struct troupe_bytes keep_text(struct troupe_batch *b, const char *text)
{
    struct troupe_bytes kept = arena_copy(&b->arena, troupe_bytes_of(text));
    return kept.data != NULL ? kept : troupe_bytes_of("out of memory");
}

void batch_fail_todo(struct troupe_batch *b, enum troupe_status status, const char *message)
{
    struct troupe_bytes kept = keep_text(b, message);
    for (size_t i = 0; i < b->todo_n; i++)
        set_own(&b->results[b->todo[i]], status, kept);
    b->todo_n = 0;
}

/* After todo has shrunk. The copy lives in scratch, behind the reply, and as long: until the next
 * reply comes. */
static void remake_wire(struct troupe_batch *b)
{
    if (b->todo_n == 0 || b->todo_n == b->calls_n)
        return;
    struct rpc_call *wire = arena_alloc(&b->scratch, b->todo_n * sizeof *wire);
    if (wire == NULL) {
        batch_fail_todo(b, TROUPE_RESOURCE_EXHAUSTED,
                        "the client is out of memory for another attempt; send smaller batches");
        return;
    }
    for (size_t i = 0; i < b->todo_n; i++)
        wire[i] = b->calls[b->todo[i]];
    b->wire = wire;
}

void batch_fail_todo_without_id(struct troupe_batch *b, enum troupe_status status,
                                const char *message)
{
    struct troupe_bytes kept = {0};
    size_t left = 0;
    for (size_t i = 0; i < b->todo_n; i++) {
        uint16_t call = b->todo[i];
        if (b->calls[call].sequence != 0) {
            b->todo[left++] = call;
            continue;
        }
        if (kept.data == NULL)
            kept = keep_text(b, message);
        set_own(&b->results[call], status, kept);
    }
    if (left != b->todo_n) {
        b->todo_n = left;
        remake_wire(b);
    }
}

static bool wants_retry(const struct troupe_batch *b, uint16_t call, unsigned status)
{
    return b->calls[call].sequence != 0 &&
           (status == TROUPE_UNAVAILABLE || status == TROUPE_ABORTED);
}

static void take_result(struct troupe_call_result *out, const struct rpc_result *in)
{
    *out = (struct troupe_call_result){
        .status = (enum troupe_status)in->status,
        .ack = (enum troupe_ack)in->ack,
        .version = in->version,
        .payload = in->payload,
        .message = in->message,
        .answered = true,
    };
    if (in->owner != NULL) {
        out->owner_node = in->owner->node;
        out->owner_address = in->owner->address;
    }
}

/* Moves what a final result points to out of scratch, which the next reply overwrites. */
static void keep_result(struct troupe_batch *b, struct troupe_call_result *result)
{
    struct troupe_bytes *parts[] = {&result->payload, &result->message, &result->owner_node,
                                    &result->owner_address};
    for (size_t i = 0; i < 4; i++) {
        if (parts[i]->len == 0)
            continue;
        *parts[i] = arena_copy(&b->arena, *parts[i]);
        if (parts[i]->data == NULL) {
            set_own(result, TROUPE_RESOURCE_EXHAUSTED,
                    troupe_bytes_of("the client is out of memory for the answer of a call that was "
                                    "executed; send smaller batches"));
            return;
        }
    }
}

/* A request that was refused as a whole: that is the answer to each of its calls. */
static int spread_refusal(struct troupe_batch *b, struct rpc_reply *reply)
{
    reply->results = arena_calloc(&b->scratch, b->todo_n, sizeof *reply->results);
    if (reply->results == NULL)
        return TROUPE_ENOMEM;
    reply->results_n = b->todo_n;
    for (size_t i = 0; i < b->todo_n; i++) {
        reply->results[i].status = reply->status;
        reply->results[i].message = reply->message;
    }
    return 0;
}

static void take_results(struct troupe_batch *b, const struct rpc_reply *reply, bool may_retry)
{
    size_t retries = 0;
    for (size_t i = 0; i < b->todo_n && may_retry; i++)
        retries += wants_retry(b, b->todo[i], reply->results[i].status);
    size_t left = 0;
    for (size_t i = 0; i < b->todo_n; i++) {
        uint16_t call = b->todo[i];
        take_result(&b->results[call], &reply->results[i]);
        if (retries != 0 && wants_retry(b, call, reply->results[i].status))
            b->todo[left++] = call;
        else if (retries != 0)
            keep_result(b, &b->results[call]);
    }
    INVARIANT(left == retries);
    b->todo_n = left;
    remake_wire(b);
}

void batch_take_reply(struct troupe_batch *b, struct troupe_bytes body, bool may_retry,
                      const char *node)
{
    arena_reset(&b->scratch);
    struct rpc_reply reply;
    const char *why = "out of memory";
    int rc = rpc_reply_decode(&b->scratch, body, &reply, &why);
    if (rc == 0 && reply.status != TROUPE_OK)
        rc = spread_refusal(b, &reply);
    if (rc == 0 && reply.results_n == b->todo_n) {
        take_results(b, &reply, may_retry);
        return;
    }
    if (rc == 0)
        why = "the number of results is not the number of calls";
    char text[BATCH_TEXT_BYTES];
    snprintf(text, sizeof text,
             "the reply of %s cannot be read (%s), so the call may have been executed; check that "
             "client and node are of matching versions",
             node, why);
    batch_fail_todo(b, TROUPE_UNKNOWN, text);
}
