/* Clients: each has one call under way at a time, and tries again with the same request id until it
 * knows, or gives up. Some never try again, and take the first answer for the truth: what they are
 * told was not done must not have been. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/name.h"
#include "gigbook.pb-c.h"
#include "slot.h"
#include "tests/sim/cluster/batches.h"
#include "tests/sim/cluster/ledger.h"
#include "tests/sim/cluster/world.h"

enum {
    KEY_OPS = 26, /* then it is judged, and another one taken */
    THINK_MS_MAX = 150,
    PAUSE_MS_MAX = 300, /* before another attempt */
    RETRIED_MS_MAX = 4000,
    ONCE_MS_MAX = 20000,
    GIVE_UP_MS = 25000,
    SLACK_MS = 500, /* an answer may be so much later than its deadline */
    PAYLOAD_BYTES_MAX = 128,
    USERS_N = 5,
    LATE_COPY_MS_MAX = 15000,
    CLOCKS_AGREE_MS = 60000, /* a node takes ids of clocks that are no further off */
    STOPS_EACH = 8,          /* of so many calls one lets the entity stop */
};

_Static_assert((int)KEY_OPS <= (int)HISTORY_OPS_MAX, "they are one history");

static const uint64_t OF_A_CLIENT = UINT64_C(1) << 63; /* in its id; batches' have it not */
static const uint32_t FIRST_SLOT = 30000000;
static const char *const ledger_methods[] = {"read", "write", "put", "cas", "bump"};

static void next_op(struct world *w, void *data);
static void attempt(struct world *w, void *data);
static void answered(void *data, uint64_t ticket, const struct rpc_reply *reply,
                     uint64_t let_out_ns);

/* ---- ledgers ---- */

static struct key *key_new(struct world *w)
{
    struct key *key = calloc(1, sizeof *key);
    INVARIANT(key != NULL);
    key->number = ++w->keys_made;
    snprintf(key->id, sizeof key->id, "k%u", key->number);
    key->pid = name_partition(name_hash(troupe_bytes_of("ledger"), troupe_bytes_of(key->id)),
                              PARTITION_BITS);
    key->born_ns = w->now_ns;
    key->watch.pid = key->pid;
    return key;
}

/* A ledger that takes one more call; NULL: the one drawn has to be waited for. */
static struct key *key_draw(struct world *w)
{
    struct key **key = &w->keys[dice_below(&w->dice, KEYS_N)];
    if ((*key)->history.ops_n < KEY_OPS)
        return *key;
    if ((*key)->out > 0)
        return NULL;
    judge_key(w, *key);
    failover_forget(&(*key)->watch);
    free(*key);
    *key = key_new(w);
    return *key;
}

static uint8_t draw_method(struct world *w)
{
    static const uint8_t share[LEDGER_METHODS] = {[LEDGER_READ] = 40,
                                                  [LEDGER_WRITE] = 25,
                                                  [LEDGER_PUT] = 15,
                                                  [LEDGER_CAS] = 10,
                                                  [LEDGER_BUMP] = 10};
    uint64_t at = dice_below(&w->dice, 100);
    uint8_t method = 0;
    for (; at >= share[method]; method++)
        at -= share[method];
    return method;
}

bool clients_begin_ledger(struct world *w, struct ledger_op *l)
{
    struct key *key = key_draw(w);
    if (key == NULL)
        return false;
    *l = (struct ledger_op){.key = key, .op = key->history.ops_n++, .method = draw_method(w)};
    key->out++;
    l->ack = l->method == LEDGER_BUMP || dice_below(&w->dice, 6) == 0 ? TROUPE_ACK_DURABLE
                                                                      : TROUPE_ACK_MEMORY;
    key->history.ops[l->op] = (struct history_op){
        .begin_ns = w->now_ns,
        .end_ns = UINT64_MAX,
        .token = ++w->tokens,
        .expected = key->last_value,
        .method = l->method,
        .binds = l->ack == TROUPE_ACK_DURABLE || l->method == LEDGER_PUT || l->method == LEDGER_CAS,
    };
    return true;
}

