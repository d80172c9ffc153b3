/* The way to the store and back. A request takes effect at some moment after it was sent, and its
 * answer arrives at some later one; either may be lost, the first may come long after the caller
 * was told that nobody knows. What takes effect is told to the judge. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/deposed.h"
#include "tests/sim/cluster/disk.h"
#include "tests/sim/cluster/doubts.h"

enum {
    WAY_US_MAX = 3000,
    SLOW_MS_MAX = 1500,
    GIVE_UP_MS_MAX = 2000, /* a request whose answer does not come is given up after so long */
    ZOMBIE_MS_MAX = 9000,
    DEPOSED_MS_MAX = 20000, /* a server that is deposed dies by then */
    WRONG_MS = 1200,
};

struct flight {
    struct flight *next, **at; /* w->flights */
    struct world *w;
    struct run *run;
    struct store_request *request;
    struct store_request *copy; /* takes effect in its place, and nobody hears of it */
    struct arena arena;         /* of the copy */
    int fault;                  /* what to answer, whatever happened; 0: the truth */
    uint32_t refs;
    uint64_t due_ns;        /* takes effect then, at the earliest */
    bool executes, answers; /* still to come */
    bool strays;            /* to a server that is deposed */
};

static uint64_t store_clock(void *data)
{
    const struct world *w = data;
    return (uint64_t)(1800000000000 + (int64_t)(w->now_ns / WORLD_MS) + w->store_offset_ms);
}

static void done(struct store_request *request)
{
    (void)request;
}

static void closed(void *data)
{
    (void)data;
}

void disk_open(struct world *w)
{
    char errmsg[STORE_ERRMSG_BYTES];
    struct store_options options = {.url = "memory:", .cluster = "sim", .partitions = PARTITIONS};
    int rc = store_open(&w->store, &options, errmsg);
    INVARIANT(rc == 0);
    store_memory_set_clock(w->store, store_clock, w);
    mutant_open(w);
}

void disk_set_clock(struct world *w, struct store *store)
{
    store_memory_set_clock(store, store_clock, w);
}

void disk_run_on(struct store *store, struct store_request *request)
{
    request->done = done;
    store_submit(store, request);
    size_t n = store_memory_poll(store, SIZE_MAX);
    INVARIANT(n == 1);
}

void disk_run(struct world *w, struct store_request *request)
{
    disk_run_on(w->store, request);
}

bool disk_load(struct world *w, const struct store_key *key, struct arena *a, struct store_row *row)
{
    struct store_request load = {.op = STORE_LOAD, .arena = a};
    load.u.load.keys = key;
    load.u.load.keys_n = 1;
    disk_run(w, &load);
    INVARIANT(load.error == 0);
    *row = load.u.load.rows[0];
    return load.u.load.found[0];
}

/* ---- copies ---- */

static const char *copy_text(struct arena *a, const char *text)
{
    return text == NULL ? NULL : (const char *)arena_copy(a, troupe_bytes_of(text)).data;
}

static void *copy_array(struct arena *a, const void *from, size_t bytes)
{
    void *to = arena_alloc(a, bytes);
    INVARIANT(to != NULL);
    if (bytes > 0)
        memcpy(to, from, bytes);
    return to;
}

static void copy_save(struct arena *a, struct store_save *save)
{
    save->name = copy_text(a, save->name);
    save->rows = copy_array(a, save->rows, save->rows_n * sizeof *save->rows);
    for (size_t i = 0; i < save->rows_n; i++) {
        struct store_row *row = &save->rows[i];
        row->key.kind = arena_copy(a, row->key.kind);
        row->key.id = arena_copy(a, row->key.id);
        row->state = arena_copy(a, row->state);
        row->dedup = arena_copy(a, row->dedup);
    }
}

void disk_copy_request(struct arena *a, struct store_request *to, const struct store_request *from)
{
    *to = *from;
    to->arena = a;
    switch (from->op) {
    case STORE_SAVE:
        copy_save(a, &to->u.save);
        break;
    case STORE_REGISTER:
        to->u.reg.name = copy_text(a, from->u.reg.name);
        to->u.reg.addr = copy_text(a, from->u.reg.addr);
        to->u.reg.gossip = copy_text(a, from->u.reg.gossip);
        to->u.reg.proof = copy_text(a, from->u.reg.proof);
        break;
    case STORE_RENEW:
        to->u.renew.name = copy_text(a, from->u.renew.name);
        to->u.renew.kinds = copy_text(a, from->u.renew.kinds);
        break;
    case STORE_LEAVE:
        to->u.leave.name = copy_text(a, from->u.leave.name);
        break;
    case STORE_KINDS:
        to->u.kinds.name = copy_text(a, from->u.kinds.name);
        to->u.kinds.was = copy_text(a, from->u.kinds.was);
        to->u.kinds.is = copy_text(a, from->u.kinds.is);
        break;
    case STORE_CLAIM:
        to->u.claim.name = copy_text(a, from->u.claim.name);
        to->u.claim.pids =
            copy_array(a, from->u.claim.pids, from->u.claim.pids_n * sizeof(store_pid));
        break;
    case STORE_EVICT:
        to->u.evict.name = copy_text(a, from->u.evict.name);
        to->u.evict.target = copy_text(a, from->u.evict.target);
        break;
    case STORE_TRANSFER:
        to->u.transfer.name = copy_text(a, from->u.transfer.name);
        to->u.transfer.to = copy_text(a, from->u.transfer.to);
        to->u.transfer.moves = copy_array(a, from->u.transfer.moves,
                                          from->u.transfer.moves_n * sizeof(struct store_move));
        break;
    default: /* the rest reads, or is the caller's own: never copied */
        INVARIANT(false);
    }
}

