/* Every setting of the node, once. */
#include "node/shell/config.h"

#define AT(field) offsetof(struct config, field)
#define MS_MAX    UINT64_C(86400000)

const struct config_option CONFIG_OPTIONS[] = {
    {"name", CONFIG_NAME, AT(name), "", 1, 63, NULL,
     "the node's name, unique in the cluster and the same after a restart (default: the host's "
     "name)"},
    {"cluster", CONFIG_NAME, AT(cluster), "troupe", 1, 63, NULL,
     "the cluster's name; several clusters may share one database"},
    {"store", CONFIG_TEXT, AT(store), "sqlite:troupe.db", 1, 1000, NULL,
     "where states are kept: sqlite:FILE, postgres://USER@HOST/DATABASE, or memory: (nothing "
     "survives)"},
    {"kinds", CONFIG_TEXT, AT(kinds), "", 0, 1000, NULL,
     "shared objects that export kinds of entities, separated by commas; the flag may be repeated"},
    {"listen", CONFIG_ADDRESS, AT(listen), "127.0.0.1:7700", 0, 255, NULL,
     "address for clients; port 0 takes a free one, 0.0.0.0 is every address of the machine. There "
     "is no authentication: use a network that you trust"},
    {"advertise", CONFIG_ADDRESS, AT(advertise), "", 1, 255, NULL,
     "the address that others are told (default: what listen says; the host's name in place of "
     "0.0.0.0)"},
    {"weight", CONFIG_COUNT, AT(weight), "1", 1, 100, NULL,
     "this node's share of the partitions, in proportion to the others'"},
    {"zone", CONFIG_TEXT, AT(zone), "", 0, CONFIG_ZONE_BYTES_MAX, NULL,
     "what fails together with this node (a rack, an availability zone): backups are elsewhere"},
    {"zone-file", CONFIG_TEXT, AT(zone_file), "", 0, 1000, NULL,
     "a file whose first line is the zone, read at the start, unless zone is set"},
    {"gossip", CONFIG_BOOL, AT(gossip), "on", 0, 0, NULL,
     "off: this node is a cluster by itself and listens for no others. With a store in memory it "
     "always is"},
    {"gossip-listen", CONFIG_ADDRESS, AT(gossip_listen), "", 0, 255, NULL,
     "address for the gossip of other nodes (default: listen's host and its port + 2)"},
    {"gossip-advertise", CONFIG_ADDRESS, AT(gossip_advertise), "", 1, 255, NULL,
     "the address for gossip that others are told (default: as advertise, with its own port)"},
    {"peer-listen", CONFIG_ADDRESS, AT(peer_listen), "", 0, 255, NULL,
     "address for forwarded calls and moving partitions (default: listen's host and its port + 1)"},
    {"peer-advertise", CONFIG_ADDRESS, AT(peer_advertise), "", 1, 255, NULL,
     "the address that other nodes are told for these"},
    {"join", CONFIG_TEXT, AT(join), "", 0, 1000, NULL,
     "where other nodes may take gossip: HOST:PORT or dns:NAME:PORT (every address of the name), "
     "separated by commas; the flag may be repeated. Not needed: nodes find each other in the "
     "store"},
    {"guardian", CONFIG_BOOL, AT(guardian), "on", 0, 0, NULL,
     "run the node as a child process that is started again at once when it dies"},
    {"handoff-concurrency", CONFIG_COUNT, AT(handoff_concurrency), "2", 1, 8, NULL,
     "batches of partitions that are given to other nodes at once"},
    {"handoff-bytes-per-s", CONFIG_SIZE, AT(handoff_bytes_per_s), "64MiB", 0, UINT64_MAX / 2, NULL,
     "state of entities that is given to other nodes in a second, on average (0: no limit)"},
    {"drain-timeout", CONFIG_DURATION, AT(drain_timeout_ms), "30s", 0, MS_MAX, NULL,
     "how long moving everything to the other nodes may take at the stop; less than stop-timeout"},
    {"partitions", CONFIG_COUNT, AT(partitions), "4096", 256, 65536, NULL,
     "partitions of a cluster that does not exist yet, a power of two; fixed from then on"},
    {"lease-ttl", CONFIG_DURATION, AT(lease_ttl_ms), "5s", 1000, MS_MAX, NULL,
     "how long the node owns its partitions after a renewal"},
    {"lease-renew", CONFIG_DURATION, AT(lease_renew_ms), "1s", 50, MS_MAX, NULL,
     "how often the lease is renewed; less than half of lease-ttl"},
    {"store-outage", CONFIG_CHOICE, AT(store_outage), "serve", 0, 0, "serve|fence",
     "without the store: serve from memory while no other node could take over, or fence at the "
     "lease's end"},
    {"outage-grace", CONFIG_DURATION, AT(outage_grace_ms), "10m", 1000, MS_MAX, NULL,
     "with serve: for how long at most, and how long a lone node's lease keeps others out"},
    {"store-wait", CONFIG_DURATION, AT(store_wait_ms), "30s", 100, MS_MAX, NULL,
     "how long to wait at the start for a store that cannot be reached, before giving up"},
    {"store-connections", CONFIG_COUNT, AT(store_connections), "3", 1, 64, NULL,
     "Postgres: connections for loads and saves; the lease has one of its own"},
    {"prepared-statements", CONFIG_BOOL, AT(prepared_statements), "on", 0, 0, NULL,
     "Postgres: off behind a pooler that does not keep sessions"},
    {"store-timeline", CONFIG_CHOICE, AT(store_timeline), "require", 0, 0, "require|none",
     "Postgres: none where the server may not tell its timeline; failovers go unnoticed then"},
    {"memory-max", CONFIG_SIZE, AT(memory_max), "0", 0, UINT64_MAX / 2, NULL,
     "estimated memory of entities beyond which the coldest are persisted and stopped (0: no "
     "limit)"},
    {"entities-max", CONFIG_COUNT, AT(entities_max), "0", 0, UINT64_MAX / 2, NULL,
     "resident entities beyond which the coldest are persisted and stopped (0: no limit)"},
    {"warm-entities", CONFIG_COUNT, AT(warm_entities), "100000", 0, UINT64_MAX / 2, NULL,
     "after a failover: entities that were in use lately and are loaded before they are called, at "
     "most (0: none)"},
    {"rpc-inflight-max", CONFIG_COUNT, AT(rpc_inflight_max), "4096", 1, 65536, NULL,
     "requests that may be under way at once; more wait in their connections"},
    {"rpc-connections-max", CONFIG_COUNT, AT(rpc_connections_max), "4096", 1, 1000000, NULL,
     "connections of clients; for one more a silent one is closed, or it is turned away"},
    {"rpc-connections-per-address", CONFIG_COUNT, AT(rpc_connections_per_address), "1024", 1,
     1000000, NULL,
     "connections of clients from one address (or IPv6 network of 64 bits), this machine excepted"},
    {"rpc-idle", CONFIG_DURATION, AT(rpc_idle_ms), "1h", 0, MS_MAX, NULL,
     "a client's connection is closed when nothing was asked on it, and nothing was under way, for "
     "so long (0: never)"},
    {"rpc-memory-max", CONFIG_SIZE, AT(rpc_memory_max), "1GiB", 64 << 20, UINT64_MAX / 2, NULL,
     "memory for requests and replies of more than 64 KiB, and unread replies; beyond it: refused"},
    {"stop-timeout", CONFIG_DURATION, AT(stop_timeout_ms), "60s", 100, MS_MAX, NULL,
     "how long persisting may take at the stop; then the node exits with 70 and says what is lost"},
    {"ready-file", CONFIG_TEXT, AT(ready_file), "", 0, 1000, NULL,
     "a file to write the address to as soon as the node serves"},
    {"log-level", CONFIG_CHOICE, AT(log_level), "info", 0, 0, "debug|info|warn|error",
     "least level to log"},
    {"log-format", CONFIG_CHOICE, AT(log_format), "auto", 0, 0, "auto|logfmt|json",
     "auto: logfmt on a terminal, JSON lines otherwise"},
};

const size_t CONFIG_OPTIONS_N = sizeof CONFIG_OPTIONS / sizeof CONFIG_OPTIONS[0];

_Static_assert(sizeof CONFIG_OPTIONS / sizeof CONFIG_OPTIONS[0] <= CONFIG_OPTIONS_MAX,
               "one seen flag each");