static bool begin_ledger(struct client *c)
{
    struct ledger_op l;
    if (!clients_begin_ledger(c->w, &l))
        return false;
    c->key = l.key;
    c->op = l.op;
    c->method = l.method;
    c->ack = l.ack;
    return true;
}

/* ---- bookings ---- */

static void begin_booking(struct client *c)
{
    struct world *w = c->w;
    c->key = NULL;
    c->venue = (uint32_t)dice_below(&w->dice, VENUES_N);
    c->slot = (uint32_t)dice_below(&w->dice, SLOTS_N);
    c->reference = ++w->references;
    c->ack = TROUPE_ACK_DURABLE;
    c->creates = !w->created[c->venue];
    c->lists = !c->creates && dice_below(&w->dice, 10) == 0;
}

static size_t pack(const ProtobufCMessage *message, uint8_t out[PAYLOAD_BYTES_MAX])
{
    INVARIANT(protobuf_c_message_get_packed_size(message) <= PAYLOAD_BYTES_MAX);
    return protobuf_c_message_pack(message, out);
}

static size_t pack_booking(const struct client *c, uint8_t out[PAYLOAD_BYTES_MAX])
{
    if (c->lists)
        return 0;
    if (c->creates) {
        Gigbook__CreateVenueRequest r = GIGBOOK__CREATE_VENUE_REQUEST__INIT;
        char name[] = "Ordino", country[] = "AD";
        r.name = name;
        r.country = country;
        return pack(&r.base, out);
    }
    Gigbook__BookRequest r = GIGBOOK__BOOK_REQUEST__INIT;
    char slot[SLOT_TEXT_LEN + 1], user[16], reference[16];
    slot_format(FIRST_SLOT + c->slot, slot);
    snprintf(user, sizeof user, "%u", c->reference % USERS_N);
    snprintf(reference, sizeof reference, "r%u", c->reference);
    r.slot = slot;
    r.user = user;
    r.reference = reference;
    return pack(&r.base, out);
}

/* Everything that was acknowledged, when the list was asked for, must be in it. */
static void look_at_list(struct client *c, struct troupe_bytes payload)
{
    struct world *w = c->w;
    Gigbook__VenueBookingsResponse *list =
        gigbook__venue_bookings_response__unpack(NULL, payload.len, payload.data);
    if (list == NULL) {
        world_fail(w, "the bookings of venue/%u cannot be read", c->venue);
        return;
    }
    for (uint32_t slot = 0; slot < SLOTS_N; slot++) {
        const struct booking *b = &w->bookings[c->venue][slot];
        bool found = b->reference == 0 || b->acked_ns >= c->begun_ns;
        char reference[16];
        snprintf(reference, sizeof reference, "r%u", b->reference);
        for (size_t i = 0; i < list->n_bookings; i++)
            found |= strcmp(list->bookings[i]->reference, reference) == 0;
        if (!found)
            world_fail(w, "venue/%u has forgotten booking %s of slot %u", c->venue, reference,
                       slot);
    }
    gigbook__venue_bookings_response__free_unpacked(list, NULL);
}

/* let_out_ns: what was let out before a failover's loss showed is not there any more. */
static void booked(struct client *c, const struct rpc_result *result, uint64_t let_out_ns)
{
    struct world *w = c->w;
    struct booking *b = &w->bookings[c->venue][c->slot];
    if (c->in_overlap || let_out_ns <= w->venues[c->venue].lost_ns)
        return;
    if (c->lists) {
        look_at_list(c, result->payload);
        return;
    }
    if (result->ack != TROUPE_ACK_DURABLE)
        world_fail(w, "venue/%u: acknowledged, but not as durable", c->venue);
    if (c->creates) {
        w->created[c->venue] = true;
        return;
    }
    if (b->reference != 0)
        world_fail(w, "slot %u of venue/%u is booked as r%u and as r%u", c->slot, c->venue,
                   b->reference, c->reference);
    *b = (struct booking){.reference = c->reference, .acked_ns = w->now_ns};
    w->stats.booked++;
}

/* ---- request ids ---- */

