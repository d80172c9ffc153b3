/* See fake_troop.h. */
#include "fake_troop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"

#define UID "01234567-89ab-cdef-0123-456789abcdef"

static unsigned pid_of(const struct rpc_call *call)
{
    return name_partition(name_hash(call->kind, call->id), 8);
}

/* A NodeStatus: name is field 1, cluster_uid field 4. */
static enum fake_action tell_status(struct fake_member *m, struct rpc_reply *reply)
{
    int n = snprintf((char *)m->status, sizeof m->status, "\x0a%c%s\x22%c%s", (int)strlen(m->name),
                     m->name, (int)strlen(m->uid), m->uid);
    m->node_calls++;
    reply->results[0].payload = troupe_bytes(m->status, (size_t)n);
    return m->shy ? FAKE_SILENCE : FAKE_REPLY;
}

static void execute(struct fake_troop *t, const struct rpc_call *call)
{
    for (unsigned i = 0; i < t->seen_n; i++)
        if (call->sequence != 0 && t->seen[i] == call->sequence)
            return;
    if (t->seen_n < TROOP_SEEN_MAX)
        t->seen[t->seen_n++] = call->sequence;
    t->executed++;
}

static void name_owner(struct fake_member *m, unsigned pid, struct rpc_result *result)
{
    const struct fake_member *owner = &m->troop->members[m->troop->owners[pid]];
    memcpy(m->told[pid], owner->address, sizeof owner->address);
    m->owner[pid] = (struct rpc_owner){
        .node = troupe_bytes_of(owner->name),
        .address = troupe_bytes_of(m->told[pid]),
        .epoch = m->troop->epochs[pid],
        .partitions = TROOP_PARTITIONS,
        .cluster_uid = troupe_bytes_of(UID),
    };
    result->owner = &m->owner[pid];
}

static void answer(struct fake_member *m, const struct rpc_call *call, bool refuse,
                   struct rpc_result *result)
{
    unsigned pid = pid_of(call);
    bool own = m->troop->owners[pid] == m->index;
    m->straight += own;
    m->forwards += !own;
    result->payload = call->payload;
    if (refuse) {
        result->status = TROUPE_UNAVAILABLE;
        result->message = troupe_bytes_of("not now");
    } else if (troupe_bytes_equal(call->method, troupe_bytes_of("fail"))) {
        result->status = TROUPE_FAILED_PRECONDITION;
        result->message = troupe_bytes_of("the slot is taken");
        result->version = 1;
    } else {
        execute(m->troop, call);
        result->version = 1;
    }
    if (!own)
        name_owner(m, pid, result);
}

static bool take_one(atomic_uint *n)
{
    if (*n == 0)
        return false;
    --*n;
    return true;
}

static enum fake_action handle(void *data, const struct rpc_request *request,
                               struct rpc_reply *reply)
{
    struct fake_member *m = data;
    if (troupe_bytes_equal(request->calls[0].kind, troupe_bytes_of("$node")))
        return tell_status(m, reply);
    m->requests++;
    if (m->silent)
        return FAKE_SILENCE;
    bool hang_up = take_one(&m->hang_ups), refuse = !hang_up && take_one(&m->unavailables);
    pthread_mutex_lock(&m->troop->mu);
    for (size_t i = 0; i < request->calls_n; i++)
        answer(m, &request->calls[i], refuse, &reply->results[i]);
    pthread_mutex_unlock(&m->troop->mu);
    return hang_up ? FAKE_HANG_UP : FAKE_REPLY;
}

void fake_troop_start(struct fake_troop *t, unsigned n)
{
    assert_true(n <= TROOP_NODES_MAX);
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->mu, NULL);
    t->n = n;
    for (unsigned pid = 0; pid < TROOP_PARTITIONS; pid++) {
        t->owners[pid] = (uint8_t)(pid % n);
        t->epochs[pid] = 1;
    }
    for (unsigned i = 0; i < n; i++) {
        struct fake_member *m = &t->members[i];
        m->troop = t;
        m->index = i;
        snprintf(m->name, sizeof m->name, "n%u", i);
        snprintf(m->uid, sizeof m->uid, "%s", UID);
        m->node = fake_node_start(0, NULL, handle, m);
        snprintf(m->address, sizeof m->address, "%s", fake_node_address(m->node));
    }
}

void fake_troop_stop(struct fake_troop *t)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->members[i].node != NULL)
            fake_node_stop(t->members[i].node);
    pthread_mutex_destroy(&t->mu);
}

void fake_troop_move(struct fake_troop *t, unsigned pid, unsigned to)
{
    pthread_mutex_lock(&t->mu);
    t->owners[pid] = (uint8_t)to;
    t->epochs[pid]++;
    pthread_mutex_unlock(&t->mu);
}

void fake_troop_advertise(struct fake_troop *t, unsigned i, const char *address)
{
    pthread_mutex_lock(&t->mu);
    snprintf(t->members[i].address, sizeof t->members[i].address, "%s", address);
    pthread_mutex_unlock(&t->mu);
}

unsigned fake_troop_pid(const char *id)
{
    return name_partition(name_hash(troupe_bytes_of("venue"), troupe_bytes_of(id)), 8);
}

unsigned fake_troop_owner(struct fake_troop *t, const char *id)
{
    pthread_mutex_lock(&t->mu);
    unsigned owner = t->owners[fake_troop_pid(id)];
    pthread_mutex_unlock(&t->mu);
    return owner;
}

unsigned fake_troop_forwards(struct fake_troop *t)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->n; i++)
        n += t->members[i].forwards;
    return n;
}
