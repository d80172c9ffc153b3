/* See core.h.
 *
 * No event is lost: it is pushed before `busy` is tried. If the try fails, the holder has not
 * released yet; it releases, and then looks at the inboxes once more before it leaves. All of these
 * are sequentially consistent. */
#include "node/shell/core.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/clock.h"
#include "node/shell/log.h"

/* ---- the inboxes ---- */

#define PUSH(stack, item)                                                                          \
    do {                                                                                           \
        (item)->next = atomic_load(stack);                                                         \
        while (!atomic_compare_exchange_weak(stack, &(item)->next, item)) {                        \
        }                                                                                          \
    } while (0)

/* Takes a stack's items, oldest first. */
#define TAKE(stack, list)                                                                          \
    do {                                                                                           \
        __typeof__(list) newest = atomic_exchange(stack, NULL);                                    \
        (list) = NULL;                                                                             \
        while (newest != NULL) {                                                                   \
            __typeof__(list) older = newest->next;                                                 \
            newest->next = (list);                                                                 \
            (list) = newest;                                                                       \
            newest = older;                                                                        \
        }                                                                                          \
    } while (0)

void core_push_request(struct core *core, struct runtime_request *request)
{
    PUSH(&core->requests, request);
}

void core_push_stop(struct core *core)
{
    atomic_store(&core->stop, true);
}

static bool has_work(struct core *core)
{
    return atomic_load(&core->requests) != NULL || atomic_load(&core->dones) != NULL ||
           atomic_load(&core->wake) || atomic_load(&core->stop);
}

/* ---- a turn: everything that has gathered, then the effects ---- */

static void step(struct core *core, struct runtime_time *now, size_t *n,
                 const struct runtime_event *event)
{
    if (*n % CORE_CLOCK_EVERY == 0)
        *now = clock_now();
    ++*n;
    runtime_step(core->rt, *now, event);
}

static void step_all(struct core *core)
{
    struct runtime_time now = {0};
    size_t n = 0;
    struct store_request *dones;
    struct runtime_request *requests;
    TAKE(&core->dones, dones);
    TAKE(&core->requests, requests);
    while (dones != NULL) {
        struct store_request *request = dones;
        dones = request->next;
        step(core, &now, &n,
             &(struct runtime_event){.type = RUNTIME_STORE_DONE, .u.store = request});
    }
    while (requests != NULL) {
        struct runtime_request *request = requests;
        requests = request->next;
        step(core, &now, &n,
             &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = request});
    }
    if (atomic_exchange(&core->wake, false))
        step(core, &now, &n, &(struct runtime_event){.type = RUNTIME_WAKE});
    if (atomic_exchange(&core->stop, false))
        step(core, &now, &n, &(struct runtime_event){.type = RUNTIME_STOP});
}

static void write_logs(const struct runtime_effects *fx)
{
    for (size_t i = 0; i < fx->logs_n; i++) {
        const struct runtime_log *l = &fx->logs[i];
        struct log_field fields[RUNTIME_LOG_FIELDS_MAX] = {{0}};
        for (size_t k = 0; k < RUNTIME_LOG_FIELDS_MAX; k++)
            fields[k] = (struct log_field){l->fields[k].key, l->fields[k].value};
        log_fields((enum log_level)l->level, l->message, fields, RUNTIME_LOG_FIELDS_MAX);
    }
}

/* Hands over what only the loop's thread may do; whether there is anything for it. */
static bool tell_loop(struct core *core, const struct runtime_effects *fx)
{
    pthread_mutex_lock(&core->lock);
    bool news =
        fx->store != NULL || fx->phase != core->phase_told || fx->wake_at_ns < core->timer_at_ns;
    if (fx->store != NULL) {
        *core->to_store_tail = fx->store;
        while (*core->to_store_tail != NULL)
            core->to_store_tail = &(*core->to_store_tail)->next;
    }
    core->wake_at_ns = fx->wake_at_ns;
    core->phase = fx->phase;
    if (fx->phase == RUNTIME_FAILED) {
        core->failure_code = fx->failure_code;
        snprintf(core->failure, sizeof core->failure, "%s", fx->failure);
    }
    pthread_mutex_unlock(&core->lock);
    return news;
}