static uint64_t clock_of(const struct client *c)
{
    return UINT64_C(1800000000000) + c->w->now_ns / WORLD_MS + (uint64_t)c->clock_ms;
}

static void draw_id(struct client *c)
{
    uint64_t by_clock = clock_of(c) << RPC_SEQUENCE_COUNTER_BITS;
    c->last = (c->last < by_clock ? by_clock : c->last) + 1;
    c->sequence = c->last;
}

/* A new one of its own: nobody else's, and its number is in it. */
static uint64_t client_id(const struct client *c)
{
    return OF_A_CLIENT | (dice_throw(&c->w->dice) << 8 & ~OF_A_CLIENT) | c->number;
}

/* Somebody else sits down at it, perhaps one whose clock is wrong. */
static void become_another(struct client *c)
{
    static const int64_t wrong_ms[] = {86400000, -86400000, 1200000, -1200000, 50000, -50000, 3000};
    struct world *w = c->w;
    size_t kinds = sizeof wrong_ms / sizeof wrong_ms[0];
    c->id = client_id(c);
    c->clock_ms = dice_below(&w->dice, 4) == 0 ? wrong_ms[dice_below(&w->dice, kinds)] : 0;
    c->last = 0;
}

/* As libtroupe does: the node's clock from now on, and another number if it has to go back. */
static void learn_clock(struct client *c, uint64_t from)
{
    uint64_t ms = from >> RPC_SEQUENCE_COUNTER_BITS;
    if (c->last > from)
        c->id = client_id(c);
    c->clock_ms += (int64_t)(ms - clock_of(c));
    c->last = from;
}

_Static_assert((int)LEDGER_PAYLOAD_BYTES <= (int)sizeof((struct late_copy *)0)->payload, "it fits");

static struct rpc_call ledger_call_of(const struct late_copy *copy)
{
    return (struct rpc_call){
        .kind = troupe_bytes_of("ledger"),
        .id = troupe_bytes_of(copy->key),
        .method = troupe_bytes_of(ledger_methods[copy->method]),
        .payload = troupe_bytes(copy->payload, LEDGER_PAYLOAD_BYTES),
        .ack = copy->ack,
        .sequence = copy->sequence,
    };
}

static void nobody_waits(void *data, uint64_t ticket, const struct rpc_reply *reply,
                         uint64_t let_out_ns)
{
    (void)data;
    (void)ticket;
    (void)reply;
    (void)let_out_ns;
}

static void copy_arrives(struct world *w, void *data)
{
    struct client *c = data;
    if (c->late_at_ns != w->now_ns)
        return;
    struct rpc_call call = ledger_call_of(&c->late);
    struct rpc_request rpc = {.timeout_ms = 5000,
                              .client = c->late.client,
                              .acked = c->late.acked,
                              .calls = &call,
                              .calls_n = 1};
    ports_ask(w, (uint32_t)dice_below(&w->dice, w->nodes_n), &rpc, nobody_waits, c, 0);
    c->late_at_ns = 0;
    w->stats.late_copies++;
}

/* The first attempt stands still somewhere, and comes when its retries, and perhaps the client's
 * next calls, have been answered. */
static void hold_a_copy(struct client *c, const struct rpc_request *rpc)
{
    struct world *w = c->w;
    if (c->key == NULL || !c->retries || c->late_at_ns != 0 || dice_below(&w->dice, 6) != 0)
        return;
    c->late = (struct late_copy){.client = rpc->client,
                                 .sequence = rpc->calls[0].sequence,
                                 .acked = rpc->acked,
                                 .ack = c->ack,
                                 .method = c->method};
    memcpy(c->late.key, c->key->id, sizeof c->late.key);
    memcpy(c->late.payload, rpc->calls[0].payload.data, LEDGER_PAYLOAD_BYTES);
    c->late_at_ns = w->now_ns + 1 + dice_below(&w->dice, LATE_COPY_MS_MAX * WORLD_MS);
    world_at(w, c->late_at_ns, copy_arrives, c);
    c->key->history.ops[c->op].again = true;
}

/* ---- attempts ---- */

static void rest(struct client *c, uint64_t ns, agenda_cb then)
{
    world_at(c->w, c->w->now_ns + ns, then, c);
}

