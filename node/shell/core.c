/* See core.h.
 *
 * Why no event is lost: an event is pushed before `busy` is tried. If the try fails, the holder has
 * not released yet; it releases, and then looks at the inboxes once more, and if there is something
 * tries again. All of these are sequentially consistent, so either the pusher finds `busy` free or
 * the holder finds the event. A holder that gives up early (CORE_RUN_MS_MAX) sends itself an async
 * event, whose callback runs core_run again. */
#include "node/shell/core.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/clock.h"
#include "node/shell/log.h"

#define NS_PER_MS UINT64_C(1000000)

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

static void push_news(struct core *core, enum runtime_event_type type, const void *bytes,
                      size_t len)
{
    struct core_news *n = NULL;
    if (atomic_fetch_add(&core->news_n, 1) < CORE_NEWS_MAX)
        n = malloc(sizeof *n + len);
    if (n == NULL) {
        atomic_fetch_sub(&core->news_n, 1);
        atomic_fetch_add(&core->news_dropped, 1);
        return;
    }
    n->type = type;
    n->len = (uint32_t)len;
    if (len > 0)
        memcpy(n->bytes, bytes, len);
    PUSH(&core->news, n);
}

void core_push_frame(struct core *core, struct troupe_bytes frame)
{
    push_news(core, RUNTIME_FRAME, frame.data, frame.len);
}

void core_push_address(struct core *core, enum runtime_event_type type, const char *address)
{
    push_news(core, type, address, strlen(address) + 1);
}

void core_push_peers(struct core *core, struct runtime_peer_request *finished)
{
    while (finished != NULL) {
        struct runtime_peer_request *next = finished->next;
        PUSH(&core->peers_done, finished);
        finished = next;
    }
}

static bool has_work(struct core *core)
{
    return atomic_load(&core->requests) != NULL || atomic_load(&core->dones) != NULL ||
           atomic_load(&core->news) != NULL || atomic_load(&core->peers_done) != NULL ||
           atomic_load(&core->left_over) || atomic_load(&core->wake) || atomic_load(&core->stop);
}

/* ---- a turn: what has gathered, then the effects ---- */

struct turn {
    struct runtime_time now;
    uint64_t end_ns;
    size_t events;
};

bool core_yield(void *data)
{
    struct core *core = data;
    core->late = core->late || clock_now().mono_ns >= core->yield_at_ns;
    return core->late;
}

static void step(struct core *core, struct turn *turn, const struct runtime_event *event)
{
    if (turn->events++ % CORE_CLOCK_EVERY == 0)
        turn->now = clock_now();
    runtime_step(core->rt, turn->now, event);
}

static void step_dones(struct core *core, struct turn *turn)
{
    struct store_request *dones;
    TAKE(&core->dones, dones);
    while (dones != NULL) {
        struct store_request *request = dones;
        dones = request->next;
        step(core, turn, &(struct runtime_event){.type = RUNTIME_STORE_DONE, .u.store = request});
    }
}

static void step_news(struct core *core, struct turn *turn)
{
    struct core_news *news;
    TAKE(&core->news, news);
    while (news != NULL) {
        struct core_news *n = news;
        struct runtime_event event = {.type = n->type};
        news = n->next;
        if (n->type == RUNTIME_FRAME)
            event.u.frame = troupe_bytes(n->bytes, n->len);
        else
            event.u.address = (const char *)n->bytes;
        step(core, turn, &event);
        free(n);
        atomic_fetch_sub(&core->news_n, 1);
    }
}

static void step_peers(struct core *core, struct turn *turn)
{
    struct runtime_peer_request *peers;
    TAKE(&core->peers_done, peers);
    while (peers != NULL) {
        struct runtime_peer_request *peer = peers;
        peers = peer->next;
        step(core, turn, &(struct runtime_event){.type = RUNTIME_PEER_DONE, .u.peer = peer});
    }
}

