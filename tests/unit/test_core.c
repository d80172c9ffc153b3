/* What is heard of other nodes, on its way through the core. The fixture's runtime is alone and
 * makes nothing of it: here it only matters that it arrives, and that calls do not suffer. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "node/shell/clock.h"
#include "node/shell/log.h"
#include "shell_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { THREADS = 4, FRAMES = 2000, CALLS = 300, MORE = 10 };

static struct shell_fixture fixture;

static int set_up(void **state)
{
    (void)state;
    log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_ERROR);
    shell_start(&fixture, (struct rpc_options){0});
    return 0;
}

static void wait_for_quiet(struct core *core)
{
    uint64_t end_ns = clock_now().mono_ns + SHELL_WAIT_MS * UINT64_C(1000000);
    while (atomic_load(&core->news_n) > 0) {
        if (clock_now().mono_ns > end_ns)
            fail_msg("%u are not stepped", atomic_load(&core->news_n));
        sched_yield();
    }
}

static void tell(void *data)
{
    struct core *core = data;
    for (int i = 0; i < FRAMES; i++) {
        core_push_frame(core, troupe_bytes_of("no frame of gossip"));
        core_push_address(core, RUNTIME_EVIDENCE, "127.0.0.1:1");
        core_push_address(core, RUNTIME_CONTACT, "[::1]:7702");
        core_run(core);
    }
}

static void news_and_calls_share_the_core(void **state)
{
    uv_thread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(uv_thread_create(&threads[i], tell, &fixture.core), 0);
    int fd = shell_dial(&fixture);
    for (uint32_t id = 1; id <= CALLS; id++) {
        struct shell_frame frame;
        shell_send(fd, id, "echo", "hello", 5);
        assert_true(shell_recv(fd, &frame));
        assert_int_equal(shell_frame_id(&frame), id);
        assert_int_equal(frame.reply.results[0].status, TROUPE_OK);
        shell_frame_free(&frame);
    }
    close(fd);
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
    wait_for_quiet(&fixture.core);
    shell_stop(&fixture);
}

static void take_core(struct core *core)
{
    while (atomic_exchange(&core->busy, true))
        sched_yield();
}

/* While nobody steps, so much is kept and no more. */
static void a_flood_is_bounded(void **state)
{
    struct core *core = &fixture.core;
    (void)state;
    take_core(core);
    for (int i = 0; i < CORE_NEWS_MAX + MORE; i++)
        core_push_frame(core, troupe_bytes_of("x"));
    assert_int_equal(atomic_load(&core->news_n), CORE_NEWS_MAX);
    assert_int_equal(atomic_load(&core->news_dropped), MORE);
    atomic_store(&core->busy, false);
    core_run(core);
    wait_for_quiet(core);
    core_push_frame(core, (struct troupe_bytes){0}); /* an empty one, too */
    core_run(core);
    wait_for_quiet(core);
    assert_int_equal(atomic_load(&core->news_dropped), MORE);
    shell_stop(&fixture);
}

/* Late news, when nobody steps any more: freed with the rest (the sanitizer looks). */
static void what_comes_too_late_is_freed(void **state)
{
    struct core core = {0};
    uv_loop_t loop;
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(core_init(&core, &loop, NULL, NULL), 0);
    core_push_frame(&core, troupe_bytes_of("x"));
    core_push_address(&core, RUNTIME_EVIDENCE, "127.0.0.1:1");
    core_close(&core);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(news_and_calls_share_the_core, set_up),
        cmocka_unit_test_setup(a_flood_is_bounded, set_up),
        cmocka_unit_test(what_comes_too_late_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