static bool can_be_copied(const struct store_request *r)
{
    return r->op == STORE_KINDS || r->op == STORE_SAVE || r->op == STORE_REGISTER ||
           r->op == STORE_RENEW || r->op == STORE_LEAVE || r->op == STORE_CLAIM ||
           r->op == STORE_EVICT || r->op == STORE_TRANSFER;
}

/* ---- flights ---- */

static void unref(struct flight *f)
{
    if (--f->refs > 0)
        return;
    *f->at = f->next;
    if (f->next != NULL)
        f->next->at = f->at;
    arena_close(&f->arena);
    free(f->copy);
    free(f);
}

static void execute_astray(struct flight *f, struct store_request *r)
{
    struct world *w = f->w;
    if (!deposed_lives(w)) {
        f->fault = can_be_copied(r) ? TROUPE_EOUTCOME : TROUPE_EUNAVAILABLE;
        return;
    }
    deposed_run(w, r);
    failover_stray(w, f->run, r);
    world_note(w, 0xDE905ED + (uint64_t)r->op * 1000 + (uint64_t)-r->error);
}

static void execute(struct flight *f)
{
    struct world *w = f->w;
    struct store_request *r = f->copy != NULL ? f->copy : f->request;
    f->executes = false;
    if (f->strays) {
        execute_astray(f, r);
        return;
    }
    judge_before(w, f->run, r);
    if (!mutant_executes(w, f->run, r))
        disk_run(w, r);
    judge_after(w, f->run, r);
    if (r->op == STORE_CLAIM && r->error == 0 && f->fault != 0)
        failover_unheard(w, f->run, &r->u.claim);
    world_note(w, (uint64_t)r->op * 1000 + (uint64_t)-r->error);
}

static void landed(struct flight *f)
{
    if (!f->executes && !f->answers && f->run->flights > 0 && f->request != NULL) {
        f->request = NULL;
        if (--f->run->flights == 0 && f->run->dead)
            nodes_bury(f->w);
    }
}

static void takes_effect(struct world *w, void *data)
{
    struct flight *f = data;
    if (f->executes && w->now_ns < f->due_ns) {
        world_at(w, f->due_ns, takes_effect, f);
        return;
    }
    if (f->executes)
        execute(f);
    landed(f);
    unref(f);
}

static void reaches_store(struct world *w, void *data)
{
    struct flight *f = data;
    uint64_t delay = 0;
    if (f->executes) {
        mutant_arrives(w, f->run, f->copy != NULL ? f->copy : f->request);
        delay = mutant_delay_ns(w, f->request != NULL ? f->request : f->copy);
    }
    if (delay == 0)
        takes_effect(w, f);
    else
        world_at(w, w->now_ns + delay, takes_effect, f);
}

/* Whether the holder of a name is a process that has ended. */
static bool is_gone(const struct world *w, const char *proof)
{
    uint64_t number = strtoull(proof, NULL, 10);
    for (const struct run *run = w->runs; run != NULL; run = run->next) {
        if (run->number == number)
            return run->dead;
    }
    return false;
}

/* Its guardian, or a lock, may tell that it has ended, or its proof say so. But on a machine that
 * is a copy of another one, proofs say so of runs that live; and renew: of one that is silent and
 * lives, a wrong proof is not to be told from a right one. */
static enum store_fate fate_of(struct world *w, const char *name, const struct store_node *row)
{
    bool gone = is_gone(w, row->proof);
    const struct run *holder = judge_find_run(w, name, row->generation);
    bool wrong =
        w->wrong_proofs && holder != NULL && w->now_ns - holder->renewed_ns < WRONG_MS * WORLD_MS;
    uint64_t how = dice_below(&w->dice, 4);
    if (gone && how == 0)
        return STORE_FATE_BURIED;
    return (gone || wrong) && how == 1 ? STORE_FATE_GONE : STORE_FATE_UNKNOWN;
}

