/* For whom the listener has a place: a crowd keeps nobody out, idle connections end, and a node
 * that is out of descriptors can still be asked why. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/shell/rpc_impl.h"
#include "shell_fixture.h"
#include "troupe/client.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { PLACES = 64, CROWD = 300, IDLE_MS = 200, ROUNDS = 3 };

static struct shell_fixture node;
static int crowd[CROWD];

static bool answers(int fd, uint32_t id)
{
    struct shell_frame frame;
    shell_send(fd, id, "echo", "x", 1);
    if (!shell_recv(fd, &frame))
        return false;
    bool ok = shell_frame_id(&frame) == id && frame.reply.results[0].status == TROUPE_OK;
    shell_frame_free(&frame);
    return ok;
}

static void close_crowd(size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(crowd[i]);
}

static uint32_t places_taken(void)
{
    pthread_mutex_lock(&node.rpc->lock);
    uint32_t n = node.rpc->places.n;
    pthread_mutex_unlock(&node.rpc->lock);
    return n;
}

static void wait_for_places(uint32_t n)
{
    for (int ms = 0; places_taken() != n; ms++) {
        assert_true(ms < SHELL_WAIT_MS);
        poll(NULL, 0, 1);
    }
}

/* ---- crowds ---- */

static void a_silent_crowd_keeps_nobody_out(void **state)
{
    (void)state;
    shell_start(&node, (struct rpc_options){.connections_max = PLACES});
    int before = shell_dial(&node);
    assert_true(answers(before, 1));
    for (size_t i = 0; i < CROWD; i++) /* half of them shake hands, and say no more */
        crowd[i] = i % 2 == 0 ? shell_connect(&node) : shell_dial(&node);
    int after = shell_dial(&node);
    assert_true(answers(after, 2));
    assert_true(answers(before, 3)); /* who has spoken has a place for good */
    assert_true(places_taken() <= PLACES);
    close(before);
    close(after);
    close_crowd(CROWD);
    shell_stop(&node);
}

static void of_a_crowd_that_has_spoken_the_silent_one_goes(void **state)
{
    (void)state;
    enum { FEW = 4 };
    shell_start(&node, (struct rpc_options){.connections_max = FEW});
    for (uint32_t i = 0; i < FEW; i++) {
        crowd[i] = shell_dial(&node);
        assert_true(answers(crowd[i], i));
    }
    bool served = false;
    for (int ms = 0; !served; ms += 10) { /* they are spared for a while */
        assert_true(ms < SHELL_WAIT_MS);
        uint8_t hello[8];
        int fd = shell_connect(&node);
        served = recv(fd, hello, sizeof hello, MSG_WAITALL) == sizeof hello;
        close(fd);
        poll(NULL, 0, 10);
    }
    assert_true(shell_hangs_up(crowd[0]));
    assert_true(answers(crowd[FEW - 1], 9));
    close_crowd(FEW);
    shell_stop(&node);
}

/* ---- idle connections ---- */

static void idle_connections_end(void **state)
{
    (void)state;
    shell_start(&node, (struct rpc_options){.idle_ms = IDLE_MS});
    int spoke = shell_dial(&node), silent = shell_dial(&node), owed = shell_dial(&node);
    assert_true(answers(spoke, 1));
    shell_send(owed, 2, "make", "16777216", 8); /* more than the sockets hold: it waits for us */
    assert_true(shell_hangs_up(silent));
    assert_true(shell_hangs_up(spoke));
    struct shell_frame frame;
    assert_true(shell_recv(owed, &frame));
    assert_int_equal(frame.reply.results[0].payload.len, 16 << 20);
    shell_frame_free(&frame);
    assert_true(shell_hangs_up(owed));
    close(spoke);
    close(silent);
    close(owed);
    shell_stop(&node);
}

