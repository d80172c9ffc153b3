/* See node.h. A node that does not start, or ends while it is being measured, shows the end of its
 * log. */
#include "tools/bench/node.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "status.pb-c.h"
#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/bench/postgres_server.h"

enum {
    START_TIMEOUT_S = 30,
    LOOK_TIMEOUT_MS = 10000,
    MIGRATE_TIMEOUT_MS = 60000,
    POPULATE_BATCH = 512,
    POPULATE_IN_FLIGHT = 8,
};

void node_store_url(const struct bench *b, char url[PATH_MAX])
{
    static unsigned number;
    if (b->options->store != NULL)
        snprintf(url, PATH_MAX, "%s", b->options->store);
    else
        snprintf(url, PATH_MAX, "sqlite:%s/store-%u.db", b->sandbox.dir, ++number);
}

static int await_serving(struct bench *b, struct node *n)
{
    double until_s = now_s() + START_TIMEOUT_S;
    struct node_figures figures = {0};
    while (now_s() < until_s) {
        if (sandbox_has_exited(n->pid))
            return bench_fail_with_log(b, n->log, "the node did not start");
        if (node_look(b, n, &figures) == 0 && figures.serving)
            return 0;
        sleep_s(0.01);
    }
    return bench_fail_with_log(b, n->log, "the node does not serve");
}

int node_start(struct bench *b, struct node *n, const char *store_url, const char *kinds)
{
    static unsigned number;
    char store[PATH_MAX + 16], plugin[PATH_MAX + 32], listen[96], name[64], cluster[64];
    *n = (struct node){0};
    if (access(b->options->node, X_OK) != 0)
        return bench_fail(b, "%s: %s; build it, or give --node", b->options->node, strerror(errno));
    snprintf(n->address, sizeof n->address, "127.0.0.1:%u", sandbox_free_port());
    snprintf(n->log, sizeof n->log, "%s/node-%u.log", b->sandbox.dir, ++number);
    snprintf(store, sizeof store, "--store=%s", store_url);
    snprintf(plugin, sizeof plugin, "--kinds=%s/%s.so", b->options->kinds_dir, kinds);
    snprintf(listen, sizeof listen, "--listen=%s", n->address);
    snprintf(name, sizeof name, "--name=bench-%d-%u", (int)getpid(), number);
    snprintf(cluster, sizeof cluster, "--cluster=%s", b->cluster[0] == '\0' ? "bench" : b->cluster);
    const char *argv[] = {b->options->node,
                          store,
                          plugin,
                          listen,
                          name,
                          cluster,
                          "--peer-listen=127.0.0.1:0",
                          "--gossip-listen=127.0.0.1:0",
                          "--guardian=off", /* it is the node whose memory and time count */
                          NULL};
    n->pid = sandbox_spawn(
        &b->sandbox, &(struct sandbox_child){
                         .argv = argv, .output = n->log, .stdout_fd = -1, .end_signal = SIGKILL});
    if (n->pid < 0)
        return bench_fail(b, "the node could not be started: %s", strerror(errno));
    struct troupe_client_options options = {.addresses = n->address, .no_ring = b->no_ring};
    char errmsg[256];
    if (troupe_client_open(&n->client, &options, errmsg, sizeof errmsg) != 0)
        return bench_fail(b, "client: %s", errmsg);
    return await_serving(b, n);
}

void node_stop(struct bench *b, struct node *n)
{
    troupe_client_close(n->client);
    if (n->pid > 0)
        sandbox_end(&b->sandbox, n->pid, SIGKILL, 1000);
    *n = (struct node){0};
}

/* ---- asking it ---- */

static bool read_status(struct troupe_bytes payload, struct node_figures *figures)
{
    Troupe__Rpc__NodeStatus *s = troupe__rpc__node_status__unpack(NULL, payload.len, payload.data);
    if (s == NULL)
        return false;
    *figures = (struct node_figures){
        .resident = s->entities_resident,
        .dirty = s->entities_dirty,
        .loading = s->entities_loading,
        .saves_in_flight = s->saves_in_flight,
        .rows_saved = s->rows_saved,
        .memory_bytes = s->memory_bytes,
        .calls = s->calls,
        .partitions = s->partitions,
        .partitions_proposed = s->partitions_proposed,
        .members = s->members_live,
        .rows_loaded = s->rows_loaded,
        .warmed = s->entities_warmed,
        .to_warm = s->partitions_to_warm,
        .partitions_owned = s->partitions_owned,
        .serving = strcmp(s->state, "serving") == 0,
    };
    troupe__rpc__node_status__free_unpacked(s, NULL);
    return true;
}

