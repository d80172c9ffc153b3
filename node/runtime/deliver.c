/* Messages find their entity: kind, method and id are resolved, the partition is looked up, and the
 * message is run, put in a mailbox, parked until the partition is ours, or refused with the reason.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    PREFETCH_GROUP = 16,
    LETTER_PARKED_MS = 10000, /* a letter waits so long for its partition */
};

/* ---- resolving ---- */

struct kind *deliver__kind(const struct runtime *rt, struct troupe_bytes name)
{
    for (size_t i = 0; i < rt->kinds_n; i++) {
        if (troupe_bytes_equal(rt->kinds[i].name, name))
            return &rt->kinds[i];
    }
    return NULL;
}

int deliver__method(const struct kind *kind, struct troupe_bytes name)
{
    for (size_t i = 0; i < kind->def->methods_n; i++) {
        const char *known = kind->def->methods[i].name;
        if (strncmp(known, (const char *)name.data, name.len) == 0 && known[name.len] == '\0')
            return (int)i;
    }
    return troupe_bytes_equal(name, troupe_bytes_of("$get")) ? METHOD_GET : -1;
}

bool runtime_method(const struct runtime *rt, struct troupe_bytes kind, struct troupe_bytes method,
                    const ProtobufCMessageDescriptor **request,
                    const ProtobufCMessageDescriptor **response)
{
    *request = *response = NULL;
    if (node_kind__is(kind))
        return node_kind__method(method, request, response);
    const struct kind *k = method.len == 0 ? NULL : deliver__kind(rt, kind);
    int at = k == NULL ? -1 : deliver__method(k, method);
    if (at < 0)
        return false;
    if (at == METHOD_GET) {
        *response = k->def->state;
        return true;
    }
    *request = k->def->methods[at].request;
    *response = k->def->methods[at].response;
    return true;
}

struct troupe_bytes message__id(const struct message *m)
{
    if (m->type == MESSAGE_REQUEST)
        return m->request->rpc->calls[m->index].id;
    return ((const struct letter *)(const void *)m)->id;
}

struct troupe_bytes message__payload(const struct message *m)
{
    if (m->type == MESSAGE_REQUEST)
        return m->request->rpc->calls[m->index].payload;
    return ((const struct letter *)(const void *)m)->payload;
}

/* ---- letters ---- */

static struct troupe_bytes append(struct letter *l, size_t *at, struct troupe_bytes bytes)
{
    uint8_t *to = l->data + *at;
    if (bytes.len != 0)
        memcpy(to, bytes.data, bytes.len);
    *at += bytes.len;
    return troupe_bytes(to, bytes.len);
}

struct letter *letter__new(struct runtime *rt, enum message_type type, uint8_t kind, uint8_t method,
                           uint64_t hash, struct troupe_bytes id, struct troupe_bytes payload,
                           struct troupe_bytes caller_id)
{
    struct letter *l = malloc(sizeof *l + id.len + payload.len + caller_id.len);
    if (l == NULL)
        return NULL;
    memset(l, 0, sizeof *l);
    size_t at = 0;
    list_init(&l->m.link);
    l->m.type = (uint8_t)type;
    l->m.kind = kind;
    l->m.method = method;
    l->m.hash = hash;
    l->m.pid = name_partition(hash, rt->partition_bits);
    l->id = append(l, &at, id);
    l->payload = append(l, &at, payload);
    l->caller_id = append(l, &at, caller_id);
    return l;
}

struct letter *letter__reply(struct runtime *rt, const struct letter *call,
                             enum troupe_status status, struct troupe_bytes payload)
{
    INVARIANT(call->m.type == MESSAGE_CALL);
    struct letter *l = letter__new(rt, MESSAGE_REPLY, call->caller_kind, 0, call->caller_hash,
                                   call->caller_id, payload, troupe_bytes(NULL, 0));
    if (l != NULL) {
        l->status = (uint8_t)status;
        l->call_id = call->call_id;
    }
    return l;
}

/* ---- waiting and refusing ---- */

