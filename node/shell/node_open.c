/* The node's parts, out of its settings. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/shell/clock.h"
#include "node/shell/log.h"
#include "node/shell/node_impl.h"
#include "node/shell/proof.h"

enum { DESCRIPTORS_PART = 2 /* one in so many is for connections of clients */ };

static void log_store(void *data, enum store_log_level level, const char *message)
{
    (void)data;
    log_line((enum log_level)level, "store", "text", message, NULL);
}

/* A connection is a descriptor. The default of 1,024 is for programs that use select. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* No more than a part of the descriptors that there are, so that some are left for what else needs
 * them. */
static uint32_t places_for(uint64_t wanted, uint32_t part)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur / part >= wanted)
        return (uint32_t)wanted;
    return limit.rlim_cur < part ? 1 : (uint32_t)(limit.rlim_cur / part);
}

static void tell_places(const struct config *c, uint32_t places)
{
    char text[16];
    if (places >= c->rpc_connections_max)
        return;
    snprintf(text, sizeof text, "%u", places);
    log_line(LOG_LEVEL_WARN,
             "there are too few descriptors for rpc-connections-max: raise the limit on open files "
             "(ulimit -n, LimitNOFILE= in a unit) to twice as many",
             "connections", text, NULL);
}

static enum node_exit open_kinds(struct node *n)
{
    char errmsg[KINDS_ERRMSG_BYTES];
    if (kinds_load(&n->kinds, n->config->kinds, errmsg) != 0) {
        log_line(LOG_LEVEL_ERROR, "kinds", "why", errmsg, NULL);
        return NODE_EXIT_KINDS;
    }
    if (n->kinds.n == 0)
        log_line(LOG_LEVEL_WARN,
                 "no kinds are loaded: the node can answer nothing but $node; use --kinds FILE.so",
                 NULL);
    return NODE_EXIT_OK;
}

/* Others cannot call 0.0.0.0: they are told the host that clients are told, or this one's name. */
static void choose_advertised(const struct config *config, const char *given, const char *bound,
                              char advertised[CONFIG_TEXT_BYTES])
{
    char host[256] = "";
    const char *colon = strrchr(bound, ':'), *end = strrchr(config->advertise, ':');
    bool any = strncmp(bound, "0.0.0.0:", 8) == 0 || strncmp(bound, "[::]:", 5) == 0 ||
               strncmp(bound, "*:", 2) == 0;
    if (given[0] != '\0')
        snprintf(advertised, CONFIG_TEXT_BYTES, "%s", given);
    else if (any && end != NULL && strncmp(config->advertise, "ipc:", 4) != 0)
        snprintf(advertised, CONFIG_TEXT_BYTES, "%.*s%s", (int)(end - config->advertise),
                 config->advertise, colon);
    else if (any && gethostname(host, sizeof host - 1) == 0)
        snprintf(advertised, CONFIG_TEXT_BYTES, "%s%s", host, colon);
    else
        snprintf(advertised, CONFIG_TEXT_BYTES, "%s", bound);
}

/* The listener first takes its port, so that the lease row can tell the address; it takes requests
 * when all is up. */
static enum node_exit open_listener(struct node *n)
{
    char errmsg[RPC_ERRMSG_BYTES];
    const struct config *c = n->config;
    struct rpc_options options = {
        .address = c->listen,
        .inflight_max = (uint32_t)c->rpc_inflight_max,
        .connections_max = places_for(c->rpc_connections_max, DESCRIPTORS_PART),
        .host_max = (uint32_t)c->rpc_connections_per_address,
        .idle_ms = (uint32_t)c->rpc_idle_ms,
        .memory_max = c->rpc_memory_max,
    };
    tell_places(c, options.connections_max);
    if (rpc_listen(&n->rpc, &options, n->bound, errmsg) != 0) {
        log_line(LOG_LEVEL_ERROR, "cannot listen", "why", errmsg, NULL);
        return NODE_EXIT_ADDRESS;
    }
    choose_advertised(c, c->advertise, n->bound, n->advertised);
    return NODE_EXIT_OK;
}

static bool is_alone(const struct config *c)
{
    return !c->gossip || strncmp(c->store, "memory:", 7) == 0;
}

