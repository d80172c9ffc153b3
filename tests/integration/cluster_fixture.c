/* See cluster_fixture.h. TROUPE_NODE_BIN and TROUPE_COUNTER are defined by CMake. */
#include "cluster_fixture.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    ARGS_MAX = 48,
    /* Below the ports that the system gives to outgoing connections: a node that is killed finds
     * its own ports free again. */
    PORT_FIRST = 20000,
    PORT_LAST = 32000,
    PORTS_EACH = 3,
    ASK_MS = 1000,
    LOG_SHOWN_BYTES = 4000,
};

/* ---- ports ---- */

static bool is_free(const char *host, int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &addr.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    bool ok = bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return ok;
}

/* The first of three. Programs that run at the same time begin at different places. */
static int take_ports(const char *host)
{
    static int next;
    if (next == 0)
        next = PORT_FIRST + (int)(getpid() % 100) * ((PORT_LAST - PORT_FIRST) / 100);
    for (int tried = 0; tried < PORT_LAST - PORT_FIRST; tried++) {
        int port = next;
        next += PORTS_EACH;
        if (next + PORTS_EACH > PORT_LAST)
            next = PORT_FIRST;
        if (is_free(host, port) && is_free(host, port + 1) && is_free(host, port + 2))
            return port;
    }
    proc_give_up("no three free ports from %d to %d", PORT_FIRST, PORT_LAST);
}

/* ---- opening, closing ---- */

static void make_store(struct cluster *c, struct pg_fixture *pg)
{
    static unsigned databases;
    char name[32], sql[64];
    if (pg == NULL) {
        snprintf(c->store, sizeof c->store, "sqlite:%s/troupe.db", c->dir);
        return;
    }
    snprintf(name, sizeof name, "cluster%u", ++databases);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    pg_fixture_sql(pg, "postgres", sql);
    pg_fixture_url(pg, name, c->store, sizeof c->store);
}

void cluster_open(struct cluster *c, struct pg_fixture *pg, size_t n, bool guardian)
{
    assert_true(n <= CLUSTER_NODES_MAX);
    *c = (struct cluster){.n = n, .guardian = guardian};
    proc_temp_dir(c->dir);
    make_store(c, pg);
    for (size_t i = 0; i < n; i++) {
        c->nodes[i].proc.out = -1;
        c->nodes[i].host = "127.0.0.1";
        snprintf(c->nodes[i].name, sizeof c->nodes[i].name, "n%zu", i + 1);
    }
}

static void close_client(struct cluster_node *n)
{
    troupe_batch_free(n->batch);
    troupe_client_close(n->client);
    n->batch = NULL;
    n->client = NULL;
}

void cluster_close(struct cluster *c)
{
    for (size_t i = 0; i < c->n; i++) {
        close_client(&c->nodes[i]);
        proc_close(&c->nodes[i].proc);
    }
    if (c->dir[0] != '\0')
        proc_remove_dir(c->dir);
    *c = (struct cluster){0};
}

/* ---- starting, stopping ---- */

void cluster_new_ports(struct cluster *c, size_t i)
{
    c->nodes[i].port = 0;
}

static void connect_client(struct cluster_node *n)
{
    char errmsg[256];
    struct troupe_client_options options = {.addresses = n->address, .no_ring = true};
    close_client(n);
    if (troupe_client_open(&n->client, &options, errmsg, sizeof errmsg) != 0)
        proc_give_up("no client of %s: %s", n->address, errmsg);
    n->batch = troupe_batch_new(n->client);
    assert_non_null(n->batch);
}

static size_t add_args(const char **argv, size_t at, const char *const *more)
{
    for (; *more != NULL; more++) {
        assert_true(at < ARGS_MAX - 1);
        argv[at++] = *more;
    }
    return at;
}

void cluster_start(struct cluster *c, size_t i)
{
    struct cluster_node *n = &c->nodes[i];
    const char *argv[ARGS_MAX] = {0};
    char peer[64], gossip[64];
    if (n->port == 0)
        n->port = take_ports(n->netns == NULL ? n->host : "127.0.0.1");
    snprintf(n->address, sizeof n->address, "%s:%d", n->host, n->port);
    snprintf(peer, sizeof peer, "%s:%d", n->host, n->port + 1);
    snprintf(gossip, sizeof gossip, "%s:%d", n->host, n->port + 2);
    size_t at = 0;
    if (n->netns != NULL)
        at = add_args(argv, at, (const char *const[]){"ip", "netns", "exec", n->netns, NULL});
    at = add_args(
        argv, at,
        (const char *const[]){TROUPE_NODE_BIN, "--name", n->name, "--store", c->store, "--kinds",
                              n->kinds != NULL ? n->kinds : TROUPE_COUNTER, "--listen", n->address,
                              "--peer-listen", peer, "--gossip-listen", gossip, "--guardian",
                              c->guardian ? "on" : "off", "--log-format", "logfmt", NULL});
    add_args(argv, at, n->args);
    proc_close(&n->proc);
    proc_start(&n->proc, &(struct proc_options){.argv = argv, .dir = c->dir});
    n->runs = true;
    connect_client(n);
}

