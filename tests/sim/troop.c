/* See troop.h. */
#include "tests/sim/troop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/invariant.h"
#include "peer.pb-c.h"

enum troop_what { TROOP_FRAME, TROOP_STORE, TROOP_REQUEST, TROOP_PEER_ANSWER };

struct troop_event {
    struct troop_event *next;
    uint64_t at_ns;
    enum troop_what what;
    uint32_t node, run;
    struct runtime_frame *frame;
    struct store_request *store;
    struct troop_peer *peer;
    bool is_late;
};

/* A request on its way between two nodes, or from a client. */
struct troop_peer {
    struct runtime_request request;
    struct arena arena;
    struct rpc_request rpc;
    struct list link; /* in troop.peers */
    bool is_client;
    struct runtime_peer_request *of; /* NULL: a client's, or of a node that is no more */
    uint32_t from, from_run;
    uint32_t in;      /* the node that has it now, or TROOP_NODES_MAX */
    uint64_t done_ns; /* 0 = not yet */
};

static uint64_t store_clock(void *data)
{
    return ((const struct troop *)data)->now.wall_ms;
}

static struct store *open_store(struct troop *t)
{
    char errmsg[STORE_ERRMSG_BYTES];
    struct store *store;
    struct store_options options = {.url = "memory:", .cluster = "troop", .partitions = 256};
    int rc = store_open(&store, &options, errmsg);
    INVARIANT(rc == 0);
    store_memory_set_clock(store, store_clock, t);
    return store;
}

void troop_add_deposed(struct troop *t)
{
    t->deposed = open_store(t);
}

void troop_open(struct troop *t, const struct troupe_kind *const *kinds, size_t kinds_n)
{
    *t = (struct troop){.now = {.mono_ns = 1000 * TROOP_MS, .wall_ms = 1800000000000},
                        .kinds = kinds,
                        .kinds_n = kinds_n};
    t->store = open_store(t);
    list_init(&t->peers);
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        struct troop_node *n = &t->nodes[i];
        snprintf(n->name, sizeof n->name, "n%u", i);
        snprintf(n->address, sizeof n->address, "sim-%u:7700", i);
        snprintf(n->peer, sizeof n->peer, "sim-%u:7701", i);
        snprintf(n->gossip, sizeof n->gossip, "sim-%u:7702", i);
        n->weight = 1;
        n->wake_ns = UINT64_MAX;
    }
}

/* ---- events ---- */

static void push(struct troop *t, struct troop_event event)
{
    struct troop_event *e = malloc(sizeof *e), **at = &t->events;
    INVARIANT(e != NULL);
    *e = event;
    while (*at != NULL && (*at)->at_ns <= e->at_ns)
        at = &(*at)->next;
    e->next = *at;
    *at = e;
}

static uint32_t node_at(const char *address)
{
    unsigned n = TROOP_NODES_MAX;
    return sscanf(address, "sim-%u:", &n) == 1 && n < TROOP_NODES_MAX ? n : TROOP_NODES_MAX;
}

static bool can_reach(const struct troop *t, uint32_t from, uint32_t to)
{
    return to < TROOP_NODES_MAX && t->nodes[to].rt != NULL && !t->nodes[from].cut &&
           !t->nodes[to].cut;
}

static struct runtime_time time_of(const struct troop *t, uint32_t n)
{
    struct runtime_time now = t->now;
    now.mono_ns -= t->nodes[n].behind_ns;
    return now;
}

static void collect(struct troop *t, uint32_t n);

static void step(struct troop *t, uint32_t n, const struct runtime_event *event)
{
    runtime_step(t->nodes[n].rt, time_of(t, n), event);
    collect(t, n);
}

/* ---- what nodes want done ---- */

