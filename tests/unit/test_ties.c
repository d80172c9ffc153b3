/* A node's ties to others (node/shell/cluster.h): what it says last gets out, and its end comes,
 * whoever listens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gossip_link_fixture.h"
#include "node/shell/cluster.h"
#include "troupe/error.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { FRAMES = 20, FRAME_BYTES = 1000 };

static struct cluster cluster;
static bool closed;

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void open_cluster(void)
{
    char errmsg[CLUSTER_ERRMSG_BYTES];
    closed = false;
    cluster = (struct cluster){0};
    assert_int_equal(cluster_open(&cluster, &link_loop, "127.0.0.1:0", errmsg), 0);
}

static void close_cluster(void)
{
    cluster_close(&cluster, on_closed, &closed);
    LINK_WAIT(closed);
}

static struct runtime_frame *frame_for(const char *address, struct runtime_frame *next)
{
    struct runtime_frame *f = calloc(1, sizeof *f + FRAME_BYTES);
    assert_non_null(f);
    snprintf(f->address, sizeof f->address, "%s", address);
    f->next = next;
    f->len = FRAME_BYTES;
    for (uint32_t i = 4; i < FRAME_BYTES; i++) /* number 0, as the fixture has it */
        f->bytes[i] = (uint8_t)i;
    return f;
}

static void say(const char *address)
{
    struct runtime_frame *frames = NULL;
    for (int i = 0; i < FRAMES; i++)
        frames = frame_for(address, frames);
    cluster_frames(&cluster, frames);
}

/* Not even the connection is there yet. */
static void the_last_words_get_out(void **state)
{
    static struct node other;
    (void)state;
    link_open(&other, (struct gossip_options){0});
    open_cluster();
    say(other.address);
    close_cluster();
    LINK_WAIT(other.frames == FRAMES);
    link_close(&other);
}

static void nobody_need_listen(void **state)
{
    char refused[GOSSIP_ADDRESS_BYTES], silent[GOSSIP_ADDRESS_BYTES];
    int bound = raw_bind(refused), mute = raw_bind(silent);
    (void)state;
    assert_int_equal(listen(mute, 8), 0); /* takes the connection, never shakes hands */
    open_cluster();
    say(refused);
    say(silent);
    say("no address");
    close_cluster();
    close(bound);
    close(mute);
}

static void frames_after_the_end_are_freed(void **state)
{
    (void)state;
    open_cluster();
    close_cluster();
    say("127.0.0.1:1");
}

/* Whoever steps on while it closes gets an answer, and one that is safe to act upon. */
static void requests_after_the_end_are_not_sent(void **state)
{
    struct core core = {0};
    struct runtime_peer_request requests[2] = {{.next = &requests[1]}, {0}};
    (void)state;
    open_cluster();
    cluster.core = &core;
    close_cluster();
    cluster_peers(&cluster, requests);
    struct runtime_peer_request *done = atomic_load(&core.peers_done);
    assert_ptr_equal(done, &requests[1]);
    assert_ptr_equal(done->next, &requests[0]);
    assert_null(requests[0].next);
    assert_int_equal(requests[0].error, TROUPE_EUNAVAILABLE);
    assert_int_equal(requests[1].error, TROUPE_EUNAVAILABLE);
}

static void a_cluster_that_never_was_closes_at_once(void **state)
{
    (void)state;
    closed = false;
    cluster = (struct cluster){0};
    cluster_close(&cluster, on_closed, &closed);
    assert_true(closed);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, link_setup, link_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_last_words_get_out),
        TEST(nobody_need_listen),
        TEST(frames_after_the_end_are_freed),
        TEST(requests_after_the_end_are_not_sent),
        TEST(a_cluster_that_never_was_closes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
