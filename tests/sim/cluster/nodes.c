/* Processes: the driver of a runtime, as node/shell is one, that can be interrupted anywhere. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/deposed.h"
#include "tests/sim/cluster/kinds.h"
#include "tests/sim/cluster/mutant_product.h"
#include "tests/sim/cluster/world.h"

enum {
    BATCH_US_MAX = 300,
    ENTITIES_MAX = 5,
    MONO_BASE_S_MIN = 10000, /* more than all standstills of a story together */
};

/* What a node logs about itself. */
static const char TAKES_NONE[] = "this node takes no partitions";
static const char TAKES_AGAIN[] = "this node has all kinds now";

struct runtime_time node_time(const struct node *n)
{
    uint64_t mono = n->w->now_ns + n->mono_base_ns;
    int64_t wall = (int64_t)(n->w->now_ns / WORLD_MS) + n->wall_offset_ms;
    if (n->w->mutant == MUTANT_NO_JUMP)
        wall = (int64_t)((mono - n->mono_first_ns) / WORLD_MS);
    return (struct runtime_time){.mono_ns = mono, .wall_ms = (uint64_t)(1800000000000 + wall)};
}

bool node_is_paused(const struct node *n)
{
    return n->w->now_ns < n->paused_until_ns;
}

struct node *node_by_address(struct world *w, const char *address)
{
    char *end;
    if (address[0] != 'n')
        return NULL;
    unsigned long index = strtoul(address + 1, &end, 10);
    return *end == ':' && index < w->nodes_n ? &w->nodes[index] : NULL;
}

void nodes_open(struct world *w, uint32_t nodes)
{
    INVARIANT(nodes < NODES_MAX);
    list_init(&w->exchanges);
    list_init(&w->frames);
    w->nodes_n = nodes + 1; /* the last place is the twin's */
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        struct node *n = &w->nodes[i];
        *n = (struct node){.w = w, .index = i, .is_twin = i == nodes};
        INVARIANT(i < NODES_MAX);
        snprintf(n->name, sizeof n->name, "n%u", n->is_twin ? 0 : i);
        snprintf(n->client, sizeof n->client, "n%u:7700", i);
        snprintf(n->peer, sizeof n->peer, "n%u:7701", i);
        snprintf(n->gossip, sizeof n->gossip, "n%u:7702", i);
        n->mono_base_ns = (MONO_BASE_S_MIN + dice_below(&w->dice, 100000)) * WORLD_S;
        n->mono_first_ns = n->mono_base_ns;
        n->wall_offset_ms = (int64_t)dice_below(&w->dice, 20000) - 10000;
        n->outage_grace_ms = OUTAGE_GRACE_MS >> dice_below(&w->dice, 2);
        n->outage_fence = dice_below(&w->dice, 6) == 0;
    }
}

/* An entity that was dropped while it was being loaded is freed when the load is done; with a
 * killed run that never is. */
TROUPE_API const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:entity__new\n";
}

/* Nothing of it is under way any more. */
static void bury(struct run *run)
{
    if (run->rt == NULL || !run->dead || run->flights > 0)
        return;
    ports_settle(run);
    runtime_close(run->rt);
    run->rt = NULL;
    ports_bury(run);
}

void nodes_bury(struct world *w)
{
    for (struct run *run = w->runs; run != NULL; run = run->next)
        bury(run);
}

void nodes_close(struct world *w)
{
    for (struct run *run = w->runs, *next; run != NULL; run = next) {
        next = run->next;
        if (run->rt == NULL)
            continue;
        run->dead = true;
        ports_settle(run);
        runtime_close(run->rt);
        run->rt = NULL;
    }
    ports_close(w);
    for (struct run *run = w->runs, *next; run != NULL; run = next) {
        next = run->next;
        free(run);
    }
}

/* ---- starting and stopping ---- */

static void wake(struct world *w, void *data);

