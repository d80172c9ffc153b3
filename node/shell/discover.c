/* See discover.h. */
#include "node/shell/discover.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/shell/log.h"
#include "troupe/error.h"

enum { HOST_BYTES = 254, PORT_BYTES = 6, FAST_ROUNDS = 30, PORT_MAX = 65535, ENTRY_BYTES = 300 };

struct entry {
    struct discover *discover;
    char host[HOST_BYTES], port[PORT_BYTES];
    uv_getaddrinfo_t request;
    uv_timer_t timer;
    unsigned rounds, failures;
    int outcome; /* what was logged: addresses found, or a negative code of libuv; 0 = nothing */
};

struct discover {
    uv_loop_t *loop;
    struct discover_options options;
    struct entry *entries;
    unsigned entries_n;
    unsigned busy; /* requests and handles that refer to it */
    uv_timer_t end;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* ---- the list ---- */

static int refuse(char *errmsg, const char *entry, const char *why)
{
    snprintf(errmsg, DISCOVER_ERRMSG_BYTES,
             "join: '%.200s' %s: it must be HOST:PORT, [V6]:PORT or dns:NAME:PORT", entry, why);
    return TROUPE_EINVAL;
}

static int read_entry(const char *text, struct entry *e, char *errmsg)
{
    const char *host = strncmp(text, "dns:", 4) == 0 ? text + 4 : text;
    const char *colon = strrchr(host, ':');
    if (colon == NULL || colon == host)
        return refuse(errmsg, text, colon == NULL ? "has no port" : "has no host");
    bool bracketed = host[0] == '[' && colon[-1] == ']';
    if (!bracketed && memchr(host, ':', (size_t)(colon - host)) != NULL)
        return refuse(errmsg, text, "has too many colons");
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (!isdigit((unsigned char)colon[1]) || *end != '\0' || port < 1 || port > PORT_MAX ||
        strlen(colon + 1) >= PORT_BYTES)
        return refuse(errmsg, text, "has no port from 1 to 65535");
    size_t len = (size_t)(colon - host) - (bracketed ? 2 : 0);
    if (len == 0 || len >= HOST_BYTES || strpbrk(host, " \t/") != NULL)
        return refuse(errmsg, text, "has no valid host");
    memcpy(e->host, host + bracketed, len);
    e->host[len] = '\0';
    snprintf(e->port, sizeof e->port, "%lu", port);
    return 0;
}

/* Into entries, which may be NULL; how many, or a negative number. */
static int read_list(const char *join, struct entry *entries, char *errmsg)
{
    int n = 0;
    for (const char *p = join; *p != '\0';) {
        char text[ENTRY_BYTES];
        struct entry scratch;
        size_t len = strcspn(p, ",");
        if (n == DISCOVER_ENTRIES_MAX || len >= sizeof text) {
            snprintf(errmsg, DISCOVER_ERRMSG_BYTES,
                     "join: at most %d entries of less than %d bytes; use dns:NAME:PORT for more",
                     DISCOVER_ENTRIES_MAX, ENTRY_BYTES);
            return -1;
        }
        memcpy(text, p, len);
        text[len] = '\0';
        if (len > 0 && read_entry(text, entries == NULL ? &scratch : &entries[n], errmsg) != 0)
            return -1;
        n += len > 0;
        p += len + (p[len] == ',');
    }
    return n;
}

int discover_check(const char *join, char errmsg[DISCOVER_ERRMSG_BYTES])
{
    return read_list(join, NULL, errmsg) < 0 ? TROUPE_EINVAL : 0;
}

/* ---- resolving ---- */

static void on_timer(uv_timer_t *timer);

static void let_go(struct discover *d)
{
    if (--d->busy > 0 || !d->closing)
        return;
    void (*closed)(void *data) = d->closed;
    void *data = d->closed_data;
    free(d->entries);
    free(d);
    closed(data);
}

static void log_outcome(struct entry *e, int outcome)
{
    char text[64];
    if (outcome == e->outcome)
        return;
    e->outcome = outcome;
    if (outcome > 0)
        snprintf(text, sizeof text, "%d", outcome);
    else
        snprintf(text, sizeof text, "%s", uv_strerror(outcome));
    if (outcome > 0)
        log_line(LOG_LEVEL_INFO, "join: found addresses", "host", e->host, "port", e->port,
                 "addresses", text, NULL);
    else
        log_line(LOG_LEVEL_WARN, "join: the name cannot be resolved; trying again", "host", e->host,
                 "why", text, NULL);
}

static bool format(const struct addrinfo *a, const char *port, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN];
    bool v6 = a->ai_family == AF_INET6;
    if (!v6 && a->ai_family != AF_INET)
        return false;
    int rc =
        v6 ? uv_ip6_name((const struct sockaddr_in6 *)(const void *)a->ai_addr, host, sizeof host)
           : uv_ip4_name((const struct sockaddr_in *)(const void *)a->ai_addr, host, sizeof host);
    snprintf(out, size, v6 ? "[%s]:%s" : "%s:%s", host, port);
    return rc == 0;
}