static void libtroupe_connects_again_without_a_word(void **state)
{
    (void)state;
    char errmsg[256];
    struct troupe_client *client;
    shell_start(&node, (struct rpc_options){.idle_ms = IDLE_MS});
    struct troupe_client_options options = {.addresses = node.address};
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct troupe_batch *batch = troupe_batch_new(client);
        assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("blob"), troupe_bytes_of("a"),
                                          troupe_bytes_of("echo"), troupe_bytes_of("x"),
                                          TROUPE_ACK_MEMORY, 0),
                         0);
        assert_int_equal(troupe_batch_send_wait(batch, SHELL_WAIT_MS), 0);
        assert_int_equal(troupe_batch_result(batch, 0)->status, TROUPE_OK);
        troupe_batch_free(batch);
        wait_for_places(0);
    }
    troupe_client_close(client);
    shell_stop(&node);
}

static void nng_connects_again_without_a_word(void **state)
{
    (void)state;
    char url[RPC_ADDRESS_BYTES + 8];
    uint8_t frame[256];
    nng_socket s;
    shell_start(&node, (struct rpc_options){.idle_ms = IDLE_MS});
    snprintf(url, sizeof url, "tcp://%s", node.address);
    assert_int_equal(nng_req0_open(&s), 0);
    assert_int_equal(nng_socket_set_ms(s, NNG_OPT_RECVTIMEO, SHELL_WAIT_MS), 0);
    assert_int_equal(nng_socket_set_ms(s, NNG_OPT_RECONNMINT, 2 * IDLE_MS), 0); /* not at once */
    assert_int_equal(nng_dial(s, url, NULL, 0), 0);
    for (int i = 0; i < ROUNDS; i++) {
        size_t n, head = 12;
        uint8_t *reply;
        size_t len = shell_frame(frame, sizeof frame, 1, "echo", "x", 1);
        assert_int_equal(nng_send(s, frame + head, len - head, 0), 0);
        assert_int_equal(nng_recv(s, &reply, &n, NNG_FLAG_ALLOC), 0);
        nng_free(reply, n);
        wait_for_places(0);
    }
    nng_close(s);
    shell_stop(&node);
}

/* ---- descriptors ---- */

static rlim_t limit_descriptors(rlim_t soft)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = soft;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

/* The first number that no descriptor has, as there may be gaps below the limit. */
static int first_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void connect_late(int fd)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)strtoul(strrchr(node.address, ':') + 1, NULL, 10));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
}

static void greet_late(int fd)
{
    static const uint8_t hello[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    uint8_t theirs[8];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    shell_write(fd, hello, sizeof hello);
    assert_int_equal(poll(&p, 1, SHELL_WAIT_MS), 1);
    assert_int_equal(recv(fd, theirs, sizeof theirs, MSG_WAITALL), sizeof theirs);
}

static void out_of_descriptors_silent_ones_go(void **state)
{
    (void)state;
    enum { N = 40, FREE = 8 };
    shell_start(&node, (struct rpc_options){.hello_ms = 10 * SHELL_WAIT_MS});
    for (size_t i = 0; i < N; i++)
        crowd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rlim_t before = limit_descriptors((rlim_t)first_free() + FREE);
    for (size_t i = 0; i < N; i++)
        connect_late(crowd[i]);
    greet_late(crowd[N - 1]); /* the last to come */
    assert_true(answers(crowd[N - 1], 1));
    limit_descriptors(before);
    close_crowd(N);
    shell_stop(&node);
}

static void out_of_descriptors_one_is_spare_for_this_machine(void **state)
{
    (void)state;
    shell_start(&node, (struct rpc_options){0});
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rlim_t before = limit_descriptors((rlim_t)first_free());
    assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), -1);
    connect_late(fd);
    greet_late(fd);
    assert_true(answers(fd, 1));
    limit_descriptors(before);
    close(fd);
    shell_stop(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_crowd_keeps_nobody_out),
        cmocka_unit_test(of_a_crowd_that_has_spoken_the_silent_one_goes),
        cmocka_unit_test(idle_connections_end),
        cmocka_unit_test(libtroupe_connects_again_without_a_word),
        cmocka_unit_test(nng_connects_again_without_a_word),
        cmocka_unit_test(out_of_descriptors_silent_ones_go),
        cmocka_unit_test(out_of_descriptors_one_is_spare_for_this_machine),
    };
    return cmocka_run_group_tests_name("listener places", tests, NULL, NULL);
}