static void send_frames(struct troop *t, uint32_t n, struct runtime_frame *f)
{
    while (f != NULL) {
        struct runtime_frame *next = f->next;
        uint32_t to = node_at(f->address);
        if (f->redial || !can_reach(t, n, to))
            free(f);
        else
            push(t, (struct troop_event){.at_ns = t->now.mono_ns + TROOP_LATENCY_NS,
                                         .what = TROOP_FRAME,
                                         .node = to,
                                         .run = t->nodes[to].run,
                                         .frame = f});
        f = next;
    }
}

static void peer_fails(struct troop *t, uint32_t n, struct troop_peer *p, uint64_t at_ns, int error)
{
    p->of->error = error;
    push(t, (struct troop_event){.at_ns = at_ns,
                                 .what = TROOP_PEER_ANSWER,
                                 .node = n,
                                 .run = t->nodes[n].run,
                                 .peer = p});
}

/* Nodes speak bytes with each other: what one writes the other reads. */
static void copy_request(struct troop_peer *p, const struct rpc_request *rpc)
{
    const char *why;
    size_t size = rpc_request_size(rpc);
    uint8_t *bytes = malloc(size);
    INVARIANT(bytes != NULL);
    rpc_request_encode(rpc, bytes);
    int rc = rpc_request_decode(&p->arena, troupe_bytes(bytes, size), &p->rpc, &why);
    INVARIANT(rc == 0);
    free(bytes);
}

static struct troop_peer *peer_new(struct troop *t, const struct rpc_request *rpc)
{
    struct troop_peer *p = calloc(1, sizeof *p);
    INVARIANT(p != NULL);
    arena_init(&p->arena, 0, 0);
    copy_request(p, rpc);
    int rc = runtime_request_init(&p->request, &p->arena, &p->rpc);
    INVARIANT(rc == 0);
    p->request.data = p;
    p->in = TROOP_NODES_MAX;
    list_init(&p->link);
    list_push(&t->peers, &p->link);
    return p;
}

static void peer_free(struct troop_peer *p)
{
    list_remove(&p->link);
    arena_close(&p->arena);
    free(p);
}

/* Not those of the store, but the highest number that there is. */
static void lie_of_epochs(struct troop *t, uint32_t n, struct troop_peer *p)
{
    struct rpc_call *call = &p->rpc.calls[0];
    if (p->rpc.calls_n != 1 || !troupe_bytes_equal(call->kind, troupe_bytes_of("$peer")) ||
        !troupe_bytes_equal(call->method, troupe_bytes_of("given")))
        return;
    Troupe__Peer__Given *given =
        troupe__peer__given__unpack(NULL, call->payload.len, call->payload.data);
    INVARIANT(given != NULL);
    for (size_t i = 0; i < given->n_partitions; i++)
        given->partitions[i]->epoch = UINT64_MAX;
    size_t len = troupe__peer__given__get_packed_size(given);
    uint8_t *bytes = arena_alloc(&p->arena, len);
    INVARIANT(bytes != NULL);
    troupe__peer__given__pack(given, bytes);
    call->payload = troupe_bytes(bytes, len);
    troupe__peer__given__free_unpacked(given, NULL);
    t->nodes[n].lies_of_epochs = false;
}

static bool is_take(const struct troop_peer *p)
{
    const struct rpc_call *call = &p->rpc.calls[0];
    return p->rpc.calls_n == 1 && troupe_bytes_equal(call->kind, troupe_bytes_of("$peer")) &&
           troupe_bytes_equal(call->method, troupe_bytes_of("take"));
}

/* A copy of it waits until the test lets it arrive. */
static void be_late(struct troop *t, uint32_t to, const struct troop_peer *p)
{
    struct troop_peer *copy = peer_new(t, &p->rpc);
    copy->request.from_peer = true;
    push(t, (struct troop_event){.at_ns = UINT64_MAX,
                                 .what = TROOP_REQUEST,
                                 .node = to,
                                 .run = t->nodes[to].run,
                                 .peer = copy,
                                 .is_late = true});
}