int node_look(struct bench *b, struct node *n, struct node_figures *figures)
{
    struct troupe_batch *batch = troupe_batch_new(n->client);
    if (batch == NULL)
        return bench_fail(b, "out of memory");
    troupe_batch_add(batch, troupe_bytes_of("$node"), troupe_bytes_of("self"),
                     troupe_bytes_of("status"), troupe_bytes(NULL, 0), TROUPE_ACK_MEMORY, 0);
    int rc = troupe_batch_send_wait(batch, LOOK_TIMEOUT_MS);
    const struct troupe_call_result *r = rc == 0 ? troupe_batch_result(batch, 0) : NULL;
    if (r == NULL || r->status != TROUPE_OK)
        rc = bench_fail(b, "the node does not tell its status: %.*s",
                        r == NULL ? 0 : (int)r->message.len,
                        r == NULL ? "" : (const char *)r->message.data);
    else if (!read_status(r->payload, figures))
        rc = bench_fail(b, "the node's status makes no sense");
    troupe_batch_free(batch);
    return rc;
}

int node_wait_persisted(struct bench *b, struct node *n, double timeout_s)
{
    double until_s = now_s() + timeout_s;
    struct node_figures f = {0};
    while (now_s() < until_s) {
        if (sandbox_has_exited(n->pid))
            return bench_fail_with_log(b, n->log, "the node has ended");
        if (node_look(b, n, &f) != 0)
            return -1;
        if (f.dirty == 0 && f.saves_in_flight == 0 && f.loading == 0)
            return 0;
        sleep_s(0.05);
    }
    return bench_fail(b, "after %.0f s %llu entities are still not persisted", timeout_s,
                      (unsigned long long)f.dirty);
}

int node_populate(struct bench *b, struct node *n, uint32_t entities, unsigned flags)
{
    struct every_call calls = {
        .entities = entities,
        .batch = POPULATE_BATCH,
        .method = troupe_bytes_of("set"),
        .payload = SET_64,
        .flags = flags,
    };
    struct load_options options = {
        .client = n->client,
        .in_flight = POPULATE_IN_FLIGHT,
        .fill = every_call_fill,
        .data = &calls,
    };
    struct load *load = load_start(b, &options);
    return load == NULL ? -1 : load_finish(b, load);
}

int node_migrate(struct bench *b, const char *store_url)
{
    char store[PATH_MAX + 16], log[PATH_MAX];
    snprintf(store, sizeof store, "--store=%s", store_url);
    snprintf(log, sizeof log, "%s/migrate.log", b->sandbox.dir);
    const char *argv[] = {b->options->node, "migrate", store, NULL};
    pid_t pid = sandbox_spawn(
        &b->sandbox, &(struct sandbox_child){
                         .argv = argv, .output = log, .stdout_fd = -1, .end_signal = SIGKILL});
    if (pid < 0)
        return bench_fail(b, "troupe-node migrate could not be started: %s", strerror(errno));
    int status = sandbox_end(&b->sandbox, pid, 0, MIGRATE_TIMEOUT_MS);
    if (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return bench_fail_with_log(b, log, "troupe-node migrate failed");
    return 0;
}

static int measure_own_postgres(struct bench *b,
                                int (*measure)(struct bench *b, const char *database,
                                               const char *url))
{
    struct postgres_server server = {0};
    int rc = postgres_server_start(b, &server);
    if (rc == 0)
        rc = node_migrate(b, server.url);
    if (rc == 0)
        rc = measure(b, "Postgres", server.url);
    postgres_server_stop(b, &server);
    return rc;
}

int node_each_database(struct bench *b,
                       int (*measure)(struct bench *b, const char *database, const char *url))
{
    const char *url = b->options->store;
    if (url != NULL)
        return measure(b, strncmp(url, "postgres", 8) == 0 ? "Postgres" : "SQLite", url);
    int rc = measure(b, "SQLite", NULL);
    if (rc == 0 && postgres_server_exists())
        rc = measure_own_postgres(b, measure);
    return rc;
}