static void serve_loop(struct core *core);

void core_run(struct core *core)
{
    while (has_work(core)) {
        if (atomic_exchange(&core->busy, true))
            return;
        struct runtime_effects fx;
        step_all(core);
        runtime_collect(core->rt, clock_now(), &fx);
        write_logs(&fx);
        bool news = tell_loop(core, &fx);
        atomic_store(&core->busy, false);

        for (struct runtime_request *r = fx.replies, *next; r != NULL; r = next) {
            next = r->next;
            core->on_reply(core->data, r);
        }
        if (news) {
            uv_thread_t self = uv_thread_self();
            if (uv_thread_equal(&self, &core->loop_thread))
                serve_loop(core);
            else
                uv_async_send(&core->async);
        }
    }
}

/* ---- the loop's thread ---- */

static void on_store_done(struct store_request *request)
{
    struct core *core = request->driver;
    if (core->on_store != NULL)
        core->on_store(core, request);
    PUSH(&core->dones, request);
    core_run(core);
}

static void on_timer(uv_timer_t *timer)
{
    struct core *core = timer->data;
    pthread_mutex_lock(&core->lock);
    core->timer_at_ns = UINT64_MAX;
    pthread_mutex_unlock(&core->lock);
    atomic_store(&core->wake, true);
    core_run(core);
    serve_loop(core); /* the turn may have been another thread's */
}

static void set_timer(struct core *core, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX) {
        uv_timer_stop(&core->timer);
        return;
    }
    uint64_t now_ns = clock_now().mono_ns;
    uint64_t ms = at_ns <= now_ns ? 0 : (at_ns - now_ns + 999999) / 1000000;
    uv_update_time(core->loop);
    uv_timer_start(&core->timer, on_timer, ms, 0);
}

static void serve_loop(struct core *core)
{
    pthread_mutex_lock(&core->lock);
    struct store_request *requests = core->to_store;
    core->to_store = NULL;
    core->to_store_tail = &core->to_store;
    uint64_t wake_at_ns = core->wake_at_ns;
    bool set = wake_at_ns != core->timer_at_ns;
    core->timer_at_ns = wake_at_ns;
    bool told = core->phase != core->phase_told;
    core->phase_told = core->phase;
    enum runtime_phase phase = core->phase;
    pthread_mutex_unlock(&core->lock);
    if (set)
        set_timer(core, wake_at_ns);
    while (requests != NULL) {
        struct store_request *next = requests->next;
        requests->driver = core;
        requests->done = on_store_done;
        store_submit(core->store, requests);
        requests = next;
    }
    if (told)
        core->on_phase(core->data, phase, core->failure_code, core->failure);
}

static void on_async(uv_async_t *async)
{
    serve_loop(async->data);
}

int core_init(struct core *core, uv_loop_t *loop, struct runtime *rt, struct store *store)
{
    core->rt = rt;
    core->store = store;
    core->loop = loop;
    core->loop_thread = uv_thread_self();
    core->to_store_tail = &core->to_store;
    core->timer_at_ns = UINT64_MAX;
    core->phase = core->phase_told = RUNTIME_STARTING;
    atomic_init(&core->busy, false);
    atomic_init(&core->wake, true);
    atomic_init(&core->stop, false);
    atomic_init(&core->requests, NULL);
    atomic_init(&core->dones, NULL);
    if (pthread_mutex_init(&core->lock, NULL) != 0)
        return TROUPE_ENOMEM;
    if (uv_async_init(loop, &core->async, on_async) != 0 || uv_timer_init(loop, &core->timer) != 0)
        return TROUPE_ENOMEM;
    core->async.data = core;
    core->timer.data = core;
    return 0;
}

void core_stats(struct core *core, struct runtime_stats *stats)
{
    while (atomic_exchange(&core->busy, true))
        sched_yield();
    runtime_stats(core->rt, clock_now(), stats);
    atomic_store(&core->busy, false);
    core_run(core); /* whoever came by meanwhile has left it to us */
}

void core_close(struct core *core)
{
    uv_close((uv_handle_t *)&core->async, NULL);
    uv_close((uv_handle_t *)&core->timer, NULL);
}
