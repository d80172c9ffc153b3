/* See wire_fixture.h. The protocol: each message is a byte of type and a length that counts itself;
 * only the client's first one has no type. The server answers each Sync and each simple Query with
 * one ReadyForQuery, after the commit; the first one ends the start. */
#include "wire_fixture.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* last: cmocka wants the ones above */
#include <cmocka.h>

#include "proc.h"

enum {
    POLL_MS = 20,
    CHUNK_BYTES = 65536,
    KEPT_BYTES = 8192, /* of a message, to look into */
    HEADER_BYTES = 5,
};

struct stream {
    bool untyped; /* the next message has no type */
    uint8_t header[HEADER_BYTES];
    uint32_t have, left; /* of the header; of the body */
    uint32_t kept;
    char body[KEPT_BYTES];
};

struct wire_link {
    int client, server; /* -1: not used */
    struct stream from_client, from_server;
    unsigned asked, ready; /* ReadyForQuery: how many are to come in all, and have come */
    unsigned cut_at;       /* when so many have come; 0 = not */
};

static int unix_socket(const char *dir, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "%s/.s.PGSQL.5432", dir);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void close_link(struct wire_link *l)
{
    close(l->client);
    close(l->server);
    *l = (struct wire_link){.client = -1, .server = -1};
}

static void accept_link(struct wire_fixture *f)
{
    struct sockaddr_un address;
    int client = accept(f->listener, NULL, NULL), i = 0;
    while (i < WIRE_LINKS_MAX && f->links[i].client >= 0)
        i++;
    int server = unix_socket(f->server_dir, &address);
    if (client < 0 || i == WIRE_LINKS_MAX ||
        connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
        close(client);
        close(server);
        return;
    }
    f->links[i] = (struct wire_link){
        .client = client, .server = server, .from_client.untyped = true, .asked = 1};
}

/* ---- messages ---- */

static bool is_wanted(struct wire_fixture *f, const struct stream *s)
{
    bool wanted = false;
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < WIRE_CUTS_MAX && !wanted; i++) {
        struct wire_cut *cut = &f->cuts[i];
        wanted = cut->left > 0 && memmem(s->body, s->kept, cut->text, strlen(cut->text)) != NULL;
        cut->left -= wanted;
    }
    pthread_mutex_unlock(&f->lock);
    return wanted;
}

static void on_client_message(struct wire_fixture *f, struct wire_link *l)
{
    const struct stream *s = &l->from_client;
    if (s->header[0] == 'S' || s->header[0] == 'Q')
        l->asked++;
    if ((s->header[0] == 'P' || s->header[0] == 'Q') && l->cut_at == 0 && is_wanted(f, s))
        l->cut_at = s->header[0] == 'P' ? l->asked + 1 : l->asked;
}

static void on_server_message(struct wire_link *l)
{
    if (l->from_server.header[0] == 'Z')
        l->ready++;
}

/* Takes some of the bytes; true when a message is complete. */
static bool take(struct stream *s, const uint8_t **at, size_t *n)
{
    while (*n > 0 && s->have < HEADER_BYTES) {
        if (s->have == 0 && s->untyped)
            s->header[s->have++] = 0;
        s->header[s->have++] = *(*at)++;
        (*n)--;
        const uint8_t *h = s->header;
        if (s->have == HEADER_BYTES) {
            s->left =
                ((uint32_t)h[1] << 24 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 8 | h[4]) - 4;
            s->kept = 0;
        }
    }
    if (s->have < HEADER_BYTES)
        return false;
    size_t part = *n < s->left ? *n : s->left;
    size_t keep = part < KEPT_BYTES - s->kept ? part : KEPT_BYTES - s->kept;
    memcpy(s->body + s->kept, *at, keep);
    s->kept += (uint32_t)keep;
    s->left -= (uint32_t)part;
    *at += part;
    *n -= part;
    if (s->left > 0)
        return false;
    s->have = 0;
    s->untyped = false;
    return true;
}

