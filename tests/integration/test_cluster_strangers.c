/* What should not come in, on the ports that nodes keep for each other: another cluster's gossip, a
 * second node of a name, bytes that are no message, messages that are too long, cut off, or old.
 * The nodes live on, believe none of it, and tell of it in the log once a minute: the tests share
 * one cluster and molest it until that minute is over. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster_load.h"
#include "proto/gossip.h"
#include "tests/unit/random.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    NODES = 3, /* the third comes and goes */
    EXIT_NAME_TAKEN = 4,
    SOCKET_MS = 5000,
    APART_MS = 4000, /* two rounds of contacts */
    JUNK_BYTES_MAX = 40000,
    FRAMES_MAX = 16,
    REPLAYS = 300,
    MINUTE_MS = 60000,
    TOLD_MS = 30000, /* after the minute */
};

static struct cluster c, other;
static long started_ms;
static struct dice dice;

static int open_group(void **state)
{
    (void)state;
    dice = dice_new((uint64_t)getpid());
    cluster_open(&c, NULL, NODES, false);
    started_ms = proc_now_ms();
    cluster_start(&c, 0);
    cluster_start(&c, 1);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    return 0;
}

static int close_group(void **state)
{
    (void)state;
    cluster_close(&other);
    cluster_close(&c);
    return 0;
}

/* ---- names and clusters ---- */

static void a_second_node_of_a_name_is_refused(void **state)
{
    (void)state;
    struct cluster_node *n = &c.nodes[2];
    snprintf(n->name, sizeof n->name, "%s", c.nodes[0].name);
    cluster_start(&c, 2);
    n->runs = false;
    assert_int_equal(proc_wait_exit(&n->proc, PROC_TIMEOUT_MS), EXIT_NAME_TAKEN);
    snprintf(n->name, sizeof n->name, "n3");
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
}

struct apart {
    bool mixed;
    long until_ms;
};

static size_t members_of(struct cluster *cluster, size_t i)
{
    Troupe__Rpc__Members *m = cluster_members(cluster, i, SOCKET_MS);
    assert_non_null(m);
    size_t n = m->n_members;
    cluster_free_message(m);
    return n;
}

static bool watch_apart(struct cluster *cluster, void *data)
{
    struct apart *a = data;
    a->mixed |= members_of(&c, 0) != 2 || members_of(&c, 1) != 2 || members_of(cluster, 0) != 1;
    return proc_now_ms() >= a->until_ms;
}

static void another_cluster_stays_another(void **state)
{
    (void)state;
    static char join[64];
    snprintf(join, sizeof join, "%s:%d", c.nodes[0].host, c.nodes[0].port + 2);
    cluster_open(&other, NULL, 1, false);
    snprintf(other.nodes[0].name, sizeof other.nodes[0].name, "stranger");
    other.nodes[0].args[0] = "--join";
    other.nodes[0].args[1] = join;
    cluster_start(&other, 0);
    cluster_wait_agreed(&other, CLUSTER_AGREE_MS);
    struct apart a = {.until_ms = proc_now_ms() + APART_MS};
    cluster_wait(&other, watch_apart, &a, APART_MS + PROC_TIMEOUT_MS);
    assert_false(a.mixed);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
}

/* ---- ports that are used again ---- */

enum { COUNTERS = 64, COUNT_MS = 60000 };

static const char *const slow_lease[] = {"--lease-ttl", "15s"}; /* time for the stranger to serve */

/* Every counter once, by way of node i; each call must work. */
static void count(struct cluster *cluster, size_t i, const char *method, uint64_t values[COUNTERS])
{
    struct troupe_batch *batch = cluster->nodes[i].batch;
    char id[16];
    troupe_batch_reset(batch);
    for (unsigned k = 0; k < COUNTERS; k++) {
        snprintf(id, sizeof id, "k%u", k);
        assert_int_equal(troupe_batch_add(batch, troupe_bytes_of("counter"), troupe_bytes_of(id),
                                          troupe_bytes_of(method), (struct troupe_bytes){0},
                                          TROUPE_ACK_MEMORY, 0),
                         0);
    }
    assert_int_equal(troupe_batch_send_wait(batch, COUNT_MS), 0);
    for (unsigned k = 0; k < COUNTERS; k++) {
        const struct troupe_call_result *r = troupe_batch_result(batch, k);
        if (r->status != TROUPE_OK)
            fail_msg("k%u %s: %s %.*s", k, method, troupe_status_name(r->status),
                     (int)r->message.len, (const char *)r->message.data);
        assert_true(load_read_value(r->payload, &values[k]));
    }
}