void troop_late_takes(struct troop *t)
{
    struct troop_event *late = NULL, **tail = &late;
    for (struct troop_event **at = &t->events, *e; (e = *at) != NULL;) {
        if (!e->is_late) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        e->next = NULL;
        *tail = e;
        tail = &e->next;
    }
    for (struct troop_event *e = late, *next; e != NULL; e = next) {
        next = e->next;
        e->at_ns = t->now.mono_ns;
        e->is_late = false;
        push(t, *e);
        free(e);
    }
}

static void send_peers(struct troop *t, uint32_t n, struct runtime_peer_request *r)
{
    while (r != NULL) {
        struct runtime_peer_request *next = r->next;
        struct troop_peer *p = peer_new(t, &r->rpc);
        uint32_t to = node_at(r->address);
        p->of = r;
        p->from = n;
        p->from_run = t->nodes[n].run;
        p->request.from_peer = true;
        snprintf(t->cluster_uid, sizeof t->cluster_uid, "%.*s", (int)r->rpc.cluster_uid.len,
                 (const char *)r->rpc.cluster_uid.data);
        if (t->nodes[n].lies_of_epochs)
            lie_of_epochs(t, n, p);
        bool late = t->nodes[n].loses_takes && is_take(p);
        if (late)
            be_late(t, to, p);
        if (late)
            peer_fails(t, n, p, t->now.mono_ns + TROOP_LATENCY_NS, TROUPE_EOUTCOME);
        else if (!can_reach(t, n, to))
            peer_fails(t, n, p, t->now.mono_ns + TROOP_LATENCY_NS, TROUPE_EUNAVAILABLE);
        else
            push(t, (struct troop_event){.at_ns = t->now.mono_ns + TROOP_LATENCY_NS,
                                         .what = TROOP_REQUEST,
                                         .node = to,
                                         .run = t->nodes[to].run,
                                         .peer = p});
        r = next;
    }
}

/* The next node has all that was asked for, at an epoch that no store gives out. */
static void lie_of_owner(struct troop *t, uint32_t n, struct troop_peer *p)
{
    struct rpc_owner *owner = arena_calloc(&p->arena, 1, sizeof *owner);
    INVARIANT(owner != NULL);
    owner->node = troupe_bytes_of(t->nodes[n + 1].name);
    owner->address = troupe_bytes_of(t->nodes[n + 1].address);
    owner->epoch = UINT64_MAX;
    owner->partitions = 256;
    for (size_t i = 0; i < p->request.reply.results_n; i++)
        p->request.reply.results[i] =
            (struct rpc_result){.status = TROUPE_UNAVAILABLE, .owner = owner};
    t->nodes[n].lies_of_owner = false;
}

static void take_replies(struct troop *t, uint32_t n, struct runtime_request *r)
{
    while (r != NULL) {
        struct runtime_request *next = r->next;
        struct troop_peer *p = r->data;
        p->done_ns = t->now.mono_ns;
        p->in = TROOP_NODES_MAX;
        if (p->of != NULL && t->nodes[n].lies_of_owner)
            lie_of_owner(t, n, p);
        if (p->of == NULL && !p->is_client)
            peer_free(p);
        else if (p->of != NULL && can_reach(t, n, p->from))
            peer_fails(t, p->from, p, t->now.mono_ns + TROOP_LATENCY_NS + t->answer_ns, 0);
        else if (p->of != NULL)
            peer_fails(t, p->from, p, p->of->deadline_ns + t->nodes[p->from].behind_ns,
                       TROUPE_EOUTCOME);
        r = next;
    }
}

static void done(struct store_request *request)
{
    (void)request;
}

static uint64_t delay_ns(const struct troop *t, const struct store_request *r)
{
    return r->op == STORE_LOAD       ? t->load_ns
           : r->op == STORE_OWNERS   ? t->owners_ns
           : r->op == STORE_TRANSFER ? t->transfer_ns
                                     : 0;
}

