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
static struct troupe_bytes keep_text(struct leg *leg, const char *text)
{
    struct troupe_bytes kept = arena_copy(&leg->arena, troupe_bytes_of(text));
    return kept.data != NULL ? kept : troupe_bytes_of("out of memory");
}

void leg_fail_todo(struct leg *leg, enum troupe_status status, const char *message)
{
    struct troupe_bytes kept = keep_text(leg, message);
    for (size_t i = 0; i < leg->todo_n; i++)
        set_own(&leg->batch->results[leg->todo[i]], status, kept);
    leg->todo_n = 0;
}

/* After todo has shrunk. The copy lives in scratch, behind the reply, and as long: until the next
 * reply comes. */
static void remake_wire(struct leg *leg)
{
    if (leg->todo_n == 0 || leg->todo_n == leg->all_n)
        return;
    struct rpc_call *wire = arena_alloc(&leg->scratch, leg->todo_n * sizeof *wire);
    if (wire == NULL) {
        leg_fail_todo(leg, TROUPE_RESOURCE_EXHAUSTED,
                      "the client is out of memory for another attempt; send smaller batches");
        return;
    }
    for (size_t i = 0; i < leg->todo_n; i++)
        wire[i] = leg->batch->calls[leg->todo[i]];
    leg->wire = wire;
}

void leg_fail_todo_without_id(struct leg *leg, enum troupe_status status, const char *message)
{
    struct troupe_bytes kept = {0};
    size_t left = 0;
    for (size_t i = 0; i < leg->todo_n; i++) {
        uint16_t call = leg->todo[i];
        if (leg->batch->calls[call].sequence != 0) {
            leg->todo[left++] = call;
            continue;
        }
        if (kept.data == NULL)
            kept = keep_text(leg, message);
        set_own(&leg->batch->results[call], status, kept);
    }
    if (left != leg->todo_n) {
        leg->todo_n = left;
        remake_wire(leg);
    }
}

void leg_note_lost(struct leg *leg)
{
    leg->maybe_executed = true;
    for (size_t i = 0; i < leg->todo_n; i++)
        leg->batch->results[leg->todo[i]].status = TROUPE_UNKNOWN;
}

/* The node takes no id of such a time, and this was the only attempt that ever left, or those
 * before came to the same: nobody has executed the call, and nobody will. */
static bool is_id_refused(const struct leg *leg, uint16_t call, const struct rpc_result *result)
{
    enum troupe_status before = leg->batch->results[call].status;
    return result->status == TROUPE_OUT_OF_RANGE && result->sequence_from != 0 &&
           (before == TROUPE_OK || before == TROUPE_OUT_OF_RANGE);
}

/* UNKNOWN, too: with its id the call is executed once at most, and the answer to the next attempt
 * is the first one's if that one was. To be asked before the result is taken. */
static bool wants_retry(const struct leg *leg, uint16_t call, const struct rpc_result *result)
{
    return leg->batch->calls[call].sequence != 0 &&
           (result->status == TROUPE_UNAVAILABLE || result->status == TROUPE_ABORTED ||
            result->status == TROUPE_UNKNOWN || is_id_refused(leg, call, result));
}

/* A node's word that this attempt came to nothing, given without a look at what the entity
 * remembers (it has no version then): it says nothing of an earlier attempt. */
static bool is_refusal(const struct rpc_result *result)
{
    return result->version == 0 &&
           (result->status == TROUPE_UNAVAILABLE || result->status == TROUPE_ABORTED ||
            result->status == TROUPE_DEADLINE_EXCEEDED ||
            result->status == TROUPE_RESOURCE_EXHAUSTED);
}

/* The call's outcome was unknown before, and this answer leaves it so. */
static void stay_unknown(struct leg *leg, struct troupe_call_result *result)
{
    const char *text =
        arena_printf(&leg->arena,
                     "an earlier attempt may have been executed; of the latest the node says: %s: "
                     "%.*s",
                     troupe_status_name((int)result->status), (int)result->message.len,
                     (const char *)result->message.data);
    result->message = troupe_bytes_of(text != NULL ? text : "it may have been executed");
    result->status = TROUPE_UNKNOWN;
}

