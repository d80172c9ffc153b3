/* The network, and the ports at its ends: gossip frames, requests to nodes, their answers. What
 * travels as a request or an answer is encoded and decoded again, as on a real wire. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/mutant_wire.h"
#include "tests/sim/cluster/world.h"

enum {
    LATE_MS_MAX = 2000,
    RESET_MS_MAX = 50,
    STRAY_MS_MAX = 8000,
    SETTLE_S = 3600,
    SETTLE_ROUNDS_MAX = 100
};

/* A request on its way to a node, or being worked on there, or its answer on the way back. */
struct exchange {
    struct list all;   /* w->exchanges */
    struct list held;  /* of the run that works on it */
    struct list asked; /* of the run that asks; for peers */
    struct world *w;
    struct runtime_request request;
    struct arena arena;
    struct rpc_request rpc;
    ports_answered_cb answered; /* it is a client's, or … */
    void *data;
    uint64_t ticket;
    struct run *asker; /* … a node's */
    struct runtime_peer_request *peer;
    uint32_t to, refs;
    bool sent_back;                  /* an answer, or a reset, is on its way back */
    int error;                       /* of a reset */
    uint64_t arrived_ns, let_out_ns; /* collected with an answer */
};

/* ---- how long, and whether ---- */

/* False: it does not arrive. from or to NODES_MAX: a client. */
static bool carry(struct world *w, uint32_t from, uint32_t to, uint64_t *at_ns)
{
    if (from < NODES_MAX && to < NODES_MAX && w->cut[from][to])
        return false;
    *at_ns = w->now_ns + w->latency_ns + dice_below(&w->dice, w->jitter_ns + 1);
    if (world_chance(w, w->late_per_mille))
        *at_ns += dice_below(&w->dice, LATE_MS_MAX) * WORLD_MS;
    return true;
}

/* ---- gossip ---- */

struct frame {
    struct list all;
    struct world *w;
    uint32_t from, to, len;
    uint64_t from_run;
    uint8_t bytes[];
};

static void frame_free(struct frame *f)
{
    list_remove(&f->all);
    free(f);
}

static void refused(struct world *w, void *data)
{
    struct frame *f = data;
    struct node *n = &w->nodes[f->from];
    if (n->run == NULL || n->run->number != f->from_run) {
        frame_free(f);
    } else if (node_is_paused(n)) {
        world_at(w, n->paused_until_ns, refused, f);
    } else {
        struct runtime_event event = {.type = RUNTIME_EVIDENCE,
                                      .u.address = w->nodes[f->to].gossip};
        frame_free(f);
        run_step(n->run, &event);
    }
}

static void frame_arrives(struct world *w, void *data)
{
    struct frame *f = data;
    struct node *n = &w->nodes[f->to];
    uint64_t at;
    if (n->run == NULL) {
        if (world_chance(w, 500) && carry(w, f->to, f->from, &at))
            world_at(w, at, refused, f);
        else
            frame_free(f);
    } else if (node_is_paused(n)) {
        world_at(w, n->paused_until_ns, frame_arrives, f);
    } else {
        struct runtime_event event = {.type = RUNTIME_FRAME, .u.frame = {f->bytes, f->len}};
        run_step(n->run, &event);
        frame_free(f);
    }
}

static void send_frame(struct run *from, const struct runtime_frame *frame)
{
    struct world *w = from->node->w;
    struct node *to = node_by_address(w, frame->address);
    uint64_t at;
    if (frame->redial || to == NULL || world_chance(w, w->loss_per_mille) ||
        !carry(w, from->node->index, to->index, &at))
        return;
    struct frame *f = malloc(sizeof *f + frame->len);
    INVARIANT(f != NULL);
    *f = (struct frame){.w = w,
                        .from = from->node->index,
                        .from_run = from->number,
                        .to = to->index,
                        .len = frame->len};
    memcpy(f->bytes, frame->bytes, frame->len);
    list_init(&f->all);
    list_push(&w->frames, &f->all);
    world_at(w, at, frame_arrives, f);
}