/* Takes effect at once; its answer comes later. */
static void send_store(struct troop *t, uint32_t n, struct store_request *r)
{
    while (r != NULL) {
        struct store_request *next = r->next;
        r->done = done;
        if (t->on_store != NULL)
            t->on_store(n, r);
        if (t->store_down || t->nodes[n].store_cut ||
            (t->nodes[n].saves_cut && r->op == STORE_SAVE)) {
            r->error = TROUPE_EUNAVAILABLE;
            snprintf(r->errmsg, sizeof r->errmsg, "down");
        } else {
            struct store *store = (t->nodes[n].misled >> r->op & 1) != 0 ? t->deposed : t->store;
            store_submit(store, r);
            store_memory_poll(store, SIZE_MAX);
            if ((t->nodes[n].doubtful >> r->op & 1) != 0) {
                r->error = TROUPE_EOUTCOME;
                snprintf(r->errmsg, sizeof r->errmsg, "the answer is lost");
            }
            if (t->nodes[n].unaware) { /* it takes all for the first server */
                r->server = 1;
                r->timeline = 0;
            }
        }
        push(t, (struct troop_event){.at_ns = t->now.mono_ns + TROOP_LATENCY_NS + delay_ns(t, r),
                                     .what = TROOP_STORE,
                                     .node = n,
                                     .run = t->nodes[n].run,
                                     .store = r});
        r = next;
    }
}

static void print_logs(const struct troop *t, const struct troop_node *n)
{
    for (size_t i = 0; t->trace && i < t->fx.logs_n; i++) {
        const struct runtime_log *l = &t->fx.logs[i];
        printf("%8" PRIu64 " %s %s", t->now.mono_ns / TROOP_MS, n->name, l->message);
        for (size_t k = 0; k < RUNTIME_LOG_FIELDS_MAX && l->fields[k].key != NULL; k++)
            printf(" %s=%s", l->fields[k].key, l->fields[k].value);
        printf("\n");
    }
}

static void redial(struct troop_node *node)
{
    node->redials++;
    if (node->redials_lead)
        node->misled = 0;
}

static void collect(struct troop *t, uint32_t n)
{
    struct troop_node *node = &t->nodes[n];
    runtime_collect(node->rt, time_of(t, n), &t->fx);
    print_logs(t, node);
    node->wake_ns =
        t->fx.wake_at_ns == UINT64_MAX ? UINT64_MAX : t->fx.wake_at_ns + node->behind_ns;
    node->phase = t->fx.phase;
    if (t->fx.redial)
        redial(node);
    send_store(t, n, t->fx.store);
    send_frames(t, n, t->fx.frames);
    send_peers(t, n, t->fx.peers);
    take_replies(t, n, t->fx.replies);
    if (node->phase == RUNTIME_STOPPED || node->phase == RUNTIME_FAILED)
        troop_crash(t, n);
}

/* ---- time ---- */

static void refuse(struct troop *t, struct troop_peer *p, enum troupe_status status)
{
    p->in = TROOP_NODES_MAX;
    p->request.reply =
        (struct rpc_reply){.status = (uint8_t)status, .message = troupe_bytes_of("so it was told")};
    peer_fails(t, p->from, p, t->now.mono_ns + TROOP_LATENCY_NS, 0);
}

static bool is_up(const struct troop *t, const char *name)
{
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (t->nodes[i].rt != NULL && strcmp(t->nodes[i].name, name) == 0)
            return true;
    }
    return false;
}

/* As the driver does it. */
static void judge_runs(const struct troop *t, const struct troop_node *n, struct store_request *r)
{
    if (r->op == STORE_REGISTER)
        r->u.reg.holder.fate = n->believes;
    for (size_t i = 0; r->op == STORE_RENEW && r->error == 0 && i < r->u.renew.others_n; i++) {
        struct store_node *other = &r->u.renew.others[i];
        if (!n->believes_own && (n->misjudges || !is_up(t, other->name)))
            other->fate = n->believes;
    }
}