void message__unlink(struct runtime *rt, struct message *m)
{
    list_remove(&m->link);
    if (m->waiting) {
        INVARIANT(rt->waiting_n > 0);
        rt->waiting_n--;
        m->waiting = false;
    }
    if (m->mailbox != NULL) {
        INVARIANT(m->mailbox->mailbox_n > 0);
        m->mailbox->mailbox_n--;
        m->mailbox = NULL;
    }
    if (m->gated) {
        INVARIANT(rt->gated_n > 0);
        rt->gated_n--;
        m->gated = false;
    }
    if (m->forward != NULL)
        forward__forget(m);
    if (m->asking)
        node_ask__forget(rt, m);
}

void message__refuse(struct runtime *rt, struct message *m, enum troupe_status status,
                     const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    INVARIANT(status != TROUPE_OK);
    if (m->type == MESSAGE_REQUEST && m->unsure && status != TROUPE_UNKNOWN) {
        request__fail(rt, m, TROUPE_UNAVAILABLE,
                      "an earlier try may have been executed by the node that owned the entity. "
                      "Retry with the same request id (now: %s)",
                      text);
        return;
    }
    if (m->type == MESSAGE_REQUEST) {
        request__fail(rt, m, status, "%s", text);
        return;
    }
    struct letter *l = letter__of(m);
    if (m->type == MESSAGE_CALL) {
        struct letter *reply = letter__reply(rt, l, status, troupe_bytes_of(text));
        if (reply != NULL) /* else the caller's timeout tells it */
            list_push(&rt->run, &reply->m.link);
    }
    free(l);
}

/* A letter has no deadline of its own. Whether it has waited long enough. */
static bool has_waited(struct runtime *rt, struct message *m)
{
    if (m->type == MESSAGE_REQUEST)
        return false;
    struct letter *l = letter__of(m);
    if (l->parked_until_ns == 0)
        l->parked_until_ns = rt->now.mono_ns + LETTER_PARKED_MS * NS_PER_MS;
    return rt->now.mono_ns >= l->parked_until_ns;
}

void deliver__park(struct runtime *rt, struct message *m)
{
    if (has_waited(rt, m)) {
        char waits[512];
        bool silent = waits__text(rt, m->pid, waits, sizeof waits);
        message__refuse(rt, m, TROUPE_UNAVAILABLE, "%s",
                        silent ? waits : "no node that owns the entity could be reached");
        return;
    }
    if (rt->waiting_n >= rt->config.calls_waiting_max) {
        message__refuse(rt, m, TROUPE_RESOURCE_EXHAUSTED,
                        "%llu calls are waiting already: retry later",
                        (unsigned long long)rt->waiting_n);
        return;
    }
    list_push(&rt->parked, &m->link);
    m->waiting = true;
    rt->waiting_n++;
}

/* Those that have to wait on are parked again, behind what is in `unparked`: so it ends. When it
 * begins anew before, they come first: no message overtakes an earlier one to the same entity. */
void deliver__unpark(struct runtime *rt)
{
    rt->unpark_ns = UINT64_MAX;
    list_splice(&rt->parked, &rt->unparked);
    list_splice(&rt->unparked, &rt->parked);
    deliver__unpark_on(rt);
}

void deliver__unpark_on(struct runtime *rt)
{
    struct list *node;
    for (int i = 1; (node = list_pop(&rt->unparked)) != NULL; i++) {
        struct message *m = LIST_ENTRY(node, struct message, link);
        message__unlink(rt, m);
        deliver__message(rt, m);
        if (i % YIELD_EVERY == 0 && runtime__should_yield(rt))
            return;
    }
}

static void refuse_foreign(struct runtime *rt, struct message *m)
{
    const struct ownership_entry *entry = &rt->ownership.entries[m->pid];
    const struct node_info *node = node__at(rt, entry->node);
    if (node == NULL) {
        message__refuse(rt, m, TROUPE_UNAVAILABLE,
                        "another node owns partition %u: ask that one, or retry later", m->pid);
        return;
    }
    char waits[512];
    if (waits__text(rt, m->pid, waits, sizeof waits)) {
        message__refuse(rt, m, TROUPE_UNAVAILABLE, "%s", waits);
        return;
    }
    if (m->type == MESSAGE_REQUEST)
        m->request->reply.results[m->index].owner = forward__owner(rt, m, entry->node);
    message__refuse(rt, m, TROUPE_UNAVAILABLE, "partition %u is owned by node %s: ask it at %s",
                    m->pid, node->name, node->address);
}

/* ---- delivering ---- */