static bool listens(struct cluster *cluster, void *data)
{
    (void)data;
    Troupe__Rpc__NodeStatus *s = cluster_status(cluster, 0, SOCKET_MS);
    bool serving = s != NULL && strcmp(s->state, "serving") == 0;
    cluster_free_message(s);
    return serving;
}

/* A node dies with its guardian, and another cluster's begins at its address before its own has
 * noticed: what is forwarded to it is not executed there, but by who takes over. */
static void a_stranger_at_the_address_executes_nothing(void **state)
{
    (void)state;
    struct cluster ours, theirs;
    uint64_t values[COUNTERS];
    cluster_open(&ours, NULL, 2, true);
    cluster_open(&theirs, NULL, 1, true);
    for (size_t i = 0; i < 2; i++)
        memcpy(ours.nodes[i].args, slow_lease, sizeof slow_lease);
    cluster_start_all(&ours);
    cluster_wait_agreed(&ours, CLUSTER_AGREE_MS);
    count(&ours, 0, "incr_durable", values);
    pid_t worker = cluster_worker(&ours, 1);
    cluster_kill(&ours, 1);
    kill(worker, SIGKILL); /* if it has not gone with its guardian */
    theirs.nodes[0].port = ours.nodes[1].port;
    cluster_start(&theirs, 0);
    assert_true(cluster_wait(&theirs, listens, NULL, PROC_TIMEOUT_MS));
    count(&ours, 0, "incr_durable", values);
    for (unsigned k = 0; k < COUNTERS; k++)
        assert_int_equal(values[k], 2);
    assert_true(proc_has_line(&theirs.nodes[0].proc,
                              "a node of another cluster takes this one for one of its own"));
    count(&theirs, 0, "read", values);
    for (unsigned k = 0; k < COUNTERS; k++)
        assert_int_equal(values[k], 0);
    assert_int_equal(cluster_stop(&theirs, 0), 0);
    assert_int_equal(cluster_stop(&ours, 0), 0);
    cluster_close(&theirs);
    cluster_close(&ours);
}

/* ---- another database in the place of ours ---- */

enum { EXIT_STORE = 3 };

static void put_away(const struct cluster *cluster, const char *suffix)
{
    char from[128], to[160];
    snprintf(from, sizeof from, "%s/troupe.db%s", cluster->dir, suffix);
    snprintf(to, sizeof to, "%s/away.db%s", cluster->dir, suffix);
    assert_true(rename(from, to) == 0 || errno == ENOENT);
}

/* The file is moved away, and another node makes a new one: who has the old one in memory ends, and
 * neither serves from the new one nor writes there. */
static void a_node_whose_store_was_replaced_ends(void **state)
{
    (void)state;
    struct cluster pair;
    uint64_t values[COUNTERS];
    cluster_open(&pair, NULL, 2, true);
    cluster_start(&pair, 0);
    cluster_wait_agreed(&pair, CLUSTER_AGREE_MS);
    count(&pair, 0, "incr_durable", values);
    put_away(&pair, "");
    put_away(&pair, "-wal");
    put_away(&pair, "-shm");
    pair.nodes[0].runs = false;
    cluster_start(&pair, 1);
    assert_int_equal(proc_wait_exit(&pair.nodes[0].proc, PROC_TIMEOUT_MS), EXIT_STORE);
    assert_true(proc_has_line(&pair.nodes[0].proc, "the database has been replaced"));
    cluster_wait_agreed(&pair, CLUSTER_AGREE_MS);
    count(&pair, 1, "read", values);
    for (unsigned k = 0; k < COUNTERS; k++)
        assert_int_equal(values[k], 0);
    assert_int_equal(cluster_stop(&pair, 1), 0);
    cluster_close(&pair);
}

/* ---- bytes ---- */

