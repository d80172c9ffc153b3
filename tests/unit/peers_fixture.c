/* See peers_fixture.h. */
#include "peers_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/shell/clock.h"

static _Thread_local bool within_send;

/* ---- the loop ---- */

static void on_done(void *data, struct runtime_peer_request *finished)
{
    struct peers_fixture *f = data;
    pthread_mutex_lock(&f->mu);
    f->done_within_send |= within_send;
    while (finished != NULL) {
        struct ask *ask = finished->driver;
        finished = finished->next;
        ask->times++;
        ask->place = f->done_n++;
    }
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mu);
}

static void on_closed(void *data)
{
    struct peers_fixture *f = data;
    f->closed = true;
    uv_close((uv_handle_t *)&f->closer, NULL);
}

static void on_closer(uv_async_t *async)
{
    struct peers_fixture *f = async->data;
    peers_close(f->peers, on_closed, f);
}

static void loop_main(void *data)
{
    struct peers_fixture *f = data;
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

void peers_start(struct peers_fixture *f, struct peers_options options)
{
    pthread_condattr_t attr;
    *f = (struct peers_fixture){0};
    pthread_mutex_init(&f->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &attr);
    pthread_condattr_destroy(&attr);
    options.data = f;
    options.done = on_done;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_async_init(&f->loop, &f->closer, on_closer), 0);
    f->closer.data = f;
    assert_int_equal(peers_open(&f->peers, &f->loop, &options), 0);
    assert_int_equal(uv_thread_create(&f->thread, loop_main, f), 0);
}

void peers_stop(struct peers_fixture *f)
{
    uv_async_send(&f->closer);
    uv_thread_join(&f->thread);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_false(f->done_within_send);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->mu);
}

/* ---- requests ---- */

struct ask *ask_new(unsigned number, const char *address, uint32_t deadline_ms, size_t payload)
{
    struct ask *a = calloc(1, sizeof *a);
    assert_non_null(a);
    arena_init(&a->arena, 0, 0);
    snprintf(a->id, sizeof a->id, "%u", number);
    a->call = (struct rpc_call){
        .kind = troupe_bytes_of("counter"),
        .id = troupe_bytes_of(a->id),
        .method = troupe_bytes_of("incr"),
        .payload = troupe_bytes(payload == 0 ? NULL : arena_calloc(&a->arena, 1, payload), payload),
    };
    a->request.driver = a;
    a->request.arena = &a->arena;
    a->request.rpc = (struct rpc_request){.timeout_ms = 5000, .calls = &a->call, .calls_n = 1};
    a->request.deadline_ns = clock_now().mono_ns + deadline_ms * UINT64_C(1000000);
    a->request.error = -1;
    snprintf(a->request.address, sizeof a->request.address, "%s", address);
    return a;
}

void ask_free(struct ask *a)
{
    arena_close(&a->arena);
    free(a);
}

void ask_send(struct peers_fixture *f, struct ask **asks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        asks[i]->request.next = i + 1 < n ? &asks[i + 1]->request : NULL;
    within_send = true;
    peers_send(f->peers, n == 0 ? NULL : &asks[0]->request);
    within_send = false;
}

void ask_wait(struct peers_fixture *f, unsigned done_n)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PEERS_WAIT_MS / 1000;
    int rc = 0;
    pthread_mutex_lock(&f->mu);
    while (f->done_n < done_n && rc == 0)
        rc = pthread_cond_timedwait(&f->changed, &f->mu, &until);
    unsigned n = f->done_n;
    pthread_mutex_unlock(&f->mu);
    assert_in_range(n, done_n, UINT32_MAX);
}

int ask_once(struct peers_fixture *f, unsigned number, const char *address, uint32_t deadline_ms)
{
    struct ask *a = ask_new(number, address, deadline_ms, 0);
    pthread_mutex_lock(&f->mu);
    unsigned n = f->done_n;
    pthread_mutex_unlock(&f->mu);
    ask_send(f, &a, 1);
    ask_wait(f, n + 1);
    int error = a->request.error;
    assert_int_equal(a->times, 1);
    assert_true(error != 0 || ask_is_answered(a));
    ask_free(a);
    return error;
}

bool ask_is_answered(const struct ask *a)
{
    const struct rpc_reply *r = &a->request.reply;
    return a->request.error == 0 && r->results_n == 1 &&
           troupe_bytes_equal(r->results[0].payload, troupe_bytes_of(a->id));
}

/* ---- the other side ---- */

enum fake_action seen_handle(void *data, const struct rpc_request *request, struct rpc_reply *reply)
{
    struct seen *s = data;
    char id[16] = "";
    if (request->calls_n == 0) {
        atomic_fetch_add(&s->pings, 1);
        return atomic_load(&s->deaf) ? FAKE_SILENCE : FAKE_REPLY;
    }
    struct troupe_bytes text = request->calls[0].id;
    memcpy(id, text.data, text.len < sizeof id ? text.len : sizeof id - 1);
    unsigned number = (unsigned)strtoul(id, NULL, 10), n = atomic_load(&s->n);
    if (number >= PEERS_ASKS_MAX || n >= PEERS_ASKS_MAX)
        abort();
    s->order[n] = number;
    atomic_fetch_add(&s->times[number], 1);
    atomic_store(&s->n, n + 1);
    reply->results[0].payload = text;
    return s->decide == NULL ? FAKE_REPLY : s->decide(s->data, number);
}

enum fake_action seen_silence(void *data, unsigned number)
{
    (void)data;
    (void)number;
    return FAKE_SILENCE;
}

void wait_until(bool (*is_so)(void *data), void *data)
{
    uint64_t until = clock_now().mono_ns + PEERS_WAIT_MS * UINT64_C(1000000);
    while (!is_so(data)) {
        assert_in_range(clock_now().mono_ns, 0, until);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

struct seen_n {
    struct seen *seen;
    unsigned n;
};

static bool has_seen(void *data)
{
    const struct seen_n *s = data;
    return atomic_load(&s->seen->n) >= s->n;
}

void seen_wait(struct seen *seen, unsigned n)
{
    struct seen_n s = {seen, n};
    wait_until(has_seen, &s);
}