static void deliver(struct troop *t, struct troop_event *e)
{
    bool there = t->nodes[e->node].rt != NULL && t->nodes[e->node].run == e->run;
    struct troop_peer *p = e->peer;
    switch (e->what) {
    case TROOP_FRAME:
        if (there)
            step(t, e->node,
                 &(struct runtime_event){.type = RUNTIME_FRAME,
                                         .u.frame = troupe_bytes(e->frame->bytes, e->frame->len)});
        free(e->frame);
        break;
    case TROOP_STORE:
        if (there)
            judge_runs(t, &t->nodes[e->node], e->store);
        if (there)
            step(t, e->node,
                 &(struct runtime_event){.type = RUNTIME_STORE_DONE, .u.store = e->store});
        break;
    case TROOP_REQUEST:
        t->forwarded += p->of != NULL;
        p->in = there ? e->node : TROOP_NODES_MAX;
        if (there && p->of != NULL && t->nodes[e->node].refuses != TROUPE_OK)
            refuse(t, p, t->nodes[e->node].refuses);
        else if (there)
            step(t, e->node,
                 &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &p->request});
        else if (p->of != NULL)
            peer_fails(t, p->from, p, t->now.mono_ns, TROUPE_EUNAVAILABLE);
        else if (!p->is_client)
            peer_free(p);
        break;
    case TROOP_PEER_ANSWER:
        if (there && p->of != NULL && t->nodes[e->node].run == p->from_run) {
            p->of->reply = p->request.reply;
            step(t, e->node, &(struct runtime_event){.type = RUNTIME_PEER_DONE, .u.peer = p->of});
        }
        peer_free(p);
        break;
    }
}

static uint32_t first_to_wake(const struct troop *t)
{
    uint32_t first = TROOP_NODES_MAX;
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (t->nodes[i].rt != NULL && !t->nodes[i].paused &&
            (first == TROOP_NODES_MAX || t->nodes[i].wake_ns < t->nodes[first].wake_ns))
            first = i;
    }
    return first;
}

static void move_to(struct troop *t, uint64_t ns)
{
    if (ns <= t->now.mono_ns)
        return;
    uint64_t wall_ns = (ns - 1000 * TROOP_MS) / TROOP_MS;
    t->now.mono_ns = ns;
    t->now.wall_ms = 1800000000000 + wall_ns;
}

/* The next thing, if it is due until then. */
static bool once(struct troop *t, uint64_t until_ns)
{
    uint32_t n = first_to_wake(t);
    uint64_t wake = n < TROOP_NODES_MAX ? t->nodes[n].wake_ns : UINT64_MAX;
    uint64_t event = t->events == NULL ? UINT64_MAX : t->events->at_ns;
    if (wake > until_ns && event > until_ns) {
        move_to(t, until_ns);
        return false;
    }
    if (event <= wake) {
        struct troop_event *e = t->events;
        t->events = e->next;
        move_to(t, e->at_ns);
        if (t->nodes[e->node].paused) {
            e->at_ns += 5 * TROOP_MS;
            push(t, *e);
        } else {
            deliver(t, e);
        }
        free(e);
        return true;
    }
    /* To be woken at once is for work that is done in slices; it must come to an end. */
    t->nodes[n].hasty = wake <= t->now.mono_ns ? t->nodes[n].hasty + 1 : 0;
    INVARIANT(t->nodes[n].hasty < TROOP_HASTY_MAX);
    move_to(t, wake > t->now.mono_ns ? wake : t->now.mono_ns + 10000);
    step(t, n, &(struct runtime_event){.type = RUNTIME_WAKE});
    return true;
}

void troop_run(struct troop *t, uint64_t ms)
{
    uint64_t until_ns = t->now.mono_ns + ms * TROOP_MS;
    while (once(t, until_ns))
        continue;
}