static void finish(struct client *c)
{
    if (c->key != NULL)
        c->key->out--;
    c->busy = false;
    c->ticket++;
    if (!c->w->clients_rest)
        rest(c, WORLD_MS + world_while(c->w, THINK_MS_MAX * WORLD_MS), next_op);
}

static void give_up(struct client *c)
{
    c->w->stats.unknown++;
    world_trace(c->w, "client %u gives up", c->number);
    finish(c);
}

static void try_again(struct client *c)
{
    struct world *w = c->w;
    c->ticket++;
    if (!c->retries || w->now_ns >= c->give_up_ns) {
        give_up(c);
        return;
    }
    w->stats.retries++;
    c->attempt_ns = w->now_ns + 5 * WORLD_MS + dice_below(&w->dice, PAUSE_MS_MAX * WORLD_MS);
    world_at(w, c->attempt_ns, attempt, c);
}

static void no_answer(struct world *w, void *data)
{
    struct client *c = data;
    if (c->busy && c->waits_until_ns == w->now_ns)
        try_again(c);
}

static uint32_t draw_node(struct client *c)
{
    struct world *w = c->w;
    if (c->hint < w->nodes_n && dice_below(&w->dice, 10) != 0) {
        uint32_t hint = c->hint;
        c->hint = NODES_MAX;
        return hint;
    }
    uint32_t pid = c->key != NULL ? c->key->pid : PARTITIONS;
    if (pid < PARTITIONS && dice_below(&w->dice, 3) != 0)
        return w->owners[pid].node;
    return (uint32_t)dice_below(&w->dice, w->nodes_n);
}

void clients_ledger_call(struct world *w, const struct ledger_op *l, bool again, bool has_id,
                         uint8_t payload[LEDGER_PAYLOAD_BYTES], struct rpc_call *call)
{
    struct history_op *op = &l->key->history.ops[l->op];
    /* Also where a link breaks under it, and it is forwarded once more. */
    op->again = again || (has_id && group_is_on(w, GROUP_LINK_BREAKS));
    struct ledger_request r = {.token = op->token, .expected = op->expected};
    if (group_is_on(w, GROUP_STOPS) && op->token % STOPS_EACH == 0)
        r.flags = LEDGER_STOPS;
    _Static_assert(sizeof r == LEDGER_PAYLOAD_BYTES, "it is the payload");
    memcpy(payload, &r, sizeof r);
    call->kind = troupe_bytes_of("ledger");
    call->id = troupe_bytes_of(l->key->id);
    call->method = troupe_bytes_of(ledger_methods[l->method]);
    call->payload = troupe_bytes(payload, sizeof r);
}

static void attempt(struct world *w, void *data)
{
    struct client *c = data;
    if (!c->busy || c->attempt_ns != w->now_ns)
        return;
    char id[16];
    uint8_t payload[PAYLOAD_BYTES_MAX];
    struct rpc_call call = {.ack = c->ack, .sequence = c->sequence};
    uint64_t most_ms = c->retries ? RETRIED_MS_MAX : ONCE_MS_MAX;
    uint32_t timeout_ms = 300 + (uint32_t)dice_below(&w->dice, most_ms);
    struct rpc_request rpc = {
        .timeout_ms = timeout_ms, .client = c->id, .calls = &call, .calls_n = 1};
    if (c->number % 4 != 0) /* the others are of the protocol's first version */
        rpc.acked = c->sequence;
    if (c->key != NULL) {
        const struct ledger_op l = {.key = c->key, .op = c->op, .method = c->method};
        clients_ledger_call(w, &l, c->attempts > 0, c->retries, payload, &call);
        c->key->history.ops[c->op].again |= c->attempts > 0 || c->refused;
    } else {
        snprintf(id, sizeof id, "%u", c->venue);
        call.kind = troupe_bytes_of("venue");
        call.id = troupe_bytes_of(id);
        call.method = troupe_bytes_of(c->creates ? "create" : c->lists ? "bookings" : "book");
        call.payload = troupe_bytes(payload, pack_booking(c, payload));
    }
    if (c->attempts++ == 0)
        hold_a_copy(c, &rpc);
    c->waits_until_ns = w->now_ns + (timeout_ms + SLACK_MS) * WORLD_MS;
    uint32_t node = draw_node(c);
    if (w->trace_all)
        world_trace(w, "client %u: %.*s/%.*s %.*s to n%u, %u ms", c->number, (int)call.kind.len,
                    (const char *)call.kind.data, (int)call.id.len, (const char *)call.id.data,
                    (int)call.method.len, (const char *)call.method.data, node, timeout_ms);
    ports_ask(w, node, &rpc, answered, c, c->ticket);
    world_at(w, c->waits_until_ns, no_answer, c);
}

