/* Places for those who dial us, when more want one than there are. The RPC, peer and gossip ports
 * share these rules.
 *
 * Who has not brought a whole frame yet is a stranger. Strangers have a part of the places, and the
 * one that came first goes for the next one, without a time of grace: nobody can hold a place by
 * saying nothing, and whoever comes with a frame gets in. Those who have spoken keep their places:
 * one goes for a newcomer only when all are taken, if it was silent for a while and nothing of its
 * is under way, and from an address that is not known, if there is one.
 *
 * No address may have more than a part of them; a known one (this machine, or where a node of ours
 * is) may have more, and some places are kept for those. Not thread safe. */
#ifndef TROUPE_SHELL_PLACES_H
#define TROUPE_SHELL_PLACES_H

#include <nng/nng.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

enum {
    PLACES_HOST_BYTES = 16,  /* an IPv6 address, or a mapped IPv4 one; zeros: not told */
    PLACES_SPARED_MS = 1000, /* heard of so recently, a connection does not make room */
    PLACES_BUCKETS = 1024,
};

struct place {
    struct list link;    /* strangers or speakers */
    struct list by_host; /* a bucket */
    uint8_t host[PLACES_HOST_BYTES];
    bool known, spoke;
    atomic_uint_least64_t since_ms; /* last heard; the owner's to set, at any time */
};

struct places_limits {
    uint32_t max;
    uint32_t kept; /* … of which so many are for known addresses only */
    uint32_t strangers_max, host_max, known_host_max;
};

struct places {
    struct places_limits limits;
    /* Something is under way for it; NULL = never. */
    bool (*is_busy)(const struct place *p);
    uint32_t n, strangers_n;
    struct list strangers, speakers; /* oldest first */
    struct list hosts[PLACES_BUCKETS];
};

enum places_room {
    PLACES_ROOM,
    PLACES_ROOM_IF, /* … the victim goes */
    PLACES_FULL,
};

void places_init(struct places *ps, const struct places_limits *limits,
                 bool (*is_busy)(const struct place *p));
/* Whether there is room for one more from there. */
enum places_room places_ask(const struct places *ps, const uint8_t host[PLACES_HOST_BYTES],
                            bool known, uint64_t now_ms, struct place **victim);
/* The one to go when there is no room for a reason of somebody else's; NULL: none. */
struct place *places_victim(const struct places *ps, uint64_t now_ms);
/* A stranger takes a place; host and known are set. */
void places_take(struct places *ps, struct place *p, uint64_t now_ms);
/* It has brought a frame. Harmless if it has before, or has no place any more. */
void places_spoke(struct places *ps, struct place *p);
/* Harmless if it has none; link is for others to use from then on. */
void places_leave(struct places *ps, struct place *p);
/* All that are at that address are known from now on. */
void places_met(struct places *ps, const uint8_t host[PLACES_HOST_BYTES]);

/* ---- addresses ---- */

/* An IPv6 address becomes its network: who has one address there has 2^64. */
void places_to_network(uint8_t host[PLACES_HOST_BYTES]);
/* Who is at the other end, of IPv6 the network. False: the system does not say; host is all zeros.
 */
bool places_stream_host(nng_stream *stream, uint8_t host[PLACES_HOST_BYTES]);
bool places_is_same(const uint8_t a[PLACES_HOST_BYTES], const uint8_t b[PLACES_HOST_BYTES]);
bool places_is_loopback(const uint8_t host[PLACES_HOST_BYTES]);

#endif
