/* In which order a member asks for partitions: the heart of the ring, for ring.c and its test. A
 * member asks for each partition once, in an order that is its own, a permutation drawn by the hash
 * of its name; so the turn at which it asks for a partition is its score for it, the earlier the
 * better. Scores that are a permutation and not independent numbers halve the variance of what a
 * member gets, and the best scores can be read off in order without computing the others (compare
 * Maglev: Eisenbud et al., NSDI 2016, §3.4). A member of weight w has w permutations.
 *
 * Everything here is what all nodes of a cluster must agree on, of whatever version: never change
 * it.
 */
#ifndef TROUPE_CLUSTER_RING_TURN_H
#define TROUPE_CLUSTER_RING_TURN_H

#include <stdint.h>

/* Of XXH3_64 of a member's name. Any number would do; with this one, clusters whose members are
 * named node-0, node-1 … or troupe-0, troupe-1 … grow to 100 members without any join moving more
 * than 1.2 times the newcomer's share of 4,096 partitions, which is luck that few seeds have
 * (ring.h). */
#define RING_TURN_SEED UINT64_C(4)

/* Sebastiano Vigna's splitmix64 finisher. */
static inline uint64_t ring_turn_mix(uint64_t z)
{
    z += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* The key of one of a member's permutations. */
static inline uint64_t ring_turn_key(uint64_t member_hash, uint32_t sub)
{
    return ring_turn_mix(member_hash + sub);
}

/* What is asked for at this turn, out of 2^bits partitions (bits at most 16). Each step can be
 * undone: an odd factor has an inverse modulo 2^bits, and so has a shift that is xor'ed in. */
static inline uint32_t ring_turn_pid(uint64_t key, uint32_t turn, unsigned bits)
{
    uint32_t mask = (UINT32_C(1) << bits) - 1;
    uint32_t x = turn;
    x = (x * ((uint32_t)key | 1) + (uint32_t)(key >> 12)) & mask;
    x ^= x >> bits / 2;
    x = (x * ((uint32_t)(key >> 24) | 1) + (uint32_t)(key >> 48)) & mask;
    x ^= x >> (bits / 2 - 1);
    x = (x * ((uint32_t)(key >> 36) | 1)) & mask;
    return x ^ x >> (bits / 2 + 1);
}

/* Two that ask for one partition at the same turn: the greater one gets it. */
static inline uint64_t ring_turn_tie(uint64_t member_hash, uint32_t pid)
{
    return ring_turn_mix(member_hash ^ ((uint64_t)pid << 32 | UINT32_C(0x5bd1e995)));
}

#endif
