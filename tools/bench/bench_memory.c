/* What an entity costs that is resident, persisted and idle: resident memory before and after so
 * many of them have been made, divided by their number. Everything is in it: the table, the
 * entity, the kind's own memory, what the allocator loses, and for the node also what its sockets,
 * its store and its queues have grown to. Their share shows beside a process that has nothing but
 * a runtime in it. A call with a request id leaves its reply behind, so that is measured, too. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/bench.h"
#include "tools/bench/host.h"
#include "tools/bench/load.h"
#include "tools/bench/node.h"

enum { PERSIST_TIMEOUT_S = 600, ALONE_TIMEOUT_MS = 120000, BYTES_MAX = 400 };

/* ---- the runtime alone ---- */

/* Writes three numbers to stdout: bytes per entity without and with the reply to a request id, and
 * the former as the runtime itself estimates it. */
static int measure_alone(struct bench *b, uint32_t entities)
{
    struct host h;
    struct runtime_stats stats;
    double bytes[2], estimate = 0;
    for (uint64_t client = 0; client < 2; client++) {
        double before = process_rss_bytes(getpid());
        if (host_open(b, &h, false) != 0 || host_populate(b, &h, entities, client) != 0 ||
            host_wait_persisted(b, &h) != 0)
            return -1;
        bytes[client] = (process_rss_bytes(getpid()) - before) / entities;
        runtime_stats(h.rt, h.now, &stats);
        if (client == 0)
            estimate = (double)stats.memory_bytes / entities;
    }
    printf("%f %f %f\n", bytes[0], bytes[1], estimate);
    return 0;
}

/* Neither runtime is closed: the second one must not live on what the first has given back. */
int memory_main(const char *entities)
{
    static struct bench b;
    int rc = measure_alone(&b, (uint32_t)strtoul(entities, NULL, 10));
    if (rc != 0)
        bench_say("%s", b.errmsg);
    fflush(stdout);
    _exit(rc == 0 ? 0 : 1);
}

static int read_numbers(int fd, double numbers[3])
{
    char text[256], *at = text;
    size_t n = 0;
    for (ssize_t got; n < sizeof text - 1; n += (size_t)got) {
        got = read(fd, text + n, sizeof text - 1 - n);
        if (got <= 0)
            break;
    }
    text[n] = '\0';
    for (int i = 0; i < 3; i++)
        numbers[i] = strtod(at, &at);
    return numbers[2] > 0 ? 0 : -1;
}

static int run_alone(struct bench *b, double numbers[3])
{
    int fds[2];
    char entities[24];
    snprintf(entities, sizeof entities, "%u", b->options->resident);
    const char *argv[] = {"/proc/self/exe", "--memory-of", entities, NULL};
    if (pipe(fds) != 0)
        return bench_fail(b, "pipe: %s", strerror(errno));
    pid_t pid = sandbox_spawn(
        &b->sandbox,
        &(struct sandbox_child){.argv = argv, .stdout_fd = fds[1], .end_signal = SIGKILL});
    close(fds[1]);
    int rc = pid < 0 ? -1 : read_numbers(fds[0], numbers);
    close(fds[0]);
    if (pid > 0)
        sandbox_end(&b->sandbox, pid, 0, ALONE_TIMEOUT_MS);
    return rc == 0 ? 0 : bench_fail(b, "the runtime alone could not be measured");
}

/* ---- a node ---- */

static int measure_node(struct bench *b, unsigned flags, double *bytes)
{
    struct node node;
    struct node_figures figures = {0};
    char url[PATH_MAX];
    uint32_t entities = b->options->resident;
    node_store_url(b, url);
    int rc = node_start(b, &node, url, "counter");
    double before = rc == 0 ? process_rss_bytes(node.pid) : 0;
    if (rc == 0)
        rc = node_populate(b, &node, entities, flags);
    if (rc == 0)
        rc = node_wait_persisted(b, &node, PERSIST_TIMEOUT_S);
    if (rc == 0)
        rc = node_look(b, &node, &figures);
    if (rc == 0 && figures.resident < entities)
        rc = bench_fail(b, "only %llu entities are resident", (unsigned long long)figures.resident);
    if (rc == 0)
        *bytes = (process_rss_bytes(node.pid) - before) / entities;
    node_stop(b, &node);
    return rc;
}

int bench_memory(struct bench *b)
{
    double node = 0, node_with_reply = 0, alone[3] = {0};
    bench_say("memory: the runtime alone");
    if (run_alone(b, alone) != 0)
        return -1;
    bench_say("memory: a node with %u entities", b->options->resident);
    if (measure_node(b, TROUPE_CALL_NO_ID, &node) != 0)
        return -1;
    bench_say("memory: the same, with a remembered reply each");
    if (measure_node(b, 0, &node_with_reply) != 0)
        return -1;
    struct figure *f = report_add(&b->report, "bytes", "memory: an idle entity of 64 bytes");
    figure_target(f, TARGET_AT_MOST, BYTES_MAX);
    figure_limit(f, "runtime alone");
    series_add(&f->measured, node);
    series_add(&f->limit, alone[0]);
    f = report_add(&b->report, "bytes", "memory: the same with a remembered reply");
    figure_limit(f, "runtime alone");
    series_add(&f->measured, node_with_reply);
    series_add(&f->limit, alone[1]);
    f = report_add(&b->report, "bytes", "memory: as the runtime estimates it");
    figure_limit(f, "runtime alone");
    series_add(&f->measured, alone[2]);
    series_add(&f->limit, alone[0]);
    return 0;
}