void ports_drop_frames(struct runtime_frame *frames)
{
    for (struct runtime_frame *f = frames, *next; f != NULL; f = next) {
        next = f->next;
        free(f);
    }
}

void ports_send_frames(struct run *from, struct runtime_frame *frames)
{
    struct world *w = from->node->w;
    uint64_t now = node_time(from->node).mono_ns;
    for (struct runtime_frame *f = frames; f != NULL; f = f->next) {
        if (!f->redial && f->expires_ns < now)
            continue;
        send_frame(from, f);
        if (world_chance(w, w->twice_per_mille))
            send_frame(from, f);
    }
    ports_drop_frames(frames);
}

/* ---- exchanges ---- */

static struct exchange *exchange_new(struct world *w, uint32_t to, const struct rpc_request *rpc)
{
    struct exchange *x = calloc(1, sizeof *x);
    INVARIANT(x != NULL);
    arena_init(&x->arena, 1024, 0);
    x->w = w;
    x->to = to;
    list_init(&x->held);
    list_init(&x->asked);
    list_init(&x->all);
    list_push(&w->exchanges, &x->all);
    size_t size = rpc_request_size(rpc);
    uint8_t *bytes = arena_alloc(&x->arena, size);
    const char *why;
    INVARIANT(bytes != NULL);
    rpc_request_encode(rpc, bytes);
    int rc = rpc_request_decode(&x->arena, troupe_bytes(bytes, size), &x->rpc, &why);
    INVARIANT(rc == 0);
    x->request.data = x;
    return x;
}

static void exchange_unref(struct exchange *x)
{
    if (--x->refs > 0)
        return;
    if (x->peer != NULL) { /* its asker is dead, and will be settled with */
        x->peer->next = x->asker->unsettled;
        x->asker->unsettled = x->peer;
    }
    list_remove(&x->all);
    list_remove(&x->held);
    list_remove(&x->asked);
    arena_close(&x->arena);
    free(x);
}

static void exchange_at(struct exchange *x, uint64_t at_ns, agenda_cb happen)
{
    x->refs++;
    world_at(x->w, at_ns, happen, x);
}

static uint32_t asker_of(const struct exchange *x)
{
    return x->answered != NULL ? NODES_MAX : x->asker->node->index;
}

/* A request of another node is over; the asker's part. */
static void peer_done(struct exchange *x, int error)
{
    struct runtime_peer_request *peer = x->peer;
    struct run *asker = x->asker;
    x->peer = NULL;
    list_remove(&x->asked);
    error = mutant_outcome(x->w, peer, error);
    peer->error = error;
    if (error == 0) {
        size_t size = rpc_reply_size(&x->request.reply);
        uint8_t *bytes = arena_alloc(&x->arena, size);
        const char *why;
        INVARIANT(bytes != NULL);
        rpc_reply_encode(&x->request.reply, bytes);
        int rc = rpc_reply_decode(peer->arena, troupe_bytes(bytes, size), &peer->reply, &why);
        INVARIANT(rc == 0);
    }
    run_step(asker, &(struct runtime_event){.type = RUNTIME_PEER_DONE, .u.peer = peer});
}

static bool is_awaited(const struct exchange *x)
{
    return x->peer != NULL && !x->asker->dead;
}

static void answer_arrives(struct world *w, void *data)
{
    struct exchange *x = data;
    if (x->answered != NULL) {
        if (x->error == 0)
            x->answered(x->data, x->ticket, &x->request.reply, x->let_out_ns);
    } else if (is_awaited(x) && node_is_paused(x->asker->node)) {
        world_at(w, x->asker->node->paused_until_ns, answer_arrives, x);
        return;
    } else if (is_awaited(x)) {
        peer_done(x, x->error);
    }
    exchange_unref(x);
}

