/* A peer's life: found or made by whoever sends first, dialled, reaped and freed by the loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/log.h"
#include "node/shell/peers_impl.h"

/* ---- finding, making, dropping ---- */

static struct peer **bucket_of(struct peers *p, const char *address)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (const char *c = address; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619U;
    return &p->buckets[(hash ^ hash >> 16) % PEERS_BUCKETS];
}

static bool is_idle(const struct peer *peer)
{
    return list_is_empty(&peer->queue) && list_is_empty(&peer->flight);
}

void peers__drop(struct peer *peer)
{
    struct peers *p = peer->owner;
    struct peer **at = bucket_of(p, peer->address);
    INVARIANT(is_idle(peer) && !peer->dropped);
    while (*at != peer)
        at = &(*at)->chain;
    *at = peer->chain;
    peer->dropped = true;
    list_remove(&peer->attention);
    list_remove(&peer->link);
    list_push(&p->dropped, &peer->link);
    p->all_n--;
}

/* Room for one more; the one unused longest goes first. */
static bool make_room(struct peers *p)
{
    for (struct list *l = p->all.next; p->all_n >= p->options.peers_max && l != &p->all;) {
        struct peer *peer = LIST_ENTRY(l, struct peer, link);
        l = l->next;
        if (is_idle(peer) && list_is_empty(&peer->touched))
            peers__drop(peer);
    }
    return p->all_n < p->options.peers_max;
}

static bool peer_init(struct peer *peer, struct peers *p, const char *address)
{
    char errmsg[256];
    struct link_events events = peers__events;
    events.data = peer;
    peer->owner = p;
    peer->down = true;
    peer->expire_ns = UINT64_MAX;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    list_init(&peer->link);
    list_init(&peer->attention);
    list_init(&peer->touched);
    list_init(&peer->queue);
    list_init(&peer->flight);
    peers__finished_init(&peer->burst);
    if (address_list_parse(&peer->addresses, address, errmsg, sizeof errmsg) != 0)
        return false;
    if (peer->addresses.count > 0 && link_new(&peer->connection, &events) == 0)
        return true;
    address_list_close(&peer->addresses);
    return false;
}

static struct peer *peer_new(struct peers *p, const char *address)
{
    struct peer *peer = make_room(p) ? calloc(1, sizeof *peer) : NULL;
    if (peer == NULL)
        return NULL;
    if (!peer_init(peer, p, address)) {
        free(peer);
        return NULL;
    }
    struct peer **bucket = bucket_of(p, address);
    peer->chain = *bucket;
    *bucket = peer;
    list_push(&p->all, &peer->link);
    p->all_n++;
    return peer;
}

struct peer *peers__peer(struct peers *p, const char *address)
{
    for (struct peer *peer = *bucket_of(p, address); peer != NULL; peer = peer->chain)
        if (strcmp(peer->address, address) == 0)
            return peer;
    return peer_new(p, address);
}

void peers__free(struct peer *peer)
{
    INVARIANT(peer->dropped && is_idle(peer));
    link_free(peer->connection);
    address_list_close(&peer->addresses);
    free(peer->flights);
    free(peer);
}

/* ---- dialling, reaping ---- */

static void log_change(const struct peer *peer, const char *what, const char *why)
{
    log_line(LOG_LEVEL_INFO, what, "address", peer->address, why == NULL ? NULL : "why", why, NULL);
}

/* With the lock. The round of dials is over and nobody was there, or nobody of use. */
static void leave_alone(struct peer *peer, uint64_t now)
{
    uint64_t ms = (uint64_t)PEERS_BACKOFF_MIN_MS << (peer->failures < 5 ? peer->failures : 5);
    ms = ms < PEERS_BACKOFF_MAX_MS ? ms : PEERS_BACKOFF_MAX_MS;
    peer->failures++;
    peer->redial_ns = now + ms * PEERS_NS_PER_MS;
    peer->address_next = 0;
    peers__fail_queue(peer);
}

/* The link's callbacks have returned, and none will come. True: an outage begins here. */
static bool connection_gone(struct peer *peer, uint64_t now)
{
    struct peers *p = peer->owner;
    pthread_mutex_lock(&p->mu);
    bool was_up = peer->up;
    uint32_t failures = peer->failures;
    peers__settle(peer);
    if (peer->answered) /* what has not left goes on with the next connection, at once */
        peer->address_next = 0;
    else if (was_up || peer->address_next >= peer->addresses.count)
        leave_alone(peer, now);
    peer->down = true;
    peer->up = peer->answered = false;
    peers__ping_reset(peer);
    bool begins = failures == 0 && peer->failures > 0;
    pthread_mutex_unlock(&p->mu);
    return begins;
}

static void tend_broken(struct peer *peer, uint64_t now)
{
    char why[LINK_WHY_BYTES];
    link_why(peer->connection, why);
    link_reap(peer->connection);
    bool begins = connection_gone(peer, now);
    if (peer->up_logged)
        log_change(peer, "the connection to a peer is lost", why);
    else if (begins)
        log_change(peer, "a peer cannot be reached", why);
    peer->up_logged = false;
}

static void dial(struct peer *peer, uint64_t now)
{
    const struct address *to = &peer->addresses.items[peer->address_next++];
    if (link_dial(peer->connection, to) == 0)
        return;
    pthread_mutex_lock(&peer->owner->mu);
    leave_alone(peer, now);
    peer->down = true;
    pthread_mutex_unlock(&peer->owner->mu);
}

void peers__tend(struct peer *peer, uint64_t now)
{
    struct peers *p = peer->owner;
    pthread_mutex_lock(&p->mu);
    bool connected = peer->up && !peer->up_logged, silent = peer->silent;
    peer->silent = false;
    pthread_mutex_unlock(&p->mu);
    if (connected) {
        peer->up_logged = true;
        log_change(peer, "connected to a peer", NULL);
    }
    if (silent)
        link_break(peer->connection, "it owes answers, and does not even answer a ping");
    if (link_state(peer->connection) == LINK_BROKEN)
        tend_broken(peer, now);
    pthread_mutex_lock(&p->mu);
    bool wanted = peer->down && !list_is_empty(&peer->queue) && now >= peer->redial_ns;
    peer->down = peer->down && !wanted;
    pthread_mutex_unlock(&p->mu);
    if (wanted)
        dial(peer, now);
}

void peers__break(struct peer *peer)
{
    struct peers *p = peer->owner;
    link_break(peer->connection, "closing");
    if (link_state(peer->connection) == LINK_BROKEN)
        link_reap(peer->connection);
    pthread_mutex_lock(&p->mu);
    peers__settle(peer);
    peers__fail_queue(peer);
    pthread_mutex_unlock(&p->mu);
}
