/* See runtime_world.h. */
#include "tests/sim/runtime_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/invariant.h"

static uint64_t store_clock(void *data)
{
    const struct world *w = data;
    return w->now.wall_ms;
}

void world_note(struct world *w, uint64_t what)
{
    w->hash = (w->hash ^ what) * UINT64_C(0x100000001B3);
}

void world_open(struct world *w, uint64_t seed, const struct troupe_kind *const *kinds,
                size_t kinds_n)
{
    char errmsg[STORE_ERRMSG_BYTES];
    struct dice dice = {.state = seed};
    *w = (struct world){.dice = dice,
                        .now = {.mono_ns = 1000 * WORLD_MS, .wall_ms = 1800000000000},
                        .hash = UINT64_C(0xCBF29CE484222325)};
    struct store_options options = {.url = "memory:", .cluster = "sim", .partitions = 256};
    int rc = store_open(&w->store, &options, errmsg);
    INVARIANT(rc == 0);
    store_memory_set_clock(w->store, store_clock, w);
    w->config = (struct runtime_config){
        .name = "n1",
        .cluster = "sim",
        .address = "sim:1",
        .partitions = 256,
        .kinds = kinds,
        .kinds_n = kinds_n,
        .save_rows_max = 16,
        .load_keys_max = 16,
        .loads_in_flight_max = 2,
        .saves_in_flight_max = 2,
        .outage_grace_ms = 12000,
    };
}

static void nothing(void *data)
{
    (void)data;
}

void world_close(struct world *w)
{
    runtime_close(w->rt);
    for (size_t i = 0; i < w->zombies_n; i++)
        runtime_close(w->zombies[i]);
    store_close(w->store, nothing, NULL);
    store_memory_poll(w->store, SIZE_MAX); /* without a loop, closing takes a turn */
}

void world_start(struct world *w)
{
    char errmsg[STORE_ERRMSG_BYTES];
    INVARIANT(w->rt == NULL);
    w->config.incarnation = ++w->incarnation;
    w->config.seed = dice_throw(&w->dice);
    int rc = runtime_open(&w->rt, &w->config, errmsg);
    INVARIANT(rc == 0);
    world_step(w, &(struct runtime_event){.type = RUNTIME_WAKE});
}

void world_crash(struct world *w)
{
    world_note(w, 0xDEAD);
    INVARIANT(w->zombies_n < WORLD_ZOMBIES_MAX);
    w->zombies[w->zombies_n++] = w->rt;
    for (size_t i = 0; i < w->flights_n; i++) {
        struct world_flight *f = &w->flights[i];
        if (f->owner != w->rt)
            continue;
        f->answer_ns = UINT64_MAX;
        if (!f->executed && dice_below(&w->dice, 2) == 0) /* still on the wire, perhaps for long */
            f->execute_ns = w->now.mono_ns + dice_below(&w->dice, 9000 * WORLD_MS);
    }
    w->rt = NULL;
}

/* ---- the way to the store and back ---- */

enum { SAVE_MS_MAX = 5000 };

static void take_off(struct world *w, struct store_request *request)
{
    INVARIANT(w->flights_n < WORLD_FLIGHTS_MAX);
    uint64_t to = dice_below(&w->dice, 8 * WORLD_MS), back = dice_below(&w->dice, 8 * WORLD_MS);
    struct world_flight *f = &w->flights[w->flights_n++];
    *f = (struct world_flight){.request = request, .owner = w->rt};
    f->execute_ns = w->now.mono_ns + to;
    f->answer_ns = f->execute_ns + back;
    uint64_t rows_ns =
        request->op == STORE_SAVE ? request->u.save.rows_n * w->row_ms * WORLD_MS : 0;
    w->saves_n += request->op == STORE_SAVE;
    f->execute_ns += rows_ns;
    f->answer_ns += rows_ns;
    if (rows_ns > SAVE_MS_MAX * WORLD_MS) {
        f->execute_ns = UINT64_MAX;
        f->answer_ns = w->now.mono_ns + SAVE_MS_MAX * WORLD_MS;
        f->fault = TROUPE_EUNAVAILABLE;
    } else if (w->now.mono_ns < w->outage_until_ns) {
        f->execute_ns = UINT64_MAX;
        f->fault = TROUPE_EUNAVAILABLE;
    } else if (w->broken_error != 0 && request->op == w->broken_op) {
        f->execute_ns = UINT64_MAX;
        f->answer_ns = w->broken_silent ? WORLD_SOME_DAY : f->answer_ns;
        f->fault = w->broken_error;
    } else if (dice_below(&w->dice, 100) < w->fault_percent) {
        bool writes = request->op != STORE_LOAD && request->op != STORE_OWNERS;
        switch (dice_below(&w->dice, writes ? 3 : 1)) {
        case 0: /* never got there, and we know it */
            f->execute_ns = UINT64_MAX;
            f->fault = TROUPE_EUNAVAILABLE;
            break;
        case 1: /* took effect, and nobody knows */
            f->fault = TROUPE_EOUTCOME;
            break;
        default: /* did not, and nobody knows */
            f->execute_ns = UINT64_MAX;
            f->fault = TROUPE_EOUTCOME;
        }
    }
}

static void done(struct store_request *request)
{
    (void)request;
}

static void execute(struct world *w, struct world_flight *f)
{
    f->executed = true;
    f->request->done = done;
    store_submit(w->store, f->request);
    size_t n = store_memory_poll(w->store, SIZE_MAX);
    INVARIANT(n == 1);
}