static struct entity *entity_for(struct runtime *rt, struct message *m)
{
    struct table *t = &rt->partitions[m->pid];
    struct entity *e = table_find(t, m->hash, m->kind, message__id(m));
    if (e != NULL)
        return e;
    if (m->type == MESSAGE_REPLY) { /* whoever asked is gone */
        free(letter__of(m));
        return NULL;
    }
    if (evict__is_full(rt)) {
        message__refuse(
            rt, m, TROUPE_RESOURCE_EXHAUSTED,
            "the node's limit of entities or memory is reached and none can be stopped at once: "
            "retry later, raise entities-max or memory-max, or add a node");
        return NULL;
    }
    e = entity__new(rt, m->kind, m->hash, message__id(m));
    if (e == NULL)
        message__refuse(rt, m, TROUPE_RESOURCE_EXHAUSTED, "the node is out of memory: retry later");
    return e;
}

static bool is_stopping(const struct runtime *rt)
{
    return rt->phase == RUNTIME_STOPPING || rt->phase == RUNTIME_STOPPED ||
           rt->phase == RUNTIME_FAILED;
}

/* Letters may still run on what is resident while the node stops; calls may not. */
static bool refuse_when_stopping(struct runtime *rt, struct message *m)
{
    if (!is_stopping(rt))
        return false;
    struct table *t = &rt->partitions[m->pid];
    struct entity *e = table_find(t, m->hash, m->kind, message__id(m));
    if (m->type != MESSAGE_REQUEST && rt->phase == RUNTIME_STOPPING && e != NULL &&
        e->phase == ENTITY_ACTIVE)
        return false;
    message__refuse(rt, m, TROUPE_UNAVAILABLE,
                    "the node is stopping: retry, with another node if there is one");
    return true;
}

/* The partition is not ours, or not just now. A node without gossip knows no other one to forward
 * to; it tells the caller what the store says. */
static void deliver_elsewhere(struct runtime *rt, struct message *m, bool ready)
{
    uint32_t state = rt->ownership.entries[m->pid].state;
    struct entity *e = NULL;
    if (state == OWNERSHIP_FROZEN && m->type == MESSAGE_REPLY) /* it is waited for */
        e = table_find(&rt->partitions[m->pid], m->hash, m->kind, message__id(m));
    if (e != NULL && e->phase == ENTITY_ACTIVE && entity__may_run(rt, m->pid)) {
        handler__run(rt, e, m);
        return;
    }
    uint32_t node = forward__target(rt, m->pid);
    bool hopped = forward__has_hopped(m);
    if (ready && node != NODE_NONE && !hopped && m->type != MESSAGE_REPLY)
        forward__message(rt, m, node);
    else if (ready && state == OWNERSHIP_FOREIGN &&
             (!members__is_on(&rt->members) || hopped || m->type == MESSAGE_REPLY))
        refuse_foreign(rt, m);
    else
        deliver__park(rt, m);
}

void deliver__message(struct runtime *rt, struct message *m)
{
    if (refuse_when_stopping(rt, m))
        return;
    bool ready = rt->phase == RUNTIME_SERVING || rt->phase == RUNTIME_STOPPING;
    if (!rt->kinds[m->kind].open && m->type != MESSAGE_REPLY) {
        kinds__deliver(rt, m);
        return;
    }
    if (!ready || !ownership_is_owned(&rt->ownership, m->pid)) {
        deliver_elsewhere(rt, m, ready);
        return;
    }
    struct entity *e = entity_for(rt, m);
    if (e == NULL)
        return;
    if (e->phase == ENTITY_ACTIVE && list_is_empty(&e->mailbox))
        handler__run(rt, e, m);
    else
        entity__enqueue(rt, e, m);
}