void cluster_start_all(struct cluster *c)
{
    for (size_t i = 0; i < c->n; i++)
        cluster_start(c, i);
}

int cluster_stop(struct cluster *c, size_t i)
{
    c->nodes[i].runs = false;
    proc_signal(&c->nodes[i].proc, SIGTERM);
    return proc_wait_exit(&c->nodes[i].proc, 2 * PROC_TIMEOUT_MS);
}

void cluster_kill(struct cluster *c, size_t i)
{
    c->nodes[i].runs = false;
    proc_signal(&c->nodes[i].proc, SIGKILL);
    assert_int_equal(proc_wait_exit(&c->nodes[i].proc, PROC_TIMEOUT_MS), 128 + SIGKILL);
}

pid_t cluster_worker(struct cluster *c, size_t i)
{
    char path[64], text[64];
    pid_t guardian = c->nodes[i].proc.pid;
    if (!c->guardian)
        return guardian;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)guardian, (int)guardian);
    for (long end = proc_now_ms() + PROC_TIMEOUT_MS; proc_now_ms() < end;) {
        if (proc_read_file(path, text, sizeof text) && atoi(text) > 0)
            return (pid_t)atoi(text);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    proc_give_up("the guardian of %s has no child", c->nodes[i].name);
}

void cluster_addresses(const struct cluster *c, size_t first, char *text, size_t bytes)
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t k = 0; k < c->n; k++) {
        const struct cluster_node *n = &c->nodes[(first + k) % c->n];
        if (n->address[0] != '\0' && len < bytes)
            len +=
                (size_t)snprintf(text + len, bytes - len, "%s%s", len == 0 ? "" : ",", n->address);
    }
    assert_true(len > 0 && len < bytes);
}

void cluster_drain_logs(struct cluster *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->nodes[i].proc.out >= 0)
            proc_has_line(&c->nodes[i].proc, "\n");
    }
}

/* ---- questions ---- */

static void *ask(struct cluster *c, size_t i, const char *method,
                 const ProtobufCMessageDescriptor *of, uint32_t timeout_ms)
{
    struct cluster_node *n = &c->nodes[i];
    if (n->client == NULL)
        return NULL;
    troupe_batch_reset(n->batch);
    assert_int_equal(troupe_batch_add(n->batch, troupe_bytes_of("$node"), troupe_bytes_of("self"),
                                      troupe_bytes_of(method), (struct troupe_bytes){0},
                                      TROUPE_ACK_MEMORY, TROUPE_CALL_NO_ID),
                     0);
    assert_int_equal(troupe_batch_send_wait(n->batch, timeout_ms), 0);
    const struct troupe_call_result *r = troupe_batch_result(n->batch, 0);
    if (r->status != TROUPE_OK)
        return NULL;
    void *message = protobuf_c_message_unpack(of, NULL, r->payload.len, r->payload.data);
    assert_non_null(message);
    return message;
}

Troupe__Rpc__NodeStatus *cluster_status(struct cluster *c, size_t i, uint32_t timeout_ms)
{
    return ask(c, i, "status", &troupe__rpc__node_status__descriptor, timeout_ms);
}

Troupe__Rpc__Members *cluster_members(struct cluster *c, size_t i, uint32_t timeout_ms)
{
    return ask(c, i, "members", &troupe__rpc__members__descriptor, timeout_ms);
}

Troupe__Rpc__Ring *cluster_ring(struct cluster *c, size_t i, uint32_t timeout_ms)
{
    return ask(c, i, "ring", &troupe__rpc__ring__descriptor, timeout_ms);
}

void cluster_free_message(void *message)
{
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
}

const char *cluster_state(struct cluster *c, size_t i, size_t of)
{
    static char state[32];
    Troupe__Rpc__Members *m = cluster_members(c, i, ASK_MS);
    if (m == NULL)
        return "no answer";
    snprintf(state, sizeof state, "unknown");
    for (size_t k = 0; k < m->n_members; k++) {
        const Troupe__Rpc__Member *member = m->members[k];
        if (strcmp(member->name, c->nodes[of].name) == 0)
            snprintf(state, sizeof state, "%s", member->suspect ? "suspect" : member->state);
    }
    cluster_free_message(m);
    return state;
}

/* ---- waiting ---- */

bool cluster_wait(struct cluster *c, bool (*is_so)(struct cluster *c, void *data), void *data,
                  int timeout_ms)
{
    long end = proc_now_ms() + timeout_ms;
    for (;;) {
        cluster_drain_logs(c);
        if (is_so(c, data))
            return true;
        if (proc_now_ms() >= end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = CLUSTER_POLL_MS * 1000000L}, NULL);
    }
}

static size_t running(const struct cluster *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->nodes[i].runs;
    return n;
}