void node_start(struct node *n)
{
    struct world *w = n->w;
    char errmsg[STORE_ERRMSG_BYTES], proof[32];
    struct run *run = calloc(1, sizeof *run);
    INVARIANT(n->run == NULL && run != NULL);
    run->node = n;
    run->number = ++w->runs_made;
    run->wake_ns = UINT64_MAX;
    list_init(&run->held);
    list_init(&run->asked);
    run->next = w->runs;
    w->runs = run;
    snprintf(proof, sizeof proof, "%" PRIu64, run->number);
    struct runtime_config config = {
        .name = n->name,
        .cluster = "sim",
        .address = n->client,
        .gossip_address = n->gossip,
        .peer_address = n->peer,
        .proof = proof,
        .incarnation = run->number,
        .seed = dice_throw(&w->dice),
        .partitions = PARTITIONS,
        .members_max = 32,
        .kinds = sim_kinds,
        .kinds_n = SIM_KINDS,
        .save_rows_max = 16,
        .load_keys_max = 16,
        .loads_in_flight_max = 2,
        .saves_in_flight_max = 2,
        .entities_max =
            group_is_on(w, GROUP_EVICTIONS) ? 1 + dice_below(&w->dice, ENTITIES_MAX) : 0,
        .outage_grace_ms = n->outage_grace_ms,
        .outage_fence = n->outage_fence,
    };
    /* At first all have all kinds, that they open. */
    run->lacks_a_kind = !w->quiet && run->number > w->nodes_n && group_is_on(w, GROUP_KINDS) &&
                        dice_below(&w->dice, 3) == 0;
    if (run->lacks_a_kind) {
        config.kinds = sim_kinds_few[dice_below(&w->dice, 2)];
        config.kinds_n = SIM_KINDS_FEW;
    }
    int rc = runtime_open(&run->rt, &config, errmsg);
    INVARIANT(rc == 0);
    n->run = run;
    w->stats.starts++;
    world_note(w, 0x57A7 + n->index);
    world_trace(w, "%s starts as run %" PRIu64, n->client, run->number);
    wake(w, run);
}

static void end(struct run *run)
{
    struct node *n = run->node;
    INVARIANT(n->run == run);
    n->run = NULL;
    n->paused_until_ns = n->interrupt_ns = 0;
    run->dead = true;
    disk_forget(run);
    ports_forget(run);
}

void node_kill(struct node *n)
{
    world_note(n->w, 0xDEAD0 + n->index);
    world_trace(n->w, "%s is killed (run %" PRIu64 ")", n->client, n->run->number);
    n->w->stats.crashes++;
    end(n->run);
}

void node_interrupt(struct node *n, enum stage stage, uint64_t ns)
{
    n->interrupt_at = stage;
    n->interrupt_ns = ns;
    n->interrupt_stands = false;
}

void node_stand_still(struct node *n, enum stage stage, uint64_t ns)
{
    node_interrupt(n, stage, ns);
    n->interrupt_stands = true;
}

void node_stop(struct node *n)
{
    world_trace(n->w, "%s is told to stop", n->client);
    n->run->stopping = true;
    run_step(n->run, &(struct runtime_event){.type = RUNTIME_STOP});
}

/* ---- stepping ---- */

static void schedule_wake(struct run *run)
{
    struct world *w = run->node->w;
    if (run->fx.wake_at_ns == UINT64_MAX)
        return;
    uint64_t soonest = w->now_ns + 10000; /* the loop has to come round */
    uint64_t at = run->fx.wake_at_ns <= run->node->mono_base_ns
                      ? soonest
                      : run->fx.wake_at_ns - run->node->mono_base_ns;
    at = at < soonest ? soonest : at;
    if (at >= run->wake_ns && run->wake_ns > w->now_ns)
        return;
    run->wake_ns = at;
    world_at(w, at, wake, run);
}

static void trace_logs(struct run *run)
{
    struct world *w = run->node->w;
    for (size_t i = 0; i < run->fx.logs_n; i++) {
        const struct runtime_log *l = &run->fx.logs[i];
        if (strncmp(l->message, TAKES_NONE, sizeof TAKES_NONE - 1) == 0 && run->lacks_ns == 0)
            run->lacks_ns = w->now_ns;
        else if (strncmp(l->message, TAKES_AGAIN, sizeof TAKES_AGAIN - 1) == 0)
            run->lacks_ns = 0;
        if (!w->trace)
            continue;
        char text[TRACE_LINE_BYTES];
        int n = snprintf(text, sizeof text, "%.80s", l->message);
        for (size_t k = 0; k < RUNTIME_LOG_FIELDS_MAX && l->fields[k].key != NULL; k++)
            if ((size_t)n < sizeof text)
                n += snprintf(text + n, sizeof text - (size_t)n, " %s=%s", l->fields[k].key,
                              l->fields[k].value);
        world_trace(w, "%s: %s", run->node->client, text);
    }
}

/* Whether the run is interrupted at this boundary; it goes on by itself. */
static bool is_interrupted(struct run *run, enum stage stage, agenda_cb go_on)
{
    struct node *n = run->node;
    struct world *w = n->w;
    if (n->interrupt_ns == 0 || n->interrupt_at != stage || node_is_paused(n))
        return false;
    uint64_t ns = n->interrupt_ns;
    n->interrupt_ns = 0;
    if (ns == UINT64_MAX) {
        node_kill(n);
        return true;
    }
    n->paused_until_ns = w->now_ns + ns;
    if (n->interrupt_stands) /* nothing looks at it before the pause is over */
        n->mono_base_ns -= ns;
    w->stats.pauses++;
    world_note(w, 0xBA05E);
    world_trace(w, "%s is paused%s for %.3f s, at boundary %d", n->client,
                n->interrupt_stands ? " with its machine" : "", (double)ns / 1e9, (int)stage);
    world_at(w, n->paused_until_ns, go_on, run);
    return true;
}

