/* See address.h. Checked here rather than by nng, whose answer to a bad address is one error code
 * for everything, and only when it is dialled. */
#include "client/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "client/scope.h"
#include "troupe/error.h"

#define DEFAULT_PORT "7700"

/* A stretch of the caller's text. */
struct part {
    const char *at;
    size_t len;
};

static int bad(struct part item, const char *why, char *errmsg, size_t errmsg_bytes)
{
    snprintf(errmsg, errmsg_bytes,
             "address \"%.*s\": %s; write host:port, tcp://host:port or ipc:///path",
             (int)(item.len > 200 ? 200 : item.len), item.at, why);
    return TROUPE_EINVAL;
}

static struct part trim(struct part p)
{
    while (p.len > 0 && (p.at[0] == ' ' || p.at[0] == '\t')) {
        p.at++;
        p.len--;
    }
    while (p.len > 0 && (p.at[p.len - 1] == ' ' || p.at[p.len - 1] == '\t'))
        p.len--;
    return p;
}

static bool skip_prefix(struct part *p, const char *prefix)
{
    size_t n = strlen(prefix);
    if (p->len < n || memcmp(p->at, prefix, n) != 0)
        return false;
    p->at += n;
    p->len -= n;
    return true;
}

static bool only_of(struct part p, const char *allowed)
{
    for (size_t i = 0; i < p.len; i++)
        if (p.at[i] == '\0' || strchr(allowed, p.at[i]) == NULL)
            return false;
    return p.len > 0;
}

/* "host:port", "[v6]:port", either without a port. NULL, or what is wrong. */
static const char *split_host(struct part item, struct part *host, struct part *port)
{
    size_t end; /* of the host, brackets included */
    if (item.len > 0 && item.at[0] == '[') {
        const char *close = memchr(item.at, ']', item.len);
        if (close == NULL)
            return "a \"]\" is missing";
        end = (size_t)(close - item.at) + 1;
        *host = (struct part){item.at + 1, end - 2};
        if (memchr(host->at, ':', host->len) == NULL)
            return "what is in brackets is not an IPv6 address";
    } else {
        const char *colon = memchr(item.at, ':', item.len);
        end = colon == NULL ? item.len : (size_t)(colon - item.at);
        *host = (struct part){item.at, end};
        if (colon != NULL && memchr(colon + 1, ':', item.len - end - 1) != NULL)
            return "an IPv6 address belongs in brackets, [::1]:" DEFAULT_PORT;
    }
    if (host->len == 0)
        return "the host is missing";
    *port = (struct part){DEFAULT_PORT, sizeof DEFAULT_PORT - 1};
    if (end == item.len)
        return NULL;
    if (item.at[end] != ':')
        return "only \":port\" may follow the \"]\"";
    *port = (struct part){item.at + end + 1, item.len - end - 1};
    return NULL;
}

static const char *check_port(struct part port)
{
    long number = 0;
    if (only_of(port, "0123456789") && port.len <= 5)
        for (size_t i = 0; i < port.len; i++)
            number = number * 10 + (port.at[i] - '0');
    return number >= 1 && number <= 65535 ? NULL : "the port must be a number from 1 to 65535";
}

static int append(struct address_list *list, const char *scheme, struct part host, struct part port)
{
    struct address *items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (items == NULL)
        return TROUPE_ENOMEM;
    list->items = items;
    struct address *a = &items[list->count++];
    bool v6 = memchr(host.at, ':', host.len) != NULL;
    snprintf(a->text, sizeof a->text, v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", (int)host.len, host.at,
             (int)port.len, port.at);
    snprintf(a->url, sizeof a->url, v6 ? "%s://[%.*s]:%.*s" : "%s://%.*s:%.*s", scheme,
             (int)host.len, host.at, (int)port.len, port.at);
    scope_keep_case(a->url, sizeof a->url);
    a->ipc = false;
    return 0;
}

static int append_ipc(struct address_list *list, struct part path)
{
    struct address *items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (items == NULL)
        return TROUPE_ENOMEM;
    list->items = items;
    struct address *a = &items[list->count++];
    snprintf(a->url, sizeof a->url, "ipc://%.*s", (int)path.len, path.at);
    memcpy(a->text, a->url, sizeof a->text);
    a->ipc = true;
    return 0;
}

static int parse_tcp(struct address_list *list, struct part item, struct part rest, char *errmsg,
                     size_t errmsg_bytes)
{
    struct part host, port;
    const char *why = split_host(rest, &host, &port);
    if (why == NULL)
        why = check_port(port);
    if (why == NULL && host.len > 253)
        why = "the host is longer than 253 bytes";
    if (why == NULL && memchr(host.at, ':', host.len) != NULL) {
        const char *zone = memchr(host.at, '%', host.len); /* fe80::1%eth0 */
        struct part digits = {host.at, zone == NULL ? host.len : (size_t)(zone - host.at)};
        if (!only_of(digits, "0123456789abcdefABCDEF:."))
            return bad(item, "that is not an IPv6 address", errmsg, errmsg_bytes);
        return append(list, "tcp6", host, port);
    }
    static const char host_characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (why == NULL && !only_of(host, host_characters))
        why = "a host consists of letters, digits, dots and hyphens";
    if (why != NULL)
        return bad(item, why, errmsg, errmsg_bytes);
    int rc = append(list, "tcp4", host, port);
    if (rc == 0 && !only_of(host, "0123456789."))
        rc = append(list, "tcp6", host, port);
    return rc;
}

static int parse_item(struct address_list *list, struct part item, char *errmsg,
                      size_t errmsg_bytes)
{
    struct part rest = item;
    if (skip_prefix(&rest, "ipc://")) {
        if (rest.len == 0 || memchr(rest.at, '\0', rest.len) != NULL)
            return bad(item, "the path is missing", errmsg, errmsg_bytes);
        if (rest.len >= sizeof((struct sockaddr_un *)NULL)->sun_path)
            return bad(item, "the path is longer than the 107 bytes of a unix socket", errmsg,
                       errmsg_bytes);
        return append_ipc(list, rest);
    }
    if (!skip_prefix(&rest, "tcp://")) {
        for (size_t i = 0; i + 3 <= rest.len; i++)
            if (memcmp(rest.at + i, "://", 3) == 0)
                return bad(item, "this version speaks tcp and ipc only", errmsg, errmsg_bytes);
    }
    return parse_tcp(list, item, rest, errmsg, errmsg_bytes);
}

int address_list_parse(struct address_list *list, const char *text, char *errmsg,
                       size_t errmsg_bytes)
{
    *list = (struct address_list){0};
    const char *at = text;
    for (;;) {
        size_t len = strcspn(at, ",");
        int rc = parse_item(list, trim((struct part){at, len}), errmsg, errmsg_bytes);
        if (rc == 0 && list->count > ADDRESSES_MAX) {
            snprintf(errmsg, errmsg_bytes, "more than %d addresses", ADDRESSES_MAX);
            rc = TROUPE_EINVAL;
        }
        if (rc != 0) {
            if (rc == TROUPE_ENOMEM)
                snprintf(errmsg, errmsg_bytes, "out of memory");
            address_list_close(list);
            return rc;
        }
        if (at[len] == '\0')
            return 0;
        at += len + 1;
    }
}

void address_list_close(struct address_list *list)
{
    free(list->items);
    *list = (struct address_list){0};
}