static int tell_all(struct entry *e, const struct addrinfo *list)
{
    int n = 0;
    char address[INET6_ADDRSTRLEN + PORT_BYTES + 4];
    for (const struct addrinfo *a = list; a != NULL && n < DISCOVER_ADDRESSES_MAX; a = a->ai_next) {
        if (!format(a, e->port, address, sizeof address))
            continue;
        e->discover->options.contact(e->discover->options.data, address);
        n++;
    }
    return n;
}

/* Not all nodes of a cluster at the same moment. */
static uint64_t next_round_ms(const struct entry *e)
{
    uint64_t ms = e->rounds < FAST_ROUNDS ? DISCOVER_FAST_MS : DISCOVER_SLOW_MS;
    if (e->failures > 0) {
        unsigned doublings = e->failures < 6 ? e->failures - 1 : 5;
        uint64_t retry = (uint64_t)DISCOVER_RETRY_MIN_MS << doublings;
        ms = retry < DISCOVER_SLOW_MS ? retry : DISCOVER_SLOW_MS;
    }
    unsigned haste = e->discover->options.haste_percent;
    unsigned jitter = 0;
    uv_random(NULL, NULL, &jitter, sizeof jitter, 0, NULL);
    return (ms * (haste == 0 ? 100 : haste) / 100) * (90 + jitter % 21) / 100;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct entry *e = request->data;
    struct discover *d = e->discover;
    if (!d->closing) {
        int found = status == 0 ? tell_all(e, list) : 0;
        log_outcome(e, found > 0 ? found : status != 0 ? status : UV_EAI_NODATA);
        e->failures = found > 0 ? 0 : e->failures + 1;
        e->rounds++;
        uv_timer_start(&e->timer, on_timer, next_round_ms(e), 0);
    }
    uv_freeaddrinfo(list);
    let_go(d);
}

static void resolve(struct entry *e)
{
    struct discover *d = e->discover;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    e->request.data = e;
    d->busy++;
    int rc = d->options.resolve(d->loop, &e->request, on_resolved, e->host, e->port, &hints);
    if (rc == 0)
        return;
    d->busy--;
    log_outcome(e, rc);
    e->failures++;
    uv_timer_start(&e->timer, on_timer, next_round_ms(e), 0);
}

static void on_timer(uv_timer_t *timer)
{
    resolve(timer->data);
}

/* ---- opening, closing ---- */

int discover_open(struct discover **discover, uv_loop_t *loop, const char *join,
                  const struct discover_options *options, char errmsg[DISCOVER_ERRMSG_BYTES])
{
    int n = read_list(join, NULL, errmsg);
    if (n < 0)
        return TROUPE_EINVAL;
    struct discover *d = calloc(1, sizeof *d);
    struct entry *entries = calloc((size_t)n + 1, sizeof *entries);
    if (d == NULL || entries == NULL) {
        free(d);
        free(entries);
        snprintf(errmsg, DISCOVER_ERRMSG_BYTES, "join: out of memory");
        return TROUPE_ENOMEM;
    }
    *d = (struct discover){.loop = loop, .options = *options, .entries = entries, .busy = 1};
    d->entries_n = (unsigned)read_list(join, entries, errmsg);
    uv_timer_init(loop, &d->end);
    d->end.data = d;
    if (d->options.resolve == NULL)
        d->options.resolve = uv_getaddrinfo;
    for (unsigned i = 0; i < d->entries_n; i++) {
        struct entry *e = &entries[i];
        e->discover = d;
        uv_timer_init(loop, &e->timer);
        e->timer.data = e;
        d->busy++;
        resolve(e);
    }
    *discover = d;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct entry *e = handle->data;
    let_go(e->discover);
}

/* The last of it goes by a handle's callback, so that closed is never called from here. */
static void on_end(uv_handle_t *handle)
{
    struct discover *d = handle->data;
    let_go(d);
}

void discover_close(struct discover *d, void (*closed)(void *data), void *data)
{
    d->closing = true;
    d->closed = closed;
    d->closed_data = data;
    for (unsigned i = 0; i < d->entries_n; i++) {
        uv_cancel((uv_req_t *)&d->entries[i].request);
        uv_close((uv_handle_t *)&d->entries[i].timer, on_closed);
    }
    uv_close((uv_handle_t *)&d->end, on_end);
}