/* One node's own part of it. */
static bool is_settled(const struct cluster *c, const Troupe__Rpc__NodeStatus *s)
{
    return strcmp(s->state, "serving") == 0 && s->members_live == running(c) &&
           s->members_suspect == 0 && s->partitions_unowned == 0 &&
           s->partitions_owned == s->partitions_proposed;
}

static bool all_active(struct cluster *c, size_t i)
{
    Troupe__Rpc__Members *m = cluster_members(c, i, ASK_MS);
    size_t active = 0;
    for (size_t k = 0; m != NULL && k < m->n_members; k++)
        active += strcmp(m->members[k]->state, "active") == 0;
    cluster_free_message(m);
    return active == running(c);
}

static bool is_agreed(struct cluster *c, void *data)
{
    (void)data;
    uint64_t members = 0, ring = 0, owners = 0, owned = 0;
    bool first = true, agreed = true;
    for (size_t i = 0; agreed && i < c->n; i++) {
        if (!c->nodes[i].runs)
            continue;
        Troupe__Rpc__NodeStatus *s = cluster_status(c, i, ASK_MS);
        agreed = s != NULL && is_settled(c, s) &&
                 (first || (s->members_hash == members && s->ring_hash == ring &&
                            s->owners_hash == owners)) &&
                 all_active(c, i);
        if (agreed) {
            members = s->members_hash;
            ring = s->ring_hash;
            owners = s->owners_hash;
            owned += s->partitions_owned;
        }
        first = false;
        cluster_free_message(s);
    }
    return agreed && owned == CLUSTER_PARTITIONS;
}

void cluster_wait_agreed(struct cluster *c, int timeout_ms)
{
    if (cluster_wait(c, is_agreed, NULL, timeout_ms))
        return;
    cluster_show(c);
    fail_msg("%zu nodes have not come to one view within %d ms", running(c), timeout_ms);
}

void cluster_assert_balanced(struct cluster *c)
{
    size_t n = running(c);
    uint32_t cap = (uint32_t)((CLUSTER_PARTITIONS * 105 + 100 * n - 1) / (100 * n));
    for (size_t i = 0; i < c->n; i++) {
        if (!c->nodes[i].runs)
            continue;
        Troupe__Rpc__NodeStatus *s = cluster_status(c, i, ASK_MS);
        assert_non_null(s);
        assert_in_range(s->partitions_owned, 1, cap);
        cluster_free_message(s);
    }
}

/* ---- when something went wrong ---- */

static void show_view(struct cluster *c, size_t i)
{
    Troupe__Rpc__NodeStatus *s = cluster_status(c, i, ASK_MS);
    if (s == NULL) {
        fprintf(stderr, "%s at %s: no answer\n", c->nodes[i].name, c->nodes[i].address);
        return;
    }
    fprintf(stderr,
            "%s at %s: %s, store %s, live %u, suspect %u, owned %u, proposed %u, unowned %u, "
            "members %016" PRIx64 ", ring %016" PRIx64 ", owners %016" PRIx64 ", sees",
            c->nodes[i].name, c->nodes[i].address, s->state, s->store_ok ? "ok" : s->store_error,
            s->members_live, s->members_suspect, s->partitions_owned, s->partitions_proposed,
            s->partitions_unowned, s->members_hash, s->ring_hash, s->owners_hash);
    cluster_free_message(s);
    for (size_t of = 0; of < c->n; of++)
        fprintf(stderr, " %s:%s", c->nodes[of].name, cluster_state(c, i, of));
    fprintf(stderr, "\n");
}

void cluster_show(struct cluster *c)
{
    cluster_drain_logs(c);
    for (size_t i = 0; i < c->n; i++) {
        if (c->nodes[i].runs)
            show_view(c, i);
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct proc *p = &c->nodes[i].proc;
        size_t skip = p->log_len > LOG_SHOWN_BYTES ? p->log_len - LOG_SHOWN_BYTES : 0;
        if (p->log != NULL)
            fprintf(stderr, "---- the log of %s ends with\n%s\n", c->nodes[i].name, p->log + skip);
    }
}

/* ---- figures ---- */

void figures_add(struct figures *f, long ms)
{
    if (f->n < FIGURES_MAX)
        f->values_ms[f->n++] = ms;
}

static int compare(const void *a, const void *b)
{
    const long *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

long figures_percentile(struct figures *f, unsigned percent)
{
    if (f->n == 0)
        return 0;
    qsort(f->values_ms, f->n, sizeof f->values_ms[0], compare);
    size_t at = (f->n * percent + 99) / 100;
    return f->values_ms[at == 0 ? 0 : at - 1];
}

void figures_print(struct figures *f, const char *what)
{
    printf("figure: %s: n %zu, p50 %ld ms, p99 %ld ms, max %ld ms\n", what, f->n,
           figures_percentile(f, 50), figures_percentile(f, 99), figures_percentile(f, 100));
    fflush(stdout);
}