static void judge_runs(struct world *w, struct store_request *r)
{
    if (r->op == STORE_REGISTER && r->error == TROUPE_EBUSY)
        r->u.reg.holder.fate = fate_of(w, r->u.reg.name, &r->u.reg.holder);
    for (size_t i = 0; r->op == STORE_RENEW && r->error == 0 && i < r->u.renew.others_n; i++) {
        struct store_node *other = &r->u.renew.others[i];
        other->fate = fate_of(w, other->name, other);
        if (w->mutant == MUTANT_ALL_KNOW)
            other->seen = UINT64_MAX;
    }
}

static void answer(struct world *w, void *data)
{
    struct flight *f = data;
    struct run *run = f->run;
    if (!f->answers) { /* its run is dead */
        unref(f);
        return;
    }
    if (f->executes && f->copy == NULL) { /* it is slow; come again */
        world_at(w, w->now_ns + WORLD_MS, answer, f);
        return;
    }
    if (node_is_paused(run->node)) {
        world_at(w, run->node->paused_until_ns, answer, f);
        return;
    }
    struct store_request *r = f->request;
    if (f->fault != 0) {
        r->error = f->fault;
        snprintf(r->errmsg, sizeof r->errmsg, "simulated");
        r->server = r->timeline = 0; /* nobody has said anything */
    }
    if (r->timeline > run->timeline) {
        failover_heard(w, run);
        run->timeline = r->timeline;
        run->heard_ns = w->now_ns;
    }
    if (w->mutant == MUTANT_DEPOSED && r->timeline < run->timeline) {
        r->timeline = run->timeline;
        r->server = run->timeline + 1;
    }
    if (w->mutant == MUTANT_NO_RECHECK) { /* all are the first one */
        r->server = 1;
        r->timeline = 0;
    }
    bool failed = w->mutant == MUTANT_OUTCOME_FAILED ||
                  (w->mutant == MUTANT_TRANSFER_FAILED && r->op == STORE_TRANSFER);
    if (failed && r->error == TROUPE_EOUTCOME)
        r->error = TROUPE_EUNAVAILABLE;
    if (w->mutant == MUTANT_OLD_RENEWAL && r->error == 0)
        mutant_believes(run, r);
    judge_runs(w, r);
    f->answers = false;
    f->request = NULL;
    run->flights--;
    run_step(run, &(struct runtime_event){.type = RUNTIME_STORE_DONE, .u.store = r});
    unref(f);
}

/* It is given up, and may yet take effect, or not. */
static void give_up(struct flight *f, uint64_t *execute_ns, uint64_t *answer_ns)
{
    struct world *w = f->w;
    bool writes = can_be_copied(f->request);
    f->fault = writes ? TROUPE_EOUTCOME : TROUPE_EUNAVAILABLE;
    *answer_ns = w->now_ns + world_while(w, GIVE_UP_MS_MAX * WORLD_MS);
    switch (dice_below(&w->dice, writes ? 4 : 1)) {
    case 0: /* never got there; perhaps we know */
        f->executes = false;
        if (dice_below(&w->dice, 2) == 0)
            f->fault = TROUPE_EUNAVAILABLE;
        break;
    case 1: /* only the answer is lost */
        *answer_ns = *answer_ns > *execute_ns ? *answer_ns : *execute_ns;
        break;
    default: /* it is somewhere on the way */
        f->copy = malloc(sizeof *f->copy);
        INVARIANT(f->copy != NULL);
        disk_copy_request(&f->arena, f->copy, f->request);
        *execute_ns = w->now_ns + world_while(w, ZOMBIE_MS_MAX * WORLD_MS);
    }
}

static void take_off(struct run *run, struct store_request *request)
{
    struct world *w = run->node->w;
    struct node *n = run->node;
    struct flight *f = calloc(1, sizeof *f);
    INVARIANT(f != NULL);
    *f = (struct flight){.w = w, .run = run, .request = request, .executes = true, .answers = true};
    arena_init(&f->arena, 0, 0);
    f->next = w->flights;
    f->at = &w->flights;
    if (f->next != NULL)
        f->next->at = &f->next;
    w->flights = f;
    f->refs = 2;
    run->flights++;
    uint64_t way = w->now_ns < w->slow_until_ns ? SLOW_MS_MAX * WORLD_MS : WAY_US_MAX * 1000;
    uint64_t execute_ns = w->now_ns + dice_below(&w->dice, way);
    uint64_t answer_ns = execute_ns + 1 + dice_below(&w->dice, way);
    f->strays = deposed_gets(run, request->op);
    if ((w->now_ns < w->outage_until_ns && !f->strays) || n->cut_to_store) {
        f->executes = false;
        f->fault = dice_below(&w->dice, 2) == 0 && can_be_copied(request) ? TROUPE_EOUTCOME
                                                                          : TROUPE_EUNAVAILABLE;
        answer_ns = w->now_ns + world_while(w, GIVE_UP_MS_MAX * WORLD_MS);
    } else if (n->cut_from_store) {
        f->fault = can_be_copied(request) ? TROUPE_EOUTCOME : TROUPE_EUNAVAILABLE;
        answer_ns = execute_ns + 1 + dice_below(&w->dice, GIVE_UP_MS_MAX * WORLD_MS);
    } else if (dice_below(&w->dice, 100) < w->store_fault_percent || doubts_about(w, request->op)) {
        give_up(f, &execute_ns, &answer_ns);
    } else {
        uint64_t late_ns = doubts_delay_ns(w, request->op);
        execute_ns += late_ns * dice_below(&w->dice, 2); /* or the answer alone is late */
        answer_ns += late_ns;
    }
    world_at(w, execute_ns, reaches_store, f);
    world_at(w, answer_ns, answer, f);
}