static void answer(struct world *w, size_t at)
{
    struct world_flight f = w->flights[at];
    w->flights[at] = w->flights[--w->flights_n];
    if (f.fault != 0) {
        f.request->error = f.fault;
        snprintf(f.request->errmsg, sizeof f.request->errmsg, "simulated");
    }
    /* The driver may know that the run that holds the name is gone, or have to wait its lease out.
     */
    if (f.request->op == STORE_REGISTER && f.request->error == TROUPE_EBUSY)
        f.request->u.reg.holder.fate = (enum store_fate)dice_below(&w->dice, 3);
    world_note(w, (uint64_t)f.request->op * 100 + (uint64_t)-f.request->error);
    if (f.owner != w->rt)
        return;
    world_step(w, &(struct runtime_event){.type = RUNTIME_STORE_DONE, .u.store = f.request});
}

/* A zombie is forgotten when nothing of it is on the wire. */
static void bury(struct world *w)
{
    for (size_t z = 0; z < w->zombies_n; z++) {
        bool busy = false;
        for (size_t i = 0; i < w->flights_n; i++)
            busy |= w->flights[i].owner == w->zombies[z];
        if (busy)
            continue;
        runtime_close(w->zombies[z]);
        w->zombies[z--] = w->zombies[--w->zombies_n];
    }
}

/* ---- time ---- */

static void perform(struct world *w)
{
    for (struct store_request *r = w->fx.store, *next; r != NULL; r = next) {
        next = r->next;
        take_off(w, r);
    }
    for (struct runtime_request *r = w->fx.replies, *next; r != NULL; r = next) {
        next = r->next;
        for (size_t i = 0; i < r->reply.results_n; i++)
            world_note(w, r->reply.results[i].status + r->reply.results[i].version * 31);
        w->reply(w->data, r);
    }
    for (size_t i = 0; i < w->fx.logs_n; i++)
        w->warns_n += w->fx.logs[i].level == RUNTIME_WARN;
    for (size_t i = 0; i < w->fx.logs_n && getenv("TROUPE_SIM_LOG") != NULL; i++) {
        const struct runtime_log *l = &w->fx.logs[i];
        printf("%10.3f %s", (double)w->now.mono_ns / 1e9, l->message);
        for (size_t k = 0; k < RUNTIME_LOG_FIELDS_MAX && l->fields[k].key != NULL; k++)
            printf(" %s=%s", l->fields[k].key, l->fields[k].value);
        printf("\n");
    }
}

void world_step(struct world *w, const struct runtime_event *event)
{
    runtime_step(w->rt, w->now, event);
    runtime_collect(w->rt, w->now, &w->fx);
    perform(w);
}

static uint64_t next_event_ns(const struct world *w)
{
    uint64_t next = w->rt != NULL ? w->fx.wake_at_ns : UINT64_MAX;
    for (size_t i = 0; i < w->flights_n; i++) {
        const struct world_flight *f = &w->flights[i];
        uint64_t at = f->executed                    ? f->answer_ns
                      : f->execute_ns < f->answer_ns ? f->execute_ns
                                                     : f->answer_ns;
        next = at < next ? at : next;
    }
    return next;
}

static void set_time(struct world *w, uint64_t ns)
{
    if (ns <= w->now.mono_ns)
        return;
    uint64_t before_ms = w->now.mono_ns / WORLD_MS;
    w->now.mono_ns = ns;
    w->now.wall_ms += ns / WORLD_MS - before_ms;
}

void world_run(struct world *w, uint64_t until_ns)
{
    uint64_t spins = 0;
    for (uint64_t next; !w->halt && (next = next_event_ns(w)) <= until_ns;) {
        INVARIANT(++spins < 1000000); /* time must go on */
        set_time(w, next);
        bool flew = false;
        for (size_t i = 0; i < w->flights_n && !flew; i++) {
            struct world_flight *f = &w->flights[i];
            if (!f->executed && f->execute_ns <= w->now.mono_ns) {
                execute(w, f);
                flew = true;
            }
            if (f->answer_ns <= w->now.mono_ns) {
                answer(w, i);
                flew = true;
            } else if (f->executed && f->answer_ns == UINT64_MAX) { /* nobody waits for it */
                w->flights[i] = w->flights[--w->flights_n];
                flew = true;
            }
        }
        /* What will neither happen nor be answered is forgotten. */
        for (size_t i = 0; i < w->flights_n; i++) {
            struct world_flight *f = &w->flights[i];
            if (f->answer_ns == UINT64_MAX && (f->executed || f->execute_ns == UINT64_MAX))
                w->flights[i--] = w->flights[--w->flights_n];
        }
        bury(w);
        if (!flew && w->rt != NULL)
            world_step(w, &(struct runtime_event){.type = RUNTIME_WAKE});
    }
    if (!w->halt)
        set_time(w, until_ns);
}

bool world_serve(struct world *w, uint64_t max_ms)
{
    for (uint64_t ms = 0; ms <= max_ms; ms += 10) {
        if (w->fx.phase == RUNTIME_SERVING)
            return true;
        world_run(w, w->now.mono_ns + 10 * WORLD_MS);
    }
    return false;
}

bool world_stop(struct world *w, uint64_t max_ms)
{
    world_step(w, &(struct runtime_event){.type = RUNTIME_STOP});
    for (uint64_t ms = 0; ms <= max_ms && w->fx.phase != RUNTIME_STOPPED; ms += 10)
        world_run(w, w->now.mono_ns + 10 * WORLD_MS);
    if (w->fx.phase != RUNTIME_STOPPED)
        return false;
    runtime_close(w->rt);
    w->rt = NULL;
    return true;
}