static bool send_all(int fd, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void relay(struct wire_fixture *f, struct wire_link *l, bool from_client)
{
    static uint8_t chunk[CHUNK_BYTES];
    struct stream *s = from_client ? &l->from_client : &l->from_server;
    ssize_t got = recv(from_client ? l->client : l->server, chunk, sizeof chunk, 0);
    if (got <= 0) {
        close_link(l);
        return;
    }
    const uint8_t *at = chunk;
    size_t n = (size_t)got;
    while (n > 0 || s->have == HEADER_BYTES) {
        if (!take(s, &at, &n))
            break;
        if (from_client)
            on_client_message(f, l);
        else
            on_server_message(l);
    }
    bool cut = l->cut_at != 0 && l->ready >= l->cut_at;
    bool swallow = l->cut_at != 0 && !from_client;
    if (cut || (!swallow && !send_all(from_client ? l->server : l->client, chunk, (size_t)got)))
        close_link(l);
}

static void *run(void *data)
{
    struct wire_fixture *f = data;
    while (!atomic_load(&f->stop)) {
        struct pollfd fds[1 + 2 * WIRE_LINKS_MAX] = {{.fd = f->listener, .events = POLLIN}};
        for (int i = 0; i < WIRE_LINKS_MAX; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = f->links[i].client, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = f->links[i].server, .events = POLLIN};
        }
        if (poll(fds, 1 + 2 * WIRE_LINKS_MAX, POLL_MS) <= 0)
            continue;
        for (int i = 0; i < WIRE_LINKS_MAX; i++) {
            if (fds[1 + 2 * i].revents != 0)
                relay(f, &f->links[i], true);
            if (fds[2 + 2 * i].revents != 0 && f->links[i].server == fds[2 + 2 * i].fd)
                relay(f, &f->links[i], false);
        }
        if (fds[0].revents != 0)
            accept_link(f);
    }
    return NULL;
}

void wire_fixture_open(struct wire_fixture *f, const char *server_dir)
{
    struct sockaddr_un address;
    *f = (struct wire_fixture){.listener = -1};
    proc_temp_dir(f->dir);
    chmod(f->dir, 0777);
    snprintf(f->server_dir, sizeof f->server_dir, "%s", server_dir);
    f->listener = unix_socket(f->dir, &address);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof address), 0);
    chmod(address.sun_path, 0777);
    assert_int_equal(listen(f->listener, WIRE_LINKS_MAX), 0);
    f->links = calloc(WIRE_LINKS_MAX, sizeof *f->links);
    assert_non_null(f->links);
    for (int i = 0; i < WIRE_LINKS_MAX; i++)
        f->links[i].client = f->links[i].server = -1;
    pthread_mutex_init(&f->lock, NULL);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

void wire_fixture_close(struct wire_fixture *f)
{
    if (f->links == NULL)
        return;
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    for (int i = 0; i < WIRE_LINKS_MAX; i++) {
        if (f->links[i].client >= 0)
            close_link(&f->links[i]);
    }
    close(f->listener);
    pthread_mutex_destroy(&f->lock);
    free(f->links);
    proc_remove_dir(f->dir);
    f->links = NULL;
}

void wire_fixture_cut(struct wire_fixture *f, const char *text, unsigned n)
{
    int i = 0;
    pthread_mutex_lock(&f->lock);
    while (i < WIRE_CUTS_MAX && f->cuts[i].left > 0)
        i++;
    if (i < WIRE_CUTS_MAX)
        f->cuts[i] = (struct wire_cut){.text = text, .left = n};
    pthread_mutex_unlock(&f->lock);
    assert_true(i < WIRE_CUTS_MAX);
}

unsigned wire_fixture_left(struct wire_fixture *f)
{
    unsigned left = 0;
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < WIRE_CUTS_MAX; i++)
        left += f->cuts[i].left;
    pthread_mutex_unlock(&f->lock);
    return left;
}