static void refuse_method(struct runtime *rt, struct message *m, const struct kind *k,
                          struct troupe_bytes name)
{
    char known[384];
    size_t at = 0;
    known[0] = '\0';
    for (size_t i = 0; i < k->def->methods_n && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s, ", k->def->methods[i].name);
    if (at < sizeof known)
        snprintf(known + at, sizeof known - at, "$get");
    request__fail(rt, m, TROUPE_UNIMPLEMENTED, "%s has no method '%.*s'; it has %s", k->def->name,
                  (int)(name.len < 80 ? name.len : 80), (const char *)name.data, known);
}

/* A durable method would only join a queue that the store cannot shorten now. */
static bool refuse_durable(struct runtime *rt, struct message *m, const struct kind *k)
{
    if (store_health__takes_writes(rt) || rt->gated_n < rt->config.calls_gated_max ||
        m->method == METHOD_GET)
        return false;
    if ((k->def->methods[m->method].flags & TROUPE_METHOD_DURABLE) == 0 &&
        m->ack == TROUPE_ACK_MEMORY)
        return false;
    request__fail(rt, m, TROUPE_UNAVAILABLE,
                  "not executed: the store takes no changes (%s) and %llu calls wait for it "
                  "already. Retry later",
                  rt->store_error, (unsigned long long)rt->gated_n);
    return true;
}

/* Finds kind, method, hash and partition. false: the call has its answer already. */
static bool resolve(struct runtime *rt, struct message *m)
{
    const struct rpc_call *call = &m->request->rpc->calls[m->index];
    const char *why = NULL;
    if (node_kind__is(call->kind)) {
        node_kind__call(rt, m);
        return false;
    }
    if (peer_kind__is(call->kind)) {
        peer_kind__call(rt, m);
        return false;
    }
    const struct kind *k = deliver__kind(rt, call->kind);
    int method = k == NULL ? 0 : call->method.len == 0 ? -1 : deliver__method(k, call->method);
    if (method < 0) {
        refuse_method(rt, m, k, call->method);
        return false;
    }
    if ((k == NULL && name_check_kind(call->kind, &why) != 0) ||
        name_check_id(call->id, &why) != 0) {
        request__fail(rt, m, TROUPE_INVALID_ARGUMENT, "%s", why);
        return false;
    }
    if (call->ack > TROUPE_ACK_DURABLE || call->format > RPC_JSON) {
        request__fail(rt, m, TROUPE_INVALID_ARGUMENT,
                      "ack must be 0 to 2 and format 0 or 1: this node knows no others");
        return false;
    }
    m->kind = (uint8_t)(k == NULL ? rt->kinds_n : (size_t)(k - rt->kinds));
    m->method = (uint8_t)method;
    m->hash = name_hash(call->kind, call->id);
    m->pid = name_partition(m->hash, rt->partition_bits);
    return k == NULL || !refuse_durable(rt, m, k);
}

/* See table_prefetch_slot. Nothing here changes anything. */
static void prefetch(const struct runtime *rt, struct message *const *group, size_t n)
{
    const struct entity *guesses[PREFETCH_GROUP];
    for (size_t i = 0; i < n; i++) {
        guesses[i] = table_guess(&rt->partitions[group[i]->pid], group[i]->hash);
        if (guesses[i] == NULL)
            continue;
        __builtin_prefetch(guesses[i]);
        __builtin_prefetch(&guesses[i]->mailbox);
        __builtin_prefetch(guesses[i]->id);
    }
    for (size_t i = 0; i < n; i++) {
        if (guesses[i] != NULL)
            __builtin_prefetch(guesses[i]->state);
    }
}

size_t deliver__requests(struct runtime *rt, struct message *messages, size_t n)
{
    struct message *group[PREFETCH_GROUP];
    for (size_t i = 0; i < n;) {
        size_t g = 0;
        if (i > 0 && runtime__should_yield(rt))
            return i;
        for (; i < n && g < PREFETCH_GROUP; i++) {
            struct message *m = &messages[i];
            if (m->finished || !resolve(rt, m))
                continue;
            table_prefetch_slot(&rt->partitions[m->pid], m->hash);
            group[g++] = m;
        }
        if (g > 1)
            prefetch(rt, group, g);
        for (size_t k = 0; k < g; k++)
            deliver__message(rt, group[k]);
    }
    return n;
}

/* Messages between entities, in the order in which they were sent. What they cause is run, too, up
 * to a limit: two entities that answer each other for ever must not stop the node. */
void deliver__run(struct runtime *rt)
{
    struct list *node;
    for (int i = 1; i <= RUN_MAX && (node = list_pop(&rt->run)) != NULL; i++) {
        deliver__message(rt, LIST_ENTRY(node, struct message, link));
        if (i % YIELD_EVERY == 0 && runtime__should_yield(rt))
            return;
    }
}