static void deadline(struct world *w, void *data)
{
    struct exchange *x = data;
    if (is_awaited(x) && node_is_paused(x->asker->node)) {
        world_at(w, x->asker->node->paused_until_ns, deadline, x);
        return;
    }
    if (is_awaited(x))
        peer_done(x, TROUPE_EOUTCOME);
    exchange_unref(x);
}

/* error: 0, or why the request has come to nothing. */
static void send_back(struct exchange *x, int error)
{
    struct world *w = x->w;
    uint64_t at;
    x->error = error;
    if (x->sent_back || !carry(w, x->to, asker_of(x), &at) ||
        (x->answered != NULL && world_chance(w, w->loss_per_mille)))
        return;
    x->sent_back = true;
    exchange_at(x, at, answer_arrives);
}

static void request_arrives(struct world *w, void *data)
{
    struct exchange *x = data;
    struct node *n = &w->nodes[x->to];
    if (n->run == NULL) {
        send_back(x, TROUPE_EUNAVAILABLE);
        exchange_unref(x);
        return;
    }
    if (node_is_paused(n)) {
        world_at(w, n->paused_until_ns, request_arrives, x);
        return;
    }
    x->arrived_ns = w->now_ns;
    mutant_arrived(w, &x->arena, &x->rpc);
    int rc = runtime_request_init(&x->request, &x->arena, &x->rpc);
    INVARIANT(rc == 0);
    x->request.from_peer = x->answered == NULL;
    list_push(&n->run->held, &x->held); /* with the agenda's reference */
    run_step(n->run, &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = &x->request});
}

void ports_ask(struct world *w, uint32_t node, const struct rpc_request *rpc,
               ports_answered_cb answered, void *data, uint64_t ticket)
{
    uint64_t at;
    struct exchange *x = exchange_new(w, node, rpc);
    x->answered = answered;
    x->data = data;
    x->ticket = ticket;
    carry(w, NODES_MAX, node, &at);
    exchange_at(x, at, request_arrives);
}

static void reset(struct world *w, void *data)
{
    struct exchange *x = data;
    if (is_awaited(x) && node_is_paused(x->asker->node)) {
        world_at(w, x->asker->node->paused_until_ns, reset, x);
        return;
    }
    if (is_awaited(x))
        peer_done(x, TROUPE_EOUTCOME);
    exchange_unref(x);
}

/* The link breaks under a request: its sender is told at once that nobody knows; it has got there,
 * or does so much later, perhaps after a second copy that took another way, or never. */
static void break_link(struct exchange *x, uint64_t *at)
{
    struct world *w = x->w;
    exchange_at(x, w->now_ns + dice_below(&w->dice, RESET_MS_MAX * WORLD_MS), reset);
    switch (dice_below(&w->dice, 3)) {
    case 0:
        *at = UINT64_MAX;
        break;
    case 1:
        *at += world_while(w, STRAY_MS_MAX * WORLD_MS);
        break;
    default:
        break;
    }
}

/* One connection from each run to each node: what leaves first arrives first. */
static uint64_t in_order(struct world *w, const struct run *from, uint32_t to, uint64_t at)
{
    struct link *link = &w->links[from->node->index][to];
    if (link->run != from->number)
        *link = (struct link){.run = from->number};
    link->last_ns = at > link->last_ns ? at : link->last_ns + 1;
    return link->last_ns;
}

void ports_send_peers(struct run *from, struct runtime_peer_request *peers)
{
    struct world *w = from->node->w;
    for (struct runtime_peer_request *p = peers, *next; p != NULL; p = next) {
        next = p->next;
        struct node *to = node_by_address(w, p->address);
        INVARIANT(to != NULL);
        struct exchange *x = exchange_new(w, to->index, &p->rpc);
        x->asker = from;
        x->peer = p;
        list_push(&from->asked, &x->asked);
        uint64_t at, end = p->deadline_ns - from->node->mono_base_ns;
        exchange_at(x, end < w->now_ns ? w->now_ns : end, deadline);
        if (!carry(w, from->node->index, to->index, &at))
            continue;
        if (world_chance(w, w->break_per_mille))
            break_link(x, &at);
        else
            at = in_order(w, from, to->index, at);
        if (at != UINT64_MAX)
            exchange_at(x, at, request_arrives);
    }
}