static void nothing(struct world *w, void *data)
{
    (void)w;
    (void)data;
}

static void perform(struct run *run)
{
    struct node *n = run->node;
    struct world *w = n->w;
    bool saves = false, renews = false, forwards = run->fx.peers != NULL, answers = false;
    for (const struct store_request *r = run->fx.store; r != NULL; r = r->next) {
        saves |= r->op == STORE_SAVE || r->op == STORE_TRANSFER;
        renews |= r->op == STORE_RENEW;
    }
    for (const struct runtime_request *r = run->fx.replies; r != NULL; r = r->next)
        answers |= r->from_peer;
    run->unperformed = false;
    if (run->fx.redial && w->mutant != MUTANT_NO_REDIAL)
        deposed_redial(run);
    disk_submit(run, run->fx.store);
    ports_reply(run, run->fx.replies);
    ports_send_frames(run, run->fx.frames);
    ports_send_peers(run, run->fx.peers);
    if (run->fx.phase == RUNTIME_FAILED || run->fx.phase == RUNTIME_STOPPED) {
        world_trace(w, "%s has %s%s", n->client,
                    run->fx.phase == RUNTIME_FAILED ? "failed: " : "stopped",
                    run->fx.phase == RUNTIME_FAILED ? run->fx.failure : "");
        if (run->fx.phase == RUNTIME_FAILED && run->fx.failure_code != TROUPE_EBUSY)
            world_fail(w, "%s has failed: %s", n->client, run->fx.failure);
        end(run);
        return;
    }
    schedule_wake(run);
    if ((saves && is_interrupted(run, STAGE_AFTER_SAVE, nothing)) ||
        (renews && is_interrupted(run, STAGE_AFTER_RENEWAL, nothing)) ||
        (forwards && is_interrupted(run, STAGE_AFTER_FORWARD, nothing)) || !answers)
        return;
    is_interrupted(run, STAGE_AFTER_ANSWER, nothing);
}

static void go_on_performing(struct world *w, void *data)
{
    struct run *run = data;
    (void)w;
    if (!run->dead && run->unperformed)
        perform(run);
}

static void collect(struct world *w, void *data)
{
    struct run *run = data;
    struct node *n = run->node;
    if (run->dead || !run->uncollected)
        return;
    if (node_is_paused(n)) {
        world_at(w, n->paused_until_ns, collect, run);
        return;
    }
    struct runtime_time now = node_time(n);
    if (w->mutant == MUTANT_DEADLINE_BEFORE) { /* both clocks, or a jump would be seen */
        now.mono_ns -= w->now_ns - run->stepped_ns;
        now.wall_ms -= (w->now_ns - run->stepped_ns) / WORLD_MS;
    }
    run->uncollected = false;
    run->unperformed = true;
    runtime_collect(run->rt, now, &run->fx);
    trace_logs(run);
    ports_let_out(run, run->fx.replies);
    bool has_effects = run->fx.replies != NULL || run->fx.store != NULL || run->fx.peers != NULL;
    if (!has_effects || !is_interrupted(run, STAGE_AFTER_COLLECT, go_on_performing))
        perform(run);
}

void run_step(struct run *run, const struct runtime_event *event)
{
    struct node *n = run->node;
    struct world *w = n->w;
    INVARIANT(!run->dead && !node_is_paused(n) && !run->unperformed);
    bool first = !run->uncollected;
    if (first)
        run->stepped_ns = w->now_ns;
    run->uncollected = true;
    world_note(w, w->now_ns ^ (uint64_t)event->type << 56 ^ n->index);
    runtime_step(run->rt, node_time(n), event);
    mutant_product_step(run->rt);
    bool answers = event->type == RUNTIME_REQUEST && !event->u.request->from_peer;
    if (answers && is_interrupted(run, STAGE_AFTER_STEP, collect))
        return;
    if (!first) /* its collect is on the agenda */
        return;
    if (world_chance(w, 100))
        world_at(w, w->now_ns + 1000 * (1 + dice_below(&w->dice, BATCH_US_MAX)), collect, run);
    else
        collect(w, run);
}

static void wake(struct world *w, void *data)
{
    struct run *run = data;
    struct node *n = run->node;
    if (run->dead || (run->wake_ns != UINT64_MAX && run->wake_ns != w->now_ns))
        return;
    if (is_interrupted(run, STAGE_BEFORE_STEP, nothing) && run->dead)
        return;
    if (node_is_paused(n)) {
        run->wake_ns = n->paused_until_ns;
        world_at(w, n->paused_until_ns, wake, run);
        return;
    }
    if (run->unperformed) { /* at the very instant of the resumption: the effects come first */
        run->wake_ns = w->now_ns + 1000;
        world_at(w, run->wake_ns, wake, run);
        return;
    }
    run->wake_ns = UINT64_MAX;
    run_step(run, &(struct runtime_event){.type = RUNTIME_WAKE});
}
