/* See tcp_switch.h. A thread accepts, and two carry each connection, one in each direction. */
#include "tcp_switch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { CARRY_BYTES = 16 << 10 };

static bool write_all(int fd, const char *bytes, ssize_t n)
{
    while (n > 0) {
        ssize_t done = send(fd, bytes, (size_t)n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        bytes += done;
        n -= done;
    }
    return true;
}

/* The descriptors stay open until the switch is closed, so that no number is used again meanwhile.
 */
static void carry(int from, int to)
{
    char bytes[CARRY_BYTES];
    ssize_t n;
    while ((n = recv(from, bytes, sizeof bytes, 0)) > 0 && write_all(to, bytes, n))
        continue;
    shutdown(from, SHUT_RDWR);
    shutdown(to, SHUT_RDWR);
}

static void *carry_there(void *data)
{
    const struct tcp_link *l = data;
    carry(l->client, l->server);
    return NULL;
}

static void *carry_back(void *data)
{
    const struct tcp_link *l = data;
    carry(l->server, l->client);
    return NULL;
}

/* -1: nobody listens there. */
static int connect_to(struct tcp_switch *s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    pthread_mutex_lock(&s->lock);
    memcpy(addr.sun_path, s->path, sizeof addr.sun_path);
    pthread_mutex_unlock(&s->lock);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void *accept_all(void *data)
{
    struct tcp_switch *s = data;
    for (int client; (client = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        int server = atomic_load(&s->stop) ? -1 : connect_to(s);
        if (server < 0 || s->links_n == TCP_SWITCH_LINKS_MAX) {
            close(client);
            if (server >= 0)
                close(server);
            continue;
        }
        struct tcp_link *l = &s->links[s->links_n++];
        *l = (struct tcp_link){.client = client, .server = server};
        pthread_create(&l->there, NULL, carry_there, l);
        pthread_create(&l->back, NULL, carry_back, l);
    }
    return NULL;
}

void tcp_switch_open(struct tcp_switch *s, const char *path)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof addr;
    *s = (struct tcp_switch){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    pthread_mutex_init(&s->lock, NULL);
    tcp_switch_steer(s, path);
    inet_pton(AF_INET, "127.0.0.1", &addr.sin_addr);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(s->listener, 64), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&addr, &len), 0);
    s->port = ntohs(addr.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, accept_all, s), 0);
}

void tcp_switch_steer(struct tcp_switch *s, const char *path)
{
    pthread_mutex_lock(&s->lock);
    snprintf(s->path, sizeof s->path, "%s", path);
    pthread_mutex_unlock(&s->lock);
}

void tcp_switch_close(struct tcp_switch *s)
{
    if (s->port == 0)
        return;
    atomic_store(&s->stop, true);
    shutdown(s->listener, SHUT_RDWR); /* accept returns */
    pthread_join(s->thread, NULL);
    close(s->listener);
    for (int i = 0; i < s->links_n; i++) {
        struct tcp_link *l = &s->links[i];
        shutdown(l->client, SHUT_RDWR);
        shutdown(l->server, SHUT_RDWR);
        pthread_join(l->there, NULL);
        pthread_join(l->back, NULL);
        close(l->client);
        close(l->server);
    }
    pthread_mutex_destroy(&s->lock);
    s->port = 0;
}
