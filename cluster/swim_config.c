/* Three sets of parameters: ours, memberlist's, and plain SWIM. */
#include "cluster/swim.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

void swim_config_default(struct swim_config *config)
{
    *config = (struct swim_config){
        .probe_interval_ns = SECOND,
        .probe_timeout_ns = 250 * MS,
        .probe_window_ns = 600 * MS,
        .indirect_probes = 3,
        .gossip_interval_ns = 100 * MS,
        .gossip_nodes = 3,
        .retransmit_mult = 4,
        .suspicion_min_ns = 1800 * MS,
        .suspicion_log_ns = 1500 * MS,
        .suspicion_max_mult = 6,
        .confirmations = 3,
        .health_max = 8,
        .sync_interval_ns = 2 * SECOND,
        .heal_ns = 3 * SECOND,
        .dead_keep_ns = 3600 * SECOND,
        .lag_ns = 200 * MS,
        .confirm_probes = 8,
        .last_words = 2,
        .neighbour = true,
        .gossip_in_order = true,
        .local_health = true,
        .shrinking_suspicion = true,
        .buddy = true,
        .nacks = true,
        .quiet_rule = true,
    };
}

/* config.go, DefaultLANConfig: ProbeInterval, ProbeTimeout, IndirectChecks, GossipInterval,
 * GossipNodes, RetransmitMult, SuspicionMult, SuspicionMaxTimeoutMult, AwarenessMaxMultiplier,
 * PushPullInterval. A suspicion is confirmed by SuspicionMult - 2 others. Its push/pull sends all
 * it has; here it is compared by digest, which is less, so bytes are in its favour. */
void swim_config_memberlist(struct swim_config *config)
{
    *config = (struct swim_config){
        .probe_interval_ns = SECOND,
        .probe_timeout_ns = 500 * MS,
        .probe_window_ns = SECOND,
        .indirect_probes = 3,
        .gossip_interval_ns = 200 * MS,
        .gossip_nodes = 3,
        .retransmit_mult = 4,
        .suspicion_min_ns = 4 * SECOND,
        .suspicion_log_ns = 4 * SECOND,
        .suspicion_max_mult = 6,
        .confirmations = 2,
        .health_max = 7,
        .sync_interval_ns = 30 * SECOND,
        .sync_always = true,
        .dead_keep_ns = 3600 * SECOND,
        .local_health = true,
        .shrinking_suspicion = true,
        .buddy = true,
        .nacks = true,
    };
}

void swim_config_plain(struct swim_config *config)
{
    swim_config_memberlist(config);
    config->local_health = config->shrinking_suspicion = config->buddy = config->nacks = false;
}