static void next_op(struct world *w, void *data)
{
    struct client *c = data;
    if (w->clients_rest || c->busy)
        return;
    c->retries = dice_below(&w->dice, 5) != 0;
    if (dice_below(&w->dice, 8) == 0) {
        begin_booking(c);
    } else if (!begin_ledger(c)) {
        rest(c, WORLD_MS * 10, next_op);
        return;
    }
    w->stats.ops++;
    c->busy = true;
    c->in_overlap = false;
    c->hint = NODES_MAX;
    c->attempts = 0;
    c->begun_ns = w->now_ns;
    c->give_up_ns = w->now_ns + GIVE_UP_MS * WORLD_MS;
    c->refused = false;
    c->sequence = 0;
    if (dice_below(&w->dice, 4) == 0)
        become_another(c);
    if (c->retries)
        draw_id(c);
    c->attempt_ns = w->now_ns;
    attempt(w, c);
}

/* ---- answers ---- */

void clients_ledger_done(struct world *w, const struct ledger_op *l, uint64_t run,
                         const struct rpc_result *result, uint64_t let_out_ns)
{
    struct history_op *op = &l->key->history.ops[l->op];
    struct ledger_reply reply;
    if (result->payload.len != sizeof reply) {
        world_fail(w, "ledger/%s answers with %zu bytes", l->key->id, result->payload.len);
        return;
    }
    memcpy(&reply, result->payload.data, sizeof reply);
    op->outcome = HISTORY_DONE;
    op->run = run;
    op->end_ns = let_out_ns;
    op->count = reply.count;
    op->value = reply.value;
    op->done = reply.done != 0;
    op->durable = result->ack == TROUPE_ACK_DURABLE;
    bool must = l->method == LEDGER_PUT || (l->method == LEDGER_CAS && op->done) ||
                l->ack == TROUPE_ACK_DURABLE;
    if (must && !op->durable && !w->failed)
        world_fail(w, "ledger/%s: %s was to be durable, and is acknowledged from memory",
                   l->key->id, ledger_methods[l->method]);
    l->key->last_value = reply.value;
}

bool clients_says_not_done(const struct rpc_result *result)
{
    static const char text[] = "not executed";
    return result->status == TROUPE_ABORTED ||
           (result->message.len >= sizeof text - 1 &&
            memcmp(result->message.data, text, sizeof text - 1) == 0);
}

static void not_done(struct client *c, const struct rpc_result *result)
{
    struct world *w = c->w;
    if (result->owner != NULL) {
        char address[32];
        snprintf(address, sizeof address, "%.*s", (int)result->owner->address.len,
                 (const char *)result->owner->address.data);
        const struct node *n = node_by_address(w, address);
        c->hint = n == NULL ? NODES_MAX : n->index;
    }
    if (!c->retries && c->key != NULL && c->attempts == 1 && clients_says_not_done(result)) {
        c->key->history.ops[c->op].outcome = HISTORY_REFUSED;
        w->stats.refused++;
        finish(c);
    } else {
        try_again(c);
    }
}

static void unexpected(struct client *c, const struct rpc_result *result)
{
    world_fail(c->w, "%s %s: %s: %.*s", c->key != NULL ? "ledger" : "venue",
               c->key != NULL ? c->key->id : "", troupe_status_name(result->status),
               (int)result->message.len, (const char *)result->message.data);
}