void disk_submit(struct run *run, struct store_request *requests)
{
    for (struct store_request *r = requests, *next; r != NULL; r = next) {
        next = r->next;
        take_off(run, r);
    }
}

/* Its connections to a deposed server are closed: what was under way has an unknown outcome. */
void disk_break_strays(struct run *run)
{
    struct world *w = run->node->w;
    for (struct flight *f = w->flights; f != NULL; f = f->next) {
        if (f->run != run || f->request == NULL || !f->strays || !f->answers)
            continue;
        f->fault = can_be_copied(f->request) ? TROUPE_EOUTCOME : TROUPE_EUNAVAILABLE;
        f->executes &= f->copy != NULL;
        f->refs++;
        world_at(w, w->now_ns + WORLD_MS, answer, f);
    }
}

/* The run has been killed: nobody waits for its answers; what is on its way may arrive, even after
 * long. The runtime stays until then, for the requests are its memory. */
void disk_forget(struct run *run)
{
    struct world *w = run->node->w;
    for (struct flight *f = w->flights; f != NULL; f = f->next) {
        if (f->run != run || f->request == NULL)
            continue;
        f->answers = false;
        switch (f->executes && f->copy == NULL ? dice_below(&w->dice, 3) : 0) {
        case 0: /* on its way, as it was */
            break;
        case 1: /* lost */
            f->executes = false;
            break;
        default: /* stuck, for long perhaps */
            f->due_ns = w->now_ns + world_while(w, ZOMBIE_MS_MAX * WORLD_MS);
        }
        landed(f);
    }
    nodes_bury(w);
}

void disk_crash(struct world *w, uint64_t ns)
{
    world_trace(w, "the store crashes, for %.3f s", (double)ns / 1e9);
    world_note(w, 0xD15C);
    w->outage_until_ns = w->now_ns + ns;
    for (struct flight *f = w->flights; f != NULL; f = f->next) {
        if (!f->executes || f->request == NULL || f->strays)
            continue;
        f->fault = can_be_copied(f->request) ? TROUPE_EOUTCOME : TROUPE_EUNAVAILABLE;
        if (dice_below(&w->dice, 2) == 0)
            execute(f);
        f->executes = false;
    }
}

void disk_keep(struct world *w)
{
    bool kept = store_memory_keep(w->store);
    INVARIANT(kept);
    failover_keep(w);
}

/* Those who are under way stay with the server that they were sent to. */
static void let_stray(struct world *w)
{
    for (struct flight *f = w->flights; f != NULL; f = f->next) {
        const struct store_request *r = f->copy != NULL ? f->copy : f->request;
        f->strays = f->executes && r != NULL && deposed_keeps(f->run, r->op);
    }
}

void disk_fail_over(struct world *w, uint64_t ns)
{
    world_trace(w, "the store fails over to an older copy, and is away for %.3f s",
                (double)ns / 1e9);
    bool lives = group_is_on(w, GROUP_DEPOSED) && dice_below(&w->dice, 3) != 0;
    deposed_end(w);
    for (struct flight *f = w->flights; f != NULL; f = f->next)
        f->strays = false;
    if (lives)
        let_stray(w);
    disk_crash(w, ns);
    w->store_doubt_ns = w->now_ns;
    for (struct flight *f = w->flights; f != NULL; f = f->next)
        f->executes &= f->strays; /* those given up long ago do not reach the new one, either */
    failover_begins(w);
    if (lives)
        deposed_begin(w, world_while(w, DEPOSED_MS_MAX * WORLD_MS));
    else
        store_memory_fail_over(w->store);
    failover_ends(w);
}

void disk_close(struct world *w)
{
    while (w->flights != NULL) {
        w->flights->refs = 1;
        unref(w->flights);
    }
    mutant_close(w);
    deposed_end(w);
    store_close(w->store, closed, NULL);
    store_memory_poll(w->store, SIZE_MAX);
}
