/* See fake_node.h. */
#include "fake_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, ID_BYTES = 4 };

struct connection {
    struct fake_node *node;
    pthread_t thread;
    int fd;
    bool open;
};

struct fake_node {
    int listener;
    bool ipc;
    char address[128];
    char path[108];
    fake_handler handler;
    void *data;
    pthread_t acceptor;
    pthread_mutex_t mu; /* one request at a time, and the connections */
    struct connection connections[CONNECTIONS_MAX];
    unsigned connections_n;
};

_Thread_local bool fake_node_thread;

static bool read_all(int fd, void *data, size_t len)
{
    for (uint8_t *p = data; len > 0;) {
        ssize_t n = read(fd, p, len);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool write_all(int fd, const void *data, size_t len)
{
    for (const uint8_t *p = data; len > 0;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* Runs the handler; the reply is in the arena. */
static enum fake_action serve(struct fake_node *node, struct arena *arena, struct troupe_bytes body,
                              struct rpc_reply *reply)
{
    struct rpc_request request;
    const char *why = "";
    if (rpc_request_decode(arena, body, &request, &why) != 0) {
        print_error("fake node: %s\n", why);
        abort();
    }
    *reply = (struct rpc_reply){
        .results = arena_calloc(arena, request.calls_n, sizeof(struct rpc_result)),
        .results_n = request.calls_n,
    };
    return node->handler(node->data, &request, reply);
}

static bool send_reply(struct connection *c, const uint8_t *id, enum fake_action action,
                       struct rpc_reply *reply)
{
    static const char garbage[] = "\xff\xff\xff\xff garbage";
    if (action == FAKE_SHORT)
        reply->results_n--;
    size_t body = action == FAKE_GARBAGE ? sizeof garbage - 1 : rpc_reply_size(reply);
    size_t head = (c->node->ipc ? 1 : 0) + 8, total = head + ID_BYTES + body;
    uint8_t *frame = calloc(1, total);
    frame[0] = 1; /* of ipc; of tcp the length's first byte, which is 0 */
    uint64_t len = ID_BYTES + body;
    for (int i = 0; i < 8; i++)
        frame[head - 1 - (size_t)i] = (uint8_t)(len >> (8 * i));
    memcpy(frame + head, id, ID_BYTES);
    if (action == FAKE_GARBAGE)
        memcpy(frame + head + ID_BYTES, garbage, body);
    else
        rpc_reply_encode(reply, frame + head + ID_BYTES);
    bool sent = write_all(c->fd, frame, total);
    free(frame);
    return sent;
}

/* One request and its answer; false: hang up. */
static bool serve_frame(struct connection *c, const uint8_t *frame, size_t len)
{
    struct arena arena;
    struct rpc_reply reply;
    arena_init(&arena, 0, 0);
    pthread_mutex_lock(&c->node->mu);
    enum fake_action action =
        serve(c->node, &arena, troupe_bytes(frame + ID_BYTES, len - ID_BYTES), &reply);
    bool go_on =
        action == FAKE_SILENCE || (action != FAKE_HANG_UP && send_reply(c, frame, action, &reply));
    pthread_mutex_unlock(&c->node->mu);
    arena_close(&arena);
    return go_on;
}

static void *connection_main(void *arg)
{
    struct connection *c = arg;
    static const uint8_t ours[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    static const uint8_t theirs[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    uint8_t head[9];
    size_t head_bytes = (c->node->ipc ? 1 : 0) + 8;
    fake_node_thread = true;
    bool go_on =
        write_all(c->fd, ours, 8) && read_all(c->fd, head, 8) && memcmp(head, theirs, 8) == 0;
    while (go_on && read_all(c->fd, head, head_bytes)) {
        uint64_t len = 0;
        for (size_t i = head_bytes - 8; i < head_bytes; i++)
            len = len << 8 | head[i];
        uint8_t *frame = malloc(len);
        go_on = read_all(c->fd, frame, len) && serve_frame(c, frame, len);
        free(frame);
    }
    pthread_mutex_lock(&c->node->mu);
    c->open = false;
    shutdown(c->fd, SHUT_RDWR); /* closed by fake_node_stop: the number must not be used again */
    pthread_mutex_unlock(&c->node->mu);
    return NULL;
}

static void *accept_main(void *arg)
{
    struct fake_node *node = arg;
    fake_node_thread = true;
    int fd;
    while ((fd = accept(node->listener, NULL, NULL)) >= 0) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        pthread_mutex_lock(&node->mu);
        if (node->connections_n == CONNECTIONS_MAX)
            abort();
        struct connection *c = &node->connections[node->connections_n++];
        *c = (struct connection){.node = node, .fd = fd, .open = true};
        pthread_create(&c->thread, NULL, connection_main, c);
        pthread_mutex_unlock(&node->mu);
    }
    return NULL;
}

int fake_listen(int port, int *bound_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *bound_port = ntohs(address.sin_port);
    return fd;
}

int fake_free_port(void)
{
    int port;
    close(fake_listen(0, &port));
    return port;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

struct fake_node *fake_node_start(int port, const char *path, fake_handler handler, void *data)
{
    struct fake_node *node = calloc(1, sizeof *node);
    assert_non_null(node);
    node->handler = handler;
    node->data = data;
    node->ipc = path != NULL;
    pthread_mutex_init(&node->mu, NULL);
    if (path != NULL) {
        node->listener = listen_unix(path);
        snprintf(node->path, sizeof node->path, "%s", path);
        snprintf(node->address, sizeof node->address, "ipc://%s", path);
    } else {
        node->listener = fake_listen(port, &port);
        snprintf(node->address, sizeof node->address, "127.0.0.1:%d", port);
    }
    assert_int_equal(pthread_create(&node->acceptor, NULL, accept_main, node), 0);
    return node;
}

const char *fake_node_address(const struct fake_node *node)
{
    return node->address;
}

void fake_node_hang_up(struct fake_node *node)
{
    pthread_mutex_lock(&node->mu);
    for (unsigned i = 0; i < node->connections_n; i++)
        if (node->connections[i].open)
            shutdown(node->connections[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&node->mu);
}

unsigned fake_node_connections(struct fake_node *node)
{
    pthread_mutex_lock(&node->mu);
    unsigned n = node->connections_n;
    pthread_mutex_unlock(&node->mu);
    return n;
}

void fake_node_stop(struct fake_node *node)
{
    shutdown(node->listener, SHUT_RDWR);
    pthread_join(node->acceptor, NULL);
    close(node->listener);
    fake_node_hang_up(node);
    for (unsigned i = 0; i < node->connections_n; i++) {
        pthread_join(node->connections[i].thread, NULL);
        close(node->connections[i].fd);
    }
    if (node->ipc)
        unlink(node->path);
    pthread_mutex_destroy(&node->mu);
    free(node);
}