/* May be for its own clock only, and once; a later attempt may be too old to be told. */
static void id_refused(struct client *c, const struct rpc_result *result)
{
    struct world *w = c->w;
    bool own_copy = c->late_at_ns != 0 && c->late.sequence == c->sequence;
    if (c->attempts > 1 || own_copy || result->sequence_from == 0) {
        give_up(c);
        return;
    }
    bool right = c->clock_ms > -CLOCKS_AGREE_MS && c->clock_ms < CLOCKS_AGREE_MS;
    if (c->key != NULL && (right || c->refused)) {
        unexpected(c, result);
        return;
    }
    w->stats.ids_refused++;
    c->refused = true;
    learn_clock(c, result->sequence_from);
    draw_id(c);
    c->attempts = 0;
    c->ticket++;
    c->attempt_ns = w->now_ns + 5 * WORLD_MS;
    world_at(w, c->attempt_ns, attempt, c);
}

static void answered(void *data, uint64_t ticket, const struct rpc_reply *reply,
                     uint64_t let_out_ns)
{
    struct client *c = data;
    struct world *w = c->w;
    const struct rpc_result *result = &reply->results[0];
    if (!c->busy || c->ticket != ticket)
        return;
    c->waits_until_ns = 0;
    if (w->trace_all)
        world_trace(w, "client %u: %s %.*s", c->number, troupe_status_name(result->status),
                    (int)result->message.len, (const char *)result->message.data);
    switch ((enum troupe_status)result->status) {
    case TROUPE_OK:
        w->stats.acks++;
        w->stats.durable += result->ack == TROUPE_ACK_DURABLE;
        if (c->key == NULL)
            booked(c, result, let_out_ns);
        else if (!c->in_overlap) /* otherwise as good as no answer */
            clients_ledger_done(
                w,
                &(struct ledger_op){.key = c->key, .op = c->op, .method = c->method, .ack = c->ack},
                c->run, result, let_out_ns);
        finish(c);
        break;
    case TROUPE_UNAVAILABLE:
    case TROUPE_ABORTED:
    case TROUPE_UNKNOWN:
    case TROUPE_DEADLINE_EXCEEDED:
    case TROUPE_RESOURCE_EXHAUSTED:
        not_done(c, result);
        break;
    case TROUPE_OUT_OF_RANGE:
        id_refused(c, result);
        break;
    case TROUPE_ALREADY_EXISTS:
        if (c->key != NULL)
            unexpected(c, result);
        finish(c);
        break;
    case TROUPE_NOT_FOUND: /* a failover may lose a venue between the question and the answer */
        if (c->key != NULL || w->created[c->venue])
            unexpected(c, result);
        finish(c);
        break;
    default:
        unexpected(c, result);
    }
}

/* ---- */

void clients_told(struct world *w, uint64_t client, const struct store_key *key, uint64_t run)
{
    if ((client & OF_A_CLIENT) != 0)
        w->clients[client & 0xFF].run = run;
    else
        batches_told(w, client, key, run);
}

void clients_overlap(struct world *w, uint64_t client)
{
    if ((client & OF_A_CLIENT) != 0)
        w->clients[client & 0xFF].in_overlap = true;
    else
        batches_overlap(w, client);
}

void clients_begin_anew(struct world *w)
{
    for (uint32_t i = 0; i < CLIENTS_N; i++) {
        if (w->clients[i].busy)
            give_up(&w->clients[i]);
    }
}

void clients_open(struct world *w)
{
    for (uint32_t i = 0; i < KEYS_N; i++)
        w->keys[i] = key_new(w);
    for (uint32_t i = 0; i < CLIENTS_N; i++) {
        w->clients[i] = (struct client){.w = w, .number = i};
        become_another(&w->clients[i]);
        rest(&w->clients[i], dice_below(&w->dice, WORLD_S), next_op);
    }
}

void clients_close(struct world *w)
{
    for (uint32_t i = 0; i < KEYS_N; i++) {
        failover_forget(&w->keys[i]->watch);
        free(w->keys[i]);
    }
}

void clients_judge(struct world *w)
{
    for (uint32_t i = 0; i < KEYS_N && !w->failed; i++)
        judge_key(w, w->keys[i]);
}