/* For other nodes: gossip, and a listener like that for clients. */
static enum node_exit open_cluster(struct node *n)
{
    char errmsg[RPC_ERRMSG_BYTES], why[CLUSTER_ERRMSG_BYTES];
    const struct config *c = n->config;
    struct rpc_options options = {
        .address = c->peer_listen,
        .inflight_max = 65536,
        .connections_max = places_for(c->rpc_connections_max, 2 * DESCRIPTORS_PART),
        .idle_ms = 2 * PEERS_IDLE_MS, /* they are closed by who dialled, as a rule */
        .memory_max = c->rpc_memory_max,
        .from_peer = true,
    };
    if (is_alone(c) && c->join[0] != '\0')
        log_line(LOG_LEVEL_WARN,
                 "join has no effect: this node is a cluster by itself (gossip = off, or a store "
                 "in memory)",
                 NULL);
    if (is_alone(c))
        return NODE_EXIT_OK;
    int rc = rpc_listen(&n->peer_rpc, &options, n->peer_bound, errmsg);
    if (rc != 0) { /* a busy address: rpc's own text names the clients' setting */
        log_line(LOG_LEVEL_ERROR, "cannot listen for other nodes: change peer-listen", "address",
                 c->peer_listen, "why",
                 rc == TROUPE_EBUSY ? "the address is in use. Is another node running?" : errmsg,
                 NULL);
        return NODE_EXIT_ADDRESS;
    }
    n->cluster.peer_rpc = n->peer_rpc;
    if (cluster_open(&n->cluster, &n->loop, c->gossip_listen, why) != 0) {
        log_line(LOG_LEVEL_ERROR, "cannot listen for gossip: change gossip-listen", "why", why,
                 NULL);
        return NODE_EXIT_ADDRESS;
    }
    choose_advertised(c, c->peer_advertise, n->peer_bound, n->peer_advertised);
    choose_advertised(c, c->gossip_advertise, n->cluster.gossip_bound, n->gossip_advertised);
    return NODE_EXIT_OK;
}

/* The settings have been checked by config_read; what the runtime can refuse is a kind. */
static enum node_exit open_runtime(struct node *n)
{
    char errmsg[STORE_ERRMSG_BYTES], proof[STORE_PROOF_BYTES_MAX + 1];
    const struct config *c = n->config;
    struct runtime_time now = clock_now();
    proof_make(proof);
    struct runtime_config config = {
        .name = c->name,
        .cluster = c->cluster,
        .address = n->advertised,
        .gossip_address = n->gossip_advertised,
        .peer_address = n->peer_advertised,
        .zone = c->zone,
        .weight = (uint32_t)c->weight,
        .handoff_concurrency = (uint32_t)c->handoff_concurrency,
        .handoff_bytes_per_s = c->handoff_bytes_per_s,
        .drain_ms = (uint32_t)c->drain_timeout_ms,
        .proof = proof,
        .version = node_version(),
        .store_url = n->store_masked,
        .incarnation = now.wall_ms * 1000000 + now.mono_ns % 1000000,
        .seed = now.mono_ns ^ (uint64_t)getpid() << 32,
        .partitions = (uint32_t)c->partitions,
        .kinds = n->kinds.all,
        .kinds_n = n->kinds.n,
        .lease_ttl_ms = (uint32_t)c->lease_ttl_ms,
        .lease_renew_ms = (uint32_t)c->lease_renew_ms,
        .outage_grace_ms = (uint32_t)c->outage_grace_ms,
        .outage_fence = strcmp(c->store_outage, "fence") == 0,
        .entities_max = c->entities_max,
        .yield = core_yield,
        .yield_data = &n->core,
        .memory_bytes_max = c->memory_max,
        .warm_entities_max = c->warm_entities,
        .warm_off = c->warm_entities == 0,
    };
    int rc = runtime_open(&n->rt, &config, errmsg);
    if (rc == 0)
        return NODE_EXIT_OK;
    log_line(LOG_LEVEL_ERROR, "cannot start", "why", errmsg, NULL);
    return rc == TROUPE_EINVAL ? NODE_EXIT_KINDS : NODE_EXIT_FAULT;
}

static enum node_exit open_store(struct node *n)
{
    char errmsg[STORE_ERRMSG_BYTES];
    const struct config *c = n->config;
    struct store_options options = {
        .url = c->store,
        .cluster = c->cluster,
        .partitions = (uint32_t)c->partitions,
        .loop = &n->loop,
        .connections = (uint32_t)c->store_connections,
        .prepared_statements = c->prepared_statements,
        .timeline_none = strcmp(c->store_timeline, "none") == 0,
        .log = log_store,
    };
    int rc = store_open(&n->store, &options, errmsg);
    if (rc == 0)
        return NODE_EXIT_OK;
    log_line(LOG_LEVEL_ERROR, "store", "why", errmsg, "store", n->store_masked, NULL);
    return rc == TROUPE_EINVAL ? NODE_EXIT_USAGE : NODE_EXIT_FAULT;
}

enum node_exit node__open(struct node *n)
{
    enum node_exit (*const steps[])(struct node *) = {open_kinds, open_listener, open_cluster,
                                                      open_runtime, open_store};
    raise_descriptors();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        enum node_exit code = steps[i](n);
        if (code != NODE_EXIT_OK)
            return code;
    }
    return NODE_EXIT_OK;
}