bool troop_until(struct troop *t, bool (*condition)(struct troop *t, uint32_t n), uint32_t n,
                 uint64_t ms)
{
    uint64_t until_ns = t->now.mono_ns + ms * TROOP_MS;
    while (!condition(t, n)) {
        if (!once(t, until_ns))
            return condition(t, n);
    }
    return true;
}

/* ---- nodes ---- */

void troop_start(struct troop *t, uint32_t n)
{
    struct troop_node *node = &t->nodes[n];
    char errmsg[STORE_ERRMSG_BYTES];
    struct runtime_config config = {
        .name = node->name,
        .cluster = "troop",
        .address = node->address,
        .gossip_address = node->gossip,
        .peer_address = node->peer,
        .weight = node->weight,
        .incarnation = ++t->incarnation,
        .seed = 1000 + t->incarnation,
        .partitions = 256,
        .kinds = node->kinds != NULL ? node->kinds : t->kinds,
        .kinds_n = node->kinds != NULL ? node->kinds_n : t->kinds_n,
        .members_max = node->members_max == 0 ? 64 : node->members_max,
        .outage_grace_ms = node->outage_grace_ms,
        .outage_fence = node->outage_fence,
        .lease_ttl_ms = node->lease_ttl_ms,
        .handoff_bytes_per_s = t->handoff_bytes_per_s,
        .warm_entities_max = t->warm_entities_max,
        .warm_off = t->warm_off,
        .entities_max = t->entities_max,
        .load_keys_max = t->load_keys_max,
        .loads_in_flight_max = t->loads_in_flight_max,
    };
    INVARIANT(node->rt == NULL);
    int rc = runtime_open(&node->rt, &config, errmsg);
    INVARIANT(rc == 0);
    node->run++;
    step(t, n, &(struct runtime_event){.type = RUNTIME_WAKE});
}

void troop_stop(struct troop *t, uint32_t n)
{
    step(t, n, &(struct runtime_event){.type = RUNTIME_STOP});
}

/* What a node that is killed had asked of others is not answered any more; what others had asked of
 * it breaks off. */
static void settle_peers(struct troop *t, uint32_t n)
{
    struct troop_node *node = &t->nodes[n];
    for (struct list *l = t->peers.next; l != &t->peers; l = l->next) {
        struct troop_peer *p = LIST_ENTRY(l, struct troop_peer, link);
        if (p->of != NULL && p->from == n && p->from_run == node->run) {
            p->of->error = TROUPE_EOUTCOME;
            runtime_step(node->rt, time_of(t, n),
                         &(struct runtime_event){.type = RUNTIME_PEER_DONE, .u.peer = p->of});
            p->of = NULL;
        }
    }
    for (struct list *l = t->peers.next, *next; l != &t->peers; l = next) {
        struct troop_peer *p = LIST_ENTRY(l, struct troop_peer, link);
        next = l->next;
        if (p->in != n)
            continue;
        p->in = TROOP_NODES_MAX;
        if (p->of != NULL)
            peer_fails(t, p->from, p, t->now.mono_ns + TROOP_LATENCY_NS, TROUPE_EOUTCOME);
    }
}

/* What it had on its way stays there; answers to it get lost. */
void troop_crash(struct troop *t, uint32_t n)
{
    struct troop_node *node = &t->nodes[n];
    for (struct troop_event *e = t->events; e != NULL; e = e->next) {
        if (e->what == TROOP_STORE && e->node == n && e->run == node->run)
            e->store = NULL; /* its memory goes with the runtime */
    }
    settle_peers(t, n);
    runtime_close(node->rt);
    node->rt = NULL;
    node->run++;
    node->wake_ns = UINT64_MAX;
}

static void nothing(void *data)
{
    (void)data;
}