/* Requests up to the turn's limits; what is left over comes first in the next one. */
static void step_requests(struct core *core, struct turn *turn)
{
    if (core->taken == NULL)
        TAKE(&core->requests, core->taken);
    for (size_t n = 0; core->taken != NULL && n < CORE_TURN_REQUESTS_MAX; n++) {
        struct runtime_request *request = core->taken;
        core->taken = request->next;
        step(core, turn, &(struct runtime_event){.type = RUNTIME_REQUEST, .u.request = request});
        if (core->late || turn->now.mono_ns > turn->end_ns)
            break;
    }
    atomic_store(&core->left_over, core->taken != NULL);
}

static void step_all(struct core *core)
{
    struct turn turn = {.now = clock_now()};
    turn.end_ns = turn.now.mono_ns + CORE_TURN_MS_MAX * NS_PER_MS;
    core->yield_at_ns = turn.end_ns;
    core->late = false;
    step_dones(core, &turn);
    if (atomic_load(&core->news) != NULL)
        step_news(core, &turn);
    if (atomic_load(&core->peers_done) != NULL)
        step_peers(core, &turn);
    step_requests(core, &turn);
    if (atomic_exchange(&core->wake, false))
        step(core, &turn, &(struct runtime_event){.type = RUNTIME_WAKE});
    if (atomic_exchange(&core->stop, false))
        step(core, &turn, &(struct runtime_event){.type = RUNTIME_STOP});
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
    bool news = fx->store != NULL || fx->redial || fx->frames != NULL ||
                fx->phase != core->phase_told || fx->serves != core->serves_told ||
                fx->wake_at_ns < core->timer_at_ns;
    if (fx->store != NULL) {
        *core->to_store_tail = fx->store;
        while (*core->to_store_tail != NULL)
            core->to_store_tail = &(*core->to_store_tail)->next;
    }
    if (fx->frames != NULL) {
        *core->to_gossip_tail = fx->frames;
        while (*core->to_gossip_tail != NULL)
            core->to_gossip_tail = &(*core->to_gossip_tail)->next;
    }
    core->redial |= fx->redial;
    core->wake_at_ns = fx->wake_at_ns;
    core->phase = fx->phase;
    core->serves = fx->serves;
    core->failure_code = fx->failure_code;
    core->failure = fx->failure;
    pthread_mutex_unlock(&core->lock);
    return news;
}

static void serve_loop(struct core *core);

static void wake_loop(struct core *core)
{
    uv_thread_t self = uv_thread_self();
    if (uv_thread_equal(&self, &core->loop_thread))
        serve_loop(core);
    else
        uv_async_send(&core->async);
}

void core_run(struct core *core)
{
    uint64_t end_ns = 0;
    while (has_work(core)) {
        if (atomic_exchange(&core->busy, true))
            return;
        struct runtime_effects fx;
        step_all(core);
        struct runtime_time now = clock_now();
        runtime_collect(core->rt, now, &fx);
        write_logs(&fx);
        bool news = tell_loop(core, &fx);
        if (fx.peers != NULL) /* while nobody steps: a later turn's may not overtake them */
            core->on_peers(core->data, fx.peers);
        atomic_store(&core->busy, false);

        if (fx.replies != NULL)
            core->on_replies(core->data, fx.replies);
        if (news)
            wake_loop(core);
        if (end_ns == 0)
            end_ns = now.mono_ns + CORE_RUN_MS_MAX * NS_PER_MS;
        if (now.mono_ns > end_ns) {
            uv_async_send(&core->async);
            return;
        }
    }
}

/* ---- the loop's thread ---- */

static void on_store_done(struct store_request *request)
{
    struct core *core = request->driver;
    if (core->on_store != NULL)
        core->on_store(core->data, request);
    PUSH(&core->dones, request);
    core_run(core);
}

/* Late timers endanger the lease: whoever runs the machine should know. */
static void check_lag(uint64_t timer_at_ns)
{
    uint64_t now_ns = clock_now().mono_ns;
    uint64_t late_ms = now_ns > timer_at_ns ? (now_ns - timer_at_ns) / NS_PER_MS : 0;
    if (late_ms < CORE_LAG_MS)
        return;
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, late_ms);
    log_line(LOG_LEVEL_WARN, "the loop is late: is the machine overloaded, or was it suspended?",
             "late_ms", text, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct core *core = timer->data;
    pthread_mutex_lock(&core->lock);
    uint64_t timer_at_ns = core->timer_at_ns;
    core->timer_at_ns = core->wake_at_ns = UINT64_MAX; /* the turn that follows tells the next */
    pthread_mutex_unlock(&core->lock);
    check_lag(timer_at_ns);
    atomic_store(&core->wake, true);
    core_run(core);
    serve_loop(core); /* the turn may have been another thread's */
}