static int dial(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {.tv_sec = SOCKET_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* The other side may hang up at any byte: that is its right. */
static void put(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

enum { SP_REQ = 0x30, SP_PUSH = 0x50, SP_PULL = 0x51, SP_BYTES = 8 };

static void put_hello(int fd, uint8_t protocol)
{
    put(fd, (const uint8_t[SP_BYTES]){0, 'S', 'P', 0, 0, protocol, 0, 0}, SP_BYTES);
}

static void put_length(int fd, uint64_t len)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(len >> 8 * (7 - i));
    put(fd, bytes, sizeof bytes);
}

static void put_junk(int fd, size_t len)
{
    static uint8_t junk[JUNK_BYTES_MAX];
    for (size_t i = 0; i < len; i++)
        junk[i] = (uint8_t)dice_throw(&dice);
    put(fd, junk, len);
}

/* Each way of being wrong, once, on a connection of its own. */
static void molest(int port, uint8_t protocol)
{
    int fd = dial(port);
    put_junk(fd, 1 + dice_below(&dice, JUNK_BYTES_MAX)); /* nothing that we know */
    close(fd);
    fd = dial(port);
    put(fd, "\0SP", 3); /* a handshake that is cut off */
    close(fd);
    fd = dial(port);
    put_hello(fd, 0x10); /* another protocol's */
    close(fd);
    fd = dial(port);
    put_hello(fd, protocol);
    put_length(fd, UINT64_C(1) << 62); /* too much */
    put_junk(fd, 1000);
    close(fd);
    fd = dial(port);
    put_hello(fd, protocol);
    put_length(fd, 1000);
    put_junk(fd, 500); /* half a message */
    close(fd);
    fd = dial(port);
    put_hello(fd, protocol);
    for (int i = 0; i < 20; i++) { /* messages that mean nothing */
        size_t len = dice_below(&dice, 2000);
        put_length(fd, len);
        put_junk(fd, len);
    }
    close(fd);
}

static void molest_all(void)
{
    for (size_t i = 0; i < 2; i++) {
        molest(c.nodes[i].port + 1, SP_REQ);
        molest(c.nodes[i].port + 2, SP_PUSH);
    }
}

static void nodes_survive_what_is_no_message(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++)
        molest_all();
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    assert_int_equal(members_of(&c, 0), 2);
}

/* ---- a client at the port of the nodes ---- */

static void read_all(int fd, void *out, size_t len)
{
    assert_int_equal(recv(fd, out, len, MSG_WAITALL), len);
}

/* A request of one call, as JSON, that bears no cluster's uid: it is refused as a whole, so the
 * reply has no results for the node to translate. */
static void a_client_at_the_nodes_port_is_told_where_to_ask(void **state)
{
    (void)state;
    static const uint8_t request[] = {0, 0,   0,    0,    0,    0,    0, 0x11, 0x80,
                                      0, 0,   1,    0x1a, 0x0b, 0x0a, 1, 'a',  0x12,
                                      1, 'b', 0x1a, 1,    'c',  0x38, 1};
    struct timeval limit = {.tv_sec = SOCKET_MS / 1000};
    uint8_t hello[SP_BYTES], head[8], body[1024] = {0};
    for (size_t i = 0; i < 2; i++) {
        int fd = dial(c.nodes[i].port + 1);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
        put_hello(fd, SP_REQ);
        read_all(fd, hello, sizeof hello);
        put(fd, request, sizeof request);
        read_all(fd, head, sizeof head);
        size_t len = (size_t)head[6] << 8 | head[7];
        assert_in_range(len, 5, sizeof body - 1);
        read_all(fd, body, len);
        assert_non_null(memmem(body, len, c.nodes[i].address, strlen(c.nodes[i].address)));
        close(fd);
        assert_int_equal(members_of(&c, i), 2);
    }
}

/* ---- what has been said before ---- */

struct frames {
    uint8_t bytes[FRAMES_MAX][GOSSIP_FRAME_BYTES_MAX];
    size_t len[FRAMES_MAX], n;
};

static int listen_for_gossip(int *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(listen(fd, 4), 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

static bool take_frame(int fd, struct frames *frames)
{
    uint8_t head[8];
    uint64_t len = 0;
    if (recv(fd, head, sizeof head, MSG_WAITALL) != (ssize_t)sizeof head)
        return false;
    for (int i = 0; i < 8; i++)
        len = len << 8 | head[i];
    assert_in_range(len, 1, GOSSIP_FRAME_BYTES_MAX);
    frames->len[frames->n] = len;
    assert_int_equal(recv(fd, frames->bytes[frames->n], len, MSG_WAITALL), len);
    frames->n++;
    return true;
}

/* What a node says that takes us for another: at least one frame. */
static void overhear(int listener, struct frames *frames)
{
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    struct timeval limit = {.tv_sec = SOCKET_MS / 1000};
    uint8_t hello[SP_BYTES];
    assert_int_equal(poll(&ready, 1, PROC_TIMEOUT_MS), 1);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    put_hello(fd, SP_PULL);
    assert_int_equal(recv(fd, hello, sizeof hello, MSG_WAITALL), SP_BYTES);
    assert_int_equal(hello[5], SP_PUSH);
    frames->n = 0;
    while (frames->n < FRAMES_MAX && take_frame(fd, frames))
        continue;
    assert_true(frames->n > 0);
    close(fd);
}

static void replay(const struct frames *frames, int port)
{
    int fd = dial(port);
    uint8_t hello[SP_BYTES];
    put_hello(fd, SP_PUSH);
    assert_int_equal(recv(fd, hello, sizeof hello, MSG_WAITALL), SP_BYTES);
    for (size_t i = 0; i < REPLAYS; i++) {
        put_length(fd, frames->len[i % frames->n]);
        put(fd, frames->bytes[i % frames->n], frames->len[i % frames->n]);
    }
    close(fd);
}

static void what_was_said_before_changes_nothing(void **state)
{
    (void)state;
    static struct frames frames;
    char join[64];
    int port, listener = listen_for_gossip(&port);
    snprintf(join, sizeof join, "127.0.0.1:%d", port);
    c.nodes[2].args[0] = "--join";
    c.nodes[2].args[1] = join;
    cluster_start(&c, 2);
    overhear(listener, &frames);
    close(listener);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    cluster_kill(&c, 2);
    c.nodes[2].args[0] = NULL;
    cluster_start(&c, 2); /* its next run: all that was overheard is an old one's */
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    for (size_t i = 0; i < NODES; i++)
        replay(&frames, c.nodes[i].port + 2);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(members_of(&c, i), NODES);
    assert_int_equal(cluster_stop(&c, 2), 0);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
}

/* ---- the log ---- */

static const struct {
    const char *text;
    long every_ms;
} TOLD[] = {
    {"connections that spoke something else", MINUTE_MS},
    {"gossip of another cluster comes in", MINUTE_MS},
    {"gossip that cannot be read comes in", MINUTE_MS},
};

enum { TOLD_N = sizeof TOLD / sizeof TOLD[0] };

static size_t count_lines(const struct proc *p, const char *text)
{
    size_t n = 0;
    for (const char *at = p->log; at != NULL && (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

static bool is_told(struct cluster *cluster, void *data)
{
    (void)data;
    molest_all();
    for (size_t k = 0; k < TOLD_N; k++) {
        if (count_lines(&cluster->nodes[0].proc, TOLD[k].text) == 0)
            return false;
    }
    return true;
}

static void all_of_it_is_told_now_and_then(void **state)
{
    (void)state;
    long left_ms = started_ms + MINUTE_MS + TOLD_MS - proc_now_ms();
    if (!cluster_wait(&c, is_told, NULL, (int)left_ms)) {
        cluster_show(&c);
        fail_msg("the log does not tell of it");
    }
    long age_ms = proc_now_ms() - started_ms;
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < TOLD_N; k++)
            assert_in_range(count_lines(&c.nodes[i].proc, TOLD[k].text), 0,
                            age_ms / TOLD[k].every_ms);
        assert_int_equal(cluster_stop(&c, i), 0);
    }
}

/* An argument is a pattern of the tests to run. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_node_of_a_name_is_refused),
        cmocka_unit_test(another_cluster_stays_another),
        cmocka_unit_test(a_stranger_at_the_address_executes_nothing),
        cmocka_unit_test(a_node_whose_store_was_replaced_ends),
        cmocka_unit_test(nodes_survive_what_is_no_message),
        cmocka_unit_test(a_client_at_the_nodes_port_is_told_where_to_ask),
        cmocka_unit_test(what_was_said_before_changes_nothing),
        cmocka_unit_test(all_of_it_is_told_now_and_then),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_group, close_group);
}