/* ---- answers ---- */

void ports_let_out(struct run *run, struct runtime_request *replies)
{
    for (struct runtime_request *r = replies; r != NULL; r = r->next) {
        struct exchange *x = r->data;
        x->let_out_ns = run->node->w->now_ns;
        judge_executed(run, r, x->arrived_ns);
    }
}

void ports_reply(struct run *run, struct runtime_request *replies)
{
    struct world *w = run->node->w;
    for (struct runtime_request *r = replies, *next; r != NULL; r = next) {
        next = r->next;
        struct exchange *x = r->data;
        for (size_t i = 0; i < r->reply.results_n; i++)
            world_note(w, r->reply.results[i].status + r->reply.results[i].version * 31);
        list_remove(&x->held);
        send_back(x, 0);
        exchange_unref(x);
    }
}

/* Its connections are reset: those who wait for it are told, soon. Nobody waits for what it has
 * asked. */
void ports_forget(struct run *run)
{
    struct world *w = run->node->w;
    for (struct list *l = run->held.next; l != &run->held; l = l->next) {
        struct exchange *x = LIST_ENTRY(l, struct exchange, held);
        if (x->answered == NULL && world_chance(w, 700))
            send_back(x, TROUPE_EOUTCOME);
    }
}

/* What the run has asked of others is its memory, which it frees when it is told the outcome: so it
 * is, after its end, at a time when nothing of it is worth another try. */
void ports_settle(struct run *run)
{
    struct runtime_time late = node_time(run->node);
    late.mono_ns += SETTLE_S * WORLD_S;
    late.wall_ms += SETTLE_S * 1000;
    struct runtime_peer_request *peers = run->unperformed ? run->fx.peers : NULL;
    if (run->unperformed)
        ports_drop_frames(run->fx.frames);
    run->unperformed = false;
    for (struct runtime_peer_request *p; (p = run->unsettled) != NULL;) {
        run->unsettled = p->next;
        p->next = peers;
        peers = p;
    }
    while (!list_is_empty(&run->asked)) {
        struct exchange *x = LIST_ENTRY(run->asked.next, struct exchange, asked);
        list_remove(&x->asked);
        x->peer->next = peers;
        peers = x->peer;
        x->peer = NULL;
    }
    for (int round = 0; round == 0 || (peers != NULL && round < SETTLE_ROUNDS_MAX); round++) {
        for (struct runtime_peer_request *p = peers, *next; p != NULL; p = next) {
            next = p->next;
            p->error = TROUPE_EOUTCOME;
            runtime_step(run->rt, late,
                         &(struct runtime_event){.type = RUNTIME_PEER_DONE, .u.peer = p});
        }
        struct runtime_effects fx;
        runtime_collect(run->rt, late, &fx);
        ports_drop_frames(fx.frames);
        peers = fx.peers;
    }
    runtime_step(run->rt, late, &(struct runtime_event){.type = RUNTIME_WAKE});
}

/* The runtime is gone, and with it whatever pointed into the requests that it worked on. */
void ports_bury(struct run *run)
{
    while (!list_is_empty(&run->held)) {
        struct exchange *x = LIST_ENTRY(run->held.next, struct exchange, held);
        list_remove(&x->held);
        exchange_unref(x);
    }
}

void ports_close(struct world *w)
{
    while (!list_is_empty(&w->frames))
        frame_free(LIST_ENTRY(w->frames.next, struct frame, all));
    while (!list_is_empty(&w->exchanges)) {
        struct exchange *x = LIST_ENTRY(w->exchanges.next, struct exchange, all);
        x->refs = 1;
        exchange_unref(x);
    }
}