/* At once, but not by a timer: libuv runs timers that are due until there are none, and one that is
 * due again each time would keep it from everything else. */
static void wake_now(struct core *core)
{
    uv_timer_stop(&core->timer);
    pthread_mutex_lock(&core->lock);
    core->timer_at_ns = core->wake_at_ns = UINT64_MAX; /* the turn that follows tells the next */
    pthread_mutex_unlock(&core->lock);
    atomic_store(&core->wake, true);
    uv_async_send(&core->async);
}

static void set_timer(struct core *core, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX) {
        uv_timer_stop(&core->timer);
        return;
    }
    uint64_t now_ns = clock_now().mono_ns;
    if (at_ns <= now_ns) {
        wake_now(core);
        return;
    }
    uint64_t ms = (at_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    uv_update_time(core->loop);
    uv_timer_start(&core->timer, on_timer, ms, 0);
}

static void serve_loop(struct core *core)
{
    pthread_mutex_lock(&core->lock);
    struct store_request *requests = core->to_store;
    core->to_store = NULL;
    core->to_store_tail = &core->to_store;
    struct runtime_frame *frames = core->to_gossip;
    core->to_gossip = NULL;
    core->to_gossip_tail = &core->to_gossip;
    bool redial = core->redial;
    core->redial = false;
    uint64_t wake_at_ns = core->wake_at_ns;
    bool set = wake_at_ns != core->timer_at_ns;
    core->timer_at_ns = wake_at_ns;
    bool told = core->phase != core->phase_told;
    core->phase_told = core->phase;
    bool serves = core->serves && !core->serves_told;
    core->serves_told = core->serves;
    enum runtime_phase phase = core->phase;
    int failure_code = core->failure_code;
    const char *failure = core->failure;
    pthread_mutex_unlock(&core->lock);
    if (set)
        set_timer(core, wake_at_ns);
    if (redial)
        store_redial(core->store);
    while (requests != NULL) {
        struct store_request *next = requests->next;
        requests->driver = core;
        requests->done = on_store_done;
        store_submit(core->store, requests);
        requests = next;
    }
    if (frames != NULL)
        core->on_frames(core->data, frames);
    if (told)
        core->on_phase(core->data, phase, failure_code, failure);
    if (serves && core->on_serves != NULL)
        core->on_serves(core->data);
}

static void on_async(uv_async_t *async)
{
    serve_loop(async->data);
    core_run(async->data);
}

int core_init(struct core *core, uv_loop_t *loop, struct runtime *rt, struct store *store)
{
    *core = (struct core){
        .rt = rt,
        .store = store,
        .loop = loop,
        .loop_thread = uv_thread_self(),
        .wake_at_ns = UINT64_MAX,
        .timer_at_ns = UINT64_MAX,
        .phase = RUNTIME_STARTING,
        .phase_told = RUNTIME_STARTING,
        .wake = true, /* the first turn: registering */
    };
    core->to_store_tail = &core->to_store;
    core->to_gossip_tail = &core->to_gossip;
    if (uv_async_init(loop, &core->async, on_async) != 0)
        return TROUPE_ENOMEM;
    uv_timer_init(loop, &core->timer);
    pthread_mutex_init(&core->lock, NULL);
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

static void drop_leftovers(struct core *core)
{
    struct core_news *news;
    TAKE(&core->news, news);
    while (news != NULL) {
        struct core_news *next = news->next;
        free(news);
        news = next;
    }
    while (core->to_gossip != NULL) {
        struct runtime_frame *next = core->to_gossip->next;
        free(core->to_gossip);
        core->to_gossip = next;
    }
    core->to_gossip_tail = &core->to_gossip;
}

void core_close(struct core *core)
{
    drop_leftovers(core);
    uv_close((uv_handle_t *)&core->async, NULL);
    uv_close((uv_handle_t *)&core->timer, NULL);
}