void troop_close(struct troop *t)
{
    for (uint32_t i = 0; i < TROOP_NODES_MAX; i++) {
        if (t->nodes[i].rt != NULL)
            troop_crash(t, i);
    }
    while (t->events != NULL) {
        struct troop_event *e = t->events;
        t->events = e->next;
        deliver(t, e);
        free(e);
    }
    while (!list_is_empty(&t->peers))
        peer_free(LIST_ENTRY(t->peers.next, struct troop_peer, link));
    struct store *stores[] = {t->store, t->deposed};
    for (size_t i = 0; i < sizeof stores / sizeof stores[0] && stores[i] != NULL; i++) {
        store_close(stores[i], nothing, NULL);
        store_memory_poll(stores[i], SIZE_MAX);
    }
}

void troop_stats(struct troop *t, uint32_t n, struct runtime_stats *stats)
{
    runtime_stats(t->nodes[n].rt, time_of(t, n), stats);
}

/* ---- calls ---- */

struct troop_peer *troop_begin(struct troop *t, uint32_t n, struct rpc_call *calls, size_t calls_n,
                               uint32_t timeout_ms)
{
    struct rpc_request rpc = {
        .timeout_ms = timeout_ms, .client = 77, .calls = calls, .calls_n = calls_n};
    if (t->as_node)
        rpc.cluster_uid = troupe_bytes_of(t->cluster_uid);
    struct troop_peer *p = peer_new(t, &rpc);
    p->is_client = true;
    p->request.from_peer = t->as_node;
    p->in = n;
    step(t, n, &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &p->request});
    return p;
}

const struct rpc_reply *troop_answered(const struct troop_peer *p)
{
    return p->done_ns == 0 ? NULL : &p->request.reply;
}

void troop_end(struct troop_peer *p)
{
    INVARIANT(p->done_ns != 0);
    peer_free(p);
}

void troop_send(struct troop *t, uint32_t n, const char *kind, const char *id, const char *method,
                uint64_t sequence, uint32_t timeout_ms)
{
    struct rpc_call call = {.kind = troupe_bytes_of(kind),
                            .id = troupe_bytes_of(id),
                            .method = troupe_bytes_of(method),
                            .sequence = sequence};
    troop_begin(t, n, &call, 1, timeout_ms);
}

struct troop_answer troop_call(struct troop *t, uint32_t n, const char *kind, const char *id,
                               const char *method, struct troupe_bytes payload, uint64_t sequence,
                               uint32_t timeout_ms)
{
    static uint8_t kept[1 << 20];
    struct rpc_call call = {.kind = troupe_bytes_of(kind),
                            .id = troupe_bytes_of(id),
                            .method = troupe_bytes_of(method),
                            .payload = payload,
                            .sequence = sequence};
    uint64_t begun_ns = t->now.mono_ns;
    struct troop_peer *p = troop_begin(t, n, &call, 1, timeout_ms);
    while (p->done_ns == 0) {
        bool more = once(t, t->now.mono_ns + 3600000 * TROOP_MS);
        INVARIANT(more);
    }
    const struct rpc_result *r = &p->request.reply.results[0];
    struct troop_answer answer = {.status = (enum troupe_status)r->status,
                                  .ack = (enum troupe_ack)r->ack,
                                  .took_ns = t->now.mono_ns - begun_ns};
    INVARIANT(r->payload.len <= sizeof kept);
    if (r->payload.len > 0)
        memcpy(kept, r->payload.data, r->payload.len);
    answer.payload = troupe_bytes(kept, r->payload.len);
    if (r->owner != NULL)
        snprintf(answer.owner, sizeof answer.owner, "%.*s", (int)r->owner->node.len,
                 (const char *)r->owner->node.data);
    snprintf(answer.message, sizeof answer.message, "%.*s", (int)r->message.len,
             (const char *)r->message.data);
    if (t->trace && r->status != TROUPE_OK)
        printf("%s/%s %s at %s: %d %.*s\n", kind, id, method, t->nodes[n].name, r->status,
               (int)r->message.len, (const char *)r->message.data);
    peer_free(p);
    return answer;
}