static void take_result(struct leg *leg, struct troupe_call_result *out,
                        const struct rpc_result *in)
{
    bool unknown = out->status == TROUPE_UNKNOWN;
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
    if (unknown && is_refusal(in))
        stay_unknown(leg, out);
}

/* Moves what a final result points to out of scratch, which the next reply overwrites. */
static void keep_result(struct leg *leg, struct troupe_call_result *result)
{
    struct troupe_bytes *parts[] = {&result->payload, &result->message, &result->owner_node,
                                    &result->owner_address};
    for (size_t i = 0; i < 4; i++) {
        if (parts[i]->len == 0)
            continue;
        *parts[i] = arena_copy(&leg->arena, *parts[i]);
        if (parts[i]->data == NULL) {
            set_own(result, TROUPE_RESOURCE_EXHAUSTED,
                    troupe_bytes_of("the client is out of memory for the answer of a call that was "
                                    "executed; send smaller batches"));
            return;
        }
    }
}

/* A request that was refused as a whole: that is the answer to each of its calls. */
static int spread_refusal(struct leg *leg, struct rpc_reply *reply)
{
    reply->results = arena_calloc(&leg->scratch, leg->todo_n, sizeof *reply->results);
    if (reply->results == NULL)
        return TROUPE_ENOMEM;
    reply->results_n = leg->todo_n;
    for (size_t i = 0; i < leg->todo_n; i++) {
        reply->results[i].status = reply->status;
        reply->results[i].message = reply->message;
    }
    return 0;
}

static void take_results(struct leg *leg, const struct rpc_reply *reply, bool may_retry)
{
    size_t retries = 0, refused = 0;
    uint64_t from = 0;
    for (size_t i = 0; i < leg->todo_n && may_retry; i++)
        retries += wants_retry(leg, leg->todo[i], &reply->results[i]);
    size_t left = 0;
    for (size_t i = 0; i < leg->todo_n; i++) {
        const struct rpc_result *in = &reply->results[i];
        uint16_t call = leg->todo[i];
        struct troupe_call_result *result = &leg->batch->results[call];
        bool again = retries != 0 && wants_retry(leg, call, in);
        take_result(leg, result, in);
        leg->maybe_executed |= result->status == TROUPE_UNKNOWN;
        if (again)
            leg->todo[left++] = call;
        else if (retries != 0)
            keep_result(leg, result);
        if (again && in->status == TROUPE_OUT_OF_RANGE) {
            refused++;
            from = in->sequence_from > from ? in->sequence_from : from;
        }
    }
    INVARIANT(left == retries);
    leg->ids_from =
        refused == retries ? from : 0; /* else the others first, with the ids they have */
    leg->todo_n = left;
    remake_wire(leg);
}

static bool names_owners(const struct rpc_reply *reply)
{
    for (size_t i = 0; i < reply->results_n; i++)
        if (reply->results[i].owner != NULL)
            return true;
    return false;
}

void leg_take_reply(struct leg *leg, struct troupe_bytes body, bool may_retry, const char *node,
                    leg_learn learn)
{
    arena_reset(&leg->scratch);
    struct rpc_reply reply;
    const char *why = "out of memory";
    int rc = rpc_reply_decode(&leg->scratch, body, &reply, &why);
    if (rc == 0 && reply.status != TROUPE_OK)
        rc = spread_refusal(leg, &reply);
    if (rc == 0 && reply.results_n == leg->todo_n) {
        if (names_owners(&reply))
            learn(leg, &reply);
        take_results(leg, &reply, may_retry);
        return;
    }
    if (rc == 0)
        why = "the number of results is not the number of calls";
    char text[BATCH_TEXT_BYTES];
    snprintf(text, sizeof text,
             "the reply of %s cannot be read (%s), so the call may have been executed; check that "
             "client and node are of matching versions",
             node, why);
    leg_fail_todo(leg, TROUPE_UNKNOWN, text);
}
