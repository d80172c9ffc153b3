/* The order in which a connection ends: its operations first, its stream then. At a timeout nng's
 * timer thread is inside the stream for a moment longer than the operation's callback takes; to hit
 * that moment takes luck, so what is looked at is the order itself: nng's functions are wrapped. */
#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shell_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { OPERATIONS_MAX = 4096 };

/* Which operation has been used on which stream. */
static struct {
    nng_aio *aio;
    nng_stream *stream;
} operations[OPERATIONS_MAX];
static size_t operations_n, streams_freed, too_early;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(nng_stream *stream, nng_aio *aio)
{
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < operations_n && operations[i].aio != aio)
        i++;
    if (i == operations_n && operations_n < OPERATIONS_MAX)
        operations_n++;
    operations[i].aio = aio;
    operations[i].stream = stream;
    pthread_mutex_unlock(&lock);
}

void __real_nng_stream_recv(nng_stream *stream, nng_aio *aio);
void __wrap_nng_stream_recv(nng_stream *stream, nng_aio *aio);
void __wrap_nng_stream_recv(nng_stream *stream, nng_aio *aio)
{
    note(stream, aio);
    __real_nng_stream_recv(stream, aio);
}

void __real_nng_stream_send(nng_stream *stream, nng_aio *aio);
void __wrap_nng_stream_send(nng_stream *stream, nng_aio *aio);
void __wrap_nng_stream_send(nng_stream *stream, nng_aio *aio)
{
    note(stream, aio);
    __real_nng_stream_send(stream, aio);
}

/* Only this one waits until nobody is inside. */
void __real_nng_aio_free(nng_aio *aio);
void __wrap_nng_aio_free(nng_aio *aio);
void __wrap_nng_aio_free(nng_aio *aio)
{
    pthread_mutex_lock(&lock); /* before: its memory may be given out again at once */
    for (size_t i = 0; i < operations_n; i++) {
        if (operations[i].aio == aio)
            operations[i].stream = NULL;
    }
    pthread_mutex_unlock(&lock);
    __real_nng_aio_free(aio);
}

void __real_nng_stream_free(nng_stream *stream);
void __wrap_nng_stream_free(nng_stream *stream);
void __wrap_nng_stream_free(nng_stream *stream)
{
    pthread_mutex_lock(&lock);
    streams_freed++;
    for (size_t i = 0; i < operations_n; i++) {
        too_early += operations[i].stream == stream;
        if (operations[i].stream == stream)
            operations[i].stream = NULL;
    }
    pthread_mutex_unlock(&lock);
    __real_nng_stream_free(stream);
}

static size_t freed(void)
{
    pthread_mutex_lock(&lock);
    size_t n = streams_freed;
    pthread_mutex_unlock(&lock);
    return n;
}

static void a_stream_outlives_its_operations(void **state)
{
    (void)state;
    static struct shell_fixture node;
    enum { CLIENTS = 40 };
    int fds[CLIENTS];
    shell_start(&node, (struct rpc_options){0});
    for (uint32_t i = 0; i < CLIENTS; i++) {
        fds[i] = i % 4 == 0 ? shell_connect(&node) : shell_dial(&node);
        if (i % 4 == 2)
            shell_write(fds[i], "\0\0\0\0\0", 5); /* in the middle of a frame */
        if (i % 4 == 3) {
            struct shell_frame frame;
            shell_send(fds[i], i, "echo", "hello", 5);
            assert_true(shell_recv(fds[i], &frame));
            shell_frame_free(&frame);
        }
    }
    for (uint32_t i = 0; i < CLIENTS / 2; i++)
        close(fds[i]);
    for (int ms = 0; ms < SHELL_WAIT_MS && freed() < CLIENTS / 2; ms++)
        nng_msleep(1);
    shell_stop(&node); /* the other half is closed by it */
    for (uint32_t i = CLIENTS / 2; i < CLIENTS; i++)
        close(fds[i]);
    assert_int_equal(freed(), CLIENTS);
    assert_int_equal(too_early, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_stream_outlives_its_operations)};
    return cmocka_run_group_tests_name("stream_end", tests, NULL, NULL);
}
